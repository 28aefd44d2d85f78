"""What a bench is asked for: numbers of the right kind and shape, or one clear refusal.

numpy would take much that is meant otherwise: text that looks like a number, True for 1, the real part of a complex
number. What comes from a program that somebody writes at the bench is checked here, before anything is done with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError

Array = NDArray[np.float64]


def array(key: str, values: object, shape: Sequence[int | None]) -> Array:
    """Finite numbers of this shape, copied; None stands for any length but 0.

    Raises:
        InputError: no real numbers, rows of different lengths, another shape, or not finite.
    """
    out = plain(key, values)
    if out.dtype.kind not in "iuf":
        raise InputError("not real numbers", key=key, got=values)
    fits = out.ndim == len(shape) and all(
        length > 0 if wanted is None else length == wanted
        for length, wanted in zip(out.shape, shape, strict=True)
    )
    if not fits:
        allowed = ", ".join("any" if wanted is None else str(wanted) for wanted in shape)
        raise InputError(
            "wrong shape", key=key, got=out.shape, allowed=f"({allowed}{',' * (len(shape) == 1)})"
        )
    found = np.array(out, dtype=float)
    if not np.isfinite(found).all():
        raise InputError("not finite", key=key, got=float(found[~np.isfinite(found)].flat[0]))
    return found


def plain(key: str, values: object) -> NDArray[Any]:
    """Values as an array of whatever type they have.

    Raises:
        InputError: rows of different lengths.
    """
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError("no regular array of numbers", key=key, got=values) from error


def number(
    key: str, value: object, lowest: float = -math.inf, highest: float = math.inf, unit: str = ""
) -> float:
    """A finite number from `lowest` to `highest`.

    Raises:
        InputError: something else.
    """
    allowed = f"{lowest:.6g} to {highest:.6g}{unit and ' '}{unit}" if math.isfinite(highest) else None
    if allowed is None and math.isfinite(lowest):
        allowed = f"at least {lowest:.6g}{unit and ' '}{unit}"
    # a numpy array of one number counts as that number, as with numpy's own functions
    item = value.item() if isinstance(value, np.ndarray | np.generic) and value.ndim == 0 else value
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise InputError("must be a number", key=key, got=value, allowed=allowed)
    if not lowest <= item <= highest or not math.isfinite(item):
        raise InputError("not allowed", key=key, got=item, allowed=allowed)
    return float(item)


def count(key: str, value: object) -> int:
    """A whole number, at least 1.

    Raises:
        InputError: something else.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError("must be a whole number, at least 1", key=key, got=value)
    return int(value)
