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
    _end_slopes: tuple[float, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        c = self.coefficients
        per_x = len(c) / (self.upper - self.lower)
        slopes = c[:, 1:] * np.array([1.0, 2.0, 3.0]) * per_x
        object.__setattr__(self, "_slopes", np.ascontiguousarray(slopes))
        object.__setattr__(self, "_end_slopes", (float(slopes[0, 0]), float(slopes[-1].sum())))

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

    def _locate(self, x: Array) -> tuple[Array, NDArray[np.intp], Array]:
        n = len(self.coefficients)
        inside = np.clip(x, self.lower, self.upper)
        s = (inside - self.lower) * (n / (self.upper - self.lower))
        k = np.minimum(s.astype(np.intp), n - 1)
        s -= k
        return inside, k, s

    def _outside(self, x: Array, inside: Array) -> Array | None:
        beyond = x - inside
        if not beyond.any():
            return None
        return beyond * np.where(beyond < 0, self._end_slopes[0], self._end_slopes[1])

    def response(self, x: Array) -> Array:
        """Value y(x), in the unit of y; same shape as x."""
        inside, k, s = self._locate(np.asarray(x, dtype=float))
        c = self.coefficients.take(k, axis=0)
        y = c[..., 3] * s
        y += c[..., 2]
        y *= s
        y += c[..., 1]
        y *= s
        y += c[..., 0]
        beyond = self._outside(x, inside)
        return np.asarray(y if beyond is None else y + beyond)

    def slope(self, x: Array) -> Array:
        """Derivative dy/dx; same shape as x."""
        _, k, s = self._locate(np.asarray(x, dtype=float))
        c = self._slopes.take(k, axis=0)
        return np.asarray((c[..., 2] * s + c[..., 1]) * s + c[..., 0])
