"""What the experiments behind a twin have seen: beyond, its laws are extrapolated, and nobody has proven them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDING = 1e-9  # relative: what has been through a file and back is not beyond


class OutOfRangeWarning(UserWarning):
    """A twin is evaluated where no experiment of its calibration has been."""


@dataclass(frozen=True)
class Ranges:
    """What a calibration's experiments have covered; None where its sheet does not say.

    Attributes:
        drive: V, largest voltage at the pairs, either way.
        beta_min: least gain.
        beta_max: largest gain.
        alpha_max: largest relaxation with the loop closed; 0 where it was never closed.
    """

    drive: float | None = None
    beta_min: float | None = None
    beta_max: float | None = None
    alpha_max: float | None = None

    def warn_beyond(self, z: Array, alpha: Array, beta: float, *, stacklevel: int) -> None:
        """Warn of each quantity that leaves its range.

        Args:
            z: V at the pairs, any shape.
            alpha: relaxations as set, any shape.
            beta: gain.
            stacklevel: as of `warnings.warn`, counted from the caller.
        """
        for message in self._beyond(z, alpha, beta):
            warnings.warn(message, OutOfRangeWarning, stacklevel=stacklevel + 1)

    def _beyond(self, z: Array, alpha: Array, beta: float) -> Iterator[str]:
        farthest = float(np.abs(z).max(initial=0.0))
        if self.drive is not None and farthest > self.drive * (1 + ROUNDING):
            yield (
                f"twin: {farthest:.4g} V at the pairs are beyond the calibration, which has seen "
                f"-{self.drive:.4g} V to {self.drive:.4g} V"
            )
        low = -np.inf if self.beta_min is None else self.beta_min * (1 - ROUNDING)
        high = np.inf if self.beta_max is None else self.beta_max * (1 + ROUNDING)
        if not low <= beta <= high:
            ends = ("anything", "anything")
            if self.beta_min is not None:
                ends = (f"{self.beta_min:.4g}", ends[1])
            if self.beta_max is not None:
                ends = (ends[0], f"{self.beta_max:.4g}")
            yield f"twin: beta = {beta:.4g} is beyond the calibration, which has seen {ends[0]} to {ends[1]}"
        most = float(np.max(alpha, initial=0.0))
        if self.alpha_max is not None and most > self.alpha_max * (1 + ROUNDING):
            seen = f"0 to {self.alpha_max:.4g}" if self.alpha_max > 0 else "no closed loop"
            yield f"twin: alpha = {most:.4g} is beyond the calibration, which has seen {seen}"
