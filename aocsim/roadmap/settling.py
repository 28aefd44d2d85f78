r"""How long a relaxed loop takes to settle, with the lags of its parts and the flight of the light.

One mode of loop gain lambda (of the unrelaxed map) obeys

.. math:: 1 - \alpha + s \tau = (1 - \alpha)\,\lambda\, e^{-sL} \prod_k \frac{1}{1 + s / p_k}               (1)

with tau the node's time constant, p_k the poles of emitter, driver and detector, and L the dead time of the optical
arms; the alpha path has none of them. A random matrix has its modes all over the disk |lambda| <= g: the slowest of
those on its edge tells the time, ln(100)/|Re s| to 1 %. Without lags it is that of lambda = g,
ln(100) tau / ((1 - alpha)(1 - g)). With L alone, s = W_0(r lambda L e^{rL})/L - r, r = (1 - alpha)/tau, W_0 Lambert's
function, whose principal branch is the rightmost root (S. Yi, P. W. Nelson, A. G. Ulsoy, *Time-Delay Systems*, World
Scientific 2010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.constants import SPEED_OF_LIGHT
from aocsim.errors import InputError
from aocsim.machine import Machine

Array = NDArray[np.float64]

TO = 0.01  # of the way is left when a loop counts as settled
ANGLES = 17  # of lambda over the upper half of the disk's edge
SHORT = 1e-6  # of the loop's own times: a dead time below that is not discretised
POLISH = 4  # steps of Newton's method on equation (1) itself
NODES = 12  # of the dead time, Chebyshev's


@dataclass(frozen=True)
class Settling:
    """How a loop settles.

    Attributes:
        time: to 1 %, s; inf for a loop that does not.
        rate: real part of the slowest root, 1/s, negative for a loop that settles.
        cycles: the time over 1/f of the node.
    """

    time: float
    rate: float
    cycles: float


def slowest_root(rate: float, gain: complex, poles: Sequence[float], delay: float) -> complex:
    """Equation (1)'s rightmost root, 1/s.

    The loop as a delay differential equation of one state for the node and one for each pole; its infinitesimal
    generator, discretised at Chebyshev's nodes of the dead time, has the rightmost roots to spectral accuracy (D.
    Breda, S. Maset, R. Vermiglio, SIAM J. Sci. Comput. 27, 482 (2005)).

    Args:
        rate: r = (1 - alpha)/tau, 1/s.
        gain: lambda.
        poles: p_k, 1/s; infinite ones are left out.
        delay: L, s.
    """
    lags = [p for p in poles if np.isfinite(p)]
    size = 1 + len(lags)
    now, past = np.zeros((size, size), dtype=complex), np.zeros((size, size), dtype=complex)
    now[0, 0] = -rate
    for k, pole in enumerate(lags, start=1):
        now[k, k - 1], now[k, k] = pole, -pole
    past[0, size - 1] += rate * gain
    # next to no dead time moves the roots next to nothing, which the last steps below make good
    if delay * (rate + sum(lags)) < SHORT:
        values = np.linalg.eigvals(now + past)
    else:
        derivative = _chebyshev(NODES)
        generator = np.kron(derivative * (2 / delay), np.eye(size)).astype(complex)
        generator[:size] = 0.0
        generator[:size, :size] = now
        generator[:size, -size:] = past
        values = np.linalg.eigvals(generator)
    s = complex(values[np.argmax(values.real)])
    for _ in range(POLISH):
        through, slope = rate * gain * np.exp(-s * delay), complex(delay)
        for pole in lags:
            through, slope = through / (1 + s / pole), slope + 1 / (pole + s)
        s -= (s + rate - through) / (1 + through * slope)
    return complex(s)


def _chebyshev(count: int) -> Array:
    """The matrix that differentiates the polynomial through values at the nodes cos(pi k / count), 1 first.

    L. N. Trefethen, *Spectral Methods in MATLAB*, SIAM 2000, chapter 6.
    """
    k = np.arange(count + 1)
    x = np.cos(np.pi * k / count)
    c = np.where((k == 0) | (k == count), 2.0, 1.0) * (-1.0) ** k
    apart = x[:, None] - x[None, :]
    d = np.outer(c, 1 / c) / (apart + np.eye(count + 1))
    return np.asarray(d - np.diag(d.sum(axis=1)))


@lru_cache(maxsize=4096)
def settling_of(
    bandwidth: float,
    alpha: float,
    radius: float,
    *,
    poles: tuple[float, ...] = (),
    delay: float = 0.0,
) -> Settling:
    """The slowest mode of a loop through a random matrix.

    Args:
        bandwidth: f of the node, Hz.
        alpha: relaxation.
        radius: g, spectral radius of the unrelaxed map, below 1.
        poles: -3 dB frequencies of the optical arms' parts, Hz; inf for none.
        delay: dead time of the optical arms, s.

    Raises:
        InputError: no bandwidth, an alpha or a radius that is none, a pole that is none, or a negative delay.
    """
    for key, value, fits in (
        ("bandwidth", bandwidth, bandwidth > 0),
        ("alpha", alpha, 0 <= alpha < 1),
        ("radius", radius, 0 <= radius < 1),
        ("delay", delay, 0 <= delay < np.inf),
        ("poles", min(poles, default=1.0), min(poles, default=1.0) > 0),
    ):
        if not fits:
            raise InputError("no loop can have this", key=key, got=value)
    rate = (1 - alpha) * 2 * np.pi * bandwidth
    gains = radius * np.exp(1j * np.linspace(0.0, np.pi, ANGLES))
    lags = [2 * np.pi * p for p in poles]
    found = max(slowest_root(rate, complex(gain), lags, delay).real for gain in gains)
    time = float(np.log(1 / TO) / -found) if found < 0 else float("inf")
    return Settling(time, found, time * bandwidth)


def flight_time(length: float) -> float:
    """S that light takes in air.

    >>> f"{flight_time(0.03):.3g}"
    '1e-10'
    """
    return length / SPEED_OF_LIGHT


def lags_of(machine: Machine, path: float) -> dict[str, float]:
    """What each part of the optical arms lags behind, s: 1/(2 pi f) of a pole, or a dead time; the largest first.

    Args:
        machine: whose emitters and detectors have bandwidths of their own, whether its poles' sheet lets them act or
            not.
        path: of the light from emitter to detector, m.
    """
    found: Mapping[str, float] = {
        "transimpedance amplifier": 1 / (2 * np.pi * slowest(machine)["transimpedance amplifier"]),
        "emitter": 1 / (2 * np.pi * slowest(machine)["emitter"]),
        "driver": 1 / (2 * np.pi * slowest(machine)["driver"]),
        "dead time": machine.poles.optical_delay,
        "flight of the light": flight_time(path),
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def slowest(machine: Machine) -> dict[str, float]:
    """Bandwidth of each part in the optical arms, Hz; inf for a driver whose sheet knows none."""
    detector = min(float(machine.poles.transimpedance.min()), machine.detector.amplifier_bandwidth)
    return {
        "transimpedance amplifier": detector,
        "emitter": min(machine.led.bandwidth(arm) for arm in (0, 1)),
        "driver": float(machine.poles.driver.min()),
    }


def refuse_beyond(limits: Mapping[str, float], bandwidth: float, key: str) -> None:
    """Refuse a bandwidth of the node that a part cannot follow.

    Args:
        limits: bandwidth by part, Hz.
        bandwidth: wanted, Hz.
        key: where it stands.

    Raises:
        InputError: names the slowest of those parts.
    """
    part = min(limits, key=lambda name: limits[name])
    if bandwidth > limits[part]:
        raise InputError(
            f"is beyond what the {part} can follow",
            key=key,
            got=f"{bandwidth:.4g} Hz",
            allowed=f"up to {limits[part]:.4g} Hz",
        )
