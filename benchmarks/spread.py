"""Steps and noise over several machines and models, with intervals: what one machine and one heart do not tell.

    python benchmarks/spread.py --serials 1 2 3 --models heart letter_a star

Runs the studies `steps` and `noise` with fewer samples, steps and cases than they have by themselves, once for each
model and machine. Figures are means over these pairs with Student's 95 % interval, which takes the pairs as independent
and their scatter as normal; a difference is taken within each pair first. Distances of few samples are large, but their
differences are the same machine's from the same noise. Writes benchmarks/results/spread.json after every run and goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from aocsim.errors import PhysicsError
from aocsim.output import write_json
from aocsim.scenarios.run import run_scenario

if TYPE_CHECKING:
    import xarray

RESULT = Path(__file__).parent / "results" / "spread.json"
Figures = dict[str, float]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """Student's interval of the mean of values (n,); none of one value."""
    if len(values) < 2:
        return None, None
    half = float(student.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def settings_of(kind: str, samples: int, steps: int) -> dict[str, object]:
    """What a study is changed to."""
    common: dict[str, object] = {"samples": samples, "compile.operating_point_trim": samples}
    if kind == "noise":
        own = {"diffusion.steps": steps, "study.scales": [0.0, 1.0, 10.0], "study.kicked_after": [steps // 2]}
    else:
        numbers = [steps // 2, steps]
        own = {"study.machine_steps": numbers, "study.steps": numbers, "study.iterations": [1]}
        own["study.digital_samples"] = samples
    return {**common, **own}


def of_steps(data: xarray.Dataset) -> Figures:
    """One model's W2 on the machine, and how much larger than digitally."""
    out: Figures = {}
    digital = data["digital_w2"].sel(iterations="converged")
    for scheme in map(str, data["scheme"].values):
        for steps in map(int, data["machine_steps"].values):
            here = float(data["machine_w2"].sel(scheme=scheme, machine_steps=steps))
            there = float(digital.sel(scheme=scheme, steps=steps))
            out[f"w2.{scheme}.{steps}"] = here
            out[f"w2_less_digital.{scheme}.{steps}"] = here - there
    return out


def of_noise(data: xarray.Dataset) -> Figures:
    """One model's response to more noise and to a kick, and the implicit method's less the explicit one's."""
    out: Figures = {}
    for scheme in map(str, data["scheme"].values):
        here = data.sel(scheme=scheme)
        silent = float(here["w2"].sel(noise_scale=0.0))
        for scale in (float(value) for value in data["noise_scale"].values if value):
            out[f"w2_less_silent.{scheme}.{scale:g}"] = float(here["w2"].sel(noise_scale=scale)) - silent
            out[f"noise_share_left.{scheme}.{scale:g}"] = float(
                here["noise_share_left"].sel(noise_scale=scale)
            )
        for step in map(int, data["kicked_after"].values):
            kick = here["kick"].sel(kicked_after=step).isel(step=-1)
            out |= {
                f"kick_left_{way}.{scheme}.{step}": float(kick.sel(way=way)) for way in kick["way"].values
            }
    for key in [key for key in out if ".implicit_euler." in key]:
        name, rest = key.split(".implicit_euler.")
        out[f"{name}.implicit_less_explicit.{rest}"] = out[key] - out[f"{name}.explicit_euler.{rest}"]
    return out


OF = {"steps": of_steps, "noise": of_noise}


def summary_of(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Means over models and machines with their intervals, by kind."""
    out: dict[str, object] = {}
    for kind in OF:
        good = [row["figures"] for row in rows if row["kind"] == kind and "figures" in row]
        if not good:
            continue
        told: dict[str, object] = {"pairs": len(good)}
        for key in good[0]:
            values = np.array([figures[key] for figures in good], dtype=float)
            finite = values[np.isfinite(values)]
            told[key] = None
            if len(finite):
                low, high = interval(finite)
                told[key] = {"mean": float(finite.mean()), "low": low, "high": high, "of": len(finite)}
        out[kind] = told
    return out


def main() -> None:
    """Run what is missing of all pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serials", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--models", nargs="+", default=["heart", "letter_a", "star"])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for model in given.models:
        for serial in given.serials:
            for kind, figures_of in OF.items():
                changes = settings_of(kind, given.samples, given.steps)
                place = {"kind": kind, "model": model, "serial": serial, "changes": changes}
                if any(all(row[key] == value for key, value in place.items()) for row in rows):
                    continue
                asked = {**changes, "models": [model], "serial": serial, "solve.threads": given.threads}
                try:
                    data = run_scenario(kind, overrides=asked)
                    figures = figures_of(data.sel(model=model))
                    known = {key: value if np.isfinite(value) else None for key, value in figures.items()}
                    told = {"figures": known, "notes": json.loads(data.attrs["notes"])}
                except PhysicsError as error:
                    told = {"failure": str(error)}
                rows.append(place | told)
                write_json(RESULT, {"summary": summary_of(rows), "rows": rows})
                print(f"{kind}, {model}, serial {serial}: done", flush=True)
    write_json(RESULT, {"summary": summary_of(rows), "rows": rows})
    print(json.dumps(summary_of(rows), indent=1))


if __name__ == "__main__":
    main()
