"""The main job: the heart through the simulated machine, against the same network stepped digitally."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray

import aocsim


def summary_of(data: xarray.Dataset) -> dict[str, Any]:
    return dict(json.loads(data.attrs["summary"]))


def small(**changes: Any) -> dict[str, Any]:
    """All diffusion steps at a few samples and trials, enough to see the chain work."""
    return {
        "samples": 24,
        "trials": 2,
        "diffusion.steps": 16,
        "compile.operating_point_trim": 32,
        "solve.threads": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def run() -> xarray.Dataset:
    return aocsim.run("heart", seed=11, overrides=small(serial=7))


def test_small_run_is_close_to_the_ideal(run: xarray.Dataset) -> None:
    summary = summary_of(run)
    assert 10 <= summary["settling_us_median"] <= 15
    assert summary["bandwidth_3db_hz"] == pytest.approx(5.0e6, rel=0.02)
    assert summary["rms_shift"] <= 0.12
    assert summary["nrmse_step_ideal_mean"] <= 0.008


def test_everything_has_units_and_a_name(run: xarray.Dataset) -> None:
    for name, variable in run.variables.items():
        assert variable.attrs.get("units"), name
        assert variable.attrs.get("long_name"), name
    assert all(isinstance(value, str | int | float | np.generic) for value in run.attrs.values())


def test_read_out_is_the_window_mean_of_the_recorded_voltages() -> None:
    """With one trial kept of one, the read-out is nothing but the mean of the recorded samples 61 to 83."""
    data = aocsim.run(
        "heart", overrides=small(samples=3, trials=1, **{"record.samples": 3, "diffusion.steps": 2})
    )
    mean = data["voltage"].isel(trial=0, time=slice(61, 84)).mean("time")
    read = data["read_out"].values
    np.testing.assert_allclose(mean.transpose("recorded_sample", "step", "channel").values, read, atol=1e-12)
    assert data["time"].values[61] == pytest.approx(13.01e-6, abs=5e-9)
    assert data["time"].values[83] == pytest.approx(17.71e-6, abs=5e-9)


def test_recording_changes_no_result() -> None:
    few = small(samples=3, **{"diffusion.steps": 2, "compile.operating_point_trim": 4})
    a = aocsim.run("heart", overrides={**few, "record.samples": 0})
    b = aocsim.run("heart", overrides={**few, "record.samples": 3, "record.trials": 2})
    np.testing.assert_array_equal(a["read_out"].values, b["read_out"].values)


def test_live_noise_follows_the_seed_and_mismatch_does_not() -> None:
    few = small(samples=3, **{"diffusion.steps": 8, "compile.operating_point_trim": 0})
    a, b, again = (aocsim.run("heart", seed=seed, overrides=few) for seed in (1, 2, 1))
    np.testing.assert_array_equal(a["read_out"].values, again["read_out"].values)
    np.testing.assert_array_equal(a["weight"].values, b["weight"].values)
    assert np.abs(a["start"].values - b["start"].values).max() > 0.1
    other = aocsim.run("heart", seed=1, overrides={**few, "serial": 2})
    assert np.abs(a["weight"].values - other["weight"].values).max() > 0.1
    np.testing.assert_array_equal(a["start"].values, other["start"].values)


def test_ideal_machine_follows_the_ideal_map() -> None:
    """Linear, matched and noiseless parts, no rounding, a record long enough to settle.

    Asked for are 1e-4 and 1e-3; the machine's static law being the ideal map, only the solver's tolerance and
    what is left of the transient after 80 us remain.
    """
    summary = summary_of(aocsim.run("heart_ideal", overrides={"samples": 12, "solve.threads": 1}))
    assert summary["nrmse_step_ideal_mean"] < 1e-6
    assert summary["rms_shift"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("serial", [3, 2653, 58979])
def test_must_show(serial: int) -> None:
    """1,000 samples and 5 trials of machines that nothing was tuned on."""
    overrides = {"samples": 1000, "serial": serial, "record.samples": 0}
    summary = summary_of(aocsim.run("heart", seed=serial + 1, overrides=overrides))
    assert 25 <= summary["beta"] <= 32
    assert 10 <= summary["settling_us_median"] <= 15
    assert summary["bandwidth_3db_hz"] == pytest.approx(5.0e6, rel=0.02)
    assert summary["w2_machine"] < summary["w2_gaussian"]
    assert abs(summary["w2_machine"] / summary["w2_ideal"] - 1) <= 0.15
    assert summary["rms_shift"] <= 0.12
    assert summary["nrmse_step_ideal_mean"] <= 0.008
    assert summary["top_bias_per_step_max"] <= 0.01
    # earned through the bench, with noise
    assert summary["offset_left_v_median"] <= 1e-4
    assert summary["alpha_left_median"] <= 1e-4


@pytest.mark.slow
def test_cells_instead_of_the_host_carry_the_heart_too() -> None:
    """Analog memory between the steps: 200 times faster a step, with its pedestal and flicker that stays."""
    few = {"samples": 16, "trials": 3, "compile.operating_point_trim": 24, "solve.threads": 1, "serial": 7}
    summary = summary_of(aocsim.run("heart_memory", seed=3, overrides=few))
    assert summary["latency_s_per_step"] < 40e-6
    assert summary["nrmse_step_ideal_mean"] <= 0.008
    assert summary["rms_shift"] <= 0.12


@pytest.fixture(scope="module")
def knowing() -> dict[str, dict[str, np.ndarray]]:
    """Figures of three seeds with the trim at the operating point, without it, and from the data sheets alone."""
    base = {"samples": 128, "serial": 3, "record.samples": 0}
    ways: dict[str, dict[str, object]] = {
        "trimmed": {},
        "bare": {"compile.operating_point_trim": 0},
        "nominal": {"compile.operating_point_trim": 0, "compile.knowledge": "nominal"},
    }
    found = {
        way: [summary_of(aocsim.run("heart", seed=seed, overrides=base | change)) for seed in (1, 2, 3)]
        for way, change in ways.items()
    }
    figures = ("rms_shift", "top_bias_per_step_max")
    return {
        way: {key: np.array([one[key] for one in some]) for key in figures} for way, some in found.items()
    }


@pytest.mark.slow
def test_worse_without_trim_and_from_the_data_sheet_alone(knowing: dict[str, dict[str, np.ndarray]]) -> None:
    trimmed, bare, nominal = (knowing[way] for way in ("trimmed", "bare", "nominal"))
    assert np.all(bare["rms_shift"] > trimmed["rms_shift"])
    assert np.all(nominal["rms_shift"] > 2 * bare["rms_shift"])
    assert bare["top_bias_per_step_max"].mean() > 2 * trimmed["top_bias_per_step_max"].mean()


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True, reason="1.8 on the mean over three seeds; one seed alone had given more than 2"
)
def test_the_trim_halves_the_shift(knowing: dict[str, dict[str, np.ndarray]]) -> None:
    assert knowing["bare"]["rms_shift"].mean() > 2 * knowing["trimmed"]["rms_shift"].mean()
