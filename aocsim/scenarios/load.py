"""Scenario files: read by name, with changes from the command line, and checked against the library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aocsim.errors import InputError, unknown_name, validate
from aocsim.library import Library, read_toml
from aocsim.scenarios.find import find_named
from aocsim.scenarios.kinds import ONE_RUN, OneRun
from aocsim.scenarios.overrides import assign
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.whatif.schema import WHAT_IF, WhatIf

Study = OneRun | WhatIf
"""A scenario of any kind."""

KINDS: Mapping[str, type[Study]] = {**ONE_RUN, **WHAT_IF}


def study_of(text: str) -> Study:
    """A scenario of any kind that its `to_json` has written.

    Raises:
        InputError: not such a text.
    """
    try:
        kind = json.loads(text).get("kind", "sample")
    except (ValueError, RecursionError, AttributeError) as error:
        raise InputError(f"is not a stored scenario: {error}") from error
    return _of_kind(kind).from_json(text)


def _of_kind(kind: object) -> type[Study]:
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown_name("kind of scenario", str(kind), KINDS, key="kind")
    return KINDS[kind]


def load_scenario(name: str | Path, library: Library, overrides: Mapping[str, object] | None = None) -> Study:
    """Read a scenario and check it against the library.

    Args:
        name: of the scenario, or a path that ends in .toml.
        library: where the scenario, its machine and its model are found.
        overrides: values by dotted key, typed as in the file, for example {"diffusion.steps": 8}.

    Raises:
        InputError: any fault of the file, of an override, or of what they name.
    """
    path = library.scenario_path(str(name))
    data, _, _ = read_toml(path)
    changes = overrides or {}
    try:
        data.setdefault("name", path.stem)
        model = _of_kind(data.get("kind", "sample"))
        if issubclass(model, WhatIf):
            _bring_base(data, library)
        for key, value in changes.items():
            inside = issubclass(model, WhatIf) and key.partition(".")[0] not in model.model_fields
            assign(data["base"] if inside else data, key, value)
        scenario: Study = validate(model, data)
        if scenario.name != path.stem:
            raise InputError("must be the name of the file", key="name", got=scenario.name, allowed=path.stem)
        find_named(scenario, library)
    except InputError as error:
        if error.file is not None:
            raise
        place = f"{error.key}."
        changed = any(place.startswith(f"{key}.") or f"{key}.".startswith(place) for key in changes)
        raise error.located(file="override" if changed else path) from None
    return scenario


TOLD = {
    "sweep": "Sweep",
    "montecarlo": "Many machines",
    "budget": "Error budget",
    "sensitivity": "Sensitivity",
}


def what_if(kind: str, of: str | Path, library: Library, settings: Mapping[str, object]) -> WhatIf:
    """A what-if study of a scenario, without a file of its own.

    Args:
        kind: of the study.
        of: name of the scenario that is varied, or a path that ends in .toml.
        library: where it is found.
        settings: of the study, as its file would have them; "set" holds changes to the scenario by dotted key.

    Raises:
        InputError: as `load_scenario`.
    """
    if kind not in WHAT_IF:
        raise unknown_name("kind of what-if study", kind, WHAT_IF, key="kind")
    data: dict[str, Any] = {"schema": 1, "kind": kind, "scenario": str(of), **settings}
    _bring_base(data, library)
    name = f"{kind}_{data['base']['name']}"
    data |= {
        "name": name,
        "describes": f"{TOLD[kind]} of {data['base']['name']}",
    }
    scenario = validate(WHAT_IF[kind], data)
    find_named(scenario, library)
    return scenario


def _bring_base(data: dict[str, Any], library: Library) -> None:
    """Put the scenario that is varied in the place of its name.

    Raises:
        InputError: none is named, there is no such scenario, or it is a what-if study itself.
    """
    name, changes = data.pop("scenario", None), data.pop("set", {})
    if not isinstance(name, str):
        raise InputError("names no scenario to vary", key="scenario", got=name)
    path = library.scenario_path(name)
    base, _, _ = read_toml(path)
    if base.get("kind") in WHAT_IF:
        raise InputError("is a what-if study itself", key="scenario", got=name, allowed=sorted(ONE_RUN))
    base.setdefault("name", path.stem)
    if not isinstance(changes, Mapping):
        raise InputError("must be a table", key="set", got=changes)
    for key, value in changes.items():
        assign(base, key, value)
    data["base"] = base


def load_sample(
    name: str | Path, library: Library, overrides: Mapping[str, object] | None = None
) -> Scenario:
    """`load_scenario` for those of kind "sample".

    Raises:
        InputError: as there; or the scenario is of another kind.
    """
    scenario = load_scenario(name, library, overrides)
    if not isinstance(scenario, Scenario):
        raise InputError(
            "no scenario of this kind", file=str(name), key="kind", got=scenario.kind, allowed="sample"
        )
    return scenario
