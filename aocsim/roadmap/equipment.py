"""What stands beside a machine where energies are counted: controller, switch, references, projected modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aocsim.asbuilt import AsBuilt
from aocsim.components import registry
from aocsim.components.controller import Controller
from aocsim.components.module import ProjectedModule
from aocsim.components.processor import Processor
from aocsim.components.published import Published
from aocsim.components.switch import Switch
from aocsim.errors import InputError, unknown_name
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.spec import SHEET, PartSpec, Text, part_for

SHEETS: Mapping[str, str] = {
    "controller": "controller",
    "switch": "switch",
    "reference": "gpu_reference",
    "published": "roadmap_published",
}
"""Role -> the sheet that fills it where a scenario names no other."""


@dataclass(frozen=True)
class Equipment:
    """Built from sheets.

    Attributes:
        controller: sequencer and host.
        switch: crosspoints that close the loop.
        reference: digital processor that energies are compared with.
        published: projection that a bottom-up one is put beside.
        sheets: role -> sheet.
    """

    controller: Controller
    switch: Switch
    reference: Processor
    published: Published
    sheets: Mapping[str, PartSpec]


def equipment_sheets(
    library: Library, changes: Mapping[str, Mapping[str, Text]] | None = None
) -> dict[str, PartSpec]:
    """Sheets by role.

    Args:
        library: where they are found.
        changes: by role: `sheet` names another sheet, all other keys are `PartSpec.with_overrides`'s.

    Raises:
        InputError: unknown role or sheet, a sheet of another law, or a wrong entry.
    """
    wanted = dict(changes or {})
    for role in wanted:
        if role not in SHEETS:
            raise unknown_name("role of the equipment", role, SHEETS, key=f"equipment.{role}")
    found = {}
    for role, sheet in SHEETS.items():
        choice = dict(wanted.get(role, {}))
        name = choice.pop(SHEET, sheet)
        laws = tuple(law for law, one in registry.EQUIPMENT.items() if one.role == role)
        part = part_for(role, str(name), laws, library.part)
        found[role] = part.with_overrides(choice, f"equipment.{role}")
    return found


def equipment_of(machine: Machine, sheets: Mapping[str, PartSpec]) -> Equipment:
    """The equipment of one machine, drawn like its parts.

    Args:
        machine: whose name and serial the draws hang on.
        sheets: as `equipment_sheets` gives them.
    """
    built = {
        role: registry.build(AsBuilt(sheet, machine.name, role, machine.serial, machine.channels))
        for role, sheet in sheets.items()
    }
    return Equipment(**built, sheets=dict(sheets))


def module_of(sheet: PartSpec, serial: int | None = None) -> ProjectedModule:
    """A projected module by its sheet.

    Args:
        sheet: of law "module".
        serial: draws its numbers within their spreads, which say how little is known; None takes them as they are.

    Raises:
        InputError: a sheet of another law.
    """
    if sheet.law != "module":
        raise InputError("is no sheet of a projected module", key=f"modules.{sheet.name}", got=sheet.law)
    built = registry.build(AsBuilt(sheet, sheet.name, "module", serial, 1))
    assert isinstance(built, ProjectedModule)
    return built
