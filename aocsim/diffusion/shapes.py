"""Outlines that have a name: the shapes of the two-dimensional tasks that are not letters.

Which shapes there are follows Fig. 2 of "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1; their proportions
are this project's own. Units are arbitrary, since every outline is normalised to [-1, 1]^2 before use.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aocsim.law import Array

OUTLINE_POINTS = 256
"""Vertices of a curved outline."""

DIAGONAL_WIDTH = 0.1
"""Width of the diagonal line across its direction, network units (the square [-1, 1]^2 has the side 2)."""


def _heart() -> tuple[Array, ...]:
    """Heart curve x = 16 sin^3 u, y = 13 cos u - 5 cos 2u - 2 cos 3u - cos 4u, as a polygon."""
    u = np.linspace(0.0, 2.0 * np.pi, OUTLINE_POINTS, endpoint=False)
    x = 16.0 * np.sin(u) ** 3
    y = 13.0 * np.cos(u) - 5.0 * np.cos(2 * u) - 2.0 * np.cos(3 * u) - np.cos(4 * u)
    return (np.stack([x, y], axis=1),)


def _triangle() -> tuple[Array, ...]:
    """Equilateral triangle with its tip above."""
    return (np.array([[-1.0, 0.0], [1.0, 0.0], [0.0, np.sqrt(3.0)]]),)


def _square() -> tuple[Array, ...]:
    """Square with sides along the axes."""
    return (np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]),)


def _arrow() -> tuple[Array, ...]:
    """Arrow that points to the right, head and shaft of equal length."""
    upper = np.array([[1.0, 0.0], [0.0, 0.7], [0.0, 0.25], [-1.0, 0.25]])
    return (np.concatenate([upper, (upper * [1.0, -1.0])[:0:-1]]),)


def _lightning() -> tuple[Array, ...]:
    """Bolt with its tip below; a half turn maps it onto itself."""
    half = np.array([[-0.25, -1.0], [0.5, 0.2], [0.05, 0.2]])
    return (np.concatenate([half, -half]),)


def _star() -> tuple[Array, ...]:
    """Regular pentagram, one tip above; notches lie at sin 18 / sin 54 degrees of the tips' distance."""
    angle = np.pi / 2.0 + np.arange(10) * (np.pi / 5.0)
    notch = np.sin(np.pi / 10.0) / np.sin(3.0 * np.pi / 10.0)
    radius = np.where(np.arange(10) % 2 == 0, 1.0, notch)
    return (radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1),)


def _diagonal_line() -> tuple[Array, ...]:
    """Rectangle of width `DIAGONAL_WIDTH` along the diagonal from lower left to upper right."""
    # A rectangle of length l and width w at 45 degrees has a bounding square of side (l + w)/sqrt(2), here 2.
    half = np.array([2.0 * np.sqrt(2.0) - DIAGONAL_WIDTH, DIAGONAL_WIDTH]) / 2.0
    corners = half * [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
    turn = np.array([[1.0, 1.0], [-1.0, 1.0]]) / np.sqrt(2.0)
    return (corners @ turn,)


SHAPES: dict[str, Callable[[], tuple[Array, ...]]] = {
    "heart": _heart,
    "triangle": _triangle,
    "square": _square,
    "arrow": _arrow,
    "lightning": _lightning,
    "star": _star,
    "diagonal_line": _diagonal_line,
}
"""Name -> function that returns the rings, each (vertices, 2), in any unit."""
