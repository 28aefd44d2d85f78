"""The bench's controller: it sequences the machine, and talks to the host that computes the next drive."""

from __future__ import annotations

from dataclasses import dataclass

from aocsim.asbuilt import AsBuilt
from aocsim.power import Factor, Load
from aocsim.spec import EntrySpec

ENTRIES = {
    "power": EntrySpec("watt"),
    "host_power": EntrySpec("watt"),
}


@dataclass(frozen=True)
class Controller:
    """Sequencer and host.

    Attributes:
        sequencer_power: W, as long as a sample takes.
        host_power: W, while a record is transferred and the next drive computed.
    """

    sequencer_power: float
    host_power: float

    @classmethod
    def build(cls, part: AsBuilt) -> Controller:
        """Read the controller's sheet."""
        return cls(part.scalar("power"), part.scalar("host_power"))

    def power(self, channels: int) -> tuple[Load, ...]:
        """Loads of sequencer and host, W; both are one for the whole machine, whatever its `channels`."""
        return (
            Load("sequencer", (Factor("power", self.sequencer_power, "watt"),)),
            Load("host", (Factor("host power", self.host_power, "watt"),)),
        )
