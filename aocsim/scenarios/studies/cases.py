"""Cases of a study: scenarios that differ in what is varied, run one after the other, and how good each one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError, PhysicsError
from aocsim.library import Library
from aocsim.metrics import MMD_KERNEL, mmd2_interval, nrmse, rms_distance, w2_interval
from aocsim.scenarios import sample
from aocsim.scenarios.digital import REFERENCE_SEED, reference_of
from aocsim.scenarios.ideal import ideal_states
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.schema import Scenario
from aocsim.seeds import stream

Array = NDArray[np.float64]
Place = Mapping[str, str | float]
"""Where a case stands: a value for each dimension of the study."""


@dataclass(frozen=True, eq=False)
class Case:
    """One scenario of a study.

    Attributes:
        place: where it stands.
        scenario: what is run.
        kicks: what is added to the points, by number of the solve that it is added after, (samples, d) network units.
    """

    place: Place
    scenario: Scenario
    kicks: Mapping[int, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Ran:
    """What a case came to.

    Attributes:
        place: where it stands.
        setup, run: what was run; None where it was impossible.
        figures: figures of merit by name.
        failure: why it was impossible; empty where it was not.
    """

    place: Place
    setup: Setup | None
    run: Run | None
    figures: Mapping[str, float]
    failure: str = ""


FIGURES: Mapping[str, tuple[str, str]] = {
    "w2": ("1", "exact 2-Wasserstein distance from the held-out data, network units"),
    "w2_low": ("1", "lower end of its 68 % interval"),
    "w2_high": ("1", "upper end of its 68 % interval"),
    "mmd2": ("1", f"unbiased squared maximum mean discrepancy from the held-out data, {MMD_KERNEL}"),
    "mmd2_low": ("1", "lower end of its 68 % interval"),
    "mmd2_high": ("1", "upper end of its 68 % interval"),
    "rms_shift": ("1", "RMS distance from the digital samples of the same method, network units"),
    "nrmse_step_ideal": ("1", "read-outs from the digital fixed points, over their range, mean over the solves"),
    "settling": ("s", "median time in which the loop settles to 1 %; nan where nobody has looked"),
    "alpha_median": ("1", "median relaxation over the channels in use"),
    "alpha_max": ("1", "largest relaxation"),
}  # fmt: skip


def distances(points: Array, reference: Array, name: str) -> dict[str, float]:
    """Distances of a cloud from the data, with intervals; `name` seeds their sub-samples."""
    found: dict[str, float] = {}
    pairs = {
        "w2": w2_interval(points, reference, stream(REFERENCE_SEED, f"interval.{name}")),
        "mmd2": mmd2_interval(points, reference),
    }
    for key, interval in pairs.items():
        found |= {key: interval.estimate, f"{key}_low": interval.low, f"{key}_high": interval.high}
    return found


def solves_of(cases: Sequence[Case]) -> int:
    """Number of solves of trims and runs together."""
    return sum(sample.solves_of(case.scenario) for case in cases)


def run_cases(
    cases: Sequence[Case], library: Library, progress: Callable[[int], object] = lambda solves: None
) -> list[Ran]:
    """Run all cases, the impossible ones being part of the answer.

    A case is impossible where the machine cannot hold its weights or its window, or where a loop or a network has no
    fixed point.

    Raises:
        AocsimError: nothing was possible: what the last case said.
    """
    out: list[Ran] = []
    last: Exception | None = None
    for case in cases:
        try:
            out.append(_run(case, library, progress))
        except (InputError, PhysicsError) as error:
            last = error
            out.append(Ran(case.place, None, None, {}, str(error)))
    if last is not None and all(ran.run is None for ran in out):
        raise last
    return out


def _run(case: Case, library: Library, progress: Callable[[int], object]) -> Ran:
    setup = sample.prepare(case.scenario, library)
    run = sample.execute(setup, progress, kicks=case.kicks)
    program = setup.compiled.program
    points = run.state[-1]
    wanted = zip(run.read_out, run.ideal_fixed_point, strict=True)
    step = [float(nrmse(program.units(volts), ideal)) for volts, ideal in wanted]
    figures = distances(points, reference_of(setup.network), case.scenario.model)
    figures |= {
        "rms_shift": rms_distance(points, ideal_states(setup.stepping, run.start)[-1]),
        "nrmse_step_ideal": float(np.mean(step)),
        "settling": float(np.median(run.settling)) if case.scenario.record.diagnosis else float("nan"),
        "alpha_median": float(np.median(program.alpha[program.channel_of_unit])),
        "alpha_max": float(program.alpha.max()),
    }
    return Ran(case.place, setup, run, figures)


def grid(
    rows: Sequence[tuple[Place, Mapping[str, float]]],
    axes: Mapping[str, Sequence[str | float]],
    names: Sequence[str],
) -> dict[str, Array]:
    """Figures as arrays over the axes, nan where there is none.

    Args:
        rows: places and figures.
        axes: values of each dimension, in the order of the arrays' axes.
        names: of the figures.
    """
    out = {name: np.full([len(values) for values in axes.values()], np.nan) for name in names}
    for place, figures in rows:
        index = tuple(list(values).index(place[axis]) for axis, values in axes.items())
        for name in names:
            out[name][index] = figures.get(name, np.nan)
    return out


def failures_of(ran: Sequence[Ran]) -> list[str]:
    """One note for each impossible case."""
    return [
        f"{', '.join(f'{key} {value}' for key, value in one.place.items())}: {one.failure}"
        for one in ran
        if one.failure
    ]
