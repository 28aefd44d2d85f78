"""What a machine asks of the part in each role that more than one class can fill.

Each may also say how far a user knows it: `as_known(known)` gives the same part with its calibrated arrays passed
through `known(name, array)`, where the name is that of the random stream from which errors are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aocsim.law import Law
from aocsim.stages import Elementwise

Array = NDArray[np.float64]
Known = Callable[[str, Array], Array]


class Pair(Protocol):
    """The nonlinear element in front of the emitters."""

    @property
    def swing(self) -> Array:
        """Saturation level of the output, (n,) V."""

    @property
    def knee(self) -> float:
        """Node voltage where the unit-slope line meets the saturation level, V."""

    @property
    def reference_temperature(self) -> float:
        """Room temperature at which the pair is as it is, K."""

    def stage(self) -> Elementwise:
        """Node voltage z [V] -> v [V]."""

    def at_temperature(self, room: float) -> Pair:
        """The same pairs in a room of another temperature, K."""


class Led(Protocol):
    """The emitters of both arms behind their drivers."""

    @property
    def reference_temperature(self) -> float:
        """Room temperature at which the emitters are as they are, K."""

    def law(self, arm: int) -> Law:
        """v [V] -> optical power above the bias light [W]."""

    def bias_power(self, arm: int) -> float:
        """Optical power at v = 0, W."""

    def drive_limit(self, arm: int) -> float:
        """Largest |v|, V, for which the law holds."""

    def bandwidth(self, arm: int) -> float:
        """Small-signal -3 dB frequency at the bias, Hz."""

    def at_temperature(self, room: float) -> Led:
        """The same emitters in a room of another temperature, K."""


class Modulator(Protocol):
    """Two panels of pixels; arrays are (2, n, n) as [arm, output j, input i], weights in [0, 1]."""

    @property
    def bits(self) -> int:
        """Magnitude bits of the drive."""

    @property
    def levels(self) -> int:
        """Number of the highest grey level."""

    @property
    def flicker(self) -> float:
        """Standard deviation of each pixel's own wobble, rad of retardance."""

    @property
    def flicker_common(self) -> float:
        """Standard deviation of the relative wobble common to an arm."""

    @property
    def flicker_correlation_time(self) -> float:
        """Of the broad part of the flicker, s."""

    @property
    def flicker_lines(self) -> Array:
        """(k,), shares of the flicker's variance in lines at 1, 2, ..., k times the frame rate."""

    @property
    def frame_time(self) -> float:
        """Inverse of the frame rate, s."""

    @property
    def settling_time(self) -> float:
        """From a new frame until its weights stand, s."""

    def response(self, weight: Array) -> Array:
        """Transmission for commanded weights."""

    def top(self) -> Array:
        """Largest commanded weight that is still on the rising side, (2, n)."""

    def column_profile(self) -> Array:
        """Transmission range of each column by design, (2, n); 1 for columns that differ by mismatch alone."""

    def invert(self, transmission: Array) -> Array:
        """Commanded weight for a wanted transmission; clipped to what the pixel reaches."""

    def wobble(self, weight: Array) -> Array:
        """Standard deviation of the transmission from pixel flicker."""

    def as_known(self, known: Known) -> Modulator:
        """As far as it is known."""


class Node(Protocol):
    """The summing amplifier."""

    @property
    def linear_low(self) -> float:
        """Lower end of the linear range, V."""

    @property
    def linear_high(self) -> float:
        """Upper end of the linear range, V."""

    def stage(self) -> Elementwise | None:
        """Sum [V] -> amplifier output [V]; None for an amplifier without rails."""
