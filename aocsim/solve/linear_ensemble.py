r"""Noisy ensembles of few drives: noise of the linearised loop around each drive's noiseless transient.

Between two sampling times a small deviation obeys :math:`\delta(t + h) = \Phi\,\delta(t) + \xi` exactly, as
`aocsim.solve.linear_noise` says, with a propagator and a covariance that all repeats of a drive have in common. So a
repeat costs two products with a matrix for each sampling time, whatever the transient costs. It is for noise that stays
where the laws are straight; `aocsim.solve.stochastic` takes it through the laws.

The loop is linearised at the middle of parts of time which grow with it, as a transient dies away: each is as long as
`step` or `GROWTH` times the time since the start, whichever is longer.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop
from aocsim.parallel import in_threads
from aocsim.solve.draws import Draws, draws_for, fill_normals, key_schedule
from aocsim.solve.integrators import AUTO, integrate
from aocsim.solve.kernels import compiled
from aocsim.solve.linear_noise import discretise, factor, linear, linear_states

Array = NDArray[np.float64]

STREAM = "loop.linearised"
GROWTH = 0.25  # of the time since the start: length of a part in which the loop counts as linear
ROWS = 32  # solves of a block
WHOLE = 1e-9  # relative distance of a ratio from a whole number


def integrate_linearised(
    loop: Loop,
    state: Array,
    drive: Array,
    times: Array,
    *,
    repeats: int,
    step: float,
    seed: int,
    first: int = 0,
    threads: int = 1,
    method: str = AUTO,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> Array:
    """Noisy solves of one segment of constant drive, `repeats` of each drive.

    A solve depends on its state and drive, seed and number alone: that of drive d and repeat r has number
    `first + d repeats + r`.

    Args:
        loop: common to all solves.
        state: (drives, N) V at times[0], free of noise.
        drive: (drives, n) V.
        times: equidistant instants, s.
        repeats: solves of each drive, at least 1.
        step: shortest part of time in which the loop counts as linear, s: an interval, or a whole fraction of it.
        seed: 0 <= seed < 2^64.
        first: number of the first solve.
        threads: at least 1; without effect on the result.
        method: of `integrate`, for the noiseless transients.
        rtol: relative tolerance of these.
        atol: absolute tolerance of these, V.

    Returns:
        (drives, repeats, times, n) V at the nodes, without `Loop.fast_noise`.

    Raises:
        ValueError: instants that are not equidistant, a step that is no whole fraction of their interval, or numbers
            out of range.
        PhysicsError: as `integrate`.
    """
    times = np.asarray(times, dtype=float)
    interval, every = _interval(times, step)
    if repeats < 1 or threads < 1:
        raise ValueError(f"repeats and threads must be 1 or more, got {repeats} and {threads}")
    n, states, count = loop.channels, linear_states(loop), len(times)
    cuts = parts_of(count - 1, every)
    middles = times[0] + (cuts[:-1] + cuts[1:]) / 2 * (interval / every)
    instants, where = np.unique(np.concatenate([times, middles]), return_inverse=True)
    out = np.empty((len(drive), repeats, count, n))
    keys = key_schedule(seed, STREAM)
    known = []
    for d, volts in enumerate(drive):
        # each by itself: together they would have common steps
        alone = slice(d, d + 1)
        path = integrate(
            loop, state[alone], drive[alone], instants, method=method, rtol=rtol, atol=atol
        ).state[0]
        quiet, turning = np.ascontiguousarray(path[where[:count], :n]), path[where[count:]]
        jacobian, diffusion = linear(loop, turning, np.broadcast_to(volts, (len(turning), n)))
        known.append((quiet, *_propagators(jacobian, diffusion, cuts, every, interval)))

    def one(which: tuple[int, int]) -> None:
        d, begin = which
        rows = min(ROWS, repeats - begin)
        draws = draws_for(keys, first + d * repeats + begin, rows, states)
        _repeat(*known[d], draws, out[d, begin : begin + rows])

    blocks = [(d, begin) for d in range(len(drive)) for begin in range(0, repeats, ROWS)]
    in_threads(one, blocks, threads)
    return out


def parts_of(intervals: int, every: int) -> NDArray[np.int64]:
    """Edges of the parts, in units of an interval over `every`; parts longer than an interval are whole ones."""
    edges, last = [0], intervals * every
    while edges[-1] < last:
        here = edges[-1]
        length = max(1, int(GROWTH * here))
        if here % every:
            length = min(length, every - here % every)  # an interval is filled first
        elif length >= every:
            length -= length % every
        else:
            length = min(length, every)
        edges.append(min(here + length, last))
    return np.array(edges)


def _interval(times: Array, step: float) -> tuple[float, int]:
    """The sampling interval, s, and the number of steps in it."""
    gaps = np.diff(times)
    if len(gaps) < 1 or not gaps[0] > 0 or np.abs(gaps - gaps[0]).max() > WHOLE * gaps[0]:
        raise ValueError("linearised noise needs two or more equidistant, rising instants")
    interval = float(times[-1] - times[0]) / len(gaps)
    every = round(interval / step) if 0 < step < np.inf else 0
    if every < 1 or abs(interval / step - every) > WHOLE * every:
        raise ValueError(f"the step must be {interval:.6g} s or a whole fraction of it, got {step:.6g} s")
    return interval, every


def _propagators(
    jacobian: Array, diffusion: Array, cuts: NDArray[np.int64], every: int, interval: float
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Phi^T and the transposed factor of Q, (kinds, N, N), and which of them each interval has."""
    back: list[Array] = []
    mixing: list[Array] = []
    of_interval = np.zeros(int(cuts[-1]) // every, dtype=np.int64)
    phi, q = np.eye(jacobian.shape[-1]), np.zeros(jacobian.shape[1:])
    for part, (begin, end) in enumerate(pairwise(cuts)):
        span = min(int(end - begin), every)  # of parts that are whole intervals, one
        carried, kicked = discretise(jacobian[part], diffusion[part], span * (interval / every))
        phi, q = carried @ phi, carried @ q @ carried.T + kicked
        if end % every == 0:
            of_interval[begin // every : end // every] = len(back)
            back.append(phi.T)
            mixing.append(factor(q).T)
            phi, q = np.eye(len(phi)), np.zeros_like(q)
    return np.array(back), np.array(mixing), of_interval


@compiled
def _repeat(
    quiet: Array,
    back: Array,
    mixing: Array,
    of_interval: NDArray[np.int64],
    draws: Draws,
    out: Array,
) -> None:
    """Solves of one drive: quiet (times, n), out (rows, times, n)."""
    rows, times, n = out.shape
    states = back.shape[1]
    delta, carried = np.zeros((rows, states)), np.zeros((rows, states))
    normal, kick = np.zeros((rows, states)), np.zeros((rows, states))
    for b in range(rows):
        for i in range(n):
            out[b, 0, i] = quiet[0, i]
    for k in range(times - 1):
        fill_normals(draws, k, 0, normal)
        np.dot(delta, back[of_interval[k]], carried)
        np.dot(normal, mixing[of_interval[k]], kick)
        for b in range(rows):
            for i in range(states):
                delta[b, i] = carried[b, i] + kick[b, i]
            for i in range(n):
                out[b, k + 1, i] = quiet[k + 1, i] + delta[b, i]
