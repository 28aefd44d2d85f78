"""The loop's right-hand side for other libraries: the same physics, written once over a few array operations.

A `Loop` becomes a list of operations and a dict of numpy arrays. A library brings its array operations (`Ops`) and
the arrays in its own kind; `right_hand_side` then is a pure function that it may trace, compile and batch.

Laws come as they are, "table" (piecewise cubic, four gathers), or "smooth": a polynomial, in tanh for a law that
saturates, over the range that the signals visit, within 3e-7 of the law's swing; a law that no polynomial follows stays
a table. Optical arms that end at the node
are one product with a matrix of twice the width. Time counts in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from aocsim.law import Law
from aocsim.loop import SUM, Loop
from aocsim.stages import Affine, Elementwise, Noise, Pole, Scale

Array = NDArray[np.float64]

SECOND = 1e6  # microseconds
FIT = 3e-7  # of a law's swing over its range
MARGIN = 0.05  # of the visited range, on both sides
HIGHEST_DEGREE = 30
TANH_WORTH = 8  # of the degrees that a tanh has to save


@dataclass(frozen=True)
class Ops:
    """Array operations of a library.

    Attributes:
        clip: (x, low, high).
        index: (x, highest) to integers in [0, highest], x not negative.
        take: (table (k,), indices).
        shared: (x (..., m), matrix (m, n)) to (..., n).
        own: (x (..., m), matrix (..., n, m)) to (..., n).
        join: arrays along the last axis.
        real: integers to float64.
        tanh: elementwise.
    """

    clip: Callable[[Any, float, float], Any]
    index: Callable[[Any, int], Any]
    take: Callable[[Any, Any], Any]
    shared: Callable[[Any, Any], Any]
    own: Callable[[Any, Any], Any]
    join: Callable[[list[Any]], Any]
    real: Callable[[Any], Any]
    tanh: Callable[[Any], Any]


@dataclass(frozen=True)
class Operation:
    """One operation: kind table, smooth, affine, scale or pole; registers in and out; names of its arrays begin
    with `key`; `numbers` are constants of its law; `block` is the pole's."""

    kind: str
    sources: tuple[int, ...]
    target: int
    key: str
    numbers: tuple[float, ...] = ()
    block: int = 0


@dataclass(frozen=True, eq=False)
class Translation:
    """Operations, their arrays (those in `own` have a leading axis over trajectories), and what the node sums."""

    channels: int
    operations: tuple[Operation, ...]
    outputs: tuple[int, ...]
    arrays: dict[str, Array]
    own: frozenset[str]
    laws: str


def translate(loop: Loop, laws: str, visited: Array) -> Translation:
    """Translate a loop.

    Args:
        loop: without dead time.
        laws: "table" or "smooth".
        visited: (..., n) V, node voltages that solutions take, for the ranges of smooth laws.
    """
    steps, outputs = loop.plan
    arrays: dict[str, Array] = {}
    operations: list[Operation] = []
    ranges = _ranges(loop, visited)
    # optical arms whose matrices end at the node are one matrix
    affine = [s for s in steps if isinstance(s.stage, Affine) and s.target in outputs]
    joined = [s.target for s in affine] if len(affine) > 1 else []
    for place, step in enumerate(steps):
        stage, key, source = step.stage, f"{place}.", (step.source,)
        if isinstance(stage, Elementwise):
            for name in ("gain_in", "offset_in", "gain_out", "offset_out"):
                arrays[key + name] = np.broadcast_to(np.asarray(getattr(stage, name), float), loop.channels)
            kind, numbers = "smooth", smooth(stage.law, *ranges[place]) if laws == "smooth" else ()
            if not numbers:
                intervals = len(stage.law.coefficients)
                kind = "table"
                numbers = (stage.law.lower, intervals / (stage.law.upper - stage.law.lower), float(intervals))
                for i in range(4):
                    arrays[f"{key}c{i}"] = stage.law.coefficients[:, i]
            operations.append(Operation(kind, source, step.target, key, numbers))
        elif isinstance(stage, Affine):
            if step.target in joined:
                if step.target != joined[-1]:
                    continue
                arrays[key + "matrix"] = np.concatenate([_whole(s.stage) for s in affine], axis=-1)
                offsets = [np.asarray(s.stage.offset, float) for s in affine]
                arrays[key + "offset"] = np.asarray(sum(offsets[1:], offsets[0]))
                source = tuple(s.source for s in affine)
            else:
                arrays[key + "matrix"] = _whole(stage)
                arrays[key + "offset"] = np.asarray(stage.offset, float)
            if arrays[key + "matrix"].ndim == 2:
                arrays[key + "matrix"] = arrays[key + "matrix"].T
            operations.append(Operation("affine", source, step.target, key))
        elif isinstance(stage, Scale):
            arrays[key + "gain"] = np.asarray(stage.gain, float)
            arrays[key + "offset"] = np.asarray(stage.offset, float)
            operations.append(Operation("scale", source, step.target, key))
        else:
            assert isinstance(stage, Pole)
            arrays[key + "rate"] = stage.rate / SECOND
            operations.append(Operation("pole", source, step.target, key, block=step.block))
    arrays = {key: np.ascontiguousarray(a, dtype=float) for key, a in arrays.items()}
    own = frozenset(
        key
        for key, a in arrays.items()
        if (key.endswith("matrix") and a.ndim == 3) or (key.endswith(("gain", "offset")) and a.ndim == 2)
    )
    left = tuple(o for o in outputs if o not in joined[:-1])
    return Translation(loop.channels, tuple(operations), left, arrays, own, laws)


def right_hand_side(plan: Translation, ops: Ops, arrays: dict[str, Any], state: Any, drive: Any) -> Any:
    """d(state)/dt in V/us for state (..., N) and drive (..., n) of the library that `ops` belongs to."""
    n = plan.channels
    z = state[..., :n]
    registers, rates = {0: z}, {}
    for op in plan.operations:
        if op.sources == (SUM,):
            x = drive
            for register in plan.outputs:
                x = x + registers[register]
        else:
            parts = [registers[source] for source in op.sources]
            x = parts[0] if len(parts) == 1 else ops.join(parts)
        if op.kind in ("table", "smooth"):
            x = arrays[op.key + "gain_in"] * x + arrays[op.key + "offset_in"]
            law = _table if op.kind == "table" else _smooth
            y = law(op, ops, arrays, x)
            registers[op.target] = arrays[op.key + "gain_out"] * y + arrays[op.key + "offset_out"]
        elif op.kind == "affine":
            product = ops.own if op.key + "matrix" in plan.own else ops.shared
            registers[op.target] = product(x, arrays[op.key + "matrix"]) + arrays[op.key + "offset"]
        elif op.kind == "scale":
            registers[op.target] = arrays[op.key + "gain"] * x + arrays[op.key + "offset"]
        else:
            y = state[..., op.block * n : (op.block + 1) * n]
            rates[op.block] = arrays[op.key + "rate"] * (x - y)
            registers[op.target] = y
    return rates[0] if len(rates) == 1 else ops.join([rates[block] for block in sorted(rates)])


def _table(op: Operation, ops: Ops, arrays: dict[str, Any], x: Any) -> Any:
    lower, per_unit, intervals = op.numbers
    # past its ends a table goes on with its end slopes; solutions here stay inside
    s = ops.clip((x - lower) * per_unit, 0.0, intervals)
    k = ops.index(s, int(intervals) - 1)
    s = s - ops.real(k)
    c = [ops.take(arrays[f"{op.key}c{i}"], k) for i in range(4)]
    return ((c[3] * s + c[2]) * s + c[1]) * s + c[0]


def _smooth(op: Operation, ops: Ops, arrays: dict[str, Any], x: Any) -> Any:
    bend, odd, lower, upper, middle, scale, straight, high, *powers = op.numbers
    if not scale:
        return straight * x + high
    inside = ops.clip(x, lower, upper)
    s = ((ops.tanh(bend * inside) if bend else inside) - middle) * scale
    by = 2.0 * s * s - 1.0 if odd else s
    y = high
    for c in powers:
        y = y * by + c
    y = y * s if odd else y
    return y + straight * x if straight else y


def smooth(law: Law, lower: float, upper: float) -> tuple[float, ...]:
    """A formula for a law between two arguments, as `_smooth` reads it.

    Returns:
        bend; whether odd; range; middle and scale of s = (tanh(bend x) or, with bend 0, x, less the middle) times
        scale; slope beside the polynomial; coefficients, the highest power first, of a polynomial in s or, odd, of s
        times one in 2 s^2 - 1. Scale 0: a straight line. Nothing where no degree up to HIGHEST_DEGREE is within FIT of
        the law.
    """
    x = np.linspace(lower, upper, 4001)
    y = law.response(x)
    allowed = FIT * float(np.ptp(y))
    slope, value = np.polyfit(x, y, 1)
    if np.abs(slope * x + value - y).max() <= allowed:
        return (0.0, 0.0, lower, upper, 0.0, 0.0, float(slope), float(value))
    # beside a straight path, a law that has saturated stays where it is
    straight = float(law.slope(np.array([law.lower, law.upper])).min())
    left = y - straight * x
    bent = np.flatnonzero(np.minimum(abs(left - left[0]), abs(left - left[-1])) > allowed / 2)
    lower, upper = float(x[max(bent[0] - 1, 0)]), float(x[min(bent[-1] + 1, len(x) - 1)])
    if abs(law.response(x) + law.response(-x)).max() < allowed * 1e-2:
        lower, upper = min(lower, -upper), max(upper, -lower)
    best: tuple[float, ...] = ()
    for bend in (0.0, 0.25, 0.5, 1.0):
        found = _fitted(law, lower, upper, bend, straight, allowed)
        # a tanh has to save some powers
        if found and (not best or len(found) < len(best) - TANH_WORTH):
            best = found
    return best


def _fitted(
    law: Law, lower: float, upper: float, bend: float, straight: float, allowed: float
) -> tuple[float, ...]:
    """The least degree in x or tanh(bend x) by a Chebyshev series; () where none will do."""
    theta = np.pi * (np.arange(1024) + 0.5) / 1024
    ends = np.array([lower, upper])
    ends = np.tanh(bend * ends) if bend else ends
    middle, reach = float(ends.mean()), float(np.ptp(ends)) / 2

    def at(s: Array) -> Array:
        x = np.arctanh(middle + reach * s) / bend if bend else middle + reach * s
        return np.asarray(law.response(x) - straight * x)

    node = np.cos(theta)
    odd = lower == -upper and abs(at(node) + at(-node)).max() < allowed * 1e-2
    s = np.sqrt((node + 1) / 2) if odd else node
    y = at(s) / s if odd else at(s)
    series = 2 / len(theta) * np.cos(np.outer(np.arange(HIGHEST_DEGREE + 1), theta)) @ y
    series[0] /= 2
    for degree in range(2, HIGHEST_DEGREE + 1):
        off = chebyshev.chebval(node, series[: degree + 1]) - y
        if np.abs(off * s if odd else off).max() <= allowed:
            powers = chebyshev.cheb2poly(series[: degree + 1])[::-1]
            return (bend, float(odd), lower, upper, middle, 1 / reach, straight, *powers.tolist())
    return ()


def _whole(stage: Affine) -> Array:
    """Matrix and gain in one, in double precision."""
    return np.asarray(stage.whole, dtype=float)


def _mean(stage: Affine | Scale) -> Affine | Scale:
    """The stage with the mean of what each trajectory has of its own."""

    def mean(value: Array | float, own: int) -> Array:
        return np.mean(value, axis=0) if np.ndim(value) == own else np.asarray(value)

    if isinstance(stage, Affine):
        return Affine(mean(stage.matrix, 3), mean(stage.offset, 2), mean(stage.gain, 2))
    return Scale(mean(stage.gain, 2), mean(stage.offset, 2))


def _ranges(loop: Loop, visited: Array) -> dict[int, tuple[float, float]]:
    """Range of each law's argument where the node takes the visited voltages and the poles have settled."""
    n = loop.channels
    z = visited.reshape(-1, n)
    z = z + MARGIN * (z - (z.min() + z.max()) / 2)
    registers = {0: z}
    found = {}
    for place, step in enumerate(loop.plan[0]):
        stage = step.stage
        x = z if step.source == SUM else registers[step.source]
        if isinstance(stage, Elementwise):
            u = stage.gain_in * x + stage.offset_in
            margin = 1e-3 * max(float(np.ptp(u)), 1e-9)
            low, high = float(u.min()) - margin, float(u.max()) + margin
            found[place] = (max(low, stage.law.lower), min(high, stage.law.upper))
        if isinstance(stage, Pole | Noise):
            registers[step.target] = x
        elif isinstance(stage, Affine | Scale):
            registers[step.target] = _mean(stage).response(x)
        else:
            registers[step.target] = stage.response(x)
    return found
