"""What one point of a what-if study costs, in processor seconds of one core, and where they go.

    python benchmarks/point_cost.py [--points 3] [--samples 64]

A hundred points of the heart are to end within two minutes on two cores, which leaves 2.4 s for each. Processor seconds
hardly notice other programs but through the caches, so that they can be taken on a computer that is busy; what the
solver takes per transient stands beside them, as a measure of how fast the computer was. Writes
benchmarks/results/point_cost.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from computer import computer
from loads import task_of

from aocsim.library import Library
from aocsim.output import write_json
from aocsim.parallel import one_blas_thread
from aocsim.scenarios import sample, trimming
from aocsim.scenarios.dataset import dataset_of
from aocsim.scenarios.load import load_sample, what_if
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.summary import compare
from aocsim.scenarios.whatif.execute import lay_out
from aocsim.solve.integrators import integrate
from aocsim.solve.kept_draws import draws_in_common

RESULT = Path(__file__).parent / "results" / "point_cost.json"
ALLOWED = 2.4  # s a point: 120 s on 2 cores for 100


class Clock:
    """Processor seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def of(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        self.spent.setdefault(name, []).append(time.process_time() - began)
        return result


def per_transient() -> float:
    """Processor seconds of one transient of the heart, each with its own matrix."""
    task = task_of("distinct", "heart", 64)
    integrate(task.loop, task.state, task.drive, task.times)
    began = time.process_time()
    integrate(task.loop, task.state, task.drive, task.times)
    return (time.process_time() - began) / len(task.drive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--samples", type=int, default=64)
    arguments = parser.parse_args()
    library, clock = Library.open(), Clock()
    sample.execute(sample.prepare(_scenario(library, 100.0, 2), library))  # compiles
    vary = {"parts.slm.contrast": "50:5000:log:100"}
    study = what_if("sweep", "heart", library, {"vary": vary, "set": {"samples": arguments.samples}})
    laid = clock.of("laying out 100 points, for each", lambda: lay_out(study, library))
    clock.spent["laying out 100 points, for each"][0] /= len(laid)
    # as in a study, whose later points have draws at hand
    with one_blas_thread(), draws_in_common("point_cost"):
        for contrast in np.geomspace(50, 5000, arguments.points):
            scenario = _scenario(library, float(contrast), arguments.samples)
            setup = clock.of("machine and program", lambda s=scenario: sample.prepare(s, library))
            clock.of("trims", lambda s=setup: trimming.trim(s, lambda solves: None))
            run = clock.of("trims and samples", lambda s=setup: sample.execute(s))
            summary = clock.of("figures", lambda s=setup, r=run: compare(s, r))
            clock.of("dataset", lambda s=setup, r=run, c=summary: dataset_of(s, r, c, 0.0))
    seconds = {name: round(float(np.median(found)), 3) for name, found in clock.spent.items()}
    whole = sum(value for name, value in seconds.items() if name != "trims")
    found = {
        "computer": computer(1), "points": arguments.points,
        "samples": arguments.samples, "processor_seconds": seconds, "point": round(whole, 3), "allowed": ALLOWED,
        "outside_solving": round(whole - seconds["trims and samples"], 3),
        "per_transient_us": round(1e6 * per_transient(), 1),
    }  # fmt: skip
    for name, value in {**seconds, "a point": whole, "allowed": ALLOWED}.items():
        print(f"{name:34s} {value:8.3f} s")
    print(f"{'a transient with its own matrix':34s} {found['per_transient_us']:8.1f} us")
    write_json(RESULT, found)


def _scenario(library: Library, contrast: float, samples: int) -> Scenario:
    changes = {"samples": samples, "parts.slm.contrast": f"{contrast:g}", "solve.threads": 1}
    return load_sample("heart", library, changes)


if __name__ == "__main__":
    main()
