"""The table on machines that lack what a comparison needs: a reason in place of a failure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from aocsim.cli import app
from aocsim.compose import photocurrent_matrix
from aocsim.library import Library
from aocsim.twin import measurement_of, sheets, write_measurement
from aocsim.validate import closed_detectors, facts_light, facts_noise, table, twin
from aocsim.validate.check import Setting
from aocsim.validate.facts_averaging import Records
from aocsim.validate.setups import BETA, darkness, photocurrents, program_of


def imported(folder, file, name):
    told = CliRunner().invoke(app, ["import-twin", str(file), "--name", name, "--out", str(folder), "-q"])
    assert told.exit_code == 0, told.stderr
    return Setting(name, library=folder)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """aoc48 in the twin's format, made into a machine of measured laws."""
    folder = tmp_path_factory.mktemp("measured")
    found, _ = measurement_of(Library.open().machine("aoc48"), 1, "measured")
    return imported(folder, write_measurement(found, folder / "measured.yaml"), "measured")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The same of 16 channels, and its file."""
    folder = tmp_path_factory.mktemp("small")
    found, _ = measurement_of(replace(Library.open().machine("aoc48"), channels=16), 1, "small")
    file = write_measurement(found, folder / "small.yaml")
    return replace(imported(folder, file, "small"), twin_file=file)


def row_of(setting, name):
    group = next(group for group in table.GROUPS if name in {check.name for check in table.checks(group)})
    return table.run_check(setting, (group, name)).row


QUICK = [(group, check.name) for group in table.GROUPS for check in table.checks(group) if not check.slow]


@pytest.mark.parametrize(
    "which", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("measured", "small")), "ideal48"]
)
def test_no_quick_row_fails_on_another_machine(which, request):
    setting = Setting("ideal48") if which == "ideal48" else request.getfixturevalue(which)
    rows = {name: table.run_check(setting, (group, name)).row for group, name in QUICK}
    failed = {name: row.reason for name, row in rows.items() if row.status == "fail"}
    assert not failed
    assert all(row.reason for row in rows.values() if row.status == "skipped")
    if which == "ideal48":
        assert rows["twin_saturation"].status == "skipped"
        assert "saturate" in rows["twin_saturation"].reason
    else:
        assert rows["sparse_light"].status == "skipped"
        assert "profile" in rows["sparse_light"].reason
        assert rows["shot_noise_density"].status == "pass"


HEART = (
    "closed_loop_small_signal", "noise_monte_carlo", "settling_of_a_step", "kick_of_the_heart", "window_averaging",
    "five_trials", "beyond_five_trials", "trial_averaging", "noise_shares_add_up", "white_share", "flicker_share",
    "ring_of_different_units", "twin_heart",
)  # fmt: skip


@pytest.mark.parametrize("name", HEART)
def test_rows_of_the_heart_are_skipped_on_too_few_channels(small, name):
    row = row_of(small, name)
    assert row.status == "skipped"
    assert "needs 45 channels" in row.reason


def test_a_ring_of_24_units_is_skipped_on_16_channels(small):
    assert "needs 24 channels" in row_of(small, "kick_of_a_symmetric_ring").reason


def test_a_detectors_light_is_that_of_its_neighbours_above_their_darkness(measured):
    """What the matrices of the loop leave out is T/n U (M - 1) c of equation (3), to rounding, and not small."""
    machine, dark = measured.build(), darkness(measured)
    n, z = machine.channels, np.linspace(-1, 1, 3)[:, None] * np.ones(machine.channels)
    program = program_of(machine, np.full((2, n, n), 0.4), 0.0, BETA)
    matrices = photocurrent_matrix(machine, program)
    light = [machine.arm_activation(arm, z) + machine.led.bias_power(arm) for arm in (0, 1)]
    moved = np.stack([power @ matrix.T for power, matrix in zip(light, matrices, strict=True)], axis=1)
    unmoved = machine.detector.responsivity * machine.detector.output_efficiency * machine.optics.baseline
    got = photocurrents(machine, program, z, dark)
    np.testing.assert_allclose(got, moved + unmoved, rtol=1e-9)
    assert np.abs(got - moved).max() > 1e-3 * got.max()


def test_shot_noise_of_a_machine_without_its_darkness_fails(measured):
    machine = measured.build(closed_detectors.ONLY_SHOT)
    row = closed_detectors.shot_row(machine, lambda z: closed_detectors.full_currents(machine, z))
    assert row.status == "fail"


@pytest.mark.parametrize(
    ("role", "one", "other"),
    [
        ("gains", "kept_readout_dc_offset", "kept_readout_linear_offset"),
        ("gains", "kept_detector_offset_plus", "kept_detector_offset_minus"),
        ("optics", "kept_detector_darkness_plus", "kept_detector_darkness_minus"),
        ("node", "piece0_ends", "piece4_ends"),
        ("node", "negative_saturation", "positive_saturation"),
    ],
)
def test_the_round_trip_sees_two_entries_in_each_others_place(monkeypatch, role, one, other):
    """Both places swapped, so that every number comes back all the same."""
    assert twin.round_trip_row(Setting()).status == "pass"
    places = dict(sheets.PLACES[role])
    places[one], places[other] = places[other], places[one]
    monkeypatch.setattr(sheets, "PLACES", {**sheets.PLACES, role: places})
    row = twin.round_trip_row(Setting())
    assert row.status == "fail"
    assert one in row.reason and other in row.reason


def test_every_entry_that_is_only_kept_has_a_second_place():
    kept = {role: {e for e in places if e.startswith("kept_")} for role, places in sheets.PLACES.items()}
    assert all(names <= set(twin.KEPT.get(role, {})) for role, names in kept.items())
    assert set(twin.KEPT["node"]) == set(sheets.PLACES["node"])


def test_a_point_that_the_reference_starts_from_does_not_count():
    """Errors of the others are not thinned out by one that is zero by construction."""
    rng = np.random.default_rng(5)
    random = np.repeat(rng.standard_normal((16, 100, 1, 20)), 4, axis=2)
    counts = np.array([1, 2, 4])
    row = facts_noise.trials_row(Records(random, np.zeros((16, 20)), 1.0), 1.0 / counts**2, counts, 1.0)
    # they fall with the root of the trials, and are said to fall with the trials
    off = 100 * (np.sqrt(counts[1:]) - 1)
    assert row.rms == pytest.approx(np.sqrt(np.mean(off**2)), rel=0.1)
    opened = facts_light.masks(6)[:2]
    light = facts_light.sparse_row(np.array([1.0, 0.6]), np.array([1.0, 0.5]), opened)
    assert light.rms == pytest.approx(20.0)
