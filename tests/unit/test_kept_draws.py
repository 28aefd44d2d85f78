"""Draws that the points of a study have in common: the same numbers, kept as long as the study lasts."""

import numpy as np
import pytest

from aocsim.solve import kept_draws
from aocsim.solve.draws import fill_counted, key_schedule

KEYS = key_schedule(3, "test.common")
NUMBERS = np.array([[1, 2, 0], [1, 2, 1]])


@pytest.fixture(autouse=True)
def nothing_left():
    kept_draws.keep_draws("")
    yield
    kept_draws.keep_draws("")


def drawn(numbers=NUMBERS, shape=(2, 7, 3), keys=KEYS):
    return kept_draws.standard_normals(keys, numbers, shape)


def test_kept_draws_are_those_of_the_counters():
    expected = np.empty((2, 21), dtype=np.float32)
    fill_counted(KEYS, NUMBERS, expected)
    np.testing.assert_array_equal(drawn(), expected.reshape(2, 7, 3))
    for owner in ("a", "a", "b"):
        with kept_draws.draws_in_common(owner):
            np.testing.assert_array_equal(drawn(), expected.reshape(2, 7, 3))
    assert drawn(NUMBERS[:0], (0, 7, 3)).shape == (0, 7, 3)


def test_they_are_drawn_once_for_an_owner_and_for_no_other():
    assert drawn() is not drawn()
    with kept_draws.draws_in_common("a"):
        first = drawn()
        assert drawn() is first
        others = (
            drawn(NUMBERS + np.array([0, 0, 1])),
            drawn(shape=(2, 21)),
            drawn(keys=key_schedule(4, "test.common")),
        )
        assert all(other is not first for other in others)
    with kept_draws.draws_in_common("a"):
        assert drawn() is first
    with kept_draws.draws_in_common("b"):
        assert drawn() is not first


def test_what_runs_between_blocks_neither_finds_nor_adds_any():
    with pytest.raises(RuntimeError), kept_draws.draws_in_common("a"):
        first = drawn()
        raise RuntimeError
    assert drawn() is not first
    between = drawn(NUMBERS + np.array([0, 1, 0]))
    with kept_draws.draws_in_common("a"):
        assert drawn() is first
        assert drawn(NUMBERS + np.array([0, 1, 0])) is not between


def test_no_more_are_kept_than_the_limits_say(monkeypatch):
    monkeypatch.setattr(kept_draws, "KEPT", 3 * drawn().nbytes)
    steps = [NUMBERS + np.array([step, 0, 0]) for step in range(4)]
    with kept_draws.draws_in_common("a"):
        kept = [drawn(step) for step in steps]
        assert [drawn(step) is one for step, one in zip(steps, kept, strict=True)] == [
            True,
            True,
            True,
            False,
        ]
    monkeypatch.setattr(kept_draws, "LARGEST", drawn().nbytes - 1)
    with kept_draws.draws_in_common("b"):
        assert drawn() is not drawn()
