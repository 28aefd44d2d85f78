"""Law tables against exact formulas and a second, plain implementation of the piecewise cubic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from aocsim.components.pair import normalised_current, normalised_slope
from aocsim.law import Law

TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -8.0, 8.0)


def plain(law, x):
    """Second implementation: scipy's Hermite spline on the table's nodes, straight lines outside."""
    n = len(law.coefficients)
    h = (law.upper - law.lower) / n
    nodes = law.lower + h * np.arange(n + 1)
    c = law.coefficients
    y = np.append(c[:, 0], c[-1].sum())
    dy = np.append(c[:, 1], c[-1, 1] + 2 * c[-1, 2] + 3 * c[-1, 3]) / h
    spline = CubicHermiteSpline(nodes, y, dy)
    inside = np.clip(x, law.lower, law.upper)
    return spline(inside) + np.where(x > law.upper, dy[-1], dy[0]) * (x - inside)


def parts(machine_of):
    machine = machine_of("aoc48")
    k = machine.pair.degeneration
    bypass = machine.pair.law().slope(np.array([33.0]))[0] - normalised_slope(np.array([33.0]), k)[0]
    yield machine.pair.law(), lambda u: normalised_current(u, k) + bypass * u
    yield TANH, np.tanh
    led = machine.led
    yield led.law(1), lambda v: led.diodes[1].power(led.current(1, v)) - led.bias_power(1)


def test_tables_follow_their_formulas(machine_of):
    """Between the nodes, 1e-9 of the table's range of values; the LED where it is lit.

    The LED's square-law start at zero current, below -0.3 V, is beyond the pair's swing.
    """
    rng = np.random.default_rng(0)
    for law, exact in parts(machine_of):
        lower = max(law.lower, -0.3) if law.name.startswith("microLED") else law.lower
        x = rng.uniform(lower, law.upper, 20_000)
        y = exact(x)
        assert np.abs(law.response(x) - y).max() < 1e-9 * np.ptp(y), law.name


def test_table_of_the_amplifier_at_its_bends(machine_of):
    """A jump J of the third derivative inside an interval costs h^3 J/192 at most (Hermite cubic of (x-c)_+^3)."""
    node = machine_of("aoc48").node
    law = node.stage().law
    jump = 2 / (node.rail_high - node.linear_high) ** 2
    h = (law.upper - law.lower) / len(law.coefficients)
    x = np.linspace(law.lower, law.upper, 400_001)
    assert np.abs(law.response(x) - node.saturate(x)).max() < h**3 * jump / 192 * 1.05


def test_interpolation_error_is_the_textbook_bound():
    """h^4 max|y''''| / 384 (max|tanh''''| = 4.086), and fourth order in h."""
    errors = []
    for intervals in (64, 128, 256):
        law = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -8.0, 8.0, intervals)
        x = np.linspace(-8.0, 8.0, 100_001)
        errors.append(np.abs(law.response(x) - np.tanh(x)).max())
        assert errors[-1] <= (16 / intervals) ** 4 * 4.0859 / 384
    order = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(order - 4) < 0.3)


@given(st.lists(st.floats(-30.0, 30.0), min_size=1, max_size=50))
def test_kernel_is_the_plain_spline(values):
    x = np.array(values)
    np.testing.assert_allclose(TANH.response(x), plain(TANH, x), rtol=0, atol=1e-14)


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_kernel_scales_channel_by_channel(rows, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-12, 12, (rows, n))
    a, b, c, d = rng.standard_normal((4, n))
    found = TANH.scaled_response(x, a, b, c, d)
    np.testing.assert_allclose(found, c * plain(TANH, a * x + b) + d, rtol=0, atol=1e-13)
    assert TANH.scaled_response(x[0], a, b, c, d).shape == (n,)
    np.testing.assert_array_equal(TANH.scaled_response(x.T.copy().T, a, b, c, d), found)


def test_continuously_differentiable_at_every_node(machine_of):
    """Value and slope from both sides of all inner nodes, over the table's largest value and slope."""
    for law, _ in parts(machine_of):
        c = law.coefficients
        slope_scale = np.abs(c[:, 1]).max()
        np.testing.assert_allclose(c[:-1].sum(axis=1), c[1:, 0], rtol=0, atol=1e-14 * np.abs(c[:, 0]).max())
        end = c[:-1, 1] + 2 * c[:-1, 2] + 3 * c[:-1, 3]
        np.testing.assert_allclose(end, c[1:, 1], rtol=0, atol=1e-12 * slope_scale + 1e-15)


def test_linear_continuation():
    for end, sign in ((TANH.upper, 1), (TANH.lower, -1)):
        slope = 1 / np.cosh(8.0) ** 2
        far = end + sign * np.array([0.0, 1.0, 10.0, 1e6])
        expected = np.tanh(end) + slope * (far - end)
        np.testing.assert_allclose(TANH.response(far), expected, rtol=1e-12)
        np.testing.assert_allclose(TANH.slope(far), slope, rtol=1e-9)


@given(st.floats(-20.0, 20.0))
def test_slope_is_the_derivative_of_the_table(x):
    h = 1e-5
    central = np.diff(TANH.response(np.array([x - h, x + h])))[0] / (2 * h)
    assert TANH.slope(np.array(x)) == pytest.approx(central, abs=2e-9)


def test_shape_is_kept():
    for shape in ((), (3,), (2, 3), (2, 0, 3), (4, 2, 3)):
        x = np.zeros(shape)
        assert TANH.response(x).shape == shape
        assert TANH.slope(x).shape == shape


def test_not_a_number_stays_not_a_number():
    """A blown-up state must not come back as an ordinary value of the table."""
    with np.errstate(invalid="ignore"):
        assert np.isnan(TANH.response(np.array([np.nan]))).all()


def test_infinite_input_is_not_an_ordinary_value():
    found = TANH.response(np.array([np.inf, -np.inf]))
    assert found[0] == np.inf
    assert found[1] == -np.inf
    assert np.isnan(TANH.response(np.array([np.nan, 0.5]))).tolist() == [True, False]


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0)])
def test_an_empty_interval_is_refused(ends):
    with pytest.raises(ValueError, match="empty table interval"):
        Law.tabulate("x", np.sin, np.cos, *ends)


def test_a_pole_inside_the_table_is_refused():
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match="not finite"):
        Law.tabulate("1/x", lambda x: 1 / x, lambda x: -1 / x**2, -1.0, 1.0, 2)
