r"""Down to how few steps implicit methods go: digital iteration, the continuous loop, and the bounds.

An implicit step is a fixed point :math:`y = \tilde x + h f(y, t')`, with h = dt for implicit Euler and dt/2 for
Crank-Nicolson. Iterated digitally it converges where the spectral radius of :math:`h\,\partial f/\partial x` is
below 1. The analog loop follows :math:`dz/dt = ADM(z) - z` and comes to rest where all eigenvalues of J - 1 have
negative real parts, J the jacobian of the block map: where iteration overshoots it turns, and it goes on to longer
steps. Theorem 1 of "Analog Diffusion Models" (doi 10.21203/rs.3.rs-8919479/v1) and its form layer by layer guarantee
both, far earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.methods import Method, Stepping
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import layerwise_bound, theorem1_dt_max
from aocsim.diffusion.solving import solve
from aocsim.errors import InputError, PhysicsError
from aocsim.law import Array

ITERATIONS = 400
CONVERGED = 1e-6  # relative residual after as many
FEWEST = 1


@dataclass(frozen=True, eq=False)
class Onset:
    """Whether an implicit method works, for several numbers of steps.

    Attributes:
        method: implicit_euler or crank_nicolson.
        steps: (m,) numbers of steps.
        iterated: (m,) share of implicit equations that digital iteration solves, over samples and steps.
        radius: (m,) largest spectral radius of h df/dx over samples and steps, on the solved trajectory; nan where
            there is none.
        growth: (m,) largest real part of the loop's eigenvalues, in units of its rate; below 0 all loops come to rest.
        at_rest: (m,) share of loops with all real parts below 0; 0 where a trajectory has no solution.
        theorem_steps: steps from which Theorem 1 holds for this method.
        layerwise_steps: the same with its form layer by layer.
    """

    method: Method
    steps: NDArray[np.int64]
    iterated: Array
    radius: Array
    growth: Array
    at_rest: Array
    theorem_steps: float
    layerwise_steps: float

    def fewest(self, share: Array) -> float:
        """Smallest number of steps from which on `share` stays 1; nan if it never does."""
        bad = np.flatnonzero(share < 1.0)
        first = 0 if not len(bad) else bad[-1] + 1
        return float(self.steps[first]) if first < len(self.steps) else float("nan")


def onset(network: Network, x0: Array, steps: Sequence[int], method: Method = "implicit_euler") -> Onset:
    """Measure on a network's own trajectories where iteration and loop stop converging.

    Args:
        network: the velocity f.
        x0: (batch, d) noise.
        steps: numbers of steps, growing.
        method: implicit_euler or crank_nicolson.

    Raises:
        InputError: another method, or numbers of steps that do not grow.
    """
    if method not in ("implicit_euler", "crank_nicolson"):
        raise InputError(
            "is not implicit", key="method", got=method, allowed="implicit_euler or crank_nicolson"
        )
    numbers = np.asarray(steps, dtype=np.int64)
    if numbers.ndim != 1 or not len(numbers) or numbers[0] < FEWEST or np.any(np.diff(numbers) <= 0):
        raise InputError("must grow from 1 or more", key="steps", got=list(steps))
    rows = [_at(network, x0, int(number), method) for number in numbers]
    iterated, radius, growth, at_rest = (np.array(column) for column in zip(*rows, strict=True))
    # half the step of Crank-Nicolson stands in the loop
    part = 0.5 if method == "crank_nicolson" else 1.0
    return Onset(
        method,
        numbers,
        iterated,
        radius,
        growth,
        at_rest,
        part / theorem1_dt_max(network),
        part * layerwise_bound(network, 1.0),
    )


def _at(network: Network, x0: Array, steps: int, method: Method) -> tuple[float, float, float, float]:
    stepping = Stepping.of(network, method, steps)
    operator, d = stepping.operator, x0.shape[1]
    points, states = [x0], []
    try:
        for _ in range(stepping.solves):
            x, t = stepping.ask(points)
            states.append(operator.fixed_point(x, t))
            points.append(states[-1][:, :d])
    except PhysicsError:
        return _iterated(network, x0, steps, method), float("nan"), float("nan"), 0.0
    z = np.concatenate(states)
    jacobian = operator.jacobian(z)
    rates = np.linalg.eigvals(jacobian).real.max(axis=1) - 1.0
    # once around the ring, the product of the blocks is h df/dx
    around = np.broadcast_to(np.eye(d), (len(z), d, d))
    for rows, columns in operator.ring():
        around = jacobian[:, rows, columns] @ around
    radius = float(np.abs(np.linalg.eigvals(around)).max())
    return _iterated(network, x0, steps, method), radius, float(rates.max()), float((rates < 0).mean())


def _iterated(network: Network, x0: Array, steps: int, method: Method) -> float:
    try:
        found = solve(network, x0, method=method, steps=steps, iterations=ITERATIONS)
    except PhysicsError:
        return 0.0
    return float((found.residual <= CONVERGED).mean())
