"""What is right: tight solutions of some of the trajectories, kept on disk, and the errors against them.

Transients: SciPy's DOP853 at rtol = atol = 1e-12 for the worst of a few trajectories at a time. The error is the worst
over instants and channels, V.

Noisy ensembles: the noiseless transient is the mean, and the covariance is that of the loop linearised along it. The
weak error is the worst of three windows of time and of
    the deviation of the ensemble's mean, root mean square over instants and channels, what its sampling brings taken
    off, over MEAN_ALLOWED of the noise's standard deviation;
    the relative errors of the total variance and of the total covariance of neighbouring instants, over
    COVARIANCE_ALLOWED.
So it passes at 1. One that is not finite is infinite.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from loads import NOISE_DRIVES, Task, sliced
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from aocsim.solve.integrators import integrate
from aocsim.solve.linear_noise import read_out_covariance

Array = NDArray[np.float64]

TIGHT = 1e-12
TOGETHER = 16  # trajectories that share their steps
ALLOWED = 1e-4  # V, transients
MEAN_ALLOWED = 0.05
COVARIANCE_ALLOWED = 0.03
WINDOWS = (slice(1, 9), slice(9, 30), slice(30, 89))
KEPT = Path(__file__).resolve().parent / "results" / "references"


@dataclass(frozen=True, eq=False)
class Reference:
    """Solutions of the first trajectories of a task.

    Attributes:
        visited: (trajectories, 90, n) V, noiseless; with noise one of each drive.
        envelope: (2, n) V, least and largest voltage of each channel over all trajectories, roughly.
        variance: (drives, 90, n) V^2, with noise; of every instant.
        lagged: (drives, 89, n) V^2, covariance with the next instant.
        diffusion: (drives, n) V/sqrt(s), of white noise at the node at the last instant, independent between channels.
    """

    visited: Array
    envelope: Array
    variance: Array
    lagged: Array
    diffusion: Array

    def error(self, task: Task, out: Array) -> float:
        """Error of an ensemble's output (trajectories, 90, n) V: in V, or the weak error."""
        known = min(len(out), len(self.visited))
        if out.shape[1:] != (len(task.times), task.channels) or (task.noisy and len(out) != len(task.state)):
            raise ValueError(f"output of shape {out.shape}")
        if not np.isfinite(out).all():
            return float("inf")
        if task.noisy:
            return self._weak(out)
        return float(np.abs(out[:known] - self.visited[:known]).max())

    def _weak(self, out: Array) -> float:
        count = len(out) // NOISE_DRIVES
        delta = np.stack(
            [out[k * count : (k + 1) * count] - self.visited[k] for k in range(NOISE_DRIVES)]
        )  # (drives, repeats, times, n)
        worst = 0.0
        for window in WINDOWS:
            here, wanted = delta[:, :, window], self.variance[:, window]
            squares = (here.mean(axis=1) ** 2 - wanted / count).mean()
            bias = np.sqrt(max(0.0, float(squares))) / np.sqrt(wanted.mean())
            variance = (here**2).mean() / wanted.mean() - 1
            later = slice(window.start + 1, window.stop + 1)
            lagged = (here * delta[:, :, later]).mean() / self.lagged[:, window].mean() - 1
            spread = max(abs(variance), abs(lagged)) / COVARIANCE_ALLOWED
            worst = max(worst, bias / MEAN_ALLOWED, spread)
        return float(worst)


def reference_of(task: Task, trajectories: int, threads: int) -> Reference:
    """The reference of the first trajectories, from disk where it is known."""
    parts = [task.drive[:trajectories], task.times]
    for step in task.loop.plan[0]:
        for name in ("matrix", "gain", "offset", "rate", "gain_in", "gain_out"):
            parts.append(np.asarray(getattr(step.stage, name, 0.0)))
    parts.append(np.frombuffer("".join(Reference.__dataclass_fields__).encode(), dtype=np.uint8))
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()[:12]
    path = KEPT / f"{task.name.replace('/', '-')}-{len(task.state)}-{trajectories}-{digest}.npz"
    if not path.exists():
        found = _noisy(task) if task.noisy else _transients(task, trajectories, threads)
        found = replace(found, envelope=_envelope(task, found.visited))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{key: getattr(found, key) for key in Reference.__dataclass_fields__})
    with np.load(path) as kept:
        return Reference(**{key: kept[key] for key in kept.files})


def _envelope(task: Task, visited: Array) -> Array:
    """Of a loose integration of all trajectories, or of those that are known where several poles make that dear."""
    paths = visited
    if not task.stiff:
        found = integrate(task.loop, task.state, task.drive, task.times, method="RK45", rtol=1e-3, atol=1e-3)
        paths = np.concatenate([visited, found.state[..., : task.channels]])
    return np.stack([paths.min(axis=(0, 1)), paths.max(axis=(0, 1))])


_task: Task | None = None


def _some(trajectories: slice) -> Array:
    """Noiseless voltages (trajectories, 90, n) of the task that the process has inherited."""
    assert _task is not None
    loop = sliced(_task.loop, trajectories.start, trajectories.stop)
    state, drive = _task.state[trajectories], _task.drive[trajectories]
    with threadpool_limits(limits=1):
        found = integrate(loop, state, drive, _task.times, method="DOP853", rtol=TIGHT, atol=TIGHT)
    return np.ascontiguousarray(found.state[..., : _task.channels])


def _transients(task: Task, trajectories: int, threads: int) -> Reference:
    global _task
    _task = task
    known = min(trajectories, len(task.state))
    parts = [slice(a, min(a + TOGETHER, known)) for a in range(0, known, TOGETHER)]
    with multiprocessing.get_context("fork").Pool(threads) as pool:
        paths = np.concatenate(pool.map(_some, parts, chunksize=1))
    none = np.empty(0)
    return Reference(paths, none, none, none, none)


def _noisy(task: Task) -> Reference:
    global _task
    _task = task
    count = len(task.state) // NOISE_DRIVES
    paths, variances, lags, diffusions = [], [], [], []
    for first in range(0, NOISE_DRIVES * count, count):
        path, drive = _some(slice(first, first + 1))[0], task.drive[first]
        covariance = read_out_covariance(task.loop, task.state[first], drive, task.times)
        diagonal = np.einsum("aibi->abi", covariance)
        _, diffusion = task.loop.linearise(path[-1:], drive[None])
        paths.append(path)
        variances.append(np.einsum("aai->ai", diagonal))
        lags.append(np.array([diagonal[i, i + 1] for i in range(len(task.times) - 1)]))
        diffusions.append(np.sqrt(np.diagonal(diffusion[0])))
    none = np.empty(0)
    return Reference(np.array(paths), none, np.array(variances), np.array(lags), np.array(diffusions))
