"""Folders proven writable, and files that are complete or not there."""

import errno
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from aocsim import output
from aocsim.errors import InputError, ResourceError
from aocsim.output import output_folder, prepare_folder, write_atomically, write_json


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert prepare_folder(folder) == folder
    assert contents(folder) == []


def test_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    prepare_folder(tmp_path)
    assert contents(tmp_path) == ["old.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"is a file|Not a directory") as caught:
            prepare_folder(path)
        assert caught.value.file == str(path)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_nobody_can_make() -> None:
    with pytest.raises(InputError, match="/proc/aocsim: cannot be written"):
        prepare_folder(Path("/proc/aocsim"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            prepare_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(("number", "kind"), [(errno.EROFS, InputError), (errno.ENOSPC, ResourceError)])
def test_folder_that_takes_no_file_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(kind, match=os.strerror(number)):
        prepare_folder(tmp_path / "a" / "b")
    assert contents(tmp_path) == []


def test_a_block_that_fails_leaves_no_empty_folder_but_every_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    assert contents(tmp_path) == []
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "a") as folder:
        (folder / "result").write_text("complete")
        raise ZeroDivisionError
    assert contents(tmp_path / "a") == ["result"]


def test_a_folder_that_was_there_stays_when_the_block_fails(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "mine"):
        raise ZeroDivisionError
    assert contents(tmp_path) == ["mine"]


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
    monkeypatch.setattr(output, "_is_nearly_full", lambda folder: True)
    with pytest.raises(ResourceError, match="the disk is full"):
        write_atomically(tmp_path / "result.nc", write)


def test_target_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        write_atomically(tmp_path, lambda path: path.write_text("all"))
    with pytest.raises(InputError, match="No such file or directory"):
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
