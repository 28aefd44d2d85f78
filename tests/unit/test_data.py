import numpy as np
import pytest

from aocsim.diffusion.data import SHAPES, inside, shape_points, shape_rings
from aocsim.errors import InputError


def area_and_centroid(ring):
    """Shoelace formulas."""
    (x, y), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    cross = x * y1 - x1 * y
    area = cross.sum() / 2.0
    return abs(area), np.array([((x + x1) * cross).sum(), ((y + y1) * cross).sum()]) / (6.0 * area)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_fills_its_normalised_box(name):
    vertices = np.concatenate(shape_rings(name))
    lower, upper = vertices.min(axis=0), vertices.max(axis=0)
    np.testing.assert_allclose(lower + upper, 0.0, atol=1e-12)
    assert (upper - lower).max() == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_points_are_inside_their_shape_and_repeat_with_the_generator(name):
    points = shape_points(name, 500, np.random.default_rng(3))
    assert points.shape == (500, 2)
    assert inside(shape_rings(name), points).all()
    np.testing.assert_array_equal(points, shape_points(name, 500, np.random.default_rng(3)))


def test_heart_points_are_uniform():
    """Mean and share of the left half agree with the polygon's own centroid and symmetry."""
    count = 40_000
    (ring,) = shape_rings("heart")
    area, centroid = area_and_centroid(ring)
    points = shape_points("heart", count, np.random.default_rng(0))
    np.testing.assert_allclose(points.mean(axis=0), centroid, atol=5.0 * points.std() / np.sqrt(count))
    assert np.mean(points[:, 0] < 0.0) == pytest.approx(0.5, abs=5.0 * 0.5 / np.sqrt(count))
    # A disc of radius 0.3 about the origin lies within the heart: its share is its area over the heart's.
    share = np.pi * 0.3**2 / area
    seen = np.mean((points**2).sum(axis=1) < 0.3**2)
    assert seen == pytest.approx(share, abs=5.0 * np.sqrt(share / count))


def test_heart_has_its_notch_above_and_its_tip_below():
    (ring,) = shape_rings("heart")
    assert not inside((ring,), np.array([[0.0, ring[:, 1].max() - 0.01]]))[0]
    assert inside((ring,), np.array([[0.0, ring[:, 1].min() + 0.05]]))[0]


def test_ring_within_a_ring_is_a_hole():
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    points = np.array([[0.0, 0.0], [0.75, 0.1], [0.0, -0.6], [1.5, 0.0]])
    assert inside((square, 0.5 * square), points).tolist() == [False, True, True, False]


def test_no_points_is_an_empty_cloud():
    assert shape_points("heart", 0, np.random.default_rng(0)).shape == (0, 2)


def test_unknown_shape_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'heart'") as caught:
        shape_points("hart", 5, np.random.default_rng(0))
    assert caught.value.nearest == "heart"


def test_negative_count_is_refused():
    with pytest.raises(InputError, match="count"):
        shape_points("heart", -1, np.random.default_rng(0))
