"""What two results were made from, compared value by value."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aocsim.errors import InputError
from aocsim.library import FOLDERS
from aocsim.provenance import BROUGHT_ALONG
from aocsim.record import sha256_of

if TYPE_CHECKING:
    import xarray

Group = Literal["scenario", "machine", "part", "model", "software"]

ABSENT = "-"
"""Stands for what one of the two does not have."""

_DIGITS = 12  # of a hash, enough to tell two apart


@dataclass(frozen=True)
class InputDifference:
    """One value that the inputs of two results do not share.

    Attributes:
        group: where it stands.
        key: dotted; "ROLE.ENTRY" for a part's entry as the run used it, changes of machine and scenario included.
        a, b: the values as text, `ABSENT` where there is none.
    """

    group: Group
    key: str
    a: str
    b: str


@dataclass(frozen=True, eq=False)
class Stored:
    """A result as read from its file.

    Attributes:
        data: the result.
        files: what its run read, by place in a library folder.
    """

    data: xarray.Dataset
    files: Mapping[str, bytes]


def input_differences(a: Stored, b: Stored) -> list[InputDifference]:
    """All differences: of scenario, machine, parts, model and software, in this order.

    Raises:
        InputError: a result whose inputs do not belong together.
    """
    groups: dict[Group, tuple[Mapping[str, str], Mapping[str, str]]] = {
        "scenario": (_scenario(a), _scenario(b)),
        "machine": (_machine(a), _machine(b)),
        "part": (_parts(a), _parts(b)),
        "model": (_model(a), _model(b)),
        "software": (_software(a), _software(b)),
    }
    return [
        InputDifference(group, key, of_a.get(key, ABSENT), of_b.get(key, ABSENT))
        for group, (of_a, of_b) in groups.items()
        for key in [*of_a, *(key for key in of_b if key not in of_a)]
        if of_a.get(key, ABSENT) != of_b.get(key, ABSENT)
    ]


def flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested tables as {"a.b": text}."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat


def _scenario(result: Stored) -> dict[str, str]:
    flat = flattened(json.loads(result.data.attrs["scenario"]))
    for key, place in BROUGHT_ALONG.items():
        if place in result.files:
            flat[f"{key} (the file)"] = sha256_of(result.files[place])[:_DIGITS]
    return flat


def _machine(result: Stored) -> dict[str, str]:
    """The machine's sheet, without the parts: those are compared as they were used."""
    record = json.loads(result.data.attrs["machine_record"])["machine"]
    place = f"{FOLDERS['machines']}/{record['sheet']}.toml"
    return flattened({key: value for key, value in _toml(result, place).items() if key != "parts"})


def _parts(result: Stored) -> dict[str, str]:
    """Every entry of every part as the run used it; a sheet's hash last, for what is not in its entries."""
    flat: dict[str, str] = {}
    for role, used in json.loads(result.data.attrs["machine_record"])["parts"].items():
        place = f"{FOLDERS['parts']}/{used['sheet']}.toml"
        sheet = _toml(result, place)
        entries = {
            name: dict(entry) if isinstance(entry, Mapping) else {"value": entry}
            for name, entry in sheet.get("entries", {}).items()
        }
        for name, text in used["overrides"].items():
            entry, _, suffix = name.partition(".")
            entries.setdefault(entry, {})[suffix or "value"] = text
        flat[f"{role}.sheet"] = used["sheet"]
        named = flattened({role: entries})
        flat |= {key.removesuffix(".value"): value for key, value in named.items()}
        flat[f"{role} (text of the sheet)"] = sha256_of(_file(result, place))[:_DIGITS]
    return flat


def _model(result: Stored) -> dict[str, str]:
    """The recipes' values, and the hash of the weights."""
    flat: dict[str, str] = {}
    for place in sorted(result.files):
        if place.startswith(f"{FOLDERS['models']}/"):
            if place.endswith(".toml"):
                flat |= flattened(_toml(result, place))
            else:
                flat["weights"] = sha256_of(result.files[place])[:_DIGITS]
    return flat


def _software(result: Stored) -> dict[str, str]:
    return flattened(json.loads(result.data.attrs["versions"])) | {
        "commit": str(result.data.attrs.get("commit", "")) or ABSENT
    }


def _file(result: Stored, place: str) -> bytes:
    if place not in result.files:
        raise InputError("the file is missing among the inputs", key=place)
    return result.files[place]


def _toml(result: Stored, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_file(result, place).decode())
    except ValueError as error:
        raise InputError(f"is not valid TOML: {error}", key=place) from error
