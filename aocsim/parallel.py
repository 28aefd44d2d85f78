"""Worker processes on this computer.

Processes, not threads: between its compiled kernels SciPy's stepper holds the interpreter lock.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

Task = TypeVar("Task")
Result = TypeVar("Result")

_started = 0


def parallel(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Results of `work` on all tasks, in order, as they come in.

    Workers live on from call to call. When the iteration ends early (Ctrl-C, an error) they are killed, so that
    nothing goes on computing.
    """
    _start(workers)
    finished = False
    try:
        yield from Parallel(n_jobs=workers, return_as="generator")(delayed(work)(task) for task in tasks)
        finished = True
    finally:
        if not finished:
            _stop()


def _start(workers: int) -> None:
    """Start the workers deaf to Ctrl-C, which a terminal sends to them too: the parent decides what it means."""
    global _started
    if workers != _started:
        with _interrupts_ignored():
            Parallel(n_jobs=workers)(delayed(int)() for _ in range(workers))
        _started = workers


def _stop() -> None:
    global _started
    get_reusable_executor().shutdown(wait=True, kill_workers=True)
    _started = 0


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it hears Ctrl-C
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
