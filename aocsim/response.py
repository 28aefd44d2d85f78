"""Small-signal response of a loop, measured in the time domain as a bench does it."""

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
POINTS = 32  # samples of a period of the highest frequency, at least


def sweep(loop: Loop, channels: NDArray[np.intp], frequencies: Array) -> Array:
    """Gain from the drive of each of `channels` to its own node voltage, relative to its static gain.

    Sines are applied to one channel at a time, the loop is integrated until the start has died away, and a
    sine is fitted to the node voltage.

    Args:
        loop: one loop (no leading axis).
        channels: (m,) channels to drive.
        frequencies: (k,) Hz, within a decade or two of the loop's bandwidth.

    Returns:
        (m, k) magnitudes, dimensionless.
    """
    n, m, k = loop.channels, len(channels), len(frequencies)
    driven = np.zeros((m * k, n))
    driven[np.arange(m * k), np.repeat(channels, k)] = AMPLITUDE
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
        atol=1e-8,
    ).state[:, 1:]
    pushed = steady_state(loop, np.repeat(rest, m, axis=0), driven[::k])
    static = (pushed - rest)[np.arange(m), channels] / AMPLITUDE
    out = np.empty(m * k)
    for i in range(m * k):
        design = np.stack([np.sin(omega[i] * times), np.cos(omega[i] * times), np.ones_like(times)], axis=1)
        wave = np.linalg.lstsq(design, found[i, :, channels[i // k]], rcond=None)[0]
        out[i] = np.hypot(wave[0], wave[1]) / AMPLITUDE
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
