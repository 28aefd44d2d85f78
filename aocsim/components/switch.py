"""Analog crosspoints: one for each channel closes a machine's loop, M^2 of them connect M modules in any order."""

from __future__ import annotations

from dataclasses import dataclass

from aocsim.asbuilt import AsBuilt
from aocsim.power import Factor, Load
from aocsim.spec import EntrySpec

ENTRIES = {
    "crosspoint_power": EntrySpec("watt"),
    "switching_time": EntrySpec("second"),
    "bandwidth": EntrySpec("hertz"),
    "delay": EntrySpec("second"),
}


@dataclass(frozen=True)
class Switch:
    """Crosspoints.

    Attributes:
        crosspoint_power: W for each channel of a closed crosspoint.
        switching_time: s, from the command until the new connection stands.
        bandwidth: -3 dB frequency of a crosspoint between modules, Hz.
        delay: of a pass from module to module, s.
    """

    crosspoint_power: float
    switching_time: float
    bandwidth: float
    delay: float

    @classmethod
    def build(cls, part: AsBuilt) -> Switch:
        """Read the switch's sheet."""
        return cls(*(part.scalar(name) for name in ENTRIES))

    def power(self, channels: int) -> tuple[Load, ...]:
        """Load of `channels` closed crosspoints, W; an open one takes nothing."""
        factors = (
            Factor("channels", float(channels)),
            Factor("crosspoint power", self.crosspoint_power, "watt"),
        )
        return (Load("crosspoints", factors),)
