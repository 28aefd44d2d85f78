"""When things happen: one diffusion sample through the machine as SimPy processes and resources.

The schedule is computed once, without arrays, and then executed for whole batches. It holds events, each the
occupation of one resource, and segments that cut time wherever the loop switches: closed, with a constant drive,
or open, with the node discharging to 0 V. No integrator ever steps across a cut.

Between two diffusion steps the solution goes to the next drive in one of two ways. *Digitally* all trials' records go
to the host, which computes the next drive; the trials of a step follow one another. With a *sample-and-hold*
memory at the node each trial is a chain of all steps: the memory tracks the node at the end of the read-out
window and then holds, and the records go to the host in the background. Behind the memory a second cell, which
takes over while the loop is open, adds the held value to the drive: a solve's drive does not follow its own result.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import simpy

from aocsim.errors import InputError
from aocsim.machine import Machine

DISCHARGED = 1e-6  # of its voltage: the node counts as at 0 V
ROUNDING = 1e-9  # relative, of sums of durations

Memory = Literal["digital", "sample_and_hold"]
Process = Generator[Any, Any, None]


@dataclass(frozen=True)
class Event:
    """One occupation of a resource.

    Attributes:
        resource: slm, dac, loop, digitiser, read-out, memory or host.
        what: load weights, settle (slm); set drive (dac); solve (loop); record, re-arm (digitiser); window
            (read-out); track, hold (memory); transfer (host).
        start: s.
        stop: s.
        step: diffusion step, -1 outside any.
        trial: trial, -1 outside any, as for a drive that serves all trials of a step.
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
        switch: of the loop.
        start: s.
        stop: s.
        step: diffusion step; of an open segment, the one that it precedes.
        trial: trial, likewise.
    """

    switch: Literal["open", "closed"]
    start: float
    stop: float
    step: int
    trial: int

    @property
    def closed(self) -> bool:
        """Whether the loop is closed."""
        return self.switch == "closed"


@dataclass(frozen=True)
class Schedule:
    """The timeline of one diffusion sample; time counts from its begin.

    Attributes:
        events: in order of their start.
        segments: of the loop, without gaps from the first solve to the last.
        starts: s, as [step][trial]: when the loop closes.
        load_time: s until the weights are loaded; 0 where they already are.
        step_latency: s for each step, from its first DAC update to its last record on the host, or to the value
            that its first trial's memory holds. Waiting for re-arming or spacing before that update is no part.
        duration: s to the last record on the host.
        period: s from one sample's begin to the next one's, the weights being loaded; their loading included where
            every sample begins with it.
        held: s after the loop closes at which the memory holds; NaN without memory.
    """

    events: tuple[Event, ...]
    segments: tuple[Segment, ...]
    starts: tuple[tuple[float, ...], ...]
    load_time: float
    step_latency: tuple[float, ...]
    duration: float
    period: float
    held: float

    @property
    def busy(self) -> dict[str, float]:
        """Total s for which each resource is occupied."""
        return _totals([(event.resource, event) for event in self.events])

    @property
    def phases(self) -> dict[str, float]:
        """Total s of each kind of event; kinds overlap, so that they add up to more than the duration."""
        return _totals([(event.what, event) for event in self.events])

    def run_duration(self, samples: int) -> float:
        """S from the begin of the first to the last record of the last of `samples` samples, weights loaded once.

        Raises:
            ValueError: fewer than one sample.
        """
        if samples < 1:
            raise ValueError(f"a run has at least one sample, got {samples}")
        return self.duration + (samples - 1) * self.period

    def solve_of(self, step: int) -> Segment:
        """The closed segment of a step's first trial; all trials of a step are alike."""
        return next(s for s in self.segments if s.closed and s.step == step)


def schedule(
    machine: Machine,
    *,
    steps: int,
    trials: int,
    trial_spacing: float | None = None,
    memory: Memory = "digital",
    load_weights: bool = True,
    reload_weights: bool = False,
) -> Schedule:
    """Timeline of `steps` diffusion steps with `trials` solves each.

    Weights are loaded once, since they depend on the step size and not on time; before every step where two programs
    take turns. A trial closes the loop from a discharged node, records and opens it; re-arming and transfer go on
    behind it. A loop closes as soon as the drive is set, the digitiser is re-armed and the spacing is kept, also from
    one step or sample to the next.

    Args:
        machine: for the parts' durations.
        steps: diffusion steps, at least 1.
        trials: solves of each step that are averaged, at least 1.
        trial_spacing: least time between the begins of two trials, s: of two solves, or of two chains with a
            memory. None, or less than the digitiser needs, is back-to-back.
        memory: what carries a solution to the next step.
        load_weights: whether the sample begins with loading the weights.
        reload_weights: whether every later step does, too, and so the next sample. Not with a memory.

    Raises:
        ValueError: counts below 1, a spacing that is negative or not finite, or an unknown memory.
        InputError: a read-out window that outlasts the record, a memory that tracks for longer than the window
            leaves, or solves so close that the node does not discharge between them.
    """
    spacing = trial_spacing or 0.0
    if steps < 1 or trials < 1:
        raise ValueError(f"at least one step and one trial, got {steps} and {trials}")
    if not 0 <= spacing < math.inf:
        raise ValueError(f"trial_spacing must be finite and not negative, got {trial_spacing} s")
    if memory not in ("digital", "sample_and_hold"):
        raise ValueError(f"memory must be digital or sample_and_hold, got {memory!r}")
    if reload_weights and memory != "digital":
        raise ValueError("weights are not reloaded within the chains of a memory")
    bench = _Bench(machine, steps, trials, spacing, memory == "sample_and_hold", reload_weights)
    bench.check()
    bench.environment.process(bench.control(load_weights))
    bench.environment.run()
    starts = tuple(tuple(row) for row in bench.starts)
    solves = [event for event in bench.events if event.resource == "loop"]
    # the next sample's first solve tells how long the loop stays open after this one's last
    _check_gaps(machine, [*((e.start, e.stop) for e in solves), (starts[0][0] + bench.period, math.inf)])
    return Schedule(
        events=tuple(sorted(bench.events, key=lambda e: (e.start, e.resource, e.stop))),
        segments=_segments(solves),
        starts=starts,
        load_time=bench.load_time,
        step_latency=tuple(bench.latency),
        duration=bench.finished,
        period=bench.period,
        held=machine.digitiser.window_stop if memory == "sample_and_hold" else math.nan,
    )


@dataclass
class _Bench:
    """The simulated bench: its resources, its processes and the log they write."""

    machine: Machine
    steps: int
    trials: int
    spacing: float
    chained: bool
    reload: bool
    environment: simpy.Environment = field(default_factory=simpy.Environment)
    resources: dict[str, simpy.Resource] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    starts: list[list[float]] = field(init=False)
    latency: list[float] = field(default_factory=list)
    load_time: float = 0.0
    finished: float = 0.0
    period: float = 0.0

    def __post_init__(self) -> None:
        digitiser = self.machine.digitiser
        self.record = digitiser.samples / digitiser.sample_rate
        self.starts = [[] for _ in range(self.steps)]
        self.spaced = 0.0  # no trial begins earlier
        self.rearmed_at = 0.0  # no loop closes earlier
        self.rearmed: Any = self.environment.timeout(0)
        self.release: Any = None  # what ends the memory's hold

    def check(self) -> None:
        """Refuse durations that do not fit into a record."""
        stop = self.machine.digitiser.window_stop
        if stop > self.record * (1 + ROUNDING):
            raise InputError(
                "the read-out window ends after the record",
                key="timeline.window_stop",
                got=f"{stop * 1e6:.4g} us",
                allowed=f"up to {self.record * 1e6:.4g} us",
            )
        if self.chained and self.machine.memory.acquisition_time > stop:
            raise InputError(
                "the memory would begin to track before the loop closes",
                key="parts.memory.acquisition_time",
                got=f"{self.machine.memory.acquisition_time * 1e6:.4g} us",
                allowed=f"up to the end of the read-out window, {stop * 1e6:.4g} us",
            )

    @property
    def now(self) -> float:
        return float(self.environment.now)

    def until(self, instant: float) -> Process:
        """Wait for an instant that may have passed."""
        yield self.environment.timeout(max(0.0, instant - self.now))

    def use(
        self, resource: str, what: str, span: float | simpy.Event, step: int = -1, trial: int = -1
    ) -> Process:
        """Wait for the resource, hold it for `span` s or until the event `span`, and log it."""
        holder = self.resources.setdefault(resource, simpy.Resource(self.environment, capacity=1))
        with holder.request() as turn:
            yield turn
            start = self.now
            yield span if isinstance(span, simpy.Event) else self.environment.timeout(span)
            self.events.append(Event(resource, what, start, self.now, step, trial))

    def control(self, load_weights: bool) -> Process:
        """The controller: one sample, and the wait until the next one may begin."""
        if load_weights:
            yield from self.load()
        self.load_time = self.now
        yield from self.chains() if self.chained else self.digital_steps()
        self.finished = self.now
        yield from self.until(self.next_begin)
        self.period = self.now - (0.0 if self.reload else self.load_time)

    def load(self, step: int = -1) -> Process:
        """A new frame on the modulators, and the time until its weights stand."""
        yield from self.use("slm", "load weights", self.machine.slm.frame_time, step)
        yield from self.use("slm", "settle", self.machine.slm.settling_time, step)

    @property
    def next_begin(self) -> float:
        """When to set the DACs, s, so that they are set just when the next trial may close the loop."""
        return max(self.spaced, self.rearmed_at) - self.machine.dac.update_time

    def begin_trial(self) -> Process:
        """Keep the spacing to the trial before; the one after this has to keep it too."""
        yield from self.until(self.spaced)
        yield self.rearmed
        self.spaced = self.now + self.spacing

    def digital_steps(self) -> Process:
        """The host needs all trials of a step before it knows the next drive."""
        for step in range(self.steps):
            if step and self.reload:
                yield from self.load(step)
            yield from self.until(self.next_begin)
            begin = self.now
            yield from self.use("dac", "set drive", self.machine.dac.update_time, step)
            transfers: list[Any] = []
            for trial in range(self.trials):
                yield from self.begin_trial()
                yield from self.solve(step, trial, transfers)
            yield simpy.AllOf(self.environment, transfers)
            self.latency.append(self.now - begin)

    def chains(self) -> Process:
        """Within a chain the DACs set bias and time as soon as the loop is open; nothing waits for the host."""
        transfers: list[Any] = []
        for trial in range(self.trials):
            yield from self.until(self.next_begin)
            for step in range(self.steps):
                begin = self.now
                yield from self.use("dac", "set drive", self.machine.dac.update_time, step, trial)
                yield from self.begin_trial() if step == 0 else self.until_rearmed()
                if trial == 0:
                    self.latency.append(self.now + self.machine.digitiser.window_stop - begin)
                yield from self.solve(step, trial, transfers)
            # nobody needs the last value: the host has the record
            self.release.succeed()
            self.release = None
        yield simpy.AllOf(self.environment, transfers)

    def until_rearmed(self) -> Process:
        """Wait for the digitiser."""
        yield self.rearmed

    def solve(self, step: int, trial: int, transfers: list[Any]) -> Process:
        """Close the loop, record and open it; appends the record's transfer to `transfers`."""
        digitiser, start = self.machine.digitiser, self.environment.process
        self.starts[step].append(self.now)
        beside = [
            start(self.use("loop", "solve", self.record, step, trial)),
            start(self.use("digitiser", "record", self.record, step, trial)),
            start(self.read_out(step, trial)),
        ]
        if self.chained:
            beside.append(start(self.remember(step, trial)))
        yield simpy.AllOf(self.environment, beside)
        self.rearmed = start(self.use("digitiser", "re-arm", digitiser.rearm_time, step, trial))
        self.rearmed_at = self.now + digitiser.rearm_time
        transfers.append(start(self.use("host", "transfer", digitiser.transfer_time, step, trial)))

    def read_out(self, step: int, trial: int) -> Process:
        """Average what the digitiser records within the window."""
        first, last = self.machine.digitiser.window_start, self.machine.digitiser.window_stop
        yield self.environment.timeout(first)
        yield from self.use("read-out", "window", last - first, step, trial)

    def remember(self, step: int, trial: int) -> Process:
        """Track the node up to the end of the window, then hold until the next step's result is tracked."""
        time = self.machine.memory.acquisition_time
        yield self.environment.timeout(self.machine.digitiser.window_stop - time)
        if self.release is not None:
            self.release.succeed()
        yield from self.use("memory", "track", time, step, trial)
        self.release = self.environment.event()
        self.environment.process(self.use("memory", "hold", self.release, step, trial))


def _totals(events: list[tuple[str, Event]]) -> dict[str, float]:
    out: defaultdict[str, float] = defaultdict(float)
    for name, event in events:
        out[name] += event.stop - event.start
    return dict(out)


def discharge_time(machine: Machine) -> float:
    """How long the slowest open node takes to fall to 1e-6 of its voltage, s; 0 for infinite poles."""
    return math.log(1 / DISCHARGED) / (2 * math.pi * float(machine.poles.node.min()))


def _check_gaps(machine: Machine, solves: list[tuple[float, float]]) -> None:
    """Refuse solves, as (start, stop) in s, between which the node does not discharge."""
    needed = discharge_time(machine)
    gap = min(after[0] - before[1] for before, after in pairwise(solves))
    if gap < needed * (1 - ROUNDING):
        raise InputError(
            "the loop is open between two solves for too short a time to discharge the node to 1e-6",
            key="timeline",
            got=f"a gap of {gap * 1e6:.4g} us",
            allowed=f"at least {needed * 1e6:.4g} us, by parts.digitiser.rearm_time",
        )


def _segments(solves: list[Event]) -> tuple[Segment, ...]:
    """Closed while the loop solves, open in between."""
    out: list[Segment] = []
    for event in solves:
        if out:
            out.append(Segment("open", out[-1].stop, event.start, event.step, event.trial))
        out.append(Segment("closed", event.start, event.stop, event.step, event.trial))
    return tuple(out)
