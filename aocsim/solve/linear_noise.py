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

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.retarded import all_pass

Array = NDArray[np.float64]

LARGEST, TERMS = 0.25, 8
"""|A| h/2^m up to which the series below is used, and its number of terms: exact to 1e-9."""

COMPILED = {np.dtype(np.float64): (0.02, 0.02), np.dtype(np.float32): (0.55, 1.2)}
"""Size z of A h/2^m up to which `noise_kernels.transition` uses its own, in the last stretch and in those before.

It is exact to (2 z)^4/4320 of the quadrature and z^5/120 of the series for each mode that decays: 1e-9 in double
precision, 8e-4 in single, and 3 % of the fastest modes before the last stretch, where the linearisation itself is no
better. What rings on adds the series' error up over the 2^m parts: 1 % at five periods an interval in single
precision."""

LEAST_VARIANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-6}
"""Share of a state's variance that is added, so that a singular covariance has a factor."""

TOGETHER = 2**18  # numbers of the jacobians that are worked on at once


def discretise(jacobian: Array, diffusion: Array, interval: float) -> tuple[Array, Array]:
    """Propagator and noise covariance over an interval.

    Args:
        jacobian: A, (..., N, N) 1/s.
        diffusion: D, (..., N, N) V^2/s.
        interval: h, s.

    Returns:
        Phi (..., N, N) and Q (..., N, N) V^2.
    """
    norm = float(np.abs(jacobian).sum(axis=-1).max()) * interval
    doublings = max(0, int(np.ceil(np.log2(max(norm, 1e-300) / LARGEST))))
    h = interval / 2**doublings
    a = jacobian * h
    n = a.shape[-1]
    # Phi = sum a^k/k!, and Q = h sum q_k with q_0 = D, q_k = (a q_{k-1} + q_{k-1} a^T) / (k + 1)
    power = a
    phi = a + np.eye(n, dtype=a.dtype)
    term = np.array(diffusion * h)
    q = term.copy()
    for k in range(1, TERMS + 1):
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


def linear(
    loop: Loop, state: Array, drive: Array, kind: type[np.floating[Any]] = np.float64
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A (..., M, M) 1/s and D (..., M, M) V^2/s of the linearised loop, M = `linear_states`, node voltages first."""
    if not loop.delayed:
        return loop.linearise(state, drive, kind)
    jacobian, diffusion = all_pass(loop.linearise_retarded(state, drive), loop.lags)
    return jacobian.astype(kind, copy=False), diffusion.astype(kind, copy=False)


def linear_states(loop: Loop) -> int:
    """Number of states M of the linearised loop: those of the loop, and n for each dead time of its arms."""
    return loop.states + loop.channels * sum(lag > 0 for lag in loop.lags)


@lru_cache(maxsize=16)
def segments(samples: int, count: int) -> NDArray[np.int64]:
    """Edges of at most `count` stretches of sampling intervals 0..samples-2: the second half is one, and the first half
    is cut into stretches that grow geometrically, as a transient dies away; (stretches + 1,)."""
    first = np.geomspace(1, max(1, samples // 2), count) - 1 if count > 1 else [0.0]
    return np.unique(np.round([*first, samples - 1]).astype(np.int64))


def factor(covariance: Array) -> Array:
    """L with L L^T = covariance for a covariance that may be singular, (..., N, N)."""
    # states of a loop have different units: only their correlations are numbers of one size
    size = np.sqrt(np.maximum(np.diagonal(covariance, axis1=-2, axis2=-1), np.finfo(covariance.dtype).tiny))
    correlation = covariance / size[..., :, None] / size[..., None, :]
    least = np.eye(covariance.shape[-1], dtype=covariance.dtype) * LEAST_VARIANCE[covariance.dtype]
    return np.asarray(size[..., :, None] * np.linalg.cholesky(correlation + least))


def sampled_noise(
    loop: Loop, paths: Array, drive: Array, interval: float, normals: NDArray[Any], pieces: int
) -> Array:
    """Noise voltages at equidistant sampling times along transients that start at rest, free of noise.

    The loop is linearised once for each of `pieces` stretches of the transient, at the stretch's mean state:
    coarser than `read_out_covariance`. With four stretches the variance over all channels is within 7 % once the
    third sample is taken, and the deviation of a mean over the last quarter within 1.5 % on every channel, 5 % where
    the record ends long before the loop is at rest; that of one channel at one instant of the transient can be off by a
    sixth.

    Args:
        loop: the loop without flicker, common to all transients, or with parameters for each of them.
        paths: (transients, times, N) noiseless states.
        drive: (transients, n) V.
        interval: sampling interval, s.
        normals: (transients, repeats, times, `linear_states`) standard normals; the first time's are not used.
        pieces: number of stretches.

    Returns:
        (transients, repeats, times, n) V at the node.

    Raises:
        PhysicsError: the linearised loop grows beyond all numbers.
    """
    # compiled code is loaded by those who compute, not at import
    from aocsim.solve.noise_kernels import propagate

    states, edges = linear_states(loop), segments(paths.shape[1], pieces)
    # far finer than the stretches are, unless states of different units and rates stand side by side
    kind = np.float32 if states == loop.channels else np.float64
    precision = np.dtype(kind)
    out = np.zeros((*normals.shape[:3], loop.channels))
    if paths.shape[1] < 2:
        return out
    normals = np.ascontiguousarray(normals)
    middle = np.stack([paths[:, a : b + 1].mean(axis=1) for a, b in pairwise(edges)], axis=1)
    each = np.repeat(np.arange(len(paths)), middle.shape[1]).reshape(middle.shape[:2])
    together = max(1, TOGETHER // (middle.shape[1] * states**2))
    for begin in range(0, len(paths), together):
        some = slice(begin, begin + together)
        here = loop.select(each[some].ravel()) if loop.own else loop
        propagate(
            *linear(here, middle[some], drive[some, None], kind),
            interval,
            *COMPILED[precision],
            LEAST_VARIANCE[precision],
            edges,
            normals[some],
            out[some],
        )
    if not np.isfinite(out[:, :, -1]).all():
        raise PhysicsError(
            "white noise overflows: the loop, linearised along its transient, is far from stable"
        )
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
