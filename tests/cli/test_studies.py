"""Studies: each point is what its own scenario gives, and the figures are what they say."""

import json

import numpy as np
import pytest

from aocsim.diffusion import solve
from aocsim.diffusion.network import load_network
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.metrics import w2
from aocsim.record import read_result
from aocsim.repeat import rerun
from aocsim.scenarios import sample
from aocsim.scenarios.digital import reference_of
from aocsim.scenarios.load import load_sample, load_scenario
from aocsim.scenarios.run import run_scenario
from aocsim.scenarios.studies import noise, steps

FEW = {"models": ["heart"], "samples": 8, "trials": 2, "diffusion.steps": 4, "solve.threads": 1,
       "compile.operating_point_trim": 8}  # fmt: skip
OWN = {key: value for key, value in FEW.items() if key != "models"}
STUDIED = {
    "steps": {"study.digital_samples": 16, "study.steps": [1, 4], "study.machine_steps": [2, 4],
              "study.iterations": [1, 2], "study.methods": ["heun", "implicit_euler"]},
    "noise": {"study.scales": [0.0, 1.0], "study.kicked_after": [1, 2]},
    "averaging": {"study.trials": [1, 2], "study.windows": ["0.5 us", "3 us"]},
    "readout": {"study.times": ["2 us", "18 us"]},
    "relaxation": {"study.light": [0.5, 1.0]},
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """One folder for each kind, made when first asked for."""
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / "out"
            run_scenario(kind, overrides={**FEW, **STUDIED[kind]}, out=made[kind])
        return made[kind]

    return of


def alone(**changes):
    data = run_scenario(
        "heart", overrides={**OWN, "compile.beta": 25.0, "record.diagnosis": False, **changes}
    )
    return json.loads(data.attrs["summary"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", STUDIED)
def test_a_study_writes_one_picture_and_tells_what_everything_is(results, kind):
    folder = results(kind)
    data = read_result(folder / "result.nc")
    assert {path.name for path in folder.iterdir()} == {f"{kind}.png", "result.nc", "summary.json"}
    for variable in data.variables.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]
    assert "method" not in data.dims  # a word of `Dataset.sel`


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "place", "changes"),
    [
        ("steps", "machine_w2", {"scheme": "heun", "machine_steps": 2},
         {"diffusion.method": "heun", "diffusion.steps": 2}),
        ("noise", "w2", {"scheme": "explicit_euler", "noise_scale": 0.0},
         {"diffusion.method": "explicit_euler", "solve.noise": False}),
        ("averaging", "trials_w2", {"trials": 1}, {"trials": 1}),
        ("averaging", "window_w2", {"window": 3e-6}, {"timeline.window_start": "14.75 us"}),
        ("readout", "w2", {"time": 2e-6}, {"timeline.window_start": "1.6 us", "timeline.window_stop": "2 us"}),
        ("relaxation", "w2", {"choice": "global", "light": 0.5},
         {"compile.alpha": "global", "parts.led.external_efficiency": "0.05"}),
    ],
)  # fmt: skip
def test_a_point_is_what_its_own_scenario_gives(results, kind, name, place, changes):
    data = read_result(results(kind) / "result.nc")
    found = float(data[name].sel(model="heart", **place))
    assert found == pytest.approx(alone(**changes)["w2_machine"], rel=1e-9)


@pytest.mark.slow
def test_a_machine_without_noise_has_no_ratio():
    data = run_scenario("relaxation", overrides={**FEW, "machine": "ideal48", "study.light": [1.0]})
    assert np.isinf(data["signal_to_noise"]).all()


@pytest.mark.slow
def test_digital_points_are_what_solve_gives(results):
    data = read_result(results("steps") / "result.nc")
    network = load_network(Library.open().model_path("heart").with_suffix(".nc"))
    from aocsim.seeds import stream

    x0 = stream(1, "start").standard_normal((16, 2))
    found = solve(network, x0, method="implicit_euler", steps=4, iterations=2)
    place = {"model": "heart", "scheme": "implicit_euler", "iterations": "2", "steps": 4}
    expected = w2(found.points[-1], reference_of(network))
    assert float(data["digital_w2"].sel(place)) == pytest.approx(expected, rel=1e-12)
    # the warm start and two iterations, in each of four steps
    assert float(data["digital_evaluations"].sel(place)) == 12


def test_noise_grows_with_its_scale():
    """All sources alike: deviations of the first read-outs are straight in the factor, but for what the laws bend."""
    fixed = {
        **OWN,
        "trials": 1,
        "diffusion.steps": 2,
        "compile.trims": "none",
        "compile.operating_point_trim": 0,
    }
    found = []
    for scale in (0.2, 0.4, 0.6):
        changes = {**fixed, "solve.noise_scale": scale, "record.diagnosis": False}
        setup = sample.prepare(load_sample("heart", Library.open(), changes), Library.open())
        found.append(sample.execute(setup).read_out[0])
    once, twice = found[1] - found[0], found[2] - found[0]
    assert np.sqrt((once**2).mean()) > 1e-5
    assert np.sqrt(((twice - 2 * once) ** 2).mean()) < 0.1 * np.sqrt((twice**2).mean())


def test_the_study_s_factors_multiply_the_scenario_s_own():
    """And kicks are followed at the scenario's own noise."""
    changes = {**FEW, **STUDIED["noise"], "study.scales": [0.0, 3.0], "solve.noise_scale": 0.5}
    scenario = load_scenario("noise", Library.open(), changes)
    cases = noise.cases_of(scenario, {"heart": 2})
    found = {
        float(case.place["noise_scale"]): case.scenario.solve.noise_scale
        for case in cases
        if "noise_scale" in case.place
    }
    assert found == {0.0: 0.0, 3.0: 1.5}
    kicked = [case for case in cases if "kicked_after" in case.place]
    assert len(kicked) == 6 and {case.scenario.solve.noise_scale for case in kicked} == {0.5}


def test_the_scenario_s_explicit_half_is_that_of_crank_nicolson():
    """Of no other method; a kick then follows the second solve of its step."""
    changes = {**FEW, "diffusion.method": "crank_nicolson", "diffusion.explicit_half": "opened_ring"}
    library = Library.open()
    for kind, own in (("steps", {"study.machine_steps": [2]}), ("noise", {"study.kicked_after": [1]})):
        methods = {"study.methods": ["heun", "implicit_euler", "crank_nicolson"]}
        scenario = load_scenario(kind, library, {**changes, **own, **methods})
        cases = steps.cases_of(scenario) if kind == "steps" else noise.cases_of(scenario, {"heart": 2})
        halves = {case.place["scheme"]: case.scenario.diffusion.explicit_half for case in cases}
        assert halves == {"heun": "digital", "implicit_euler": "digital", "crank_nicolson": "opened_ring"}
        kicks = {case.place["scheme"]: list(case.kicks) for case in cases if case.kicks}
        assert kind == "steps" or kicks == {"heun": [1], "implicit_euler": [0], "crank_nicolson": [1]}


def test_a_scale_of_nothing_is_no_noise():
    plain, scaled = (
        run_scenario("heart", overrides={**OWN, **changes})
        for changes in ({"solve.noise": False}, {"solve.noise_scale": 0.0})
    )
    np.testing.assert_array_equal(plain["state"], scaled["state"])


@pytest.mark.slow
def test_a_kick_goes_the_same_way_on_the_machine_digitally_and_by_the_jacobians(results):
    data = read_result(results("noise") / "result.nc")
    kick = data["kick"].sel(model="heart")
    digital, linear, machine = (kick.sel(way=way).values for way in ("digital", "linear", "machine"))
    seen = np.isfinite(linear)
    np.testing.assert_allclose(digital[seen], linear[seen], rtol=0.2)
    np.testing.assert_allclose(machine[seen], digital[seen], rtol=0.2)


@pytest.mark.parametrize("method", ["implicit_euler", "explicit_euler"])
def test_equation_1_is_the_limit_of_small_kicks(method):
    changes = {**OWN, "diffusion.method": method}
    setup = sample.prepare(load_sample("heart", Library.open(), changes), Library.open())
    rng = np.random.default_rng(3)
    start = rng.standard_normal((8, 2))
    kick = 1e-5 * rng.standard_normal((8, 2))
    digital = noise._digital(setup, start, 1, kick, 1)
    np.testing.assert_allclose(digital, noise._linear(setup, start, 1, kick, 1), rtol=1e-3)


@pytest.mark.slow
def test_global_alpha_is_that_of_the_slowest_channel(results):
    """Whoever chooses for each channel gives the worst row what a common choice gives to all."""
    data = read_result(results("relaxation") / "result.nc")
    one, every = (data["alpha_max"].sel(choice=choice).values for choice in ("global", "per_channel"))
    np.testing.assert_allclose(1 - one, 1 - every, rtol=0.05)
    median = data["alpha_median"]
    assert (median.sel(choice="global") > median.sel(choice="per_channel")).all()
    # half the light, half the share that is not relaxed
    share = 1 - data["alpha_max"].sel(model="heart", choice="global")
    assert float(share.sel(light=0.5) / share.sel(light=1.0)) == pytest.approx(0.5, rel=0.1)


@pytest.mark.slow
def test_a_study_repeats_itself(results):
    assert rerun(results("readout") / "result.nc").identical


@pytest.mark.slow
def test_what_is_impossible_is_told_and_the_rest_goes_on(results):
    """The heart has no implicit step of length 1 digitally."""
    data = read_result(results("steps") / "result.nc")
    place = {"model": "heart", "scheme": "implicit_euler", "iterations": "converged"}
    assert np.isnan(float(data["digital_w2"].sel({**place, "steps": 1})))
    assert np.isfinite(float(data["digital_w2"].sel({**place, "steps": 4})))
    assert any("implicit_euler, step 1" in note for note in json.loads(data.attrs["notes"]))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("steps", {"study.steps": [4, 2]}, "must grow"),
        ("steps", {"study.iterations": [2, 2]}, "must grow"),
        ("steps", {"study.methods": ["euler"]}, "explicit_euler"),
        ("noise", {"study.scales": [1.0, 2.0]}, "must begin with 0"),
        ("noise", {"study.kicked_after": [4]}, "no step is left after the kick"),
        ("noise", {"timeline.memory": "sample_and_hold"}, "host's points"),
        ("averaging", {"study.windows": [2]}, "with its unit"),
        ("averaging", {"study.windows": ["20 V"]}, "second"),
        ("readout", {"study.times": ["1 ms"]}, "inside the record"),
        ("relaxation", {"study.alphas": ["global", "global"]}, "more than once"),
        ("steps", {"study.stepps": [1]}, "stepps"),
    ],
)
def test_bad_input_is_refused_by_name(kind, changes, message):
    with pytest.raises(InputError, match=message):
        run_scenario(kind, overrides={**FEW, **STUDIED[kind], **changes})


def test_every_study_is_shipped():
    for kind in STUDIED:
        assert load_scenario(kind, Library.open()).kind == kind
