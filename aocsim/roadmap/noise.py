r"""Noise, bits and errors of a loop's read-out against channels, bandwidth and light, by formulas.

White noise of the density S (both arms, A^2/Hz, one-sided) behind a transresistance R drives a node of time constant
tau = 1/(2 pi f). Alone, a relaxed channel would show S R^2 / (4 tau (1 - alpha)). The loop through a random matrix of
spectral radius g brings it to

.. math:: \sigma_z^2 = \frac{R^2 S}{4 \tau (1 - \alpha)} \frac{1}{\sqrt{1 - g^2}}                           (1)

since the power spectrum of such a linear network is S / (|1 + i w T|^2 - g^2) (H. Sompolinsky, A. Crisanti, H. J.
Sommers, Phys. Rev. Lett. 61, 259 (1988), its linear regime). With equation (1) of `aocsim.roadmap.chain`,

.. math:: \sigma_z = \frac{g}{w} \frac{\sqrt n}{q} \sqrt{\frac{S\,\pi f (1-\alpha)}{2 \sqrt{1 - g^2}}}     (2)

so that noise grows with the root of channels, of bandwidth, and in the shot limit falls with that of the light. Errors
that stand still during a solve come through (1 - W)^-1, whose mean square is 1/(1 - g^2): flicker of the pixels,

.. math:: \delta = \frac{\sigma_G}{w} \sqrt{E|w| - w^2}                                                    (3)

of the signal, the wobble common to an arm, and rounding to 2^-b of the range. None of these depends on n or f.

Error: root mean square over the range (peak to peak) of the node voltages, as `aocsim.metrics.nrmse`. Effective bits:
those of an ideal converter over the range with the same error, log2(range / (sigma sqrt 12)). One solve, one sample of
the read-out; averaging a window or trials is left out, and so are offsets, drift, mismatch and crosstalk, which
calibration and trims are there for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.components.roles import Modulator
from aocsim.errors import InputError
from aocsim.roadmap.chain import Chain, Weights

Array = NDArray[np.float64]

WHITE = ("shot noise", "thermal noise", "amplifier noise")
STILL = ("flicker", "weight rounding")
SOURCES = (*WHITE, "amplifier noise above the band", *STILL)
"""What errors are made of, in this order."""


@dataclass(frozen=True)
class Working:
    """How a loop is run.

    Attributes:
        channels: n.
        bandwidth: f, of the node, Hz.
        alpha: of the median channel.
        weights: loaded.
        span: peak to peak of the node voltages, V.
        signal: their root mean square, V.
    """

    channels: int
    bandwidth: float
    alpha: float
    weights: Weights
    span: float
    signal: float

    def __post_init__(self) -> None:
        """Refuse what no loop can be run at.

        Raises:
            InputError: no bandwidth, or no signal.
        """
        for name in ("bandwidth", "span", "signal"):
            if not getattr(self, name) > 0:
                raise InputError("must be more than 0", key=name, got=getattr(self, name))

    @property
    def still(self) -> float:
        """1/(1 - g^2): mean square of (1 - W)^-1."""
        return 1 / (1 - self.weights.radius**2)


def densities(chain: Chain, weights: Weights) -> dict[str, Array]:
    """One-sided densities of both arms' white photocurrent noise together, (m,) A^2/Hz, by `WHITE`.

    The part's own law says the sum; without current, and then at the temperature 0 K, it says the rest.
    """
    detector, current = chain.detector, chain.direct_current(weights)
    dark = detector.noise_density(np.zeros_like(current))
    cold = replace(detector, noise_temperature=0.0).noise_density(np.zeros_like(current))
    parts = (detector.noise_density(current) - dark, dark - cold, cold)
    return {name: np.asarray(part.sum(axis=0)) for name, part in zip(WHITE, parts, strict=True)}


def variances(chain: Chain, modulator: Modulator, work: Working) -> dict[str, float]:
    """Mean variance of the node voltages from each of `SOURCES`, V^2, equations (1) and (3).

    Args:
        chain: of the light.
        modulator: whose flicker and bits count.
        work: how the loop is run.

    Raises:
        InputError: no channels, or an alpha that is none.
    """
    n, weights = work.channels, work.weights
    gain = chain.transresistance(n, weights, work.alpha)
    relaxed = chain.relaxation(n, weights, work.alpha)
    tau = 1 / (2 * np.pi * work.bandwidth)
    loop = 1 / np.sqrt(1 - weights.radius**2)
    out = {
        name: float(np.mean(gain**2 * density / (4 * tau * relaxed)) * loop)
        for name, density in densities(chain, weights).items()
    }
    fast = 2 * chain.detector.capacitance_noise(relaxed * work.bandwidth) * (gain / relaxed) ** 2
    out["amplifier noise above the band"] = float(np.mean(fast))
    moved = weights.radius**2 * work.signal**2 * work.still
    pixels = modulator.flicker**2 * (weights.mean - weights.rms**2) / weights.rms**2
    out["flicker"] = float((pixels + modulator.flicker_common**2) * moved)
    out["weight rounding"] = float((1 / modulator.levels) ** 2 / 12 / weights.rms**2 * moved)
    return out


def error(found: dict[str, float], work: Working) -> float:
    """Root mean square error over the range, of all variances together."""
    return float(np.sqrt(sum(found.values())) / work.span)


def effective_bits(nrmse: float) -> float:
    """Bits of an ideal converter whose rounding is as large.

    >>> round(effective_bits(2**-8 / 12**0.5), 12)
    8.0
    """
    return float(-np.log2(nrmse * np.sqrt(12)))


def light_for(chain: Chain, modulator: Modulator, work: Working, nrmse: float) -> float:
    """Factor on all light at which the error is just `nrmse`; inf where no light is enough.

    Shot noise falls as 1/light, all other noise of the detector as 1/light^2: a quadratic equation in 1/light.

    Raises:
        InputError: an error that is none.
    """
    if not nrmse > 0:
        raise InputError("no light brings an error to nothing", key="nrmse", got=nrmse, allowed="more than 0")
    found = variances(chain, modulator, work)
    rest = (nrmse * work.span) ** 2 - sum(found[name] for name in STILL)
    if rest <= 0:
        return float("inf")
    shot = found["shot noise"]
    dark = sum(value for name, value in found.items() if name not in ("shot noise", *STILL))
    # shot y + dark y^2 = rest with y = 1/light, in the form that loses no digits
    y = 2 * rest / (shot + np.sqrt(shot**2 + 4 * dark * rest)) if shot or dark else np.inf
    return float(1 / y)
