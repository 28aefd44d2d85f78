"""The measured modulator against its parabola and against the retardance law behind it."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aocsim.components.slm_measured import MeasuredSlm
from aocsim.errors import InputError

# Means over the columns, + and - arm: public digital twin of the 48-channel machine
MEANS = ((-0.143, 0.871, 0.045), (-0.144, 0.836, 0.053))


def modulator(a, b, c, n=3, retardance=1.0):
    table = [np.full((2, n), value) for value in (a, b, c)]
    return MeasuredSlm(*table, 8, 0.015, 0.01, 2e-4, np.zeros(1), 1 / 60, 5e-3, retardance)


def test_limit_no_curvature_is_proportional_to_the_weight():
    slm = modulator(0.0, 0.8, 0.0)
    weight = np.random.default_rng(0).uniform(0, 1, (2, 3, 3))
    np.testing.assert_allclose(slm.response(weight), 0.8 * weight, rtol=1e-15)
    np.testing.assert_allclose(slm.invert(0.8 * weight), weight, rtol=1e-15)
    assert np.all(slm.top() == 1)


@given(
    st.floats(-1.0, 0.5),
    st.floats(0.05, 1.5),
    st.floats(0.0, 0.1),
    st.floats(0.0, 1.0),
    st.sampled_from([1.0, 0.9, 1.087]),
)
@example(-2e-309, 1.0, 0.0, 0.0, 1.0)
def test_property_inversion_returns_the_weight(a, b, c, w, s):
    slm = modulator(a, b, c, retardance=s)
    top = slm.top()[0, 0]
    weight = np.full((2, 3, 3), w * top)
    back = slm.invert(slm.response(weight))
    # at the very top the parabola is flat, and a weight cannot be told to better than the root of the rounding
    np.testing.assert_allclose(back, weight, rtol=0, atol=1e-7)
    assert np.all(slm.invert(np.full((2, 3, 3), 9.0)) <= 1)


@given(st.floats(-0.6, 0.5), st.floats(0.05, 1.5), st.floats(0.0, 1.0))
def test_property_flicker_vanishes_at_both_ends(a, b, w):
    slm = modulator(a, b, 0.05)
    assert np.all(slm.wobble(np.zeros((2, 3, 3))) == 0)
    assert np.all(slm.wobble(np.ones((2, 3, 3))) == 0)
    assert np.all(slm.wobble(np.full((2, 3, 3), w)) <= 0.015 * 0.5 * (2 * abs(a) + b) + 1e-15)


def test_published_contrast_and_curvature():
    """System contrast 14 to 19; an over-driven panel, sin^2(1.075 asin sqrt w), has the measured curvature."""
    w = np.linspace(0, 1, 101)
    panel = np.polyfit(w, np.sin(1.075 * np.arcsin(np.sqrt(w))) ** 2, 2)
    for a, b, c in MEANS:
        slm = modulator(a, b, c)
        full, dark = (slm.response(np.full((2, 3, 3), weight))[0, 0, 0] for weight in (1.0, 0.0))
        assert 14 < full / dark < 20
        assert a / (a + b) == pytest.approx(panel[0] / (panel[0] + panel[1]), abs=0.03)


def test_published_flicker_against_the_retardance_law():
    """At a = 0 the wobble is that of the physical panel at s = 1: sigma sqrt(w (1 - w)) of the slope."""
    from aocsim.components.slm import Slm

    n = 3
    panel = Slm(
        np.full(2, 0.8), np.zeros((2, n, n)), np.zeros((2, n)), np.ones((2, n)), 8, 0.015, 0.01, 2e-4,
        np.zeros(1), 1 / 60, 5e-3,
    )  # fmt: skip
    weight = np.random.default_rng(1).uniform(0, 1, (2, n, n))
    np.testing.assert_allclose(modulator(0.0, 0.8, 0.0).wobble(weight), panel.wobble(weight), rtol=1e-12)


@pytest.mark.parametrize("over_driven", [False, True])
def test_behind_a_retardance_it_is_the_physical_panel(over_driven):
    """Columns without curvature behind s pi against equations (1) and (2) of the panel, of which each has its own s."""
    from aocsim.components.slm import Slm

    n, rng = 3, np.random.default_rng(2)
    s = rng.uniform(1.02, 1.15, (2, n)) if over_driven else rng.uniform(0.85, 0.98, (2, n))
    transmission, stray = 0.6, rng.uniform(0.05, 0.09, (2, n))
    panel = Slm(
        np.full(2, transmission), np.zeros((2, n, n)), stray, s, 8, 0.015, 0.01, 2e-4, np.zeros(1), 1 / 60, 5e-3,
    )  # fmt: skip
    linear = transmission * np.sin(s * np.pi / 2) ** 2
    slm = MeasuredSlm(
        np.zeros((2, n)), linear, transmission * stray, 8, 0.015, 0.01, 2e-4, np.zeros(1), 1 / 60, 5e-3, s
    )
    weight = rng.uniform(0, 1, (2, n, n))
    np.testing.assert_allclose(slm.response(weight), panel.response(weight), rtol=1e-13)
    np.testing.assert_allclose(slm.wobble(weight), panel.wobble(weight), rtol=1e-12)
    # at the top the sine is flat: half of the digits are lost
    np.testing.assert_allclose(slm.top(), panel.top(), rtol=1e-7)
    wanted = panel.response(weight * panel.top()[:, :, None])
    np.testing.assert_allclose(slm.invert(wanted), panel.invert(wanted), rtol=0, atol=1e-7)
    # more than the panel reaches is cut; an over-driven one reaches it before full drive
    np.testing.assert_allclose(slm.invert(np.ones((2, n, n)))[:, :, 0], panel.top(), rtol=1e-7)


def test_a_column_that_does_not_rise_is_refused(measured_machine):
    with pytest.raises(InputError, match=r"parts\.slm\.linear_minus"):
        measured_machine(slm={"linear_minus": ("0.8", "-0.1", "0.8")})


def test_a_list_of_other_length_stands_in_the_aperture(measured_machine):
    """Three numbers over the aperture: the middle one at the axis, straight lines to the others' places."""
    slm = measured_machine(slm={"linear_plus": ("0.7", "0.9", "0.8")}).slm
    n = 48
    x = (np.arange(n) - (n - 1) / 2) / (n / 2)
    want = np.interp(x, [-2 / 3, 0.0, 2 / 3], [0.7, 0.9, 0.8])
    np.testing.assert_allclose(slm.linear[0], want, rtol=1e-14)


@pytest.mark.parametrize("channels", [8, 96])
def test_machines_of_other_channel_counts_build(measured_machine, channels):
    machine = measured_machine(channels=channels)
    assert machine.slm.linear.shape == (2, channels)
    assert machine.optics.fan().shape == (2, channels, channels)
    assert np.isfinite(machine.gains.offset).all()
