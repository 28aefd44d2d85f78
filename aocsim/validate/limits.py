r"""Where the digital twin stops being true: how large each thing that it leaves out may grow.

A measured machine is built from a twin's own parameters, so that both agree to rounding. Then one effect at a time is
given a size, the machine is trimmed and read as in the laboratory, and its read-outs are compared with the twin's
fixed points over solves of the shipped heart: the error is their root mean square difference over all channels in use,
over the range of the fixed points. The limit is the size at which it passes 1e-2, the error that the laboratory
reports for machine against twin in a diffusion step.

Errors that were there during the trims (laws, optics, delay) leave the node at rest where the trims put it; those that
come afterwards (temperature, drift, droop) do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.compiler import compile_network, knowledge_of
from aocsim.components.node import SummingNode
from aocsim.components.pair_measured import MeasuredPair
from aocsim.components.slm_measured import MeasuredSlm
from aocsim.compose import Electronics, compose, reaching_at_rest
from aocsim.diffusion.network import load_network
from aocsim.diffusion.operator import BlockOperator
from aocsim.diffusion.samplers import implicit_euler
from aocsim.errors import PhysicsError
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
from aocsim.spec import MachineSpec
from aocsim.twin import Twin, load, measurement_of
from aocsim.validate.check import Setting
from aocsim.validate.limits_figure import draw_limits

Array = NDArray[np.float64]

LEVEL = 1e-2
STEPS, SAMPLES, BETA = 16, 24, 25.0
TIMES = (1, 8, 16)  # diffusion steps that are solved
SIZES = np.geomspace(1 / 16, 64, 31)  # of the part's own spread
SECONDS_PER_HOUR = 3600.0
LONG = 60e-6  # s
DEAD_TIME = 20e-9  # s, the largest that is reported
PAIR_OFFSET = (
    1e-3 / 0.4415
)  # V at the node that act as 1 mV at the bases, behind the attenuation of the sheet `pair`
RANGE, RAILS = (-1.67, 2.26), (-3.3, 2.85)  # V, as the sheet `node`
PAIR_CURRENT, STRUCTURE = 0.015, 0.025


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
    """

    machine: Machine
    program: Program
    alpha: Array
    drive: Array
    bias: Array
    rest: Array
    used: NDArray[np.intp]
    seed: int


@dataclass(frozen=True)
class Effect:
    """Something that the twin leaves out.

    Attributes:
        name: lower case.
        what: in words.
        spread: what one unit of size is, with its source in words.
        unit: of `one`.
        one: size of one unit.
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
        sizes: (k,) in units of the part's spread.
        error: (k,) relative error; nan where the machine has no fixed point.
        limit: size at which the error passes 1e-2, in units of the spread; nan if it does not within the sizes.
        at_spread: error at one unit.
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
                f"{one.at_spread:.2g}",
                f"{one.one:.3g} {one.unit}: {one.spread}",
            )
            for one in self.found
        ]


def _size(one: Limit, value: float, unit: str) -> str:
    if np.isfinite(value):
        return f"{value:.3g}{unit}"
    scale = one.one if unit else 1.0
    if one.error[0] > LEVEL:
        return f"less than {one.sizes[0] * scale:.3g}{unit}"
    return f"more than {one.sizes[np.isfinite(one.error)].max() * scale:.3g}{unit}"


@cache
def bench_of(setting: Setting) -> Bench:
    """The twin of the setting (its file, or its machine in the twin's format), its machine, and the heart on both."""
    library = Library.open(setting.library)
    if setting.twin_file is not None:
        twin = load(setting.twin_file)
    else:
        name = f"{setting.machine}, serial {setting.serial}"
        twin = Twin(measurement_of(setting.spec(), setting.serial, name)[0])
    spec = _quiet(twin.spec(library=library))
    # one thing at a time: the amplifier saturates where that is what is looked at
    machine = replace(Machine.build(spec, None), node=SummingNode(*RANGE, -np.inf, np.inf))
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
        machine, program, program.alpha, drive, bias, rest, program.channel_of_unit, setting.seed + n
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
    node = SummingNode(*(end / size for end in (*RANGE, *RAILS)))
    return replace(machine, node=node)


def _mismatched(machine: Machine, bench: Bench, size: float) -> Machine:
    pair = machine.pair
    assert isinstance(pair, MeasuredPair)  # the twin's machine has no other
    normals = stream(bench.seed, "limits.pair").standard_normal((2, machine.channels))
    offset = size * PAIR_OFFSET * pair.slope * normals[0]
    swing = np.maximum(1 + size * PAIR_CURRENT * normals[1], 0.05)
    return replace(
        machine, pair=replace(pair, input_offset=pair.input_offset + offset, swing=pair.swing * swing)
    )


def _structured(machine: Machine, bench: Bench, size: float) -> Machine:
    normals = stream(bench.seed, "limits.structure").standard_normal(machine.optics.structure.shape)
    structure = np.maximum(1 + size * STRUCTURE * normals, 0.0)
    return replace(machine, optics=replace(machine.optics, structure=structure))


def _warmer(machine: Machine, bench: Bench, size: float) -> Machine:
    return machine.at_temperature(machine.pair.reference_temperature + size)


def _drooping(machine: Machine, bench: Bench, size: float) -> Machine:
    return replace(machine, led=machine.led.at_temperature(machine.led.reference_temperature + size))


def _flickering(bench: Bench, size: float) -> float:
    machine, panel = bench.machine, bench.machine.slm
    assert isinstance(panel, MeasuredSlm)  # the twin's machine has no other
    slm = replace(panel, flicker=size * panel.flicker, flicker_common=size * panel.flicker_common)
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
    lag = size * DEAD_TIME
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


def effects() -> tuple[Effect, ...]:
    """All that the published twin leaves out and this simulator has."""
    return (
        Effect(
            "saturation", "node amplifier's linear range smaller by this factor", "the range of the sheet node", "x",
            1.0, partial(_static, _saturating, True)
        ),
        Effect("flicker", "flicker of the modulators, one trial", "sheet slm", "rad", 0.015, _flickering),
        Effect(
            "optical_delay", "dead time in the optical arms", "largest reported", "ns", 20.0,
            partial(_delayed, "optical_delay"),
        ),
        Effect(
            "node_delay", "dead time at the node", "largest reported", "ns", 20.0, partial(_delayed, "node_delay")
        ),
        Effect(
            "pair_mismatch", "tanh laws of their own for each channel", "offsets of 1 mV, with tail currents of 1.5 %",
            "mV", 1.0, partial(_static, _mismatched, True)
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
            "structure", "optics that are no product of rows and columns", "sheet optics, rms", "%", 2.5,
            partial(_static, _structured, True)
        ),
    )  # fmt: skip


def limit_of(setting: Setting, name: str) -> Limit:
    """One effect at all sizes."""
    effect = next(effect for effect in effects() if effect.name == name)
    bench = bench_of(setting)
    sizes, error = SIZES, np.full(len(SIZES), np.nan)
    for k, size in enumerate(sizes):
        try:
            error[k] = effect.error(bench, float(size))
        except PhysicsError:
            break
        # beyond the limit nothing more is learnt
        if error[k] > 5 * LEVEL:
            break
    at_one = float(np.interp(0.0, np.log(sizes), error))
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

    names = [effect.name for effect in effects()]
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
