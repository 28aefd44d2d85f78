"""What a library may be asked to do: one of its methods in one of its ways, at one of its tolerances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Run = Callable[[float], Array]
"""From the tolerance, or the step in s, to voltages (trajectories, 90, n)."""

TOLERANCES = tuple(float(f"{m}e-{e}") for e in range(4, 9) for m in (10, 5, 2))
"""Three a decade from 1e-3 to 2e-8, the loosest first: relative, and absolute in V."""

INTERVAL = 1 / 4.6875e6  # s
STEPS = tuple(INTERVAL / k for k in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128))
"""Steps of noisy ensembles, s."""

STABLE = 1e-5
"""Tolerance at which stability, not accuracy, already sets the steps of explicit methods on stiff loops."""

SETTLED = 3e-5  # V that may be left where a trajectory ends at its steady state


@dataclass(frozen=True)
class Candidate:
    """One way of one library.

    Attributes:
        library: who is compared.
        label: which of its ways.
        settings: what `build` of its module reads.
        exits: whether it can end a trajectory at the steady state.
        noise: whether its knob is the step rather than the tolerance.
        loosest: the knob that its scan starts with; for methods whose order rules out longer steps.
    """

    library: str
    label: str
    settings: tuple[Any, ...]
    exits: bool = False
    noise: bool = False
    loosest: float = np.inf

    @property
    def knobs(self) -> tuple[float, ...]:
        """What is scanned, the cheapest first."""
        return tuple(knob for knob in (STEPS if self.noise else TOLERANCES) if knob <= self.loosest)


def threads() -> int:
    """How many threads every library may use."""
    import os

    return int(os.environ.get("BENCH_THREADS", "2"))
