"""Compiled propagation of white noise along transients, one after another, each with its matrices in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.solve.kernels import compiled

Array = NDArray[Any]


GAUSS = (0.5 - np.sqrt(3.0) / 6, 0.5 + np.sqrt(3.0) / 6)
"""Nodes of the quadrature on (0, 1); both have the weight 1/2."""

MOST = 8.0  # |A| h/2^m up to which powers are looked at, which would overflow in single precision far beyond


@compiled
def _column_sum(a: Array, column: Array) -> float:
    """Largest sum of absolute values over a column of a matrix (M, M); `column` is scratch (M,)."""
    m = a.shape[0]
    column[:] = 0
    for i in range(m):
        for j in range(m):
            column[j] += abs(a[i, j])
    largest = column[0]
    for j in range(m):
        largest = max(largest, column[j])
    return float(largest)


@compiled
def _is_diagonal(a: Array, column: Array) -> bool:
    """Whether a matrix (M, M) is zero beside its diagonal, to rounding; `column` is scratch (M,)."""
    _column_sum(a, column)
    beside = 0
    for j in range(a.shape[0]):
        beside += column[j] != abs(a[j, j])
    return beside == 0


@compiled
def _exponential(first: Array, second: Array, third: Array, fourth: Array, share: float, out: Array) -> None:
    """Overwrite `out` by the series of e^(share B) to the fourth power, from the powers of B; all (M, M)."""
    m, real = out.shape[0], out.dtype.type
    w1, w2, w3, w4 = real(share), real(share**2 / 2), real(share**3 / 6), real(share**4 / 24)
    # in two loops: one over five arrays is not vectorised
    for i in range(m):
        for j in range(m):
            out[i, j] = w1 * first[i, j] + w2 * second[i, j]
    for i in range(m):
        for j in range(m):
            out[i, j] += w3 * third[i, j] + w4 * fourth[i, j]
        out[i, i] += 1


@compiled
def transition(a: Array, d: Array, interval: float, most: float, scratch: Array) -> tuple[Array, Array]:
    r"""Phi and Q of `linear_noise.discretise` for one loop, in two of the scratch matrices.

    Over s = h/2^m the exponential is its series to the fourth power, and the integral of Q is Gauss's quadrature of two
    points,

    .. math:: Q(s) = \tfrac s2 \sum_{c} E_c D E_c^T, \quad E_c = e^{cAs}, \quad c = \tfrac12 \mp \tfrac{\sqrt3}6

    followed by m doublings. How large A is, its fourth power tells better than its own sums over columns, which bound
    the largest eigenvalue of a loop three times too high (A. Al-Mohy and N. Higham, SIAM J. Matrix Anal. Appl. 31, 970
    (2009)).

    Args:
        a: (M, M) 1/s.
        d: (M, M) V^2/s.
        interval: h, s.
        most: size of A s, the fourth root of the fourth power's largest sum over a column, up to which the series is
            used.
        scratch: (9, M, M).
    """
    m, real = a.shape[0], a.dtype.type
    phi, q, other, spare, column = scratch[0], scratch[1], scratch[2], scratch[3], scratch[0, 0]
    first, second, third, fourth = scratch[4], scratch[5], scratch[6], scratch[7]
    doublings, h, size = 0, interval, _column_sum(a, column)
    while size * h > MOST:
        doublings, h = doublings + 1, h / 2
    for i in range(m):
        for j in range(m):
            first[i, j] = a[i, j] * real(h)
    np.dot(first, first, second)
    np.dot(first, second, third)
    np.dot(second, second, fourth)
    size, halved = np.sqrt(np.sqrt(_column_sum(fourth, column))), 1.0
    while size * halved > most:
        doublings, h, halved = doublings + 1, h / 2, halved / 2
    diagonal = _is_diagonal(d, column)
    _exponential(first, second, third, fourth, halved, phi)
    for place in range(2):
        _exponential(first, second, third, fourth, GAUSS[place] * halved, other)
        if diagonal:
            for i in range(m):
                for j in range(m):
                    spare[i, j] = other[i, j] * d[j, j]
        else:
            np.dot(other, d, spare)
        np.dot(spare, other.T, scratch[1 + 7 * place])
    weight, more = real(h / 2), scratch[8]
    for i in range(m):
        for j in range(m):
            q[i, j] = weight * (q[i, j] + more[i, j])
    for _ in range(doublings):
        np.dot(phi, q, other)
        np.dot(other, phi.T, spare)
        for i in range(m):
            for j in range(m):
                q[i, j] += spare[i, j]
        np.dot(phi, phi, other)
        phi, other = other, phi
    return phi, q


@compiled
def upper_factor(q: Array, least: float, size: Array) -> None:
    """Overwrite a covariance q (M, M), which may be singular, by an upper U with U^T U = q; size is scratch (M,).

    States of a loop have different units, so that correlations are factored, with `least` added to their diagonal. A
    state of which less than that is its own follows from the others.
    """
    m, real = q.shape[0], q.dtype.type
    floor, nothing, one = real(least), real(0), real(1)
    inverse = np.empty_like(size)
    for i in range(m):
        size[i] = np.sqrt(q[i, i]) if q[i, i] > nothing else nothing
        inverse[i] = one / size[i] if size[i] > nothing else nothing
    # whole rows and four of them at once, though what is left of the diagonal is of no use: they are vectorised
    for i in range(m):
        row = q[i]
        for j in range(m):
            row[j] *= inverse[i] * inverse[j]
        row[i] = one + floor
        whole = i - i % 4
        for k in range(0, whole, 4):
            a, b, c, d = q[k, i], q[k + 1, i], q[k + 2, i], q[k + 3, i]
            for j in range(m):
                row[j] -= (a * q[k, j] + b * q[k + 1, j]) + (c * q[k + 2, j] + d * q[k + 3, j])
        for k in range(whole, i):
            a = q[k, i]
            for j in range(m):
                row[j] -= a * q[k, j]
        if row[i] < floor:
            # what is left of a channel that follows from those before it is rounding: it would be blown up
            row[:] = nothing
            row[i] = np.sqrt(floor)
        else:
            scale = one / np.sqrt(row[i])
            for j in range(m):
                row[j] *= scale
    for i in range(m):
        for j in range(i):
            q[i, j] = nothing
        for j in range(m):
            q[i, j] *= size[j]


@compiled
def carry(x: Array, matrix: Array, out: Array) -> None:
    """out = x matrix for few rows x (rows, M); the sums are in one order, however many rows there are."""
    m = x.shape[1]
    whole = m - m % 4
    for r in range(x.shape[0]):
        row = out[r]
        row[:] = 0
        for i in range(0, whole, 4):
            a, b, c, d = x[r, i], x[r, i + 1], x[r, i + 2], x[r, i + 3]
            for j in range(m):
                row[j] += (a * matrix[i, j] + b * matrix[i + 1, j]) + (
                    c * matrix[i + 2, j] + d * matrix[i + 3, j]
                )
        for i in range(whole, m):
            for j in range(m):
                row[j] += x[r, i] * matrix[i, j]


@compiled
def propagate(
    jacobian: Array,
    diffusion: Array,
    interval: float,
    most: float,
    coarse: float,
    least: float,
    edges: NDArray[np.int64],
    normals: Array,
    out: Array,
) -> None:
    """Deviations from rest at equidistant times, of loops that are linear in stretches.

    Args:
        jacobian: A, (transients, stretches, M, M) 1/s, in the precision of what follows.
        diffusion: D, (transients, stretches, M, M) V^2/s.
        interval: between times, s.
        most: of `transition` in the last stretch.
        coarse: in those before.
        least: of `upper_factor`.
        edges: (stretches + 1,) first and last time of each stretch.
        normals: (transients, repeats, times, M) standard normals; the first time's are not used.
        out: (transients, repeats, times, n) V, the first n states.
    """
    transients, stretches, m, _ = jacobian.shape
    repeats, times, n = out.shape[1], out.shape[2], out.shape[3]
    scratch, across = np.empty((9, m, m), dtype=jacobian.dtype), np.empty((m, m), dtype=jacobian.dtype)
    size = np.empty(m, dtype=jacobian.dtype)
    drawn = np.empty((times * repeats, m), dtype=jacobian.dtype)
    kicks, delta, carried = (
        np.empty_like(drawn),
        np.empty_like(drawn[:repeats]),
        np.empty_like(drawn[:repeats]),
    )
    for b in range(transients):
        out[b, :, 0] = 0
        delta[:] = 0
        for p in range(stretches):
            size_of = most if p == stretches - 1 else coarse
            phi, q = transition(jacobian[b, p], diffusion[b, p], interval, size_of, scratch)
            upper_factor(q, least, size)
            begin, end = edges[p], edges[p + 1]
            row = 0
            for t in range(begin + 1, end + 1):
                for r in range(repeats):
                    for i in range(m):
                        drawn[row, i] = normals[b, r, t, i]
                    row += 1
            np.dot(drawn[:row], q, kicks[:row])
            for i in range(m):
                for j in range(m):
                    across[j, i] = phi[i, j]
            row = 0
            for t in range(begin + 1, end + 1):
                # few rows: a library's call would take longer than the product
                carry(delta, across, carried)
                for r in range(repeats):
                    for i in range(m):
                        delta[r, i] = carried[r, i] + kicks[row, i]
                    for i in range(n):
                        out[b, r, t, i] = delta[r, i]
                    row += 1
