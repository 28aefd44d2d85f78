"""Worker processes that are ended early, and those that come after them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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


MORE_THAN_ARE_HANDED_OUT = """
import time
from joblib.externals.loky import get_reusable_executor
from aocsim import parallel
list(parallel.parallel(abs, [1, 2], 2))
tasks = [get_reusable_executor(reuse=True).submit(time.sleep, 60) for _ in range(50)]
time.sleep(1)
parallel.stop_workers()
assert all(task.done() for task in tasks)
assert sorted(parallel.parallel(abs, [1, -2, 3], 2)) == [1, 2, 3]
parallel.stop_workers()
"""


def test_tasks_that_were_never_handed_out_are_no_fault() -> None:
    """loky looks up what it has cancelled: a KeyError told on stderr, and queues left behind."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MORE_THAN_ARE_HANDED_OUT], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began < 30


def test_a_worker_that_keeps_memory_on_purpose_is_not_replaced() -> None:
    """joblib takes 300 MB for a leak, and looks after every second."""
    parallel.stop_workers()
    who = set(parallel.parallel(_keeps, [400] * 6, 2))
    assert len(who) <= 2
    parallel.stop_workers()


_kept: list[bytes] = []


def _keeps(megabytes: int) -> int:
    if not _kept:
        _kept.append(b"1" * (megabytes * 10**6))
    time.sleep(1.1)
    return os.getpid()


def test_a_worker_can_ask_for_workers() -> None:
    """They are threads in it."""
    assert list(parallel.parallel(_in_a_worker, [-3, 4], 2)) == [[3, 1], [4, 1]]
    parallel.stop_workers()


def _fails(number: int) -> int:
    if number < 0:
        raise ValueError("math domain")
    return number
