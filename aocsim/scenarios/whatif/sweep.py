"""Sweeps: keys of a scenario over lists or ranges, in all combinations, side by side, or one alone at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.record import Variables
from aocsim.scenarios.whatif.axes import Axis, axis_of, names_of
from aocsim.scenarios.whatif.engine import check_count
from aocsim.scenarios.whatif.points import Point, changed, point
from aocsim.scenarios.whatif.schema import Sweep
from aocsim.scenarios.whatif.store import Found
from aocsim.scenarios.whatif.tables import (
    Laid,
    column,
    counts,
    figure_names,
    figures_over,
    notes_of,
    shown,
)

POINT = "point"
MOST_DIMENSIONS = 3
"""Of which there is a picture."""


def axes_of(scenario: Sweep, library: Library) -> list[Axis]:
    """The axes, in the order of the file.

    Raises:
        InputError: whatever is wrong with one, or ranges of different lengths side by side.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    axes = [axis_of(key, values, spec) for key, values in scenario.vary.items()]
    if scenario.design == "zip" and len({len(axis) for axis in axes}) > 1:
        told = ", ".join(f"{axis.key} {len(axis)}" for axis in axes)
        raise InputError("values side by side must be equally many", key="vary", got=told)
    return axes


def lay_out(scenario: Sweep, library: Library) -> list[Point]:
    """All points, the last axis fastest.

    Raises:
        InputError: nothing to run, too much, a key that is none, or a value that every combination refuses.
    """
    axes = axes_of(scenario, library)
    check_count(scenario, _count(scenario, axes))
    _check_values(scenario, axes, library)
    out = []
    for index in _indices(scenario, axes):
        varied = [(axis, k) for axis, k in zip(axes, index, strict=True) if k is not None]
        changes = {axis.key: axis.values[k] for axis, k in varied}
        place = {axis.key: _label(axis, k) for axis, k in varied}
        out.append(point(place, changed(scenario.base, changes, library), library))
    return out


def _count(scenario: Sweep, axes: Sequence[Axis]) -> int:
    sizes = list(map(len, axes))
    return {"product": math.prod(sizes), "zip": sizes[0], "alone": sum(sizes)}[scenario.design]


def _indices(scenario: Sweep, axes: Sequence[Axis]) -> Iterable[tuple[int | None, ...]]:
    """For each point the place on each axis; None where the scenario's own value stays."""
    if scenario.design == "zip":
        return [(k,) * len(axes) for k in range(len(axes[0]))]
    if scenario.design == "product":
        return itertools.product(*(range(len(axis)) for axis in axes))
    return [
        tuple(k if other == one else None for other in range(len(axes)))
        for one, axis in enumerate(axes)
        for k in range(len(axis))
    ]


def _check_values(scenario: Sweep, axes: Sequence[Axis], library: Library) -> None:
    """Every value beside the first ones of the other axes, before anything is run: a slip is told with its key."""
    firsts = {axis.key: axis.values[0] for axis in axes}
    for axis in axes:
        for value in axis.values:
            try:
                changed(scenario.base, {**firsts, axis.key: value}, library)
            except InputError as error:
                raise error.located(key=axis.key) from None


def _label(axis: Axis, k: int) -> str | float:
    label = axis.labels[k]
    return label if isinstance(label, str) else float(label)


def lay(scenario: Sweep, library: Library, found: Sequence[Found]) -> Laid:
    """Figures over the swept dimensions."""
    figures = shown(scenario, found)
    axes = axes_of(scenario, library)
    names = names_of(axes, {*figure_names(found), "error", POINT})
    product = scenario.design == "product"
    dims = tuple(names[axis.key] for axis in axes) if product else (POINT,)
    shape = tuple(map(len, axes)) if product else (len(found),)
    coordinates: Variables = {
        names[axis.key]: (
            dims if not product else (names[axis.key],),
            np.array(axis.labels),
            axis.unit,
            axis.key,
        )
        for axis in axes
    }
    if scenario.design == "alone":
        coordinates = _alone(axes)
    summary = counts(found)
    for name in figures:
        values = column(found, name)
        if np.isfinite(values).any():
            summary |= {f"{name}_min": float(np.nanmin(values)), f"{name}_max": float(np.nanmax(values))}
    notes = notes_of(found)
    if len(dims) > MOST_DIMENSIONS:
        notes.append(f"{len(dims)} dimensions are more than a page has: there is no picture.")
    return Laid(figures_over(dims, shape, found), coordinates, summary, notes, figures)


def _alone(axes: Sequence[Axis]) -> Variables:
    """What is varied at each point, and its value as a number and as text."""
    rows = [(axis, k) for axis in axes for k in range(len(axis))]
    return {
        "varied": ((POINT,), np.array([axis.key for axis, _ in rows]), "1", "key that is varied"),
        "number": (
            (POINT,),
            np.array([axis.labels[k] if axis.is_numeric else np.nan for axis, k in rows], dtype=np.float64),
            "1",
            "its value, in the unit named by `unit`",
        ),
        "unit": ((POINT,), np.array([axis.unit for axis, _ in rows]), "1", "SI unit of the value"),
        "value": (
            (POINT,),
            np.array([str(axis.values[k]) for axis, k in rows]),
            "1",
            "its value as it was set",
        ),
    }
