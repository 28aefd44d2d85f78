r"""Whether two sets of noisy values have the same means, asked of many means at once.

For every mean over samples the two runs a and b give a difference D, its standard error E and degrees of freedom v:

- paired, where sample i of both runs started from the same noise, from d_i = b_i - a_i:
  :math:`D = \bar d`, :math:`E^2 = s_d^2 / n`, :math:`v = n - 1`;
- unpaired (Welch): :math:`D = \bar b - \bar a`, :math:`E^2 = E_a^2 + E_b^2`, :math:`E_a^2 = s_a^2 / n_a`,
  :math:`v = E^4 / (E_a^4 / (n_a - 1) + E_b^4 / (n_b - 1))`.

To E_a and E_b the caller may add, in squares, what is common to all samples of a run and so does not average out.
The means differ beyond noise where :math:`|D| / E > t_{1 - p/2N}(v)`, Student's quantile at the level p = 1 % shared
out over all N means of a comparison (Bonferroni): two runs of the same distribution are told apart in at most one
comparison of a hundred, however the means hang together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.01
"""Probability that a comparison of equal distributions finds any difference."""

_ROUNDING = 16 * float(np.finfo(float).eps)  # of the mean: less is no difference, even where nothing scatters


@dataclass(frozen=True, eq=False)
class MeanDifference:
    """Differences of means, in the shape of one sample.

    Attributes:
        difference: mean of b less mean of a, unit of the values; nan where there are too few finite values.
        error: its standard error, same unit.
        freedom: degrees of freedom of the error.
    """

    difference: Array
    error: Array
    freedom: Array

    @property
    def tested(self) -> int:
        """Number of means that can be tested."""
        return int(np.isfinite(self.difference).sum())

    def ratio(self) -> Array:
        """|D| / E; infinite where nothing scatters and yet the means differ, nan where nothing can be tested."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(self.difference == 0.0, 0.0, np.abs(self.difference) / self.error))

    def limit(self, tests: int) -> Array:
        """What |D| / E must exceed to count, when `tests` means are compared in all."""
        from scipy.stats import t

        return np.asarray(t.isf(LEVEL / (2 * max(tests, 1)), self.freedom))

    def beyond_noise(self, tests: int) -> NDArray[np.bool_]:
        """Where the means differ, when `tests` means are compared in all."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.ratio() > self.limit(tests))


def mean_difference(
    a: Array, b: Array, *, paired: bool, common: tuple[Array | float, Array | float] = (0.0, 0.0)
) -> MeanDifference:
    """Compare the means of two runs over their first axis. Values that are not finite are left out.

    Args:
        a: (n_a, ...) values.
        b: (n_b, ...) values; n_b = n_a if paired.
        paired: whether sample i of both started from the same noise.
        common: standard deviation of what all samples of a, and all of b, share by chance, in the shape of one sample.

    Raises:
        ValueError: shapes that do not fit.
    """
    if a.shape[1:] != b.shape[1:] or (paired and len(a) != len(b)):
        raise ValueError(f"cannot compare samples of shape {a.shape} and {b.shape}, paired={paired}")
    size = np.maximum(_largest(a), _largest(b))
    if paired:
        mean, squared, count = _mean_and_error(b - a)
        squared = squared + np.square(common[0]) + np.square(common[1])
        freedom = count - 1.0
    else:
        mean_a, squared_a, count_a = _mean_and_error(a)
        mean_b, squared_b, count_b = _mean_and_error(b)
        mean = mean_b - mean_a
        squared_a, squared_b = squared_a + np.square(common[0]), squared_b + np.square(common[1])
        squared = squared_a + squared_b
        count = np.minimum(count_a, count_b)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = squared_a**2 / (count_a - 1.0) + squared_b**2 / (count_b - 1.0)
            freedom = np.where(parts > 0.0, squared**2 / parts, count_a + count_b - 2.0)
    mean = np.where(np.abs(mean) <= _ROUNDING * size, 0.0, mean)
    testable = count >= 2
    return MeanDifference(
        np.where(testable, mean, np.nan),
        np.where(testable, np.sqrt(squared), np.nan),
        np.where(testable, freedom, np.nan),
    )


def _mean_and_error(values: Array) -> tuple[Array, Array, Array]:
    """Mean over the first axis, its squared standard error, and how many finite values there are."""
    finite = np.isfinite(values)
    count = finite.sum(axis=0).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(finite, values, 0.0).sum(axis=0) / count
        deviation = np.where(finite, values - mean, 0.0)
        squared = (deviation**2).sum(axis=0) / (count - 1.0) / count
    return mean, squared, count


def _largest(values: Array) -> Array:
    return np.asarray(np.max(np.where(np.isfinite(values), np.abs(values), 0.0), axis=0, initial=0.0))
