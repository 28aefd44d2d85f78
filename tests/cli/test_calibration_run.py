"""Scenarios of kind "calibration" from the command line: what comes out, what survives, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

import aocsim.twin
from aocsim.calibration.chain import NAMES
from aocsim.calibration.record import read_record, write_record
from aocsim.errors import InputError, PhysicsError
from aocsim.library import Library
from aocsim.record import read_result
from aocsim.repeat import rerun
from aocsim.scenarios.calibrate import forget
from aocsim.scenarios.overrides import parse_assignment
from aocsim.scenarios.run import run_scenario

REPOSITORY = Path(__file__).resolve().parents[2]
FEW = (
    "machine=small", "serial=31", "open.matrices=6", "open.held_out=2", "open.trials=3", "open.dedicated_trials=3",
    "closed.matrices=40", "closed.held_out=8", "closed.trials=3", "solve.threads=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a typical machine of 8 channels."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "components").mkdir()
    text = Library.open().machine("aoc48").text
    text = text.replace("channels = 48", "channels = 8").replace('name = "aoc48"', 'name = "small"')
    (folder / "components" / "small.toml").write_text(text)
    return folder


def command(library: Path, out: Path, *changes: str) -> list[str]:
    sets = [part for change in (*FEW, *changes) for part in ("--set", change)]
    return [
        sys.executable, "-m", "aocsim", "run", "calibrate_closed_loop",
        "--library", str(library), "--out", str(out), "-q", *sets,
    ]  # fmt: skip


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refused(arguments: list[str], status: int = 2) -> str:
    """The one line that a refusal prints."""
    found = run(arguments)
    assert found.returncode == status, found.stderr
    lines = found.stderr.strip().splitlines()
    assert len(lines) == 1 and "Traceback" not in found.stderr, found.stderr
    return lines[0]


def inside(library: Path, out: Path, *changes: str) -> None:
    """The same run in this process."""
    overrides = dict(parse_assignment(change) for change in (*FEW, *changes))
    run_scenario("calibrate_closed_loop", library=library, overrides=overrides, out=out)


@pytest.fixture(scope="module")
def whole(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete calibration."""
    out = tmp_path_factory.mktemp("whole") / "out"
    found = run(command(library, out))
    assert found.returncode == 0, found.stderr
    return out


def same(one: Path, other: Path) -> None:
    """All variables of two sheets have the same bits."""
    a, b = read_result(one / "result.nc"), read_result(other / "result.nc")
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))
    assert a.attrs["data_sha256"] == b.attrs["data_sha256"]


def test_both_stages_come_out_with_errors_ranges_and_figures(whole: Path) -> None:
    data = read_result(whole / "result.nc")
    summary = json.loads((whole / "summary.json").read_text())
    for key in (
        "open_loop_nrmse_mean", "open_loop_nrmse_p95", "open_loop_n", "closed_loop_nrmse_mean",
        "closed_loop_nrmse_p95", "closed_loop_n", "nominal_nrmse_mean", "unidentified",
    ):  # fmt: skip
        assert summary[key] is not None, key
    assert summary["open_loop_nrmse_mean"] < 0.5 * summary["nominal_nrmse_mean"]
    assert summary["closed_loop_nrmse_mean"] < 0.5 * summary["nominal_closed_loop_nrmse_mean"]
    # what the summary says is what the variables hold
    assert summary["open_loop_nrmse_mean"] == pytest.approx(float(data["open_nrmse"].mean()))
    for name in (*NAMES, "gradient_gain", "alpha_gain", "drive_gain", "residual_offset"):
        assert (
            data[name].attrs["units"] and np.isfinite(data[name]).all() and (data[f"{name}_error"] >= 0).all()
        )
    assert data.attrs["seen_beta_max"] == pytest.approx(4 / 3 * 20, rel=1e-2)
    assert data.attrs["seen_drive_v"] > 0 and 0.3 < data.attrs["seen_alpha_max"] <= 0.9
    # one pole explains the transients of a machine that has one
    assert summary["transient_chi_squared_mean"] == pytest.approx(1.0, abs=0.1)
    pulls = (data["pole"] - data["pole_truth"]) / data["pole_error"]
    assert np.sqrt(np.mean(pulls**2)) < 2
    for name in (
        "errors.png", "parameters.png", "residuals.png", "transients.png", "experiments.nc", "twin.yaml",
    ):  # fmt: skip
        assert (whole / name).stat().st_size > 1000, name
    assert not (whole / "unfinished_experiments").exists()


@pytest.mark.parametrize("name", ["result.nc", "twin.yaml"])
def test_the_twins_predict_what_the_sheet_does(whole: Path, name: str) -> None:
    """That of the sheet to rounding; that in the public format, which knows no retardance, nearly as well."""
    data, record = read_result(whole / "result.nc"), read_record(whole / "experiments.nc")
    held = record.stage("sweep")[-1]
    signed = (held.block.grey[0] - held.block.grey[1]).T / record.facts.grey_levels
    largest = np.abs(signed).max()
    assert largest == 1.0  # the format knows weights over their largest
    twin = aocsim.twin.load(whole / name)
    got = np.concatenate(
        [twin.step(s.condition, signed, alpha=0.0, beta=s.beta) for s in held.block.settings]
    )
    # the closed loop's gain and offset are in the file, too
    gain, offset = data["gradient_gain"].values, data["residual_offset"].values
    constant = data["offset"].values + held.beta[:, None] * data["offset_per_beta"].values
    left = held.mean - ((got - offset - constant) / gain + constant)
    kept = data["open_held_out_residual"].values[-len(left) :]
    if name == "result.nc":
        np.testing.assert_allclose(left, kept, rtol=0, atol=1e-9)
    else:
        assert np.std(left) < 2 * np.std(kept)


def test_experiments_on_file_give_the_identical_sheet(whole: Path, library: Path, tmp_path: Path) -> None:
    inside(library, tmp_path / "again", f"record={whole / 'experiments.nc'}")
    same(whole, tmp_path / "again")


@pytest.mark.slow
def test_a_sheet_from_experiments_on_file_is_repeated_without_the_file(
    whole: Path, library: Path, tmp_path: Path
) -> None:
    """The experiments travel with the result, and so does a first stage that was taken over."""
    for key, source in (("record", "experiments.nc"), ("open_loop", "result.nc")):
        path = tmp_path / source
        path.write_bytes((whole / source).read_bytes())
        changes = (
            [f"{key}={path}"] if key == "record" else [f"{key}={path}", f"record={whole / 'experiments.nc'}"]
        )
        inside(library, tmp_path / key, *changes)
        path.unlink()
        assert rerun(tmp_path / key / "result.nc").identical


def test_compare_points_to_diff(whole: Path) -> None:
    result = str(whole / "result.nc")
    assert "aocsim diff" in refused([sys.executable, "-m", "aocsim", "compare", result, result])


def test_a_sheet_is_not_written_over(whole: Path, library: Path) -> None:
    before = (whole / "result.nc").read_bytes()
    assert "a calibration is there, and stays" in refused(command(library, whole))
    assert (whole / "result.nc").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_what_was_measured_survives_an_interrupt_and_a_kill(
    whole: Path, library: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(library, out),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    for _ in range(3000):
        if len(list(out.glob("unfinished_experiments/[!.]*.npz"))) > 8:
            break
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("unfinished_experiments/[!.]*.npz")}
    assert len(kept) > 8 and not (out / "result.nc").exists()
    # another machine does not go on with them
    assert "of another calibration" in refused(command(library, out, "serial=32"))
    changed = run(command(library, out))
    assert changed.returncode == 0, changed.stderr
    same(whole, out)


@pytest.mark.slow
def test_a_sheet_is_repeated_from_itself(whole: Path) -> None:
    found = run([sys.executable, "-m", "aocsim", "rerun", str(whole / "result.nc")])
    assert found.returncode == 0, found.stdout + found.stderr
    assert "identical, bit for bit" in found.stdout


def changed_record(whole: Path, path: Path, change: Callable[[xarray.Dataset], object]) -> Path:
    """A copy of the experiments with something changed."""
    with xarray.open_dataset(whole / "experiments.nc") as data:
        loaded = data.load()
    change(loaded)
    loaded.to_netcdf(path)
    return path


def not_a_number(data: xarray.Dataset) -> None:
    data["mean"].values[100, 3] = np.nan


def two_machines(data: xarray.Dataset) -> None:
    names = data["machine"].values.astype(object)
    names[-1] = "another, serial 3"
    data["machine"] = ("block_number", names.astype(str))


def constant(data: xarray.Dataset) -> None:
    data["mean"].values[:, 5] = 0.125


def saturated(data: xarray.Dataset) -> None:
    data["mean"].values[:, 2] = np.minimum(data["mean"].values[:, 2], 0.05 * data["mean"].values[:, 2].max())


def no_transient(data: xarray.Dataset) -> None:
    data["transient_mean"].values[1, 2, 3, 4] = np.inf


def turned_transients(data: xarray.Dataset) -> None:
    data["transient_alpha"] = data["transient_alpha"].transpose()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_transient, "transient_mean: not a number"),
        (turned_transients, "transient_alpha: other dimensions"),
        (not_a_number, "mean: not a number in experiment 100"),
        (two_machines, "holds experiments of several machines"),
        (constant, "read-outs of channel 5 are constant"),
        (saturated, "read-outs of channel 2 are saturated"),
    ],
)
def test_bad_experiments_are_refused_by_name(
    whole: Path, library: Path, tmp_path: Path, change: Callable[[xarray.Dataset], object], message: str
) -> None:
    path = changed_record(whole, tmp_path / "experiments.nc", change)
    with pytest.raises(InputError, match=message):
        inside(library, tmp_path / "out", f"record={path}")
    assert not (tmp_path / "out").exists()


def test_other_channels_and_other_files_are_refused(whole: Path, library: Path, tmp_path: Path) -> None:
    wrong = command(library, tmp_path / "out", f"record={whole / 'experiments.nc'}", "machine=aoc48")
    assert "of another machine: aoc48 has 48 channels" in refused(wrong)
    with pytest.raises(InputError, match="holds no experiments"):
        inside(library, tmp_path / "out", f"record={whole / 'result.nc'}")
    with pytest.raises(InputError, match="No such file"):
        inside(library, tmp_path / "out", f"record={tmp_path / 'none.nc'}")
    assert not (tmp_path / "out").exists()


def test_too_few_experiments_are_refused(whole: Path, library: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="held_out must be fewer than the 6 matrices"):
        inside(library, tmp_path / "out", "open.held_out=6")
    with pytest.raises(InputError, match=r"transients\.trials"):
        inside(library, tmp_path / "out", "transients.trials=80")
    few = (f"record={whole / 'experiments.nc'}", "closed.held_out=38")
    with pytest.raises(PhysicsError, match="read-outs cannot tell"):
        inside(library, tmp_path / "out", *few)
    with pytest.raises(InputError, match="too few experiments: 6 sets of random weights, of which 8"):
        inside(library, tmp_path / "out", few[0], "open.matrices=9", "open.held_out=8")
    assert not (tmp_path / "out").exists()


def test_a_fit_that_does_not_converge_ends_with_status_1(whole: Path, library: Path, tmp_path: Path) -> None:
    """Read-outs that have nothing to do with what was asked."""

    def scrambled(data: xarray.Dataset) -> None:
        rng = np.random.default_rng(0)
        data["mean"].values[:] = rng.permutation(data["mean"].values.ravel()).reshape(data["mean"].shape)

    path = changed_record(whole, tmp_path / "experiments.nc", scrambled)
    assert "not" in refused(command(library, tmp_path / "out", f"record={path}"), status=1)
    assert not (tmp_path / "out").exists()


def test_the_second_stage_takes_over_the_first_of_another(whole: Path, library: Path, tmp_path: Path) -> None:
    kept = f"open_loop={whole / 'result.nc'}"
    inside(library, tmp_path / "out", kept)
    one, other = read_result(whole / "result.nc"), read_result(tmp_path / "out" / "result.nc")
    for name in NAMES:
        np.testing.assert_array_equal(one[name].values, other[name].values)
        np.testing.assert_allclose(one[f"{name}_error"], other[f"{name}_error"], rtol=1e-6)
    # the same loops, and no experiment with the loop open
    np.testing.assert_allclose(one["alpha_gain"], other["alpha_gain"], rtol=0, atol=0.01)
    assert read_record(tmp_path / "out" / "experiments.nc").stage("sweep", "single") == []
    assert other.sizes["closed_held_out"] == one.sizes["closed_held_out"]


def mine_in(folder: Path) -> Path:
    """A file of the user's own."""
    folder.mkdir(parents=True)
    (folder / "mine.npz").write_bytes(b"a year of work")
    return folder / "mine.npz"


def test_a_folder_of_the_users_own_is_not_taken_for_experiments(library: Path, tmp_path: Path) -> None:
    mine = mine_in(tmp_path / "out" / "unfinished_experiments")
    with pytest.raises(InputError, match="is there, and not of a calibration"):
        inside(library, tmp_path / "out")
    forget(mine.parent)
    assert mine.read_bytes() == b"a year of work"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["experiments", "unfinished_experiments"])
def test_a_folder_of_the_users_own_stays(whole: Path, library: Path, tmp_path: Path, folder: str) -> None:
    """Beside a run of either kind."""
    mine = mine_in(tmp_path / "out" / folder)
    inside(library, tmp_path / "out", f"record={whole / 'experiments.nc'}")
    small = {"samples": 1, "trials": 1, "diffusion.steps": 4, "compile.trims": "none", "solve.threads": 1}
    (tmp_path / "out" / "result.nc").unlink()
    run_scenario("heart", overrides=small | {"compile.operating_point_trim": 0}, out=tmp_path / "out")
    assert mine.read_bytes() == b"a year of work"


def test_a_record_without_a_stage_is_refused(whole: Path, library: Path, tmp_path: Path) -> None:
    """Not half of a calibration without a word."""
    record = read_record(whole / "experiments.nc")
    for left_out, message in (
        ("closed", "too few experiments: 0 sets of random weights"),
        ("offset", "dedicated ones are missing, such as offset"),
        ("uniform", "0 grey levels of uniform_plus"),
    ):
        path = tmp_path / f"without_{left_out}.nc"
        write_record(replace(record, taken=tuple(t for t in record.taken if t.block.stage != left_out)), path)
        with pytest.raises(InputError, match=message):
            inside(library, tmp_path / "out", f"record={path}")
    write_record(replace(record, transients=None), tmp_path / "without_transients.nc")
    with pytest.raises(InputError, match=r"without_transients\.nc: transients: holds no transients"):
        inside(library, tmp_path / "out", f"record={tmp_path / 'without_transients.nc'}")
    assert not (tmp_path / "out").exists()
