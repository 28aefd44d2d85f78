"""The roadmap's noise formula against real parts in the time domain, where both can be done."""

import numpy as np
import pytest

from aocsim.roadmap.chain import Chain, Weights
from aocsim.roadmap.noise import WHITE, variances
from aocsim.roadmap.projection import Case
from aocsim.roadmap.simulate import simulate

WEIGHTS = Weights(0.5, 0.25)


def by_formula(machine, channels, bandwidth=5e6):
    work = Case(0.97, WEIGHTS, 1.0, 0.3, 0.01).at(channels, bandwidth)
    return sum(variances(Chain.of(machine), machine.slm, work)[source] for source in WHITE)


@pytest.mark.parametrize(
    ("channels", "matrices"), [(16, 6), (48, 2), pytest.param(256, 1, marks=pytest.mark.slow)]
)
def test_formula_and_time_domain_agree(spec_of, machine_of, channels, matrices):
    """Root mean squares within 5 %; noise drawn along the way and the covariance within what is drawn."""
    found = simulate(
        spec_of("aoc48"), channels, WEIGHTS, 0.97, bandwidth=5e6, seed=3, matrices=matrices, solves=32
    )
    assert abs(found.drawn - found.linear) < 4 * found.standard_error + 0.02 * found.linear
    assert np.sqrt(by_formula(machine_of("aoc48"), channels) / found.drawn) == pytest.approx(1.0, abs=0.05)


def test_the_comparison_would_see_a_wrong_power_of_the_channels(spec_of, machine_of):
    """From 16 to 48 channels the variance grows threefold, and not ninefold or not at all."""
    few, more = (
        simulate(spec_of("aoc48"), n, WEIGHTS, 0.97, bandwidth=5e6, seed=3, solves=16, matrices=2)
        for n in (16, 48)
    )
    assert more.linear / few.linear == pytest.approx(3.0, rel=0.15)
    assert by_formula(machine_of("aoc48"), 48) / by_formula(machine_of("aoc48"), 16) == pytest.approx(3.0)
