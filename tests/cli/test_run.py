"""`aocsim run` for real: files, refusals that need the machine, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray

import aocsim
from aocsim.diffusion.network import load_network, save_network
from aocsim.errors import InputError, PhysicsError, ResourceError
from aocsim.library import Library

SMALL = {
    "samples": 6,
    "trials": 1,
    "diffusion.steps": 8,
    "compile.operating_point_trim": 4,
    "solve.threads": 1,
}
SUMMARY_KEYS = {
    "settling_us_median", "settling_us_p95", "bandwidth_3db_hz", "theorem1_dt_max", "dt", "w2_machine", "w2_ideal",
    "w2_gaussian", "w2_floor", "mmd2_machine", "mmd2_ideal", "mmd2_gaussian", "nrmse_step_ideal_mean", "nrmse_top",
    "top_bias_per_step_max", "rms_shift", "alpha_max", "beta", "latency_s_per_step", "solver_nfev",
}  # fmt: skip
PICTURES = {"samples.png", "settling.png", "voltages.png", "bias.png", "timeline.png"}


def test_a_run_leaves_result_summary_and_pictures(tmp_path: Path) -> None:
    data = aocsim.run("heart", overrides=SMALL, out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == PICTURES | {"result.nc", "summary.json"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary) >= SUMMARY_KEYS
    assert all(value is None or isinstance(value, int | float) for value in summary.values())
    with xarray.open_dataset(tmp_path / "out" / "result.nc") as stored:
        xarray.testing.assert_equal(stored.load(), data)
        assert stored.attrs["aocsim_schema"] == 1
        assert set(json.loads(stored.attrs["machine_record"])["parts"]) >= {"slm", "pair", "led"}
    for name in PICTURES:
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_nothing_recorded_draws_no_voltages(tmp_path: Path) -> None:
    aocsim.run("heart", overrides={**SMALL, "record.samples": 0}, out=tmp_path / "out")
    assert not (tmp_path / "out" / "voltages.png").exists()
    assert (tmp_path / "out" / "samples.png").exists()


@pytest.mark.parametrize("method", ["DOP853", "LSODA", "Radau", "BDF"])
def test_every_method_gives_the_same_read_out(method: str) -> None:
    few = {
        **SMALL,
        "samples": 2,
        "compile.operating_point_trim": 0,
        "solve.rtol": 1e-6,
        "solve.atol": "0.1 uV",
    }
    base = aocsim.run("heart", overrides={**few, "solve.method": "RK45"})
    other = aocsim.run("heart", overrides={**few, "solve.method": method})
    np.testing.assert_allclose(
        other["read_out"], base["read_out"], rtol=0, atol=3e-4
    )  # 2 steps of the digitiser


def test_machine_of_ones_own_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "components").mkdir()
    shipped = Library.open().machine("aoc48")
    text = shipped.text.replace('name = "aoc48"', 'name = "mine"').replace("channels = 48", "channels = 64")
    (tmp_path / "components" / "mine.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    data = aocsim.run("heart", overrides={**SMALL, "machine": "mine", "compile.beta": 40.0})
    assert data.sizes["channel"] == 64


def test_network_larger_than_the_machine(tmp_path: Path) -> None:
    (tmp_path / "components").mkdir()
    shipped = Library.open().machine("aoc48")
    text = shipped.text.replace('name = "aoc48"', 'name = "small"').replace("channels = 48", "channels = 16")
    (tmp_path / "components" / "small.toml").write_text(text)
    with pytest.raises(
        InputError, match=r"more units than live channels; got 45; allowed: at most 16 on small"
    ):
        aocsim.run("heart", overrides={**SMALL, "machine": "small"}, library=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"compile.alpha": 0.5},
            r"compile.alpha: weights beyond the gain range: channel \d+ .* alpha >= 0\.9",
        ),
        ({"parts.dac.full_scale": "0.1 V"}, r"volts beyond the DAC: channel \d+ needs [\d.]+ V"),
        (
            {"compile.beta": 999.0, "parts.gains.beta_full_scale": "100"},
            r"compile.beta: beyond the gain .* 100",
        ),
        ({"timeline.window_start": "18.99 us", "timeline.window_stop": "19.1 us"}, "holds no sample"),
    ],
)
def test_refused_with_the_numbers(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        aocsim.run("heart", overrides={**SMALL, **changes})


def test_unstable_loop_names_channel_and_eigenvalue() -> None:
    with pytest.raises(
        PhysicsError, match=r"diffusion step \d: .* channel \d+ .* eigenvalue \+[\d.e+-]+ /us"
    ):
        aocsim.run(
            "heart", overrides={**SMALL, "compile.alpha_residual": 0.05, "compile.operating_point_trim": 0}
        )


def test_too_large_for_memory_is_refused_before_it_starts() -> None:
    huge = {"samples": 100_000, "trials": 1000, "record.samples": 100_000, "record.trials": 1000}
    began = time.monotonic()
    with pytest.raises(ResourceError, match=r"needs about [\d.e+]+ GiB .* this computer has [\d.]+ GiB"):
        aocsim.run("heart", overrides={**SMALL, **huge})
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("damage", ["cut", "nan"])
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    shipped = Library.open().model_path("heart")
    models = tmp_path / "models"
    models.mkdir()
    (models / "heart.toml").write_text(shipped.read_text())
    target = models / "heart.nc"
    if damage == "cut":
        target.write_bytes(shipped.with_suffix(".nc").read_bytes()[:100_000])
    else:
        save_network(load_network(shipped.with_suffix(".nc")), target)
        with xarray.open_dataset(target) as data:
            broken = data.load()
        broken["weight_2"][0, 0] = np.nan
        broken.to_netcdf(target)
    with pytest.raises(InputError, match=r"heart\.nc") as caught:
        aocsim.run("heart", overrides=SMALL, library=tmp_path)
    if damage == "nan":
        assert "weight_2" in str(caught.value)


def test_interrupt_leaves_nothing_and_no_worker(tmp_path: Path) -> None:
    """Ctrl-C in the middle of the solves, two workers."""
    command = [
        sys.executable,
        "-m",
        "aocsim",
        "run",
        "heart",
        "--threads",
        "2",
        "--out",
        "out",
        "--set",
        "samples=400",
    ]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(12)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not (tmp_path / "out").exists()
