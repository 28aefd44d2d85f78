"""Small-signal response of a loop: of its linearisation, and measured in the time domain as a bench does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.steady import steady_state

Array = NDArray[np.float64]

AMPLITUDE = 0.02  # V: a small signal, far inside the node's linear range
CYCLES = (
    2  # whole periods of the lowest frequency over which a sine is fitted; one more for the start to die away
)
TINY = 1e-6  # V: over which a slope is taken
EVERY = slice(None)
POINTS = 32  # samples of a period of the highest frequency, at least


def small_signal(
    loop: Loop, state: Array, drive: Array, frequencies: Array, inputs: NDArray[np.intp] | slice = EVERY
) -> NDArray[np.complex128]:
    r"""Transfer functions of the linearised loop, from each input's drive to every node.

    .. math:: H(\omega) = C \bigl(j\omega - A_0 - \textstyle\sum_l A_l e^{-j\omega L_l}\bigr)^{-1} B

    Args:
        loop: one loop (no leading axis).
        state: (N,) V, where it is linearised.
        drive: (n,) V.
        frequencies: (k,) Hz.
        inputs: (m,) channels that are driven.

    Returns:
        (k, n, m) V/V.
    """
    n, omega = loop.channels, 2 * np.pi * frequencies
    now, retarded, _ = (part[0] for part in loop.linearise_retarded(state[None], drive[None]))
    # what a drive does to the states' rates: each node's own, through the amplifier's slope there
    more, less = (loop.rhs(state[None], (drive + volts)[None])[0, :n] for volts in (TINY, -TINY))
    entry = np.zeros((loop.states, n))
    entry[:n] = np.diag((more - less) / (2 * TINY))
    systems = 1j * omega[:, None, None] * np.eye(loop.states) - now
    for lag, part in zip(loop.lags, retarded, strict=True):
        systems[:, :, :n] -= np.exp(-1j * omega * lag)[:, None, None] * part
    return np.asarray(np.linalg.solve(systems, entry[None, :, inputs])[:, :n])


def transfer(loop: Loop, channels: NDArray[np.intp], frequencies: Array) -> Array:
    """What `sweep` comes to with signals that are as small as one likes.

    Args:
        loop: one loop (no leading axis).
        channels: (m,) channels, each driven and watched.
        frequencies: (k,) Hz.

    Returns:
        (m, k) magnitudes relative to the static gain, dimensionless.
    """
    quiet = np.zeros(loop.channels)
    rest = steady_state(loop, np.zeros((1, loop.states)), quiet[None])[0]
    found = small_signal(loop, rest, quiet, np.concatenate([[0.0], frequencies]), channels)
    own = np.abs(found[:, channels, np.arange(len(channels))])
    return np.asarray((own[1:] / own[0]).T)


def sweep(loop: Loop, channels: NDArray[np.intp], frequencies: Array, amplitude: float = AMPLITUDE) -> Array:
    """Gain from the drive of each of `channels` to its own node voltage, relative to its static gain.

    Sines are applied to one channel at a time, the loop is integrated until the start has died away, and a
    sine is fitted to the node voltage.

    Args:
        loop: one loop (no leading axis).
        channels: (m,) channels to drive.
        frequencies: (k,) Hz, within a decade or two of the loop's bandwidth.
        amplitude: V, of the drive.

    Returns:
        (m, k) magnitudes, dimensionless.
    """
    n, m, k = loop.channels, len(channels), len(frequencies)
    driven = np.zeros((m * k, n))
    driven[np.arange(m * k), np.repeat(channels, k)] = amplitude
    omega = np.tile(2 * np.pi * frequencies, m)
    rest = steady_state(loop, np.zeros((1, loop.states)), np.zeros((1, n)))
    period = 1 / frequencies.min()
    count = round(CYCLES * POINTS * frequencies.max() * period)
    times = np.linspace(period, (1 + CYCLES) * period, count)
    found = integrate(
        loop,
        np.repeat(rest, m * k, axis=0),
        lambda t: driven * np.sin(omega * t)[:, None],
        np.concatenate([[0.0], times]),
        method="DOP853",
        rtol=1e-6,
        atol=5e-7 * amplitude,
    ).state[:, 1:]
    pushed = steady_state(loop, np.repeat(rest, m, axis=0), driven[::k])
    static = (pushed - rest)[np.arange(m), channels] / amplitude
    out = np.empty(m * k)
    for i in range(m * k):
        design = np.stack([np.sin(omega[i] * times), np.cos(omega[i] * times), np.ones_like(times)], axis=1)
        wave = np.linalg.lstsq(design, found[i, :, channels[i // k]], rcond=None)[0]
        out[i] = np.hypot(wave[0], wave[1]) / amplitude
    return np.asarray(out.reshape(m, k) / static[:, None])


def corner(frequencies: Array, magnitude: Array) -> float:
    """Frequency at which a falling response crosses -3 dB (half power), Hz; nan if it does not.

    Interpolates 1/|H|^2, which is linear in f^2 for a single pole, between the neighbouring points.
    """
    inverse = 1 / magnitude**2
    above = np.flatnonzero(inverse >= 2)
    if not len(above) or above[0] == 0:
        return float("nan")
    i = above[0]
    squared = np.interp(2.0, inverse[i - 1 : i + 1], frequencies[i - 1 : i + 1] ** 2)
    return float(np.sqrt(squared))
