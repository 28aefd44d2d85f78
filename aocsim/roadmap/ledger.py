r"""The energy ledger: every event of the timeline with its duration, and what each consumer takes meanwhile.

A row is one consumer during all events of one kind of a diffusion sample:

.. math:: E = P \sum_k (t^{stop}_k - t^{start}_k), \qquad\text{or}\qquad E = E_1 \sum_k 1

for a consumer that takes a power P as long as it is on, or an energy each time. P and E_1 are products of factors from
the sheets, whose dimensions `check` verifies. A machine that is not switched off between its events takes its powers
all the time: what it then takes beside them stands in rows "idle". Both sums are given, since nobody has to leave an
emitter burning while a record goes to the host, and everybody does on a bench.

Left out: power supplies and their losses, cooling, the trims before a run, and what a host needs to train or compile.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.power import Factor, Load, Supplied
from aocsim.roadmap.equipment import Equipment
from aocsim.timeline import Event, Schedule

IDLE = "idle"
WHOLE = "sample"
LOADING = "load weights"
SOLVE = ("loop", "solve")

ANALOG: Mapping[str, str] = {
    "led": "emitters and their drivers",
    "detector": "photodetectors' amplifiers",
    "pair": "nonlinearity",
    "gains": "gains",
    "node": "summing nodes",
    "switch": "loop switch",
}
"""Parts that the loop itself consists of, which are on as long as it is closed."""

ON: Mapping[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(ANALOG, (SOLVE,)),
    "slm": (("slm", LOADING), ("slm", "settle"), SOLVE),
    "dac": (("dac", "set drive"), SOLVE),
    "digitiser": (("digitiser", "record"), ("digitiser", "re-arm")),
    "memory": (("memory", "track"), ("memory", "hold")),
}
"""Part -> the events, as (resource, what), during which it is on."""

ONCE: Mapping[str, tuple[str, str]] = {"new frame": ("slm", LOADING)}
"""Consumer of an energy each time -> the event that it goes with."""


@dataclass(frozen=True)
class Row:
    """One consumer during all events of one kind in a sample.

    Attributes:
        part: role of the part, or of the equipment.
        consumer: what of it.
        event: kind of the events, as in the timeline; "idle" between them, "sample" for what is on all the time.
        count: number of events.
        duration: of all of them together, s.
        load: what it takes.
    """

    part: str
    consumer: str
    event: str
    count: int
    duration: float
    load: Load

    @property
    def energy(self) -> float:
        """J in a sample."""
        return self.load.value * (self.duration if self.load.dimension == "watt" else self.count)

    @property
    def power(self) -> float:
        """Mean power during the events, W; 0 where they take no time."""
        if self.load.dimension == "watt":
            return self.load.value
        return self.energy / self.duration if self.duration else 0.0

    @property
    def factors(self) -> tuple[Factor, ...]:
        """All factors of the energy, duration or count included."""
        last = (
            Factor("duration", self.duration, "second")
            if self.load.dimension == "watt"
            else Factor("events", float(self.count))
        )
        return (*self.load.factors, last)


@dataclass(frozen=True)
class Ledger:
    """All rows of one diffusion sample.

    Attributes:
        rows: what the machine takes during its events, and idle between them.
        steps: diffusion steps of the sample.
        solves: of the loop in it: steps times trials.
        samples: that share one loading of the weights; its rows count as the share of one sample.
        period: from one sample's begin to the next one's, s, the weights being loaded.
    """

    rows: tuple[Row, ...]
    steps: int
    solves: int
    samples: int
    period: float

    def energy(self, *, idle: bool = False) -> float:
        """J for one sample.

        Args:
            idle: with what is taken between the events, as on a bench where nothing is switched off.
        """
        return sum(self.by_part(idle=idle).values())

    def by_part(self, *, idle: bool = False) -> dict[str, float]:
        """J of each part for one sample, the share of loading the weights included."""
        out: defaultdict[str, float] = defaultdict(float)
        for row in self.rows:
            if idle or row.event != IDLE:
                out[row.part] += self.share(row)
        return dict(out)

    def share(self, row: Row) -> float:
        """J of a row for one sample, where the weights are loaded once for several."""
        return row.energy / self.samples if row.event in (LOADING, "settle") else row.energy

    def per_step(self, *, idle: bool = False) -> float:
        """J for one diffusion step."""
        return self.energy(idle=idle) / self.steps

    def per_solve(self, *, idle: bool = False) -> float:
        """J for one solve of the loop."""
        return self.energy(idle=idle) / self.solves

    @property
    def analog_power(self) -> float:
        """What the closed loop takes, W: the parts of `ANALOG` alone."""
        return sum(self.analog_by_consumer.values())

    @property
    def analog_by_consumer(self) -> dict[str, float]:
        """What each consumer of the closed loop takes, W."""
        return {row.consumer: row.power for row in self.rows if row.part in ANALOG and row.event == SOLVE[1]}

    def settling_energy(self, seconds: float) -> float:
        """J of the closed loop for one solve that is read after so many seconds: paid by time, not by iterations.

        Raises:
            ValueError: a negative time.
        """
        if not seconds >= 0:
            raise ValueError(f"a solve takes no negative time, got {seconds} s")
        return self.analog_power * seconds


def loads_of(
    machine: Machine, equipment: Equipment, channels: int | None = None
) -> dict[str, tuple[Load, ...]]:
    """What each part of the machine, and the switch, takes: W while it is on, or J each time.

    Args:
        machine: as built.
        equipment: for the switch.
        channels: as many as if the machine had so many; its own by default.

    Raises:
        InputError: a part whose law or sheet says nothing of it.
    """
    found = {}
    for role in ON:
        part = equipment.switch if role == "switch" else getattr(machine, role)
        if not isinstance(part, Supplied):
            raise InputError(
                "its law says nothing of what the part takes from the supply, so that there is no energy",
                key=f"parts.{role}",
                got=type(part).__name__,
                allowed="a sheet of a law after the part's physics, whose supply it states",
            )
        found[role] = part.power(channels or machine.channels)
    return found


def ledger(machine: Machine, equipment: Equipment, timeline: Schedule, samples: int = 1) -> Ledger:
    """The energy ledger of one diffusion sample.

    Args:
        machine: as built.
        equipment: beside it.
        timeline: of one sample of this machine.
        samples: that share one loading of the weights.

    Raises:
        InputError: a part that says nothing of its power.
        ValueError: fewer than one sample.
    """
    if samples < 1:
        raise ValueError(f"a run has at least one sample, got {samples}")
    events: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in timeline.events:
        events[event.resource, event.what].append(event)
    used = {resource for resource, _ in events}
    span = timeline.duration - timeline.load_time
    rows: list[Row] = []
    for part, loads in loads_of(machine, equipment).items():
        kinds = [kind for kind in ON[part] if kind in events]
        if part == "memory" and "memory" not in used:
            continue  # the host carries the sample: these cells are not there
        for load in loads:
            if load.dimension == "joule":
                rows.append(_row(part, load, ONCE[load.consumer][1], events[ONCE[load.consumer]]))
                continue
            on = [_row(part, load, kind[1], events[kind]) for kind in kinds]
            # while weights are loaded the other parts may be off on any bench
            busy = _covered(e for kind in kinds if kind[0] != "slm" for e in events[kind])
            idle = max(0.0, span - busy)
            rows += [*on, Row(part, load.consumer, IDLE, 1, idle, load)]
    sequencer, host = equipment.controller.power(machine.channels)
    transfers = events["host", "transfer"]
    rows.append(Row("controller", sequencer.consumer, WHOLE, 1, span, sequencer))
    # transfers may overlap: the host is one
    took = Row("controller", host.consumer, "transfer", len(transfers), _covered(transfers), host)
    rows += [took, replace(took, event=IDLE, count=1, duration=max(0.0, span - took.duration))]
    solves = events[SOLVE]
    return Ledger(
        rows=tuple(row for row in rows if row.count),
        steps=len(timeline.starts),
        solves=len(solves),
        samples=samples,
        period=timeline.period,
    )


def _row(part: str, load: Load, event: str, events: list[Event]) -> Row:
    return Row(part, load.consumer, event, len(events), sum(e.stop - e.start for e in events), load)


def _covered(events: Iterable[Event]) -> float:
    """Time during which at least one of the events goes on, s."""
    spans = sorted((event.start, event.stop) for event in events)
    total, edge = 0.0, float("-inf")
    for (start, stop), _ in pairwise([*spans, (0.0, 0.0)]):
        total += max(0.0, stop - max(start, edge))
        edge = max(edge, stop)
    return total


def check(found: Ledger) -> int:
    """Verify the dimensions of all rows: their factors' product is an energy.

    Returns:
        Number of rows.

    Raises:
        ValueError: a row whose factors are no energy together; names it.
    """
    from aocsim.units import same_dimension

    for row in found.rows:
        product = "*".join(f"({factor.dimension})" for factor in row.factors)
        if not same_dimension(product, "joule"):
            raise ValueError(f"{row.part}, {row.consumer}, {row.event}: {product} is no energy")
    return len(found.rows)
