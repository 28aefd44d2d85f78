"""Memory of a wide machine's run: peak resident size of the run and its workers, against 4 GiB.

    python benchmarks/bench_memory.py [--channels 1000] [--samples 1000] [--steps 2 5] [--noise] [--diagnosis]

Runs `aocsim run` on a machine of so many channels, typical but for their number, with a random network that fills it,
at each of the numbers of steps, and prints the largest resident size of parent and workers together. That it does not
grow with the steps is the point: `--steps 100` is the whole run, and takes as much longer.

With --large 1 all runs keep their results in files; by default only those do that are large.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aocsim.diffusion.network import Network, save_network
from aocsim.library import Library
from aocsim.machine import nominal_activation

LIMIT = 4 * 2**30  # bytes
LIVE = 0.96  # of the channels carry units: some are dead on most machines
BETA = 900.0  # a wide machine spreads its light thin
LOOK_EVERY = 0.05  # s
RUN = (
    "from aocsim import spool\nspool.LARGE = min({large}, spool.LARGE)\nfrom aocsim.cli import main\nmain()\n"
)


def write_library(folder: Path, channels: int) -> None:
    """A library folder with machine, model and scenario `wide`."""
    library = Library.open()
    shipped = library.machine("aoc48")
    units = int(LIVE * channels)
    first = (units - 2) // 2
    layout = (2, first, units - 2 - first)
    rng = np.random.default_rng(3)
    pairs = list(zip(layout[1:] + layout[:1], layout, strict=True))
    network = Network(
        "wide",
        tuple(0.8 * rng.standard_normal(pair) / np.sqrt(pair[1]) for pair in pairs),
        tuple(0.3 * rng.standard_normal(out) for out, _ in pairs),
        tuple(0.3 * rng.standard_normal(out) for out, _ in pairs),
        nominal_activation(shipped),
        "heart",
    )
    for name in ("components", "models", "scenarios"):
        (folder / name).mkdir()
    sheet = re.sub(r"(?m)^channels = .*$", f"channels = {channels}", shipped.text)
    recipe = re.sub(r"(?m)^layout = .*$", f"layout = {list(layout)}", library.model_path("heart").read_text())
    scenario = library.scenario_path("heart").read_text().replace('"aoc48"', '"wide"')
    (folder / "components" / "wide.toml").write_text(sheet.replace('"aoc48"', '"wide"', 1))
    (folder / "models" / "wide.toml").write_text(recipe.replace('name = "heart"', 'name = "wide"'))
    (folder / "scenarios" / "wide.toml").write_text(scenario.replace('"heart"', '"wide"'))
    save_network(network, folder / "models" / "wide.nc")


def resident(group: int) -> dict[int, int]:
    """Bytes of memory that each process of a group occupies, what they share counted for each."""
    page, out = os.sysconf("SC_PAGE_SIZE"), {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(place.name)) == group:
                out[int(place.name)] = int((place / "statm").read_text().split()[1]) * page
        except (OSError, ValueError):  # it has ended
            continue
    return out


def measure(
    library: Path, out: Path, changes: dict[str, object], workers: int, large: int
) -> tuple[int, ...]:
    """Run the scenario; largest sum over the processes, largest of the parent, and of a worker, bytes."""
    settings = [f"--set={key}={value}" for key, value in changes.items()]
    arguments = [
        "run",
        "wide",
        "--library",
        str(library),
        "--out",
        str(out),
        "--threads",
        str(workers),
        "--quiet",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(large=large), *arguments, *settings], start_new_session=True
    )
    total = parent = worker = 0
    while process.poll() is None:
        found = resident(process.pid)
        total = max(total, sum(found.values()))
        parent = max(parent, found.pop(process.pid, 0))
        worker = max(worker, *found.values(), 0)
        time.sleep(LOOK_EVERY)
    if process.returncode:
        raise SystemExit(f"the run ended with status {process.returncode}")
    return total, parent, worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--trim-samples", type=int, default=0, help="of the trim at the operating point")
    parser.add_argument("--trims", choices=("bench", "none"), default="bench")
    parser.add_argument("--noise", action="store_true")
    parser.add_argument("--diagnosis", action="store_true")
    parser.add_argument("--large", type=int, default=2**62, help="bytes of results from which files are used")
    given = parser.parse_args()
    changes: dict[str, object] = {
        "samples": given.samples,
        "trials": given.trials,
        "compile.beta": BETA,
        "compile.trims": given.trims,
        "compile.operating_point_trim": given.trim_samples,
        "solve.noise": str(given.noise).lower(),
        "record.diagnosis": str(given.diagnosis).lower(),
    }
    print(
        f"{given.channels} channels, {given.samples} samples, {given.trials} trials, {given.workers} workers, noise "
        f"{given.noise}, diagnosis {given.diagnosis}"
    )
    print(
        f"{'steps':>6s} {'seconds':>8s} {'all':>9s} {'parent':>9s} {'worker':>9s} {'of 4 GiB':>9s} {'file':>9s}"
    )
    worst = 0
    with tempfile.TemporaryDirectory() as place:
        library = Path(place) / "library"
        library.mkdir()
        write_library(library, given.channels)
        for steps in given.steps:
            out = Path(place) / f"out_{steps}"
            began = time.perf_counter()
            found = measure(library, out, {**changes, "diffusion.steps": steps}, given.workers, given.large)
            seconds, size = time.perf_counter() - began, (out / "result.nc").stat().st_size
            sizes = " ".join(f"{one / 2**20:5.0f} MiB" for one in found)
            share = found[0] / LIMIT
            print(f"{steps:6d} {seconds:8.1f} {sizes} {share:9.1%} {size / 2**20:5.0f} MiB", flush=True)
            worst = max(worst, found[0])
    print(f"{'within' if worst < LIMIT else 'BEYOND'} 4 GiB: {worst / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
