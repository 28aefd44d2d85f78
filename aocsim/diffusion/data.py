"""Two-dimensional data sets: points uniform in filled shapes.

A shape is a set of closed rings; a point belongs to it when a ray from the point crosses the rings an odd
number of times, so that a ring inside another is a hole. Every shape is normalised to [-1, 1]^2: its bounding
box is centred on the origin and one common factor makes the longer side 2, which keeps its proportions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aocsim.errors import InputError, unknown_name
from aocsim.law import Array

OUTLINE_POINTS = 256


def _heart() -> tuple[Array, ...]:
    """Heart curve x = 16 sin^3 u, y = 13 cos u - 5 cos 2u - 2 cos 3u - cos 4u, as a polygon."""
    u = np.linspace(0.0, 2.0 * np.pi, OUTLINE_POINTS, endpoint=False)
    x = 16.0 * np.sin(u) ** 3
    y = 13.0 * np.cos(u) - 5.0 * np.cos(2 * u) - 2.0 * np.cos(3 * u) - np.cos(4 * u)
    return (np.stack([x, y], axis=1),)


SHAPES: dict[str, Callable[[], tuple[Array, ...]]] = {"heart": _heart}
"""Name -> function that returns the rings, each (vertices, 2), in any unit."""


def shape_rings(name: str) -> tuple[Array, ...]:
    """Outline of a shape, normalised to [-1, 1]^2.

    Args:
        name: a key of `SHAPES`.

    Returns:
        Rings, each (vertices, 2), not repeating the first vertex, in network units.

    Raises:
        InputError: no shape has this name.
    """
    if name not in SHAPES:
        raise unknown_name("data set", name, SHAPES, key="data")
    rings = SHAPES[name]()
    vertices = np.concatenate(rings)
    lower, upper = vertices.min(axis=0), vertices.max(axis=0)
    scale = 2.0 / float((upper - lower).max())
    return tuple((ring - (lower + upper) / 2.0) * scale for ring in rings)


def inside(rings: tuple[Array, ...], points: Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Whether points lie in a shape, by the even-odd rule.

    Args:
        rings: closed rings, each (vertices, 2).
        points: (count, 2), in the unit of the rings.

    Returns:
        (count,) booleans.
    """
    x, y = points[:, 0], points[:, 1]
    odd = np.zeros(len(points), dtype=np.bool_)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            # A horizontal edge fails the first condition for every point, so the division is safe.
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return odd


def shape_points(name: str, count: int, rng: np.random.Generator) -> Array:
    """Points drawn uniformly from a filled shape, by rejection from its bounding box.

    Args:
        name: a key of `SHAPES`.
        count: how many points, 0 or more.
        rng: source of the randomness.

    Returns:
        (count, 2) points in [-1, 1]^2, network units.

    Raises:
        InputError: no shape has this name, or `count` is negative.
    """
    rings = shape_rings(name)
    if count < 0:
        raise InputError("the number of points is negative", key="count", got=count, allowed="0 or more")
    vertices = np.concatenate(rings)
    lower, upper = vertices.min(axis=0), vertices.max(axis=0)
    accepted = np.empty((0, 2))
    while len(accepted) < count:
        # Half as many again as are missing: the shapes fill one half of their box or more.
        candidates = rng.uniform(lower, upper, size=(16 + 3 * (count - len(accepted)) // 2, 2))
        accepted = np.concatenate([accepted, candidates[inside(rings, candidates)]])
    return accepted[:count]
