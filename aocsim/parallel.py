"""Worker processes and threads on this computer.

Processes where work is in the interpreter: between its compiled kernels SciPy's stepper holds the interpreter lock.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from typing import Any, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor, process_executor
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from threadpoolctl import ThreadpoolController

from aocsim.interrupts import interrupts_deferred

Task = TypeVar("Task")
Result = TypeVar("Result")

PARENT_CHECK = 0.5
"""Seconds between a worker's looks for its parent."""

GROWTH = 2**31
"""Bytes by which a worker may grow before joblib takes it for leaking, and replaces it; its own 300 MB, counted from an
idle worker, are less than what one keeps on purpose (`aocsim.solve.kept_draws`)."""

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


def in_threads(work: Callable[[Task], Result], tasks: Sequence[Task], threads: int) -> list[Result]:
    """Results of `work` on all tasks, in their order, for compiled work that holds no interpreter lock."""
    with one_blas_thread():
        if threads == 1 or len(tasks) == 1:
            return [work(task) for task in tasks]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, tasks))


@cache
def _libraries() -> ThreadpoolController:
    # looking for them reads the process's memory map, which takes longer than a small solve
    import scipy.linalg  # noqa: F401 - brings a BLAS library of its own, which must be there to be limited

    return ThreadpoolController()


def parallel(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, *, ordered: bool = True
) -> Iterator[Result]:
    """Results of `work` on all tasks as they come in, in the order of the tasks unless that is not asked for.

    Workers live on from call to call. When the iteration ends early (Ctrl-C, an error) they are killed, so that
    nothing goes on computing; where this process is killed, they end by themselves.
    """
    # joblib replaces workers whose memory has grown, and tells it as if it were a fault; no task gets lost
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
    # who ends an iteration early means it
    warnings.filterwarnings("ignore", message=r"\d+ tasks (which were|have been) ")
    finished = False
    _forgive_lost_tasks()
    try:
        _start(workers)
        jobs = (delayed(_work)(work, task, os.getpid()) for task in tasks)
        yield from Parallel(n_jobs=workers, return_as="generator" if ordered else "generator_unordered")(jobs)
        finished = True
    finally:
        if not finished:
            _stop()


def _work(work: Callable[[Task], Result], task: Task, parent: int) -> Result:
    """`work` on a task, in a worker that ends with its parent."""
    global _watching
    # a worker elsewhere, on a cluster, has another parent, and one of a worker is a thread in it
    started_here = "loky" in type(multiprocessing.current_process()).__module__ and os.getpid() != parent
    if started_here and not _watching:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # blocked as it is, a library could unblock it
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        process_executor._MAX_MEMORY_LEAK_SIZE = GROWTH
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
        _started = workers  # from now on there may be some to end
        # blocked for the workers, which inherit that; deferred for this process, whose other threads hear it
        with interrupts_deferred(), _interrupts_blocked():
            Parallel(n_jobs=workers)(delayed(int)() for _ in range(workers))


def _forgive_lost_tasks() -> None:
    """Let the thread that manages workers end as it would, where it trips over tasks that it has cancelled itself.

    Told to kill the workers it cancels all tasks, kills the workers, and then looks up those that had still waited to
    be handed out: a KeyError, which the interpreter would tell on stderr.
    """
    told = threading.excepthook
    if getattr(told, "forgives_lost_tasks", False):
        return

    def hook(arguments: threading.ExceptHookArgs) -> None:
        thread: Any = arguments.thread
        manager = isinstance(thread, process_executor._ExecutorManagerThread)
        if manager and arguments.exc_type is KeyError and thread.executor_flags.kill_workers:
            thread.join_executor_internals()
        else:
            told(arguments)

    hook.forgives_lost_tasks = True  # type: ignore[attr-defined]
    threading.excepthook = hook


def stop_workers() -> None:
    """Kill the workers, if there are any.

    A process that leaves out the interpreter's own farewell would wait for them, idle as they are.
    """
    if _started:
        _stop()


def _stop() -> None:
    global _started
    # the one that is there, whoever made it: asked for with other settings, another would be made
    executor = get_reusable_executor(reuse=True)
    # joblib's own end removes the folder its workers share, which would be reported as leaked; a bare one has none
    getattr(executor, "terminate", executor.shutdown)(kill_workers=True)
    _started = 0


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let Ctrl-C pass by this thread, and what is started here, until the end of the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # what keeps track of shared memory is started along with the first worker, and then unblocks signals
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    # a thread started here keeps it blocked, and so do the workers with which it replaces others later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
