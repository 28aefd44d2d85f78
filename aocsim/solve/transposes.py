"""Compiled transposition of many matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, error_model="numpy", nogil=True)
def transpose(matrices: Array, gains: Array, out: Array) -> None:
    """out[b, i, j] = gains[b, j] matrices[b, j, i].

    Args:
        matrices: (solves, n, n), in one piece.
        gains: (solves or 1, n).
        out: (solves, n, n).
    """
    solves, n, _ = matrices.shape
    real = out.dtype.type
    scaled = np.empty((n, n), dtype=out.dtype)  # row by row: only what is copied then goes across
    for b in range(solves):
        gain = gains[b if gains.shape[0] > 1 else 0]
        for j in range(n):
            for i in range(n):
                scaled[j, i] = real(gain[j] * matrices[b, j, i])
        out[b] = scaled.T
