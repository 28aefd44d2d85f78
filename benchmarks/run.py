r"""Ensembles of transients of the machine's loop: aocsim against other libraries, all in one run.

    python benchmarks/run.py [--tracks shared,distinct] [--loads heart] [--rounds 5] [--threads 2] [--known 100] \
        [--quick] [--out NAME] [--add]

For every track and load (see loads.py), without and with an exit at the steady state: each library's ways are scanned
on a part of the ensemble for the fastest tolerance with an error of at most 1e-4 V (with noise: the step with a weak
error of at most 1). The two fastest of each library then have to pass on the whole ensemble, the faster of them runs in
turn with the other libraries', in interleaved rounds, and the medians are compared. Compilation is timed apart. Writes
benchmarks/results/NAME.json. A library that is not installed is listed as absent.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from computer import computer

RESULTS = Path(__file__).resolve().parent / "results"
MODULES = ("ours", "peers_jax", "peers_torch", "peers_scipy")
OURS = "aocsim"
SLOW = 4.0  # times the library's best, from which a way is not scanned further
SETTLED_WAYS = 2  # of each library that have to pass on the whole ensemble
LONGEST = 240.0  # s, a scan of one way
MEMORY = ("shared/heart", "channels_1000/alpha0.9")  # where peak memory is measured, each in a fresh process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tracks = "shared,distinct,three_poles,noise,channels_256,channels_1000"
    parser.add_argument("--tracks", default=tracks)
    parser.add_argument("--loads", default="heart,alpha0.9,alpha0.5")
    parser.add_argument("--rounds", type=int, help="5; 2 if quick")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--known", type=int, default=100, help="trajectories with a reference")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="an eighth of the trajectories (with noise half), 8 with a reference",
    )
    parser.add_argument("--out", default="latest", help="name of the result file")
    parser.add_argument("--add", action="store_true", help="keep the other tracks of the result file")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "BENCH_THREADS",
    ):
        os.environ[name] = str(arguments.threads)  # before numpy is loaded, here and in the workers
    from loads import BATCHES, CASES
    from report import summary, write

    found: dict[str, Any] = {
        "versions": {},
        "absent": {},
        "tracks": {},
    }
    if arguments.add:
        earlier = json.loads((RESULTS / f"{arguments.out}.json").read_text())
        found |= {name: earlier[name] for name in ("versions", "absent", "tracks")}
    for track in arguments.tracks.split(","):
        for load in CASES[track]:
            if load not in arguments.loads.split(","):
                continue
            # a weak error wants many trajectories
            share = 1 if not arguments.quick else 2 if track == "noise" else 8
            count = BATCHES[track] // share
            known = 8 if arguments.quick else arguments.known
            rows = compare(track, load, count, known, rounds, found)
            name = f"{track}/{load}"
            found["tracks"][name] = {
                "machine": computer(arguments.threads),
                "rounds": rounds,
                "quick": arguments.quick,
                "trajectories": count,
                **summary(rows),
                "rows": rows,
            }
            write(RESULTS / f"{arguments.out}.json", found)


def compare(
    track: str, load: str, count: int, known: int, rounds: int, found: dict[str, Any]
) -> list[dict[str, Any]]:
    """All rows of one track on one load."""
    print(f"\n{track}/{load}, {count} trajectories", flush=True)
    rows: list[dict[str, Any]] = []
    workers: dict[str, Any] = {}
    picked: list[tuple[str, Any]] = []
    try:
        for module in MODULES:
            picked += scanned(workers, module, (track, load, count, known), found, rows)
        in_turn(workers, picked, rounds, count, rows)
        products(workers, picked, rows)
    finally:
        # one that is left waiting keeps this process from ending
        for worker in workers.values():
            worker.close()
    if f"{track}/{load}" in MEMORY:
        memory((track, load, count, known), picked, rows)
    return rows


def scanned(
    workers: dict[str, Any],
    module: str,
    which: tuple[str, str, int, int],
    found: dict[str, Any],
    rows: list[dict[str, Any]],
) -> list[tuple[str, Any]]:
    """The fastest way of each of a module's libraries, without and with an exit; its worker goes on waiting."""
    from measure import FailedError, Worker

    workers[module] = Worker(module, *which)
    try:
        found["versions"] |= workers[module].ask("versions")
        ways = workers[module].ask("candidates")
    except FailedError as failed:
        found["absent"][module] = str(failed)
        print(f"  absent: {module}: {failed}", flush=True)
        workers.pop(module).close()
        return []
    best: dict[tuple[str, bool], list[Any]] = {}
    for way in ways:
        for steady in (False, True) if way.exits else (False,):
            passed = best.setdefault((way.library, steady), [])
            limit = SLOW * min((scan.seconds for scan in passed), default=60.0)
            try:
                scan = workers[module].ask("scan", way, steady, max(limit, 1.0), timeout=LONGEST)
            except FailedError as failed:
                rows.append(row_of(way, steady, note=str(failed)))
                workers[module].close()
                workers[module] = Worker(module, *which)
                print(f"  {way.library} {way.label}: {failed}", flush=True)
                continue
            if scan.seconds < float("inf"):
                passed.append(scan)
            rows.append(row_of(way, steady, scan, note=scan.note))
            print(f"  {told(scan)}", flush=True)
    picked = []
    for scans in best.values():
        fastest = sorted(scans, key=lambda scan: scan.seconds)[:SETTLED_WAYS]
        settled = [full for scan in fastest if (full := settle(workers[module], scan, rows))]
        picked += [(module, scan) for scan in sorted(settled, key=lambda scan: scan.seconds)[:1]]
    return picked


def told(scan: Any) -> str:
    """A scan in one line."""
    return (
        f"{scan.candidate.library} {scan.candidate.label}{' exit' if scan.steady else ''}: "
        f"{scan.trajectories / scan.seconds:.0f}/s at {scan.knob:.1e}, error {scan.error:.1e}, "
        f"compilation {scan.compilation:.1f} s {scan.note}"
    )


def settle(worker: Any, scan: Any, rows: list[dict[str, Any]]) -> Any:
    """The scan on the whole ensemble; None where nothing passes."""
    from measure import FailedError

    row = _row(rows, scan)
    try:
        found = worker.ask("settle", scan)
    except FailedError as failed:
        row["note"] = str(failed)
        return None
    row |= {
        "knob": found.knob,
        "error": found.error,
        "compilation_seconds": found.compilation,
        "note": found.note,
    }
    print(f"    all {found.trajectories}: {told(found)}", flush=True)
    return found if found.seconds < float("inf") else None


def row_of(way: Any, steady: bool, scan: Any = None, note: str = "") -> dict[str, Any]:
    """A row of the raw results; `scan_per_second` is of a single call on a part of the ensemble."""
    good = scan is not None and scan.seconds < float("inf")
    return {
        "library": way.library,
        "way": way.label,
        "steady_exit": steady,
        "knob": scan.knob if good else None,
        "error": scan.error if good else None,
        "scan_per_second": scan.trajectories / scan.seconds if good else None,
        "compilation_seconds": scan.compilation if good else None,
        "note": note,
    }


def in_turn(workers: Any, picked: list[Any], rounds: int, count: int, rows: list[dict[str, Any]]) -> None:
    """Interleaved rounds; the order turns by one each round."""
    from measure import FailedError

    times: dict[int, list[float]] = {i: [] for i in range(len(picked))}
    for turn in range(rounds):
        for i in range(len(picked)):
            index = (i + turn) % len(picked)
            module, scan = picked[index]
            try:
                times[index].append(workers[module].ask("time", scan))
            except FailedError as failed:
                print(f"  {scan.candidate.label}: {failed}", flush=True)
    for index, (_, scan) in enumerate(picked):
        if times[index]:
            row = _row(rows, scan)
            ordered = sorted(times[index])
            row["seconds"] = times[index]
            row["per_second"] = [count / s for s in (ordered[len(ordered) // 2], ordered[-1], ordered[0])]


def products(workers: Any, picked: list[Any], rows: list[dict[str, Any]]) -> None:
    """What the matrix products of ours alone take."""
    for module, scan in picked:
        if scan.candidate.library == OURS and not scan.candidate.noise:
            row = _row(rows, scan)
            row["evaluations"], row["product_seconds"] = workers[module].ask("products", scan)


def memory(which: tuple[str, str, int, int], picked: list[Any], rows: list[dict[str, Any]]) -> None:
    """Peak memory, each in a fresh process."""
    from measure import FailedError, Worker

    for module, scan in picked:
        row = _row(rows, scan)
        worker = Worker(module, *which)
        try:
            row["peak_megabytes"], row["idle_megabytes"] = worker.ask("memory", scan)
        except FailedError as failed:
            row["note"] = str(failed)
        worker.close()


def _row(rows: list[dict[str, Any]], scan: Any) -> dict[str, Any]:
    way = scan.candidate
    key = (way.library, way.label, scan.steady)
    return next(row for row in rows if (row["library"], row["way"], row["steady_exit"]) == key)


if __name__ == "__main__":
    main()
