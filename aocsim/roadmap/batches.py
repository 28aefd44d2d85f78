r"""When things happen in a batch of samples on rings of modules, as SimPy processes and resources.

A batch circulates: set the drive, close the ring through the crossbar, let it settle, record, transfer, next step. Any
free ring takes any sample's next step. What one machine does is what `aocsim.timeline.schedule` says, and one module
gives that schedule, event by event; here all of it is shared, and more than one sample is under way.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from aocsim.roadmap.rings import Read, Rings
from aocsim.timeline import Event, Memory, discharge_time

Process = Generator[Any, Any, None]


@dataclass(frozen=True)
class RingEvent(Event):
    """One occupation of a resource, as of `aocsim.timeline`.

    Attributes:
        sample: that it is for, -1 for none.
        unit: which of the resources of this kind.
    """

    sample: int = -1
    unit: int = 0


@dataclass(frozen=True)
class Batch:
    """The timeline of a batch; time counts from its begin.

    Attributes:
        events: in order of their start.
        capacity: number of units of each resource.
        begun: s, when the first drive of each sample is set.
        finished: s, when the last record of each sample is on the host.
        arrived: s, when each sample is there to be begun.
        load_time: s until all weights are loaded.
        duration: s to the last record on the host.
    """

    events: tuple[RingEvent, ...]
    capacity: Mapping[str, int]
    arrived: tuple[float, ...]
    begun: tuple[float, ...]
    finished: tuple[float, ...]
    load_time: float
    duration: float

    @property
    def busy(self) -> dict[str, float]:
        """Total s for which the units of each resource are occupied."""
        out: defaultdict[str, float] = defaultdict(float)
        for event in self.events:
            out[event.resource] += event.stop - event.start
        return dict(out)

    @property
    def utilisation(self) -> dict[str, float]:
        """Share of the time from loaded weights to the last record in which the units of each resource work.

        Of the modulators it is the share of the loading.
        """
        out: defaultdict[str, float] = defaultdict(float)
        for event in self.events:
            loading = event.resource == "slm"
            span = self.load_time if loading else self.duration - self.load_time
            stop = event.stop if loading else min(event.stop, self.duration)  # re-arming may go on
            out[event.resource] += (stop - event.start) / (span * self.capacity[event.resource])
        return dict(out)

    @property
    def latency(self) -> tuple[float, ...]:
        """S from each sample's arrival to its last record on the host."""
        return tuple(stop - start for stop, start in zip(self.finished, self.arrived, strict=True))

    @property
    def throughput(self) -> float:
        """Samples a second over the batch, from loaded weights to the last record; filling and draining included."""
        return len(self.finished) / (self.duration - self.load_time)

    @property
    def solve_starts(self) -> tuple[float, ...]:
        """S, all solves, in order."""
        return tuple(event.start for event in self.events if event.what == "solve")


def run_batch(
    rings: Rings,
    *,
    samples: int,
    steps: int,
    trials: int = 1,
    trial_spacing: float | None = None,
    memory: Memory = "digital",
    read: Read = "every",
    load_weights: bool = True,
    arrivals: Sequence[float] | None = None,
) -> Batch:
    """Timeline of a batch on rings of modules.

    Args:
        rings: modules.
        samples: of the batch, at least 1.
        steps: solves of a sample, at least 1.
        trials: of each step, at least 1, one after the other on the same ring.
        trial_spacing: least time between two begins of trials on a ring, s.
        memory: what carries a solution to the next step: the host, or the ring's sample-and-hold cells, in which case
            a sample stays on its ring.
        read: which steps are recorded.
        load_weights: whether the batch begins with loading the weights.
        arrivals: s after loading at which the samples are there to be begun, in order; None is all at once.

    Raises:
        ValueError: counts below 1, an unknown memory, or times that are not in order.
    """
    if min(samples, steps, trials, rings.rings, rings.modules, rings.in_flight) < 1:
        raise ValueError(
            "counts of samples, steps, trials, modules, rings and samples in flight are at least 1"
        )
    if memory not in ("digital", "sample_and_hold"):
        raise ValueError(f"memory must be digital or sample_and_hold, got {memory!r}")
    if read == "last" and memory == "digital":
        raise ValueError("the host needs the record of every step")
    times = [0.0] * samples if arrivals is None else [float(time) for time in arrivals]
    if len(times) != samples or sorted(times) != times or min(times) < 0:
        raise ValueError("arrivals must be one time a sample, in order and not negative")
    chained = memory == "sample_and_hold"
    bench = _Bench(rings, samples, steps, trials, trial_spacing or 0.0, chained, read == "every", times)
    bench.environment.process(bench.control(load_weights))
    bench.environment.run()
    return Batch(
        events=tuple(sorted(bench.events, key=lambda e: (e.start, e.resource, e.stop, e.unit))),
        capacity=bench.capacity,
        arrived=tuple(bench.load_time + time for time in times),
        begun=tuple(bench.begun),
        finished=tuple(bench.finished),
        load_time=bench.load_time,
        duration=max(bench.finished),
    )


@dataclass
class _Ring:
    """A ring's state: no trial begins earlier than `spaced`, no solve earlier than `at_rest`, s."""

    number: int
    spaced: float = 0.0
    at_rest: float = 0.0
    release: Any = None


@dataclass
class _Bank:
    """A bank of digitisers; armed from `armed` on as far as is known, s."""

    number: int
    armed: float = 0.0


@dataclass
class _Bench:
    """Resources, processes and the log they write."""

    plan: Rings
    samples: int
    steps: int
    trials: int
    spacing: float
    chained: bool
    every: bool
    arrivals: list[float]
    environment: simpy.Environment = field(default_factory=simpy.Environment)
    events: list[RingEvent] = field(default_factory=list)
    load_time: float = 0.0

    def __post_init__(self) -> None:
        shared, rings = self.plan.shared, self.plan.rings
        self.capacity = {
            "slm": self.plan.modules * rings,
            "dac": shared.dacs,
            "loop": rings,
            "read-out": rings,
            "memory": rings,
            "digitiser": shared.digitisers,
            "host": shared.host_links,
            "switch": shared.switch_controllers,
        }
        self.units = {
            name: self.store(range(count))
            for name, count in {**self.capacity, "slm": shared.panel_drivers}.items()
            if name in ("slm", "dac", "host", "switch")
        }
        self.free = self.store([_Ring(number) for number in range(rings)])
        self.all_banks = [_Bank(number) for number in range(shared.digitisers)]
        self.banks = self.store(self.all_banks)
        self.admission = simpy.Resource(self.environment, capacity=rings * self.plan.in_flight)
        self.cells = simpy.Resource(self.environment, capacity=rings)
        self.begun, self.finished = [math.nan] * self.samples, [math.nan] * self.samples

    def store(self, items: Any) -> simpy.Store:
        """Units that are taken first in, first out."""
        store = simpy.Store(self.environment)
        store.items.extend(items)
        return store

    @property
    def now(self) -> float:
        return float(self.environment.now)

    def until(self, instant: float) -> Process:
        """Wait for an instant that may have passed."""
        yield self.environment.timeout(max(0.0, instant - self.now))

    def log(self, resource: str, what: str, start: float, job: tuple[int, int, int], unit: int) -> None:
        """Write an event that ends now; `job` is (sample, step, trial)."""
        sample, step, trial = job
        self.events.append(RingEvent(resource, what, start, self.now, step, trial, sample, unit))

    def use(self, resource: str, what: str, span: float, job: tuple[int, int, int]) -> Process:
        """Wait for any unit of a resource, hold it for `span` s, and log it."""
        unit = yield self.units[resource].get()
        start = self.now
        yield self.environment.timeout(span)
        self.log(resource, what, start, job, unit)
        yield self.units[resource].put(unit)

    def control(self, load_weights: bool) -> Process:
        """Load all modulators, then take the batch through."""
        if load_weights:
            panels = range(self.capacity["slm"])
            yield simpy.AllOf(self.environment, [self.environment.process(self.load(k)) for k in panels])
        self.load_time = self.now
        every = [self.environment.process(self.sample(k)) for k in range(self.samples)]
        yield simpy.AllOf(self.environment, every)

    def load(self, panel: int) -> Process:
        """Load a modulator by a driver that is shared; it settles by itself."""
        slm = self.plan.machine.slm
        driver = yield self.units["slm"].get()
        start = self.now
        yield self.environment.timeout(slm.frame_time)
        self.log("slm", "load weights", start, (-1, -1, -1), panel)
        yield self.units["slm"].put(driver)
        start = self.now
        yield self.environment.timeout(slm.settling_time)
        self.log("slm", "settle", start, (-1, -1, -1), panel)

    def sample(self, number: int) -> Process:
        """One sample, from its arrival to its last record."""
        yield from self.until(self.load_time + self.arrivals[number])
        with self.admission.request() as turn:
            yield turn
            transfers: list[Any] = []
            if self.chained:
                ring = yield self.free.get()
                for trial in range(self.trials):
                    yield from self.chain(number, trial, ring, transfers)
                yield self.free.put(ring)
            else:
                for step in range(self.steps):
                    yield from self.digital_step(number, step)
            yield simpy.AllOf(self.environment, transfers)
            self.finished[number] = self.now

    def recorded(self, job: tuple[int, int, int]) -> bool:
        """Whether a solve needs a bank of digitisers."""
        return self.every or job[1] == self.steps - 1

    def set_drive(self, job: tuple[int, int, int], ring: _Ring | None) -> Process:
        """Set the DACs, so that the ring can be closed just when it is ready, and a bank if the step is recorded."""
        update = self.plan.machine.dac.update_time
        armed = min(bank.armed for bank in self.all_banks) if self.recorded(job) else 0.0
        ready = max(0.0 if ring is None else ring.spaced, armed)
        yield from self.until(ready - self.plan.closing - update)
        sample, step, _ = job
        if step == 0 and math.isnan(self.begun[sample]):
            self.begun[sample] = self.now
        yield from self.use("dac", "set drive", update, job)

    def digital_step(self, sample: int, step: int) -> Process:
        """The host needs all trials of a step before it knows the next drive."""
        job = (sample, step, -1)
        transfers: list[Any] = []
        if self.plan.double_buffered:
            with self.cells.request() as cell:
                yield cell
                yield from self.set_drive(job, None)
                ring = yield self.free.get()
        else:
            ring = yield self.free.get()
            yield from self.set_drive(job, ring)
        for trial in range(self.trials):
            yield from self.solve((sample, step, trial), ring, transfers, spaced=True)
        yield self.free.put(ring)
        yield simpy.AllOf(self.environment, transfers)

    def chain(self, sample: int, trial: int, ring: _Ring, transfers: list[Any]) -> Process:
        """All steps of a trial; the ring's cells carry the solution, nothing waits for the host."""
        for step in range(self.steps):
            job = (sample, step, trial)
            yield from (
                self.set_drive(job, ring)
                if step == 0
                else self.use("dac", "set drive", self.plan.machine.dac.update_time, job)
            )
            yield from self.solve(job, ring, transfers, spaced=step == 0)
        ring.release.succeed()
        ring.release = None

    def solve(self, job: tuple[int, int, int], ring: _Ring, transfers: list[Any], *, spaced: bool) -> Process:
        """Close the ring, record, open it; appends the record's transfer to `transfers`."""
        plan, start = self.plan, self.environment.process
        digitiser = plan.machine.digitiser
        yield from self.until(max(ring.at_rest, ring.spaced if spaced else 0.0) - plan.closing)
        if plan.closing:
            yield from self.use("switch", "close ring", plan.closing, job)
        recorded = self.recorded(job)
        bank = (yield self.banks.get()) if recorded else None
        if spaced:
            ring.spaced = self.now + self.spacing
        began = self.now
        beside = [start(self.read_out(job, ring.number))] if recorded else []
        if self.chained:
            beside.append(start(self.remember(job, ring)))
        yield self.environment.timeout(plan.solve)
        self.log("loop", "solve", began, job, ring.number)
        yield simpy.AllOf(self.environment, beside)
        ring.at_rest = self.now + discharge_time(plan.machine)
        if bank is None:
            return
        self.log("digitiser", "record", began, job, bank.number)
        bank.armed = self.now + digitiser.rearm_time
        start(self.rearm(job, bank))
        transfers.append(start(self.use("host", "transfer", digitiser.transfer_time, job)))

    def rearm(self, job: tuple[int, int, int], bank: _Bank) -> Process:
        """The bank takes no record until it is armed again."""
        start = self.now
        yield self.environment.timeout(self.plan.machine.digitiser.rearm_time)
        self.log("digitiser", "re-arm", start, job, bank.number)
        yield self.banks.put(bank)

    def read_out(self, job: tuple[int, int, int], ring: int) -> Process:
        """Average what the digitiser records within the window, at the end of the solve as without crossbar."""
        digitiser, dead = self.plan.machine.digitiser, self.plan.dead_time
        yield self.environment.timeout(dead + digitiser.window_start)
        start = self.now
        yield self.environment.timeout(digitiser.window_stop - digitiser.window_start)
        self.log("read-out", "window", start, job, ring)

    def remember(self, job: tuple[int, int, int], ring: _Ring) -> Process:
        """Track the node up to the end of the window, then hold until the next step's result is tracked."""
        machine = self.plan.machine
        time = machine.memory.acquisition_time
        yield self.environment.timeout(self.plan.dead_time + machine.digitiser.window_stop - time)
        if ring.release is not None:
            ring.release.succeed()
        start = self.now
        yield self.environment.timeout(time)
        self.log("memory", "track", start, job, ring.number)
        ring.release = self.environment.event()
        self.environment.process(self.hold(job, ring))

    def hold(self, job: tuple[int, int, int], ring: _Ring) -> Process:
        """Hold until the ring releases the cell."""
        start = self.now
        yield ring.release
        self.log("memory", "hold", start, job, ring.number)
