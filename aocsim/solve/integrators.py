"""Integration of the noiseless loop.

Tsit5 and Exponential are compiled and advance an ensemble in blocks. SciPy's methods are the reference: RK45 and DOP853
advance a whole batch in one call; their error is judged by the worst trajectory, since a norm averaged over a batch
lets single trajectories miss the tolerance by orders of magnitude. LSODA, Radau and BDF, which factor a jacobian, take
one trajectory a call.

No call ever crosses a switching event: the timeline cuts time into segments first, and within a segment the
drive is constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853, RK45, solve_ivp

from aocsim.errors import PhysicsError
from aocsim.loop import Loop
from aocsim.solve.ensemble import FIRST_STEP, integrate_ensemble
from aocsim.solve.flat import TooWideError
from aocsim.solve.outcome import MOST_STEPS
from aocsim.solve.retarded import History, integrate_retarded
from aocsim.solve.tsit5 import Tsit5

Array = NDArray[np.float64]

AUTO = "auto"
COMPILED_METHODS = ("Tsit5", "Exponential")
BATCH_METHODS = ("RK45", "DOP853")
SINGLE_METHODS = ("LSODA", "Radau", "BDF")
LEAST_SINGLE_RTOL = 1e-5  # below it the rounding of float32 decides, not the method
LEAST_SINGLE_EXIT = 1e-5  # V, likewise, for nodes that swing by volts


@dataclass(frozen=True, eq=False)
class Transients:
    """Noiseless solutions of a batch of solves.

    Attributes:
        state: (solves, times, N) V.
        evaluations: evaluations of the right-hand side, each counted for the batch it served.
        history: node voltages as far back as the dead time needs them; None for a loop without dead time.
        left: (solves,) V, how far a solve may be from the equilibrium that fills the rest of its record, nan where it
            was integrated to its end; None without `steady_exit`. Filters count as in `aocsim.solve.rest.Rest`.
        proven: (solves,) whether `left` is a bound of the linearised loop; else it is an estimate. None without
            `steady_exit`.
    """

    state: Array
    evaluations: int
    history: History | None = None
    left: Array | None = None
    proven: NDArray[np.bool_] | None = None


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


class _BatchTsit5(_WorstTrajectory, Tsit5):
    """Tsit5 in SciPy's frame with the worst trajectory's error: takes the steps of the compiled form."""

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


SOLVERS = {"Tsit5": _BatchTsit5, "RK45": _BatchRK45, "DOP853": _BatchDOP853}


def integrate(
    loop: Loop,
    state: Array,
    drive: Array | Callable[[float], Array],
    times: Array,
    *,
    method: str = AUTO,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    history: History | None = None,
    threads: int = 1,
    precision: type[np.floating[Any]] = np.float64,
    recorded: int | None = None,
    most_steps: int = MOST_STEPS,
    steady_exit: float | None = None,
) -> Transients:
    """Integrate a batch over one segment, in which the drive is constant or smooth.

    With dead time in the loop no step is longer than the shortest of them, and only Tsit5, RK45 and DOP853 can do it.

    Args:
        loop: the loop; its stages may carry a leading axis of length `solves`.
        state: (solves, N) V at times[0].
        drive: (solves, n) V, constant; or a smooth function of time that returns it, not for Exponential.
        times: increasing instants, s, at which the state is returned; the first is the segment's start.
        method: Tsit5 or Exponential (compiled, blocks of solves), RK45 or DOP853 (SciPy's, one batch), LSODA, Radau or
            BDF (SciPy's, one trajectory a call); auto is Exponential, or Tsit5 where that cannot be.
        rtol: relative tolerance.
        atol: absolute tolerance, V.
        history: of the nodes before times[0], on the clock of `times`; by default they stood where they are. Used
            where there is dead time, and then continued.
        threads: of the compiled methods; without effect on the result.
        precision: of the compiled methods, float64 or float32.
        recorded: number of poles whose states are returned, those of the nodes first; all by default.
        most_steps: budget of steps of the compiled methods.
        steady_exit: of the compiled methods, V: solves that stand closer to an equilibrium which attracts them, and
            stay so in the linearised loop, are not integrated further; the equilibrium fills their record. Blocks leave
            as a whole, and only where that is not dearer than to go on; see `aocsim.solve.rest`.

    Raises:
        ValueError: wrong shapes, values that are not finite, instants that do not increase, or a steady exit that is
            not a distance.
        PhysicsError: the solver gave up, and at what time; it cannot look back in time; a precision that the
            method does not have; a tolerance out of the precision's reach; a steady exit where there is none.
    """
    constant = None if callable(drive) else drive
    asked_for_any = method == AUTO
    if asked_for_any:
        method = "Exponential" if constant is not None and not loop.delayed else "Tsit5"
    if steady_exit is not None and not 0 < steady_exit < np.inf:
        raise ValueError(f"steady_exit must be volts above 0, got {steady_exit}")
    if precision is not np.float64 and rtol < LEAST_SINGLE_RTOL:
        raise PhysicsError(
            f"rtol = {rtol:.3g} is out of float32's reach: ask for {LEAST_SINGLE_RTOL:.3g} or more, or use float64"
        )
    if precision is not np.float64 and steady_exit is not None and steady_exit < LEAST_SINGLE_EXIT:
        raise PhysicsError(
            f"steady_exit = {steady_exit:.3g} V is out of float32's reach: ask for {LEAST_SINGLE_EXIT:.3g} V or more, "
            "or use float64"
        )
    if method in COMPILED_METHODS and constant is not None and not loop.delayed:
        try:
            found = integrate_ensemble(
                loop,
                state,
                constant,
                np.asarray(times, dtype=float),
                method=method,
                rtol=rtol,
                atol=atol,
                threads=threads,
                precision=precision,
                recorded=recorded,
                most_steps=most_steps,
                exit_within=steady_exit or 0.0,
            )
            if steady_exit is None:
                return Transients(found.state, found.evaluations)
            return Transients(found.state, found.evaluations, left=found.left, proven=found.proven)
        except TooWideError as error:
            if not asked_for_any:
                raise PhysicsError(f"{method} cannot integrate {error}: use 'auto' or 'RK45'") from None
            method = "Tsit5"
    if steady_exit is not None:
        raise PhysicsError(
            "a steady exit takes a compiled method, a constant drive and a loop without dead time: leave it out"
        )
    if precision is not np.float64:
        raise PhysicsError("float32 takes a compiled method, a constant drive and a loop without dead time")
    if method == "Exponential":
        what = "a loop with dead time" if constant is not None else "a drive that changes in time"
        raise PhysicsError(f"Exponential cannot integrate {what}: use Tsit5")
    full = _with_scipy(loop, state, drive, times, method=method, rtol=rtol, atol=atol, history=history)
    if recorded is None:
        return full
    return replace(full, state=full.state[..., : recorded * loop.channels])


def _with_scipy(
    loop: Loop,
    state: Array,
    drive: Array | Callable[[float], Array],
    times: Array,
    *,
    method: str,
    rtol: float,
    atol: float,
    history: History | None,
) -> Transients:
    """What `integrate` does in SciPy's frame."""
    solves = len(state)
    span = (float(times[0]), float(times[-1]))
    at = drive if callable(drive) else lambda _: drive
    # at rest SciPy's own guess of the first step is the whole span, far outside the stable range
    first_step = min(FIRST_STEP / loop.fastest_rate, span[1] - span[0])
    if method in SOLVERS:
        solver = SOLVERS[method]

        def batch_rhs(t: float, y: Array) -> Array:
            return loop.rhs(y.reshape(state.shape), at(t)).ravel()

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
        raise PhysicsError(f"{method} cannot integrate a loop with dead time: use {', '.join(SOLVERS)}")
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
