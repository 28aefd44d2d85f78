r"""Where the digital twin stops being true: how large each thing that it leaves out may grow.

A measured machine is built from a twin's own parameters, so that both agree to rounding. Then one effect at a time is
given a size, the machine is trimmed and read as in the laboratory, and its read-outs are compared with the twin's
fixed points over solves of the shipped heart: the error is their root mean square difference over all channels in use,
over the range of the fixed points. The limit is the size at which it passes 1e-2, the error that the laboratory
reports for machine against twin in a diffusion step. Sizes are counted in what the sheets have: the spread between
channels, the flicker, the amplifier's range; where a part was measured and its sheet has no spread, in what the typical
machine's sheet has.

Errors that were there during the trims (laws, optics, delay) leave the node at rest where the trims put it; those that
come afterwards (temperature, drift, droop) do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.compiler import compile_network, knowledge_of
from aocsim.components.microled_measured import MeasuredMicroLed
from aocsim.components.node import SummingNode
from aocsim.components.node_measured import MeasuredNode
from aocsim.components.pair_measured import MeasuredPair
from aocsim.components.roles import Node
from aocsim.components.slm_measured import MeasuredSlm
from aocsim.compose import Electronics, compose, reaching_at_rest
from aocsim.diffusion.network import load_network
from aocsim.diffusion.operator import BlockOperator
from aocsim.diffusion.samplers import implicit_euler
from aocsim.errors import InputError, PhysicsError
from aocsim.library import Library
from aocsim.live import Flicker
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.metrics import nrmse
from aocsim.output import write_json
from aocsim.parallel import parallel
from aocsim.program import Program
from aocsim.seeds import stream
from aocsim.solve.integrators import integrate
from aocsim.solve.steady import steady_state
from aocsim.spec import MachineSpec, PartSpec
from aocsim.terminal import NOTHING
from aocsim.twin import Twin, load, measurement_of
from aocsim.twin.fit import FAR
from aocsim.twin.sheets import TYPICAL, law_of
from aocsim.validate.check import PER_CENT, Setting
from aocsim.validate.limits_figure import draw_limits
from aocsim.validate.setups import heart_units

Array = NDArray[np.float64]

LEVEL = 1e-2
STEPS, SAMPLES, BETA = 16, 24, 25.0
TIMES = (1, 8, 16)  # diffusion steps that are solved
SIZES = np.geomspace(1 / 16, 64, 31)  # of the part's own spread
SECONDS_PER_HOUR = 3600.0
LONG = 60e-6  # s
DEAD_TIME = 20e-9  # s, the largest that is reported, for sheets that have none


@dataclass(frozen=True, eq=False)
class Spreads:
    """What the sheets say of the effects' sizes.

    Attributes:
        node: amplifier whose range and rails are one unit of saturation.
        flicker: rad.
        flicker_common: relative.
        pair_offset: standard deviation at the bases, V.
        pair_attenuation: from node to bases.
        pair_current: standard deviation of the tail currents, relative.
        structure: standard deviation of the pixels, relative.
        gain_drift: 1/sqrt(s).
        offset_drift: V/sqrt(s).
        thermal_droop: 1/K.
        delay: of optical arms and node by entry of the sheet, s; 0 where it has none.
        sheets: where the numbers stand by role, in words.
    """

    node: SummingNode
    flicker: float
    flicker_common: float
    pair_offset: float
    pair_attenuation: float
    pair_current: float
    structure: float
    gain_drift: float
    offset_drift: float
    thermal_droop: float
    delay: Mapping[str, float]
    sheets: Mapping[str, str]

    @property
    def rails(self) -> bool:
        """Whether the amplifier saturates at voltages that it can reach."""
        return min(-self.node.rail_low, self.node.rail_high) < FAR


@dataclass(frozen=True, eq=False)
class Bench:
    """The machine behind a twin, programmed, and what the twin says of it.

    Attributes:
        machine: of measured laws, quantisation and noise left to the effects.
        program: the heart, its largest weight 1.
        alpha: (n,).
        drive: (solves, n) V, trims not included.
        bias: (n,) V that brings the node to rest at 0 with dark modulators and no drive.
        rest: (solves, n) V, the twin's fixed points.
        used: channels that carry a unit.
        seed: of the draws.
        spreads: of the sheets.
    """

    machine: Machine
    program: Program
    alpha: Array
    drive: Array
    bias: Array
    rest: Array
    used: NDArray[np.intp]
    seed: int
    spreads: Spreads


@dataclass(frozen=True)
class Effect:
    """Something that the twin leaves out.

    Attributes:
        name: lower case.
        what: in words.
        spread: what one unit of size is, with its source in words.
        unit: of `one`.
        one: size of one unit; 0 where the sheets have none, and nothing can be told.
        error: error at a size given in units.
    """

    name: str
    what: str
    spread: str
    unit: str
    one: float
    error: Callable[[Bench, float], float]


@dataclass(frozen=True, eq=False)
class Limit:
    """What an effect does to the agreement of machine and twin.

    Attributes:
        name, what, spread, unit, one: as `Effect`.
        sizes: (k,) in units of the part's spread; none where the sheets have no spread.
        error: (k,) relative error; nan where the machine has no fixed point.
        limit: size at which the error passes 1e-2, in units of the spread; nan if it does not within the sizes.
        at_spread: error at one unit, wherever the sizes end; nan where the machine has no fixed point there.
    """

    name: str
    what: str
    spread: str
    unit: str
    one: float
    sizes: Array
    error: Array
    limit: float
    at_spread: float


@dataclass(frozen=True, eq=False)
class Limits:
    """The table: one limit an effect."""

    found: tuple[Limit, ...]
    columns: tuple[str, ...] = ("effect", "limit / spread", "limit", "error at spread", "the part's spread")

    def rows(self) -> list[tuple[str, ...]]:
        """As text."""
        return [
            (
                one.what,
                _size(one, one.limit, ""),
                _size(one, one.limit * one.one, f" {one.unit}"),
                f"{one.at_spread:.2g}" if np.isfinite(one.at_spread) else NOTHING,
                f"{one.one:.3g} {one.unit}: {one.spread}",
            )
            for one in self.found
        ]


def _size(one: Limit, value: float, unit: str) -> str:
    if not len(one.sizes):
        return NOTHING
    if np.isfinite(value):
        return f"{value:.3g}{unit}"
    scale = one.one if unit else 1.0
    if one.error[0] > LEVEL:
        return f"less than {one.sizes[0] * scale:.3g}{unit}"
    return f"more than {one.sizes[np.isfinite(one.error)].max() * scale:.3g}{unit}"


def require_heart(setting: Setting) -> None:
    """Refuse a machine or a twin of fewer channels than the heart has units.

    Raises:
        InputError: with the option to blame.
    """
    units = heart_units(Library.open(setting.library))
    file = setting.twin_file
    channels = setting.spec().channels if file is None else load(file).channels
    if channels < units:
        raise InputError(
            f"the limits are those of the heart, which needs {units} channels",
            key="--machine" if file is None else "--twin",
            got=setting.machine if file is None else str(file),
            allowed=f"{units} channels or more, not {channels}",
        )


@cache
def spreads_of(setting: Setting) -> Spreads:
    """The sheets of the setting's machine; a twin's file has the node of its own."""
    library, spec = Library.open(setting.library), setting.spec()
    typical = library.machine(TYPICAL)

    def sheet(role: str) -> PartSpec:
        measured = spec.parts[role].law == law_of(role)
        return (typical if measured else spec).parts[role]

    own = spec if setting.twin_file is None else load(setting.twin_file).spec(library=library)
    pair, optics, slm, gains = sheet("pair"), sheet("optics"), spec.parts["slm"], spec.parts["gains"]
    return Spreads(
        node=_saturation(Machine.build(own, None).node),
        flicker=_number(slm, "flicker"),
        flicker_common=_number(slm, "flicker_common"),
        pair_offset=_spread(pair, "input_offset"),
        pair_attenuation=_number(pair, "input_attenuation"),
        pair_current=_spread(pair, "tail_current") / _number(pair, "tail_current"),
        structure=_spread(optics, "pixel_structure") / _number(optics, "pixel_structure"),
        gain_drift=_number(gains, "gain_drift"),
        offset_drift=_number(gains, "offset_drift"),
        thermal_droop=_number(spec.parts["led"], "thermal_droop"),
        delay={entry: _number(spec.parts["poles"], entry) for entry in ("optical_delay", "node_delay")},
        sheets={
            **{role: f"sheet {part.name}" for role, part in spec.parts.items()},
            "pair": f"sheet {pair.name}",
            "optics": f"sheet {optics.name}",
            **({} if setting.twin_file is None else {"node": setting.twin_file.name}),
        },
    )


def _number(part: PartSpec, entry: str) -> float:
    return float(part.value(entry))


def _spread(part: PartSpec, entry: str) -> float:
    """Standard deviation between machines' parts, in the entry's unit."""
    found = part[entry]
    return found.spread * (abs(_number(part, entry)) if found.spread_is_relative else 1.0)


def _saturation(node: Node) -> SummingNode:
    """A measured amplifier's linear range and last volts as an amplifier that bends between them."""
    if isinstance(node, MeasuredNode):
        return SummingNode(
            node.linear_low, node.linear_high, node.negative_saturation, node.positive_saturation
        )
    assert isinstance(node, SummingNode)  # there is no third law
    return node


@cache
def bench_of(setting: Setting) -> Bench:
    """The twin of the setting (its file, or its machine in the twin's format), its machine, and the heart on both."""
    library = Library.open(setting.library)
    if setting.twin_file is not None:
        twin = load(setting.twin_file)
    else:
        name = f"{setting.machine}, serial {setting.serial}"
        twin = Twin(measurement_of(setting.spec(), setting.serial, name)[0])
    require_heart(setting)
    spec, spreads = _quiet(twin.spec(library=library)), spreads_of(setting)
    built = Machine.build(spec, None)
    # one thing at a time: the amplifier saturates where that is what is looked at
    node = replace(spreads.node, rail_low=-np.inf, rail_high=np.inf)
    gains = replace(built.gains, gain_drift=spreads.gain_drift, offset_drift=spreads.offset_drift)
    led = built.led
    assert isinstance(led, MeasuredMicroLed)  # the twin's machine has no other
    led = replace(led, thermal_droop=spreads.thermal_droop)
    machine = replace(built, node=node, gains=gains, led=led)
    network = load_network(library.model_path("heart").with_suffix(".nc"))
    operator = BlockOperator.from_network(network, 1 / STEPS)
    volts = machine.pair.knee
    known = knowledge_of(machine, spec, network.activation, "exact", volts)
    program = compile_network(operator, known, volts_per_unit=volts, beta=BETA, alpha_min=0.8).program
    program = replace(program, weight=program.weight / program.weight.max())
    n = machine.channels
    bias = -reaching_at_rest(machine, program, machine.gains.node_offset(program.beta))
    noise = stream(setting.seed, "limits").standard_normal((SAMPLES, operator.layout[0]))
    path = implicit_euler(network, noise, STEPS)
    drive = np.concatenate([program.drive(operator.additive(k / STEPS, path[k - 1])) for k in TIMES])
    weights = (program.weight[0] - program.weight[1]).T
    rest = twin.fixed_point(weights, bias=drive + bias, alpha=program.alpha, beta=program.beta)
    return Bench(
        machine, program, program.alpha, drive, bias, rest, program.channel_of_unit, setting.seed + n, spreads
    )


def _quiet(spec: MachineSpec) -> MachineSpec:
    """Without rounding in the digital-to-analog converters, so that the twin's volts arrive."""
    return replace(spec, parts={**spec.parts, "dac": spec.parts["dac"].with_overrides({"bits": "0"})})


def _error(bench: Bench, read: Array) -> float:
    return float(nrmse(read[:, bench.used], bench.rest[:, bench.used]))


def _electronics(bench: Bench, machine: Machine, trimmed: bool) -> Electronics:
    """The machine's own, with the bias volts of the trims of this machine, or of the one before the change."""
    offset = machine.gains.node_offset(bench.program.beta)
    bias = -reaching_at_rest(machine, bench.program, offset) if trimmed else bench.bias
    return Electronics(bench.alpha, offset + bias)


def _settled(bench: Bench, loop: Loop) -> float:
    """Error of a loop's steady states; where there are none, of what is read long after the start."""
    start = np.zeros((len(bench.drive), loop.states))
    start[:, : loop.channels] = bench.rest
    try:
        read = steady_state(loop, start, bench.drive)
    except PhysicsError:
        read = integrate(loop, np.zeros_like(start), bench.drive, np.array([0.0, LONG])).state[:, -1]
    return _error(bench, read[:, : loop.channels])


def _static(
    change: Callable[[Machine, Bench, float], Machine], trimmed: bool, bench: Bench, size: float
) -> float:
    machine = change(bench.machine, bench, size)
    return _settled(bench, compose(machine, bench.program, _electronics(bench, machine, trimmed)))


def _saturating(machine: Machine, bench: Bench, size: float) -> Machine:
    whole = bench.spreads.node
    ends = (whole.linear_low, whole.linear_high, whole.rail_low, whole.rail_high)
    return replace(machine, node=SummingNode(*(end / size for end in ends)))


def _mismatched(machine: Machine, bench: Bench, size: float) -> Machine:
    pair = machine.pair
    assert isinstance(pair, MeasuredPair)  # the twin's machine has no other
    normals = stream(bench.seed, "limits.pair").standard_normal((2, machine.channels))
    # volts at the node that act as those at the bases
    at_node = bench.spreads.pair_offset / bench.spreads.pair_attenuation
    offset = size * at_node * pair.slope * normals[0]
    swing = np.maximum(1 + size * bench.spreads.pair_current * normals[1], 0.05)
    return replace(
        machine, pair=replace(pair, input_offset=pair.input_offset + offset, swing=pair.swing * swing)
    )


def _structured(machine: Machine, bench: Bench, size: float) -> Machine:
    normals = stream(bench.seed, "limits.structure").standard_normal(machine.optics.structure.shape)
    structure = np.maximum(1 + size * bench.spreads.structure * normals, 0.0)
    return replace(machine, optics=replace(machine.optics, structure=structure))


def _warmer(machine: Machine, bench: Bench, size: float) -> Machine:
    return machine.at_temperature(machine.pair.reference_temperature + size)


def _drooping(machine: Machine, bench: Bench, size: float) -> Machine:
    return replace(machine, led=machine.led.at_temperature(machine.led.reference_temperature + size))


def _flickering(bench: Bench, size: float) -> float:
    machine, panel = bench.machine, bench.machine.slm
    assert isinstance(panel, MeasuredSlm)  # the twin's machine has no other
    own, common = bench.spreads.flicker, bench.spreads.flicker_common
    slm = replace(panel, flicker=size * own, flicker_common=size * common)
    shape = (len(bench.drive), 2, machine.channels, machine.channels)
    rng = stream(bench.seed, "limits.flicker")
    flicker = Flicker(rng.standard_normal(shape), rng.standard_normal(shape[:2]))
    changed = replace(machine, slm=slm)
    return _settled(bench, compose(changed, bench.program, _electronics(bench, machine, False), flicker))


def _drifted(bench: Bench, size: float) -> float:
    machine, shape = bench.machine, (2, *bench.drive.shape)
    gain, offset = stream(bench.seed, "limits.drift").standard_normal(shape) * np.sqrt(
        size * SECONDS_PER_HOUR
    )
    still = _electronics(bench, machine, False)
    electronics = Electronics(
        still.alpha,
        still.offset + machine.gains.offset_drift * offset,
        np.exp(machine.gains.gain_drift * gain),
    )
    return _settled(bench, compose(machine, bench.program, electronics))


def _delayed(entry: str, bench: Bench, size: float) -> float:
    """Read at the end of the record as the laboratory does: a loop that has not settled is in error."""
    machine = bench.machine
    lag = size * (bench.spreads.delay[entry] or DEAD_TIME)
    poles = replace(
        machine.poles,
        optical_delay=lag if entry == "optical_delay" else 0.0,
        node_delay=lag if entry == "node_delay" else 0.0,
    )
    changed = replace(machine, poles=poles)
    loop = compose(changed, bench.program, _electronics(bench, machine, False))
    few = slice(None, None, 4)
    drive, digitiser = bench.drive[few], machine.digitiser
    times = np.concatenate([[0.0], digitiser.times[digitiser.window]])
    found = integrate(loop, np.zeros((len(drive), loop.states)), drive, times)
    read = found.state[:, 1:, : loop.channels].mean(axis=1)
    return float(nrmse(read[:, bench.used], bench.rest[few][:, bench.used]))


def effects(setting: Setting) -> tuple[Effect, ...]:
    """All that the published twin leaves out and this simulator has, in units of the setting's sheets."""
    spreads = spreads_of(setting)
    sheet = spreads.sheets
    lags = {entry: value or DEAD_TIME for entry, value in spreads.delay.items()}
    lags_from = {
        entry: sheet["poles"] if value else f"largest reported, {sheet['poles']} has none"
        for entry, value in spreads.delay.items()
    }
    offset, current = spreads.pair_offset * 1e3, PER_CENT * spreads.pair_current
    # the unit is that of the offsets, unless there are none
    pair = (
        (f"with tail currents of {current:.3g} %", "mV", offset)
        if offset
        else ("tail currents", "%", current)
    )
    flicker = ("each pixel's", "rad", spreads.flicker)
    if not spreads.flicker:
        flicker = ("that of an arm", "%", PER_CENT * spreads.flicker_common)
    return (
        Effect(
            "saturation", "node amplifier's linear range smaller by this factor", f"the range of {sheet['node']}", "x",
            1.0 if spreads.rails else 0.0, partial(_static, _saturating, True)
        ),
        Effect(
            "flicker", "flicker of the modulators, one trial", f"{flicker[0]}, {sheet['slm']}", *flicker[1:],
            _flickering
        ),
        Effect(
            "optical_delay", "dead time in the optical arms", lags_from["optical_delay"], "ns",
            lags["optical_delay"] * 1e9, partial(_delayed, "optical_delay"),
        ),
        Effect(
            "node_delay", "dead time at the node", lags_from["node_delay"], "ns", lags["node_delay"] * 1e9,
            partial(_delayed, "node_delay")
        ),
        Effect(
            "pair_mismatch", "tanh laws of their own for each channel", f"{sheet['pair']}, {pair[0]}", *pair[1:],
            partial(_static, _mismatched, True)
        ),
        Effect(
            "thermal_droop", "emitters warmer than in calibration", "one kelvin", "K", 1.0,
            partial(_static, _drooping, False)
        ),
        Effect("drift", "time since the trims", "one hour of random walk", "h", 1.0, _drifted),
        Effect(
            "temperature", "room warmer than in calibration", "one kelvin", "K", 1.0, partial(_static, _warmer, False)
        ),
        Effect(
            "structure", "optics that are no product of rows and columns", f"{sheet['optics']}, rms", "%",
            PER_CENT * spreads.structure, partial(_static, _structured, True)
        ),
    )  # fmt: skip


def limit_of(setting: Setting, name: str) -> Limit:
    """One effect at all sizes."""
    effect = next(effect for effect in effects(setting) if effect.name == name)
    sizes = SIZES if effect.one else np.zeros(0)
    error, at_one = np.full(len(sizes), np.nan), np.nan
    if effect.one:
        bench = bench_of(setting)
        at_one = _error_at(effect, bench, 1.0)
        for k, size in enumerate(sizes):
            error[k] = _error_at(effect, bench, float(size))
            # beyond the limit nothing more is learnt
            if not error[k] <= 5 * LEVEL:
                break
    return Limit(
        effect.name,
        effect.what,
        effect.spread,
        effect.unit,
        effect.one,
        sizes,
        error,
        crossing(sizes, error),
        at_one,
    )


def _error_at(effect: Effect, bench: Bench, size: float) -> float:
    """Error at a size; nan where the machine has no fixed point."""
    try:
        return effect.error(bench, size)
    except PhysicsError:
        return float("nan")


def crossing(sizes: Array, error: Array, level: float = LEVEL) -> float:
    """Size at which the error first passes the level, interpolated in logarithms; nan if it does not."""
    above = np.flatnonzero(error > level)
    if not len(above) or above[0] == 0:
        return float("nan")
    k = slice(above[0] - 1, above[0] + 1)
    return float(np.exp(np.interp(np.log(level), np.log(error[k]), np.log(sizes[k]))))


def find_limits(setting: Setting, threads: int = 0, progress: bool = False) -> Limits:
    """All effects.

    Args:
        setting: which twin.
        threads: workers; 0 takes all cores.
        progress: show a bar on stderr.
    """
    import os

    from tqdm import tqdm

    require_heart(setting)
    names = [effect.name for effect in effects(setting)]
    workers = min(threads or os.cpu_count() or 1, len(names))
    work = partial(limit_of, setting)
    found = map(work, names) if workers == 1 else parallel(work, names, workers)
    bar = tqdm(found, total=len(names), disable=None if progress else True, unit="effect")
    return Limits(tuple(bar))


def write_limits(limits: Limits, setting: Setting, folder: Path) -> Sequence[Path]:
    """Write twin_limits.json and twin_limits.png."""
    rows = [
        {
            "effect": one.name,
            "what": one.what,
            "spread": one.one,
            "unit": one.unit,
            "spread_is": one.spread,
            "limit_over_spread": one.limit,
            "limit": one.limit * one.one,
            "error_at_spread": one.at_spread,
            "sizes_over_spread": one.sizes,
            "error": one.error,
        }
        for one in limits.found
    ]
    table = write_json(folder / "twin_limits.json", rows)
    source = setting.twin_file.name if setting.twin_file else f"{setting.machine}, serial {setting.serial}"
    picture = draw_limits(limits.found, LEVEL, source, folder / "twin_limits.png")
    return [table, picture]
