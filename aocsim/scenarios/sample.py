"""Scenario kind "sample": run an analog diffusion model through a machine and compare with the ideal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aocsim.batch import Measured
from aocsim.bench import spacing_of
from aocsim.calibration.sheet import Sheet, read_sheet
from aocsim.compiler import Compiled, compile_network, knowledge_of
from aocsim.diffusion.methods import Stepping
from aocsim.diffusion.network import Network, network_of
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError
from aocsim.experiment import Experiment
from aocsim.library import Library
from aocsim.live import LONGEST, Live
from aocsim.machine import Machine
from aocsim.memory import AnalogMemory
from aocsim.program import Program
from aocsim.provenance import KNOWLEDGE, named_path
from aocsim.scenarios.budget import check_memory, result_bytes
from aocsim.scenarios.digital import start_of
from aocsim.scenarios.ideal import fixed_points
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.trimming import (
    SECONDS_PER_HOUR,
    Tended,
    attend,
    left_by,
    settings_of,
    trim,
)
from aocsim.spec import MachineSpec
from aocsim.spool import Spooled, SpoolFolder, is_much
from aocsim.timeline import Schedule, schedule
from aocsim.trim import (
    ALPHA_ROUNDS,
    ALPHA_TRIALS,
    CHAIN_ROUNDS,
    OFFSET_ROUNDS,
    OFFSET_TRIALS,
    Trims,
)

Array = NDArray[np.float64]

Steps = Array | Spooled
"""Results of all steps, the step on the first axis, in memory or in a file."""


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything before the first solve.

    Attributes:
        scenario: validated.
        spec: the machine's sheets with the scenario's changes.
        machine: as built, with the scenario's record and window, in the room where it is used.
        trim_machine: the same in the room where it was trimmed.
        network: the trained model.
        stepping: the diffusion's method and steps, with the operator of every solve.
        compiled: the program and its errors; where there are two programs, the implicit one's.
        schedule: of one sample.
        sheet: the calibration that the machine is known by, if it is.
        opened: where Crank-Nicolson's explicit half is a solve of its own, its program on the same channels.
    """

    scenario: Scenario
    spec: MachineSpec
    machine: Machine
    trim_machine: Machine
    network: Network
    stepping: Stepping
    compiled: Compiled
    schedule: Schedule
    sheet: Sheet | None = None
    opened: Compiled | None = None

    @property
    def operator(self) -> BlockOperator:
        """What the loop is programmed with; where there are two programs, with the implicit one."""
        return self.stepping.operator

    @property
    def known_by_another(self) -> list[str]:
        """A note where the calibration that the machine is known by is of another one; else none."""
        here = f"{self.scenario.machine}, serial {self.scenario.serial}"
        known = here if self.sheet is None else self.sheet.attributes.get("machine", here)
        if known == here:
            return []
        return [f"the calibration that the compiler knows is of another machine: {known}, not {here}"]

    def compiled_of(self, solve: int) -> Compiled:
        """The program that is loaded in a solve, counted from 0."""
        return self.compiled if self.opened is None or solve % 2 else self.opened


@dataclass(frozen=True, eq=False)
class Run:
    """What the run gave. Solves of a sample, one for each diffusion step but two of Heun's, stand on the first axis.

    Attributes:
        trims: what the trims have found, and what they took.
        offset_left: (n,) V that reach each node at zero signal after the trims, seen from inside.
        alpha_left: (n,) alpha that arrives less the one that is wanted.
        tended: when each sample began, and the bias that held for it.
        start: (samples, d) noise.
        state: (solves, samples, d) points after each solve, network units.
        read_out: (solves, samples, n) V; like the other large ones in a file if there is much of them.
        ideal_fixed_point: (solves, samples, units) digital fixed point from the machine's own state.
        settling: (solves, samples) s; nan without diagnosis.
        saturated: (solves, samples) whether a used channel's fixed point is outside the amplifier's linear range; false
            without diagnosis.
        voltage: (solves, kept samples, kept trials, times, n) V.
        solution_voltage: (solves, samples, times, d) V, channels that carry the sample, first trial.
        evaluations: of the right-hand side in the run's solves.
        trim_seconds: wall time of the trims.
        solve_seconds: wall time of trims and solves.
    """

    trims: Trims
    offset_left: Array
    alpha_left: Array
    tended: Tended
    start: Array
    state: Array
    read_out: Steps
    ideal_fixed_point: Steps
    settling: Array
    saturated: NDArray[np.bool_]
    voltage: Steps
    solution_voltage: Steps
    evaluations: int
    trim_seconds: float
    solve_seconds: float


def prepare(scenario: Scenario, library: Library) -> Setup:
    """Build the machine, compile the network, lay out the timeline.

    Raises:
        AocsimError: anything that makes the scenario impossible, before the first solve.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    built = with_record(Machine.build(spec, scenario.serial), scenario)
    network = network_of(library.model_path(scenario.model).with_suffix(".nc"))
    diffusion = scenario.diffusion
    _ = network.rings  # known data, or refused before the first solve
    check_memory(scenario, built, network)
    stepping = Stepping.of(network, diffusion.method, diffusion.steps, diffusion.explicit_half)
    settings, room = scenario.compile, scenario.environment
    volts = settings.volts_per_unit or Machine.build(spec, serial=None).pair.knee
    # parts are known as their sheets have them, at the sheets' own temperature
    sheet: Sheet | None = None
    knowledge: float | str | Machine = settings.knowledge
    if settings.calibration is not None:
        sheet, knowledge = _calibrated(settings.calibration, spec, library)
    known = knowledge_of(built, spec, network.activation, knowledge, volts)

    def compiled_for(
        operator: BlockOperator, channels: Literal["chosen", "in_order"] | NDArray[np.intp]
    ) -> Compiled:
        return compile_network(
            operator,
            known,
            volts_per_unit=volts,
            beta=settings.beta,
            alpha=settings.alpha,
            alpha_min=settings.alpha_min,
            channels=channels,
        )

    compiled, opened = compiled_for(stepping.operator, settings.channels), None
    if stepping.opened is not None:
        opened = compiled_for(stepping.opened, compiled.program.channel_of_unit)
    trim_machine = (
        built if room.temperature_at_trim is None else built.at_temperature(room.temperature_at_trim)
    )
    machine = built if room.temperature is None else built.at_temperature(room.temperature)
    plan = schedule(
        machine,
        steps=diffusion.solves,
        trials=scenario.trials,
        trial_spacing=spacing_of(Live.of(machine, scenario.seed), scenario.timeline.trial_spacing),
        memory=scenario.timeline.memory,
        reload_weights=opened is not None,
    )
    check_clock(scenario, plan)
    return Setup(scenario, spec, machine, trim_machine, network, stepping, compiled, plan, sheet, opened)


def _calibrated(name: str, spec: MachineSpec, library: Library) -> tuple[Sheet, Machine]:
    """A calibration, and the machine that it describes.

    Raises:
        InputError: no such file, no calibration, or one of another machine.
    """
    try:
        sheet = read_sheet(named_path(KNOWLEDGE, name, library))
        return sheet, sheet.machine(Machine.build(spec, serial=None), library)
    except InputError as error:
        raise InputError(
            f"{error.key}: {error.problem}" if error.key else error.problem,
            file=error.file,
            key="compile.knowledge",
            got=error.got,
            allowed=error.allowed,
            nearest=error.nearest,
        ) from error


def with_record(machine: Machine, scenario: Scenario) -> Machine:
    """The machine with the record length and read-out window that the scenario asks for.

    Raises:
        InputError: a window outside the record, or one that holds no sample.
    """
    digitiser = machine.digitiser
    samples = scenario.timeline.samples_per_record or digitiser.samples
    # the record ends one sampling interval after its last sample
    length = samples / digitiser.sample_rate
    start, stop = scenario.timeline.window(length, (digitiser.window_start, digitiser.window_stop))
    changed = replace(digitiser, samples=samples, window_start=start, window_stop=stop)
    if changed.window.start >= changed.window.stop:
        raise InputError(
            "the read-out window holds no sample",
            key="timeline.window_start",
            got=f"{start * 1e6:.4g} to {stop * 1e6:.4g} us",
            allowed=f"at least one multiple of {1e6 / digitiser.sample_rate:.4g} us",
        )
    return replace(machine, digitiser=changed)


def check_clock(scenario: Scenario, plan: Schedule) -> None:
    """Refuse, before anything is computed, what lasts longer than the bench's clock goes.

    Raises:
        InputError: names what makes it so long.
    """
    trims = solves_of(scenario) - scenario.samples * scenario.trials * scenario.diffusion.solves
    chained = scenario.timeline.memory == "sample_and_hold"
    # a trim's solve takes no longer than one of a sample
    solve = plan.period / (scenario.trials * (1 if chained else scenario.diffusion.solves))
    waiting = SECONDS_PER_HOUR * scenario.environment.hours_since_trim
    spacing = scenario.timeline.trial_spacing
    total = waiting + plan.run_duration(scenario.samples) + trims * solve
    if total >= LONGEST:
        raise InputError(
            f"the run would last {total:.3g} s on the bench's clock, {waiting:.3g} s of it before the first sample "
            "(environment.hours_since_trim), the rest by the solves' spacing and their number (samples, trials, "
            "diffusion.steps)",
            key="timeline.trial_spacing",
            got="the shortest possible" if spacing is None else f"{spacing:.6g} s",
            allowed=f"less than {LONGEST:.4g} s in all",
        )


def solves_of(scenario: Scenario) -> int:
    """Number of solves of trims and run together."""
    steps, electronics = scenario.diffusion.solves, 0
    if scenario.compile.trims == "bench":
        programs = 2 if scenario.diffusion.explicit_half == "opened_ring" else 1
        electronics = programs * (2 * ALPHA_TRIALS * (1 + ALPHA_ROUNDS) + OFFSET_TRIALS * OFFSET_ROUNDS)
    others = scenario.compile.operating_point_trim * steps
    if scenario.timeline.memory == "sample_and_hold":
        others *= CHAIN_ROUNDS
    return scenario.samples * scenario.trials * steps + others + electronics


def execute(
    setup: Setup,
    progress: Callable[[int], object] = lambda solves: None,
    scratch: Callable[[], Path | None] = lambda: None,
    kicks: Mapping[int, Array] | None = None,
) -> Run:
    """Trim the machine, then take all samples through all diffusion steps.

    Args:
        setup: of the scenario.
        progress: called with the number of solves as they are done.
        scratch: gives the folder where large results are kept on the way; None is the system's temporary folder. Asked
            only if there are any.
        kicks: what is added to the points, by number of the solve that it is added after, (samples, d) network units.

    Raises:
        PhysicsError: a loop or a network without fixed point, or an unstable loop.
        ResourceError: the disk has no room for large results.
    """
    scenario, program = setup.scenario, setup.compiled.program
    machine, plan = setup.machine, setup.schedule
    stepping, count, trials = setup.stepping, scenario.samples, scenario.trials
    began = time.perf_counter()
    trims, bench = trim(setup, progress)
    clock = bench.clock
    tended = attend(setup, trims, bench)
    begun = tended.begun
    trimmed = time.perf_counter()
    live = Live.of(machine, scenario.seed)

    def ready(program: Program, found: Trims) -> Experiment:
        loaded = replace(program, alpha=machine.gains.set_alpha(found.alpha))
        return Experiment(machine, loaded, live, scenario.seed, "run", settings_of(scenario))

    turns = [(program, ready(program, trims), tended.bias)]
    if setup.opened is not None and trims.opened is not None and tended.bias_opened is not None:
        first = setup.opened.program
        turns.insert(0, (first, ready(first, trims.opened), tended.bias_opened))
    n = machine.channels
    carriers = program.channel_of_unit[stepping.operator.result]
    analog = scenario.timeline.memory == "sample_and_hold"
    chains = trials if analog else 1  # an analog memory averages no trials: each one is a chain of its own
    memory = AnalogMemory(
        machine.memory,
        carriers,
        1.0 - program.alpha[carriers],
        seed=scenario.seed,
        name="run",
        noise=scenario.solve.amplitude,
    )
    start = start_of(setup.network, count, scenario.seed)
    kept = (min(scenario.record.samples, count), min(scenario.record.trials, trials))
    size = result_bytes(scenario, machine, setup.network)
    warm = scenario.timeline.start == "previous"
    left: Array | None = None
    points, found = [start], _Collected(SpoolFolder(scratch(), size) if is_much(size) else None)
    for step in range(stepping.solves):
        x, t = stepping.ask(points)
        operator, (program, run, bias) = stepping.operator_of(step), turns[step % len(turns)]
        from_host = x if step == 0 or not analog else np.zeros_like(x)
        drive = bias + program.drive(operator.additive(t, from_host), trims.correction[step])
        starts = begun[:, None] + np.array(plan.starts[step])
        segment = plan.solve_of(step)
        measured = run.measure(
            np.repeat(drive, chains, axis=0),
            starts.reshape(count * chains, -1),
            step,
            analog=memory.drive(count * chains, n),
            keep=(kept[0] * chains, kept[1]),
            watch=program.channel_of_unit[operator.result],
            closed=segment.stop - segment.start,
            diagnose=scenario.record.diagnosis,
            hold=analog,
            start=left,
            done=progress,
        )
        left = measured.left if warm else None
        found.ideal.append(fixed_points(operator, x, t))
        read_out = found.add(measured, count, chains, kept[1])
        rest = measured.fixed_point[::chains, program.channel_of_unit]
        low, high = machine.node.linear_low, machine.node.linear_high
        found.saturated.append(np.any((rest < low) | (rest > high), axis=-1))
        points.append(stepping.accept(points, np.array(program.units(read_out)[:, operator.result])))
        if kicks and step in kicks:
            points[-1] = points[-1] + kicks[step]
        if analog and step + 1 < stepping.solves:
            until = (
                plan.starts[step + 1][0] - plan.starts[step][0] - plan.held + machine.digitiser.times[-1] / 2
            )
            memory.hold(measured.at_hold[:, 0], step, until)
    ended = time.perf_counter()
    return Run(
        trims=trims,
        **left_by(setup, trims, clock),
        tended=tended,
        start=start,
        state=np.array(points[1:]),
        read_out=_whole(found.read_out),
        ideal_fixed_point=_whole(found.ideal),
        settling=np.array(found.settling),
        saturated=np.array(found.saturated),
        voltage=_whole(found.voltage),
        solution_voltage=_whole(found.watched),
        evaluations=found.evaluations,
        trim_seconds=trimmed - began,
        solve_seconds=ended - began,
    )


def _whole(steps: list[Array] | Spooled) -> Steps:
    """All steps; a list is emptied on the way, so that nothing stands in memory twice."""
    if isinstance(steps, Spooled):
        return steps
    out = np.empty((len(steps), *steps[0].shape))
    for place in reversed(out):
        place[...] = steps.pop()
    return out


@dataclass
class _Collected:
    """Results of the steps so far; the large ones in `folder` if there is one."""

    folder: SpoolFolder | None
    settling: list[Array] = field(default_factory=list)
    saturated: list[NDArray[np.bool_]] = field(default_factory=list)
    evaluations: int = 0

    def __post_init__(self) -> None:
        def steps(name: str) -> list[Array] | Spooled:
            return [] if self.folder is None else Spooled(self.folder, name)

        self.ideal, self.read_out = steps("ideal_fixed_point"), steps("read_out")
        self.voltage, self.watched = steps("voltage"), steps("solution_voltage")

    def add(self, measured: Measured, samples: int, chains: int, trials: int) -> Array:
        """Take one step's results in, chains of a sample are its trials; returns the read-out, (samples, n) V."""
        read_out: Array = measured.read_out.reshape(samples, chains, -1).mean(axis=1)
        self.read_out.append(read_out)
        self.settling.append(measured.settling[::chains])
        self.watched.append(measured.watched[::chains])
        voltage = measured.voltage
        if chains > 1:
            voltage = voltage.reshape(-1, chains, *voltage.shape[2:])[:, :trials]
        self.voltage.append(voltage)
        self.evaluations += measured.evaluations
        return read_out
