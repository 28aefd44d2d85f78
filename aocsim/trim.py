"""Trims: what is corrected on the machine after a program has been loaded.

Offsets and alpha are nulled here by decree, to residuals that the scenario states; a bench procedure has to
earn them. The trim at the operating point is a measurement: other noise samples run through the machine, and
at every diffusion step the bias volts of all channels are corrected by the mean error that was read.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import Trims, compose
from aocsim.diffusion.operator import BlockOperator
from aocsim.experiment import Experiment
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.seeds import stream

Array = NDArray[np.float64]


def decreed(machine: Machine, program: Program, offset_residual: float, alpha_residual: float) -> Trims:
    """Offsets and alpha as if trimmed after programming.

    The node offset cancels all that reaches the node at zero signal (electronics, darkness under the pairs'
    offsets, bias light), up to a residual drawn once for each channel of the machine.

    Args:
        machine: as built.
        program: loaded weights; the darkness offset depends on them.
        offset_residual: standard deviation, V.
        alpha_residual: standard deviation, dimensionless.
    """
    n = machine.channels
    serial = machine.serial or 0
    offset = stream(serial, f"{machine.name}.trim.offset").standard_normal(n) * offset_residual
    alpha = stream(serial, f"{machine.name}.trim.alpha").standard_normal(n) * alpha_residual
    bare = compose(machine, program, Trims(np.zeros(n), np.zeros(n)))
    zero = np.zeros(n)
    reached = sum(bare.arm_output(arm, zero) for arm in ("+", "-"))
    return Trims(program.alpha + alpha, offset - reached)


def at_operating_point(
    experiment: Experiment,
    operator: BlockOperator,
    start: Array,
    steps: int,
    progress: Callable[[int], object] = lambda solves: None,
) -> Array:
    """Bias corrections for each diffusion step, (steps, n) V.

    At each step the mean over samples of (read-out - ideal fixed point) = e, in network units, is taken off by
    moving the additive term by -(I - J) e, with J the ideal map's mean jacobian: to first order the mean fixed
    point then moves by -e. The samples go on from the corrected read-outs.

    Args:
        experiment: the machine with the program and its other trims; one trial is enough, since the mean runs
            over all samples.
        operator: the ideal operator of one step.
        start: (samples, d) noise that is used for nothing else.
        steps: diffusion steps.
        progress: called with the number of solves done.
    """
    program, d = experiment.program, start.shape[1]
    out = np.zeros((steps, experiment.machine.channels))
    x = start
    for step in range(steps):
        t = (step + 1) / steps
        read = experiment.measure(program.drive(operator.additive(t, x)), step, done=progress)
        ideal = operator.fixed_point(x, t)
        got = program.units(read.read_out)
        error = (got - ideal).mean(axis=0)
        jacobian = operator.jacobian(ideal).mean(axis=0)
        out[step] = program.drive(jacobian @ error - error)
        x = (got - error)[:, :d]
    return out
