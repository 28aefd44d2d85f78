"""Poles against the closed forms of one and of cascaded first-order systems."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.compose import compose
from aocsim.loop import Arm, Loop
from aocsim.response import corner, sweep, transfer
from aocsim.solve.integrators import integrate
from aocsim.stages import Pole, Scale

frequencies = st.floats(1e6, 2e8)


def path(bandwidths, gain=0.0):
    """Poles in a row in front of the node's, the first one's input is z; `gain` closes the loop around them."""
    arm = Arm("path", (*(Pole(np.array([2 * np.pi * f])) for f in bandwidths[:-1]), Scale(gain)))
    return Loop(1, (arm,), (Pole(np.array([2 * np.pi * bandwidths[-1]])),))


def step_response(loop, times, drive=0.1):
    found = integrate(
        loop,
        np.zeros((1, loop.states)),
        np.full((1, 1), drive),
        times,
        method="DOP853",
        rtol=1e-12,
        atol=1e-15,
    )
    return found.state[0, :, 0] / drive


def test_limit_infinite_bandwidth_is_no_stage(machine_of):
    poles = machine_of("aoc48").poles
    assert poles.stage(np.inf) == ()
    assert poles.stage(poles.driver) == ()
    assert len(poles.stage(poles.node)) == 1


@settings(max_examples=10)
@given(frequencies)
def test_property_step_of_one_pole(f):
    """1 - exp(-2 pi f t) to 1e-8 of the step."""
    times = np.linspace(0.0, 2.0 / f, 21)
    expected = 1 - np.exp(-2 * np.pi * f * times)
    np.testing.assert_allclose(step_response(path([f]), times), expected, rtol=0, atol=1e-8)


@settings(max_examples=10)
@given(frequencies, st.floats(1.2, 30.0))
def test_property_step_of_two_cascaded_poles(f, ratio):
    """Second pole watched behind the first: 1 - (b e^-at - a e^-bt)/(b - a).

    To 1e-7 of the step: between its steps DOP853 interpolates, one order below its own.
    """
    a, b = 2 * np.pi * f, 2 * np.pi * f * ratio
    loop = path([ratio * f, f])
    times = np.linspace(0.0, 2.0 / f, 21)
    found = integrate(
        loop, np.zeros((1, 2)), np.full((1, 1), 0.1), times, method="DOP853", rtol=1e-12, atol=1e-15
    ).state[0, :, 1]
    expected = 1 - (b * np.exp(-a * times) - a * np.exp(-b * times)) / (b - a)
    np.testing.assert_allclose(found / 0.1, expected, rtol=0, atol=1e-7)


def test_limit_two_equal_poles():
    """1 - (1 + at) e^-at."""
    a = 2 * np.pi * 5e6
    times = np.linspace(0.0, 400e-9, 21)
    found = integrate(
        path([5e6, 5e6]),
        np.zeros((1, 2)),
        np.full((1, 1), 0.1),
        times,
        method="DOP853",
        rtol=1e-12,
        atol=1e-15,
    ).state[0, :, 1]
    np.testing.assert_allclose(found / 0.1, 1 - (1 + a * times) * np.exp(-a * times), rtol=0, atol=1e-8)


@settings(max_examples=10)
@given(frequencies, st.floats(1.0, 1.4))
def test_property_a_loop_of_three_poles_against_its_transfer_function(f, spread):
    """Negative feedback around three poles: scipy's step response of 1/(prod(1 + s/w) + g) in the node's pole."""
    from scipy.signal import lti

    w = 2 * np.pi * f * np.array([3.0 * spread, 2.0, 1.0])
    gain = 1.5
    loop = path(list(w / 2 / np.pi), gain=-gain)
    # z (1 + s/w3) = u - g z / ((1 + s/w1)(1 + s/w2))
    minor = np.polymul([1 / w[0], 1], [1 / w[1], 1])
    system = lti(minor, np.polyadd(np.polymul(minor, [1 / w[2], 1]), [gain]))
    times = np.linspace(0.0, 1.0 / f, 21)
    expected = system.step(T=times)[1]
    np.testing.assert_allclose(step_response(loop, times), expected, rtol=0, atol=1e-7)


def test_published_corner_of_the_open_path(machine_of):
    """Supplementary 1b: -3 dB at 5 MHz, every nominal channel: by sines in the time domain, and linearised."""
    rate = 2 * np.pi * machine_of("aoc48").poles.node
    loop = Loop(48, (Arm("alpha", (Scale(np.zeros(48)),)),), (Pole(rate),))
    at = np.geomspace(2e6, 10e6, 5)
    for how, within in ((sweep, 2e-5), (transfer, 1e-9)):
        gain = how(loop, np.array([0, 30]), at)
        expected = np.broadcast_to(1 / np.sqrt(1 + (at / 5e6) ** 2), gain.shape)
        np.testing.assert_allclose(gain, expected, rtol=within)
        for one in gain:
            assert corner(at, one) == pytest.approx(5e6, rel=1e-4)


@pytest.mark.parametrize("delay", [{}, {"optical_delay": "30 ns", "node_delay": "20 ns"}])
def test_response_of_the_linearised_loop_is_that_of_sines_in_time(bench_of, delay):
    """A compiled machine with all poles, its loop closed, without and with dead time; sines of 20 uV at the node."""
    bench = bench_of("aoc48", serial=3, channels=16, poles={"sheet": "poles_all", **delay})
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    assert loop.blocks > 1 and loop.delayed == bool(delay)
    channels, at = np.array([0, 4]), np.geomspace(0.1e6, 4e6, 3)
    by_sines = sweep(loop, channels, at, amplitude=20e-6)
    np.testing.assert_allclose(transfer(loop, channels, at), by_sines, rtol=0, atol=2e-4)


def test_published_time_constant_and_closed_loop_bandwidth(machine_of):
    """tau = 31.83 ns; with alpha = 0.97 the same pole has 150 kHz."""
    rate = 2 * np.pi * machine_of("aoc48").poles.node[:1]
    assert 1 / rate[0] == pytest.approx(31.83e-9, rel=1e-3)
    loop = Loop(1, (Arm("alpha", (Scale(np.array([0.97])),)),), (Pole(rate),))
    slow = -np.linalg.eigvals(loop.jacobian(np.zeros((1, 1)), np.zeros((1, 1))))[0, 0]
    assert slow / (2 * np.pi) == pytest.approx(150e3, rel=1e-6)


def test_published_minor_poles(machine_of):
    """LED 115-200 MHz, driver >= 50 MHz, TIA >= 30 MHz (nominal)."""
    machine = machine_of("aoc48", poles={"sheet": "poles_all"})
    assert np.all(machine.poles.driver >= 50e6)
    assert np.all(machine.poles.transimpedance >= 30e6)
    assert 114.5e6 < machine.poles.led_over_carrier * machine.led.bandwidth(0) < 200e6


def test_published_open_path_with_all_poles_together(machine_of):
    """ "The node pole is fitted so that the open path (W = 0, alpha = 0, DAC to node) gives 5.0 MHz together".

    The minor poles stand in the arms, behind z, so the node's own pole is all that the open path sees.
    """
    assert machine_of("aoc48", poles={"sheet": "poles_all"}).poles.node[0] == pytest.approx(5e6, rel=1e-6)


def test_a_pole_without_limit_keeps_its_spread_out(machine_of):
    """poles_all with the driver made instantaneous (the sheet allows inf) has no driver pole, not a nan."""
    poles = machine_of("aoc48", serial=1, poles={"sheet": "poles_all", "driver": "inf Hz"}).poles
    assert not np.isnan(poles.driver).any()
    assert poles.stage(poles.driver) == ()
