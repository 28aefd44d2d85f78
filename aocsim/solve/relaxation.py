r"""What an exponential integrator needs of a loop: rates of decay, and functions of them.

A loop is one nonlinear equation for its nodes and a number of linear filters, the poles of its arms. Node and filters
each decay at a rate of their own,

.. math:: \dot z = \lambda z + N(z, t), \qquad \dot y = -r\,y + r\,g(t),

:math:`\lambda = -r_z (1 - \alpha)` with the gain of the alpha path, where there are no laws behind the sum, and the
slope of these at rest otherwise. The functions
:math:`\varphi_0(x) = e^x`, :math:`\varphi_{k+1}(x) = [\varphi_k(x) - 1/k!]/x` give the response of such an equation to
a polynomial: to :math:`s^k/k!` it is :math:`h^{k+1} \varphi_{k+1}(h\lambda)` after a time h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Arm, Loop
from aocsim.stages import Affine, Pole, Scale, Stage

Array = NDArray[Any]

SMALL = 1.0  # |x| below which the functions are summed as series
TERMS = 18


def decay(loop: Loop) -> Array:
    """Linear coefficient of every state, (poles, n) 1/s: lambda of the nodes, then -r of each filter.

    Parameters of single solves are averaged; the nonlinear rest N makes up for the difference.
    """
    n = loop.channels
    # nothing passes a matrix or a filter on the direct path
    direct_arms = [a for a in loop.arms if not any(isinstance(s, Affine | Pole) for s in a.stages)]
    direct = Loop(
        n,
        tuple(Arm(arm.name, tuple(_averaged(stage) for stage in arm.stages)) for arm in direct_arms)
        or (Arm("none", (Scale(0.0),)),),
        tuple(_averaged(stage) for stage in loop.node),
    )
    rest = np.zeros(direct.states)
    slopes = direct.jacobian(rest, np.zeros(n))
    filters = [-np.broadcast_to(pole.rate, n) for pole in filters_of(loop)]
    return np.stack([np.diagonal(slopes)[:n], *filters])


def _averaged(stage: Stage) -> Stage:
    """A stage with the mean of what its solves have of their own."""

    def mean(value: Array | float, own: int) -> Array:
        array = np.asarray(value, dtype=float)
        return array.mean(axis=0) if array.ndim == own else array

    if isinstance(stage, Scale):
        return Scale(mean(stage.gain, 2), mean(stage.offset, 2))
    if isinstance(stage, Affine):
        return Affine(mean(stage.matrix, 3), mean(stage.offset, 2))
    return stage


def filters_of(loop: Loop) -> list[Pole]:
    """Poles of the arms, in the order of their states."""
    steps = sorted((s for s in loop.plan[0] if isinstance(s.stage, Pole)), key=lambda s: s.block)
    return [step.stage for step in steps if step.block > 0 and isinstance(step.stage, Pole)]


def phi(x: Array) -> Array:
    """phi_0 to phi_4, (5, ...), of real numbers."""
    x = np.asarray(x, dtype=float)
    near = np.abs(x) < SMALL
    s = np.where(near, x, 0.0)
    series, factor = np.zeros_like(s), 1.0 / np.prod(np.arange(1.0, TERMS + 5))
    for j in range(TERMS, -1, -1):
        series = series * s + factor
        factor *= j + 4
    far = np.where(near, 1.0, x)
    # upwards by division where x is large, downwards from the series where it is small
    values = [np.exp(x)]
    for factorial in (1.0, 1.0, 2.0, 6.0):
        values.append(np.expm1(far) / far if len(values) == 1 else (values[-1] - 1 / factorial) / far)
    values[4] = np.where(near, series, values[4])
    for k, factorial in ((3, 6.0), (2, 2.0), (1, 1.0)):
        values[k] = np.where(near, 1 / factorial + s * values[k + 1], values[k])
    return np.stack(values)


@dataclass(frozen=True, eq=False)
class PhiTable:
    """Weights of states and forcing over steps of a grid.

    Attributes:
        values: (steps, 5, poles, n): phi_0, then phi_1 to phi_4 times the step in s, and for filters times r as well.
    """

    values: Array

    @classmethod
    def of(cls, linear: Array, steps: Array) -> PhiTable:
        """The table.

        Args:
            linear: `decay`, (poles, n) 1/s.
            steps: (steps,) s.
        """
        # a step over which a growing node overflows is never taken: its error is not finite
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.moveaxis(phi(steps[:, None, None] * linear), 0, 1)
        values[:, 1:] *= steps[:, None, None, None]
        values[:, 1:, 1:] *= -linear[1:]
        return cls(np.ascontiguousarray(values))
