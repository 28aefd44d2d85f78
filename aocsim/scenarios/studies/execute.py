"""Run a study of any kind: from its scenario to a Dataset with provenance."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aocsim.diffusion.network import load_network
from aocsim.library import Library
from aocsim.record import assemble
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.scenarios.studies import cases, machine, noise, steps
from aocsim.scenarios.studies.cases import Case
from aocsim.scenarios.studies.found import Found
from aocsim.scenarios.studies.schema import (
    AveragingStudy,
    NoiseStudy,
    ReadoutStudy,
    RelaxationStudy,
    StepsStudy,
)
from aocsim.spec import MachineSpec

if TYPE_CHECKING:
    import xarray


def cases_of(scenario: ModelsOnMachine, library: Library) -> list[Case]:
    """What of a study runs on the machine."""
    match scenario:
        case StepsStudy():
            return steps.cases_of(scenario)
        case NoiseStudy():
            return noise.cases_of(scenario, noise.widths_of(scenario, library))
        case AveragingStudy():
            return machine.averaging_cases(scenario, library)
        case ReadoutStudy():
            return machine.readout_cases(scenario)
        case RelaxationStudy():
            return machine.relaxation_cases(scenario, library)
    raise TypeError(type(scenario).__name__)


def solves_of(scenario: ModelsOnMachine, library: Library) -> int:
    """Number of solves of a study on the machine."""
    return cases.solves_of(cases_of(scenario, library))


def _find(scenario: ModelsOnMachine, library: Library, progress: Callable[[int], object]) -> Found:
    match scenario:
        case StepsStudy():
            return steps.execute(scenario, library, progress)
        case NoiseStudy():
            return noise.execute(scenario, library, progress)
        case AveragingStudy():
            return machine.averaging(scenario, library, progress)
        case ReadoutStudy():
            return machine.readout(scenario, library, progress)
        case RelaxationStudy():
            return machine.relaxation(scenario, library, progress)
    raise TypeError(type(scenario).__name__)


def execute(
    scenario: ModelsOnMachine, library: Library, progress: Callable[[int], object] = lambda solves: None
) -> tuple[MachineSpec, xarray.Dataset]:
    """Run a study.

    Args:
        scenario: of one of the kinds in `aocsim.scenarios.studies.schema.STUDIES`.
        library: of sheets and models.
        progress: called with the number of solves as they are done.

    Returns:
        The machine's sheets, and the result.

    Raises:
        AocsimError: nothing of it was possible.
    """
    began = time.perf_counter()
    for model in scenario.models:
        _ = load_network(library.model_path(model).with_suffix(".nc")).rings  # known data, or refused now
    found = _find(scenario, library, progress)
    attributes = attributes_of(
        scenario,
        found.spec,
        notes=found.notes,
        summary=found.summary,
        wall_seconds=time.perf_counter() - began,
    ) | {"solver_nfev": found.evaluations, "knowledge": str(scenario.compile.knowledge)}
    return found.spec, assemble(found.variables, found.coordinates, attributes)
