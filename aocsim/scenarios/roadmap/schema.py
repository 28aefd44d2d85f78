"""What scenarios of the kind "roadmap_single" say."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.roadmap.equipment import SHEETS, equipment_sheets
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.scenarios.schema import Table, quantity
from aocsim.spec import SHEET, PartSpec, Text, flat_choice

Number = TypeVar("Number", int, float)


def _choices_in(table: str) -> BeforeValidator:
    def read(item: object) -> object:
        if not isinstance(item, Mapping):
            raise InputError("must be a table with one key for each sheet", key=table, got=item)
        return {name: flat_choice(choice, f"{table}.{name}") for name, choice in item.items()}

    return BeforeValidator(read)


def growing(value: tuple[Number, ...]) -> tuple[Number, ...]:
    """Refuse numbers that do not grow from one to the next."""
    if any(b <= a for a, b in pairwise(value)):
        raise ValueError("must grow from one to the next")
    return value


Choices = dict[str, dict[str, Text]]
Bandwidth = Annotated[float, quantity("hertz", 1e3, 1e15)]
Bandwidths = Annotated[
    tuple[Bandwidth, ...], Field(min_length=1, max_length=64, strict=False), AfterValidator(growing)
]
Channels = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1_000_000)], ...],
    Field(min_length=1, max_length=64, strict=False),
    AfterValidator(growing),
]
Counts = Annotated[
    tuple[Annotated[int, Field(ge=1, le=10**9)], ...],
    Field(min_length=1, max_length=64, strict=False),
    AfterValidator(growing),
]
Factors = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...],
    Field(min_length=1, max_length=64, strict=False),
    AfterValidator(growing),
]


class WithEquipment(ModelsOnMachine):
    """A scenario on a machine with what stands beside it.

    Attributes:
        equipment: changes to controller, switch, reference and published chain by role, as `parts` for the machine's.
    """

    equipment: Annotated[Choices, _choices_in("equipment")] = Field(default={})

    @property
    def sheets(self) -> tuple[str, ...]:
        """Names of all sheets beside the machine's."""
        return tuple(
            sorted(
                {*SHEETS.values(), *(str(choice.get(SHEET, "")) for choice in self.equipment.values())} - {""}
            )
        )

    def equipment_sheets(self, library: Library) -> dict[str, PartSpec]:
        """Sheets of the equipment by role.

        Raises:
            InputError: as `aocsim.roadmap.equipment.equipment_sheets`.
        """
        return equipment_sheets(library, self.equipment)


class RoadmapTable(Table):
    """Table [roadmap] of kind "roadmap_single".

    Attributes:
        channels: n, the machine's own parts and projected modules with so many.
        bandwidths: of the node, Hz, for the machine's own parts.
        projected_bandwidths: for projected modules, Hz.
        light: factors on all light, for the machine's own parts.
        batches: samples that share one loading of weights.
        alpha: of the median channel.
        radius: g, spectral radius of the effective matrix (`aocsim.roadmap.chain`).
        weight_rms: w, root mean square of the weights over the modulator's full range.
        nrmse: error that the light is to hold.
        simulated: channels that are simulated in the time domain; the seed of the scenario draws their matrices.
        matrices: that are averaged for each.
    """

    channels: Channels = (16, 48, 256, 1000, 2000)
    bandwidths: Bandwidths
    projected_bandwidths: Bandwidths
    light: Factors = (0.25, 0.5, 1.0, 2.0, 4.0)
    batches: Counts = (1, 10, 100, 1000, 10_000)
    alpha: float = Field(ge=0.0, lt=1.0)
    radius: float = Field(gt=0.0, lt=1.0)
    weight_rms: float = Field(gt=0.0, le=1.0)
    nrmse: float = Field(gt=0.0, lt=1.0)
    simulated: Channels = (16, 48)
    matrices: int = Field(default=4, ge=1, le=1000)

    @model_validator(mode="after")
    def _can_be_simulated(self) -> RoadmapTable:
        if not 2 <= self.simulated[0] <= self.simulated[-1] <= 1024:
            raise InputError(
                "cannot be simulated in the time domain",
                key="roadmap.simulated",
                got=self.simulated,
                allowed="2 to 1024 channels",
            )
        return self


class RoadmapSingle(WithEquipment):
    """Ledger of a machine, projected modules, and limits with scale.

    Attributes:
        modules: sheets of projected modules, with changes to their entries; the first is the one that totals are of.
        roadmap: what is projected.
    """

    kind: Literal["roadmap_single"]
    modules: Annotated[Choices, _choices_in("modules"), Field(min_length=1, max_length=8)]
    roadmap: RoadmapTable

    @property
    def sheets(self) -> tuple[str, ...]:
        """Names of all sheets beside the machine's."""
        return tuple(sorted({*super().sheets, *self.modules}))

    def module_sheets(self, library: Library) -> dict[str, PartSpec]:
        """Sheets of the projected modules by name.

        Raises:
            InputError: unknown, of another law, or with a wrong entry.
        """
        found = {}
        for name, changes in self.modules.items():
            key = f"modules.{name}"
            try:
                sheet = library.part(name)
            except InputError as error:
                raise (error.located(key=key) if error.file is None else error) from None
            if sheet.law != "module":
                raise InputError(
                    "is no sheet of a projected module", key=key, got=sheet.law, allowed="module"
                )
            found[name] = sheet.with_overrides(changes, key)
        return found
