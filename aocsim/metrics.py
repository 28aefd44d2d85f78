"""How far apart two clouds of points, or two signals, are."""

from __future__ import annotations

import os

import numpy as np

from aocsim.errors import InputError
from aocsim.law import Array

MMD_BANDWIDTH = 0.5
"""Default width of the Gaussian kernel: a quarter of the side of the data's square [-1, 1]^2."""

_MAX_PIVOTS = 10_000_000


def w2(points_a: Array, points_b: Array) -> float:
    r"""Exact 2-Wasserstein distance of two clouds, every point of a cloud weighing the same.

    :math:`W_2^2 = \min_P \sum_{ij} P_{ij} |a_i - b_j|^2` over the couplings P of the clouds, solved exactly
    by the network simplex method of POT.

    Args:
        points_a: (m, d).
        points_b: (n, d).

    Returns:
        Distance, in the unit of the points.

    Raises:
        InputError: empty, not finite, or of different dimensions.
    """
    # POT loads every array library that it finds, torch alone takes seconds; these clouds are numpy's
    for name in ("PYTORCH", "JAX", "CUPY", "TENSORFLOW"):
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{name}", "1")
    import ot

    a, b = _clouds(points_a, points_b)
    cost = ot.dist(a, b, metric="sqeuclidean")
    squared = ot.emd2(ot.unif(len(a)), ot.unif(len(b)), cost, numItermax=_MAX_PIVOTS)
    # Rounding can leave a cloud at a squared distance of -1e-17 from itself.
    return float(np.sqrt(max(float(squared), 0.0)))


def mmd2_unbiased(points_a: Array, points_b: Array, bandwidth: float = MMD_BANDWIDTH) -> float:
    r"""Unbiased estimate of the squared maximum mean discrepancy, Gaussian kernel.

    :math:`k(x, y) = exp(-|x - y|^2 / 2 h^2)`; mean of k over pairs within a, plus within b, minus twice
    across. Pairs of a point with itself are left out, so the estimate is zero in the mean for equal
    distributions and can be negative (Gretton et al., J. Mach. Learn. Res. 13, 723 (2012), eq. 3).

    Args:
        points_a: (m, d), m at least 2.
        points_b: (n, d), n at least 2.
        bandwidth: h, in the unit of the points.

    Returns:
        Squared discrepancy, dimensionless.

    Raises:
        InputError: fewer than 2 points, not finite, different dimensions, or a bandwidth not above zero.
    """
    from scipy.spatial.distance import cdist, pdist

    if not bandwidth > 0.0:
        raise InputError("out of range", key="bandwidth", got=bandwidth, allowed="a positive number")
    a, b = _clouds(points_a, points_b, at_least=2)

    def mean_kernel(squared: Array) -> float:
        return float(np.exp(squared / (-2.0 * bandwidth**2)).mean())

    within = sum(mean_kernel(pdist(points, "sqeuclidean")) for points in (a, b))
    return within - 2.0 * mean_kernel(cdist(a, b, "sqeuclidean"))


def nrmse(value: Array, reference: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """Root mean square of value - reference over the peak-to-peak range of the reference.

    Args:
        value: any shape.
        reference: the same shape.
        axis: axes over which the mean and the range are taken, for example samples and channels; None is all.

    Returns:
        Dimensionless, in the shape of the axes that remain; NaN where the reference does not vary.

    Raises:
        InputError: the shapes differ.
    """
    value, reference = np.asarray(value, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    _same_shape(value, reference)
    rms = np.sqrt(np.mean((value - reference) ** 2, axis=axis))
    span = np.ptp(reference, axis=axis)
    return np.asarray(rms / np.where(span > 0.0, span, np.nan))


def rms_distance(points_a: Array, points_b: Array) -> float:
    """Root mean square of the distance between points of the same index.

    Args:
        points_a: (n, d).
        points_b: (n, d).

    Returns:
        Distance, in the unit of the points.

    Raises:
        InputError: not two clouds of the same shape.
    """
    a, b = _clouds(points_a, points_b)
    _same_shape(a, b)
    return float(np.sqrt(((a - b) ** 2).sum(axis=1).mean()))


def gaussian_fit(points: Array) -> tuple[Array, Array]:
    """Mean (d,) and unbiased covariance (d, d) of a cloud (n, d), n at least 2.

    Raises:
        InputError: fewer than 2 points, or not finite.
    """
    points, _ = _clouds(points, points, at_least=2)
    return points.mean(axis=0), np.cov(points, rowvar=False).reshape(points.shape[1], points.shape[1])


def gaussian_sample(mean: Array, covariance: Array, count: int, rng: np.random.Generator) -> Array:
    """Points (count, d) of a Gaussian with mean (d,) and covariance (d, d), which may be singular."""
    return rng.multivariate_normal(mean, covariance, size=count, method="eigh")


def _clouds(points_a: Array, points_b: Array, at_least: int = 1) -> tuple[Array, Array]:
    clouds = []
    for key, points in (("points_a", points_a), ("points_b", points_b)):
        array = np.asarray(points, dtype=np.float64)
        if array.ndim != 2 or len(array) < at_least:
            raise InputError(
                "wrong shape",
                key=key,
                got=array.shape,
                allowed=f"(points, dimensions), {at_least} points or more",
            )
        if not np.isfinite(array).all():
            raise InputError("not a finite number", key=key)
        clouds.append(array)
    a, b = clouds
    if a.shape[1] != b.shape[1]:
        raise InputError(
            "the clouds differ in dimension", key="points_b", got=b.shape[1], allowed=str(a.shape[1])
        )
    return a, b


def _same_shape(a: Array, b: Array) -> None:
    if a.shape != b.shape:
        raise InputError("the shapes differ", got=b.shape, allowed=str(a.shape))
