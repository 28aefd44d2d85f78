"""What whole commands cost: wall and processor time, and the peak resident size of all their processes together.

    python benchmarks/cost.py calibrate_closed_loop distributions_2d sweep

Each is run as a user would, with as many processes as the computer has cores, and its limits stand beside what it took.
Where others compute beside it, the processor time says more than the clock. What processes share is counted for each.
Writes benchmarks/results/cost.json.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_memory import LOOK_EVERY, resident
from computer import computer

from aocsim.output import write_json

RESULT = Path(__file__).parent / "results" / "cost.json"
COMMANDS = {
    "calibrate_closed_loop": ["run", "calibrate_closed_loop"],
    "distributions_2d": ["run", "distributions_2d"],
    "sweep": ["sweep", "heart", "--vary", "parts.slm.contrast=50:5000:log:100", "--set", "samples=64"],
}
LIMITS = {
    "calibrate_closed_loop": {"seconds": 180.0},
    "distributions_2d": {"seconds": 300.0, "bytes": 2 * 2**30},
    "sweep": {"seconds": 120.0},
}


def cost(words: list[str]) -> dict[str, Any]:
    """Seconds and bytes of one command, its results thrown away."""
    with tempfile.TemporaryDirectory() as place:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(
            [sys.executable, "-m", "aocsim", *words, "--quiet", "--out", str(Path(place) / "out")],
            start_new_session=True,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(resident(process.pid).values()))
            time.sleep(LOOK_EVERY)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{words[0]} ended with status {process.returncode}")
    processor = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "bytes": peak,
        "computer": computer(os.cpu_count() or 1),
    }


def main() -> None:
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in sys.argv[1:] or COMMANDS:
        found[name] = {
            "command": " ".join(["aocsim", *COMMANDS[name]]),
            **cost(COMMANDS[name]),
            "limits": LIMITS[name],
        }
        print(name, found[name], flush=True)
        write_json(RESULT, found)


if __name__ == "__main__":
    main()
