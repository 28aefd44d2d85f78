"""From sheets to rings: one module is the machine, more of them lose time to the crossbar."""

import math
from dataclasses import replace

import pytest

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.roadmap.batches import run_batch
from aocsim.roadmap.chain import Weights
from aocsim.roadmap.equipment import equipment_of, equipment_sheets, module_of
from aocsim.roadmap.modules import Loops, Technology, rings_with
from aocsim.roadmap.projection import Case, project
from aocsim.roadmap.rings import Shared
from aocsim.roadmap.settling import settling_of
from aocsim.roadmap.split import split
from aocsim.timeline import Event, schedule

LOOPS = Loops(alpha=0.97, radius=0.6)
OPTIONS = {"shared": Shared(), "in_flight": 1, "double_buffered": False}


@pytest.fixture(scope="module")
def technology():
    machine = Machine.build(Library.open().machine("aoc48"), 1)
    return Technology(machine, equipment_of(machine, equipment_sheets(Library.open())).switch)


def projected(technology, bandwidth=2e9, sheet="module_metasurface", **changes):
    module = replace(module_of(Library.open().part(sheet)), **changes)
    crossbar = Library.open().part("switch_gigahertz")
    switch = replace(
        technology.switch,
        **{name: float(crossbar[name].value) for name in ("bandwidth", "delay", "switching_time")},
    )
    return replace(technology, module=module, bandwidth=bandwidth, switch=switch)


def test_one_module_has_the_schedule_of_the_single_machine(technology):
    """2-22-21 on 48 channels: no crossbar, no dead time, the same machine, the same events."""
    rings = rings_with(technology, split([2, 22, 21], 48), 1, LOOPS, **OPTIONS)
    assert rings.machine is technology.machine
    assert (rings.modules, rings.rings, rings.closing, rings.dead_time) == (1, 1, 0.0, 0.0)
    single = schedule(technology.machine, steps=16, trials=5)
    found = run_batch(rings, samples=1, steps=16, trials=5)
    assert single.events == tuple(
        Event(e.resource, e.what, e.start, e.stop, e.step, e.trial) for e in found.events
    )


def test_a_crossbar_takes_time_to_close_and_slows_the_loop_down(technology):
    """1 ns of delay and a pole of 300 MHz in a loop of 5 MHz, slowed by 1/(1 - alpha): below a per cent."""
    rings = rings_with(technology, split([48] * 3, 48), 6, LOOPS, **OPTIONS)
    assert (rings.modules, rings.rings) == (3, 2)
    assert rings.closing == technology.switch.switching_time
    plain, slower = (
        settling_of(5e6, 0.97, 0.6, poles=poles, delay=delay).time
        for poles, delay in (((), 0.0), ((3e8,), 1e-9))
    )
    assert rings.dead_time == pytest.approx(90 / 4.6875e6 * (slower / plain - 1), rel=1e-9)
    assert 0 < rings.dead_time < 0.01 * rings.solve


def test_a_projected_record_covers_the_same_multiple_of_the_settling_time(technology):
    """Without lags settling is 1/bandwidth: 2 GHz is 400 times as fast as 5 MHz."""
    fast = projected(
        technology,
        path_length=0.0,
        emitter_bandwidth=math.inf,
        detector_bandwidth=math.inf,
        amplifier_over_node=math.inf,
    )
    timed = fast.timed(LOOPS)
    assert timed.digitiser.sample_rate == pytest.approx(400 * 4.6875e6, rel=1e-5)
    assert timed.digitiser.window_stop == pytest.approx(17.75e-6 / 400, rel=1e-5)
    assert timed.digitiser.window == technology.machine.digitiser.window
    assert timed.poles.nominal_bandwidth == 2e9
    lags = projected(technology).timed(LOOPS)
    assert lags.digitiser.sample_rate < timed.digitiser.sample_rate
    assert lags.slm.frame_time == pytest.approx(1e-6)


def test_halving_an_assumed_delay_halves_its_share(technology):
    """The crossbar's dead time is straight in its delay where that is short: an assumed number moves the answer so."""

    def dead(delay):
        switch = replace(technology.switch, delay=delay, bandwidth=math.inf)
        return rings_with(
            replace(technology, switch=switch), split([48] * 3, 48), 3, LOOPS, **OPTIONS
        ).dead_time

    assert dead(0.5e-9) / dead(1e-9) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("bandwidth", [2e9, 10e9, 30e9])
def test_a_module_settles_as_in_the_map_of_a_single_one(technology, bandwidth):
    """One law for both: emitter, photodiode, amplifier and flight of the light."""
    sheet = Library.open().part("module_metasurface")
    case = Case(LOOPS.alpha, Weights(LOOPS.radius, 0.25), 1.0, 0.2, 0.01)
    single = project(technology.machine, module_of(sheet), sheet, case, 1000, bandwidth)
    found = projected(technology, bandwidth).settling(LOOPS, crossbar=False)
    assert found == pytest.approx(single.settling.time, rel=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_machines_own_parts_limit_another_bandwidth(technology, layers):
    fast = replace(technology, bandwidth=200e6)
    with pytest.raises(InputError, match="beyond what the transimpedance amplifier can follow"):
        rings_with(fast, split([48] * layers, 48), layers, LOOPS, **OPTIONS)
    assert rings_with(replace(technology, bandwidth=10e6), split([48], 48), 1, LOOPS, **OPTIONS).rings == 1


@pytest.mark.parametrize(
    ("bandwidth", "layers", "part"),
    [(31e9, 1, "emitter"), (31e9, 3, "crossbar|emitter"), (1e12, 3, "crossbar|emitter")],
)
def test_a_bandwidth_that_no_part_follows_is_refused_by_its_name(technology, bandwidth, layers, part):
    fast = projected(technology, bandwidth)
    with pytest.raises(InputError, match=f"beyond what the ({part}) can follow"):
        rings_with(fast, split([48] * layers, 48), layers, LOOPS, **OPTIONS)


def test_a_crossbar_can_be_the_slowest(technology):
    fast = projected(technology, 2e9)
    slow = replace(fast, switch=replace(fast.switch, bandwidth=1e9))
    with pytest.raises(InputError, match="beyond what the crossbar can follow"):
        rings_with(slow, split([48] * 3, 48), 3, LOOPS, **OPTIONS)
    assert rings_with(slow, split([48], 48), 1, LOOPS, **OPTIONS).modules == 1


def test_too_few_modules_and_none_are_refused(technology):
    with pytest.raises(InputError, match="no split of this network fits"):
        rings_with(technology, split([48] * 3, 48), 2, LOOPS, **OPTIONS)
    with pytest.raises(InputError, match="there must be a module"):
        rings_with(technology, split([48] * 3, 48), 0, LOOPS, **OPTIONS)
