"""Files that are complete or not there; folders full of them are the business of `aocsim.folders`."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from aocsim.errors import AocsimError, InputError, ResourceError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers that say that the disk, a quota or the allowed length of a file is used up."""

_ROOM = 2**20  # bytes that a disk must still take, or it counts as full


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file under a temporary name and rename it, so that it is complete or not there at all.

    Args:
        path: the file; replaced if it is there, and untouched when anything fails.
        write: writes the file whose path it is given: same folder, same suffix.

    Returns:
        The path.

    Raises:
        ResourceError: the disk is full.
        InputError: the file cannot be written.
    """
    if path.is_dir():
        raise InputError("is a folder, not a file", file=path)
    if not path.parent.is_dir():  # netCDF would say that permission is denied
        raise InputError(f"cannot be written: there is no folder {path.parent}", file=path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        # netCDF tells a full disk as anything; asked before the temporary file gives its space back
        full = _why_full(temporary)
        if full is not None:
            raise refusal(full, path) from error
        if isinstance(error, OSError):
            raise refusal(error, path) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def write_json(path: Path, data: Mapping[str, object] | Sequence[object]) -> Path:
    """Write a table or a list as JSON, complete or not at all; numbers that are not finite become null.

    Args:
        path: the file.
        data: names and plain values, or numpy scalars and arrays.

    Raises:
        ResourceError, InputError: as `write_atomically`.
    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _plain(item: object) -> object:
    """`item` in types that JSON has."""
    if isinstance(item, Mapping):
        return {str(name): _plain(value) for name, value in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain(value) for value in item]
    if isinstance(item, float) and not math.isfinite(item):
        return None
    tolist = getattr(item, "tolist", None)  # numpy's scalars and arrays, without importing numpy
    return item if tolist is None else _plain(tolist())


def refusal(error: OSError, path: Path) -> AocsimError:
    """What to tell the user when the system would not write `path`."""
    reason = error.strerror or str(error)
    if error.errno in DISK_FULL:
        return ResourceError(f"{path}: cannot be written, the disk is full: {reason}")
    return InputError(f"cannot be written: {reason}", file=path)


def _why_full(temporary: Path) -> OSError | None:
    """The system's refusal to make a file longer for want of space; None if it does not refuse."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error if error.errno in DISK_FULL else None
    return None
