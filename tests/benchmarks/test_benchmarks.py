"""The benchmarks' harness: the physics that peers are given, errors, summary and table."""

import numpy as np
import pytest

pytest.importorskip("loads")

import loads
import report
import roofline
import table
import translate
from reference import Reference, reference_of

from aocsim.solve.integrators import integrate

OPS = translate.Ops(
    clip=np.clip,
    index=lambda x, highest: np.minimum(x.astype(int), highest),
    take=lambda values, k: values[k],
    shared=lambda x, matrix: x @ matrix,
    own=lambda x, matrix: np.matmul(matrix, x[..., None])[..., 0],
    join=lambda parts: np.concatenate(parts, axis=-1),
    real=lambda k: k.astype(float),
    tanh=np.tanh,
)


@pytest.mark.parametrize("laws", ["table", "smooth"])
@pytest.mark.parametrize(
    "track, load",
    [
        ("shared", "heart"),
        ("distinct", "alpha0.5"),
        ("three_poles", "alpha0.9"),
        ("channels_256", "alpha0.9"),
    ],
)
def test_peers_are_given_the_loops_own_physics(track, load, laws):
    task = loads.task_of(track, load, 4)
    state = integrate(task.loop, task.state, task.drive, task.times[:2] / 8, rtol=1e-4, atol=1e-6).state[
        :, -1
    ]
    envelope = np.stack([np.full(task.channels, -1.0), np.full(task.channels, 1.0)])
    plan = translate.translate(task.loop, laws, envelope)
    found = translate.right_hand_side(plan, OPS, plan.arrays, state, task.drive) * translate.SECOND
    wanted = task.loop.rhs(state, task.drive)
    allowed = 1e-12 if laws == "table" else 1e-5
    assert np.abs(found - wanted).max() < allowed * task.loop.fastest_rate
    assert np.abs(wanted).max() > 1e2 * allowed * task.loop.fastest_rate


@pytest.mark.parametrize("load, radius", [("alpha0.9", 0.08), ("alpha0.5", 0.4)])
@pytest.mark.parametrize("track", ["shared", "channels_256"])
def test_optical_part_has_the_radius_that_is_asked_for(track, load, radius):
    task = loads.task_of(track, load, 1)
    alpha = np.full(task.channels, float(load.removeprefix("alpha")))
    assert loads.optical_radius(task.loop, alpha) == pytest.approx(radius, rel=1e-6)


def test_a_part_of_an_ensemble_is_that_part():
    task = loads.task_of("distinct", "heart", 6)
    state = np.random.default_rng(2).normal(0, 0.3, task.state.shape)
    part = loads.sliced(task.loop, 2, 5)
    whole = task.loop.rhs(state, task.drive)[2:5]
    np.testing.assert_allclose(part.rhs(state[2:5], task.drive[2:5]), whole, rtol=1e-12)
    assert len(part.plan[0]) == len(task.loop.plan[0])


def test_error_is_the_worst_over_instants_and_channels(monkeypatch, tmp_path):
    monkeypatch.setattr("reference.KEPT", tmp_path)
    task = loads.task_of("shared", "alpha0.9", 3)
    known = reference_of(task, 2, 1)
    out = np.concatenate([known.visited, np.zeros((1, 90, 48))])
    assert known.error(task, out) == 0.0
    out[1, 40, 7] += 3e-4
    assert known.error(task, out) == pytest.approx(3e-4)
    out[0, 3, 3] = np.nan
    assert known.error(task, out) == np.inf
    np.testing.assert_array_equal(reference_of(task, 2, 1).visited, known.visited)  # from disk


def test_weak_error_sees_a_wrong_spread_and_a_wrong_mean():
    task = loads.task_of("noise", "alpha0.9", 800)
    rng, drives, n = np.random.default_rng(3), loads.NOISE_DRIVES, 48
    white = rng.normal(0, 1e-3, (800, 90, n))
    shape = (drives, 90, n)
    # neighbours that share half of their noise
    noise = white.copy()
    noise[:, 1:] = (white[:, 1:] + white[:, :-1]) / np.sqrt(2)
    known = Reference(
        np.zeros(shape),
        np.empty(0),
        np.full(shape, 1e-6),
        np.full((drives, 89, n), 5e-7),
        np.ones((drives, n)),
    )
    assert known.error(task, noise) < 1.0
    assert known.error(task, 1.05 * noise) > 1.0
    assert known.error(task, noise + 1e-4) > 1.0


def test_roofline_takes_time():
    assert 0 < roofline.seconds_per_evaluation(loads.task_of("distinct", "heart", 8), 1) < 1


def _row(library, way, seconds, exits=False):
    row = {
        "library": library,
        "way": way,
        "steady_exit": exits,
        "error": 1e-5,
        "knob": 1e-5,
        "seconds": [seconds] * 3,
    }
    return {**row, "per_second": [100 / seconds] * 3, "compilation_seconds": 0.0}


def test_summary_compares_medians_with_the_fastest_of_each():
    rows = [_row("aocsim", "a", 0.1), _row("diffrax", "slow", 0.5), _row("diffrax", "fast", 0.2)]
    rows += [
        _row("scipy stacked", "RK45", 0.4),
        _row("scipy LSODA", "LSODA", 10.0),
        _row("diffrax", "fast", 0.05, True),
    ]
    rows[0] |= {"evaluations": 100.0, "product_seconds": 4e-4}
    found = report.summary(rows)
    assert found["best_peer"] == "diffrax fast"
    assert found["ratio_best_peer"] == pytest.approx(2.0)
    assert found["ratio_scipy_stacked"] == pytest.approx(4.0)
    assert found["ratio_scipy_single"] == pytest.approx(100.0)
    assert found["roofline_fraction"] == pytest.approx(0.4)
    assert found["steady_exit"]["ratio_best_peer"] == pytest.approx(0.5)


def test_a_further_way_of_ours_is_no_peer():
    rows = [_row("aocsim", "a", 0.1), _row("aocsim linearised", "b", 0.01), _row("diffrax", "c", 0.2)]
    found = report.summary(rows)
    assert found["best_peer"] == "diffrax c"
    assert found["ratio_best_peer"] == pytest.approx(2.0)
    other = found["other_ways"]["aocsim linearised"]
    assert other["best_peer"] == "diffrax c"
    assert other["ratio_best_peer"] == pytest.approx(20.0)


def test_table_stands_between_its_markers():
    rows = [_row("aocsim", "a", 0.1), _row("diffrax", "b", 0.2)]
    measured = {"machine": {"threads": 2, "processor": "P", "date": "2026-01-01"}, "rounds": 5}
    track = {**measured, **report.summary(rows), "rows": rows}
    found = {
        "versions": {"aocsim": "1"},
        "absent": {"peers_torch": "no torch"},
        "tracks": {"shared/heart": track},
    }
    text = table.table(found)
    assert text.startswith("Median of 5 interleaved rounds on 2 threads of P, 2026-01-01; aocsim 1.")
    elsewhere = {**track, "machine": {**track["machine"], "processor": "Q"}}
    both = table.table({**found, "tracks": {"shared/heart": track, "noise/heart": elsewhere}})
    assert "Shared: median of 5 interleaved rounds on 2 threads of P, 2026-01-01; noise: median" in both
    assert "| shared | heart | 1 000 | 2x | diffrax b |" in text
    readme = table.placed(f"before\n{table.BEGIN}\nold\n{table.END}\nafter", text)
    assert "old" not in readme and readme.startswith("before") and readme.endswith("after")
    with pytest.raises(ValueError, match="markers"):
        table.placed("nothing", text)
