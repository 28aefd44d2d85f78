"""The rows of closed forms fail where one parameter is off, and their own arithmetic is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aocsim.validate import closed_converters, closed_detectors, closed_loops, closed_noise, closed_parts
from aocsim.validate.check import Setting
from aocsim.validate.closed_forms import CHECKS, TITLE
from aocsim.validate.setups import DARK, MINOR_POLES, without_weights

SETTING = Setting()
ALPHA, GAIN = closed_noise.grid()


@pytest.fixture(scope="module")
def machine():
    return SETTING.build()


@pytest.fixture(scope="module")
def rate(machine):
    return closed_noise.node_rate(machine)


def test_names_are_unique():
    names = [check.name for check in CHECKS]
    assert TITLE and len(set(names)) == len(names) > 20


@pytest.mark.parametrize("off", [1.0, 1.05])
def test_a_node_pole_that_is_5_per_cent_off_fails(machine, off):
    loop = without_weights(machine)
    rows = [
        closed_loops.step_row(loop, off * machine.poles.node),
        closed_loops.corner_row(loop, off * machine.poles.node),
        closed_loops.settling_row(machine, off * machine.poles.node, np.array([0.97])),
    ]
    assert {row.status for row in rows} == {"pass" if off == 1.0 else "fail"}


@pytest.mark.parametrize("lag", range(5))
def test_each_lag_of_the_cascade_counts(lag):
    loop, inputs, outputs, lags = closed_loops.chain_of(SETTING.build({**DARK, **MINOR_POLES}))
    wrong = lags.copy()
    wrong[:, lag] *= 1.05
    assert closed_loops.cascade_step_row(loop, inputs, outputs, lags).status == "pass"
    assert closed_loops.cascade_step_row(loop, inputs, outputs, wrong).status == "fail"
    assert closed_loops.cascade_response_row(loop, inputs, outputs, wrong).status == "fail"


@pytest.mark.slow
def test_a_closed_loop_of_another_alpha_fails():
    setup = closed_loops.heart(SETTING)
    loop, channels = closed_loops.heart_loop(SETTING)
    program = setup.compiled.program
    relaxed = replace(program, alpha=1 - 1.05 * (1 - program.alpha))
    offset = -closed_loops.reaching_at_rest(setup.machine, relaxed)
    other = closed_loops.compose(setup.machine, relaxed, closed_loops.Electronics(relaxed.alpha, offset))
    assert closed_loops.closed_loop_row(loop, other, channels).status == "fail"


@pytest.mark.parametrize("density", [1.0, 1.1])
def test_a_tenth_more_noise_density_fails(rate, density):
    loop = closed_noise.modes(ALPHA, GAIN, density * closed_noise.DENSITY, rate)
    one = closed_noise.modes(np.array([0.97]), np.array([0.3]), density * closed_noise.DENSITY, rate)
    rows = [
        closed_noise.variance_row(loop, ALPHA, GAIN, 1 / rate),
        closed_noise.draws_row(loop, ALPHA, GAIN, 1 / rate, 0),
        closed_noise.spectrum_row(one, 0.97, 0.3, 1 / rate, 4.6875e6, 0),
    ]
    assert {row.status for row in rows} == {"pass" if density == 1.0 else "fail"}


def test_a_pole_of_5_per_cent_shows_in_the_sampled_noise(machine, rate):
    assert closed_converters.white_alias_row(machine, 1.05 / rate, 0).status == "fail"


def test_detector_noise_a_tenth_larger_fails_behind_beta():
    machine = SETTING.build(DARK)
    density = closed_noise.dark_density(machine.detector)
    noisier = replace(
        machine, detector=replace(machine.detector, current_noise=1.1 * machine.detector.current_noise)
    )

    def row(built):
        return closed_detectors.beta_row(
            lambda alpha, beta: without_weights(built, alpha, beta),
            lambda beta: machine.detector.feedback_resistance * machine.gains.node_gain(beta),
            2 * np.pi * machine.poles.node,
            density,
        )

    assert row(machine).status == "pass"
    assert row(noisier).status == "fail"


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_shot_noise_that_is_a_tenth_off_fails(rate, factor):
    machine = SETTING.build(closed_detectors.ONLY_SHOT)
    detector = replace(machine.detector, shot_noise=factor)
    changed = replace(machine, detector=detector)
    rows = [
        closed_detectors.shot_row(changed, lambda z: closed_detectors.full_currents(machine, z)),
        closed_detectors.shot_band_row(detector, 1 / rate, 0),
    ]
    assert {row.status for row in rows} == {"pass" if factor == 1.0 else "fail"}


def test_converters_of_another_resolution_fail(machine):
    ramps = closed_converters.ramps(machine.dac, machine.digitiser)
    given, _, step = ramps["DAC"]
    ramps["DAC"] = (given, replace(machine.dac, bits=15).response(given), step)
    assert closed_converters.ramp_row(ramps).status == "fail"
    noisier = replace(machine.digitiser, effective_bits=machine.digitiser.effective_bits - 0.1)
    assert closed_converters.effective_bits_row(noisier, 12.3, 0).status == "fail"


def test_readings_that_scatter_more_fail(machine):
    rng = np.random.default_rng(0)
    sigma = 8.0 / (2**12.3 * np.sqrt(12))
    volts = sigma * rng.standard_normal((40, 80, 48))
    assert closed_converters.floor_row(volts, 8.0, 12.3).status == "pass"
    assert closed_converters.floor_row(1.05 * volts, 8.0, 12.3).status == "fail"


@pytest.mark.slow
def test_aliases_of_another_sampling_rate_fail(machine):
    rate = machine.digitiser.sample_rate
    row = closed_converters.sine_alias_row(without_weights(machine), machine.digitiser, 1.005 * rate)
    assert row.status == "fail"


def test_parts_that_are_off_fail(machine):
    pair, diode = machine.pair, machine.led.diodes[0]
    closed = closed_parts.closed_slope(pair, 1e-3, 71.94, pair.junction_temperature)
    assert closed_parts.pair_slope_row(pair, closed).status == "pass"
    hotter = closed_parts.closed_slope(pair, 1e-3, 71.94, pair.junction_temperature + 3)
    assert closed_parts.pair_slope_row(pair, hotter).status == "fail"
    nominal = closed_parts.Machine.build(SETTING.spec(), None).pair
    assert closed_parts.pair_law_row(replace(nominal, degeneration=0.0)).status == "fail"
    assert closed_parts.led_step_row(diode, 10e-3, 1.05 * float(diode.bandwidth(10e-3))).status == "fail"
    assert closed_parts.led_20ma_row(replace(diode, b=1.05 * diode.b)).status == "fail"
    assert closed_parts.led_curvature_row(replace(diode, c=1.3 * diode.c)).status == "fail"
    cell = replace(machine.memory, capacitance=1.1 * machine.memory.capacitance)
    assert closed_parts.memory_row(cell, 1e-12, cell.temperature, 0).status == "fail"


def test_lags_by_hand():
    """Two lags: 1 - (b e^-at - a e^-bt)/(b - a); the product at one frequency."""
    times, a, b = np.linspace(0, 1e-6, 9), 2 * np.pi * 1e6, 2 * np.pi * 3e6
    expected = 1 - (b * np.exp(-a * times) - a * np.exp(-b * times)) / (b - a)
    np.testing.assert_allclose(closed_loops.lags_step(np.array([1e6, 3e6]), times), expected, atol=1e-12)
    found = closed_loops.lags_response(np.array([1e6, 1e6]), np.array([1e6]))
    assert found[0] == pytest.approx(1 / (1 + 1j) ** 2)


def test_folding_by_hand():
    np.testing.assert_allclose(closed_converters.folded(np.array([1.0, 6.0, 14.0, 10.0]), 10.0), [1, 4, 4, 0])


def test_folded_spectrum_holds_the_full_variance(rate):
    """Its integral up to half the sampling rate is the variance; 3,000 folds leave out 3e-4."""
    fs = 4.6875e6
    f = (np.arange(400) + 0.5) * fs / 800
    total = closed_noise.folded_spectrum(1e-13, 1 / rate, 0.5, 0.2, f, fs).sum() * fs / 800
    assert total == pytest.approx(1e-13 * rate / (4 * 0.5 * 0.8), rel=1e-3)


def test_the_strongest_sine_is_found():
    t = np.arange(256) / 5e6
    record = 0.2 + 0.4 * np.sin(2 * np.pi * 1.2345e6 * t + 0.7) + 0.01 * np.sin(2 * np.pi * 0.3e6 * t)
    frequency, amplitude = closed_converters.strongest(record, 5e6)
    assert frequency == pytest.approx(1.2345e6, abs=50)
    assert amplitude == pytest.approx(0.4, abs=1e-3)
