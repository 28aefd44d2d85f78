"""Scenarios of the roadmap: what a run leaves, that it repeats, and what is refused before it computes."""

import json

import numpy as np
import pytest

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.record import read_inputs, read_result
from aocsim.repeat import rerun
from aocsim.scenarios.load import load_scenario
from aocsim.scenarios.roadmap.plots import PICTURES
from aocsim.scenarios.run import run_scenario

FEW = {
    "trials": 1,
    "samples": 8,
    "diffusion.steps": 16,
    "compile.operating_point_trim": 8,
    "solve.threads": 1,
    "roadmap.channels": [48, 1000, 2000],
    "roadmap.bandwidths": ["5 MHz", "30 MHz"],
    "roadmap.simulated": [8],
    "roadmap.matrices": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("roadmap") / "out"
    run_scenario("roadmap_single", overrides=FEW, out=out)
    return out


@pytest.mark.slow
def test_a_run_tells_what_everything_is(folder):
    data = read_result(folder / "result.nc")
    pictures = {f"{name}.png" for name in PICTURES}
    assert {path.name for path in folder.iterdir()} == {*pictures, "result.nc", "summary.json"}
    for name, variable in data.variables.items():
        assert variable.attrs["units"], name
        assert variable.attrs["long_name"], name
    inputs = read_inputs(folder / "result.nc")
    for sheet in ("controller", "switch", "gpu_reference", "roadmap_published", "module_lcos", "microled"):
        assert f"components/{sheet}.toml" in inputs


@pytest.mark.slow
def test_a_run_keeps_the_stated_figures(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["prototype_gops"] == pytest.approx(23.04)
    assert summary["prototype_gops_per_tau"] == pytest.approx(144.8, rel=1e-3)
    assert 0.1 < summary["prototype_led_nj_per_op"] < 0.3
    assert 0.2 < summary["useful_gops"] < 1.5
    assert not any(
        "digital iteration" in note for note in json.loads(read_result(folder / "result.nc").attrs["notes"])
    )
    assert summary["modules_100m"] == 25
    assert summary["modules_100m.module_lcos"] == 100
    for place in ("48.2", "1000.10", "2000.30"):
        assert summary[f"tops_per_watt.{place}"] > 0
        assert summary[f"nrmse.{place}"] > 0
    assert summary["step_ns.2"] > summary["step_ns.10"] > summary["step_ns.30"]
    assert summary["power_w_100m"] > 0
    data = read_result(folder / "result.nc")
    # a projection beyond a sheet is in the result, and marked in it
    lcos = data.sel(module="module_lcos", channels=2000)
    assert np.isfinite(lcos["projected_power"]).all()
    assert (lcos["projected_beyond"] == 1).all()
    assert any("2000 channels" in note for note in json.loads(data.attrs["notes"]))
    np.testing.assert_allclose(data["energy_by_part"].sum(), summary["energy_per_sample_j"], rtol=1e-12)


@pytest.mark.slow
def test_solves_that_no_iteration_replaces_are_told(tmp_path):
    """Two steps are below the onset of digital iteration, which is at twelve; the loop settles all the same."""
    changes = {**FEW, "diffusion.steps": 2, "compile.operating_point_trim": 0, "roadmap.light": [1.0, 10.5]}
    data = run_scenario("roadmap_single", overrides=changes, out=tmp_path / "out")
    told = [note for note in json.loads(data.attrs["notes"]) if "digital iteration does not come" in note]
    assert len(told) == 1 and "1000 evaluations" in told[0]
    # the same run drives the emitters beyond their sheet
    (bright,) = [note for note in json.loads(data.attrs["notes"]) if "times the light" in note]
    assert (
        bright.startswith("computed beyond a sheet: 10.5 times the light, 105 mA") and "to 100 mA" in bright
    )


@pytest.mark.slow
def test_pictures_show_every_source_and_ring_what_is_beyond_a_sheet(folder):
    from matplotlib import pyplot

    data = read_result(folder / "result.nc")
    figure = PICTURES["limits"](data)
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    styles = [(line.get_linestyle(), line.get_linewidth()) for line in lines.values()]
    assert len(set(styles)) == len(styles) == data.sizes["source"]
    beyond = data["own_beyond"].values > 0
    assert beyond.any()
    assert beyond[:, 0].sum() == sum(
        "beyond" in text.get_text() for text in figure.axes[3].get_legend().get_texts()
    )
    efficiency = PICTURES["projections"](data).axes[0]
    ringed = np.concatenate([line.get_ydata() for line in efficiency.get_lines() if line.get_mfc() == "none"])
    own = data["own_efficiency"].sel(bandwidth=5e6).values / 1e12
    assert set(own[beyond[:, 0]]) <= set(ringed)
    pyplot.close("all")


@pytest.mark.slow
def test_a_run_repeats_bit_for_bit(folder):
    assert rerun(folder / "result.nc").identical


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roadmap.bandwidths": ["5 MHz", "1 GHz"]}, r"beyond what the transimpedance amplifier can follow"),
        ({"roadmap.projected_bandwidths": ["100 GHz"]}, r"beyond what the emitter can follow"),
        ({"roadmap.channels": [0, 48]}, r"roadmap\.channels\.0: .*greater than or equal to 1; got 0"),
        ({"roadmap.channels": [48, 48]}, r"must grow"),
        ({"roadmap.simulated": [1]}, r"roadmap\.simulated: cannot be simulated"),
        ({"roadmap.alpha": 1.0}, r"roadmap\.alpha: not allowed"),
        ({"modules.module_lcos.pixel": "4e6"}, r"modules\.module_lcos\.pixel.*did you mean 'pixels'"),
        ({"modules.slm": {}}, r"modules\.slm: is no sheet of a projected module"),
        ({"modules.module_lcso": {}}, r"modules\.module_lcso: unknown part sheet.*module_lcos"),
        ({"equipment.swich.sheet": "switch"}, r"equipment\.swich: unknown role.*did you mean 'switch'"),
        ({"equipment.switch.crosspoint_power": "1 V"}, r"equipment\.switch\.crosspoint_power.*watt"),
        ({"machine": "ideal48"}, r"parts\.led\.forward_voltage: the sheet says nothing"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(change, message, tmp_path, monkeypatch):
    def never(*arguments, **named):
        raise AssertionError("has begun to simulate")

    monkeypatch.setattr("aocsim.scenarios.roadmap.prototype.sample.execute", never)
    with pytest.raises(InputError, match=message):
        run_scenario("roadmap_single", overrides={**FEW, **change}, out=tmp_path / "out")
    assert not (tmp_path / "out" / "result.nc").exists()


def test_a_number_of_a_sheet_beside_the_machine_can_be_set():
    scenario = load_scenario(
        "roadmap_single",
        Library.open(),
        {"modules.module_lcos.throughput": "0.5", "equipment.controller.power": "1 W"},
    )
    library = Library.open()
    assert scenario.module_sheets(library)["module_lcos"].value("throughput") == 0.5
    assert scenario.equipment_sheets(library)["controller"].value("power") == 1.0
    assert next(iter(scenario.module_sheets(library))) == "module_metasurface"
