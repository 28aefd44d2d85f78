import numpy as np
import pytest
from matplotlib import get_data_path
from PIL import ImageFont

from aocsim.diffusion.data import check_data, shape_points, shape_rings
from aocsim.diffusion.glyphs import FLATNESS, FONT, _chords
from aocsim.diffusion.polygons import bounding_box, inside, trapezoid_areas, trapezoids
from aocsim.errors import InputError


def fill(rings):
    """Area over that of the bounding box."""
    lower, upper = bounding_box(rings)
    return trapezoid_areas(trapezoids(rings)).sum() / np.prod(upper - lower)


@pytest.mark.parametrize("letter", [*"ADMOCS", "AOC", "é", "8", "$x$"])
def test_outline_is_that_of_another_rasteriser(letter):
    """Pillow draws the same font by itself: share of ink, and centre of the ink, in the box of the text."""
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/{FONT}", 600)
    mask = font.getmask(letter, mode="L")
    ink = np.array(mask, dtype=np.float64).reshape(mask.size[::-1]) / 255.0
    rows, columns = np.flatnonzero(ink.sum(axis=1)), np.flatnonzero(ink.sum(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rings = shape_rings(f"letter:{letter}")
    lower, upper = bounding_box(rings)
    height, width = ink.shape
    assert (upper - lower)[0] / (upper - lower)[1] == pytest.approx(width / height, rel=0.01)
    assert fill(rings) == pytest.approx(ink.mean(), rel=0.015)
    # Pixel centres seen through the outline: they differ at the edge of the ink alone.
    x = lower[0] + (np.arange(width) + 0.5) / width * (upper - lower)[0]
    y = upper[1] - (np.arange(height) + 0.5) / height * (upper - lower)[1]
    drawn = inside(rings, np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(ink.shape)
    assert np.abs(drawn - ink).mean() < 0.015


@pytest.mark.parametrize(("letter", "rings"), [("A", 2), ("D", 2), ("M", 1), ("O", 2), ("C", 1), ("AOC", 5)])
def test_letters_have_their_holes(letter, rings):
    assert len(shape_rings(f"letter:{letter}")) == rings


def test_points_leave_the_hole_of_the_ring_open():
    points = shape_points("letter:O", 4000, np.random.default_rng(0))
    assert np.linalg.norm(points, axis=1).min() > 0.3
    assert np.abs(points.mean(axis=0)).max() < 0.05


def test_chords_stay_within_the_tolerance_and_use_it():
    rng = np.random.default_rng(0)
    for tolerance in (1e-1, 1e-2, 1e-3):
        used = 0.0
        for start, control, end in rng.uniform(-1.0, 1.0, (20, 3, 2)):
            corners = np.concatenate([start[None], _chords(start, control, end, tolerance)])
            np.testing.assert_allclose(corners[-1], end)
            t = np.linspace(0.0, 1.0, 501)[:, None]
            curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
            along = np.diff(corners, axis=0)
            place = ((curve[:, None] - corners[:-1]) * along).sum(axis=2) / (along**2).sum(axis=1)
            foot = corners[:-1] + np.clip(place, 0.0, 1.0)[..., None] * along
            far = np.linalg.norm(curve[:, None] - foot, axis=2).min(axis=1).max()
            assert far <= tolerance * (1.0 + 1e-9)
            used = max(used, far / tolerance)
        assert used > 0.3


def test_area_falls_short_by_no_more_than_the_tolerance(monkeypatch):
    """Chords of the outer ring cut area off, those of the hole add it; both within tolerance times length."""
    coarse = fill(shape_rings("letter:O"))
    monkeypatch.setattr("aocsim.diffusion.glyphs.FLATNESS", FLATNESS / 100.0)
    fine = fill(shape_rings("letter:O"))
    assert 0.0 < abs(fine - coarse) < FLATNESS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" ", "blank"),
        ("\u00a0 ", "blank"),
        ("A\u6f22", r"lacks a character \(U\+6F22, CJK"),
        ("a\nb", r"lacks a character \(U\+000A"),
        ("A" * 65, "too long"),
        ("\u00c7", "crosses or touches"),
    ],
)
def test_text_that_cannot_be_drawn_is_refused(text, message):
    with pytest.raises(InputError, match=message) as caught:
        check_data(f"letter:{text}")
    assert caught.value.key == "data"
