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
the step.

Steps are multiples of the output's interval, the tick, or a tick halved again and again, so that the functions of a
whole ensemble come from one table.
"""

from __future__ import annotations

from dataclasses import dataclass
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

Array = NDArray[Any]

HALVINGS = 26
TICK = 8.0  # time constants of the fastest node, at most
LONGEST = 4096  # ticks in a step, at most
SAFETY = 0.9
LARGEST_GROWTH = 6.0
LEAST_SHRINKAGE = 0.2


@dataclass(frozen=True, eq=False)
class Grid:
    """All step lengths of a record, and where the functions of L for them stand in a table.

    Attributes:
        tick: s; instants of output are multiples of `stride` ticks.
        ticks: length of the record.
        stride: ticks between outputs.
        levels: (levels, 3) length in units of tick/2^HALVINGS, rising; place of the step in the table, and of its half.
        inner: place in the table of one interval of output; those of its multiples follow.
        steps: (places,) s, what the table is made for.
    """

    tick: float
    ticks: int
    stride: int
    levels: NDArray[np.int64]
    inner: int
    steps: Array


def grid_of(interval: float, intervals: int, fastest: float) -> Grid:
    """The grid for a number of equal intervals of output.

    Args:
        interval: s.
        intervals: how many.
        fastest: 1/s, largest rate of a node's pole; a tick is no longer than a few of its times.
    """
    stride = 1 << int(np.ceil(np.log2(max(interval * fastest / TICK, 1.0))))
    tick, ticks = interval / stride, intervals * stride
    base = 2.0 ** np.arange(0, 13)
    multiples = np.unique(np.concatenate([base, 1.5 * base[1:]])).astype(int)
    multiples = multiples[multiples <= min(ticks, LONGEST)]
    lengths = np.concatenate([2 ** np.arange(1, HALVINGS), multiples * 2**HALVINGS]).astype(np.int64)
    places = np.unique(np.concatenate([lengths, lengths // 2]))
    levels = np.stack(
        [lengths, np.searchsorted(places, lengths), np.searchsorted(places, lengths // 2)], axis=1
    )
    inner = stride * np.arange(1, (int(multiples[-1]) - 1) // stride + 1) * 2**HALVINGS
    steps = np.concatenate([places, inner]) * (tick / 2**HALVINGS)
    return Grid(tick, ticks, stride, levels.astype(np.int64), len(places), steps)


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
def _level_for(grid: NDArray[np.int64], length: float, position: int, remaining: int, stride: int) -> int:
    """The longest step not above `length` that may begin at `position` and fits; the shortest if there is none.

    Steps below a tick begin at multiples of themselves, so that they meet the ticks. No step passes an instant of
    output unless it begins at one: the table has the ways between instants alone.
    """
    tick = 1 << HALVINGS
    since = position % (stride * tick)
    for level in range(grid.shape[0] - 1, 0, -1):
        step = grid[level, 0]
        start = tick if step > tick else step
        passes_none = since == 0 or since + step <= stride * tick
        if step <= length and step <= remaining and position % start == 0 and passes_none:
            return level
    return 0


@compiled
def integrate_block(
    flat: Flat,
    first: int,
    start: Array,
    drive: Array,
    ticks: int,
    stride: int,
    linear: Array,
    values: Array,
    grid: NDArray[np.int64],
    inner: int,
    rtol: float,
    atol: float,
    most_steps: int,
    look: float,
    patience: int,
    later: float,
    work: Work,
    out: Array,
    counts: NDArray[np.int64],
    progress: NDArray[np.int64],
    wanted_length: Array,
    slopes: Array,
    largest: Array,
) -> None:
    """Integrate a block of solves over a number of ticks, all with the same steps; or go on where it paused.

    Args:
        flat: the loop.
        first: index of the block's first solve among those with parameters of their own.
        start: (poles, rows, n); holds the last state at the end.
        drive: (rows, n) V.
        ticks: length of the record.
        stride: ticks between instants of output.
        linear: (poles, n) 1/s, `decay` of the loop.
        values: of the `PhiTable` for the steps of the grid.
        grid: levels of the `Grid`.
        inner: of the `Grid`.
        rtol: relative tolerance of the node voltages.
        atol: absolute tolerance, V.
        most_steps: budget, rejected ones included.
        look: V; it pauses once no node moves faster than one alone that is as far from its rest. 0: never.
        patience: steps after which `later` takes the place of `look`.
        later: V.
        work: scratch for these rows.
        out: (rows, ticks/stride + 1, recorded poles * n).
        counts: (6,) evaluations, steps, rejected steps, status, worst solve, instants written of these.
        progress: (3,) reached and length of the last step, both in units of tick/2^HALVINGS, and how the middle of
            the next is found; kept.
        wanted_length: (1,) of the next step, in these units; kept.
        slopes: (6, poles, rows, n) of the step: at its start, twice at the middle, at the first and at the final guess
            of the end, and the rise of the filters' inputs; kept. Zero at the beginning.
        largest: (poles,) of the filters' signals so far; kept. Zero at the beginning.
    """
    y = start
    poles, rows, n = y.shape
    recorded = out.shape[2] // n
    trial, spare = y.copy(), np.empty_like(y)
    tick = 1 << HALVINGS
    if counts[WRITTEN] == 0:
        progress[0], progress[1], progress[2] = 0, 1, STRAIGHT
        write_rest(y, out, 0, 1)
        evaluate(flat, first, y, drive, work, START, linear, values[0], y, slopes, slopes[0])
        counts[EVALUATIONS] += 1
        counts[WRITTEN] = 1
    counts[STATUS] = REACHED
    end, wanted = ticks * tick, wanted_length[0]
    # the length over which inputs rose, and whether that is known
    position, risen, middle_of = progress[0], progress[1], progress[2]
    while position < end:
        if counts[STEPS] + counts[REJECTED] >= most_steps:
            counts[STATUS] = EXHAUSTED
            break
        level = _level_for(grid, wanted, position, end - position, stride)
        length = grid[level, 0]
        whole, half = values[grid[level, 1]], values[grid[level, 2]]
        if poles > 1:
            slopes[5] *= y.dtype.type(length / risen)
            risen = length
        _node_stage(half, y[0], slopes[0, 0], slopes[0, 0], 0.0, trial[0])
        evaluate(flat, first, trial, drive, work, middle_of, linear, half, y, slopes, slopes[1])
        _node_stage(half, y[0], slopes[0, 0], slopes[1, 0], 2.0, trial[0])
        evaluate(flat, first, trial, drive, work, middle_of, linear, half, y, slopes, slopes[2])
        _node_stage(whole, y[0], slopes[0, 0], slopes[2, 0], 2.0, trial[0])
        evaluate(flat, first, trial, drive, work, END, linear, whole, y, slopes, slopes[3])
        _within(whole, y, slopes, 3, 1.0, 1, trial)
        evaluate(flat, first, trial, drive, work, END, linear, whole, y, slopes, slopes[4])
        counts[EVALUATIONS] += 4
        rises = 1.0 if middle_of == HALF else 0.0
        norm, worst = _error(whole, y, trial, slopes, rises, largest, rtol, atol)
        counts[WORST] = worst
        factor = LARGEST_GROWTH if norm == 0 else min(LARGEST_GROWTH, SAFETY * norm**-0.25)
        if not norm < 1:
            counts[REJECTED] += 1
            if level == 0:
                counts[STATUS] = TOO_SMALL if norm < np.inf else OVERFLOW
                break
            wanted = max(length * max(LEAST_SHRINKAGE, factor), float(grid[0, 0]))
            continue
        # instants of output within the step, and at its end
        apart = stride * tick
        at = position // apart + 1
        while at * apart < position + length:
            gone = at * apart - position
            _within(values[inner + gone // apart - 1], y, slopes, 3, gone / length, recorded, spare)
            write_rest(spare, out, at, at + 1)
            at += 1
        position += length
        if position % apart == 0:
            write_rest(trial, out, position // apart, position // apart + 1)
        y[:] = trial
        for p in range(1, poles):
            for b in range(rows):
                for i in range(n):
                    middle = slopes[1, p, b, i] + slopes[2, p, b, i]  # twice
                    slopes[5, p, b, i] = (slopes[0, p, b, i] - 2 * middle + 3 * slopes[4, p, b, i]) / 2
        middle_of = HALF
        slopes[0] = slopes[4]
        counts[STEPS] += 1
        wanted = length * factor
        near = look if counts[STEPS] < patience else later
        if near > 0 and position < end and slow(y[0], slopes[0, 0], linear[0], linear[0], near):
            counts[STATUS] = PAUSED
            break
    progress[0], progress[1], progress[2] = position, risen, middle_of
    counts[WRITTEN] = position // (stride * tick) + 1
    wanted_length[0] = wanted
