"""Worker processes that are ended early, and those that come after them."""

from __future__ import annotations

import time

import pytest

from aocsim import parallel


@pytest.mark.parametrize("ordered", [True, False])
def test_who_stops_listening_ends_the_workers_and_can_begin_anew(ordered: bool) -> None:
    found = parallel.parallel(time.sleep, [0.0, 0.0, *[60.0] * 6], 2, ordered=ordered)
    assert next(found) is None
    began = time.monotonic()
    found.close()
    assert time.monotonic() - began < 20
    assert sorted(parallel.parallel(abs, [1, -2, 3], 2, ordered=ordered)) == [1, 2, 3]
    parallel.stop_workers()
    parallel.stop_workers()  # none are left: nothing is done


def test_work_that_fails_ends_the_workers_and_they_can_begin_anew() -> None:
    with pytest.raises(ValueError, match="math domain"):
        list(parallel.parallel(_fails, [1, -1], 2))
    assert list(parallel.parallel(abs, [-4, 5], 2)) == [4, 5]
    parallel.stop_workers()


def _fails(number: int) -> int:
    if number < 0:
        raise ValueError("math domain")
    return number
