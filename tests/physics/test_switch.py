"""Crosspoints: in proportion to what they connect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.asbuilt import AsBuilt
from aocsim.components.switch import Switch
from aocsim.library import Library


def test_limit_nothing_connected_takes_nothing():
    (load,) = Switch(0.01, 1e-7, 3e8, 1e-9).power(0)
    assert load.value == 0.0


@given(st.floats(1e-9, 10.0), st.integers(1, 2048), st.integers(1, 2048))
def test_property_powers_of_parts_add_up(power, one, other):
    switch = Switch(power, 0.0, 3e8, 1e-9)
    (whole,), (a,), (b,) = (switch.power(n) for n in (one + other, one, other))
    assert whole.value == pytest.approx(a.value + b.value, rel=1e-12)


def test_published_sheet_closes_48_channels():
    """48 closed crosspoints of the shipped sheet's 10 mW are 0.48 W."""
    switch = Switch.build(AsBuilt(Library.open().part("switch"), "aoc48", "switch", None, 48))
    assert switch.power(48)[0].value == pytest.approx(0.48)
    assert switch.switching_time == pytest.approx(100e-9)
