"""Folders of results: proven writable before a long run, and changed as a whole or not at all.

A run writes its files into a scratch folder inside the folder of results. When all are on the disk, a marker is
written beside them, and from then on the run counts as complete: its files move into place one by one, and where
that is cut short (kill -9, a power failure), whoever opens the folder next finds the marker and moves the rest.
A scratch folder without marker is the litter of a run that died, and goes.

Two locks, both `flock` on a folder itself, so that they leave no file and end with the process: a run holds its
scratch folder, which tells it from litter, and whoever moves or clears away holds the folder of results.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aocsim.errors import AocsimError, InputError
from aocsim.interrupts import interrupts_deferred
from aocsim.output import refusal, write_json

# Windows has none: two runs into one folder at the same time may disturb each other there.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

SCRATCH = ".aocsim-"
"""How the names of scratch folders begin, and of the files that prove a folder writable."""

MARKER = ".complete"
"""File of a scratch folder that is complete: what moves into place, and what goes from there."""

_NO_LOCKS = frozenset({errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL})
_SURELY_DEAD = 24 * 3600.0  # seconds after which a scratch folder counts as litter where there are no locks


def prepare_folder(path: Path) -> Path:
    """Make a folder, put in order what a killed run left there, and prove that a file can be written and removed.

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
        recover(path)
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
    try:
        prepare_folder(path)
        yield path
    except BaseException:
        _remove_empty(absent)
        raise


@contextmanager
def all_or_nothing(folder: Path, superseded: Callable[[], Collection[str]] = frozenset) -> Iterator[Path]:
    """A scratch folder inside `folder` whose files move to `folder` when the block ends well, and vanish otherwise.

    Whatever ends the process, and whenever, `folder` holds the earlier files or, at the latest after the next
    `recover`, all the new ones. Interrupts that come while files move wait until they have.

    Args:
        folder: it exists.
        superseded: names of files of an earlier result; those that no new file replaces are removed from `folder`.
            Called when the block has ended.

    Raises:
        InputError: a folder stands where a file is to go, or the system refuses.
        ResourceError: the disk is full.
    """
    scratch: Path | None = None
    held: int | None = None
    try:
        # held, so that nobody takes the new folder for litter before it is held itself
        with _locked(folder), interrupts_deferred():
            _recover(folder)
            scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder))
            held = _hold(scratch)
        yield scratch
        names = sorted(path.name for path in scratch.iterdir())
        for name in names:
            if (folder / name).is_dir():
                raise InputError("is a folder, not a file", file=folder / name)
            _sync(scratch / name)
        with _locked(folder), interrupts_deferred():
            _recover(folder)
            gone = sorted(name for name in set(superseded()) - set(names) if _is_plain(name))
            write_json(scratch / MARKER, {"move": names, "remove": gone})
            try:
                _sync(scratch)
            except OSError:
                (scratch / MARKER).unlink()
                raise
            _move(scratch, folder)
    except OSError as error:
        raise refusal(error, folder) from error
    finally:
        if scratch is not None and not (scratch / MARKER).exists():
            shutil.rmtree(scratch, ignore_errors=True)
        if held is not None:
            os.close(held)


@contextmanager
def exclusive(folder: Path, told: str) -> Iterator[None]:
    """Hold a folder for a block of code; ends with the process, however that ends.

    Args:
        folder: it exists, and is no folder of results, which runs hold for themselves.
        told: what to say where another process holds it.

    Raises:
        InputError: another process holds it.
    """
    try:
        held = _hold(folder, wait=False)
    except BlockingIOError:
        raise InputError(told, file=folder) from None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def recover(folder: Path) -> None:
    """Put in order what runs have left in `folder` that were killed: complete those that had all their files.

    Runs that live are left alone. Costs a look into the folder where there is nothing to do.

    Raises:
        InputError: a complete result cannot be moved into place.
        ResourceError: the disk is full.
    """
    try:
        if folder.is_dir() and any(folder.glob(f"{SCRATCH}*")):
            with _locked(folder), interrupts_deferred():
                _recover(folder)
    except OSError as error:
        raise refusal(error, folder) from error


def _recover(folder: Path) -> None:
    """As `recover`, by a caller that holds the folder."""
    for path in sorted(folder.glob(f"{SCRATCH}*")):
        try:
            if not path.is_dir():
                path.unlink()
                continue
            held = _hold(path, wait=False)
        except (BlockingIOError, FileNotFoundError, PermissionError):  # lives, is gone by now, another user's
            continue
        try:
            if (path / MARKER).exists():
                _move(path, folder)
            elif held is not None or time.time() - path.stat().st_mtime > _SURELY_DEAD:
                shutil.rmtree(path, ignore_errors=True)
        finally:
            if held is not None:
                os.close(held)


def _move(scratch: Path, folder: Path) -> None:
    """Move the files of a complete scratch folder into place; what has moved before is not there any more."""
    plan = json.loads((scratch / MARKER).read_text(encoding="utf-8"))
    for name in plan["move"]:
        with suppress(FileNotFoundError):
            (scratch / name).replace(folder / name)
    for name in plan["remove"]:
        (folder / name).unlink(missing_ok=True)
    _sync(folder)  # the moves reach the disk before the marker goes that could repeat them
    (scratch / MARKER).unlink()
    shutil.rmtree(scratch, ignore_errors=True)


def _is_plain(name: str) -> bool:
    """Whether a name stays inside its folder; names come from files that anybody may have written."""
    return bool(name) and not name.startswith(".") and Path(name).name == name and "\\" not in name


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder; waits until no other process does."""
    held = _hold(folder)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _hold(folder: Path, *, wait: bool = True) -> int | None:
    """Lock a folder and return the descriptor whose closing frees it; None where folders cannot be locked.

    Raises:
        BlockingIOError: another process holds it and `wait` is false.
        OSError: the folder cannot be opened.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError) and error.errno in _NO_LOCKS:  # some network file systems
            return None
        raise
    return descriptor


def _sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, onto the disk."""
    if path.is_dir() and fcntl is None:
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:  # a file system that cannot do it for folders
            raise
    finally:
        os.close(descriptor)


def _prove_writable(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError("is a file, not a folder", file=path)
    probe = path / f"{SCRATCH}{secrets.token_hex(6)}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"0")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise refusal(error, path) from error


def _absent(path: Path) -> list[Path]:
    """Folders that are yet to be made, innermost first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
