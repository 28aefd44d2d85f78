"""The published projection: its numbers hang together."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.asbuilt import AsBuilt
from aocsim.components.published import Published
from aocsim.library import Library


def published():
    return Published.build(AsBuilt(Library.open().part("roadmap_published"), "aoc48", "published", None, 48))


def test_limit_one_module_holds_all():
    alone = replace(published(), modules=1.0)
    assert alone.weights_per_module == alone.weights
    assert alone.channels == pytest.approx(10_000.0)


@given(st.floats(1e6, 1e12), st.floats(1.1, 100.0))
def test_property_steps_shorten_as_the_loop_gets_faster(bandwidth, factor):
    assert published().step(factor * bandwidth) == pytest.approx(
        published().step(bandwidth) / factor, rel=1e-12
    )


def test_published_chain():
    """4 M weights a module, 2 GHz, 16 mW a channel; 400 POPS at 800 W are the 500 TOPS/W; steps of 31, 6.3, 2.1 ns."""
    found = published()
    assert found.weights_per_module == pytest.approx(4e6)
    assert found.bandwidth == pytest.approx(2e9)
    assert found.power_per_channel == pytest.approx(16e-3)
    assert found.rate / found.total_power == pytest.approx(found.efficiency)
    assert [found.step(f * 1e9) * 1e9 for f in (2, 10, 30)] == pytest.approx([31.25, 6.25, 2.083], rel=1e-3)
