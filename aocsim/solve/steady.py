"""Steady states of the loop and their stability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import Loop

Array = NDArray[np.float64]

NEWTON_STEPS = 40
STABILITY_STEP = 3.0  # of the mean time constant
STABILITY_SQUARINGS = 9


def steady_state(loop: Loop, state: Array, drive: Array, tolerance: float = 1e-10) -> Array:
    """The equilibrium nearest to `state`, by damped Newton with the loop's jacobian.

    Args:
        loop: the loop.
        state: (solves, N) V, where to start, best the end of a transient.
        drive: (solves, n) V.
        tolerance: largest Newton correction that still counts as found, V.

    Raises:
        PhysicsError: no equilibrium found; names solve, channel and residual.
    """
    z = state.copy()
    for _ in range(NEWTON_STEPS):
        residual = loop.rhs(z, drive)
        step = np.linalg.solve(loop.jacobian(z, drive), -residual[..., None])[..., 0]
        size = np.abs(step).max(axis=1, keepdims=True)
        z += step * np.minimum(1.0, 0.5 / np.maximum(size, 1e-300))
        if np.all(size < tolerance):
            return z
    worst = int(np.argmax(size[:, 0]))
    channel = int(np.argmax(np.abs(step[worst]))) % loop.channels
    raise PhysicsError(
        f"no fixed point found: solve {worst}, channel {channel} still moves by {size[worst, 0]:.3g} V in a Newton step"
    )


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
    norm = np.abs(power).sum(axis=-1).max(axis=-1)
    return np.asarray(norm < 1.0)


def require_stable(loop: Loop, state: Array, drive: Array, where: str) -> Array:
    """Eigenvalues of the jacobian, (solves, N) 1/s; refuses an equilibrium that is not attracting.

    Args:
        loop: the loop.
        state: (solves, N) equilibria, V.
        drive: (solves, n) V.
        where: what is being solved, for the message.

    Raises:
        PhysicsError: an eigenvalue with a real part that is not negative; names solve, channel, eigenvalue.
    """
    values, vectors = np.linalg.eig(loop.jacobian(state, drive))
    worst = int(np.argmax(values.real.max(axis=1)))
    mode = int(np.argmax(values[worst].real))
    value = values[worst, mode]
    if value.real >= 0:
        channel = int(np.argmax(np.abs(vectors[worst, :, mode]))) % loop.channels
        turns = f" oscillating at {abs(value.imag) / 2e6 / np.pi:.3g} MHz" if value.imag else ""
        raise PhysicsError(
            f"{where}: the loop is unstable at its fixed point: channel {channel} leads the mode with eigenvalue "
            f"{value.real * 1e-6:+.4g} /us{turns}; more relaxation (compile.alpha) or more diffusion steps help"
        )
    return np.asarray(values)
