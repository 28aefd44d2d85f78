"""Scenario kind "quality_energy": W2 of kind "steps" against the energy that each setting takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from aocsim.bench import spacing_of
from aocsim.diffusion.methods import solves_per_step
from aocsim.diffusion.network import load_network
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.live import Live
from aocsim.machine import Machine
from aocsim.record import assemble
from aocsim.roadmap.equipment import Equipment, equipment_of, module_of
from aocsim.roadmap.ledger import Ledger, ledger
from aocsim.roadmap.modules import Loops, Technology
from aocsim.roadmap.operations import rate_by_bandwidth
from aocsim.roadmap.projection import beyond_module
from aocsim.roadmap.quality import operations_of
from aocsim.roadmap.settling import refuse_beyond
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.roadmap.quality_gains import ACCOUNTS, Energies, compared
from aocsim.scenarios.roadmap.quality_schema import ProjectedTable, QualityEnergy
from aocsim.scenarios.sample import with_record
from aocsim.scenarios.studies import cases
from aocsim.scenarios.studies import steps as over_steps
from aocsim.scenarios.studies.found import Found
from aocsim.spec import MachineSpec, PartSpec
from aocsim.timeline import schedule

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]
Made = TypeVar("Made")


def execute(
    scenario: QualityEnergy, library: Library, progress: Callable[[int], object] = lambda solves: None
) -> tuple[MachineSpec, xarray.Dataset]:
    """Run it.

    Args:
        scenario: validated.
        library: of sheets and models.
        progress: called with the number of solves as they are done.

    Returns:
        The machine's sheets, and the result.

    Raises:
        InputError: a projected bandwidth that a part cannot follow, or a part that does not state its power.
        AocsimError: nothing is possible on the machine.
    """
    began = time.perf_counter()
    spec = library.machine(scenario.machine, scenario.parts)
    sheets, modules = scenario.equipment_sheets(library), scenario.module_sheets(library)
    _check_before(scenario, spec, sheets, modules)
    found = over_steps.execute(scenario, library, progress)
    energies = _energies(scenario, library, spec, sheets, modules, found)
    columns, coordinates, summary, notes = compared(scenario, found, energies)
    marks = {
        name: beyond_module(modules[name], module_of(modules[name]), one.channels, one.light)
        for name, one in scenario.study.projected.items()
    }
    notes += [f"{name}: computed beyond a sheet: {mark}" for name, here in marks.items() for mark in here]
    columns["projected_beyond"] = (
        ("projection",), np.array([float(bool(here)) for here in marks.values()]), "1",
        "1 where something is beyond a sheet's valid range or does not fit",
    )  # fmt: skip
    attributes = attributes_of(
        scenario,
        spec,
        notes=[*found.notes, *notes],
        summary=summary,
        wall_seconds=time.perf_counter() - began,
    ) | {"solver_nfev": found.evaluations, "knowledge": str(scenario.compile.knowledge)}
    return spec, assemble(found.variables | columns, found.coordinates | coordinates, attributes)


def _check_before(
    scenario: QualityEnergy,
    spec: MachineSpec,
    sheets: Mapping[str, PartSpec],
    modules: Mapping[str, PartSpec],
) -> None:
    """Refuse what would be refused after hours."""
    machine = Machine.build(spec, scenario.serial)
    equipment = equipment_of(machine, sheets)
    ledger(machine, equipment, schedule(machine, steps=1, trials=1))
    for name, one in scenario.study.projected.items():
        _projection(
            one, modules[name], None, machine, equipment, scenario, f"study.projected.{name}.bandwidth"
        )


def _projection(
    one: ProjectedTable,
    sheet: PartSpec,
    serial: int | None,
    machine: Machine,
    equipment: Equipment,
    scenario: QualityEnergy,
    key: str = "bandwidth",
) -> tuple[float, Callable[[float], float]]:
    """Factor on settling times, and power in W of a module for the time in s of a solve."""
    module = module_of(sheet, serial)
    technology = Technology(machine, equipment.switch, module, one.bandwidth)
    refuse_beyond(technology.limits(1), one.bandwidth, key)
    loops = Loops(scenario.loops.alpha, scenario.loops.radius)
    plain = Technology(machine, equipment.switch)
    factor = technology.settling(loops, crossbar=False) / plain.settling(loops, crossbar=False)

    def power(step: float) -> float:
        return float(sum(load.value for load in module.power(one.channels, one.bandwidth, step, one.light)))

    return factor, power


def _energies(
    scenario: QualityEnergy,
    library: Library,
    spec: MachineSpec,
    sheets: Mapping[str, PartSpec],
    modules: Mapping[str, PartSpec],
    found: Found,
) -> Energies:
    study = scenario.study
    networks = [load_network(library.model_path(model).with_suffix(".nc")) for model in scenario.models]
    weights = np.array(
        [sum(np.count_nonzero(w) for w in network.weights) for network in networks], dtype=float
    )
    units = np.array([network.units for network in networks], dtype=float)
    built = with_record(Machine.build(spec, scenario.serial), scenario.of(scenario.models[0]))
    equipment = equipment_of(built, sheets)
    evaluations = np.asarray(found.variables["digital_evaluations"][1])
    operations = 2 * evaluations * weights[:, None, None, None]
    each = equipment.reference.energy(1.0)
    settling = np.asarray(found.variables["machine_settling"][1])  # (model, scheme, machine steps)
    solves = np.array(
        [[steps * solves_per_step(method) for steps in study.machine_steps] for method in study.methods]
    )
    halves = np.array(
        [
            [steps if method == "crank_nicolson" else 0 for steps in study.machine_steps]
            for method in study.methods
        ]
    )
    beside = halves * each * np.array([operations_of(1, int(k)) for k in weights])[:, None, None]
    timelines = {
        int(count): schedule(
            built,
            steps=int(count),
            trials=scenario.trials,
            trial_spacing=spacing_of(Live.of(built, scenario.seed), scenario.timeline.trial_spacing),
            memory=scenario.timeline.memory,
        )
        for count in np.unique(solves)
    }
    machine = np.empty((study.draws, len(ACCOUNTS), *settling.shape))
    filled = (weights / units**2)[None, :] * np.array(
        [[one.channels**2] for one in study.projected.values()]
    ).reshape(-1, 1)
    projected = np.empty((study.draws, len(modules), *settling.shape))

    def of_serial(serial: int) -> tuple[Machine, Equipment]:
        own = with_record(Machine.build(spec, serial), scenario.of(scenario.models[0]))
        return own, equipment_of(own, sheets)

    for k, (own, own_equipment) in enumerate(_drawn(of_serial, scenario.serial, study.draws)):
        ledgers = {n: ledger(own, own_equipment, line, scenario.samples) for n, line in timelines.items()}
        machine[k] = _of_machine(ledgers, solves, settling) + beside
    by_bandwidth = np.full(len(modules), np.nan)
    for j, (name, one) in enumerate(study.projected.items()):

        def of_module(
            serial: int | None, one: ProjectedTable = one, sheet: PartSpec = modules[name]
        ) -> tuple[float, Callable[[float], float]]:
            return _projection(one, sheet, serial, built, equipment, scenario)

        # the nominal one first
        drawn = [of_module(None), *_drawn(of_module, scenario.serial, study.draws - 1)]
        for k, (factor, power) in enumerate(drawn):
            time_of = factor * settling
            if k == 0:
                efficiency = rate_by_bandwidth(one.channels, one.bandwidth) / power(
                    float(np.nanmedian(time_of))
                )
                by_bandwidth[j] = efficiency * each
            one_solve = time_of * np.vectorize(power)(time_of)
            scale = (filled[j] / weights)[:, None, None]
            projected[k, j] = solves * scenario.trials * one_solve + scale * beside
    return Energies(operations * each, machine, projected, weights, filled, by_bandwidth)


def _drawn(build: Callable[[int], Made], first: int, count: int) -> list[Made]:
    """Things of the serials from `first` on, those left out that a sheet's wide spread throws out of its valid range.

    Raises:
        InputError: more are refused than are wanted.
    """
    out: list[Made] = []
    refused = 0
    while len(out) < count:
        try:
            out.append(build(first + len(out) + refused))
        except InputError:
            refused += 1
            if refused > count:
                raise
    return out


def _of_machine(ledgers: Mapping[int, Ledger], solves: NDArray[np.int64], settling: Array) -> Array:
    """J by account, model, scheme and steps."""
    out = np.empty((len(ACCOUNTS), *settling.shape))
    for place, count in np.ndenumerate(solves):
        one = ledgers[int(count)]
        for model in range(len(settling)):
            seconds = settling[(model, *place)]
            paid = one.solves * one.settling_energy(seconds) if np.isfinite(seconds) else np.nan
            out[(slice(None), model, *place)] = paid, one.energy(), one.energy(idle=True)
    return out


def solves_of(scenario: QualityEnergy) -> int:
    """Number of solves on the machine."""
    return cases.solves_of(over_steps.cases_of(scenario))
