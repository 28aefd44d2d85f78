"""The controller: two loads that no channel count changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.asbuilt import AsBuilt
from aocsim.components.controller import Controller
from aocsim.library import Library

powers = st.floats(1e-6, 1e4)


def test_limit_without_host_only_the_sequencer_takes_anything():
    sequencer, host = Controller(sequencer_power=3.0, host_power=0.0).power(48)
    assert (sequencer.value, host.value) == (3.0, 0.0)


@given(powers, powers, st.integers(2, 4096))
def test_property_one_for_the_whole_machine(sequencer, host, channels):
    loads = Controller(sequencer, host).power(channels)
    assert [load.value for load in loads] == [sequencer, host]
    assert {load.dimension for load in loads} == {"watt"}


def test_published_sheet_is_read_in_watts():
    """The shipped sheet says 10 W each; nothing is published of either."""
    part = AsBuilt(Library.open().part("controller"), "aoc48", "controller", None, 48)
    assert [load.value for load in Controller.build(part).power(48)] == pytest.approx([10.0, 10.0])
