"""Trained through a machine's calibration, or on the nominal activation and compensated: a paired comparison.

Both networks of a pair go on from the same shipped model for equally many iterations with the same draws, one through
the calibrated machine, one on the activation alone. Both are then programmed by the same calibration and run on the
machine from the same noise. The nominal one is compensated: trimmed at its operating point towards its digital fixed
points. The other one has learned the machine's errors, and the trim would take away what it has made of them: it runs
without. A network that has no fixed point at some step is a pair without figures, and
told. Writes benchmarks/results/through_training.json after every pair and goes on where it stopped.

    python benchmarks/through_training.py 1=results/serial1/result.nc 2=results/serial2/result.nc

where each file is the result of `aocsim run calibrate_closed_loop --set serial=SERIAL`. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from aocsim.diffusion.network import load_network, save_network
from aocsim.diffusion.train import Recipe, load_recipe, train
from aocsim.errors import PhysicsError
from aocsim.library import Library
from aocsim.machine import nominal_activation
from aocsim.output import write_json
from aocsim.scenarios.believed import programming_of
from aocsim.scenarios.distributions_schema import Distributions
from aocsim.scenarios.load import load_scenario
from aocsim.scenarios.run import run_scenario

RESULT = Path(__file__).parent / "results" / "through_training.json"
SCENARIO = "distributions_2d"
# that the shipped models' outcome is taken at
STEPS = {"diffusion.method": "implicit_euler", "diffusion.steps": 16}
RATE = 2e-3  # a fifth of what the shipped models end their first half with: they go on, and do not begin anew
RESAMPLED = 10_000


def interval(differences: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the mean over whole shapes, so that serials of one shape stay together."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(differences), (RESAMPLED, len(differences)))
    means = differences[drawn].mean(axis=(1, 2))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


ARMS = {"nominal": ("nominal", 128), "through": ("through", 0)}
"""Network, and noise samples of the trim at the operating point, of each arm."""

KEYS = ("w2_machine", "mmd2_machine", "w2_ideal", "nrmse_step_ideal", "nrmse_step_twin")


def pair(model: str, serial: int, sheet: Path, iterations: int, threads: int) -> dict[str, object]:
    """Train both networks of a pair, run all arms and measure them."""
    library = Library.open()
    recipe = load_recipe(library.model_path(model).with_suffix(".toml"))
    spec = library.machine(recipe.activation)
    begin = load_network(library.model_path(model).with_suffix(".nc"))
    row: dict[str, object] = {"model": model, "serial": serial}
    networks = {}
    for word, through in (("nominal", "ideal"), ("through", str(sheet))):
        changed = {"iterations": iterations, "learning_rate": RATE, "through": through, "seed": serial}
        plan = Recipe.model_validate(
            recipe.model_dump(by_alias=True) | {"training": recipe.training.model_dump() | changed}
        )
        began = time.perf_counter()
        networks[word], _ = train(
            plan, nominal_activation(spec), start=begin, through=programming_of(plan, spec, library)
        )
        row[f"seconds_training_{word}"] = round(time.perf_counter() - began, 1)
    for arm, (word, trim) in ARMS.items():
        with tempfile.TemporaryDirectory() as folder:
            models = Path(folder) / "models"
            models.mkdir()
            save_network(networks[word], models / f"{model}.nc")
            # a model is found by its recipe
            shutil.copy(library.model_path(model).with_suffix(".toml"), models)
            changes = {
                "models": [model],
                "serial": serial,
                **STEPS,
                "compile.knowledge": str(sheet),
                "compile.operating_point_trim": trim,
                "solve.threads": threads,
            }
            data = run_scenario(SCENARIO, library=Path(folder), overrides=changes)
            found = json.loads(data.attrs["summary"])
        row |= {f"{key}.{arm}": found[f"{key}.{model}"] for key in KEYS}
    return row


def summary_of(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Means, and paired differences with their intervals, over the shapes that all serials have."""
    good = [row for row in rows if "failure" not in row]
    serials = sorted({row["serial"] for row in good})
    by = {(row["model"], row["serial"]): row for row in good}
    models = sorted({model for model, _ in by if all((model, serial) in by for serial in serials)})
    out: dict[str, object] = {
        "serials": serials,
        "models": models,
        "failures": [f"{row['model']}, serial {row['serial']}" for row in rows if "failure" in row],
    }
    if not models:
        return out
    for key in ("w2_machine", "mmd2_machine", "nrmse_step_ideal"):
        values = {
            arm: np.array([[by[m, s][f"{key}.{arm}"] for s in serials] for m in models]) for arm in ARMS
        }
        out |= {f"{key}.{arm}": float(found.mean()) for arm, found in values.items()}
        off = values["through"] - values["nominal"]
        out[f"{key}.through_less_nominal"] = float(off.mean())
        out[f"{key}.through_less_nominal.interval_95"] = interval(off)
    return out


def main() -> None:
    """Run what is missing of all pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheets", nargs="+", metavar="SERIAL=PATH")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    sheets = {int(text.split("=")[0]): Path(text.split("=")[1]) for text in given.sheets}
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    scenario = load_scenario(SCENARIO, Library.open())
    assert isinstance(scenario, Distributions)
    for serial, sheet in sheets.items():
        for model in scenario.models:
            if any(row["model"] == model and row["serial"] == serial for row in rows):
                continue
            try:
                rows.append(pair(model, serial, sheet, given.iterations, given.threads))
            except PhysicsError as error:
                rows.append({"model": model, "serial": serial, "failure": str(error)})
            write_json(RESULT, {"iterations": given.iterations, "summary": summary_of(rows), "rows": rows})
            print(json.dumps(rows[-1]), flush=True)
    write_json(RESULT, {"iterations": given.iterations, "summary": summary_of(rows), "rows": rows})
    print(json.dumps(summary_of(rows), indent=1))


if __name__ == "__main__":
    main()
