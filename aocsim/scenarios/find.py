"""Whether all that a scenario names is in the library."""

from __future__ import annotations

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.scenarios.kinds import OneRun
from aocsim.scenarios.roadmap.modules_schema import RoadmapModules
from aocsim.scenarios.roadmap.quality_schema import QualityEnergy
from aocsim.scenarios.roadmap.schema import RoadmapSingle, WithEquipment
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.whatif.schema import WhatIf


def find_named(scenario: OneRun | WhatIf, library: Library) -> None:
    """Refuse a scenario whose machine, parts or model do not exist or do not fit.

    Raises:
        InputError: with the key where the name stands.
    """
    key = "machine"
    try:
        library.machine(scenario.machine, scenario.parts)
        key = "model" if isinstance(scenario, Scenario) else "models"
        for model in scenario.models:
            library.model_path(model)
        key = "equipment"
        if isinstance(scenario, WithEquipment):
            scenario.equipment_sheets(library)
        if isinstance(scenario, RoadmapSingle | QualityEnergy):
            scenario.module_sheets(library)
        if isinstance(scenario, RoadmapModules):
            for name in scenario.variants:
                scenario.sheets_of(name, library)
    except InputError as error:
        raise (error.located(key=key) if error.file is None else error) from None
