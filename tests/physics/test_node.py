"""The summing amplifier: identity in its linear range, rails, smooth bends, the measured saturation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

LOW, HIGH, RAIL_LOW, RAIL_HIGH = -1.67, 2.26, -3.29, 2.85
RANGE = RAIL_HIGH - RAIL_LOW
volts = st.floats(-20.0, 20.0)


def test_limit_identity_in_the_linear_range(machine_of):
    node = machine_of("aoc48").node
    u = np.linspace(LOW, HIGH, 2001)
    np.testing.assert_array_equal(node.saturate(u), u)
    np.testing.assert_allclose(node.slope(u), 1.0, rtol=1e-15)


def test_limit_rails(machine_of):
    node = machine_of("aoc48").node
    np.testing.assert_allclose(node.saturate(np.array([-50.0, 50.0])), [RAIL_LOW, RAIL_HIGH], rtol=1e-12)
    assert node.slope(np.array([-50.0, 50.0])).max() < 1e-12


def test_limit_ideal_amplifier_has_no_stage(machine_of):
    assert machine_of("ideal48").node.stage() is None


@given(volts)
def test_property_slope_is_the_derivative(machine_of, u):
    node, h = machine_of("aoc48").node, 1e-6
    central = np.diff(node.saturate(np.array([u - h, u + h])))[0] / (2 * h)
    # tanh has no curvature at the bends: the central difference holds across them
    assert float(node.slope(np.array(u))) == pytest.approx(central, abs=2e-9)


@given(st.lists(volts, min_size=2, max_size=20))
def test_property_monotone_and_never_more_than_the_input_moves(machine_of, values):
    node = machine_of("aoc48").node
    u = np.sort(np.array(values))
    rise = np.diff(node.saturate(u))
    assert np.all(rise >= -1e-15)
    assert np.all(rise <= np.diff(u) + 1e-12)


@pytest.mark.parametrize("bend", [LOW, HIGH])
def test_continuously_differentiable_at_the_bends(machine_of, bend):
    node, e = machine_of("aoc48").node, 1e-7
    left, right = np.array(bend - e), np.array(bend + e)
    assert abs(node.saturate(right) - node.saturate(left) - 2 * e) < 1e-12
    assert abs(node.slope(right) - node.slope(left)) < 1e-10


def test_stage_follows_the_amplifier(machine_of):
    """The table that the loop uses, on its whole interval: 1e-8 of the rails' distance."""
    node = machine_of("aoc48").node
    stage = node.stage()
    inside = np.linspace(LOW - 4 * (LOW - RAIL_LOW), HIGH + 4 * (RAIL_HIGH - HIGH), 20011)[:, None]
    assert np.abs(stage.response(inside) - node.saturate(inside)).max() / RANGE < 1e-8


def test_stage_does_not_leave_the_rails(machine_of):
    """An amplifier never delivers more than its rails, however hard the sum drives it: 1e-4 of the range."""
    stage = machine_of("aoc48").node.stage()
    driven = stage.response(np.array([[-30.0], [-12.0], [12.0], [30.0]]))
    assert driven.max() <= RAIL_HIGH + 1e-4 * RANGE
    assert driven.min() >= RAIL_LOW - 1e-4 * RANGE


def test_published_saturation(machine_of):
    """Public digital twin: linear -1.67 to 2.26 V, saturated at -3.290 and 2.845 V; to 0.1 % of the range."""
    node = machine_of("aoc48").node
    assert float(node.saturate(np.array(-1.668))) == pytest.approx(-1.668, abs=1e-3 * RANGE)
    assert float(node.saturate(np.array(2.260))) == pytest.approx(2.260, abs=1e-3 * RANGE)
    assert float(node.saturate(np.array(-40.0))) == pytest.approx(-3.2897, abs=1e-3 * RANGE)
    assert float(node.saturate(np.array(40.0))) == pytest.approx(2.8455, abs=1e-3 * RANGE)


def test_amplifier_with_one_rail_only(machine_of):
    """The sheet allows infinite rails on one side: the other side still saturates."""
    node = machine_of("aoc48", node={"linear_high": "inf V", "rail_high": "inf V"}).node
    u = np.array([-50.0, 1.0, 40.0])
    np.testing.assert_allclose(node.saturate(u), [RAIL_LOW, 1.0, 40.0], rtol=1e-12)
    assert node.stage() is not None
