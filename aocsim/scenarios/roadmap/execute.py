"""Run a scenario of the roadmap of any kind: from its table to a Dataset with provenance, and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aocsim.library import Library
from aocsim.scenarios import sample
from aocsim.scenarios.roadmap import modules, quality
from aocsim.scenarios.roadmap.modules_schema import RoadmapModules
from aocsim.scenarios.roadmap.prototype import simulated_scenario
from aocsim.scenarios.roadmap.quality_schema import QualityEnergy
from aocsim.scenarios.roadmap.schema import RoadmapSingle, WithEquipment
from aocsim.spec import MachineSpec

if TYPE_CHECKING:
    import xarray


def work_of(scenario: WithEquipment | RoadmapModules) -> tuple[int, str]:
    """How much there is to do, and what is counted."""
    match scenario:
        case RoadmapModules():
            return modules.runs_of(scenario), "batch"
        case QualityEnergy():
            return quality.solves_of(scenario), "solve"
    return sample.solves_of(simulated_scenario(scenario)), "solve"


def execute(
    scenario: WithEquipment | RoadmapModules,
    library: Library,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[MachineSpec, xarray.Dataset]:
    """Run a scenario of one of the kinds in `aocsim.scenarios.kinds.OF_ROADMAP`.

    Args:
        scenario: validated.
        library: of sheets and models.
        progress: called with the number of what `work_of` counts, as it is done.

    Returns:
        The machine's sheets, and the result.

    Raises:
        AocsimError: anything impossible.
    """
    match scenario:
        case RoadmapSingle():
            from aocsim.scenarios.roadmap import single

            return single.execute(scenario, library, progress)
        case RoadmapModules():
            return modules.execute(scenario, library, progress)
        case QualityEnergy():
            return quality.execute(scenario, library, progress)
    raise TypeError(type(scenario).__name__)


def write_pictures(data: xarray.Dataset, folder: Path) -> list[Path]:
    """Draw a result of any kind of the roadmap; returns the files."""
    from aocsim.scenarios.roadmap import modules_plots, plots, quality_plots

    writers: dict[str, Callable[[xarray.Dataset, Path], list[Path]]] = {
        "roadmap_single": plots.write_single,
        "roadmap_modules": modules_plots.write_modules,
        "quality_energy": quality_plots.write_quality,
    }
    return writers[data.attrs["kind"]](data, folder)
