"""Runs whose results are too large for the memory: the same files, and nothing left where they are cut short."""

from __future__ import annotations

import gc
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xarray

import aocsim
from aocsim import spool
from aocsim.errors import ResourceError
from aocsim.experiment import Experiment
from aocsim.folders import SCRATCH
from aocsim.record import files_of, read_inputs, read_result
from aocsim.repeat import compared

SMALL = {
    "samples": 5,
    "trials": 2,
    "diffusion.steps": 3,
    "compile.operating_point_trim": 2,
    "solve.threads": 1,
}
LIMIT = 2**20


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, empty."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, xarray.Dataset]:
    """Folder and dataset of a run that is not large."""
    folder = tmp_path_factory.mktemp("earlier") / "out"
    return folder, aocsim.run("heart", overrides=SMALL, out=folder)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="usual"),
        pytest.param({"timeline.memory": "sample_and_hold"}, id="analog memory", marks=pytest.mark.slow),
        pytest.param({"record.samples": 0}, id="no waves", marks=pytest.mark.slow),
        pytest.param({"record.diagnosis": False}, id="no diagnosis", marks=pytest.mark.slow),
    ],
)
def test_a_large_run_gives_the_same_file(
    tmp_path: Path,
    earlier: tuple[Path, xarray.Dataset],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
) -> None:
    """Every variable and attribute bit for bit, in the same order; pictures and what is returned, too."""
    overrides = {**SMALL, **changes}
    if changes:
        usual = aocsim.run("heart", overrides=overrides, out=tmp_path / "usual")
    else:
        shutil.copytree(earlier[0], tmp_path / "usual")
        usual = earlier[1]
    monkeypatch.setattr(spool, "LARGE", LIMIT // 16)
    monkeypatch.setattr(spool, "SLAB", 20_000)
    large = aocsim.run("heart", overrides=overrides, out=tmp_path / "large")
    first, second = (read_result(tmp_path / name / "result.nc") for name in ("usual", "large"))
    found = compared(first, second)
    assert found.identical, found.differences
    assert list(second.variables) == list(first.variables)
    assert [*second.attrs] == [*first.attrs]
    assert second.attrs["files"] == first.attrs["files"]
    assert read_inputs(tmp_path / "large" / "result.nc") == read_inputs(tmp_path / "usual" / "result.nc")
    xarray.testing.assert_equal(large.compute(), usual)
    assert {name: v.attrs for name, v in large.variables.items()} == {
        name: v.attrs for name, v in usual.variables.items()
    }
    names = {path.name for path in (tmp_path / "large").iterdir()}
    assert (
        names
        == files_of(tmp_path / "large" / "result.nc")
        == {p.name for p in (tmp_path / "usual").iterdir()}
    )
    for name in names - {"result.nc", "summary.json"}:
        assert (tmp_path / "large" / name).read_bytes() == (tmp_path / "usual" / name).read_bytes(), name
    assert not list(temporary.iterdir())


def test_without_a_folder_files_live_as_long_as_the_dataset(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LARGE", 1)
    data = aocsim.run("heart", overrides=SMALL)
    (folder,) = temporary.iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "voltage", "solution_voltage", "read_out", "ideal_fixed_point",
    }  # fmt: skip
    assert data["read_out"].isel(sample=0, step=0, channel=[3, 1]).shape == (2,)
    assert np.isfinite(data["read_out"].values).all()
    del data
    gc.collect()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("with_earlier", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_large_run_cut_short_leaves_nothing(
    tmp_path: Path,
    earlier: tuple[Path, xarray.Dataset],
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_earlier: bool,
    error: BaseException | type[BaseException],
) -> None:
    monkeypatch.setattr(spool, "LARGE", 1)
    out = tmp_path / "out"
    if with_earlier:
        shutil.copytree(earlier[0], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()} if with_earlier else {}
    measure, seen = Experiment.measure, []

    def interrupted(self: Experiment, *args: object, **options: object) -> object:
        if self.name == "run" and args[2] == 2:
            (folder,) = out.glob(f"{SCRATCH}*")
            seen.extend(path.stat().st_size for path in folder.glob(f"{spool.NAME}/*"))
            raise error
        return measure(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Experiment, "measure", interrupted)
    with pytest.raises((KeyboardInterrupt, ResourceError)):
        aocsim.run("heart", overrides=SMALL, out=out)
    assert len(seen) == 4
    assert all(seen)
    if with_earlier:
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    else:
        assert not out.exists()
    assert not list(temporary.iterdir())


def test_a_large_run_cut_short_while_it_writes_leaves_nothing(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LARGE", 1)
    count = iter(range(1000))
    slabs = spool._slabs

    def interrupted(*args: object) -> object:
        for part in slabs(*args):  # type: ignore[arg-type]
            if next(count) == 3:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(spool, "_slabs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        aocsim.run("heart", overrides=SMALL, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(temporary.iterdir())


def test_without_diagnosis_its_figures_are_absent(
    tmp_path: Path, earlier: tuple[Path, xarray.Dataset]
) -> None:
    """And all else is what it is with it."""
    usual = earlier[1]
    data = aocsim.run("heart", overrides={**SMALL, "record.diagnosis": False}, out=tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    none = {"settling_us_median", "settling_us_p95", "saturated_fraction", "unsettled_fraction"}
    assert {key for key, value in summary.items() if value is None} == none
    assert set(usual.variables) - set(data.variables) == {"settling"}
    xarray.testing.assert_equal(data, usual.drop_vars("settling"))
    assert any("record.diagnosis" in note for note in json.loads(data.attrs["notes"]))
    assert (tmp_path / "out" / "voltages.png").exists()
