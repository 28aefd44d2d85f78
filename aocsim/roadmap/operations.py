r"""How operations are counted: conventions, each named with its number.

1. *By bandwidth*: a matrix-vector product of N x N weights, one multiplication and one addition each, in every 1/f_3dB,

   .. math:: R = 2 N^2 f_{3dB}

   which is the convention of the 23 GOPS that the 48-channel machine is credited with.
2. *By time constant*: the same in every tau = 1/(2 pi f_3dB), 2 pi times as many. Nothing about the machine differs.
3. *Useful*: what a digital processor would have to compute to get the same. One solve that settles in t replaces
   E evaluations of a network with K nonzero weights,

   .. math:: R_u = 2 E K / t

Activations, additions of bias and time, and the explicit part of a diffusion step are left out of all three.
"""

from __future__ import annotations

import math

from aocsim.errors import InputError


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise InputError("must be more than 0 where operations are counted", key=name, got=value)


def rate_by_bandwidth(channels: int, bandwidth: float) -> float:
    """Operations a second by convention 1.

    >>> f"{rate_by_bandwidth(48, 5e6):.4g}"
    '2.304e+10'

    Args:
        channels: N.
        bandwidth: f_3dB, Hz.

    Raises:
        InputError: no channels, or no bandwidth.
    """
    _positive(channels=channels, bandwidth=bandwidth)
    return 2.0 * channels**2 * bandwidth


def rate_by_time_constant(channels: int, bandwidth: float) -> float:
    """Operations a second by convention 2.

    >>> f"{rate_by_time_constant(48, 5e6):.4g}"
    '1.448e+11'

    Args, Raises: as `rate_by_bandwidth`.
    """
    return 2.0 * math.pi * rate_by_bandwidth(channels, bandwidth)


def useful_operations(evaluations: float, weights: int) -> float:
    """Operations that one solve replaces, convention 3.

    Args:
        evaluations: of the network that a digital processor needs for the same solution.
        weights: nonzero ones.

    Raises:
        InputError: none of either.
    """
    _positive(evaluations=evaluations, weights=weights)
    return 2.0 * evaluations * weights


def useful_rate(evaluations: float, weights: int, settling: float) -> float:
    """Operations a second by convention 3.

    >>> f"{useful_rate(8, 621, 13e-6):.3g}"
    '7.64e+08'

    Args:
        evaluations: of the network that one solve replaces.
        weights: nonzero ones.
        settling: s.

    Raises:
        InputError: no time, no evaluations or no weights.
    """
    _positive(settling=settling)
    return useful_operations(evaluations, weights) / settling
