"""The measured pair against its formula, the textbook's tanh and the transistors behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from aocsim.components.pair_measured import sigmoid, sigmoid_slope
from aocsim.errors import InputError

exponents = st.floats(0.5, 30.0)
drives = st.floats(-1e6, 1e6)

# Public digital twin of the 48-channel machine: u = a z + b, v = d u/(1+|u|^c)^(1/c) + f + g z
A, B, C, D, F, G = 3.580, -0.0217, 4.265, 0.2151, 4.3e-4, 4.8e-3
SHEET = {
    "slope": f"{A} 1/V",
    "input_offset": f"{B}",
    "exponent": f"{C}",
    "swing": f"{D} V",
    "output_offset": f"{F} V",
    "feedthrough": f"{G}",
}


def test_limit_sharp_exponent_is_a_clipped_line():
    u = np.linspace(-3, 3, 601)
    np.testing.assert_allclose(sigmoid(u, 2000.0), np.clip(u, -1, 1), rtol=0, atol=4e-4)


def test_limit_exponent_two_and_one_in_closed_form():
    u = np.linspace(-50, 50, 2001)
    np.testing.assert_allclose(sigmoid(u, 2.0), u / np.hypot(1, u), rtol=1e-14, atol=0)
    np.testing.assert_allclose(sigmoid(u, 1.0), u / (1 + np.abs(u)), rtol=1e-14, atol=0)


@given(exponents, drives)
def test_property_odd_bounded_and_below_the_diagonal(c, u):
    y = sigmoid(np.array([u, -u]), c)
    assert y[0] == -y[1]
    assert abs(y[0]) <= min(1.0, abs(u))


@given(exponents, st.lists(drives, min_size=2, max_size=20))
def test_property_monotone(c, values):
    u = np.sort(np.array(values))
    assert np.all(np.diff(sigmoid(u, c)) >= -1e-15)
    assert np.all(sigmoid_slope(u, c) >= 0)


@given(st.floats(1.5, 8.0), st.floats(-6.0, 6.0))
def test_property_slope_is_the_derivative(c, u):
    h = 1e-6
    central = np.diff(sigmoid(np.array([u - h, u + h]), c))[0] / (2 * h)
    assert abs(sigmoid_slope(np.array([u]), c)[0] - central) < 1e-6


def test_published_tanh_lies_near_exponent_2_75():
    """PHYSICS: a pure tanh would fit c = 2.75; least squares over four knees, to 2 %."""
    u = np.linspace(-4, 4, 801)

    def distance(c):
        return np.sum((sigmoid(u, c) - np.tanh(u)) ** 2)

    assert minimize_scalar(distance, bounds=(1, 10), method="bounded").x == pytest.approx(2.75, rel=0.02)


def test_published_law_of_the_48_channel_machine(measured_machine):
    """The stage is the formula, offsets and feedthrough included, to the table's 1e-8 V."""
    stage = measured_machine(pair=SHEET).pair.stage()
    z = np.linspace(-6, 6, 4001)
    u = A * z + B
    want = D * u / (1 + np.abs(u) ** C) ** (1 / C) + F + G * z
    got = stage.response(np.repeat(z[:, None], 48, axis=1))
    np.testing.assert_allclose(got, np.repeat(want[:, None], 48, axis=1), rtol=0, atol=1e-8)


def test_published_temperature_is_that_of_the_transistors(measured_machine, machine_of):
    """-0.14 %/K at constant swing, as the degenerated pair has it at its junction temperature."""
    measured, physical = measured_machine(pair=SHEET).pair, machine_of("aoc48").pair
    changes = []
    for pair in (measured, physical):
        warm, cold = (pair.at_temperature(298.15 + d) for d in (1.0, -1.0))
        np.testing.assert_array_equal(warm.swing, cold.swing)
        changes.append(np.log(cold.knee / warm.knee) / 2)
    assert changes[0] == pytest.approx(-0.14e-2, rel=1e-3)
    assert changes[0] == pytest.approx(changes[1], rel=0.01)


def test_two_changes_of_the_room_add_up(measured_machine):
    pair = measured_machine(pair=SHEET).pair
    there = pair.at_temperature(310.0)
    assert pair.at_temperature(298.15) is pair
    np.testing.assert_allclose(
        there.at_temperature(320.0).slope, pair.at_temperature(320.0).slope, rtol=1e-14
    )
    np.testing.assert_allclose(there.at_temperature(298.15).slope, pair.slope, rtol=1e-14)


def test_a_room_outside_the_range_is_refused(measured_machine):
    with pytest.raises(InputError, match="operating range"):
        measured_machine().pair.at_temperature(500.0)


def test_spread_is_drawn_and_the_stage_follows_it(measured_machine):
    """A spread that the sheet draws for the machine as a whole moves all channels together."""
    pair = measured_machine(pair=SHEET | {"slope.spread": "5 %"}, serial=3).pair
    assert np.ptp(pair.slope) == 0
    assert 0.001 < abs(pair.slope[0] / A - 1) < 0.2
    slope = pair.stage().slope(np.full((1, 48), -B / pair.slope[0]))
    np.testing.assert_allclose(slope, D * pair.slope[0] + G, rtol=1e-6)


@pytest.mark.parametrize("entry", ["slope", "swing"])
def test_a_pair_without_slope_or_swing_is_refused(measured_machine, entry):
    """Knee and bypass are told in units of both."""
    unit = "1/V" if entry == "slope" else "V"
    with pytest.raises(InputError, match=f"^parts.pair.{entry}: the pairs must have a slope and a swing"):
        measured_machine(pair={entry: f"0 {unit}"})
