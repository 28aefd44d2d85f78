r"""The closed loop: what the electronics make of gradient, relaxation and drive, fitted to where loops come to rest.

With the open loop's chain G (`aocsim.calibration.chain`), less its offset, a loop rests where

.. math:: z_j = K_j\,G_j(z) + k_j\,\alpha_j\,z_j + d_j\,u_j + o_j + \beta\,o'_j                                  (1)

u being the drive. K, k, d and o are fitted for every channel; o' stays the open loop's. The residual is that of the
rest itself, not of the equation, in which the noise of a read-out would stand beside its own amplification.

Random weights can make a loop bistable, or oscillate. Such draws are told by what the trials show, and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from aocsim.calibration.chain import SLOPE, Chain
from aocsim.calibration.experiments import FAR
from aocsim.calibration.measure import Taken
from aocsim.calibration.sandwich import scores
from aocsim.errors import NoConvergenceError, PhysicsError
from aocsim.parallel import one_blas_thread

Array = NDArray[np.float64]

TERMS = 4  # K, k, d, o of each channel
OFFSETS = 2  # last columns of the chain's derivatives, which K does not multiply
NEWTON_STEPS = 40
FOUND = 1e-11  # V, of Newton's last step
CLOSE = 0.2  # V: a rest that is farther from what was read is another one
QUIET = 1e-6  # V: less is rest on any bench
RESTLESS = 6.0
"""Times the median: trials that differ, or move within the window, by so much do so for a reason."""


@dataclass(frozen=True, eq=False)
class Electronics:
    """K, k, d and o of equation (1), (n,) each; o in V."""

    gradient: Array
    alpha: Array
    drive: Array
    offset: Array

    @classmethod
    def ideal(cls, channels: int) -> Electronics:
        """What the open loop alone would have: gains of 1, no offset beside the chain's."""
        return cls(np.ones(channels), np.ones(channels), np.ones(channels), np.zeros(channels))

    @property
    def vector(self) -> Array:
        """(4 n,)."""
        return np.concatenate([self.gradient, self.alpha, self.drive, self.offset])

    @classmethod
    def of(cls, vector: Array) -> Electronics:
        """From `vector`."""
        return cls(*vector.reshape(TERMS, -1))


@dataclass(frozen=True, eq=False)
class Experiments:
    """Closed-loop experiments that came to rest, in one table.

    Attributes:
        share: (weights, 2, n, n) transmissions.
        of_weights: (m,) index into `share`.
        alpha: (m, n).
        beta: (m,).
        drive: (m, n) V.
        rest: (m, n) V.
        number: (m,) of each among all that were made.
        left_out: how many experiments did not come to rest, by why.
    """

    share: Array
    of_weights: NDArray[np.intp]
    alpha: Array
    beta: Array
    drive: Array
    rest: Array
    number: NDArray[np.intp]
    left_out: dict[str, int]


def at_rest(taken: Sequence[Taken], grey_levels: int) -> Experiments:
    """The experiments whose trials agree and stand still within what the open loop has seen.

    Args:
        taken: blocks with the loop closed.
        grey_levels: highest grey level.
    """
    deviation = np.concatenate([t.deviation.max(axis=1) for t in taken])
    motion = np.concatenate([t.motion.max(axis=1) for t in taken])
    rest = np.concatenate([t.mean for t in taken])
    trials = np.concatenate([t.trials for t in taken])
    usual = np.median(deviation[trials > 1]) if (trials > 1).any() else np.inf
    bistable = deviation > RESTLESS * np.maximum(usual, QUIET)
    oscillating = motion > RESTLESS * np.maximum(np.median(motion), QUIET)
    beyond = np.abs(rest).max(axis=1) > FAR
    good = ~(bistable | oscillating | beyond)
    told = {
        "oscillating": int(oscillating.sum()),
        "bistable": int((bistable & ~oscillating).sum()),
        "beyond": int((beyond & ~bistable & ~oscillating).sum()),
    }
    which = np.repeat(np.arange(len(taken)), [len(t.mean) for t in taken])
    return Experiments(
        np.array([t.block.grey / grey_levels for t in taken]),
        which[good],
        np.concatenate([t.alpha for t in taken])[good],
        np.concatenate([t.beta for t in taken])[good],
        np.concatenate([t.condition for t in taken])[good],
        rest[good],
        np.flatnonzero(good),
        told,
    )


@dataclass(frozen=True, eq=False)
class ClosedFit:
    """A fit and its errors.

    Attributes:
        electronics: the parameters.
        covariance: (4 n, 4 n), in the order of `Electronics.vector`.
        residual: (m, n) V, read less predicted; NaN where the fit's loop rests elsewhere or nowhere.
        lost: number of those.
    """

    electronics: Electronics
    covariance: Array
    residual: Array
    lost: int


def rests(
    chain: Chain, found: Electronics, data: Experiments, part: NDArray[np.intp] | None = None
) -> tuple[Array, Array]:
    """Where loops rest near what was read, by Newton's method.

    Args:
        chain: of the open loop.
        found: the electronics.
        data: experiments; their read-outs are where the search begins.
        part: indices of some experiments.

    Returns:
        (m, n) V, NaN where there is no rest near; and 1 - dz'/dz there, (m, n, n).
    """
    places = np.arange(len(data.beta)) if part is None else part
    paths = _paths(chain, data)
    z = data.rest[places].copy()
    matrix = np.empty((len(z), chain.channels, chain.channels))
    for _ in range(NEWTON_STEPS):
        value, matrix = _off(chain, found, data, places, paths, z)
        step = np.linalg.solve(matrix, value[..., None])[..., 0]
        z = z + np.clip(step, -CLOSE, CLOSE)
        if np.abs(step).max() < FOUND:
            break
    away = (np.abs(step).max(axis=1) > 1e-6) | (np.abs(z - data.rest[places]).max(axis=1) > CLOSE)
    z[away] = np.nan
    return z, matrix


def _paths(chain: Chain, data: Experiments) -> Array:
    """(weights, 2, n, n) V for each unit of light and of beta/n; the - arm's with its sign."""
    signs = np.array([1.0, -1.0])[:, None, None]
    return np.array([chain.paths(share) * signs for share in data.share])


def _off(
    chain: Chain, found: Electronics, data: Experiments, places: NDArray[np.intp], paths: Array, z: Array
) -> tuple[Array, Array]:
    """Equation (1)'s right side less its left, (m, n) V, and minus its derivative by z, (m, n, n)."""
    gain = data.beta[places, None] / chain.channels
    gradient, slope = _gradient(chain, paths[data.of_weights[places]], z)
    constant = chain.offset + data.beta[places, None] * chain.offset_per_beta
    alpha = data.alpha[places]
    value = found.gradient * gain * gradient + found.alpha * alpha * z + found.drive * data.drive[places]
    value += found.offset + constant - z
    matrix = -(found.gradient * gain)[:, :, None] * slope
    each = np.arange(chain.channels)
    matrix[:, each, each] += 1 - found.alpha * alpha
    return value, matrix


def _gradient(chain: Chain, paths: Array, z: Array) -> tuple[Array, Array]:
    """Sum over arms of paths times light, (m, n), and its derivative by z, (m, n, n)."""
    v, by_z = chain.volts(z), chain.slope(z)
    light = chain.emitted(v)
    total = np.einsum("maji,ami->mj", paths, light)
    slope = np.zeros(paths.shape[:1] + paths.shape[2:])
    for arm in (0, 1):
        p3, p2, _ = chain.light[arm]
        slope += paths[:, arm] * (((3 * p3 * v + 2 * p2) * v + SLOPE) * by_z)[:, None, :]
    return total, slope


def fit_closed(chain: Chain, data: Experiments, opened: Array | None = None) -> ClosedFit:
    """Fit the electronics to where loops came to rest.

    Args:
        chain: of the open loop.
        data: experiments that came to rest.
        opened: covariance of the chain's parameters, in the order of `Chain.vector`: what they are wrong by moves the
            electronics as well. None takes them as known.

    Raises:
        PhysicsError: too few read-outs for the parameters.
        NoConvergenceError: the fit has not come to an end.
    """
    n = chain.channels
    if data.rest.size < TERMS * n:
        raise PhysicsError(f"calibration: {data.rest.size} read-outs cannot tell {TERMS * n} parameters")
    paths = _paths(chain, data)
    with one_blas_thread():
        start = _equation(chain, data, paths)

        def predicted(vector: Array) -> tuple[Array, Array]:
            found = Electronics.of(vector)
            z, matrix = rests(chain, found, data)
            here = np.where(np.isfinite(z), z, data.rest)
            gradient, _ = _gradient(chain, paths[data.of_weights], here)
            terms = np.stack(
                [data.beta[:, None] / n * gradient, data.alpha * here, data.drive, np.ones_like(here)], axis=0
            )
            inverse = np.linalg.inv(matrix)
            inverse[np.isnan(z).any(axis=1)] = 0.0
            # dz_j/dK_i = inverse_ji times the term of channel i
            by = np.concatenate([inverse * term[:, None, :] for term in terms], axis=2)
            return here - data.rest, by

        scale = np.concatenate([np.ones(3 * n), np.full(n, 0.01)])
        result = least_squares(
            lambda vector: predicted(vector)[0].ravel(),
            start.vector,
            jac=lambda vector: predicted(vector)[1].reshape(-1, TERMS * n),
            x_scale=scale,
            xtol=1e-10,
            ftol=1e-10,
            gtol=1e-14,
            max_nfev=30,
        )
        if not result.success:
            raise NoConvergenceError(
                f"calibration: the fit of the closed loop did not converge: {result.message}"
            )
        found = Electronics.of(result.x)
        z, matrix = rests(chain, found, data)
        off, by = predicted(result.x)
        flat = by.reshape(-1, TERMS * n)
        inverse = np.asarray(np.linalg.pinv(flat.T @ flat, hermitian=True), dtype=float)
        each = scores(inverse, by, off)
        covariance = inverse @ (each.T @ each) @ inverse
        if opened is not None:
            moved = inverse @ _pulled(chain, found, data, by, matrix)
            covariance = covariance + moved @ opened @ moved.T
    return ClosedFit(found, covariance, data.rest - z, int(np.isnan(z).any(axis=1).sum()))


def _pulled(chain: Chain, found: Electronics, data: Experiments, by: Array, matrix: Array) -> Array:
    """Sum of products of the rests' derivatives by electronics and by the chain's parameters, (4 n, parameters)."""
    out = np.zeros((by.shape[2], len(chain.vector)))
    outputs = np.arange(chain.channels)[:, None]
    for number in np.flatnonzero(np.any(by, axis=(1, 2))):
        share, beta = data.share[data.of_weights[number]], data.beta[number : number + 1]
        compact = chain.jacobian(share, data.rest[number : number + 1], beta)[0]
        compact[:, :-OFFSETS] *= found.gradient[:, None]
        whole = np.zeros((chain.channels, len(chain.vector)))
        np.add.at(whole, (outputs, chain.places), compact)
        out += by[number].T @ np.linalg.solve(matrix[number], whole)
    return out


def _equation(chain: Chain, data: Experiments, paths: Array) -> Electronics:
    """First values by least squares of equation (1) itself, channel by channel."""
    gradient, _ = _gradient(chain, paths[data.of_weights], data.rest)
    constant = chain.offset + data.beta[:, None] * chain.offset_per_beta
    out = np.empty((TERMS, chain.channels))
    for j in range(chain.channels):
        design = np.column_stack(
            [
                data.beta / chain.channels * gradient[:, j],
                data.alpha[:, j] * data.rest[:, j],
                data.drive[:, j],
                np.ones(len(data.beta)),
            ]
        )
        out[:, j] = np.linalg.lstsq(design, data.rest[:, j] - constant[:, j], rcond=None)[0]
    return Electronics(*out)
