"""Where the twin stops being true: the machinery, and effects whose size is known otherwise."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from aocsim.cli import app
from aocsim.library import Library
from aocsim.twin import measurement_of, write_measurement
from aocsim.validate import limits
from aocsim.validate.check import Setting
from aocsim.validate.limits import (
    LEVEL,
    SIZES,
    Bench,
    Limits,
    bench_of,
    crossing,
    effects,
    limit_of,
    spreads_of,
    write_limits,
)
from aocsim.validate.limits_figure import limits_figure


@pytest.fixture(scope="module")
def bench():
    return bench_of(Setting())


def error_of(name, bench, size):
    return next(effect for effect in effects(Setting()) if effect.name == name).error(bench, size)


def test_without_an_effect_machine_and_twin_agree(bench):
    """Static effects of size almost zero leave rounding; the machine's own alpha path is the twin's."""
    assert isinstance(bench, Bench)
    for name in ("thermal_droop", "temperature", "saturation"):
        assert error_of(name, bench, 1e-3) < 1e-6, name
    assert error_of("structure", bench, 1e-6) < 1e-6
    assert error_of("pair_mismatch", bench, 1e-6) < 1e-6


def test_small_effects_grow_in_proportion(bench):
    for name in ("thermal_droop", "temperature", "structure", "flicker"):
        small, twice = (error_of(name, bench, size) for size in (0.02, 0.04))
        assert twice / small == pytest.approx(2.0, rel=0.05), name
    # a random walk grows with the root of time
    early, late = (error_of("drift", bench, size) for size in (1e-4, 4e-4))
    assert late / early == pytest.approx(2.0, rel=0.05)


def test_droop_is_a_change_of_gain(bench):
    """Emitters dimmer by 0.2 %/K: what 0.998 of beta does to the twin's own fixed points, to 2 %."""
    from aocsim.compose import compose

    dim = replace(bench.machine.gains, closed_loop_gain=bench.machine.gains.closed_loop_gain * 0.998)
    machine = replace(bench.machine, gains=dim)
    gain = limits._settled(
        bench, compose(machine, bench.program, limits._electronics(bench, bench.machine, False))
    )
    assert error_of("thermal_droop", bench, 1.0) == pytest.approx(gain, rel=0.02)


def test_crossing_interpolates_in_logarithms():
    sizes = np.array([1.0, 10.0, 100.0])
    assert crossing(sizes, np.array([1e-3, 1e-2, 1e-1]) / 2) == pytest.approx(20.0)
    assert np.isnan(crossing(sizes, np.array([1e-3, 2e-3, 3e-3])))
    assert np.isnan(crossing(sizes, np.array([2e-2, 3e-2, 4e-2])))
    assert crossing(sizes, np.array([1e-3, 1e-1, np.nan])) < 10


def test_an_effect_beyond_the_level_at_its_smallest_size_is_said_to_be_less():
    error = np.full(len(SIZES), np.nan)
    error[0] = 6 * LEVEL
    one = limits.Limit("x", "x", "x", "mV", 2.0, SIZES, error, crossing(SIZES, error), float("nan"))
    assert Limits((one,)).rows()[0][1:3] == ("less than 0.0625", "less than 0.125 mV")


def test_limit_lies_where_the_error_is_the_level(bench):
    found = limit_of(Setting(), "temperature")
    assert SIZES[0] < found.limit < SIZES[-1]
    assert error_of("temperature", bench, found.limit) == pytest.approx(LEVEL, rel=0.03)
    assert found.at_spread == pytest.approx(error_of("temperature", bench, 1.0), rel=0.05)


def test_table_and_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SIZES", SIZES[20::3])
    table = Limits((limit_of(Setting(), "thermal_droop"),))
    assert [len(row) for row in table.rows()] == [len(table.columns)]
    written = write_limits(table, Setting(), tmp_path)
    rows = json.loads(written[0].read_text())
    assert rows[0]["effect"] == "thermal_droop"
    assert rows[0]["limit"] == pytest.approx(rows[0]["limit_over_spread"] * rows[0]["spread"])
    assert written[1].stat().st_size > 20_000


EDITED = {
    "slm": ('value = "0.015 rad"', 'value = "0.03 rad"'),
    "pair": ('spread = "1 mV"', 'spread = "2 mV"'),
    "optics": ('spread = "2.5 %"\nper = "pixel"', 'spread = "5 %"\nper = "pixel"'),
    "node": ('value = "2.26 V"', 'value = "2.0 V"'),
    "poles": ('[entries.node_delay]\nvalue = "0 ns"', '[entries.node_delay]\nvalue = "10 ns"'),
}


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """A library whose sheets have other spreads."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "components").mkdir()
    for name, (before, after) in EDITED.items():
        text = Library.open().part(name).text
        assert text.count(before) == 1
        (folder / "components" / f"{name}.toml").write_text(text.replace(before, after))
    return folder


def test_units_are_those_of_the_sheets(bench, edited):
    """A doubled spread on a sheet doubles the unit, and so the small error at it."""
    units = [
        {effect.name: effect.one for effect in effects(setting)}
        for setting in (Setting(), Setting(library=edited))
    ]
    ratio = {name: units[1][name] / one for name, one in units[0].items()}
    assert ratio == pytest.approx(
        {
            **dict.fromkeys(ratio, 1.0),
            "flicker": 2.0,
            "pair_mismatch": 2.0,
            "structure": 2.0,
            "node_delay": 0.5,
        }
    )
    spreads = spreads_of(Setting(library=edited))
    assert spreads.node.linear_high == 2.0
    wider = replace(bench, spreads=spreads)
    assert error_of("structure", wider, 0.02) / error_of("structure", bench, 0.02) == pytest.approx(
        2, rel=0.05
    )
    # the wobble common to an arm has stayed
    assert 1.2 < error_of("flicker", wider, 0.02) / error_of("flicker", bench, 0.02) < 2.0


def test_a_part_without_spread_has_no_unit():
    by_name = {effect.name: effect.one for effect in effects(Setting("ideal48"))}
    assert [by_name[name] for name in ("saturation", "flicker", "pair_mismatch", "structure")] == [0.0] * 4
    found = limit_of(Setting("ideal48"), "flicker")
    assert len(found.sizes) == 0
    assert Limits((found,)).rows()[0][1:4] == ("-", "-", "-")
    assert limits_figure((found,), LEVEL, "ideal48").axes


def test_an_imported_machine_and_its_file_have_the_same_units(tmp_path, twin_file):
    assert invoke("import-twin", twin_file, "--name", "measured", "--out", tmp_path).exit_code == 0
    imported = effects(Setting("measured", library=tmp_path))
    read = effects(Setting(twin_file=twin_file))
    assert [effect.one for effect in imported] == [effect.one for effect in read]
    assert all(effect.one > 0 for effect in imported)


def test_error_at_one_unit_is_there_where_the_sizes_end_before(bench, monkeypatch):
    """A scan that stops at its first size still tells the error at one unit."""
    monkeypatch.setattr(limits, "LEVEL", 1e-9)
    found = limit_of(Setting(), "thermal_droop")
    assert np.isnan(found.error[1:]).all()
    assert found.at_spread == error_of("thermal_droop", bench, 1.0)


def test_a_machine_too_small_for_the_heart_is_refused_before_a_folder_is_made(tmp_path):
    small = replace(Library.open().machine("aoc48"), channels=16)
    file = write_measurement(measurement_of(small, 1, "small")[0], tmp_path / "small.yaml")
    assert invoke("import-twin", file, "--out", tmp_path).exit_code == 0
    for option, given in (("--twin", [file]), ("--machine", ["small", "--library", tmp_path])):
        result = invoke("validate", "--twin-limits", "--out", tmp_path / "out", option, *given)
        assert result.exit_code == 2
        assert option in result.stderr and "45 channels" in result.stderr
        assert not (tmp_path / "out").exists()


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize("name", [effect.name for effect in effects(Setting())])
def test_every_effect_has_a_limit_or_a_bound(name):
    found = limit_of(Setting(), name)
    known = np.isfinite(found.error)
    assert known[:3].all()
    assert np.all(np.diff(found.error[known]) > -0.2 * found.error[known][1:]), found.error
    if name == "optical_delay":
        assert found.error[known].max() < LEVEL  # an optical arm may lag by a microsecond
    else:
        assert np.isfinite(found.limit)
