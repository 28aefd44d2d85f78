"""Repeats of a drive by the linearised loop: against its covariance, noise through the laws, and invariances."""

from itertools import pairwise

import numpy as np
import pytest

from aocsim.compose import compose, trimmed_exactly
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.solve.integrators import integrate
from aocsim.solve.linear_ensemble import integrate_linearised, parts_of
from aocsim.solve.linear_noise import read_out_covariance
from aocsim.solve.stochastic import integrate_stochastic

TIMES = np.arange(24) / 4.6875e6
INTERVAL = TIMES[1]
N = 48


@pytest.fixture(scope="module")
def case():
    """The typical machine with random weights, alpha 0.8, from rest at 0 V to about the knee."""
    machine = Machine.build(Library.open().machine("aoc48"), serial=5)
    weights = np.random.default_rng(0).uniform(size=(2, N, N))
    program = Program(weights, np.full(N, 0.8), 4.0, np.arange(N), 1.0)
    loop = compose(machine, program, trimmed_exactly(machine, program))
    drive = np.random.default_rng(1).normal(0, 0.06, (2, N))
    return loop, np.zeros((2, N)), drive


def repeated(case, repeats=64, step=INTERVAL / 4, seed=3, **rest):
    return integrate_linearised(*case, TIMES, repeats=repeats, step=step, seed=seed, **rest)


def total(values):
    """Variance in three windows of time, over all channels, (3,) V^2."""
    return np.array([values[1:4].mean(), values[4:10].mean(), values[10:].mean()])


@pytest.fixture(scope="module")
def many(case):
    return repeated(case, repeats=1500)


def test_variance_and_lag_are_those_of_the_linearised_loop(case, many):
    """Of 8 linearisations an interval, by SciPy's DOP853; 1,500 repeats of 48 channels know a total to 1 %."""
    loop, state, drive = case
    for d in range(2):
        covariance = read_out_covariance(loop, state[d], drive[d], TIMES)
        variance = np.einsum("aiai->ai", covariance)
        lagged = np.array([np.diagonal(covariance[k, :, k + 1]) for k in range(len(TIMES) - 1)])
        delta = many[d] - many[d].mean(axis=0)
        np.testing.assert_allclose(total((delta**2).mean(axis=0)), total(variance), rtol=0.03)
        np.testing.assert_allclose(
            total((delta[:, :-1] * delta[:, 1:]).mean(axis=0)), total(lagged), rtol=0.03
        )


def test_mean_is_the_noiseless_transient(case, many):
    loop, state, drive = case
    quiet = integrate(loop, state, drive, TIMES, rtol=1e-8, atol=1e-10).state
    spread = many.std(axis=1)
    assert np.sqrt(np.mean((many.mean(axis=1) - quiet)[:, 1:] ** 2 / spread[:, 1:] ** 2 * 1500)) < 1.1
    assert np.array_equal(many[:, :, 0], np.zeros((2, 1500, N)))


def test_agrees_with_noise_that_goes_through_the_laws(case, many):
    loop, state, drive = case
    each = [np.repeat(array, 500, axis=0) for array in (state, drive)]
    through = integrate_stochastic(loop, *each, TIMES, step=INTERVAL / 8, seed=3).reshape(
        2, 500, len(TIMES), N
    )
    for d in range(2):
        np.testing.assert_allclose(total(many[d].var(axis=0)), total(through[d].var(axis=0)), rtol=0.04)


def test_neither_threads_nor_the_cut_change_a_solve(case):
    whole = repeated(case, repeats=70)
    assert np.array_equal(whole, repeated(case, repeats=70, threads=2))
    second = repeated((case[0], case[1][1:], case[2][1:]), repeats=70, first=70)
    assert np.array_equal(second[0], whole[1])
    assert not np.array_equal(whole, repeated(case, repeats=70, seed=4))
    assert not np.array_equal(whole[0, 0], whole[0, 1])


@pytest.mark.parametrize(("intervals", "every"), [(1, 1), (89, 1), (89, 4), (7, 16), (500, 3)])
def test_parts_fill_the_record_and_do_not_outgrow_it(intervals, every):
    """Whole intervals, or pieces of one, none longer than a quarter of the time before it."""
    edges = parts_of(intervals, every)
    lengths = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == intervals * every and (lengths > 0).all()
    assert (lengths <= np.maximum(1, edges[:-1] / 4)).all()
    wide = lengths > every
    assert not (lengths[wide] % every).any() and not (edges[:-1][wide] % every).any()
    assert set(range(0, intervals * every + 1, every)) <= set(edges) | {
        k for a, b in pairwise(edges) if b - a > every for k in range(a, b, every)
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"step": INTERVAL / 2.5}, "whole fraction"),
        ({"step": 0.0}, "whole fraction"),
        ({"step": np.nan}, "whole fraction"),
        ({"repeats": 0}, "repeats and threads must be 1 or more"),
        ({"threads": 0}, "repeats and threads must be 1 or more"),
        ({"seed": -1}, "seed must be in"),
        ({"first": 2**32}, "numbered in"),
    ],
)
def test_bad_input_is_refused(case, changes, told):
    with pytest.raises(ValueError, match=told):
        repeated(case, **changes)


def test_instants_must_be_equidistant(case):
    with pytest.raises(ValueError, match="equidistant"):
        integrate_linearised(*case, TIMES**2, repeats=2, step=INTERVAL, seed=0)
