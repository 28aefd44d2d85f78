import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from scipy.stats import chisquare, kstest

from aocsim.diffusion.polygons import (
    MOST_VERTICES,
    bounding_box,
    checked,
    inside,
    normalised,
    signed_area,
    trapezoid_areas,
    trapezoids,
    uniform_points,
)
from aocsim.errors import InputError

SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
BOW = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])


def random_star(seed, vertices):
    """A polygon around the origin: vertices in the order of their angle, at any distance."""
    rng = np.random.default_rng(seed)
    angle = 2.0 * np.pi * (np.arange(vertices) + rng.uniform(0.1, 0.9, vertices)) / vertices
    return rng.uniform(0.1, 1.0, vertices)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def area_of(rings):
    return trapezoid_areas(trapezoids(rings)).sum()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
def test_trapezoids_have_the_shoelace_area_and_even_odd_agrees_with_matplotlib(seed, vertices):
    ring = random_star(seed, vertices)
    assert area_of((ring,)) == pytest.approx(abs(signed_area(ring)), rel=1e-12)
    assert area_of((ring, 0.5 * ring)) == pytest.approx(0.75 * abs(signed_area(ring)), rel=1e-12)
    points = np.random.default_rng(seed).uniform(-1.0, 1.0, (300, 2))
    np.testing.assert_array_equal(
        inside((ring,), points), Outline(ring, closed=False).contains_points(points)
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 2.0 * np.pi))
def test_turning_and_mirroring_leave_the_area_and_the_points_turn_too(seed, angle):
    ring = random_star(seed, 9)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert area_of((ring @ turn,)) == pytest.approx(area_of((ring,)), rel=1e-9)
    assert area_of((ring[::-1] * [1.0, -1.0],)) == pytest.approx(area_of((ring,)), rel=1e-12)
    points = np.random.default_rng(seed).uniform(-1.0, 1.0, (100, 2))
    assert np.mean(inside((ring,), points) == inside((ring @ turn,), points @ turn)) == 1.0


def test_thin_triangle_is_filled_uniformly():
    """Barycentric coordinates of a uniform point have the distribution function 1 - (1 - s)^2, each of them."""
    corners = np.array([[-1.0, -1.0], [1.0, 0.99], [1.0, 1.0]])
    assert area_of((corners,)) / 4.0 < 3e-3
    points = uniform_points((corners,), 20_000, np.random.default_rng(0))
    system = np.vstack([corners.T, np.ones(3)])
    barycentric = np.linalg.solve(system, np.vstack([points.T, np.ones(len(points))]))
    assert barycentric.min() > -1e-10
    for coordinate in barycentric:
        assert kstest(coordinate, lambda s: 1.0 - (1.0 - np.clip(s, 0.0, 1.0)) ** 2).pvalue > 1e-3


def test_frame_that_fills_a_thousandth_of_its_box_is_filled_uniformly():
    width = 5e-4
    frame = (SQUARE, SQUARE * (1.0 - width))
    fill = area_of(frame) / 4.0
    assert fill == pytest.approx(1.0 - (1.0 - width) ** 2, rel=1e-9)
    count = 40_000
    points = uniform_points(frame, count, np.random.default_rng(1))
    assert inside(frame, points).all()
    # Each of the four sides holds a quarter, and along a side the places are uniform.
    x, y = points.T
    side = np.where(np.abs(x) > np.abs(y), np.where(x > 0, 0, 1), np.where(y > 0, 2, 3))
    assert chisquare(np.bincount(side, minlength=4)).pvalue > 1e-3
    assert kstest(y[side < 2], "uniform", args=(-1.0, 2.0)).pvalue > 1e-3
    assert kstest(x[side >= 2], "uniform", args=(-1.0, 2.0)).pvalue > 1e-3


def test_trapezoids_and_rejection_fill_alike():
    """The same shape by either way, counted on a grid: a far vertex makes the box large and the shape thin in it."""
    ring = random_star(5, 12)
    far = (ring, np.array([[30.0, 30.0], [30.1, 30.0], [30.0, 30.1]]))
    thin = uniform_points(far, 30_000, np.random.default_rng(2))
    thin = thin[thin[:, 0] < 2.0]
    thick = uniform_points((ring,), 30_000, np.random.default_rng(3))
    edges = np.linspace(-1.0, 1.0, 6)
    first, second = (np.histogram2d(*cloud.T, bins=edges)[0].ravel() for cloud in (thin, thick))
    seen = (first + second) > 100
    total = (first + second)[seen]
    statistic = ((first[seen] * len(thick) - second[seen] * len(thin)) ** 2 / total).sum() / (
        len(thin) * len(thick)
    )
    # Chi-square of two samples in `seen.sum()` cells.
    freedom = seen.sum() - 1
    assert abs(statistic - freedom) < 4.0 * np.sqrt(2.0 * freedom)


@pytest.mark.parametrize("ring", [SQUARE, np.array([[-1.0, -1.0], [1.0, 0.99], [1.0, 1.0]])])
def test_fewer_points_are_the_first_of_more(ring):
    few, many = (uniform_points((ring,), n, np.random.default_rng(4)) for n in (10, 1000))
    np.testing.assert_array_equal(few, many[:10])


def test_normalised_keeps_proportions():
    (ring,) = normalised((SQUARE * [3.0, 1.0] + [10.0, -4.0],))
    np.testing.assert_allclose(ring, SQUARE * [1.0, 1.0 / 3.0], atol=1e-15)
    np.testing.assert_allclose(bounding_box((ring,))[1], [1.0, 1.0 / 3.0], atol=1e-15)


def test_repeated_vertices_are_left_out():
    doubled = np.concatenate([np.repeat(SQUARE, 2, axis=0), SQUARE[:1]])
    np.testing.assert_array_equal(checked((doubled,))[0], SQUARE)


def test_rings_side_by_side_and_within_one_another_are_allowed():
    rings = (SQUARE, 0.5 * SQUARE, 0.25 * SQUARE, SQUARE + 3.0)
    assert len(checked(rings)) == 4
    assert area_of(rings) == pytest.approx(4.0 - 1.0 + 0.25 + 4.0)


@pytest.mark.parametrize(
    ("rings", "problem"),
    [
        ((), "no outline"),
        ((np.zeros((1, 2)),), "ring 1 encloses nothing; got '1 distinct"),
        ((np.zeros((0, 2)),), "ring 1 encloses nothing; got '0 distinct"),
        ((SQUARE[[0, 1, 0, 1]],), "ring 1 encloses nothing; got '2 distinct"),
        ((SQUARE, SQUARE[:2]), "ring 2 encloses nothing"),
        ((np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]),), "no area"),
        ((1e-310 * SQUARE,), "too small or too large for numbers"),
        ((1e200 * SQUARE,), "too small or too large for numbers"),
        ((1.7e308 * SQUARE,), "too small or too large for numbers"),
        ((SQUARE, np.array([[0.0, 0.0], [0.5, 0.2], [0.25, 0.1 + 1e-14]])), "ring 2 has no area"),
        ((SQUARE * [1.0, np.nan],), "not a finite"),
        ((SQUARE * [np.inf, 1.0],), "not a finite"),
        ((SQUARE[:, :1],), "wrong shape"),
        ((SQUARE[0],), "wrong shape"),
        (([[0.0, 1.0], [2.0]],), "no array of numbers"),
        (
            (BOW * [1.0, 2.0],),
            "edge 1 of ring 1 meets edge 3 of ring 1",
        ),
        # horizontal and vertical edges alone
        ((SQUARE, SQUARE + 0.5), "edge 3 of ring 1 meets edge 4 of ring 2"),
        # a vertex on an edge, a vertex on a vertex, an edge twice, a spike
        ((SQUARE, 0.5 * SQUARE + [0.5, 0.0]), "crosses or touches"),
        ((SQUARE, SQUARE + 2.0), "crosses or touches"),
        ((SQUARE, SQUARE), "crosses or touches"),
        ((np.insert(SQUARE, 1, [[2.0, -1.0]], axis=0),), "edge 1 of ring 1 meets edge 2 of ring 1"),
        ((np.random.default_rng(0).random((MOST_VERTICES + 1, 2)),), "too many vertices"),
    ],
)
def test_rings_that_bound_no_area_are_refused(rings, problem):
    with pytest.raises(InputError, match=problem) as caught:
        checked(rings, file="a.csv", key="data")
    assert str(caught.value).startswith("a.csv: data: ")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_crossings_are_found_as_a_parametric_solution_finds_them(seed):
    """Two random triangles: edges cross where both parameters of the intersection of their lines are in [0, 1]."""
    first, second = np.random.default_rng(seed).uniform(-1.0, 1.0, (2, 3, 2))
    crossing = False
    for p, q in zip(first, np.roll(first, -1, axis=0), strict=True):
        for r, s in zip(second, np.roll(second, -1, axis=0), strict=True):
            at = np.linalg.solve(np.stack([q - p, r - s], axis=1), r - p)
            crossing |= bool(((at >= 0.0) & (at <= 1.0)).all())
    if crossing:
        with pytest.raises(InputError, match="crosses"):
            checked((first, second))
    else:
        assert len(checked((first, second))) == 2


def test_largest_polygon_is_drawn_from():
    angle = 2.0 * np.pi * np.arange(MOST_VERTICES) / MOST_VERTICES
    (circle,) = checked((np.stack([np.cos(angle), np.sin(angle)], axis=1),))
    points = uniform_points((circle,), 2000, np.random.default_rng(0))
    assert kstest((points**2).sum(axis=1), "uniform").pvalue > 1e-3
