"""Compiled evaluation of law tables: one pass over the signal, without holding the interpreter lock."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
