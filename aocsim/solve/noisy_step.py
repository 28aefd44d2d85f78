r"""Compiled steps of the stochastic method, and what they need of a step's length.

From a filter to the node, where no matrix and no other filter stands between them, the step is that of

.. math:: \dot z = \lambda z + \kappa y + \dots, \qquad \dot y = r (g - y) + \sqrt q\,\dot W

for an input g that is a straight line. To a unit pulse of y the node responds by
:math:`p(s) = s\,e^{-rs} \varphi_1[(\lambda + r)s]` for :math:`\kappa = 1`, whence

.. math::

    \langle \xi_y^2 \rangle = q \int_0^h e^{-2rs} ds, \quad
    \langle \xi_y \xi_z \rangle = q \kappa \int_0^h e^{-rs} p(s)\,ds, \quad
    \langle \xi_z^2 \rangle = q \kappa^2 \int_0^h p^2(s)\,ds .

The integrals are Gauss's sums over panels that grow by two. Given :math:`\xi_y` the rest of :math:`\xi_z` is
independent of it: the rests of all filters and the node's own noise are one normal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import SUM
from aocsim.solve.draws import Draws, fill_normals
from aocsim.solve.flat import STATE, Flat
from aocsim.solve.kernels import START, STRAIGHT, Work, compiled, evaluate, write_rest
from aocsim.solve.outcome import LARGEST, OVERFLOW, STATUS, WORST
from aocsim.solve.relaxation import phi, weights
from aocsim.solve.white import White

Array = NDArray[Any]

NODES = 32  # of Gauss's rule
PANELS = 12


class Weights(NamedTuple):
    """What a step of length h needs beside the functions phi.

    Attributes:
        table: (5, poles, n), `weights` for h.
        follow: the same with phi_0 = 1 for filters.
        variance: (poles, n) s, of the noise of a pole for q = 1.
        response: (filters, n) s, node's response to a filter that leaves for an input 1 V away, for coupling 1.
        excess: (filters, n) s, the same beyond the straight line between the filter's states.
        excess_ramp: (filters, n) s, the same for an input that rises by 1 V.
        carried: (filters, n) s, the node's noise for each volt of the filter's.
        rest: (filters, n) s^3, variance of the node's noise that does not follow the filter's, for q = 1.
    """

    table: Array
    follow: Array
    variance: Array
    response: Array
    excess: Array
    excess_ramp: Array
    carried: Array
    rest: Array


def weights_of(linear: Array, filters: NDArray[np.int64], step: float) -> Weights:
    """The weights.

    Args:
        linear: `decay`, (poles, n) 1/s.
        filters: (filters,) blocks whose way to the node is exact.
        step: h, s.
    """
    table = np.empty((5, *linear.shape))
    weights(linear, step, table)
    follow = table.copy()
    follow[0, 1:] = 1.0
    points, gauss = np.polynomial.legendre.leggauss(NODES)
    edges = np.concatenate([[0.0], step * 0.5 ** np.arange(PANELS - 1, -1.0, -1)])
    half = np.diff(edges)[:, None] / 2
    s = (edges[:-1, None] + half * (1 + points)).reshape(-1, 1, 1)
    w = (half * gauss).reshape(-1, 1, 1)
    own, rate = linear[0], -linear[filters]
    # the node's response to a unit pulse of a filter after a time s
    slower = np.maximum(own, -rate)
    pulse = s * np.exp(slower * s) * phi(-np.abs(own + rate) * s)[1]
    gone = np.exp(-rate * s)
    back, ahead = np.exp(own * (step - s)), phi(-rate * s)
    left = -np.expm1(-rate * s)
    ramp = rate * s**2 / step * ahead[2]
    response = np.sum(w * back * left, axis=0)
    straight = table[2, 0]
    variance = step * phi(2 * step * linear)[1]
    filtered = variance[filters]
    cross = np.sum(w * gone * pulse, axis=0)
    return Weights(
        table,
        follow,
        variance,
        response,
        response - straight * table[1, filters],
        np.sum(w * back * ramp, axis=0) - straight * table[2, filters],
        cross / filtered,
        np.maximum(np.sum(w * pulse**2, axis=0) - cross**2 / filtered, 0.0),
    )


@compiled
def _times_slope(x: Array, c: Array, four: Array, out: Array) -> None:
    """out *= slope of a law at x, both (rows, n); otherwise as `law_table`."""
    last = float(c.shape[0] - 1)
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            s = four[0, i] * x[b, i] + four[1, i]
            t = s if s > 0.0 else 0.0
            t = t if t < last else last
            k = np.uint32(t)
            u = s - k
            slope = (3 * c[k, 3] * u + 2 * c[k, 2]) * u + c[k, 1]
            out[b, i] *= four[0, i] * four[2, i] * slope


@compiled
def _slopes(flat: Flat, laws: NDArray[np.int64], y: Array, work: Work, out: Array) -> None:
    """out = product of the slopes of laws (laws, 3) at the signals of the last evaluation, (rows, n)."""
    out[:] = 1.0
    for k in range(laws.shape[0]):
        source, use, table = laws[k]
        if table >= 0:
            begin, count = flat.tables[table]
            x = _signal(source, y, work)
            c, four = flat.coefficients[begin : begin + count], flat.elementwise[use]
            _times_slope(x, c, four, out)


@compiled
def _signal(source: int, y: Array, work: Work) -> Array:
    """A signal of the last evaluation by its source in `Flat.steps`, (rows, n)."""
    signal: Array = work.total
    if source <= STATE:
        signal = y[STATE - source]
    elif source != SUM:
        signal = work.registers[source]
    return signal


@compiled
def _intensities(
    flat: Flat, white: White, first: int, y: Array, work: Work, slope: Array, out: Array
) -> None:
    """q of the noise into each pole, (poles, rows, n), at the signals of the last evaluation."""
    rows, n = slope.shape
    out[:] = 0.0
    each = white.density.shape[2] > 1
    for k in range(white.sources.shape[0]):
        source, block = white.sources[k]
        if k == 0 or not np.array_equal(white.laws[k], white.laws[k - 1]):
            _slopes(flat, white.laws[k], y, work, slope)
        x = _signal(source, y, work)
        for b in range(rows):
            d = white.density[k, :, first + b if each else 0]
            for i in range(n):
                q = (d[2, i] * x[b, i] + d[1, i]) * x[b, i] + d[0, i]
                q = q if q > d[3, i] else d[3, i]
                out[block, b, i] += q * slope[b, i] * slope[b, i]


@compiled
def integrate_block(
    flat: Flat,
    white: White,
    weights: Weights,
    first: int,
    y: Array,
    drive: Array,
    linear: Array,
    every: int,
    noisy: NDArray[np.bool_],
    draws: Draws,
    begin: int,
    live: tuple[int, int],
    work: Work,
    out: Array,
    counts: NDArray[np.int64],
) -> int:
    """Integrate a block of solves; all have the same steps.

    Args:
        flat: the loop.
        white: its noise.
        weights: of the step.
        first: index of the block's first solve among those with parameters of their own.
        y: (poles, rows, n); holds the last state at the end.
        drive: (rows, n) V.
        linear: (poles, n) 1/s.
        every: steps between two instants of `out`.
        noisy: (poles + 1,) whether a pole has noise of its own; last, whether any noise reaches the node in the step.
        draws: of the block.
        begin: number of the first step.
        live: rows that are asked for, from and to; the others fill the block up.
        work: scratch for these rows.
        out: (rows, times, recorded poles * n).
        counts: (5,) as `aocsim.solve.outcome` names them.

    Returns:
        Steps done.
    """
    poles, rows, n = y.shape
    table, filters = weights.table, white.filters
    slopes = np.zeros((6, poles, rows, n))
    trial, origin, kicks = y.copy(), y.copy(), np.zeros((poles, rows, n))
    now, before, middle = np.zeros_like(kicks), np.zeros_like(kicks), np.zeros_like(kicks)
    coupling = np.empty((filters.shape[0], rows, n))
    base, spread, normal = np.empty((rows, n)), np.empty((rows, n)), np.zeros((rows, n))
    each = white.coupling.shape[1] > 1
    any_noise = white.sources.shape[0] > 0
    write_rest(y, out, 0, 1)
    for step in range((out.shape[1] - 1) * every):
        evaluate(flat, first, y, drive, work, START, linear, table, y, slopes, slopes[0])
        if any_noise:
            _intensities(flat, white, first, y, work, spread, now)
            if step == 0:
                before[:] = now
            for p in range(poles):
                for b in range(rows):
                    for i in range(n):
                        q = 1.5 * now[p, b, i] - 0.5 * before[p, b, i]
                        middle[p, b, i] = q if q > 0.0 else 0.0
                        before[p, b, i] = now[p, b, i]
        for p in range(1, poles):
            if noisy[p]:
                fill_normals(draws, begin + step, p, normal)
                for b in range(rows):
                    for i in range(n):
                        kicks[p, b, i] = np.sqrt(middle[p, b, i] * weights.variance[p, i]) * normal[b, i]
            for b in range(rows):
                for i in range(n):
                    origin[p, b, i] = table[0, p, i] * y[p, b, i] + kicks[p, b, i]
        for b in range(rows):
            for i in range(n):
                base[b, i] = table[0, 0, i] * y[0, b, i] + table[1, 0, i] * slopes[0, 0, b, i]
                spread[b, i] = middle[0, b, i] * weights.variance[0, i]
        for f in range(filters.shape[0]):
            _slopes(flat, white.behind[f], y, work, coupling[f])
            p = filters[f]
            for b in range(rows):
                given = white.coupling[f, first + b if each else 0]
                for i in range(n):
                    k = coupling[f, b, i] * given[i]
                    coupling[f, b, i] = k
                    base[b, i] += k * weights.carried[f, i] * kicks[p, b, i]
                    spread[b, i] += k * k * middle[p, b, i] * weights.rest[f, i]
        if noisy[poles]:
            fill_normals(draws, begin + step, 0, normal)
            for b in range(rows):
                for i in range(n):
                    base[b, i] += np.sqrt(spread[b, i]) * normal[b, i]
        trial[0] = base
        for f in range(filters.shape[0]):
            p = filters[f]
            for b in range(rows):
                for i in range(n):
                    k, away = coupling[f, b, i], slopes[0, p, b, i] - y[p, b, i]
                    trial[0, b, i] += k * weights.response[f, i] * away
                    base[b, i] += k * (weights.excess[f, i] * away - table[2, 0, i] * kicks[p, b, i])
        evaluate(flat, first, trial, drive, work, STRAIGHT, linear, weights.follow, origin, slopes, slopes[1])
        for f in range(filters.shape[0]):
            p = filters[f]
            for b in range(rows):
                for i in range(n):
                    rise = slopes[1, p, b, i] - slopes[0, p, b, i]
                    base[b, i] += coupling[f, b, i] * weights.excess_ramp[f, i] * rise
        for b in range(rows):
            outside = 0
            for i in range(n):
                z = base[b, i] + table[2, 0, i] * (slopes[1, 0, b, i] - slopes[0, 0, b, i])
                trial[0, b, i] = z
                outside += not abs(z) <= LARGEST
            if outside and live[0] <= b < live[1]:
                counts[STATUS], counts[WORST] = OVERFLOW, b
        y[:] = trial
        if counts[STATUS]:
            return int(step + 1)
        if (step + 1) % every == 0:
            write_rest(y, out, (step + 1) // every, (step + 1) // every + 1)
    return int((out.shape[1] - 1) * every)
