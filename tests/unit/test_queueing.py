"""Closed forms of queues against recursions that know nothing of them, with the sampling error that those have."""

import math

import numpy as np
import pytest

from aocsim.roadmap.queueing import cycle_time, flow_shop, mean_wait, waits


def arrivals_at(load, servers, count=200_000, seed=1):
    gaps = np.random.default_rng(seed).exponential(1 / (load * servers), count)
    return np.cumsum(gaps)


@pytest.mark.parametrize("load", [0.0, 0.1, 0.5, 0.9])
def test_one_server_is_pollaczek_and_khinchine(load):
    assert mean_wait(load / 2.0, 2.0, 1) == pytest.approx(load * 2.0 / (2 * (1 - load)), rel=1e-9)


@pytest.mark.parametrize(("load", "servers"), [(0.5, 1), (0.8, 1), (0.5, 4), (0.8, 4), (0.85, 16)])
def test_random_arrivals_wait_as_crommelin_says(load, servers):
    """Means over 40 parts of the recursion give its standard error; within four of them."""
    found = waits(arrivals_at(load, servers), 1.0, servers)[10_000:]
    means = found[: len(found) // 40 * 40].reshape(40, -1).mean(axis=1)
    error = means.std(ddof=1) / math.sqrt(40)
    assert error < 0.1 * means.mean()
    assert mean_wait(load * servers, 1.0, servers) == pytest.approx(means.mean(), abs=4 * error)


def test_regular_arrivals_do_not_wait():
    """D/D/c below full load."""
    times = np.arange(50) * 0.26
    np.testing.assert_allclose(waits(times, 1.0, 4), 0.0, atol=1e-12)
    assert waits(times, 1.2, 4)[-1] > 1.0


def test_a_full_server_never_catches_up():
    assert mean_wait(1.0, 1.0, 1) == math.inf
    assert mean_wait(4.1, 1.0, 4) == math.inf


def test_the_slowest_circuit_sets_the_pace():
    stations = {"dac": (1.0, 1), "loop": (8.0, 4), "host": (3.0, 1)}
    assert cycle_time(12.0, 8, stations) == (3.0, "host")
    assert cycle_time(12.0, 3, stations) == (4.0, "in flight")
    assert cycle_time(12.0, 8, {**stations, "loop": (8.0, 2)}) == (4.0, "loop")


def test_equal_jobs_in_a_flow_shop_by_the_recursion():
    """Completion times C[b, k] = max(C[b-1, k], C[b, k-1]) + D_k."""
    stages = np.array([1.0, 4.0, 2.0, 3.0])
    done = np.zeros(len(stages))
    for _ in range(9):
        before = 0.0
        for k, stage in enumerate(stages):
            before = done[k] = max(done[k], before) + stage
    assert flow_shop(stages, 9) == done[-1]
