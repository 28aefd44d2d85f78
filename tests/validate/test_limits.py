"""Where the twin stops being true: the machinery, and effects whose size is known otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest

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
    write_limits,
)


@pytest.fixture(scope="module")
def bench():
    return bench_of(Setting())


def error_of(name, bench, size):
    return next(effect for effect in effects() if effect.name == name).error(bench, size)


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
    from dataclasses import replace

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


@pytest.mark.slow
@pytest.mark.parametrize("name", [effect.name for effect in effects()])
def test_every_effect_has_a_limit_or_a_bound(name):
    found = limit_of(Setting(), name)
    known = np.isfinite(found.error)
    assert known[:3].all()
    assert np.all(np.diff(found.error[known]) > -0.2 * found.error[known][1:]), found.error
    if name == "optical_delay":
        assert found.error[known].max() < LEVEL  # an optical arm may lag by a microsecond
    else:
        assert np.isfinite(found.limit)
