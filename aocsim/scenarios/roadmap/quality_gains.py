"""From W2 and energies of kind "quality_energy" to gains: columns, summary and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.roadmap.quality import NAMES, Interval, Setting, gain, intervals
from aocsim.roadmap.split import OPENED
from aocsim.scenarios.roadmap.quality_schema import QualityEnergy
from aocsim.scenarios.studies import steps as over_steps
from aocsim.scenarios.studies.found import Columns, Found
from aocsim.seeds import stream

Array = NDArray[np.float64]

ACCOUNTS = ("settling", "events", "bench")
"""What is counted of the machine: the closed loop until it has settled; all parts during their events; all the time."""

TARGETS = 41  # qualities of the curve of gains
WIDEST = 2.0  # of the best quality, up to which that curve goes


@dataclass(frozen=True, eq=False)
class Energies:
    """J for one sample.

    Attributes:
        digital: (model, scheme, iterations, steps).
        machine: (draw, account, model, scheme, machine steps); draw 0 is the scenario's serial.
        projected: (draw, module, model, scheme, machine steps), of networks that fill the module; draw 0 is nominal.
        weights: (model,) nonzero weights.
        projected_weights: (module, model), of networks that fill the module alike.
        by_bandwidth: (module,) operations for each joule, 2 N^2 per 1/f of them, over those of the reference.
    """

    digital: Array
    machine: Array
    projected: Array
    weights: Array
    projected_weights: Array
    by_bandwidth: Array


def compared(
    scenario: QualityEnergy, found: Found, energies: Energies
) -> tuple[Columns, Columns, dict[str, float], list[str]]:
    """Columns, coordinates, summary and notes: all contenders' gains, energies taken for each weight of the network."""
    study = scenario.study
    explicit, implicit = _digital_settings(scenario, found, energies)
    best = min(one.w2 for one in (*explicit, *implicit) if np.isfinite(one.w2))
    target = (1 + study.within) * best
    targets = np.linspace(best, WIDEST * best, TARGETS)
    names = [*ACCOUNTS, *study.projected]
    per_weight = np.concatenate(
        [
            energies.machine / energies.weights[:, None, None],
            energies.projected / energies.projected_weights[:, :, None, None],
        ],
        axis=1,
    )
    columns: Columns = {
        "digital_energy": (
            ("model", "scheme", "iterations", "steps"), energies.digital, "J",
            "energy of a sample on the digital reference, 2 operations for each nonzero weight and evaluation",
        ),
        "machine_energy": (
            ("account", "model", "scheme", "machine_steps"), energies.machine[0], "J",
            "energy of a sample on the machine, the reference's share of Crank-Nicolson included",
        ),
        "projected_energy": (
            ("projection", "model", "scheme", "machine_steps"), energies.projected[0], "J",
            "energy of a sample on a projected module that a network fills as the model fills its channels",
        ),
        "nonzero_weights": (("model",), energies.weights, "1", "nonzero weights of the network"),
        "projected_weights": (
            ("projection", "model"), energies.projected_weights, "1",
            "nonzero weights of the network that fills a projected module",
        ),
    }  # fmt: skip
    gains: dict[str, list[list[float]]] = {}
    curve = np.full((len(names), TARGETS), np.nan)
    summary: dict[str, float] = {"w2_target": target, "w2_best_digital": best}
    summary |= {
        f"energy_gain_by_bandwidth.{name}": float(value)
        for name, value in zip(study.projected, energies.by_bandwidth, strict=True)
    }
    notes: list[str] = []
    for k, name in enumerate(names):
        analog, drawn = _analog_settings(scenario, found, per_weight[:, k])
        rng = stream(scenario.seed, f"quality.{name}")
        spans = intervals(explicit, implicit, analog, target, drawn, rng)
        by_sheets = intervals(explicit, implicit, analog, target, drawn, None)
        if spans is None or by_sheets is None:
            notes.append(f"no gain of {name}: one side does not come to a W2 of {target:.3f}")
            spans = by_sheets = dict.fromkeys(NAMES, Interval(np.nan, np.nan, np.nan))
        chosen = gain(explicit, implicit, analog, target)
        if chosen is not None:
            notes.append(_told(name, chosen.explicit, chosen.same, chosen.analog))
            taken = chosen.analog.energy / (chosen.same.energy / _per_operation(scenario, energies, found))
            summary[f"nj_per_operation.{name}"] = 1e9 * taken
        for share in NAMES:
            one, sheets = spans[share], by_sheets[share]
            gains.setdefault(share, []).append([one.value, one.low, one.high, sheets.low, sheets.high])
        for j, wanted in enumerate(targets):
            there = gain(explicit, implicit, analog, float(wanted))
            curve[k, j] = np.nan if there is None else there.total
        suffix = "" if name == ACCOUNTS[0] else f".{name}"
        for share, span in spans.items():
            key = "energy_gain" + ("" if share == "total" else f"_{share}")
            summary |= {
                f"{key}{suffix}": span.value,
                f"{key}_low{suffix}": span.low,
                f"{key}_high{suffix}": span.high,
            }
            if share != "algorithm":
                summary |= {
                    f"{key}_sheets_low{suffix}": by_sheets[share].low,
                    f"{key}_sheets_high{suffix}": by_sheets[share].high,
                }
    shares = ("contender", "share")
    told = "energy of the cheapest explicit digital setting at the wanted quality over the contender's"
    value, low, high, sheets_low, sheets_high = np.moveaxis(np.array([gains[share] for share in NAMES]), 2, 0)
    columns |= {
        "gain": (shares, value.T, "1", told),
        "gain_low": (shares, low.T, "1", "lower end of its 68 % interval: the sheets' spreads, and W2"),
        "gain_high": (shares, high.T, "1", "upper end of its 68 % interval: the sheets' spreads, and W2"),
        "gain_sheets_low": (
            shares,
            sheets_low.T,
            "1",
            "lower end of its 68 % interval: the sheets' spreads alone",
        ),
        "gain_sheets_high": (
            shares,
            sheets_high.T,
            "1",
            "upper end of its 68 % interval: the sheets' spreads alone",
        ),
        "gain_of_quality": (("contender", "target"), curve, "1", "total gain against the wanted W2"),
    }
    coordinates: Columns = {
        "account": (("account",), np.array(ACCOUNTS), "1", "what is counted of the machine"),
        "projection": (("projection",), np.array(list(study.projected), dtype=str), "1", "projected module"),
        "contender": (("contender",), np.array(names), "1", "account of the machine, or projected module"),
        "share": (
            ("share",),
            np.array(NAMES),
            "1",
            "what the gain comes from; total is the product of the others",
        ),
        "target": (("target",), targets, "1", "W2 that is to be reached, network units"),
    }
    return columns, coordinates, summary, notes


def _per_operation(scenario: QualityEnergy, energies: Energies, found: Found) -> float:
    """J of an operation on the reference."""
    evaluations = np.asarray(found.variables["digital_evaluations"][1])
    seen = np.isfinite(evaluations) & (evaluations > 0)
    operations = 2 * evaluations * energies.weights[:, None, None, None]
    return float(energies.digital[seen][0] / operations[seen][0])


def _told(name: str, explicit: Setting, same: Setting, analog: Setting) -> str:
    return (
        f"{name}: {analog.method} in {analog.steps} steps (W2 {analog.w2:.3f}) against {explicit.method} in "
        f"{explicit.steps} digitally ({explicit.w2:.3f}); the machine's own method takes {same.iterations} iterations"
    )


def _mean(variables: Mapping[str, Any], prefix: str) -> tuple[Array, Array]:
    """W2 over the models, and its standard error, as arrays without the models' axis."""
    w2, low, high = (np.asarray(variables[f"{prefix}_w2{end}"][1]) for end in ("", "_low", "_high"))
    half = (high - low) / 2
    return w2.mean(axis=0), np.sqrt((half**2).mean(axis=0) / len(w2))


def _digital_settings(
    scenario: QualityEnergy, found: Found, energies: Energies
) -> tuple[list[Setting], list[Setting]]:
    """Explicit and implicit settings of the reference, energies for each weight."""
    study = scenario.study
    w2, error = _mean(found.variables, "digital")
    cost = (energies.digital / energies.weights[:, None, None, None]).mean(axis=0)
    told = [over_steps.CONVERGED, *map(str, study.iterations)]
    every = [
        Setting(method, count, iterations, w2[i, j, k], error[i, j, k], cost[i, j, k])
        for i, method in enumerate(study.methods)
        for j, iterations in enumerate(told)
        for k, count in enumerate(study.steps)
        if np.isfinite(w2[i, j, k])
    ]
    return [one for one in every if one.method in OPENED], [one for one in every if one.method not in OPENED]


def _analog_settings(scenario: QualityEnergy, found: Found, energies: Array) -> tuple[list[Setting], Array]:
    """Settings of the machine, and their energies in all draws; `energies` is (draw, model, scheme, machine steps)."""
    study = scenario.study
    w2, error = _mean(found.variables, "machine")
    cost = energies.mean(axis=1)
    places = [
        (i, k)
        for i, method in enumerate(study.methods)
        for k in range(len(study.machine_steps))
        if method not in OPENED and np.isfinite(w2[i, k]) and np.isfinite(cost[0, i, k])
    ]
    settings = [
        Setting(study.methods[i], study.machine_steps[k], "", w2[i, k], error[i, k], cost[0, i, k])
        for i, k in places
    ]
    drawn = np.array([cost[:, i, k] for i, k in places]).T.reshape(len(cost), len(places))
    return settings, drawn
