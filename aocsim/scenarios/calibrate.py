"""Scenario kind "calibration": experiments at the bench, and the two stages of fits to them.

Everything that is fitted comes from a `Record`: what the bench gave, or what a file holds. So experiments on file give
the same numbers without the machine. Only the comparison with the data sheets asks more: their nominal machine makes
the held-out experiments, too, without noise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.bench import SimulatedBench, clock_after, spacing_of
from aocsim.calibration.chain import LAW, NAMES, Chain
from aocsim.calibration.closed import ClosedFit, Electronics, Experiments, at_rest, fit_closed, rests
from aocsim.calibration.experiments import Block, closed, dedicated, sweep
from aocsim.calibration.joint import Fitted, fit_together
from aocsim.calibration.measure import Taken, take
from aocsim.calibration.record import Record, read_record, refuse_dead_or_clipped
from aocsim.calibration.sheet import Sheet, read_sheet
from aocsim.calibration.start import first_chain
from aocsim.calibration.transient_fit import TransientFit, fit_transients
from aocsim.calibration.transients import take_transients, transient_block
from aocsim.errors import InputError
from aocsim.experiment import SolveSettings
from aocsim.instrument import Capabilities, Instrument, sealed
from aocsim.library import Library
from aocsim.live import Live
from aocsim.machine import Machine
from aocsim.output import write_json
from aocsim.provenance import named_path
from aocsim.scenarios.calibration_schema import Calibration
from aocsim.scenarios.trimming import SECONDS_PER_HOUR, settings_of
from aocsim.spec import MachineSpec

Array = NDArray[np.float64]

OPEN_STAGES = ("offset", "single", "uniform", "columns", "sweep")
MARKER = "of.json"


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything before the first experiment.

    Attributes:
        scenario: validated.
        spec: the machine's sheets with the scenario's changes.
        machine: as built, in the room.
        facts: what the data sheets of the bench's devices say.
        record: experiments on file; None where they are to be made.
        first: a calibration whose first stage is taken over; None where there is one to be made.
    """

    scenario: Calibration
    spec: MachineSpec
    machine: Machine
    facts: Capabilities
    record: Record | None
    first: Sheet | None

    @property
    def label(self) -> str:
        """The machine in words."""
        return f"{self.machine.name}, serial {self.scenario.serial}"


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of predictions of held-out experiments: root mean square over outputs, over the outputs' range.

    Attributes:
        nominal: (m,) of the data sheets' machine.
        before: (m,) of the stage before: the dedicated experiments alone, or the open loop alone.
        fitted: (m,) of the stage.
        residual: (m, n) V, read less predicted by the stage.
    """

    nominal: Array
    before: Array
    fitted: Array
    residual: Array


@dataclass(frozen=True, eq=False)
class Found:
    """What a calibration has found.

    Attributes:
        record: all experiments.
        opened: the first stage.
        live: (n,) which inputs shine.
        errors: of held-out weights with the loop open; None where the stage was taken over.
        closed: the second stage, if there is one.
        rests: the experiments that it was fitted to.
        closed_errors: of held-out ones.
        left_out: closed-loop experiments that did not come to rest, by why.
        transients: pole, delay and relaxation of each channel, if they were recorded.
    """

    record: Record
    opened: Fitted
    live: NDArray[np.bool_]
    errors: Errors | None
    closed: ClosedFit | None = None
    rests: Experiments | None = None
    closed_errors: Errors | None = None
    left_out: dict[str, int] | None = None
    transients: TransientFit | None = None


def prepare(scenario: Calibration, library: Library) -> Setup:
    """Build the machine, read what is on file.

    Raises:
        AocsimError: anything that makes the scenario impossible, before the first experiment.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    machine = Machine.build(spec, scenario.serial)
    if scenario.temperature is not None:
        machine = machine.at_temperature(scenario.temperature)
    facts = SimulatedBench(machine).capabilities
    record = None if scenario.record is None else read_record(named_path("record", scenario.record, library))
    if record is not None and record.facts.channels != facts.channels:
        raise InputError(
            f"the experiments are of another machine: {scenario.machine} has {facts.channels} channels",
            file=scenario.record,
            key="channel",
            got=record.facts.channels,
            allowed=str(facts.channels),
        )
    first = (
        None
        if scenario.open_loop is None
        else read_sheet(named_path("open_loop", scenario.open_loop, library))
    )
    if first is not None and first.channels != facts.channels:
        raise InputError(
            f"is the calibration of another machine: {scenario.machine} has {facts.channels} channels",
            file=scenario.open_loop,
            key="open_loop",
            got=first.channels,
            allowed=str(facts.channels),
        )
    return Setup(scenario, spec, machine, facts if record is None else record.facts, record, first)


def blocks_of(scenario: Calibration, facts: Capabilities) -> tuple[list[Block], list[Block]]:
    """What is asked of the bench: experiments that are fitted, and those that are held out, later."""
    first, second = scenario.open, scenario.closed
    fitted: list[Block] = []
    held: list[Block] = []
    if scenario.open_loop is None:
        fitted += dedicated(facts, scenario.beta, trials=first.dedicated_trials)
        swept = list(
            sweep(
                facts,
                scenario.beta,
                scenario.seed,
                matrices=first.matrices,
                inputs=first.inputs,
                gains=first.gains,
                trials=first.trials,
            )
        )
        fitted += swept[: -first.held_out]
        held += swept[-first.held_out :]
    if second is not None:
        loops = list(
            closed(
                facts,
                scenario.beta,
                scenario.seed,
                matrices=second.matrices,
                inputs=second.inputs,
                trials=second.trials,
            )
        )
        fitted += loops[: -second.held_out]
        held += loops[-second.held_out :]
    return fitted, held


def solves_of(setup: Setup) -> int:
    """Number of solves."""
    if setup.record is not None:
        return 0
    blocks = [block for part in blocks_of(setup.scenario, setup.facts) for block in part]
    if setup.scenario.transients is not None:
        blocks.append(transient_block(setup.facts, trials=setup.scenario.transients.trials))
    return sum(block.solves for block in blocks)


def experiments_of(
    setup: Setup, kept: Path | None, progress: Callable[[int], object] = lambda solves: None
) -> Record:
    """All experiments: from the file, or made at the bench, where finished blocks survive in the folder `kept`.

    Raises:
        InputError: the folder holds experiments of another calibration.
    """
    if setup.record is not None:
        return setup.record
    scenario = setup.scenario
    if kept is not None:
        _claim(kept, setup)
    settings = settings_of(scenario)
    workers = settings.threads
    benches = _Benches(setup.machine, scenario.seed, settings, progress)
    if workers > 1:  # each makes whole blocks, and what it has made is counted when it is here
        benches = replace(benches, settings=replace(settings, threads=1), progress=_nothing)
    fitted, held = blocks_of(scenario, setup.facts)
    taken = take(fitted, benches, kept, progress, ends=benches.ends, workers=workers)
    later = taken[-1].ended + scenario.hours_later * SECONDS_PER_HOUR
    taken += take(held, benches, kept, progress, clock=later, ends=benches.ends, workers=workers)
    transients = None
    if scenario.transients is not None:
        block = transient_block(setup.facts, trials=scenario.transients.trials)
        whole = _Benches(setup.machine, scenario.seed, settings, progress)
        transients = take_transients(block, whole, kept, progress, clock=taken[-1].ended)
    return Record(setup.facts, setup.label, tuple(taken), transients)


@dataclass(frozen=True, eq=False)
class _Benches:
    """Opens a bench for each block; can be sent to a worker."""

    machine: Machine
    seed: int
    settings: SolveSettings
    progress: Callable[[int], object]

    def __call__(self, name: str, clock: float) -> Instrument:
        bench = SimulatedBench(
            self.machine,
            seed=self.seed,
            name=f"calibrate.{name}",
            settings=self.settings,
            progress=self.progress,
        )
        bench.wait(clock)
        return sealed(bench)

    @cached_property
    def _spacing(self) -> float:
        return spacing_of(Live.of(self.machine, self.seed), None)

    def ends(self, block: Block, clock: float) -> float:
        """Where the clock will stand after a block, s."""
        readings = [(len(setting.condition), setting.trials) for setting in block.settings]
        return clock_after(self.machine, self._spacing, readings, clock)


def _nothing(solves: int) -> None:
    """Tell nobody: a worker has no progress bar."""


def _claim(kept: Path, setup: Setup) -> None:
    """Refuse a folder with experiments of another machine, seed or solver."""
    scenario = setup.scenario
    decides = {
        "sheets": {role: [part.sha256, part.overrides] for role, part in setup.spec.parts.items()},
        "machine": setup.spec.sha256,
        "serial": scenario.serial,
        "seed": scenario.seed,
        "temperature": scenario.temperature,
        "solve": scenario.solve.model_dump(exclude={"threads"}),
    }
    text = json.dumps(decides, sort_keys=True, default=dict)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = kept / MARKER
    if kept.exists() and not path.exists() and (not kept.is_dir() or any(kept.iterdir())):
        raise InputError("is there, and not of a calibration: take another --out, or move it away", file=kept)
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("sha256")
        except (OSError, ValueError, AttributeError) as error:
            raise InputError("damaged: remove the folder", file=path) from error
        if found != digest:
            raise InputError(
                "holds unfinished experiments of another calibration: take another --out, or remove the folder",
                file=kept,
            )
        return
    kept.mkdir(parents=True, exist_ok=True)
    write_json(path, {"sha256": digest})


def forget(kept: Path) -> None:
    """Remove finished blocks and their folder; whatever else lies in it stays."""
    if not (kept / MARKER).is_file():
        return
    for path in (*kept.glob("*.npz"), kept / MARKER):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # somebody has put something else there
        kept.rmdir()


def execute(setup: Setup, record: Record) -> Found:
    """Fit both stages and predict what was held out.

    Args:
        setup: of the scenario.
        record: all experiments.

    Raises:
        InputError: experiments that cannot be fitted.
        PhysicsError: too few of them.
        NoConvergenceError: a fit has not come to an end.
    """
    scenario, top = setup.scenario, record.facts.grey_levels
    nominal = nominal_bench(setup)
    errors: Errors | None = None
    if setup.first is None:
        refuse_dead_or_clipped(record, scenario.record)
        _refuse_missing(setup, record)
        kept, held = _parted(record.stage(*OPEN_STAGES), "sweep", scenario.open.held_out)
        first, live = first_chain({one.block.name: one for one in kept}, top)
        fitted = fit_together(kept, first, live, top)
        errors = _open_errors(held, first, fitted.chain, top, nominal)
    else:
        fitted, live = taken_over(setup.first)
    transients = None
    if scenario.transients is not None:
        if record.transients is None:
            raise InputError(
                "holds no transients", file=scenario.record, key="transients", allowed="without [transients]"
            )
        transients = fit_transients(record.transients)
    if scenario.closed is None:
        return Found(record, fitted, live, errors, transients=transients)
    loops = record.stage("closed")
    kept, held = _parted(loops, "closed", scenario.closed.held_out)
    seen, unseen = at_rest(kept, top), at_rest(held, top)
    found = fit_closed(fitted.chain, seen, fitted.covariance)
    left = {why: seen.left_out[why] + unseen.left_out[why] for why in seen.left_out}
    closed_errors = _closed_errors(held, unseen, fitted.chain, found.electronics, nominal)
    return Found(record, fitted, live, errors, found, seen, closed_errors, left, transients)


def taken_over(sheet: Sheet) -> tuple[Fitted, NDArray[np.bool_]]:
    """The first stage of another calibration, and which inputs shine."""
    error = np.concatenate([np.ravel(sheet.errors[name]) for name in NAMES])
    identified = np.concatenate([np.ravel(sheet.identified[name]) for name in NAMES])
    covariance = sheet.correlation * np.outer(error, error)
    live = np.asarray(sheet.chain.row.any(axis=0))
    return Fitted(sheet.chain, covariance, identified, np.empty(0), {}, 0), live


def _refuse_missing(setup: Setup, record: Record) -> None:
    """Refuse a record without one of the dedicated experiments."""
    there = {one.block.name for one in record.taken}
    wanted = dedicated(record.facts, setup.scenario.beta, trials=1)
    missing = [block.name for block in wanted if block.stage != "uniform" and block.name not in there]
    if missing:
        raise InputError(
            f"too few experiments: {len(missing)} of the dedicated ones are missing, such as {missing[0]}",
            file=setup.scenario.record,
            key="name",
        )
    for sign in ("plus", "minus"):
        levels = sum(name.startswith(f"uniform_{sign}_") for name in there)
        if levels <= LAW:
            raise InputError(
                f"too few experiments: {levels} grey levels of uniform_{sign}_* cannot tell the columns' law",
                file=setup.scenario.record,
                key="name",
                allowed=f"more than {LAW}",
            )


def _parted(taken: list[Taken], stage: str, count: int) -> tuple[list[Taken], list[Taken]]:
    """What is fitted, and the last blocks of a stage, which are not."""
    names = [one.block.name for one in taken if one.block.stage == stage]
    if len(names) <= count:
        raise InputError(
            f"too few experiments: {len(names)} sets of random weights, of which {count} are held out",
            key=f"{'closed' if stage == 'closed' else 'open'}.held_out",
            got=count,
            allowed=f"fewer than {len(names)}",
        )
    out = set(names[-count:])
    return [t for t in taken if t.block.name not in out], [t for t in taken if t.block.name in out]


def nominal_bench(setup: Setup) -> Instrument:
    """The bench of the machine that the data sheets promise, without noise."""
    nominal = Machine.build(setup.spec, serial=None)
    settings = SolveSettings(setup.scenario.solve.method, noise=False)
    return SimulatedBench(nominal, settings=settings, trial_spacing=0.0)


def _predicted(block: Block, bench: Instrument) -> Array:
    """What a bench gives for a block's experiments, one trial each, (experiments, n) V."""
    bench.load_weights(block.grey)
    bench.set_switch(block.switch)
    out = []
    for setting in block.settings:
        bench.set_gains(setting.alpha, setting.beta)
        out.append(bench.read(setting.condition).mean)
    return np.concatenate(out)


def relative(error: Array, read: Array) -> Array:
    """Root mean square over outputs, over the range of what was read, for (m, n) V: (m,)."""
    return np.asarray(np.sqrt(np.mean(error**2, axis=1)) / np.ptp(read, axis=1))


def _open_errors(held: list[Taken], first: Chain, chain: Chain, top: int, nominal: Instrument) -> Errors:
    parts: Iterator[tuple[Array, Array, Array, Array]] = (
        (
            one.mean,
            _predicted(one.block, nominal),
            first.response(one.block.grey / top, one.condition, one.beta),
            chain.response(one.block.grey / top, one.condition, one.beta),
        )
        for one in held
    )
    read, sheet, before, after = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Errors(
        relative(read - sheet, read),
        relative(read - before, read),
        relative(read - after, read),
        read - after,
    )


def _closed_errors(
    held: list[Taken], unseen: Experiments, chain: Chain, electronics: Electronics, nominal: Instrument
) -> Errors:
    read = unseen.rest
    ideal = Electronics.ideal(chain.channels)
    before, after = rests(chain, ideal, unseen)[0], rests(chain, electronics, unseen)[0]
    sheet = np.concatenate([_predicted(one.block, nominal) for one in held])[unseen.number]
    return Errors(
        relative(read - sheet, read),
        relative(read - before, read),
        relative(read - after, read),
        read - after,
    )
