"""Integration of the noiseless loop with SciPy's initial-value solvers.

RK45 and DOP853 advance a whole batch in one call; their error is judged by the worst trajectory, since a norm
averaged over a batch lets single trajectories miss the tolerance by orders of magnitude. LSODA, Radau and BDF,
which factor a jacobian, take one trajectory a call.

No call ever crosses a switching event: the timeline cuts time into segments first, and within a segment the
drive is constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853, RK45, solve_ivp

from aocsim.errors import PhysicsError
from aocsim.loop import Loop
from aocsim.solve.retarded import History, integrate_retarded

Array = NDArray[np.float64]

BATCH_METHODS = ("RK45", "DOP853")
SINGLE_METHODS = ("LSODA", "Radau", "BDF")
FIRST_STEP = 0.1  # of the fastest pole's time constant


@dataclass(frozen=True, eq=False)
class Transients:
    """Noiseless solutions of a batch of solves.

    Attributes:
        state: (solves, times, N) V.
        evaluations: evaluations of the right-hand side, each counted for the batch it served.
        history: node voltages as far back as the dead time needs them; None for a loop without dead time.
    """

    state: Array
    evaluations: int
    history: History | None = None


class _WorstTrajectory:
    """Error norm of an embedded pair: root mean square over a trajectory, maximum over trajectories."""

    trajectories: int = 1
    n: int

    def _worst(self, scaled: Array) -> float:
        squared = (scaled * scaled).reshape(self.trajectories, -1).mean(axis=1)
        return float(np.sqrt(np.where(np.isfinite(squared), squared, np.inf).max()))


class _BatchRK45(_WorstTrajectory, RK45):  # type: ignore[misc]
    """scipy's RK45 with the worst trajectory's error."""

    def __init__(self, *args: Any, trajectories: int, **options: Any) -> None:
        self.trajectories = trajectories
        super().__init__(*args, **options)

    def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> float:
        return self._worst(self._estimate_error(K, h) / scale)


class _BatchDOP853(_WorstTrajectory, DOP853):  # type: ignore[misc]
    """scipy's DOP853 with the worst trajectory's error."""

    def __init__(self, *args: Any, trajectories: int, **options: Any) -> None:
        self.trajectories = trajectories
        super().__init__(*args, **options)

    def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> float:
        shape = (self.trajectories, -1)
        fifth = (np.dot(K.T, self.E5) / scale).reshape(shape)
        third = (np.dot(K.T, self.E3) / scale).reshape(shape)
        fifth_squared, third_squared = (fifth**2).mean(axis=1), (third**2).mean(axis=1)
        # Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.10
        denominator = np.sqrt(fifth_squared + 0.01 * third_squared)
        norm = np.divide(fifth_squared, denominator, out=np.zeros_like(denominator), where=denominator != 0)
        # a step that blew up must be refused: a comparison with nan would let it pass
        return float(abs(h) * np.where(np.isfinite(norm), norm, np.inf).max())


def integrate(
    loop: Loop,
    state: Array,
    drive: Array | Callable[[float], Array],
    times: Array,
    *,
    method: str = "RK45",
    rtol: float = 1e-5,
    atol: float = 1e-6,
    history: History | None = None,
) -> Transients:
    """Integrate a batch over one segment, in which the drive is constant or smooth.

    With dead time in the loop no step is longer than the shortest of them, and RK45 and DOP853 alone can do it.

    Args:
        loop: the loop; its stages may carry a leading axis of length `solves`.
        state: (solves, N) V at times[0].
        drive: (solves, n) V, constant; or a smooth function of time that returns it.
        times: increasing instants, s, at which the state is returned; the first is the segment's start.
        method: RK45 or DOP853 (one batch), LSODA, Radau or BDF (one trajectory a call).
        rtol: relative tolerance.
        atol: absolute tolerance, V.
        history: of the nodes before times[0], on the clock of `times`; by default they stood where they are. Used
            where there is dead time, and then continued.

    Raises:
        PhysicsError: the solver gave up, and at what time; or it cannot look back in time.
    """
    solves = len(state)
    span = (float(times[0]), float(times[-1]))
    at = drive if callable(drive) else lambda _: drive
    # at rest SciPy's own guess of the first step is the whole span, far outside the stable range
    first_step = min(FIRST_STEP / loop.fastest_rate, span[1] - span[0])
    if method in BATCH_METHODS:

        def batch_rhs(t: float, y: Array) -> Array:
            return loop.rhs(y.reshape(state.shape), at(t)).ravel()

        solver = _BatchRK45 if method == "RK45" else _BatchDOP853
        if loop.delayed:
            past = history or History(state[:, : loop.channels].copy(), solves)
            options = {"rtol": rtol, "atol": atol, "first_step": first_step, "trajectories": solves}
            try:
                reached, evaluations = integrate_retarded(loop, state, at, times, solver, past, **options)
            except PhysicsError as error:
                raise PhysicsError(f"{method} {error}") from None
            return Transients(reached, evaluations, past)
        found = solve_ivp(
            batch_rhs,
            span,
            state.ravel(),
            method=solver,
            t_eval=times,
            rtol=rtol,
            atol=atol,
            first_step=first_step,
            trajectories=solves,
        )
        _check(found, method)
        paths = found.y.reshape(*state.shape, len(times))
        return Transients(np.ascontiguousarray(np.moveaxis(paths, -1, 1)), int(found.nfev))
    if loop.delayed:
        raise PhysicsError(
            f"{method} cannot integrate a loop with dead time: use {' or '.join(BATCH_METHODS)}"
        )
    paths = np.empty((solves, len(times), state.shape[1]))
    evaluations = 0
    for i in range(solves):
        one = loop.select(i)
        found = solve_ivp(
            lambda t, y, one=one, i=i: one.rhs(y, at(t)[i]),
            span,
            state[i],
            method=method,
            t_eval=times,
            rtol=rtol,
            atol=atol,
            first_step=first_step,
            jac=lambda t, y, one=one, i=i: one.jacobian(y, at(t)[i]),
        )
        _check(found, method)
        paths[i] = found.y.T
        evaluations += int(found.nfev)
    return Transients(paths, evaluations)


def _check(found: Any, method: str) -> None:
    if found.status != 0:
        reached = found.t[-1] if len(found.t) else 0.0
        raise PhysicsError(f"{method} gave up at t = {reached * 1e6:.4g} us: {found.message}")
