"""When things happen: one diffusion sample through the machine as SimPy processes.

The schedule is computed once, without arrays: events with their resource, and segments that cut continuous
time at every switching event. Within a segment the loop is either open, its node discharged to 0 V, or closed
with a constant drive, so that no integrator ever steps across a discontinuity.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from aocsim.machine import Machine


@dataclass(frozen=True)
class Event:
    """One occupation of a resource.

    Attributes:
        resource: slm, dac, loop, digitiser or host.
        what: load weights, set drive, solve, record, re-arm, transfer.
        start: s.
        stop: s.
        step: diffusion step, -1 outside any.
        trial: trial, -1 outside any.
    """

    resource: str
    what: str
    start: float
    stop: float
    step: int = -1
    trial: int = -1


@dataclass(frozen=True)
class Segment:
    """A stretch of time without switching.

    Attributes:
        closed: whether the loop is closed.
        start: s.
        stop: s.
        step: diffusion step.
        trial: trial.
    """

    closed: bool
    start: float
    stop: float
    step: int
    trial: int


@dataclass(frozen=True)
class Schedule:
    """The timeline of one diffusion sample.

    Attributes:
        events: in order of their start.
        segments: of the loop, without gaps from the first solve to the last.
        step_latency: s for each diffusion step, from its first DAC update to its last record on the host.
        duration: s from loading the weights to the last record on the host.
    """

    events: tuple[Event, ...]
    segments: tuple[Segment, ...]
    step_latency: tuple[float, ...]
    duration: float

    def solve_of(self, step: int) -> Segment:
        """The closed segment of a step's first trial; all trials of a step are alike."""
        return next(s for s in self.segments if s.closed and s.step == step)


@dataclass
class _Bench:
    """The simulated bench: resources and the log."""

    environment: simpy.Environment
    events: list[Event] = field(default_factory=list)
    resources: dict[str, simpy.Resource] = field(default_factory=dict)

    def occupy(
        self, resource: str, what: str, duration: float, step: int = -1, trial: int = -1
    ) -> Generator[Any, Any, None]:
        """Wait for the resource, hold it for `duration` s and log it."""
        holder = self.resources.setdefault(resource, simpy.Resource(self.environment, capacity=1))
        with holder.request() as turn:
            yield turn
            start = self.environment.now
            yield self.environment.timeout(duration)
            self.events.append(Event(resource, what, start, self.environment.now, step, trial))


def schedule(machine: Machine, *, steps: int, trials: int, trial_spacing: float | None = None) -> Schedule:
    """Timeline of `steps` diffusion steps with `trials` solves each.

    Weights are loaded once (they depend on the step size, not on time). Each step sets the DACs, then each
    trial closes the loop from a discharged node, records, opens and discharges it. The next trial waits for
    the digitiser to re-arm, and for `trial_spacing` after the last one's start where that is longer; the
    transfer to the host runs beside it. A step ends when its last record is on the host; the next one's first
    trial keeps the spacing too.

    Args:
        machine: for the parts' durations.
        steps: diffusion steps.
        trials: solves of each step that are averaged.
        trial_spacing: least time from one trial's start to the next, s.
    """
    digitiser, dac = machine.digitiser, machine.dac
    record = digitiser.samples / digitiser.sample_rate
    environment = simpy.Environment()
    bench = _Bench(environment)
    latency: list[float] = []

    def solve(step: int, trial: int) -> Generator[Any, Any, None]:
        both = [
            environment.process(bench.occupy("loop", "solve", record, step, trial)),
            environment.process(bench.occupy("digitiser", "record", record, step, trial)),
        ]
        yield simpy.AllOf(environment, both)

    def controller() -> Generator[Any, Any, None]:
        yield from bench.occupy("slm", "load weights", machine.slm.frame_time)
        rearmed: Any = environment.timeout(0)
        earliest = 0.0
        for step in range(steps):
            yield rearmed
            yield environment.timeout(max(0.0, earliest - environment.now))
            begin = environment.now
            yield from bench.occupy("dac", "set drive", dac.update_time, step)
            transfers = []
            for trial in range(trials):
                yield rearmed
                yield environment.timeout(max(0.0, earliest - environment.now))
                earliest = environment.now + (trial_spacing or 0.0)
                yield from solve(step, trial)
                transfers.append(
                    environment.process(
                        bench.occupy("host", "transfer", digitiser.transfer_time, step, trial)
                    )
                )
                rearmed = environment.process(
                    bench.occupy("digitiser", "re-arm", digitiser.rearm_time, step, trial)
                )
            yield simpy.AllOf(environment, transfers)
            latency.append(environment.now - begin)

    environment.process(controller())
    environment.run()
    events = sorted(bench.events, key=lambda e: (e.start, e.resource, e.stop))
    return Schedule(tuple(events), _segments(events), tuple(latency), float(environment.now))


def _segments(events: list[Event]) -> tuple[Segment, ...]:
    """Closed while the loop solves; between two solves it is open and its node at 0 V."""
    out: list[Segment] = []
    for event in events:
        if event.resource != "loop":
            continue
        if out:
            out.append(Segment(False, out[-1].stop, event.start, event.step, event.trial))
        out.append(Segment(True, event.start, event.stop, event.step, event.trial))
    return tuple(out)
