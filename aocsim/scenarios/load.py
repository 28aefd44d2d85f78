"""Scenario files: read by name, with changes from the command line, and checked against the library."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aocsim.errors import InputError, unknown_name, validate
from aocsim.library import Library, read_toml
from aocsim.scenarios.calibration_schema import Calibration
from aocsim.scenarios.distributions_schema import Distributions
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.studies.schema import STUDIES
from aocsim.spec import flat_choice

Study = Scenario | Calibration | ModelsOnMachine
"""A scenario of any kind."""

KINDS: Mapping[str, type[Study]] = {
    "sample": Scenario,
    "calibration": Calibration,
    "distributions": Distributions,
    **STUDIES,
}
_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")


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
        for key, value in changes.items():
            _assign(data, key, value)
        data.setdefault("name", path.stem)
        scenario: Study = validate(_of_kind(data.get("kind", "sample")), data)
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


def find_named(scenario: Study, library: Library) -> None:
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
    except InputError as error:
        raise (error.located(key=key) if error.file is None else error) from None


def _assign(data: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key in nested tables."""
    *tables, last = _split(key)
    place = data
    if tables[:1] == ["parts"] and len(tables) > 1 and isinstance(place.get("parts", {}), dict):
        # An entry has several forms; flattened, "contrast" and "contrast.spread" stand side by side.
        roles = place.setdefault("parts", {})
        role, *rest = [*tables[1:], last]
        flat: dict[str, object] = dict(flat_choice(roles.get(role, {}), f"parts.{role}"))
        flat[".".join(rest)] = value
        roles[role] = flat
        return
    for step in tables:
        place = place.setdefault(step, {})
        if not isinstance(place, dict):
            raise InputError(f"cannot be set, {step!r} is not a table", file="override", key=key)
    place[last] = value


def _split(key: str) -> list[str]:
    if not _KEY.fullmatch(key):
        raise InputError("is not a dotted key, such as diffusion.steps", file="override", got=key)
    return key.split(".")


def parse_assignment(text: str) -> tuple[str, object]:
    """Key and value of a command-line assignment KEY=VALUE.

    VALUE is read as a TOML value where it is one, else taken as text. A number for a part's entry becomes
    text, since sheets hold quantities as text; so does a date.

    >>> parse_assignment("diffusion.steps=8"), parse_assignment("parts.slm.contrast=300")
    (('diffusion.steps', 8), ('parts.slm.contrast', '300'))

    Raises:
        InputError: no "=", or a malformed key.
    """
    key, equals, raw = (part.strip() for part in text.partition("="))
    if not equals:
        raise InputError("an assignment must read KEY=VALUE", got=text)
    _split(key)
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return key, raw
    value = parsed["value"]
    if len(parsed) != 1 or isinstance(value, (datetime.date, datetime.time)):
        return key, raw
    return key, _number_as_text(value, raw) if key.startswith("parts.") else value


def _number_as_text(value: object, raw: str) -> object:
    if isinstance(value, list):
        return [_number_as_text(item, repr(item)) for item in value]
    return raw if isinstance(value, (int, float)) and not isinstance(value, bool) else value
