"""The diffusion run in the machine's static twin, beside the machine: the same program, the same noise, no time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.predict import Known, predicted_rest
from aocsim.diffusion.operator import BlockOperator
from aocsim.metrics import nrmse
from aocsim.program import Program
from aocsim.scenarios.ideal import fixed_points
from aocsim.scenarios.sample import Run, Setup
from aocsim.trim import error_of

Array = NDArray[np.float64]


def twin_points(setup: Setup, known: Known, start: Array, others: Array) -> Array:
    """Points after every solve, where the twin is in the machine's place, (solves, samples, d) network units.

    The twin's electronics are trimmed exactly. At the operating point it is trimmed as the machine is
    (`aocsim.trim.at_operating_point`), without noise, on its own read-outs.

    Args:
        setup: of the scenario.
        known: the twin.
        start: (samples, d) noise.
        others: (m, d) noise of the trim at the operating point; m = 0 leaves it out.

    Raises:
        PhysicsError: a solve without fixed point, ideally or of the twin.
    """
    stepping, points, trimmed = setup.stepping, [start], [others]
    for solve in range(stepping.solves):
        operator, program = stepping.operator_of(solve), setup.compiled_of(solve).program
        correction: Array | float = 0.0
        if len(others):
            x, t = stepping.ask(trimmed)
            volts = _rest(known, program, operator, x, t, 0.0)
            error, correction = error_of(program, operator, volts, x, t)
            corrected = (program.units(volts) - error)[:, operator.result]
            trimmed.append(stepping.accept(trimmed, corrected))
        x, t = stepping.ask(points)
        found = program.units(_rest(known, program, operator, x, t, correction))[:, operator.result]
        points.append(stepping.accept(points, found))
    return np.array(points[1:])


def _rest(
    known: Known, program: Program, operator: BlockOperator, x: Array, t: float, correction: Array | float
) -> Array:
    near = np.zeros((len(x), len(program.alpha)))
    near[:, program.channel_of_unit] = program.volts_per_unit * fixed_points(operator, x, t)
    drive = program.drive(operator.additive(t, x), correction)
    return predicted_rest(known, program, drive, trimmed=True, start=near)


def step_errors(setup: Setup, run: Run, known: Known) -> Array:
    """How far read-outs are from what the twin predicts for the drive that the machine was given, (solves,).

    Root mean square over samples and channels that carry a unit, over the prediction's range. The twin is given the
    correction at the operating point; what the other trims have set belongs to the trimmed machine
    (`aocsim.calibration.predict`). No numbers with an analog memory, whose drive only the machine knows.

    Raises:
        PhysicsError: the twin does not come to rest.
    """
    stepping = setup.stepping
    if setup.scenario.timeline.memory == "sample_and_hold":
        return np.full(stepping.solves, np.nan)
    trimmed = setup.scenario.compile.trims == "bench"
    found = []
    for solve, volts in enumerate(run.read_out):
        x, t = stepping.ask([run.start, *run.state[:solve]])
        operator, program = stepping.operator_of(solve), setup.compiled_of(solve).program
        drive = program.drive(operator.additive(t, x), run.trims.correction[solve])
        rest = predicted_rest(known, program, drive, trimmed=trimmed, start=volts)
        found.append(float(nrmse(program.units(volts), program.units(rest))))
    return np.array(found)
