"""Digital fixed points for many samples of a wide network, so many at a time as the memory likes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.methods import Stepping
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import PhysicsError

Array = NDArray[np.float64]

AT_ONCE = 2**28  # bytes of the layers' jacobians
COPIES = 3  # of the largest layer's, side by side
WHOLE_UNITS = 48
"""Networks of up to so many units are solved for all samples at once."""


def bytes_of(layout: tuple[int, ...], samples: int) -> float:
    """What `fixed_points` takes beside its result, for layers between blocks of these sizes."""
    largest = max(a * b for a, b in zip(layout, layout[1:] + layout[:1], strict=True))
    return 8.0 * COPIES * largest * _at_once(layout, samples)


def _at_once(layout: tuple[int, ...], samples: int) -> int:
    if sum(layout) <= WHOLE_UNITS:
        return samples
    largest = max(a * b for a, b in zip(layout, layout[1:] + layout[:1], strict=True))
    return min(samples, max(1, int(AT_ONCE // (8 * COPIES * largest))))


def fixed_points(operator: BlockOperator, x: Array, t: float) -> Array:
    """`operator.fixed_point` of samples (samples, d) at a diffusion time, (samples, units).

    Raises:
        PhysicsError: a sample without fixed point.
    """
    size = _at_once(operator.layout, len(x))
    if size >= len(x):
        return operator.fixed_point(x, t)
    out = np.empty((len(x), operator.units))
    for start in range(0, len(x), size):
        here = slice(start, start + size)
        try:
            out[here] = operator.fixed_point(x[here], t)
        except PhysicsError as error:
            raise PhysicsError(f"samples from {start} on: {error}") from error
    return out


def ideal_states(stepping: Stepping, x0: Array) -> Array:
    """Points after every solve, digitally, without the noise before them, (solves, samples, d).

    Raises:
        PhysicsError: a solve has no fixed point.
    """
    points = [x0]
    for k in range(stepping.solves):
        x, t = stepping.ask(points)
        try:
            operator = stepping.operator_of(k)
            found = fixed_points(operator, x, t)[:, operator.result]
        except PhysicsError as error:
            raise PhysicsError(f"{stepping.method}, solve {k + 1} of {stepping.solves}: {error}") from error
        points.append(stepping.accept(points, found))
    return np.array(points[1:])
