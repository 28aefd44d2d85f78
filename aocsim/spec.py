"""Validated specifications of parts and machines, as they come from the library's sheets.

A part's law declares which entries its sheets must hold (`EntrySpec`); reading a sheet gives `Entry` objects
in SI units, collected in a `PartSpec`; a `MachineSpec` says which part plays which role.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError, unknown_name
from aocsim.units import QuantityError, format_si, is_percentage, to_si

Per = Literal["machine", "arm", "channel", "channel_arm", "pixel"]
Basis = Literal["M", "P", "D", "L", "X", "A"]
Text = str | tuple[str, ...]

SHEET = "sheet"  # the key of a role's table that names the sheet; no entry may be called so


@dataclass(frozen=True)
class EntrySpec:
    """What a part's law expects of one entry.

    Attributes:
        dimension: SI unit expression as in `units.to_si`, for example "ampere/watt".
        shape: None for one number, 0 for a list of any length (at least 1), n for a list of n numbers.
        per: levels at which the law can take independent as-built draws.
        optional: whether a sheet may leave it out: no run depends on it but those that ask for energies.
    """

    dimension: str
    shape: int | None = None
    per: tuple[Per, ...] = ("machine",)
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse a declaration that no sheet could satisfy.

        Raises:
            ValueError: negative shape, or unknown level.
        """
        if self.shape is not None and self.shape < 0:
            raise ValueError(f"entry shape must be None, 0 or a length, got {self.shape}")
        if not set(self.per) <= set(get_args(Per)):
            raise ValueError(f"entry levels must be among {get_args(Per)}, got {self.per}")


@dataclass(frozen=True, eq=False)
class Entry:
    """One validated entry of a part sheet.

    Attributes:
        name: key in the sheet.
        value: in the SI unit `dimension`; a float, or a read-only array of shape (length,).
        dimension: SI unit expression.
        text: the value as written.
        spread: standard deviation of the as-built draws, >= 0; a fraction of the value if
            `spread_is_relative`, else in `dimension`.
        spread_is_relative: how to read `spread`.
        per: level of the draws, one independent draw for each.
        basis: M measured, P stated in the paper, D data sheet, L literature, X derived, A assumed.
        source: citation.
        valid: lowest and highest allowed value, inclusive, in `dimension`.
    """

    name: str
    value: float | NDArray[np.float64]
    dimension: str
    text: Text
    spread: float
    spread_is_relative: bool
    per: Per
    basis: Basis
    source: str
    valid: tuple[float, float]


def read_quantity(text: str, dimension: str, key: str, *, difference: bool = False) -> float:
    """`units.to_si` with the key in the error.

    Raises:
        InputError: not a quantity of this dimension.
    """
    try:
        return to_si(text, dimension, difference=difference)
    except QuantityError as error:
        raise InputError(error.problem, key=key, got=text) from error


def read_value(
    text: Text, wanted: EntrySpec, valid: tuple[float, float], key: str
) -> float | NDArray[np.float64]:
    """The value of an entry in SI: a float, or a read-only array of shape (length,).

    Raises:
        InputError: wrong unit, wrong length, or outside the valid range.
    """
    is_list = not isinstance(text, str)
    if is_list != (wanted.shape is not None):
        form = "one quantity, not a list" if is_list else "a list of quantities"
        raise InputError(f"must be {form}", key=key, got=_plain(text))
    texts: tuple[str, ...] = (text,) if isinstance(text, str) else text
    if is_list and (not texts or wanted.shape not in (0, len(texts))):
        length = f"{wanted.shape} elements" if wanted.shape else "at least one element"
        raise InputError(f"must be a list of {length}, not of {len(texts)}", key=key, got=_plain(text))
    values = [read_quantity(item, wanted.dimension, key) for item in texts]
    for item, value in zip(texts, values, strict=True):
        if not valid[0] <= value <= valid[1]:
            ends = " to ".join(format_si(end, wanted.dimension) for end in valid)
            raise InputError("outside the valid range", key=key, got=item, allowed=ends)
    if not is_list:
        return values[0]
    array = np.array(values)
    array.setflags(write=False)
    return array


def read_spread(text: str, dimension: str, key: str) -> tuple[float, bool]:
    """Spread and whether it is relative ("10 %") or absolute (in the value's unit).

    Raises:
        InputError: wrong unit, negative or infinite.
    """
    relative = is_percentage(text)
    unit = "dimensionless" if relative else dimension
    spread = read_quantity(text, unit, key, difference=True)
    if not 0 <= spread < np.inf:
        raise InputError("must be finite and not negative", key=key, got=text)
    return spread, relative


def flat_choice(choice: object, key: str) -> dict[str, Text]:
    """What a file says about one role, as {"sheet": NAME, ENTRY: value, "ENTRY.spread": spread}.

    Accepts the name of a sheet, or a table with `sheet` and entries; an entry is a quantity, a list of
    quantities, or a table with `value` and `spread`.

    Raises:
        InputError: anything else, for example a number where the quantity must be text.
    """
    if isinstance(choice, str):
        return {SHEET: choice}
    if not isinstance(choice, Mapping):
        raise InputError("must be the name of a sheet, or a table of entries", key=key, got=choice)
    flat: dict[str, Text] = {}
    for name, item in choice.items():
        if not isinstance(item, Mapping):
            flat[name] = quantity_text(item, f"{key}.{name}")
            continue
        for suffix, inner in item.items():
            if suffix not in ("value", "spread"):
                known = ("spread", "value")
                raise unknown_name("key", suffix, known, key=f"{key}.{name}.{suffix}")
            flat[name if suffix == "value" else f"{name}.spread"] = quantity_text(inner, f"{key}.{name}")
    if not isinstance(flat.get(SHEET, ""), str):
        raise InputError("must be the name of one sheet", key=f"{key}.{SHEET}", got=choice[SHEET])
    return flat


def quantity_text(item: object, key: str | None = None) -> Text:
    """Text, or a list of texts as a tuple; a bare number is refused with the remedy.

    Raises:
        InputError: not text.
    """
    if isinstance(item, str):
        return item
    if isinstance(item, Sequence) and all(isinstance(element, str) for element in item):
        return tuple(item)
    elements = item if isinstance(item, Sequence) else [item]
    if all(isinstance(element, (int, float, str)) and not isinstance(element, bool) for element in elements):
        raise InputError(
            'a quantity must be text with its unit, such as "5 mA", or "500" for a plain number',
            key=key,
            got=item,
        )
    raise InputError("must be a quantity as text", key=key, got=item)


def _plain(text: Text) -> object:
    return text if isinstance(text, str) else list(text)


@dataclass(frozen=True, eq=False)
class PartSpec:
    """A validated part sheet.

    Attributes:
        name: of the sheet.
        law: name of the law that reads it.
        describes: what the part is, one line.
        entries: all entries that the law declares, by name; without the optional ones that the sheet leaves out.
        path: the file.
        sha256: hex digest of the file's bytes, before overrides.
        text: the file's text, before overrides.
        wanted: the law's declaration, against which overrides are checked.
        overrides: what was changed against the file, as {ENTRY or "ENTRY.spread": text}.
    """

    name: str
    law: str
    describes: str
    entries: Mapping[str, Entry]
    path: Path
    sha256: str
    text: str = field(repr=False)
    wanted: Mapping[str, EntrySpec] = field(repr=False)
    overrides: Mapping[str, Text] = field(default_factory=dict)

    def __getitem__(self, entry: str) -> Entry:
        """The entry of this name.

        Raises:
            InputError: no such entry.
        """
        if entry not in self.entries:
            raise unknown_name(f"entry of {self.name}", entry, self.entries, file=str(self.path))
        return self.entries[entry]

    def value(self, entry: str) -> float | NDArray[np.float64]:
        """The entry's value in SI, a float or an array of shape (length,)."""
        return self[entry].value

    def with_overrides(self, overrides: Mapping[str, Text], key: str = "parts") -> PartSpec:
        """This part with entries changed, checked like the sheet itself.

        Args:
            overrides: {"contrast": "300", "contrast.spread": "0 %"}; a tuple of texts for a list.
            key: dotted prefix for messages, "parts.ROLE".

        Raises:
            InputError: unknown entry, wrong quantity, or outside the entry's valid range.
        """
        entries = dict(self.entries)
        for name, text in overrides.items():
            place = f"{key}.{name}"
            base, dot, suffix = name.partition(".")
            if base not in entries:
                raise unknown_name(f"entry of {self.name}", base, [*entries, SHEET], key=place)
            entry, wanted = entries[base], self.wanted[base]
            if not dot:
                value = read_value(text, wanted, entry.valid, place)
                entries[base] = replace(entry, value=value, text=text)
            elif suffix == "spread" and isinstance(text, str):
                spread, relative = read_spread(text, entry.dimension, place)
                if spread and entry.per not in wanted.per:
                    raise InputError(f"this part has no mismatch per {entry.per}", key=place, got=text)
                entries[base] = replace(entry, spread=spread, spread_is_relative=relative)
            else:
                raise InputError(
                    "only an entry's value and its spread can be changed", key=place, got=_plain(text)
                )
        return replace(self, entries=entries, overrides={**self.overrides, **overrides})


@dataclass(frozen=True, eq=False)
class MachineSpec:
    """A validated machine sheet with its parts.

    Attributes:
        name: of the sheet; with the serial number it decides the as-built mismatch.
        describes: what the machine is, one line.
        channels: number of channels, 2 to 4096.
        parts: the part in each role.
        path: the file.
        sha256: hex digest of the file's bytes, before overrides.
        text: the file's text, before overrides.
        laws: laws that can fill each role.
    """

    name: str
    describes: str
    channels: int
    parts: Mapping[str, PartSpec]
    path: Path
    sha256: str
    text: str = field(repr=False)
    laws: Mapping[str, tuple[str, ...]] = field(repr=False)

    def with_overrides(
        self, overrides: Mapping[str, Mapping[str, Text]], part: Callable[[str], PartSpec]
    ) -> MachineSpec:
        """This machine with roles filled by other sheets, or with entries changed.

        Args:
            overrides: by role: `sheet` names another sheet, all other keys are `PartSpec.with_overrides`'s.
                Another sheet drops the changes that the machine sheet makes to the role's own one.
            part: finds a part sheet by name, usually `Library.part`.

        Raises:
            InputError: unknown role or sheet, a sheet whose law cannot fill the role, or a wrong entry.
        """
        parts = dict(self.parts)
        for role, choice in overrides.items():
            key = f"parts.{role}"
            if role not in parts:
                raise unknown_name(f"role of {self.name}", role, parts, key=key)
            changes = dict(choice)
            sheet = changes.pop(SHEET, None)
            if isinstance(sheet, str):
                parts[role] = part_for(role, sheet, self.laws[role], part)
            parts[role] = parts[role].with_overrides(changes, key)
        return replace(self, parts=parts)


def part_for(role: str, sheet: str, laws: tuple[str, ...], part: Callable[[str], PartSpec]) -> PartSpec:
    """The sheet for a role, refused unless it is of one of the role's laws.

    Raises:
        InputError: unknown sheet, or a law that cannot fill the role.
    """
    try:
        found = part(sheet)
    except InputError as error:
        # A fault inside the sheet already says where it is.
        raise (error.located(key=f"parts.{role}") if error.file is None else error) from None
    if found.law not in laws:
        needed = " or ".join(repr(law) for law in laws)
        raise InputError(
            f"this role needs a sheet of law {needed}, not {found.law!r}", key=f"parts.{role}", got=sheet
        )
    return found
