import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from aocsim.errors import InputError
from aocsim.metrics import gaussian_fit, gaussian_sample, mmd2_unbiased, nrmse, rms_distance, w2


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_w2_of_a_shifted_and_shuffled_cloud_is_the_shift(count, dimensions, seed):
    rng = np.random.default_rng(seed)
    points, shift = rng.standard_normal((count, dimensions)), rng.standard_normal(dimensions)
    assert w2(points, rng.permutation(points) + shift) == pytest.approx(np.linalg.norm(shift), rel=1e-9)


def test_w2_of_as_many_points_is_that_of_the_best_coupling():
    """Pairs, by SciPy's assignment, against couplings that may split points, by POT's network simplex."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 2)), rng.uniform(-1.0, 1.0, (200, 2))
    split = w2(
        np.repeat(a, 2, axis=0), np.concatenate([np.repeat(b, 2, axis=0), b])
    )  # 400 against 600: POT's
    cost = ot.dist(a, b, metric="sqeuclidean")
    assert w2(a, b) == pytest.approx(np.sqrt(ot.emd2(ot.unif(200), ot.unif(200), cost)), rel=1e-12)
    assert w2(a, b) == pytest.approx(split, rel=1e-9)


def test_w2_of_clouds_of_different_size():
    # Half of the mass goes 1 far, the other half 3: the root of (1 + 9)/2.
    assert w2(np.array([[0.0]]), np.array([[1.0], [-3.0]])) == pytest.approx(np.sqrt(5.0))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_w2_on_a_line_is_that_of_the_sorted_points(m, n, seed):
    """In one dimension the optimal plan keeps the order: repeat either cloud's points to a common number, sort."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(m), rng.uniform(-3.0, 1.0, n)
    sorted_a, sorted_b = np.sort(np.repeat(a, n)), np.sort(np.repeat(b, m))
    assert w2(a[:, None], b[:, None]) == pytest.approx(
        np.sqrt(((sorted_a - sorted_b) ** 2).mean()), rel=1e-9, abs=1e-9
    )


def test_w2_of_gaussian_clouds_falls_to_the_closed_form():
    """W2^2 = |m|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), from above as the clouds grow."""
    rng = np.random.default_rng(3)
    a, b, shift = np.diag([0.3, 0.1]), np.array([[0.2, 0.1], [0.1, 0.2]]), np.array([0.4, -0.2])
    root = np.sqrt(a)
    closed = np.sqrt(shift @ shift + np.trace(a + b - 2.0 * sqrtm(root @ b @ root)).real)
    errors = []
    for count, redraws in ((32, 200), (128, 40), (512, 10)):
        distances = [
            w2(
                rng.multivariate_normal(np.zeros(2), a, count),
                rng.multivariate_normal(shift, b, count),
            )
            for _ in range(redraws)
        ]
        errors.append(np.mean(distances) / closed - 1.0)
    assert errors[0] > errors[1] > errors[2] > -0.02
    assert abs(errors[2]) < 0.05


def test_w2_of_a_cloud_with_itself_is_zero():
    points = np.random.default_rng(1).standard_normal((50, 2))
    assert w2(points, points) == pytest.approx(0.0, abs=1e-7)


def test_mmd2_is_zero_in_the_mean_for_equal_distributions():
    rng = np.random.default_rng(0)
    values = [mmd2_unbiased(*rng.standard_normal((2, 40, 2))) for _ in range(300)]
    assert min(values) < 0.0
    assert np.mean(values) == pytest.approx(0.0, abs=4.0 * np.std(values) / np.sqrt(len(values)))


def test_mmd2_of_two_gaussians_has_the_closed_form():
    # With x, y normal of variance 1 and means m apart, E k = (h^2/(h^2 + 2))^(d/2) exp(-m^2/2(h^2 + 2)).
    width, shift = 0.8, 1.5
    clouds = np.random.default_rng(2).standard_normal((100, 2, 200, 1))
    scale = np.sqrt(width**2 / (width**2 + 2.0))
    expected = 2.0 * scale * (1.0 - np.exp(-(shift**2) / (2.0 * (width**2 + 2.0))))
    values = [mmd2_unbiased(a, b + shift, bandwidth=width) for a, b in clouds]
    assert np.mean(values) == pytest.approx(expected, abs=4.0 * np.std(values) / np.sqrt(len(values)))
    assert np.std(values) / np.sqrt(len(values)) < 0.01


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_mmd2_of_gaussians_of_unequal_width_has_the_closed_form(dimensions):
    """E k(x, y) = (h^2/(h^2 + v))^(d/2) exp(-|m|^2/2(h^2 + v)), v the variance of x - y in each direction."""
    width, shift, sd_a, sd_b = 0.5, 0.3, 0.4, 0.7

    def kernel(variance, distance):
        scale = width**2 + variance
        return (width**2 / scale) ** (dimensions / 2) * np.exp(-(distance**2) / (2.0 * scale))

    expected = kernel(2 * sd_a**2, 0.0) + kernel(2 * sd_b**2, 0.0) - 2.0 * kernel(sd_a**2 + sd_b**2, shift)
    rng = np.random.default_rng(dimensions)
    clouds = rng.standard_normal((200, 2, 100, dimensions)) * np.array([sd_a, sd_b])[:, None, None]
    clouds[:, 1, :, 0] += shift
    values = [mmd2_unbiased(a, b, bandwidth=width) for a, b in clouds]
    assert np.mean(values) == pytest.approx(expected, abs=4.0 * np.std(values) / np.sqrt(len(values)))
    assert np.std(values) / np.sqrt(len(values)) < 0.05 * expected


def test_mmd2_of_two_pairs_by_hand():
    a, b = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    within = np.exp(-0.5) + np.exp(-2.0)
    across = (1.0 + np.exp(-2.0) + np.exp(-0.5) + np.exp(-0.5)) / 4.0
    assert mmd2_unbiased(a, b, bandwidth=1.0) == pytest.approx(within - 2.0 * across, rel=1e-14)


def test_nrmse_of_a_constant_error_is_error_over_range():
    reference = np.array([[0.0, 4.0], [1.0, 2.0]])
    assert nrmse(reference + 0.2, reference) == pytest.approx(0.05)
    np.testing.assert_allclose(nrmse(reference + 0.2, reference, axis=0), [0.2, 0.1])
    assert nrmse(np.zeros((3, 5, 2)), np.random.default_rng(0).random((3, 5, 2)), axis=(1, 2)).shape == (3,)


def test_nrmse_of_a_constant_reference_is_not_a_number():
    assert np.isnan(nrmse(np.ones(3), np.zeros(3)))


def test_rms_distance_of_points_on_an_ellipse():
    angle = np.linspace(0.0, 2.0 * np.pi, 16, endpoint=False)
    points = np.stack([3.0 * np.cos(angle), 4.0 * np.sin(angle)], axis=1)
    assert rms_distance(points, np.zeros_like(points)) == pytest.approx(np.sqrt((9.0 + 16.0) / 2.0))


def test_gaussian_fit_and_sample_return_to_each_other():
    mean, covariance = np.array([0.5, -1.0]), np.array([[0.5, 0.2], [0.2, 0.3]])
    points = gaussian_sample(mean, covariance, 100_000, np.random.default_rng(0))
    fitted_mean, fitted = gaussian_fit(points)
    np.testing.assert_allclose(fitted_mean, mean, atol=0.01)
    np.testing.assert_allclose(fitted, covariance, atol=0.01)


def test_gaussian_of_points_on_a_line_stays_on_it():
    line = np.linspace(-1.0, 1.0, 20)[:, None] * np.array([1.0, 1.0])
    points = gaussian_sample(*gaussian_fit(line), 50, np.random.default_rng(0))
    np.testing.assert_allclose(points[:, 0], points[:, 1], atol=1e-7)


@pytest.mark.parametrize(
    "call",
    [
        lambda: w2(np.zeros((3, 2)), np.zeros((3, 3))),
        lambda: w2(np.zeros((0, 2)), np.zeros((3, 2))),
        lambda: w2(np.zeros(3), np.zeros(3)),
        lambda: w2(np.full((3, 2), np.nan), np.zeros((3, 2))),
        lambda: mmd2_unbiased(np.zeros((1, 2)), np.zeros((3, 2))),
        lambda: mmd2_unbiased(np.zeros((3, 2)), np.zeros((3, 2)), bandwidth=0.0),
        lambda: nrmse(np.zeros((3, 1)), np.zeros((3, 2))),
        lambda: rms_distance(np.zeros((3, 2)), np.zeros((1, 2))),
        lambda: gaussian_fit(np.zeros((1, 2))),
    ],
)
def test_wrong_shapes_and_values_are_refused(call):
    with pytest.raises(InputError):
        call()
