r"""Spatial light modulator: parallel-aligned liquid crystal on silicon between polarisers, in reflection.

Intensity transmission of a pixel with retardance Gamma between crossed polarisers at 45 degrees (A. Yariv and
P. Yeh, *Optical Waves in Crystals*, section 5.1), with a finite contrast and light that no pixel controls:

.. math:: T(\Gamma) = T_{max}\left[\sin^2(\Gamma/2) + 1/CR + b\right]                                     (1)

A look-up table linearises the panel: a grey level g of G sets Gamma = 2 s asin(sqrt(g/G)), where s = 1 would
make T proportional to g. A panel over-driven by s = 1.087 shows the concave residual law
a w^2 + b w + c that is measured on the real machine.

The stray light of column j is b (1 + t x_j + c x_j^2) over the normalised aperture coordinate x_j, for each arm.

Signed weights: the sign chooses the arm, the magnitude the grey level; the other arm's pixel stays dark.

Flicker: the digital drive makes the retardance wobble as sigma_G p(t), with p(t) a stationary process of unit variance
for each pixel, slowly against one solve, so that the transmission wobbles as

.. math:: \delta T(t) = T_{max}\,\sigma_G \sqrt{\tau(1-\tau)}\; p(t), \qquad \tau = \sin^2(\Gamma/2)       (2)

The shares `flicker_lines` of the variance of p sit in lines at 1, 2, ... times the frame rate; the rest is broad, and
its correlation falls with the correlation time. Each arm's common wobble is a process of the same kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt, aperture
from aocsim.components.roles import Known
from aocsim.errors import InputError
from aocsim.power import UNKNOWN, Factor, Load, each, stated
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "transmission": EntrySpec("dimensionless", per=("machine", "arm")),
    "contrast": EntrySpec("dimensionless", per=("machine", "arm", "channel", "channel_arm", "pixel")),
    "stray_light": EntrySpec("dimensionless", shape=2, per=("machine", "arm", "channel_arm")),
    "stray_light_tilt": EntrySpec("dimensionless", shape=2),
    "stray_light_curvature": EntrySpec("dimensionless", shape=2),
    "retardance_scale": EntrySpec("dimensionless", per=("machine", "arm", "channel_arm")),
    "bits": EntrySpec("dimensionless"),
    "flicker": EntrySpec("radian"),
    "flicker_common": EntrySpec("dimensionless"),
    "flicker_correlation_time": EntrySpec("second"),
    "flicker_lines": EntrySpec("dimensionless", shape=0),
    "frame_time": EntrySpec("second"),
    "settling_time": EntrySpec("second"),
    "panel_power": EntrySpec("watt", optional=True),
    "refresh_energy": EntrySpec("joule", optional=True),
    "pixels": EntrySpec("dimensionless", optional=True),
    "pixels_per_weight": EntrySpec("dimensionless", optional=True),
}


@dataclass(frozen=True, eq=False)
class Slm:
    """As built: one panel for each arm. Arrays are [arm, output j, input i].

    Attributes:
        transmission: T_max, (2,).
        inverse_contrast: 1/CR, (2, n, n).
        stray_light: b, (2, n): light that passes beside the modulation, for each column.
        retardance_scale: s, (2, n).
        bits: magnitude bits of the drive.
        flicker: sigma_G, rad, standard deviation of each pixel's own wobble.
        flicker_common: standard deviation of the relative wobble common to an arm.
        flicker_correlation_time: s, lag at which the correlation of the rest (all flicker but its lines) has
            fallen to 1/e.
        flicker_lines: (k,), shares of the flicker's variance that sit in lines at 1, 2, ..., k times the frame rate;
            they sum to less than 1.
        frame_time: s, the inverse of the frame rate.
        settling_time: s, from a new frame until the liquid crystal has answered and its weights stand.
        panel_power: W for each panel, as long as it shows weights.
        refresh_energy: J for each pixel of a new frame.
        pixels: of a panel.
        pixels_per_weight: that show one weight.
    """

    transmission: Array
    inverse_contrast: Array
    stray_light: Array
    retardance_scale: Array
    bits: int
    flicker: float
    flicker_common: float
    flicker_correlation_time: float
    flicker_lines: Array
    frame_time: float
    settling_time: float
    panel_power: float = UNKNOWN
    refresh_energy: float = UNKNOWN
    pixels: float = UNKNOWN
    pixels_per_weight: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> Slm:
        """Draw the panels of one machine.

        Raises:
            InputError: flicker lines that leave nothing of the variance to the rest.
        """
        x = aperture(part.channels)
        tilt, curvature = (
            part.array(f"stray_light_{term}", "arm")[:, None] for term in ("tilt", "curvature")
        )
        profile = 1 + tilt * x + curvature * x**2
        return cls(
            transmission=part.array("transmission", "arm"),
            inverse_contrast=1.0 / np.maximum(part.array("contrast", "pixel"), 1.0),
            stray_light=np.maximum(part.array("stray_light", "channel_arm") * profile, 0.0),
            retardance_scale=part.array("retardance_scale", "channel_arm"),
            bits=part.integer("bits"),
            flicker=part.scalar("flicker"),
            flicker_common=part.scalar("flicker_common"),
            flicker_correlation_time=part.scalar("flicker_correlation_time"),
            flicker_lines=flicker_lines(part),
            frame_time=part.scalar("frame_time"),
            settling_time=part.scalar("settling_time"),
            panel_power=part.optional("panel_power"),
            refresh_energy=part.optional("refresh_energy"),
            pixels=part.optional("pixels"),
            pixels_per_weight=part.optional("pixels_per_weight"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What both panels take from the supply as long as they show weights, and the energy of a new frame.

        All pixels of a panel are driven, whatever share of them the weights need: `channels` is without effect.

        Raises:
            InputError: the sheet does not say.
        """
        refresh = stated(self.refresh_energy, "slm", "refresh_energy")
        pixels = stated(self.pixels, "slm", "pixels")
        factors = (
            Factor("panels", 2.0),
            Factor("pixels", pixels),
            Factor("refresh energy", refresh, "joule"),
        )
        return (
            each("panels", 2, "panels", self.panel_power, "slm", "panel_power"),
            Load("new frame", factors, "joule"),
        )

    @property
    def most_weights(self) -> float:
        """Weights that one panel can show; nan where the sheet does not say."""
        return self.pixels / self.pixels_per_weight

    @property
    def levels(self) -> int:
        """Number of the highest grey level G = 2^bits - 1."""
        return int(2**self.bits - 1)

    def modulated(self, weight: Array) -> Array:
        """tau = sin^2(s asin sqrt(w)) for commanded weights w = g/G in [0, 1], (2, n, n)."""
        return np.asarray(np.sin(self.retardance_scale[:, :, None] * np.arcsin(np.sqrt(weight))) ** 2)

    def dark(self) -> Array:
        """Transmission at w = 0 over T_max, 1/CR + b, (2, n, n)."""
        return np.asarray(self.inverse_contrast + self.stray_light[:, :, None])

    def response(self, weight: Array) -> Array:
        """Transmission of equation (1) for commanded weights in [0, 1], (2, n, n)."""
        return np.asarray(self.transmission[:, None, None] * (self.modulated(weight) + self.dark()))

    def top(self) -> Array:
        """Largest commanded weight that is still on the rising side, (2, n): retardance pi or full drive."""
        scale = self.retardance_scale
        return np.where(scale > 1, np.sin(np.pi / 2 / np.maximum(scale, 1.0)) ** 2, 1.0)

    def column_profile(self) -> Array:
        """1 for every column, (2, n): this panel's columns differ by mismatch alone."""
        return np.ones_like(self.retardance_scale)

    def invert(self, transmission: Array) -> Array:
        """Commanded weight for a wanted transmission (2, n, n); clipped to what the pixel reaches."""
        tau = np.clip(transmission / self.transmission[:, None, None] - self.dark(), 0.0, 1.0)
        angle = np.arcsin(np.sqrt(tau)) / self.retardance_scale[:, :, None]
        return np.asarray(np.clip(np.sin(angle) ** 2, 0.0, self.top()[:, :, None]))

    def wobble(self, weight: Array) -> Array:
        """Standard deviation of the transmission from pixel flicker, equation (2), (2, n, n)."""
        tau = self.modulated(weight)
        return np.asarray(self.transmission[:, None, None] * self.flicker * np.sqrt(tau * (1 - tau)))

    def as_known(self, known: Known) -> Slm:
        """As far as it is known: transmission, darkness and retardance."""
        return replace(
            self,
            transmission=known("transmission", self.transmission),
            inverse_contrast=known("contrast", self.inverse_contrast),
            stray_light=known("stray_light", self.stray_light),
            retardance_scale=known("retardance", self.retardance_scale),
        )


def flicker_lines(part: AsBuilt) -> Array:
    """The entry of this name, shares of the flicker's variance in its lines, (k,).

    Raises:
        InputError: lines that leave nothing of the variance to the rest.
    """
    lines = part.nominal("flicker_lines")
    if not lines.sum() < 1:
        raise InputError(
            "the lines hold all of the flicker's variance or more",
            key=f"parts.{part.role}.flicker_lines",
            got=lines.tolist(),
            allowed="shares that sum to less than 1",
        )
    return lines
