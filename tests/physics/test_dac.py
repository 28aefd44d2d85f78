"""The DAC: rounding, clipping, the machine's range."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.components.dac import Dac

volts = st.floats(-3.0, 3.0)


def test_limit_without_rounding_only_clips(machine_of):
    dac = Dac(full_scale=1.3, bits=0, update_time=1e-6)
    v = np.linspace(-2.0, 2.0, 401)
    np.testing.assert_array_equal(dac.response(v), np.clip(v, -1.3, 1.3))
    ideal = machine_of("ideal48").dac
    np.testing.assert_array_equal(ideal.response(v), v)


@given(volts, volts)
def test_property_monotone_and_within_half_a_step(machine_of, one, two):
    dac = machine_of("aoc48").dac
    step = 2.6 / 2**16
    out = dac.response(np.array([one, two]))
    assert (out[0] - out[1]) * (one - two) >= 0
    inside = np.clip([one, two], -1.3, 1.3 - step)
    assert np.all(np.abs(out - inside) <= step / 2 + 1e-12)
    np.testing.assert_array_equal(dac.response(out), out)


def test_all_codes_of_a_small_converter():
    """3 bits over +-1 V: the eight codes -1, -0.75, ..., 0.75, and no ninth."""
    dac = Dac(full_scale=1.0, bits=3, update_time=0.0)
    assert sorted(set(dac.response(np.linspace(-2.0, 2.0, 4001)).tolist())) == [
        -1 + 0.25 * k for k in range(8)
    ]


def test_published_resolution_and_range(machine_of):
    """16 bit over +-1.3 V: 39.67 uV a step; clipped at the ends."""
    dac = machine_of("aoc48").dac
    steps = np.unique(np.round(np.diff(np.unique(dac.response(np.linspace(0.0, 1e-3, 4001)))), 10))
    np.testing.assert_allclose(steps, 39.673e-6, rtol=1e-4)
    np.testing.assert_allclose(dac.response(np.array([-9.0, 9.0])), [-1.3, 1.3 - 39.673e-6], rtol=1e-7)
    assert dac.update_time == pytest.approx(1e-6)
