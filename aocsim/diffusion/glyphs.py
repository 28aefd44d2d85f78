"""Outlines of text, from the font that matplotlib ships.

The font is DejaVu Sans Bold in matplotlib's own data folder, never one of the system's, so that a text has the same
outline on every computer.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np

from aocsim.diffusion.polygons import Rings, checked
from aocsim.errors import InputError
from aocsim.law import Array

FONT = "DejaVuSans-Bold.ttf"
"""File in the folder fonts/ttf of matplotlib's data."""

FLATNESS = 1e-3
"""Largest distance between a curve of the outline and the chords in its place, network units."""

LONGEST = 64
"""Characters of a text."""


def text_rings(text: str, key: str | None = None) -> Rings:
    """Outline of a text in one line.

    Args:
        text: characters that the font has; spaces may stand between others.
        key: what the text is the value of, for the message.

    Returns:
        Rings, each (vertices, 2), in the unit of the font.

    Raises:
        InputError: an empty or too long text, a character that the font lacks, nothing but blanks, or glyphs whose
            outlines meet.
    """
    if not text:
        raise InputError("an empty text", key=key, allowed="letter: followed by one character or more")
    if len(text) > LONGEST:
        raise InputError(
            "the text is too long", key=key, got=len(text), allowed=f"at most {LONGEST} characters"
        )
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.ft2font import FT2Font
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import text_to_path

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONT
    font = FT2Font(str(file))
    for character in text:
        if not font.get_char_index(ord(character)):
            name = unicodedata.name(character, "unnamed")
            raise InputError(
                f"the font {FONT} lacks a character (U+{ord(character):04X}, {name})", key=key, got=character
            )
    # The text is taken as it stands: TextPath would read what is between dollar signs as mathematics.
    vertices, codes = text_to_path.get_text_path(FontProperties(fname=str(file)), text, ismath=False)
    if not len(vertices):
        raise InputError("the text is blank", key=key, got=text, allowed="a character that leaves ink")
    side = float(np.ptp(vertices, axis=0).max())
    return checked(_flattened(Outline(vertices, codes), FLATNESS * side / 2.0), key=key, got=text)


def _flattened(outline: object, tolerance: float) -> list[Array]:
    """Rings (vertices, 2) of a matplotlib path; quadratic curves become chords within `tolerance`."""
    from matplotlib.path import Path as Outline

    assert isinstance(outline, Outline)
    rings: list[list[Array]] = []
    for values, code in outline.iter_segments(simplify=False):
        points = np.asarray(values, dtype=np.float64).reshape(-1, 2)
        if code == Outline.MOVETO:
            rings.append([points])
        elif code == Outline.LINETO:
            rings[-1].append(points)
        elif code == Outline.CURVE3:
            rings[-1].append(_chords(rings[-1][-1][-1], points[0], points[1], tolerance))
        elif code != Outline.CLOSEPOLY:
            raise AssertionError(f"a TrueType outline has no segments of code {code}")
    return [np.concatenate(ring) for ring in rings]


def _chords(start: Array, control: Array, end: Array, tolerance: float) -> Array:
    """Ends (chords, 2) of chords along a quadratic Bezier curve, uniform in its parameter.

    The curve's second derivative is constant, 2 (start - 2 control + end), so n chords stray from it by at most an
    eighth of that over n^2.
    """
    bend = float(np.hypot(*(start - 2.0 * control + end)))
    count = max(1, int(np.ceil(np.sqrt(bend / (4.0 * tolerance)))))
    t = np.arange(1, count + 1)[:, None] / count
    return np.asarray((1.0 - t) ** 2 * start + 2.0 * t * (1.0 - t) * control + t**2 * end)
