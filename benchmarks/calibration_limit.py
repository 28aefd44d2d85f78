"""How near any calibration comes to a diffusion step of its machine, over what the twin's form does not hold.

    python benchmarks/calibration_limit.py [--serials 1 4 5] [--samples 64] [--out calibration_limit]

The heart is compiled for the machine's own laws in the chain's form (`aocsim.calibration.truth.as_built`), which no
experiment can better by much, and run without noise; what is left between the machine's steps
and the twin's is form. Pixels are scattered by 0, 1.25 and 2.5 % (the sheet) beside the product of a row and a column.
Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from aocsim.calibration.closed import TERMS, ClosedFit
from aocsim.calibration.joint import Fitted
from aocsim.calibration.result import dataset_of
from aocsim.calibration.truth import as_built
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.provenance import versions
from aocsim.scenarios.run import run_scenario

RESULTS = Path(__file__).resolve().parent / "results"
SCATTER = ("0 %", "1.25 %", "2.5 %")


def sheet_of(serial: int, parts: dict[str, dict[str, str]], path: Path) -> Path:
    """The sheet of a calibration without any error."""
    spec = Library.open().machine("aoc48", parts)
    chain, electronics = as_built(spec, serial)
    size, n = len(chain.vector), chain.channels
    first = Fitted(chain, np.zeros((size, size)), np.ones(size, dtype=bool), np.ones(1), {}, 0)
    second = ClosedFit(electronics, np.zeros((TERMS * n, TERMS * n)), np.zeros((1, n)), 0)
    limit = Machine.build(spec, serial).dac.full_scale
    attributes = {"drive_limit": limit, "machine": f"aoc48, serial {serial}"}
    dataset_of(first, second, attributes).to_netcdf(path, engine="netcdf4")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--serials", type=int, nargs="+", default=[1, 4, 5])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--out", default="calibration_limit", help="name of the result file")
    given = parser.parse_args()
    rows: list[dict[str, float | str]] = []
    for scatter in SCATTER:
        for serial in given.serials:
            parts = {"optics": {"pixel_structure.spread": scatter}}
            with tempfile.TemporaryDirectory() as scratch:
                sheet = sheet_of(serial, parts, Path(scratch) / "sheet.nc")
                changes = {
                    "serial": serial, "parts": parts, "compile.knowledge": str(sheet), "samples": given.samples,
                    "trials": 1, "solve.noise": False, "record.diagnosis": False,
                }  # fmt: skip
                summary = json.loads(run_scenario("heart", overrides=changes).attrs["summary"])
            figures = {key: summary[key] for key in ("nrmse_step_twin_mean", "nrmse_step_ideal_mean")}
            rows.append({"pixel_scatter": scatter, "serial": serial, **figures})
            print(rows[-1], flush=True)
            result = {"versions": versions(), "samples": given.samples, "rows": rows}
            (RESULTS / f"{given.out}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
