r"""Derivatives of a loop's signals, kept as products until they are needed.

On its way from a state through laws, matrices and gains a signal's derivative is a sum of products
:math:`\mathrm{diag}(l)\,M\,\mathrm{diag}(r)`: what acts on each channel by itself touches the vectors alone, so that
each matrix is read once, when the sum is written into the jacobian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.stages import Affine, Elementwise, Scale

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Product:
    """diag(left) matrix diag(right), or diag(left) alone.

    Attributes:
        left: (solves, m).
        matrix: (solves or 1, m, n), or None.
        right: (solves, n); not used without a matrix, where m is n.
    """

    left: Array
    matrix: Array | None = None
    right: Array | None = None

    def scaled(self, by: Array | float) -> Product:
        """With each channel times `by`, (solves, n) or (n,)."""
        return Product(by * self.left, self.matrix, self.right)


Gain = tuple[Product, ...]
"""A sum of products."""


@dataclass(frozen=True, eq=False)
class Tangent:
    """Derivative of a signal to each block of states (key >= 0) and each noise source (key < 0).

    Attributes:
        gains: by key.
    """

    gains: dict[int, Gain]

    @classmethod
    def of(cls, key: int, solves: int, channels: int) -> Tangent:
        """That of a signal which is a block of states, or a source, itself."""
        return cls({key: (Product(np.ones((solves, channels))),)})

    def with_source(self, key: int, solves: int, channels: int) -> Tangent:
        """That of the same signal with a source added."""
        return Tangent({**self.gains, **Tangent.of(key, solves, channels).gains})

    def scaled(self, by: Array | float) -> Tangent:
        """With each channel times `by`, (solves, n) or (n,)."""
        return Tangent({key: tuple(part.scaled(by) for part in gain) for key, gain in self.gains.items()})

    def through(self, stage: Elementwise | Affine | Scale, x: Array) -> Tangent:
        """That of the stage's output, for its input x, (solves, n)."""
        if isinstance(stage, Elementwise):
            return self.scaled(stage.slope(x))
        if isinstance(stage, Scale):
            return self.scaled(np.asarray(stage.gain))
        matrix = stage.matrix if stage.matrix.ndim == 3 else stage.matrix[None]
        ones = np.ones((len(x), matrix.shape[1]))
        out: dict[int, Gain] = {}
        for key, gain in self.gains.items():
            if len(gain) == 1 and gain[0].matrix is None:
                out[key] = (Product(ones, matrix, gain[0].left),)
            else:
                out[key] = _whole(np.matmul(matrix, dense(gain)))
        bare = np.ndim(stage.gain) == 0 and stage.gain == 1
        return Tangent(out) if bare else Tangent(out).scaled(stage.gain)

    @staticmethod
    def total(parts: Sequence[Tangent]) -> Tangent:
        """That of a sum of signals."""
        out: dict[int, Gain] = {}
        for part in parts:
            for key, gain in part.gains.items():
                out[key] = (*out.get(key, ()), *gain)
        return Tangent(out)


def add(target: NDArray[Any], gain: Gain) -> None:
    """Add a sum of products to matrices (solves, m, n)."""
    from aocsim._kernels import add_product  # compiled code is loaded by those who compute, not at import

    places = np.arange(target.shape[-1])
    for part in gain:
        if part.matrix is None or part.right is None:
            target[:, places, places] += part.left
        else:
            add_product(target, part.left, part.matrix, part.right)


def dense(gain: Gain) -> Array:
    """A sum of products as matrices (solves, m, n)."""
    one = gain[0]
    out = np.zeros((*one.left.shape, (one.left if one.right is None else one.right).shape[-1]))
    add(out, gain)
    return out


def carried(left: Gain, density: Array, right: Gain) -> Gain:
    """Covariance L diag(density) R^T of what a source of density (solves, n) brings by two gains."""
    if len(left) == len(right) == 1 and left[0].matrix is None and right[0].matrix is None:
        return (Product(left[0].left * density * right[0].left),)
    return _whole(np.matmul(dense(left) * density[:, None, :], np.swapaxes(dense(right), -1, -2)))


def _whole(matrices: Array) -> Gain:
    """Matrices (solves, m, n) as a product."""
    solves, m, n = matrices.shape
    return (Product(np.ones((solves, m)), matrices, np.ones((solves, n))),)
