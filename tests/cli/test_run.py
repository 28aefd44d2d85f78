"""`aocsim run` for real: files, refusals that need the machine, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray

import aocsim
from aocsim.diffusion.network import load_network, save_network
from aocsim.errors import InputError, PhysicsError, ResourceError
from aocsim.library import Library

SMALL = {
    "samples": 6,
    "trials": 1,
    "diffusion.steps": 8,
    "compile.operating_point_trim": 4,
    "solve.threads": 1,
}
# electronics without error: a trim's last bit, rounded to another code of alpha, would be told from the method
UNTRIMMED = {"compile.trims": "none", "compile.operating_point_trim": 0, "parts.gains.sheet": "gains_ideal"}
SUMMARY_KEYS = {
    "settling_us_median", "settling_us_p95", "bandwidth_3db_hz", "theorem1_dt_max", "dt", "w2_machine", "w2_ideal",
    "w2_gaussian", "w2_floor", "mmd2_machine", "mmd2_ideal", "mmd2_gaussian", "nrmse_step_ideal_mean", "nrmse_top",
    "top_bias_per_step_max", "rms_shift", "alpha_max", "beta", "latency_s_per_step", "solver_nfev",
}  # fmt: skip
PICTURES = {"samples.png", "settling.png", "voltages.png", "bias.png", "timeline.png"}


def test_a_run_leaves_result_summary_and_pictures(tmp_path: Path) -> None:
    data = aocsim.run("heart", overrides=SMALL, out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == PICTURES | {"result.nc", "summary.json"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    run_id = summary.pop("run_id")
    assert set(summary) >= SUMMARY_KEYS
    assert all(value is None or isinstance(value, int | float) for value in summary.values())
    with xarray.open_dataset(tmp_path / "out" / "result.nc") as stored:
        xarray.testing.assert_equal(stored.load(), data)
        assert stored.attrs["aocsim_schema"] == 2
        assert stored.attrs["run_id"] == run_id == data.attrs["run_id"]
        assert set(json.loads(stored.attrs["machine_record"])["parts"]) >= {"slm", "pair", "led"}
    for name in PICTURES:
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_one_sample_of_one_trial(tmp_path: Path) -> None:
    """Figures that need two points are null, the rest are numbers, and all pictures are drawn."""
    few = {**SMALL, "samples": 1, "compile.operating_point_trim": 0}
    aocsim.run("heart", overrides=few, out=tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {key for key, value in summary.items() if value is None} == {
        "mmd2_machine",
        "mmd2_ideal",
        "mmd2_gaussian",
    }
    assert set(summary) >= SUMMARY_KEYS
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == PICTURES


def test_nothing_recorded_draws_no_voltages(tmp_path: Path) -> None:
    """Nor does it leave those of an earlier run; what is not of a run stays."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.png").write_text("kept")
    few = {**SMALL, **UNTRIMMED}
    aocsim.run("heart", overrides=few, out=tmp_path / "out")
    assert (tmp_path / "out" / "voltages.png").exists()
    aocsim.run("heart", overrides={**few, "record.samples": 0}, out=tmp_path / "out")
    assert not (tmp_path / "out" / "voltages.png").exists()
    assert (tmp_path / "out" / "mine.png").exists()
    assert (tmp_path / "out" / "samples.png").exists()


@pytest.mark.parametrize("method", ["DOP853", "LSODA", "Radau", "BDF"])
def test_every_method_gives_the_same_read_out(method: str) -> None:
    few = {
        **SMALL,
        **UNTRIMMED,
        "samples": 2,
        "compile.operating_point_trim": 0,
        "solve.rtol": 1e-6,
        "solve.atol": "0.1 uV",
    }
    base = aocsim.run("heart", overrides={**few, "solve.method": "RK45"})
    other = aocsim.run("heart", overrides={**few, "solve.method": method})
    np.testing.assert_allclose(
        other["read_out"], base["read_out"], rtol=0, atol=3e-4
    )  # 2 steps of the digitiser


def test_who_writes_into_a_result_changes_no_later_run() -> None:
    """What runs are compared with is kept for the next one."""
    few = {**SMALL, **UNTRIMMED, "samples": 3}
    first = aocsim.run("heart", overrides=few)
    kept = first.copy(deep=True)
    for name in ("reference", "state_ideal", "gaussian", "floor", "start", "weight"):
        first[name].values[...] = 7
    second = aocsim.run("heart", overrides=few)
    for name in ("reference", "state_ideal", "gaussian", "floor", "start", "weight", "state"):
        np.testing.assert_array_equal(second[name], kept[name], err_msg=name)
    assert (
        json.loads(second.attrs["summary"])["w2_machine"] == json.loads(kept.attrs["summary"])["w2_machine"]
    )


def test_machine_of_ones_own_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "components").mkdir()
    shipped = Library.open().machine("aoc48")
    text = shipped.text.replace('name = "aoc48"', 'name = "mine"').replace("channels = 48", "channels = 64")
    (tmp_path / "components" / "mine.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    data = aocsim.run("heart", overrides={**SMALL, "machine": "mine", "compile.beta": 40.0})
    assert data.sizes["channel"] == 64


def test_network_larger_than_the_machine(tmp_path: Path) -> None:
    (tmp_path / "components").mkdir()
    shipped = Library.open().machine("aoc48")
    text = shipped.text.replace('name = "aoc48"', 'name = "small"').replace("channels = 48", "channels = 16")
    (tmp_path / "components" / "small.toml").write_text(text)
    with pytest.raises(
        InputError, match=r"more units than live channels; got 45; allowed: at most 16 on small"
    ):
        aocsim.run("heart", overrides={**SMALL, "machine": "small"}, library=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"compile.alpha": 0.5},
            r"compile.alpha: weights beyond the gain range: channel \d+ .* alpha >= 0\.9",
        ),
        ({"parts.dac.full_scale": "0.1 V"}, r"volts beyond the DAC: channel \d+ needs [\d.]+ V"),
        (
            {"compile.beta": 999.0, "parts.gains.beta_full_scale": "100"},
            r"compile.beta: beyond the gain .* 100",
        ),
        ({"compile.beta": 0.001}, r"compile.beta: beyond the gain .*got 0.001"),
        ({"parts.optics.throughput": "1e-5"}, r"channel \d+ \(unit \d+\) gets too little light"),
        (
            {"parts.led.thermal_droop": "-2 %/K", "parts.led.temperature_rise": "150 K"},
            r"parts.led.temperature_rise: .* no light",
        ),
        (
            {"parts.node.rail_high": "2.26 V"},
            r"parts.node: .* rail_low < linear_low < linear_high < rail_high",
        ),
        ({"parts.node.rail_low": "-1 V"}, "parts.node: the amplifier's range is out of order"),
        (
            {"parts.pair.tail_current": "5 mA"},
            r"the pairs swing to [\d.]+ V, the LED driver's law holds to [\d.]+ V",
        ),
        (
            {"parts.pair.tail_current.spread": "80 %"},
            r"parts.pair.tail_current: serial 1 draws a value outside",
        ),
        ({"parts.slm.bits": "1.4"}, "parts.slm.bits: must be a whole number; got 1.4"),
        ({"environment.temperature": "150 degC"}, "environment.temperature: .* 398.15 K"),
        ({"parts.slm.flicker_lines": ["0.7", "0.4"]}, "parts.slm.flicker_lines"),
        ({"timeline.samples_per_record": 40}, "the window must lie inside the record"),
        ({"timeline.window_start": "18.99 us", "timeline.window_stop": "19.1 us"}, "holds no sample"),
    ],
)
def test_refused_with_the_numbers(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        aocsim.run("heart", overrides={**SMALL, **changes})


def test_unstable_loop_names_channel_and_eigenvalue() -> None:
    with pytest.raises(
        PhysicsError, match=r"diffusion step \d: .* channel \d+ .* eigenvalue \+[\d.e+-]+ /us"
    ):
        aocsim.run(
            "heart",
            overrides={
                **SMALL,
                "compile.trims": "none",
                "compile.operating_point_trim": 0,
                "parts.gains.alpha_gain.spread": "5 %",
            },
        )


def test_too_large_for_memory_is_refused_before_it_starts() -> None:
    huge = {"samples": 100_000, "trials": 1000, "record.samples": 100_000, "record.trials": 1000}
    began = time.monotonic()
    with pytest.raises(ResourceError, match=r"needs about [\d.e+]+ GiB .* this computer has [\d.]+ GiB"):
        aocsim.run("heart", overrides={**SMALL, **huge})
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("damage", ["cut", "nan"])
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    shipped = Library.open().model_path("heart")
    models = tmp_path / "models"
    models.mkdir()
    (models / "heart.toml").write_text(shipped.read_text())
    target = models / "heart.nc"
    if damage == "cut":
        target.write_bytes(shipped.with_suffix(".nc").read_bytes()[:100_000])
    else:
        save_network(load_network(shipped.with_suffix(".nc")), target)
        with xarray.open_dataset(target) as data:
            broken = data.load()
        broken["weight_2"][0, 0] = np.nan
        broken.to_netcdf(target)
    with pytest.raises(InputError, match=r"heart\.nc") as caught:
        aocsim.run("heart", overrides=SMALL, library=tmp_path)
    if damage == "nan":
        assert "weight_2" in str(caught.value)


def children_of(process: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    return [pid for pid, parent in pairs if parent == process]


def is_running(process: int) -> bool:
    """Alive, and not merely waiting to be reaped by its new parent."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


@pytest.mark.parametrize(
    "sent",
    [signal.SIGINT, *(pytest.param(s, marks=pytest.mark.slow) for s in (signal.SIGTERM, signal.SIGHUP))],
)
def test_interrupt_leaves_nothing_and_no_worker(tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C (to the whole group, as a terminal sends it) or a kill in the middle of the solves, two workers."""
    command = [
        sys.executable,
        "-m",
        "aocsim",
        "run",
        "heart",
        "--threads",
        "2",
        "--out",
        "out",
        "--set",
        "samples=400",
    ]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(workers := children_of(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    assert process.poll() is None
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "leaked" not in errors  # what the workers share is put away
    assert not (tmp_path / "out").exists()
    deadline = time.monotonic() + 20
    while (left := [pid for pid in workers if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def test_a_run_that_cannot_write_leaves_the_earlier_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aocsim import plots

    out = tmp_path / "out"
    aocsim.run("heart", overrides=SMALL, out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: object) -> None:
        raise ResourceError("the disk is full")

    monkeypatch.setattr(plots, "write_pictures", full)
    with pytest.raises(ResourceError):
        aocsim.run("heart", seed=99, overrides=SMALL, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_untrimmed_machine_is_far_off() -> None:
    """Offsets of 10 mV and alpha of 0.3 %, both amplified by 1/(1 - alpha), are why machines are trimmed."""
    shifts = {}
    for trims in ("bench", "none"):
        data = aocsim.run(
            "heart", overrides={**SMALL, "compile.trims": trims, "compile.operating_point_trim": 0}
        )
        shifts[trims] = json.loads(data.attrs["summary"])["nrmse_step_ideal_mean"]
    assert shifts["none"] > 10 * shifts["bench"]


@pytest.mark.slow
def test_a_notebook_can_go_on_drawing(tmp_path: Path) -> None:
    """The backend that a notebook names stays; without one, pictures need no screen."""
    code = (
        "import matplotlib, aocsim\n"
        f"aocsim.run('heart', overrides={SMALL | UNTRIMMED | {'samples': 2}}, out={str(tmp_path)!r})\n"
        "print(matplotlib.get_backend())\n"
    )
    for backend, expected in (("svg", "svg"), (None, "agg")):
        rest = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
        named = {"MPLBACKEND": backend} if backend else {}
        done = subprocess.run(
            [sys.executable, "-c", code], env=rest | named, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip().lower() == expected


def test_a_run_that_the_clock_cannot_hold_is_refused_before_the_first_solve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("solved")

    monkeypatch.setattr("aocsim.experiment.Experiment.measure", never)
    long: dict[str, object] = {
        "samples": 4,
        "trials": 1000,
        "diffusion.steps": 2,
        "compile.trims": "none",
        "compile.operating_point_trim": 0,
        "timeline.trial_spacing": "1e6 s",
    }
    for memory in ("digital", "sample_and_hold"):
        with pytest.raises(InputError, match=r"hours_since_trim.*trials") as refused:
            aocsim.run("heart", overrides={**long, "trials": 1000, "samples": 8, "timeline.memory": memory})
        assert refused.value.key == "timeline.trial_spacing"
    with pytest.raises(InputError, match="would last"):
        aocsim.run("heart", overrides=long)
    # the trims count too
    with pytest.raises(InputError, match="would last"):
        aocsim.run("heart", overrides={**long, "trials": 1, "compile.operating_point_trim": 5000})


def test_an_hour_count_at_its_limit_leaves_gains_of_one_sign() -> None:
    """The machine is worn out, but its gains are gains: the run ends, with numbers."""
    data = aocsim.run("heart", overrides={**SMALL, "environment.hours_since_trim": 100_000})
    assert np.isfinite(data["read_out"].values).all()
    assert "100000 h after the trims" in data.attrs["notes"]


@pytest.mark.parametrize("command", [("run", "heart"), ("rerun", "result.nc"), ("train", "heart")])
@pytest.mark.parametrize("name", ["", " "])
def test_a_folder_without_a_name_is_not_the_current_one(
    tmp_path: Path, command: tuple[str, ...], name: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aocsim", *command, "--out", name],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("aocsim: error: --out: must name a folder")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_long_names_say_what_is_told_apart() -> None:
    few = {**SMALL, "samples": 2, "diffusion.steps": 2, "compile.operating_point_trim": 0}
    host = aocsim.run("heart", overrides=few)
    cells = aocsim.run("heart", overrides={**few, "timeline.memory": "sample_and_hold"})
    assert host["step_latency"].attrs["long_name"].endswith("to the last record on the host")
    assert (
        cells["step_latency"].attrs["long_name"].endswith("to the value that the first trial's memory holds")
    )
    names = [str(variable.attrs["long_name"]) for variable in host.variables.values()]
    assert len(set(names)) == len(names)
    assert (
        "wants" in host["alpha"].attrs["long_name"] and "is set" in host["alpha_setting"].attrs["long_name"]
    )
