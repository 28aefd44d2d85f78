"""Quality against steps and evaluations: every method, digitally and on the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from aocsim.diffusion.methods import METHODS, Method
from aocsim.diffusion.network import Network, load_network
from aocsim.diffusion.solving import solve
from aocsim.errors import PhysicsError
from aocsim.library import Library
from aocsim.scenarios.digital import reference_of, start_of
from aocsim.scenarios.schema import Record
from aocsim.scenarios.studies.cases import FIGURES, Case, Place, distances, grid, run_cases
from aocsim.scenarios.studies.found import Columns, Found, evaluations_of, figures_over, notes_of, spec_of
from aocsim.scenarios.studies.schema import OverSteps

CONVERGED = "converged"
EXPLICIT = tuple(method for method in METHODS if method in ("explicit_euler", "heun"))
DISTANCES = tuple(name for name in FIGURES if name.startswith(("w2", "mmd2")))


def cases_of(scenario: OverSteps) -> list[Case]:
    """Every model, method and number of steps on the machine."""
    return [
        Case(
            {"model": model, "scheme": method, "machine_steps": float(steps)},
            scenario.of(
                model,
                diffusion=scenario.diffusion.by(method, steps),
                record=Record(samples=0, trials=0, diagnosis=scenario.study.settling),
            ),
        )
        for model in scenario.models
        for method in scenario.study.on_machine
        for steps in scenario.study.machine_steps
    ]


def execute(scenario: OverSteps, library: Library, progress: Callable[[int], object]) -> Found:
    """Run it.

    Raises:
        AocsimError: nothing is possible on the machine.
    """
    ran = run_cases(cases_of(scenario), library, progress)
    study = scenario.study
    notes = notes_of(ran)
    rows: list[tuple[Place, dict[str, float]]] = []
    for model in scenario.models:
        network = load_network(library.model_path(model).with_suffix(".nc"))
        x0 = start_of(network, study.digital_samples, scenario.seed)
        for method in study.methods:
            told = [CONVERGED] if method in EXPLICIT else [CONVERGED, *map(str, study.iterations)]
            for iterations in told:
                for steps in study.steps:
                    place: Place = {
                        "model": model,
                        "scheme": method,
                        "iterations": iterations,
                        "steps": float(steps),
                    }
                    found, failure = _digital(network, x0, method, steps, iterations, model)
                    rows.append((place, found))
                    if failure:
                        notes.append(f"impossible, digitally: {model}, {failure}")
    axes: Mapping[str, Sequence[str | float]] = {
        "model": list(scenario.models),
        "scheme": list(study.methods),
        "iterations": [CONVERGED, *map(str, study.iterations)],
        "steps": [float(steps) for steps in study.steps],
    }
    digital = grid(rows, axes, [*DISTANCES, "evaluations"])
    on_machine: Mapping[str, Sequence[str | float]] = {
        "model": axes["model"],
        "scheme": axes["scheme"],
        "machine_steps": [float(steps) for steps in study.machine_steps],
    }
    variables: Columns = {
        f"digital_{name}": (tuple(axes), digital[name], *FIGURES[name]) for name in DISTANCES
    }
    variables |= figures_over(ran, on_machine, "machine_")
    variables["digital_evaluations"] = (
        tuple(axes),
        digital["evaluations"],
        "1",
        "network evaluations of a digital sample; with iteration to convergence those of its jacobians are counted",
    )
    coordinates: Columns = {
        "model": (("model",), np.array(axes["model"]), "1", "trained model"),
        "scheme": (("scheme",), np.array(axes["scheme"]), "1", "diffusion method"),
        "iterations": (
            ("iterations",),
            np.array(axes["iterations"]),
            "1",
            "iterations of the implicit equation; explicit methods stand under converged",
        ),
        "steps": (("steps",), np.array(study.steps), "1", "steps of diffusion time, digital"),
        "machine_steps": (
            ("machine_steps",),
            np.array(study.machine_steps),
            "1",
            "steps of diffusion time on the machine",
        ),
    }
    return Found(
        variables, coordinates, _summary(scenario, variables), notes, spec_of(ran), evaluations_of(ran)
    )


def _digital(
    network: Network, x0: np.ndarray, method: Method, steps: int, iterations: str, model: str
) -> tuple[dict[str, float], str]:
    count = None if iterations == CONVERGED else int(iterations)
    try:
        found = solve(network, x0, method=method, steps=steps, iterations=count)
    except PhysicsError as error:
        return {}, str(error)
    return distances(found.points[-1], reference_of(network), model) | {
        "evaluations": float(found.evaluations)
    }, ""


def _summary(scenario: OverSteps, variables: Columns) -> dict[str, float]:
    """W2 of every method, mean over the models, and how many steps come within 10 % of the best digital one."""
    out: dict[str, float] = {}
    digital, machine = np.asarray(variables["digital_w2"][1]), np.asarray(variables["machine_w2"][1])
    finite = np.where(np.isfinite(digital), digital, np.inf)
    best = finite.min(axis=(1, 2, 3))[:, None]
    for k, method in enumerate(scenario.study.methods):
        for name, found, steps in (
            ("digital", digital[:, k, 0], scenario.study.steps),
            ("machine", machine[:, k], scenario.study.machine_steps),
        ):
            for j, number in enumerate(steps):
                out[f"w2_{name}.{method}.{number}"] = float(found[:, j].mean())
        near = np.flatnonzero((finite[:, k, 0] <= 1.1 * best).all(axis=0))
        first = float(scenario.study.steps[near[0]]) if len(near) else float("nan")
        out[f"steps_within_10_percent.{method}"] = first
    return out
