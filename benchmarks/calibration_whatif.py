r"""What moves a calibration's errors: trials, hours, a wrong alpha, and what the twin's form does not hold.

    python benchmarks/calibration_whatif.py [--serial 1] [--out calibration_whatif]

The typical machine with fewer experiments than the shipped scenarios have, so that a table takes minutes: mean errors
of held-out experiments with the loop open and closed. Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from aocsim.calibration.closed import Electronics, at_rest, rests
from aocsim.calibration.record import read_record
from aocsim.calibration.sheet import read_sheet
from aocsim.scenarios.calibrate import relative
from aocsim.scenarios.run import run_scenario

RESULTS = Path(__file__).resolve().parent / "results"
FEWER = {
    "open.matrices": 24, "open.held_out": 4, "open.inputs": 4, "open.gains": 4, "open.trials": 20,
    "open.dedicated_trials": 20, "closed.matrices": 150, "closed.held_out": 50, "closed.trials": 20,
}  # fmt: skip
TRIALS = (1, 5, 20, 100)
HOURS = (0.0, 1.0, 8.0, 24.0, 168.0)
WRONG = (0.0, 1e-4, 1e-3, 1e-2)
BEYOND = ("0", "0.05", "0.1", "0.2")
# per cent of scatter that no product of row and column holds; the sheet has 2.5
PIXELS = (0.0, 1.25, 2.5, 4.0, 6.0)
FIGURES = ("open_loop_nrmse_mean", "closed_loop_nrmse_mean", "open_loop_alone_nrmse_mean")


def calibrated(changes: dict[str, Any], folder: Path, library: Path | None = None) -> dict[str, float]:
    """A calibration's summary."""
    data = run_scenario("calibrate_closed_loop", overrides=FEWER | changes, out=folder, library=library)
    return dict(json.loads(data.attrs["summary"]))


def with_pixels(folder: Path) -> dict[float, dict[str, Any]]:
    """Sheets of optics with other scatter of the pixels, put into a library; and the changes that take them."""
    text = (Path(__file__).parents[1] / "components" / "optics.toml").read_text(encoding="utf-8")
    assert text.count('spread = "2.5 %"') == 1
    (folder / "components").mkdir(parents=True)
    for share in PIXELS:
        name = f"optics_{share:g}".replace(".", "_")
        sheet = text.replace('spread = "2.5 %"', f'spread = "{share} %"')
        sheet = sheet.replace('name = "optics"', f'name = "{name}"')
        (folder / "components" / f"{name}.toml").write_text(sheet, encoding="utf-8")
    return {share: {"parts.optics.sheet": f"optics_{share:g}".replace(".", "_")} for share in PIXELS}


def with_wrong_alpha(folder: Path, held_out: int) -> list[dict[str, float]]:
    """The errors of the closed loop where alpha arrives otherwise than was found, by a common factor."""
    record, sheet = read_record(folder / "experiments.nc"), read_sheet(folder / "result.nc")
    assert sheet.electronics is not None
    held = at_rest(record.stage("closed")[-held_out:], record.facts.grey_levels)
    rows = []
    for wrong in WRONG:
        found = sheet.electronics
        changed = Electronics(found.gradient, found.alpha * (1 + wrong), found.drive, found.offset)
        z, _ = rests(sheet.chain, changed, held)
        rows.append(
            {
                "alpha_wrong_by": wrong,
                "closed_loop_nrmse_mean": float(np.nanmean(relative(z - held.rest, held.rest))),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serial", type=int, default=1)
    parser.add_argument("--out", default="calibration_whatif", help="name of the result file")
    arguments = parser.parse_args()
    tables: dict[str, Any] = {"serial": arguments.serial, "experiments": FEWER}
    path = RESULTS / f"{arguments.out}.json"
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)

        def table(name: str, key: str, changes: dict[Any, dict[str, Any]]) -> None:
            rows = []
            for value, change in changes.items():
                library = place / "library"
                found = calibrated({"serial": arguments.serial, **change}, place / f"{name}-{value}", library)
                rows.append({key: value, **{figure: found[figure] for figure in FIGURES}})
                print(rows[-1], flush=True)
            tables[name] = rows
            path.write_text(json.dumps(tables, indent=1) + "\n")

        pixels = with_pixels(place / "library")
        trials = ("open.trials", "open.dedicated_trials", "closed.trials")
        table("trials", "trials", {count: dict.fromkeys(trials, count) for count in TRIALS})
        table("hours", "hours_later", {hours: {"hours_later": hours} for hours in HOURS})
        table("pixels", "pixel_structure_per_cent", pixels)
        table("crosstalk", "crosstalk_beyond", {q: {"parts.optics.crosstalk_beyond": q} for q in BEYOND})
        tables["alpha"] = with_wrong_alpha(place / "hours-0.0", FEWER["closed.held_out"])
        print(*tables["alpha"], sep="\n", flush=True)
    path.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
