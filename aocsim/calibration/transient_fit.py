r"""Pole, delay and relaxation of every channel, from recorded transients, and whether one pole explains them at all.

With dark modulators and the switch closed a channel that begins at 0 follows, after a delay t_0,

.. math:: z(t) = \frac{d\,u + o}{1 - k\alpha} \Bigl[1 - e^{-(1 - k\alpha)\,2\pi f\,(t - t_0)}\Bigr],              (1)

u being the drive and alpha the relaxation that are set, f the pole. The sampling interval is several time constants of
the bare pole, so that slow transients, of alpha near 1, have to tell: several alphas part f from k, the first samples
on the rise tell t_0, both signs of the drive part o from d. Offsets drift, by little, but a relaxation near 1 amplifies
it: drives are taken in turn, a few trials at a time, so that all see the same drift, and each relaxation has an o of
its own. A second pole far above 1 - alpha of the first looks like a delay.

Samples of one transient hang together. Residuals are weighed with the inverse of their covariance over the trials, and
that inverse, which noise makes too large, is corrected (J. Hartlap, P. Simon and P. Schneider, Astron. Astrophys. 464,
399 (2007)): with N degrees of freedom and p samples

.. math:: \widehat{C^{-1}} = \frac{N - p - 1}{N}\, \hat C^{-1}                                                   (2)

and standard errors grow by the root of :math:`1 + p/(N - p)`, since weights that scatter make estimates scatter (S.
Dodelson and M. D. Schneider, Phys. Rev. D 88, 063537 (2013), for many more samples than parameters). Chi-squared is
about its degrees of freedom where equation (1) holds, and more where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import least_squares

from aocsim.calibration.transients import LEAST, Traces
from aocsim.errors import InputError, NoConvergenceError
from aocsim.record import Variables

Array = NDArray[np.float64]

COMMON = ("f", "t_0", "k", "d")  # parameters beside the offsets
SCALE = np.array([1e6, 1e-9, 1.0, 1.0])  # Hz, s, 1, 1: of the fit's steps
OFFSET_SCALE = 1e-3  # V
TRANSIENT = ("pole", "delay", "transient_alpha_gain", "transient_drive_gain")
"""Names of f, t_0, k and d in a sheet."""


@dataclass(frozen=True, eq=False)
class TransientFit:
    """Parameters of equation (1) for every channel.

    Attributes:
        pole: (n,) Hz.
        delay: (n,) s.
        alpha: (n,) k.
        drive: (n,) d.
        offset: (a, n) V, of each relaxation.
        error: (4, n) standard errors of pole, delay, alpha and drive.
        chi_squared: (n,).
        degrees: of freedom of each chi-squared.
        residual: (a, m, samples, n) V, read less equation (1).
    """

    pole: Array
    delay: Array
    alpha: Array
    drive: Array
    offset: Array
    error: Array
    chi_squared: Array
    degrees: int
    residual: Array


def fit_transients(traces: Traces) -> TransientFit:
    """Fit equation (1) to every channel.

    Raises:
        InputError: too few trials for the samples; a trace that is not a number, or does not move.
        NoConvergenceError: a channel's fit has not come to an end.
    """
    samples, n = len(traces.time), traces.alpha.shape[1]
    if traces.freedom < LEAST * samples:
        raise InputError(
            f"too few trials to weigh {samples} samples of a transient that hang together",
            key="transients.trials",
            got=traces.trials,
            allowed=f"at least {-(-LEAST * samples // traces.drive.shape[1]) + 1}",
        )
    if not (np.isfinite(traces.mean).all() and np.isfinite(traces.covariance).all()):
        raise InputError("a transient holds what is not a number", key="transients")
    still = np.flatnonzero(np.ptp(traces.mean, axis=(0, 1, 2)) == 0)
    if len(still):
        raise InputError(f"transients of channel {still[0]} are constant", key="transients")
    wider = np.sqrt(1 + samples / (traces.freedom - samples))
    hartlap = (traces.freedom - samples - 1) / traces.freedom
    scale = np.concatenate([SCALE, np.full(len(traces.alpha), OFFSET_SCALE)])
    terms, known = len(scale), len(COMMON)
    values, errors = np.empty((terms, n)), np.empty((known, n))
    chi_squared, residual = np.empty(n), np.empty_like(traces.mean)
    for j in range(n):
        try:
            factors = [np.linalg.cholesky(one[j] / traces.trials) for one in traces.covariance]
        except np.linalg.LinAlgError as error:
            raise InputError(
                f"samples of channel {j} have no covariance that could weigh them", key="transient_covariance"
            ) from error

        def white(values: Array, factors: list[Array] = factors) -> Array:
            # (a, samples, any) to (samples, a times any)
            parts = [solve_triangular(f, v, lower=True) for f, v in zip(factors, values, strict=True)]
            return np.asarray(np.sqrt(hartlap) * np.concatenate(parts, axis=1))

        def off(x: Array, j: int = j) -> Array:
            return np.asarray(
                white(np.swapaxes(traces.mean[..., j] - _model(x * scale, traces, j)[0], 1, 2)).ravel()
            )

        def slope(x: Array, j: int = j) -> Array:
            by = np.swapaxes(_model(x * scale, traces, j)[1] * scale, 1, 2)
            return np.asarray(-white(by.reshape(*by.shape[:2], -1)).reshape(-1, terms))

        start = np.concatenate([[traces.bandwidth, 0.0, 1.0, 1.0], np.zeros(terms - known)]) / scale
        found = least_squares(off, start, jac=slope, xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=200)
        if not found.success:
            raise NoConvergenceError(
                f"calibration: the transients of channel {j} were not fitted: {found.message}"
            )
        values[:, j] = found.x * scale
        errors[:, j] = wider * (scale * np.sqrt(np.diagonal(np.linalg.inv(found.jac.T @ found.jac))))[:known]
        chi_squared[j] = 2 * found.cost
        residual[..., j] = traces.mean[..., j] - _model(values[:, j], traces, j)[0]
    degrees = traces.mean[..., 0].size - terms
    pole, delay, alpha, drive = values[:known]
    return TransientFit(pole, delay, alpha, drive, values[known:], errors, chi_squared, degrees, residual)


def _model(x: Array, traces: Traces, j: int) -> tuple[Array, Array]:
    """Equation (1), (a, m, samples) V, and its derivatives by f, t_0, k, d and the offsets, (a, m, samples, 4 + a)."""
    pole, delay, k, d = x[: len(COMMON)]
    o = x[len(COMMON) :, None, None]
    alpha, drive = traces.alpha[:, j, None, None], traces.drive[:, :, j, None]
    t = np.maximum(traces.time - delay, 0.0)
    late = (traces.time > delay).astype(float)
    left, omega = 1 - k * alpha, 2 * np.pi * pole
    gone = np.exp(-left * omega * t)
    source = d * drive + o
    rise = (1 - gone) / left
    z = source * rise
    by_left = (omega * t * gone - rise) / left
    by = (
        source * 2 * np.pi * t * gone,
        -source * omega * gone * late,
        -source * alpha * by_left,
        drive * rise,
    )
    each = np.zeros((*z.shape, len(o)))
    which = np.arange(len(o))
    each[which, :, :, which] = np.broadcast_to(rise, z.shape)
    return np.asarray(z), np.concatenate([np.stack(by, axis=-1), each], axis=-1)


def transient_variables(fit: TransientFit, traces: Traces) -> Variables:
    """The fit as variables of a Dataset."""
    each = ("channel",)
    values = (fit.pole, fit.delay, fit.alpha, fit.drive)
    described = (
        ("Hz", "pole of the node"),
        ("s", "delay of the transient behind the closing of the loop"),
        ("1", "relaxation that arrives over the one that is set, from transients"),
        ("1", "drive that arrives over the one that is set, from transients"),
    )
    out: dict[str, tuple[tuple[str, ...], object, str, str]] = {}
    for name, found, error, (unit, told) in zip(TRANSIENT, values, fit.error, described, strict=True):
        out[name] = (each, found, unit, told)
        out[f"{name}_error"] = (each, error, unit, f"standard error: {told}")
    out["transient_offset"] = (
        ("relaxation", "channel"),
        fit.offset,
        "V",
        "offset at the node, from transients",
    )
    over = "chi-squared of the transients over its degrees of freedom"
    out["transient_chi_squared"] = (each, fit.chi_squared / fit.degrees, "1", over)
    left = ("relaxation", "transient", "transient_time", "channel")
    out["transient_residual"] = (left, fit.residual, "V", "mean transient less that of one pole")
    out["transient_mean"] = (left, traces.mean, "V", "transient, mean over trials")
    deviation = np.sqrt(np.diagonal(traces.covariance, axis1=2, axis2=3) / traces.trials)
    out["transient_mean_error"] = (
        ("relaxation", "channel", "transient_time"),
        deviation,
        "V",
        "standard error: transient, mean over trials",
    )
    out["transient_time"] = (("transient_time",), traces.time, "s", "time after the loop closes")
    out["transient_alpha"] = (("relaxation", "channel"), traces.alpha, "1", "relaxation that was set")
    out["transient_drive"] = (("relaxation", "transient", "channel"), traces.drive, "V", "drive that was set")
    return out
