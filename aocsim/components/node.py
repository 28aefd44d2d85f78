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
from aocsim.errors import InputError
from aocsim.law import Law
from aocsim.power import UNKNOWN, Load, each
from aocsim.spec import EntrySpec
from aocsim.stages import Elementwise

Array = NDArray[np.float64]

ENTRIES = {
    "linear_low": EntrySpec("volt"),
    "linear_high": EntrySpec("volt"),
    "rail_low": EntrySpec("volt"),
    "rail_high": EntrySpec("volt"),
    "supply_power": EntrySpec("watt", optional=True),
}

TABLE_SPAN = 10.0  # the table reaches this many bend widths past the linear range, where tanh is 1 to 4e-9


@dataclass(frozen=True)
class SummingNode:
    """As built.

    Attributes:
        linear_low: V, lower end of the linear range.
        linear_high: V, upper end.
        rail_low: V, saturated output below.
        rail_high: V, saturated output above.
        supply_power: W for each channel.
    """

    linear_low: float
    linear_high: float
    rail_low: float
    rail_high: float
    supply_power: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> SummingNode:
        """Read the node's sheet.

        Raises:
            InputError: rails inside the linear range.
        """
        node = cls(
            part.scalar("linear_low"),
            part.scalar("linear_high"),
            part.scalar("rail_low"),
            part.scalar("rail_high"),
            part.optional("supply_power"),
        )
        if not node.rail_low <= node.linear_low < node.linear_high <= node.rail_high or any(
            start == rail for start, rail, _ in node._bends()
        ):
            raise InputError(
                "the amplifier's range is out of order",
                key=f"parts.{part.role}",
                got=(node.rail_low, node.linear_low, node.linear_high, node.rail_high),
                allowed="rail_low < linear_low < linear_high < rail_high",
            )
        return node

    def power(self, channels: int) -> tuple[Load, ...]:
        """What the summing amplifiers of all channels take from the supply.

        Raises:
            InputError: the sheet does not say.
        """
        return (each("summing amplifiers", channels, "channels", self.supply_power, "node", "supply_power"),)

    def saturate(self, u: Array) -> Array:
        """Amplifier output, V, for the unsaturated sum u, V."""
        u = np.asarray(u, dtype=float)
        bends = self._bends()
        low = max((start for start, _, sign in bends if sign < 0), default=-np.inf)
        high = min((start for start, _, sign in bends if sign > 0), default=np.inf)
        out = np.clip(u, low, high)
        for start, rail, _ in bends:
            out = out + (rail - start) * np.tanh(np.maximum((u - start) / (rail - start), 0.0))
        return np.asarray(out)

    def slope(self, u: Array) -> Array:
        """dy/du of `saturate`, dimensionless."""
        u = np.asarray(u, dtype=float)
        out = np.ones_like(u)
        for start, rail, sign in self._bends():
            over = np.clip(sign * (u - start) / abs(rail - start), 0, 300)
            out = out / np.cosh(over) ** 2
        return np.asarray(out)

    def _bends(self) -> list[tuple[float, float, float]]:
        """Where the linear range ends, the rail behind it, and the direction; sides without a rail left out."""
        sides = ((self.linear_low, self.rail_low, -1.0), (self.linear_high, self.rail_high, 1.0))
        return [side for side in sides if np.isfinite(side[1])]

    def stage(self) -> Elementwise | None:
        """Sum [V] -> amplifier output [V]; None for an amplifier without rails."""
        ends = [start + TABLE_SPAN * (rail - start) for start, rail, _ in self._bends()]
        if not ends:
            return None
        # a side without rail goes on straight from the table's last interval
        return Elementwise(_table(self, min([*ends, -1.0]), max([*ends, 1.0])))


@lru_cache(maxsize=64)
def _table(node: SummingNode, lower: float, upper: float) -> Law:
    """The node's saturation as a table; every composed loop asks for it."""
    return Law.tabulate("node amplifier", node.saturate, node.slope, lower, upper)
