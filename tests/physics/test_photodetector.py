"""Photodetector noise against textbook numbers and numerical integration."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from aocsim.components.photodetector import capacitance_noise_integral

bandwidths = st.floats(4, 9).map(lambda p: 10.0**p)


def by_quadrature(node, amplifier):
    """Equation (2) over a logarithmic frequency axis, far past both poles."""

    def integrand(p):
        f = np.exp(p)
        return f**3 / ((1 + (f / node) ** 2) * (1 + (f / amplifier) ** 4))

    low, high = np.log(min(node, amplifier)), np.log(max(node, amplifier))
    pieces = [(low - 25, low), (low, high), (high, high + 25)]
    return sum(quad(integrand, a, b, epsabs=0, epsrel=1e-12, limit=400)[0] for a, b in pieces if b > a)


def test_limit_slow_node_behind_a_fast_amplifier():
    """a << b: a^2 b pi / (2 sqrt 2)."""
    a, b = 1e3, 1e9
    assert capacitance_noise_integral(a, b) == pytest.approx(a**2 * b * np.pi / (2 * np.sqrt(2)), rel=3e-6)


def test_limit_slow_amplifier_behind_a_fast_node():
    """b << a: only the Butterworth response is left, Int f^2/(1+(f/b)^4) df = b^3 pi / (2 sqrt 2)."""
    a, b = 1e9, 1e3
    assert capacitance_noise_integral(a, b) == pytest.approx(b**3 * np.pi / (2 * np.sqrt(2)), rel=3e-6)


def test_limit_no_noise_sources(machine_of):
    detector = machine_of("ideal48").detector
    assert not detector.noise_density(np.array([0.0, 1e-6])).any()
    assert not detector.capacitance_noise(np.full(48, 5e6)).any()


@given(bandwidths, bandwidths)
def test_property_integral_by_quadrature(node, amplifier):
    assert capacitance_noise_integral(node, amplifier) == pytest.approx(
        by_quadrature(node, amplifier), rel=1e-9
    )


@given(bandwidths, bandwidths, st.floats(1.01, 10))
def test_property_more_bandwidth_more_noise(node, amplifier, factor):
    assert capacitance_noise_integral(factor * node, amplifier) > capacitance_noise_integral(node, amplifier)
    assert capacitance_noise_integral(node, factor * amplifier) > capacitance_noise_integral(node, amplifier)


@given(st.floats(0, 1e-3), st.floats(0, 1e-3))
def test_property_shot_noise_is_linear_in_the_current(machine_of, one, two):
    detector = machine_of("aoc48").detector
    floor = detector.noise_density(np.zeros(1))
    rise = detector.noise_density(np.array([one, two, one + two])) - floor
    assert rise[2] == pytest.approx(rise[0] + rise[1], abs=1e-35)
    assert np.all(rise >= 0)


def test_published_shot_noise_of_3_microampere(machine_of):
    """2 q I at 3 uA DC: 9.613e-25 A^2/Hz, 0.98 pA/rtHz."""
    detector = replace(
        machine_of("aoc48").detector, noise_temperature=0.0, current_noise=0.0, voltage_noise=0.0
    )
    assert float(detector.noise_density(np.array(3e-6))) == pytest.approx(9.6131e-25, rel=1e-4)


def test_published_thermal_noise_of_10_kiloohm(machine_of):
    """4kT/R at 298.15 K: 1.6466e-24 A^2/Hz, 1.283 pA/rtHz (the textbook's 1.28 nA-per-rtMHz class)."""
    detector = replace(machine_of("aoc48").detector, shot_noise=0.0, current_noise=0.0, voltage_noise=0.0)
    assert float(detector.noise_density(np.array(3e-6))) == pytest.approx(1.64658e-24, rel=1e-4)


def test_published_amplifier_noise(machine_of):
    """i_n = 2 pA/rtHz and e_n/R_f = 4 nV / 10 kohm = 0.4 pA/rtHz add as powers."""
    detector = replace(machine_of("aoc48").detector, shot_noise=0.0, noise_temperature=0.0)
    assert float(detector.noise_density(np.array(0.0))) == pytest.approx(
        (2e-12) ** 2 + (0.4e-12) ** 2, rel=1e-12
    )


def test_capacitance_noise_is_the_integral_times_the_white_source(machine_of):
    """(2 pi C e_n)^2 with 20 pF and 4 nV/rtHz, behind 5 MHz and 30 MHz, by quadrature."""
    ours = float(machine_of("aoc48").detector.capacitance_noise(np.array([5e6]))[0])
    by_hand = (2 * np.pi * 20e-12 * 4e-9) ** 2 * by_quadrature(5e6, 30e6)
    assert ours == pytest.approx(by_hand, rel=1e-9)


def test_published_output_efficiency(machine_of):
    """Measured: 1.038 and 1.053 with 1.8 % spread between channels; over 8 serials."""
    drawn = np.array([machine_of("aoc48", serial=s).detector.output_efficiency for s in range(1, 9)])
    np.testing.assert_allclose(drawn.mean(axis=(0, 2)), (1.04, 1.05), rtol=0.005)
    np.testing.assert_allclose((drawn.std(axis=(0, 2)) / (1.04, 1.05)), 0.018, rtol=0.15)
