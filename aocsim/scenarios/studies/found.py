"""What a study has found, before it becomes a Dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aocsim.scenarios.studies.cases import FIGURES, Ran, failures_of, grid
from aocsim.spec import MachineSpec

Columns = dict[str, tuple[tuple[str, ...], Any, str, str]]
"""Variables by name: dimensions, values, unit and what it is, as `aocsim.record.assemble` takes them."""


@dataclass(frozen=True, eq=False)
class Found:
    """Variables, coordinates, figures of merit and notes.

    Attributes:
        variables, coordinates: of the Dataset.
        summary: flat figures of merit.
        notes: what a reader has to know.
        spec: the machine's sheets.
        evaluations: of the right-hand side in all runs.
    """

    variables: Columns
    coordinates: Columns
    summary: Mapping[str, float]
    notes: list[str]
    spec: MachineSpec
    evaluations: int


def figures_over(ran: Sequence[Ran], axes: Mapping[str, Sequence[str | float]], prefix: str = "") -> Columns:
    """The cases' figures of merit over the axes."""
    arrays = grid([(one.place, one.figures) for one in ran], axes, list(FIGURES))
    return {prefix + name: (tuple(axes), arrays[name], *FIGURES[name]) for name in FIGURES}


def spec_of(ran: Sequence[Ran]) -> MachineSpec:
    """The machine's sheets, of the first case that was possible."""
    return next(one.setup.spec for one in ran if one.setup is not None)


def evaluations_of(ran: Sequence[Ran]) -> int:
    """Evaluations of the right-hand side in all runs."""
    return sum(one.run.evaluations for one in ran if one.run is not None)


def notes_of(ran: Sequence[Ran]) -> list[str]:
    """The impossible cases, and whether the calibration that a machine is known by is its own."""
    known = next(one.setup.known_by_another for one in ran if one.setup is not None)
    return [*known, *(f"impossible: {text}" for text in failures_of(ran))]
