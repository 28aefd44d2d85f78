"""Processes that solve: every library in its own, so that neither threads nor memory of one disturb another.

A worker imports one module of peers and answers one request at a time; all others sleep meanwhile. Workers are bound
to as many processors as there are threads. What is timed is a call that ends with the voltages of all trajectories in
(trajectories, 90, n) order in numpy; compilation is what the first call takes longer than the second.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from candidates import Candidate, Run, threads
from loads import SCANNED, Task, task_of
from reference import ALLOWED, Reference, reference_of

LEAST_SECONDS = 0.2  # of one timing; shorter calls are repeated
FURTHER = 1  # knobs beyond the loosest that passes: a tighter one may be faster
FURTHER_WITH_EXIT = 4  # below a tight one a loop's rest is seen sooner


@dataclass(frozen=True)
class Scan:
    """The fastest passing knob of a candidate; seconds infinite where none passes or it is too slow.

    Attributes:
        candidate: what was scanned.
        steady: with an exit at the steady state.
        knob: tolerance, or step in s.
        error: V, or the weak error.
        seconds: for `trajectories`.
        compilation: what the first call took longer, s.
        trajectories: solved, or scaled to.
        note: the last knobs that failed.
    """

    candidate: Candidate
    steady: bool
    knob: float
    error: float
    seconds: float
    compilation: float
    trajectories: int
    note: str = ""


class FailedError(Exception):
    """A worker could not do what it was asked."""


class Worker:
    """A process with one library's module."""

    def __init__(self, module: str, track: str, load: str, count: int, known: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        arguments = (other, module, track, load, count, known)
        self._process = context.Process(target=_serve, args=arguments, daemon=False)
        self._process.start()
        other.close()

    def ask(self, request: str, *arguments: Any, timeout: float = 300.0) -> Any:
        """The worker's answer.

        Raises:
            FailedError: it says why, has died, or takes longer than `timeout` seconds (and is ended).
        """
        try:
            self._end.send((request, arguments))
            if not self._end.poll(timeout):
                self.close()
                raise FailedError(f"no answer within {timeout:.0f} s")
            good, answer = self._end.recv()
        except (EOFError, BrokenPipeError, OSError):
            self.close()
            raise FailedError("the process has died") from None
        if not good:
            raise FailedError(answer)
        return answer

    def close(self) -> None:
        self._end.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(end: Connection, module: str, track: str, load: str, count: int, known: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: threads()]))
    session: _Session | None = None
    while True:
        try:
            request, arguments = end.recv()
        except EOFError:
            os._exit(0)  # forked helpers of a library must not keep it
        try:
            if session is None:
                session = _Session(module, task_of(track, load, count), known)
            end.send((True, getattr(session, request)(*arguments)))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            end.send((False, f"{told[:200]} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"))


class _Session:
    """What a worker knows and can be asked."""

    def __init__(self, module: str, task: Task, known: int) -> None:
        self.library: Any = importlib.import_module(module)
        self.task = task
        self.reference: Reference = reference_of(task, known, threads())
        self.few = task.part(SCANNED.get(task.track, len(task.state)))
        self.held: dict[tuple[Candidate, bool], Run] = {}
        self.idle = peak_memory()

    def candidates(self) -> list[Candidate]:
        return self.library.candidates(self.task)

    def versions(self) -> dict[str, str]:
        return self.library.versions()

    def scan(self, candidate: Candidate, steady: bool, limit: float) -> Scan:
        """Go through the knobs from the loosest on; give up when a call takes longer than `limit` seconds.

        Tolerances on some of the trajectories; what they miss, `settle` sees.
        """
        task = self.few
        run = self.library.build(task, candidate, self.reference, steady)
        best: Scan | None = None
        compilation, passed, errors = None, 0, []
        for knob in candidate.knobs:
            first = _timed(run, knob)[0] if compilation is None else 0.0
            seconds, out = _timed(run, knob)
            if compilation is None:
                compilation = max(0.0, first - seconds)
            error = self.reference.error(task, out)
            errors.append(f"{knob:.0e}: {error:.1e}")
            del out
            seconds *= self._share(task, candidate)
            if error <= self.allowed:
                passed += 1
                if best is None or seconds < best.seconds:
                    best = Scan(candidate, steady, knob, error, seconds, compilation, len(task.state))
            if passed > (FURTHER_WITH_EXIT if steady else FURTHER) or seconds > limit:
                break
        return best or _failed(candidate, steady, errors)

    def settle(self, scan: Scan) -> Scan:
        """The same on the whole ensemble, from the scan's knob to the first that passes; it is kept for `time`."""
        task, candidate, steady = self.task, scan.candidate, scan.steady
        run = self.library.build(task, candidate, self.reference, steady)
        first, errors = None, []
        for knob in (knob for knob in candidate.knobs if knob <= scan.knob):
            seconds, out = _timed(run, knob)
            first = seconds if first is None else first
            error = self.reference.error(task, out)
            errors.append(f"{knob:.0e}: {error:.1e}")
            del out
            if error <= self.allowed:
                seconds = _timed(run, knob)[0]
                self.held[candidate, steady] = run
                compilation = max(0.0, first - seconds)
                seconds *= self._share(task, candidate)
                return Scan(candidate, steady, knob, error, seconds, compilation, len(task.state))
        return _failed(candidate, steady, errors)

    @property
    def allowed(self) -> float:
        return 1.0 if self.task.noisy else ALLOWED

    def _share(self, task: Task, candidate: Candidate) -> float:
        """All trajectories over those that are solved."""
        solved = getattr(self.library, "solved", None)
        return len(task.state) / solved(task, candidate) if solved else 1.0

    def time(self, scan: Scan) -> float:
        """Seconds for the ensemble, once more."""
        key = scan.candidate, scan.steady
        if key not in self.held:  # of a worker that had died
            self.held[key] = self.library.build(self.task, scan.candidate, self.reference, scan.steady)
            self.held[key](scan.knob)
        spent, calls = 0.0, 0
        while spent < LEAST_SECONDS:
            spent += _timed(self.held[key], scan.knob)[0]
            calls += 1
        return spent / calls * self._share(self.task, scan.candidate)

    def memory(self, scan: Scan) -> tuple[float, float]:
        """Peak MB of a process that has done this alone, and of one that has imported everything and done nothing."""
        run = self.library.build(self.task, scan.candidate, self.reference, scan.steady)
        run(scan.knob)
        return peak_memory(), self.idle

    def products(self, scan: Scan) -> tuple[float, float]:
        """Evaluations for one trajectory, and seconds of the matrix products of one evaluation of all."""
        from roofline import seconds_per_evaluation

        count = self.library.evaluations(self.task, scan.candidate, scan.steady, scan.knob)
        return count, seconds_per_evaluation(self.task, threads())


def _failed(candidate: Candidate, steady: bool, errors: list[str]) -> Scan:
    return Scan(candidate, steady, np.nan, np.nan, np.inf, 0.0, 0, "; ".join(errors[-3:]))


def _timed(run: Run, knob: float) -> tuple[float, Any]:
    began = time.perf_counter()
    out = run(knob)
    return time.perf_counter() - began, out


def peak_memory() -> float:
    """Largest resident memory so far of this process and its children, MB."""
    try:
        processes = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
        return sum(_high_water(Path("/proc") / process / "status") for process in processes)
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _high_water(status: Path) -> float:
    lines = status.read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
