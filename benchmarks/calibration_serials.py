"""Both stages of the calibration as shipped, on several machines: errors of held-out experiments, and the time.

    python benchmarks/calibration_serials.py [--serials 10] [--first 1] [--more] [--out calibration_serials]

Each serial of the typical machine is calibrated by `calibrate_closed_loop` without a change: 4,200 experiments with the
loop open and 1,000 with it closed, 100 trials each, the dedicated ones and the transients. The heart is then compiled
for the sheet that comes out, on the same machine. Writes benchmarks/results/NAME.json after every machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aocsim.provenance import versions
from aocsim.scenarios.run import run_scenario

RESULTS = Path(__file__).resolve().parent / "results"
CALIBRATION = (
    "nominal_nrmse_mean", "dedicated_nrmse_mean", "open_loop_nrmse_mean", "open_loop_nrmse_p95",
    "nominal_closed_loop_nrmse_mean", "open_loop_alone_nrmse_mean", "closed_loop_nrmse_mean", "closed_loop_nrmse_p95",
    "closed_loop_n", "closed_loop_oscillating", "closed_loop_bistable", "unidentified", "transient_chi_squared_mean",
    "solves", "bench_s",
)  # fmt: skip
HEART = ("nrmse_step_ideal_mean", "nrmse_step_twin_mean", "rms_shift", "w2_machine", "w2_ideal")


def calibrated(serial: int, folder: Path) -> dict[str, float]:
    """Figures of one machine, and seconds: of the experiments, of the fits with all that is written, of the heart."""
    began = time.perf_counter()
    data = run_scenario("calibrate_closed_loop", overrides={"serial": serial}, out=folder / "sheet")
    whole = time.perf_counter() - began
    summary = json.loads(data.attrs["summary"])
    measuring = float(data.attrs["wall_seconds_measuring"])
    changes = {"serial": serial, "compile.knowledge": str(folder / "sheet" / "result.nc")}
    began = time.perf_counter()
    heart = json.loads(run_scenario("heart", overrides=changes).attrs["summary"])
    return {
        **{key: summary[key] for key in CALIBRATION},
        **{f"heart_{key}": heart[key] for key in HEART},
        "seconds": whole,
        "seconds_measuring": measuring,
        "seconds_heart": time.perf_counter() - began,
    }


def over_machines(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, smallest and largest of every figure."""
    out = {}
    for key in next(iter(found.values())):
        values = np.array([one[key] for one in found.values()])
        out[key] = {"mean": float(values.mean()), "least": float(values.min()), "most": float(values.max())}
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--serials", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--more", action="store_true", help="add to the machines of the result file")
    parser.add_argument("--out", default="calibration_serials", help="name of the result file")
    given = parser.parse_args(arguments)
    path = RESULTS / f"{given.out}.json"
    found: dict[str, dict[str, float]] = {}
    if given.more and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))["machines"]
    for serial in range(given.first, given.first + given.serials):
        with tempfile.TemporaryDirectory() as scratch:
            found[str(serial)] = one = calibrated(serial, Path(scratch))
        print(
            f"serial {serial}: open {one['open_loop_nrmse_mean']:.4f} (data sheets {one['nominal_nrmse_mean']:.3f}), "
            f"closed {one['closed_loop_nrmse_mean']:.4f} ({one['open_loop_alone_nrmse_mean']:.4f} before), heart's "
            f"step {one['heart_nrmse_step_ideal_mean']:.4f}, {one['heart_nrmse_step_twin_mean']:.4f} of the twin; "
            f"{one['seconds']:.0f} s, of which {one['seconds_measuring']:.0f} s of experiments",
            flush=True,
        )
        result: dict[str, Any] = {"versions": versions(), "over": over_machines(found), "machines": found}
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for key, row in over_machines(found).items():
        print(f"{key:<36}{row['mean']:>12.5g}{row['least']:>12.5g}{row['most']:>12.5g}")


if __name__ == "__main__":
    main()
