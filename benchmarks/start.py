"""How long commands take to start, and what of `aocsim run heart` is neither solving nor drawing.

    python benchmarks/start.py [--rounds 5]

Each is a process of its own, as a user starts it, with files in the cache and kernels compiled before. Medians of the
rounds, and their spread; the limits stand beside them. Writes benchmarks/results/start.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from computer import computer

from aocsim.output import write_json

RESULT = Path(__file__).parent / "results" / "start.json"
LIMITS = {"import": 0.3, "help": 0.5, "heart": 15.0, "share outside": 0.1}

HEART = """
import json, sys, time
from aocsim import plots
from aocsim.scenarios import sample

spent = {{}}
def timed(module, function, name):
    real = getattr(module, function)
    def call(*arguments, **options):
        began = time.perf_counter()
        try:
            return real(*arguments, **options)
        finally:
            spent[name] = time.perf_counter() - began
    setattr(module, function, call)

timed(sample, "execute", "solving")
timed(plots, "write_pictures", "drawing")
sys.argv = ["aocsim", "run", "heart", "--quiet", "--out", {out!r}]
from aocsim.cli import main
try:
    main()
finally:
    json.dump(spent, open({found!r}, "w"))
"""


def seconds(command: list[str]) -> float:
    """Wall time of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def heart(folder: Path) -> dict[str, float]:
    """Wall time of a run, and its parts."""
    found = folder / "spent.json"
    code = HEART.format(out=str(folder / "out"), found=str(found))
    spent = {"heart": seconds([sys.executable, "-c", code]), **json.loads(found.read_text())}
    spent["outside"] = spent["heart"] - spent["solving"] - spent["drawing"]
    return {**spent, "share outside": spent["outside"] / spent["heart"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    rounds: list[dict[str, float]] = []
    bare = seconds([sys.executable, "-c", "pass"])
    for _ in range(given.rounds + 1):
        with tempfile.TemporaryDirectory() as place:
            found = heart(Path(place))
        found["import"] = seconds([sys.executable, "-c", "import aocsim"]) - bare
        found["help"] = seconds([sys.executable, "-m", "aocsim", "--help"])
        rounds.append(found)
    rounds = rounds[1:]  # the first one fills the caches
    names = list(rounds[0])
    middle = {name: float(np.median([one[name] for one in rounds])) for name in names}
    spread = {name: float(np.ptp([one[name] for one in rounds])) for name in names}
    for name in names:
        limit = f", allowed {LIMITS[name]:g}" if name in LIMITS else ""
        print(f"{name:14s} {middle[name]:7.3f} (spread {spread[name]:.3f}){limit}")
    record = {
        "computer": computer(os.cpu_count() or 1),
        "rounds": given.rounds,
        "median": {name: round(value, 4) for name, value in middle.items()},
        "spread": {name: round(value, 4) for name, value in spread.items()},
        "limits": LIMITS,
    }
    write_json(RESULT, record)


if __name__ == "__main__":
    main()
