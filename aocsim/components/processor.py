"""A digital processor as a reference: operations for each joule, one multiplication and one addition being two."""

from __future__ import annotations

from dataclasses import dataclass

from aocsim.asbuilt import AsBuilt
from aocsim.spec import EntrySpec

ENTRIES = {"efficiency": EntrySpec("1/joule", per=("machine",))}


@dataclass(frozen=True)
class Processor:
    """A digital processor.

    Attributes:
        efficiency: operations for each joule.
    """

    efficiency: float

    @classmethod
    def build(cls, part: AsBuilt) -> Processor:
        """Read the processor's sheet."""
        return cls(part.scalar("efficiency"))

    def energy(self, operations: float) -> float:
        """J that so many operations take.

        >>> Processor(efficiency=4.5e12).energy(9e12)
        2.0

        Raises:
            ValueError: a negative number of operations.
        """
        if not operations >= 0:
            raise ValueError(f"a processor does no negative number of operations, got {operations}")
        return operations / self.efficiency
