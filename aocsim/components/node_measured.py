r"""Summing amplifier as it was measured: a saturation in pieces.

The public digital twin of the 48-channel machine (github.com/microsoft/aoc, parameters of April 2025) lists, for the
unsaturated sum u in volts, between the voltages where its pieces begin and end::

    u below piece 0    negative_saturation
    piece 0            C0 - cos(1/(k u))
    piece 1            a polynomial of second degree
    in between         u
    piece 3            a polynomial of fourth degree
    piece 4            C2 + cos(u + C1)
    u above piece 4    positive_saturation

With the published numbers both outer pieces end on the saturation values to 1e-15 V, which fixes the cosines' form.
The law is *not* monotone: driven past about 4.0 V the output falls from 3.68 V to 2.70 V before it settles at 2.85 V,
and the same happens, by half a volt, below -3.3 V. The saturation values are therefore not the rails, which lie
further out. Where pieces meet, the published ones miss each other by 0.6 mV, 6 mV, 26 mV (at -3.28 V) and 57 mV (at
4.13 V). Here each piece is shifted onto its inner neighbour, and the shift fades linearly to zero at its outer end:

.. math:: y(u) = p(u) - [p(u_0) - y(u_0)]\,\frac{u_1 - u}{u_1 - u_0}                                      (1)

with u_0 the inner and u_1 the outer end of the piece, so that the law is continuous, and nowhere further from the
published pieces than their own gaps. A piece of no length is left out, which leaves a law that is clamped there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.errors import InputError
from aocsim.law import Law
from aocsim.spec import EntrySpec
from aocsim.stages import Elementwise

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]

_VOLTS = EntrySpec("volt")
_ENDS = EntrySpec("volt", shape=2)

ENTRIES = {
    "negative_saturation": _VOLTS,
    "piece0_ends": _ENDS,
    "piece0_constant": _VOLTS,
    "piece0_coefficient": EntrySpec("1/volt"),
    "piece1_ends": _ENDS,
    "piece1_polynomial": EntrySpec("dimensionless", shape=3),
    "piece3_ends": _ENDS,
    "piece3_polynomial": EntrySpec("dimensionless", shape=5),
    "piece4_ends": _ENDS,
    "piece4_phase": EntrySpec("dimensionless"),
    "piece4_constant": _VOLTS,
    "positive_saturation": _VOLTS,
    "kept_drive_limits": _ENDS,
}

MARGIN = 0.5  # V by which the table reaches past the last piece
TABLE_INTERVALS = 8192
WIDEST_GAP = 0.2  # V: pieces further apart where they meet are not one amplifier's


@dataclass(frozen=True)
class MeasuredNode:
    """As built. Pairs are the lower and the upper end of a piece, V; polynomials take u/(1 V), highest power first.

    Attributes:
        negative_saturation: output far below, V.
        piece0_ends: of the lower cosine.
        piece0_constant: C0, V.
        piece0_coefficient: k, 1/V.
        piece1_ends: of the lower polynomial.
        piece1_polynomial: three coefficients.
        piece3_ends: of the upper polynomial.
        piece3_polynomial: five coefficients.
        piece4_ends: of the upper cosine.
        piece4_phase: C1, rad, with u/(1 V) as an angle.
        piece4_constant: C2, V.
        positive_saturation: output far above, V.
    """

    negative_saturation: float
    piece0_ends: tuple[float, float]
    piece0_constant: float
    piece0_coefficient: float
    piece1_ends: tuple[float, float]
    piece1_polynomial: tuple[float, ...]
    piece3_ends: tuple[float, float]
    piece3_polynomial: tuple[float, ...]
    piece4_ends: tuple[float, float]
    piece4_phase: float
    piece4_constant: float
    positive_saturation: float

    @classmethod
    def build(cls, part: AsBuilt) -> MeasuredNode:
        """Read the node's sheet.

        Raises:
            InputError: pieces out of order, or too far apart where they meet.
        """

        def listed(entry: str) -> tuple[float, ...]:
            return tuple(part.nominal(entry).tolist())

        def ends(entry: str) -> tuple[float, float]:
            low, high = listed(entry)
            return low, high

        node = cls(
            part.scalar("negative_saturation"),
            ends("piece0_ends"),
            part.scalar("piece0_constant"),
            part.scalar("piece0_coefficient"),
            ends("piece1_ends"),
            listed("piece1_polynomial"),
            ends("piece3_ends"),
            listed("piece3_polynomial"),
            ends("piece4_ends"),
            part.scalar("piece4_phase"),
            part.scalar("piece4_constant"),
            part.scalar("positive_saturation"),
        )
        edges = [*node.piece0_ends, *node.piece1_ends, *node.piece3_ends, *node.piece4_ends]
        joined = node.piece0_ends[1] == node.piece1_ends[0] and node.piece3_ends[1] == node.piece4_ends[0]
        if edges != sorted(edges) or not joined or not node.linear_low < 0 < node.linear_high:
            raise InputError(
                "the pieces of the saturation must follow one another, with 0 V between the inner two",
                key=f"parts.{part.role}",
                got=edges,
            )
        with np.errstate(all="ignore"):  # a piece that is no number anywhere is no gap either
            gap = float(np.max(np.abs(node.gaps)))
        if not gap <= WIDEST_GAP:
            raise InputError(
                "the pieces of the saturation do not meet",
                key=f"parts.{part.role}",
                got=f"a gap of {gap:.3g} V",
                allowed=f"{WIDEST_GAP:g} V",
            )
        return node

    @property
    def linear_low(self) -> float:
        """Lower end of the linear range, V."""
        return self.piece1_ends[1]

    @property
    def linear_high(self) -> float:
        """Upper end of the linear range, V."""
        return self.piece3_ends[0]

    @property
    def _sides(self) -> tuple[list[tuple[float, float, Curve, Curve]], ...]:
        """For either side, from the linear range outwards: inner end, outer end, piece and its derivative."""
        k = self.piece0_coefficient
        first, third = np.array(self.piece1_polynomial), np.array(self.piece3_polynomial)

        def lower(u: Array) -> Array:
            return np.asarray(self.piece0_constant - np.cos(1 / (k * u)))

        def lower_slope(u: Array) -> Array:
            return np.asarray(-np.sin(1 / (k * u)) / (k * u * u))

        def upper(u: Array) -> Array:
            return np.asarray(np.cos(u + self.piece4_phase) + self.piece4_constant)

        def upper_slope(u: Array) -> Array:
            return np.asarray(-np.sin(u + self.piece4_phase))

        def polynomial(coefficients: Array) -> Curve:
            return lambda u: np.asarray(np.polyval(coefficients, u))

        below = [
            (*self.piece1_ends[::-1], polynomial(first), polynomial(np.polyder(first))),
            (*self.piece0_ends[::-1], lower, lower_slope),
        ]
        above = [
            (*self.piece3_ends, polynomial(third), polynomial(np.polyder(third))),
            (*self.piece4_ends, upper, upper_slope),
        ]
        return [piece for piece in below if piece[0] != piece[1]], [
            piece for piece in above if piece[0] != piece[1]
        ]

    @property
    def gaps(self) -> tuple[float, ...]:
        """What the published pieces miss where they meet, V, from the lowest to the highest place."""
        found = []
        ends = (
            (self.linear_low, self.negative_saturation),
            (self.linear_high, self.positive_saturation),
        )
        for side, (limit, last) in zip(self._sides, ends, strict=True):
            jumps: list[float] = []
            reached = limit
            for inner, outer, piece, _ in side:
                jumps.append(float(piece(np.array(inner))) - reached)
                reached = float(piece(np.array(outer)))
            found.append([*jumps, last - reached])
        return (*found[0][::-1], *found[1])

    def saturate(self, u: Array) -> Array:
        """Amplifier output, V, for the unsaturated sum u, V: equation (1) in the pieces."""
        return self._evaluate(np.asarray(u, dtype=float))[0]

    def slope(self, u: Array) -> Array:
        """dy/du of `saturate`, dimensionless; at a kink that of the outer piece."""
        return self._evaluate(np.asarray(u, dtype=float))[1]

    def _evaluate(self, u: Array) -> tuple[Array, Array]:
        y, dy = u.copy(), np.ones_like(u)
        both = (
            (-1.0, self._sides[0], self.linear_low, self.negative_saturation),
            (1.0, self._sides[1], self.linear_high, self.positive_saturation),
        )
        for sign, side, limit, last in both:
            reached = limit
            for inner, outer, piece, derivative in side:
                inside = sign * u > sign * inner
                place = np.where(sign * u > sign * outer, outer, np.where(inside, u, inner))
                shift = float(piece(np.array(inner))) - reached
                y = np.where(inside, piece(place) - shift * (outer - place) / (outer - inner), y)
                dy = np.where(inside, derivative(place) + shift / (outer - inner), dy)
                limit, reached = outer, float(piece(np.array(outer)))
            beyond = sign * u > sign * limit
            y, dy = np.where(beyond, last, y), np.where(beyond, 0.0, dy)
        return y, dy

    def stage(self) -> Elementwise:
        """Sum [V] -> amplifier output [V]."""
        return Elementwise(_table(self))


@lru_cache(maxsize=64)
def _table(node: MeasuredNode) -> Law:
    """The node's saturation as a table; every composed loop asks for it."""
    lower, upper = node.piece0_ends[0] - MARGIN, node.piece4_ends[1] + MARGIN
    return Law.tabulate("measured node amplifier", node.saturate, node.slope, lower, upper, TABLE_INTERVALS)
