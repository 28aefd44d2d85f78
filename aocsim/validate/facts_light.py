r"""Sparse matrices lose light: an emitter's light is split over all outputs, and a dark pixel throws its share away.

With M open pixels of n^2 the detectors of an arm receive, from equal emitters,

.. math:: L = \frac{T}{n} \sum_{ij \in M} k_j\, c_j\, r_i

with the row and column profiles r_i, c_j and what crosstalk adds, k_j: in the mean the share M/n^2 of a full matrix,
and 1/n for the identity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import aperture
from aocsim.components.optics import Optics
from aocsim.compose import photocurrent_matrix
from aocsim.machine import Machine
from aocsim.validate.check import Check, Curve, Row, Setting, SkippedError, compared
from aocsim.validate.setups import BETA, program_of

Array = NDArray[np.float64]

DENSITIES = (0.5, 0.25, 0.1)


def masks(channels: int) -> list[NDArray[np.bool_]]:
    """Open pixels: all of them, random ones of some densities, the identity."""
    rng = np.random.default_rng(6)
    random = [rng.random((channels, channels)) < share for share in DENSITIES]
    return [np.ones((channels, channels), dtype=bool), *random, np.eye(channels, dtype=bool)]


def light_of(machine: Machine, opened: list[NDArray[np.bool_]]) -> Array:
    """Photocurrent of the + arm's detectors together, above that of dark pixels, for equal emitters, (masks,)."""
    n = machine.channels
    out = []
    for mask in (np.zeros((n, n), dtype=bool), *opened):
        weight = np.zeros((2, n, n))
        # the grey level that opens a pixel of its own over-driven panel fully
        weight[0] = mask * machine.slm.top()[0][:, None]
        out.append(photocurrent_matrix(machine, program_of(machine, weight, 0.0, BETA))[0].sum())
    return np.asarray(np.array(out[1:]) - out[0])


def profile_light(optics: Optics, opened: list[NDArray[np.bool_]], row_profile: Array) -> Array:
    """The sum above, (masks,), from the sheet's polynomial for r_i and the nominal columns and crosstalk.

    Args:
        optics: nominal, whose column profile and crosstalk count.
        opened: (n, n) masks as [output, input].
        row_profile: coefficients of r over the aperture, ripple left out.
    """
    row = np.polynomial.polynomial.polyval(aperture(len(optics.column[0])), row_profile)
    row[list(optics.dead)] = 0.0
    column = optics.crosstalk[0].sum(axis=0) * optics.column[0]
    return np.array([float(column @ mask @ row) for mask in opened])


def sparse_row(light: Array, profile: Array, opened: list[NDArray[np.bool_]]) -> Row:
    """Light of sparse matrices over that of the full one, as built and by the profiles."""
    got, want = light / light[0], profile / profile[0]
    density = np.array([mask.mean() for mask in opened])
    return compared(
        "light at the detectors for sparse and identity matrices over that of the full one, equal emitters",
        "sum of k_j c_j r_i over open pixels, M/n^2 of it but for the profiles",
        # the full matrix, by which the others are divided, is no comparison
        (got / want)[1:],
        np.ones(len(want) - 1),
        rms=2.0,
        maximum=4.0,
        span=1.0,
        span_name="light of that matrix",
        reason=f"identity {got[-1]:.4f} of the full matrix, 1/n = {density[-1]:.4f}; allowed is the ripple, 8.5 % of a "
        "pixel and 1.2 % of the identity's 48, with as much again for profiles that vary as built",
        curve=Curve(
            density, "share of open pixels", got, density, "light", want_label="M/n^2", log_x=True, log_y=True
        ),
    )


def _sparse(setting: Setting) -> Row:
    spec = setting.spec()
    # a measured law builds optics of the same kind, but its sheet has no profile
    if "row_profile" not in spec.parts["optics"].entries:
        raise SkippedError(f"the optics of {setting.machine} are a measured law, which has no profile")
    machine, nominal = setting.build(), Machine.build(spec, None)
    opened = masks(machine.channels)
    row = np.asarray(np.atleast_1d(spec.parts["optics"].value("row_profile")), dtype=float)
    believed = profile_light(nominal.optics, [mask & _live(machine) for mask in opened], row)
    return sparse_row(light_of(machine, opened), believed, opened)


def _live(machine: Machine) -> NDArray[np.bool_]:
    alive = np.ones(machine.channels, dtype=bool)
    alive[list(machine.optics.dead)] = False
    return alive[None, :]


def _identity(setting: Setting) -> Row:
    machine = Setting("ideal48", setting.serial, setting.seed, setting.library).build()
    opened = masks(machine.channels)
    light = light_of(machine, opened)
    density = np.array([mask.mean() for mask in opened])
    return compared(
        "light of sparse and identity matrices over that of the full one on ideal48",
        "share of open pixels, 1/n for the identity",
        (light / light[0] / density)[1:],
        np.ones(len(density) - 1),
        rms=1e-6,
        maximum=1e-6,
        span=1.0,
        span_name="light of that matrix",
        curve=Curve(
            density, "share of open pixels", light / light[0], density, "light", log_x=True, log_y=True
        ),
    )


CHECKS = (
    Check("sparse_light", _sparse, "shared inputs"),
    Check("sparse_light_ideal", _identity, "independent"),
)
