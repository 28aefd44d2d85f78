r"""A projected module: parts that are not built, by the few numbers that its time, energy, light and noise follow from.

The transimpedance amplifier of a wanted bandwidth B follows from the gain-bandwidth product f_A of its amplifier and
the capacitance C in front of it (E. Säckinger, *Broadband Circuits for Optical Fiber Communication*, Wiley 2005, its
transimpedance limit):

.. math:: R_f \le \frac{f_A}{2\pi C B^2}                                                                   (1)

Analog electronics that are given a wider band take more power in proportion, as bias currents do at constant voltage
swing: each states an energy for one cycle of the node's bandwidth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from aocsim.asbuilt import AsBuilt
from aocsim.errors import InputError
from aocsim.power import Factor, Load
from aocsim.spec import EntrySpec

ENTRIES = {
    "pixels": EntrySpec("dimensionless"),
    "pixels_per_weight": EntrySpec("dimensionless"),
    "frame_time": EntrySpec("second"),
    "panel_power": EntrySpec("watt"),
    "refresh_energy": EntrySpec("joule"),
    "path_length": EntrySpec("meter"),
    "throughput": EntrySpec("dimensionless"),
    "emitter_voltage": EntrySpec("volt"),
    "emitter_current": EntrySpec("ampere"),
    "driver_supply": EntrySpec("volt"),
    "wall_plug_efficiency": EntrySpec("dimensionless"),
    "emitter_bandwidth": EntrySpec("hertz"),
    "responsivity": EntrySpec("ampere/watt"),
    "detector_capacitance": EntrySpec("farad"),
    "detector_bandwidth": EntrySpec("hertz"),
    "amplifier_gain_bandwidth": EntrySpec("hertz"),
    "amplifier_over_node": EntrySpec("dimensionless"),
    "voltage_noise": EntrySpec("volt/hertz**0.5"),
    "current_noise": EntrySpec("ampere/hertz**0.5"),
    "noise_temperature": EntrySpec("kelvin"),
    "amplifier_energy": EntrySpec("joule"),
    "channel_energy": EntrySpec("joule"),
    "electronics_bandwidth": EntrySpec("hertz"),
    "dac_energy": EntrySpec("joule"),
    "adc_energy": EntrySpec("joule"),
    "controller_power": EntrySpec("watt"),
}


@dataclass(frozen=True)
class ProjectedModule:
    """One module.

    Attributes:
        pixels: of a panel; there is one for each arm.
        pixels_per_weight: that show one weight.
        frame_time: s, until new weights stand.
        panel_power: W for each panel.
        refresh_energy: J for each pixel of a new frame.
        path_length: of the light from emitter to detector, m.
        throughput: share of an emitter's light that falls on all detectors together, all pixels open.
        emitter_voltage: V.
        emitter_current: A, mean.
        driver_supply: V over emitter and driver.
        wall_plug_efficiency: light over electrical power of an emitter.
        emitter_bandwidth: -3 dB, Hz.
        responsivity: A/W.
        detector_capacitance: C, F, of diode, wiring and amplifier input.
        detector_bandwidth: of the photodiode, Hz.
        amplifier_gain_bandwidth: f_A, Hz.
        amplifier_over_node: bandwidth of the transimpedance amplifier over the node's.
        voltage_noise: V/sqrt(Hz) of the amplifier.
        current_noise: A/sqrt(Hz) of the amplifier.
        noise_temperature: K.
        amplifier_energy: J for each cycle of the node's bandwidth, of one transimpedance amplifier.
        channel_energy: J for each cycle of the node's bandwidth, of a channel's pair, gains, node and switch.
        electronics_bandwidth: Hz, that the node can be given.
        dac_energy: J for each conversion.
        adc_energy: J for each conversion.
        controller_power: W of the module.
    """

    pixels: float
    pixels_per_weight: float
    frame_time: float
    panel_power: float
    refresh_energy: float
    path_length: float
    throughput: float
    emitter_voltage: float
    emitter_current: float
    driver_supply: float
    wall_plug_efficiency: float
    emitter_bandwidth: float
    responsivity: float
    detector_capacitance: float
    detector_bandwidth: float
    amplifier_gain_bandwidth: float
    amplifier_over_node: float
    voltage_noise: float
    current_noise: float
    noise_temperature: float
    amplifier_energy: float
    channel_energy: float
    electronics_bandwidth: float
    dac_energy: float
    adc_energy: float
    controller_power: float

    @classmethod
    def build(cls, part: AsBuilt) -> ProjectedModule:
        """Read the module's sheet.

        Raises:
            InputError: a driver's supply below its emitter's voltage.
        """
        built = cls(**{field.name: part.scalar(field.name) for field in fields(cls)})
        if built.driver_supply < built.emitter_voltage:
            raise InputError(
                "is less than its emitter takes",
                key=f"modules.{part.spec.name}.driver_supply",
                got=f"{built.driver_supply:g} V",
                allowed=f"at least {built.emitter_voltage:g} V",
            )
        return built

    @property
    def most_weights(self) -> float:
        """Weights that one panel can show."""
        return self.pixels / self.pixels_per_weight

    @property
    def most_channels(self) -> int:
        """Channels of the largest square matrix that one panel can show."""
        return math.isqrt(int(self.most_weights))

    @property
    def emitter_light(self) -> float:
        """Mean light of an emitter, W."""
        return self.wall_plug_efficiency * self.emitter_voltage * self.emitter_current

    @property
    def bandwidths(self) -> dict[str, float]:
        """Widest band of the node that each part can follow, Hz."""
        return {
            "emitter": self.emitter_bandwidth,
            "photodiode": self.detector_bandwidth,
            "electronics": self.electronics_bandwidth,
        }

    def poles(self, bandwidth: float) -> tuple[float, ...]:
        """-3 dB frequencies of the optical arms' parts, Hz, for a node of this bandwidth, Hz.

        Emitter, photodiode, and the transimpedance amplifier, whose band is chosen with the node's.
        """
        return self.emitter_bandwidth, self.detector_bandwidth, self.amplifier_over_node * bandwidth

    def feedback_resistance(self, bandwidth: float) -> float:
        """Equation (1), ohm, for a node of this bandwidth, Hz."""
        wanted = self.amplifier_over_node * bandwidth
        return self.amplifier_gain_bandwidth / (2 * math.pi * self.detector_capacitance * wanted**2)

    def power(self, channels: int, bandwidth: float, step: float, light: float = 1.0) -> tuple[Load, ...]:
        """What a module takes while it solves, W.

        Args:
            channels: in use.
            bandwidth: of the node, Hz.
            step: time of a diffusion step, s: one conversion each way for every channel.
            light: factor on all emitters' current.
        """
        n, cycle = Factor("channels", float(channels)), Factor("bandwidth", bandwidth, "hertz")
        emitters = Factor("emitters", 2.0 * channels)
        current = Factor("emitter current", self.emitter_current * light, "ampere")
        steps = Factor("steps a second", 1 / step, "1/second")
        over = self.driver_supply - self.emitter_voltage
        return (
            Load("emitters", (emitters, Factor("emitter voltage", self.emitter_voltage, "volt"), current)),
            Load("drivers", (emitters, Factor("voltage over the driver", over, "volt"), current)),
            Load(
                "transimpedance amplifiers",
                (
                    Factor("amplifiers", 2.0 * channels),
                    Factor("energy", self.amplifier_energy, "joule"),
                    cycle,
                ),
            ),
            Load("channel electronics", (n, Factor("energy", self.channel_energy, "joule"), cycle)),
            Load("converters", (n, Factor("energy", self.dac_energy + self.adc_energy, "joule"), steps)),
            Load("panels", (Factor("panels", 2.0), Factor("panel power", self.panel_power, "watt"))),
            Load("controller", (Factor("controller power", self.controller_power, "watt"),)),
        )
