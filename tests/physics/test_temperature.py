"""The machine in a warmer or colder room, and drift and flicker that the sheets state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.errors import InputError

ROOM = 298.15  # K
rooms = st.floats(233.15, 398.15)


def small_signal(machine):
    """Slope of each pair into each arm's light, W/V, at zero volts: (2, n)."""
    rest = np.zeros((1, machine.channels))
    slope = machine.pair.stage().slope(rest)[0]
    return np.array([slope * machine.led.law(arm).slope(np.zeros(1)) for arm in (0, 1)])


@pytest.mark.parametrize("name", ["aoc48", "ideal48"])
def test_limit_reference_temperature_changes_nothing(machine_of, name):
    machine = machine_of(name, serial=5)
    same = machine.at_temperature(ROOM)
    assert same.pair is machine.pair
    assert same.led is machine.led


@settings(max_examples=20)
@given(rooms, rooms)
def test_property_only_the_last_room_counts(machine_of, one, two):
    machine = machine_of("aoc48", serial=5, channels=4)
    moved, there = machine.at_temperature(one).at_temperature(two), machine.at_temperature(two)
    np.testing.assert_allclose(moved.pair.input_offset, there.pair.input_offset, rtol=1e-12)
    np.testing.assert_allclose(small_signal(moved), small_signal(there), rtol=1e-9)
    assert moved.led.temperature_rise == pytest.approx(there.led.temperature_rise, abs=1e-9)


@settings(max_examples=20)
@given(st.lists(rooms, min_size=2, max_size=4, unique=True))
def test_property_warmer_is_weaker(machine_of, values):
    machine = machine_of("aoc48", serial=5, channels=4)
    gains = np.array([small_signal(machine.at_temperature(room)) for room in sorted(values)])
    assert np.all(np.diff(gains, axis=0) <= 0)


@pytest.mark.parametrize(
    ("resistance", "expected"), [("0 ohm", -0.33e-2 - 0.2e-2), ("71.94 ohm", -0.14e-2 - 0.2e-2)]
)
def test_published_slope_of_pair_and_light_together(machine_of, resistance, expected):
    """-0.33 %/K undegenerated, -0.14 %/K at k = 1.4, and -0.2 %/K of the light: to the sum of their last digits."""
    machine = machine_of("aoc48", pair={"emitter_resistance": resistance, "feedthrough": "0"})
    warm, cold = (small_signal(machine.at_temperature(ROOM + d)) for d in (1.0, -1.0))
    np.testing.assert_allclose(np.log(warm / cold) / 2, expected, rtol=0, atol=1.1e-4)


@pytest.mark.parametrize("room", [233.0, 398.3, 25.0, 0.0, -1.0, np.nan, np.inf])
def test_rooms_beyond_the_sheets_are_refused(machine_of, room):
    with pytest.raises(InputError) as caught:
        machine_of("aoc48").at_temperature(room)
    assert caught.value.key == "environment.temperature"
    assert caught.value.allowed == "233.15 K to 398.15 K"


@pytest.mark.parametrize("role", ["pair", "led"])
def test_range_must_hold_the_reference_temperature(machine_of, role):
    for ends in (("300 K", "310 K"), ("310 K", "290 K")):
        with pytest.raises(InputError) as caught:
            machine_of("aoc48", **{role: {"operating_range": ends}})
        assert caught.value.key == f"parts.{role}.operating_range"


def test_an_emitter_too_hot_to_give_light_is_refused(machine_of):
    machine = machine_of("aoc48", led={"thermal_droop": "-1 %/K", "temperature_rise": "20 K"})
    assert machine.at_temperature(ROOM + 79).led.diodes[0].external_efficiency > 0
    with pytest.raises(InputError, match="no light") as caught:
        machine.at_temperature(ROOM + 81)
    assert caught.value.key == "environment.temperature"
    assert caught.value.allowed == "less than 378.15 K"


def test_only_pair_and_light_follow_the_room(machine_of):
    machine = machine_of("aoc48", serial=5)
    warm = machine.at_temperature(310.0)
    for role in ("optics", "slm", "detector", "gains", "node", "poles", "dac", "digitiser", "memory"):
        assert getattr(warm, role) is getattr(machine, role)
    # no more light without thermal droop, but the pairs still move
    ideal = machine_of("ideal48", serial=5)
    assert ideal.at_temperature(310.0).led.diodes == ideal.led.diodes
    assert ideal.at_temperature(310.0).pair.knee > ideal.pair.knee
