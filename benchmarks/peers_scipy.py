"""SciPy and numpy: the whole batch stacked into one solve_ivp, or one trajectory after another.

The right-hand side is aocsim's own `Loop.rhs`, the fastest there is in numpy. "processes": the trajectories split over
as many processes as there are threads. Stacked: RK45 with SciPy's own error norm, and with that of the worst
trajectory; DOP853 was always slower. One by one: LSODA, with the loop's jacobian and without; for several poles Radau
too; only a few of the trajectories are taken, and the time is scaled to all. Noise: Euler-Maruyama in plain numpy.
"""

from __future__ import annotations

import multiprocessing
import weakref
from importlib.metadata import version
from itertools import pairwise

import numpy as np
from candidates import INTERVAL, SETTLED, Candidate, Run, threads
from loads import Task
from numpy.typing import NDArray
from reference import Reference
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

from aocsim.solve.integrators import _BatchRK45

Array = NDArray[np.float64]
SINGLE = 2000  # states of the trajectories that are solved one by one


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("scipy", "numpy")}


def candidates(task: Task) -> list[Candidate]:
    way = "processes" if threads() > 1 else "threads"
    if task.noisy:
        return [Candidate("numpy", f"Euler-Maruyama {way}", ("em", way), noise=True, loosest=INTERVAL / 48)]
    stacked = [("RK45", way), ("RK45 worst", way)]
    # a stack of stiff trajectories takes minutes and tells nothing new
    stacked = [("RK45", way)] if task.stiff else [("RK45", "threads"), *stacked]
    out = [
        Candidate("scipy stacked", f"{method} {how}", (method, how), exits=True)
        for method, how in dict.fromkeys(stacked)
    ]
    for method in ["LSODA", "LSODA jacobian"] + (["Radau jacobian"] if task.stiff else []):
        out.append(Candidate(f"scipy {method.split()[0]}", f"{method} {way}", (method, way), exits=True))
    return out


def solved(task: Task, candidate: Candidate) -> int:
    """How many of the trajectories are really solved."""
    one_by_one = candidate.settings[0].startswith(("LSODA", "Radau"))
    return (
        min(max(2, min(16, SINGLE // task.loop.states)), len(task.state)) if one_by_one else len(task.state)
    )


_task: Task | None = None


def build(task: Task, candidate: Candidate, reference: Reference, steady: bool) -> Run:
    """A function of the tolerance (or, with noise, of the step in s) that returns (trajectories, 90, n) V."""
    method, way = candidate.settings
    count = solved(task, candidate)
    seeds = iter(range(1 << 30))
    amplitude = np.empty(0)
    if task.noisy:
        copies = -(-count // len(reference.diffusion))
        amplitude = np.repeat(reference.diffusion, copies, axis=0)[:count]
    if way == "threads":
        limits = {"limits": threads(), "user_api": "blas"}

        def whole(setting: float) -> Array:
            with threadpool_limits(**limits):
                return _part(task, (method, 0, count, setting, steady, amplitude, next(seeds)))

        return whole
    pool = multiprocessing.get_context("fork").Pool(threads(), _inherit, (task,))
    edges = np.linspace(0, count, threads() + 1).astype(int)

    def split(setting: float) -> Array:
        seed = next(seeds)
        jobs = [
            (method, int(a), int(b), setting, steady, amplitude[a:b], 1000 * seed + i)
            for i, (a, b) in enumerate(pairwise(edges))
        ]
        return np.concatenate(pool.map(_inherited, jobs, chunksize=1))

    weakref.finalize(split, pool.terminate)
    return split


def _inherit(task: Task) -> None:
    global _task
    _task = task


def _inherited(job: tuple) -> Array:
    assert _task is not None
    with threadpool_limits(limits=1, user_api="blas"):
        return _part(_task, job)


def _part(task: Task, job: tuple) -> Array:
    """Trajectories a to b."""
    method, a, b, setting, steady, amplitude, seed = job
    if method == "em":
        return _euler_maruyama(task, a, b, setting, amplitude, seed)
    if method.startswith(("LSODA", "Radau")):
        return np.stack([_single(task, method, i, setting, steady) for i in range(a, b)])
    return _stacked(task, method, a, b, setting, steady)


def _stacked(task: Task, method: str, a: int, b: int, tolerance: float, steady: bool) -> Array:
    loop, shape = _slice(task, a, b), (b - a, task.loop.states)
    drive, still = task.drive[a:b], SETTLED * task.slowest

    def rhs(t: float, y: Array) -> Array:
        return loop.rhs(y.reshape(shape), drive).ravel()

    def event(t: float, y: Array) -> float:
        return float(np.abs(rhs(t, y)).max()) - still

    event.terminal = True
    worst = {"trajectories": b - a} if method == "RK45 worst" else {}
    found = solve_ivp(
        rhs,
        (0.0, task.times[-1]),
        task.state[a:b].ravel(),
        method=_BatchRK45 if worst else method,
        t_eval=task.times,
        rtol=tolerance,
        atol=tolerance,
        first_step=0.1 / loop.fastest_rate,
        events=event if steady else None,
        **worst,
    )
    paths = _filled(found, len(task.times)).reshape(*shape, len(task.times))
    return np.ascontiguousarray(np.moveaxis(paths[:, : task.channels], -1, 1))


def _single(task: Task, method: str, index: int, tolerance: float, steady: bool) -> Array:
    loop, drive, still = task.loop.select(index), task.drive[index], SETTLED * task.slowest

    def event(t: float, y: Array) -> float:
        return float(np.abs(loop.rhs(y, drive)).max()) - still

    event.terminal = True
    jacobian = {"jac": lambda t, y: loop.jacobian(y, drive)} if method.endswith("jacobian") else {}
    found = solve_ivp(
        lambda t, y: loop.rhs(y, drive),
        (0.0, task.times[-1]),
        task.state[index],
        method=method.split()[0],
        t_eval=task.times,
        rtol=tolerance,
        atol=tolerance,
        first_step=0.1 / loop.fastest_rate,
        events=event if steady else None,
        **jacobian,
    )
    return np.ascontiguousarray(_filled(found, len(task.times))[: task.channels].T)


def _filled(found: object, instants: int) -> Array:
    """Solution at all instants; those after an event hold the state at it."""
    y = np.asarray(found.y)
    if y.shape[1] == instants:
        return y
    if found.status != 1:
        return np.full((y.shape[0], instants), np.nan)
    last = np.asarray(found.y_events[0][-1])[:, None]
    return np.concatenate([y, np.repeat(last, instants - y.shape[1], axis=1)], axis=1)


def _slice(task: Task, a: int, b: int):
    """The loop of trajectories a to b."""
    if (a, b) == (0, len(task.state)):
        return task.loop
    from loads import sliced

    return sliced(task.loop, a, b)


def _euler_maruyama(task: Task, a: int, b: int, step: float, amplitude: Array, seed: int) -> Array:
    loop, drive, y = _slice(task, a, b), task.drive[a:b], task.state[a:b].copy()
    rng = np.random.default_rng(seed)
    interval = task.times[1] - task.times[0]
    inner = max(1, round(interval / step))
    h = interval / inner
    out = np.empty((b - a, len(task.times), task.channels))
    out[:, 0] = y
    kick = amplitude * np.sqrt(h)
    for k in range(1, len(task.times)):
        for _ in range(inner):
            y = y + h * loop.rhs(y, drive) + kick * rng.standard_normal(y.shape)
        out[:, k] = y
    return out
