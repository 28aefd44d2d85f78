r"""Photodiode with transimpedance amplifier.

White input-referred current noise, one-sided (J. G. Graeme, *Photodiode Amplifiers*, chapter 5):

.. math:: S_i = 2 q I + 4 k T / R_f + i_n^2 + (e_n / R_f)^2                                                (1)

Beside it the amplifier's voltage noise acts on all capacitance at its summing node, that of the feedback included,
e_n^2 (2 pi f C)^2, which rises with f.
Behind the amplifier's own second-order (Butterworth) response at f_T and the loop's node pole at f_n it leaves

.. math:: \sigma^2 = (R_f\,2\pi C e_n)^2 \int_0^\infty \frac{f^2}{1 + (f/f_n)^2}\frac{df}{1 + (f/f_T)^4}   (2)

almost all of it far above the closed loop's band: it reaches the read-out and not the fixed point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components.roles import Known
from aocsim.constants import BOLTZMANN, ELEMENTARY_CHARGE
from aocsim.power import UNKNOWN, Load, each
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "responsivity": EntrySpec("ampere/watt"),
    "output_efficiency": EntrySpec("dimensionless", shape=2, per=("machine", "arm", "channel_arm")),
    "feedback_resistance": EntrySpec("ohm"),
    "input_capacitance": EntrySpec("farad"),
    "voltage_noise": EntrySpec("volt/hertz**0.5"),
    "current_noise": EntrySpec("ampere/hertz**0.5"),
    "shot_noise": EntrySpec("dimensionless"),
    "noise_temperature": EntrySpec("kelvin"),
    "amplifier_bandwidth": EntrySpec("hertz"),
    "bias_light_rejection": EntrySpec("dimensionless", per=("machine", "arm", "channel_arm")),
    "supply_power": EntrySpec("watt", optional=True),
}


def capacitance_noise_integral(node: Array | float, amplifier: float) -> Array:
    r"""The integral of equation (2), Hz^3, in closed form.

    By partial fractions of f^2 / ((f^2 + a^2)(f^4 + b^4)) with a = node, b = amplifier, both in Hz; for a << b
    it tends to a^2 b pi / (2 sqrt 2).
    """
    a, b = node, amplifier
    # a^2 b^4 Int f^2 df / ((f^2 + a^2)(f^4 + b^4)), split as (-a^2/(f^2+a^2) + (a^2 f^2 + b^4)/(f^4+b^4))/(a^4+b^4)
    lorentz = np.pi / (2 * a)
    flat = np.pi / (2 * np.sqrt(2) * b**3)
    square = np.pi / (2 * np.sqrt(2) * b)
    return np.asarray(a**2 * b**4 / (a**4 + b**4) * (-(a**2) * lorentz + a**2 * square + b**4 * flat))


@dataclass(frozen=True, eq=False)
class Photodetector:
    """As built, one for each arm and channel.

    Attributes:
        responsivity: A/W.
        output_efficiency: (2, n), detector and gain of each output against the nominal one.
        feedback_resistance: R_f, ohm.
        input_capacitance: C, F.
        voltage_noise: e_n, V/sqrt(Hz).
        current_noise: i_n, A/sqrt(Hz).
        shot_noise: multiplies 2 q I; 1 for a real photocurrent.
        noise_temperature: K, of the feedback resistor.
        amplifier_bandwidth: f_T, Hz.
        bias_light_rejection: (2, n), part of the bias light's current that the clamp removes before each solve.
        supply_power: W for each amplifier. The diode's bias voltage times its photocurrent, some uW, is left out.
    """

    responsivity: float
    output_efficiency: Array
    feedback_resistance: float
    input_capacitance: float
    voltage_noise: float
    current_noise: float
    shot_noise: float
    noise_temperature: float
    amplifier_bandwidth: float
    bias_light_rejection: Array
    supply_power: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> Photodetector:
        """Draw the detectors of one machine."""
        return cls(
            responsivity=part.scalar("responsivity"),
            output_efficiency=part.array("output_efficiency", "channel_arm"),
            feedback_resistance=part.scalar("feedback_resistance"),
            input_capacitance=part.scalar("input_capacitance"),
            voltage_noise=part.scalar("voltage_noise"),
            current_noise=part.scalar("current_noise"),
            shot_noise=part.scalar("shot_noise"),
            noise_temperature=part.scalar("noise_temperature"),
            amplifier_bandwidth=part.scalar("amplifier_bandwidth"),
            bias_light_rejection=part.array("bias_light_rejection", "channel_arm"),
            supply_power=part.optional("supply_power"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What the transimpedance amplifiers of both arms take from the supply.

        Raises:
            InputError: the sheet does not say.
        """
        what = "transimpedance amplifiers"
        return (each(what, 2 * channels, "amplifiers", self.supply_power, "detector", "supply_power"),)

    def as_known(self, known: Known) -> Photodetector:
        """As far as it is known: the outputs' efficiency."""
        return replace(self, output_efficiency=known("efficiency", self.output_efficiency))

    def noise_density(self, photocurrent: Array) -> Array:
        """Equation (1): one-sided density, A^2/Hz, for the full photocurrent I in A."""
        shot = self.shot_noise * 2 * ELEMENTARY_CHARGE * np.maximum(photocurrent, 0.0)
        thermal = 4 * BOLTZMANN * self.noise_temperature / self.feedback_resistance
        amplifier = self.current_noise**2 + (self.voltage_noise / self.feedback_resistance) ** 2
        return np.asarray(shot + thermal + amplifier)

    def capacitance_noise(self, node_bandwidth: Array) -> Array:
        """Equation (2) over R_f^2: variance referred to the input, A^2, behind a node pole of this bandwidth, Hz."""
        integral = capacitance_noise_integral(node_bandwidth, self.amplifier_bandwidth)
        return np.asarray((2 * np.pi * self.input_capacitance * self.voltage_noise) ** 2 * integral)
