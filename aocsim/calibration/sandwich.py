r"""Covariance of parameters from residuals that hang together within an experiment, corrected for few experiments.

For weighted derivatives J_e and residuals r_e of experiment e, with M = sum_e J_e^T J_e, the covariance is the sandwich
whose meat is summed by experiment (K.-Y. Liang and S. L. Zeger, Biometrika 73, 13 (1986)). A fit pulls residuals
towards 0, most where one experiment decides alone, so that they are stretched back (R. M. Bell and D. F. McCaffrey,
Survey Methodology 28, 169 (2002)): were the noise even, the expected covariance would be the true one.

.. math::

    M^{-1} \Bigl[\sum_e J_e^T \tilde r_e\,\tilde r_e^T J_e\Bigr] M^{-1}, \qquad
    \tilde r_e = (1 - H_e)^{-1/2}\,r_e, \qquad H_e = J_e M^{-1} J_e^T                                         (1)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEFT = 1e-6  # of a residual's variance: what is less has been fitted away, and rounding is what is left


def scores(inverse: Array, derivative: Array, residual: Array) -> Array:
    """J^T (1 - H)^(-1/2) r of each experiment, (m, p).

    Args:
        inverse: (p, p) M^-1 of all experiments.
        derivative: (m, n, p) J of some.
        residual: (m, n) r.
    """
    hat = np.matmul(np.matmul(derivative, inverse), derivative.transpose(0, 2, 1))
    share, direction = np.linalg.eigh(hat)
    along = np.einsum("mjk,mj->mk", direction, residual) / np.sqrt(np.maximum(1 - share, LEFT))
    stretched = np.einsum("mjk,mk->mj", direction, along)
    return np.asarray(np.einsum("mjp,mj->mp", derivative, stretched))
