r"""Tsitouras' explicit Runge-Kutta pair of order 5(4): as a SciPy solver, and compiled for blocks of solves.

Ch. Tsitouras, "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption", Comput.
Math. Appl. 62, 770 (2011), with his free interpolant. The compiled form keeps SciPy's rules of step control, so that
both take the same steps. The error of a block's step is that of its worst solve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate._ivp.rk import MAX_FACTOR, MIN_FACTOR, SAFETY, RungeKutta

from aocsim.solve.flat import Flat
from aocsim.solve.kernels import (
    Work,
    combine,
    compiled,
    right_hand_side,
    slow,
    worst_error,
    write_rest,
)
from aocsim.solve.outcome import (
    EVALUATIONS,
    EXHAUSTED,
    OVERFLOW,
    PAUSED,
    REACHED,
    REJECTED,
    STATUS,
    STEPS,
    TOO_SMALL,
    WORST,
    WRITTEN,
)

Array = NDArray[Any]

A = np.zeros((6, 6))
A[1, :1] = [0.161]
A[2, :2] = [-0.008480655492356989, 0.335480655492357]
A[3, :3] = [2.8971530571054935, -6.359448489975075, 4.3622954328695815]
A[4, :4] = [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525]
A[5, :5] = [
    5.86145544294642,
    -12.92096931784711,
    8.159367898576159,
    -0.071584973281401,
    -0.028269050394068383,
]
C = np.array([0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0])
B = np.array(
    [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774]
)
E = np.array(
    [
        0.001780011052225771,
        0.0008164344596567469,
        -0.007880878010261995,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918697,
        -1 / 66,
    ]
)
# powers 1 to 4 of the fraction of a step, for the seven slopes
P = np.array(
    [
        [1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216],
        [0.0, 0.1317, -0.2234, 0.1017],
        [0.0, 3.9302962368947516, -5.941033872131505, 2.490627285651253],
        [0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902],
        [0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928],
        [0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661],
        [0.0, 1.5, -4.0, 2.5],
    ]
)


class Tsit5(RungeKutta):  # type: ignore[misc]
    """The pair as `method` of `scipy.integrate.solve_ivp`."""

    order = 5
    error_estimator_order = 4
    n_stages = 6
    A, B, C, E, P = A, B, C, E, P


@compiled
def integrate_block(
    flat: Flat,
    first: int,
    start: Array,
    drive: Array,
    times: Array,
    rtol: float,
    atol: float,
    first_step: float,
    most_steps: int,
    look: float,
    patience: int,
    later: float,
    linear: Array,
    work: Work,
    out: Array,
    counts: NDArray[np.int64],
    progress: Array,
    slope: Array,
) -> None:
    """Integrate a block of solves, all with the same steps; or go on where it paused.

    Args:
        flat: the loop.
        first: index of the block's first solve among those with parameters of their own.
        start: (poles, rows, n) V at times[0]; holds the last state at the end.
        drive: (rows, n) V.
        times: increasing instants, s.
        rtol: relative tolerance.
        atol: absolute tolerance, V.
        first_step: s.
        most_steps: budget, rejected ones included.
        look: V; it pauses once no node moves faster than one alone that is as far from its rest. 0: never.
        patience: steps after which `later` takes the place of `look`.
        later: V.
        linear: (poles, n) 1/s, `decay` of the loop; for the pause.
        work: scratch for these rows.
        out: (rows, times, recorded poles * n).
        counts: (6,) evaluations, steps, rejected steps, status, worst solve, instants written; zero at the beginning.
        progress: (3,) time reached and next step, s, and whether the last step had been rejected before; kept.
        slope: (poles, rows, n) d(start)/dt; kept.
    """
    y = start
    poles, rows, n = y.shape
    k = np.empty((7, poles, rows, n), dtype=y.dtype)
    trial, spare = np.empty_like(y), np.empty_like(y)
    weights, still = np.empty(7), np.zeros(n)
    last = times[times.shape[0] - 1]
    if counts[WRITTEN] == 0:
        progress[0], progress[1], progress[2] = times[0], first_step, 0.0
        write_rest(y, out, 0, 1)
        counts[WRITTEN] = 1
        right_hand_side(flat, first, y, drive, work, slope)
        counts[EVALUATIONS] += 1
    counts[STATUS] = REACHED
    t, h, rejected_before, done = progress[0], progress[1], progress[2] > 0, counts[WRITTEN]
    k[0] = slope
    while done < times.shape[0]:
        if counts[STEPS] + counts[REJECTED] >= most_steps:
            counts[STATUS] = EXHAUSTED
            break
        least = 10 * np.spacing(max(abs(t), last - t))
        if h < least:
            counts[STATUS] = TOO_SMALL
            break
        t_new = t + h
        if t_new > last:
            t_new = last
        h = t_new - t
        for stage in range(1, 6):
            for j in range(stage):
                weights[j] = h * A[stage, j]
            combine(y, k, weights, stage, trial)
            right_hand_side(flat, first, trial, drive, work, k[stage])
        for j in range(6):
            weights[j] = h * B[j]
        combine(y, k, weights, 6, trial)
        right_hand_side(flat, first, trial, drive, work, k[6])
        counts[EVALUATIONS] += 6
        for j in range(7):
            weights[j] = h * E[j]
        norm, worst = worst_error(y, trial, k, weights, rtol, atol)
        counts[WORST] = worst
        if not norm < 1:
            counts[REJECTED] += 1
            h *= max(MIN_FACTOR, SAFETY * norm ** (-1 / 5))
            rejected_before = True
            if not np.isfinite(norm) and h < 1e3 * least:
                counts[STATUS] = OVERFLOW
                break
            continue
        while done < times.shape[0] and times[done] <= t_new:
            fraction = (times[done] - t) / h
            for j in range(7):
                p = P[j]
                weights[j] = h * fraction * (p[0] + fraction * (p[1] + fraction * (p[2] + fraction * p[3])))
            combine(y, k, weights, 7, spare)
            write_rest(spare, out, done, done + 1)
            done += 1
        factor = MAX_FACTOR if norm == 0 else min(MAX_FACTOR, SAFETY * norm ** (-1 / 5))
        if rejected_before:
            factor = min(1.0, factor)
        rejected_before = False
        counts[STEPS] += 1
        h *= factor
        t = t_new
        y[:] = trial
        k[0] = k[6]
        near = look if counts[STEPS] < patience else later
        if near > 0 and done < times.shape[0] and slow(y[0], k[0, 0], still, linear[0], near):
            counts[STATUS] = PAUSED
            break
    progress[0], progress[1], progress[2] = t, h, 1.0 if rejected_before else 0.0
    counts[WRITTEN] = done
    slope[:] = k[0]
