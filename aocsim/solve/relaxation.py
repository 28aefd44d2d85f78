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

from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Arm, Loop
from aocsim.solve.kernels import compiled
from aocsim.stages import Affine, Pole, Scale, Stage

Array = NDArray[Any]

SMALL = 1.0  # |x| below which the functions are summed as series
TERMS = 14  # even
SERIES = np.array([1 / factorial(k + 4) for k in range(TERMS - 1, -1, -1)])
"""Coefficients of phi_4, of the highest power first."""


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
        return Affine(mean(stage.matrix, 3), mean(stage.offset, 2), mean(stage.gain, 2))
    return stage


def filters_of(loop: Loop) -> list[Pole]:
    """Poles of the arms, in the order of their states."""
    steps = sorted((s for s in loop.plan[0] if isinstance(s.stage, Pole)), key=lambda s: s.block)
    return [step.stage for step in steps if step.block > 0 and isinstance(step.stage, Pole)]


@compiled
def weights(linear: Array, step: float, out: Array) -> None:
    """Weights of states and forcing over a step: phi_0, then phi_1 to phi_4 times the step, for filters times r too.

    Args:
        linear: `decay`, (poles, n) 1/s.
        step: s.
        out: (5, poles, n), or without phi_4.
    """
    poles, n = linear.shape
    fourth = out.shape[0] > 4
    for p in range(poles):
        for i in range(n):
            x = step * float(linear[p, i])
            scale = step if p == 0 else -x
            if abs(x) < SMALL:
                # downwards from the series where x is small, upwards by division where it is large
                even, odd, square = 0.0, 0.0, x * x
                for k in range(0, TERMS, 2):
                    even = even * square + SERIES[k + 1]
                    odd = odd * square + SERIES[k]
                four = odd * x + even
                three = 1 / 6 + x * four
                two = 1 / 2 + x * three
                one = 1 + x * two
                zero = 1 + x * one
            else:
                zero, part = np.exp(x), 1 / x
                one = (zero - 1) * part
                two = (one - 1) * part
                three = (two - 1 / 2) * part
                four = (three - 1 / 6) * part
            out[0, p, i] = zero
            out[1, p, i] = scale * one
            out[2, p, i] = scale * two
            out[3, p, i] = scale * three
            if fourth:
                out[4, p, i] = scale * four


def phi(x: Array) -> Array:
    """phi_0 to phi_4, (5, ...), of real numbers."""
    x = np.asarray(x, dtype=float)
    out = np.empty((5, 1, x.size))
    weights(x.reshape(1, -1), 1.0, out)
    return out.reshape(5, *x.shape)
