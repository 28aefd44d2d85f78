"""The digital reference: energy in proportion to operations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.asbuilt import AsBuilt
from aocsim.components.processor import Processor
from aocsim.library import Library


def test_limit_no_operations_take_no_energy():
    assert Processor(4.5e12).energy(0.0) == 0.0
    with pytest.raises(ValueError, match="negative"):
        Processor(4.5e12).energy(-1.0)


@given(st.floats(1e6, 1e18), st.floats(0.0, 1e30), st.floats(1.0, 1e3))
def test_property_energy_is_linear_in_operations(efficiency, operations, factor):
    one = Processor(efficiency)
    assert one.energy(factor * operations) == pytest.approx(factor * one.energy(operations), rel=1e-12)


def test_published_efficiency():
    """4.5 TOPS/W, the paper's reference: 0.222 pJ an operation."""
    part = AsBuilt(Library.open().part("gpu_reference"), "aoc48", "reference", None, 48)
    assert Processor.build(part).energy(1.0) == pytest.approx(0.2222e-12, rel=1e-3)
