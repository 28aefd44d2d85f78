"""Run the points of a study: those that are not on file yet, in processes of this computer or on a cluster."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from aocsim.errors import AocsimError, InputError, ResourceError
from aocsim.interrupts import raise_if_interrupted
from aocsim.library import Library
from aocsim.parallel import parallel
from aocsim.provenance import named_path
from aocsim.scenarios.kinds import OneRun, one_run
from aocsim.scenarios.overrides import assign
from aocsim.scenarios.whatif.points import Point
from aocsim.scenarios.whatif.schema import WhatIf
from aocsim.scenarios.whatif.store import Found, opened, read_point, write_point
from aocsim.scenarios.whatif.tables import check_figures
from aocsim.solve.kept_draws import draws_in_common, keep_draws

Work = Callable[[tuple[str, str]], tuple[str, Found]]
Spread = Callable[[Work, Iterable[tuple[str, str]]], Iterator[tuple[str, Found]]]
"""Runs work on tasks somewhere and yields results as they come in, in any order."""


def check_count(scenario: WhatIf, count: int) -> None:
    """Refuse a study without points, or one so large that it was probably not meant.

    Raises:
        InputError: with the remedy.
    """
    if count < 1:
        raise InputError("there is no point to run", key="vary")
    if count > scenario.most:
        raise InputError(
            "so many points are run only when asked for: add --yes, or raise `most`",
            key="most",
            got=count,
            allowed=f"at most {scenario.most}",
        )


def run_points(
    scenario: WhatIf,
    points: Sequence[Point],
    library: Library,
    folder: Path | None,
    done: Callable[[int], object] = lambda points: None,
    spread: Spread | None = None,
) -> list[Found]:
    """What each point came to, those that were impossible with their reason.

    Args:
        scenario: the study.
        points: in the order of the result.
        library: of sheets and models.
        folder: of the study, in which finished points are kept; None keeps none.
        done: called with the number of points as they are finished, those on file first.
        spread: where points are run; None takes processes of this computer.

    Raises:
        InputError: the folder is another study's; no point at all was possible (the first one's reason); or a figure
            that the study shows is none of its summary, told with the first point.
        ResourceError: the disk is full, or a point needs more memory than there is; finished points stay.
    """
    results: dict[str, Found] = {}
    with nullcontext() if folder is None else opened(folder, scenario.base) as kept:
        waiting: dict[str, Point] = {}
        for one in points:
            found = None if kept is None or one.digest in results else read_point(kept, one.digest)
            if found is not None:
                results[one.digest] = found
            elif one.digest not in results:
                waiting.setdefault(one.digest, one)
        done(len(results))
        workers = min(scenario.solve.threads or os.cpu_count() or 1, max(1, len(waiting)))
        run = spread or (lambda work, tasks: parallel(work, tasks, workers, ordered=False))
        if waiting:
            threads = 0 if workers == 1 and spread is None else 1
            tasks = [(digest, _task(one.scenario, threads, library)) for digest, one in waiting.items()]
            work = _At(library, secrets.token_hex(8))
            stream = _stream(work, tasks, None if workers == 1 and spread is None else run)
            # closed at once where it is cut short: workers must not outlive the loop that waits for them
            with closing(stream), _no_draws_left():
                for digest, found in stream:
                    results[digest] = found
                    if kept is not None:
                        write_point(kept, digest, waiting[digest].place, found)
                    if not found.error:
                        check_figures(scenario.shown, [found])
                    done(1)
                    raise_if_interrupted()
    if all(found.error for found in results.values()):
        raise InputError(
            f"no point of the study was possible; the first one: {results[points[0].digest].error}"
        )
    return [results[one.digest] for one in points]


@contextmanager
def _no_draws_left() -> Iterator[None]:
    """Where points are run in this process, it keeps draws no longer than the study lasts."""
    try:
        yield
    finally:
        keep_draws("")


def _stream(
    work: Work, tasks: Iterable[tuple[str, str]], spread: Spread | None
) -> Generator[tuple[str, Found], None, None]:
    """Results as they come in, from here where they are not spread."""
    yield from map(work, tasks) if spread is None else spread(work, tasks)


def _task(scenario: OneRun, threads: int, library: Library) -> str:
    stored = json.loads(scenario.to_json())
    if threads:
        stored["solve"]["threads"] = threads  # of which results do not depend
    # workers may stand in another folder
    for key, name in scenario.named.items():
        assign(stored, key, str(named_path(key, name, library).resolve()))
    for key in ("model", "models"):
        if key in stored:
            names = [stored[key]] if isinstance(stored[key], str) else stored[key]
            found = [str(Path(name).resolve()) if name.endswith(".toml") else name for name in names]
            stored[key] = found[0] if isinstance(stored[key], str) else found
    return json.dumps(stored)


class _At:
    """Runs a task with the sheets and models of a library; goes to other processes."""

    def __init__(self, library: Library, study: str) -> None:
        self.study = study
        self.library = replace(library, folders=tuple(folder.resolve() for folder in library.folders))

    def __call__(self, task: tuple[str, str]) -> tuple[str, Found]:
        from tqdm import tqdm

        from aocsim.scenarios.run import run_loaded

        # tqdm's own lock is a semaphore, which a worker that is killed would leave behind
        tqdm.set_lock(threading.RLock())
        digest, text = task
        began = time.perf_counter()
        scenario = one_run(json.loads(text)["kind"]).from_json(text)
        try:
            with draws_in_common(self.study):
                data = run_loaded(scenario, self.library, None).data
        except (ResourceError, MemoryError):
            raise  # of this computer, not of the point: another time it may go
        except AocsimError as error:
            return digest, Found({}, " ".join(str(error).split()), time.perf_counter() - began)
        return digest, Found(json.loads(data.attrs["summary"]), "", time.perf_counter() - began)
