"""Digital-to-analog converters that set the drive: clipped to full scale, rounded to 2^bits steps of 2 FS / 2^bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.power import UNKNOWN, Load, each
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "full_scale": EntrySpec("volt"),
    "bits": EntrySpec("dimensionless"),
    "update_time": EntrySpec("second"),
    "supply_power": EntrySpec("watt", optional=True),
}


@dataclass(frozen=True)
class Dac:
    """Digital-to-analog converters, one a channel.

    Attributes:
        full_scale: V; outputs are clipped to +-full_scale.
        bits: resolution; 0 for an ideal converter.
        update_time: s.
        supply_power: W for each channel, set or holding.
    """

    full_scale: float
    bits: int
    update_time: float
    supply_power: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> Dac:
        """Read the converter's sheet."""
        return cls(
            part.scalar("full_scale"),
            part.integer("bits"),
            part.scalar("update_time"),
            part.optional("supply_power"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What all channels' converters take from the supply, whether they are set or hold.

        Raises:
            InputError: the sheet does not say.
        """
        return (each("converters", channels, "channels", self.supply_power, "dac", "supply_power"),)

    def response(self, volts: Array) -> Array:
        """Clipped and rounded output, V."""
        clipped = np.clip(volts, -self.full_scale, self.full_scale)
        if not self.bits:
            return np.asarray(clipped)
        step = 2 * self.full_scale / 2**self.bits
        top = self.full_scale - step
        return np.asarray(np.minimum(np.round(clipped / step) * step, top))
