"""Worker processes that are ended early, and those that come after them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

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


def test_an_interrupt_waits_until_the_workers_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another thread, as those of a BLAS library, takes the signal that this one has blocked."""
    whole, stop = [], threading.Event()

    def starting(**settings: object) -> Callable[[object], None]:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # whoever takes it has done so by then
        whole.append(settings)
        return lambda jobs: None

    monkeypatch.setattr(parallel, "_started", 0)
    monkeypatch.setattr(parallel, "Parallel", starting)
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            parallel._start(2)
    finally:
        stop.set()
        other.join()
    assert whole == [{"n_jobs": 2}]


def _in_a_worker(number: int) -> list[int]:
    return list(parallel.parallel(abs, [number, -1], 2))


def test_a_worker_can_ask_for_workers() -> None:
    """They are threads in it."""
    assert list(parallel.parallel(_in_a_worker, [-3, 4], 2)) == [[3, 1], [4, 1]]
    parallel.stop_workers()


def _fails(number: int) -> int:
    if number < 0:
        raise ValueError("math domain")
    return number
