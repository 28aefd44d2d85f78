"""Rings of modules: one is the single machine, many keep to the closed forms, and nobody is used twice at a time."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.roadmap.batches import run_batch
from aocsim.roadmap.queueing import flow_shop, mean_wait, waits
from aocsim.roadmap.rings import Rings, Shared
from aocsim.timeline import Event, discharge_time, schedule

rearms = st.floats(0.5e-6, 100e-6)
updates = st.floats(0.5e-6, 50e-6)
transfers = st.one_of(st.just(0.0), st.floats(1e-6, 1e-3))
few = st.integers(1, 3)


def bench(*, rearm=10e-6, transfer=1e-3, update=1e-6, pole=5e6):
    """The parts of a machine that the timeline looks at: 20 us records, window from 10 us on."""
    return SimpleNamespace(
        slm=SimpleNamespace(frame_time=16e-3, settling_time=4e-3),
        dac=SimpleNamespace(update_time=update),
        digitiser=SimpleNamespace(
            samples=10,
            sample_rate=0.5e6,
            window_start=10e-6,
            window_stop=15e-6,
            rearm_time=rearm,
            transfer_time=transfer,
        ),
        memory=SimpleNamespace(acquisition_time=0.25e-6),
        poles=SimpleNamespace(node=np.array([pole])),
    )


def plain(event):
    return Event(event.resource, event.what, event.start, event.stop, event.step, event.trial)


@pytest.mark.parametrize("memory", ["digital", "sample_and_hold"])
@settings(deadline=None, max_examples=40)
@given(
    rearm=rearms,
    update=updates,
    transfer=transfers,
    spacing=st.one_of(st.none(), st.floats(0.0, 1e-3)),
    steps=few,
    trials=few,
)
def test_one_module_is_the_single_machine_event_by_event(
    memory, rearm, update, transfer, spacing, steps, trials
):
    machine = bench(rearm=rearm, update=update, transfer=transfer)
    options = {"steps": steps, "trials": trials, "trial_spacing": spacing, "memory": memory}
    single, found = schedule(machine, **options), run_batch(Rings(machine), samples=1, **options)
    assert tuple(map(plain, found.events)) == single.events
    assert (found.duration, found.load_time) == (single.duration, single.load_time)
    batch = run_batch(Rings(machine), samples=3, **options)
    assert batch.duration == pytest.approx(single.run_duration(3), rel=1e-12)


@st.composite
def plans(draw):
    machine = bench(rearm=draw(rearms), update=draw(updates), transfer=draw(transfers))
    shared = Shared(draw(few), draw(few), draw(few), draw(few), draw(few))
    return Rings(
        machine,
        modules=2,
        rings=draw(st.integers(1, 4)),
        closing=draw(st.one_of(st.just(0.0), st.floats(1e-6, 30e-6))),
        dead_time=draw(st.floats(0.0, 5e-6)),
        shared=shared,
        in_flight=draw(few),
        double_buffered=draw(st.booleans()),
    )


MODES = st.sampled_from([("digital", "every"), ("sample_and_hold", "every"), ("sample_and_hold", "last")])


@settings(deadline=None, max_examples=60)
@given(plans(), st.integers(1, 3), MODES)
def test_the_pace_is_that_of_the_slowest_circuit(plan, steps, mode):
    """A batch of B solves cannot be faster than the closed form's pace, and loses to it only while it fills and drains.

    What is idle when the batch begins is for nothing: as many samples as can be under way, or as the slowest station
    has servers. A full pipeline holds N solves, which take no longer than N ways in a row before all of them go at
    their pace.
    """
    in_flight = plan.rings * plan.in_flight
    samples = 10 * in_flight
    memory, read = mode
    if memory == "sample_and_hold":
        plan = replace(plan, double_buffered=False)
    found = run_batch(plan, samples=samples, steps=steps, memory=memory, read=read, load_weights=False)
    pace, slowest = plan.pace(steps, memory, read)
    solves = samples * steps
    _, servers = plan.stations().get(slowest, (0.0, 0))
    assert found.duration >= (samples - max(in_flight, servers)) * steps * pace * (1 - 1e-9)
    filling = in_flight * steps * (plan.way + max(held for held, _ in plan.stations().values()))
    assert found.duration <= solves * pace + filling


def test_a_long_batch_comes_to_the_pace_to_a_thousandth():
    """Bottlenecks one by one, in the middle half of 200 samples."""
    machine = bench(transfer=7e-6)
    cases = {
        "host": Rings(bench(transfer=60e-6), rings=4, in_flight=8, shared=Shared(dacs=4, digitisers=4)),
        "dac": Rings(bench(transfer=7e-6, update=40e-6), rings=4, in_flight=8, shared=Shared(digitisers=4)),
        "digitiser": Rings(machine, rings=4, in_flight=4),
        "loop": Rings(machine, rings=2, in_flight=4, shared=Shared(digitisers=8)),
        "switch": Rings(machine, modules=2, rings=4, closing=12e-6, in_flight=4, shared=Shared(digitisers=8)),
        "in flight": Rings(bench(transfer=60e-6), shared=Shared(digitisers=2)),
    }
    for bottleneck, plan in cases.items():
        found = np.array(run_batch(plan, samples=200, steps=1, load_weights=False).solve_starts)
        pace, what = plan.pace(1)
        assert what == bottleneck
        assert (found[150] - found[50]) / 100 == pytest.approx(pace, rel=1e-3), bottleneck


@settings(deadline=None, max_examples=20)
@given(plans(), MODES, few)
def test_no_unit_is_used_twice_at_a_time_and_no_time_is_lost_or_made(plan, mode, steps):
    memory, read = mode
    found = run_batch(plan, samples=6, steps=steps, trials=2, memory=memory, read=read)
    used = defaultdict(list)
    for event in found.events:
        assert event.stop >= event.start
        used[event.resource, event.unit].append((event.start, event.stop))
    for spans in used.values():
        assert all(b[0] >= a[1] - 1e-12 for a, b in pairwise(sorted(spans)))
    for name, share in found.utilisation.items():
        assert 0 <= share <= 1 + 1e-9, name
    solves = [event for event in found.events if event.what == "solve"]
    assert len(solves) == 6 * steps * 2
    assert found.busy["loop"] == pytest.approx(len(solves) * plan.solve, rel=1e-9)
    for what in ("transfer", "record", "re-arm", "window"):
        told = len([event for event in found.events if event.what == what])
        assert told == (len(solves) if read == "every" else 12)
    gaps = [
        after[0] - before[1]
        for (name, _), spans in used.items()
        if name == "loop"
        for before, after in pairwise(sorted(spans))
    ]
    assert min(gaps, default=1.0) >= discharge_time(plan.machine) * (1 - 1e-9)


def test_an_idle_machine_takes_the_critical_path():
    """One sample on many rings: latency is steps times the way, whatever there is of everything."""
    plan = Rings(bench(), modules=3, rings=5, closing=2e-6, dead_time=1e-6, shared=Shared(2, 2, 2, 2, 2))
    found = run_batch(plan, samples=1, steps=4, load_weights=False)
    assert plan.way == pytest.approx(1e-6 + 2e-6 + 21e-6 + 1e-3, rel=1e-12)
    assert found.latency[0] == pytest.approx(4 * plan.way, rel=1e-12)


def test_one_pass_of_a_batch_is_a_flow_shop():
    """Single stations, drives set ahead: DAC, ring, host as a pipeline of equal jobs."""
    machine = bench(transfer=70e-6, update=30e-6, rearm=0.0, pole=1e12)
    plan = Rings(machine, in_flight=50, double_buffered=True)
    found = run_batch(plan, samples=20, steps=1, load_weights=False)
    assert found.duration == pytest.approx(flow_shop(np.array([30e-6, 20e-6, 70e-6]), 20), rel=1e-9)


@pytest.mark.parametrize("rings", [1, 3])
def test_random_arrivals_wait_as_the_recursion_and_crommelin_say(rings):
    """Rings as c servers: solves of 20 us, all else without time."""
    machine = bench(transfer=0.0, update=0.0, rearm=0.0, pole=1e12)
    plan = Rings(machine, rings=rings, in_flight=10_000, shared=Shared(digitisers=rings))
    service = plan.solve + discharge_time(machine)
    load = 0.7
    times = np.cumsum(np.random.default_rng(5).exponential(service / (load * rings), 2000))
    found = run_batch(plan, samples=len(times), steps=1, load_weights=False, arrivals=times)
    waited = np.array(found.latency) - plan.solve
    np.testing.assert_allclose(waited, waits(times, service, rings), rtol=0, atol=1e-9)
    means = waited[200:].reshape(36, -1).mean(axis=1)
    expected = mean_wait(load * rings / service, service, rings)
    assert expected == pytest.approx(means.mean(), abs=4 * means.std(ddof=1) / 6)


def test_rings_past_enough_of_them_do_not_help():
    """Transfers of 25 us over one link; a ring takes 1 + 20 + 25 us a step: two rings are enough, one is not."""
    plan = Rings(bench(transfer=25e-6, rearm=1e-6), shared=Shared(digitisers=8, dacs=8))
    assert plan.enough(1) == 2
    paces = [replace(plan, rings=rings).pace(1)[0] for rings in (1, 2, 3, 8)]
    np.testing.assert_allclose(paces, [46e-6, 25e-6, 25e-6, 25e-6], rtol=1e-12)
    # cells that are read once in four steps: 27.25 us a solve, of which the link sees 6.25 us
    assert plan.enough(4, "sample_and_hold", "last") == 5


def test_panels_are_loaded_as_fast_as_their_drivers_let():
    """8 modules, 3 drivers: three frames one after another, and the last panel settles."""
    plan = Rings(bench(), modules=4, rings=2, shared=Shared(panel_drivers=3))
    found = run_batch(plan, samples=1, steps=1)
    assert found.load_time == pytest.approx(3 * 16e-3 + 4e-3, rel=1e-12)


def test_more_of_anything_is_never_slower():
    plan = Rings(bench(transfer=100e-6), rings=3, in_flight=2)
    before = run_batch(plan, samples=60, steps=2, load_weights=False).duration
    for name in ("dacs", "digitisers", "host_links"):
        more = replace(plan, shared=replace(plan.shared, **{name: 2}))
        assert run_batch(more, samples=60, steps=2, load_weights=False).duration <= before * (1 + 1e-9)


@pytest.mark.parametrize("changes", [{"samples": 0}, {"steps": 0}, {"trials": 0}, {"memory": "tape"}])
def test_wrong_counts_are_refused(changes):
    with pytest.raises(ValueError, match=r"at least 1|must be digital"):
        run_batch(Rings(bench()), **{"samples": 1, "steps": 1, **changes})
    with pytest.raises(ValueError, match="in order"):
        run_batch(Rings(bench()), samples=2, steps=1, arrivals=[1.0, 0.0])
    with pytest.raises(ValueError, match="dacs"):
        Shared(dacs=0)
