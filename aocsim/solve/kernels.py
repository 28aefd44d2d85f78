"""Compiled right-hand side of any flat loop, for a block of solves; no interpreter lock is held.

Sums run in a fixed order and products with shared matrices go to BLAS on one thread, so that a block gives the same
bits on whatever thread it is computed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aocsim.loop import SUM
from aocsim.solve.cubics import LANES, cubics
from aocsim.solve.flat import OWN_MATRIX, POLE, SCALE, SHARED_MATRIX, STATE, TABLE, Flat
from aocsim.solve.strips import WIDTH, strip

Array = NDArray[Any]

CACHED = 72
"""Channels up to which a block's own matrices are in the cache; memory alone sets the pace of others."""

# numpy's error model, or divisions keep loops from being vectorised; contraction allows fused multiply-adds
compiled = njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract"})


@compiled
def law_table(x: Array, out: Array, c: Array, four: Array, place: Array, whole: NDArray[np.int32]) -> None:
    """out = gain y(s) + offset at the place s = a x + b in a cubic table y, whose end rows reach to infinity.

    Args:
        x: (rows, n).
        out: (rows, n).
        c: (places, 4).
        four: (4, n) a, b, gain, offset.
        place: (n,) scratch.
        whole: (n,) scratch.
    """
    rows, n = x.shape
    zero, last = c.dtype.type(0), c.dtype.type(c.shape[0] - 1)
    together = n - n % LANES
    gain, offset = four[2], four[3]
    for row in range(rows):
        for i in range(n):
            s = four[0, i] * x[row, i] + four[1, i]
            # written so that what is not a number becomes index 0
            t = s if s > zero else zero
            t = t if t < last else last
            whole[i] = np.int32(t)
            place[i] = s - whole[i]
        here = out[row]
        for i in range(0, together, LANES):
            cubics(c, whole, place, gain, offset, here, i)
        for i in range(together, n):
            # without a sign: no wrapping of negative indices to look for
            k, u = np.uint32(whole[i]), place[i]
            y = ((c[k, 3] * u + c[k, 2]) * u + c[k, 1]) * u + c[k, 0]
            here[i] = gain[i] * y + offset[i]


@compiled
def own_products(matrices: Array, first: int, x: Array, offsets: Array, out: Array) -> None:
    """out[b] = x[b] matrices[first + b] + offset, for transposed matrices (solves, n, n).

    Offsets (solves, n) are of each solve, or (1, n) of all.
    """
    n = x.shape[1]
    each = offsets.shape[0] > 1
    if n % WIDTH == 0 and n <= CACHED:
        for b in range(x.shape[0]):
            for begin in range(0, n, WIDTH):
                strip(x[b], matrices[first + b], offsets[first + b if each else 0], out[b], begin)
        return
    whole = n - n % 4
    for b in range(x.shape[0]):
        a, offset = matrices[first + b], offsets[first + b if each else 0]
        for j in range(n):
            out[b, j] = 0
        for i in range(0, whole, 4):
            x0, x1, x2, x3 = x[b, i], x[b, i + 1], x[b, i + 2], x[b, i + 3]
            for j in range(n):
                out[b, j] += (a[i, j] * x0 + a[i + 1, j] * x1) + (a[i + 2, j] * x2 + a[i + 3, j] * x3)
        for i in range(whole, n):
            for j in range(n):
                out[b, j] += a[i, j] * x[b, i]
        for j in range(n):
            out[b, j] += offset[j]


class Work(NamedTuple):
    """Scratch of a block of solves.

    Attributes:
        registers: (registers, rows, n); with dead time its first entries are the nodes' past.
        total: (rows, n) sum at the node.
        place: (n,) places in a law's table.
        whole: (n,) their whole parts.
    """

    registers: Array
    total: Array
    place: Array
    whole: NDArray[np.int32]


def work_for(flat: Flat, rows: int) -> Work:
    """Scratch for blocks of up to this many solves."""
    n, real = flat.rates.shape[1], flat.rates.dtype
    return Work(
        np.zeros((int(flat.registers[0]), rows, n), dtype=real),
        np.empty((rows, n), dtype=real),
        np.empty(n, dtype=real),
        np.empty(n, dtype=np.int32),
    )


# how an evaluation treats filters, the poles of the arms
PLAIN, START, STRAIGHT, HALF, END = range(5)


@compiled
def right_hand_side(flat: Flat, first: int, y: Array, drive: Array, work: Work, out: Array) -> None:
    """d(state)/dt of a block of solves.

    Args:
        flat: the loop.
        first: index of the block's first solve among those that have parameters of their own.
        y: (poles, rows, n) state.
        drive: (rows, n) V at the node.
        work: scratch for these rows.
        out: (poles, rows, n).
    """
    evaluate(flat, first, y, drive, work, PLAIN, flat.rates, flat.elementwise, y, y[None], out)


@compiled
def evaluate(
    flat: Flat,
    first: int,
    y: Array,
    drive: Array,
    work: Work,
    mode: int,
    linear: Array,
    phi: Array,
    origin: Array,
    slopes: Array,
    out: Array,
) -> None:
    r"""One pass along the arms of a block of solves.

    In a stage of an exponential step the signal flows through the filters with what this very stage puts in: a
    filter's state is its response since the step's start to the parabola through its inputs at the start, here, and
    at the middle where that is known; else with the slope at the start. So a chain of fast filters costs no order.

    Args:
        flat: the loop.
        first: index of the block's first solve among those that have parameters of their own.
        y: (poles, rows, n) states; except in PLAIN and START those of filters are found, and written here.
        drive: (rows, n) V at the node.
        work: scratch for these rows.
        mode: PLAIN: out is d(state)/dt. Otherwise out is N for the nodes and the input for filters: START with
            filters' states as given, HALF and END at the middle and the end of a step, STRAIGHT at the middle of one
            that knows no slopes.
        linear: (poles, n) 1/s of which N is the rest.
        phi: (5, poles, n), `weights` for the way from the step's start to here.
        origin: (poles, rows, n) states at the step's start.
        slopes: (6, poles, rows, n) earlier results of this step: at the start, and twice at the middle; last, for
            filters, the rise of the input over half the step by its slope at the start.
        out: (poles, rows, n).
    """
    registers, total = work.registers, work.total
    rows, n = drive.shape
    summed = False
    for k in range(flat.steps.shape[0]):
        kind, source, target, index, other = flat.steps[k]
        if source == SUM:
            if not summed:
                for b in range(rows):
                    for i in range(n):
                        total[b, i] = drive[b, i]
                    for arm in flat.outputs:
                        term = y[STATE - arm, b] if arm <= STATE else registers[arm, b]
                        for i in range(n):
                            total[b, i] += term[i]
                summed = True
            x = total
        elif source <= STATE:
            x = y[STATE - source]
        else:
            x = registers[source]
        if kind == TABLE:
            begin, count = flat.tables[other]
            table = flat.coefficients[begin : begin + count]
            law_table(x, registers[target], table, flat.elementwise[index], work.place, work.whole)
        elif kind in (SHARED_MATRIX, OWN_MATRIX):
            z = registers[target]
            if kind == OWN_MATRIX:
                own_products(flat.own[index], first, x, flat.offsets[flat.shared.shape[0] + index], z)
            else:
                np.dot(x, flat.shared[index], z)
                each = flat.offsets.shape[1] > 1
                for b in range(rows):
                    offset = flat.offsets[index, first + b if each else 0]
                    for i in range(n):
                        z[b, i] += offset[i]
        elif kind == SCALE:
            z = registers[target]
            each_gain, each_shift = flat.gains.shape[1] > 1, flat.shifts.shape[1] > 1
            for b in range(rows):
                gain = flat.gains[index, first + b if each_gain else 0]
                shift = flat.shifts[index, first + b if each_shift else 0]
                for i in range(n):
                    z[b, i] = gain[i] * x[b, i] + shift[i]
        elif kind == POLE:
            rate, state, z = flat.rates[other], y[other], out[other]
            if mode == PLAIN:
                for b in range(rows):
                    for i in range(n):
                        z[b, i] = rate[i] * (x[b, i] - state[b, i])
            elif other == 0:
                for b in range(rows):
                    for i in range(n):
                        z[b, i] = rate[i] * x[b, i] - (rate[i] + linear[0, i]) * state[b, i]
            elif mode in (HALF, STRAIGHT):
                for b in range(rows):
                    for i in range(n):
                        here, before = x[b, i], slopes[0, other, b, i]
                        rise = slopes[5, other, b, i] if mode == HALF else here - before
                        change = phi[2, other, i] * rise + phi[3, other, i] * (2 * (here - before - rise))
                        state[b, i] = (
                            phi[0, other, i] * origin[other, b, i] + phi[1, other, i] * before + change
                        )
                        z[b, i] = here
            elif mode == END:
                for b in range(rows):
                    for i in range(n):
                        here, before = x[b, i], slopes[0, other, b, i]
                        middle = slopes[1, other, b, i] + slopes[2, other, b, i]  # twice
                        change = phi[2, other, i] * (2 * middle - 3 * before - here)
                        change += phi[3, other, i] * (4 * (before - middle + here))
                        state[b, i] = (
                            phi[0, other, i] * origin[other, b, i] + phi[1, other, i] * before + change
                        )
                        z[b, i] = here
            else:
                for b in range(rows):
                    for i in range(n):
                        z[b, i] = x[b, i]


@compiled
def combine(y: Array, k: Array, weights: Array, count: int, out: Array) -> None:
    """out = y + sum of weights[j] k[j] over the first `count` slopes; all (poles, rows, n)."""
    poles, rows, n = y.shape
    real = y.dtype.type
    for p in range(poles):
        for b in range(rows):
            for i in range(n):
                out[p, b, i] = y[p, b, i]
            for j in range(count):
                w = real(weights[j])
                if w != 0:
                    for i in range(n):
                        out[p, b, i] += w * k[j, p, b, i]


@compiled
def worst_error(
    y: Array, new: Array, k: Array, weights: Array, rtol: float, atol: float
) -> tuple[float, int]:
    """Largest error of a step among solves, in units of the tolerance, and whose; infinite if not a number.

    Root mean square over a solve's states of |sum of weights[j] k[j]| / (atol + rtol max(|y|, |new|)).
    """
    poles, rows, n = y.shape
    largest, worst = 0.0, 0
    error = np.empty(n)
    for b in range(rows):
        total = 0.0
        for p in range(poles):
            for i in range(n):
                error[i] = 0.0
            for j in range(weights.shape[0]):
                w = weights[j]
                for i in range(n):
                    error[i] += w * k[j, p, b, i]
            for i in range(n):
                e = error[i] / (atol + rtol * max(abs(y[p, b, i]), abs(new[p, b, i])))
                total += e * e
        norm = np.sqrt(total / (poles * n))
        if not norm < np.inf:
            return np.inf, b
        if norm > largest:
            largest, worst = norm, b
    return largest, worst


@compiled
def write_rest(state: Array, out: Array, begin: int, end: int) -> None:
    """One state (poles, rows, n) as the output (rows, times, recorded poles * n) from instant `begin` to `end`."""
    n = state.shape[2]
    for b in range(out.shape[0]):
        for t in range(begin, end):
            for p in range(out.shape[2] // n):
                for i in range(n):
                    out[b, t, p * n + i] = state[p, b, i]


@compiled
def slow(y: Array, slope: Array, extra: Array, linear: Array, within: float) -> bool:
    """Whether no node of a block moves faster than one that is `within` V from rest and alone.

    Args:
        y: (rows, n) V.
        slope: (rows, n) V/s, of which dy/dt is extra times y more.
        extra: (n,) 1/s.
        linear: (n,) 1/s, the nodes' own decay.
        within: V.
    """
    for b in range(y.shape[0]):
        for i in range(y.shape[1]):
            if not abs(slope[b, i] + extra[i] * y[b, i]) <= within * abs(linear[i]):
                return False
    return True
