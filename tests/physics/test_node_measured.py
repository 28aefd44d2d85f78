"""The measured saturation against its published pieces."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.components.node_measured import MeasuredNode
from aocsim.errors import InputError

# Public digital twin of the 48-channel machine, saturation, rounded; the ends fix the remaining digits
NODE = MeasuredNode(
    -3.289654, (-6.567319, -3.284921), -3.793711, -0.0725407,
    (-3.284921, -1.668589), (0.004823758, 1.0176346, 0.01656345),
    (2.260342, 4.125341), (-0.06675032, 0.61175978, -1.97731297, 3.56967101, -1.02244293),
    (4.125341, 6.161298), 3.813846, 3.697794, 2.845461,
)  # fmt: skip


def test_limit_linear_in_the_middle_and_constant_outside():
    u = np.linspace(NODE.linear_low, NODE.linear_high, 1001)
    np.testing.assert_array_equal(NODE.saturate(u), u)
    np.testing.assert_array_equal(NODE.slope(u[1:-1]), 1.0)
    far = np.array([-100.0, -6.6, 6.2, 100.0])
    np.testing.assert_array_equal(NODE.saturate(far), [-3.289654, -3.289654, 2.845461, 2.845461])
    np.testing.assert_array_equal(NODE.slope(far), 0.0)


@given(st.floats(-8.0, 8.0))
def test_property_continuous_everywhere(u):
    step = 1e-7
    left, right = NODE.saturate(np.array([u - step, u + step]))
    assert abs(right - left) < 1e-5  # the published pieces jump by up to 0.057 V


@given(st.floats(-8.0, 8.0))
def test_property_slope_is_the_derivative(u):
    edges = [*NODE.piece0_ends, *NODE.piece1_ends, *NODE.piece3_ends, *NODE.piece4_ends]
    h = 1e-6
    if min(abs(u - edge) for edge in edges) < 2 * h:
        return
    central = np.diff(NODE.saturate(np.array([u - h, u + h])))[0] / (2 * h)
    assert abs(NODE.slope(np.array([u]))[0] - central) < 1e-5


def test_published_pieces_end_on_the_saturation_values():
    """The outer ends fix the cosines: C0 - cos(1/(k u)) and C2 + cos(u + C1), and not C0 - cos(k u)."""
    low, high = NODE.piece0_ends[0], NODE.piece4_ends[1]
    assert NODE.piece0_constant - np.cos(1 / (NODE.piece0_coefficient * low)) == pytest.approx(
        -3.289654, abs=2e-6
    )
    assert abs(NODE.piece0_constant - np.cos(NODE.piece0_coefficient * low) + 3.289654) > 1
    assert NODE.piece4_constant + np.cos(high + NODE.piece4_phase) == pytest.approx(2.845461, abs=2e-6)


def test_published_gaps_are_what_the_law_spreads():
    """0.6, 6, 26 and 57 mV; the law stays within the larger gap of a piece's ends, and meets the outer ends."""
    gaps = np.abs(NODE.gaps)
    np.testing.assert_allclose(gaps, [0, 26.2e-3, 0.57e-3, 5.96e-3, 57.2e-3, 0], rtol=0, atol=1e-4)
    for ends, piece, gap in (
        (NODE.piece3_ends, lambda u: np.polyval(NODE.piece3_polynomial, u), gaps[3]),
        (NODE.piece4_ends, lambda u: NODE.piece4_constant + np.cos(u + NODE.piece4_phase), gaps[4]),
        (NODE.piece1_ends, lambda u: np.polyval(NODE.piece1_polynomial, u), gaps[2]),
        (
            NODE.piece0_ends,
            lambda u: NODE.piece0_constant - np.cos(1 / (NODE.piece0_coefficient * u)),
            gaps[1],
        ),
    ):
        u = np.linspace(*ends, 501)[1:-1]
        assert np.abs(NODE.saturate(u) - piece(u)).max() <= gap + 1e-9


def test_published_law_folds_back():
    """The output falls again past 4 V: it is no monotone law, and its highest value is not the saturation's."""
    u = np.linspace(2.0, 7.0, 5001)
    y = NODE.saturate(u)
    assert y.max() == pytest.approx(3.684, abs=1e-3)
    assert y[u > 5].min() == pytest.approx(2.713, abs=1e-3)
    assert y[-1] == 2.845461


def test_the_stage_follows_the_law():
    u = np.linspace(-7, 7, 20001)
    error = np.abs(NODE.stage().response(u[:, None])[:, 0] - NODE.saturate(u))
    assert error.max() < 1e-3  # at kinks, which a continuously differentiable table rounds off
    inside = (u > NODE.linear_low + 0.01) & (u < NODE.linear_high - 0.01)
    assert error[inside].max() < 1e-12


@pytest.mark.parametrize(
    "entries",
    [
        {"piece1_ends": ("-4.5 V", "0.5 V")},
        {"piece3_ends": ("4 V", "2 V")},
        {"piece4_ends": ("5 V", "6 V")},
        {"positive_saturation": "9 V"},
        {"piece0_coefficient": "0 1/V"},
    ],
)
def test_pieces_that_make_no_law_are_refused(measured_machine, entries):
    with pytest.raises(InputError, match="pieces of the saturation"):
        measured_machine(node=entries)


def test_a_piece_of_no_length_is_left_out():
    clamped = replace(NODE, piece4_ends=(4.125341, 4.125341), positive_saturation=3.67)
    np.testing.assert_array_equal(clamped.saturate(np.array([4.2, 50.0])), 3.67)
