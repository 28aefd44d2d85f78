"""The kinds of scenarios that one run computes, by name; what-if studies are made of many of them."""

from __future__ import annotations

from collections.abc import Mapping

from aocsim.errors import unknown_name
from aocsim.scenarios.calibration_schema import Calibration
from aocsim.scenarios.distributions_schema import Distributions
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.scenarios.roadmap.modules_schema import RoadmapModules
from aocsim.scenarios.roadmap.quality_schema import QualityEnergy
from aocsim.scenarios.roadmap.schema import RoadmapSingle
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.studies.schema import STUDIES

OneRun = Scenario | Calibration | ModelsOnMachine | RoadmapModules
"""A scenario that one run computes."""

OF_ROADMAP: Mapping[str, type[OneRun]] = {
    "roadmap_single": RoadmapSingle,
    "roadmap_modules": RoadmapModules,
    "quality_energy": QualityEnergy,
}
"""Kinds of the scaling roadmap."""

ONE_RUN: Mapping[str, type[OneRun]] = {
    "sample": Scenario,
    "calibration": Calibration,
    "distributions": Distributions,
    **STUDIES,
    **OF_ROADMAP,
}


def one_run(kind: object) -> type[OneRun]:
    """The model of scenarios of a kind.

    Raises:
        InputError: no kind of this name.
    """
    if not isinstance(kind, str) or kind not in ONE_RUN:
        raise unknown_name("kind of scenario", str(kind), ONE_RUN, key="kind")
    return ONE_RUN[kind]
