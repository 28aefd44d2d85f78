"""Ensembles through the compiled methods: cut into blocks, spread over threads.

Blocks are fixed pieces of the ensemble in its order, each with steps of its own; what a solve gives depends on the
block it is in, and on nothing else: neither on threads nor on what comes after it. Kernels hold no interpreter lock, so
that threads suffice. With NUMBA_DISABLE_JIT=1 in the environment the same methods run in numpy, far slower, to the same
numbers but for round-off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop
from aocsim.parallel import in_threads
from aocsim.solve import exponential, tsit5
from aocsim.solve.flat import Flat, flatten, from_blocks, to_blocks
from aocsim.solve.kernels import work_for
from aocsim.solve.outcome import EVALUATIONS, MOST_STEPS, PAUSED, STATUS, WRITTEN, require_reached
from aocsim.solve.relaxation import decay
from aocsim.solve.rest import Watch

Array = NDArray[Any]

ROWS = 64  # solves of a block with common matrices
OWN_ROWS = 32  # with matrices of their own: more share the cost of a step, fewer take fewer steps
VALUES = 16_384  # floating-point numbers of one state of a block, at most, for more than one pole
FIRST_STEP = 0.1  # of the fastest pole's time constant
GROWTH = 4  # of the exponential method's steps on the way to a record's end, once a loop comes to rest
LAW = 10  # multiplications of a stage that acts on each channel by itself


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Solutions of an ensemble.

    Attributes:
        state: (solves, times, recorded) V.
        evaluations: of the right-hand side, each counted for the block it served.
        last: (solves, N) V at the last instant.
        left: (solves,) V, how far a solve may be from the equilibrium that fills the rest of its record; nan where
            that was integrated to its end.
        proven: (solves,) whether `left` is a bound of the linearised loop, not an estimate: see `aocsim.solve.rest`.
    """

    state: Array
    evaluations: int
    last: Array
    left: Array
    proven: NDArray[np.bool_]


def integrate_ensemble(
    loop: Loop,
    state: Array,
    drive: Array,
    times: Array,
    *,
    method: str,
    rtol: float,
    atol: float,
    threads: int = 1,
    exit_within: float = 0.0,
    precision: type[np.floating[Any]] = np.float64,
    recorded: int | None = None,
    most_steps: int = MOST_STEPS,
    rows: int | None = None,
) -> Ensemble:
    """Integrate an ensemble of loops without dead time over one segment of constant drive.

    Args:
        loop: whose stages may carry a leading axis of length `solves`.
        state: (solves, N) V at times[0].
        drive: (solves, n) V.
        times: increasing instants, s.
        method: "Tsit5" or "Exponential".
        rtol: relative tolerance.
        atol: absolute tolerance, V.
        threads: at least 1; without effect on the result.
        exit_within: V; a block whose solves all stand closer to equilibria that attract them is not integrated
            further, and these fill the rest of its record. 0: never.
        precision: float64 or float32 of states and parameters.
        recorded: number of poles whose states are returned, the nodes' first; all by default.
        most_steps: budget of each block.
        rows: solves of a block.

    Raises:
        ValueError: wrong shapes, values that are not finite, or instants that do not increase.
        PhysicsError: a block did not reach the end; names solve, channel, instant and remedy.
    """
    solves, n = len(state), loop.channels
    recorded = loop.blocks if recorded is None else recorded
    flat = flatten(loop, precision)
    _check(loop, flat, state, drive, times, rtol, atol, threads, recorded)
    out = np.empty((solves, len(times), recorded * n), dtype=precision)
    ends = np.empty_like(state)
    left, proven = np.full(solves, np.nan), np.zeros(solves, dtype=bool)
    if exit_within > 0 and not np.all(decay(loop) < 0):
        exit_within = 0.0  # a node that does not relax by itself has no rest that a look at it could find
    advance = _tsit5 if method == "Tsit5" else _exponential
    work = advance(loop, flat, state, drive, np.asarray(times, dtype=float), rtol, atol, most_steps)
    size = rows or _rows(loop, flat)
    blocks = [slice(a, min(a + size, solves)) for a in range(0, solves, size)]
    each = (len(flat.shared) + len(flat.own)) * n**2 + LAW * n * len(flat.steps)

    def one(block: slice) -> int:
        watch = Watch(loop, block, drive[block], exit_within, each) if exit_within > 0 else None
        ends[block], counts = work(block, out[block], watch)
        if watch and watch.rest:
            left[block], proven[block] = watch.rest.left, watch.rest.proven
        return int(counts[EVALUATIONS])

    evaluations = sum(in_threads(one, blocks, threads))
    return Ensemble(out, evaluations, ends, left, proven)


def _check(
    loop: Loop,
    flat: Flat,
    state: Array,
    drive: Array,
    times: Array,
    rtol: float,
    atol: float,
    threads: int,
    recorded: int,
) -> None:
    """Refuse what a kernel, which looks at no bounds, must never see."""
    if not (rtol >= 0 and atol >= 0 and 0 < rtol + atol < np.inf):
        raise ValueError(f"rtol and atol must not be negative, and one of them more than 0: {rtol}, {atol}")
    if threads < 1 or not 1 <= recorded <= loop.blocks:
        raise ValueError(
            f"threads must be 1 or more, got {threads}, and recorded 1 to {loop.blocks}, got {recorded}"
        )
    solves = len(state)
    for name, array, width in (("state", state, loop.states), ("drive", drive, loop.channels)):
        if np.shape(array) != (solves, width):
            raise ValueError(f"the {name} must be {(solves, width)}, got {np.shape(array)}")
        if not np.isfinite(array).all():
            solve, place = np.argwhere(~np.isfinite(array))[0]
            raise ValueError(
                f"the {name} of solve {solve}, channel {place % loop.channels}, is {array[solve, place]}"
            )
    own = {*flat.own.shape[1:2]} if len(flat.own) else set()
    own |= {group.shape[1] for group in (flat.offsets, flat.gains, flat.shifts) if len(group)} - {1}
    if own - {1, solves} or (len(flat.own) and flat.own.shape[1] != solves):
        raise ValueError(f"the loop has parameters of {max(own)} solves, the state is that of {solves}")
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or not np.all(np.diff(times) > 0):
        raise ValueError("the instants must be finite and increase, and there must be one")


def _rows(loop: Loop, flat: Flat) -> int:
    rows = OWN_ROWS if len(flat.own) else ROWS
    return max(8, min(rows, VALUES // loop.states)) if loop.blocks > 1 else rows


_Advance = Callable[[slice, Array, Watch | None], tuple[Array, NDArray[np.int64]]]
"""Integrates a block into its record, unless its watch lets it leave; returns its last state, and counts."""


def _tsit5(
    loop: Loop,
    flat: Flat,
    state: Array,
    drive: Array,
    times: Array,
    rtol: float,
    atol: float,
    most_steps: int,
) -> _Advance:
    real = flat.rates.dtype
    linear = decay(loop).astype(real)
    first_step = min(FIRST_STEP / loop.fastest_rate, times[-1] - times[0])

    def advance(block: slice, out: Array, watch: Watch | None) -> tuple[Array, NDArray[np.int64]]:
        y = to_blocks(state[block].astype(real), loop.channels)
        u = np.ascontiguousarray(drive[block], dtype=real)
        counts, progress, slope = np.zeros(6, dtype=np.int64), np.zeros(3), np.empty_like(y)
        work = work_for(flat, len(u))
        while True:
            look, patience, later = watch.when if watch else (0.0, 0, 0.0)
            tsit5.integrate_block(
                flat, block.start, y, u, times, rtol, atol, first_step, most_steps, look, patience, later, linear,
                work, out, counts, progress, slope,
            )  # fmt: skip
            end = from_blocks(y)
            require_reached(loop, "Tsit5", counts, block.start, progress[0], end, drive[block], most_steps)
            if watch is None or counts[STATUS] != PAUSED:
                return end, counts
            if watch.leaves(end, counts, 6 * (times[-1] - progress[0]) / progress[1]):
                return watch.fill(out, int(counts[WRITTEN])), counts

    return advance


def _exponential(
    loop: Loop,
    flat: Flat,
    state: Array,
    drive: Array,
    times: Array,
    rtol: float,
    atol: float,
    most_steps: int,
) -> _Advance:
    real = flat.rates.dtype
    linear = decay(loop).astype(real)
    first_step = min(FIRST_STEP / loop.fastest_rate, times[-1] - times[0])

    def advance(block: slice, out: Array, watch: Watch | None) -> tuple[Array, NDArray[np.int64]]:
        y = to_blocks(state[block].astype(real), loop.channels)
        u = np.ascontiguousarray(drive[block], dtype=real)
        counts, progress = np.zeros(6, dtype=np.int64), np.zeros(4)
        slopes, largest = np.zeros((6, *y.shape), dtype=real), np.zeros(len(y))
        work = work_for(flat, len(u))
        while True:
            look, patience, later = watch.when if watch else (0.0, 0, 0.0)
            exponential.integrate_block(
                flat, block.start, y, u, times, linear, rtol, atol, first_step, most_steps, look, patience, later,
                work, out, counts, progress, slopes, largest,
            )  # fmt: skip
            end = from_blocks(y)
            require_reached(
                loop, "Exponential", counts, block.start, progress[0], end, drive[block], most_steps
            )
            if watch is None or counts[STATUS] != PAUSED:
                return end, counts
            if watch.leaves(end, counts, 4 / GROWTH * (times[-1] - progress[0]) / progress[1]):
                return watch.fill(out, int(counts[WRITTEN])), counts

    return advance
