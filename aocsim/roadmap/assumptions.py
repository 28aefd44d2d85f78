r"""What would have to hold for a published projection and one built up from parts to meet, and what physics says to it.

One row an assumption, in the order of the chain: the number that is needed, what the sheets give, and the bound that no
sheet can move. Bounds are:

- a weight takes at least one pixel;
- light: of every electron through an emitter at most one comes back from a detector. Without any other noise than that
  of these electrons (shot noise at the machine's depth of modulation), all pixels free of darkness and no light lost,
  so much current has to flow for the error; times the emitter's voltage it is the least power of a channel;
- a step of a network of K layers takes the light at least K times through the loop;
- a product can follow from another one's result only after the light has come around. Operations counted by bandwidth
  as 2 N^2 in every 1/f follow from one another only while 1/f is longer than the flight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aocsim.components.microled import MicroLed
from aocsim.components.module import ProjectedModule
from aocsim.components.published import Published
from aocsim.constants import ELEMENTARY_CHARGE
from aocsim.machine import Machine
from aocsim.roadmap.chain import Chain
from aocsim.roadmap.noise import STILL, light_for
from aocsim.roadmap.projection import LIT, Case, Projected
from aocsim.roadmap.settling import flight_time

MET, BEYOND, FORBIDDEN = "met", "beyond the sheets", "forbidden"


@dataclass(frozen=True)
class Assumption:
    """One assumption at one bandwidth.

    Attributes:
        name: what it is about.
        needed: by the published chain, `unit`.
        given: by the sheets.
        bound: by physics; NaN where there is none.
        at_most: whether less than needed is good (a power, a time), or more (a bandwidth).
        unit: SI.
    """

    name: str
    needed: float
    given: float
    bound: float
    at_most: bool
    unit: str

    @property
    def verdict(self) -> str:
        """Whether the sheets meet it, physics forbids it, or neither."""
        sign = 1.0 if self.at_most else -1.0
        if np.isfinite(self.bound) and sign * self.bound > sign * self.needed:
            return FORBIDDEN
        return MET if sign * self.given <= sign * self.needed * (1 + sign * 1e-9) else BEYOND


def quantum_power(
    machine: Machine, module: ProjectedModule, case: Case, channels: int, bandwidth: float
) -> float:
    """The least power of the light of a channel's two emitters that holds the wanted error, W.

    Every electron becomes a photon and every photon an electron, no light is lost, pixels are dark where they are to
    be, weights stand still, and the electronics are free of noise; the depth of modulation is the machine's. Inf where
    no light is enough.

    Args:
        machine: nominal, for the profiles.
        module: whose emitters' voltage counts.
        case: how the loop is run.
        channels: n.
        bandwidth: of the node, Hz.
    """
    own = Chain.of(machine)
    one = own.with_light(1.0 / float(own.open_current.mean()))  # 1 A through every emitter
    silent = replace(
        machine.detector, voltage_noise=0.0, current_noise=0.0, noise_temperature=0.0, shot_noise=1.0
    )
    ideal = replace(one, dark_current=np.zeros_like(one.dark_current), detector=silent)
    still = replace(machine.slm, flicker=0.0, flicker_common=0.0, bits=53)  # type: ignore[type-var]
    current = light_for(ideal, still, case.at(channels, bandwidth), case.nrmse)
    return 2 * current * module.emitter_voltage


def assumptions_of(
    machine: Machine,
    module: ProjectedModule,
    published: Published,
    found: Projected,
    case: Case,
    layers: int,
) -> tuple[Assumption, ...]:
    """All assumptions of the published chain at the bandwidth of a projected module.

    Args:
        machine: nominal.
        module: projected.
        published: chain.
        found: the module as projected, with the published number of channels.
        case: how it is run.
        layers: of the network that a step evaluates.
    """
    n, f = found.channels, found.bandwidth
    budget = found.rate / published.efficiency / n
    watts = {load.consumer: load.value / n for load in found.loads}
    electronics = sum(value for name, value in watts.items() if name not in LIT)
    flight = flight_time(module.path_length)
    light = sum(watts[name] for name in LIT) * found.light
    everything = found.power(held=True) / n
    quantum = quantum_power(machine, module, case, n, f)
    floor = sum(found.variance[name] for name in STILL)
    none = float("nan")
    return (
        Assumption(
            "pixels for a weight",
            module.pixels / published.weights_per_module,
            module.pixels_per_weight,
            1.0,
            True,
            "1",
        ),
        Assumption("bandwidth of the emitters", f, module.emitter_bandwidth, none, False, "Hz"),
        Assumption("power of a channel's electronics", budget, electronics, none, True, "W"),
        Assumption(
            f"power of a channel's light at an error of {case.nrmse:g}", budget, light, quantum, True, "W"
        ),
        Assumption("power of a channel", budget, everything, quantum, True, "W"),
        Assumption(
            "error that is left with any light",
            case.nrmse,
            float(np.sqrt(floor) / case.span),
            none,
            True,
            "1",
        ),
        Assumption("time of a step", published.step(f), found.settling.time, layers * flight, True, "s"),
        Assumption("flight of the light within 1/f", 1 / f, flight, flight, True, "s"),
    )


def first_forbidden(rows: tuple[Assumption, ...]) -> str:
    """Name of the first assumption that physics forbids; empty where it forbids none."""
    return next((row.name for row in rows if row.verdict == FORBIDDEN), "")


def emitter_at(machine: Machine, bandwidth: float) -> tuple[float, float]:
    """Current density and efficiency at which the machine's own emitters would follow so fast.

    From the carrier balance of their law: A/m^2, and photons for each electron inside the emitter. NaN for emitters of
    another law.

    Args:
        machine: whose emitters.
        bandwidth: small-signal, -3 dB, Hz.
    """
    if not isinstance(machine.led, MicroLed):
        return float("nan"), float("nan")
    diode = machine.led.diodes[0]
    # A + 2 B n + 3 C n^2 = 2 pi f
    wanted = 2 * np.pi * bandwidth - diode.a
    if wanted <= 0:
        return 0.0, 0.0
    n = wanted / (diode.b + np.sqrt(diode.b**2 + 3 * diode.c * wanted))
    rate = diode.a * n + diode.b * n**2 + diode.c * n**3
    return float(ELEMENTARY_CHARGE * diode.thickness * rate), float(diode.b * n**2 / rate)
