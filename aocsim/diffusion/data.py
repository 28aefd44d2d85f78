"""Two-dimensional data sets: points uniform in filled shapes.

A data set is named by a key of `SHAPES`; by `letter:TEXT`, for example `letter:A`, outlines of DejaVu Sans Bold; or by
`polygon:FILE`, an outline in a file (`aocsim.diffusion.polygon_file` states the formats). Every shape is normalised to
[-1, 1]^2: its bounding box is centred on the origin and one common factor makes the longer side 2, which keeps its
proportions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aocsim.diffusion.glyphs import text_rings
from aocsim.diffusion.polygon_file import read_polygon
from aocsim.diffusion.polygons import Rings, checked, inside, normalised, uniform_points
from aocsim.diffusion.shapes import SHAPES
from aocsim.errors import InputError, nearest_name
from aocsim.law import Array

__all__ = ["LETTER", "POLYGON", "SHAPES", "check_data", "inside", "shape_points", "shape_rings"]

LETTER, POLYGON = "letter:", "polygon:"
"""What a data set's name begins with when a text, or the name of a file, follows."""


def check_data(name: str) -> None:
    """Refuse what can be no data set, without reading the file of `polygon:FILE`.

    Args:
        name: name of a data set.

    Raises:
        InputError: an unknown name, an empty text or file name, or a text that the font cannot draw.
    """
    if name.startswith(POLYGON):
        if not name.removeprefix(POLYGON).strip():
            raise InputError(
                "the name of the file is missing", key="data", got=name, allowed=f"{POLYGON}FILE"
            )
    elif name.startswith(LETTER):
        text_rings(name.removeprefix(LETTER), key="data")
    elif name not in SHAPES:
        raise InputError(
            "unknown data set",
            key="data",
            got=name,
            nearest=_nearest(name),
            allowed=[*sorted(SHAPES), f"{LETTER}TEXT", f"{POLYGON}FILE"],
        )


def _nearest(name: str) -> str | None:
    """The name that was probably meant: a single character is a letter, the part before a colon a prefix."""
    head, colon, rest = name.partition(":")
    if colon:
        prefix = nearest_name(head + colon, (LETTER, POLYGON))
        return None if prefix is None else prefix + rest
    if len(name) == 1:
        return LETTER + name
    return nearest_name(name, (*SHAPES, LETTER + name[-1:], POLYGON + "FILE"))


def shape_rings(name: str, folder: str | os.PathLike[str] | None = None) -> Rings:
    """Outline of a shape, normalised to [-1, 1]^2.

    Args:
        name: a key of `SHAPES`, letter:TEXT or polygon:FILE.
        folder: folder that a relative FILE is taken from; None is the current one.

    Returns:
        Rings, each (vertices, 2), not repeating the first vertex, in network units; a ring within another is a
        hole (even-odd rule).

    Raises:
        InputError: no shape has this name, the font cannot draw the text, or the file is refused.
    """
    check_data(name)
    if name.startswith(POLYGON):
        return normalised(read_polygon(Path(folder or ".") / name.removeprefix(POLYGON)))
    if name.startswith(LETTER):
        return normalised(text_rings(name.removeprefix(LETTER), key="data"))
    return normalised(SHAPES[name]())


def shape_points(
    shape: str | Sequence[Array],
    count: int,
    rng: np.random.Generator,
    folder: str | os.PathLike[str] | None = None,
) -> Array:
    """Points drawn uniformly from a filled shape.

    Args:
        shape: a name as `shape_rings` takes it, or rings, in network units.
        count: how many points, 0 or more.
        rng: source of the randomness.
        folder: folder that the FILE of polygon:FILE is taken from; None is the current one.

    Returns:
        (count, 2) points in [-1, 1]^2, network units. The same for a name and for its rings; fewer points from the
        same generator are the first of more.

    Raises:
        InputError: no shape has this name, its file or the rings are refused, or `count` is negative.
    """
    rings = shape_rings(shape, folder) if isinstance(shape, str) else checked(shape, key="shape")
    return uniform_points(rings, count, rng)
