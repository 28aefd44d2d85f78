"""The energy ledger: sums, dimensions, and what halving a number in a sheet does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.power import Factor, Load
from aocsim.roadmap import operations
from aocsim.roadmap.equipment import equipment_of, equipment_sheets
from aocsim.roadmap.ledger import ANALOG, IDLE, LOADING, SOLVE, Ledger, Row, check, ledger, loads_of
from aocsim.timeline import schedule
from aocsim.units import same_dimension, to_si


def made(machine, equipment_changes=None, *, steps=4, trials=3, memory="digital", samples=1):
    equipment = equipment_of(machine, equipment_sheets(Library.open(), equipment_changes))
    timeline = schedule(machine, steps=steps, trials=trials, memory=memory)
    return ledger(machine, equipment, timeline, samples), timeline


@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from(["digital", "sample_and_hold"]),
    st.integers(1, 1000),
)
@settings(max_examples=20)
def test_parts_add_up_to_the_total(machine_of, steps, trials, memory, samples):
    found, _ = made(machine_of("aoc48", 1), steps=steps, trials=trials, memory=memory, samples=samples)
    for idle in (False, True):
        rows = [row for row in found.rows if idle or row.event != IDLE]
        total = sum(row.energy / (samples if row.event in (LOADING, "settle") else 1) for row in rows)
        assert found.energy(idle=idle) == pytest.approx(total, rel=1e-13)
        assert sum(found.by_part(idle=idle).values()) == pytest.approx(total, rel=1e-13)
        assert found.per_step(idle=idle) * steps == pytest.approx(total, rel=1e-13)
        assert found.per_solve(idle=idle) * steps * trials == pytest.approx(total, rel=1e-13)


@pytest.mark.parametrize("memory", ["digital", "sample_and_hold"])
def test_every_entry_is_an_energy(machine_of, memory):
    found, _ = made(machine_of("aoc48"), memory=memory)
    assert check(found) == len(found.rows) > 25
    # through text and back, as a sheet would have it
    for row in found.rows:
        assert row.energy == pytest.approx(to_si(f"{row.energy!r} J", "joule"), rel=1e-15)
        assert row.energy == pytest.approx(float(np.prod([f.value for f in row.factors])), rel=1e-12)


def test_a_row_that_is_no_energy_is_told(machine_of):
    found, _ = made(machine_of("aoc48"))
    wrong = Load("emitters", (Factor("current", 1.0, "ampere"),))
    with pytest.raises(ValueError, match=r"led, emitters, solve: .*ampere.* is no energy"):
        check(replace(found, rows=(Row("led", "emitters", "solve", 1, 1.0, wrong),)))
    assert not same_dimension("(volt)*(ampere)", "joule")
    assert same_dimension("(dimensionless)*(volt)*(ampere)*(second)", "joule")


def test_each_part_is_on_as_long_as_its_events(machine_of):
    """Of an always-on part, events and idle together are the sample's time, weights being loaded."""
    found, timeline = made(machine_of("aoc48"), steps=5, trials=2, memory="sample_and_hold")
    span = timeline.duration - timeline.load_time
    for part in (*ANALOG, "dac", "digitiser", "memory"):
        for consumer in {row.consumer for row in found.rows if row.part == part}:
            took = sum(r.duration for r in found.rows if (r.part, r.consumer) == (part, consumer))
            assert took == pytest.approx(span, rel=1e-9), part
    solving = next(row for row in found.rows if row.part == "led" and row.event == SOLVE[1])
    assert solving.duration == pytest.approx(timeline.busy["loop"])
    assert solving.count == 10
    assert "memory" not in {row.part for row in made(machine_of("aoc48"))[0].rows}


HALVED = [
    ("led", "forward_voltage", "1.75 V", "emitters", 0.5),
    ("led", "bias_current", "5 mA", "emitters", 0.5),
    ("led", "bias_current", "5 mA", "drivers", 0.5),
    ("led", "driver_supply", "4.25 V", "drivers", 0.5),
    ("detector", "supply_power", "75 mW", "transimpedance amplifiers", 0.5),
    ("pair", "supply_voltage", "5 V", "differential pairs", 0.5),
    ("gains", "supply_power", "150 mW", "gain stages", 0.5),
    ("node", "supply_power", "50 mW", "summing amplifiers", 0.5),
    ("dac", "supply_power", "25 mW", "converters", 0.5),
    ("digitiser", "supply_power", "1.25 W", "converters", 0.5),
    ("memory", "supply_power", "47.5 mW", "memory cells", 0.5),
    ("slm", "panel_power", "1.5 W", "panels", 0.5),
    ("slm", "pixels", "1036800", "new frame", 0.5),
    ("slm", "refresh_energy", "50 pJ", "new frame", 0.5),
    ("slm", "pixels_per_weight", "2", "new frame", 1.0),
]


@pytest.mark.parametrize(("role", "entry", "text", "consumer", "factor"), HALVED)
def test_halving_a_number_halves_its_entry_and_nothing_else(machine_of, role, entry, text, consumer, factor):
    def rows(machine):
        found, _ = made(machine, memory="sample_and_hold")
        return {(r.part, r.consumer, r.event): r.energy for r in found.rows}

    before, after = rows(machine_of("aoc48")), rows(machine_of("aoc48", **{role: {entry: text}}))
    others = {"led": {"emitters", "drivers"}}.get(role, {consumer})
    for key, value in before.items():
        if key[:2] == (role, consumer):
            assert after[key] == pytest.approx(factor * value, rel=1e-12), key
        elif key[0] != role or key[1] not in others:
            assert after[key] == value, key


@pytest.mark.parametrize(
    ("role", "entry", "text", "part", "consumer"),
    [
        ("controller", "power", "5 W", "controller", "sequencer"),
        ("controller", "host_power", "5 W", "controller", "host"),
        ("switch", "crosspoint_power", "5 mW", "switch", "crosspoints"),
    ],
)
def test_halving_a_number_of_the_equipment(machine_of, role, entry, text, part, consumer):
    before, after = (
        {(r.part, r.consumer, r.event): r.energy for r in made(machine_of("aoc48"), change)[0].rows}
        for change in (None, {role: {entry: text}})
    )
    for key, value in before.items():
        assert after[key] == pytest.approx(value / 2 if key[:2] == (part, consumer) else value, rel=1e-12)


def test_prototype_by_hand(machine_of):
    """96 emitters of 10 mA at 3.5 V are 3.36 W; at 23.04 GOPS that is 0.146 nJ, within the stated 0.1 to 0.3."""
    found, _ = made(machine_of("aoc48"))
    watts = found.analog_by_consumer["emitters"]
    assert watts == pytest.approx(96 * 10e-3 * 3.5)
    rate = operations.rate_by_bandwidth(48, 5e6)
    assert rate == pytest.approx(23e9, rel=0.01)
    assert 0.1e-9 < watts / rate < 0.3e-9
    assert operations.rate_by_time_constant(48, 5e6) == pytest.approx(145e9, rel=0.01)
    assert operations.useful_rate(8, 621, 13e-6) == pytest.approx(0.75e9, rel=0.03)
    assert watts * 13e-6 / operations.useful_operations(8, 621) == pytest.approx(4e-9, rel=0.15)


def test_analog_energy_is_paid_by_time(machine_of):
    found, _ = made(machine_of("aoc48"))
    assert found.settling_energy(26e-6) == pytest.approx(2 * found.settling_energy(13e-6))
    assert found.settling_energy(13e-6) == pytest.approx(found.analog_power * 13e-6)
    more, _ = made(machine_of("aoc48"), steps=8)
    assert more.analog_power == pytest.approx(found.analog_power)
    with pytest.raises(ValueError, match="negative"):
        found.settling_energy(-1.0)


def test_weights_are_shared_by_the_samples_of_a_run(machine_of):
    one, _ = made(machine_of("aoc48"), samples=1)
    many, _ = made(machine_of("aoc48"), samples=1000)
    loading = sum(r.energy for r in one.rows if r.event in (LOADING, "settle"))
    assert one.energy() - many.energy() == pytest.approx(loading * (1 - 1e-3), rel=1e-9)
    with pytest.raises(ValueError, match="at least one sample"):
        made(machine_of("aoc48"), samples=0)


@pytest.mark.parametrize(
    ("bad", "key"),
    [({"channels": 0}, "channels"), ({"bandwidth": 0.0}, "bandwidth"), ({"channels": -1}, "channels")],
)
def test_operations_of_nothing_are_refused(bad, key):
    with pytest.raises(InputError, match=f"{key}: must be more than 0"):
        operations.rate_by_bandwidth(**{"channels": 48, "bandwidth": 5e6, **bad})


def test_parts_that_say_nothing_are_named(machine_of, measured_machine):
    library = Library.open()
    for machine, key in (
        (machine_of("ideal48"), r"parts\.led\.forward_voltage: the sheet says nothing"),
        (measured_machine(), r"parts\.led: its law says nothing"),
    ):
        with pytest.raises(InputError, match=key):
            loads_of(machine, equipment_of(machine, equipment_sheets(library)))


def test_wrong_equipment_is_named():
    library = Library.open()
    with pytest.raises(InputError, match=r"equipment\.switsh: .*did you mean 'switch'"):
        equipment_sheets(library, {"switsh": {}})
    with pytest.raises(InputError, match=r"equipment\.controller\.powr.*did you mean 'power'"):
        equipment_sheets(library, {"controller": {"powr": "1 W"}})
    with pytest.raises(InputError, match="needs a sheet of law 'switch'"):
        equipment_sheets(library, {"switch": {"sheet": "controller"}})


def test_a_machine_is_the_same_with_energies_on_its_sheets_or_without():
    """What a part takes from the supply has draws of its own and changes no other number of a machine."""
    library = Library.open()
    spec = library.machine("aoc48")

    def without(part):
        kept = {name: entry for name, entry in part.entries.items() if not part.wanted[name].optional}
        return replace(part, entries=kept)

    bare = replace(spec, parts={role: without(part) for role, part in spec.parts.items()})
    one, other = Machine.build(spec, 7), Machine.build(bare, 7)
    assert np.array_equal(one.optics.structure, other.optics.structure)
    assert np.array_equal(one.slm.inverse_contrast, other.slm.inverse_contrast)
    assert np.array_equal(one.pair.swing, other.pair.swing)
    assert one.led.bias_current == other.led.bias_current
    assert np.isnan(other.led.forward_voltage)
    assert not np.isnan(one.led.forward_voltage)


def test_a_supply_below_the_emitter_is_refused(machine_of):
    with pytest.raises(InputError, match=r"parts\.led\.driver_supply: .*below the emitter"):
        machine_of("aoc48", led={"driver_supply": "3 V"})


def test_overlapping_events_count_once(machine_of):
    """The host of overlapping transfers is one: it is on for as long as any of them goes on."""
    found, timeline = made(machine_of("aoc48"), steps=2, trials=8)
    host = [row for row in found.rows if row.consumer == "host" and row.event == "transfer"]
    spans = np.array([(e.start, e.stop) for e in timeline.events if e.what == "transfer"])
    grid = np.linspace(spans.min(), spans.max(), 400_001)
    on = ((grid >= spans[:, :1]) & (grid < spans[:, 1:])).any(axis=0).mean() * np.ptp(grid)
    assert host[0].duration == pytest.approx(on, rel=1e-4)
    assert isinstance(found, Ledger)
