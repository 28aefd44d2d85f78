r"""The columns' retardance, and their parabolas behind it.

The response of column k to the share w of the highest grey level is taken as

.. math:: \eta_k(w) = A_k w'^2 + B_k w' + C_k, \qquad w' = \frac{\sin^2(s_k\,\theta)}{\sin^2(s_k\,\pi/2)}, \quad
          \theta = \arcsin\sqrt{w}                                                                       (1)

with a retardance of s_k pi at full drive (`aocsim.components.slm_measured`). The parabolas follow from s by linear
least squares, so that s alone is searched for (variable projection: G. H. Golub and V. Pereyra, SIAM J. Numer. Anal.
10, 413 (1973)). Columns that are parabolas of the grey level have s = 1.

Weights of a network are small beside its largest, and most of them are 0: darkness and the slope next to it decide what
comes of them. There a parabola through the whole range of an over-driven panel, which turns back before full drive, is
a per cent of full transmission off, and its slope an eighth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from aocsim.calibration.chain import LAW, Chain
from aocsim.components.slm_measured import share_of

Array = NDArray[np.float64]

RANGE = (0.5, 1.5)  # of s: beyond, a panel is not made for these grey levels
POINTS = 257
DARK = 0.5  # of the weight of a parabola's fit: in either arm every other pixel of signed weights is dark


def common_law(levels: Array, each: Array) -> tuple[float, Array]:
    """One retardance for all columns, and the parabolas behind it, by least squares.

    Args:
        levels: (m,) shares of the highest grey level; of as few as a parabola needs anyway, s stays 1.
        each: (m, columns) response of each column, any unit.

    Returns:
        s, and (columns, 3) A, B and C in the unit of `each`.
    """
    size = float(np.abs(each).max()) or 1.0

    def parabolas(s: float) -> tuple[Array, Array]:
        powers = np.vander(share_of(levels, s), LAW)
        law = np.asarray(np.linalg.lstsq(powers, each, rcond=None)[0], dtype=float)
        return law, powers @ law - each

    retardance = 1.0
    if len(levels) > LAW:
        found = least_squares(
            lambda s: (parabolas(float(s[0]))[1] / size).ravel(),
            [retardance],
            bounds=RANGE,
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        retardance = float(found.x[0])
    return retardance, np.asarray(parabolas(retardance)[0].T)


def column_laws(levels: Array, each: Array) -> tuple[Array, Array]:
    """`common_law` of every column by itself: s, (columns,), and A, B and C, (columns, 3)."""
    found = [common_law(levels, column[:, None]) for column in each.T]
    return np.array([s for s, _ in found]), np.concatenate([law for _, law in found])


def parabolas_alone(chain: Chain) -> Chain:
    """The chain with s = 1 whose columns come closest, for what has no place for a retardance.

    Half of the weight of the fit is the darkness', the rest that of all levels alike, as in a sweep of signed weights.
    """
    if np.all(chain.retardance == 1):
        return chain
    levels = np.linspace(0.0, 1.0, POINTS)
    share = share_of(levels, chain.retardance[:, :, None])
    a, b, c = (chain.law[:, :, k, None] for k in range(LAW))
    each = ((a * share + b) * share + c).reshape(-1, POINTS).T
    weight = np.full((POINTS, 1), np.sqrt((1 - DARK) / POINTS))
    weight[0] = np.sqrt(DARK)
    found = np.linalg.lstsq(weight * np.vander(levels, LAW), weight * each, rcond=None)[0]
    law = np.asarray(found.T, dtype=float).reshape(chain.law.shape)
    return replace(chain, law=law, retardance=np.ones_like(chain.retardance))
