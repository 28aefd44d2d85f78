"""Run a what-if study of any kind: from its points to a Dataset with provenance."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aocsim.library import Library
from aocsim.record import assemble
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.whatif import budget, montecarlo, sensitivity, sweep
from aocsim.scenarios.whatif.engine import Spread, run_points
from aocsim.scenarios.whatif.points import Point
from aocsim.scenarios.whatif.schema import Budget, MonteCarlo, Sensitivity, Sweep, WhatIf
from aocsim.scenarios.whatif.store import Found
from aocsim.scenarios.whatif.tables import Laid

if TYPE_CHECKING:
    import xarray


def lay_out(scenario: WhatIf, library: Library) -> list[Point]:
    """All points of a study, checked before any is run.

    Raises:
        InputError: whatever is wrong with the study or a point of it.
    """
    match scenario:
        case Sweep():
            return sweep.lay_out(scenario, library)
        case MonteCarlo():
            return montecarlo.lay_out(scenario, library)
        case Budget():
            return budget.lay_out(scenario, library)
        case Sensitivity():
            return sensitivity.lay_out(scenario, library)
    raise TypeError(type(scenario).__name__)


def _lay(scenario: WhatIf, library: Library, found: Sequence[Found]) -> Laid:
    match scenario:
        case Sweep():
            return sweep.lay(scenario, library, found)
        case MonteCarlo():
            return montecarlo.lay(scenario, library, found)
        case Budget():
            return budget.lay(scenario, library, found)
        case Sensitivity():
            return sensitivity.lay(scenario, library, found)
    raise TypeError(type(scenario).__name__)


def execute(
    scenario: WhatIf,
    points: Sequence[Point],
    library: Library,
    folder: Path | None = None,
    done: Callable[[int], object] = lambda points: None,
    spread: Spread | None = None,
) -> xarray.Dataset:
    """Run a study.

    Args:
        scenario: the study.
        points: as `lay_out` gives them.
        library: of sheets and models.
        folder: in which finished points are kept; None keeps none.
        done: called with the number of points as they are finished.
        spread: where points are run; None takes processes of this computer.

    Raises:
        AocsimError: as `aocsim.scenarios.whatif.engine.run_points`; or a figure that no point has.
    """
    began = time.perf_counter()
    found = run_points(scenario, points, library, folder, done, spread)
    laid = _lay(scenario, library, found)
    attributes = attributes_of(
        scenario,
        library.machine(scenario.machine, scenario.parts),
        notes=laid.notes,
        summary=laid.summary,
        wall_seconds=time.perf_counter() - began,
    )
    attributes["figures_shown"] = json.dumps(laid.figures)
    return assemble(laid.variables, laid.coordinates, attributes)
