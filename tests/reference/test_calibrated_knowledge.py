"""A programmer who knows a machine by its calibration alone: what it is worth, and that a result stays repeatable."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from aocsim.bench import SimulatedBench
from aocsim.calibration.closed import ClosedFit, at_rest, fit_closed
from aocsim.calibration.experiments import closed, dedicated, sweep
from aocsim.calibration.joint import Fitted, fit_together
from aocsim.calibration.measure import take
from aocsim.calibration.result import dataset_of
from aocsim.calibration.sheet import read_sheet
from aocsim.calibration.start import first_chain
from aocsim.calibration.truth import chain_of
from aocsim.comparison import compare
from aocsim.compiler import knowledge_of
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine, nominal_activation
from aocsim.record import read_inputs, write_result
from aocsim.repeat import rerun
from aocsim.scenarios.load import load_scenario
from aocsim.scenarios.run import run_loaded, run_scenario
from aocsim.twin import measurement_of
from aocsim.twin.build import checked_machine, checked_spec
from aocsim.twin.format import measurement

BETA = 18.6
SMALL = {
    "samples": 4,
    "trials": 1,
    "diffusion.steps": 2,
    "compile.trims": "none",
    "compile.operating_point_trim": 0,
    "record.samples": 1,
    "record.diagnosis": False,
    "solve.threads": 1,
}


def sheet_of(chain, path, electronics=None):
    """The file of a calibration that has found these parameters without any error."""
    size, n = len(chain.vector), chain.channels
    opened = Fitted(chain, np.zeros((size, size)), np.ones(size, dtype=bool), np.ones(3), {}, 1)
    second = None
    if electronics is not None:
        second = ClosedFit(electronics, np.zeros((4 * n, 4 * n)), np.zeros((1, n)), 0)
    dataset_of(opened, second, {"drive_limit": 1.3}).to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="module")
def typical(tmp_path_factory):
    """The sheet of the typical machine, serial 1, as near as the form can hold it."""
    found, _ = measurement_of(Library.open().machine("aoc48"), 1, "as built")
    return sheet_of(chain_of(found)[0], tmp_path_factory.mktemp("sheets") / "serial_1.nc")


def stored(path, changes, library=None):
    """A small run of the heart in a file."""
    source = Library.open(library)
    outcome = run_loaded(load_scenario("heart", source, SMALL | changes), source, None)
    write_result(outcome.data, path, outcome.inputs)
    return path


def test_the_sheet_of_a_machine_of_the_twins_form_is_exact_knowledge(measured_values, tmp_path):
    """Slopes of random programs, against those that the machine itself gives."""
    found = measurement(measured_values(7), "made up")
    machine, spec = checked_machine(found), checked_spec(found)
    sheet = read_sheet(sheet_of(chain_of(found)[0], tmp_path / "sheet.nc"))
    activation = nominal_activation(spec)
    exact = knowledge_of(machine, spec, activation, "exact", 0.3)
    by_sheet = knowledge_of(machine, spec, activation, sheet.machine(machine, Library.open()), 0.3)
    rng = np.random.default_rng(1)
    weight = rng.uniform(0, 1, (2, machine.channels, machine.channels))
    want = exact.response(weight, BETA)
    np.testing.assert_allclose(by_sheet.response(weight, BETA), want, rtol=0, atol=1e-9 * np.abs(want).max())
    # what a unit of transmission is, each form settles for itself
    own = [known.own(BETA) * known.machine.slm.column_profile()[:, :, None] for known in (by_sheet, exact)]
    np.testing.assert_allclose(own[0], own[1], rtol=0, atol=1e-9 * own[1].max())


def test_converters_and_gain_steps_come_from_the_data_sheets(typical):
    library = Library.open()
    changes = {
        "gains": {"alpha_bits": "9", "beta_bits": "7", "beta_full_scale": "31"},
        "slm": {"bits": "6"},
        "dac": {"full_scale": "0.9 V"},
    }
    nominal = Machine.build(library.machine("aoc48", changes), None)
    found = read_sheet(typical).machine(nominal, library)
    assert (found.gains.alpha_bits, found.gains.beta_bits, found.gains.beta_full_scale) == (9, 7, 31.0)
    assert (found.slm.levels, found.dac.full_scale) == (63, 0.9)


def test_dead_inputs_are_those_of_the_sheet(typical, tmp_path):
    sheet = read_sheet(typical)
    row = sheet.chain.row.copy()
    row[:, [5, 40]] = 0.0
    gone = read_sheet(sheet_of(replace(sheet.chain, row=row), tmp_path / "dead.nc"))
    library = Library.open()
    machine = gone.machine(Machine.build(library.machine("aoc48"), None), library)
    assert set(machine.optics.dead) == {5, 40} | set(sheet.dead)


@pytest.mark.slow
def test_a_result_is_repeated_without_the_calibrations_file(typical, tmp_path, monkeypatch):
    """A relative path begins at the current folder; the sheet goes with the result, and comes back out of it."""
    mine = tmp_path / "mine.nc"
    mine.write_bytes(typical.read_bytes())
    monkeypatch.chdir(tmp_path)
    path = stored(tmp_path / "result.nc", {"compile.knowledge": "mine.nc"})
    assert read_inputs(path)["calibrations/knowledge.nc"] == mine.read_bytes()
    mine.unlink()
    found = rerun(path, out=tmp_path / "again")
    assert found.identical, found.differences
    assert found.data.attrs["knowledge"] != "mine.nc"
    # and what was repeated can be repeated
    assert rerun(tmp_path / "again" / "result.nc").identical


def test_another_calibration_is_another_input(typical, tmp_path):
    """The same path with another content, too."""
    mine, results, chain = tmp_path / "mine.nc", [], read_sheet(typical).chain
    for number in (0, 1):
        sheet_of(replace(chain, law=chain.law * (1 + 0.05 * number)), mine)
        results.append(stored(tmp_path / f"{number}.nc", {"compile.knowledge": str(mine)}))
    found = compare(*results)
    assert [row.key for row in found.inputs] == ["compile.knowledge (the file)"]
    assert {row.name for row in found.outputs if row.differs} & {"weight", "alpha"}


@pytest.mark.parametrize("wrong", ["nothing", "text", "result", "channels"])
def test_what_is_no_calibration_of_the_machine_is_refused_before_the_run(typical, tmp_path, wrong):
    path, changes = tmp_path / "wrong.nc", {}
    if wrong == "text":
        path.write_text("text")
    elif wrong == "result":
        stored(path, {})
    elif wrong == "channels":
        chain = read_sheet(typical).chain
        part = {
            name: value[..., :40]
            for name, value in vars(chain).items()
            if name in ("row", "offset", "retardance")
        }
        part |= {"offset_per_beta": chain.offset_per_beta[:40], "law": chain.law[:, :40]}
        sheet_of(replace(chain, later=chain.later[:, :39], earlier=chain.earlier[:, :39], **part), path)
    with pytest.raises(InputError) as caught:
        run_scenario(
            "heart", overrides=SMALL | {"compile.knowledge": str(path)} | changes, out=tmp_path / "out"
        )
    assert (caught.value.key, caught.value.file) == ("compile.knowledge", str(path))
    assert not (tmp_path / "out").exists()


def test_without_a_calibration_there_is_no_figure_of_the_twin(typical, tmp_path):
    found = [
        json.loads(run_scenario("heart", overrides=SMALL | changes).attrs["summary"])
        for changes in ({}, {"compile.knowledge": str(typical)})
    ]
    assert "nrmse_step_twin_mean" not in found[0]
    assert 0 < found[1]["nrmse_step_twin_mean"] < 0.1


def calibrated(spec, serial, path, *, matrices=12, loops=60, trials=10):
    """The sheet of a machine by few experiments on the bench."""

    def bench_of(name, clock):
        bench = SimulatedBench(Machine.build(spec, serial), seed=1, name=f"calibrate.{name}")
        bench.wait(clock)
        return bench

    facts = bench_of("facts", 0.0).capabilities
    opened = [
        *dedicated(facts, BETA, trials=2 * trials),
        *sweep(facts, BETA, 3, matrices=matrices, inputs=3, gains=3, trials=trials),
    ]
    taken = take([*opened, *closed(facts, BETA, 7, matrices=loops, inputs=1, trials=trials)], bench_of)
    first, loops = taken[: len(opened)], taken[len(opened) :]
    chain, live = first_chain({one.block.name: one for one in first}, facts.grey_levels)
    fitted = fit_together(first, chain, live, facts.grey_levels)
    second = fit_closed(fitted.chain, at_rest(loops, facts.grey_levels), fitted.covariance)
    attributes = {"drive_limit": facts.drive_full_scale, "machine": f"{spec.name}, serial {serial}"}
    dataset_of(fitted, second, attributes).to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """Summary of the heart on aoc48, serial 4, with noise, compiled for what a calibration has found of it."""
    folder = tmp_path_factory.mktemp("heart")
    spec = Library.open().machine("aoc48")
    path = calibrated(spec, 4, folder / "sheet.nc", matrices=24, loops=200, trials=20)
    data = run_scenario("heart", overrides={"serial": 4, "samples": 64, "compile.knowledge": str(path)})
    return json.loads(data.attrs["summary"])


@pytest.mark.slow
def test_a_calibrated_machine_runs_the_heart(heart):
    """Nobody looks inside, and the samples come out as they should."""
    assert heart["nrmse_step_ideal_mean"] <= 1e-2
    assert heart["rms_shift"] <= 0.1


@pytest.mark.slow
def test_the_calibrated_twin_predicts_the_steps_to_a_per_cent(heart):
    """Although it knows no structure of single pixels, 2.5 % rms, which is most of what is left."""
    assert heart["nrmse_step_twin_mean"] <= 1e-2


@pytest.mark.slow
def test_the_calibrated_twin_predicts_a_machine_without_structure_of_single_pixels(tmp_path):
    changes = {"optics": {"pixel_structure.spread": "0 %"}}
    spec = Library.open().machine("aoc48", changes)
    path = calibrated(spec, 4, tmp_path / "sheet.nc", matrices=24, loops=200, trials=20)
    overrides = {"serial": 4, "samples": 64, "compile.knowledge": str(path), "parts": changes}
    summary = json.loads(run_scenario("heart", overrides=overrides).attrs["summary"])
    assert summary["nrmse_step_twin_mean"] <= 1e-2
    assert summary["nrmse_step_ideal_mean"] <= 1e-2


def test_a_sheet_of_another_machine_is_told(typical, tmp_path):
    """The same parameters under the name of one machine, used on it and on another serial."""
    import json

    import xarray

    data = xarray.load_dataset(typical, engine="netcdf4")
    data.attrs["machine"] = "aoc48, serial 1"
    named = tmp_path / "named.nc"
    data.to_netcdf(named, engine="netcdf4")
    told = []
    for serial in (1, 2):
        changes = {"serial": serial, "compile.knowledge": str(named), "samples": 2, "compile.trims": "none"}
        result = xarray.load_dataset(stored(tmp_path / f"{serial}.nc", changes))
        told.append([note for note in json.loads(result.attrs["notes"]) if "another machine" in note])
    assert not told[0] and "aoc48, serial 1, not aoc48, serial 2" in told[1][0]
