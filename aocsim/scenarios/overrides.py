"""Changes to a scenario by dotted keys, as the command line and what-if studies make them."""

from __future__ import annotations

import datetime
import re
import tomllib
from typing import Any

from aocsim.errors import InputError
from aocsim.spec import flat_choice

OF_SHEETS = ("parts", "equipment", "modules")
"""Tables of a scenario that hold changes to sheets, whose numbers are quantities as text."""

_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")


def assign(data: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key in nested tables.

    Raises:
        InputError: a malformed key, or one that leads through what is no table.
    """
    *tables, last = split_key(key)
    place = data
    if len(tables) > 1 and tables[0] in OF_SHEETS and isinstance(place.get(tables[0], {}), dict):
        # An entry has several forms; flattened, "contrast" and "contrast.spread" stand side by side.
        roles = place.setdefault(tables[0], {})
        role, *rest = [*tables[1:], last]
        flat: dict[str, object] = dict(flat_choice(roles.get(role, {}), f"{tables[0]}.{role}"))
        flat[".".join(rest)] = value
        roles[role] = flat
        return
    for step in tables:
        place = place.setdefault(step, {})
        if not isinstance(place, dict):
            raise InputError(f"cannot be set, {step!r} is not a table", file="override", key=key)
    place[last] = value


def split_key(key: str) -> list[str]:
    """The steps of a dotted key.

    Raises:
        InputError: a malformed key.
    """
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
    split_key(key)
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return key, raw
    value = parsed["value"]
    if len(parsed) != 1 or isinstance(value, (datetime.date, datetime.time)):
        return key, raw
    return key, _number_as_text(value, raw) if key.split(".")[0] in OF_SHEETS else value


def _number_as_text(value: object, raw: str) -> object:
    if isinstance(value, list):
        return [_number_as_text(item, repr(item)) for item in value]
    return raw if isinstance(value, (int, float)) and not isinstance(value, bool) else value
