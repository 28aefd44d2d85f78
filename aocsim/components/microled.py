r"""GaN microLED on its bias, behind a compressive driver.

Carrier balance of the active region (ABC model; S. Karpov, Opt. Quantum Electron. 47, 1293 (2015)):

.. math::

    I/\mathcal{A} = q d\,(A n + B n^2 + C n^3), \qquad
    P = \eta_{ext}\,\frac{h c}{\lambda}\,\mathcal{A} d\, B n^2                                             (1)

    1/\tau_d = A + 2 B n + 3 C n^2, \qquad f_{3dB} = 1/(2\pi\tau_d)                                        (2)

The driver turns the pair's voltage v into current around the bias:

.. math:: I = I_b + G\,v\,(1 - \kappa v^2)                                                                (3)

The ABC law alone explains the quadratic term of the measured light-voltage law, not its cubic one, which is
the driver's compression kappa.

Temperature takes the same share of the light at every current, against an emitter that is as warm as in calibration:

.. math:: \eta_{ext} = \eta_0\,(1 + \theta\,\Delta T)                                                       (4)

with the thermal droop theta < 0; Delta T rises with the room. A, B, C and the wavelength are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components import check_room, operating_range
from aocsim.constants import ELEMENTARY_CHARGE, PLANCK, SPEED_OF_LIGHT
from aocsim.errors import InputError
from aocsim.law import Law
from aocsim.power import UNKNOWN, Factor, Load, stated
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "recombination_a": EntrySpec("1/second"),
    "recombination_b": EntrySpec("meter**3/second"),
    "recombination_c": EntrySpec("meter**6/second"),
    "active_thickness": EntrySpec("meter"),
    "emitter_diameter": EntrySpec("meter"),
    "wavelength": EntrySpec("meter"),
    "external_efficiency": EntrySpec("dimensionless", per=("machine", "arm")),
    "bias_current": EntrySpec("ampere", per=("machine", "arm")),
    "driver_transconductance": EntrySpec("ampere/volt", per=("machine", "arm")),
    "driver_compression": EntrySpec("1/volt**2", per=("machine", "arm")),
    "thermal_droop": EntrySpec("1/kelvin"),
    "temperature_rise": EntrySpec("kelvin"),
    "reference_temperature": EntrySpec("kelvin"),
    "operating_range": EntrySpec("kelvin", shape=2),
    "forward_voltage": EntrySpec("volt", optional=True),
    "driver_supply": EntrySpec("volt", optional=True),
}

FOLD = 0.95  # of the voltage at which the compressive driver's current would turn back
UNCOMPRESSED = 3.0  # bias currents: range of a driver without compression


@dataclass(frozen=True)
class AbcDiode:
    """The emitter alone: equations (1) and (2).

    Attributes:
        a: Shockley-Read-Hall coefficient A, 1/s.
        b: radiative coefficient B, m^3/s.
        c: Auger coefficient C, m^6/s.
        thickness: active layer d, m.
        area: emitter area, m^2.
        photon_energy: h c / lambda, J.
        external_efficiency: extracted and collected part of the emitted photons, times thermal droop.
    """

    a: float
    b: float
    c: float
    thickness: float
    area: float
    photon_energy: float
    external_efficiency: float

    def density(self, current: Array | float) -> Array:
        """Carrier density n, 1/m^3, for a drive current >= 0 in A: Newton on equation (1) in ln n."""
        wanted = np.asarray(current, dtype=float) / (ELEMENTARY_CHARGE * self.thickness * self.area)
        rate = np.where(wanted > 0, wanted, 1.0)
        n = np.minimum(rate / self.a, np.minimum(np.sqrt(rate / self.b), np.cbrt(rate / self.c)))
        for _ in range(60):
            value = self.a * n + self.b * n**2 + self.c * n**3
            step = (rate - value) / (self.a * n + 2 * self.b * n**2 + 3 * self.c * n**3)
            n = n * np.exp(np.clip(step, -2, 2))
            if np.all(np.abs(step) < 1e-14):
                break
        return np.where(wanted > 0, n, 0.0)

    def power(self, current: Array | float) -> Array:
        """Optical power, W, for a drive current in A; a reverse current emits nothing."""
        n = self.density(np.maximum(current, 0.0))
        volume = self.thickness * self.area
        return np.asarray(self.external_efficiency * self.photon_energy * volume * self.b * n**2)

    def slope(self, current: Array | float) -> Array:
        """dP/dI, W/A: (h c / lambda q) eta_ext 2 B n / (A + 2 B n + 3 C n^2)."""
        n = self.density(np.maximum(current, 0.0))
        share = 2 * self.b * n / (self.a + 2 * self.b * n + 3 * self.c * n**2)
        return np.asarray(self.external_efficiency * self.photon_energy / ELEMENTARY_CHARGE * share)

    def bandwidth(self, current: Array | float) -> Array:
        """Equation (2): small-signal -3 dB frequency, Hz."""
        n = self.density(current)
        return np.asarray((self.a + 2 * self.b * n + 3 * self.c * n**2) / (2 * np.pi))


@dataclass(frozen=True)
class MicroLed:
    """As built: one emitter and driver law for each arm, common to the arm's channels.

    Per-channel differences of efficiency are part of the optics' row efficiency, as in the measured machine.

    Attributes:
        diodes: the emitter of the + arm and of the - arm.
        bias_current: I_b, A, for each arm.
        transconductance: G, A/V, for each arm.
        compression: kappa, 1/V^2, for each arm.
        thermal_droop: theta, 1/K.
        temperature_rise: Delta T, K, of the emitters against their calibration, in a room at the reference
            temperature.
        reference_temperature: room temperature at which all of these values hold, K.
        operating_range: lowest and highest room temperature, K, in which the law is trusted.
        forward_voltage: V over the emitter at its bias; what it gains or loses with the current is left out.
        driver_supply: V over emitter and driver together.
    """

    diodes: tuple[AbcDiode, AbcDiode]
    bias_current: tuple[float, float]
    transconductance: tuple[float, float]
    compression: tuple[float, float]
    thermal_droop: float
    temperature_rise: float
    reference_temperature: float
    operating_range: tuple[float, float]
    # no part of the law: emitters that differ in these alone share their tables, and an unknown is not equal to itself
    forward_voltage: float = field(default=UNKNOWN, compare=False)
    driver_supply: float = field(default=UNKNOWN, compare=False)

    @classmethod
    def build(cls, part: AsBuilt) -> MicroLed:
        """Draw the emitters of one machine.

        Raises:
            InputError: thermal droop leaves no light, or a supply below the emitter's own voltage.
        """
        forward, supply = part.optional("forward_voltage"), part.optional("driver_supply")
        if forward > supply:
            raise InputError(
                "the driver's supply is below the emitter's voltage",
                key=f"parts.{part.role}.driver_supply",
                got=f"{supply:.6g} V",
                allowed=f"at least {forward:.6g} V",
            )
        droop, rise = part.scalar("thermal_droop"), part.scalar("temperature_rise")
        efficiency = part.array("external_efficiency", "arm")
        efficiency = efficiency * (1 + droop * rise)
        if np.any(efficiency <= 0):
            raise InputError(
                "an emitter that is this hot gives no light",
                key=f"parts.{part.role}.temperature_rise",
                got=rise,
                allowed="thermal_droop * temperature_rise > -1",
            )
        area = np.pi * part.scalar("emitter_diameter") ** 2 / 4
        first, second = (
            AbcDiode(
                a=part.scalar("recombination_a"),
                b=part.scalar("recombination_b"),
                c=part.scalar("recombination_c"),
                thickness=part.scalar("active_thickness"),
                area=area,
                photon_energy=PLANCK * SPEED_OF_LIGHT / part.scalar("wavelength"),
                external_efficiency=float(value),
            )
            for value in efficiency
        )
        bias, gain, compression = (
            part.array(entry, "arm")
            for entry in ("bias_current", "driver_transconductance", "driver_compression")
        )
        return cls(
            (first, second),
            (float(bias[0]), float(bias[1])),
            (float(gain[0]), float(gain[1])),
            (float(compression[0]), float(compression[1])),
            thermal_droop=droop,
            temperature_rise=rise,
            reference_temperature=part.scalar("reference_temperature"),
            operating_range=operating_range(part),
            forward_voltage=forward,
            driver_supply=supply,
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What the emitters of both arms and their drivers (class A) take from the supply.

        At the bias current, which is the mean current of a drive without mean.

        Raises:
            InputError: the sheet does not say.
        """
        voltage = stated(self.forward_voltage, "led", "forward_voltage")
        supply = stated(self.driver_supply, "led", "driver_supply")
        emitters = Factor("emitters", 2.0 * channels)
        current = Factor("mean bias current", float(np.mean(self.bias_current)), "ampere")
        return (
            Load("emitters", (emitters, Factor("forward voltage", voltage, "volt"), current)),
            Load("drivers", (emitters, Factor("voltage over the driver", supply - voltage, "volt"), current)),
        )

    def at_temperature(self, room: float) -> MicroLed:
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
        first, second = (replace(d, external_efficiency=d.external_efficiency * share) for d in self.diodes)
        return replace(self, diodes=(first, second), temperature_rise=rise, reference_temperature=room)

    def current(self, arm: int, v: Array) -> Array:
        """Drive current, A: equation (3)."""
        v = np.asarray(v, dtype=float)
        return np.asarray(
            self.bias_current[arm] + self.transconductance[arm] * v * (1 - self.compression[arm] * v * v)
        )

    def bias_power(self, arm: int) -> float:
        """Optical power at v = 0, W."""
        return _at_bias(self, arm)[0]

    def drive_limit(self, arm: int) -> float:
        """Largest |v|, V, for which equation (3) holds: beyond it the driver's cubic would fold back."""
        kappa = self.compression[arm]
        if kappa > 0:
            return float(FOLD / np.sqrt(3 * kappa))
        return UNCOMPRESSED * self.bias_current[arm] / self.transconductance[arm]

    def law(self, arm: int) -> Law:
        """v [V] -> optical power above the bias light [W], as a table."""
        return _table(self, arm)

    def bandwidth(self, arm: int) -> float:
        """Small-signal -3 dB frequency at the bias, Hz."""
        return _at_bias(self, arm)[1]


@lru_cache(maxsize=64)
def _at_bias(led: MicroLed, arm: int) -> tuple[float, float]:
    """Optical power, W, and bandwidth, Hz, at v = 0, kept, since every composed loop asks for them."""
    diode, current = led.diodes[arm], led.bias_current[arm]
    return float(diode.power(current)), float(diode.bandwidth(current))


@lru_cache(maxsize=64)
def _table(led: MicroLed, arm: int) -> Law:
    """`MicroLed.law`, kept, since every composed loop asks for it."""
    diode, gain, kappa = led.diodes[arm], led.transconductance[arm], led.compression[arm]
    limit = led.drive_limit(arm)

    def power(v: Array) -> Array:
        return np.asarray(diode.power(led.current(arm, v)) - led.bias_power(arm))

    def slope(v: Array) -> Array:
        current = led.current(arm, v)
        return np.where(current > 0, diode.slope(current) * gain * (1 - 3 * kappa * v * v), 0.0)

    return Law.tabulate(f"microLED ({'+-'[arm]} arm)", power, slope, -limit, limit)
