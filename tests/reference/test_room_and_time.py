"""What the room, the hours since the trims and an analog memory do to a diffusion run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xarray

import aocsim
from aocsim.errors import InputError


def run(**changes: Any) -> xarray.Dataset:
    few = {
        "samples": 12,
        "trials": 2,
        "diffusion.steps": 8,
        "compile.operating_point_trim": 16,
        "solve.threads": 1,
        "record.samples": 0,
        "serial": 5,
    }
    return aocsim.run(
        "heart", seed=2, overrides={**few, **{k.replace("__", "."): v for k, v in changes.items()}}
    )


def shift(data: xarray.Dataset) -> float:
    return float(json.loads(data.attrs["summary"])["rms_shift"])


@pytest.fixture(scope="module")
def fresh() -> xarray.Dataset:
    return run()


def test_the_sheets_temperature_changes_no_bit(fresh: xarray.Dataset) -> None:
    same = run(environment__temperature="298.15 K", environment__temperature_at_trim="25 degC")
    np.testing.assert_array_equal(fresh["read_out"].values, same["read_out"].values)


def test_drift_since_the_trims_spoils_a_run_and_a_machine_without_drift_does_not_age(
    fresh: xarray.Dataset,
) -> None:
    """1 mV after an hour is amplified by 1/(1 - alpha), up to 125: the dominant fault of an untended machine."""
    aged = run(environment__hours_since_trim=4)
    assert shift(aged) > 3 * shift(fresh)
    ageless = {"parts.gains.gain_drift": "0 %/sqrt(hour)", "parts.gains.offset_drift": "0 mV/sqrt(hour)"}
    assert shift(run(environment__hours_since_trim=4, **ageless)) < 1.5 * shift(fresh)
    assert "4 h after the trims" in aged.attrs["notes"]


def test_clock_of_the_samples_follows_trims_and_wait(fresh: xarray.Dataset) -> None:
    """The first sample begins when the trims are over, or the hours later; the next ones a period apart."""
    costs = [value for key, value in json.loads(fresh.attrs["summary"]).items() if key.startswith("trim_")]
    begun = fresh["begun"].values
    assert begun[0] == pytest.approx(sum(costs), rel=1e-9)
    assert np.ptp(np.diff(begun)) < 1e-9
    aged = run(environment__hours_since_trim=4)
    assert aged["begun"].values[0] - begun[0] == pytest.approx(4 * 3600.0, rel=1e-9)


@pytest.mark.slow
def test_heat_costs_and_a_trim_in_the_heat_takes_part_of_it_back() -> None:
    """20 K: pairs lose 3 % of their slope and emitters 4 % of their light, which no bias brings back wholly."""

    def error(data: xarray.Dataset) -> float:
        return float(json.loads(data.attrs["summary"])["nrmse_step_ideal_mean"])

    quiet = {
        "parts__slm__flicker": "0 rad",
        "parts__slm__flicker_common": "0",
        "compile__operating_point_trim": 48,
    }
    hot = "318.15 K"
    cool = run(**quiet)
    carried = run(environment__temperature=hot, **quiet)
    there = run(environment__temperature=hot, environment__temperature_at_trim=hot, **quiet)
    assert error(cool) < error(there) < error(carried)
    assert error(carried) > 2 * error(cool)


def test_an_ideal_memory_does_what_the_host_does() -> None:
    """Without noise, rounding and pedestal, both carry the same solution: 16-bit DACs aside, the same samples.

    The memory takes the node at the window's end, the host the mean over the window: they differ by what the
    transient still moves there.
    """
    still = {
        "solve__noise": False,
        "trials": 1,
        "compile__operating_point_trim": 0,
        "parts__memory__sheet": "sample_and_hold_ideal",
        "parts__dac__sheet": "dac_ideal",
        "timeline__samples_per_record": 400,
        "timeline__window_start": "80 us",
        "timeline__window_stop": "85 us",
    }
    host, cells = run(**still), run(**still, timeline__memory="sample_and_hold")
    np.testing.assert_allclose(cells["state"].values, host["state"].values, atol=2e-3)
    assert cells["step_latency"].values.max() < host["step_latency"].values.min() / 5


def test_the_pedestal_of_a_memory_shifts_untrimmed_samples_and_the_operating_point_trim_removes_it() -> None:
    """1.5 mV a step, over 0.279 V a unit, in each of 8 steps: 0.04 network units, if nothing corrects it."""
    memory = {
        "timeline__memory": "sample_and_hold",
        "parts__slm__flicker": "0 rad",
        "parts__slm__flicker_common": "0",
    }
    large = {"parts__memory__pedestal": "15 mV"}
    bare = run(**memory, **large, compile__operating_point_trim=0)
    corrected = run(**memory, **large, compile__operating_point_trim=12)
    assert shift(bare) > 3 * shift(corrected)


def test_a_node_that_cannot_discharge_between_solves_is_refused() -> None:
    with pytest.raises(InputError, match=r"parts\.digitiser\.rearm_time"):
        run(
            parts__digitiser__rearm_time="0.1 us",
            timeline__trial_spacing="0 s",
            parts__dac__update_time="1 ns",
        )


@pytest.mark.slow
def test_offsets_are_trimmed_again_between_samples_of_a_long_run(fresh: xarray.Dataset) -> None:
    """Every second of bench time here: new biases, samples that wait for them, no weights loaded again."""
    fast = {
        "parts__gains__offset_drift": "30 mV/sqrt(hour)",
        "samples": 60,
        "compile__operating_point_trim": 4,
    }
    tended = run(**fast, compile__offset_trim_interval="0.2 s")
    left_alone = run(**fast, compile__offset_trim_interval="1000 s")
    bias = tended["bias"].values
    changes = np.flatnonzero(np.abs(np.diff(bias, axis=0)).max(axis=1) > 0)
    period = np.diff(left_alone["begun"].values)[0]
    every = int(0.2 / period)
    np.testing.assert_array_equal(changes, np.arange(every - 1, 59, every))
    gaps = np.diff(tended["begun"].values)
    np.testing.assert_allclose(np.delete(gaps, changes), period, rtol=1e-6)
    summary = json.loads(tended.attrs["summary"])
    assert (gaps[changes] - period).sum() == pytest.approx(summary["trim_offset_again_s"], rel=1e-6)
    assert not np.abs(np.diff(left_alone["bias"].values, axis=0)).any()
    assert "trimmed again" in tended.attrs["notes"] and "trimmed again" not in fresh.attrs["notes"]

    def late_error(data: xarray.Dataset) -> float:
        error = data["state"].values - data["state_ideal"].values
        return float(np.sqrt((error[40:, -1] ** 2).sum(axis=-1).mean()))

    assert late_error(tended) < 0.7 * late_error(left_alone)
