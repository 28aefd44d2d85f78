"""Compiled propagation of white noise along transients, one after another, each with its matrices in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.solve.kernels import compiled

Array = NDArray[Any]


@compiled
def transition(
    a: Array, d: Array, interval: float, norm: float, terms: int, scratch: Array
) -> tuple[Array, Array]:
    """Phi and Q of `linear_noise.discretise` for one loop, in two of the scratch matrices.

    Args:
        a: (M, M) 1/s.
        d: (M, M) V^2/s.
        interval: h, s.
        norm: |A| h/2^m, the largest sum over a column, up to which the series is used.
        terms: of the series.
        scratch: (7, M, M).
    """
    m, real = a.shape[0], a.dtype.type
    largest = real(0)
    column = scratch[0, 0]
    column[:] = 0
    for i in range(m):
        for j in range(m):
            column[j] += abs(a[i, j])
    for j in range(m):
        largest = max(largest, column[j])
    doublings, h = 0, interval
    while largest * h > norm:
        doublings, h = doublings + 1, h / 2
    phi, q, other, spare = scratch[0], scratch[1], scratch[2], scratch[3]
    small, power, term = scratch[4], scratch[5], scratch[6]
    for i in range(m):
        for j in range(m):
            small[i, j] = power[i, j] = phi[i, j] = a[i, j] * real(h)
            term[i, j] = q[i, j] = d[i, j] * real(h)
        phi[i, i] += 1
    for k in range(1, terms + 1):
        share = real(1.0 / (k + 1))
        np.dot(small, term, other)
        for i in range(m):
            for j in range(m):
                term[i, j] = (other[i, j] + other[j, i]) * share
                q[i, j] += term[i, j]
        if k > 1:
            share = real(1.0 / k)
            np.dot(small, power, other)
            for i in range(m):
                for j in range(m):
                    power[i, j] = other[i, j] * share
                    phi[i, j] += power[i, j]
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
def propagate(
    jacobian: Array,
    diffusion: Array,
    interval: float,
    norm: float,
    terms: int,
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
        norm: of `transition`.
        terms: of `transition`.
        least: of `upper_factor`.
        edges: (stretches + 1,) first and last time of each stretch.
        normals: (transients, repeats, times, M) standard normals; the first time's are not used.
        out: (transients, repeats, times, n) V, the first n states.
    """
    transients, stretches, m, _ = jacobian.shape
    repeats, times, n = out.shape[1], out.shape[2], out.shape[3]
    scratch = np.empty((7, m, m), dtype=jacobian.dtype)
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
            phi, q = transition(jacobian[b, p], diffusion[b, p], interval, norm, terms, scratch)
            upper_factor(q, least, size)
            begin, end = edges[p], edges[p + 1]
            row = 0
            for t in range(begin + 1, end + 1):
                for r in range(repeats):
                    for i in range(m):
                        drawn[row, i] = normals[b, r, t, i]
                    row += 1
            np.dot(drawn[:row], q, kicks[:row])
            row = 0
            for t in range(begin + 1, end + 1):
                np.dot(delta, phi.T, carried)
                for r in range(repeats):
                    for i in range(m):
                        delta[r, i] = carried[r, i] + kicks[row, i]
                    for i in range(n):
                        out[b, r, t, i] = delta[r, i]
                    row += 1
