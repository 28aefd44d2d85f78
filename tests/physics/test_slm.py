"""The modulator against exact limits, its inverse, a retardance error, and the measured residual law."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.errors import InputError

# Public digital twin, column_wise_weights_distortion: mean a, b, c over columns, eta = a w^2 + b w + c
COLUMN_LAW = ((-0.143, 0.871, 0.045), (-0.144, 0.836, 0.0528))
SYSTEM_CONTRAST = (9.2, 31.3)
PARABOLA = 1.034  # end of the parabola over the panel's highest point, at the sheet's over-drive

serials = st.integers(1, 2**31)


def full(slm, value):
    return np.full(slm.inverse_contrast.shape, float(value))


def test_limit_ideal_panel_is_linear(machine_of):
    slm = machine_of("ideal48", serial=1).slm
    weight = np.random.default_rng(0).random((2, 48, 48))
    np.testing.assert_allclose(slm.response(weight), 0.6 * weight, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(slm.top(), 1.0)
    assert not slm.wobble(weight).any()


def test_limit_dark_and_bright_of_malus_law(machine_of):
    """Equation (1) at its ends: T_max (1/CR + b) at w = 0, and T_max (1 + 1/CR + b) at retardance pi."""
    slm = machine_of("aoc48", serial=1).slm
    dark = slm.inverse_contrast + slm.stray_light[:, :, None]
    np.testing.assert_allclose(slm.response(full(slm, 0)), slm.transmission[:, None, None] * dark, rtol=1e-14)
    top = np.broadcast_to(slm.top()[:, :, None], dark.shape)
    reached = slm.retardance_scale >= 1
    bright = slm.transmission[:, None, None] * (1 + dark)
    np.testing.assert_allclose(slm.response(top)[reached], bright[reached], rtol=1e-13)


@settings(max_examples=20)
@given(serials, st.floats(0.0, 1.0))
def test_property_invert_undoes_response(machine_of, serial, share):
    """Up to the turning point of an over-driven column, 1e-9 of the full weight range.

    At the turning point itself T is flat: an error of 1e-16 in T is 1e-8 in w, so the last per mille of the
    range is judged by T.
    """
    slm = machine_of("aoc48", serial=serial, channels=8).slm
    weight = share * np.broadcast_to(slm.top()[:, :, None], (2, 8, 8))
    found = slm.invert(slm.response(weight))
    np.testing.assert_allclose(slm.response(found), slm.response(weight), rtol=0, atol=1e-14)
    if share < 0.999:
        np.testing.assert_allclose(found, weight, rtol=0, atol=1e-9)


@settings(max_examples=20)
@given(serials, st.lists(st.floats(0.0, 1.0), min_size=2, max_size=8))
def test_property_monotone_up_to_the_top(machine_of, serial, shares):
    slm = machine_of("aoc48", serial=serial, channels=8).slm
    top = np.broadcast_to(slm.top()[:, :, None], (2, 8, 8))
    rising = np.stack([slm.response(s * top) for s in sorted(shares)])
    assert np.all(np.diff(rising, axis=0) >= -1e-15)
    assert np.all(rising > 0)


@settings(max_examples=20)
@given(st.floats(0.02, 0.98))
def test_property_wobble_is_a_retardance_error(machine_of, weight):
    """Equation (2) against T(Gamma + d) - T(Gamma - d) with Gamma = 2 s asin sqrt w, written out here."""
    slm = machine_of("aoc48", serial=3, channels=8).slm
    d = 1e-5
    gamma = 2 * slm.retardance_scale[:, :, None] * np.arcsin(np.sqrt(full(slm, weight)))

    def transmission(g):
        return slm.transmission[:, None, None] * np.sin(g / 2) ** 2

    slope = np.abs(transmission(gamma + d) - transmission(gamma - d)) / (2 * d)
    np.testing.assert_allclose(slm.wobble(full(slm, weight)), 0.015 * slope, rtol=1e-7, atol=1e-12)


def test_wobble_vanishes_at_the_dark_end(machine_of):
    slm = machine_of("aoc48", serial=3, channels=8).slm
    assert not slm.wobble(full(slm, 0)).any()


def test_published_grey_levels(machine_of):
    """Signed 9-bit weights: 8-bit magnitudes, 255 above dark."""
    assert machine_of("aoc48").slm.levels == 255


def test_published_system_contrast(machine_of):
    """Measured: 9 to 31 over the columns, 17.2 and 14.1 for the arms' mean law.

    The nominal columns lie inside; over 8 serials the law of the arms' mean column is within 3 %.
    """
    slm = machine_of("aoc48").slm
    nominal = slm.response(full(slm, 1)) / slm.response(full(slm, 0))
    assert SYSTEM_CONTRAST[0] < nominal.min()
    assert nominal.max() < SYSTEM_CONTRAST[1]
    means = []
    for serial in range(1, 9):
        machine = machine_of("aoc48", serial=serial)
        slm, column = machine.slm, machine.optics.column[:, :, None]
        zero, top = (
            (column * slm.response(w)).mean(axis=(1, 2)) for w in (full(slm, 0), slm.top()[:, :, None])
        )
        # the parabola that is fitted to an over-driven panel ends above its highest point
        means.append(1 + PARABOLA * (top - zero) / zero)
    for arm, (a, b, c) in enumerate(COLUMN_LAW):
        assert np.mean(means, axis=0)[arm] == pytest.approx((a + b + c) / c, rel=0.03)
    assert 14 < np.mean(means) < 19


def test_published_curvature(machine_of):
    """a/(a + b) of a least-squares a w^2 + b w + darkness over all grey levels (measured arms -0.194, -0.210)."""
    slm = machine_of("aoc48").slm
    grey = np.arange(256) / 255
    law = np.array([slm.response(full(slm, w))[:, 0, 0] for w in grey])
    for arm in (0, 1):
        powers = np.stack([grey**2, grey], axis=1)
        a, b = np.linalg.lstsq(powers, law[:, arm] - law[0, arm], rcond=None)[0]
        assert a / (a + b) == pytest.approx(-0.202, rel=0.05)


def test_published_flicker(machine_of):
    """sigma_G sqrt(w (1-w)) with 0.015 rad for a linear panel: 0.75 % of full scale at half grey."""
    slm = replace(machine_of("aoc48").slm, retardance_scale=np.ones((2, 48)), transmission=np.ones(2))
    np.testing.assert_allclose(slm.wobble(full(slm, 0.5)), 0.0075, rtol=1e-12)
    np.testing.assert_allclose(slm.wobble(full(slm, 0.1)), 0.015 * np.sqrt(0.09), rtol=1e-12)


def test_infinite_contrast_is_a_value_like_any_other(machine_of):
    """The sheet allows contrast = inf; with the sheet's spread of 10 % it still means no leakage at all."""
    slm = machine_of("aoc48", serial=1, slm={"contrast": "inf"}).slm
    np.testing.assert_array_equal(slm.inverse_contrast, 0.0)


def test_contrast_for_each_channel_lies_along_the_outputs(machine_of, spec_of):
    """Drawn per channel or per channel and arm, a spread belongs to the output column, as stray light does."""
    from dataclasses import replace as change

    from aocsim.asbuilt import AsBuilt

    part = spec_of("aoc48", channels=8).parts["slm"]
    entry = change(part["contrast"], per="channel")
    part = change(part, entries={**part.entries, "contrast": entry})
    drawn = AsBuilt(part, "aoc48", "slm", 1, 8).array("contrast", "pixel")
    assert np.ptp(drawn, axis=1).min() > 0  # differs between outputs j
    assert np.ptp(drawn, axis=2).max() == 0  # the same for all inputs i


def test_flicker_lines_are_shares_of_the_variance(machine_of):
    """Lines at 1, 2, ... times the frame rate leave something to the rest; ideal panels have none."""
    lines = machine_of("aoc48", serial=1).slm.flicker_lines
    assert lines.shape == (2,)
    assert 0 < lines.sum() < 1
    assert not machine_of("ideal48").slm.flicker_lines.any()
    more = machine_of("aoc48", slm={"flicker_lines": ("0.5", "0.3", "0.1")}).slm.flicker_lines
    np.testing.assert_array_equal(more, [0.5, 0.3, 0.1])


@pytest.mark.parametrize("lines", [("1",), ("0.6", "0.4"), ("0.5", "0.3", "0.3"), ("-0.1",), ("inf",)])
def test_flicker_lines_beyond_the_variance_are_refused(machine_of, lines):
    with pytest.raises(InputError) as caught:
        machine_of("aoc48", slm={"flicker_lines": lines})
    assert caught.value.key == "parts.slm.flicker_lines"


def test_published_times_of_a_video_rate_panel(machine_of):
    """Frames at 60 Hz; a nematic answers within a few milliseconds, inside one frame."""
    for name in ("aoc48", "ideal48"):
        slm = machine_of(name).slm
        assert 1 / slm.frame_time == pytest.approx(60, rel=0.01)
        assert 1e-3 < slm.settling_time < slm.frame_time
