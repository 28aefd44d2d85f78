"""The projected module: its amplifier's limit, powers in proportion, and the sheets' panels."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.asbuilt import AsBuilt
from aocsim.components.module import ProjectedModule
from aocsim.library import Library


@cache
def module(name="module_metasurface"):
    return ProjectedModule.build(AsBuilt(Library.open().part(name), "aoc48", "module", None, 48))


def test_limit_the_machines_own_amplifier_obeys_the_transimpedance_limit(machine_of):
    """10 kohm and 20 pF at 30 MHz want a gain-bandwidth product of 1.13 GHz, a common fast amplifier's."""
    detector = machine_of("aoc48").detector
    like = replace(
        module(),
        amplifier_gain_bandwidth=1.131e9,
        detector_capacitance=detector.input_capacitance,
        amplifier_over_node=detector.amplifier_bandwidth / 5e6,
    )
    assert like.feedback_resistance(5e6) == pytest.approx(detector.feedback_resistance, rel=1e-3)


@given(st.integers(1, 4000), st.floats(1e6, 3e10), st.floats(1e-9, 1e-3), st.floats(0.1, 100.0))
def test_property_powers_are_in_proportion(channels, bandwidth, step, light):
    def powers(*arguments):
        return {load.consumer: load.value for load in module().power(*arguments)}

    one, lit = powers(channels, bandwidth, step), powers(channels, bandwidth, step, light)
    wide, wider = powers(2 * channels, bandwidth, step), powers(channels, 2 * bandwidth, step)
    for name, value in one.items():
        per_channel = name not in ("panels", "controller")
        assert wide[name] == pytest.approx(value * (2 if per_channel else 1), rel=1e-12)
        by_band = name in ("transimpedance amplifiers", "channel electronics")
        assert wider[name] == pytest.approx(value * (2 if by_band else 1), rel=1e-12)
        assert lit[name] == pytest.approx(
            value * (light if name in ("emitters", "drivers") else 1), rel=1e-12
        )


def test_published_panels():
    """A thousand by a thousand on 4 megapixels at 4 pixels a weight; 4 M weights on 9.5 megapixels."""
    assert module("module_lcos").most_channels == 1000
    assert module().most_channels == 2000
    assert module().most_weights == pytest.approx(4e6)
