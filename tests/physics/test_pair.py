"""The differential pair against the textbook law, the measured law of the 48-channel machine and thermal physics."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from aocsim.components.pair import base_voltage, normalised_current, normalised_slope
from aocsim.constants import thermal_voltage

degenerations = st.floats(0.0, 8.0)
drives = st.floats(-30.0, 30.0)

# Public digital twin of the 48-channel machine, tanh_sigmoid_coeffs: u = a z + b, v = d u/(1+|u|^c)^(1/c) + f + g z
A, C, D, G = 3.580, 4.265, 0.2151, 4.8e-3


def test_limit_without_degeneration_is_tanh():
    drive = np.linspace(-20.0, 20.0, 4001)
    np.testing.assert_allclose(normalised_current(drive, 0.0), np.tanh(drive), rtol=0, atol=1e-15)
    np.testing.assert_allclose(normalised_slope(drive, 0.0), 1 - np.tanh(drive) ** 2, rtol=0, atol=1e-15)


def test_limit_strong_degeneration_is_a_clipped_line():
    # k >> 1: the emitter resistors carry all of the voltage until the tail current is used up
    k = 1e4
    drive = np.linspace(-0.99, 0.99, 199) * k
    np.testing.assert_allclose(normalised_current(drive, k), drive / k, rtol=0, atol=3 / k)


def test_inversion_of_equation_1_against_bracketing():
    # Brent's method on equation (1) in w = atanh y, where it is well conditioned up to saturation
    for k in (0.0, 0.3, 1.4, 8.0):
        for drive in (-25.0, -3.0, -0.7, 1e-9, 0.4, 2.0, 9.0, 25.0):
            w = brentq(
                lambda w, k=k, drive=drive: w + k * np.tanh(w) - drive, -40, 40, xtol=1e-15, rtol=1e-15
            )
            assert abs(float(normalised_current(np.array(drive), k)) - np.tanh(w)) < 1e-12


@given(degenerations, st.floats(-0.999, 0.999))
def test_property_inverts_the_voltage_to_1e_12(k, y):
    drive = base_voltage(np.array([y]), k)
    assert abs(normalised_current(drive, k)[0] - y) < 1e-12


@given(degenerations, drives)
def test_property_odd_and_bounded(k, drive):
    y = normalised_current(np.array([drive, -drive]), k)
    assert y[0] == -y[1]
    assert abs(y[0]) <= 1.0


@given(degenerations, st.lists(drives, min_size=2, max_size=20))
def test_property_monotone_and_slope_never_negative(k, values):
    drive = np.sort(np.array(values))
    assert np.all(np.diff(normalised_current(drive, k)) >= -4e-16)
    assert np.all(normalised_slope(drive, k) >= 0)


@given(st.floats(0.0, 3.0), st.floats(-10.0, 10.0))
def test_property_slope_is_the_derivative(k, drive):
    h = 1e-5
    central = np.diff(normalised_current(np.array([drive - h, drive + h]), k))[0] / (2 * h)
    assert abs(normalised_slope(np.array([drive]), k)[0] - central) < 1e-9


def test_published_law_of_the_48_channel_machine(machine_of):
    """Nominal sheet against the measured law with its offsets b and f set to 0: 1 % of the swing rms, |z| < 1 V."""
    pair = machine_of("aoc48").pair
    z = np.linspace(-1.0, 1.0, 2001)
    v = pair.stage().response(np.repeat(z[:, None], len(pair.swing), axis=1))
    u = A * z
    measured = D * u / (1 + np.abs(u) ** C) ** (1 / C) + G * z
    error = (v - measured[:, None]) / D
    assert np.sqrt(np.mean(error**2)) < 0.010
    assert np.abs(error).max() < 0.025


def test_published_swing_and_slope(machine_of):
    pair = machine_of("aoc48").pair
    n = len(pair.swing)
    np.testing.assert_allclose(pair.swing, D, rtol=1e-3)
    # slope at the origin over the swing: a + g/d
    slope = pair.stage().slope(np.zeros((1, n))) / pair.swing
    np.testing.assert_allclose(slope, A + G / D, rtol=1e-3)
    assert pair.knee == pytest.approx(1 / A, rel=1e-3)


@pytest.mark.parametrize(
    ("resistance", "expected"),
    [("0 ohm", -0.33e-2), ("71.94 ohm", -0.14e-2)],
)
def test_published_temperature_slope(machine_of, resistance, expected):
    """PHYSICS.md: -0.33 %/K undegenerated and -0.14 %/K at k = 1.4, at constant tail current; to its last digit."""

    def slope(temperature):
        role = {
            "emitter_resistance": resistance,
            "junction_temperature": f"{temperature} K",
            "feedthrough": "0",
        }
        pair = machine_of("aoc48", pair=role).pair
        return float(pair.stage().slope(np.zeros((1, len(pair.swing))))[0, 0])

    change = (np.log(slope(299.15)) - np.log(slope(297.15))) / 2
    assert change == pytest.approx(expected, abs=0.6e-4)
    # closed form: d ln(slope)/dT = -1/(T (1 + k)), k = I_EE R_E / 2 V_T
    k = 1e-3 * float(resistance.split()[0]) / (2 * thermal_voltage(298.15))
    assert change == pytest.approx(-1 / (298.15 * (1 + k)), rel=1e-3)


def test_published_temperature_of_offset_and_room(machine_of):
    """dV_os/dT = V_os/T (Gray, Hurst, Lewis, Meyer); a warmer room is the same pair with a warmer junction."""
    pair = machine_of("aoc48", serial=4, pair={"junction_temperature": "310 K"}).pair
    warm, cold = pair.at_temperature(299.15), pair.at_temperature(297.15)
    np.testing.assert_allclose(
        (warm.input_offset - cold.input_offset) / 2, pair.input_offset / 310, rtol=1e-10, atol=1e-18
    )
    assert warm.junction_temperature == pytest.approx(311.0, rel=1e-14)
    built = machine_of("aoc48", serial=4, pair={"junction_temperature": "330 K"}).pair
    moved = pair.at_temperature(318.15)
    assert moved.degeneration == pytest.approx(built.degeneration, rel=1e-12)
    assert moved.knee == pytest.approx(built.knee, rel=1e-12)
    z = np.linspace(-2.0, 2.0, 101)[:, None] - np.zeros(len(pair.swing))
    # the sheet's offset is that of the reference temperature, whatever the junction's is
    built = replace(built, input_offset=built.input_offset * 330 / 310)
    np.testing.assert_allclose(moved.stage().response(z), built.stage().response(z), rtol=0, atol=1e-12)


def test_stage_is_equation_1_with_each_channels_own_tail_current(machine_of):
    """Equation (1) with k_j of each channel, solved one by one: slope and saturation exact, the bend to 0.4 %."""
    pair = machine_of("aoc48", serial=4, pair={"feedthrough": "0", "tail_current.spread": "3 %"}).pair
    two_vt = 2 * thermal_voltage(pair.junction_temperature)
    own = pair.degeneration * pair.tail_mismatch
    assert np.ptp(own) > 0.1
    z = np.linspace(-2.0, 2.0, 201)[:, None] + np.zeros(len(pair.swing))
    base = (pair.input_attenuation * z + pair.input_offset) / two_vt
    expected = np.stack(
        [swing * normalised_current(base[:, j], own[j]) for j, swing in enumerate(pair.swing)], axis=1
    )
    stage = pair.stage()
    np.testing.assert_allclose(stage.response(z), expected, rtol=0, atol=4e-3 * D)
    rest = -pair.input_offset / pair.input_attenuation
    slope = pair.swing * pair.input_attenuation / two_vt / (1 + own)
    np.testing.assert_allclose(stage.slope(rest[None])[0], slope, rtol=1e-6)
    np.testing.assert_allclose(stage.response(np.full((1, 48), 3.0))[0], pair.swing, rtol=1e-6)


def test_feedthrough_is_the_sheets_on_every_channel(machine_of):
    """Far into saturation the slope is g (the sheet's), within the 1.5 % mismatch of the shared table."""
    pair = machine_of("aoc48", serial=4).pair
    n = len(pair.swing)
    rise = pair.stage().response(np.full((1, n), 3.2)) - pair.stage().response(np.full((1, n), 3.0))
    np.testing.assert_allclose(rise / 0.2, G, rtol=0.06)
