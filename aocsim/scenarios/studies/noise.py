r"""What the diffusion makes of noise: more of it on the machine, and one kick to the points.

A small deviation :math:`\delta` of the points is carried through a step of length dt as

.. math::
    \delta' = (1 - dt J)^{-1}\,\delta \quad \text{(implicit Euler)}, \qquad
    \delta' = (1 + dt J)\,\delta \quad \text{(explicit Euler)},                                              (1)

with J the velocity's jacobian, at the end of the step or at its begin. Where J contracts, either absorbs; where it
expands, as from noise to the edges of a shape, implicit steps expand more than explicit ones of the same length. Which
of them wins is measured: the machine's runs with a kick and without one have the same draws, so that their difference
is the kick's alone but for read-outs that fall on other codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.methods import Method, solves_per_step
from aocsim.diffusion.network import Network, load_network
from aocsim.diffusion.solving import differences
from aocsim.errors import PhysicsError
from aocsim.library import Library
from aocsim.scenarios.ideal import fixed_points, ideal_states
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.studies.cases import Case, Place, Ran, grid, run_cases
from aocsim.scenarios.studies.found import Columns, Found, evaluations_of, figures_over, notes_of, spec_of
from aocsim.scenarios.studies.schema import NoiseStudy
from aocsim.seeds import stream

Array = NDArray[np.float64]

WAYS = ("machine", "digital", "linear")


def kick_of(scenario: NoiseStudy, width: int) -> Array:
    """(samples, d) kicks of the study's length, every one in a direction of its own."""
    direction = stream(scenario.seed, "kick").standard_normal((scenario.samples, width))
    return np.asarray(scenario.study.kick * direction / np.linalg.norm(direction, axis=1, keepdims=True))


def cases_of(scenario: NoiseStudy, widths: Mapping[str, int]) -> list[Case]:
    """Every model and method at every noise, and with every kick at the scenario's own noise."""
    out = []
    for model in scenario.models:
        for method in scenario.study.methods:
            diffusion = scenario.diffusion.by(method)
            per = solves_per_step(method, diffusion.explicit_half)
            for scale in scenario.study.scales:
                solve = scenario.solve.model_copy(update={"noise_scale": scale * scenario.solve.noise_scale})
                place: Place = {"model": model, "scheme": method, "noise_scale": scale}
                out.append(Case(place, scenario.of(model, diffusion=diffusion, solve=solve)))
            unkicked = scenario.of(model, diffusion=diffusion)
            out.append(Case({"model": model, "scheme": method, "kicked_after": 0.0}, unkicked))
            for step in scenario.study.kicked_after:
                place = {"model": model, "scheme": method, "kicked_after": float(step)}
                kicks = {step * per - 1: kick_of(scenario, widths[model])}
                out.append(Case(place, unkicked, kicks))
    return out


def execute(scenario: NoiseStudy, library: Library, progress: Callable[[int], object]) -> Found:
    """Run it.

    Raises:
        AocsimError: nothing is possible on the machine.
    """
    study, steps = scenario.study, scenario.diffusion.steps
    ran = run_cases(cases_of(scenario, widths_of(scenario, library)), library, progress)
    noisy = [one for one in ran if "noise_scale" in one.place]
    kicked = [one for one in ran if "kicked_after" in one.place]
    base: dict[str, Sequence[str | float]] = {"model": scenario.models, "scheme": study.methods}
    scales = {**base, "noise_scale": list(study.scales)}
    variables = figures_over(noisy, scales)
    more = grid(
        _noise_rows(noisy), scales, ["noise_per_step", "noise_left", "noise_added_up", "noise_share_left"]
    )
    told = {
        "noise_per_step": "RMS noise of a step's result, mean over the steps, network units",
        "noise_left": "RMS scatter of the final points about those of the machine without noise, network units",
        "noise_added_up": "the steps' noise added up in squares, as if the diffusion carried all of it along",
        "noise_share_left": "noise that is left over noise that was added up; below 1 the diffusion absorbs",
    }
    variables |= {name: (tuple(scales), more[name], "1", told[name]) for name in told}
    ways = {**base, "way": list(WAYS), "kicked_after": [float(k) for k in study.kicked_after]}
    curve = np.full([*(len(values) for values in ways.values()), steps], np.nan)
    for index, values in _kick_curves(scenario, kicked, ways):
        curve[index] = values
    variables["kick"] = (
        (*ways, "step"),
        curve,
        "1",
        "RMS deviation that a kick has left after a step, over the kick; nan before it",
    )
    coordinates: Columns = {
        "model": (("model",), np.array(scenario.models), "1", "trained model"),
        "scheme": (("scheme",), np.array(study.methods), "1", "diffusion method"),
        "noise_scale": (("noise_scale",), np.array(study.scales), "1", "factor on the machine's noise"),
        "way": (("way",), np.array(WAYS), "1", "how the kick was followed: linear is equation (1)"),
        "kicked_after": (("kicked_after",), np.array(study.kicked_after), "1", "step that the kick follows"),
        "step": (("step",), np.arange(1, steps + 1), "1", "diffusion step"),
    }
    summary: dict[str, float] = {}
    for k, method in enumerate(study.methods):
        for name in ("w2", "noise_left", "noise_share_left"):
            values = np.asarray(variables[name][1])[:, k].mean(axis=0)
            for scale, value in zip(study.scales, values, strict=True):
                if scale or name == "w2":
                    summary[f"{name}.{method}.{scale:g}"] = float(value)
        for w, way in enumerate(WAYS):
            for j, step in enumerate(study.kicked_after):
                summary[f"kick_left_{way}.{method}.{step}"] = float(curve[:, k, w, j, -1].mean())
    return Found(variables, coordinates, summary, notes_of(ran), spec_of(ran), evaluations_of(ran))


def widths_of(scenario: NoiseStudy, library: Library) -> dict[str, int]:
    """Dimension of every model's data."""
    files = {model: library.model_path(model).with_suffix(".nc") for model in scenario.models}
    return {model: load_network(file).layout[0] for model, file in files.items()}


def _noise_rows(noisy: Sequence[Ran]) -> list[tuple[Mapping[str, str | float], dict[str, float]]]:
    quiet = {
        (one.place["model"], one.place["scheme"]): one.run
        for one in noisy
        if one.place["noise_scale"] == 0 and one.run is not None
    }
    rows = []
    for one in noisy:
        silent = quiet.get((one.place["model"], one.place["scheme"]))
        if one.run is None or one.setup is None or silent is None:
            continue
        per_step = np.sqrt(np.maximum(_scatter(one.setup, one.run) - _scatter(one.setup, silent), 0.0))
        # trims with noise find other offsets, and these move all points together
        left = float(np.sqrt((one.run.state[-1] - silent.state[-1]).var(axis=0).sum()))
        added = float(np.sqrt((per_step**2).sum()))
        share = left / added if one.place["noise_scale"] else float("nan")
        rows.append(
            (
                one.place,
                {
                    "noise_per_step": float(per_step.mean()),
                    "noise_left": left,
                    "noise_added_up": added,
                    "noise_share_left": share,
                },
            )
        )
    return rows


def _scatter(setup: Setup, run: Run) -> Array:
    """Mean squared scatter over the samples of each solve's result about the digital one, (solves,)."""
    units, out = setup.compiled.program.units, []
    for k, (volts, ideal) in enumerate(zip(run.read_out, run.ideal_fixed_point, strict=True)):
        result = setup.stepping.result_of(k)
        out.append(float((units(volts) - ideal)[:, result].var(axis=0).sum()))
    return np.array(out)


def _kick_curves(
    scenario: NoiseStudy, kicked: Sequence[Ran], ways: Mapping[str, Sequence[str | float]]
) -> list[tuple[tuple[int, ...], Array]]:
    still = {
        (one.place["model"], one.place["scheme"]): one for one in kicked if one.place["kicked_after"] == 0
    }
    out = []
    for one in kicked:
        before = still[one.place["model"], one.place["scheme"]]
        step = int(float(one.place["kicked_after"]))
        if not step or one.setup is None or one.run is None or before.run is None:
            continue
        setup, size = one.setup, scenario.study.kick
        kick = kick_of(scenario, one.run.start.shape[1])
        per = setup.stepping.per_step
        found = {
            "machine": _rms(one.run.state[per - 1 :: per] - before.run.state[per - 1 :: per]) / size,
            "digital": _digital(setup, one.run.start, step, kick, per) / size,
            "linear": _linear(setup, one.run.start, step, kick, per) / size,
        }
        for way, values in found.items():
            values[: step - 1] = np.nan
            place = {**one.place, "way": way}
            out.append((tuple(list(ways[axis]).index(place[axis]) for axis in ways), values))
    return out


def _rms(deviation: Array) -> Array:
    """Root mean square length over the samples, (steps,)."""
    return np.asarray(np.sqrt((deviation**2).sum(axis=-1).mean(axis=-1)))


def _digital(setup: Setup, start: Array, step: int, kick: Array, per: int) -> Array:
    """RMS deviation after each step of the digital samples, (steps,)."""
    stepping = setup.stepping
    states = ideal_states(stepping, start)
    points = [start, *states[: step * per]]
    points[-1] = points[-1] + kick
    out = [0.0] * (step - 1)
    out.append(float(_rms(kick)))
    while len(points) <= stepping.solves:
        x, t = stepping.ask(points)
        operator = stepping.operator_of(len(points) - 1)
        found = fixed_points(operator, x, t)[:, operator.result]
        points.append(stepping.accept(points, found))
        if (len(points) - 1) % per == 0:
            out.append(float(_rms(points[-1] - states[len(points) - 2])))
    return np.array(out)


def _linear(setup: Setup, start: Array, step: int, kick: Array, per: int) -> Array:
    """The same by equation (1) along the undisturbed samples; nan for methods that it does not hold for."""
    stepping, method = setup.stepping, setup.scenario.diffusion.method
    if method not in ("implicit_euler", "explicit_euler"):
        return np.full(stepping.steps, np.nan)
    states = [start, *ideal_states(stepping, start)]
    deviation, eye = kick.copy(), np.eye(kick.shape[1])
    out = [*[0.0] * (step - 1), float(_rms(kick))]
    for k in range(step, stepping.steps):
        deviation = carried(setup.network, states, k, stepping.dt, method, deviation, eye)
        out.append(float(_rms(deviation)))
    return np.array(out)


def carried(
    network: Network, states: Sequence[Array], k: int, dt: float, method: Method, deviation: Array, eye: Array
) -> Array:
    """Equation (1): deviations (samples, d) after the step from states[k] to states[k + 1]."""
    implicit = method == "implicit_euler"
    jacobian = differences(network.velocity, states[k + 1] if implicit else states[k], (k + implicit) * dt)
    if not implicit:
        return np.asarray(deviation + dt * np.einsum("sij,sj->si", jacobian, deviation))
    try:
        return np.asarray(np.linalg.solve(eye - dt * jacobian, deviation[..., None])[..., 0])
    except np.linalg.LinAlgError as error:
        raise PhysicsError(f"the implicit step {k + 1} is singular") from error
