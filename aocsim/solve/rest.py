r"""Whether solves that seem to have come to rest have done so, and how far they may still be from it.

Newton's method leads from where they stand to the equilibrium; e is the way back from there, of nodes and filters, and
J the jacobian there. The linearised loop returns by :math:`e^{Jt} e`. Two things are asked of it:

- *Proven.* In the norm :math:`\max_i |x_i| / w_i` the logarithmic norm of J is

  .. math:: \mu = \max_i \Bigl[J_{ii} + \sum_{j \ne i} |J_{ij}|\,w_j / w_i\Bigr]

  (G. Dahlquist, 1959; see C. Desoer and H. Haneda, IEEE Trans. Circuit Theory 19, 480 (1972)). Where it is negative no
  distance in that norm ever grows. With :math:`G_{ij} = |J_{ij}| / |J_{ii}|` beside a diagonal of zeros, the weights
  solve :math:`(1 - G) w = 1`: if they are all positive, then :math:`\mu = \max_i J_{ii} / w_i < 0`, and no other
  weights would do if they are not (A. Berman and R. Plemmons, Nonnegative Matrices in the Mathematical Sciences,
  SIAM 1994, chapter 6). The solution for :math:`|e|` in the place of 1 is a bound of its own, of each state.
- *Estimated.* Else powers of :math:`e^{Jh}` tell whether all modes decay, and e is followed on the way to where no
  distance at all grows any more. What it reaches between the instants looked at, sixteen in each octave of time, is
  taken to be at most a twentieth more.

A saddle is neither, and is no rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop
from aocsim.solve.outcome import EVALUATIONS, STEPS

Array = NDArray[np.float64]

STRAIGHT = 0.02  # of the distance: how far Newton's second step may reach where the loop counts as linear
ROUNDING = 1e-9  # V: distances below are those of rounding
SHORT = 0.5  # of the fastest time constant: where the approximant of the exponential is good to 1e-4
DOUBLINGS = 45
FINE = 4  # an octave is looked at in steps of 2^-FINE of its beginning
BETWEEN = 1.05  # by how much more a distance may reach between them, as far as is known
HOPELESS = 1e12  # growth of a distance that no stable loop shows

# measured, in multiplications of an evaluation: for N^3 and N^2 of a solve's states, and for N^3 of one not proven
SOLVING, LINEARISING, FOLLOWING = 1.5, 600.0, 16.0

LOOK = 0.5  # of the exit's volts: how near a block has to seem, by how slowly its nodes move, before it is judged
CLOSER = 0.8  # of how near it then would have to seem, if all distances fell at the rate of the nodes' slopes
PAUSE = 8  # steps, at least, and half of those so far, before it is looked at as if for the first time


@dataclass(frozen=True, eq=False)
class Rest:
    """Where a block of solves comes to rest.

    Attributes:
        state: (rows, N) V.
        left: (rows,) V, bound or estimate of how far a solve will be from there at any later time. Nodes count in
            volts, a filter in volts at the nodes that would move it as much, or against its largest signal.
        proven: (rows,) whether `left` is a bound of the linearised loop.
    """

    state: Array
    left: Array
    proven: NDArray[np.bool_]


@dataclass(eq=False)
class Watch:
    """The steady exit of one block: when to look at it, and what was found.

    Attributes:
        loop: of all solves.
        block: which of them.
        drive: (rows, n) V, of these.
        within: V, how near to rest all have to be.
        work: multiplications of an evaluation, for one solve.
        when: what the kernels pause for, their `look` in V, `patience` in steps, and `later` in V.
        rest: where it has come to rest.
    """

    loop: Loop
    block: slice
    drive: Array
    within: float
    work: float
    when: tuple[float, int, float] = field(init=False)
    rest: Rest | None = None

    def __post_init__(self) -> None:
        self.when = 0.0, 0, LOOK * self.within

    def leaves(self, state: Array, counts: NDArray[np.int64], remaining: float) -> bool:
        """Judge a block that seems to be near its rest, unless integrating on costs less.

        Args:
            state: (rows, N) V.
            counts: of the kernel.
            remaining: evaluations to the record's end, an estimate.
        """
        worth, states, steps = remaining * self.work, self.loop.states, int(counts[STEPS])
        if worth < SOLVING * states**3 + LINEARISING * states**2:
            self.when = 0.0, 0, 0.0
            return False
        look, patience, first = self.when
        used = look if steps < patience else first
        patience = steps + max(PAUSE, steps // 2)
        found = judge(self.loop.select(self.block), state.astype(float), self.drive, worth)
        counts[EVALUATIONS] += EVALUATED
        distance = np.inf if found is None else float(found.left.max())
        if distance > self.within:
            self.when = used * CLOSER * self.within / distance, patience, first
            return False
        self.rest = found
        return True

    def fill(self, out: NDArray[np.floating[Any]], begin: int) -> Array:
        """Put the rest into a record (rows, times, recorded) from an instant on, and return it."""
        assert self.rest is not None
        out[:, begin:] = self.rest.state[:, None, : out.shape[2]]
        return self.rest.state


EVALUATED = 2  # times, in a judgement


def judge(loop: Loop, state: Array, drive: Array, worth: float = np.inf) -> Rest | None:
    """The rest that solves have come to; None if one of them has not, if none attracts it, or if it costs too much.

    Args:
        loop: of these solves, without dead time.
        state: (rows, N) V.
        drive: (rows, n) V.
        worth: multiplications for each solve that an answer may cost.
    """
    jacobian = loop.jacobian(state, drive)
    try:
        first = _solved(jacobian, -loop.rhs(state, drive))
        jacobian = loop.jacobian(state + first, drive)
        second = _solved(jacobian, -loop.rhs(state + first, drive))
    except np.linalg.LinAlgError:
        return None
    whole = first + second
    if not np.isfinite(whole).all():
        return None
    rest = state + whole
    unit = _units(jacobian, np.maximum(np.abs(state), np.abs(rest)), loop.blocks, loop.channels)
    size, more = np.abs(whole / unit).max(axis=1), np.abs(second / unit).max(axis=1)
    if np.any(more > STRAIGHT * np.maximum(size, ROUNDING)):
        return None
    scaled = jacobian * unit[:, None, :] / unit[:, :, None]
    left = _bounded(scaled, np.abs(whole / unit))
    proven = np.isfinite(left)
    others = np.flatnonzero(np.logical_not(proven))
    if len(others):
        if FOLLOWING * state.shape[1] ** 3 * len(others) > worth * len(state):
            return None
        left[others] = BETWEEN * _followed(scaled[others], (whole / unit)[others])
        if not np.isfinite(left).all():
            return None
    return Rest(rest, left + more, proven)


def _solved(matrix: Array, right: Array) -> Array:
    return np.asarray(np.linalg.solve(matrix, right[..., None])[..., 0])


def _units(jacobian: Array, signal: Array, blocks: int, n: int) -> Array:
    """Units of the states, (rows, N): 1 V for nodes; for filters the more of their signals and of what 1 V moves."""
    beside, own = _beside(jacobian)
    unit = np.ones_like(own)
    largest = signal.max(axis=0).reshape(blocks, n).max(axis=1).repeat(n)
    floor = np.maximum(largest, np.finfo(float).tiny)[n:]
    for _ in range(blocks - 1):  # from filter to filter along the arms
        unit[:, n:] = np.maximum(np.matmul(beside, unit[..., None])[:, n:, 0] / own[:, n:], floor)
    return unit


def _beside(jacobian: Array) -> tuple[Array, Array]:
    """Absolute values with zeros on the diagonal, and the diagonal's own."""
    places = np.arange(jacobian.shape[-1])
    beside = np.abs(jacobian)
    own = np.maximum(beside[:, places, places], np.finfo(float).tiny)
    beside[:, places, places] = 0.0
    return beside, own


def _bounded(jacobian: Array, distance: Array) -> Array:
    """Bound of all later distances, (rows,), by weights with a negative logarithmic norm; infinite without such."""
    beside, own = _beside(jacobian)
    places = np.arange(own.shape[1])
    matrix = -beside / own[..., None]
    matrix[:, places, places] = 1.0
    right = np.stack([np.ones_like(distance), distance], axis=-1)
    bound = np.full(len(distance), np.inf)
    decaying = (jacobian[:, places, places] < 0).all(axis=1)
    try:
        weights, reached = np.moveaxis(np.linalg.solve(matrix, right), -1, 0)
    except np.linalg.LinAlgError:
        return bound
    with np.errstate(all="ignore"):
        proven = decaying & (weights > 0).all(axis=1) & np.isfinite(weights).all(axis=1)
        # what rounding made of the weights must still be a proof
        proven &= (np.matmul(matrix, weights[..., None])[..., 0] > 0).all(axis=1)
        common = np.minimum((distance / weights).max(axis=1)[:, None] * weights, reached).max(axis=1)
    bound[proven] = np.maximum(common, distance.max(axis=1))[proven]
    return bound


def _followed(jacobian: Array, distance: Array) -> Array:
    """Largest later distance of any state, (rows,), infinite if a mode does not decay.

    Once the norm of a power is below 1, all that comes later has been seen, up to a factor below 1.
    """
    eye = np.eye(jacobian.shape[-1])
    step = jacobian * (SHORT / np.abs(jacobian).sum(axis=-1).max(axis=-1))[:, None, None]
    even = eye + np.matmul(step, step) / 12
    # Pade's approximant [2/2]: inside the unit circle for all modes that decay, and for no others
    powers = [np.linalg.solve(even - step / 2, even + step / 2)]
    largest = np.abs(distance).max(axis=1)
    found = np.full(len(distance), np.inf)
    rows = np.arange(len(distance))
    for _ in range(DOUBLINGS):
        power, fine = powers[-1], powers[0]
        norm = np.abs(power).sum(axis=-1).max(axis=-1)
        settled = norm < 1.0
        found[rows[settled]] = largest[settled]
        if not np.all(norm < HOPELESS):
            return np.full_like(found, np.inf)
        if settled.all():
            return found
        on = np.logical_not(settled)
        rows, largest, distance = rows[on], largest[on], distance[on]
        powers, power, fine = [p[on] for p in powers], power[on], fine[on]
        here = np.matmul(power, distance[..., None])
        for _ in range(2 ** (len(powers) - 1)):
            largest = np.maximum(largest, np.abs(here[..., 0]).max(axis=1))
            here = np.matmul(fine, here)
        powers = [*powers, np.matmul(power, power)][-1 - FINE :]
    return found
