"""What is loaded into a machine: grey levels, gains and the map from network units to channels and volts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Program:
    """Settings of the machine for one network and one step size.

    Attributes:
        weight: (2, n, n) commanded weights g/G in [0, 1] as [arm, output j, input i].
        alpha: (n,) as set.
        beta: as set.
        channel_of_unit: (units,) channel that carries each network unit.
        volts_per_unit: V, node voltage of one network unit.
    """

    weight: Array
    alpha: Array
    beta: float
    channel_of_unit: NDArray[np.intp]
    volts_per_unit: float

    def drive(self, units: Array, correction: Array | float = 0.0) -> Array:
        """DAC volts (..., n) for the additive term b + t e + pad(x) of each unit (..., units).

        The relaxed map carries (1 - alpha) of it. `correction`, (..., n) V, is added (trims).
        """
        n = len(self.alpha)
        volts = np.zeros((*units.shape[:-1], n))
        rows = self.channel_of_unit
        volts[..., rows] = (1 - self.alpha[rows]) * self.volts_per_unit * units
        return np.asarray(volts + correction)

    def units(self, volts: Array) -> Array:
        """Network-unit values (..., units) of node voltages (..., n)."""
        return np.asarray(volts[..., self.channel_of_unit] / self.volts_per_unit)
