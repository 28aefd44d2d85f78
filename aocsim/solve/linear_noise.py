r"""White noise by the linearised loop's covariance.

Around a noiseless solution the deviation obeys d(delta) = A delta dt + dW with cov(dW) = D dt. Over an interval
h in which A and D are constant,

.. math::

    \delta(t + h) = \Phi\,\delta(t) + \xi, \qquad \Phi = e^{Ah}, \qquad
    \mathrm{cov}(\xi) = Q = \int_0^h e^{As} D e^{A^T s}\, ds

exactly; both follow from a short power series over h/2^m and m doublings,
Q(2h) = Q(h) + Phi(h) Q(h) Phi(h)^T. Small noise only: the deviation must stay where the laws are straight. Dead time
is an all-pass here, which has its phase far beyond the bands of relaxed loops.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.retarded import all_pass

Array = NDArray[np.float64]

SERIES_NORM = 0.25  # |A| h/2^m at which the series below is exact to 1e-9, in single precision to 1e-6
SERIES_TERMS = {np.dtype(np.float64): 8, np.dtype(np.float32): 5}
LEAST_VARIANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-6}
"""Share of a state's variance that is added, so that a singular covariance has a factor."""


def discretise(jacobian: Array, diffusion: Array, interval: float) -> tuple[Array, Array]:
    """Propagator and noise covariance over an interval.

    Args:
        jacobian: A, (..., N, N) 1/s, in double or single precision.
        diffusion: D, (..., N, N) V^2/s, in the same.
        interval: h, s.

    Returns:
        Phi (..., N, N) and Q (..., N, N) V^2.
    """
    norm = float(np.abs(jacobian).sum(axis=-1).max()) * interval
    doublings = max(0, int(np.ceil(np.log2(max(norm, 1e-300) / SERIES_NORM))))
    h = interval / 2**doublings
    a = jacobian * h
    n = a.shape[-1]
    # Phi = sum a^k/k!, and Q = h sum q_k with q_0 = D, q_k = (a q_{k-1} + q_{k-1} a^T) / (k + 1)
    power = a
    phi = a + np.eye(n, dtype=a.dtype)
    term = np.array(diffusion * h)
    q = term.copy()
    for k in range(1, SERIES_TERMS[a.dtype] + 1):
        if k > 1:
            power = np.matmul(a, power) / k
            phi += power
        half = np.matmul(a, term)
        term = (half + np.swapaxes(half, -1, -2)) / (k + 1)
        q += term
    for _ in range(doublings):
        q += np.matmul(np.matmul(phi, q), np.swapaxes(phi, -1, -2))
        phi = np.matmul(phi, phi)
    return phi, q


def linear(loop: Loop, state: Array, drive: Array) -> tuple[Array, Array]:
    """A (..., M, M) 1/s and D (..., M, M) V^2/s of the linearised loop, M = `linear_states`, node voltages first."""
    if not loop.delayed:
        return loop.linearise(state, drive)
    return all_pass(loop.linearise_retarded(state, drive), loop.lags)


def linear_states(loop: Loop) -> int:
    """Number of states M of the linearised loop: those of the loop, and n for each dead time of its arms."""
    return loop.states + loop.channels * sum(lag > 0 for lag in loop.lags)


def segments(samples: int, count: int) -> list[slice]:
    """Cut sampling intervals 0..samples-2 into `count` runs that grow geometrically, as a transient dies away."""
    edges = np.unique(np.round(np.geomspace(1, samples, count + 1) - 1).astype(int))
    edges[0], edges[-1] = 0, samples - 1
    return [slice(int(a), int(b)) for a, b in pairwise(edges) if b > a]


def factor(covariance: Array) -> Array:
    """L with L L^T = covariance for a covariance that may be singular, (..., N, N)."""
    # states of a loop have different units: only their correlations are numbers of one size
    size = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), np.finfo(covariance.dtype).tiny))
    correlation = covariance / size[..., :, None] / size[..., None, :]
    least = np.eye(covariance.shape[-1], dtype=covariance.dtype) * LEAST_VARIANCE[covariance.dtype]
    return np.asarray(size[..., :, None] * np.linalg.cholesky(correlation + least))


def sampled_noise(
    loop: Loop, paths: Array, drive: Array, interval: float, normals: Array, pieces: int
) -> Array:
    """Noise voltages at equidistant sampling times along transients that start at rest, free of noise.

    The loop is linearised once for each of `pieces` stretches of the transient, at the stretch's mean state:
    coarser than `read_out_covariance`. In the first two sampling intervals, where the slopes change faster than
    samples are taken, its variance is some per cent off, and by a third in the first one where the whole transient
    lies within it; later it agrees within 3 %.

    Args:
        loop: the loop without flicker, common to all transients.
        paths: (transients, times, N) noiseless states.
        drive: (transients, n) V.
        interval: sampling interval, s.
        normals: (transients, repeats, times, `linear_states`) standard normals; the first time's are not used.
        pieces: number of stretches.

    Returns:
        (transients, repeats, times, n) V at the node.
    """
    n = loop.channels
    # far finer than the stretches are, unless states of different units and rates stand side by side
    kind = np.float32 if linear_states(loop) == n else np.float64
    delta = np.zeros((*normals.shape[:2], normals.shape[3]))
    out = np.zeros((*normals.shape[:3], n))
    for run in segments(paths.shape[1], pieces):
        middle = paths[:, run.start : run.stop + 1].mean(axis=1)
        jacobian, diffusion = linear(loop, middle, drive)
        phi, q = discretise(jacobian.astype(kind), diffusion.astype(kind), interval)
        back = np.swapaxes(phi, -1, -2).astype(float)
        mixing = np.swapaxes(factor(q), -1, -2).astype(float)
        kicks = np.matmul(normals[:, :, run.start + 1 : run.stop + 1], mixing[:, None])
        for k in range(run.start, run.stop):
            delta = np.matmul(delta, back) + kicks[:, :, k - run.start]
            out[:, :, k + 1] = delta[..., :n]
    return out


def read_out_covariance(loop: Loop, state: Array, drive: Array, times: Array, substeps: int = 8) -> Array:
    """Covariance of the node voltages at every pair of sampling times of one transient.

    Args:
        loop: the loop.
        state: (N,) V at times[0], free of noise.
        drive: (n,) V.
        times: equidistant sampling times, s.
        substeps: linearisations in each interval, each at the middle of its part.

    Returns:
        (times, n, times, n) V^2: exact for a loop that is linear within each part.
    """
    count, n, states = len(times), loop.channels, linear_states(loop)
    parts = (count - 1) * substeps
    fine = np.linspace(times[0], times[-1], 2 * parts + 1)
    path = integrate(loop, state[None], drive[None], fine, method="DOP853", rtol=1e-8, atol=1e-10).state[0]
    drives = np.broadcast_to(drive, (parts, n))
    phi, q = discretise(*linear(loop, path[1::2], drives), fine[2] - fine[0])
    out = np.zeros((count, n, count, n))
    here = np.zeros((states, states))
    carried: list[Array] = []  # covariance of the state now with the state at each earlier instant
    for k in range(1, count):
        step = np.eye(states)
        for part in range((k - 1) * substeps, k * substeps):
            here = phi[part] @ here @ phi[part].T + q[part]
            step = phi[part] @ step
        carried = [*(step @ earlier for earlier in carried), here]
        for j, cross in enumerate(carried, start=1):
            out[k, :, j, :] = cross[:n, :n]
            out[j, :, k, :] = cross[:n, :n].T
    return out
