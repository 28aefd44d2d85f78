"""As-built mismatch: repeatable, independent between parts, of the size that the sheet states."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from aocsim.asbuilt import AsBuilt, aperture
from aocsim.machine import Machine

ROLES = ("pair", "led", "optics", "slm", "detector", "gains", "node", "poles", "dac", "digitiser", "memory")
CHANGES = {
    "pair": {"tail_current.spread": "5 %"},
    "led": {"bias_current": "11 mA"},
    "optics": {"row_ripple.spread": "1 %", "column_width": "0.9"},
    "slm": {"sheet": "slm_ideal"},
    "detector": {"output_efficiency.spread": "0 %"},
    "gains": {"offset": "1 mV"},
    "node": {"rail_high": "2.9 V"},
    "poles": {"sheet": "poles_all"},
    "dac": {"bits": "12"},
    "digitiser": {"effective_bits": "11"},
    "memory": {"pedestal.spread": "0.2 mV"},
}


def numbers(part):
    """All numbers of a part, flat, by the name of the field."""
    out = {}
    for item in fields(part):
        value = getattr(part, item.name)
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            for k, one in enumerate(value):
                out |= {f"{item.name}.{k}.{key}": v for key, v in numbers(one).items()}
        else:
            out[item.name] = np.asarray(value, dtype=float)
    return out


def same(one, other):
    a, b = numbers(one), numbers(other)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@settings(max_examples=5)
@given(st.integers(0, 2**63))
def test_property_same_name_and_serial_same_machine(spec_of, serial):
    spec = spec_of("aoc48", channels=8)
    one, two = Machine.build(spec, serial), Machine.build(spec, serial)
    other = Machine.build(spec, serial + 1)
    assert all(same(getattr(one, role), getattr(two, role)) for role in ROLES)
    assert not same(one.optics, other.optics)
    assert not same(one.pair, other.pair)


@pytest.mark.parametrize("changed", ROLES)
def test_a_changed_part_leaves_all_others_bit_identical(machine_of, changed):
    before = machine_of("aoc48", serial=7)
    after = machine_of("aoc48", serial=7, **{changed: CHANGES[changed]})
    assert not same(getattr(before, changed), getattr(after, changed))
    for role in ROLES:
        if role != changed:
            assert same(getattr(before, role), getattr(after, role)), role


def test_a_changed_spread_scales_the_same_draw(machine_of):
    narrow = machine_of("aoc48", serial=7).gains.closed_loop_gain / 0.73 - 1
    wide = (
        machine_of("aoc48", serial=7, gains={"closed_loop_gain.spread": "6.8 %"}).gains.closed_loop_gain
        / 0.73
        - 1
    )
    np.testing.assert_allclose(wide, 2 * narrow, rtol=1e-9)


ENTRIES = [
    ("pair", "tail_current", "channel"),
    ("pair", "input_offset", "channel"),
    ("optics", "row_ripple", "channel"),
    ("optics", "pixel_structure", "pixel"),
    ("slm", "contrast", "channel_arm"),
    ("slm", "stray_light", "channel_arm"),
    ("detector", "output_efficiency", "channel_arm"),
    ("gains", "closed_loop_gain", "channel"),
    ("gains", "offset", "channel"),
    ("poles", "node", "channel"),
    ("memory", "pedestal", "channel"),
    ("memory", "droop_rate", "channel"),
]


@pytest.mark.parametrize(("role", "entry", "level"), ENTRIES)
def test_spread_within_chi_square_bounds(spec_of, role, entry, level):
    """Deviations over the sheet's spread: sum of squares between the 0.01 % and 99.99 % points of chi-square."""
    spec = spec_of("aoc48").parts[role]
    sheet = spec[entry]
    assert sheet.per == level
    squares, count = 0.0, 0
    for serial in range(1, 9):
        drawn = AsBuilt(spec, "aoc48", role, serial, 48).array(entry, level)
        base = np.asarray(sheet.value, dtype=float)
        base = base.reshape(base.shape + (1,) * (drawn.ndim - base.ndim)) if base.ndim else base
        sigma = sheet.spread * (np.abs(base) if sheet.spread_is_relative else 1.0)
        squares += float((((drawn - base) / sigma) ** 2).sum())
        count += drawn.size
    low, high = chi2.ppf([1e-4, 1 - 1e-4], count)
    assert low < squares < high


def test_nominal_machine_has_no_mismatch(machine_of):
    nominal = machine_of("aoc48")
    for values in (nominal.pair.swing, nominal.gains.offset, nominal.poles.node):
        assert np.ptp(values) == 0
    assert np.ptp(nominal.optics.structure) == 0
    assert nominal.optics.dead == ()


@pytest.mark.parametrize("channels", [2, 3, 16, 48, 256])
def test_any_channel_count_builds(machine_of, channels):
    machine = machine_of("aoc48", serial=1, channels=channels)
    assert machine.optics.fan().shape == (2, channels, channels)
    assert machine.pair.swing.shape == (channels,)
    assert len(machine.optics.dead) == round(0.0208 * channels)
    assert np.isfinite(machine.optics.fan()).all()


@pytest.mark.parametrize("channels", [2, 16, 48, 256])
def test_aperture_is_normalised(channels):
    x = aperture(channels)
    np.testing.assert_allclose(x, -x[::-1], atol=1e-15)
    np.testing.assert_allclose(np.diff(x), 2 / channels, rtol=1e-12)
    assert np.abs(x).max() == pytest.approx(1 - 1 / channels)


def test_same_profile_at_the_same_place_of_any_aperture(machine_of):
    """Normalised aperture: 16 and 48 channels sample the same nominal profiles (channel 3 k + 1 of 48 is k of 16)."""
    few, many = machine_of("aoc48", channels=16).optics, machine_of("aoc48").optics
    np.testing.assert_allclose(few.row, many.row[:, 1::3], rtol=1e-12)
    np.testing.assert_allclose(few.column, many.column[:, 1::3], rtol=1e-12)


def test_a_list_of_two_is_for_the_arms(machine_of):
    machine = machine_of("aoc48")
    x = (np.arange(48) - 23.5) / 24
    for arm, (mean, tilt, curvature) in enumerate(((0.0585, 0.60, 0.23), (0.0725, 0.19, 0.21))):
        expected = mean * (1 + tilt * x + curvature * x**2)
        np.testing.assert_allclose(machine.slm.stray_light[arm], expected, rtol=1e-12)


def test_two_channels_are_not_taken_for_two_arms(machine_of):
    """On a machine of 2 channels a draw per channel has the shape of one per arm: (arm, channel) must not mix."""
    optics = machine_of("aoc48", serial=1, channels=2, optics={"row_arm_ripple.spread": "0 %"}).optics
    np.testing.assert_allclose(optics.row[0], optics.row[1], rtol=1e-14)
    assert optics.row[0, 0] != pytest.approx(optics.row[0, 1], rel=1e-3)
