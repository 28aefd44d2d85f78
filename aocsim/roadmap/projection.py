r"""What a module of so many channels does, takes and gets wrong: built up from its parts.

Operations by bandwidth, 2 N^2 per 1/f (`aocsim.roadmap.operations`); power while it solves, converters once a step for
every channel; error of one solve and one sample by `aocsim.roadmap.noise`. Emitters may be driven harder: `light` is
the factor on their current that holds a wanted error, light being in proportion to current. The modulator's flicker and
bits are those of the machine's sheet. Left out: cooling, losses of power supplies, the energy of new weights
(`aocsim.roadmap.paths`), mismatch and calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from aocsim.components.module import ProjectedModule
from aocsim.components.roles import Modulator
from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.power import Load
from aocsim.roadmap.chain import Chain, Weights
from aocsim.roadmap.equipment import Equipment
from aocsim.roadmap.ledger import ANALOG, loads_of
from aocsim.roadmap.noise import Working, effective_bits, error, light_for, variances
from aocsim.roadmap.operations import rate_by_bandwidth
from aocsim.roadmap.settling import Settling, flight_time, refuse_beyond, settling_of, slowest
from aocsim.spec import PartSpec

LIT = ("emitters", "drivers")
"""Consumers that take more where there is to be more light."""


@dataclass(frozen=True)
class Case:
    """How all loops of a comparison are run.

    Attributes:
        alpha: of the median channel.
        weights: loaded.
        span: peak to peak of the node voltages, V.
        signal: their root mean square, V.
        nrmse: error that the light is to hold.
    """

    alpha: float
    weights: Weights
    span: float
    signal: float
    nrmse: float

    def at(self, channels: int, bandwidth: float) -> Working:
        """The same at so many channels and a bandwidth, Hz."""
        return Working(channels, bandwidth, self.alpha, self.weights, self.span, self.signal)


@dataclass(frozen=True)
class Projected:
    """One module at one bandwidth.

    Attributes:
        channels: n.
        bandwidth: of the node, Hz.
        loads: what it takes while it solves, W.
        settling: of a step.
        variance: of the node voltages by source, V^2.
        nrmse: error.
        light: factor on the emitters' current that holds the wanted error; inf where none does.
        direct_current: of the median detector, A.
        signal_current: root mean square at the median detector, A.
        feedback_resistance: of the transimpedance amplifiers, ohm.
        voltage_gain: behind them, that alpha asks for.
        marks: what is beyond a sheet's valid range, or does not fit.
    """

    channels: int
    bandwidth: float
    loads: tuple[Load, ...]
    settling: Settling
    variance: Mapping[str, float]
    nrmse: float
    light: float
    direct_current: float
    signal_current: float
    feedback_resistance: float
    voltage_gain: float
    marks: tuple[str, ...] = field(default=())

    @property
    def rate(self) -> float:
        """Operations a second, 2 N^2 per 1/f."""
        return rate_by_bandwidth(self.channels, self.bandwidth)

    @property
    def bits(self) -> float:
        """Effective bits of one read-out."""
        return effective_bits(self.nrmse)

    def power(self, *, held: bool = False) -> float:
        """W of everything; `held` with the light that holds the wanted error, inf where none does."""
        return sum(load.value * (self.light if held and load.consumer in LIT else 1.0) for load in self.loads)

    def efficiency(self, *, held: bool = False) -> float:
        """Operations for each joule; `held` as of `power`."""
        return self.rate / self.power(held=held)


def throughput_of(machine: Machine) -> float:
    """Share of an emitter's light that falls on all detectors together, all pixels open: mean of both arms."""
    chain = Chain.of(machine)
    seen = machine.detector.responsivity * machine.detector.output_efficiency.mean(axis=1)
    light = np.array([machine.led.bias_power(arm) for arm in (0, 1)])
    return float(np.mean(chain.open_current.mean(axis=1) / (seen * light)))


def module_chain(machine: Chain, module: ProjectedModule, bandwidth: float) -> Chain:
    """The light's way in a module: profiles, darkness and depth of modulation of the machine's, the rest its own.

    Args:
        machine: chain of the machine.
        module: projected.
        bandwidth: of the node, Hz.
    """
    detector = replace(
        machine.detector,
        responsivity=module.responsivity,
        feedback_resistance=module.feedback_resistance(bandwidth),
        input_capacitance=module.detector_capacitance,
        voltage_noise=module.voltage_noise,
        current_noise=module.current_noise,
        noise_temperature=module.noise_temperature,
        amplifier_bandwidth=module.amplifier_over_node * bandwidth,
    )
    wanted = module.responsivity * module.emitter_light * module.throughput
    return replace(machine.with_light(wanted / float(machine.open_current.mean())), detector=detector)


def project(
    machine: Machine, module: ProjectedModule, sheet: PartSpec, case: Case, channels: int, bandwidth: float
) -> Projected:
    """A projected module with so many channels.

    Args:
        machine: nominal, whose profiles and modulator it has.
        module: projected.
        sheet: of the module, whose valid ranges are looked at.
        case: how it is run.
        channels: n.
        bandwidth: of the node, Hz.

    Raises:
        InputError: no channels, or a bandwidth that a part cannot follow: names it.
    """
    refuse_beyond(module.bandwidths, bandwidth, "roadmap.projected_bandwidths")
    chain = module_chain(Chain.of(machine), module, bandwidth)
    settling = settling_of(
        bandwidth,
        case.alpha,
        case.weights.radius,
        poles=module.poles(bandwidth),
        delay=flight_time(module.path_length),
    )
    work = case.at(channels, bandwidth)
    light = light_for(chain, machine.slm, work, case.nrmse)
    return _projected(
        chain,
        machine.slm,
        work,
        case,
        module.power(channels, bandwidth, settling.time),
        settling,
        light,
        beyond_module(sheet, module, channels, light),
    )


def beyond_module(sheet: PartSpec, module: ProjectedModule, channels: int, light: float = 1.0) -> list[str]:
    """What of a projected module is beyond its sheet, in words; nothing where all is within.

    Args:
        sheet: of the module, whose valid ranges count.
        module: projected.
        channels: in use.
        light: factor on its emitters' current that holds the wanted error.
    """
    out = []
    if channels > module.most_channels:
        out.append(f"{channels} channels, where the panel of {sheet.name} shows {module.most_channels}")
    current, highest = module.emitter_current * light, sheet["emitter_current"].valid[1]
    if current > highest:
        out.append(
            f"{current * 1e3:.3g} mA an emitter hold the error, where {sheet.name} allows up to "
            f"{highest * 1e3:.3g} mA"
        )
    return out


def beyond_panel(machine: Machine, channels: int) -> list[str]:
    """The same of the machine's own modulator."""
    most = getattr(machine.slm, "most_weights", np.inf)
    if channels**2 <= most:
        return []
    return [f"{channels} channels, where the modulator's panel shows {most:.4g} weights"]


def today(machine: Machine, equipment: Equipment, case: Case, channels: int, bandwidth: float) -> Projected:
    """The machine's own parts, as they are, with so many channels and another bandwidth of the node.

    Its converters and controller are the bench's and not counted; its poles are where its sheets let them act.

    Args:
        machine: nominal.
        equipment: for the switch.
        case: how it is run.
        channels: n.
        bandwidth: of the node, Hz.

    Raises:
        InputError: no channels, a bandwidth that a part cannot follow, or a part that does not state its power.
    """
    limits = slowest(machine)
    refuse_beyond(limits, bandwidth, "roadmap.bandwidths")
    if channels < 1:
        raise InputError("a machine has channels", key="roadmap.channels", got=channels, allowed="at least 1")
    chain, work = Chain.of(machine), case.at(channels, bandwidth)
    settling = settling_of(
        bandwidth,
        case.alpha,
        case.weights.radius,
        poles=tuple(limits.values()),
        delay=machine.poles.optical_delay,
    )
    taken = loads_of(machine, equipment, channels)
    loads = [load for part in (*ANALOG, "slm") for load in taken[part] if load.dimension == "watt"]
    light = light_for(chain, machine.slm, work, case.nrmse)
    marks = beyond_panel(machine, channels)
    beta = chain.beta(channels, case.weights, case.alpha)
    if beta > machine.gains.beta_full_scale:
        marks.append(f"beta {beta:.4g}, where the gains reach {machine.gains.beta_full_scale:.4g}")
    return _projected(chain, machine.slm, work, case, tuple(loads), settling, light, marks)


def _projected(
    chain: Chain,
    modulator: Modulator,
    work: Working,
    case: Case,
    loads: tuple[Load, ...],
    settling: Settling,
    light: float,
    marks: list[str],
) -> Projected:
    found = variances(chain, modulator, work)
    return Projected(
        channels=work.channels,
        bandwidth=work.bandwidth,
        loads=loads,
        settling=settling,
        variance=found,
        nrmse=error(found, work),
        light=light,
        direct_current=float(np.median(chain.direct_current(work.weights))),
        signal_current=float(np.median(chain.signal_current(work.channels, work.weights, work.signal))),
        feedback_resistance=chain.detector.feedback_resistance,
        voltage_gain=chain.transresistance(work.channels, work.weights, case.alpha)
        / chain.detector.feedback_resistance,
        marks=tuple(marks),
    )
