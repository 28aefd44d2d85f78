r"""Summing node: where gradient, alpha path and drive meet, with the amplifier's saturation and the poles.

The amplifier is linear between v_lo and v_hi and then bends to its rails:

.. math:: y(u) = v_{hi} + (r_{hi} - v_{hi}) \tanh\frac{u - v_{hi}}{r_{hi} - v_{hi}} \quad (u > v_{hi})

and likewise below, a continuously differentiable stand-in for the measured piecewise saturation with the same
linear range and rails. The node's dominant pole sits behind the sum, so that the alpha path passes it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.law import Law
from aocsim.spec import EntrySpec
from aocsim.stages import Elementwise

Array = NDArray[np.float64]

ENTRIES = {
    "linear_low": EntrySpec("volt"),
    "linear_high": EntrySpec("volt"),
    "rail_low": EntrySpec("volt"),
    "rail_high": EntrySpec("volt"),
}

TABLE_SPAN = 4.0  # the table reaches this many bend widths past the linear range, where tanh is 1 to 7e-4


@dataclass(frozen=True)
class SummingNode:
    """As built.

    Attributes:
        linear_low: V, lower end of the linear range.
        linear_high: V, upper end.
        rail_low: V, saturated output below.
        rail_high: V, saturated output above.
    """

    linear_low: float
    linear_high: float
    rail_low: float
    rail_high: float

    @classmethod
    def build(cls, part: AsBuilt) -> SummingNode:
        """Read the node's sheet."""
        return cls(*(part.scalar(entry) for entry in ENTRIES))

    def saturate(self, u: Array) -> Array:
        """Amplifier output, V, for the unsaturated sum u, V."""
        u = np.asarray(u, dtype=float)
        above, below = self.rail_high - self.linear_high, self.rail_low - self.linear_low
        bent_up = self.linear_high + above * np.tanh(np.maximum(u - self.linear_high, 0) / above)
        bent_down = self.linear_low + below * np.tanh(np.minimum(u - self.linear_low, 0) / below)
        return np.where(u > self.linear_high, bent_up, np.where(u < self.linear_low, bent_down, u))

    def slope(self, u: Array) -> Array:
        """dy/du of `saturate`, dimensionless."""
        u = np.asarray(u, dtype=float)
        above, below = self.rail_high - self.linear_high, self.rail_low - self.linear_low
        up = 1 / np.cosh(np.clip((u - self.linear_high) / above, 0, 50)) ** 2
        down = 1 / np.cosh(np.clip((u - self.linear_low) / below, 0, 50)) ** 2
        return np.asarray(up * down)

    def stage(self) -> Elementwise | None:
        """Sum [V] -> amplifier output [V]; None for an amplifier without rails."""
        if np.isinf(self.rail_high) and np.isinf(self.rail_low):
            return None
        lower = self.linear_low + TABLE_SPAN * (self.rail_low - self.linear_low)
        upper = self.linear_high + TABLE_SPAN * (self.rail_high - self.linear_high)
        return Elementwise(_table(self, lower, upper))


@lru_cache(maxsize=64)
def _table(node: SummingNode, lower: float, upper: float) -> Law:
    """The node's saturation as a table; every composed loop asks for it."""
    return Law.tabulate("node amplifier", node.saturate, node.slope, lower, upper)
