r"""Closed forms that the simulated modules are held against.

A batch that circulates through stations with constant service times is a timed event graph. In its periodic regime
each circuit allows one solve every (time along it) / (tokens on it), and the slowest circuit sets the pace (Baccelli,
Cohen, Olsder, Quadrat, *Synchronization and Linearity*, 1992, theorem 2.28):

.. math:: \gamma = \max\left(\frac{\Lambda}{N},\ \max_k \frac{D_k}{c_k}\right)                              (1)

with Lambda the way of one solve without waiting (the critical path), N samples in flight, and D_k the time for which
a solve holds one of the c_k servers of station k.

Samples that arrive at random, as a Poisson process of rate lambda, wait before one server of constant service time D
(Pollaczek and Khinchine; rho = lambda D)

.. math:: W = \frac{\rho D}{2 (1 - \rho)}                                                                 (2)

and before c servers, with X_i Poisson of mean i lambda D (C. D. Crommelin, *Post Office Electrical Engineers'
Journal* 25, 41, 1932)

.. math:: W = D \sum_{i=1}^\infty \left[ P(X_i \ge ic) - \frac{c}{\lambda D} P(X_i \ge ic + 1) \right]       (3)
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-12  # of a sum: a series ends where its terms are as small


def cycle_time(way: float, in_flight: float, stations: Mapping[str, tuple[float, int]]) -> tuple[float, str]:
    """Equation (1).

    Args:
        way: Lambda, s.
        in_flight: N, at least 1.
        stations: (D_k in s, c_k) by name.

    Returns:
        gamma in s, and what sets it: a station's name, or "in flight".
    """
    bounds = {"in flight": way / in_flight} | {
        name: held / servers for name, (held, servers) in stations.items()
    }
    slowest = max(bounds, key=lambda name: bounds[name])
    return bounds[slowest], slowest


def flow_shop(stages: Array, jobs: int) -> float:
    r"""S from the begin of the first to the end of the last of equal jobs, which pass all stages in order.

    :math:`\sum_k D_k + (B - 1) \max_k D_k`: the first fills the pipeline, each further one waits for the slowest stage.
    """
    return float(np.sum(stages) + (jobs - 1) * np.max(stages))


def mean_wait(rate: float, service: float, servers: int) -> float:
    """Equation (3), mean wait before c equal servers, s; infinite from rho = lambda D / c = 1 on.

    Args:
        rate: lambda, 1/s.
        service: D, s.
        servers: c.
    """
    from scipy.stats import poisson

    offered = rate * service
    if offered >= servers:
        return math.inf
    if offered == 0:
        return 0.0
    total, i = 0.0, np.arange(1.0, 65.0)
    while True:
        at_least, more = poisson.sf(i * servers - 1, i * offered), poisson.sf(i * servers, i * offered)
        terms = at_least - servers / offered * more
        total += float(terms.sum())
        # terms fall like a geometric series, the more slowly the nearer the load is to 1
        if terms[-1] <= NEGLIGIBLE * total:
            return service * total
        i += len(i)


def waits(arrivals: Array, service: float, servers: int) -> Array:
    """Wait of every arrival, s, first come first served, c equal servers of constant service time.

    With constant service an arrival starts where the one c before it has left the server, whatever the order of the
    servers (Kiefer and Wolfowitz, 1955; Lindley's recursion for c = 1).

    Args:
        arrivals: (n,) s, not falling.
        service: s.
        servers: c.
    """
    starts = np.empty(len(arrivals))
    for k, arrival in enumerate(arrivals):
        starts[k] = arrival if k < servers else max(arrival, starts[k - servers] + service)
    return starts - arrivals
