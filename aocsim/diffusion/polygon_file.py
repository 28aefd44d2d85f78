"""Files that hold the outline of a shape.

Text: a vertex a line, x and y parted by a comma, a semicolon or blanks; blank lines part rings; what follows a # is a
comment. JSON (the first character is [ or {): a list of rings, each a list of [x, y], or the same under `coordinates`
of a GeoJSON polygon. Any unit; rings are closed by themselves, and the first vertex may be repeated at the end.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np

from aocsim.diffusion.polygons import MOST_VERTICES, Rings, checked
from aocsim.errors import InputError

LARGEST = 4 * 2**20
"""Bytes of a file."""

_ALLOWED = "two numbers, x and y, a line; blank lines part rings, # starts a comment"
_ALLOWED_JSON = "a list of rings, each a list of [x, y], or a GeoJSON polygon"


def read_polygon(path: Path) -> Rings:
    """Read a polygon file.

    Args:
        path: the file, in one of the formats of this module.

    Returns:
        Rings, each (vertices, 2), in the unit of the file.

    Raises:
        InputError: the file is missing, too large, no text, or not in the format (the message names the line), or
            its rings are refused by `checked`.
    """
    try:
        if not path.is_file():
            raise InputError("no such file", file=path)
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError("too large", file=path, got=f"{size} bytes", allowed=f"at most {LARGEST}")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("not a text file", file=path, allowed=_ALLOWED) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"not the name of a file ({error})", got=str(path)) from error
    if "\0" in text:
        raise InputError("not a text file", file=path, allowed=_ALLOWED)
    rings = _from_json(text, path) if text.lstrip()[:1] in ("[", "{") else _from_lines(text, path)
    return checked([np.array(ring).reshape(-1, 2) for ring in rings], file=path)


def _from_lines(text: str, path: Path) -> list[list[list[float]]]:
    rings: list[list[list[float]]] = [[]]
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            rings[-1].append(_vertex(re.split(r"\s*[,;]\s*|\s+", content), f"line {number}", path, _ALLOWED))
        elif not line.strip() and rings[-1]:  # a line that is all comment parts nothing
            rings.append([])
    if not rings[-1]:
        rings.pop()
    return rings


def _from_json(text: str, path: Path) -> list[list[list[float]]]:
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"no JSON: {error.msg}", file=path, key=f"line {error.lineno}") from error
    except RecursionError as error:
        raise InputError("nested too deeply", file=path, allowed=_ALLOWED_JSON) from error
    if isinstance(table, dict):
        if table.get("type") != "Polygon":
            raise InputError(
                "unknown kind of object", file=path, key="type", got=table.get("type"), allowed="Polygon"
            )
        table = table.get("coordinates")
    if not isinstance(table, list) or not all(isinstance(ring, list) for ring in table):
        raise InputError("not rings", file=path, got=table, allowed=_ALLOWED_JSON)
    if sum(len(ring) for ring in table) > MOST_VERTICES:
        raise InputError("too many vertices", file=path, allowed=f"at most {MOST_VERTICES}")
    return [
        [
            _vertex(vertex, f"ring {i}, vertex {j}", path, _ALLOWED_JSON)
            for j, vertex in enumerate(ring, start=1)
        ]
        for i, ring in enumerate(table, start=1)
    ]


def _vertex(values: object, place: str, path: Path, allowed: str) -> list[float]:
    """Two finite numbers; from a line they come as words."""
    if not isinstance(values, list) or len(values) != 2:
        raise InputError("not a vertex", file=path, key=place, got=values, allowed=allowed)
    if any(isinstance(value, bool) or not isinstance(value, int | float | str) for value in values):
        raise InputError("not numbers", file=path, key=place, got=values, allowed=allowed)
    try:
        x, y = (float(value) for value in values)
    except (ValueError, OverflowError) as error:
        raise InputError("not numbers", file=path, key=place, got=values, allowed=allowed) from error
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError("not a finite number", file=path, key=place, got=values, allowed=allowed)
    return [x, y]
