"""What scenarios of kind "roadmap_modules" say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from aocsim.errors import InputError, unknown_name
from aocsim.library import Library
from aocsim.roadmap.equipment import SHEETS, equipment_sheets
from aocsim.scenarios.roadmap.quality_schema import LoopsTable
from aocsim.scenarios.roadmap.schema import Bandwidth, growing
from aocsim.scenarios.schema import Diffusion, Solve, Stored, Table, Timeline, choices
from aocsim.spec import SHEET, MachineSpec, PartSpec, Text, part_for


def _loads_of(value: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < load < 1 for load in value):
        raise ValueError("must be more than 0 and less than 1: nobody catches up with more")
    return value


Counts = Annotated[tuple[int, ...], Field(min_length=1, max_length=64, strict=False), AfterValidator(growing)]
Widths = Annotated[tuple[int, ...], Field(min_length=1, max_length=4096, strict=False)]
Loads = Annotated[tuple[float, ...], Field(max_length=64, strict=False), AfterValidator(_loads_of)]
Sheets = Annotated[dict[str, dict[str, Text]], BeforeValidator(choices)]
Number = Annotated[int, Field(ge=1, le=100_000)]


class NetworkTable(Table):
    """Table [network]: one of both.

    Attributes:
        model: name of a trained model.
        widths: (d, h_1, ..., h_{K-1}), units of each block of a network that nobody has trained.
    """

    model: str | None = None
    widths: Widths | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> NetworkTable:
        if (self.model is None) == (self.widths is None):
            raise InputError(
                "names a model or widths", key="network", got=self.model_dump(), allowed="one of both"
            )
        return self


class SharedTable(Table):
    """Table [variants.NAME.shared], as `aocsim.roadmap.rings.Shared`."""

    panel_drivers: Number = 1
    dacs: Number = 1
    digitisers: Number = 1
    host_links: Number = 1
    switch_controllers: Number = 1


class VariantTable(Table):
    """Table [variants.NAME]: one technology.

    Attributes:
        tells: what it is, for the figures.
        module: sheet of the projected module around the loop; none leaves the machine's parts.
        bandwidth: of the node, Hz; none leaves the machine's.
        parts: changes to the machine's parts by role.
        equipment: changes to the sheets beside the machine, by role.
        memory, read: what carries a solution to the next step, and which steps are recorded.
        in_flight: samples under way for each ring.
        double_buffered: whether a ring's next drive can be set while it solves.
        shared: what all rings share.
    """

    tells: str = Field(min_length=1)
    module: str | None = None
    bandwidth: Bandwidth | None = None
    parts: Sheets = Field(default={})
    equipment: Sheets = Field(default={})
    memory: Literal["digital", "sample_and_hold"] = "digital"
    read: Literal["every", "last"] = "every"
    in_flight: Number = 1
    double_buffered: bool = False
    shared: SharedTable = SharedTable()

    @model_validator(mode="after")
    def _fits(self) -> VariantTable:
        if self.read == "last" and self.memory == "digital":
            raise InputError(
                "the host needs the record of every step",
                key="read",
                got="last",
                allowed="every, or a memory",
            )
        return self


class StudyTable(Table):
    """Table [study].

    Attributes:
        channels: of a module.
        modules: numbers of modules, each once.
        drawn: number of modules whose timeline is drawn.
        drawn_variant: that it is drawn for.
        loads: of samples that arrive at random, as shares of what rings with memory cells can take.
        loaded_variant: for which that is done.
        loaded: number of modules for that.
        arrivals: number of samples that arrive.
    """

    channels: int
    modules: Counts
    drawn: int
    drawn_variant: str
    loads: Loads = ()
    loaded_variant: str = ""
    loaded: int = 1
    arrivals: int = Field(default=1000, ge=100, le=100_000)


class RoadmapModules(Stored):
    """Rings of modules that share converters: throughput, latency and utilisation against their number.

    Attributes:
        name, kind, describes, machine, serial, seed, parts, solve, diffusion, timeline: as of kind "sample"; nothing
            is solved but queues.
        samples: of a batch.
        trials: of each step.
        network: that is split over the modules.
        loops: how settling scales with bandwidth.
        variants: technologies by name.
        study: what is varied.
    """

    schema_version: int = Field(alias="schema", ge=1, le=1)
    kind: Literal["roadmap_modules"]
    name: str = Field(min_length=1)
    describes: str = Field(min_length=1)
    machine: str = Field(min_length=1)
    serial: int = Field(ge=0, lt=2**63)
    samples: Number
    trials: int = Field(default=1, ge=1, le=1000)
    seed: int = Field(ge=0, lt=2**63)
    parts: Sheets = Field(default={})
    diffusion: Diffusion
    timeline: Timeline = Timeline()
    network: NetworkTable
    loops: LoopsTable
    variants: dict[str, VariantTable] = Field(min_length=1, max_length=16)
    study: StudyTable
    solve: Solve = Solve()

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the trained models that are used."""
        return () if self.network.model is None else (self.network.model,)

    @property
    def named(self) -> dict[str, str]:
        """Files that are given by their paths, by key."""
        return {}

    @property
    def sheets(self) -> tuple[str, ...]:
        """Names of all sheets beside the machine's."""
        found = set(SHEETS.values())
        for one in self.variants.values():
            changes = (*one.parts.values(), *one.equipment.values())
            found |= {str(choice[SHEET]) for choice in changes if SHEET in choice}
            found |= {one.module} if one.module is not None else set()
        return tuple(sorted(found))

    def sheets_of(
        self, name: str, library: Library
    ) -> tuple[MachineSpec, dict[str, PartSpec], PartSpec | None]:
        """The machine's sheets of a variant, those beside it by role, and that of its projected module.

        Raises:
            InputError: anything wrong with them; names the variant.
        """
        table = self.variants[name]
        changes = {role: dict(choice) for role, choice in self.parts.items()}
        for role, choice in table.parts.items():
            changes[role] = {**changes.get(role, {}), **choice}
        try:
            machine = library.machine(self.machine, changes)
            beside = equipment_sheets(library, table.equipment)
            module = None
            if table.module is not None:
                module = part_for("module", table.module, ("module",), library.part)
        except InputError as error:
            key = "module" if error.key == "parts.module" else error.key
            raise InputError(
                error.problem,
                file=error.file,
                key=f"variants.{name}.{key}",
                got=error.got,
                allowed=error.allowed,
                nearest=error.nearest,
            ) from None
        return machine, beside, module

    @model_validator(mode="after")
    def _names_variants(self) -> RoadmapModules:
        told = {"study.drawn_variant": self.study.drawn_variant}
        if self.study.loads:
            told["study.loaded_variant"] = self.study.loaded_variant
        for key, name in told.items():
            if name not in self.variants:
                raise unknown_name("variant", name, self.variants, key=key)
        if self.study.loads and self.variants[self.study.loaded_variant].memory == "digital":
            raise InputError(
                "a closed form of waiting holds where a sample stays on its ring",
                key="study.loaded_variant",
                got=self.study.loaded_variant,
                allowed="a variant with memory = sample_and_hold",
            )
        return self
