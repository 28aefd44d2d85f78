"""What the matrix products alone would take: numpy's BLAS on the shapes that one evaluation of the loop multiplies.

For matrices that all trajectories share, rows are multiplied whole or in blocks; for matrices of their own, blocks are
gone through several times, as a solver that keeps a block in its cache would. Threads are BLAS's own, or Python's with
a part of the trajectories each. The fastest of all counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from loads import Task
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from aocsim.stages import Affine

Array = NDArray[np.float64]
BLOCKS = (8, 32, 128, 1 << 30)
ROUNDS = 4  # times that a block is gone through
REPEATS = 5


def seconds_per_evaluation(task: Task, threads: int) -> float:
    """Seconds that all matrix products of one evaluation take for the whole ensemble."""
    matrices = [step.stage.matrix for step in task.loop.plan[0] if isinstance(step.stage, Affine)]
    rows = len(task.state)
    x = np.random.default_rng(0).standard_normal((rows, task.channels))
    ways: list[float] = []
    with ThreadPoolExecutor(threads) as pool:
        edges = np.linspace(0, rows, threads + 1).astype(int)
        for block in BLOCKS:
            with threadpool_limits(limits=1, user_api="blas"):
                parts = [_products(matrices, x, int(a), int(b), block) for a, b in pairwise(edges)]
                ways.append(_fastest(lambda parts=parts: list(pool.map(lambda part: part(), parts))))
            with threadpool_limits(limits=threads, user_api="blas"):
                ways.append(_fastest(_products(matrices, x, 0, rows, block)))
    return min(ways) / ROUNDS


def _products(matrices: list[Array], x: Array, first: int, last: int, block: int) -> Callable[[], None]:
    """Products of trajectories first to last, each block ROUNDS times."""
    shared = [np.ascontiguousarray(m.T) for m in matrices if m.ndim == 2]
    own = [m for m in matrices if m.ndim == 3]
    blocks = [(a, min(a + block, last)) for a in range(first, last, min(block, max(1, last - first)))]
    out = np.empty((min(block, last - first), x.shape[1]))

    def work() -> None:
        for a, b in blocks:
            rows, target = x[a:b], out[: b - a]
            for _ in range(ROUNDS):
                for matrix in shared:
                    np.matmul(rows, matrix, out=target)
                for matrix in own:
                    np.matmul(matrix[a:b], rows[..., None], out=target[..., None])

    return work


def _fastest(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
