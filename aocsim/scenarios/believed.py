"""The machine that a network is trained through: nominal, calibrated, or a twin's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.spec import MachineSpec

if TYPE_CHECKING:
    from aocsim.calibration.sheet import Sheet
    from aocsim.diffusion.through import Programming
    from aocsim.diffusion.train import Recipe

KEY = "training.through"
WORDS = ("ideal", "nominal")
SHEETS, TWINS = (".nc",), (".yaml", ".yml")
ALLOWED = "ideal, nominal, or the path of a calibration (.nc) or of a twin's parameters (.yaml)"


def programming_of(plan: Recipe, spec: MachineSpec, library: Library) -> Programming | None:
    """What a recipe's `training.through` names; None for the activation alone.

    Args:
        plan: the recipe.
        spec: sheets of the machine that the recipe's activation is of.
        library: where sheets come from for what a calibration does not hold.

    Raises:
        InputError: neither a word nor a file that is known, or the file of another machine.
    """
    from aocsim.diffusion.through import Programming

    wanted = plan.training.through
    if wanted == "ideal":
        return None
    digest = hashlib.sha256(json.dumps([spec.sha256, wanted]).encode())
    for part in spec.parts.values():
        digest.update(f"{part.sha256} {sorted(part.overrides.items())}".encode())
    if wanted == "nominal":
        machine = Machine.build(spec, serial=None)
    elif wanted.endswith(SHEETS + TWINS):
        machine = _measured(Path(wanted), spec, library)
        digest.update(Path(wanted).read_bytes())
    else:
        raise InputError("is no machine to train through", key=KEY, got=wanted, allowed=ALLOWED)
    settings = plan.training
    return Programming(machine, spec, settings.steps, settings.beta, settings.alpha_min, digest.hexdigest())


def _measured(path: Path, spec: MachineSpec, library: Library) -> Machine:
    nominal = Machine.build(spec, serial=None)
    try:
        if path.suffix in SHEETS:
            from aocsim.calibration.sheet import read_sheet

            sheet = read_sheet(path)
            _refuse_another(sheet, spec, path)
            return sheet.machine(nominal, library)
        from aocsim.twin.build import checked_machine
        from aocsim.twin.format import read_measurement

        found = read_measurement(path)
        if found.channels != spec.channels:
            raise InputError(
                f"is the twin of another machine: {spec.name} has {spec.channels} channels",
                file=path,
                got=found.channels,
                allowed=str(spec.channels),
            )
        return checked_machine(found, name=spec.name, library=library)
    except InputError as error:
        raise error.located(key=KEY) if error.key is None else error from None


def _refuse_another(sheet: Sheet, spec: MachineSpec, path: Path) -> None:
    """A calibration says of which machine it is; one that does not is taken at its number of channels."""
    try:
        name = json.loads(sheet.attributes.get("machine_record", "{}"))["machine"]["sheet"]
    except (ValueError, KeyError, TypeError):
        return
    if name != spec.name:
        raise InputError("is the calibration of another machine", file=path, got=name, allowed=spec.name)
