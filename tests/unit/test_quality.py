"""Energy at equal quality, on settings whose answer is seen by eye."""

from dataclasses import replace

import numpy as np
import pytest

from aocsim.roadmap.operations import useful_operations
from aocsim.roadmap.quality import Setting, cheapest, gain, intervals, operations_of

EXPLICIT = [Setting("explicit_euler", n, "converged", w, 0.0, n) for n, w in ((8, 0.3), (16, 0.2), (32, 0.1))]
IMPLICIT = [
    Setting("crank_nicolson", 4, "1", 0.3, 0.0, 8.0),
    Setting("crank_nicolson", 4, "2", 0.2, 0.0, 12.0),
    Setting("crank_nicolson", 4, "8", 0.2, 0.0, 36.0),
    Setting("crank_nicolson", 2, "8", 0.2, 0.0, 6.0),
]
ANALOG = [
    Setting("crank_nicolson", 4, "", 0.19, 0.0, 2.0),
    Setting("crank_nicolson", 8, "", 0.15, 0.0, 4.0),
]


def test_the_cheapest_that_is_good_enough():
    assert cheapest(EXPLICIT, 0.25).steps == 16
    assert cheapest(EXPLICIT, 0.2).steps == 16
    assert cheapest(EXPLICIT, 0.05) is None


def test_the_gain_is_that_of_hardware_times_that_of_the_algorithm():
    """16 explicit evaluations against 12 of the machine's own algorithm with two iterations, which takes it 2."""
    found = gain(EXPLICIT, IMPLICIT, ANALOG, 0.2)
    assert (found.total, found.hardware) == (8.0, 6.0)
    assert found.algorithm == pytest.approx(16 / 12)
    assert found.hardware * found.algorithm == pytest.approx(found.total, rel=1e-15)
    assert found.same.iterations == "2"


def test_nobody_gains_at_a_quality_that_one_side_does_not_reach():
    assert gain(EXPLICIT, IMPLICIT, ANALOG, 0.12) is None
    assert gain(EXPLICIT, IMPLICIT[:1], ANALOG, 0.2) is None
    assert intervals(EXPLICIT, IMPLICIT, ANALOG, 0.12, np.ones((3, 2)), None) is None


def test_the_energy_of_the_machine_moves_the_hardware_alone_and_in_proportion():
    """Halving what the machine takes doubles the hardware's share; a processor's efficiency moves the gain straight."""
    before = gain(EXPLICIT, IMPLICIT, ANALOG, 0.2)
    half = [replace(one, energy=one.energy / 2) for one in ANALOG]
    after = gain(EXPLICIT, IMPLICIT, half, 0.2)
    assert after.hardware == 2 * before.hardware
    assert after.algorithm == before.algorithm
    thrifty = [[replace(one, energy=one.energy / 3) for one in side] for side in (EXPLICIT, IMPLICIT)]
    found = gain(*thrifty, ANALOG, 0.2)
    assert found.total == pytest.approx(before.total / 3)
    assert found.algorithm == pytest.approx(before.algorithm)


def test_intervals_of_energies_are_their_quantiles():
    """Energies lognormal: the gain's 68 % are those of their inverse, and the algorithm has none."""
    factors = np.exp(0.2 * np.random.default_rng(1).standard_normal(4000))
    machines = factors[:, None] * np.array([2.0, 4.0])
    found = intervals(EXPLICIT, IMPLICIT, ANALOG, 0.2, machines, None)
    assert found["total"].value == 8.0
    assert found["total"].low == pytest.approx(8.0 * np.exp(-0.2), rel=0.02)
    assert found["total"].high == pytest.approx(8.0 * np.exp(0.2), rel=0.02)
    assert found["algorithm"].low == found["algorithm"].high == pytest.approx(16 / 12)


def test_an_uncertain_quality_moves_the_choice():
    """A w2 half a standard error below the target is above it in 31 % of the draws: the next setting counts then."""
    analog = [replace(ANALOG[0], w2=0.19, error=0.02), ANALOG[1]]
    implicit = [*IMPLICIT, Setting("crank_nicolson", 8, "1", 0.1, 0.0, 16.0)]
    machines = np.tile([2.0, 4.0], (1000, 1))
    found = intervals(EXPLICIT, implicit, analog, 0.2, machines, np.random.default_rng(2))
    total = found["total"]
    assert (total.low, total.value, total.high) == (4.0, 8.0, 8.0)


def test_operations_are_those_of_the_ledger():
    assert operations_of(16, 621) == useful_operations(16, 621) == 2 * 16 * 621
    assert operations_of(0, 621) == 0
