"""Compiled passes over signals and matrices, which hold no interpreter lock."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]
Single = NDArray[np.float32]


@njit(cache=True, error_model="numpy", nogil=True)
def evaluate(
    x: Array,
    out: Array,
    coefficients: Array,
    lower: float,
    per_unit: float,
    gain_in: Array,
    offset_in: Array,
    gain_out: Array,
    offset_out: Array,
) -> None:
    """out = gain_out y(gain_in x + offset_in) + offset_out for x, out (rows, n) and (n,) gains.

    y is the cubic table of `coefficients` (intervals, 4) from `lower` on with `per_unit` intervals for each
    unit of its argument, continued by its end slopes.
    """
    intervals = coefficients.shape[0]
    last = coefficients[intervals - 1]
    end_slope = last[1] + 2.0 * last[2] + 3.0 * last[3]
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            s = (gain_in[i] * x[row, i] + offset_in[i] - lower) * per_unit
            if not s >= 0.0:  # below the table, or not a number, which must never become an index
                y = coefficients[0, 0] + coefficients[0, 1] * s
            elif s >= intervals:
                y = last[0] + last[1] + last[2] + last[3] + end_slope * (s - intervals)
            else:
                k = int(s)
                s -= k
                c = coefficients[k]
                y = ((c[3] * s + c[2]) * s + c[1]) * s + c[0]
            out[row, i] = gain_out[i] * y + offset_out[i]


@njit(cache=True, error_model="numpy", nogil=True)
def evaluate_slope(
    x: Array,
    out: Array,
    slopes: Array,
    lower: float,
    per_unit: float,
    gain_in: Array,
    offset_in: Array,
    factor: Array,
) -> None:
    """out = factor y'(gain_in x + offset_in) for x, out (rows, n), the rest (n,).

    y' is the table of parabolas `slopes` (intervals, 3), constant beyond its ends.
    """
    intervals = slopes.shape[0]
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            s = (gain_in[i] * x[row, i] + offset_in[i] - lower) * per_unit
            # what is not a number must never become an index, and stays what it is
            k = 0
            if s > 0.0:
                s = min(s, float(intervals))
                k = min(int(s), intervals - 1)
            elif s < 0.0:
                s = 0.0
            s -= k
            c = slopes[k]
            out[row, i] = factor[i] * ((c[2] * s + c[1]) * s + c[0])


@njit(cache=True, error_model="numpy", nogil=True)
def add_product(out: Array, left: Array, matrix: Array, right: Array) -> None:
    """out += diag(left) matrix diag(right) for out (solves, n, n), matrix (solves or 1, n, n), the rest (solves, n)."""
    solves, rows, columns = out.shape
    each = matrix.shape[0] > 1
    for b in range(solves):
        m = matrix[b if each else 0]
        for i in range(rows):
            gain = left[b, i]
            for j in range(columns):
                out[b, i, j] += gain * m[i, j] * right[b, j]


@njit(cache=True, error_model="numpy", nogil=True)
def wobbling_light(
    still: Array,
    swing: Array,
    steady: Array,
    crosstalk: Array,
    reach: int,
    gain: Array,
    pixel: Single,
    common: Array,
    out: Single,
) -> None:
    """out[arm, b] = diag(gain) crosstalk [common[b] (still + swing pixel[b]) + steady], each of the arm.

    Args:
        still: (2, n, n) as [arm, output, input].
        swing: (2, n, n).
        steady: (2, n, n).
        crosstalk: (2, n, n), zero beyond `reach` of its diagonal.
        reach: how many outputs away light arrives.
        gain: (2, n).
        pixel: (solves, 2, n, n).
        common: (solves, 2).
        out: (2, solves, n, n).
    """
    n = still.shape[-1]
    light, total = np.empty((n, n)), np.empty(n)
    for arm in range(2):
        for b in range(pixel.shape[0]):
            factor = common[b, arm]
            for j in range(n):
                for i in range(n):
                    wobbled = still[arm, j, i] + swing[arm, j, i] * np.float64(pixel[b, arm, j, i])
                    light[j, i] = factor * wobbled + steady[arm, j, i]
            for j in range(n):
                share = gain[arm, j] * crosstalk[arm, j, j]
                for i in range(n):
                    total[i] = share * light[j, i]
                for k in range(max(0, j - reach), min(n, j + reach + 1)):
                    if k != j:
                        share = gain[arm, j] * crosstalk[arm, j, k]
                        for i in range(n):
                            total[i] += share * light[k, i]
                for i in range(n):
                    out[arm, b, j, i] = total[i]


@njit(cache=True, error_model="numpy", nogil=True)
def digitise(volts: Array, spread: Array, normals: Single, span: float, step: float) -> None:
    """volts = min(step round((volts + spread normals) / step), span - step), clipped to +-span before.

    Args:
        volts: (rows, n) V, overwritten.
        spread: (n,) V.
        normals: (rows, n).
        span: V.
        step: V; 0 does not round, and cuts off nothing more.
    """
    for row in range(volts.shape[0]):
        for i in range(volts.shape[1]):
            x = volts[row, i] + spread[i] * normals[row, i]
            # written so that what is not a number stays so
            x = -span if x < -span else x
            x = span if x > span else x
            if step > 0.0:
                x = np.rint(x / step) * step
                x = span - step if x > span - step else x
            volts[row, i] = x
