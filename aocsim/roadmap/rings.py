r"""Rings of modules that share modulator drivers, crossbar, converters and host: what they are, and their pace.

The network is split over modules which form a ring (`aocsim.roadmap.split`); further modules hold copies of the ring.
The pace of a long batch has a closed form, `Rings.pace`; `aocsim.roadmap.batches` simulates batches of any length.

Left out: that longer rings settle more slowly, but for what the crossbar adds to each pass; layers of an opened ring
that work on different samples at a time, which would need memory cells between them (an opened ring is one server here,
as a closed one is); failure of modules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from aocsim.machine import Machine
from aocsim.roadmap.queueing import cycle_time
from aocsim.timeline import Memory, discharge_time

Read = Literal["every", "last"]
"""Which solves are recorded: of every step, or where cells carry the solution that of the last one alone."""


@dataclass(frozen=True)
class Shared:
    """How many there are of what all rings share.

    Attributes:
        panel_drivers: modulators that can be loaded at a time.
        dacs: banks of converters; each sets the drive of one ring at a time, which the ring's own cells then hold.
        digitisers: banks; each records one ring at a time.
        host_links: records that can be transferred at a time.
        switch_controllers: rings that the crossbar can close at a time.
    """

    panel_drivers: int = 1
    dacs: int = 1
    digitisers: int = 1
    host_links: int = 1
    switch_controllers: int = 1

    def __post_init__(self) -> None:
        """Refuse less than one of anything."""
        for name, count in vars(self).items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")


OWN = ("loop", "drive buffer")
"""Stations of which each ring has its own."""

UNLIMITED = Shared(*[10**9] * 5)
"""So much of everything that nothing is waited for."""


@dataclass(frozen=True)
class Rings:
    """Modules as the timeline sees them.

    Attributes:
        machine: for the durations of all parts.
        modules: of one ring.
        rings: copies of it.
        closing: s, for which the crossbar closes a ring before each solve; 0 for a single module, which has none.
        dead_time: s, by which the crossbar's passes lengthen a solve.
        shared: what all rings share.
        in_flight: samples under way for each ring.
        double_buffered: whether a ring's next drive can be set while it solves.
    """

    machine: Machine
    modules: int = 1
    rings: int = 1
    closing: float = 0.0
    dead_time: float = 0.0
    shared: Shared = Shared()
    in_flight: int = 1
    double_buffered: bool = False

    @property
    def solve(self) -> float:
        """S for which a ring is closed: the digitiser's record and the crossbar's dead time."""
        digitiser = self.machine.digitiser
        return digitiser.samples / digitiser.sample_rate + self.dead_time

    def stations(self, steps: int = 1, read: Read = "every") -> dict[str, tuple[float, int]]:
        """S for which a solve of one trial holds a server, and the number of servers, as of `queueing.cycle_time`.

        Args:
            steps: solves of a sample.
            read: which of them are recorded; where it is the last one only, the others' share is nothing.
        """
        machine, shared = self.machine, self.shared
        digitiser, rest = machine.digitiser, discharge_time(machine)
        setting = 0.0 if self.double_buffered else machine.dac.update_time
        share = 1.0 if read == "every" else 1.0 / steps
        out = {
            "dac": (machine.dac.update_time, shared.dacs),
            "loop": (self.solve + max(setting + self.closing, rest), self.rings),
            "digitiser": (share * (self.solve + digitiser.rearm_time), shared.digitisers),
            "host": (share * digitiser.transfer_time, shared.host_links),
        }
        if self.double_buffered:  # a ring has one buffer, which is being set or waits for the ring
            out["drive buffer"] = (machine.dac.update_time, self.rings)
        if self.closing:
            out["switch"] = (self.closing, shared.switch_controllers)
        return out

    @property
    def way(self) -> float:
        """S from the begin of a step of one trial to its record on the host, if nothing has to be waited for."""
        machine = self.machine
        return machine.dac.update_time + self.closing + self.solve + machine.digitiser.transfer_time

    def pace(
        self, steps: int, memory: Memory = "digital", read: Read = "every", samples: float = math.inf
    ) -> tuple[float, str]:
        """Closed form of the pace of a long batch of samples with one trial: s for a solve, and what sets it.

        Args:
            steps: solves of a sample.
            memory, read: as of `run_batch`.
            samples: that are there at most; fewer than can be under way set the pace as "in flight".
        """
        way = self.way
        if memory == "sample_and_hold":  # the host is waited for once
            transfer = self.machine.digitiser.transfer_time
            way = max(self.stations()["loop"][0], way - transfer) + transfer / steps
        in_flight = min(self.rings * self.in_flight, samples)
        return cycle_time(way, in_flight, self.stations(steps, read))

    def enough(self, steps: int, memory: Memory = "digital", read: Read = "every") -> float:
        """Number of rings from which on what they share sets the pace; inf where nothing shared takes time."""
        alone, _ = replace(self, rings=1, shared=UNLIMITED).pace(steps, memory, read)
        bounds = [
            held / servers for name, (held, servers) in self.stations(steps, read).items() if name not in OWN
        ]
        return math.ceil(alone / max(bounds)) if max(bounds) > 0 else math.inf
