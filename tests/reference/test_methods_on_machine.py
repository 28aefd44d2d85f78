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


def test_cells_hold_the_sample_of_implicit_steps_alone():
    with pytest.raises(
        AocsimError, match=r"timeline\.memory: its cells carry .* got .?sample_and_hold with heun"
    ):
        run_scenario("heart", overrides={"diffusion.method": "heun", "timeline.memory": "sample_and_hold"})
    with pytest.raises(AocsimError, match=r"diffusion\.explicit_half: is for crank_nicolson"):
        run_scenario("heart", overrides={"diffusion.explicit_half": "read_out"})
