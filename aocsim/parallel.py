"""Worker processes on this computer.

Processes, not threads: between its compiled kernels SciPy's stepper holds the interpreter lock.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import ThreadpoolController

Task = TypeVar("Task")
Result = TypeVar("Result")

PARENT_CHECK = 0.5
"""Seconds between a worker's looks for its parent."""

_started = 0
_watching = False


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A block in which linear algebra runs on the thread that calls it.

    Several threads inside BLAS would add in another order, and so give other bits on another computer; on small
    matrices they would only wait for one another.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    # looking for them reads the process's memory map, which takes longer than a small solve
    import scipy.linalg  # noqa: F401 - brings a BLAS library of its own, which must be there to be limited

    return ThreadpoolController()


def parallel(work: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """Results of `work` on all tasks, in order, as they come in.

    Workers live on from call to call. When the iteration ends early (Ctrl-C, an error) they are killed, so that
    nothing goes on computing; where this process is killed, they end by themselves.
    """
    _start(workers)
    finished = False
    try:
        jobs = (delayed(_work)(work, task, os.getpid()) for task in tasks)
        yield from Parallel(n_jobs=workers, return_as="generator")(jobs)
        finished = True
    finally:
        if not finished:
            _stop()


def _work(work: Callable[[Task], Result], task: Task, parent: int) -> Result:
    """`work` on a task, in a worker that ends with its parent."""
    global _watching
    # a worker elsewhere, on a cluster, has another parent
    if not _watching and "loky" in type(multiprocessing.current_process()).__module__:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        _watching = True
    return work(task)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, which a kill -9 lets tell nobody.

    By polling, which every system can; Linux's own signal for it would come when the parent's thread ends that
    happened to start the worker.
    """
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK)
    os._exit(1)


def _start(workers: int) -> None:
    """Start the workers deaf to Ctrl-C, which a terminal sends to them too: the parent decides what it means."""
    global _started
    if workers != _started:
        with _interrupts_ignored():
            Parallel(n_jobs=workers)(delayed(int)() for _ in range(workers))
        _started = workers


def _stop() -> None:
    global _started
    # joblib's own end: it removes the folder its workers share, which would be reported as leaked
    get_reusable_executor().terminate(kill_workers=True)
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
