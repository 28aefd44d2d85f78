"""Collect what the studies of the diffusion came to, and what each took: `make studies`.

Writes benchmarks/results/studies.json from the folders RESULTS/NAME of `aocsim run NAME`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aocsim.output import write_json
from aocsim.record import read_result

RESULT = Path(__file__).parent / "results" / "studies.json"
NAMES = (
    "distributions_2d",
    "distributions_2d_1000",
    "steps",
    "noise",
    "averaging",
    "readout",
    "relaxation",
)


def main() -> None:
    """Collect those that are there; what is on record of the others stays."""
    folder = Path(sys.argv[1])
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in NAMES:
        file = folder / name / "result.nc"
        if not file.exists():
            continue
        data = read_result(file)
        found[name] = {
            "scenario": json.loads(data.attrs["scenario"]),
            "wall_seconds": round(float(data.attrs["wall_seconds"]), 1),
            "notes": json.loads(data.attrs["notes"]),
            "summary": json.loads(data.attrs["summary"]),
        }
    write_json(RESULT, found)


if __name__ == "__main__":
    main()
