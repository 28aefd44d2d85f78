"""How a compiled integration ended, and what to say when it did not reach its end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import Loop

Array = NDArray[np.float64]

# a kernel that paused is called again with what it kept
REACHED, EXHAUSTED, TOO_SMALL, OVERFLOW, PAUSED = range(5)
# columns of the counts that a kernel keeps for a block
EVALUATIONS, STEPS, REJECTED, STATUS, WORST, WRITTEN = range(6)
LARGEST = 1e6  # V at a node: amplifiers with rails never come near

MOST_STEPS = 200_000


def require_reached(
    loop: Loop,
    method: str,
    counts: NDArray[np.int64],
    first: int,
    time: float,
    state: Array,
    drive: Array,
    most_steps: int = MOST_STEPS,
) -> None:
    """Refuse an integration that ended before its time.

    Args:
        loop: that was integrated.
        method: for the message.
        counts: (6,) of the block.
        first: the block's first solve.
        time: reached, s.
        state: (rows, N) V there.
        drive: (rows, n) V.
        most_steps: the budget.

    Raises:
        PhysicsError: names time, solve, channel, and the remedy.
    """
    status, worst = int(counts[STATUS]), int(counts[WORST])
    if status in (REACHED, PAUSED):
        return
    solve, n = first + worst, loop.channels
    at = f"{method} gave up at t = {time * 1e6:.4g} us in solve {solve}"
    if status == OVERFLOW:
        with np.errstate(all="ignore"):
            size = np.abs(state[worst])
        channel = int(np.argmax(np.where(np.isfinite(size), size, np.inf))) % n
        raise PhysicsError(
            f"{at}: channel {channel} leaves all bounds; {_unstable_gain(loop, solve, channel)}"
        )
    channel, rate = _fastest(loop, solve, state[worst], drive[worst])
    remedy = (
        "use method 'Exponential', which has no stability limit"
        if method == "Tsit5"
        else "loosen rtol or atol, or use 'Radau'"
    )
    if status == TOO_SMALL:
        raise PhysicsError(f"{at}: the step fell below what the tolerance can tell apart; {remedy}")
    raise PhysicsError(
        f"{at}: {most_steps} steps are used up; channel {channel} is the stiffest, at {rate * 1e-6:.4g} /us; {remedy}"
    )


def _fastest(loop: Loop, solve: int, state: Array, drive: Array) -> tuple[int, float]:
    """Channel with the fastest decay of its own, and the rate, 1/s."""
    with np.errstate(all="ignore"):
        jacobian = loop.select(solve).jacobian(state, drive) if np.isfinite(state).all() else None
    if jacobian is None:
        return 0, loop.fastest_rate
    own = -np.diagonal(jacobian)
    place = int(np.argmax(own))
    return place % loop.channels, float(own[place])


def _unstable_gain(loop: Loop, solve: int, channel: int) -> str:
    """What makes a channel grow, from the loop linearised at rest."""
    one = loop.select(solve)
    rest = np.zeros(one.states)
    jacobian = one.jacobian(rest, np.zeros(one.channels))
    own = float(jacobian[channel, channel])
    gain = 1 + own / float(np.asarray(one.node[-1].rate)[channel])  # type: ignore[union-attr]
    leading = float(np.linalg.eigvals(jacobian).real.max())
    if own >= 0:
        return f"its own feedback has a gain of {gain:.4g}, 1 or more (alpha): lower compile.alpha there"
    return (
        f"the loop's fastest growing mode at rest has {leading * 1e-6:+.4g} /us (beta and the matrix): "
        "lower compile.beta or raise compile.alpha"
    )
