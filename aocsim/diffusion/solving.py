r"""The solver family for any vector field: explicit and implicit Euler, Heun, implicit Crank-Nicolson.

Integrates :math:`dx/dt = f(x, t)`, t from 0 to 1, in steps of dt from x at t to x' at t' = t + dt:

- `explicit_euler`: :math:`x' = x + dt f(x, t)`
- `heun`: :math:`x' = x + (dt/2) [f(x, t) + f(x + dt f(x, t), t')]`
- `implicit_euler`: :math:`x' = x + dt f(x', t')`
- `crank_nicolson`: :math:`x' = x + (dt/2) [f(x, t) + f(x', t')]`

Implicit equations are fixed points :math:`y = g(y) = \tilde x + h f(y, t')`, with h = dt or dt/2. They are solved to
convergence by Newton's method, or iterated a fixed number of times, :math:`y \leftarrow a y + (1 - a) g(y)`, as a
digital machine with a budget of evaluations does ("Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1).
Crank-Nicolson with one iteration from the explicit warm start is Heun's method: both evaluate f twice.

`aocsim.diffusion.methods` has the same methods as solves of the analog loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.methods import METHODS, Method
from aocsim.diffusion.network import Network
from aocsim.errors import InputError, PhysicsError, unknown_name
from aocsim.law import Array

Field = Callable[[Array, float], Array]
"""f(x, t) of points (batch, d) and one time, (batch, d)."""

WarmStart = Literal["explicit", "previous"]
WARM_STARTS: tuple[WarmStart, ...] = ("explicit", "previous")

NEWTON_STEPS = 50
HALVINGS = 12
DIFFERENCE = 6e-6  # cube root of the rounding error: the best step of a central difference


@dataclass(frozen=True, eq=False)
class Solution:
    """A trajectory, and what it took.

    Attributes:
        times: (steps + 1,), from 0 to 1.
        points: (steps + 1, batch, d), the start first.
        evaluations: of f for each sample in all; those for jacobians by differences are counted, too.
        residual: (steps, batch) largest |g(y) - y| over max(1, max|y|) of the implicit equation, where y is the result,
            or with fixed iterations what the last one began with; 0 for explicit methods, infinite without iterations.
        converged: (steps, batch) whether it is within the tolerance.
    """

    times: Array
    points: Array
    evaluations: int
    residual: Array
    converged: NDArray[np.bool_]


class _Counted:
    """A field that counts how often it is evaluated and refuses what is no velocity."""

    def __init__(self, f: Field, shape: tuple[int, ...]) -> None:
        self._f, self._shape, self.calls = f, shape, 0

    def __call__(self, x: Array, t: float) -> Array:
        self.calls += 1
        out = np.asarray(self._f(x, t), dtype=np.float64)
        if out.shape != x.shape:
            raise InputError("wrong shape of f(x, t)", key="f", got=out.shape, allowed=str(x.shape))
        return out


def solve(
    f: Field | Network,
    x0: Array,
    *,
    method: Method = "implicit_euler",
    steps: int = 16,
    iterations: int | None = None,
    warm_start: WarmStart = "explicit",
    relaxation: float | Array = 0.0,
    tolerance: float = 1e-12,
    jacobian: Callable[[Array, float], Array] | None = None,
) -> Solution:
    """Integrate a vector field from t = 0 to t = 1 in equal steps.

    Args:
        f: field, or a network whose velocity it is.
        x0: (batch, d) points at t = 0.
        method: name of the method.
        steps: number of steps.
        iterations: of the implicit equation, each one evaluation; None iterates Newton's method to convergence.
        warm_start: where the implicit equation is started: at the explicit Euler step, which costs an evaluation that
            Crank-Nicolson needs in any case, or at the point before.
        relaxation: a in [0, 1), one number or (d,), of fixed iterations.
        tolerance: largest residual of a converged equation, relative to max(1, max|y|).
        jacobian: df/dx, (batch, d, d), of points and a time; None takes central differences.

    Returns:
        The trajectory. With fixed iterations a residual above the tolerance is told, and no error.

    Raises:
        InputError: a wrong shape, an unknown name, or a number out of range.
        PhysicsError: Newton's method finds no solution, or values stop being finite; names step and sample.
    """
    x = np.array(x0, dtype=np.float64)
    if x.ndim != 2 or not x.size:
        raise InputError("wrong shape", key="x0", got=x.shape, allowed="(batch, d), neither of them 0")
    if not np.isfinite(x).all():
        raise InputError("not a finite number", key="x0")
    if method not in METHODS:
        raise unknown_name("method", method, METHODS, key="method")
    if warm_start not in WARM_STARTS:
        raise unknown_name("warm start", warm_start, WARM_STARTS, key="warm_start")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise InputError("out of range", key="steps", got=steps, allowed="a whole number, 1 or more")
    if iterations is not None and (isinstance(iterations, bool) or iterations < 0):
        raise InputError("out of range", key="iterations", got=iterations, allowed="0 or more, or None")
    a = np.asarray(relaxation, dtype=np.float64)
    if a.shape not in ((), (x.shape[1],)):
        raise InputError("wrong shape", key="relaxation", got=a.shape, allowed=f"a number or ({x.shape[1]},)")
    if not np.all((a >= 0.0) & (a < 1.0)):
        raise InputError("out of range", key="relaxation", got=a.tolist(), allowed="at least 0, less than 1")
    field = _Counted(f.velocity if isinstance(f, Network) else f, x.shape)
    times = np.arange(steps + 1) / steps
    points, residual = np.empty((steps + 1, *x.shape)), np.zeros((steps, len(x)))
    points[0] = x
    for k in range(steps):
        t, dt = float(times[k]), 1.0 / steps
        ahead = float(times[k + 1])
        with np.errstate(over="ignore", invalid="ignore"):
            if method == "explicit_euler":
                x = x + dt * field(x, t)
            elif method == "heun":
                here = field(x, t)
                x = x + dt / 2 * (here + field(x + dt * here, ahead))
            else:
                x, residual[k] = _implicit(
                    field, x, t, ahead, dt, method, iterations, warm_start, a, tolerance, jacobian, k
                )
        _refuse_infinite(x, k, steps, method)
        points[k + 1] = x
    return Solution(times, points, field.calls, residual, residual <= tolerance)


def _implicit(
    field: _Counted,
    x: Array,
    t: float,
    ahead: float,
    dt: float,
    method: Method,
    iterations: int | None,
    warm_start: WarmStart,
    a: Array,
    tolerance: float,
    jacobian: Callable[[Array, float], Array] | None,
    k: int,
) -> tuple[Array, Array]:
    """One step of an implicit method: the point, and the residual of its equation, (batch,)."""
    half = method == "crank_nicolson"
    here = field(x, t) if half or warm_start == "explicit" else None
    h = dt / 2 if half else dt
    base = x if here is None or not half else x + h * here
    y = x if here is None or warm_start == "previous" else x + dt * here
    if iterations is None:
        return _newton(field, base, y, ahead, h, tolerance, jacobian, f"{method}, step {k + 1}")
    found = None
    for _ in range(iterations):
        found = base + h * field(y, ahead)
        before, y = y, a * y + (1.0 - a) * found
    if found is None:
        return y, np.full(len(y), np.inf)
    # what the last evaluation has seen: one more, only to know, would be paid for
    return y, np.abs(found - before).max(axis=1) / np.maximum(1.0, np.abs(y).max(axis=1))


def _newton(
    field: _Counted,
    base: Array,
    y: Array,
    t: float,
    h: float,
    tolerance: float,
    jacobian: Callable[[Array, float], Array] | None,
    what: str,
) -> tuple[Array, Array]:
    """Solve y = base + h f(y, t), damped until the residual falls; all samples at once."""
    eye = np.eye(y.shape[1])
    residual = base + h * field(y, t) - y
    size = np.abs(residual).max(axis=1)
    scale = np.maximum(1.0, np.abs(y).max(axis=1))
    for _ in range(NEWTON_STEPS):
        if np.all(size <= tolerance * scale):
            return y, size / scale
        slope = differences(field, y, t) if jacobian is None else np.asarray(jacobian(y, t))
        try:
            step = np.linalg.solve(eye - h * slope, residual[..., None])[..., 0]
        except np.linalg.LinAlgError:
            step = residual
        length = np.where(size <= tolerance * scale, 0.0, 1.0)
        for _ in range(HALVINGS):
            trial = y + length[:, None] * step
            left = base + h * field(trial, t) - trial
            worse = (length > 0) & ~(np.abs(left).max(axis=1) < size)
            if not worse.any():
                break
            length = np.where(worse, length / 2, length)
        if worse.all():
            break
        y = np.where(worse[:, None], y, trial)
        residual = np.where(worse[:, None], residual, left)
        size, scale = np.abs(residual).max(axis=1), np.maximum(1.0, np.abs(y).max(axis=1))
        if np.all(worse | (size <= tolerance * scale)) and worse.any():
            break
    bad = np.flatnonzero(~(size <= tolerance * scale))
    if not len(bad):
        return y, size / scale
    worst = int(bad[np.argmax(np.nan_to_num(size[bad], nan=np.inf))])
    raise PhysicsError(
        f"{what}: no solution found for {len(bad)} of {len(y)} samples; sample {worst} is left with a residual of "
        f"{size[worst] / scale[worst]:.3g} (tolerance {tolerance:.3g}): take more steps"
    )


def differences(field: Field, y: Array, t: float) -> Array:
    """df/dx of a field at points (batch, d) and one time, by central differences, (batch, d, d)."""
    d = y.shape[1]
    out = np.empty((len(y), d, d))
    step = DIFFERENCE * np.maximum(1.0, np.abs(y).max(axis=1))[:, None]
    for j in range(d):
        shift = step * np.eye(d)[j]
        out[:, :, j] = (field(y + shift, t) - field(y - shift, t)) / (2 * step)
    return out


def _refuse_infinite(x: Array, k: int, steps: int, method: str) -> None:
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise PhysicsError(
            f"{method}, step {k + 1} of {steps}: sample {bad[0]} and {len(bad) - 1} others are no numbers any more; "
            "take more steps"
        )
