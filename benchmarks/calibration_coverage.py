"""How often a calibration's 68 % intervals hold the truth, and how far beside it the values are in standard errors.

    python benchmarks/calibration_coverage.py [--serials 50] [--first 1] [--workers 2] [--forms twin aoc48] [--more]

Every serial is a machine of its own. Of the form "twin" it is exactly what the calibration fits: `aoc48` of this serial
in the public twin's format, and the machine built from that, with noise, flicker and drift; its alpha path is drawn.
"still" is the same without drift, and "aoc48" the machine itself, whose laws no parameters hold: its truth is that of
its best description in the format, and what is beside it is misfit. Truth is the machine as built, when the clock
starts; the experiments take some seconds.

An interval of one standard error of a normal distribution holds the truth in 68 % of all cases. `scatter` is the root
mean square of (value - truth)/error, 1 where the errors are right. Parameters of one machine share errors; the standard
error of a share is therefore that of its mean over machines.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from aocsim.bench import SimulatedBench
from aocsim.calibration.chain import NAMES, Chain
from aocsim.calibration.closed import at_rest, fit_closed
from aocsim.calibration.experiments import Block, closed, dedicated, sweep
from aocsim.calibration.joint import fit_together
from aocsim.calibration.measure import Taken, take
from aocsim.calibration.start import first_chain
from aocsim.calibration.truth import as_built, chain_of
from aocsim.errors import AocsimError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.twin import Twin, measurement_of

BETA = 18.6
DEDICATED_TRIALS = 10
SWEEP = {"matrices": 8, "inputs": 3, "gains": 3, "trials": 5}
LOOPS = {"matrices": 60, "inputs": 1, "trials": 5}
SEED = 3  # of what the experiments draw
EXPERIMENTS = {
    "beta": BETA,
    "dedicated_trials": DEDICATED_TRIALS,
    "sweep": SWEEP,
    "closed": LOOPS,
    "seed": SEED,
}
OPEN_LOOP, LOOP = "open loop", "closed loop"
GAINS = ("gradient_gain", "alpha_gain", "drive_gain", "residual_offset")
FORMS = ("twin", "still", "aoc48")
RESULT = Path(__file__).parent / "results" / "calibration_coverage.json"

Pulls = dict[str, np.ndarray]
Counts = dict[
    str, list[float]
]  # by group: parameters, those within one standard error, sum of squares in errors


def machine_of(serial: int, form: str) -> tuple[Machine, Chain]:
    """The machine as built, and the truth of its open loop."""
    library = Library.open()
    spec = library.machine("aoc48")
    found, _ = measurement_of(spec, serial, "aoc48")
    truth, _ = chain_of(found)
    if form == "aoc48":
        return Machine.build(spec, serial), as_built(spec, serial)[0]
    changes = {"node": {"sheet": "node_ideal"}}  # the format's own saturation is no part of what is fitted
    machine = Machine.build(Twin(found).spec().with_overrides(changes, library.part), serial)
    if form == "still":
        gains = replace(machine.gains, gain_drift=0.0, offset_drift=0.0, alpha_drift=0.0)
        machine = replace(machine, gains=gains)
    return machine, truth


def experiments(machine: Machine, serial: int, kept: Path | None) -> tuple[list[Taken], list[Taken], int]:
    """Both stages as a bench gives them, and its highest grey level."""

    def bench_of(name: str, clock: float) -> SimulatedBench:
        bench = SimulatedBench(machine, seed=serial, name=f"calibrate.{name}")
        bench.wait(clock)
        return bench

    facts = bench_of("facts", 0.0).capabilities
    blocks: list[Block] = [
        *dedicated(facts, BETA, trials=DEDICATED_TRIALS),
        *sweep(facts, BETA, SEED, **SWEEP),
    ]
    opened = take(blocks, bench_of, kept)
    loops = take(closed(facts, BETA, SEED, **LOOPS), bench_of, kept, clock=opened[-1].ended)
    return opened, loops, facts.grey_levels


def pulls_of(serial: int, form: str, kept: Path | None = None) -> Pulls:
    """(value - truth)/error of everything that is identified, by group."""
    machine, truth = machine_of(serial, form)
    folder = None if kept is None else kept / f"{form}_{serial}"
    opened, loops, top = experiments(machine, serial, folder)
    first, live = first_chain({one.block.name: one for one in opened}, top)
    found = fit_together(opened, first, live, top)
    out: Pulls = {}
    error = np.sqrt(np.diagonal(found.covariance))
    known = found.identified & (error > 0)
    pull = np.full(len(known), np.nan)
    pull[known] = (found.chain.vector - truth.vector)[known] / error[known]
    for name in NAMES:
        part = np.ravel(getattr(truth.replaced(pull), name))
        out[name] = part[np.isfinite(part)]
    loop = fit_closed(found.chain, at_rest(loops, top), found.covariance)
    n = machine.channels
    right = np.concatenate([np.ones(n), machine.gains.alpha_gain, np.ones(n), np.zeros(n)])
    off = (loop.electronics.vector - right) / np.sqrt(np.diagonal(loop.covariance))
    return out | dict(zip(GAINS, off.reshape(len(GAINS), n), strict=True))


def counted(job: tuple[int, str, Path | None]) -> tuple[str, str, Counts | str, float]:
    """One machine; what stood against it, in words, where it was refused."""
    serial, form, kept = job
    begin = time.perf_counter()
    counts: Counts | str
    try:
        pulls = pulls_of(serial, form, kept)
        counts = {
            name: [len(one), int(np.sum(np.abs(one) <= 1)), round(float(np.sum(one**2)), 2)]
            for name, one in pulls.items()
        }
    except AocsimError as error:
        counts = str(error)
    return form, str(serial), counts, time.perf_counter() - begin


def row_of(machines: Sequence[Sequence[float]]) -> dict[str, float]:
    """Pooled share within one standard error, its standard error over machines, and the scatter."""
    count, inside, squares = np.array(machines, dtype=float).T
    within = inside.sum() / count.sum()
    # of a ratio of sums over machines
    spread = np.sqrt(np.sum((inside - within * count) ** 2) / max(1, len(machines) - 1) / len(machines))
    return {
        "parameters": int(count.sum()),
        "within": round(float(within), 4),
        "within_error": round(float(spread / count.mean()), 4),
        "scatter": round(float(np.sqrt(squares.sum() / count.sum())), 3),
    }


def table(found: dict[str, Counts]) -> dict[str, dict[str, float]]:
    """Rows of each group, of both stages, and of all."""
    rows = {name: row_of([one[name] for one in found.values()]) for name in (*NAMES, *GAINS)}
    for label, names in ((OPEN_LOOP, NAMES), (LOOP, GAINS), ("all", (*NAMES, *GAINS))):
        rows[label] = row_of([np.sum([one[name] for name in names], axis=0) for one in found.values()])
    return rows


def known(path: Path) -> dict[str, dict[str, Counts]]:
    """Machines of an earlier run with the same experiments, by form and serial."""
    if not path.exists():
        return {}
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["experiments"] != EXPERIMENTS:
        return {}
    return {form: one["machines"] for form, one in result["forms"].items()}


def write(
    path: Path, found: dict[str, dict[str, Counts]], refused: dict[str, str], seconds: list[float]
) -> None:
    forms = {form: {"table": table(some), "machines": some} for form, some in found.items() if some}
    result = {
        "experiments": EXPERIMENTS,
        "python": platform.python_version(),
        "seconds_each": round(float(np.median(seconds)), 1),
        "refused": refused,
        "forms": forms,
    }
    # a line for each row and machine
    text = json.dumps(result, indent=1)
    text = re.sub(r"\[\s+([^][]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    path.write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--serials", type=int, default=50, help="how many machines of each form")
    parser.add_argument("--first", type=int, default=1, help="the first serial number")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["twin", "aoc48"])
    parser.add_argument(
        "--kept", type=Path, help="folder that keeps the experiments, for fits of other kinds"
    )
    parser.add_argument("--more", action="store_true", help="add to what --out holds of the same experiments")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args(arguments)
    jobs = [(given.first + k, form, given.kept) for k in range(given.serials) for form in given.forms]
    found = known(given.out) if given.more else {}
    refused: dict[str, str] = {}
    seconds: list[float] = []
    with ProcessPoolExecutor(given.workers) as pool:
        for form, serial, counts, took in pool.map(counted, jobs):
            seconds.append(took)
            if isinstance(counts, str):
                refused[f"{form} {serial}"] = counts
                print(f"{form} {serial}: {counts}", flush=True)
                continue
            found.setdefault(form, {})[serial] = counts
            one, all_of = table({serial: counts})["all"], table(found[form])["all"]
            print(
                f"{form} {serial}: within {one['within']:.3f}, scatter {one['scatter']:.2f} ({took:.0f} s); "
                f"{len(found[form])} machines: {all_of['within']:.3f}, {all_of['scatter']:.2f}",
                flush=True,
            )
            write(given.out, found, refused, seconds)
    for form, some in found.items():
        if some:
            print(f"\n{form}, {len(some)} machines{'parameters':>22}{'within':>10}{'+-':>8}{'scatter':>10}")
            for name, row in table(some).items():
                print(
                    f"{name:<28}{row['parameters']:>10}{row['within']:>10.3f}{row['within_error']:>8.3f}"
                    f"{row['scatter']:>10.2f}"
                )


if __name__ == "__main__":
    main()
