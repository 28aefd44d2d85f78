r"""Loops with dead time: integration by the method of steps, and what the characteristic equation says.

The equation :math:`\dot y = f(y, z(t - L_1), z(t - L_2), \ldots)` is integrated with Tsit5, RK45 or DOP853. No step
is longer than the shortest dead time, so that every z(t - L) lies on a step already taken, whose continuous extension
gives it (A. Bellen and M. Zennaro, *Numerical Methods for Delay Differential Equations*, chapter 3). A jump of the
derivative at the start comes back at all sums of dead times, one order smoother each time: the first ones are
stepped on.

The linearised loop is stable if all roots of

.. math:: \det\Delta(s) = 0, \qquad \Delta(s) = s - A_0 - \sum_l A_l e^{-s L_l}                            (1)

have negative real parts. Their number to the right of the imaginary axis is counted by the argument principle.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import Loop
from aocsim.solve.compiled import compiled_rhs

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

SMOOTH_AFTER = 5  # returns of a jump through the loop, after which a method of fifth order does not see it
LEAST_PIECE = 1e-9  # of the shortest dead time: breaks closer than this are one


@dataclass(frozen=True, eq=False)
class History:
    """Node voltages before now.

    Attributes:
        before: (solves, n) V, for all times before the first step that is kept.
        steps: (from, to, continuous extension) of each step, in order; an extension maps a time to (solves * N,).
        solves: number of solves.
    """

    before: Array
    solves: int
    steps: list[tuple[float, float, Callable[[float], Array]]] = field(default_factory=list)

    def at(self, t: float) -> Array:
        """Node voltages (solves, n) V at one instant, s; after the last step its extension goes on."""
        if not self.steps or t < self.steps[0][0]:
            return self.before
        k = bisect_right(self.steps, t, key=lambda step: step[0]) - 1
        return np.asarray(self.steps[k][2](t).reshape(self.solves, -1)[:, : self.before.shape[1]])

    def seen_from(self, instant: float) -> History:
        """This history on a clock that reads 0 at `instant`, s."""

        def moved(extension: Callable[[float], Array]) -> Callable[[float], Array]:
            return lambda t: extension(t + instant)

        steps = [(a - instant, b - instant, moved(extension)) for a, b, extension in self.steps]
        return replace(self, steps=steps)

    def forget(self, before: float) -> None:
        """Drop the steps that end before this instant, s."""
        while len(self.steps) > 1 and self.steps[0][1] < before:
            self.steps.pop(0)


def breaks(lags: tuple[float, ...], span: tuple[float, float]) -> list[float]:
    """Instants within the span, s, at which a jump at its start comes back, and its end."""
    times = {
        span[0] + sum(c) for k in range(1, SMOOTH_AFTER + 1) for c in combinations_with_replacement(lags, k)
    }
    apart = LEAST_PIECE * min(lags)
    found = [span[0]]
    for t in sorted(times):
        if found[-1] + apart < t < span[1] - apart:
            found.append(t)
    return [*found[1:], span[1]]


def integrate_retarded(
    loop: Loop,
    state: Array,
    drive: Callable[[float], Array],
    times: Array,
    solver: Callable[..., Any],
    history: History,
    **options: Any,
) -> tuple[Array, int]:
    """Advance a batch of loops with dead time.

    Args:
        loop: the loop.
        state: (solves, N) V at times[0].
        drive: (solves, n) V as a function of time, s.
        times: increasing instants, s.
        solver: a class like SciPy's `OdeSolver`, with a continuous extension.
        history: before times[0]; the steps that are taken here are added to it, and old ones dropped.
        options: of the solver: tolerances and first step.

    Returns:
        States (solves, times, N) V, and the evaluations of the right-hand side.

    Raises:
        PhysicsError: the solver gave up.
    """
    lags = tuple(lag for lag in loop.lags if lag > 0)
    first, last = float(times[0]), float(times[-1])
    n = loop.channels
    out = np.empty((len(state), len(times), loop.states))
    out[:, 0] = state
    done, evaluations, start = 1, 0, first
    options["first_step"] = min(options["first_step"], min(lags))

    evaluate = compiled_rhs(loop)

    def rhs(t: float, flat: Array) -> Array:
        y = flat.reshape(state.shape)
        past = [y[:, :n] if lag == 0 else history.at(t - lag) for lag in loop.lags]
        return evaluate(y, drive(t), past).ravel()

    flat = state.ravel()
    for stop in breaks(lags, (first, last)):
        options["first_step"] = min(options["first_step"], stop - start)
        running = solver(rhs, start, flat, stop, max_step=min(lags), **options)
        while running.status == "running":
            message = running.step()
            if running.status == "failed":
                raise PhysicsError(f"gave up at t = {running.t * 1e6:.4g} us: {message}")
            extension = running.dense_output()
            reached = running.t if running.status == "running" or stop < last else np.inf
            while done < len(times) and times[done] <= reached:
                out[:, done] = extension(min(times[done], running.t)).reshape(state.shape)
                done += 1
            history.steps.append((float(running.t_old), float(running.t), extension))
            history.forget(float(running.t) - max(lags))
        options["first_step"] = max(running.step_size, options["first_step"])
        start, flat, evaluations = stop, running.y, evaluations + int(running.nfev)
    return out, evaluations


def characteristic(matrices: tuple[Array, Array], lags: tuple[float, ...], s: ComplexArray) -> ComplexArray:
    """Delta(s) of equation (1), (points, N, N) 1/s, for points s (points,) 1/s.

    Args:
        matrices: A_0 (N, N) and A_l (lags, N, n) of `Loop.linearise_retarded`, one loop.
        lags: the loop's, s.
        s: 1/s.
    """
    now, retarded = matrices
    n = retarded.shape[-1]
    out = s[:, None, None] * np.eye(len(now)) - now
    for lag, matrix in zip(lags, retarded, strict=True):
        out[..., :n] -= np.exp(-s * lag)[:, None, None] * matrix
    return np.asarray(out)


GRID = 40  # frequencies to begin with, over all decades that matter
LARGEST_TURN = np.pi / 4  # of the determinant between neighbouring frequencies, by its derivative at both
REFINEMENTS = 40


def unstable_roots(matrices: tuple[Array, Array], lags: tuple[float, ...]) -> int:
    r"""Number of roots of equation (1) with positive real part, by the argument principle.

    With r beyond the norm of all matrices, :math:`F(s) = \det[\Delta(s)/(s + r)]` tends to 1 far from the origin; going
    up the imaginary axis it turns clockwise around the origin once for each such root. The turn between two
    frequencies is known from :math:`F'/F = \mathrm{tr}(\Delta^{-1}\Delta') - N/(s + r)` before it is measured, so
    that no whole turn is missed.

    Args:
        matrices: A_0 (N, N) and A_l (lags, N, n), one loop.
        lags: the loop's, s.

    Returns:
        Their number; -1 if a root lies so close to the axis that it cannot be told on which side.
    """
    now, retarded = matrices
    size = float(np.abs(now).sum(axis=1).max() + np.abs(retarded).sum(axis=(0, 2)).max())
    frequency = np.concatenate([[0.0], np.geomspace(size * 1e-7, size * 30, GRID)])
    sign, speed = _turning(matrices, lags, frequency, size)
    for _ in range(REFINEMENTS):
        step = np.diff(frequency)
        with np.errstate(invalid="ignore"):
            fastest = np.maximum(np.abs(speed[1:]), np.abs(speed[:-1])) * step
            turn = np.angle(sign[1:] * np.conj(sign[:-1]))
            surprise = np.abs(turn - (speed[1:] + speed[:-1]) / 2 * step)
        wide = np.flatnonzero(~((fastest < LARGEST_TURN) & (surprise < LARGEST_TURN / 2)))
        if not len(wide):
            # the positive half of the axis; beyond the grid the rest of the turn closes at 1
            return round(-float(turn.sum() - np.angle(sign[-1])) / np.pi)
        middle = (frequency[wide] + frequency[wide + 1]) / 2
        new_sign, new_speed = _turning(matrices, lags, middle, size)
        frequency = np.insert(frequency, wide + 1, middle)
        sign, speed = np.insert(sign, wide + 1, new_sign), np.insert(speed, wide + 1, new_speed)
    return -1


def _turning(
    matrices: tuple[Array, Array], lags: tuple[float, ...], omega: Array, size: float
) -> tuple[ComplexArray, Array]:
    """Direction of F on the imaginary axis, of modulus 1, and the derivative of its angle by omega, s."""
    s = np.asarray(1j * omega, dtype=np.complex128)
    delta = characteristic(matrices, lags, s)
    shifted = s + size
    try:
        inverse = np.linalg.inv(delta)
    except np.linalg.LinAlgError:  # a root on the axis itself
        return np.full(len(s), np.nan + 0j), np.full(len(s), np.nan)
    rate = np.trace(np.matmul(inverse, _slope(matrices, lags, s)), axis1=-2, axis2=-1)
    rate -= len(matrices[0]) / shifted
    # d(ln F)/d(omega) = i F'/F, whose imaginary part turns F
    return np.asarray(np.linalg.slogdet(delta / shifted[:, None, None])[0]), np.asarray(rate.real)


def _slope(matrices: tuple[Array, Array], lags: tuple[float, ...], s: ComplexArray) -> ComplexArray:
    """dDelta/ds, (points, N, N)."""
    now, retarded = matrices
    out = np.broadcast_to(np.eye(len(now), dtype=complex), (len(s), *now.shape)).copy()
    for lag, matrix in zip(lags, retarded, strict=True):
        out[..., : retarded.shape[-1]] += lag * np.exp(-s * lag)[:, None, None] * matrix
    return np.asarray(out)


def root_near(matrices: tuple[Array, Array], lags: tuple[float, ...], start: complex) -> complex:
    """The root of equation (1) that Newton's method finds from `start`, 1/s.

    Raises:
        PhysicsError: none found.
    """
    s = complex(start)
    for _ in range(60):
        here = np.array([s], dtype=np.complex128)
        delta, slope = characteristic(matrices, lags, here)[0], _slope(matrices, lags, here)[0]
        step = complex(1 / np.trace(np.linalg.solve(delta, slope)))
        s -= step
        if abs(step) <= 1e-12 * abs(s):
            return s
    raise PhysicsError(f"no root of the characteristic equation near {start:.4g} 1/s")


def all_pass(matrices: tuple[Array, Array, Array], lags: tuple[float, ...]) -> tuple[Array, Array]:
    r"""The linearised loop with every dead time L as the all-pass (1 - sL/2)/(1 + sL/2), which needs states alone.

    The phase of the all-pass is that of the dead time within (omega L)^3/12. With w' = (2/L)(z - w) the input of the
    arm is 2 w - z.

    Args:
        matrices: A_0 (..., N, N), A_l (..., lags, N, n) and D (..., N, N) of `Loop.linearise_retarded`.
        lags: the loop's, s.

    Returns:
        A and D (..., M, M) for the states followed by n more for each lag that is not zero.
    """
    now, retarded, diffusion = matrices
    *lead, total, _ = now.shape
    n = retarded.shape[-1]
    real = [k for k, lag in enumerate(lags) if lag > 0]
    size = total + n * len(real)
    a, d = np.zeros((*lead, size, size)), np.zeros((*lead, size, size))
    a[..., :total, :total], d[..., :total, :total] = now, diffusion
    for k in range(len(lags)):
        if k not in real:
            a[..., :total, :n] += retarded[..., k, :, :]
    for place, k in enumerate(real):
        own = slice(total + place * n, total + (place + 1) * n)
        rate = 2 / lags[k] * np.eye(n)
        a[..., :total, :n] -= retarded[..., k, :, :]
        a[..., :total, own] = 2 * retarded[..., k, :, :]
        a[..., own, :n], a[..., own, own] = rate, -rate
    return a, d
