r"""Training through a machine: what a network's weights become when a machine is programmed with them.

A machine at rest, in network units y on the channels that carry units, V volts a unit, fulfils

.. math:: y = G(y) + b + t e + pad(x), \qquad
    G_j(y) = \frac{g_j(V y) - g_j(0)}{(1 - \alpha_j) V}                                                 (1)

with g the volts that both arms bring to the nodes, each by its own emitters' law, and offsets trimmed away. What is
programmed is the block matrix of one diffusion step dt, rows times 1 - alpha, through the inversion of the optical
chain, rounded to the modulator's levels. Distortion acts on that and commutes neither with dt nor with 1 - alpha: it is
computed there, and then unscaled by (1), and by dt in the top rows, which gives the velocity

.. math:: f(x, t) = W_K s(h) + \frac{1}{dt} D_{top}(x, h) + b_K + t e_K, \qquad
    h_{i} = W_i s(h_{i-1}) + D_i(x, h) + b_i + t e_i, \qquad D(y) = G(y) - W_0\,s(y)                     (2)

with the ideal block matrix W_0 that was programmed when the machine was last asked. So the value is the machine's own
at W = W_0, and the gradient passes the rounding straight through. Light that the matrix does not ask for (darkness)
couples all blocks: the hidden ones come from K - 1 applications with x held, begun at the ideal layers' outputs, the
velocity from one more. At a fixed point that is what the machine rests at, but for coupling of second order.

Equations follow "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1, Algorithm 1. Needs torch (extra `train`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aocsim.compiler import Compiled, compile_network, knowledge_of
from aocsim.compose import Electronics, compose, reaching_at_rest
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError, PhysicsError
from aocsim.law import Array, Law
from aocsim.loop import SUM, Loop
from aocsim.machine import Machine
from aocsim.spec import MachineSpec
from aocsim.stages import Affine, Elementwise, Scale

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Programming:
    """A machine, and how networks are put onto it.

    Attributes:
        machine: as it is believed to be: nominal, or what a calibration describes.
        spec: its sheets.
        steps: diffusion steps of the runs that the network is for; dt is 1/steps.
        beta: gain.
        alpha_min: least relaxation of a channel.
        digest: of all that decides what the machine is.
    """

    machine: Machine
    spec: MachineSpec
    steps: int
    beta: float
    alpha_min: float
    digest: str

    def compiled(self, network: Network) -> Compiled:
        """The network's program.

        Raises:
            InputError: weights that the machine cannot hold; names what of the recipe to change.
        """
        volts = self.machine.pair.knee
        known = knowledge_of(self.machine, self.spec, network.activation, "exact", volts)
        operator = BlockOperator.from_network(network, 1.0 / self.steps)
        try:
            return compile_network(
                operator, known, volts_per_unit=volts, beta=self.beta, alpha_min=self.alpha_min
            )
        except InputError as error:
            raise InputError(
                f"the machine cannot hold the weights ({error.problem})",
                key="training.max_weight",
                got=error.got,
                allowed=f"less, or more training.beta: {error.allowed}",
            ) from error


def torch_law(law: Law) -> Callable[[Tensor], Tensor]:
    """A law as a differentiable torch function, evaluated from the table that numpy uses.

    Args:
        law: of any units.

    Returns:
        Function of a float64 tensor of any shape; its gradient is the slope of the table.
    """
    import torch

    coefficients = torch.from_numpy(law.coefficients)
    intervals = len(coefficients)
    per_unit = intervals / (law.upper - law.lower)

    def response(x: Tensor) -> Tensor:
        with torch.no_grad():
            inside = x.clamp(law.lower, law.upper)
            s = (inside - law.lower) * per_unit
            # The lower clamp is for NaN alone, which must come out as NaN.
            k = s.to(torch.int64).clamp_(0, intervals - 1)
            s -= k
            # One gather serves value and slope; it is most of what an iteration costs.
            c0, c1, c2, c3 = coefficients.index_select(0, k.flatten()).reshape(*x.shape, 4).unbind(-1)
            slope = ((3.0 * c3 * s + 2.0 * c2) * s + c1) * per_unit
            # Beyond the table the law goes on along its end slopes, which `slope` holds there.
            value = ((c3 * s + c2) * s + c1) * s + c0 + (x - inside) * slope
        # The last term is zero and carries the gradient; differentiating the table would cost far more.
        return value + slope * (x - x.detach())

    return response


class StaticLoop:
    """What all arms of a loop bring to its nodes at rest, as a differentiable torch function of the node voltages."""

    def __init__(self, loop: Loop) -> None:
        """Take over the loop's stages: their tables, gains and matrices.

        Raises:
            PhysicsError: a loop whose solves have matrices of their own.
        """
        import torch

        steps, outputs = loop.plan
        self._roots, self._outputs = len(loop.lags), outputs
        self._steps: list[tuple[int, int, Callable[[Tensor], Tensor]]] = []

        def constant(value: Array | float) -> Tensor:
            array = np.array(value, dtype=np.float64)
            if array.ndim > 1:
                raise PhysicsError("a loop whose solves differ is no static law")
            return torch.from_numpy(array)

        for step in steps:
            if step.source == SUM:
                break
            stage = step.stage
            if isinstance(stage, Elementwise):
                law = torch_law(stage.law)
                a, b, c, d = (
                    constant(v) for v in (stage.gain_in, stage.offset_in, stage.gain_out, stage.offset_out)
                )
                work: Callable[[Tensor], Tensor] = _elementwise(law, a, b, c, d)
            elif isinstance(stage, Affine):
                if stage.matrix.ndim != 2:
                    raise PhysicsError("a loop whose solves differ is no static law")
                work = _affine(torch.from_numpy(stage.whole.T.copy()), constant(stage.offset))
            elif isinstance(stage, Scale):
                work = _scale(constant(stage.gain), constant(stage.offset))
            else:  # a pole at rest passes on what comes
                work = _same
            self._steps.append((step.source, step.target, work))

    def __call__(self, z: Tensor) -> Tensor:
        """Volts that the arms add at the nodes, (batch, n), for constant node voltages z (batch, n) V."""
        registers = dict.fromkeys(range(self._roots), z)
        for source, target, work in self._steps:
            registers[target] = work(registers[source])
        total = registers[self._outputs[0]]
        for register in self._outputs[1:]:
            total = total + registers[register]
        return total


def _elementwise(
    law: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Callable[[Tensor], Tensor]:
    return lambda x: c * law(a * x + b) + d


def _affine(transposed: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: x @ transposed + offset


def _scale(gain: Tensor, offset: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: gain * x + offset


def _same(x: Tensor) -> Tensor:
    return x


class Programmed:
    """Velocity of a network as a machine makes it, differentiable: equation (2)."""

    def __init__(self, programming: Programming, network: Network) -> None:
        """Program the machine with the network's weights, W_0."""
        import torch

        machine, program = programming.machine, programming.compiled(network).program
        self._dt = 1.0 / programming.steps
        nothing = np.zeros(machine.channels)
        self._loop = StaticLoop(compose(machine, program, Electronics(nothing, nothing)))
        self._rest = torch.from_numpy(reaching_at_rest(machine, program))
        rows = program.channel_of_unit
        self._rows = torch.from_numpy(rows.astype(np.int64))
        self._channels = machine.channels
        self._volts = program.volts_per_unit
        self._scale = torch.from_numpy((1.0 - program.alpha[rows]) * program.volts_per_unit)
        operator = BlockOperator.from_network(network, self._dt)
        self._matrix = torch.from_numpy(operator.matrix.T.copy())
        self._s = torch_law(network.activation)
        ends = np.cumsum(operator.layout).tolist()
        self._blocks = [slice(end - size, end) for end, size in zip(ends, operator.layout, strict=True)]

    def gradient(self, y: Tensor) -> Tensor:
        """G(y) of equation (1), (batch, units), network units."""
        z = y.new_zeros((len(y), self._channels)).index_copy(1, self._rows, self._volts * y)
        return ((self._loop(z) - self._rest)[:, self._rows]) / self._scale

    def velocity(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        embeddings: Sequence[Tensor],
        x: Tensor,
        t: Tensor,
    ) -> tuple[Tensor, list[Tensor]]:
        """Velocity and hidden blocks.

        Args:
            weights: K matrices (out, in).
            biases: K vectors.
            embeddings: K vectors.
            x: (batch, d) points, network units.
            t: (batch, 1) times.

        Returns:
            (batch, d), and the K - 1 hidden blocks, each (batch, h), network units.
        """
        import torch

        depth, s = len(weights), self._s
        with torch.no_grad():
            hidden: list[Tensor] = []
            for i in range(depth - 1):
                before = s(hidden[-1] if hidden else x)
                hidden.append(torch.addmm(biases[i], before, weights[i].T) + t * embeddings[i])
        for _ in range(depth - 1):
            off = self._deviation(torch.cat([x, *hidden], dim=1))
            blocks = [x, *hidden]
            hidden = [
                torch.addmm(biases[i], s(blocks[i]), weights[i].T)
                + t * embeddings[i]
                + off[:, self._blocks[i + 1]]
                for i in range(depth - 1)
            ]
        last = hidden[-1] if hidden else x
        off = self._deviation(torch.cat([x, *hidden], dim=1))[:, self._blocks[0]]
        out = torch.addmm(biases[-1], s(last), weights[-1].T) + t * embeddings[-1] + off / self._dt
        return out, hidden

    def _deviation(self, y: Tensor) -> Tensor:
        return self.gradient(y) - self._s(y) @ self._matrix
