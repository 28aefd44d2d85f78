"""The right-hand side of a loop by the compiled kernels, in the shape in which SciPy's solvers ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Loop
from aocsim.solve.flat import TooWideError, flatten, from_blocks, to_blocks
from aocsim.solve.kernels import right_hand_side, work_for

Array = NDArray[Any]

Rhs = Callable[..., Array]
"""As `Loop.rhs`."""

ROWS = 64  # solves that are computed together, so that their signals stay in the cache


class CompiledLoop:
    """Evaluates one loop again and again."""

    def __init__(self, loop: Loop) -> None:
        """Flatten the loop.

        Raises:
            TooWideError: a signal inside an arm has more channels than the loop.
        """
        self._flat, self._loop = flatten(loop), loop

    def rhs(self, state: Array, drive: Array, past: Sequence[Array] | None = None) -> Array:
        """As `Loop.rhs`, for state (solves, N), drive (solves, n) and past node voltages (solves, n)."""
        n, out = self._loop.channels, np.empty_like(state)
        work = work_for(self._flat, min(len(state), ROWS))
        for begin in range(0, len(state), ROWS):
            block = slice(begin, begin + ROWS)
            y = to_blocks(state[block], n)
            rows = y.shape[1]
            if rows != work.total.shape[0]:
                work = work_for(self._flat, rows)
            if self._loop.delayed:
                for register, nodes in enumerate([state[:, :n]] if past is None else past):
                    work.registers[register] = nodes[block]
            slope = np.empty_like(y)
            right_hand_side(self._flat, begin, y, np.ascontiguousarray(drive[block]), work, slope)
            out[block] = from_blocks(slope)
        return out


def compiled_rhs(loop: Loop) -> Rhs:
    """The right-hand side of a loop, compiled where kernels can hold its signals."""
    try:
        return CompiledLoop(loop).rhs
    except TooWideError:
        return loop.rhs
