"""Writing results: a folder proven writable before a long run, and files that are complete or not there."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from aocsim.errors import AocsimError, InputError, ResourceError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers that say that the disk, a quota or the allowed length of a file is used up."""

_NEARLY_FULL = 2**20  # bytes; netCDF reports a full disk as an unspecific RuntimeError


def prepare_folder(path: Path) -> Path:
    """Make a folder, and prove that a file can be written there and removed.

    Args:
        path: the folder; parents are made, too. It may exist and hold files.

    Returns:
        The path. When an error is raised, no folder that was made is left.

    Raises:
        InputError: the path is a file, or cannot be made or written to.
        ResourceError: the disk is full.
    """
    absent = _absent(path)
    try:
        _prove_writable(path)
    except AocsimError:
        _remove_empty(absent)
        raise
    return path


@contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """`prepare_folder` for a block of code; where the block fails, empty folders that were made go again.

    Args:
        path: the folder.

    Raises:
        InputError, ResourceError: as `prepare_folder`.
    """
    absent = _absent(path)
    prepare_folder(path)
    try:
        yield path
    except BaseException:
        _remove_empty(absent)
        raise


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
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _refusal(error, path) from error
    except RuntimeError as error:
        if _is_nearly_full(path.parent):  # asked before the temporary file gives its space back
            raise ResourceError(f"{path}: cannot be written, the disk is full") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A scratch folder inside `folder` whose files move to `folder` when the block ends well, and vanish otherwise.

    So a run that fails half-way, for instance on a full disk, leaves the earlier result as it was.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".aocsim-", dir=folder))
    try:
        yield scratch
        for path in sorted(scratch.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_json(path: Path, data: Mapping[str, object]) -> Path:
    """Write a table as JSON, complete or not at all; numbers that are not finite become null.

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


def _prove_writable(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError("is a file, not a folder", file=path)
    probe = path / f".aocsim-{secrets.token_hex(6)}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"0")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _refusal(error, path) from error


def _refusal(error: OSError, path: Path) -> AocsimError:
    reason = error.strerror or str(error)
    if error.errno in DISK_FULL:
        return ResourceError(f"{path}: cannot be written, the disk is full: {reason}")
    return InputError(f"cannot be written: {reason}", file=path)


def _is_nearly_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NEARLY_FULL
    except OSError:
        return False


def _absent(path: Path) -> list[Path]:
    """Folders that are yet to be made, innermost first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
