r"""The way of the light in numbers that hold for any channel count, from a machine's parts.

An emitter's light is split over n detectors, and a detector collects n emitters. Through a fully open pixel one volt at
a node moves a photocurrent of q_j/n at detector j. Weights are modelled as a dense random matrix, as a trained network
that fills its machine comes closest to: independent, of mean 0, with the root mean square w of the modulator's full
range, so that the effective matrix of the unrelaxed map has the spectral radius g. Behind the detectors stands a
transresistance R (amplifier, beta and all gains), and the relaxation follows from it:

.. math:: 1 - \alpha_j = \frac{R\,q_j\,w}{g \sqrt n}                                                       (1)

So equal alpha at n channels asks for a gain beta that grows as sqrt(n) with such weights; where the largest weight is
kept instead (w falls as 1/sqrt(n)) it grows as n. A detector's direct current does not depend on n,

.. math:: I_j = P_b\,(d_j + \tfrac{1}{2} E|w|\, o_j)                                                       (2)

with P_b the bias light, d_j and o_j what dark and open pixels pass. Profiles over the aperture are those of the machine
that the chain is taken from, mean over inputs (q: root mean square). Left out: mismatch, crosstalk between rows beyond
what it adds to q and d, saturation, and that pair and emitter flatten away from rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.components.photodetector import Photodetector
from aocsim.compose import photocurrent_matrix
from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.program import Program

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """Dense random weights, equation (1).

    Attributes:
        radius: g, spectral radius of the effective matrix of the unrelaxed map, in (0, 1).
        rms: w, root mean square over the modulator's full range, in (0, 1].
    """

    radius: float
    rms: float

    def __post_init__(self) -> None:
        """Refuse what is no such matrix.

        Raises:
            InputError: radius or rms out of range.
        """
        if not 0 < self.radius < 1:
            raise InputError(
                "must be a loop that comes to rest",
                key="radius",
                got=self.radius,
                allowed="more than 0, less than 1",
            )
        if not 0 < self.rms <= 1:
            raise InputError("must be a share of the modulator's range", key="rms", got=self.rms)

    @property
    def mean(self) -> float:
        """E|w| of a normal distribution of this root mean square."""
        return float(np.sqrt(2 / np.pi) * self.rms)


@dataclass(frozen=True, eq=False)
class Chain:
    """From node volts to photocurrent, m places of the aperture.

    Attributes:
        slope: q_j, (m,) A/V times the number of channels, through fully open pixels, mean of the arms.
        open_current: P_b o_j, (2, m) A, direct current of all pixels open.
        dark_current: P_b d_j, (2, m) A, of all pixels dark.
        detector: whose noise densities are used.
        gain: volts at the node for each volt behind the amplifier and unit of beta, mean of the channels.
    """

    slope: Array
    open_current: Array
    dark_current: Array
    detector: Photodetector
    gain: float

    @classmethod
    def of(cls, machine: Machine) -> Chain:
        """The chain of a machine; a nominal one has no mismatch."""
        n = machine.channels
        top = np.repeat(machine.slm.top()[:, :, None], n, axis=2)
        dark, full = (
            photocurrent_matrix(machine, _loaded(machine, weight)) for weight in (np.zeros((2, n, n)), top)
        )
        pair = machine.pair.stage()
        rest = np.zeros((1, n))
        slopes = [
            float(np.mean(machine.led.law(arm).slope(pair.response(rest)) * pair.slope(rest)))
            for arm in (0, 1)
        ]
        bias = np.array([machine.led.bias_power(arm) for arm in (0, 1)])
        opened = (full - dark) * n
        q = np.sqrt(np.mean(opened**2, axis=2)) * np.array(slopes)[:, None]
        return cls(
            slope=np.asarray(np.sqrt(np.mean(q**2, axis=0))),
            open_current=np.asarray(opened.mean(axis=2) * bias[:, None]),
            dark_current=np.asarray(dark.sum(axis=2) * bias[:, None]),
            detector=machine.detector,
            gain=float(machine.gains.node_gain(1.0).mean()),
        )

    def with_light(self, factor: float) -> Chain:
        """The same with all light multiplied: more drive of the emitters at the same depth of modulation.

        Raises:
            InputError: no light.
        """
        if not factor > 0:
            raise InputError("there must be light", key="light", got=factor, allowed="more than 0")
        return replace(
            self,
            slope=self.slope * factor,
            open_current=self.open_current * factor,
            dark_current=self.dark_current * factor,
        )

    def direct_current(self, weights: Weights) -> Array:
        """Equation (2), (2, m) A, of every detector."""
        return np.asarray(self.dark_current + 0.5 * weights.mean * self.open_current)

    def signal_current(self, channels: int, weights: Weights, volts: float) -> Array:
        """Root mean square of the signal at a detector, (m,) A: n independent nodes of so many volts rms."""
        return np.asarray(self.slope * weights.rms * volts / np.sqrt(channels))

    def transresistance(self, channels: int, weights: Weights, alpha: float) -> float:
        """R of equation (1) that gives the median channel this alpha, ohm.

        Raises:
            InputError: no channels, or an alpha that is none.
        """
        _check(channels, alpha)
        return float((1 - alpha) * weights.radius * np.sqrt(channels) / (weights.rms * np.median(self.slope)))

    def beta(self, channels: int, weights: Weights, alpha: float) -> float:
        """The gain beta that equation (1) asks for, dimensionless."""
        wanted = self.transresistance(channels, weights, alpha)
        return wanted / (self.gain * self.detector.feedback_resistance)

    def relaxation(self, channels: int, weights: Weights, alpha: float) -> Array:
        """1 - alpha_j, (m,), where the median channel has 1 - alpha; equation (1)."""
        _check(channels, alpha)
        return np.asarray((1 - alpha) * self.slope / np.median(self.slope))


def _check(channels: int, alpha: float) -> None:
    if not channels >= 1:
        raise InputError("a machine has channels", key="channels", got=channels, allowed="at least 1")
    if not 0 <= alpha < 1:
        raise InputError("is no relaxation", key="alpha", got=alpha, allowed="at least 0, less than 1")


def _loaded(machine: Machine, weight: Array) -> Program:
    n = machine.channels
    return Program(weight, np.zeros(n), 1.0, np.arange(n), 1.0)
