"""Files that are complete or not there."""

import errno
import json
import math
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray

from aocsim import output
from aocsim.errors import InputError, ResourceError
from aocsim.output import write_atomically, write_json


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_is_written_under_another_name_of_the_same_suffix(tmp_path: Path) -> None:
    target = tmp_path / "result.nc"
    target.write_text("old")
    seen: list[Path] = []

    def write(path: Path) -> None:
        seen.append(path)
        assert target.read_text() == "old"
        path.write_text("new")

    assert write_atomically(target, write) == target
    assert target.read_text() == "new"
    assert contents(tmp_path) == ["result.nc"]
    assert seen[0].parent == tmp_path
    assert seen[0].suffix == ".nc"


@pytest.mark.parametrize("failure", [ValueError("a defect"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_alone(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "result.nc"
    target.write_text("old")

    def write(path: Path) -> None:
        path.write_text("half")
        raise failure

    with pytest.raises(type(failure)):
        write_atomically(target, write)
    assert target.read_text() == "old"
    assert contents(tmp_path) == ["result.nc"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_names_the_file(tmp_path: Path, number: int) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(ResourceError, match=r"result\.nc: cannot be written, the disk is full"):
        write_atomically(tmp_path / "result.nc", write)
    assert contents(tmp_path) == []


def test_full_disk_found_only_by_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError):
        write_atomically(tmp_path / "result.nc", lambda path: path.write_text("all"))
    assert contents(tmp_path) == []


def test_full_disk_reported_by_netcdf_as_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path) -> None:
        raise RuntimeError("NetCDF: HDF error")

    with pytest.raises(RuntimeError, match="HDF"):  # there is space: a defect, which must show
        write_atomically(tmp_path / "result.nc", write)
    assert contents(tmp_path) == []
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(output, "_why_full", lambda temporary: full)
    with pytest.raises(ResourceError, match="the disk is full"):
        write_atomically(tmp_path / "result.nc", write)


@pytest.fixture
def short_files() -> Iterator[int]:
    """No file may become longer than this; a write beyond fails as it would on a full disk."""
    longest = 50_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, before[1]))
    try:
        yield longest
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_netcdf_that_finds_no_room(
    tmp_path: Path, short_files: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data = xarray.Dataset({"noise": ("time", np.random.default_rng(1).random(short_files // 4))})
    (tmp_path / "result.nc").write_text("old")
    with pytest.raises(
        ResourceError, match=r"result\.nc: cannot be written, the disk is full: File too large"
    ):
        write_atomically(tmp_path / "result.nc", lambda path: data.to_netcdf(path, engine="netcdf4"))
    assert contents(tmp_path) == ["result.nc"]
    assert (tmp_path / "result.nc").read_text() == "old"
    small = data.isel(time=slice(10))
    write_atomically(tmp_path / "result.nc", lambda path: small.to_netcdf(path, engine="netcdf4"))
    assert xarray.load_dataset(tmp_path / "result.nc").equals(small)
    assert capfd.readouterr().err == ""


def test_target_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        write_atomically(tmp_path, lambda path: path.write_text("all"))
    with pytest.raises(InputError, match=r"cannot be written: there is no folder .*missing"):
        write_atomically(tmp_path / "missing" / "file", lambda path: path.write_text("all"))


def test_json_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    data = {
        "nan": math.nan,
        "infinite": np.float64(-np.inf),
        "number": np.float64(0.5),
        "count": np.int64(3),
        "array": np.array([1.0, np.nan]),
        "nested": {"flag": np.bool_(True), "list": [math.inf, "µ"]},
        "none": None,
    }
    path = write_json(tmp_path / "summary.json", data)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "nan": None,
        "infinite": None,
        "number": 0.5,
        "count": 3,
        "array": [1.0, None],
        "nested": {"flag": True, "list": [None, "µ"]},
        "none": None,
    }
    assert text.endswith("}\n")
    assert "µ" in text


def test_json_of_what_json_has_not_touches_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "summary.json", {"set": {1}})
    assert contents(tmp_path) == []
