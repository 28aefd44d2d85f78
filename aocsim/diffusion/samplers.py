"""Samplers: integrate dx/dt = f(x, t) from noise at t = 0 to data at t = 1, digitally and exactly.

These are what the machine is compared with. Equations follow "Analog Diffusion Models",
doi 10.21203/rs.3.rs-8919479/v1. Every sampler is a function of (network, x0, steps) that returns the points
of all steps, (steps + 1, batch, d): the noise first, the samples last.
"""

from __future__ import annotations

import numpy as np

from aocsim.diffusion.network import Network, as_batch
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError, PhysicsError
from aocsim.law import Array


def implicit_states(network: Network, x0: Array, steps: int, tol: float = 1e-12) -> Array:
    r"""Ideal states of the loop at the end of every implicit Euler step.

    Step k = 0, 1, ... is the fixed point of the block operator with input x_k at time (k + 1)/steps, found by
    Newton's method from the layers' outputs at x_k. Its first d entries are x_{k+1}.

    Args:
        network: the velocity f.
        x0: (batch, d) standard normal noise.
        steps: number of steps, 1 or more.
        tol: relative residual of the fixed points.

    Returns:
        (steps, batch, n), network units.

    Raises:
        InputError: wrong shape, or steps below 1.
        PhysicsError: a step has no fixed point; names step and sample.
    """
    x = _noise(network, x0, steps)
    operator = BlockOperator.from_network(network, 1.0 / steps)
    states = np.empty((steps, len(x), operator.units))
    for k in range(steps):
        try:
            states[k] = operator.fixed_point(x, (k + 1) / steps, tol=tol)
        except PhysicsError as error:
            raise PhysicsError(f"implicit Euler step {k + 1} of {steps}: {error}") from error
        x = states[k, :, : x.shape[1]]
    return states


def implicit_euler(network: Network, x0: Array, steps: int, tol: float = 1e-12) -> Array:
    r"""Implicit Euler, :math:`x_{k+1} = x_k + dt f(x_{k+1}, t_{k+1})`, t_k = k dt, dt = 1/steps.

    The first d entries of `implicit_states`, with the noise before them; arguments and errors are the same.

    Returns:
        (steps + 1, batch, d) points, network units.
    """
    noise = _noise(network, x0, steps)
    states = implicit_states(network, noise, steps, tol)
    return np.concatenate([noise[None], states[:, :, : noise.shape[1]]])


def explicit_euler(network: Network, x0: Array, steps: int) -> Array:
    r"""Explicit Euler, :math:`x_{k+1} = x_k + dt f(x_k, t_k)`, t_k = k dt, dt = 1/steps.

    Args:
        network: the velocity f.
        x0: (batch, d) standard normal noise.
        steps: number of steps, 1 or more.

    Returns:
        (steps + 1, batch, d) points, network units.

    Raises:
        InputError: wrong shape, or steps below 1.
    """
    noise = _noise(network, x0, steps)
    x = np.empty((steps + 1, *noise.shape))
    x[0] = noise
    for k in range(steps):
        x[k + 1] = x[k] + network.velocity(x[k], k / steps) / steps
    return x


def _noise(network: Network, x0: Array, steps: int) -> Array:
    if steps < 1:
        raise InputError("out of range", key="steps", got=steps, allowed="1 or more")
    return as_batch(x0, network.layout[0], "x0")
