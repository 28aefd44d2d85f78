"""The digital side of a run: what its figures are compared with, and no machine changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.data import shape_points
from aocsim.diffusion.methods import ExplicitHalf, Method, Stepping
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import layerwise_bound, theorem1_dt_max
from aocsim.metrics import gaussian_fit, gaussian_sample, mmd2_unbiased, w2
from aocsim.scenarios.ideal import ideal_states
from aocsim.seeds import stream

Array = NDArray[np.float64]

REFERENCE_POINTS = 1000
REFERENCE_SEED = 0  # the held-out data are the same for every seed of a scenario


@dataclass(frozen=True, eq=False)
class Digital:
    """What the machine's samples are compared with.

    Attributes:
        states: (solves, samples, d) the network stepped digitally from the run's noise.
        reference: (1000, d) held-out data.
        gaussian: (samples, d) drawn from the Gaussian fitted to the reference.
        floor: (samples, d) a second data sample.
        w2: of ideal, gaussian and floor to the reference.
        mmd2: of ideal and gaussian to the reference.
        theorem1_dt_max: of the network.
        layerwise_bound: of the network at the operator's step.
    """

    states: Array
    reference: Array
    gaussian: Array
    floor: Array
    w2: dict[str, float]
    mmd2: dict[str, float]
    theorem1_dt_max: float
    layerwise_bound: float


def reference_of(network: Network) -> Array:
    """(1000, d) held-out data, the same for all scenarios."""
    rng = stream(REFERENCE_SEED, f"data.{network.data}.held_out")
    return shape_points(network.rings, REFERENCE_POINTS, rng)


def beside(network: Network, samples: int) -> tuple[Array, Array, Array]:
    """Reference (1000, d); as many samples as asked for of the Gaussian fitted to it, and of the data."""
    reference = reference_of(network)
    floor = shape_points(network.rings, samples, stream(REFERENCE_SEED, f"data.{network.data}.floor"))
    gaussian = gaussian_sample(*gaussian_fit(reference), samples, stream(REFERENCE_SEED, "data.gaussian"))
    return reference, gaussian, floor


def start_of(network: Network, samples: int, seed: int) -> Array:
    """The noise that a run begins with, (samples, d)."""
    return stream(seed, "start").standard_normal((samples, network.layout[0]))


def mmd2_of(cloud: Array, reference: Array) -> float:
    """The unbiased estimate, which needs two points; nan for one."""
    return mmd2_unbiased(cloud, reference) if len(cloud) > 1 else float("nan")


@lru_cache(maxsize=1)  # of the points of a study, which have it in common where only the machine is varied
def digital_side(
    network: Network, method: Method, steps: int, explicit_half: ExplicitHalf, samples: int, seed: int
) -> Digital:
    """What a run of these settings is compared with; the same arrays for the same network, not to be written to.

    Raises:
        PhysicsError: a solve has no fixed point digitally.
    """
    stepping = Stepping.of(network, method, steps, explicit_half)
    states = ideal_states(stepping, start_of(network, samples, seed))
    reference, gaussian, floor = beside(network, samples)
    clouds = {"ideal": states[-1], "gaussian": gaussian, "floor": floor}
    for kept in (states, reference, gaussian, floor):
        kept.flags.writeable = False
    return Digital(
        states,
        reference,
        gaussian,
        floor,
        {name: w2(cloud, reference) for name, cloud in clouds.items()},
        {name: mmd2_of(clouds[name], reference) for name in ("ideal", "gaussian")},
        theorem1_dt_max(network),
        layerwise_bound(network, stepping.operator.dt),
    )
