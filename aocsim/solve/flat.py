"""A loop as arrays: what compiled kernels read instead of stages.

The plan of one evaluation of the right-hand side becomes a table of numbers, and the stages' parameters become
stacked arrays. One interpreter serves every loop that stages can express: a new part in a sheet adds rows to these
arrays, never code. Each row is carried out for a block of solves at once, so that reading it costs nothing.

States are kept as (poles, solves, n) inside the kernels: what a matrix multiplies lies in one piece.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aocsim.law import Law
from aocsim.loop import SUM, Loop
from aocsim.solve.transposes import transpose
from aocsim.stages import Affine, Delay, Elementwise, Noise, Pole, Scale

Array = NDArray[Any]

SINGLE = np.dtype(np.float32)

# kinds of steps
TABLE, SHARED_MATRIX, OWN_MATRIX, SCALE, POLE = range(5)
# columns of `steps`
KIND, SOURCE, TARGET, INDEX, OTHER = range(5)
# a source below SUM is the state of a pole: STATE - block
STATE = -2


class TooWideError(ValueError):
    """A signal inside an arm has more channels than the loop: kernels keep all signals at the loop's width."""


class Flat(NamedTuple):
    """A loop's plan and parameters; floating-point arrays share one type. A leading axis of 1 is common to all solves.

    Attributes:
        steps: (steps, 5) kind, source, target, index of the parameters, and the table or the pole's block.
        outputs: (arms,) sources that are summed at the node.
        registers: (1,) number of signals that are kept during an evaluation, those of `lags` first.
        coefficients: (places, 4) of all law tables, one behind the other, each between the straight lines that
            continue it: place k holds from s = k to k + 1, the first from minus, the last to plus infinity.
        tables: (tables, 2) first place and number of places.
        elementwise: (uses, 4, n) a and b of the place s = a x + b of a signal in its table, gain_out, offset_out.
        shared: (matrices, n, n) transposed, common to all solves.
        own: (matrices, solves, n, n) transposed, one for each solve; may be in single precision while others are not.
        offsets: (matrices, 1 or solves, n) behind the shared matrices, then behind the others.
        gains: (scales, 1 or solves, n).
        shifts: (scales, 1 or solves, n).
        rates: (poles, n) 1/s.
    """

    steps: NDArray[np.int64]
    outputs: NDArray[np.int64]
    registers: NDArray[np.int64]
    coefficients: Array
    tables: NDArray[np.int64]
    elementwise: Array
    shared: Array
    own: Array
    offsets: Array
    gains: Array
    shifts: Array
    rates: Array


def flatten(loop: Loop, precision: type[np.floating[Any]] = np.float64) -> Flat:
    """The loop's plan and parameters.

    Args:
        loop: whose stages may carry a leading axis over solves.
        precision: of all parameters, float64 or float32.

    Raises:
        TooWideError: a signal inside an arm has more channels than the loop.
    """
    n = loop.channels
    steps, outputs = loop.plan
    blocks: dict[int, int] = {}
    laws: dict[int, int] = {}
    tables: list[Law] = []
    uses: list[Elementwise] = []
    shared: list[Affine] = []
    own: list[Affine] = []
    scales: list[Scale] = []
    rates = np.empty((loop.blocks, n))
    rows: list[list[int]] = []

    def source(register: int) -> int:
        # a pole's output is its state; without dead time the arms' input is the node's
        if register in blocks:
            return STATE - blocks[register]
        if register == 0 and not loop.delayed:
            return STATE
        return register

    for step in steps:
        stage, where = step.stage, [source(step.source) if step.source != SUM else SUM, step.target]
        if isinstance(stage, Elementwise):
            if id(stage.law) not in laws:
                laws[id(stage.law)] = len(tables)
                tables.append(stage.law)
            rows.append([TABLE, *where, len(uses), laws[id(stage.law)]])
            uses.append(stage)
        elif isinstance(stage, Affine):
            # one for all solves, however it is written
            if stage.matrix.shape[:-2] == (1,) and np.ndim(stage.gain) < 2:
                stage = Affine(stage.matrix[0], stage.offset, stage.gain)
            kind, group = (SHARED_MATRIX, shared) if stage.matrix.ndim == 2 else (OWN_MATRIX, own)
            rows.append([kind, *where, len(group), 0])
            group.append(stage)
        elif isinstance(stage, Scale):
            rows.append([SCALE, *where, len(scales), 0])
            scales.append(stage)
        elif isinstance(stage, Pole):
            blocks[step.target] = step.block
            rates[step.block] = stage.rate
            rows.append([POLE, *where, 0, step.block])
        else:
            assert isinstance(stage, Noise | Delay)
            raise AssertionError("the plan holds neither noise nor dead time")
    places = [_continued(law) for law in tables]
    edges = np.cumsum([0, *(len(place) for place in places)])

    def real(values: object, shape: tuple[int, ...]) -> Array:
        return np.ascontiguousarray(np.asarray(values, dtype=precision).reshape(shape))

    affine = [*shared, *own]
    solves = max([1, *(max(len(stage.matrix), len(np.atleast_2d(stage.gain))) for stage in own)])
    return Flat(
        np.array(rows, dtype=np.int64).reshape(-1, 5),
        np.array([source(register) for register in outputs], dtype=np.int64),
        np.array([1 + max([len(loop.lags) - 1, *(step.target for step in steps)])], dtype=np.int64),
        real(np.concatenate(places) if places else [], (-1, 4)),
        np.stack([edges[:-1], np.diff(edges)], axis=1).astype(np.int64).reshape(-1, 2),
        real([_four(stage, n) for stage in uses], (-1, 4, n)),
        _transposed(shared, (n, n), precision),
        _own_transposed(own, solves, n, precision),
        _per_solve([stage.offset for stage in affine], n, precision),
        _per_solve([stage.gain for stage in scales], n, precision),
        _per_solve([stage.offset for stage in scales], n, precision),
        real(rates, (-1, n)),
    )


def _transposed(stages: list[Affine], shape: tuple[int, ...], precision: type[np.floating[Any]]) -> Array:
    """Matrices (stages, *shape), each transposed."""
    out = np.empty((len(stages), *shape), dtype=precision)
    for place, stage in zip(out, stages, strict=True):
        place[...] = _padded(np.swapaxes(stage.whole, -1, -2), shape[-1], 2)
    return out


def _own_transposed(stages: list[Affine], solves: int, n: int, precision: type[np.floating[Any]]) -> Array:
    """Matrices (stages, solves, n, n), with their gains and transposed.

    Those that are given in single precision stay so: reading them is what an evaluation costs.
    """
    kinds = {stage.matrix.dtype for stage in stages}
    out = np.empty((len(stages), solves, n, n), dtype=SINGLE if kinds == {SINGLE} else precision)
    for place, stage in zip(out, stages, strict=True):
        matrix, gain = _padded(stage.matrix, n, 2), _per_solve([stage.gain], n, np.float64)[0]
        transpose(np.ascontiguousarray(np.broadcast_to(matrix, place.shape)), gain, place)
    return out


def _padded(values: Array, n: int, axes: int) -> Array:
    """Values with the last axes filled up with zeros to length n: signals narrower than the loop."""
    short = [n - length for length in values.shape[-axes:]]
    if any(missing < 0 for missing in short):
        raise TooWideError(f"a signal of {n - min(short)} channels inside a loop of {n}")
    if not any(short):
        return values
    return np.pad(values, [(0, 0)] * (values.ndim - axes) + [(0, missing) for missing in short])


def _continued(law: Law) -> Array:
    """The law's coefficients between those of the straight lines that continue it, (intervals + 2, 4)."""
    c = law.coefficients
    end, slope = c[-1].sum(), c[-1, 1:] @ [1.0, 2.0, 3.0]
    return np.concatenate([[[c[0, 0] - c[0, 1], c[0, 1], 0.0, 0.0]], c, [[end, slope, 0.0, 0.0]]])


def _four(stage: Elementwise, n: int) -> Array:
    law = stage.law
    per_unit = len(law.coefficients) / (law.upper - law.lower)
    # the table's own first interval is the second place
    place = (stage.gain_in * per_unit, (stage.offset_in - law.lower) * per_unit + 1)
    given = (*place, stage.gain_out, stage.offset_out)
    return np.stack([_over_channels(np.asarray(g, dtype=float), n) for g in given])


def _over_channels(values: Array, n: int) -> Array:
    return np.broadcast_to(values, n) if values.size == 1 else _padded(values, n, 1)


def _per_solve(values: list[Array | float], n: int, precision: type[np.floating[Any]]) -> Array:
    """Stack of (n,) or (solves, n) values; all get a solve axis where one of them has it."""
    arrays = [np.atleast_2d(np.asarray(value, dtype=float)) for value in values]
    solves = max([1, *(len(array) for array in arrays)])
    out = np.empty((len(arrays), solves, n), dtype=precision)
    for place, array in zip(out, arrays, strict=True):
        place[:] = array if array.shape[1] == 1 else _padded(array, n, 1)
    return out


def to_blocks(state: Array, channels: int) -> Array:
    """(solves, N) as (poles, solves, n), in one piece."""
    solves = len(state)
    return np.ascontiguousarray(np.swapaxes(state.reshape(solves, -1, channels), 0, 1))


def from_blocks(state: Array) -> Array:
    """(poles, solves, n) as (solves, N)."""
    return np.ascontiguousarray(np.swapaxes(state, 0, 1)).reshape(state.shape[1], -1)
