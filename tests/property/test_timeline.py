"""The schedule: closed-form latency, no gaps, no resource used twice at a time."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.timeline import schedule

times = st.floats(0.0, 2e-3)
spacings = st.one_of(st.none(), st.floats(0.0, 5e-3))


def machine_with(machine, record, rearm, transfer, update):
    converter = replace(
        machine.digitiser, samples=10, sample_rate=10 / record, rearm_time=rearm, transfer_time=transfer
    )
    return replace(machine, digitiser=converter, dac=replace(machine.dac, update_time=update))


def test_latency_of_the_machine_in_closed_form(machine_of):
    """1 us DAC, 19.2 us record, 10 us re-arm, 1 ms transfer, one after another to the host.

    The transfers are the bottleneck: DAC + record + trials x transfer, then the next step.
    """
    found = schedule(machine_of("aoc48"), steps=3, trials=5)
    one = 1e-6 + 19.2e-6 + 5 * 1e-3
    np.testing.assert_allclose(found.step_latency, one, rtol=1e-12)
    assert found.duration == pytest.approx(16.7e-3 + 3 * one, rel=1e-12)


def test_latency_with_a_fast_host(machine_of):
    """Transfers shorter than the re-arming: DAC + trials x record + (trials - 1) x re-arm + transfer.

    step_latency runs "to its last record on the host"; what the digitiser does afterwards is not part of it.
    """
    machine = machine_with(machine_of("aoc48"), record=20e-6, rearm=10e-6, transfer=2e-6, update=1e-6)
    found = schedule(machine, steps=2, trials=4)
    np.testing.assert_allclose(found.step_latency, 1e-6 + 4 * 20e-6 + 3 * 10e-6 + 2e-6, rtol=1e-12)


def test_latency_with_spaced_trials(machine_of):
    """Trials 5 ms apart: DAC + (trials - 1) x spacing + record + transfer."""
    found = schedule(machine_of("aoc48"), steps=2, trials=4, trial_spacing=5e-3)
    np.testing.assert_allclose(found.step_latency, 1e-6 + 3 * 5e-3 + 19.2e-6 + 1e-3, rtol=1e-12)


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 5), spacings, times, times, times)
def test_schedule_is_physical(machine_of, steps, trials, spacing, rearm, transfer, update):
    machine = machine_with(machine_of("aoc48"), record=20e-6, rearm=rearm, transfer=transfer, update=update)
    found = schedule(machine, steps=steps, trials=trials, trial_spacing=spacing)
    # no resource does two things at a time
    for resource in {event.resource for event in found.events}:
        own = sorted((e for e in found.events if e.resource == resource), key=lambda e: (e.start, e.stop))
        for before, after in itertools.pairwise(own):
            assert before.stop <= after.start + 1e-15
    # segments without gaps from the first solve to the last, closed and open in turn
    for before, after in zip(found.segments[:-1], found.segments[1:], strict=True):
        assert before.stop == after.start
        assert before.closed != after.closed
    closed = [s for s in found.segments if s.closed]
    assert [(s.step, s.trial) for s in closed] == [(i, k) for i in range(steps) for k in range(trials)]
    for segment in closed:
        assert segment.stop - segment.start == pytest.approx(20e-6, rel=1e-6)
    # a record for each solve at the same time, a transfer after it, the drive set before it
    for segment in closed:
        events = {e.what: e for e in found.events if (e.step, e.trial) == (segment.step, segment.trial)}
        assert (events["record"].start, events["record"].stop) == (segment.start, segment.stop)
        assert events["transfer"].start >= segment.stop
        drive = next(e for e in found.events if e.what == "set drive" and e.step == segment.step)
        assert drive.stop <= segment.start
    assert len(found.step_latency) == steps
    assert found.duration >= sum(found.step_latency)
    assert found.duration == max(e.stop for e in found.events)


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 4), st.floats(0.0, 5e-3))
def test_trials_keep_their_spacing(machine_of, steps, trials, spacing):
    """ "Least time from one trial's start to the next": flicker is only independent from that distance on."""
    found = schedule(machine_of("aoc48"), steps=steps, trials=trials, trial_spacing=spacing)
    starts = [s.start for s in found.segments if s.closed]
    assert np.all(np.diff(starts) >= spacing - 1e-12)


@settings(max_examples=40)
@given(st.integers(1, 4), st.integers(1, 4))
def test_a_step_uses_what_the_one_before_it_gave(machine_of, steps, trials):
    """The next drive is set only when all records of the last step are on the host."""
    found = schedule(machine_of("aoc48"), steps=steps, trials=trials)
    for step in range(1, steps):
        drive = next(e for e in found.events if e.what == "set drive" and e.step == step)
        transfers = [e for e in found.events if e.what == "transfer" and e.step == step - 1]
        assert len(transfers) == trials
        assert drive.start >= max(e.stop for e in transfers)


def test_weights_are_loaded_once(machine_of):
    found = schedule(machine_of("aoc48"), steps=5, trials=2)
    assert [e.what for e in found.events if e.resource == "slm"] == ["load weights"]
    assert found.events[0].stop == pytest.approx(16.7e-3)
