"""What the bench costs: a run through instrument, timeline and records against the same solves done bare.

    python benchmarks/bench_overhead.py [--samples 256] [--trials 5]

Prints the wall time of each part as a share of the run, measured in the same process. The electronics' trims, the
timeline, the slow processes and the record are the bench; solving and the operating-point trim are the experiment.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aocsim.bench import SimulatedBench
from aocsim.library import Library
from aocsim.live import Live
from aocsim.record import write_result
from aocsim.scenarios import sample
from aocsim.scenarios.dataset import dataset_of
from aocsim.scenarios.load import load_sample
from aocsim.scenarios.summary import compare
from aocsim.timeline import schedule
from aocsim.trim import trim_electronics


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--trials", type=int, default=5)
    arguments = parser.parse_args()
    library = Library.open()
    changes = {"samples": arguments.samples, "trials": arguments.trials, "solve.threads": 1}
    scenario = load_sample("heart", library, changes)
    setup = sample.prepare(scenario, library)
    settings, steps = sample.settings_of(scenario), scenario.diffusion.steps
    program, machine = setup.compiled.program, setup.machine
    sample.execute(
        sample.prepare(load_sample("heart", library, {**changes, "samples": 2}), library)
    )  # compiles

    whole, run = timed(lambda: sample.execute(setup))
    summary = compare(setup, run)
    recording, _ = timed(lambda: _record(setup, run, summary))
    planning, _ = timed(lambda: schedule(machine, steps=steps, trials=scenario.trials))
    bench = SimulatedBench(machine, seed=scenario.seed, settings=settings)
    trimming, _ = timed(lambda: trim_electronics(bench, program, setup.operator, steps))
    live = Live.of(machine, scenario.seed)
    instants = np.arange(scenario.trials * 16) * 426e-6
    blocks = steps * scenario.samples / 16
    slow, _ = timed(lambda: (live.flicker.at(instants), live.drift.at(instants)))

    total = whole + recording
    rows = [
        ("run with trims, timeline and record", total, 1.0),
        ("trims of alpha and offsets", trimming, trimming / total),
        ("timeline", planning, planning / total),
        ("flicker and drift", slow * blocks, slow * blocks / total),
        ("dataset and file", recording, recording / total),
    ]
    for name, seconds, share in rows:
        print(f"{name:40s} {seconds:8.2f} s {100 * share:6.1f} %")
    overhead = trimming + planning + recording
    print(f"bench overhead (trims, timeline, record): {100 * overhead / total:.1f} % of the run")


def _record(setup: sample.Setup, run: sample.Run, summary: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_result(dataset_of(setup, run, summary, 0.0), Path(folder) / "result.nc")


if __name__ == "__main__":
    main()
