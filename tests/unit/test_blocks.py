"""Blocks of solves: whole for usual machines, within the budget for wide ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.blocks import BUDGET, FOR_TRACES, SOLVES_PER_BLOCK, USUAL_CHANNELS, Blocks, Load
from aocsim.experiment import Experiment, SolveSettings
from aocsim.live import Live

loads = st.builds(
    lambda n, poles, times, own, noise, diagnose: Load(
        n, poles * n, poles * n, times, own, noise or own, diagnose
    ),
    st.integers(USUAL_CHANNELS + 1, 3000),
    st.integers(1, 6),
    st.integers(2, 2000),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(st.integers(1, USUAL_CHANNELS), st.integers(1, 1000), st.booleans(), st.integers(2, 100_000))
def test_usual_machines_take_whole_blocks(n: int, trials: int, noise: bool, times: int) -> None:
    """80 solves, in whole items, whatever the record: what they give does not depend on any budget."""
    items = max(1, SOLVES_PER_BLOCK // trials)
    found = Blocks.of(Load(n, 6 * n, 8 * n, times, noise, noise, True), trials)
    assert found == Blocks(items, trials, items * trials, items)


@given(loads, st.integers(1, 1000))
def test_wide_machines_stay_within_the_budget_if_single_solves_do(load: Load, trials: int) -> None:
    blocks = Blocks.of(load, trials)
    assert 1 <= blocks.items <= max(1, SOLVES_PER_BLOCK // trials)
    assert 1 <= blocks.trials <= trials
    assert blocks.trials == trials or blocks.items == 1
    assert 1 <= blocks.integrated <= blocks.items * blocks.trials
    assert 1 <= blocks.diagnosed <= blocks.items
    single = Blocks(1, 1, 1, 1).bytes_of(load)
    assert blocks.bytes_of(load) <= max(single + FOR_TRACES, BUDGET)


def test_a_machine_of_a_thousand_channels() -> None:
    """Without noise and diagnosis dozens of solves go together; with flicker each has 128 MB of its own."""
    bare = Load(1000, 1000, 1000, 90, False, False, False)
    assert 30 <= Blocks.of(bare, 1).items <= SOLVES_PER_BLOCK
    full = Load(1000, 1000, 1000, 90, True, True, True)
    assert Blocks.of(full, 5) == Blocks(1, 5, 1, 1)
    assert Blocks.of(full, 500).trials < 20
    assert Blocks.of(full, 5).bytes_of(full) < 1.6 * BUDGET


@pytest.mark.parametrize("noise", [False, True])
def test_however_it_is_cut_the_draws_are_the_same(bench_of, monkeypatch, noise: bool) -> None:  # type: ignore[no-untyped-def]
    """Read-outs then differ by the integrator's tolerance and by where the loop is linearised: far below noise."""
    bench = bench_of("aoc48", serial=2, channels=16, beta=60.0)
    machine = bench.trimmed_machine
    inner = Experiment(
        machine, bench.compiled.program, Live.of(machine, 5), 5, "run", SolveSettings(noise=noise)
    )
    _, drive = bench.drive(3, 0.5)
    begun = np.arange(15).reshape(3, 5) * 1e-3
    whole = inner.measure(drive, begun, 0, keep=(2, 4))
    for blocks in (Blocks(1, 2, 1, 1), Blocks(2, 5, 3, 1), Blocks(3, 5, 15, 2), Blocks(1, 1, 1, 1)):
        monkeypatch.setattr(Blocks, "of", classmethod(lambda cls, load, trials, blocks=blocks: blocks))
        found = inner.measure(drive, begun, 0, keep=(2, 4))
        for name in ("read_out", "voltage", "watched", "at_hold", "fixed_point"):
            one, other = getattr(whole, name), getattr(found, name)
            assert one.shape == other.shape
            np.testing.assert_allclose(
                other, one, rtol=0, atol=1e-3 if name in ("voltage", "watched") else 3e-4
            )
        np.testing.assert_allclose(found.settling, whole.settling, rtol=1e-3)
    assert inner.measure(drive, begun, 0, hold=False).at_hold.shape == (3, 0, 16)


def test_the_load_of_a_machine(machine_of) -> None:  # type: ignore[no-untyped-def]
    """Poles and dead times add states; noise that is not drawn moves nothing."""
    machine = machine_of("aoc48", serial=1)
    load = Load.of(machine, noise=True, slow=True, diagnose=False)
    assert load == Load(48, 48, 48, 90, True, True, False)
    assert not Load.of(machine, noise=False, slow=True, diagnose=False).own
    slow = replace(machine, poles=replace(machine.poles, optical_delay=20e-9))
    assert Load.of(slow, noise=True, slow=False, diagnose=True).linear > 48
