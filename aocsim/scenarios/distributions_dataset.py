"""From a run of kind "distributions" to a Dataset with provenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.metrics import MMD_KERNEL
from aocsim.record import Variables, assemble
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.distributions import CLOUDS, OneModel
from aocsim.scenarios.distributions_schema import Distributions

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

MEASURES = {"w2": "W2", "mmd2": "MMD^2"}


def distributions_dataset(
    scenario: Distributions, found: Sequence[OneModel], wall_seconds: float
) -> xarray.Dataset:
    """Clouds, distances with intervals, errors of the steps, provenance.

    Args:
        scenario: validated.
        found: one for each of its models, in order.
        wall_seconds: wall time of all.
    """
    setup = found[0].setup
    run = np.array([one.run.state for one in found])
    over = ("model", "cloud")
    variables: Variables = {
        "points": (
            ("model", "cloud", "sample", "dim"),
            np.array([[one.clouds[name] for name in CLOUDS] for one in found]),
            "1",
            "points of each cloud, network units; a sample of machine, twin and ideal starts from the same noise",
        ),
        "reference": (
            ("model", "point", "dim"),
            np.array([one.reference for one in found]),
            "1",
            "held-out data",
        ),
        "state": (
            ("model", "step", "sample", "dim"),
            run,
            "1",
            "point after each solve of the loop, machine",
        ),
        "start": (
            ("sample", "dim"),
            found[0].run.start,
            "1",
            "Gaussian noise that a sample starts from, the same for all models",
        ),
        "nrmse_step_ideal": (
            ("model", "step"),
            np.array([one.step_ideal for one in found]),
            "1",
            "read-outs from the digital fixed points of the machine's own states, over their range",
        ),
        "nrmse_step_twin": (
            ("model", "step"),
            np.array([one.step_twin for one in found]),
            "1",
            "read-outs from what the twin predicts for the drive that the machine was given, over its range",
        ),
        "rms_shift": (
            ("model",),
            np.array([one.shift for one in found]),
            "1",
            "RMS distance between machine and ideal samples from the same noise, network units",
        ),
    }
    distances: dict[str, tuple[tuple[str, ...], Array, str, str]] = {}
    for name, text in (
        ("w2", "exact 2-Wasserstein distance from the held-out data, network units"),
        ("mmd2", f"unbiased squared maximum mean discrepancy from the held-out data, {MMD_KERNEL}"),
    ):
        rows = [[getattr(one, name)[cloud] for cloud in CLOUDS] for one in found]
        for k, end in enumerate(("", "_low", "_high")):
            told = text if not end else f"{text}; {end[1:]} end of its 68 % interval"
            distances[name + end] = (over, np.array([[cell[k] for cell in row] for row in rows]), "1", told)
    coordinates: Variables = {
        "model": (("model",), np.array(scenario.models), "1", "trained model"),
        "data_set": (("model",), np.array([one.setup.network.data for one in found]), "1", "data set"),
        "cloud": (("cloud",), np.array(CLOUDS), "1", "cloud of points"),
        "sample": (("sample",), np.arange(scenario.samples), "1", "diffusion sample"),
        "step": (("step",), np.arange(1, run.shape[1] + 1), "1", "solve of the loop"),
        "diffusion_time": (("step",), setup.stepping.times, "1", "diffusion time at the end of the step"),
        "dim": (("dim",), np.arange(run.shape[-1]), "1", "data dimension"),
    }
    attributes = {
        **attributes_of(
            scenario,
            setup.spec,
            notes=notes_of(scenario, found),
            summary=summary_of(found),
            wall_seconds=wall_seconds,
        ),
        "solver_nfev": sum(one.run.evaluations for one in found),
        "knowledge": str(scenario.compile.knowledge),
        "wall_seconds_trimming": sum(one.run.trim_seconds for one in found),
        "wall_seconds_solving": sum(one.run.solve_seconds for one in found),
    }
    return assemble({**variables, **distances}, coordinates, attributes)


def summary_of(found: Sequence[OneModel]) -> dict[str, float]:
    """Flat figures of merit: of each model under KEY.MODEL, and over all models."""
    out: dict[str, float] = {}
    for one in found:
        for cloud in CLOUDS:
            out[f"w2_{cloud}.{one.model}"] = one.w2[cloud].estimate
            out[f"mmd2_{cloud}.{one.model}"] = one.mmd2[cloud].estimate
        out[f"nrmse_step_ideal.{one.model}"] = float(one.step_ideal.mean())
        out[f"nrmse_step_twin.{one.model}"] = float(one.step_twin.mean())
        out[f"rms_shift.{one.model}"] = one.shift
    over_twin = [one.w2["machine"].estimate / one.w2["twin"].estimate for one in found]
    return out | {
        "nrmse_step_ideal_mean": float(np.mean([one.step_ideal for one in found])),
        "nrmse_step_twin_mean": float(np.mean([one.step_twin for one in found])),
        "rms_shift_mean": float(np.mean([one.shift for one in found])),
        "w2_machine_over_twin_mean": float(np.mean(over_twin)),
        "models_clear_of_the_gaussian": float(sum(bool(clear_of_the_floor(one)) for one in found)),
        "models_better_than_the_gaussian": float(sum(better_than_the_gaussian(one) for one in found)),
    }


def clear_of_the_floor(one: OneModel) -> list[str]:
    """Measures by which the fitted Gaussian is clearly worse than a second data sample: intervals do not touch."""
    return [
        name for name in MEASURES if getattr(one, name)["gaussian"].low > getattr(one, name)["floor"].high
    ]


def better_than_the_gaussian(one: OneModel) -> bool:
    """Whether the machine's samples are nearer to the data than the fitted Gaussian's, by all measures that tell.

    A measure by which the Gaussian is as good as data tells nothing.
    """
    measures = clear_of_the_floor(one)
    return bool(measures) and all(
        getattr(one, name)["machine"].estimate < getattr(one, name)["gaussian"].estimate for name in measures
    )


def notes_of(scenario: Distributions, found: Sequence[OneModel]) -> list[str]:
    """What a reader of the figures should know."""
    notes = list(found[0].setup.known_by_another)
    if scenario.compile.calibration is None:
        notes.append("The twin is exported from the machine as built, by fits to its laws from inside.")
    for name, told in MEASURES.items():
        near = [one.model for one in found if name not in clear_of_the_floor(one)]
        if near:
            notes.append(
                f"By {told} a fitted Gaussian is not clearly worse than a second data sample of: {', '.join(near)}."
            )
    worse = [one.model for one in found if clear_of_the_floor(one) and not better_than_the_gaussian(one)]
    if worse:
        notes.append(f"The machine is no better than the fitted Gaussian at: {', '.join(worse)}.")
    return notes
