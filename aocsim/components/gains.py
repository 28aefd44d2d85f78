r"""The electronic gains between detectors and node: beta on the difference of the arms, alpha on the loop.

.. math:: g_j = \kappa_j\,\beta\,G\,(u^+_j - u^-_j) + o_j + \beta\,o'_j, \qquad
    \text{node input} = g_j + \alpha_j z_j + \text{drive}_j

u are the transimpedance amplifiers' voltages (the 1/n beside beta in the machine's notation is the optics' power
split), G a fixed electrical gain, kappa_j the closed-loop gain of each
channel. Both gains are set by digital potentiometers of finite resolution.

With time t since the machine was switched on they walk at random, by independent Wiener processes W, W' and W'' of
each channel:

.. math:: \kappa_j\,e^{d_\kappa W_j(t) - d_\kappa^2 t/2}, \qquad o_j + d_o W'_j(t), \qquad
    \alpha_j\,e^{d_\alpha W''_j(t) - d_\alpha^2 t/2}

Gains are ratios of resistances: their logarithms walk, so that no gain changes its sign however long the machine is
left, and their means stay. Small deviations have the standard deviations d_kappa sqrt(t), d_o sqrt(t) and
d_alpha sqrt(t). d_alpha is the least of them: alpha is set by a divider whose resistors are of one kind and one
temperature and drift together, while beta is a gain that nothing tracks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components.roles import Known
from aocsim.power import UNKNOWN, Load, each
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "electrical_gain": EntrySpec("dimensionless"),
    "closed_loop_gain": EntrySpec("dimensionless", per=("machine", "channel")),
    "beta_full_scale": EntrySpec("dimensionless"),
    "beta_bits": EntrySpec("dimensionless"),
    "alpha_bits": EntrySpec("dimensionless"),
    "alpha_gain": EntrySpec("dimensionless", per=("machine", "channel")),
    "offset": EntrySpec("volt", per=("machine", "channel")),
    "offset_per_beta": EntrySpec("volt", per=("machine", "channel")),
    "gain_drift": EntrySpec("1/second**0.5"),
    "offset_drift": EntrySpec("volt/second**0.5"),
    "alpha_drift": EntrySpec("1/second**0.5"),
    "supply_power": EntrySpec("watt", optional=True),
}


@dataclass(frozen=True, eq=False)
class Gains:
    """As built.

    Attributes:
        electrical_gain: G.
        closed_loop_gain: kappa_j, (n,).
        beta_full_scale: largest beta.
        beta_bits: resolution of beta.
        alpha_bits: resolution of alpha over [0, 1].
        alpha_gain: (n,), alpha that arrives over alpha that is set.
        offset: o_j, (n,) V.
        offset_per_beta: o'_j, (n,) V for each unit of beta.
        gain_drift: d_kappa, 1/sqrt(s), random walk of each channel's kappa_j, relative.
        offset_drift: d_o, V/sqrt(s), random walk of each channel's o_j.
        alpha_drift: d_alpha, 1/sqrt(s), random walk of the alpha that arrives in each channel, relative.
        supply_power: W for each channel: difference of the arms, beta and alpha.
    """

    electrical_gain: float
    closed_loop_gain: Array
    beta_full_scale: float
    beta_bits: int
    alpha_bits: int
    alpha_gain: Array
    offset: Array
    offset_per_beta: Array
    gain_drift: float
    offset_drift: float
    alpha_drift: float
    supply_power: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> Gains:
        """Draw the gains of one machine."""
        return cls(
            electrical_gain=part.scalar("electrical_gain"),
            closed_loop_gain=part.array("closed_loop_gain", "channel"),
            beta_full_scale=part.scalar("beta_full_scale"),
            beta_bits=part.integer("beta_bits"),
            alpha_bits=part.integer("alpha_bits"),
            alpha_gain=part.array("alpha_gain", "channel"),
            offset=part.array("offset", "channel"),
            offset_per_beta=part.array("offset_per_beta", "channel"),
            gain_drift=part.scalar("gain_drift"),
            offset_drift=part.scalar("offset_drift"),
            alpha_drift=part.scalar("alpha_drift"),
            supply_power=part.optional("supply_power"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What the gain stages of all channels take from the supply.

        Raises:
            InputError: the sheet does not say.
        """
        return (each("gain stages", channels, "channels", self.supply_power, "gains", "supply_power"),)

    def as_known(self, known: Known) -> Gains:
        """As far as they are known: each channel's gain; alpha and the offsets are for the trims."""
        return replace(self, closed_loop_gain=known("closed_loop_gain", self.closed_loop_gain))

    def set_beta(self, beta: float) -> float:
        """The nearest beta that the hardware can set."""
        step = self.beta_full_scale / (2**self.beta_bits - 1)
        return float(np.round(np.clip(beta, 0.0, self.beta_full_scale) / step) * step)

    def set_alpha(self, alpha: Array) -> Array:
        """The nearest alpha in [0, 1] that the hardware can set, (n,)."""
        top = 2**self.alpha_bits - 1
        return np.asarray(np.round(np.clip(alpha, 0.0, 1.0) * top) / top)

    def node_gain(self, beta: float) -> Array:
        """kappa_j beta G, (n,): volts at the node for each volt behind the transimpedance amplifier."""
        return np.asarray(self.closed_loop_gain * beta * self.electrical_gain)

    def node_offset(self, beta: float) -> Array:
        """o_j + beta o'_j, (n,) V."""
        return np.asarray(self.offset + beta * self.offset_per_beta)
