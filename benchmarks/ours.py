"""aocsim's own solvers: compiled methods for transients; with noise through the laws, and of the linearised loop."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from candidates import SETTLED, Candidate, Run, threads
from loads import NOISE_DRIVES, Task
from numpy.typing import NDArray
from reference import Reference

from aocsim.solve.ensemble import Ensemble, _rows, integrate_ensemble
from aocsim.solve.flat import flatten
from aocsim.solve.linear_ensemble import integrate_linearised
from aocsim.solve.stochastic import integrate_stochastic

Array = NDArray[np.float64]
METHODS = ("Tsit5", "Exponential")


def versions() -> dict[str, str]:
    return {"aocsim": version("aocsim"), "numba": version("numba")}


def candidates(task: Task) -> list[Candidate]:
    if task.noisy:
        return [
            Candidate("aocsim", "integrate_stochastic", ("noise",), noise=True),
            Candidate("aocsim linearised", "integrate_linearised", ("linearised",), noise=True),
        ]
    return [Candidate("aocsim", method, (method,), exits=True) for method in METHODS]


def build(task: Task, candidate: Candidate, reference: Reference, steady: bool) -> Run:
    """A function of the tolerance (or, with noise, of the step in s) that returns (trajectories, 90, n) V."""
    if not task.noisy:
        return lambda tolerance: _solve(task, candidate, steady, tolerance).state
    seeds = iter(range(1 << 30))
    if candidate.settings == ("linearised",):
        return lambda step: _repeated(task, step, next(seeds))

    def run(step: float) -> Array:
        return integrate_stochastic(
            task.loop,
            task.state,
            task.drive,
            task.times,
            step=step,
            seed=next(seeds),
            threads=threads(),
            recorded=1,
        )

    return run


def _repeated(task: Task, step: float, seed: int) -> Array:
    """All trajectories of a noisy task as repeats of its drives."""
    repeats = len(task.state) // NOISE_DRIVES
    found = integrate_linearised(
        task.loop,
        task.state[::repeats],
        task.drive[::repeats],
        task.times,
        repeats=repeats,
        step=step,
        seed=seed,
        threads=threads(),
    )
    return found.reshape(len(task.state), *found.shape[2:])


def _solve(task: Task, candidate: Candidate, steady: bool, tolerance: float) -> Ensemble:
    return integrate_ensemble(
        task.loop,
        task.state,
        task.drive,
        task.times,
        method=candidate.settings[0],
        rtol=tolerance,
        atol=tolerance,
        threads=threads(),
        exit_within=SETTLED if steady else 0.0,
        recorded=1,
    )


def evaluations(task: Task, candidate: Candidate, steady: bool, tolerance: float) -> float:
    """Evaluations of the right-hand side for one trajectory, on the mean over the ensemble's blocks."""
    blocks = -(-len(task.state) // _rows(task.loop, flatten(task.loop)))
    return _solve(task, candidate, steady, tolerance).evaluations / blocks
