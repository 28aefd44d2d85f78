r"""Diffusion methods as solves of the analog loop: what each solve is given, and what its read-out becomes.

The loop finds fixed points and nothing else. A step from x at time t to t + dt is, with f the network's velocity:

- `implicit_euler`: one solve of the closed ring, :math:`x' = x + dt f(x', t + dt)`.
- `crank_nicolson`: :math:`\tilde x = x + (dt/2) f(x, t)`, then one solve of the closed ring at half the step,
  :math:`x' = \tilde x + (dt/2) f(x', t + dt)`. The explicit half is `digital`, or taken from the last solve's
  `read_out`: that solve has found :math:`(dt/2) f(x, t) = x - \tilde x_{before}`, so that
  :math:`\tilde x = 2 x - \tilde x_{before}` costs no evaluation, and errors of read-outs are carried along undamped
  with alternating sign. Its first step is digital. Or it is a solve of its own, `opened_ring`, by a second program:
  the ring opened at half the step gives :math:`\tilde x` from x, and the closed one goes on from there. Both programs
  have the same units, of which d are idle while the ring is closed.
- `explicit_euler`: one solve of the opened ring, :math:`x' = x + dt f(x, t)`: x is held at the first d units, the
  result stands at d more, behind the last layer.
- `heun`: two solves of the opened ring, :math:`y_1 = x + dt f(x, t)` and :math:`y_2 = y_1 + dt f(y_1, t + dt)`, of
  which :math:`x' = (x + y_2)/2 = x + (dt/2) (f(x, t) + f(y_1, t + dt))`.

"Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1, has the closed ring, the opened one and Crank-Nicolson;
Heun's method from two explicit evaluations is the textbook's. The same functions step digitally and on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aocsim.diffusion.network import Network, as_batch
from aocsim.diffusion.opened import OpenedOperator, SharedOperator
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError, unknown_name
from aocsim.law import Array

Method = Literal["explicit_euler", "heun", "implicit_euler", "crank_nicolson"]
METHODS: tuple[Method, ...] = ("explicit_euler", "heun", "implicit_euler", "crank_nicolson")

ExplicitHalf = Literal["digital", "read_out", "opened_ring"]
EXPLICIT_HALVES: tuple[ExplicitHalf, ...] = ("digital", "read_out", "opened_ring")


def solves_per_step(method: Method, explicit_half: ExplicitHalf = "digital") -> int:
    """Solves of the loop for one step of diffusion time."""
    two_programs = method == "crank_nicolson" and explicit_half == "opened_ring"
    return 2 if method == "heun" or two_programs else 1


@dataclass(frozen=True, eq=False)
class Stepping:
    """A method with a network and a number of steps.

    Attributes:
        network: the velocity f.
        method: its name.
        steps: of diffusion time, all of the same length dt.
        explicit_half: where Crank-Nicolson's explicit half comes from.
        operator: what the loop is programmed with; where there are two programs, the implicit one.
        opened: where Crank-Nicolson's explicit half is a solve of the opened ring, what that one is programmed with.
    """

    network: Network
    method: Method
    steps: int
    explicit_half: ExplicitHalf
    operator: BlockOperator
    opened: OpenedOperator | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        method: Method = "implicit_euler",
        steps: int = 16,
        explicit_half: ExplicitHalf = "digital",
    ) -> Stepping:
        """A method for a network.

        Raises:
            InputError: no such method or explicit half, or fewer than one step.
        """
        if method not in METHODS:
            raise unknown_name("method", method, METHODS, key="method")
        if explicit_half not in EXPLICIT_HALVES:
            raise unknown_name("explicit half", explicit_half, EXPLICIT_HALVES, key="explicit_half")
        if steps < 1:
            raise InputError("out of range", key="steps", got=steps, allowed="1 or more")
        dt = 1.0 / steps
        if method in ("explicit_euler", "heun"):
            return cls(network, method, steps, explicit_half, OpenedOperator.from_network(network, dt))
        if solves_per_step(method, explicit_half) == 2:
            shared = SharedOperator.from_network(network, dt / 2)
            first = OpenedOperator.from_network(network, dt / 2)
            return cls(network, method, steps, explicit_half, shared, first)
        held = dt / 2 if method == "crank_nicolson" else dt
        return cls(network, method, steps, explicit_half, BlockOperator.from_network(network, held))

    @property
    def dt(self) -> float:
        """Step of diffusion time."""
        return 1.0 / self.steps

    @property
    def solves(self) -> int:
        """Solves of the loop for one sample."""
        return self.steps * self.per_step

    @property
    def per_step(self) -> int:
        """Solves for one step."""
        return solves_per_step(self.method, self.explicit_half)

    @property
    def times(self) -> Array:
        """(solves,) diffusion time that is reached with each solve; by the first one of two provisionally."""
        return (np.arange(self.solves) // self.per_step + 1) / self.steps

    def operator_of(self, solve: int) -> BlockOperator:
        """What the loop is programmed with in a solve, counted from 0."""
        return self.operator if self.opened is None or solve % 2 else self.opened

    def result_of(self, solve: int) -> slice:
        """Units of the operator that hold a solve's result."""
        return self.operator_of(solve).result

    def ask(self, points: Sequence[Array]) -> tuple[Array, float]:
        """What the next solve is given.

        Args:
            points: the noise, and what `accept` has made of each solve so far; each (batch, d), network units.

        Returns:
            Input term (batch, d), network units, and diffusion time of the operator.

        Raises:
            InputError: all solves are done, or a wrong shape.
        """
        done = len(points) - 1
        if not 0 <= done < self.solves:
            raise InputError("no solve is left", key="points", got=len(points), allowed=f"1 to {self.solves}")
        x = as_batch(points[-1], self.operator.layout[0], "points")
        step, second = divmod(done, self.per_step)
        if self.method == "crank_nicolson" and self.opened is None:
            return self._explicit_half(points), (step + 1) * self.dt
        if self.method == "implicit_euler" or second:
            return x, (step + 1) * self.dt
        return x, step * self.dt

    def accept(self, points: Sequence[Array], found: Array) -> Array:
        """The point that a solve leads to.

        Args:
            points: as `ask` was given them.
            found: (batch, d) the solve's result, network units.

        Returns:
            (batch, d), network units; after Heun's first solve the predictor, after an explicit half of its own
            :math:`\tilde x`.
        """
        if self.method == "heun" and len(points) % 2 == 0:
            return (points[-2] + found) / 2
        return found

    def _explicit_half(self, points: Sequence[Array]) -> Array:
        def digital(k: int) -> Array:
            x = points[k]
            return x + self.dt / 2 * self.network.velocity(x, k * self.dt)

        if self.explicit_half == "digital":
            return digital(len(points) - 1)
        half = digital(0)
        for x in points[1:]:
            half = 2 * x - half
        return half
