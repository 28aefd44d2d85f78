"""Sheets of a measured machine as files of a library folder: all of them or none, and nothing overwritten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from aocsim.errors import InputError
from aocsim.folders import all_or_nothing


def plain_name(text: str) -> str:
    """The name for a sheet that is closest to a text: what no name holds becomes "_"."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:60]
    return plain if re.match(r"\w", plain) else f"_{plain}"


def write_sheets(folder: Path, sheets: Mapping[str, str]) -> list[str]:
    """Write sheets into a folder that exists.

    Args:
        folder: `components/` of a library.
        sheets: texts by sheet name.

    Returns:
        Names of the sheets that were written; those that stood there already with the same text are left alone.

    Raises:
        InputError: a file of another content stands there; then nothing is written.
        ResourceError: the disk is full.
    """
    new = [name for name, text in sheets.items() if not _stands(folder / f"{name}.toml", text)]
    if new:
        with all_or_nothing(folder) as scratch:
            for name in new:
                (scratch / f"{name}.toml").write_text(sheets[name], encoding="utf-8")
    return new


def _stands(path: Path, text: str) -> bool:
    """Whether a file holds this text already; refuses any other content."""
    try:
        if path.read_bytes() == text.encode():
            return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", file=path) from error
    raise InputError("stands there with another content", file=path, allowed="another --name or --out")
