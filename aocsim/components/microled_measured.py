r"""MicroLED and driver as they were measured: a cubic of the pair's voltage for each arm.

.. math:: P - P_b = U\,(p_3 v^3 + p_2 v^2 + p_1 v + p_0)                                                  (1)

The public digital twin of the 48-channel machine (github.com/microsoft/aoc, parameters of April 2025) states the
light with the bias removed and in a unit of its own; U is what that unit stands for. Bias light and bandwidth are
not in such a measurement and are entries of their own.

Temperature takes the same share of all light, as in `aocsim.components.microled`, against an emitter that is as
warm as in calibration:

.. math:: P \propto 1 + \theta\,\Delta T                                                                  (2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components import check_room, operating_range
from aocsim.components.microled import FOLD
from aocsim.errors import InputError
from aocsim.law import Law
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "cubic": EntrySpec("1/volt**3", shape=2, per=("machine", "arm")),
    "quadratic": EntrySpec("1/volt**2", shape=2, per=("machine", "arm")),
    "linear": EntrySpec("1/volt", shape=2, per=("machine", "arm")),
    "constant": EntrySpec("dimensionless", shape=2, per=("machine", "arm")),
    "unit_light": EntrySpec("watt"),
    "bias_light": EntrySpec("watt", per=("machine", "arm")),
    "bandwidth": EntrySpec("hertz", per=("machine", "arm")),
    "thermal_droop": EntrySpec("1/kelvin"),
    "temperature_rise": EntrySpec("kelvin"),
    "reference_temperature": EntrySpec("kelvin"),
    "operating_range": EntrySpec("kelvin", shape=2),
}

WIDEST = 10.0  # V: range of a law that never turns back


def turning_voltage(cubic: float, quadratic: float, linear: float) -> float:
    """Smallest |v|, V, at which the slope of the cubic vanishes; inf for a law that rises everywhere.

    >>> turning_voltage(-0.25, 0.0, 0.1875)
    0.5
    """
    a, b, c = 3 * cubic, 2 * quadratic, linear
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return math.inf
    # the form of the two roots that loses no digits where a or b is small
    q = -(b + math.copysign(math.sqrt(discriminant), b)) / 2
    roots = [abs(top / bottom) for top, bottom in ((c, q), (q, a)) if bottom]
    return min(roots, default=math.inf)


@dataclass(frozen=True, eq=False)
class MeasuredMicroLed:
    """As built: one law for each arm, common to the arm's channels.

    Attributes:
        coefficients: U times (p3, p2, p1, p0) of the + arm and of the - arm, W over powers of V, as warm as they are.
        bias_light: P_b, W, for each arm.
        modulation_bandwidth: -3 dB frequency at the bias, Hz, for each arm.
        thermal_droop: theta, 1/K.
        temperature_rise: Delta T, K, of the emitters against their calibration, in a room at the reference
            temperature.
        reference_temperature: room temperature at which all of these values hold, K.
        operating_range: lowest and highest room temperature, K, in which the law is trusted.
    """

    coefficients: tuple[tuple[float, ...], tuple[float, ...]]
    bias_light: tuple[float, float]
    modulation_bandwidth: tuple[float, float]
    thermal_droop: float
    temperature_rise: float
    reference_temperature: float
    operating_range: tuple[float, float]

    @classmethod
    def build(cls, part: AsBuilt) -> MeasuredMicroLed:
        """Draw the emitters of one machine.

        Raises:
            InputError: light that falls with the drive, or thermal droop that leaves none.
        """
        linear = part.array("linear", "arm")
        if np.any(linear <= 0):
            raise InputError(
                "the light must rise with the drive", key=f"parts.{part.role}.linear", got=linear.tolist()
            )
        droop, rise = part.scalar("thermal_droop"), part.scalar("temperature_rise")
        share = 1 + droop * rise
        if share <= 0:
            raise InputError(
                "an emitter that is this hot gives no light",
                key=f"parts.{part.role}.temperature_rise",
                got=rise,
                allowed="thermal_droop * temperature_rise > -1",
            )
        unit = part.scalar("unit_light") * share
        table = unit * np.stack(
            [
                part.array("cubic", "arm"),
                part.array("quadratic", "arm"),
                linear,
                part.array("constant", "arm"),
            ]
        )
        bias, bandwidth = share * part.array("bias_light", "arm"), part.array("bandwidth", "arm")
        return cls(
            (tuple(table[:, 0].tolist()), tuple(table[:, 1].tolist())),
            (float(bias[0]), float(bias[1])),
            (float(bandwidth[0]), float(bandwidth[1])),
            thermal_droop=droop,
            temperature_rise=rise,
            reference_temperature=part.scalar("reference_temperature"),
            operating_range=operating_range(part),
        )

    def at_temperature(self, room: float) -> MeasuredMicroLed:
        """These emitters in a room of another temperature, K; they are warmer by as much as the room.

        Raises:
            InputError: outside the operating range, or so hot that thermal droop leaves no light.
        """
        check_room("microLED", room, self.operating_range)
        if room == self.reference_temperature:
            return self
        rise = self.temperature_rise + (room - self.reference_temperature)
        light = 1 + self.thermal_droop * rise
        if light <= 0:
            raise InputError(
                "an emitter that is this hot gives no light",
                key="environment.temperature",
                got=f"{room:.6g} K",
                allowed=f"less than {room - light / self.thermal_droop:.6g} K",
            )
        share = light / (1 + self.thermal_droop * self.temperature_rise)
        first, second = (tuple(share * value for value in law) for law in self.coefficients)
        return replace(
            self,
            coefficients=(first, second),
            bias_light=(share * self.bias_light[0], share * self.bias_light[1]),
            temperature_rise=rise,
            reference_temperature=room,
        )

    def bias_power(self, arm: int) -> float:
        """Optical power at v = 0 without the law's own constant, W."""
        return self.bias_light[arm]

    def drive_limit(self, arm: int) -> float:
        """Largest |v|, V, for which equation (1) holds: where the cubic turns back, light would fall with drive."""
        cubic, quadratic, linear, _ = self.coefficients[arm]
        return min(FOLD * turning_voltage(cubic, quadratic, linear), WIDEST)

    def law(self, arm: int) -> Law:
        """v [V] -> optical power above the bias light [W], as a table, which is exact for a cubic."""
        return _table(self.coefficients[arm], self.drive_limit(arm), f"measured microLED ({'+-'[arm]} arm)")

    def bandwidth(self, arm: int) -> float:
        """Small-signal -3 dB frequency at the bias, Hz."""
        return self.modulation_bandwidth[arm]


@lru_cache(maxsize=64)
def _table(coefficients: tuple[float, ...], limit: float, name: str) -> Law:
    """`MeasuredMicroLed.law`, kept, since every composed loop asks for it."""
    return Law.tabulate(
        name,
        lambda v: np.asarray(np.polyval(coefficients, v)),
        lambda v: np.asarray(np.polyval(np.polyder(np.array(coefficients)), v)),
        -limit,
        limit,
    )
