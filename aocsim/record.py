"""Datasets with units, and the netCDF files that hold them together with all that made them.

Every variable carries `units` and `long_name`; attributes are plain scalars and JSON strings, since netCDF
knows neither None nor dict. Wall times are attributes, never variables.

The results stand in the file's root, where any reader of netCDF sees them. The group `inputs` holds the files that the
run has read, byte for byte, one variable of bytes each, with its place in a library folder and its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.errors import InputError
from aocsim.folders import recover
from aocsim.interrupts import interrupts_deferred
from aocsim.output import write_atomically
from aocsim.spool import is_much, write_in_slabs

if TYPE_CHECKING:
    import xarray

SCHEMA = 2
"""Version of the result file, in its attribute `aocsim_schema`. 2 has the inputs in it."""

INPUTS = "inputs"
"""Group of the file that holds what the run has read."""

COMPRESS_FROM = 1000  # elements; below, the header of a compressed chunk costs more than it saves
_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # with which a netCDF-4 file begins
_LONGEST_REASON = 120  # characters of what the library says
_NEEDED = ("run_id", "kind")
_TABLES = ("scenario", "machine_record", "versions", "summary")  # attributes that hold JSON
_LISTS = ("notes",)

Variables = Mapping[str, tuple[tuple[str, ...], Any, str, str]]
"""Name -> (dimensions, values, unit, long name)."""


def assemble(variables: Variables, coordinates: Variables, attributes: Mapping[str, Any]) -> xarray.Dataset:
    """A Dataset in which nothing is without unit and long name."""
    import xarray

    def described(items: Variables) -> dict[str, Any]:
        return {
            name: (dims, values, {"units": unit, "long_name": text})
            for name, (dims, values, unit, text) in items.items()
        }

    data = xarray.Dataset(described(variables), coords=described(coordinates))
    data.attrs = {"aocsim_schema": SCHEMA, **attributes}
    return data


def write_result(data: xarray.Dataset, path: Path, inputs: Mapping[str, bytes] | None = None) -> None:
    """Write a result and what made it as compressed netCDF-4: complete, or not at all.

    Args:
        data: the result; a large one is written in pieces, and may be read from other files on the way.
        path: the file.
        inputs: files by their place in a library folder, such as components/slm.toml; without them the result cannot
            be repeated or compared.

    Raises:
        ResourceError: the disk is full.
        InputError: the file cannot be written.
    """
    packed: dict[str, Any] = {"zlib": True, "complevel": 4, "shuffle": True}
    encoding = {
        str(name): packed
        for name, variable in data.data_vars.items()
        if variable.dtype.kind in "fi" and variable.size > COMPRESS_FROM
    }
    files = _as_dataset(inputs or {})
    tight = {str(name): {"zlib": True, "complevel": 9} for name in files.data_vars}

    large = is_much(int(data.nbytes))

    def write(temporary: Path) -> None:
        # cut short while it takes its locks, the library keeps them, and waits for itself for ever
        if large:
            write_in_slabs(data, temporary, encoding)
        with interrupts_deferred():
            if not large:
                data.to_netcdf(temporary, engine="netcdf4", encoding=encoding)
            if inputs:
                files.to_netcdf(temporary, engine="netcdf4", mode="a", group=INPUTS, encoding=tight)

    write_atomically(path, write)


def _as_dataset(inputs: Mapping[str, bytes]) -> xarray.Dataset:
    import xarray

    variables = {}
    for place, content in inputs.items():
        name = place.replace("/", ".")  # a slash would begin another group
        variables[name] = (
            (f"bytes_of_{name}",),
            np.frombuffer(content, dtype=np.uint8),
            {"units": "1", "long_name": f"bytes of {place}", "path": place, "sha256": sha256_of(content)},
        )
    return xarray.Dataset(variables)


def sha256_of(content: bytes) -> str:
    """SHA-256 in hex digits."""
    return hashlib.sha256(content).hexdigest()


def read_result(path: Path) -> xarray.Dataset:
    """A result that `write_result` has written, all in memory.

    What a killed run has left in the file's folder is put in order first, so that no half of a result is read.

    Raises:
        InputError: no such file, or none that can be read; not a netCDF-4 file, cut short, no result of this package,
            or one of another schema.
    """
    recover(path.parent)
    data = load(path)
    schema, kind = data.attrs.get("aocsim_schema"), data.attrs.get("kind")
    if schema is None or kind is None:
        missing = "aocsim_schema" if schema is None else "kind"
        raise InputError("not a result of aocsim: the attribute is missing", file=path, key=missing)
    if kind == "network":
        raise InputError("is a network, not a result", file=path, key="kind", got=kind)
    schema = np.asarray(schema).tolist()
    if schema != SCHEMA:
        raise InputError(
            "another version of the file", file=path, key="aocsim_schema", got=schema, allowed=str(SCHEMA)
        )
    for key in (*_NEEDED, *_TABLES, *_LISTS):
        if not isinstance(data.attrs.get(key), str):
            raise InputError("the attribute is missing or damaged", file=path, key=key)
    for key in (*_TABLES, *_LISTS):
        _refuse_damaged(key, data.attrs[key], path)
    return data


def _refuse_damaged(key: str, text: str, path: Path) -> None:
    """Refuse an attribute that is no JSON, or of another form than this package writes."""
    wanted = "a list of texts" if key in _LISTS else "a table of texts" if key == "versions" else "a table"
    wanted = "a table of numbers" if key == "summary" else wanted
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("the attribute is damaged: no JSON", file=path, key=key, allowed=wanted) from error
    values = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    fits = isinstance(found, list if key in _LISTS else dict)
    if key in ("versions", "notes"):
        fits = fits and all(isinstance(value, str) for value in values)
    if key == "summary":
        fits = fits and all(value is None or isinstance(value, int | float) for value in values)
    if not fits:
        raise InputError("the attribute is damaged", file=path, key=key, got=found, allowed=wanted)


def read_inputs(path: Path) -> dict[str, bytes]:
    """The files that a result's run has read, by their place in a library folder.

    Raises:
        InputError: as `read_result`; or the file holds no inputs, or some that do not match their hash.
    """
    data = load(path, INPUTS)
    files = {}
    for name, variable in data.data_vars.items():
        content = variable.values.tobytes()
        place, wanted = variable.attrs.get("path"), variable.attrs.get("sha256")
        if sha256_of(content) != wanted or not _is_place(place):
            raise InputError("an input is damaged: it does not match its hash", file=path, key=str(name))
        files[str(place)] = content
    return files


def files_of(path: Path) -> frozenset[str]:
    """Names of the files that the run of a result has written beside it; none where that cannot be read."""
    try:
        with _opened(path, None) as data:
            return frozenset(map(str, json.loads(data.attrs["files"])))
    except (InputError, KeyError, TypeError, ValueError):
        return frozenset()


def _is_place(place: object) -> bool:
    """Whether this names a file one folder deep, and nothing outside."""
    return isinstance(place, str) and [part in ("", ".", "..") for part in place.split("/")] == [False, False]


def load(path: Path, group: str | None = None) -> xarray.Dataset:
    """A dataset of a netCDF file, read whole; `group` None is the root.

    Raises:
        InputError: not such a file, or damaged.
    """
    with _opened(path, group) as data:
        return data.load()


@contextmanager
def _opened(path: Path, group: str | None) -> Iterator[xarray.Dataset]:
    """A group of a netCDF-4 file; whatever is wrong with it in the block is an InputError."""
    import xarray

    _refuse_other_files(path)
    try:
        with interrupts_deferred(), xarray.open_dataset(path, engine="netcdf4", group=group) as data:
            yield data
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if group is not None and "group not found" in str(error):
            problem = "holds no inputs, as an older version or another program wrote it"
            raise InputError(problem, file=path, key=group) from error
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise InputError(f"cut short or damaged ({reason})", file=path) from error


def _refuse_other_files(path: Path) -> None:
    """Say what a file is that cannot be netCDF-4, better than the library would."""
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SIGNATURE))
    except IsADirectoryError as error:
        inside = path / "result.nc"
        near = str(inside) if inside.is_file() else None
        raise InputError("is a folder, not a result file", file=path, nearest=near) from error
    except FileNotFoundError as error:
        raise InputError("no such file", file=path) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read: {reason}", file=path) from error
    if not begin:
        raise InputError("is empty, not a result file", file=path)
    if begin != _SIGNATURE:
        raise InputError("is not a netCDF-4 file", file=path, got=begin, allowed="a result.nc of aocsim")
