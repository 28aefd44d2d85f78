"""The block operator with its ring opened: the loop as a feed-forward network, for explicit steps.

Beside it the closed ring on the same units, so that programs of both can take turns on a machine.

Equations follow "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aocsim.diffusion.network import Network, as_batch
from aocsim.diffusion.operator import BlockOperator, checked_step, ring_of
from aocsim.law import Array


@dataclass(frozen=True, eq=False)
class OpenedOperator(BlockOperator):
    r"""The map whose fixed point is an explicit Euler step: :math:`z = W s(z) + b + t e + pad(x)`.

    The machine has no clock that could count K applications of the closed ring. With the ring opened, W is strictly
    lower block-triangular, and what the loop comes to rest at is the network's value, whatever it started from. Blocks
    of the sizes d, h_1, ..., h_{K-1}, d, in all 2 d + sum h units::

        W = [ 0                      ]    b = [0      ]    e = [0      ]    pad(x) = [x]
            [ W_1  0                 ]        [b_1    ]        [e_1    ]             [0]
            [      ...               ]        [...    ]        [...    ]             ...
            [           dt W_K     0 ]        [dt b_K ]        [dt e_K ]             [x]

    so that x is held in the first block and :math:`x + dt f(x, t)` stands in the last one.

    Attributes: as of `BlockOperator`; `layout` has the last block, too.
    """

    @classmethod
    def from_network(cls, network: Network, dt: float) -> OpenedOperator:
        """Opened operator of a network, without relaxation.

        Args:
            network: whose layers to place.
            dt: step of diffusion time.

        Raises:
            InputError: dt is not a positive finite number.
        """
        checked_step(dt)
        d = network.layout[0]
        layout = (*network.layout, d)
        n = sum(layout)
        matrix, bias, embedding = np.zeros((n, n)), np.zeros(n), np.zeros(n)
        layers = zip(_chain(layout), network.weights, network.biases, network.time_embeddings, strict=True)
        for i, ((rows, columns), weight, b, e) in enumerate(layers, start=1):
            factor = dt if i == network.depth else 1.0
            matrix[rows, columns] = factor * weight
            bias[rows] = factor * b
            embedding[rows] = factor * e
        return cls(layout, matrix, bias, embedding, network.activation, float(dt), np.zeros(n))

    @property
    def depth(self) -> int:
        """Number of layers K."""
        return len(self.layout) - 1

    @property
    def result(self) -> slice:
        """Units that hold the step's result: the last d."""
        return slice(self.units - self.layout[0], self.units)

    def ring(self) -> list[tuple[slice, slice]]:
        """(rows, columns) of the block of each layer, W_1 first and dt W_K last."""
        return _chain(self.layout)

    def fixed_point(self, x: Array, t: float | Array, z0: Array | None = None, tol: float = 1e-12) -> Array:
        """State z = W s(z) + b + t e + pad(x), layer by layer, exact to rounding.

        Args:
            x: (batch, d) points, network units.
            t: diffusion time at the begin of the step, one for all or (batch,).
            z0: without effect: there is one fixed point.
            tol: without effect.

        Returns:
            (batch, n), network units.

        Raises:
            InputError: a wrong shape.
        """
        x = as_batch(x, self.layout[0], "x")
        return self._forward(self.additive(t, x, len(x)))

    def layer_outputs(self, x: Array, t: float | Array) -> Array:
        """The same as `fixed_point`."""
        return self.fixed_point(x, t)

    def _forward(self, drive: Array) -> Array:
        z = drive.copy()
        for rows, columns in self.ring():
            z[:, rows] += self.activation.response(z[:, columns]) @ self.matrix[rows, columns].T
        return z


@dataclass(frozen=True, eq=False)
class SharedOperator(BlockOperator):
    r"""The closed ring on the units of the opened one: the map of `BlockOperator`, and d units that do nothing.

    Blocks of the sizes d, h_1, ..., h_{K-1}, d as of `OpenedOperator`. The first K of them are the ring,
    :math:`x' = x + dt f(x', t)` stands in the first; the last block has no weights and no drive, and rests at 0. Its
    channels are those behind which the opened ring's result stands.

    Attributes: as of `BlockOperator`; `layout` has the last block, too.
    """

    @classmethod
    def from_network(cls, network: Network, dt: float) -> SharedOperator:
        """Closed ring of a network, without relaxation.

        Args:
            network: whose layers to place.
            dt: step of diffusion time.

        Raises:
            InputError: dt is not a positive finite number.
        """
        ring, d = BlockOperator.from_network(network, dt), network.layout[0]
        return cls(
            (*ring.layout, d),
            np.pad(ring.matrix, (0, d)),
            np.pad(ring.bias, (0, d)),
            np.pad(ring.time_embedding, (0, d)),
            ring.activation,
            ring.dt,
            np.zeros(ring.units + d),
        )

    @property
    def depth(self) -> int:
        """Number of layers K."""
        return len(self.layout) - 1

    def ring(self) -> list[tuple[slice, slice]]:
        """(rows, columns) of the block of each layer, W_1 first and dt W_K last."""
        return ring_of(self.layout[:-1])

    def _newton_step(self, z: Array, residual: Array) -> Array:
        """The ring's, and that of the idle units, which nothing reaches."""
        return np.concatenate(
            [super()._newton_step(z, residual), residual[:, self.units - self.layout[-1] :]], axis=1
        )


def _chain(layout: tuple[int, ...]) -> list[tuple[slice, slice]]:
    ends = np.cumsum(layout).tolist()
    blocks = [slice(end - size, end) for end, size in zip(ends, layout, strict=True)]
    return list(zip(blocks[1:], blocks[:-1], strict=True))
