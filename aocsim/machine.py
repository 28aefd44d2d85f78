"""A machine as built: the parts of a machine sheet with one serial's mismatch drawn onto them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components import registry
from aocsim.components.dac import Dac
from aocsim.components.digitiser import Digitiser
from aocsim.components.gains import Gains
from aocsim.components.optics import Optics
from aocsim.components.photodetector import Photodetector
from aocsim.components.poles import Poles
from aocsim.components.roles import Led, Modulator, Node, Pair
from aocsim.components.sample_and_hold import SampleAndHold
from aocsim.errors import InputError
from aocsim.law import Law
from aocsim.spec import MachineSpec

Array = NDArray[np.float64]

ACTIVATION_RANGE = 12.0  # network units: half-width of the nominal activation's table, past the node's rails


@dataclass(frozen=True, eq=False)
class Machine:
    """One machine: name, serial and its parts as built.

    Attributes:
        name: name of the machine's sheet.
        serial: serial number; None for the nominal machine without mismatch.
        channels: n.
    """

    name: str
    serial: int | None
    channels: int
    pair: Pair
    led: Led
    optics: Optics
    slm: Modulator
    detector: Photodetector
    gains: Gains
    node: Node
    poles: Poles
    dac: Dac
    digitiser: Digitiser
    memory: SampleAndHold

    @classmethod
    def build(cls, spec: MachineSpec, serial: int | None) -> Machine:
        """Draw the machine of this serial number; the same name and serial give the same machine anywhere.

        Raises:
            InputError: parts that do not fit together, or mismatch outside a sheet's valid range.
        """

        parts = {
            role: registry.build(AsBuilt(sheet, spec.name, role, serial, spec.channels))
            for role, sheet in spec.parts.items()
        }
        pair, led = parts["pair"], parts["led"]
        swing, limit = float(pair.swing.max()), min(led.drive_limit(arm) for arm in (0, 1))
        if swing > limit:
            # under the name that the pair's law gives to what sets the swing
            entries = [name for name in ("tail_current", "swing") if name in spec.parts["pair"].entries]
            raise InputError(
                f"the pairs swing to {swing:.3g} V, the LED driver's law holds to {limit:.3g} V",
                key=".".join(["parts.pair", *entries]),
                got=spec.parts["pair"][entries[0]].text if entries else f"{swing:.3g} V",
                allowed="a smaller tail current or load, or less driver compression",
            )
        return cls(name=spec.name, serial=serial, channels=spec.channels, **parts)

    def at_temperature(self, room: float) -> Machine:
        """The same machine in a room of another temperature, K.

        The pairs and the emitters follow the room; at the reference temperature of their sheets they are what
        they were, bit for bit. Thermal noise of detectors and memory stays at the temperature of their sheets.

        Raises:
            InputError: outside a part's operating range.
        """
        return replace(self, pair=self.pair.at_temperature(room), led=self.led.at_temperature(room))

    def arm_activation(self, arm: int, z: Array) -> Array:
        """Optical power above the bias light, W, of one arm's emitters for node voltages z (..., n), V."""
        return self.led.law(arm).response(self.pair.stage().response(z))


def nominal_activation(spec: MachineSpec) -> Law:
    """The nonlinearity that a network for this machine is trained on, in network units.

    s(y) = (p(v(V y)) - p(v(0))) / slope at 0, where v is the pair, p the emitter's light averaged over both
    arms, all nominal, and V the pair's knee voltage: one unit stands on the knee, and s has unit slope at 0.
    """
    nominal = Machine.build(spec, serial=None)
    pair, knee, n = nominal.pair.stage(), nominal.pair.knee, nominal.channels
    leds = [nominal.led.law(arm) for arm in (0, 1)]
    rest = np.zeros((1, n))
    slope = np.mean([led.slope(pair.response(rest)) for led in leds]) * float(np.mean(pair.slope(rest)))
    dark = np.mean([led.response(pair.response(rest)) for led in leds])

    def volts(y: Array) -> Array:
        return np.repeat(knee * y[:, None], n, axis=1)

    def response(y: Array) -> Array:
        v = pair.response(volts(y))[:, 0]
        return np.asarray((np.mean([led.response(v) for led in leds], axis=0) - dark) / (slope * knee))

    def derivative(y: Array) -> Array:
        v = pair.response(volts(y))[:, 0]
        light = np.mean([led.slope(v) for led in leds], axis=0)
        return np.asarray(light * pair.slope(volts(y))[:, 0] / slope)

    return Law.tabulate(
        f"nominal activation of {spec.name}", response, derivative, -ACTIVATION_RANGE, ACTIVATION_RANGE
    )
