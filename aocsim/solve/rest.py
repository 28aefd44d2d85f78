r"""Whether solves that seem to have come to rest have done so, and how far they still are from it.

Where f is the right-hand side and J its jacobian, both at the state y, the linearised loop is at rest at y + e, with
:math:`J e = -f`, and comes there by :math:`e^{Jt}`. Two things are asked of it:

- *Proven.* In the norm :math:`\max_i |x_i| / w_i` the logarithmic norm of J is

  .. math:: \mu = \max_i \Bigl[J_{ii} + \sum_{j \ne i} |J_{ij}|\,w_j / w_i\Bigr]

  (G. Dahlquist, 1959; see C. Desoer and H. Haneda, IEEE Trans. Circuit Theory 19, 480 (1972)). Where it is negative no
  distance in that norm ever grows. The weights w solve :math:`M w = 1`, M having the absolute values of J's diagonal
  and their negatives beside it: if they are all positive, then :math:`\mu = \max_i (-1/w_i) < 0`, and no other weights
  would do if they are not.
- *Estimated.* Else powers of the Cayley transform of J, which contracts if and only if all modes decay, show that they
  do, and by how much a distance may grow before.

A saddle is neither, and is no rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop

Array = NDArray[np.float64]

STRAIGHT = 0.02  # of the distance: how far Newton's second step may reach where the loop counts as linear
ROUNDING = 1e-9  # V: distances below are those of rounding
CAYLEY_STEP = 3.0  # of the mean time constant
SQUARINGS = 14


@dataclass(frozen=True, eq=False)
class Rest:
    """Where a block of solves comes to rest.

    Attributes:
        state: (rows, N) V.
        left: (rows,) V, bound or estimate of how far a node will be from there at any later time.
        proven: (rows,) whether `left` is a bound of the linearised loop.
    """

    state: Array
    left: Array
    proven: NDArray[np.bool_]


def judge(loop: Loop, state: Array, drive: Array) -> Rest | None:
    """The rest that solves have come to; None if one of them has not, or if none attracts it.

    Args:
        loop: of these solves, without dead time.
        state: (rows, N) V.
        drive: (rows, n) V.
    """
    n = loop.channels
    jacobian = loop.jacobian(state, drive)
    unit = _units(jacobian, loop.blocks, n)
    scaled = jacobian * unit[:, None, :] / unit[:, :, None]
    try:
        first = _solved(scaled, -loop.rhs(state, drive) / unit)
        second = _solved(scaled, -loop.rhs(state + unit * first, drive) / unit)
        scale = _weights(scaled)
    except np.linalg.LinAlgError:
        return None
    whole = first + second
    if not np.isfinite(whole).all():
        return None
    size, more = np.abs(whole[:, :n]).max(axis=1), np.abs(second[:, :n]).max(axis=1)
    if np.any(more > STRAIGHT * np.maximum(size, ROUNDING)):
        return None
    proven = np.asarray((scale > 0).all(axis=1) & np.isfinite(scale).all(axis=1))
    # in the weighted norm nothing grows: a node's distance is at most its weight times the norm
    safe = np.where(proven[:, None], scale, 1.0)
    left = np.abs(whole / safe).max(axis=1) * safe[:, :n].max(axis=1)
    if not proven.all():
        others = np.flatnonzero(np.logical_not(proven))
        grown = _reached(scaled[others], whole[others], n)
        if grown is None:
            return None
        left[others] = np.maximum(grown, size[others])
    return Rest(state + unit * whole, left + more, proven)


def _solved(matrix: Array, right: Array) -> Array:
    return np.asarray(np.linalg.solve(matrix, right[..., None])[..., 0])


def _weights(jacobian: Array) -> Array:
    """w with M w = 1 in units of the states' own rates, (rows, N)."""
    diagonal = np.diagonal(jacobian, axis1=-2, axis2=-1)
    comparison = -np.abs(jacobian)
    places = np.arange(jacobian.shape[-1])
    comparison[:, places, places] = -diagonal
    rate = np.abs(diagonal).max(axis=1, keepdims=True)
    weights = np.linalg.solve(comparison, np.broadcast_to(rate, diagonal.shape)[..., None])[..., 0]
    # a diagonal that does not decay has no logarithmic norm below 0
    return np.asarray(np.where((diagonal < 0).all(axis=1, keepdims=True), weights, -1.0))


def _units(jacobian: Array, blocks: int, n: int) -> Array:
    """Units of the states, (rows, N), in which a filter swings about as far as its input: 1 V for nodes."""
    places = np.arange(jacobian.shape[-1])
    own = np.maximum(np.abs(jacobian[:, places, places]), np.finfo(float).tiny)
    beside = np.abs(jacobian)
    beside[:, places, places] = 0.0
    unit = np.ones_like(own)
    for _ in range(blocks - 1):  # from filter to filter along the arms
        reached = np.matmul(beside, unit[..., None])[..., 0] / own
        unit[:, n:] = np.maximum(reached, np.finfo(float).tiny)[:, n:]
    return unit


def _reached(jacobian: Array, distance: Array, n: int) -> Array | None:
    """Largest later distance of a node, (rows,), by powers of the Cayley transform; None if a mode does not decay."""
    step = CAYLEY_STEP / np.abs(np.diagonal(jacobian, axis1=-2, axis2=-1)).mean(axis=1)[:, None, None]
    half, eye = jacobian * (step / 2), np.eye(jacobian.shape[-1])
    power = np.linalg.solve(eye - half, eye + half)
    here = e = distance[..., None]
    largest = np.abs(distance[:, :n]).max(axis=1)
    # at each of the first steps, and then at those farther and farther apart, where what is left moves slowly
    for _ in range(SQUARINGS):
        here = np.matmul(power, here)
        largest = np.maximum(largest, np.abs(here[:, :n, 0]).max(axis=1))
    for _ in range(SQUARINGS):
        power = np.clip(np.matmul(power, power), -1e100, 1e100)
        largest = np.maximum(largest, np.abs(np.matmul(power, e)[:, :n, 0]).max(axis=1))
    return largest if np.all(np.abs(power).sum(axis=-1).max(axis=-1) < 1.0) else None
