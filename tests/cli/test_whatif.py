"""What-if studies from the command line: points on file, what is refused, what comes out."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from threading import Thread

import numpy as np
import pytest
from scipy.stats import norm
from tqdm import tqdm
from typer.testing import CliRunner

from aocsim.cli import app
from aocsim.errors import InputError
from aocsim.folders import exclusive
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.record import read_result
from aocsim.scenarios.load import load_scenario, what_if
from aocsim.scenarios.run import _Shown, run_loaded
from aocsim.scenarios.whatif.budget import made_ideal
from aocsim.scenarios.whatif.engine import run_points
from aocsim.scenarios.whatif.execute import lay_out
from aocsim.scenarios.whatif.montecarlo import without_mismatch
from aocsim.scenarios.whatif.sensitivity import indices, probabilities

QUICK = {
    "samples": 2, "trials": 1, "diffusion.steps": 2, "record.samples": 0, "record.diagnosis": False,
    "compile.trims": "none", "compile.operating_point_trim": 0, "solve.threads": 1,
}  # fmt: skip
SETS = [word for key, value in QUICK.items() for word in ("--set", f"{key}={str(value).lower()}")]
CONTRAST = "parts.slm.contrast=100,200,400"


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "out"
    told = invoke(
        "sweep", "heart", "--vary", CONTRAST, "--vary", "compile.beta=20,25", *SETS, "--out", folder
    )
    assert told.exit_code == 0, told.output
    return folder


def points(folder):
    found = (folder / "points").glob("[0-9a-f]*.json")
    return {path.name: path for path in found}


def test_a_sweep_is_one_dataset_over_what_is_varied(swept):
    data = read_result(swept / "result.nc")
    assert data["w2_machine"].dims == ("contrast", "compile_beta") and data["w2_machine"].shape == (3, 2)
    np.testing.assert_array_equal(data["contrast"], [100.0, 200.0, 400.0])
    assert all("units" in data[name].attrs for name in data.variables)
    assert len(points(swept)) == 6 and (swept / "sweep_heart.png").stat().st_size > 10_000


def test_a_point_is_its_scenario_run_alone(swept):
    data = read_result(swept / "result.nc")
    one = load_scenario("heart", Library.open(), {**QUICK, "parts.slm.contrast": "200", "compile.beta": 25})
    alone = json.loads(run_loaded(one, Library.open(), None).data.attrs["summary"])
    here = data.sel(contrast=200.0, compile_beta=25.0)
    for name, value in alone.items():
        if value is not None:
            assert float(here[name]) == value, name


def test_a_finished_point_is_not_repeated_and_a_lost_one_is(swept):
    before = {name: path.stat().st_mtime_ns for name, path in points(swept).items()}
    first = read_result(swept / "result.nc")
    gone, damaged = sorted(before)[:2]
    points(swept)[gone].unlink()
    points(swept)[damaged].write_text("{")
    again = invoke(
        "sweep", "heart", "--vary", CONTRAST, "--vary", "compile.beta=20,25", *SETS, "--out", swept
    )
    assert again.exit_code == 0, again.output
    after = {name: path.stat().st_mtime_ns for name, path in points(swept).items()}
    assert sorted(name for name in before if after[name] != before[name]) == [gone, damaged]
    second = read_result(swept / "result.nc")
    for name in first.data_vars:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.slow
def test_a_result_is_repeated_from_its_own_file(swept):
    told = invoke("rerun", swept / "result.nc", "--quiet")
    assert told.exit_code == 0, told.output


def test_plot_draws_other_figures(swept, tmp_path):
    assert invoke("plot", swept / "result.nc", "--figure", "nrmse_top", "--out", tmp_path).exit_code == 0
    told = invoke("plot", swept / "result.nc", "--figure", "nrmse_tpo", "--out", tmp_path)
    assert told.exit_code == 2 and "did you mean 'nrmse_top'" in told.output


def test_an_impossible_point_is_recorded_and_the_rest_goes_on(tmp_path):
    told = invoke("sweep", "heart", "--vary", "compile.beta=0.01,25", *SETS, "--out", tmp_path / "out")
    assert told.exit_code == 0, told.output
    data = read_result(tmp_path / "out" / "result.nc")
    assert str(data["error"].values[0]) and not str(data["error"].values[1])
    assert np.isnan(data["w2_machine"].values[0]) and np.isfinite(data["w2_machine"].values[1])
    assert "1 of 2 points were impossible" in told.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--vary", "parts.slm.contrst=1,2"], "did you mean"),
        (["--vary", "compile.bta=1,2"], "did you mean 'beta'"),
        (["--vary", "parts.poles.node=1 us:2 us:lin:3"], "parts.poles.node"),
        (["--vary", "parts.slm.contrast=50:500:lin:6000", "--vary", "compile.beta=20,25"], "--yes"),
        (["--vary", "parts.slm.contrast=5,500"], "outside the valid range"),
        (["--vary", "compile.beta=20,25", "--vary", "compile.beta=30"], "varied twice"),
        (["--vary", "compile.beta=20,25", "--vary", "serial=1,2,3", "--zip"], "equally many"),
        (["--vary", "compile.beta=20,25", "--figure", "w2_machin"], "did you mean 'w2_machine'"),
        (["--vary", "machine=aoc48,aoc49"], "aoc49"),
        (["--vary", "name=a,b"], "no result depends on it"),
        (["--vary", "solve.threads=1,2"], "no result depends on it"),
    ],
)
def test_bad_sweeps_are_refused_and_leave_nothing(tmp_path, words, told):
    result = invoke("sweep", "heart", *words, *SETS, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert told in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out" / "result.nc").exists()
    if "--figure" not in words:
        assert not (tmp_path / "out").exists()


def test_the_number_of_threads_makes_no_other_scenario(swept):
    told = invoke(
        "sweep",
        "heart",
        "--vary",
        CONTRAST,
        "--vary",
        "compile.beta=20,25",
        *SETS,
        "--threads",
        2,
        "--out",
        swept,
    )
    assert told.exit_code == 0, told.output


@pytest.mark.slow
def test_any_kind_of_scenario_can_be_varied(tmp_path):
    """Also one whose summary has few of the usual figures: those are shown."""
    sets = [word for word in SETS if "record." not in word]
    sets = [
        word
        for k, word in enumerate(sets)
        if not (word == "--set" and (k + 1 == len(sets) or sets[k + 1] == "--set"))
    ]
    sets += ["--set", "samples=8", "--set", 'models=["heart"]']
    told = invoke(
        "sweep", "distributions_2d", "--vary", "compile.beta=20,25", *sets, "--out", tmp_path / "out"
    )
    assert told.exit_code == 0, told.output
    data = read_result(tmp_path / "out" / "result.nc")
    assert np.isfinite(data["w2_machine.heart"].values).all()
    assert json.loads(data.attrs["figures_shown"]) == ["nrmse_step_ideal_mean"]


def test_a_folder_of_another_scenario_is_refused(swept):
    told = invoke("sweep", "heart", "--vary", CONTRAST, *SETS, "--set", "samples=3", "--out", swept)
    assert told.exit_code == 2 and "another scenario" in told.output and "samples" in told.output


def test_two_studies_do_not_write_one_folder(swept):
    with exclusive(swept / "points", ""):
        told = invoke("sweep", "heart", "--vary", CONTRAST, *SETS, "--out", swept)
    assert told.exit_code == 2 and "another study is at work" in told.output


def test_a_full_disk_keeps_finished_points(tmp_path, monkeypatch):
    import aocsim.scenarios.whatif.engine as engine
    from aocsim.errors import ResourceError

    scenario = what_if(
        "sweep", "heart", Library.open(), {"vary": {"compile.beta": [20, 22, 25]}, "set": QUICK}
    )
    laid, real, written = lay_out(scenario, Library.open()), engine.write_point, []

    def write(*arguments):
        if len(written) == 2:
            raise ResourceError("the disk is full")
        written.append(real(*arguments))

    monkeypatch.setattr(engine, "write_point", write)
    with pytest.raises(ResourceError):
        run_points(scenario, laid, Library.open(), tmp_path)
    assert len(points(tmp_path)) == 2
    monkeypatch.undo()
    done = []
    run_points(scenario, laid, Library.open(), tmp_path, done.append)
    assert done == [2, 1]


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_where_it_was(tmp_path):
    out = tmp_path / "out"
    words = ["sweep", "heart", "--vary", "parts.slm.contrast=100:400:log:8", *SETS, "--out", str(out)]
    study = subprocess.Popen(
        [sys.executable, "-m", "aocsim", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 120
    while study.poll() is None and len(points(out)) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    study.kill()
    study.wait()
    before = {name: path.stat().st_mtime_ns for name, path in points(out).items()}
    (out / "points" / ".half.0123456789ab.json").write_text("{")
    assert 3 <= len(before) < 8 and not (out / "result.nc").exists()
    assert invoke(*words).exit_code == 0
    assert len(points(out)) == 8 and not list((out / "points").glob(".*"))
    assert all(points(out)[name].stat().st_mtime_ns == stamp for name, stamp in before.items())
    whole = tmp_path / "whole"
    assert invoke(*words[:-1], str(whole)).exit_code == 0
    a, b = read_result(out / "result.nc"), read_result(whole / "result.nc")
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.slow
def test_more_dimensions_than_a_page_has_give_a_result_without_a_picture(tmp_path):
    vary = ["compile.beta=24,25", "seed=1,2", "parts.slm.bits=7,8", "serial=1,2"]
    told = invoke(
        "sweep",
        "heart",
        *(word for text in vary for word in ("--vary", text)),
        *SETS,
        "--out",
        tmp_path / "out",
    )
    assert told.exit_code == 0 and "no picture" in told.output
    assert read_result(tmp_path / "out" / "result.nc")["error"].ndim == 4
    assert not list((tmp_path / "out").glob("*.png"))


def arrays(part):
    return {k: v for k, v in vars(part).items() if isinstance(v, np.ndarray)}


def test_what_is_varied_changes_no_other_part_s_draw():
    """Named streams: a sweep over one part leaves every array of every other part as it was."""
    library = Library.open()
    base = Machine.build(library.machine("aoc48"), 7)
    for parts in ({"slm": {"contrast": "100"}}, {"slm": {"contrast.spread": "0 %"}}):
        other = Machine.build(library.machine("aoc48", parts), 7)
        compared = 0
        for role in vars(base):
            if role in ("name", "serial", "channels", "slm"):
                continue
            for name, values in arrays(getattr(base, role)).items():
                np.testing.assert_array_equal(
                    values, arrays(getattr(other, role))[name], err_msg=f"{role}.{name}"
                )
                compared += 1
        assert compared > 20
        assert any(
            not np.array_equal(values, arrays(other.slm)[name]) for name, values in arrays(base.slm).items()
        )


def test_one_part_s_mismatch_alone_is_the_one_it_has_among_all():
    library = Library.open()
    spec = library.machine("aoc48")
    changes = without_mismatch(spec, [role for role in spec.parts if role != "detector"])
    scenario = what_if("montecarlo", "heart", library, {"set": {**QUICK, **changes}, "serials": 2})
    alone = Machine.build(library.machine("aoc48", scenario.parts), 7)
    whole, nominal = Machine.build(spec, 7), Machine.build(spec, None)
    for name, values in arrays(whole.detector).items():
        np.testing.assert_array_equal(values, arrays(alone.detector)[name])
    for name, values in arrays(nominal.optics).items():
        np.testing.assert_array_equal(values, arrays(alone.optics)[name])


@pytest.mark.slow
def test_yield_counts_machines_within_the_limits(tmp_path):
    told = invoke(
        "montecarlo", "heart", "--serials", "4", "--only", "all", "--only", "slm", "--limit", "rms_shift<0.5",
        *SETS, "--out", tmp_path / "out",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    data = read_result(tmp_path / "out" / "result.nc")
    summary = json.loads(data.attrs["summary"])
    assert data["rms_shift"].shape == (2, 4)
    for variant in ("all", "slm"):
        good = np.mean(data["rms_shift"].sel(mismatch=variant).values < 0.5)
        assert summary[f"yield.{variant}"] == pytest.approx(good)
    assert summary["rms_shift_median.slm"] < summary["rms_shift_median.all"]
    bad = invoke("montecarlo", "heart", "--only", "slmm", *SETS, "--out", tmp_path / "bad")
    assert bad.exit_code == 2 and "did you mean 'slm'" in bad.output


@pytest.mark.slow
def test_the_budget_s_ends_are_the_real_and_the_ideal_machine(tmp_path):
    told = invoke("budget", "heart", *SETS, "--set", "compile.knowledge=exact", "--out", tmp_path / "out")
    assert told.exit_code == 0, told.output
    data = read_result(tmp_path / "out" / "result.nc")
    summary = json.loads(data.attrs["summary"])
    ideal = load_scenario(
        "heart", Library.open(), {**QUICK, "compile.knowledge": "exact", "machine": "ideal48"}
    )
    alone = json.loads(run_loaded(ideal, Library.open(), None).data.attrs["summary"])
    # on ideal parts no draw is left that the name of the machine could change
    assert summary["nrmse_step_ideal_mean.ideal"] == pytest.approx(alone["nrmse_step_ideal_mean"], rel=1e-9)
    assert summary["nrmse_step_ideal_mean.real"] > summary["nrmse_step_ideal_mean.ideal"]
    bad = invoke("budget", "heart", "--ideal", "ideal49", *SETS, "--out", tmp_path / "bad")
    assert bad.exit_code == 2 and "did you mean 'ideal48'" in bad.output


@pytest.mark.slow
def test_independent_noises_add_in_squares_in_a_budget():
    """Flicker, detectors and converters on an otherwise ideal machine: shares against what all have together."""
    terms = {
        "flicker": ["slm.flicker", "slm.flicker_common", "slm.flicker_lines"],
        "detectors": ["detector.voltage_noise", "detector.current_noise", "detector.shot_noise"],
        "converter": ["digitiser.effective_bits"],
    }
    library = Library.open()
    spec, ideal = library.machine("aoc48"), library.machine("ideal48")
    off = {}
    for role in spec.parts:
        off |= made_ideal(spec, ideal, role)
    kept = {f"parts.{item}" for items in terms.values() for item in items}
    changes = {k: v for k, v in off.items() if k.removesuffix(".spread") not in kept}
    settings = {
        "set": {**QUICK, **changes, "samples": 64, "trials": 4, "compile.knowledge": "exact"},
        "terms": terms, "figures": ["nrmse_top"],
    }  # fmt: skip
    scenario = what_if("budget", "heart", library, settings)
    summary = json.loads(run_loaded(scenario, library, None).data.attrs["summary"])
    assert summary["nrmse_top_over_ideal"] > 1e-3
    assert summary["nrmse_top_sum_of_shares"] == pytest.approx(summary["nrmse_top_over_ideal"], rel=0.2)


@pytest.mark.slow
def test_sobol_indices_of_a_latency_follow_the_timeline():
    """Beside what is fixed, two steps of two trials take two DAC updates and four transfers: a linear sum.

    A few points through machine and study give what the sum gives at the same points; many points of the sum give
    the shares of its variance.
    """
    library = Library.open()
    transfer, update = norm(1e-3, 10e-6), norm(200e-6, 30e-6)
    sigma = {
        "parts.digitiser.transfer_time": "10 us",
        "parts.dac.update_time": "30 us",
        "parts.poles.node": "2 %",
    }
    quick = {**QUICK, "trials": 2, "timeline.trial_spacing": "0 s", "parts.dac.update_time": "200 us"}
    settings = {"set": quick, "factors": sigma, "n": 4, "figures": ["latency_s_per_sample"], "assumed": False}
    scenario = what_if("sensitivity", "heart", library, settings)
    found = run_loaded(scenario, library, None).data.sel(figure="latency_s_per_sample")

    def summed(n):
        p = probabilities(scenario.model_copy(update={"n": n}), 3)
        return indices(4 * transfer.ppf(p[..., 0]) + 2 * update.ppf(p[..., 1]), scenario.seed)

    for name, expected in summed(4).items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-6, err_msg=name)
    moved = np.array([4 * 10e-6, 2 * 30e-6, 0.0])
    np.testing.assert_allclose(summed(4096)["total"], moved**2 / np.sum(moved**2), rtol=0, atol=0.02)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_bits(tmp_path):
    """A real scheduler and two workers on loopback, one of them killed while points are waiting."""
    pytest.importorskip("distributed", reason="needs Dask (extra `cluster`)")
    vary = ["--vary", "parts.slm.contrast=100:400:log:8"]
    beacon = tmp_path / "scheduler.json"
    python = [sys.executable, "-m"]
    common = ["--no-dashboard", "--scheduler-file", str(beacon)]
    started = [
        subprocess.Popen(
            [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
    ]  # fmt: skip
    try:
        for _ in range(2):
            started.append(
                subprocess.Popen(
                    [*python, "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *common],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
                )
            )  # fmt: skip
        until = time.monotonic() + 60
        while not beacon.exists() and time.monotonic() < until:
            time.sleep(0.1)
        from distributed import Client

        address = json.loads(beacon.read_text())["address"]
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        far = tmp_path / "far"
        words = [*python, "aocsim", "sweep", "heart", *vary, *SETS, "--out", str(far), "--cluster", address]
        study = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while study.poll() is None and len(points(far)) < 2:
            time.sleep(0.02)
        started[1].kill()
        told, _ = study.communicate(timeout=300)
        assert study.returncode == 0, told
        assert "dashboard" in told
    finally:
        for process in started:
            process.kill()
            process.wait()
    near = tmp_path / "near"
    assert invoke("sweep", "heart", *vary, *SETS, "--out", near).exit_code == 0
    a, b = read_result(far / "result.nc"), read_result(near / "result.nc")
    assert a.sizes["contrast"] == 8 and not any(map(str, a["error"].values))
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name], b[name], err_msg=str(name))


def test_a_worker_of_another_version_is_refused(monkeypatch):
    import aocsim.scenarios.whatif.cluster as cluster

    class Other:
        def run(self, work):
            return {"tcp://far:1": cluster.source_digest(), "tcp://far:2": "0123456789abcdef"}

    with pytest.raises(InputError, match=r"another version.*far:2"):
        cluster._refuse_others(Other(), "tcp://far:0")


@pytest.mark.slow
def test_shipped_studies_lay_out():
    library = Library.open()
    for name, count in (
        ("whatif_slm", 18), ("whatif_bandwidth", 13), ("whatif_room", 15), ("yield", 200), ("error_budget", 28),
    ):  # fmt: skip
        laid = lay_out(load_scenario(name, library, {"serials": 5} if name == "yield" else None), library)
        assert len(laid) == (20 if name == "yield" else count), name
        assert len({one.digest for one in laid}) == len(laid) or name == "whatif_slm", name


def test_a_study_in_a_file_goes_to_a_cluster_and_a_run_does_not(tmp_path, monkeypatch):
    import aocsim.scenarios.whatif.cluster as cluster

    pytest.importorskip("distributed", reason="needs Dask (extra `cluster`)")
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    words = ["--cluster", "tcp://127.0.0.1:9", "--out", tmp_path / "out"]
    told = invoke("run", "whatif_room", *words)
    assert told.exit_code == 2 and "no Dask scheduler answers" in told.output
    told = invoke("run", "heart", *words)
    assert told.exit_code == 2 and "what-if studies alone" in told.output
    assert not (tmp_path / "out").exists()


@contextmanager
def stranger(greeting):
    """Address of somebody who takes connections, says what he is given, if anything, and then nothing more."""
    held = []

    def serve():
        with suppress(OSError):
            while True:
                held.append(listener.accept()[0])
                if greeting:
                    held[-1].sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=serve, daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for one in held:
                one.close()


@pytest.mark.parametrize("who", ["nobody", "silent", "another"])
def test_no_scheduler_is_told_in_time(tmp_path, monkeypatch, who):
    """Nobody listens, somebody never answers, or a web server does."""
    import aocsim.scenarios.whatif.cluster as cluster

    pytest.importorskip("distributed", reason="needs Dask (extra `cluster`)")
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n" if who == "another" else b"") as address:
        if who == "nobody":
            address = "tcp://127.0.0.1:9"
        began = time.monotonic()
        with pytest.raises(InputError, match="no Dask scheduler answers"), cluster.cluster(address):
            pass
    assert time.monotonic() - began < 10
    if who == "nobody":
        out = tmp_path / "out"
        told = invoke("sweep", "heart", "--vary", CONTRAST, *SETS, "--out", out, "--cluster", address)
        assert told.exit_code == 2 and "no Dask scheduler answers" in told.output
        assert not out.exists()


@pytest.mark.slow
def test_an_interrupted_sweep_leaves_its_points_and_no_worker(tmp_path):
    """Ctrl-C at a terminal reaches the workers, too."""
    out = tmp_path / "out"
    words = ["sweep", "heart", "--vary", "parts.slm.contrast=100:400:log:40", *SETS, "--threads", "2"]
    study = subprocess.Popen(
        [sys.executable, "-m", "aocsim", *words, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while study.poll() is None and len(points(out)) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(study.pid, signal.SIGINT)
    told, _ = study.communicate(timeout=60)
    assert study.returncode == 130, told
    assert told.splitlines()[1:] == ["aocsim: interrupted"]
    assert 3 <= len(points(out)) < 40 and [path.name for path in out.iterdir()] == ["points"]
    until = time.monotonic() + 20
    while (living := in_group(study.pid)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not living


def in_group(group):
    """Whether any process of a group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_rate_that_is_shown_is_that_of_new_points():
    with tqdm(total=10, file=io.StringIO()) as bar:
        shown = _Shown(bar)
        shown(6)
        assert (bar.n, bar.initial) == (6, 6)
        shown(1)
        assert bar.n == 7 and bar.format_dict["initial"] == 6


@pytest.mark.slow
def test_recommended_channels_are_live_and_settle_sooner(tmp_path):
    """On every serial: no dead input is used, and the slowest row settles no later than with channels in order."""
    gains = []
    for serial in (1, 4, 9):
        told = invoke("recommend", "aoc48", "--serial", serial, "--json", tmp_path / "choice.json")
        assert told.exit_code == 0, told.output
        choice = json.loads((tmp_path / "choice.json").read_text())
        dead = Machine.build(Library.open().machine("aoc48"), serial).optics.dead
        assert not set(choice["channel_of_unit"]) & set(np.asarray(dead).tolist())
        assert len(set(choice["channel_of_unit"])) == len(choice["channel_of_unit"])
        assert sorted(choice["channel_of_unit"] + choice["left_out"]) == list(range(48))
        chosen, in_order = (choice["figures"][way] for way in ("chosen", "in_order"))
        if in_order is not None:
            gains.append(in_order["settling_us_slowest"] / chosen["settling_us_slowest"])
    assert gains and min(gains) > 1.0
    bad = invoke("recommend", "aoc49")
    assert bad.exit_code == 2 and "aoc49" in bad.output
    bad = invoke("recommend", "aoc48", "--knowledge", "nope.nc")
    assert bad.exit_code == 2 and "nope.nc" in bad.output
