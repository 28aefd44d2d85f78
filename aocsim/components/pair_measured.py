r"""Differential pair as it was measured: a fitted sigmoid instead of transistors.

.. math:: u = a z + b, \qquad v = \frac{d\,u}{(1 + |u|^c)^{1/c}} + f + g z                                (1)

This is the form in which the public digital twin of the 48-channel machine (github.com/microsoft/aoc, parameters of
April 2025) states the pair and its driver. c sets how sharp the knee is: 2 gives u/sqrt(1 + u^2), infinity a
clipped line; a tanh lies near c = 2.75.

Temperature: the swing d stays, and the slope at the origin follows

.. math:: a(T) = a\,[1 + \theta\,(T - T_0)]                                                             (2)

with theta = -0.14 %/K for the degenerated pair that fits the measured law (`aocsim.components.pair`, equation 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components import check_room, operating_range
from aocsim.errors import InputError
from aocsim.law import Law
from aocsim.spec import EntrySpec
from aocsim.stages import Elementwise

Array = NDArray[np.float64]

ENTRIES = {
    "slope": EntrySpec("1/volt", per=("machine", "channel")),
    "input_offset": EntrySpec("dimensionless", per=("machine", "channel")),
    "exponent": EntrySpec("dimensionless"),
    "swing": EntrySpec("volt", per=("machine", "channel")),
    "output_offset": EntrySpec("volt", per=("machine", "channel")),
    "feedthrough": EntrySpec("volt/volt"),
    "slope_temperature_coefficient": EntrySpec("1/kelvin"),
    "reference_temperature": EntrySpec("kelvin"),
    "operating_range": EntrySpec("kelvin", shape=2),
}

TABLE_HALF_WIDTH = 32.0  # in units of u; the node's rails are at about 12 to 24
TABLE_INTERVALS = 4096


def sigmoid(u: Array, exponent: float) -> Array:
    """u / (1 + |u|^c)^(1/c) for any u and c > 0, without overflow.

    >>> sigmoid(np.array([-1e300, 0.75]), 2.0).round(6).tolist()    # u / sqrt(1 + u^2)
    [-1.0, 0.6]
    """
    size = np.abs(np.asarray(u, dtype=float))
    inner = np.minimum(size, 1.0)
    outer = np.maximum(size, 1.0)
    # |u| > 1: divided by |u| above and below the line
    below = inner * np.exp(-np.log1p(inner**exponent) / exponent)
    above = np.exp(-np.log1p(outer**-exponent) / exponent)
    return np.asarray(np.copysign(np.where(size > 1, above, below), u))


def sigmoid_slope(u: Array, exponent: float) -> Array:
    """d/du of `sigmoid`: (1 + |u|^c)^(-1 - 1/c)."""
    size = np.abs(np.asarray(u, dtype=float))
    inner = np.exp(-np.log1p(np.minimum(size, 1.0) ** exponent) * (1 + 1 / exponent))
    outer = np.maximum(size, 1.0)
    share = np.exp(-np.log1p(outer**-exponent) * (1 + 1 / exponent))
    return np.asarray(np.where(size > 1, share * outer ** -(exponent + 1), inner))


@dataclass(frozen=True, eq=False)
class MeasuredPair:
    """As built: one pair for each channel, shared by both arms.

    Attributes:
        slope: a, (n,) 1/V.
        input_offset: b, (n,).
        exponent: c.
        swing: d, (n,) V.
        output_offset: f, (n,) V.
        feedthrough: g, V/V.
        slope_temperature_coefficient: theta, 1/K.
        reference_temperature: room temperature at which all of these values hold, K.
        operating_range: lowest and highest room temperature, K, in which the law is trusted.
    """

    slope: Array
    input_offset: Array
    exponent: float
    swing: Array
    output_offset: Array
    feedthrough: float
    slope_temperature_coefficient: float
    reference_temperature: float
    operating_range: tuple[float, float]

    @classmethod
    def build(cls, part: AsBuilt) -> MeasuredPair:
        """Draw the pairs of one machine.

        Raises:
            InputError: pairs without slope or swing, in units of which equation (1) is tabulated.
        """
        slope, swing = part.array("slope", "channel"), part.array("swing", "channel")
        for entry, values in (("slope", slope), ("swing", swing)):
            if not values.mean() or (entry == "swing" and not (slope * swing).mean()):
                raise InputError(
                    "the pairs must have a slope and a swing",
                    key=f"parts.{part.role}.{entry}",
                    got=float(values.mean()),
                    allowed="any number but 0",
                )
        return cls(
            slope=slope,
            input_offset=part.array("input_offset", "channel"),
            exponent=part.scalar("exponent"),
            swing=swing,
            output_offset=part.array("output_offset", "channel"),
            feedthrough=part.scalar("feedthrough"),
            slope_temperature_coefficient=part.scalar("slope_temperature_coefficient"),
            reference_temperature=part.scalar("reference_temperature"),
            operating_range=operating_range(part),
        )

    def at_temperature(self, room: float) -> MeasuredPair:
        """These pairs in a room of another temperature, K: equation (2).

        Raises:
            InputError: outside the operating range, or so far from the reference that no slope is left.
        """
        check_room("differential pair", room, self.operating_range)
        if room == self.reference_temperature:
            return self
        change = 1 + self.slope_temperature_coefficient * (room - self.reference_temperature)
        if change <= 0:
            raise InputError(
                "the pairs have no slope left there", key="environment.temperature", got=f"{room:.6g} K"
            )
        # the coefficient refers to the new slope from here on, so that two changes of the room add up
        return replace(
            self,
            slope=self.slope * change,
            slope_temperature_coefficient=self.slope_temperature_coefficient / change,
            reference_temperature=room,
        )

    @property
    def knee(self) -> float:
        """Node voltage where the unit-slope line meets the saturation level, 1/a, in V."""
        return float(1 / self.slope.mean())

    def stage(self) -> Elementwise:
        """z [V] -> v [V], equation (1); with mismatch the feedthrough scales with a channel's swing and slope."""
        bypass = self.feedthrough / float((self.slope * self.swing).mean())
        return Elementwise(
            _table(self.exponent, bypass),
            gain_in=self.slope,
            offset_in=self.input_offset,
            gain_out=self.swing,
            # the table's bypass sees u, equation (1) has it see z
            offset_out=self.output_offset - self.swing * bypass * self.input_offset,
        )


@lru_cache(maxsize=64)
def _table(exponent: float, bypass: float) -> Law:
    """The sigmoid plus a linear bypass over u; every composed loop asks for it."""
    return Law.tabulate(
        "measured pair",
        lambda u: sigmoid(u, exponent) + bypass * u,
        lambda u: sigmoid_slope(u, exponent) + bypass,
        -TABLE_HALF_WIDTH,
        TABLE_HALF_WIDTH,
        TABLE_INTERVALS,
    )
