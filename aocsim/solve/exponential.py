r"""Exponential Runge-Kutta method of order 4(3) for loops: decay of nodes and filters is exact.

With :math:`\lambda` and N of `aocsim.solve.relaxation`, for the nodes

.. math::

    a &= e^{h\lambda/2} z + \tfrac h2 \varphi_1(\tfrac{h\lambda}2) N(z), \qquad
    b = a + h \varphi_2(\tfrac{h\lambda}2) [N(a) - N(z)], \\
    c &= e^{h\lambda} z + h \varphi_1(h\lambda) N(z) + 2 h \varphi_2(h\lambda) [N(b) - N(z)], \\
    z(t + s) &= e^{s\lambda} z + s \varphi_1(s\lambda) N(z) + \theta s \varphi_2(s\lambda) [4 m - 3 N(z) - N(c)]
                + 4 \theta^2 s \varphi_3(s\lambda) [N(z) - 2 m + N(c)],

:math:`m = [N(a) + N(b)]/2`, :math:`\theta = s/h`: S. Krogstad, J. Comput. Phys. 203, 72 (2005), whose step is s = h.
The error estimate :math:`h [4 \varphi_3 - \varphi_2](h\lambda) [N(z(t + h)) - N(c)]` costs no further evaluation,
since the next step begins with it (P. Whalen, M. Brio and J. V. Moloney, J. Comput. Phys. 280, 579 (2015)). Filters
follow their inputs, which are interpolated by parabolas, within each stage. Neither spread alpha nor fast poles limit
the step. Instants of output lie anywhere within steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.solve.flat import Flat
from aocsim.solve.kernels import (
    END,
    HALF,
    START,
    STRAIGHT,
    Work,
    compiled,
    evaluate,
    slow,
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
from aocsim.solve.relaxation import weights

Array = NDArray[Any]

SAFETY = 0.9
LARGEST_GROWTH = 6.0
FIRST_GROWTH = 100.0  # of the very first step, which is a guess
LEAST_SHRINKAGE = 0.2
AT_ONCE = 8  # instants of output that are written together


@compiled
def _node_stage(phi: Array, start: Array, one: Array, two: Array, weight: float, out: Array) -> None:
    """out = phi_0 start + phi_1 one + weight phi_2 (two - one) for the nodes, (rows, n)."""
    rows, n = start.shape
    w = phi.dtype.type(weight)
    for b in range(rows):
        for i in range(n):
            change = w * phi[2, 0, i] * (two[b, i] - one[b, i])
            out[b, i] = phi[0, 0, i] * start[b, i] + phi[1, 0, i] * one[b, i] + change


@compiled
def _within(
    phi: Array, start: Array, slopes: Array, last: int, fraction: float, poles: int, out: Array
) -> None:
    """States at a fraction of a step, (poles, rows, n), from the parabola through the slopes, the end's at `last`."""
    _, rows, n = start.shape
    f = phi.dtype.type(fraction)
    for p in range(poles):
        for b in range(rows):
            for i in range(n):
                one, end = slopes[0, p, b, i], slopes[last if p == 0 else 4, p, b, i]
                middle = slopes[1, p, b, i] + slopes[2, p, b, i]  # twice
                change = f * (phi[2, p, i] * (2 * middle - 3 * one - end))
                change += f * f * (phi[3, p, i] * (4 * (one - middle + end)))
                out[p, b, i] = phi[0, p, i] * start[p, b, i] + phi[1, p, i] * one + change


@compiled
def _write_within(
    phi: Array, fractions: Array, start: Array, slopes: Array, last: int, out: Array, done: int
) -> None:
    """`_within` at some instants of one step, each with its own phi, into the output from instant `done` on.

    Solve by solve, whose slopes are then at hand for all of them.
    """
    poles, n = phi.shape[2], phi.shape[3]
    real = phi.dtype.type
    for p in range(poles):
        for b in range(start.shape[1]):
            for k in range(phi.shape[0]):
                f = real(fractions[k])
                row = out[b, done + k]
                for i in range(n):
                    one, end = slopes[0, p, b, i], slopes[last if p == 0 else 4, p, b, i]
                    middle = slopes[1, p, b, i] + slopes[2, p, b, i]  # twice
                    change = f * (phi[k, 2, p, i] * (2 * middle - 3 * one - end))
                    change += f * f * (phi[k, 3, p, i] * (4 * (one - middle + end)))
                    row[p * n + i] = phi[k, 0, p, i] * start[p, b, i] + phi[k, 1, p, i] * one + change


@compiled
def _error(
    phi: Array,
    start: Array,
    new: Array,
    slopes: Array,
    rises: float,
    largest: Array,
    rtol: float,
    atol: float,
) -> tuple[float, int]:
    """Largest error among solves in units of the tolerance, and whose: the node's or that of the worst filter.

    Root mean squares over channels. A filter's error is its response to the cubic that the parabola through its
    inputs lacks to have the slope they began with; its tolerance stands to the largest of its signals as that of
    a node to 1 V.

    Args:
        phi: (5, poles, n) of the step.
        start: (poles, rows, n).
        new: (poles, rows, n).
        slopes: (6, poles, rows, n).
        rises: 1, or 0 where the slopes at the start are not known.
        largest: (poles,) of the filters' signals so far; brought up to date.
        rtol: relative tolerance.
        atol: absolute tolerance, V.
    """
    poles, rows, n = start.shape
    for p in range(1, poles):
        for b in range(rows):
            for i in range(n):
                largest[p] = max(largest[p], max(abs(slopes[0, p, b, i]), abs(slopes[4, p, b, i])))
                largest[p] = max(largest[p], abs(start[p, b, i]))
    worst_norm, worst = 0.0, 0
    for b in range(rows):
        total = 0.0
        for i in range(n):
            e = (4 * phi[3, 0, i] - phi[2, 0, i]) * (slopes[4, 0, b, i] - slopes[3, 0, b, i])
            e /= atol + rtol * max(abs(start[0, b, i]), abs(new[0, b, i]))
            total += e * e
        for p in range(1, poles):
            other = 0.0
            for i in range(n):
                one, end = slopes[0, p, b, i], slopes[4, p, b, i]
                middle = slopes[1, p, b, i] + slopes[2, p, b, i]  # twice
                cubic = 2 * slopes[5, p, b, i] - (2 * middle - 3 * one - end)
                e = rises * cubic * (phi[2, p, i] - 6 * phi[3, p, i] + 12 * phi[4, p, i])
                other += e * e
            if largest[p] > 0:
                other /= ((atol + rtol) * largest[p]) ** 2
            total = max(total, other)
        norm = np.sqrt(total / n)
        if not norm < np.inf:
            return np.inf, b
        if norm > worst_norm:
            worst_norm, worst = norm, b
    return worst_norm, worst


@compiled
def _short(step: float) -> float:
    """The step rounded down to five binary digits: the same where round-off differs between computers."""
    digits, exponent = math.frexp(step)
    return math.ldexp(math.floor(digits * 32) / 32, exponent)


@compiled
def integrate_block(
    flat: Flat,
    first: int,
    start: Array,
    drive: Array,
    times: Array,
    linear: Array,
    rtol: float,
    atol: float,
    first_step: float,
    most_steps: int,
    look: float,
    patience: int,
    later: float,
    work: Work,
    out: Array,
    counts: NDArray[np.int64],
    progress: Array,
    slopes: Array,
    largest: Array,
) -> None:
    """Integrate a block of solves, all with the same steps; or go on where it paused.

    Args:
        flat: the loop.
        first: index of the block's first solve among those with parameters of their own.
        start: (poles, rows, n) at times[0]; holds the last state at the end.
        drive: (rows, n) V.
        times: increasing instants, s.
        linear: (poles, n) 1/s, `decay` of the loop.
        rtol: relative tolerance of the node voltages.
        atol: absolute tolerance, V.
        first_step: s.
        most_steps: budget, rejected ones included.
        look: V; it pauses once no node moves faster than one alone that is as far from its rest. 0: never.
        patience: steps after which `later` takes the place of `look`.
        later: V.
        work: scratch for these rows.
        out: (rows, times, recorded poles * n).
        counts: (6,) evaluations, steps, rejected steps, status, worst solve, instants written; zero at the beginning.
        progress: (4,) time reached, next step, and step over which inputs rose, s; whether that is known; kept.
        slopes: (6, poles, rows, n) of the step: at its start, twice at the middle, at the first and at the final guess
            of the end, and the rise of the filters' inputs; kept. Zero at the beginning.
        largest: (poles,) of the filters' signals so far; kept. Zero at the beginning.
    """
    y = start
    poles, rows, n = y.shape
    recorded = out.shape[2] // n
    trial = y.copy()
    whole, half = np.empty((5, poles, n), y.dtype), np.empty((5, poles, n), y.dtype)
    within, parts = linear[:recorded], np.empty((AT_ONCE, 4, recorded, n), y.dtype)
    fractions = np.empty(AT_ONCE)
    last = times[times.shape[0] - 1]
    if counts[WRITTEN] == 0:
        progress[0], progress[1], progress[2], progress[3] = times[0], first_step, first_step, 0.0
        write_rest(y, out, 0, 1)
        evaluate(flat, first, y, drive, work, START, linear, whole, y, slopes, slopes[0])
        counts[EVALUATIONS] += 1
        counts[WRITTEN] = 1
    counts[STATUS] = REACHED
    t, h, risen, known, done = progress[0], progress[1], progress[2], progress[3] > 0, counts[WRITTEN]
    weighed = 0.0
    while done < times.shape[0]:
        if counts[STEPS] + counts[REJECTED] >= most_steps:
            counts[STATUS] = EXHAUSTED
            break
        least = 10 * np.spacing(max(abs(t), last - t))
        if h < least:
            counts[STATUS] = TOO_SMALL
            break
        h = _short(h)
        t_new = t + h
        if t_new > last - least:
            t_new = last
        h = t_new - t
        if h != weighed:
            weights(linear, h, whole)
            weights(linear, h / 2, half)
            weighed = h
        if poles > 1:
            slopes[5] *= y.dtype.type(h / risen)
            risen = h
        middle_of = HALF if known else STRAIGHT
        _node_stage(half, y[0], slopes[0, 0], slopes[0, 0], 0.0, trial[0])
        evaluate(flat, first, trial, drive, work, middle_of, linear, half, y, slopes, slopes[1])
        _node_stage(half, y[0], slopes[0, 0], slopes[1, 0], 2.0, trial[0])
        evaluate(flat, first, trial, drive, work, middle_of, linear, half, y, slopes, slopes[2])
        _node_stage(whole, y[0], slopes[0, 0], slopes[2, 0], 2.0, trial[0])
        evaluate(flat, first, trial, drive, work, END, linear, whole, y, slopes, slopes[3])
        _within(whole, y, slopes, 3, 1.0, 1, trial)
        evaluate(flat, first, trial, drive, work, END, linear, whole, y, slopes, slopes[4])
        counts[EVALUATIONS] += 4
        norm, worst = _error(whole, y, trial, slopes, 1.0 if known else 0.0, largest, rtol, atol)
        counts[WORST] = worst
        if not norm < 1:
            counts[REJECTED] += 1
            h *= max(LEAST_SHRINKAGE, SAFETY * norm**-0.25)
            if not np.isfinite(norm) and h < 1e3 * least:
                counts[STATUS] = OVERFLOW
                break
            continue
        while done < times.shape[0] and times[done] < t_new:
            count = 0
            while count < AT_ONCE and done + count < times.shape[0] and times[done + count] < t_new:
                fractions[count] = (times[done + count] - t) / h
                weights(within, times[done + count] - t, parts[count])
                count += 1
            _write_within(parts[:count], fractions, y, slopes, 3, out, done)
            done += count
        if done < times.shape[0] and times[done] == t_new:
            write_rest(trial, out, done, done + 1)
            done += 1
        y[:] = trial
        for p in range(1, poles):
            for b in range(rows):
                for i in range(n):
                    middle = slopes[1, p, b, i] + slopes[2, p, b, i]  # twice
                    slopes[5, p, b, i] = (slopes[0, p, b, i] - 2 * middle + 3 * slopes[4, p, b, i]) / 2
        slopes[0] = slopes[4]
        t, known = t_new, True
        growth = FIRST_GROWTH if counts[STEPS] == 0 else LARGEST_GROWTH
        counts[STEPS] += 1
        h *= growth if norm == 0 else min(growth, SAFETY * norm**-0.25)
        near = look if counts[STEPS] < patience else later
        if near > 0 and done < times.shape[0] and slow(y[0], slopes[0, 0], linear[0], linear[0], near):
            counts[STATUS] = PAUSED
            break
    progress[0], progress[1], progress[2], progress[3] = t, h, risen, 1.0 if known else 0.0
    counts[WRITTEN] = done
