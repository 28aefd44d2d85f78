r"""Energy at equal quality: explicit diffusion on a digital processor against implicit diffusion on the analog machine.

A setting is a method with its steps (and, digitally, its iterations), with the quality that it comes to and what it
costs. At a wanted quality each side takes the cheapest of its settings that reaches it, and

.. math:: G = \frac{E_{explicit,\,digital}}{E_{analog}}
            = \underbrace{\frac{E_{same,\,digital}}{E_{analog}}}_{hardware}\cdot
              \underbrace{\frac{E_{explicit,\,digital}}{E_{same,\,digital}}}_{algorithm}                          (1)

where "same" is the analog machine's own method and number of steps on the digital processor, with as few iterations as
reach the quality. A digital evaluation of the network costs 2 K operations, K its nonzero weights: activations, memory
traffic and the processor's share of idle time are left out, in its favour. An analog solve costs what its parts take
for as long as it lasts, however many iterations it replaces.

The idea of the split is that of figure 4c of "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.roadmap.operations import useful_operations

Array = NDArray[np.float64]

NAMES = ("total", "hardware", "algorithm")
CENTRAL = (0.16, 0.84)  # quantiles of a 68 % interval


@dataclass(frozen=True)
class Setting:
    """One way to draw a sample.

    Attributes:
        method: of `aocsim.diffusion.methods`.
        steps: of diffusion time.
        iterations: of an implicit equation, digitally; "converged" or, on the machine, none.
        w2: distance of its samples from the data, network units; the smaller, the better.
        error: standard error of `w2`.
        energy: J for one sample.
    """

    method: str
    steps: int
    iterations: str
    w2: float
    error: float
    energy: float


@dataclass(frozen=True)
class Gain:
    """Equation (1) and the settings that it is made of."""

    explicit: Setting
    same: Setting
    analog: Setting

    @property
    def total(self) -> float:
        """G."""
        return self.explicit.energy / self.analog.energy

    @property
    def hardware(self) -> float:
        """The same algorithm on both."""
        return self.same.energy / self.analog.energy

    @property
    def algorithm(self) -> float:
        """Both algorithms on the digital processor."""
        return self.explicit.energy / self.same.energy


@dataclass(frozen=True)
class Interval:
    """A value with its central 68 %."""

    value: float
    low: float
    high: float


def cheapest(settings: Sequence[Setting], target: float) -> Setting | None:
    """The setting of least energy whose w2 is at most the target; None if there is none."""
    good = [one for one in settings if one.w2 <= target]
    return min(good, key=lambda one: one.energy) if good else None


def gain(
    explicit: Sequence[Setting], implicit: Sequence[Setting], analog: Sequence[Setting], target: float
) -> Gain | None:
    """Equation (1) at a quality.

    Args:
        explicit: digital settings without implicit equations.
        implicit: digital settings with them.
        analog: of the machine.
        target: w2 that is to be reached.

    Returns:
        The gain; None where one side does not reach the target, or the machine's own algorithm does not digitally.
    """
    here, there = cheapest(analog, target), cheapest(explicit, target)
    if here is None or there is None:
        return None
    alike = [one for one in implicit if (one.method, one.steps) == (here.method, here.steps)]
    same = cheapest(alike, target)
    return None if same is None else Gain(there, same, here)


def intervals(
    explicit: Sequence[Setting],
    implicit: Sequence[Setting],
    analog: Sequence[Setting],
    target: float,
    machines: Array,
    rng: np.random.Generator | None,
) -> dict[str, Interval] | None:
    """The gain with what is uncertain about it: the machine's energy, and which setting reaches the target.

    Every draw takes one machine's energies, and moves each w2 by its own standard error before settings are chosen.
    Draws in which one side reaches the target nowhere are left out.

    Args:
        explicit, implicit, analog, target: as of `gain`.
        machines: (draws, settings of `analog`) J, energies of machines drawn from the sheets' spreads.
        rng: for w2; None leaves all as they are, so that the machine's energy alone is uncertain.

    Returns:
        total, hardware and algorithm; None where `gain` is None.
    """
    nominal = gain(explicit, implicit, analog, target)
    if nominal is None:
        return None

    def moved(settings: Sequence[Setting]) -> list[Setting]:
        if rng is None:
            return list(settings)
        return [replace(one, w2=one.w2 + one.error * rng.standard_normal()) for one in settings]

    found = []
    for energies in machines:
        drawn = [replace(one, energy=float(e)) for one, e in zip(analog, energies, strict=True)]
        one = gain(moved(explicit), moved(implicit), moved(drawn), target)
        if one is not None:
            found.append((one.total, one.hardware, one.algorithm))
    values = (nominal.total, nominal.hardware, nominal.algorithm)
    if not found:
        return {name: Interval(v, math.nan, math.nan) for name, v in zip(NAMES, values, strict=True)}
    low, high = np.quantile(np.array(found), CENTRAL, axis=0)
    return {
        name: Interval(v, float(a), float(b)) for name, v, a, b in zip(NAMES, values, low, high, strict=True)
    }


def operations_of(evaluations: float, weights: int) -> float:
    """Operations of so many evaluations of a network with so many nonzero weights; none of none."""
    return useful_operations(evaluations, weights) if evaluations else 0.0
