"""Every comparison of `aocsim validate` as a test, and what the table does with what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from aocsim.cli import app
from aocsim.errors import InputError, PhysicsError
from aocsim.validate import table
from aocsim.validate.check import REFERENCES, Check, Curve, Setting, SkippedError, compared, within
from aocsim.validate.figures import write_figures

FILE = os.environ.get("AOCSIM_TWIN_FILE")
MISSED = {
    "flicker_share": "84.6 % on serial 1: the detectors' noise, correlated by the relaxed loop, is the rest"
}
"""Rows that fail as they stand; one that passes again has to leave this list."""
EVERY = [(group, check) for group in table.GROUPS for check in table.checks(group)]


def rows():
    """All checks, those of a measured machine with its file, where there is one, and with a file made for the test."""
    found = []
    for group, check in EVERY:
        settings = {} if group == "ensemble" else {"": Setting()}
        if FILE and group in ("twin", "ensemble"):
            settings["-measured"] = Setting(twin_file=Path(FILE))
        marks = [pytest.mark.slow] if check.slow else []
        if check.name in MISSED:
            marks.append(pytest.mark.xfail(strict=True, reason=MISSED[check.name]))
        for name, setting in settings.items():
            found.append(pytest.param(setting, group, check, id=f"{check.name}{name}", marks=marks))
    return found


@pytest.mark.parametrize(("setting", "group", "check"), rows())
def test_row_passes(setting, group, check):
    found = table.run_check(setting, (group, check.name))
    if found.row.status == "skipped":
        assert group == "spice"
        pytest.skip(found.row.reason)
    assert found.row.status == "pass", f"{found.row.what}: {found.row.reason or found.row}"


def test_names_are_unique_and_there_are_25_rows():
    names = [check.name for _, check in EVERY]
    assert len(names) == len(set(names))
    assert not set(names) & set(table.GROUPS)
    assert len(names) >= 25


def test_compared_tells_rms_and_maximum_in_per_cent_of_range():
    row = compared("a", "b", [0.0, 1.1, 2.0], [0.0, 1.0, 2.0], rms=3.0, maximum=5.001)
    assert row.rms == pytest.approx(100 * 0.1 / 2 / np.sqrt(3))
    assert row.maximum == pytest.approx(5.0)
    assert row.status == "pass"
    assert compared("a", "b", [0.0, 1.1, 2.0], [0.0, 1.0, 2.0], rms=2.0, maximum=9.0).status == "fail"
    assert compared("a", "b", [0.0, 1.1, 2.0], [0.0, 1.0, 2.0], rms=9.0, maximum=4.9).status == "fail"


def test_what_is_no_number_fails():
    assert compared("a", "b", [0.0, np.nan], [0.0, 1.0], rms=1.0, maximum=1.0).status == "fail"
    assert within("a", "b", np.nan, 1.0, 2.0).status == "fail"


@pytest.mark.parametrize(("got", "want"), [([1.0], [1.0, 2.0]), ([], []), ([1.0, 1.0], [1.0, 1.0])])
def test_nothing_to_compare_is_refused(got, want):
    with pytest.raises(ValueError, match=r"compare|range"):
        compared("a", "b", got, want, rms=1.0, maximum=1.0)


def test_within_says_number_and_interval_and_no_error():
    """Where in the interval the number should lie, nobody has said: its distance from the middle is no error."""
    row = within("a", "b", 5.1, 4.9, 5.2, unit="MHz", reason="why")
    assert (row.status, row.tolerance, row.reason) == ("pass", "4.9 to 5.2 MHz", "why")
    assert (row.rms, row.maximum) == (None, None)
    assert row.reading.told == "5.1 MHz"
    assert within("a", "b", 5.3, 4.9, 5.2).status == "fail"
    assert within("a", "b", 5.3, 4.9, np.inf).tolerance == "at least 4.9"
    assert within("a", "b", 42.0, 42.0, 42.0).status == "pass"
    for low, high in ((1.0, 0.0), (np.nan, 1.0), (-np.inf, np.inf)):
        with pytest.raises(ValueError, match="interval"):
            within("a", "b", 1.0, low, high)


FITTED = {
    *(check.name for check in table.checks("ensemble")),
    *("window_averaging", "white_share", "flicker_share", "five_trials", "beyond_five_trials", "pair_law"),
}
SHARING = {
    "loop_bandwidth", "relaxed_bandwidth", "pair_slope", "step_of_one_pole", "settling_with_relaxation",
    "open_path_corner", "led_bandwidth_20ma", "led_curvature", "effective_bits", "closed_loop_small_signal",
    "kick_of_the_heart", "twin_round_trip", "twin_minor_poles", "trial_averaging",
}  # fmt: skip


def test_every_reference_says_how_independent_it_is():
    said = {check.name: check.reference for _, check in EVERY}
    assert set(said.values()) == set(REFERENCES)
    assert {name for name, word in said.items() if word == "fitted"} == FITTED
    assert {said[name] for name in SHARING} == {"shared inputs"}
    assert said["twin_step"] == "second implementation"
    assert {said[check.name] for check in table.checks("spice")} == {"independent"}


def _raise(error):
    def run(setting):
        raise error

    return run


@pytest.fixture
def one_group(monkeypatch):
    """Replace all groups by one with these checks."""

    def use(*checks):
        monkeypatch.setattr(table, "GROUPS", ("closed_forms",))
        monkeypatch.setattr(table, "checks", lambda group: tuple(checks))

    return use


GOOD = Check(
    "good",
    lambda s: compared(
        "what", "against", [0.0, 1.0], [0.0, 1.0], rms=1, maximum=1,
        curve=Curve(np.array([0.0, 1.0]), "time (s)", np.array([0.0, 1.0]), np.array([0.0, 1.0]), "z (V)"),
    ),
    "independent",
)  # fmt: skip
BAD = Check("bad", lambda s: compared("what", "against", [0.0, 2.0], [0.0, 1.0], rms=1, maximum=1), "fitted")
NUMBER = Check("number", lambda s: within("what", "against", 5.0, 4.0, np.inf, unit="MHz"), "shared inputs")


def broken(name, error):
    return Check(name, _raise(error), "independent")


def test_a_check_that_breaks_is_a_failed_row_and_the_others_go_on(one_group):
    one_group(
        GOOD,
        broken("skips", SkippedError("no binary")),
        broken("physics", PhysicsError("unstable")),
        broken("input", InputError("is not valid TOML", file="x.toml")),
        broken("defect", ZeroDivisionError("division by zero")),
        BAD,
    )
    found = {finding.check: finding.row for finding in table.run_checks(Setting())}
    assert [found[name].status for name in ("good", "skips", "physics", "input", "defect", "bad")] == [
        "pass", "skipped", "fail", "fail", "fail", "fail",
    ]  # fmt: skip
    assert found["skips"].reason == "no binary"
    assert found["physics"].reason == "unstable"
    assert found["input"].reason == "x.toml: is not valid TOML"
    assert "ZeroDivisionError" in found["defect"].reason


def invoke(*arguments):
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


def test_command_writes_table_and_figures_and_its_status_says_whether_all_pass(one_group, tmp_path):
    one_group(GOOD, broken("skips", SkippedError("no binary")), NUMBER)
    result = invoke("--out", tmp_path, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "2 passed, 0 failed, 1 skipped" in result.stdout
    rows = json.loads((tmp_path / "validation.json").read_text())
    assert [row["status"] for row in rows] == ["pass", "skipped", "pass"]
    assert set(rows[0]) == {
        "group", "check", "what", "against", "reference", "rms_percent", "max_percent", "percent_of", "value", "lowest",
        "highest", "unit", "tolerance", "status", "reason", "seconds",
    }  # fmt: skip
    assert rows[1]["rms_percent"] is None
    assert (rows[0]["reference"], rows[0]["value"]) == ("independent", None)
    interval = [
        rows[2][key] for key in ("rms_percent", "max_percent", "percent_of", "value", "lowest", "highest")
    ]
    assert interval == [None, None, None, 5.0, 4.0, None]
    line = next(line for line in result.stdout.splitlines() if line.startswith("number"))
    assert line.split()[1:9] == ["pass", "-", "-", "5", "MHz", "at", "least", "4"]
    for word, meaning in REFERENCES.items():  # told under the table
        assert f"{word}: {meaning}" in result.stdout
    assert json.loads((tmp_path / "validation_made_by.json").read_text())["setting"]["serial"] == "1"
    assert (tmp_path / "validation_closed_forms.png").stat().st_size > 5000

    one_group(GOOD, BAD)
    result = invoke("--out", tmp_path, "--threads", 1)
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert table.read_table(tmp_path / "validation.json")[1]["status"] == "fail"


def test_figures_of_an_earlier_table_do_not_stay(one_group, tmp_path):
    one_group(GOOD)
    assert invoke("--out", tmp_path, "--threads", 1).exit_code == 0
    (tmp_path / "validation_notes.md").write_text("mine")
    one_group(broken("skips", SkippedError("no binary")))
    assert invoke("--out", tmp_path, "--threads", 1).exit_code == 0
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"validation.json", "validation_made_by.json", "validation_notes.md"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "closed_form"), "closed_forms"),
        (("--machine", "aoc84"), "aoc48"),
        (("--twin", "nowhere.yaml"), "nowhere.yaml"),
        (("--threads", "-1"), "--threads"),
        (("--serial", "-1"), "--serial"),
        (("--serial", str(2**70)), "--serial"),
        (("--seed", "-1"), "--seed"),
        (("--twin-limits", "--twin", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_bad_input_ends_with_status_2_and_leaves_no_folder(tmp_path, arguments, told):
    out = tmp_path / "out"
    result = invoke(*arguments, "--out", out)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not out.exists()


def test_list_names_all_checks():
    lines = invoke("--list").stdout.splitlines()
    assert len(lines) == 1 + len(EVERY)
    assert len(invoke("--list", "--only", "spice").stdout.splitlines()) == 1 + len(table.checks("spice"))


def test_figure_draws_each_curve_over_its_reference(tmp_path):
    from aocsim.validate.figures import group_figure

    found = table.Finding("closed_forms", "good", "independent", GOOD.run(Setting()), 0.1)
    figure = group_figure("closed_forms", [found, replace(found, check="other")], Setting())
    drawn = [axis for axis in figure.axes if axis.lines]
    assert len(drawn) == 2
    for axis in drawn:
        assert axis.get_xlabel() == "time (s)"
        assert axis.get_ylabel() == "z (V)"
        assert len(axis.lines) == 2
    assert write_figures([found], Setting(), tmp_path)[0].name == "validation_closed_forms.png"


def test_ngspice_is_there_or_its_rows_say_so():
    found = table.run_check(Setting(), ("spice", "spice_pair_300_kelvin"))
    if shutil.which("ngspice") is None:
        assert (found.row.status, found.row.reason) == ("skipped", "ngspice is not installed")
    else:
        assert found.row.status == "pass"


def test_readme_tells_how_many_rows_have_which_reference():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.split("|")] for line in readme.splitlines()]
    told = {row[1]: row[3] for row in cells if len(row) == 5}
    for word in REFERENCES:
        assert int(told[word]) == sum(check.reference == word for _, check in EVERY)
