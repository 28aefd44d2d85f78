"""The rows of the machine's facts fail where one parameter is off, and their own arithmetic is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aocsim.stages import Affine
from aocsim.validate import facts_averaging, facts_light, facts_loop, facts_noise, facts_units
from aocsim.validate.check import Setting
from aocsim.validate.machine_facts import CHECKS, TITLE
from aocsim.validate.setups import without_weights

SETTING = Setting()


@pytest.fixture(scope="module")
def machine():
    return SETTING.build()


def test_names_are_unique():
    names = [check.name for check in CHECKS]
    assert TITLE and len(set(names)) == len(names) > 12


@pytest.mark.parametrize(("alpha", "published"), [(0.0, 5e6), (0.97, 150e3)])
def test_a_pole_5_per_cent_off_is_no_longer_the_published_bandwidth(machine, alpha, published):
    wrong = replace(machine, poles=replace(machine.poles, node=1.05 * machine.poles.node))
    assert facts_loop.bandwidth_row(without_weights(machine, alpha), published, "loop").status == "pass"
    assert facts_loop.bandwidth_row(without_weights(wrong, alpha), published, "loop").status == "fail"


def test_settling_outside_the_published_range_fails():
    assert facts_loop.settling_row(np.full((16, 4), 12e-6)).status == "pass"
    assert facts_loop.settling_row(np.full((16, 4), 9e-6)).status == "fail"


def test_two_modes_are_told_apart():
    rng, t = np.random.default_rng(0), np.linspace(0, 10e-6, 101)
    one, two = rng.standard_normal((2, 7))
    decay = np.exp(-3e5 * t)[:, None] * one + 5 * np.exp(-9e5 * t)[:, None] * two
    assert facts_loop.slowest_decay(t, decay, (5e-6, 10e-6)) == pytest.approx(3e5, rel=1e-6)
    assert facts_loop.rate_of(t, np.exp(-3e5 * t) * 1j) == pytest.approx(3e5)


def test_modes_of_a_jacobian_that_is_5_per_cent_off_fail():
    rng, t = np.random.default_rng(1), np.linspace(0, 10e-6, 101)
    vectors, rates = rng.standard_normal((6, 6)), 1e5 * (3 + np.arange(6))
    jacobian = vectors @ np.diag(-rates) @ np.linalg.inv(vectors)
    path = np.exp(-t[:, None] * rates) @ vectors.T
    assert facts_loop.modes_row(t, path, jacobian, 3).status == "pass"
    assert facts_loop.modes_row(t, path, 1.05 * jacobian, 3).status == "fail"


def test_kick_rates_for_another_gain_fail():
    gains, tau = np.array([0.4, 0.8]), 31.83e-9
    rates = 0.03 * (1 - gains) / tau
    assert facts_loop.kick_row(rates, gains, 0.97, tau).status == "pass"
    assert facts_loop.kick_row(rates, gains + 0.05, 0.97, tau).status == "fail"


def test_a_symmetric_ring_has_its_eigenvalues():
    law = facts_loop.nominal_activation(SETTING.spec())
    values = np.linalg.eigvalsh(facts_loop.symmetric_ring(law, 0.6).matrix)
    assert values.max() == pytest.approx(0.6)
    assert np.sort(np.abs(values))[-3] == pytest.approx(0.2)


def records(white=0.0, systematic=1.0, trials=100):
    """Random errors with a frozen part for each trial and a white part of this share of the variance."""
    rng = np.random.default_rng(2)
    frozen = rng.standard_normal((16, trials, 1, 20)) * np.sqrt(1 - white)
    random = frozen + np.sqrt(white) * rng.standard_normal((16, trials, 26, 20))
    return facts_averaging.Records(random, systematic * np.ones((16, 20)), 400.0)


def test_white_noise_makes_the_window_help():
    assert facts_averaging.window_row(records(white=0.1), 213e-9).status == "pass"
    assert facts_averaging.window_row(records(white=0.4), 213e-9).status == "fail"
    assert facts_noise.white_row(records(white=0.1).random).status == "pass"
    assert facts_noise.white_row(records(white=0.4).random).status == "fail"


def test_trials_that_hang_together_fail():
    counts = np.array([1, 2, 5, 10, 20])
    apart = records()
    together = replace(apart, random=np.repeat(apart.random[:, ::2], 2, axis=1))
    assert facts_noise.trials_row(apart, 1 / counts, counts, 1.0).status == "pass"
    assert facts_noise.trials_row(together, 1 / counts, counts, 1.0).status == "fail"


def test_a_large_systematic_error_leaves_five_trials_without_use():
    assert facts_averaging.gain_row(records(systematic=0.3)).status == "pass"
    assert facts_averaging.gain_row(records(systematic=3.0)).status == "fail"
    assert facts_averaging.beyond_row(records()).status == "pass"
    assert facts_averaging.beyond_row(replace(records(), span=50.0)).status == "fail"


def test_shares_that_do_not_add_up_fail():
    parts = {"all": (1.0, 1.0), "flicker": (0.9, 0.9), "detectors": (0.1, 0.1)}
    assert facts_noise.sum_row(parts).status == facts_noise.flicker_row(parts).status == "pass"
    assert facts_noise.sum_row({**parts, "detectors": (0.3, 0.3)}).status == "fail"
    assert facts_noise.flicker_row({**parts, "flicker": (0.7, 0.7)}).status == "fail"


def test_lines_that_stand_still_do_not_average():
    """A slow line is left whole; without lines 1/k; against the mean of sampled waves of random phase."""
    counts = np.array([1, 5])
    np.testing.assert_allclose(facts_noise.lines_left(counts, 1e-9, np.array([0.2]), 1.0), [1, 0.8 / 5 + 0.2])
    np.testing.assert_allclose(facts_noise.lines_left(counts, 1.0, np.array([0.0]), 3.3), [1, 0.2])
    phase = np.linspace(0, 2 * np.pi, 400, endpoint=False)[:, None]
    waves = np.sqrt(2) * np.cos(2 * np.pi * 0.3 * np.arange(5) + phase)
    found = facts_noise.lines_left(counts, 0.3, np.array([1.0]), 1.0)[1]
    assert found == pytest.approx(float(np.mean(waves.mean(axis=1) ** 2)))


def test_independent_patterns_are_counted():
    rng = np.random.default_rng(3)
    errors = rng.standard_normal((20_000, 5)) @ rng.standard_normal((5, 5))
    same = rng.standard_normal((20_000, 1)) * np.ones(5)
    assert facts_noise.independent(same) == pytest.approx(1.0)
    assert 1.0 < facts_noise.independent(errors) < 5.0
    assert facts_noise.independent(rng.standard_normal((20_000, 5))) == pytest.approx(5.0, rel=0.01)


def test_an_identity_that_lost_no_light_fails(machine):
    opened = facts_light.masks(machine.channels)
    light = facts_light.light_of(machine, opened)
    assert facts_light.sparse_row(light, light, opened).status == "pass"
    wrong = light.copy()
    wrong[-1] *= 1.05
    assert facts_light.sparse_row(wrong, light, opened).status == "fail"


def test_a_ring_whose_units_differ_by_parts_in_a_million_fails():
    rng = np.random.default_rng(4)
    block = rng.standard_normal((5, 9))
    assert facts_units.same_row("ring", block, block).status == "pass"
    assert facts_units.same_row("ring", block * (1 + 1e-6), block).status == "fail"
    assert facts_units.serials_row(block + 0.001, block, block).status == "pass"
    assert facts_units.serials_row(block + 0.1, block, block).status == "fail"


def test_a_unit_that_only_gives_takes_nothing_in():
    """A ring of one source and one unit: the source's nodes see alpha and the drive alone."""
    machine = Setting("ideal48").build()
    n = machine.channels
    weight = np.zeros((2, n, n))
    weight[0] = 0.5
    program = facts_units.Program(weight, np.zeros(n), 25.0, np.arange(n), 1.0)
    loop = facts_units.ring_of(
        [facts_units.Unit(machine, program, None), facts_units.Unit(machine, program, 0)]
    )
    assert loop.channels == 2 * n
    matrices = [s.matrix for arm in loop.arms for s in arm.stages if isinstance(s, Affine)]
    assert not any(m[:n].any() for m in matrices if m.shape == (2 * n, n))
    state = np.random.default_rng(5).uniform(-0.3, 0.3, (1, 2 * n))
    jacobian = loop.jacobian(state, np.zeros_like(state))[0]
    assert not jacobian[:n, n:].any() and jacobian[n:, :n].all()
