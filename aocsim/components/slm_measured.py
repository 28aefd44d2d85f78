r"""Spatial light modulator as it was measured: a quadratic of the weight for each column and arm.

.. math:: \eta_j(w) = a_j w^2 + b_j w + c_j, \qquad w = g/G \in [0, 1]                                    (1)

This is the residual law of a linearised panel as the public digital twin of the 48-channel machine
(github.com/microsoft/aoc, parameters of April 2025) states it; it holds the column profile of the optics, and c_j,
the darkness, is the light that a pixel passes at zero weight.

Flicker: a wobble sigma_G p(t) of the retardance moves the linearised weight by sigma_G sqrt(w (1 - w)) p(t)
(`aocsim.components.slm`, equation 2, at s = 1), and the transmission by

.. math:: \delta\eta(t) = (2 a_j w + b_j)\,\sigma_G\sqrt{w(1-w)}\;p(t)                                    (2)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components.roles import Known
from aocsim.components.slm import flicker_lines
from aocsim.errors import InputError
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

_PER_COLUMN = EntrySpec("dimensionless", shape=0, per=("machine", "channel"))

ENTRIES = {
    "quadratic_plus": _PER_COLUMN,
    "quadratic_minus": _PER_COLUMN,
    "linear_plus": _PER_COLUMN,
    "linear_minus": _PER_COLUMN,
    "darkness_plus": _PER_COLUMN,
    "darkness_minus": _PER_COLUMN,
    "bits": EntrySpec("dimensionless"),
    "flicker": EntrySpec("radian"),
    "flicker_common": EntrySpec("dimensionless"),
    "flicker_correlation_time": EntrySpec("second"),
    "flicker_lines": EntrySpec("dimensionless", shape=0),
    "frame_time": EntrySpec("second"),
    "settling_time": EntrySpec("second"),
}


def both_arms(part: AsBuilt, entry: str) -> Array:
    """The lists `entry`_plus and `entry`_minus over the channels, (2, n)."""
    return np.stack([part.profile(f"{entry}_{arm}") for arm in ("plus", "minus")])


@dataclass(frozen=True, eq=False)
class MeasuredSlm:
    """As built: one panel for each arm.

    Attributes:
        quadratic: a_j, (2, n).
        linear: b_j, (2, n).
        darkness: c_j, (2, n).
        bits: magnitude bits of the drive.
        flicker: sigma_G, rad, standard deviation of each pixel's own wobble.
        flicker_common: standard deviation of the relative wobble common to an arm.
        flicker_correlation_time: s, as in `aocsim.components.slm.Slm`.
        flicker_lines: (k,), as in `aocsim.components.slm.Slm`.
        frame_time: s, the inverse of the frame rate.
        settling_time: s, from a new frame until its weights stand.
    """

    quadratic: Array
    linear: Array
    darkness: Array
    bits: int
    flicker: float
    flicker_common: float
    flicker_correlation_time: float
    flicker_lines: Array
    frame_time: float
    settling_time: float

    @classmethod
    def build(cls, part: AsBuilt) -> MeasuredSlm:
        """Draw the panels of one machine.

        Raises:
            InputError: a column whose transmission does not rise with the weight, or flicker lines that leave
                nothing of the variance to the rest.
        """
        linear = both_arms(part, "linear")
        if not np.all(linear > 0):
            arm = ("plus", "minus")[int(np.argmin(linear.min(axis=1)))]
            raise InputError(
                "the transmission must rise with the weight from 0 on",
                key=f"parts.{part.role}.linear_{arm}",
                got=float(linear.min()),
                allowed="more than 0",
            )
        return cls(
            quadratic=both_arms(part, "quadratic"),
            linear=linear,
            darkness=both_arms(part, "darkness"),
            bits=part.integer("bits"),
            flicker=part.scalar("flicker"),
            flicker_common=part.scalar("flicker_common"),
            flicker_correlation_time=part.scalar("flicker_correlation_time"),
            flicker_lines=flicker_lines(part),
            frame_time=part.scalar("frame_time"),
            settling_time=part.scalar("settling_time"),
        )

    @property
    def levels(self) -> int:
        """Number of the highest grey level G = 2^bits - 1."""
        return int(2**self.bits - 1)

    def response(self, weight: Array) -> Array:
        """Transmission of equation (1) for commanded weights in [0, 1], (2, n, n) as [arm, output j, input i]."""
        a, b, c = (law[:, :, None] for law in (self.quadratic, self.linear, self.darkness))
        return np.asarray((a * weight + b) * weight + c)

    def top(self) -> Array:
        """Largest commanded weight that is still on the rising side, (2, n): the parabola's vertex or full drive."""
        falling = np.minimum(self.quadratic, 0.0)
        with np.errstate(over="ignore"):  # of a curvature next to nothing it is as far away as of none
            vertex = np.divide(
                self.linear, -2 * falling, out=np.full_like(self.linear, np.inf), where=falling < 0
            )
        return np.asarray(np.minimum(vertex, 1.0))

    def column_profile(self) -> Array:
        """Transmission at the top less that in the dark, (2, n): the measured law holds the optics' profile."""
        top = self.top()
        return np.asarray((self.quadratic * top + self.linear) * top)

    def invert(self, transmission: Array) -> Array:
        """Commanded weight for a wanted transmission (2, n, n); clipped to what the pixel reaches."""
        a, b, c = (law[:, :, None] for law in (self.quadratic, self.linear, self.darkness))
        wanted = np.maximum(transmission - c, 0.0)
        # the rising root, in the form that keeps its digits where a vanishes
        root = np.sqrt(np.maximum(b**2 + 4 * a * wanted, 0.0))
        return np.asarray(np.minimum(2 * wanted / (b + root), self.top()[:, :, None]))

    def wobble(self, weight: Array) -> Array:
        """Standard deviation of the transmission from pixel flicker, equation (2), (2, n, n)."""
        slope = np.abs(2 * self.quadratic[:, :, None] * weight + self.linear[:, :, None])
        return np.asarray(slope * self.flicker * np.sqrt(weight * (1 - weight)))

    def as_known(self, known: Known) -> MeasuredSlm:
        """As far as it is known: the three coefficients of every column."""
        return replace(
            self,
            quadratic=known("slm_quadratic", self.quadratic),
            linear=known("slm_linear", self.linear),
            darkness=known("slm_darkness", self.darkness),
        )
