"""Arrays in files, and netCDF files written in slabs."""

from __future__ import annotations

import copy
import gc
import shutil
from collections import namedtuple
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from aocsim import spool
from aocsim.errors import InputError, ResourceError
from aocsim.record import assemble, write_result
from aocsim.spool import Spooled, SpoolFolder, _slabs, transposed

SHAPE = (5, 4, 3, 6)  # steps first


def spooled(parent: Path | None) -> tuple[Spooled, np.ndarray]:
    values = np.random.default_rng(1).standard_normal(SHAPE)
    out = Spooled(SpoolFolder(parent, values.nbytes), "values")
    for step in values:
        out.append(step)
    return out, values


def test_steps_come_back(tmp_path: Path) -> None:
    found, values = spooled(tmp_path)
    assert (found.shape, len(found)) == (SHAPE, 5)
    np.testing.assert_array_equal(list(found), values)
    np.testing.assert_array_equal(found[-1], values[-1])
    with pytest.raises(IndexError):
        found[5]


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"step": 2},
        {"step": [4, 1], "time": 3},
        {"channel": [2, 0, 1], "sample": slice(1, 3)},
        {"channel": [2, 0], "sample": [3, 1], "step": slice(None, None, 2), "time": slice(4, 0, -1)},
        {"channel": 0, "sample": 1, "step": 2, "time": 3},
        {"step": slice(0, 0)},
        {"sample": [], "channel": 1},
    ],
)
def test_a_part_is_that_of_the_array(tmp_path: Path, index: dict[str, object]) -> None:
    found, values = spooled(tmp_path)
    axes, dims = (1, 0, 3, 2), ("sample", "step", "time", "channel")
    lazy = xarray.Dataset({"a": (dims, transposed(found, axes))})
    whole = xarray.Dataset({"a": (dims, transposed(values, axes))})
    xarray.testing.assert_identical(lazy.isel(index).compute(), whole.isel(index))
    xarray.testing.assert_identical(copy.deepcopy(lazy).isel(index).compute(), whole.isel(index))


def test_files_go_with_the_last_that_needs_them() -> None:
    found, values = spooled(None)
    folder = found._folder.path
    data = xarray.Dataset({"a": (("step", "x", "y", "z"), transposed(found, (0, 1, 2, 3)))})
    del found
    gc.collect()
    np.testing.assert_array_equal(data["a"].values, values)
    assert folder.exists()
    del data
    gc.collect()
    assert not folder.exists()


def test_no_room_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda where: Usage(2**40, 2**40 - 2**20, 2**20))
    with pytest.raises(ResourceError, match=r"need 1 GiB on the way, this disk has 0.000977 GiB left"):
        SpoolFolder(tmp_path, 2**30)
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    found, _ = spooled(tmp_path)
    shutil.rmtree(found._folder.path)
    with pytest.raises(InputError, match="cannot be written"):
        found.append(np.zeros(SHAPE[1:]))


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=4), st.integers(8, 4000)
)
def test_slabs_cover_every_element_once(axes: list[tuple[int, int]], slab: int) -> None:
    """Whatever shape and chunks; no slab is larger than a chunk or the budget."""
    shape, chunk = tuple(n for n, _ in axes), tuple(min(n, c) for n, c in axes)
    seen = np.zeros(shape, dtype=int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "SLAB", slab)
        for part in _slabs(shape, chunk, 8):
            seen[part] += 1
            assert 8 * seen[part].size <= max(slab, 8 * int(np.prod(chunk)))
            assert all(one.start % c == 0 for one, c in zip(part, chunk, strict=True))
    assert (seen == 1).all()


def layout(path: Path) -> object:
    """Everything that a reader of netCDF sees but the values."""
    with netCDF4.Dataset(path) as file:
        groups = {"": file, **file.groups}
        return {
            group: (
                [(name, len(d), d.isunlimited()) for name, d in one.dimensions.items()],
                [
                    (
                        name,
                        str(v.dtype),
                        v.dimensions,
                        v.filters(),
                        v.chunking(),
                        v.endian(),
                        {key: repr(v.getncattr(key)) for key in v.ncattrs()},
                    )
                    for name, v in one.variables.items()
                ],
                {key: repr(one.getncattr(key)) for key in one.ncattrs()},
            )
            for group, one in groups.items()
        }


def test_a_file_written_in_slabs_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in their order, types, filters, chunks, attributes and values, texts and empty axes too."""
    values = np.random.default_rng(2).standard_normal((40, 7, 30))
    values[3, 2, 1] = np.nan
    data = assemble(
        {
            "large": (("sample", "step", "channel"), values, "V", "µ"),
            "none": (("nothing", "step"), np.empty((0, 7)), "V", "empty"),
            "small": (("step",), np.arange(7.0), "s", "short"),
            "count": (("sample",), np.arange(40, dtype=np.int32), "1", "integers"),
            "text": (("event",), np.array(["a", "longer", "ü"]), "1", "words"),
        },
        {
            "sample": (("sample",), np.arange(40), "1", "number"),
            "instant": (("step",), np.linspace(0, 1, 7), "1", "along the steps"),
            "time": (("channel",), np.linspace(0, 1, 30), "s", "an axis of its own"),
        },
        {"kind": "sample", "title": "Übung", "seed": 3, "wall": 0.5},
    )
    inputs = {"components/slm.toml": b"text"}
    write_result(data, tmp_path / "whole.nc", inputs)
    monkeypatch.setattr(spool, "LARGE", 1)
    monkeypatch.setattr(spool, "SLAB", 5000)
    write_result(data, tmp_path / "slabs.nc", inputs)
    assert layout(tmp_path / "slabs.nc") == layout(tmp_path / "whole.nc")
    with (
        xarray.open_dataset(tmp_path / "whole.nc") as whole,
        xarray.open_dataset(tmp_path / "slabs.nc") as slabs,
    ):
        xarray.testing.assert_identical(slabs.load(), whole.load())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["slabs.nc", "whole.nc"]
