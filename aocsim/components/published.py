"""A published projection: its chain of numbers, beside which a bottom-up one is put."""

from __future__ import annotations

from dataclasses import dataclass, fields

from aocsim.asbuilt import AsBuilt
from aocsim.spec import EntrySpec

ENTRIES = {
    "efficiency": EntrySpec("1/joule"),
    "weights": EntrySpec("dimensionless"),
    "modules": EntrySpec("dimensionless"),
    "total_power": EntrySpec("watt"),
    "rate": EntrySpec("1/second"),
    "step_cycles": EntrySpec("dimensionless"),
    "weight_bits": EntrySpec("dimensionless"),
}


@dataclass(frozen=True)
class Published:
    """A projection of a network in so many modules.

    Attributes:
        efficiency: operations for each joule.
        weights: of all modules together.
        modules: their number.
        total_power: of all modules, W.
        rate: operations a second of all modules.
        step_cycles: time of a diffusion step in cycles of the loop's bandwidth.
        weight_bits: bits of a weight.
    """

    efficiency: float
    weights: float
    modules: float
    total_power: float
    rate: float
    step_cycles: float
    weight_bits: float

    @classmethod
    def build(cls, part: AsBuilt) -> Published:
        """Read the sheet."""
        return cls(**{field.name: part.scalar(field.name) for field in fields(cls)})

    @property
    def weights_per_module(self) -> float:
        """Weights of one module."""
        return self.weights / self.modules

    @property
    def channels(self) -> float:
        """Channels of a module whose matrix is square."""
        return float(self.weights_per_module**0.5)

    @property
    def bandwidth(self) -> float:
        """Loop bandwidth, Hz, that the rate implies at two operations a weight in every 1/f."""
        return self.rate / (2 * self.weights)

    @property
    def power_per_channel(self) -> float:
        """W of everything, for each channel of a module."""
        return self.total_power / self.modules / self.channels

    def step(self, bandwidth: float) -> float:
        """Time of a diffusion step, s, at a loop bandwidth, Hz."""
        return self.step_cycles / bandwidth
