"""Stages: what a part is to the loop.

A part contributes a tuple of stages; the loop and its solvers know stages and never parts.
Signals are arrays (..., n), the last axis running over channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.law import Law

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """y = gain_out law(gain_in x + offset_in) + offset_out, channel by channel.

    Attributes:
        law: the shared static law.
        gain_in: (n,) or scalar, into the law's unit.
        offset_in: (n,) or scalar, in the law's input unit.
        gain_out: (n,) or scalar.
        offset_out: (n,) or scalar, in the unit of y.
    """

    law: Law
    gain_in: Array | float = 1.0
    offset_in: Array | float = 0.0
    gain_out: Array | float = 1.0
    offset_out: Array | float = 0.0
    _arrays: dict[int, tuple[Array, Array, Array, Array]] = field(
        default_factory=dict, init=False, repr=False
    )

    def response(self, x: Array) -> Array:
        """Output signal, shape of x."""
        return self.law.scaled_response(x, *self._spread_over(x.shape[-1]))

    def _spread_over(self, n: int) -> tuple[Array, Array, Array, Array]:
        """The four gains and offsets as (n,) arrays, kept, since the solver asks hundreds of times."""
        if n not in self._arrays:
            given = (self.gain_in, self.offset_in, self.gain_out, self.offset_out)
            a, b, c, d = (np.ascontiguousarray(np.broadcast_to(g, n), dtype=float) for g in given)
            self._arrays[n] = (a, b, c, d)
        return self._arrays[n]

    def slope(self, x: Array) -> Array:
        """dy/dx, shape of x."""
        gain_in, offset_in, gain_out, _ = self._spread_over(x.shape[-1])
        return self.law.scaled_slope(x, gain_in, offset_in, gain_in * gain_out)


@dataclass(frozen=True, eq=False)
class Affine:
    """y = gain (matrix x) + offset.

    Attributes:
        matrix: (..., m, n); a leading axis holds one matrix for each solve, in double or single precision.
        offset: (..., m) or scalar, in the unit of y.
        gain: (..., m) or scalar, of stages that are folded in: matrices of many solves are not copied for it.
    """

    matrix: NDArray[Any]
    offset: Array | float = 0.0
    gain: Array | float = 1.0

    @property
    def whole(self) -> NDArray[Any]:
        """Gain and matrix in one, (..., m, n)."""
        gain = np.asarray(self.gain)
        return np.asarray(self.matrix * (gain[..., None] if gain.ndim else gain))

    def response(self, x: Array) -> Array:
        """Output signal (..., m)."""
        if self.matrix.ndim == 2:
            return np.asarray(self.gain * (x @ self.matrix.T) + self.offset)
        return np.asarray(self.gain * np.matmul(self.matrix, x[..., None])[..., 0] + self.offset)


@dataclass(frozen=True, eq=False)
class Scale:
    """y = gain x + offset, channel by channel: an Affine with a diagonal matrix.

    Attributes:
        gain: (..., n) or scalar.
        offset: (..., n) or scalar, in the unit of y.
    """

    gain: Array | float
    offset: Array | float = 0.0

    def response(self, x: Array) -> Array:
        """Output signal, shape of x."""
        return np.asarray(self.gain * x + self.offset)


@dataclass(frozen=True, eq=False)
class Pole:
    """dy/dt = rate (x - y): one state per channel.

    Attributes:
        rate: (n,), 2 pi f_3dB in 1/s.
    """

    rate: Array


@dataclass(frozen=True, eq=False)
class Noise:
    """White noise injected where the stage stands, independent between channels.

    Attributes:
        name: name of its random stream.
        density: one-sided power spectral density as a function of the signal there, in unit^2/Hz.
    """

    name: str
    density: Callable[[Array], Array]


@dataclass(frozen=True)
class Delay:
    """y(t) = x(t - seconds): dead time of cables, fibres and amplifiers, the same for all channels.

    Attributes:
        seconds: s, positive.
    """

    seconds: float


Stage = Elementwise | Affine | Scale | Pole | Noise | Delay


def fold(first: Affine | Scale, second: Affine | Scale) -> Affine | Scale:
    """One stage that does what `first` and then `second` do."""
    if isinstance(second, Scale):
        gain, offset = second.gain * first.gain, second.response(np.asarray(first.offset, dtype=float))
        if isinstance(first, Scale):
            return Scale(gain, offset)
        folded = Affine(first.matrix, offset, gain)
        return folded if first.matrix.ndim > 2 else Affine(folded.whole, offset)
    inputs = second.matrix.shape[-1]
    start = np.asarray(first.offset, dtype=float)
    offset = second.response(start if start.ndim else np.full(inputs, float(start)))
    if isinstance(first, Scale):
        gain = np.asarray(first.gain)
        return Affine(second.matrix * (gain[..., None, :] if gain.ndim else gain), offset, second.gain)
    return Affine(np.matmul(second.matrix, first.whole), offset, second.gain)
