r"""Spatial light modulator as it was measured: a quadratic of the weight for each column and arm.

.. math:: \eta_j(w) = a_j w^2 + b_j w + c_j, \qquad w = g/G \in [0, 1]                                    (1)

This is the residual law of a linearised panel as the public digital twin of the 48-channel machine
(github.com/microsoft/aoc, parameters of April 2025) states it; it holds the column profile of the optics, and c_j,
the darkness, is the light that a pixel passes at zero weight.

No parabola follows a panel whose retardance at full drive is not the pi that its look-up table was made for: past pi
the light falls again. Where that has been measured, as s pi for each column, the parabolas are those of what the panel
makes of w (`aocsim.components.slm`, equation 1),

.. math:: w' = \frac{\sin^2(s\,\theta)}{\sin^2(s\,\pi/2)}, \qquad \theta = \arcsin\sqrt{w}                         (2)

and s = 1 leaves w as it is.

Flicker: a wobble sigma_G p(t) of the retardance 2 s theta moves the transmission by

.. math:: \delta\eta(t) = (2 a_j w' + b_j)\,\frac{\sin(2 s\,\theta)}{2 \sin^2(s\,\pi/2)}\,\sigma_G\,p(t)             (3)

which is (2 a_j w + b_j) sigma_G sqrt(w (1 - w)) p(t) at s = 1.
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


def share_of(weight: Array, retardance: Array | float) -> Array:
    """w' of equation (2), shape of both together.

    Args:
        weight: w in [0, 1].
        retardance: s, more than 0 and less than 2; where all are 1, `weight` itself is returned.
    """
    if np.all(np.equal(retardance, 1)):
        return weight
    theta = np.arcsin(np.sqrt(weight))
    return np.asarray((np.sin(retardance * theta) / np.sin(retardance * np.pi / 2)) ** 2)


def share_by_retardance(weight: Array, retardance: Array | float) -> Array:
    """dw'/ds of equation (2); arguments and shape as of `share_of`."""
    theta, full = np.arcsin(np.sqrt(weight)), retardance * np.pi / 2
    ratio = np.sin(retardance * theta) / np.sin(full)
    slope = theta * np.cos(retardance * theta) - np.pi / 2 * ratio * np.cos(full)
    return np.asarray(2 * ratio * slope / np.sin(full))


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
        retardance: s of equation (2), at full drive over pi, (2, n) or the same for all.
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
    retardance: Array | float = 1.0

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
        share = share_of(weight, self._by_pixel)
        return np.asarray((a * share + b) * share + c)

    @property
    def _by_pixel(self) -> Array:
        """s as [arm, output, 1]."""
        return np.broadcast_to(self.retardance, self.linear.shape)[:, :, None]

    def top(self) -> Array:
        """Largest commanded weight on the rising side, (2, n): the parabola's vertex, retardance pi or full drive."""
        return self._weight_of(self._highest()[:, :, None])[:, :, 0]

    def _highest(self) -> Array:
        """Largest w' on the rising side, (2, n)."""
        falling = np.minimum(self.quadratic, 0.0)
        with np.errstate(over="ignore"):  # of a curvature next to nothing it is as far away as of none
            vertex = np.divide(
                self.linear, -2 * falling, out=np.full_like(self.linear, np.inf), where=falling < 0
            )
        return np.asarray(np.minimum(vertex, self._most[:, :, 0]))

    @property
    def _most(self) -> Array:
        """Largest w' that there is, as [arm, output, 1]."""
        s = self._by_pixel
        return np.where(s > 1, 1 / np.sin(s * np.pi / 2) ** 2, 1.0)

    def _weight_of(self, share: Array) -> Array:
        """w of w', (2, n, any), on the side where it rises; w' that a panel does not reach is cut to what it does."""
        s = self._by_pixel
        if np.all(s == 1):
            return np.minimum(share, 1.0)
        sine = np.sqrt(np.minimum(share, self._most)) * np.sin(s * np.pi / 2)
        return np.asarray(np.sin(np.arcsin(np.minimum(sine, 1.0)) / s) ** 2)

    def column_profile(self) -> Array:
        """Transmission at the top less that in the dark, (2, n): the measured law holds the optics' profile."""
        top = self._highest()
        return np.asarray((self.quadratic * top + self.linear) * top)

    def invert(self, transmission: Array) -> Array:
        """Commanded weight for a wanted transmission (2, n, n); clipped to what the pixel reaches."""
        a, b, c = (law[:, :, None] for law in (self.quadratic, self.linear, self.darkness))
        wanted = np.maximum(transmission - c, 0.0)
        # the rising root, in the form that keeps its digits where a vanishes
        root = np.sqrt(np.maximum(b**2 + 4 * a * wanted, 0.0))
        return self._weight_of(np.minimum(2 * wanted / (b + root), self._highest()[:, :, None]))

    def wobble(self, weight: Array) -> Array:
        """Standard deviation of the transmission from pixel flicker, equation (3), (2, n, n)."""
        s = self._by_pixel
        share = share_of(weight, s)
        slope = np.abs(2 * self.quadratic[:, :, None] * share + self.linear[:, :, None])
        if np.all(s == 1):
            return np.asarray(slope * self.flicker * np.sqrt(weight * (1 - weight)))
        theta, full = np.arcsin(np.sqrt(weight)), np.sin(s * np.pi / 2) ** 2
        return np.asarray(slope * self.flicker * np.abs(np.sin(2 * s * theta)) / (2 * full))

    def as_known(self, known: Known) -> MeasuredSlm:
        """As far as it is known: the three coefficients of every column."""
        return replace(
            self,
            quadratic=known("slm_quadratic", self.quadratic),
            linear=known("slm_linear", self.linear),
            darkness=known("slm_darkness", self.darkness),
        )
