"""As-built values: the numbers of a sheet with the mismatch of one machine drawn onto them.

A machine's mismatch depends on its name and serial alone. Every entry of every part has its own random stream,
named `MACHINE.ROLE.ENTRY`, so that adding or changing one part leaves every other part's draw as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError
from aocsim.power import UNKNOWN
from aocsim.seeds import stream
from aocsim.spec import PartSpec

Array = NDArray[np.float64]
Level = Literal["machine", "arm", "channel", "channel_arm", "pixel"]

ARMS = ("+", "-")


@dataclass(frozen=True)
class AsBuilt:
    """Draws the entries of one part of one machine.

    Attributes:
        spec: the part's sheet.
        machine: name of the machine, part of the streams' names.
        role: the part's role in the machine.
        serial: serial number of the machine; None draws no mismatch (the nominal machine).
        channels: number of channels n.
    """

    spec: PartSpec
    machine: str
    role: str
    serial: int | None
    channels: int

    def shape(self, level: str) -> tuple[int, ...]:
        """Array shape of a level: (), (2,), (n,), (2, n) or (2, n, n), the last as [arm, output, input]."""
        n = self.channels
        return {"machine": (), "arm": (2,), "channel": (n,), "channel_arm": (2, n), "pixel": (2, n, n)}[level]

    def scalar(self, entry: str) -> float:
        """An entry that is one number for the whole machine, SI."""
        return float(self.array(entry, "machine"))

    def optional(self, entry: str) -> float:
        """An entry that is one number for the whole machine, SI, or `UNKNOWN` where the sheet leaves it out."""
        return self.scalar(entry) if entry in self.spec.entries else UNKNOWN

    def integer(self, entry: str) -> int:
        """An entry that counts something.

        Raises:
            InputError: not a whole number.
        """
        value = self.scalar(entry)
        if value != round(value):
            raise InputError("must be a whole number", key=f"parts.{self.role}.{entry}", got=value)
        return round(value)

    def nominal(self, entry: str) -> Array:
        """The sheet's value without mismatch (for coefficients of profiles), SI."""
        return np.asarray(self.spec.value(entry), dtype=float)

    def array(self, entry: str, level: Level) -> Array:
        """An entry at `level`, SI, with mismatch drawn at the level that the sheet names.

        A value given for both arms is a list of two. A coarser draw is repeated over the finer level asked
        for: one number for each arm becomes the same number for all of that arm's channels, one for each
        channel the same for all pixels of that output.

        Raises:
            InputError: a drawn value is outside the entry's valid range.
            ValueError: the sheet draws finer than the part's law can use.
        """
        drawn = self.spec[entry]
        built = self._drawn(entry, np.asarray(drawn.value, dtype=float))
        target = self.shape(level)
        if built.ndim == 1 and drawn.per == "channel" and len(target) > 1:
            # a channel's own part acts on its output where a pixel has both an output and an input
            built = built[None, :]
        if built.ndim > len(target):
            raise ValueError(f"{self.role}.{entry}: drawn per {drawn.per}, the law takes it per {level}")
        return np.broadcast_to(_stretch(built, len(target)), target).copy()

    def profile(self, entry: str) -> Array:
        """A list over the channels, (n,) SI, with mismatch drawn for the machine or for each channel.

        A list of n numbers holds one for each channel. A list of another length stands at as many equally spaced
        places of the aperture as it has numbers, and is interpolated linearly at the channels' own.

        Raises:
            InputError: a drawn value is outside the entry's valid range.
        """
        listed = np.asarray(self.spec[entry].value, dtype=float)
        if len(listed) != self.channels:
            listed = np.interp(aperture(self.channels), aperture(len(listed)), listed)
        return np.array(self._drawn(entry, listed))

    def _drawn(self, entry: str, base: Array) -> Array:
        """Values with the mismatch that the sheet asks for, at the level of the draw.

        Raises:
            InputError: a drawn value is outside the entry's valid range.
        """
        drawn = self.spec[entry]
        built = base
        if drawn.spread and self.serial is not None:
            shape = self.shape(drawn.per)
            normals = stream(self.serial, f"{self.machine}.{self.role}.{entry}").standard_normal(shape)
            over = _stretch(base, len(shape)) if base.ndim else base
            # a spread relative to infinity (no pole, no dark light) is none
            size = np.where(np.isfinite(over), np.abs(over), 0.0)
            built = over + normals * (drawn.spread * size if drawn.spread_is_relative else drawn.spread)
            low, high = drawn.valid
            if not ((built >= low) & (built <= high)).all():
                worst = float(built.flat[int(np.argmax(np.maximum(low - built, built - high)))])
                raise InputError(
                    f"serial {self.serial} draws a value outside the valid range, its spread is too wide",
                    key=f"parts.{self.role}.{entry}",
                    got=worst,
                    allowed=f"{low:.6g} to {high:.6g} (SI)",
                )
        return built


def _stretch(values: Array, ndim: int) -> Array:
    """Append axes of length one, so that a leading (arm) axis lines up with that of a finer level."""
    return values.reshape(values.shape + (1,) * (ndim - values.ndim)) if values.ndim else values


def aperture(channels: int) -> Array:
    """Normalised coordinate of each channel, x_i = (i - (n-1)/2)/(n/2), dimensionless, shape (n,)."""
    return np.asarray((np.arange(channels) - (channels - 1) / 2) / (channels / 2), dtype=np.float64)
