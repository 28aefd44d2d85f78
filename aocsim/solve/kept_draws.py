"""Draws that the points of a study have in common.

What is drawn depends on the seed and on what it is for, not on the machine: the points of a sweep over parts draw the
same numbers. A process that runs one point after the other keeps them, up to a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.solve.draws import Words, fill_counted

KEPT = 2**29
"""Bytes that a process keeps at most: points of the heart with 64 samples draw 494 MiB."""

LARGEST = 2**23
"""Bytes of one batch that is kept: those of wide machines would fill the memory before they are asked for again."""

_kept: dict[tuple[bytes, bytes, tuple[int, ...]], NDArray[np.float32]] = {}
_owner, _bytes, _asked = "", 0, False


def keep_draws(owner: str) -> None:
    """Let go of all draws but those of an owner; "" is none."""
    global _owner, _bytes
    if owner != _owner:
        _kept.clear()
        _owner, _bytes = owner, 0


@contextmanager
def draws_in_common(owner: str) -> Iterator[None]:
    """A block whose draws are taken from those that this owner's earlier blocks have left, and left to later ones.

    They stay until another owner asks: what else runs in this process neither finds nor adds any.
    """
    global _asked
    keep_draws(owner)
    _asked = True
    try:
        yield
    finally:
        _asked = False


def standard_normals(keys: Words, numbers: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`aocsim.solve.draws.fill_counted` in single precision, drawn now or kept: not to be written to.

    Args:
        keys: `key_schedule`.
        numbers: (draws, 3).
        shape: of the result; its first axes hold the draws.
    """
    global _bytes
    told = (keys.tobytes(), numbers.tobytes(), shape)
    found: NDArray[Any] | None = _kept.get(told) if _asked else None
    if found is None:
        found = np.empty(shape, dtype=np.float32)
        if found.size:
            fill_counted(keys, numbers, found.reshape(len(numbers), -1))
        if _asked and found.nbytes <= LARGEST and _bytes + found.nbytes <= KEPT:
            _kept[told] = found
            _bytes += found.nbytes
    return found
