"""The machine's parts, one module a law: frozen dataclasses of SI numbers, pure functions, loop stages."""

from __future__ import annotations

from aocsim.asbuilt import AsBuilt
from aocsim.errors import InputError


def operating_range(part: AsBuilt) -> tuple[float, float]:
    """The entry of this name: lowest and highest room temperature, K, in which the part's law is trusted.

    Raises:
        InputError: the ends in the wrong order, or the reference temperature outside.
    """
    low, high = (float(end) for end in part.nominal("operating_range"))
    if not low <= part.scalar("reference_temperature") <= high:
        raise InputError(
            "must hold the reference temperature, lower end first",
            key=f"parts.{part.role}.operating_range",
            got=f"{low:.6g} K to {high:.6g} K",
        )
    return low, high


def check_room(part: str, room: float, operating_range: tuple[float, float]) -> None:
    """Refuse a room temperature, K, outside the range in which a part's law is trusted.

    Raises:
        InputError: outside, or not a number.
    """
    low, high = operating_range
    if not low <= room <= high:
        raise InputError(
            f"outside the operating range of the {part}",
            key="environment.temperature",
            got=f"{room:.6g} K",
            allowed=f"{low:.6g} K to {high:.6g} K",
        )
