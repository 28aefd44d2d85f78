"""Results too large for the memory: kept in raw files step by step, and written to netCDF piece by piece.

A step of a run is appended to a file as it comes. What is read back is read a step at a time, so that neither a
dataset over such files nor the writing of a result needs memory that grows with the number of steps.
"""

from __future__ import annotations

import copy
import math
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError, ResourceError
from aocsim.interrupts import interrupts_deferred
from aocsim.output import refusal

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]
Index = int | slice | NDArray[np.intp]

LARGE = 2**28
"""Bytes of a run's large arrays from which they are kept in files, and of a dataset from which it is written so."""

SLAB = 2**24  # bytes that are written at a time
NAME = "spool"
"""Name of the folder inside a scratch folder."""


class SpoolFolder:
    """A folder of raw files that goes when nobody refers to it any more, at the latest with the process."""

    def __init__(self, parent: Path | None, size: int) -> None:
        """Make the folder.

        Args:
            parent: where; None is the system's temporary folder.
            size: bytes that are to come.

        Raises:
            ResourceError: the disk has no such room.
            InputError: the folder cannot be made.
        """
        where = Path(tempfile.gettempdir()) if parent is None else parent
        try:
            free = shutil.disk_usage(where).free
            if free < size:
                raise ResourceError(
                    f"{where}: the run's results need {size / 2**30:.3g} GiB on the way, this disk has "
                    f"{free / 2**30:.3g} GiB left"
                )
            if parent is None:
                self.path = Path(tempfile.mkdtemp(prefix="aocsim-"))
            else:
                self.path = parent / NAME
                self.path.mkdir()
        except OSError as error:
            raise refusal(error, where) from error
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class Spooled:
    """An array (steps, ...) of doubles in a file, as a sequence of steps.

    Attributes:
        shape: with the steps that have come so far.
    """

    def __init__(self, folder: SpoolFolder, name: str) -> None:
        """An array without steps.

        Args:
            folder: is kept as long as this array.
            name: of the file in it.
        """
        self._folder, self._path = folder, folder.path / name
        self.shape: tuple[int, ...] = (0,)

    def append(self, values: Array) -> None:
        """Add a step.

        Args:
            values: of the same shape each time.

        Raises:
            ResourceError: the disk is full.
            InputError: the file cannot be written.
        """
        try:
            with self._path.open("ab") as file:
                file.write(np.ascontiguousarray(values, dtype=np.float64).data)
        except OSError as error:
            raise refusal(error, self._path) from error
        self.shape = (self.shape[0] + 1, *values.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Array]:
        return (self[step] for step in range(len(self)))

    def __getitem__(self, step: int) -> Array:
        if not -len(self) <= step < len(self):
            raise IndexError(step)
        return np.array(self._mapped(step % len(self)))

    def read(self, index: tuple[Index, ...]) -> Array:
        """A part, where each axis has an index of its own, a number, a slice or a list."""
        steps = np.arange(len(self))[index[0]]
        parts = [_at(self._mapped(int(step)), index[1:]) for step in np.atleast_1d(steps)]
        if np.ndim(steps) == 0:
            return parts[0]
        rest = parts[0].shape if parts else _at(np.empty(self.shape[1:]), index[1:]).shape
        return np.stack(parts) if parts else np.empty((0, *rest))

    def _mapped(self, step: int) -> Array:
        """One step, for a look: all of the file at once would count as memory in use."""
        shape = self.shape[1:]
        offset = 8 * math.prod(shape) * step
        if not math.prod(shape):
            return np.empty(shape)
        return np.memmap(self._path, dtype=np.float64, mode="r", offset=offset, shape=shape)

    def __deepcopy__(self, memo: object) -> Spooled:
        return copy.copy(self)  # nobody changes the file


def _at(values: Array, index: tuple[Index, ...]) -> Array:
    """A copy of a part; lists index their own axis."""
    out = values[tuple(slice(None) if isinstance(one, np.ndarray) else one for one in index)]
    axis = 0
    for one in index:
        if isinstance(one, np.ndarray):
            out = np.take(out, one, axis=axis)
        axis += not isinstance(one, int | np.integer)
    return np.array(out)


def transposed(values: Array | Spooled | Stored, axes: tuple[int, ...]) -> Any:
    """What a variable of a dataset may hold: an array with its axes in another order, read when it is asked for."""
    if isinstance(values, np.ndarray):
        return np.transpose(values, axes)
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Lazy(BackendArray):
        """The array as xarray reads the variables of files."""

        def __init__(self, source: Spooled | Stored) -> None:
            self.source, self.dtype = source, np.dtype(np.float64)
            self.shape = tuple(source.shape[axis] for axis in axes)

        def __getitem__(self, key: Any) -> Any:
            return indexing.explicit_indexing_adapter(
                key, self.shape, indexing.IndexingSupport.OUTER, self._read
            )

        def _read(self, key: tuple[Index, ...]) -> Array:
            of_axis = dict(zip(axes, key, strict=True))
            found = self.source.read(tuple(of_axis[axis] for axis in range(len(axes))))
            kept = [axis for axis in range(len(axes)) if not isinstance(of_axis[axis], int | np.integer)]
            return np.transpose(found, [kept.index(axis) for axis in axes if axis in kept])

    return indexing.LazilyIndexedArray(Lazy(values))


def is_much(size: int) -> bool:
    """Whether so many bytes are to be kept in files, or written by `write_in_slabs`."""
    return size >= LARGE


def write_in_slabs(data: xarray.Dataset, path: Path, encoding: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the netCDF-4 file that `data.to_netcdf` would, without ever holding more than a slab of a variable.

    Args:
        data: its variables may be read from files as they are asked for.
        path: the file.
        encoding: as for `to_netcdf`.

    Raises:
        OSError, RuntimeError: the file cannot be written.
    """
    import netCDF4

    # one element of everything is written by xarray, which so decides what the file's variables are like
    model_path = path.with_name(f"{path.name}.model")
    try:
        with interrupts_deferred():
            one_of_each = data.isel({name: slice(0, 1) for name in data.sizes})
            one_of_each.to_netcdf(
                model_path, engine="netcdf4", encoding={k: dict(v) for k, v in encoding.items()}
            )
            with netCDF4.Dataset(model_path) as model, netCDF4.Dataset(path, "w") as target:
                chunks = _define(data, model, target)
    finally:
        model_path.unlink(missing_ok=True)
    for name, chunk in chunks.items():
        source = data.variables[name]
        for part in _slabs(source.shape, chunk, max(source.dtype.itemsize, 8)):
            values = source[part].values
            # opened for each slab: an interrupt, which must not cut the library short, waits for that and no longer
            with interrupts_deferred(), netCDF4.Dataset(path, "a") as target:
                variable = target.variables[name]
                variable.set_auto_maskandscale(False)
                variable[part] = values.astype(object) if values.dtype.kind == "U" else values


def _define(data: xarray.Dataset, model: Any, target: Any) -> dict[str, tuple[int, ...]]:
    """Make dimensions, attributes and variables like those of a model; how each variable is stored in chunks."""
    chunks: dict[str, tuple[int, ...]] = {}
    target.setncatts({name: model.getncattr(name) for name in model.ncattrs()})
    for name in model.dimensions:
        target.createDimension(name, data.sizes[name])
    for name, like in model.variables.items():
        attributes = {key: like.getncattr(key) for key in like.ncattrs()}
        filters = like.filters() or {}
        packed = {key: filters[key] for key in ("zlib", "complevel", "shuffle") if key in filters}
        fill = attributes.pop("_FillValue", None)
        variable = target.createVariable(name, like.dtype, like.dimensions, fill_value=fill, **packed)
        variable.setncatts(attributes)
        stored = variable.chunking()
        chunks[name] = (1,) * len(like.dimensions) if stored == "contiguous" else tuple(stored)
    return chunks


def _slabs(shape: tuple[int, ...], chunk: tuple[int, ...], each: int) -> Iterator[tuple[slice, ...]]:
    """Pieces that cover an array, of whole chunks, as large as a slab where the chunks are smaller.

    Args:
        shape: of the array.
        chunk: shape of what is packed together.
        each: bytes of an element.
    """
    size = list(chunk)
    for axis in reversed(range(len(shape))):
        factor = max(1, SLAB // (each * math.prod(size)))
        size[axis] = max(1, min(shape[axis], size[axis] * factor))
    starts = [range(0, length, step) for length, step in zip(shape, size, strict=True)]
    for first in product(*starts):
        yield tuple(slice(a, min(a + s, n)) for a, s, n in zip(first, size, shape, strict=True))


class Stored:
    """A variable of a netCDF file that is opened for each look and stays open for none.

    Attributes:
        shape: of the variable.
    """

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]) -> None:
        """A variable of doubles.

        Args:
            path: the file, as it is now.
            name: of the variable.
            shape: of the variable.
        """
        self._path, self._name, self.shape = path.resolve(), name, shape
        self._written = self._stamp()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror or error}", file=self._path) from error
        return found.st_ino, found.st_mtime_ns

    def read(self, index: tuple[Index, ...]) -> Array:
        """A part, where each axis has an index of its own, a number, a slice or a list.

        Raises:
            InputError: the file is not what it was.
        """
        import netCDF4

        if self._stamp() != self._written:
            raise InputError("has been replaced since its run", file=self._path, key=self._name)
        with interrupts_deferred(), netCDF4.Dataset(self._path) as file:
            variable = file.variables[self._name]
            variable.set_auto_maskandscale(False)
            return np.asarray(variable[index])


def read_from(data: xarray.Dataset, path: Path, names: Collection[str]) -> xarray.Dataset:
    """The dataset with some of its variables read from a netCDF file, as they are asked for.

    Args:
        data: any.
        path: a file that has been written from it.
        names: of the variables.
    """
    changed = {}
    for name in names:
        old = data.variables[name]
        values = transposed(Stored(path, name, old.shape), tuple(range(old.ndim)))
        changed[name] = (old.dims, values, old.attrs)
    return data.assign(changed)
