"""Figures of many points as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from aocsim.law import Array
from aocsim.record import Variables
from aocsim.scenarios.attributes import unit_of
from aocsim.scenarios.whatif.schema import WhatIf, known_figure
from aocsim.scenarios.whatif.store import Found

if TYPE_CHECKING:
    import xarray

FEW = 3


@dataclass(frozen=True, eq=False)
class Laid:
    """What a study's dataset is made of.

    Attributes:
        variables, coordinates: as `aocsim.record.assemble` takes them.
        summary: flat figures.
        notes: what a reader has to know.
        figures: of the scenario's summary, that the picture shows.
    """

    variables: Variables
    coordinates: Variables
    summary: dict[str, float]
    notes: list[str] = field(default_factory=list)
    figures: tuple[str, ...] = ()


def figure_names(found: Iterable[Found]) -> list[str]:
    """All figures that any point has, in the order of the first that has them."""
    return list(dict.fromkeys(name for one in found for name in one.summary))


def check_figures(names: Sequence[str], found: Sequence[Found], key: str = "figures") -> None:
    """Refuse figures that no point has.

    Raises:
        InputError: names the nearest.
    """
    known = dict.fromkeys(figure_names(found))
    for name in names:
        known_figure(name, known, key)


def shown(scenario: WhatIf, found: Sequence[Found]) -> tuple[str, ...]:
    """Figures that the picture shows: those asked for, else the usual ones that are there, else the first few.

    Raises:
        InputError: one that was asked for is none of the summary.
    """
    check_figures(scenario.shown, found)
    known = figure_names(found)
    usual = tuple(name for name in scenario.usual if name in known)
    return scenario.figures or usual or tuple(known[:FEW])


def column(found: Sequence[Found], name: str) -> Array:
    """One figure of all points, nan where there is none."""
    values = [one.summary.get(name) for one in found]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def figures_of(data: xarray.Dataset) -> dict[str, None]:
    """Names of the figures that a study's dataset has of each point: its numbers, not why there are none."""
    dims = data["error"].dims
    return {
        str(name): None for name, one in data.data_vars.items() if one.dims == dims and one.dtype.kind == "f"
    }


def figures_over(dims: tuple[str, ...], shape: tuple[int, ...], found: Sequence[Found]) -> Variables:
    """Every figure, the error and the wall time of each point, over the study's dimensions."""
    out = {
        name: (dims, column(found, name).reshape(shape), unit_for(name), f"{name} of each point's summary")
        for name in figure_names(found)
    }
    errors = np.array([one.error for one in found], dtype=object).reshape(shape)
    return out | {
        "error": (dims, errors.astype(str), "1", "why a point was impossible; empty where it was not")
    }


def unit_for(name: str) -> str:
    """Unit of a figure, as a variable of a dataset has it."""
    unit = unit_of(name)
    return "1" if unit == "-" else unit


def notes_of(found: Sequence[Found]) -> list[str]:
    """How many points were impossible, and why the first one was."""
    failed = [one.error for one in found if one.error]
    if not failed:
        return []
    return [f"{len(failed)} of {len(found)} points were impossible; the first one: {failed[0]}"]


def counts(found: Sequence[Found]) -> dict[str, float]:
    """Number of points, and of impossible ones."""
    return {"points": float(len(found)), "failed": float(sum(bool(one.error) for one in found))}
