"""Scenarios of kind "roadmap_modules": what they say, and that one module is the single machine."""

import json

import numpy as np
import pytest

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.record import read_result
from aocsim.repeat import rerun
from aocsim.scenarios import sample
from aocsim.scenarios.load import load_sample, load_scenario
from aocsim.scenarios.roadmap.modules_plots import modules as picture
from aocsim.scenarios.run import run_scenario

FEW = {
    "samples": 6,
    "diffusion.steps": 2,
    "network.widths": [2000] * 3,
    "study.modules": [3, 6, 12],
    "study.drawn": 6,
    "study.loaded": 6,
    "study.loads": [0.5],
    "study.arrivals": 100,
}
ALONE = {
    "samples": 1,
    "diffusion.steps": 4,
    "trials": 2,
    "network": {"model": "heart"},
    "study.channels": 48,
    "study.modules": [1],
    "study.drawn": 1,
    "study.drawn_variant": "bench",
    "study.loads": [],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("modules") / "out"
    run_scenario("roadmap_modules", overrides=FEW, out=out)
    return out


def test_it_writes_what_it_says(folder):
    data = read_result(folder / "result.nc")
    names = {path.name for path in folder.iterdir()}
    assert names == {"result.nc", "summary.json", "roadmap_modules.png", "modules_timeline.png"}
    for variable in data.variables.values():
        assert variable.attrs["units"] and variable.attrs["long_name"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["modules_per_ring"] == 3
    for name in data["variant"].values:
        for modules in (3, 6, 12):
            place = {"variant": name, "modules": modules}
            found = summary[f"samples_per_s.{name}.{modules}"]
            assert found == float(data["throughput"].sel(place))
            # a batch with filling and draining is below the pace of its closed form
            assert found <= float(data["throughput_of_batch"].sel(place)) * (1 + 1e-9)
            assert float(data["throughput_of_batch"].sel(place)) <= float(
                data["throughput_closed_form"].sel(place)
            ) * (1 + 1e-9)
    use = data["utilisation"].values
    assert ((use[np.isfinite(use)] >= 0) & (use[np.isfinite(use)] <= 1 + 1e-9)).all()


def test_what_is_beyond_a_sheet_is_marked(folder):
    """2,000 channels are more than a panel of 1080 lines shows; a metasurface has room for them."""
    data = read_result(folder / "result.nc")
    notes = "\n".join(json.loads(data.attrs["notes"]))
    assert (
        "bench: computed beyond a sheet: 2000 channels, where the modulator's panel shows 5.184e+05" in notes
    )
    assert data["beyond"].sel(variant=["bench", "host", "memory"]).values.tolist() == [1.0, 0.0, 0.0]
    assert notes.count("beyond a sheet") == 1
    figure = picture(data)
    (told,) = [text.get_text() for text in figure.legends[0].get_texts() if "beyond" in text.get_text()]
    assert told.startswith("bench: ")


def test_the_bench_is_bound_by_its_host(folder):
    """1 ms a record over one link: 2 records a sample, 500 samples a second, however many modules."""
    data = read_result(folder / "result.nc")
    bench = data.sel(variant="bench")
    assert (bench["bottleneck"] == "host").sum() >= 2
    assert float(bench["throughput_closed_form"].isel(modules=-1)) == pytest.approx(500.0)
    assert float(bench["modules_enough"]) == 6


def test_random_arrivals_wait_as_before_servers_of_constant_time(folder):
    """The same arrivals by the recursion, which knows no DACs and no crossbar: their waits are below a hundredth."""
    data = read_result(folder / "result.nc")
    service = json.loads(data.attrs["summary"])["service_s"]
    np.testing.assert_allclose(data["wait"], data["wait_same_arrivals"], rtol=0, atol=0.01 * service)
    assert float(data["wait_closed_form"][0]) > 0


def test_one_module_reproduces_the_timeline_of_the_single_machine():
    """The heart on one module: the events of the scenario that runs it, bit for bit."""
    data = run_scenario("roadmap_modules", overrides=ALONE)
    changes = {"samples": 1, "trials": 2, "diffusion.steps": 4}
    single = sample.prepare(load_sample("heart", Library.open(), changes), Library.open()).schedule
    for name in ("start", "stop", "resource", "what", "trial"):
        np.testing.assert_array_equal(data[f"event_{name}"], [getattr(e, name) for e in single.events])
    np.testing.assert_array_equal(data["event_step"], [e.step + 1 for e in single.events])
    bench = data.sel(variant="bench")
    assert float(bench["latency"][0]) == pytest.approx(single.duration - single.load_time, rel=1e-12)


def test_it_repeats_itself(folder):
    assert rerun(folder / "result.nc").identical


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study.modules": [0, 3]}, "there must be a module"),
        ({"study.modules": [2]}, "no split of this network fits.*3 or more modules of 2000"),
        ({"study.channels": 0}, "module.channels"),
        ({"study.modules": [6, 3]}, "must grow"),
        ({"network.widths": []}, "widths"),
        ({"network.model": "heart"}, "one of both"),
        (
            {"variants.memory.bandwidth": "31 GHz"},
            "variants.memory.bandwidth.*beyond what the (emitter|crossbar) can",
        ),
        ({"variants.memory.bandwidth": "2 V"}, "hertz"),
        ({"variants.memory.module": "slm"}, "variants.memory.module"),
        ({"variants.memory.module": "module_lcoss"}, "module_lcos"),
        ({"variants.host.read": "last"}, "record of every step"),
        ({"study.drawn_variant": "hots"}, "did you mean 'host'"),
        ({"study.loaded_variant": "host"}, "stays on its ring"),
        ({"study.loads": [1.0]}, "less than 1"),
        ({"variants.host.shared.dacs": 0}, "variants.host.shared.dacs"),
    ],
)
def test_bad_input_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        run_scenario("roadmap_modules", overrides={**FEW, **changes})


def test_it_is_shipped():
    assert load_scenario("roadmap_modules", Library.open()).kind == "roadmap_modules"
