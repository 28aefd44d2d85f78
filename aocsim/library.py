"""The library of parts, machines, models and scenarios: finding files by name, reading and checking sheets.

A folder of the library holds `components/` (parts and machines), `models/` and `scenarios/`. Folders are
searched in this order: the one asked for, those in `$AOCSIM_PATH`, the current one, the shipped one.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aocsim.errors import InputError, nearest_name, unknown_name, validate
from aocsim.spec import (
    SHEET,
    Basis,
    Entry,
    EntrySpec,
    MachineSpec,
    PartSpec,
    Per,
    Text,
    flat_choice,
    part_for,
    quantity_text,
    read_quantity,
    read_spread,
    read_value,
)

log = logging.getLogger(__name__)

Laws = Mapping[str, Mapping[str, EntrySpec]]
Roles = Mapping[str, tuple[str, ...]]
Kind = Literal["parts", "machines", "models", "scenarios"]

SEARCH_PATH_VARIABLE = "AOCSIM_PATH"
FOLDERS = {"parts": "components", "machines": "components", "models": "models", "scenarios": "scenarios"}
_PLAIN_NAME = re.compile(r"\w[\w.-]{0,99}")


def _as_text(item: object) -> Text:
    try:
        return quantity_text(item)
    except InputError as error:
        raise ValueError(error.problem) from error  # so that pydantic adds the key


Quantity = Annotated[Any, BeforeValidator(_as_text)]
Line = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _EntryTable(_Table):
    value: Quantity
    spread: Line | None = None
    per: Per = "machine"
    basis: Basis
    source: Line
    valid: list[Line] = Field(min_length=2, max_length=2)


class _PartTable(_Table):
    schema_version: int = Field(alias="schema", ge=1, le=1)
    law: Line
    name: Line
    describes: Line
    entries: dict[str, _EntryTable]


class _MachineTable(_Table):
    schema_version: int = Field(alias="schema", ge=1, le=1)
    kind: Literal["machine"]
    name: Line
    describes: Line
    channels: int = Field(ge=2, le=4096)
    parts: dict[str, Any]


def read_toml(path: Path) -> tuple[dict[str, Any], str, str]:
    """Content, text and SHA-256 (hex) of a TOML file; InputError if it cannot be read as one."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from error
    return _toml(raw, path)


def _toml(raw: bytes, path: Path) -> tuple[dict[str, Any], str, str]:
    try:
        text = raw.decode()
        # a study reads the same sheets for each of its points; whoever is given the content may change it
        return copy.deepcopy(_parsed(text)), text, hashlib.sha256(raw).hexdigest()
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", file=path) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"is not valid TOML: {error}", file=path) from error


@lru_cache(maxsize=128)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


@dataclass(frozen=True)
class Library:
    """Finds and reads sheets.

    Attributes:
        folders: searched in this order; each may hold components/, models/ and scenarios/.
        given_laws, given_roles: as in `open`.
        given_sheets: texts of sheets of parts and machines by name, found before those of all folders.
    """

    folders: tuple[Path, ...]
    given_laws: Laws | None = None
    given_roles: Roles | None = None
    given_sheets: Mapping[str, str] | None = None

    @classmethod
    def open(
        cls, folder: Path | None = None, laws: Laws | None = None, roles: Roles | None = None
    ) -> Library:
        """The library as seen from the current folder and environment.

        Args:
            folder: searched first.
            laws: entries by law name; by default those of all registered parts.
            roles: laws by role that every machine must fill; by default the registered ones.

        Raises:
            InputError: `folder` holds none of the three folders.
        """
        first: list[Path] = []
        if folder is not None:
            if not any((folder / name).is_dir() for name in set(FOLDERS.values())):
                raise InputError(
                    "is not a library folder",
                    file=folder,
                    allowed="a folder with components/, models/ or scenarios/",
                )
            first = [folder]
        listed = [Path(item) for item in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if item]
        for item in listed:
            if not item.is_dir():
                log.warning("%s: %s is not a folder, passed over", SEARCH_PATH_VARIABLE, item)
        shipped = _shipped_folder()
        return cls((*first, *listed, Path.cwd(), *([shipped] if shipped else [])), laws, roles)

    @cached_property
    def laws(self) -> Laws:
        """Entries that each law declares, by law and entry."""
        return _registered()[0] if self.given_laws is None else self.given_laws

    @cached_property
    def roles(self) -> Roles:
        """Laws that can fill each role; a machine must fill all of them."""
        return _registered()[1] if self.given_roles is None else self.given_roles

    def names(self, kind: Kind) -> dict[str, Path]:
        """All files of a kind by name; the first found of a name wins.

        In `components/` a file that is no readable sheet is left out, it is reported when asked for by name.
        """
        found: dict[str, Path] = {}
        for root in self.folders:
            for path in sorted((root / FOLDERS[kind]).glob("*.toml")):
                found.setdefault(path.stem, path)
        if kind in ("parts", "machines"):
            wanted = "machine" if kind == "machines" else "part"
            found = {name: path for name, path in found.items() if _sheet_kind(path) == wanted}
        return found

    def part(self, name: str) -> PartSpec:
        """The part sheet of this name.

        Raises:
            InputError: unknown name, or any fault of the sheet.
        """
        data, text, sha256, path = self._sheet("parts", name, "part sheet")
        if data.get("kind") == "machine":
            raise InputError("is the sheet of a machine, not of a part", file=path)
        known = self._parts_read
        if (path, sha256) not in known:
            known[path, sha256] = parse_part(data, text, sha256, path, self.laws)
        return known[path, sha256]

    @cached_property
    def _parts_read(self) -> dict[tuple[Path, str], PartSpec]:
        """Parts by file and content: a study asks for the same ones at each of its points."""
        return {}

    def machine(self, name: str, overrides: Mapping[str, Mapping[str, Text]] | None = None) -> MachineSpec:
        """The machine sheet of this name with all its parts.

        Args:
            name: of the sheet.
            overrides: as in `MachineSpec.with_overrides`.

        Raises:
            InputError: unknown name, or any fault of the sheet, of its parts' sheets, or of the overrides.
        """
        data, text, sha256, path = self._sheet("machines", name, "machine")
        if "kind" not in data and "law" in data:
            raise InputError("is the sheet of a part, not of a machine", file=path)
        table = validate(_MachineTable, data, path)
        _check_name(table.name, path)
        try:
            parts = self._parts_of(table)
        except InputError as error:
            raise error.located(file=path) from error
        machine = MachineSpec(
            table.name, table.describes, table.channels, parts, path, sha256, text, self.roles
        )
        return machine.with_overrides(overrides or {}, self.part)

    def _parts_of(self, table: _MachineTable) -> dict[str, PartSpec]:
        for role in table.parts:
            if role not in self.roles:
                raise unknown_name("role", role, self.roles, key=f"parts.{role}")
        missing = [role for role in self.roles if role not in table.parts]
        if missing:
            raise InputError(f"no sheet for the role {missing[0]!r}", key="parts", allowed=list(self.roles))
        parts: dict[str, PartSpec] = {}
        for role, choice in table.parts.items():
            changes = flat_choice(choice, f"parts.{role}")
            sheet = changes.pop(SHEET, None)
            if not isinstance(sheet, str):
                raise InputError("names no sheet", key=f"parts.{role}.{SHEET}")
            part = part_for(role, sheet, self.roles[role], self.part)
            parts[role] = part.with_overrides(changes, f"parts.{role}") if changes else part
        return parts

    def scenario_path(self, name: str) -> Path:
        """File of a scenario, from its name or from a path that ends in .toml.

        Raises:
            InputError: no such scenario.
        """
        return self._file("scenarios", name, "scenario")

    def model_path(self, name: str) -> Path:
        """File of a model's recipe, from its name or from a path that ends in .toml.

        Raises:
            InputError: no such model.
        """
        return self._file("models", name, "model")

    def _file(self, kind: Kind, name: str, what: str) -> Path:
        if not name.endswith(".toml"):
            return self._find(kind, name, what)
        path = Path(name)
        try:
            if path.is_file():
                return path
        except OSError:
            pass  # a name that no file can have
        raise InputError("no such file", file=path)

    def _sheet(self, kind: Kind, name: str, what: str) -> tuple[dict[str, Any], str, str, Path]:
        """Content, text, SHA-256 and path of a sheet."""
        given = (self.given_sheets or {}).get(name)
        if given is not None:
            path = Path(f"{name}.toml")
            return *_toml(given.encode(), path), path
        path = self._find(kind, name, what)
        return *read_toml(path), path

    def _find(self, kind: Kind, name: str, what: str) -> Path:
        if _PLAIN_NAME.fullmatch(name):
            for root in self.folders:
                path = root / FOLDERS[kind] / f"{name}.toml"
                if path.is_file():
                    return path
        raise unknown_name(what, name, self.names(kind))


def _registered() -> tuple[Laws, Roles]:
    # Imported late: listing scenarios needs no part, and the parts stand above this module.
    from aocsim.components import registry

    return registry.laws(), registry.roles()


def parse_part(data: Mapping[str, Any], text: str, sha256: str, path: Path, laws: Laws) -> PartSpec:
    """A part sheet's content, text and digest as a validated specification.

    Raises:
        InputError: any fault of the sheet.
    """
    table = validate(_PartTable, data, path)
    _check_name(table.name, path)
    if table.law not in laws:
        raise unknown_name("law", table.law, laws, file=str(path), key="law")
    wanted = laws[table.law]
    unknown = [name for name in table.entries if name not in wanted]
    if unknown:
        raise unknown_name("entry", unknown[0], wanted, file=str(path), key=f"entries.{unknown[0]}")
    missing = [name for name, entry in wanted.items() if name not in table.entries and not entry.optional]
    if missing:
        near = nearest_name(missing[0], table.entries)
        raise InputError(
            f"entry missing, which the law {table.law!r} needs",
            file=path,
            key=f"entries.{missing[0]}",
            nearest=near,
        )
    try:
        entries = {
            name: _read_entry(name, table.entries[name], spec)
            for name, spec in wanted.items()
            if name in table.entries
        }
    except InputError as error:
        raise error.located(file=path) from error
    return PartSpec(table.name, table.law, table.describes, entries, path, sha256, text, wanted)


def _read_entry(name: str, table: _EntryTable, wanted: EntrySpec) -> Entry:
    key = f"entries.{name}"
    lowest, highest = (read_quantity(text, wanted.dimension, f"{key}.valid") for text in table.valid)
    if lowest > highest:
        raise InputError("the lower end is above the upper one", key=f"{key}.valid", got=table.valid)
    valid = (lowest, highest)
    value = read_value(table.value, wanted, valid, f"{key}.value")
    spread, relative = 0.0, True
    if table.spread is not None:
        spread, relative = read_spread(table.spread, wanted.dimension, f"{key}.spread")
    if table.per not in wanted.per and (spread or table.per != "machine"):
        raise InputError(
            "this entry has no mismatch at this level",
            key=f"{key}.per",
            got=table.per,
            allowed=list(wanted.per),
        )
    return Entry(
        name,
        value,
        wanted.dimension,
        table.value,
        spread,
        relative,
        table.per,
        table.basis,
        table.source,
        valid,
    )


def _check_name(name: str, path: Path) -> None:
    if name != path.stem:
        raise InputError("must be the name of the file", file=path, key="name", got=name, allowed=path.stem)


def _sheet_kind(path: Path) -> str:
    """ "machine", "part", or "" for a file that is neither."""
    try:
        data, _, _ = read_toml(path)
    except InputError:
        return ""
    if data.get("kind") == "machine":
        return "machine"
    return "part" if "law" in data and "kind" not in data else ""


def _shipped_folder() -> Path | None:
    """The library inside the installed package, or the checkout that the package stands in."""
    package = Path(__file__).resolve().parent
    if (package / "_library").is_dir():
        return package / "_library"
    try:
        project = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return package.parent if project.get("project", {}).get("name") == "aocsim" else None
