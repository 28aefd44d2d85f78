"""Explicit, Heun, implicit and Crank-Nicolson steps on a machine, against the same steps digitally."""

import json

import numpy as np
import pytest

from aocsim.diffusion.methods import METHODS
from aocsim.errors import AocsimError
from aocsim.scenarios.run import run_scenario


@pytest.mark.parametrize("method", METHODS)
def test_matched_parts_without_noise_follow_the_digital_steps(method):
    """Linear, matched parts with 30 bits and without noise: what is left is the settling and the network's law."""
    data = run_scenario(
        "heart_ideal",
        overrides={"samples": 6, "diffusion.method": method, "diffusion.steps": 4, "solve.threads": 1},
    )
    assert data.sizes["step"] == (8 if method == "heun" else 4)
    assert data.sizes["unit"] == (47 if method in ("explicit_euler", "heun") else 45)
    np.testing.assert_allclose(data["state"], data["state_ideal"], rtol=0, atol=2e-3)
    assert json.loads(data.attrs["summary"])["w2_machine"] > 0


def test_both_ways_to_the_explicit_half_agree_on_an_ideal_machine():
    """Computed by the host, or by a second program with the ring opened: the same steps, but for settling and law."""
    same = {"samples": 6, "diffusion.method": "crank_nicolson", "diffusion.steps": 4, "solve.threads": 1}
    host, machine = (
        run_scenario("heart_ideal", overrides={**same, "diffusion.explicit_half": half})
        for half in ("digital", "opened_ring")
    )
    assert (machine.sizes["step"], machine.sizes["unit"]) == (8, 47)
    np.testing.assert_allclose(machine["state"], machine["state_ideal"], rtol=0, atol=2e-3)
    np.testing.assert_allclose(machine["state"][:, 1::2], host["state"], rtol=0, atol=3e-3)
    # the programs differ in where the rows of the last layer stand, and in nothing else that a pixel holds
    differ = np.flatnonzero((machine["weight"] != machine["weight_opened"]).any(("arm", "input_channel")))
    used = machine["channel_of_unit"].values
    assert set(differ) == {*used[:2], *used[-2:]}
    # weights are loaded before every solve of a sample
    what = list(machine["event_what"].values)
    assert what.count("load weights") == 8


def test_cells_hold_the_sample_of_implicit_steps_alone():
    with pytest.raises(
        AocsimError, match=r"timeline\.memory: its cells carry .* got .?sample_and_hold with heun"
    ):
        run_scenario("heart", overrides={"diffusion.method": "heun", "timeline.memory": "sample_and_hold"})
    with pytest.raises(AocsimError, match=r"timeline\.start: nodes discharge .* got .?previous with"):
        changes = {"diffusion.method": "crank_nicolson", "diffusion.explicit_half": "opened_ring"}
        run_scenario("heart", overrides={**changes, "timeline.start": "previous"})
    with pytest.raises(AocsimError, match=r"diffusion\.explicit_half: is for crank_nicolson"):
        run_scenario("heart", overrides={"diffusion.explicit_half": "read_out"})


def test_a_warm_start_comes_to_the_same_rest_sooner():
    """Without noise, at the end of a record that is long enough, nothing tells where the loop began."""
    same = {"samples": 8, "solve.noise": False, "solve.threads": 1, "diffusion.steps": 8}
    same |= {"compile.operating_point_trim": 0, "timeline.samples_per_record": 240}
    same |= {"timeline.window_start": "90 %", "timeline.window_stop": "100 %"}
    cold, warm = (
        run_scenario("heart", overrides={**same, "timeline.start": start}) for start in ("rest", "previous")
    )
    assert float(abs(cold["read_out"] - warm["read_out"]).max()) < 2e-3 * float(
        np.ptp(cold["read_out"].values)
    )
    np.testing.assert_array_equal(cold["settling"].isel(step=0), warm["settling"].isel(step=0))
    later = [data["settling"].isel(step=slice(1, None)).median().item() for data in (cold, warm)]
    assert later[1] < 0.9 * later[0]
