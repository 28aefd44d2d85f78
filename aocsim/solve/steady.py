"""Steady states of the loop and their stability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.retarded import unstable_roots

Array = NDArray[np.float64]

CONTINUATION_STEPS = 120
FIRST_STEP = 1e3  # time constants of the fastest pole
REMEDY = "more relaxation (compile.alpha), smaller residuals of the trims or more diffusion steps help"
FOLLOWED = 1e4  # of them: how long a loop is followed where continuation finds no equilibrium
LONGEST_STEP = 1e9  # of them: a step of this length is Newton's
STABILITY_STEP = 3.0  # of the mean time constant
STABILITY_SQUARINGS = 9
STRAIGHT = 0.02  # of Newton's first step: how far the second may reach where the loop counts as linear
REPEATS = 8  # steps with it
ROUNDING = 1e-9  # V: steps below are those of rounding


def steady_state(
    loop: Loop,
    state: Array,
    drive: Array,
    tolerance: float = 1e-10,
    where: str = "steady state",
    numbers: NDArray[np.intp] | None = None,
) -> Array:
    """The equilibrium that `state` leads to, by pseudo-transient continuation.

    Each step is an implicit Euler step of the loop, z += (1/h - A)^-1 dz/dt, whose h grows as the residual
    falls (switched evolution relaxation; C. T. Kelley and D. E. Keyes, SIAM J. Numer. Anal. 35, 508 (1998)):
    far away it follows the loop, near the equilibrium it is Newton's method. Where that finds none, the loop is
    followed in time first.

    Args:
        loop: the loop.
        state: (solves, N) V, where to start, best the end of a transient.
        drive: (solves, n) V.
        tolerance: largest Newton correction that still counts as found, V.
        where: what is being solved, for the message.
        numbers: (solves,) of the solves, for the message; None counts from 0.

    Raises:
        PhysicsError: no equilibrium found; names solve, channel and residual.
    """
    z, found = _continued(loop, state, drive, tolerance)
    for solve in map(int, np.flatnonzero(~found)):
        # a residual that has to grow on the way stops the continuation, and not the loop: what it does in time decides
        one, here = loop.select(solve), slice(solve, solve + 1)
        followed = integrate(one, state[here], drive[here], np.array([0.0, FOLLOWED / loop.fastest_rate]))
        z[here], found[here] = _continued(one, followed.state[:, -1], drive[here], tolerance)
        if not found[solve]:
            number = solve if numbers is None else int(numbers[solve])
            left = float(np.abs(one.rhs(z[here], drive[here])).max())
            value, channel = _leading_mode(one.jacobian(z[here], drive[here])[0], loop.channels)
            raise PhysicsError(
                f"{where}: no fixed point found: solve {number} still moves by {left * 1e-6:.3g} V/us; there channel "
                f"{channel} leads the mode with eigenvalue {_in_words(value)}; {REMEDY}"
            )
    return z


def at_rest(
    loop: Loop, state: Array, drive: Array, tolerance: float = 1e-10, where: str = "steady state"
) -> tuple[Array, NDArray[np.bool_]]:
    """The equilibria that the ends of transients lead to, (solves, N) V, and whether they are proven stable, (solves,).

    Where a solve has so nearly come to rest that the loop is straight on what is left of its way, and is proven stable
    there, Newton's method tells; elsewhere `steady_state`.

    Args:
        loop: the loop.
        state: (solves, N) V.
        drive: (solves, n) V.
        tolerance: of `steady_state`.
        where: of `steady_state`.

    Raises:
        PhysicsError: as `steady_state`.
    """
    if loop.delayed:  # of which the jacobian proves nothing
        return steady_state(loop, state, drive, tolerance, where), np.zeros(len(state), dtype=bool)
    z, found = _straight(loop, state, drive, tolerance)
    proven = found
    if found.any():
        z = np.where(found[:, None], z, state)
        proven = found & proven_stable(loop.jacobian(z, drive))
    others = np.flatnonzero(~proven)
    if len(others):
        rest = loop if len(others) == len(z) else loop.select(others)
        z[others] = steady_state(rest, state[others], drive[others], tolerance, where, others)
        proven[others] = proven_stable(rest.jacobian(z[others], drive[others]))
    return z, proven


def _straight(loop: Loop, state: Array, drive: Array, tolerance: float) -> tuple[Array, NDArray[np.bool_]]:
    """Where Newton's method leads with the jacobian of the start, and whether that is an equilibrium on a straight way.

    Args:
        loop: the loop.
        state: (solves, N) V.
        drive: (solves, n) V.
        tolerance: largest last step, V.

    Returns:
        (solves, N) V, and (solves,).
    """
    z, first = state, np.zeros(len(state))
    try:
        inverse = np.linalg.inv(loop.jacobian(state, drive))
    except np.linalg.LinAlgError:
        return state.copy(), np.zeros(len(state), dtype=bool)
    for repeat in range(REPEATS):
        step = -np.matmul(inverse, loop.rhs(z, drive)[..., None])[..., 0]
        size = np.abs(step).max(axis=1)
        if repeat == 0:
            first = size
        elif repeat == 1:
            straight = size <= STRAIGHT * np.maximum(first, ROUNDING)
        z = z + step
        if repeat and np.all(size < tolerance):
            break
    return z, straight & (size < tolerance)


def _continued(loop: Loop, state: Array, drive: Array, tolerance: float) -> tuple[Array, NDArray[np.bool_]]:
    """Where pseudo-transient continuation comes to, (solves, N) V, and whether that is an equilibrium, (solves,)."""
    z, eye = state.copy(), np.eye(loop.states)
    longest = LONGEST_STEP / loop.fastest_rate
    h = np.full(len(z), FIRST_STEP / loop.fastest_rate)
    slope = loop.rhs(z, drive)
    norm = np.abs(slope).max(axis=1)
    size = np.full(len(z), np.inf)
    for _ in range(CONTINUATION_STEPS):
        step = np.linalg.solve(eye / h[:, None, None] - loop.jacobian(z, drive), slope[..., None])[..., 0]
        trial_slope = loop.rhs(z + step, drive)
        trial_norm = np.abs(trial_slope).max(axis=1)
        taken = trial_norm <= norm + tolerance * loop.fastest_rate
        size = np.where(h >= longest, np.abs(step).max(axis=1), np.inf)
        growth = np.clip(norm / np.maximum(trial_norm, 1e-300), 2.0, 100.0)
        h = np.where(taken, np.minimum(h * growth, longest), h / 8)
        z = np.where(taken[:, None], z + step, z)
        slope = np.where(taken[:, None], trial_slope, slope)
        norm = np.where(taken, trial_norm, norm)
        if np.all(size < tolerance):
            break
    return z, size < tolerance


def proven_stable(jacobian: Array) -> NDArray[np.bool_]:
    """Whether every mode decays, (...,): shown by a contraction, far cheaper than eigenvalues.

    The Cayley transform C = (I - hA/2)^-1 (I + hA/2) has all eigenvalues inside the unit circle if and only if
    all of A's have negative real parts; a power of C of norm below 1 proves it. False means not proven.

    Args:
        jacobian: A, (..., N, N) 1/s.
    """
    n = jacobian.shape[-1]
    h = STABILITY_STEP / np.abs(np.diagonal(jacobian, axis1=-2, axis2=-1)).mean()
    half = jacobian * (h / 2)
    power = np.linalg.solve(np.eye(n) - half, np.eye(n) + half)
    for _ in range(STABILITY_SQUARINGS):
        power = np.matmul(power, power)
        # an unstable mode grows without bound; half-way it is clear enough
        np.clip(power, -1e100, 1e100, out=power)
        proven = np.abs(power).sum(axis=-1).max(axis=-1) < 1.0
        if np.all(proven):
            break  # the norm of a further power would be smaller still
    return np.asarray(proven)


def require_stable(loop: Loop, state: Array, drive: Array, where: str) -> Array:
    """Eigenvalues of the jacobian, (solves, N) 1/s; refuses an equilibrium that is not attracting.

    Args:
        loop: the loop.
        state: (solves, N) equilibria, V.
        drive: (solves, n) V.
        where: what is being solved, for the message.

    Raises:
        PhysicsError: an eigenvalue with a real part that is not negative, or with dead time a root of the
            characteristic equation; names solve, channel, eigenvalue.
    """
    jacobian = loop.jacobian(state, drive)
    values = np.linalg.eigvals(jacobian)
    worst = int(np.argmax(values.real.max(axis=1)))
    value, channel = _leading_mode(jacobian[worst], loop.channels)
    if value.real >= 0:
        raise PhysicsError(
            f"{where}: the loop is unstable at its fixed point: channel {channel} leads the mode with eigenvalue "
            f"{_in_words(value)}; {REMEDY}"
        )
    if loop.delayed:
        _require_no_late_oscillation(loop, state, drive, where)
    return np.asarray(values)


def _require_no_late_oscillation(loop: Loop, state: Array, drive: Array, where: str) -> None:
    now, retarded, _ = loop.linearise_retarded(state, drive)
    for solve in range(len(state)):
        count = unstable_roots((now[solve], retarded[solve]), loop.lags)
        if count:
            told = f"{count} growing modes" if count > 0 else "a mode that does not decay"
            raise PhysicsError(
                f"{where}: the loop's dead time makes it oscillate: solve {solve} has {told} at its fixed point; less "
                "delay (parts.poles.optical_delay, node_delay) or more relaxation (compile.alpha) help"
            )


def _leading_mode(jacobian: Array, channels: int) -> tuple[complex, int]:
    """Eigenvalue with the largest real part, 1/s, and the channel with the largest share of its mode."""
    values, vectors = np.linalg.eig(jacobian)
    mode = int(np.argmax(values.real))
    return complex(values[mode]), int(np.argmax(np.abs(vectors[:, mode]))) % channels


def _in_words(value: complex) -> str:
    turns = f", oscillating at {abs(value.imag) / 2e6 / np.pi:.3g} MHz" if value.imag else ""
    return f"{value.real * 1e-6:+.4g} /us{turns}"
