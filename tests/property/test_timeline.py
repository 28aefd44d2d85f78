"""The schedule: latency by hand, no resource used twice at a time, samples that repeat."""

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.errors import InputError
from aocsim.timeline import schedule

MODES = ("digital", "sample_and_hold")
RECORD, HELD = 20e-6, 15e-6
# long enough to discharge a node of 5 MHz between two solves
rearms = st.floats(0.5e-6, 100e-6)
updates = st.floats(0.5e-6, 50e-6)
transfers = st.one_of(st.just(0.0), st.floats(1e-6, 2e-3))
spacings = st.one_of(st.none(), st.floats(0.0, 1e-3))
counts = st.integers(1, 4)


def bench(*, rearm=10e-6, transfer=1e-3, update=1e-6, stop=HELD, acquisition=0.25e-6, poles=(5e6,)):
    """The parts of a machine that the timeline looks at: 20 us records, window from 10 us on."""
    return SimpleNamespace(
        slm=SimpleNamespace(frame_time=16e-3, settling_time=4e-3),
        dac=SimpleNamespace(update_time=update),
        digitiser=SimpleNamespace(
            samples=10,
            sample_rate=10 / RECORD,
            window_start=10e-6,
            window_stop=stop,
            rearm_time=rearm,
            transfer_time=transfer,
        ),
        memory=SimpleNamespace(acquisition_time=acquisition),
        poles=SimpleNamespace(node=np.array(poles)),
    )


def run(machine, steps=1, trials=1, spacing=None, memory="digital", load=False):
    return schedule(
        machine, steps=steps, trials=trials, trial_spacing=spacing, memory=memory, load_weights=load
    )


def of(found, what):
    return [event for event in found.events if event.what == what]


@pytest.mark.parametrize("mode", MODES)
def test_the_machine_loads_its_weights_once(machine_of, mode):
    """16.7 ms frame and 5 ms settling, then the first DAC update."""
    found = schedule(machine_of("aoc48"), steps=5, trials=2, memory=mode)
    assert [e.what for e in found.events if e.resource == "slm"] == ["load weights", "settle"]
    assert found.load_time == pytest.approx(21.7e-3, rel=1e-12)
    assert of(found, "set drive")[0].start == found.load_time
    loaded = schedule(machine_of("aoc48"), steps=5, trials=2, memory=mode, load_weights=False)
    assert (loaded.load_time, of(loaded, "load weights")) == (0.0, [])
    np.testing.assert_allclose(np.array(found.starts) - 21.7e-3, loaded.starts, rtol=0, atol=1e-15)
    assert found.duration - loaded.duration == pytest.approx(21.7e-3, rel=1e-12)
    assert found.period == pytest.approx(loaded.period, rel=1e-12)


def test_programs_that_take_turns_are_loaded_before_every_step():
    """20 ms each time, the next sample's first one included; a step's latency begins with its drive."""
    once, turns = (
        schedule(bench(), steps=4, trials=2, load_weights=True, reload_weights=reload)
        for reload in (False, True)
    )
    loads = of(turns, "load weights")
    assert [event.step for event in loads] == [-1, 1, 2, 3]
    assert turns.duration == pytest.approx(once.duration + 3 * 20e-3, rel=1e-9)
    assert turns.period == pytest.approx(once.period + 4 * 20e-3, rel=1e-9)
    assert turns.step_latency == pytest.approx(once.step_latency, rel=1e-9)
    for event in loads[1:]:
        assert max(e.stop for e in of(turns, "transfer") if e.step == event.step - 1) <= event.start
    with pytest.raises(ValueError, match="chains of a memory"):
        schedule(bench(), steps=2, trials=1, memory="sample_and_hold", reload_weights=True)


def test_digital_latency_of_the_machine_by_hand(machine_of):
    """1 us DAC, 19.2 us record, 10 us re-arm, 1 ms transfer, one after another to the host.

    The transfers are the bottleneck: 1 + 19.2 + 5 x 1000 us = 5.0202 ms a step, and then the next one.
    """
    found = schedule(machine_of("aoc48"), steps=3, trials=5)
    np.testing.assert_allclose(found.step_latency, 5.0202e-3, rtol=1e-12)
    assert found.duration == pytest.approx(21.7e-3 + 3 * 5.0202e-3, rel=1e-12)
    assert found.period == pytest.approx(3 * 5.0202e-3, rel=1e-12)
    assert found.run_duration(256) == pytest.approx(21.7e-3 + 256 * 3 * 5.0202e-3, rel=1e-12)
    first = [21.701e-3 + k * 29.2e-6 for k in range(5)]
    np.testing.assert_allclose(found.starts[0], first, rtol=1e-12)
    np.testing.assert_allclose(found.starts[2], np.array(first) + 2 * 5.0202e-3, rtol=1e-12)
    assert math.isnan(found.held)


def test_digital_latency_with_a_fast_host_by_hand():
    """Transfers of 2 us: 1 us DAC, 4 records, 3 re-armings, 2 us; then 7 us of re-arming, hidden behind them and the
    next DAC update, are no part of a step, but of the pitch of 4 x 30 us."""
    found = run(bench(transfer=2e-6), steps=3, trials=4)
    np.testing.assert_allclose(found.step_latency, 113e-6, rtol=1e-12)
    np.testing.assert_allclose(np.diff([row[0] for row in found.starts]), 120e-6, rtol=1e-12)
    assert found.duration == pytest.approx(2 * 120e-6 + 113e-6, rel=1e-12)
    assert found.period == pytest.approx(360e-6, rel=1e-12)


def test_digital_latency_with_spaced_trials_by_hand():
    """Trials 5 ms apart: 1 us + 3 x 5 ms + 20 us + 1 ms a step; the next step begins so that its solve keeps them."""
    found = run(bench(), steps=2, trials=4, spacing=5e-3)
    np.testing.assert_allclose(found.step_latency, 16.021e-3, rtol=1e-12)
    np.testing.assert_allclose(np.ravel(found.starts), 1e-6 + 5e-3 * np.arange(8), rtol=1e-12)
    assert found.period == pytest.approx(40e-3, rel=1e-12)


def test_memory_latency_of_the_machine_by_hand(machine_of):
    """No host between steps: 29.2 us a step (19.2 us record, 10 us re-arm beside the DACs), 16 transfers of 1 ms.

    The held value stands after 1 us DAC and 17.75 us, later after 10 us of re-arming and 17.75 us.
    """
    found = schedule(machine_of("aoc48"), steps=16, trials=1, memory="sample_and_hold", load_weights=False)
    np.testing.assert_allclose(np.ravel(found.starts), 1e-6 + 29.2e-6 * np.arange(16), rtol=1e-12)
    np.testing.assert_allclose(found.step_latency, [18.75e-6] + 15 * [27.75e-6], rtol=1e-12)
    assert found.held == 17.75e-6
    assert found.duration == pytest.approx(20.2e-6 + 16e-3, rel=1e-12)
    assert found.period == pytest.approx(found.duration, rel=1e-12)
    assert found.phases["track"] == pytest.approx(16 * 0.25e-6, rel=1e-9)


def test_memory_latency_with_chains_by_hand():
    """3 chains of 2 steps, 100 us apart, host as fast as 2 us: closed at 1, 31, 101, 131, 201 and 231 us."""
    found = run(bench(transfer=2e-6), steps=2, trials=3, spacing=100e-6, memory="sample_and_hold")
    np.testing.assert_allclose(found.starts, np.array([[1, 101, 201], [31, 131, 231]]) * 1e-6, rtol=1e-12)
    assert found.duration == pytest.approx(253e-6, rel=1e-12)
    # the next sample's first chain keeps the 100 us too
    assert found.period == pytest.approx(300e-6, rel=1e-12)
    # as fast as the digitiser allows: six solves at a pitch of 30 us, whatever chain they belong to
    packed = run(bench(transfer=2e-6), steps=2, trials=3, spacing=3e-6, memory="sample_and_hold")
    np.testing.assert_allclose(np.array(packed.starts).T.ravel(), 1e-6 + 30e-6 * np.arange(6), rtol=1e-12)


def test_a_slow_converter_sets_the_pitch_of_a_chain():
    """25 us DAC update against 10 us re-arm: 20 + 25 us a step."""
    found = run(bench(update=25e-6), steps=4, memory="sample_and_hold")
    np.testing.assert_allclose(np.diff(np.ravel(found.starts)), 45e-6, rtol=1e-12)
    np.testing.assert_allclose(found.step_latency, 25e-6 + HELD, rtol=1e-12)


def by_hand(machine, steps, trials, spacing, memory, samples):
    """Max-plus recurrences: closing instants (samples, steps, trials) s and the last record's arrival (samples,) s."""
    update, digitiser = machine.dac.update_time, machine.digitiser
    starts, ends = np.full((samples, steps, trials), np.nan), []
    ready = spaced = arrived = known = 0.0

    def solve(place, close):
        nonlocal ready, arrived
        starts[place] = close
        ready = close + RECORD + digitiser.rearm_time
        arrived = max(arrived, close + RECORD) + digitiser.transfer_time

    for i in range(samples):
        if memory == "digital":
            for s in range(steps):
                for k in range(trials):
                    close = max(known + update, ready, spaced)
                    spaced = close + (spacing or 0.0)
                    solve((i, s, k), close)
                known = arrived
        else:
            for k in range(trials):
                close = max(known + update, ready, spaced)
                spaced = close + (spacing or 0.0)
                solve((i, 0, k), close)
                for s in range(1, steps):
                    solve((i, s, k), max(starts[i, s - 1, k] + RECORD + update, ready))
                known = starts[i, -1, k] + RECORD
            known = arrived
        ends.append(arrived)
    return starts, np.array(ends)


@settings(max_examples=150)
@given(counts, counts, spacings, rearms, transfers, updates, st.sampled_from(MODES))
def test_samples_repeat_with_the_period(steps, trials, spacing, rearm, transfer, update, mode):
    """Three samples one after another, laid out by recurrences without processes: starts + i x period."""
    machine = bench(rearm=rearm, transfer=transfer, update=update)
    found = run(machine, steps, trials, spacing, mode)
    starts, ends = by_hand(machine, steps, trials, spacing, mode, samples=3)
    for i in range(3):
        np.testing.assert_allclose(
            np.array(found.starts) + i * found.period, starts[i], rtol=1e-9, atol=1e-12
        )
        assert found.run_duration(i + 1) == pytest.approx(ends[i], rel=1e-9)


@settings(max_examples=30)
@given(counts, counts, spacings, rearms, transfers)
def test_three_digital_samples_are_one_of_three_times_the_steps(steps, trials, spacing, rearm, transfer):
    machine = bench(rearm=rearm, transfer=transfer)
    one, all_three = run(machine, steps, trials, spacing), run(machine, 3 * steps, trials, spacing)
    repeated = np.concatenate([np.array(one.starts) + i * one.period for i in range(3)])
    np.testing.assert_allclose(repeated, all_three.starts, rtol=1e-9, atol=1e-12)
    assert one.run_duration(3) == pytest.approx(all_three.duration, rel=1e-9)


@settings(max_examples=150)
@given(counts, counts, spacings, rearms, transfers, updates, st.sampled_from(MODES))
def test_a_schedule_is_physical(steps, trials, spacing, rearm, transfer, update, mode):
    machine = bench(rearm=rearm, transfer=transfer, update=update)
    found = run(machine, steps, trials, spacing, mode, load=True)
    resources = {event.resource for event in found.events}
    assert resources == {"slm", "dac", "loop", "digitiser", "read-out", "host"} | (
        {"memory"} if mode == "sample_and_hold" else set()
    )
    # no resource does two things at a time, and the log is in order
    assert [e.start for e in found.events] == sorted(e.start for e in found.events)
    for resource in resources:
        own = sorted((e for e in found.events if e.resource == resource), key=lambda e: (e.start, e.stop))
        assert all(before.stop <= after.start + 1e-15 for before, after in pairwise(own))
        assert found.busy[resource] == pytest.approx(sum(e.stop - e.start for e in own), abs=1e-15)
    # segments without gaps from the first solve to the last, closed and open in turn
    assert all(a.stop == b.start and a.closed != b.closed for a, b in pairwise(found.segments))
    closed = [s for s in found.segments if s.closed]
    assert found.segments[0].closed and found.segments[-1].closed
    order = [(s, k) for s in range(steps) for k in range(trials)]
    if mode == "sample_and_hold":
        order = [(s, k) for k in range(trials) for s in range(steps)]
    assert [(s.step, s.trial) for s in closed] == order
    assert all(found.starts[s.step][s.trial] == s.start for s in closed)
    assert all(s.switch == ("closed" if s.closed else "open") for s in found.segments)
    assert all(found.solve_of(step).start == min(found.starts[step]) for step in range(steps))
    # a record for each solve at the same time, its window within, transfer and re-arming after it
    events = {(e.what, e.step, e.trial): e for e in found.events}
    for segment in closed:
        place = segment.step, segment.trial
        assert segment.stop - segment.start == pytest.approx(RECORD, rel=1e-6)
        record, window = events["record", *place], events["window", *place]
        assert (record.start, record.stop) == (segment.start, segment.stop)
        assert window.start - segment.start == pytest.approx(10e-6, rel=1e-6)
        assert window.stop - segment.start == pytest.approx(HELD, rel=1e-6)
        assert events["transfer", *place].start >= segment.stop
        assert events["re-arm", *place].start == segment.stop
        # the drive is set before the loop closes, and nothing touches it while the loop is closed
        drive = events["set drive", segment.step, segment.trial if mode == "sample_and_hold" else -1]
        assert drive.stop <= segment.start
        assert not any(
            e.start < segment.stop and segment.start < e.stop for e in found.events if e.resource == "dac"
        )
    # every resource works as often and as long as its part says
    solves = steps * trials
    drives = solves if mode == "sample_and_hold" else steps
    expected = {
        "load weights": 16e-3,
        "settle": 4e-3,
        "set drive": drives * update,
        "solve": solves * RECORD,
        "record": solves * RECORD,
        "window": solves * 5e-6,
        "re-arm": solves * rearm,
        "transfer": solves * transfer,
    }
    if mode == "sample_and_hold":
        expected["track"] = solves * 0.25e-6
        expected["hold"] = sum(e.stop - e.start for e in of(found, "hold"))
    assert found.phases == pytest.approx(expected, rel=1e-6)
    assert len(found.step_latency) == steps
    assert found.duration == max(e.stop for e in of(found, "transfer"))
    if mode == "digital":
        assert found.duration >= (found.load_time + sum(found.step_latency)) * (1 - 1e-12)
    assert found.run_duration(1) == found.duration


@settings(max_examples=60)
@given(counts, counts, st.floats(0.0, 1e-3), rearms, updates, st.sampled_from(MODES))
def test_trials_keep_their_spacing(steps, trials, spacing, rearm, update, mode):
    """From one trial's begin to the next: within steps, from step to step and from sample to sample, or from chain to
    chain and there in every step. Flicker is only independent from that distance on."""
    found = run(bench(rearm=rearm, update=update), steps, trials, spacing, mode)
    starts = np.array(found.starts)
    both = np.concatenate([starts, starts + found.period], axis=int(mode == "sample_and_hold"))
    apart = np.diff(both, axis=1) if mode == "sample_and_hold" else np.diff(both.ravel())
    assert np.all(apart >= spacing - 1e-12)


@settings(max_examples=40)
@given(counts, counts, transfers)
def test_a_digital_step_uses_what_the_one_before_it_gave(steps, trials, transfer):
    """The next drive is set only when all records of the last step are on the host."""
    found = run(bench(transfer=transfer), steps, trials)
    drives = of(found, "set drive")
    assert [e.step for e in drives] == list(range(steps))
    for drive in drives[1:]:
        arrived = [e.stop for e in of(found, "transfer") if e.step == drive.step - 1]
        assert len(arrived) == trials
        assert drive.start >= max(arrived)


@settings(max_examples=60)
@given(counts, counts, rearms, updates, st.floats(1e-7, 10e-6), st.sampled_from([HELD, RECORD]))
def test_a_memory_tracks_and_holds(steps, trials, rearm, update, acquisition, stop):
    """It tracks up to the end of the window and holds until it tracks again; the DACs are set while it holds."""
    machine = bench(rearm=rearm, update=update, acquisition=acquisition, stop=stop)
    found = run(machine, steps, trials, memory="sample_and_hold")
    assert found.held == stop
    memory = [e for e in found.events if e.resource == "memory"]
    memory.sort(key=lambda e: (e.start, e.stop))
    for trial in range(trials):
        own = [e for e in memory if e.trial == trial]
        assert [e.what for e in own] == steps * ["track", "hold"]
        for step, (track, hold) in enumerate(zip(own[::2], own[1::2], strict=True)):
            assert track.step == hold.step == step
            assert track.stop == hold.start == pytest.approx(found.starts[step][trial] + stop, rel=1e-9)
            assert track.stop - track.start == pytest.approx(acquisition, rel=1e-6)
            drives = [e for e in of(found, "set drive") if (e.step, e.trial) == (step + 1, trial)]
            assert all(hold.start <= drive.start and drive.stop <= hold.stop for drive in drives)
        assert all(before.stop == after.start for before, after in pairwise(own))
        # after the last step nobody needs the value
        opens = found.starts[-1][trial] + RECORD
        assert own[-1].stop == pytest.approx(opens, rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_a_node_that_does_not_discharge_is_refused(mode):
    """ln(1e6) x 31.83 ns = 0.4398 us at 5 MHz: 0.43 us is too short, 0.44 us is not."""
    short = {"update": 0.2e-6, "transfer": 0.0}
    where = {"steps": 2, "trials": 2, "memory": mode}
    with pytest.raises(InputError, match=r"timeline: .*a gap of 0\.43 us.*at least 0\.4398 us") as caught:
        run(bench(rearm=0.43e-6, **short), **where)
    assert caught.value.key == "timeline"
    found = run(bench(rearm=0.44e-6, **short), **where)
    left = np.exp(-2 * np.pi * 5e6 * min(s.stop - s.start for s in found.segments if not s.closed))
    assert 0.9e-6 < left < 1e-6
    # the spacing of trials opens the loop for long enough, but not the steps of a chain, which have none
    if mode == "digital":
        run(bench(rearm=0.43e-6, **short), **where, spacing=RECORD + 0.44e-6)
    else:
        with pytest.raises(InputError):
            run(bench(rearm=0.43e-6, **short), **where, spacing=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_the_slowest_node_decides(mode):
    """1 MHz in one channel of three: 2.2 us."""
    where = {"steps": 2, "trials": 2, "memory": mode}
    with pytest.raises(InputError, match=r"at least 2\.199 us"):
        run(bench(rearm=1e-6, transfer=0.0, poles=(5e6, 1e6, 9e6)), **where)
    run(bench(rearm=2.2e-6, transfer=0.0, poles=(5e6, 1e6, 9e6)), **where)


def test_the_gap_to_the_next_sample_counts():
    """One solve only: the loop is open for the DAC update of 0.2 us and closes again."""
    with pytest.raises(InputError, match=r"a gap of 0\.2 us"):
        run(bench(rearm=0.0, transfer=0.0, update=0.2e-6))


@pytest.mark.parametrize("mode", MODES)
def test_an_infinite_pole_discharges_at_once(mode):
    found = run(bench(rearm=0.0, transfer=0.0, update=0.0, poles=(np.inf,)), 2, 2, memory=mode)
    assert found.duration == pytest.approx(4 * RECORD, rel=1e-9)


def test_what_does_not_fit_into_a_record_is_refused():
    with pytest.raises(InputError, match=r"timeline.window_stop: .*21 us.*up to 20 us"):
        run(bench(stop=21e-6))
    with pytest.raises(InputError, match=r"parts.memory.acquisition_time: .*16 us.*15 us"):
        run(bench(acquisition=16e-6), memory="sample_and_hold")
    run(bench(acquisition=16e-6), memory="digital")


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"trials": 0},
        {"trial_spacing": -1e-6},
        {"trial_spacing": math.inf},
        {"trial_spacing": math.nan},
        {"memory": "analog"},
    ],
)
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=r"steps?|trial|memory"):
        schedule(bench(), **{"steps": 1, "trials": 1, **wrong})
    with pytest.raises(ValueError, match="at least one sample"):
        run(bench()).run_duration(0)


def test_a_machine_is_not_changed_by_its_schedule(machine_of):
    """A machine with other durations, built from a sheet's: 20 us more of re-arming between back-to-back trials."""
    machine = machine_of("aoc48")
    slow = replace(machine, digitiser=replace(machine.digitiser, rearm_time=30e-6))
    pitch = [np.diff(schedule(m, steps=1, trials=2).starts[0])[0] for m in (machine, slow, machine)]
    np.testing.assert_allclose(pitch, [29.2e-6, 49.2e-6, 29.2e-6], rtol=1e-9)
