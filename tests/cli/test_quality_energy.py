"""Scenarios of kind "quality_energy": W2 is that of kind "steps", energies are those of ledger and sheets."""

import json

import numpy as np
import pytest

from aocsim.bench import spacing_of
from aocsim.diffusion.network import load_network
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.live import Live
from aocsim.machine import Machine
from aocsim.record import read_result
from aocsim.repeat import rerun
from aocsim.roadmap.equipment import equipment_of, equipment_sheets
from aocsim.roadmap.ledger import ledger
from aocsim.scenarios.load import load_scenario
from aocsim.scenarios.run import run_scenario
from aocsim.timeline import schedule

SHARED = {
    "models": ["heart"],
    "samples": 8,
    "trials": 2,
    "solve.threads": 1,
    "compile.operating_point_trim": 8,
    "study.digital_samples": 8,
    "study.steps": [2, 4],
    "study.machine_steps": [2, 4],
    "study.iterations": [1, 4],
}
# 8 points tell nothing about quality: what counts as equal is wide
FEW = {**SHARED, "study.within": 2.0, "study.draws": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("quality") / "out"
    run_scenario("quality_energy", overrides=FEW, out=out)
    return out


@pytest.fixture(scope="module")
def data(folder):
    return read_result(folder / "result.nc")


@pytest.mark.slow
def test_it_writes_what_it_says(folder, data):
    assert {path.name for path in folder.iterdir()} == {"quality_energy.png", "result.nc", "summary.json"}
    for variable in data.variables.values():
        assert variable.attrs["units"] and variable.attrs["long_name"]
    summary = json.loads((folder / "summary.json").read_text())
    for suffix in ("", ".events", ".bench", ".lcos_2GHz"):
        total, hardware, algorithm = (
            summary[f"energy_gain{share}{suffix}"] for share in ("", "_hardware", "_algorithm")
        )
        assert total == pytest.approx(hardware * algorithm, rel=1e-12)
        assert summary[f"energy_gain_low{suffix}"] <= summary[f"energy_gain_high{suffix}"]


@pytest.mark.slow
def test_quality_is_that_of_the_study_of_steps(data):
    methods = ["explicit_euler", "implicit_euler", "crank_nicolson"]
    changes = {
        **SHARED,
        "study.methods": methods,
        "study.machine_methods": methods[1:],
        "study.settling": True,
    }
    alone = run_scenario("steps", overrides=changes)
    for name in ("digital_w2", "digital_evaluations", "machine_w2", "machine_settling"):
        np.testing.assert_array_equal(data[name], alone[name], err_msg=name)


@pytest.mark.slow
def test_digital_energy_is_counted_by_hand(data):
    """2 operations for each nonzero weight and evaluation at 4.5 TOPS/W; implicit steps have a warm start."""
    network = load_network(Library.open().model_path("heart").with_suffix(".nc"))
    weights = sum(int((w != 0).sum()) for w in network.weights)
    assert float(data["nonzero_weights"][0]) == weights
    place = {"model": "heart", "scheme": "explicit_euler", "iterations": "converged", "steps": 4}
    assert float(data["digital_energy"].sel(place)) == pytest.approx(4 * 2 * weights / 4.5e12, rel=1e-12)
    place |= {"scheme": "implicit_euler", "iterations": "4"}
    assert float(data["digital_energy"].sel(place)) == pytest.approx(4 * 5 * 2 * weights / 4.5e12, rel=1e-12)


@pytest.mark.slow
def test_machine_energy_is_that_of_the_ledger(data):
    """Samples of four implicit steps with two trials, and for Crank-Nicolson four digital halves beside them."""
    library = Library.open()
    machine = Machine.build(library.machine("aoc48"), 1)
    equipment = equipment_of(machine, equipment_sheets(library))
    timeline = schedule(machine, steps=4, trials=2, trial_spacing=spacing_of(Live.of(machine, 1), None))
    found = ledger(machine, equipment, timeline, 8)
    here = data["machine_energy"].sel(model="heart", machine_steps=4)
    implicit = here.sel(scheme="implicit_euler")
    assert float(implicit.sel(account="events")) == pytest.approx(found.energy(), rel=1e-12)
    assert float(implicit.sel(account="bench")) == pytest.approx(found.energy(idle=True), rel=1e-12)
    place = {"model": "heart", "scheme": "implicit_euler", "machine_steps": 4}
    settled = 4 * 2 * found.settling_energy(float(data["machine_settling"].sel(place)))
    assert float(implicit.sel(account="settling")) == pytest.approx(settled, rel=1e-12)
    half = 4 * 2 * float(data["nonzero_weights"][0]) / 4.5e12
    beside = here.sel(scheme="crank_nicolson", account="events") - found.energy()
    assert float(beside) == pytest.approx(half, rel=1e-3)


@pytest.mark.slow
def test_a_processor_half_as_thrifty_doubles_the_gain(data):
    """The reference's efficiency moves hardware and total straight, and the algorithm not at all."""
    changed = run_scenario(
        "quality_energy", overrides={**FEW, "equipment.reference.efficiency": "2.25e12 1/J"}
    )
    before, after = (json.loads(d.attrs["summary"]) for d in (data, changed))
    # the machine's own share on the reference, a half of Crank-Nicolson, is below 1e-4 of its energy
    for share, factor in (("", 2.0), ("_hardware", 2.0), ("_algorithm", 1.0)):
        assert after[f"energy_gain{share}"] / before[f"energy_gain{share}"] == pytest.approx(factor, rel=1e-3)


@pytest.mark.slow
def test_what_is_beyond_a_sheet_is_marked(tmp_path):
    beyond = {"study.projected.lcos_2GHz.channels": 1001, "study.projected.metasurface_10GHz.light": 11.0}
    data = run_scenario("quality_energy", overrides={**FEW, "trials": 1, **beyond}, out=tmp_path / "out")
    notes = "\n".join(json.loads(data.attrs["notes"]))
    assert (
        "lcos_2GHz: computed beyond a sheet: 1001 channels, where the panel of module_lcos shows 1000"
        in notes
    )
    assert "metasurface_10GHz: computed beyond a sheet: 11 mA" in notes
    assert data["projected_beyond"].values.tolist() == [1.0, 1.0]


@pytest.mark.slow
def test_it_repeats_itself(folder):
    assert rerun(folder / "result.nc").identical


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study.methods": ["implicit_euler", "crank_nicolson"]}, "holds not an explicit method"),
        ({"study.machine_methods": ["explicit_euler"]}, "holds not an implicit method"),
        ({"study.machine_methods": ["heun"]}, "on the machine alone"),
        ({"study.settling": False}, "paid by its settling time"),
        (
            {"study.projected.lcos_2GHz.bandwidth": "31 GHz"},
            "study.projected.lcos_2GHz.*beyond what the emitter",
        ),
        ({"study.projected.lcos_2GHz.module": "slm"}, "study.projected.lcos_2GHz.module"),
        ({"study.projected.lcos_2GHz.channels": 0}, "channels"),
        ({"equipment.referance.efficiency": "1 1/J"}, "reference"),
        ({"loops.radius": 1.0}, "radius"),
    ],
)
def test_bad_input_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        run_scenario("quality_energy", overrides={**FEW, **changes})


def test_it_is_shipped():
    assert load_scenario("quality_energy", Library.open()).kind == "quality_energy"
