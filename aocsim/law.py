"""A static nonlinear law as a table that every consumer shares.

A part's law (a differential pair, a microLED, an amplifier) is evaluated hundreds of millions of times.
Tabulating it once as a continuously differentiable piecewise cubic makes all consumers (numpy, the training
code, a user's own part) evaluate the *same* function, whatever the part's formula costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INTERVALS = 2048


@dataclass(frozen=True, eq=False)
class Law:
    r"""C1 cubic Hermite table of a scalar function y(x) on a uniform grid, extended linearly outside it.

    On interval k, with s = (x - lower)/h - k in [0, 1),
    :math:`y = c_{k0} + c_{k1} s + c_{k2} s^2 + c_{k3} s^3`, where the coefficients reproduce value and slope
    at both ends. The error of the interpolant is h^4 max|y''''| / 384.

    Attributes:
        name: what the law is, for messages.
        lower: first grid point, in the unit of x.
        upper: last grid point, in the unit of x.
        coefficients: (intervals, 4), in the unit of y.
    """

    name: str
    lower: float
    upper: float
    coefficients: Array
    _slopes: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        c = self.coefficients
        per_x = len(c) / (self.upper - self.lower)
        slopes = c[:, 1:] * np.array([1.0, 2.0, 3.0]) * per_x
        object.__setattr__(self, "_slopes", np.ascontiguousarray(slopes))

    @classmethod
    def tabulate(
        cls,
        name: str,
        function: Callable[[Array], Array],
        derivative: Callable[[Array], Array],
        lower: float,
        upper: float,
        intervals: int = INTERVALS,
    ) -> Law:
        """Tabulate `function`, whose derivative is `derivative`, on [lower, upper].

        Args:
            name: for messages.
            function: y(x), vectorised.
            derivative: dy/dx, vectorised.
            lower: lower end of the table, in the unit of x.
            upper: upper end of the table, in the unit of x.
            intervals: number of uniform intervals.

        Raises:
            ValueError: the interval is empty or the function is not finite on it.
        """
        if not lower < upper:
            raise ValueError(f"law {name!r}: empty table interval [{lower}, {upper}]")
        x = np.linspace(lower, upper, intervals + 1)
        y = np.asarray(function(x), dtype=float)
        dy = np.asarray(derivative(x), dtype=float) * (upper - lower) / intervals
        if not (np.isfinite(y).all() and np.isfinite(dy).all()):
            raise ValueError(f"law {name!r}: not finite everywhere on [{lower}, {upper}]")
        rise = np.diff(y)
        c = np.stack([y[:-1], dy[:-1], 3 * rise - 2 * dy[:-1] - dy[1:], dy[:-1] + dy[1:] - 2 * rise], axis=1)
        return cls(name, float(lower), float(upper), np.ascontiguousarray(c))

    def response(self, x: Array) -> Array:
        """Value y(x), in the unit of y; same shape as x."""
        x = np.asarray(x, dtype=float)
        return self.scaled_response(x.reshape(-1, 1), _ONE, _ZERO, _ONE, _ZERO).reshape(x.shape)

    def scaled_response(
        self, x: Array, gain_in: Array, offset_in: Array, gain_out: Array, offset_out: Array
    ) -> Array:
        """gain_out y(gain_in x + offset_in) + offset_out in one pass, for x (..., n) and (n,) gains."""
        from aocsim._kernels import evaluate  # compiled code is loaded by those who compute, not at import

        rows = np.ascontiguousarray(x, dtype=float).reshape(-1, x.shape[-1])
        out = np.empty_like(rows)
        per_unit = len(self.coefficients) / (self.upper - self.lower)
        evaluate(rows, out, self.coefficients, self.lower, per_unit, gain_in, offset_in, gain_out, offset_out)
        return out.reshape(x.shape)

    def slope(self, x: Array) -> Array:
        """Derivative dy/dx; same shape as x."""
        x = np.asarray(x, dtype=float)
        return self.scaled_slope(x.reshape(-1, 1), _ONE, _ZERO, _ONE).reshape(x.shape)

    def scaled_slope(self, x: Array, gain_in: Array, offset_in: Array, factor: Array) -> Array:
        """factor y'(gain_in x + offset_in) in one pass, for x (..., n) and the rest (n,)."""
        from aocsim._kernels import evaluate_slope

        rows = np.ascontiguousarray(x, dtype=float).reshape(-1, x.shape[-1])
        out = np.empty_like(rows)
        per_unit = len(self.coefficients) / (self.upper - self.lower)
        evaluate_slope(rows, out, self._slopes, self.lower, per_unit, gain_in, offset_in, factor)
        return out.reshape(x.shape)


_ONE, _ZERO = np.ones(1), np.zeros(1)
