r"""White noise of a loop as arrays: where it arises, how strong it is, and which pole takes it first.

A source of one-sided density S(x), x the signal where it stands, has two-sided S/2. Scales and laws carry it on, these
by their slope at the operating point, with the gain G to the first pole behind it, of rate r, where it is white noise

.. math:: \mathrm d y = \dots + \sqrt{q}\,\mathrm dW, \qquad q = r^2 G^2 S(x)/2 .

Between the source and that pole there may be no matrix: it would correlate the channels. Densities are functions of
Python's. For compiled code each becomes, channel by channel, a parabola in the signal that does not fall below its
lowest value at either end of the signal's range: what shot noise of a current that cannot be negative is. It is held
to the function at further points.

That range is found by following the arms with node voltages within `REACH` of zero, laws no farther than their tables
go. Beyond it the parabola goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import SUM, Loop, Step
from aocsim.solve.flat import INDEX, OTHER, SOURCE, Flat
from aocsim.stages import Affine, Delay, Elementwise, Noise, Pole, Scale, Stage

Array = NDArray[Any]
Range = tuple[Array, Array]

REACH = 10.0  # V at a node: beyond any rail
POINTS = 33  # at which a parabola is held to its density
WITHIN = 1e-6  # of the density
OF_LARGEST = 1e-12  # of the largest density, where it falls to nothing


class White(NamedTuple):
    """Sources of white noise, and filters whose output reaches the node channel by channel.

    A leading axis of length 1 before the channels is common to all solves. Laws on a way are triples of input, use and
    table as in `Flat.steps`, filled up with triples of table -1.

    Attributes:
        sources: (sources, 2) where the signal is found, as a source in `Flat.steps`, and the block of the pole.
        density: (sources, 4, 1 or solves, n) parabola q = d_0 + d_1 x + d_2 x^2, and what it does not fall below,
            without the slopes of laws.
        laws: (sources, laws, 3) between source and pole.
        filters: (filters,) blocks.
        coupling: (filters, 1 or solves, n) 1/s from a filter's state to d(node)/dt, without the slopes of laws.
        behind: (filters, laws, 3) between filter and node.
    """

    sources: NDArray[np.int64]
    density: Array
    laws: NDArray[np.int64]
    filters: NDArray[np.int64]
    coupling: Array
    behind: NDArray[np.int64]


class _Path(NamedTuple):
    """Stages in signal order, the steps they are merged into, the signal's code behind the last, and its ranges."""

    name: str
    stages: Sequence[Stage]
    steps: list[Step]
    end: int
    ranges: list[Range]


class _Way(NamedTuple):
    """How a signal goes on: laws it passes, the gain of all else with the pole's rate, and the pole's block."""

    laws: list[tuple[int, int, int]]
    gain: Array
    block: int


def white_of(loop: Loop, flat: Flat, drive: Array) -> White:
    """Sources and filters of a loop.

    Args:
        loop: without dead time.
        flat: of this loop.
        drive: (solves, n) V at the nodes.

    Raises:
        PhysicsError: a source whose noise passes a matrix before a pole, reaches several poles, or has a density that
            is no such parabola.
    """
    rows = {id(step): row for step, row in zip(loop.plan[0], flat.steps, strict=True)}
    arms, node = _paths(loop, flat, drive)
    densities, source_rows, source_laws = [], [], []
    known: dict[tuple[int, ...], int] = {}
    for path in (*arms, node):
        behind = [] if path is node else node.steps
        for at, noise in enumerate(path.stages):
            if not isinstance(noise, Noise):
                continue
            done, gain, shift = _merged_with(path, at)
            if gain is None:
                raise PhysicsError(_through_matrix(noise, path))
            signal = int(rows[id(path.steps[done])][SOURCE]) if done < len(path.steps) else path.end
            way = _way([*path.steps[done:], *behind], rows, loop.channels)
            if way is None:
                raise PhysicsError(_through_matrix(noise, path))
            name = (path is node, *(id(stage) for stage in path.stages[: at + 1]))
            if name in known:
                if known[name] == way.block > 0:
                    continue  # arms that share source and pole
                raise PhysicsError(
                    f"noise {noise.name!r} reaches the node by several ways before it meets a pole: "
                    "give each arm a source of its own"
                )
            known[name] = way.block
            c0, c1, c2, least = _parabola(noise, *path.ranges[at])
            # in the signal y = gain x + shift behind the stages it is merged with
            squared = [c0 * gain**2 - c1 * gain * shift + c2 * shift**2, c1 * gain - 2 * c2 * shift, c2]
            densities.append([term * way.gain**2 / 2 for term in (*squared, least * gain**2)])
            source_rows.append([signal, way.block])
            source_laws.append(way.laws)
    filters, couplings, laws_behind = [], [], []
    for path in arms:
        for k, step in enumerate(path.steps):
            way = _way([*path.steps[k + 1 :], *node.steps], rows, loop.channels)
            shared = sum(step in other.steps for other in arms) > 1
            if isinstance(step.stage, Pole) and not shared and way is not None and way.block == 0:
                filters.append(step.block)
                couplings.append(way.gain)
                laws_behind.append(way.laws)
    return White(
        np.array(source_rows, dtype=np.int64).reshape(-1, 2),
        _stacked(densities, 4, loop.channels),
        _filled(source_laws),
        np.array(filters, dtype=np.int64),
        _stacked([[gain] for gain in couplings], 1, loop.channels)[:, 0],
        _filled(laws_behind),
    )


def _paths(loop: Loop, flat: Flat, drive: Array) -> tuple[list[_Path], _Path]:
    """The arms, and what is behind their sum."""
    plan, outputs = loop.plan
    before = {step.target: step for step in plan}
    reach = np.full((1, loop.channels), REACH)
    arms = []
    lower, upper = drive, drive
    for arm, register, code in zip(loop.arms, outputs, flat.outputs, strict=True):
        ranges = _ranges(arm.stages, (-reach, reach))
        arms.append(_Path(f"arm {arm.name!r}", arm.stages, _chain(before, register), int(code), ranges))
        lower, upper = lower + ranges[-1][0], upper + ranges[-1][1]
    ranges = _ranges(loop.node, (lower, upper))
    return arms, _Path("the node", loop.node, _chain(before, plan[-1].target), SUM, ranges)


def _chain(before: dict[int, Step], register: int) -> list[Step]:
    """The steps that lead to a register, from the sum or from the arm's input."""
    out: list[Step] = []
    while register in before:
        out.insert(0, before[register])
        register = out[0].source
    return out


def _merged_with(path: _Path, at: int) -> tuple[int, Array | None, Array]:
    """The steps that are done where a source stands.

    Linear neighbours are one step: the signal is found behind the last of them, as gain x + shift.

    Returns:
        Number of steps, gain and shift, (1 or solves, n or 1); the gain is None if the rest of the step is a matrix.
    """
    done, straight = 0, False
    for stage in path.stages[:at]:
        if not isinstance(stage, Noise | Delay):
            done += not (straight and isinstance(stage, Affine | Scale))
            straight = isinstance(stage, Affine | Scale)
    gain, shift = np.ones((1, 1)), np.zeros((1, 1))
    for stage in path.stages[at + 1 :] if straight else ():
        if isinstance(stage, Affine):
            return done, None, shift
        if isinstance(stage, Scale):
            one = np.atleast_2d(stage.gain)
            gain, shift = gain * one, shift * one + np.atleast_2d(stage.offset)
        elif not isinstance(stage, Noise | Delay):
            break
    return done, gain, shift


def _way(steps: Sequence[Step], rows: dict[int, NDArray[np.int64]], n: int) -> _Way | None:
    """How a signal goes on to the first pole; None if there is a matrix before it."""
    laws: list[tuple[int, int, int]] = []
    gain: Array = np.ones((1, n))
    for step in steps:
        stage, row = step.stage, rows[id(step)]
        if isinstance(stage, Affine):
            return None
        if isinstance(stage, Pole):
            return _Way(laws, gain * stage.rate, step.block)
        if isinstance(stage, Scale):
            gain = gain * np.atleast_2d(stage.gain)
        else:
            laws.append((int(row[SOURCE]), int(row[INDEX]), int(row[OTHER])))
    raise AssertionError("the node ends with a pole")


def _through_matrix(noise: Noise, path: _Path) -> str:
    return (
        f"noise {noise.name!r} in {path.name} passes a matrix before it meets a pole, which correlates the channels: "
        "put it behind the matrix, or a pole before the matrix"
    )


def _ranges(stages: Sequence[Stage], start: Range) -> list[Range]:
    """Least and largest signals before each stage, and behind the last, (1 or solves, n) each.

    Each solve has its own where parameters are its own, so that it does not matter who else is there.
    """
    out = [start]
    for stage in stages:
        lower, upper = out[-1]
        if isinstance(stage, Affine):
            up, down = np.maximum(stage.whole, 0), np.minimum(stage.whole, 0)
            ends = _times(up, lower) + _times(down, upper), _times(up, upper) + _times(down, lower)
            ends = ends[0] + stage.offset, ends[1] + stage.offset
        elif isinstance(stage, Scale):
            one, other = stage.response(lower), stage.response(upper)
            ends = np.minimum(one, other), np.maximum(one, other)
        elif isinstance(stage, Elementwise):
            add, law = np.asarray(stage.offset_in), stage.law
            into = np.where(np.asarray(stage.gain_in) == 0, 1e-300, stage.gain_in)
            one, other = (law.lower - add) / into, (law.upper - add) / into
            signal = np.clip(
                np.linspace(lower, upper, POINTS), np.minimum(one, other), np.maximum(one, other)
            )
            values = stage.response(signal)
            ends = values.min(axis=0), values.max(axis=0)
        else:
            ends = lower, upper
        out.append(ends)
    return out


def _times(matrix: Array, x: Array) -> Array:
    """Product of each solve's matrix and signal, (1 or solves, n)."""
    return np.asarray(np.matmul(matrix, x[..., None])[..., 0])


def _parabola(noise: Noise, lower: Array, upper: Array) -> tuple[Array, Array, Array, Array]:
    """Density c_0 + c_1 x + c_2 x^2 and what it does not fall below, for a signal within a range.

    Args:
        noise: the source.
        lower: (1 or solves, n).
        upper: (1 or solves, n).

    Returns:
        c_0, c_1, c_2 and the least density, shape of `lower`.

    Raises:
        PhysicsError: the density is negative, not finite, or no such function.
    """
    span = upper - lower
    t = np.linspace(0.0, 1.0, POINTS)[:, None, None]
    values = np.asarray(np.broadcast_to(noise.density(lower + t * span), (POINTS, *span.shape)), dtype=float)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise PhysicsError(f"noise {noise.name!r}: its density is negative or not finite")
    # through three points of the eighth where the density is larger: a limit at the other end leaves it alone
    rises = values[-1] >= values[0]
    k = POINTS // 8
    end, middle, start = (np.where(rises, values[-1 - j], values[j]) for j in (0, k // 2, k))
    h = k / 2 / (POINTS - 1)
    bend = (end - 2 * middle + start) / (2 * h**2)
    slope = (3 * end - 4 * middle + start) / (2 * h)  # towards the larger end, there
    least = np.minimum(values[0], values[-1])
    least = np.where(least <= values.min(axis=0), least, 0.0)
    away = np.where(rises, t - 1, -t)  # from the larger end, backwards
    fitted = np.maximum(end + slope * away + bend * away**2, least)
    excess = np.abs(fitted - values) - (WITHIN * values + OF_LARGEST * values.max(axis=0))
    if (excess > 0).any():
        _, solve, channel = np.unravel_index(np.argmax(excess), excess.shape)
        raise PhysicsError(
            f"noise {noise.name!r}: the density in channel {channel} is no parabola in the signal between "
            f"{lower[solve, channel]:.4g} and {upper[solve, channel]:.4g}, within {WITHIN:g} of it"
        )
    wide = span > 0
    scale, at = np.where(wide, span, 1.0), np.where(rises, upper, lower)
    slope = np.where(wide, np.where(rises, slope, -slope) / scale, 0.0)
    bend = np.where(wide, bend / scale**2, 0.0)
    return end - slope * at + bend * at**2, slope - 2 * bend * at, bend, least


def _stacked(values: Sequence[Sequence[Array]], each: int, n: int) -> Array:
    """(len(values), each, 1 or solves, n)."""
    solves = max([1, *(len(array) for group in values for array in group if array.ndim == 2)])
    out = np.empty((len(values), each, solves, n))
    for place, group in zip(out, values, strict=True):
        for row, array in zip(place, group, strict=True):
            row[:] = array
    return out


def _filled(laws: Sequence[Sequence[tuple[int, int, int]]]) -> NDArray[np.int64]:
    """(len(laws), longest, 3)."""
    out = np.full((len(laws), max([0, *map(len, laws)]), 3), -1, dtype=np.int64)
    for place, triples in zip(out, laws, strict=True):
        place[: len(triples)] = np.array(triples).reshape(-1, 3)
    return out
