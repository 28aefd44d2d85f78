"""Scenarios of kind "distributions": several models on one machine."""

import json

import numpy as np
import pytest

from aocsim.diffusion.network import load_network
from aocsim.diffusion.solving import solve
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.metrics import mmd2_unbiased, w2
from aocsim.record import read_result
from aocsim.repeat import rerun
from aocsim.scenarios.digital import reference_of
from aocsim.scenarios.load import load_scenario
from aocsim.scenarios.run import run_scenario
from aocsim.seeds import stream

FEW = {"models": ["heart", "square"], "samples": 8, "trials": 2, "diffusion.steps": 4, "solve.threads": 1,
       "compile.operating_point_trim": 8}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("distributions") / "out"
    run_scenario("distributions_2d", overrides=FEW, out=out)
    return out


def test_each_model_is_what_its_own_scenario_gives(folder):
    """Whatever runs before it: the same machine, seed and noise, bit for bit."""
    data = read_result(folder / "result.nc")
    alone = run_scenario(
        "heart",
        overrides={"model": "square", "samples": 8, "trials": 2, "diffusion.steps": 4, "solve.threads": 1,
                   "diffusion.method": "crank_nicolson", "compile.operating_point_trim": 8},
    )  # fmt: skip
    machine = data["points"].sel(model="square", cloud="machine")
    np.testing.assert_array_equal(machine, alone["state"].isel(step=-1))
    np.testing.assert_array_equal(data["state"].isel(step=-1).sel(model="square"), machine)
    ideal = data["points"].sel(model="square", cloud="ideal")
    np.testing.assert_array_equal(ideal, alone["state_ideal"].isel(step=-1))
    summary = json.loads(alone.attrs["summary"])
    found = json.loads(data.attrs["summary"])
    assert found["w2_machine.square"] == pytest.approx(summary["w2_machine"], rel=1e-12)
    assert found["rms_shift.square"] == pytest.approx(summary["rms_shift"], rel=1e-12)


def test_the_shipped_steps_leave_far_less_error_than_sixteen_implicit_ones():
    """Digitally, on the triangle: steps of first order alone come to what a fitted Gaussian has."""
    library = Library.open()
    diffusion = load_scenario("distributions_2d", library).diffusion
    network = load_network(library.model_path("triangle").with_suffix(".nc"))
    reference, start = reference_of(network), stream(1, "start").standard_normal((1000, 2))
    shipped, euler = (
        mmd2_unbiased(solve(network, start, method=method, steps=steps).points[-1], reference)
        for method, steps in ((diffusion.method, diffusion.steps), ("implicit_euler", 16))
    )
    assert shipped < 0.3 * euler and 0.0055 < euler < 0.0075


def test_the_summary_is_that_of_the_points(folder):
    data = read_result(folder / "result.nc")
    summary = json.loads((folder / "summary.json").read_text())
    for model in ("heart", "square"):
        for cloud in ("machine", "twin", "ideal", "gaussian", "floor"):
            points = data["points"].sel(model=model, cloud=cloud).values
            reference = data["reference"].sel(model=model).values
            assert summary[f"w2_{cloud}.{model}"] == pytest.approx(w2(points, reference), rel=1e-12)
            low, high = (float(data[f"w2_{end}"].sel(model=model, cloud=cloud)) for end in ("low", "high"))
            assert low <= high
    assert {path.name for path in folder.glob("*.png")} == {"distributions.png", "distances.png"}
    for variable in data.variables.values():
        assert variable.attrs["units"] and variable.attrs["long_name"]


def test_the_twin_is_near_the_machine_and_not_the_machine(folder):
    """From the same noise: nearer to the machine than the samples are to one another, but not it."""
    data = read_result(folder / "result.nc")
    points = data["points"]
    off = float(np.sqrt(((points.sel(cloud="twin") - points.sel(cloud="machine")) ** 2).sum("dim").mean()))
    spread = float(np.sqrt(points.sel(cloud="machine").var("sample").sum("dim").mean()))
    assert 1e-3 < off < 0.5 * spread


def test_a_result_repeats_itself(folder):
    assert rerun(folder / "result.nc").identical


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "models"),
        ({"models": ["heart", "heart"]}, "named more than once: heart"),
        ({"models": ["haert"]}, "nearest|did you mean"),
        ({"samples": 7}, "samples"),
        ({"machine": "ideal47"}, "ideal48"),
    ],
)
def test_bad_input_is_refused_before_anything_is_computed(changes, message):
    with pytest.raises(InputError, match=message):
        run_scenario("distributions_2d", overrides=FEW | changes)
