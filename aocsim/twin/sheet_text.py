"""Sheets of parts and machines as text."""

from __future__ import annotations

import tomllib
from typing import Any

from aocsim.components import registry
from aocsim.spec import PartSpec

Entries = dict[str, dict[str, Any]]


def entry_of(value: str, basis: str, source: str, unit: str, half: float | None = None) -> dict[str, Any]:
    """An entry that is valid from 0 on, or `half` to either side of it."""
    low, high = (0.0, float("inf")) if half is None else (-half, half)
    return {
        "value": value,
        "basis": basis,
        "source": source,
        "valid": [quantity(low, unit), quantity(high, unit)],
    }


def written(part: PartSpec) -> Entries:
    """The entries of a sheet as they are written."""
    entries: Entries = tomllib.loads(part.text)["entries"]
    return entries


def quantity(value: Any, unit: str) -> str:
    """A number with all its digits, and its unit."""
    return f"{float(value)!r} {unit}".rstrip()


def quoted(text: str) -> str:
    """A TOML string."""
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else "\\" + c if c in '"\\' else c for c in text
    )
    return f'"{escaped}"'


def head(law: str | None, name: str, describes: str) -> list[str]:
    """First lines of a sheet; without a law, of a machine's."""
    kind = 'kind = "machine"' if law is None else f"law = {quoted(law)}"
    return ["schema = 1", kind, f"name = {quoted(name)}", f"describes = {quoted(describes)}"]


def sheet_lines(law: str, name: str, describes: str, entries: Entries) -> list[str]:
    """Lines of a part's sheet."""
    lines = head(law, name, describes)
    for entry in registry.laws()[law]:
        lines += ["", f"[entries.{entry}]"]
        for key in ("value", "spread", "per", "basis", "source", "valid"):
            if key in entries[entry]:
                lines += _line(key, entries[entry][key])
    return [*lines, ""]


def _line(key: str, value: str | list[str]) -> list[str]:
    if isinstance(value, str):
        return [f"{key} = {quoted(value)}"]
    if len(value) <= 3:
        return [f"{key} = [{', '.join(map(quoted, value))}]"]
    rows = [value[i : i + 4] for i in range(0, len(value), 4)]
    return [f"{key} = [", *(f"  {', '.join(map(quoted, row))}," for row in rows), "]"]
