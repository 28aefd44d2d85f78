r"""All open-loop experiments fitted together, with the errors of the parameters.

Weighted least squares of `aocsim.calibration.chain` by the Gauss-Newton method on the normal equations, which are
summed block by block. A stage's weight is one over the root mean square of its residuals, found by repetition: where a
machine is not of the chain's form, misfit counts as noise does. Where D scales the parameters to columns of one length,
the eigenvalues of

.. math:: D\,J^T W J\,D

say what the experiments identify: directions whose eigenvalue is below `UNSEEN` of the largest one are left where they
were, and named. The covariance is that of `aocsim.calibration.sandwich`, which holds for noise that is common to the
outputs of one solve, as that of the modulators is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import Chain
from aocsim.calibration.measure import Taken
from aocsim.calibration.sandwich import scores
from aocsim.errors import NoConvergenceError, PhysicsError
from aocsim.parallel import one_blas_thread

Array = NDArray[np.float64]

UNSEEN = 1e-12
MOST_STEPS = 200
WEIGHINGS = 3
LEAST = 1e-12  # V: rounding, where there is neither noise nor misfit
HALVINGS = 20
TURN = 0.2  # of a step: from here on the lowest point along it is worth another look
SMALL = 0.05  # of a standard error: a step that is worth no other
EXACT = 1e-13  # of the parameters' size, where there is no noise
STIFF = 1e3  # weight of a convention beside that of all data
TOGETHER = 384  # experiments whose products are summed at the same time
AT_ONCE = 64  # experiments whose derivatives are held at the same time


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fit and its errors.

    Attributes:
        chain: the parameters.
        covariance: (parameters, parameters), in the order of `Chain.vector`; 0 of what was held.
        identified: (parameters,) whether the data say anything of each.
        spectrum: eigenvalues of the scaled normal matrix over the largest, falling.
        residual: root mean square, V, of each stage.
        steps: of the method.
    """

    chain: Chain
    covariance: Array
    identified: NDArray[np.bool_]
    spectrum: Array
    residual: dict[str, float]
    steps: int


def fit_together(taken: Sequence[Taken], chain: Chain, live: NDArray[np.bool_], grey_levels: int) -> Fitted:
    """Fit all parameters to all experiments.

    Args:
        taken: blocks with the loop open.
        chain: to begin with.
        live: (n,) which inputs shine; the rows of the others stay 0.
        grey_levels: highest grey level.

    Raises:
        PhysicsError: too few read-outs for the parameters.
        NoConvergenceError: the fit has not come to an end.
    """
    free = _free(chain, live)
    readings = sum(t.mean.size for t in taken)
    if readings < free.sum():
        raise PhysicsError(f"calibration: {readings} read-outs cannot tell {int(free.sum())} parameters")
    # the matrices are small: threads inside BLAS would only wait for one another
    with one_blas_thread():
        for _ in range(WEIGHINGS):
            left = _residuals(taken, chain, grey_levels)
            weights = [1.0 / max(left[t.block.stage], LEAST) for t in taken]
            problem = _Problem(taken, weights, grey_levels, free, live)
            chain, here, steps = _fit(problem, chain)
        return _told(problem, chain, here, steps)


def _fit(problem: _Problem, chain: Chain) -> tuple[Chain, _Normal, int]:
    """The chain of the lowest cost, the normal equations there, and the number of steps."""
    free = problem.free
    here = problem.at(chain)
    for step in range(MOST_STEPS):
        move, error = _newton(here, chain.vector, free)
        if np.all(np.abs(move) <= np.maximum(SMALL * error, EXACT * np.abs(chain.vector).max())):
            return chain, here, step
        trial = _way_down(problem, chain, here, move)
        if trial is None:
            # no way down: as near as rounding lets it come
            return chain, here, step
        chain, here = trial, problem.at(trial)
    raise NoConvergenceError(
        f"calibration: the fit of all open-loop experiments did not converge in {MOST_STEPS} steps"
    )


def _way_down(problem: _Problem, chain: Chain, here: _Normal, move: Array) -> Chain | None:
    """Along a step to about the lowest cost; None where there is no lower one."""
    slope = float(here.gradient @ move[problem.free])
    length = 1.0
    for _ in range(HALVINGS):
        trial = chain.replaced(chain.vector + length * move)
        there = problem.cost(trial, here.held)
        # the parabola through the cost here, its slope, and the cost there
        bend = (there - here.cost + 2 * length * slope) / length**2
        lowest = slope / bend if bend > 0 else 2 * length
        if there < here.cost:
            # where curvature makes steps swing about the minimum, its middle is taken
            if abs(lowest - length) > TURN * length and lowest < 2 * length:
                nearer = chain.replaced(chain.vector + lowest * move)
                if problem.cost(nearer, here.held) < there:
                    return nearer
            return trial
        length = float(np.clip(lowest, length / 10, length / 2))
    return None


@dataclass(frozen=True, eq=False)
class _Normal:
    """Normal equations at a point: J^T W J, J^T W r, r^T W r, and the weight of the convention for the rows."""

    matrix: Array
    gradient: Array
    cost: float
    held: float


@dataclass(frozen=True, eq=False)
class _Problem:
    taken: Sequence[Taken]
    weights: Sequence[float]
    grey_levels: int
    free: NDArray[np.bool_]
    live: NDArray[np.bool_]

    def at(self, chain: Chain) -> _Normal:
        places = chain.places
        n, columns = places.shape
        squares, slopes, cost = np.zeros((n, columns, columns)), np.zeros((n, columns)), 0.0
        for derivative, residual in _gathered(self._parts(chain)):
            by_output = np.ascontiguousarray(derivative.transpose(1, 0, 2))
            squares += np.matmul(by_output.transpose(0, 2, 1), by_output)
            slopes += np.matmul(residual.T[:, None, :], by_output)[:, 0]
            cost += float((residual**2).sum())
        count = len(self.free)
        matrix, gradient = np.zeros((count, count)), np.zeros(count)
        for j in range(n):
            np.add.at(matrix, (places[j][:, None], places[j][None, :]), squares[j])
            np.add.at(gradient, places[j], slopes[j])
        matrix, gradient = matrix[np.ix_(self.free, self.free)], gradient[self.free]
        # the convention for the rows, stiff beside the data
        held = STIFF * float(np.trace(matrix)) / len(gradient)
        for arm in (0, 1):
            direction = self._mean_of_rows(chain, arm)
            off = float(chain.row[arm, self.live].mean()) - 1.0
            matrix += held * np.outer(direction, direction)
            gradient -= held * direction * off
            cost += held * off**2
        return _Normal(matrix, gradient, cost, held)

    def cost(self, chain: Chain, held: float) -> float:
        """r^T W r alone, with a given weight of the convention for the rows."""
        out = 0.0
        # a step that goes much too far overflows: it costs what is no number, and is not taken
        with np.errstate(over="ignore", invalid="ignore"):
            for taken, weight in zip(self.taken, self.weights, strict=True):
                left = taken.mean - chain.response(
                    taken.block.grey / self.grey_levels, taken.condition, taken.beta
                )
                out += weight**2 * float((left**2).sum())
        off = chain.row[:, self.live].mean(axis=1) - 1.0
        return out + held * float(off @ off)

    def meat(self, chain: Chain, inverse: Array) -> Array:
        """Sum over experiments of their scores, each times itself."""
        places = chain.places
        out = np.zeros_like(inverse)
        for derivative, residual in self._parts(chain):
            whole = np.zeros((len(places), len(self.free), len(residual)))
            for j in range(len(places)):
                np.add.at(whole[j], places[j], derivative[:, j].T)
            each = scores(inverse, np.ascontiguousarray(whole.transpose(2, 0, 1)[:, :, self.free]), residual)
            out += each.T @ each
        return out

    def _parts(self, chain: Chain) -> Iterator[tuple[Array, Array]]:
        for taken, weight in zip(self.taken, self.weights, strict=True):
            share = taken.block.grey / self.grey_levels
            for begin in range(0, len(taken.mean), AT_ONCE):
                part = slice(begin, begin + AT_ONCE)
                z, beta = taken.condition[part], taken.beta[part]
                residual = taken.mean[part] - chain.response(share, z, beta)
                yield weight * chain.jacobian(share, z, beta), weight * residual

    def _mean_of_rows(self, chain: Chain, arm: int) -> Array:
        out = chain.replaced(np.zeros(len(chain.vector)))
        out.row[arm, self.live] = 1.0 / self.live.sum()
        return out.vector[self.free]


def _gathered(parts: Iterator[tuple[Array, Array]]) -> Iterator[tuple[Array, Array]]:
    """The same in larger parts: products of few rows take as long as the sums that they are added to."""
    held: list[tuple[Array, Array]] = []
    for part in parts:
        held.append(part)
        if sum(len(residual) for _, residual in held) >= TOGETHER:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    derivatives, residuals = zip(*parts, strict=True)
    return np.concatenate(derivatives), np.concatenate(residuals)


def _free(chain: Chain, live: NDArray[np.bool_]) -> NDArray[np.bool_]:
    out = chain.replaced(np.ones(len(chain.vector)))
    out.row[:, ~live] = 0.0
    return out.vector > 0


def _residuals(taken: Sequence[Taken], chain: Chain, grey_levels: int) -> dict[str, float]:
    """Root mean square of the residuals of each stage, V."""
    out: dict[str, list[Array]] = {}
    for one in taken:
        left = one.mean - chain.response(one.block.grey / grey_levels, one.condition, one.beta)
        out.setdefault(one.block.stage, []).append(left.ravel())
    return {stage: float(np.sqrt(np.mean(np.concatenate(left) ** 2))) for stage, left in out.items()}


def _newton(here: _Normal, vector: Array, free: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The step, (parameters,), and standard errors as the weights have them."""
    inverse, _, _ = _inverted(here.matrix)
    move, error = np.zeros(len(vector)), np.zeros(len(vector))
    move[free] = inverse @ here.gradient
    error[free] = np.sqrt(np.maximum(np.diagonal(inverse), 0.0))
    return move, error


def _inverted(matrix: Array) -> tuple[Array, Array, Array]:
    """Inverse on what the data identify, eigenvalues of the scaled matrix over the largest, and what is not seen."""
    size = np.sqrt(np.maximum(np.diagonal(matrix), 0.0))
    scale = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    seen = values > UNSEEN * values[-1]
    half = vectors[:, seen] / np.sqrt(values[seen]) * scale[:, None]
    unseen = (vectors[:, ~seen] ** 2).sum(axis=1) > 0.1
    return half @ half.T, values[::-1] / values[-1], np.logical_or(unseen, size == 0)


def _told(problem: _Problem, chain: Chain, here: _Normal, steps: int) -> Fitted:
    free = problem.free
    inverse, spectrum, unseen = _inverted(here.matrix)
    covariance = np.zeros((len(free), len(free)))
    covariance[np.ix_(free, free)] = inverse @ problem.meat(chain, inverse) @ inverse
    identified = free.copy()
    identified[free] = np.logical_not(unseen)
    told = _residuals(problem.taken, chain, problem.grey_levels)
    return Fitted(chain, covariance, identified, spectrum, told, steps)
