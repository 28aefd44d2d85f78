"""The digitiser: record, window, quantisation noise, effective bits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.components.digitiser import Digitiser


def digitiser(bits=8, effective_bits=np.inf, full_scale=1.0):
    return Digitiser(1e6, 100, 10e-6, 20e-6, 1.0, full_scale, bits, effective_bits, 0.0, 0.0)


def test_limit_ideal_converter_reports_what_it_sees(machine_of):
    ideal = machine_of("ideal48").digitiser
    z = np.random.default_rng(0).standard_normal((90, 48))
    np.testing.assert_array_equal(ideal.quantise(z), z)
    assert ideal.noise == 0.0


def test_limit_a_converter_as_good_as_its_bits_has_no_noise_of_its_own():
    assert digitiser(bits=12, effective_bits=12.0).noise == 0.0
    assert digitiser(bits=12, effective_bits=13.0).noise == 0.0


@settings(max_examples=30)
@given(st.floats(-9.0, 9.0))
def test_property_error_within_half_a_step_or_clipped(machine_of, z):
    converter = machine_of("aoc48").digitiser
    span = 2.0 * 2.0
    step = 2 * span / 2**16
    found = float(converter.quantise(np.array(z)))
    assert abs(found - np.clip(z, -span, span - step)) <= step / 2 + 1e-12


@settings(max_examples=30)
@given(st.integers(4, 16), st.floats(0.0, 3.0))
def test_property_noise_of_lost_bits(bits, lost):
    """Rounding and own noise together are those of an ideal converter with ENOB bits."""
    converter = digitiser(bits=bits, effective_bits=bits - lost)
    rounding = (2.0 / 2**bits) ** 2 / 12
    total = (2.0 / 2 ** (bits - lost)) ** 2 / 12
    assert converter.noise**2 + rounding == pytest.approx(total, rel=1e-12)


def test_quantisation_noise_of_a_busy_signal():
    """Uniform signal over the range: FS/(2^N sqrt 12) rms; 4 million points, 0.2 %."""
    converter = digitiser(bits=8)
    z = np.random.default_rng(1).uniform(-0.99, 0.99, 4_000_000)
    rms = np.sqrt(np.mean((converter.quantise(z) - z) ** 2))
    assert rms == pytest.approx(2.0 / (2**8 * np.sqrt(12)), rel=2e-3)


def test_window_holds_both_ends():
    assert digitiser().window == slice(10, 21)
    late = replace(digitiser(), window_stop=1.0)
    assert late.window == slice(10, 100)


def test_published_record_and_window(machine_of):
    """90 samples at 4.6875 MHz, indices 61 to 83: 13.01 to 17.71 us, 68 % and 93 % of 19.2 us."""
    converter = machine_of("aoc48").digitiser
    times = converter.times
    assert len(times) == 90
    assert len(times) / converter.sample_rate == pytest.approx(19.2e-6, rel=1e-12)
    inside = times[converter.window]
    assert (converter.window.start, converter.window.stop) == (61, 84)
    assert inside[0] == pytest.approx(13.01e-6, abs=5e-9)
    assert inside[-1] == pytest.approx(17.71e-6, abs=5e-9)
    assert inside[0] / 19.2e-6 == pytest.approx(0.68, abs=0.005)


def test_published_scale_and_effective_bits(machine_of):
    """z = 2.0 x converter volts; ENOB 12 to 12.5 over +-2 V is 0.40 to 0.56 mV at the node."""
    converter = machine_of("aoc48").digitiser
    assert converter.input_scale == 2.0
    span = 2 * 2.0 * 2.0
    assert span / (2**12.5 * np.sqrt(12)) < converter.noise < span / (2**12 * np.sqrt(12))


@pytest.mark.parametrize("bits", [0, 1, 8, 12])
def test_digitising_in_place_is_quantising_volts_and_noise(bits):
    """Bit for bit, beyond the ends too, whatever the shape."""
    rng = np.random.default_rng(bits)
    one = digitiser(bits=bits, full_scale=0.5)
    node, normals = rng.standard_normal((2, 3, 5, 7)), rng.standard_normal((3, 5, 7)).astype(np.float32)
    spread = rng.uniform(0.0, 0.1, 7)
    got = node[0].copy()
    one.digitise(got, spread, normals)
    np.testing.assert_array_equal(got, one.quantise(node[0] + spread * normals))
    with pytest.raises(ValueError, match="one piece"):
        one.digitise(got[:, ::2], spread, normals[:, ::2])
