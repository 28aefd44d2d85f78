"""What scenarios of kind "quality_energy" say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.roadmap.split import OPENED
from aocsim.scenarios.roadmap.schema import Bandwidth, WithEquipment
from aocsim.scenarios.schema import Table
from aocsim.scenarios.studies.schema import Methods, OverSteps, Steps, StepsTable
from aocsim.spec import PartSpec, part_for


class LoopsTable(Table):
    """Table [loops]: how settling scales with bandwidth, as `aocsim.roadmap.modules.Loops`.

    Attributes:
        alpha: relaxation of the median channel.
        radius: spectral radius of the unrelaxed map.
    """

    alpha: float = Field(ge=0, lt=1)
    radius: float = Field(ge=0, lt=1)


class ProjectedTable(Table):
    """Table [study.projected.NAME].

    Attributes:
        module: sheet of the projected module.
        channels: of it.
        bandwidth: of its node, Hz.
        light: factor on its emitters' current. Its samples count as good as the machine's, so that it should be what
            holds an error as small as the machine's (`roadmap_single` tells it).
    """

    module: str = Field(min_length=1)
    channels: int = Field(ge=1, le=10**6)
    bandwidth: Bandwidth
    light: float = Field(default=1.0, gt=0, le=1000.0)


class QualityTable(StepsTable):
    """Table [study] of kind "quality_energy", beside what it shares with kind "steps".

    Attributes:
        within: how far a quality that counts as equal may be above the best one digitally, as a share of it.
        draws: machines that are drawn from the sheets' spreads.
        projected: modules that energies are projected for, by name.
    """

    steps: Steps = (4, 8, 16, 32, 64)
    machine_steps: Steps = (4, 8, 16, 32, 64)
    methods: Methods = ("explicit_euler", "implicit_euler", "crank_nicolson")
    machine_methods: Methods | None = ("implicit_euler", "crank_nicolson")
    settling: bool = True
    within: float = Field(default=0.1, gt=0, le=10.0)
    draws: int = Field(default=64, ge=2, le=10_000)
    projected: dict[str, ProjectedTable] = Field(default={})

    @model_validator(mode="after")
    def _has_two_sides(self) -> QualityTable:
        for key, told, methods, wanted in (
            ("study.methods", "an explicit method digitally", self.methods, True),
            ("study.machine_methods", "an implicit method on the machine", self.on_machine, False),
        ):
            if not any((method in OPENED) == wanted for method in methods):
                raise InputError(f"holds not {told}", key=key, got=methods)
        if not self.settling:
            raise InputError(
                "the energy of a solve is paid by its settling time",
                key="study.settling",
                got=False,
                allowed="true",
            )
        return self


class QualityEnergy(OverSteps, WithEquipment):
    """Energy at equal quality: explicit diffusion digitally against implicit diffusion on the machine.

    Attributes:
        study: table of this kind.
        loops: how settling scales with bandwidth.
    """

    kind: Literal["quality_energy"]
    study: QualityTable = QualityTable()
    loops: LoopsTable

    @property
    def sheets(self) -> tuple[str, ...]:
        """Names of all sheets beside the machine's."""
        return tuple(sorted({*super().sheets, *(one.module for one in self.study.projected.values())}))

    def module_sheets(self, library: Library) -> dict[str, PartSpec]:
        """Sheets of the projected modules, by the projections' names.

        Raises:
            InputError: no such sheet, or one of another law.
        """
        found = {}
        for name, one in self.study.projected.items():
            try:
                found[name] = part_for("module", one.module, ("module",), library.part)
            except InputError as error:
                raise InputError(
                    error.problem,
                    file=error.file,
                    key=f"study.projected.{name}.module",
                    got=error.got,
                    allowed=error.allowed,
                    nearest=error.nearest,
                ) from None
        return found
