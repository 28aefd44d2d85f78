r"""Bipolar differential pair with emitter degeneration: the machine's tanh.

Large-signal law (P. R. Gray, P. J. Hurst, S. H. Lewis, R. G. Meyer, *Analysis and Design of Analog Integrated
Circuits*, section 3.5.1, and its form with emitter resistors):

.. math::

    V = 2 V_T\,\mathrm{atanh}(y) + I_{EE} R_E\, y, \qquad y = (i_1 - i_2) / I_{EE},\quad V_T = kT/q       (1)

With degeneration k = I_EE R_E / 2 V_T the slope at the origin is 1/(1 + k) of the ideal pair's and the knee
is sharper: k = 1.4 follows the measured law of the 48-channel machine, u/(1 + |u|^c)^(1/c) with c = 4.27,
within 1 % rms.

The measured law's offset (-0.0217 at its input, 0.43 mV at its output) is common to all channels and nulled by the
trims, so the sheet leaves it out.

The node voltage z reaches the bases through an attenuator; the differential current falls on a load:

.. math:: v = I_{EE} R_L\, y(a z + V_{os}) + g z                                                          (2)

Temperature: tail current, resistors and attenuator stay. V_T is proportional to the junction's temperature T, and so
is the offset of bipolar transistors (Gray, Hurst, Lewis, Meyer, section 3.5.6), so that

.. math:: dV_{os}/dT = V_{os}/T, \qquad \frac{1}{s}\frac{ds}{dT} = -\frac{1}{T (1 + k)}                    (3)

for the slope s = I_EE R_L a / (2 V_T + I_EE R_E) at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components import check_room, operating_range
from aocsim.constants import thermal_voltage
from aocsim.law import Law
from aocsim.power import UNKNOWN, Factor, Load, stated
from aocsim.spec import EntrySpec
from aocsim.stages import Elementwise

Array = NDArray[np.float64]

ENTRIES = {
    "tail_current": EntrySpec("ampere", per=("machine", "channel")),
    "emitter_resistance": EntrySpec("ohm"),
    "load_resistance": EntrySpec("ohm", per=("machine", "channel")),
    "input_attenuation": EntrySpec("volt/volt", per=("machine", "channel")),
    "input_offset": EntrySpec("volt", per=("machine", "channel")),
    "feedthrough": EntrySpec("volt/volt"),
    "junction_temperature": EntrySpec("kelvin"),
    "reference_temperature": EntrySpec("kelvin"),
    "operating_range": EntrySpec("kelvin", shape=2),
    "supply_voltage": EntrySpec("volt", optional=True),
}

TABLE_HALF_WIDTH = 14.0  # in units of 2 V_T (1 + k), one knee; the node's rails are at about 12 knees


def base_voltage(y: Array, degeneration: float) -> Array:
    """Equation (1) over 2 V_T: V / 2 V_T for the normalised output current y in (-1, 1), dimensionless."""
    return np.asarray(np.arctanh(y) + degeneration * y)


def normalised_current(drive: Array, degeneration: float) -> Array:
    """Invert equation (1): y in (-1, 1) for drive = V / 2 V_T and degeneration k = I_EE R_E / 2 V_T >= 0.

    Newton in w = atanh(y). w + k tanh(w) is concave for w > 0 and odd, so that Newton from the bound
    |w| >= |drive| / (1 + k) climbs monotonically to the root.

    Raises:
        ValueError: not converged, which only an input that is not finite brings about.

    >>> round(float(normalised_current(np.array(1.0), 0.0)), 6)    # the ideal pair: tanh(1)
    0.761594
    """
    drive = np.asarray(drive, dtype=float)
    w = drive / (1 + degeneration)
    for _ in range(200):
        y = np.tanh(w)
        step = (drive - w - degeneration * y) / (1 + degeneration * (1 - y * y))
        w = w + step
        if np.all(np.abs(step) <= 1e-13 * (1 + np.abs(w))):
            return np.asarray(np.tanh(w))
    raise ValueError(f"differential pair: no current found at degeneration {degeneration:.4g}")


def normalised_slope(drive: Array, degeneration: float) -> Array:
    """dy/d(drive) of `normalised_current`: (1 - y^2) / (1 + k (1 - y^2))."""
    y = normalised_current(drive, degeneration)
    return np.asarray((1 - y * y) / (1 + degeneration * (1 - y * y)))


@dataclass(frozen=True, eq=False)
class DifferentialPair:
    """As built: one pair for each channel, shared by both arms.

    Attributes:
        swing: I_EE R_L, (n,) V: the output's saturation level.
        input_attenuation: a, (n,) V/V from node to base.
        input_offset: V_os, (n,) V at the base.
        tail_mismatch: (n,), I_EE of each channel's pair over that of the mean pair.
        degeneration: k = I_EE R_E / 2 V_T, of the mean pair.
        feedthrough: g, V/V, linear path beside the pair.
        junction_temperature: T, K, in a room at the reference temperature.
        reference_temperature: room temperature at which all of these values hold, K.
        operating_range: lowest and highest room temperature, K, in which the law is trusted.
        tail_current: mean I_EE, A.
        supply_voltage: V, from rail to rail.
    """

    swing: Array
    input_attenuation: Array
    input_offset: Array
    tail_mismatch: Array
    degeneration: float
    feedthrough: float
    junction_temperature: float
    reference_temperature: float
    operating_range: tuple[float, float]
    tail_current: float
    supply_voltage: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> DifferentialPair:
        """Draw the pairs of one machine."""
        temperature = part.scalar("junction_temperature")
        nominal, tail = float(part.nominal("tail_current")), part.array("tail_current", "channel")
        return cls(
            swing=tail * part.array("load_resistance", "channel"),
            input_attenuation=part.array("input_attenuation", "channel"),
            input_offset=part.array("input_offset", "channel"),
            tail_mismatch=tail / nominal,
            degeneration=nominal * part.scalar("emitter_resistance") / (2 * thermal_voltage(temperature)),
            feedthrough=part.scalar("feedthrough"),
            junction_temperature=temperature,
            reference_temperature=part.scalar("reference_temperature"),
            operating_range=operating_range(part),
            tail_current=float(tail.mean()),
            supply_voltage=part.optional("supply_voltage"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """Supply voltage times tail current of all channels' pairs; what feeds their bias is left out.

        Raises:
            InputError: the sheet does not say.
        """
        factors = (
            Factor("channels", float(channels)),
            Factor("supply voltage", stated(self.supply_voltage, "pair", "supply_voltage"), "volt"),
            Factor("tail current", self.tail_current, "ampere"),
        )
        return (Load("differential pairs", factors),)

    def at_temperature(self, room: float) -> DifferentialPair:
        """These pairs in a room of another temperature, K; the junction is warmer by as much as the room.

        Raises:
            InputError: outside the operating range.
        """
        check_room("differential pair", room, self.operating_range)
        if room == self.reference_temperature:
            return self
        junction = self.junction_temperature + (room - self.reference_temperature)
        warmer = junction / self.junction_temperature
        return replace(
            self,
            input_offset=self.input_offset * warmer,
            degeneration=self.degeneration / warmer,
            junction_temperature=junction,
            reference_temperature=room,
        )

    @property
    def knee(self) -> float:
        """Node voltage where the unit-slope line meets the saturation level, 2 V_T (1 + k) / a, in V."""
        vt = thermal_voltage(self.junction_temperature)
        return float(2 * vt * (1 + self.degeneration) / self.input_attenuation.mean())

    def law(self) -> Law:
        """Equation (2) over the swing, as a function of the base voltage over 2 V_T, dimensionless."""
        bypass = self.feedthrough * 2 * thermal_voltage(self.junction_temperature)
        return _table(self.degeneration, bypass / float((self.input_attenuation * self.swing).mean()))

    def stage(self) -> Elementwise:
        """z [V] -> v [V], equation (2); the feedthrough scales with a channel's swing and attenuation.

        All channels share the law of the mean pair. A channel's own degeneration k_j, which goes with its tail
        current, stretches its input by (1 + k_j)/(1 + k): slope and saturation are its own, the bend between them is
        the mean pair's.
        """
        stretch = (1 + self.degeneration * self.tail_mismatch) / (1 + self.degeneration)
        knee = 2 * thermal_voltage(self.junction_temperature) * stretch
        return Elementwise(
            self.law(),
            gain_in=self.input_attenuation / knee,
            offset_in=self.input_offset / knee,
            gain_out=self.swing,
        )


@lru_cache(maxsize=64)
def _table(degeneration: float, bypass: float) -> Law:
    """Normalised current plus a linear bypass over the base voltage / 2 V_T; every composed loop asks for it."""
    half_width = TABLE_HALF_WIDTH * (1 + degeneration)
    return Law.tabulate(
        "differential pair",
        lambda u: normalised_current(u, degeneration) + bypass * u,
        lambda u: normalised_slope(u, degeneration) + bypass,
        -half_width,
        half_width,
    )
