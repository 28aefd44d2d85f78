"""Scenario kind "distributions": several models on one machine, beside its twin, the ideal, a Gaussian and the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.predict import Exported, Known
from aocsim.errors import AocsimError, PhysicsError
from aocsim.library import Library
from aocsim.metrics import (
    Interval,
    mmd2_interval,
    nrmse,
    rms_distance,
    w2_interval,
)
from aocsim.scenarios import sample
from aocsim.scenarios.digital import REFERENCE_SEED, beside
from aocsim.scenarios.distributions_schema import Distributions
from aocsim.scenarios.ideal import ideal_states
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.twin_points import step_errors, twin_points
from aocsim.seeds import stream

Array = NDArray[np.float64]

CLOUDS = ("machine", "twin", "ideal", "gaussian", "floor")
"""What is compared with the data, in the order of the figures."""


@dataclass(frozen=True, eq=False)
class OneModel:
    """One model's clouds, and how far they are from the data.

    Attributes:
        model: its name.
        setup: of its run.
        run: on the machine; its large arrays are let go of.
        reference: (1000, d) held-out data.
        clouds: (samples, d) by name; see `CLOUDS`.
        w2: distance of each cloud from the reference, by name.
        mmd2: the same, unbiased squared maximum mean discrepancy.
        step_ideal: (solves,) NRMSE of the read-outs from the digital fixed points.
        step_twin: (solves,) NRMSE of the read-outs from the twin's.
        shift: RMS distance of the machine's samples from the ideal ones.
    """

    model: str
    setup: Setup
    run: Run
    reference: Array
    clouds: Mapping[str, Array]
    w2: Mapping[str, Interval]
    mmd2: Mapping[str, Interval]
    step_ideal: Array
    step_twin: Array
    shift: float


def solves_of(scenario: Distributions) -> int:
    """Number of solves of trims and runs together."""
    return sum(sample.solves_of(scenario.of(model)) for model in scenario.models)


def execute(
    scenario: Distributions,
    library: Library,
    progress: Callable[[int], object] = lambda solves: None,
    told: Callable[[str], object] = lambda text: None,
) -> list[OneModel]:
    """Run all models, one after the other.

    Args:
        scenario: validated.
        library: of sheets and models.
        progress: called with the number of solves as they are done.
        told: called with the name of each model as it begins.

    Raises:
        AocsimError: anything that makes a model impossible; nothing is computed before all have been prepared.
    """
    setups = []
    for model in scenario.models:
        try:
            setups.append(sample.prepare(scenario.of(model), library))
        except AocsimError as error:
            error.add_note(f"model {model}")
            raise
    known = setups[0].sheet or Exported.of(setups[0].spec, scenario.serial)
    out = []
    for model, setup in zip(scenario.models, setups, strict=True):
        told(model)
        try:
            out.append(_one(model, setup, known, progress))
        except PhysicsError as error:
            raise PhysicsError(f"model {model}: {error}") from error
    return out


def _one(model: str, setup: Setup, known: Known, progress: Callable[[int], object]) -> OneModel:
    scenario, network = setup.scenario, setup.network
    run = sample.execute(setup, progress)
    reference, gaussian, floor = beside(network, scenario.samples)
    others = stream(scenario.seed, "trim.start").standard_normal(
        (scenario.compile.operating_point_trim, network.layout[0])
    )
    ideal = ideal_states(setup.stepping, run.start)[-1]
    clouds = {
        "machine": run.state[-1],
        "twin": twin_points(setup, known, run.start, others)[-1],
        "ideal": ideal,
        "gaussian": gaussian,
        "floor": floor,
    }
    subsamples = stream(REFERENCE_SEED, f"interval.{model}")
    units = setup.compiled.program.units
    step_ideal = [
        float(nrmse(units(volts), wanted))
        for volts, wanted in zip(run.read_out, run.ideal_fixed_point, strict=True)
    ]
    return OneModel(
        model,
        setup,
        run,
        reference,
        clouds,
        {name: w2_interval(clouds[name], reference, subsamples) for name in CLOUDS},
        {name: mmd2_interval(clouds[name], reference) for name in CLOUDS},
        np.array(step_ideal),
        step_errors(setup, run, known),
        rms_distance(run.state[-1], ideal),
    )
