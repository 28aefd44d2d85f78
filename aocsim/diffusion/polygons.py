"""Polygons with holes: checks, the even-odd rule, and uniform points.

A shape is a set of closed rings, each (vertices, 2) and not repeating its first vertex. A point belongs to it when a
ray from the point crosses the rings an odd number of times, so that a ring inside another is a hole.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import UNSET, InputError
from aocsim.law import Array

Rings = tuple[Array, ...]

MOST_VERTICES = 10_000
"""Vertices of a shape, all rings together, since the work can grow with their square."""

LEAST_AREA = 1e-12
"""Area of the largest triangle on a ring's longest diagonal, twice, in a shape normalised to [-1, 1]^2, up to which
the ring counts as a line; rounding makes some 1e-15 of a line."""

LEAST_EXTENT = 1e-150
"""Longer side of a shape's bounding box, in any unit, whose square is still a normal number."""

REJECTION_FILL = 0.25
"""Share of its bounding box above which a shape's points are drawn by rejection; thinner ones from trapezoids."""


def normalised(rings: Sequence[Array]) -> Rings:
    """Rings in [-1, 1]^2: bounding box centred on the origin, its longer side 2, proportions kept.

    Args:
        rings: each (vertices, 2), in any unit, not all vertices equal.

    Returns:
        Rings in network units.
    """
    lower, upper = bounding_box(rings)
    scale = 2.0 / float((upper - lower).max())
    return tuple((ring - (lower + upper) / 2.0) * scale for ring in rings)


def bounding_box(rings: Sequence[Array]) -> tuple[Array, Array]:
    """Lower and upper corner, (2,) each, in the unit of the rings."""
    vertices = np.concatenate(rings)
    return vertices.min(axis=0), vertices.max(axis=0)


def checked(
    rings: Sequence[Array],
    *,
    file: str | os.PathLike[str] | None = None,
    key: str | None = None,
    got: object = UNSET,
) -> Rings:
    """Rings that bound an area: float64, vertices that repeat the one before them left out.

    Args:
        rings: each (vertices, 2), any unit; the first vertex may be repeated at the end. Rings may lie side by side
            or within one another, but no two edges may meet.
        file: where they come from, for the message.
        key: likewise.
        got: likewise, where rings come from something shorter than themselves.

    Returns:
        The rings, in the unit that they came in.

    Raises:
        InputError: no ring, a wrong shape, not finite, too small or too large for numbers, more vertices than
            `MOST_VERTICES`, a ring with fewer than 3 distinct vertices or without area, edges that cross, touch or run
            back over one another.
    """
    if not len(rings):
        raise InputError("no outline", file=file, key=key, got="0 rings", allowed="1 ring or more")
    total, out = 0, []
    for number, ring in enumerate(rings, start=1):
        try:
            vertices = np.asarray(ring, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"ring {number} is no array of numbers", file=file, key=key, got=ring) from error
        if vertices.ndim != 2 or vertices.shape[1] != 2:
            raise InputError(
                f"ring {number} has a wrong shape",
                file=file,
                key=key,
                got=vertices.shape,
                allowed="(vertices, 2)",
            )
        if not np.isfinite(vertices).all():
            raise InputError(f"ring {number} has a vertex that is not a finite number", file=file, key=key)
        total += len(vertices)
        vertices = vertices[(vertices != np.roll(vertices, -1, axis=0)).any(axis=1)]
        distinct = len(np.unique(vertices, axis=0)) if len(vertices) else min(1, len(ring))
        if distinct < 3:
            raise InputError(
                f"ring {number} encloses nothing",
                file=file,
                key=key,
                got=f"{distinct} distinct vertices",
                allowed="3 or more",
            )
        out.append(vertices)
    if total > MOST_VERTICES:
        raise InputError(
            "too many vertices", file=file, key=key, got=total, allowed=f"at most {MOST_VERTICES}"
        )
    lower, upper = bounding_box(out)
    with np.errstate(over="ignore"):
        extent = float((upper - lower).max())
    if not LEAST_EXTENT <= extent <= 1.0 / LEAST_EXTENT:
        raise InputError(
            "the outline is too small or too large for numbers",
            file=file,
            key=key,
            got=f"{extent:.3g} across",
            allowed=f"{LEAST_EXTENT:g} to {1.0 / LEAST_EXTENT:g}",
        )
    fitted = normalised(out)
    for number, ring in enumerate(fitted, start=1):
        from_first = ring - ring[0]
        longest = from_first[np.argmax((from_first**2).sum(axis=1))]
        if not np.abs(_cross(longest, from_first)).max() > LEAST_AREA:
            raise InputError(
                f"ring {number} has no area: its vertices lie on a line", file=file, key=key, got=got
            )
    met = _meeting_edges(fitted)
    if met:
        raise InputError(
            f"the outline crosses or touches itself: {met[0]} meets {met[1]}", file=file, key=key, got=got
        )
    return tuple(out)


def signed_area(ring: Array) -> float:
    """Area within a ring (vertices, 2) by the shoelace formula, positive if it runs anticlockwise."""
    (x, y), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    return float((x * y1 - x1 * y).sum()) / 2.0


def _meeting_edges(rings: Rings) -> tuple[str, str] | None:
    """Names of two edges with a point in common that is not the vertex between neighbours."""
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    first = np.cumsum([0, *(len(ring) for ring in rings)])
    following = np.concatenate([np.roll(np.arange(a, b), -1) for a, b in itertools.pairwise(first)])
    direction = end - start
    after = direction[following]
    back = (_cross(direction, after) == 0.0) & ((direction * after).sum(axis=1) < 0.0)
    if back.any():
        i = int(np.argmax(back))
        return _edge(first, i), _edge(first, int(following[i]))
    lower, upper = np.minimum(start, end), np.maximum(start, end)
    # From left to right, so that an edge is compared with those alone that begin before it ends.
    order = np.argsort(lower[:, 0], kind="stable")
    beyond = np.searchsorted(lower[order, 0], upper[order, 0], side="right")
    for place, i in enumerate(order):
        j = order[place + 1 : beyond[place]]
        j = j[(lower[j, 1] <= upper[i, 1]) & (upper[j, 1] >= lower[i, 1]) & (j != following[i])]
        j = j[following[j] != i]
        # Two segments with overlapping boxes meet unless one lies wholly on one side of the other's line.
        across_i = _cross(direction[i], start[j] - start[i]) * _cross(direction[i], end[j] - start[i]) <= 0.0
        across_j = _cross(direction[j], start[i] - start[j]) * _cross(direction[j], end[i] - start[j]) <= 0.0
        meet = j[across_i & across_j]
        if len(meet):
            one, other = sorted((int(i), int(meet[0])))
            return _edge(first, one), _edge(first, other)
    return None


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _edge(first: NDArray[np.intp], index: int) -> str:
    ring = int(np.searchsorted(first, index, side="right"))
    return f"edge {index - int(first[ring - 1]) + 1} of ring {ring}"


def inside(rings: Sequence[Array], points: Array) -> NDArray[np.bool_]:
    """Whether points lie in a shape, by the even-odd rule.

    Args:
        rings: closed rings, each (vertices, 2).
        points: (count, 2), in the unit of the rings.

    Returns:
        (count,) booleans.
    """
    # With the points in order of height, an edge is compared with those alone that are level with it.
    order = np.argsort(points[:, 1], kind="stable")
    x, y = points[order, 0], points[order, 1]
    odd = np.zeros(len(points), dtype=np.bool_)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            # A horizontal edge is level with no point, so the division is safe.
            level = slice(*np.searchsorted(y, (min(y0, y1), max(y0, y1))))
            if y0 != y1:
                odd[level] ^= x[level] < x0 + (y[level] - y0) * ((x1 - x0) / (y1 - y0))
    out = np.empty_like(odd)
    out[order] = odd
    return out


def trapezoids(rings: Sequence[Array]) -> Array:
    """A shape cut at the heights of its vertices into trapezoids with horizontal parallel sides.

    Between neighbouring heights no edge begins, ends or crosses another, so the edges there, from left to right,
    bound the shape in pairs.

    Args:
        rings: as `checked` returns them.

    Returns:
        (pieces, 6): height of the lower side, of the upper side, left and right end of the lower side, left and right
        end of the upper side; in the unit of the rings.
    """
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    rising = (start[:, 1] < end[:, 1])[:, None]
    low, high = np.where(rising, start, end), np.where(rising, end, start)
    slanted = low[:, 1] < high[:, 1]
    low, high = low[slanted], high[slanted]
    slope = (high[:, 0] - low[:, 0]) / (high[:, 1] - low[:, 1])
    heights = np.unique(start[:, 1])
    pieces = []
    for bottom, top in itertools.pairwise(heights):
        here = (low[:, 1] <= bottom) & (high[:, 1] >= top)
        below = low[here, 0] + (bottom - low[here, 1]) * slope[here]
        above = low[here, 0] + (top - low[here, 1]) * slope[here]
        order = np.argsort(below + above)
        below, above = below[order].reshape(-1, 2), above[order].reshape(-1, 2)
        ends = np.tile([bottom, top], (len(below), 1))
        pieces.append(np.concatenate([ends, below, above], axis=1))
    return np.concatenate(pieces)


def trapezoid_areas(pieces: Array) -> Array:
    """Areas (pieces,) of what `trapezoids` returns, in the square of its unit."""
    bottom, top, left_below, right_below, left_above, right_above = pieces.T
    # Rounding can turn the ends of a side of no width.
    below, above = np.maximum(right_below - left_below, 0.0), np.maximum(right_above - left_above, 0.0)
    return np.asarray((top - bottom) * (below + above) / 2.0)


def uniform_points(rings: Sequence[Array], count: int, rng: np.random.Generator) -> Array:
    """Points drawn uniformly from a filled shape.

    A shape that fills more than `REJECTION_FILL` of its bounding box: rejection from the box. A thinner one: a piece
    of `trapezoids` with the probability of its area, a height within it by inversion of the distribution function,
    which is quadratic, and a place along the line at this height; the cost does not depend on how thin the shape
    is. Either way fewer points from the same generator are the first of more.

    Args:
        rings: as `checked` returns them.
        count: how many points, 0 or more.
        rng: source of the randomness.

    Returns:
        (count, 2) points, in the unit of the rings.

    Raises:
        InputError: `count` is negative.
    """
    if count < 0:
        raise InputError("the number of points is negative", key="count", got=count, allowed="0 or more")
    lower, upper = bounding_box(rings)
    pieces = trapezoids(rings)
    areas = trapezoid_areas(pieces)
    if areas.sum() <= REJECTION_FILL * np.prod(upper - lower):
        return _from_trapezoids(pieces, areas, rng.random((count, 3)))
    accepted = np.empty((0, 2))
    while len(accepted) < count:
        # Half as many again as are missing: most shapes fill one half of their box or more.
        candidates = rng.uniform(lower, upper, size=(16 + 3 * (count - len(accepted)) // 2, 2))
        accepted = np.concatenate([accepted, candidates[inside(rings, candidates)]])
    return accepted[:count]


def _from_trapezoids(pieces: Array, areas: Array, unit: Array) -> Array:
    """Points (count, 2) from numbers (count, 3) uniform in [0, 1): piece, height, place along the line."""
    cumulated = np.cumsum(areas)
    # A piece without area is never met: numbers are below its cumulated area, not at it.
    which = np.searchsorted(cumulated, unit[:, 0] * cumulated[-1], side="right")
    bottom, top, left_below, right_below, left_above, right_above = pieces[which].T
    below, above = np.maximum(right_below - left_below, 0.0), np.maximum(right_above - left_above, 0.0)
    # The root of the quadratic that does not subtract like numbers, so that a parallelogram is no special case.
    v = unit[:, 1]
    share = v * (below + above) / (below + np.sqrt(below**2 + v * (above**2 - below**2)))
    left = left_below + share * (left_above - left_below)
    right = right_below + share * (right_above - right_below)
    return np.stack([left + unit[:, 2] * (right - left), bottom + share * (top - bottom)], axis=1)
