r"""Integration through a sequence of switching events.

Within a piece of time the drive is constant and the loop is closed or open; every piece has its own call of the
integrator, so that a pulse is met however short it is. An adaptive method that steps over the whole of it sees a
pulse of 50 ns in 50 us only by chance.

With the loop open nothing reaches the node but its own pole, :math:`\dot z = -r z`. The arms still look at the
node, and their poles follow it. Dead time looks back across the cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import AUTO, Transients, integrate
from aocsim.stages import Delay, Scale

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of time without switching.

    Attributes:
        start: s.
        stop: s.
        drive: (solves, n) V at the node; without effect while the loop is open.
        closed: whether the loop is closed.
    """

    start: float
    stop: float
    drive: Array
    closed: bool = True


def opened(loop: Loop) -> Loop:
    """The loop with its switch open: the same states, the arms' outputs cut off, the node's own pole alone."""
    cut = Scale(0.0)
    return Loop(
        loop.channels,
        tuple(Arm(arm.name, (*arm.stages, cut)) for arm in loop.arms),
        (*(stage for stage in loop.node if isinstance(stage, Delay)), loop.node[-1]),
        loop.fast_noise,
    )


def integrate_pieces(
    loop: Loop,
    state: Array,
    pieces: Sequence[Piece],
    times: Array,
    *,
    method: str = AUTO,
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> Transients:
    """Integrate a batch through pieces of time, restarting the integrator at every cut.

    Nothing is integrated beyond the last of `times`. The state is continuous at a cut, and an instant exactly on
    one is returned once.

    Args:
        loop: the closed loop; its stages may carry a leading axis of length `solves`.
        state: (solves, N) V at the first piece's start.
        pieces: each begins where the one before it ends.
        times: increasing instants within the pieces, s, at which the state is returned.
        method: of `integrate`.
        rtol: relative tolerance.
        atol: absolute tolerance, V.

    Raises:
        ValueError: pieces that are empty, overlap, leave gaps or are out of order, a drive of another shape than
            (solves, n), or instants that do not increase or lie outside the pieces.
        PhysicsError: the solver gave up.
    """
    times = np.asarray(times, dtype=float)
    _check(loop, state, pieces, times)
    if len(pieces) == 1 and pieces[0].closed and times[0] == pieces[0].start and len(times) > 1:
        seen = times - pieces[0].start
        return integrate(loop, state, pieces[0].drive, seen, method=method, rtol=rtol, atol=atol)
    loops = {True: loop}
    if not all(piece.closed for piece in pieces):
        loops[False] = opened(loop)
    out = np.empty((len(state), len(times), state.shape[1]))
    out[:, times == pieces[0].start] = state[:, None]
    evaluations, last, history = 0, times[-1], None
    for piece in pieces:
        if piece.start >= last:
            break
        stop = min(piece.stop, last)
        inside = (times > piece.start) & (times <= stop)
        # counted from the cut, where floats are finest: what comes out does not depend on when the pulse comes
        instants = np.unique([piece.start, *times[inside], stop]) - piece.start
        drive = piece.drive if piece.closed else np.zeros_like(piece.drive)
        found = integrate(
            loops[piece.closed],
            state,
            drive,
            instants,
            method=method,
            rtol=rtol,
            atol=atol,
            history=history,
        )
        history = found.history and found.history.seen_from(float(instants[-1]))
        out[:, inside] = found.state[:, 1 : 1 + np.count_nonzero(inside)]
        state = found.state[:, -1]
        evaluations += found.evaluations
    return Transients(out, evaluations)


def _check(loop: Loop, state: Array, pieces: Sequence[Piece], times: Array) -> None:
    if not pieces:
        raise ValueError("no pieces of time")
    if state.ndim != 2 or state.shape[1] != loop.states:
        raise ValueError(f"the state must be (solves, {loop.states}), got {state.shape}")
    for piece in pieces:
        if not piece.start < piece.stop:
            raise ValueError(f"a piece from {piece.start} s to {piece.stop} s is empty")
        if piece.drive.shape != (len(state), loop.channels):
            raise ValueError(
                f"a piece's drive must be {(len(state), loop.channels)}, got {piece.drive.shape}"
            )
    for before, after in pairwise(pieces):
        if before.stop != after.start:
            raise ValueError(f"a piece ends at {before.stop} s, the next one begins at {after.start} s")
    if times.ndim != 1 or not len(times) or not np.all(np.diff(times) > 0):
        raise ValueError("the instants must increase, and there must be one")
    if not pieces[0].start <= times[0] <= times[-1] <= pieces[-1].stop:
        raise ValueError(
            f"instants from {times[0]} s to {times[-1]} s lie outside the pieces, "
            f"{pieces[0].start} s to {pieces[-1].stop} s"
        )
