r"""Multichannel digitiser that reads the node.

Samples are taken at t_k = k / f_s after the loop closes. ENOB states all of the converter's error as that of an
ideal converter of so many bits, :math:`\sigma = FS / (2^{ENOB} \sqrt{12})` (IEEE Std 1241): rounding is applied to
each sample, the rest is added as noise. The read-out is the mean over a window of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.power import UNKNOWN, Load, each
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "sample_rate": EntrySpec("hertz"),
    "samples": EntrySpec("dimensionless"),
    "window_start": EntrySpec("second"),
    "window_stop": EntrySpec("second"),
    "input_scale": EntrySpec("volt/volt"),
    "full_scale": EntrySpec("volt"),
    "bits": EntrySpec("dimensionless"),
    "effective_bits": EntrySpec("dimensionless"),
    "rearm_time": EntrySpec("second"),
    "transfer_time": EntrySpec("second"),
    "supply_power": EntrySpec("watt", optional=True),
}


@dataclass(frozen=True)
class Digitiser:
    """Multichannel digitiser.

    Attributes:
        sample_rate: Hz.
        samples: samples of a record.
        window_start: s, first instant of the read-out window.
        window_stop: s, last instant of it.
        input_scale: node volts for each volt at the converter.
        full_scale: V at the converter, range +-full_scale.
        bits: resolution; 0 for an ideal converter.
        effective_bits: noise and distortion as ENOB; inf for a noiseless one.
        rearm_time: s.
        transfer_time: s, record to host.
        supply_power: W for each channel, recording or getting ready to.
    """

    sample_rate: float
    samples: int
    window_start: float
    window_stop: float
    input_scale: float
    full_scale: float
    bits: int
    effective_bits: float
    rearm_time: float
    transfer_time: float
    supply_power: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> Digitiser:
        """Read the digitiser's sheet."""
        return cls(
            sample_rate=part.scalar("sample_rate"),
            samples=part.integer("samples"),
            window_start=part.scalar("window_start"),
            window_stop=part.scalar("window_stop"),
            input_scale=part.scalar("input_scale"),
            full_scale=part.scalar("full_scale"),
            bits=part.integer("bits"),
            effective_bits=part.scalar("effective_bits"),
            rearm_time=part.scalar("rearm_time"),
            transfer_time=part.scalar("transfer_time"),
            supply_power=part.optional("supply_power"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What all channels' converters take from the supply while they record or re-arm.

        Raises:
            InputError: the sheet does not say.
        """
        return (each("converters", channels, "channels", self.supply_power, "digitiser", "supply_power"),)

    @property
    def times(self) -> Array:
        """Sampling instants after the loop closes, (samples,) s, t_k = k / sample_rate."""
        return np.arange(self.samples) / self.sample_rate

    @property
    def window(self) -> slice:
        """Indices of the samples inside the read-out window, both ends included."""
        tolerance = 1e-6
        first = int(np.ceil(self.window_start * self.sample_rate - tolerance))
        last = int(np.floor(self.window_stop * self.sample_rate + tolerance))
        return slice(first, min(last, self.samples - 1) + 1)

    @property
    def noise(self) -> float:
        """Converter noise beyond ideal quantisation, rms V at the node.

        ENOB counts all error as that of an ideal converter, FS / (2^ENOB sqrt 12); the rounding itself is
        applied to each sample, so its share is taken off.
        """
        total = (2 * self.span / 2**self.effective_bits) ** 2 / 12
        rounding = self.step**2 / 12
        return float(np.sqrt(max(total - rounding, 0.0)))

    @property
    def span(self) -> float:
        """Largest node voltage that is not clipped, V."""
        return self.full_scale * self.input_scale

    @property
    def step(self) -> float:
        """Of the ideal converter, V at the node; 0 where it does not round."""
        return 2 * self.span / 2**self.bits if self.bits else 0.0

    def quantise(self, node: Array) -> Array:
        """Node volts as the converter reports them, clipped and rounded."""
        clipped = np.clip(node, -self.span, self.span)
        if not self.bits:
            return np.asarray(clipped)
        return np.asarray(np.minimum(np.round(clipped / self.step) * self.step, self.span - self.step))

    def digitise(self, node: Array, spread: Array, normals: NDArray[Any]) -> None:
        """`quantise` of node + spread normals, in one pass and in place of `node`.

        Args:
            node: (..., n) V, in one piece.
            spread: (n,) V, of the noise that each sample has for itself.
            normals: (..., n) standard normals, in one piece.
        """
        from aocsim._kernels import digitise  # compiled code is loaded by those who compute, not at import

        n = node.shape[-1]
        if not node.flags.c_contiguous:
            raise ValueError("what is overwritten must lie in one piece")
        digitise(node.reshape(-1, n), spread, normals.reshape(-1, n), self.span, self.step)
