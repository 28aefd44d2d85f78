"""Gains: resolution of the potentiometers, range, and the measured offsets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


def test_limit_fine_resolution_sets_what_is_asked(machine_of):
    gains = machine_of("ideal48").gains
    assert gains.set_beta(18.6) == pytest.approx(18.6, rel=1e-13)
    alpha = np.linspace(0.0, 1.0, 48)
    np.testing.assert_allclose(gains.set_alpha(alpha), alpha, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(gains.node_offset(18.6), 0.0)
    np.testing.assert_allclose(gains.node_gain(18.6), 0.73 * 18.6 * 0.467, rtol=1e-14)


@given(st.floats(0.0, 1024.0))
def test_property_beta_within_half_a_step(machine_of, beta):
    gains = machine_of("aoc48").gains
    step = 1024 / (2**14 - 1)
    found = gains.set_beta(beta)
    assert abs(found - beta) <= step / 2 * (1 + 1e-9)
    assert gains.set_beta(found) == found
    assert found / step == pytest.approx(round(found / step), abs=1e-6)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_property_alpha_is_monotone_and_within_half_a_step(machine_of, one, two):
    gains = machine_of("aoc48").gains
    found = gains.set_alpha(np.array([one, two]))
    assert np.all(np.abs(found - [one, two]) <= 0.5 / (2**14 - 1) * (1 + 1e-9))
    assert (found[0] - found[1]) * (one - two) >= 0
    assert np.all((found >= 0) & (found <= 1))


@pytest.mark.parametrize("asked", [1024.2, 5000.0, -3.0])
def test_beta_beyond_the_hardware_is_clipped_or_refused(machine_of, asked):
    """set_beta gives "the nearest beta that the hardware can set": 0 to beta_full_scale."""
    gains = machine_of("aoc48").gains
    try:
        found = gains.set_beta(asked)
    except ValueError:
        return
    assert 0 <= found <= gains.beta_full_scale


@pytest.mark.parametrize("asked", [1.5, -0.2])
def test_alpha_beyond_the_hardware_is_clipped_or_refused(machine_of, asked):
    """set_alpha gives "the nearest alpha in [0, 1] that the hardware can set"."""
    gains = machine_of("aoc48").gains
    try:
        found = gains.set_alpha(np.full(48, asked))
    except ValueError:
        return
    assert np.all((found >= 0) & (found <= 1))


def test_published_resolution_against_one_minus_alpha(machine_of):
    """14 bit is 0.76 % of 1 - alpha = 0.008; 12 bit would be 3 %."""
    step = np.diff(machine_of("aoc48").gains.set_alpha(np.array([0.992, 0.992 + 1 / 16383])))[0]
    assert step / 0.008 == pytest.approx(0.0076, rel=0.01)
    coarse = machine_of("aoc48", gains={"alpha_bits": "12"}).gains
    step = np.diff(coarse.set_alpha(np.array([0.992, 0.992 + 1 / 4095])))[0]
    assert step / 0.008 == pytest.approx(0.03, rel=0.03)


def test_published_offsets_and_scaling_over_serials(machine_of):
    """Measured: closed-loop gain 0.73 +- 3.4 %; offset sd 9 mV at the converter, x 2.0 x 0.73 at the node."""
    built = [machine_of("aoc48", serial=s).gains for s in range(1, 17)]
    gain = np.array([g.closed_loop_gain for g in built])
    assert gain.mean() == pytest.approx(0.7295, rel=0.005)
    assert gain.std() / 0.73 == pytest.approx(0.034, rel=0.1)
    offset = np.array([g.offset for g in built])
    assert offset.std() == pytest.approx(9e-3 * 2.0 * 0.73, rel=0.1)
    # what depends on beta: measured mean -2.57e-4 and sd at the converter, the same ratio 2.0 and scaling 0.73
    slope = np.array([g.offset_per_beta for g in built])
    assert slope.mean() == pytest.approx(-2.57e-4 * 2.0 * 0.73, rel=0.1)
    np.testing.assert_allclose(built[0].node_offset(10.0), built[0].offset + 10 * built[0].offset_per_beta)


def test_published_drift_of_an_hour(machine_of):
    """Random walk: 0.3 % of gain, 1 mV of offset, 1e-5 of alpha in an hour, twice that in four; none on ideal parts."""
    gains, ideal = machine_of("aoc48", serial=1).gains, machine_of("ideal48", serial=1).gains
    for hours in (1, 4):
        root = np.sqrt(3600.0 * hours)
        assert gains.gain_drift * root == pytest.approx(0.3e-2 * np.sqrt(hours), rel=1e-12)
        assert gains.offset_drift * root == pytest.approx(1e-3 * np.sqrt(hours), rel=1e-12)
        assert gains.alpha_drift * root == pytest.approx(1e-5 * np.sqrt(hours), rel=1e-12)
    assert ideal.gain_drift == ideal.offset_drift == ideal.alpha_drift == 0
