"""What parts take from the supply: products of factors with dimensions, which can be checked and told.

A sheet may leave out what its part takes from the supply. Then the part works as ever, and only who asks for its power
is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from aocsim.errors import InputError

UNKNOWN = math.nan
"""Stands where a sheet says nothing."""

Dimension = Literal["watt", "joule"]


@dataclass(frozen=True)
class Factor:
    """One factor of a load.

    Attributes:
        name: what it is.
        value: SI.
        dimension: its SI unit, as in `aocsim.units.to_si`.
    """

    name: str
    value: float
    dimension: str = "dimensionless"


@dataclass(frozen=True)
class Load:
    """What one consumer takes: a power for as long as it is on, or an energy each time that something happens.

    Attributes:
        consumer: what takes it, in words.
        factors: whose product it is.
        dimension: watt, or joule for an energy each time.
    """

    consumer: str
    factors: tuple[Factor, ...]
    dimension: Dimension = "watt"

    @property
    def value(self) -> float:
        """Product of the factors, W or J."""
        return math.prod(factor.value for factor in self.factors)


@runtime_checkable
class Supplied(Protocol):
    """A part that knows what it takes from the supply."""

    def power(self, channels: int) -> tuple[Load, ...]:
        """Loads of the part's consumers in a machine of so many channels, W or J."""


def stated(value: float, role: str, entry: str) -> float:
    """A number that a sheet may leave out.

    Args:
        value: SI, or `UNKNOWN`.
        role: of the part.
        entry: of its sheet.

    Raises:
        InputError: the sheet says nothing of it.
    """
    if math.isnan(value):
        raise InputError(
            "the sheet says nothing of it, and without it there is no energy",
            key=f"parts.{role}.{entry}",
            allowed="a sheet with this entry",
        )
    return value


def each(
    consumer: str, count: int, what: str, value: float, role: str, entry: str, dimension: Dimension = "watt"
) -> Load:
    """A load of `count` equal things, each with the power or energy of one entry.

    Args:
        consumer: what takes it.
        count: how many.
        what: they are, such as "channels".
        value: of one, W or J, or `UNKNOWN`.
        role: of the part.
        entry: that states it.
        dimension: of `value`.

    Raises:
        InputError: as `stated`.
    """
    name = entry.replace("_", " ")
    factors = (Factor(what, float(count)), Factor(name, stated(value, role, entry), dimension))
    return Load(consumer, factors, dimension)
