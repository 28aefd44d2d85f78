"""Trims within a scenario: before the samples, and again while they are taken."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.bench import SimulatedBench
from aocsim.compose import electronics_of, reaching_at_rest
from aocsim.experiment import SolveSettings
from aocsim.instrument import Instrument, sealed
from aocsim.live import Live
from aocsim.scenarios.calibration_schema import Calibration
from aocsim.scenarios.schema import Scenario
from aocsim.seeds import stream
from aocsim.trim import Cost, Trims, at_operating_point, load, trim_electronics, trim_offsets

if TYPE_CHECKING:
    from aocsim.scenarios.sample import Setup

Array = NDArray[np.float64]

SECONDS_PER_HOUR = 3600.0


def threads_of(scenario: Scenario | Calibration) -> int:
    """Worker processes, at least 1."""
    return scenario.solve.threads or os.cpu_count() or 1


def settings_of(scenario: Scenario | Calibration) -> SolveSettings:
    """The solver's settings."""
    solve = scenario.solve
    return SolveSettings(solve.method, solve.rtol, solve.atol, threads_of(scenario), solve.amplitude)


def trim(setup: Setup, progress: Callable[[int], object]) -> tuple[Trims, Instrument]:
    """Trim the machine on the bench: what was found, and the bench as it is then."""
    scenario, program = setup.scenario, setup.compiled.program
    # sealed: what the trims find, they find with instruments
    bench = sealed(
        SimulatedBench(
            setup.trim_machine,
            seed=scenario.seed,
            settings=settings_of(scenario),
            trial_spacing=scenario.timeline.trial_spacing,
            progress=progress,
        )
    )
    solves = scenario.diffusion.solves
    opened = None
    if setup.opened is not None and setup.stepping.opened is not None:
        opened = Trims.none(setup.opened.program, solves)
        if scenario.compile.trims == "bench":
            opened = trim_electronics(bench, setup.opened.program, setup.stepping.opened, solves)
    found = Trims.none(program, solves)
    if scenario.compile.trims == "bench":
        found = trim_electronics(bench, program, setup.operator, solves)
    if opened is not None:
        more = tuple(replace(cost, name=f"{cost.name} opened") for cost in opened.costs)
        found = replace(found, costs=(*more, *found.costs), opened=opened)
    others = scenario.compile.operating_point_trim
    if others:
        if scenario.compile.trims == "none":
            load(bench, program)
        start = stream(scenario.seed, "trim.start").standard_normal((others, setup.network.layout[0]))
        analog = scenario.timeline.memory == "sample_and_hold"
        first = None if setup.opened is None else setup.opened.program
        found = at_operating_point(bench, program, found, setup.stepping, start, analog=analog, opened=first)
    return found, bench


@dataclass(frozen=True, eq=False)
class Tended:
    """The samples' times, and what was done for the machine between them.

    Attributes:
        begun: (samples,) s on the bench's clock, when each sample's schedule begins.
        bias: (samples, n) V, of the latest offset trim.
        costs: of the offset trims between samples.
        bias_opened: (samples, n) V, the same of the program of an explicit half that is a solve of its own.
    """

    begun: Array
    bias: Array
    costs: tuple[Cost, ...]
    bias_opened: Array | None = None


def attend(setup: Setup, trims: Trims, bench: Instrument) -> Tended:
    """Lay out the samples in time, with offset trims in between as often as the scenario wants them.

    Offsets drift by a tenth of a millivolt within a minute, and 1/(1 - alpha) amplifies that. A machine that the
    scenario leaves alone, for hours or in another room, is not trimmed again.

    Args:
        setup: of the scenario.
        trims: made before.
        bench: on which they were made, in the state in which they left it.
    """
    scenario, plan, count = setup.scenario, setup.schedule, setup.scenario.samples
    opened = trims.opened
    bias_opened = None if opened is None else np.tile(opened.bias, (count, 1))
    settings, room = scenario.compile, scenario.environment
    interval = settings.offset_trim_interval
    alone = room.hours_since_trim > 0 or rooms_differ(setup)
    if settings.trims == "none" or alone:
        first = bench.clock + SECONDS_PER_HOUR * room.hours_since_trim
        begun = np.asarray(first + np.arange(count) * plan.period, dtype=float)
        return Tended(begun, np.tile(trims.bias, (count, 1)), (), bias_opened)
    chunk = max(1, int(interval / plan.period))
    begun, bias, costs, now = np.empty(count), np.empty((count, len(trims.bias))), [], trims.bias
    for first_of in range(0, count, chunk):
        # the weights are loaded once, with the first sample; later ones skip the load that every schedule begins with,
        # unless two programs take turns
        skipped = 0.0
        here = np.arange(first_of, min(first_of + chunk, count))
        if first_of:
            if opened is not None and bias_opened is not None and setup.opened is not None:
                before, operator = bias_opened[first_of - 1], setup.stepping.operator_of(0)
                again, cost = trim_offsets(bench, setup.opened.program, operator, opened.alpha, before)
                costs.append(cost)
                bias_opened[first_of:] = again
            now, cost = trim_offsets(
                bench, setup.compiled.program, setup.operator, trims.alpha, now, loaded=opened is None
            )
            costs.append(cost)
            skipped = plan.load_time if opened is None else 0.0
        begun[here] = bench.clock - skipped + (here - first_of) * plan.period
        bias[here] = now
        if here[-1] + 1 < count:
            first_load = 0.0 if opened is not None else plan.load_time - skipped
            bench.wait(first_load + len(here) * plan.period)
    return Tended(begun, bias, tuple(costs), bias_opened)


def rooms_differ(setup: Setup) -> bool:
    """Whether the machine is used at another temperature than it was trimmed at; None may stand for either."""
    used, trimmed = (
        (machine.pair.reference_temperature, machine.led.reference_temperature)
        for machine in (setup.machine, setup.trim_machine)
    )
    return used != trimmed


def left_by(setup: Setup, trims: Trims, clock: float) -> dict[str, Array]:
    """What the trims have left where they were made, seen from inside the machine, which no instrument can."""
    machine, program, scenario = setup.trim_machine, setup.compiled.program, setup.scenario
    live = Live.of(machine, scenario.seed)
    drift = live.drift.at([clock]) if live.drift is not None and scenario.solve.amplitude else None
    electronics = electronics_of(machine, machine.gains.set_alpha(trims.alpha), program.beta, drift)
    offset = np.atleast_2d(electronics.offset)[0] + trims.bias
    return {
        "offset_left": reaching_at_rest(machine, program, offset),
        "alpha_left": np.atleast_2d(electronics.alpha)[0] - program.alpha,
    }
