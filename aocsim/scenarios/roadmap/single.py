"""Kind "roadmap_single": ledger of a machine, projected modules, and limits with scale."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.record import assemble
from aocsim.roadmap import operations
from aocsim.roadmap.assumptions import Assumption, assumptions_of, first_forbidden
from aocsim.roadmap.chain import Chain, Weights
from aocsim.roadmap.equipment import equipment_of, module_of
from aocsim.roadmap.noise import SOURCES, WHITE, variances
from aocsim.roadmap.paths import batch_for, passages
from aocsim.roadmap.projection import Case, Projected, project, today
from aocsim.roadmap.settling import lags_of
from aocsim.roadmap.simulate import Simulated, simulate
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.roadmap import tables
from aocsim.scenarios.roadmap.prototype import MOST_EVALUATIONS, Prototype, prototype_of
from aocsim.scenarios.roadmap.record import equipment_record
from aocsim.scenarios.roadmap.schema import RoadmapSingle
from aocsim.spec import MachineSpec, PartSpec
from aocsim.units import format_si

if TYPE_CHECKING:
    import xarray


Array = NDArray[np.float64]

DRAWS = 64  # of a projected module's numbers within their spreads


@dataclass(frozen=True, eq=False)
class Mapped:
    """Everything that is computed.

    Attributes:
        prototype: the machine as it is.
        case: how loops are run.
        own: the machine's own parts, [channels][bandwidth].
        projected: modules, by sheet, [channels][bandwidth].
        whole: each module at its full size, by sheet, [bandwidth].
        drawn: power of the first module at its full size and the first bandwidth with the light that holds the error,
            its numbers drawn within their spreads, (DRAWS,) W.
        assumptions: of the first module at the published size, [bandwidth].
        simulated: in the time domain.
        formula: the same by formula, V^2.
        sheets: of the modules.
    """

    prototype: Prototype
    case: Case
    own: list[list[Projected]]
    projected: dict[str, list[list[Projected]]]
    whole: dict[str, list[Projected]]
    drawn: Array
    assumptions: list[tuple[Assumption, ...]]
    simulated: list[Simulated]
    formula: list[float]
    sheets: dict[str, PartSpec]


def map_out(
    scenario: RoadmapSingle, library: Library, progress: Callable[[int], object] = lambda solves: None
) -> Mapped:
    """Compute everything.

    Raises:
        AocsimError: anything impossible; what is refused without simulation is refused first.
    """
    table = scenario.roadmap
    spec = library.machine(scenario.machine, scenario.parts)
    sheets = scenario.module_sheets(library)
    modules = {name: module_of(sheet) for name, sheet in sheets.items()}
    weights = Weights(table.radius, table.weight_rms)
    nominal = Machine.build(spec, serial=None)
    equipment = equipment_of(nominal, scenario.equipment_sheets(library))
    rough = Case(table.alpha, weights, 1.0, 1.0, table.nrmse)
    # refused before the simulation, which takes longer
    today(nominal, equipment, rough, table.channels[0], table.bandwidths[-1])
    for name, module in modules.items():
        project(nominal, module, sheets[name], rough, table.channels[0], table.projected_bandwidths[-1])
    found = prototype_of(scenario, library, progress)
    case = Case(table.alpha, weights, found.span, found.signal, table.nrmse)
    own = [[today(nominal, equipment, case, n, f) for f in table.bandwidths] for n in table.channels]

    def over(name: str, n: int) -> list[Projected]:
        return [project(nominal, modules[name], sheets[name], case, n, f) for f in table.projected_bandwidths]

    first = next(iter(modules))
    published = equipment.published
    meeting = [
        assumptions_of(nominal, modules[first], published, one, case, found.setup.network.depth)
        for one in over(first, round(published.channels))
    ]
    size, slowest = modules[first].most_channels, table.projected_bandwidths[0]
    drawn = np.array(
        [
            project(nominal, module_of(sheets[first], k), sheets[first], case, size, slowest).power(held=True)
            for k in range(DRAWS)
        ]
    )
    simulated = [
        simulate(
            spec,
            n,
            weights,
            table.alpha,
            bandwidth=found.bandwidth,
            seed=scenario.seed,
            matrices=table.matrices,
            threads=scenario.solve.threads or 1,
        )
        for n in table.simulated
    ]
    chain = Chain.of(nominal)
    formula = [
        sum(variances(chain, nominal.slm, case.at(n, found.bandwidth))[source] for source in WHITE)
        for n in table.simulated
    ]
    return Mapped(
        prototype=found,
        case=case,
        own=own,
        projected={name: [over(name, n) for n in table.channels] for name in modules},
        whole={name: over(name, module.most_channels) for name, module in modules.items()},
        drawn=drawn,
        assumptions=meeting,
        simulated=simulated,
        formula=formula,
        sheets=sheets,
    )


def execute(
    scenario: RoadmapSingle, library: Library, progress: Callable[[int], object] = lambda solves: None
) -> tuple[MachineSpec, xarray.Dataset]:
    """Run the scenario.

    Returns:
        The machine's sheets, and the result.

    Raises:
        AocsimError: as `map_out`.
    """
    began = time.perf_counter()
    found = map_out(scenario, library, progress)
    table, prototype = scenario.roadmap, found.prototype
    names = list(found.projected)
    channels, own_f, far_f = table.channels, table.bandwidths, table.projected_bandwidths
    variables: tables.Columns = tables.ledger_table(prototype)
    variables |= tables.grid_of(found.own, ("channels", "bandwidth"), "own", (len(channels), len(own_f)))
    variables |= tables.grid_of(
        [row for rows in found.projected.values() for row in rows],
        ("module", "channels", "projected_bandwidth"),
        "projected",
        (len(names), len(channels), len(far_f)),
    )
    variables |= tables.light_table(prototype, found.case, channels, table.light)
    path = module_of(found.sheets[names[0]]).path_length
    variables |= tables.settling_table(prototype, found.case, path)
    variables |= tables.assumption_table(found.assumptions)
    machine, steps = prototype.machine, scenario.diffusion.solves
    devices = {scenario.machine: (machine.slm.frame_time + machine.slm.settling_time, prototype.settling)}
    devices |= {
        name: (module_of(sheet).frame_time, found.whole[name][0].settling.time)
        for name, sheet in found.sheets.items()
    }
    ways = passages(machine, prototype.setup.spec, prototype.equipment, steps, prototype.signal)
    variables |= tables.path_table(devices, table.batches, steps, ways)
    variables |= tables.simulation_table(found.simulated, found.formula)
    coordinates: tables.Columns = {
        name: variables.pop(name)
        for name in (
            "counted_part", "lags", "lagging", "node_bandwidth", "assumption", "device", "batch", "way",
            "simulated_channels",
        )
    }  # fmt: skip
    coordinates |= {
        "channels": (("channels",), np.array(channels), "1", "channels n"),
        "bandwidth": (("bandwidth",), np.array(own_f), "Hz", "bandwidth of the node, machine's own parts"),
        "projected_bandwidth": (("projected_bandwidth",), np.array(far_f), "Hz", "bandwidth of the node"),
        "module": (("module",), np.array(names), "1", "sheet of the projected module"),
        "source": (("source",), np.array(SOURCES), "1", "source of error"),
        "light_factor": (("light_factor",), np.array(table.light), "1", "factor on all light"),
    }
    summary = summary_of(scenario, found) | {
        f"loading_batch_10_percent.{name}": batch_for(load, steps, step)
        for name, (load, step) in devices.items()
    }
    summary |= {f"passage_us.{one.way}": one.time * 1e6 for one in ways} | {
        f"passage_error_mv.{one.way}": one.error * 1e3 for one in ways
    }
    attributes = attributes_of(
        scenario,
        prototype.setup.spec,
        notes=notes_of(scenario, found),
        summary=summary,
        wall_seconds=time.perf_counter() - began,
    )
    attributes |= {
        "published_efficiency": prototype.equipment.published.efficiency,
        "reference_efficiency": prototype.equipment.reference.efficiency,
        "span_v": prototype.span,
        "signal_v": prototype.signal,
        "own_bandwidth_hz": prototype.bandwidth,
    }
    attributes["equipment_record"] = equipment_record({**prototype.equipment.sheets, **found.sheets})
    return prototype.setup.spec, assemble(variables, coordinates, attributes)


def summary_of(scenario: RoadmapSingle, found: Mapped) -> dict[str, float | None]:
    """Flat figures; bandwidths in their names are in GHz.

    Conventions: `gops` and `tops_per_watt` count 2 N^2 per 1/f_3dB, `useful` ones the evaluations that a solve replaces
    times nonzero weights times 2 per settling time.
    """
    prototype, ledger = found.prototype, found.prototype.ledger
    rate, settling = prototype.rate, prototype.settling
    emitters = ledger.analog_by_consumer["emitters"]
    published = prototype.equipment.published
    out: dict[str, float | None] = {
        "prototype_gops": rate / 1e9,
        "prototype_gops_per_tau": operations.rate_by_time_constant(
            prototype.machine.channels, prototype.bandwidth
        )
        / 1e9,
        "prototype_led_nj_per_op": emitters / rate * 1e9,
        "prototype_nj_per_op": ledger.analog_power / rate * 1e9,
        "prototype_analog_w": ledger.analog_power,
        "useful_gops": operations.useful_rate(prototype.evaluations, prototype.weights, settling) / 1e9,
        "useful_led_nj_per_op": emitters * settling / prototype.useful * 1e9,
        "useful_nj_per_op": ledger.settling_energy(settling) / prototype.useful * 1e9,
        "reference_nj_per_op": prototype.equipment.reference.energy(1.0) * 1e9,
        "evaluations_per_solve": prototype.evaluations,
        "nonzero_weights": prototype.weights,
        "settling_us": settling * 1e6,
        "alpha_median": prototype.alpha,
        "analog_energy_per_solve_j": ledger.settling_energy(settling),
        "energy_per_solve_j": ledger.per_solve(),
        "energy_per_step_j": ledger.per_step(),
        "energy_per_sample_j": ledger.energy(),
        "energy_per_sample_always_on_j": ledger.energy(idle=True),
    }
    first = next(iter(found.projected))
    for row in found.projected[first]:
        for one in row:
            place = f"{one.channels}.{one.bandwidth / 1e9:g}"
            out[f"tops_per_watt.{place}"] = one.efficiency() / 1e12
            out[f"tops_per_watt_held.{place}"] = one.efficiency(held=True) / 1e12
            out[f"nrmse.{place}"] = one.nrmse
            out[f"light_held.{place}"] = one.light
    for one, rows in zip(found.whole[first], found.assumptions, strict=True):
        place = f"{one.bandwidth / 1e9:g}"
        out[f"step_ns.{place}"] = one.settling.time * 1e9
        out[f"published_step_ns.{place}"] = published.step(one.bandwidth) * 1e9
        out[f"assumptions_met.{place}"] = sum(row.verdict == "met" for row in rows)
    for name, over in found.whole.items():
        count = math.ceil(published.weights / over[0].channels ** 2)
        suffix = "" if name == first else f".{name}"
        out[f"modules_100m{suffix}"] = count
        out[f"power_w_100m{suffix}"] = count * over[0].power()
        out[f"power_w_100m_held{suffix}"] = count * over[0].power(held=True)
    drawn = math.ceil(published.weights / found.whole[first][0].channels ** 2) * found.drawn
    out["power_w_100m_held_low"], out["power_w_100m_held_high"] = map(float, np.percentile(drawn, (16, 84)))
    out["published_modules_100m"] = published.modules
    out["published_power_w_100m"] = published.total_power
    for simulated, formula in zip(found.simulated, found.formula, strict=True):
        out[f"noise_formula_over_simulated.{simulated.channels}"] = math.sqrt(formula / simulated.drawn)
    return out


def notes_of(scenario: RoadmapSingle, found: Mapped) -> list[str]:
    """What a reader has to know: conventions, what is beyond a sheet, and what physics forbids."""
    published = found.prototype.equipment.published
    out = [
        "operations are counted as 2 N^2 per 1/f_3dB; useful ones as evaluations that a solve replaces times nonzero "
        "weights times 2 per settling time",
        f"figures of projected modules in the summary are those of {next(iter(found.projected))}; bandwidths in GHz",
        "energies and projections are of the nominal machine, settling times of the simulated one",
    ]
    if found.prototype.unreached:
        out.append(
            f"digital iteration does not come within 1 % of the limit in {found.prototype.unreached:.0%} of the "
            f"solves, which count as {MOST_EVALUATIONS} evaluations: useful operations are those of a poor algorithm"
        )
    for one, rows in zip(found.whole[next(iter(found.whole))], found.assumptions, strict=True):
        first = first_forbidden(rows)
        for broken in [row for row in rows if row.name == first]:
            unit = {"s": "second", "W": "watt", "Hz": "hertz"}.get(broken.unit, "dimensionless")
            first += f" ({format_si(broken.bound, unit)}, where it needs {format_si(broken.needed, unit)})"
        open_rows = [row.name for row in rows if row.verdict == "beyond the sheets"]
        out.append(
            f"{published.efficiency / 1e12:g} TOPS/W at {one.bandwidth / 1e9:g} GHz: physics "
            + (f"forbids: {first}" if first else "forbids nothing of it")
            + (f"; beyond the sheets: {', '.join(open_rows)}" if open_rows else "")
        )
    lags = list(lags_of(found.prototype.machine, module_of(next(iter(found.sheets.values()))).path_length))
    out.append(f"what limits the machine's own loop, slowest first: {', '.join(lags)}")
    bias = found.prototype.setup.spec.parts["led"]["bias_current"]
    current, (low, high) = float(bias.value), bias.valid
    allowed = f"{format_si(low, 'ampere', 4)} to {format_si(high, 'ampere', 4)}"
    out += [
        f"computed beyond a sheet: {factor:g} times the light, {format_si(factor * current, 'ampere', 4)} an emitter, "
        f"where parts.led.bias_current allows {allowed}"
        for factor in scenario.roadmap.light
        if not low <= factor * current <= high
    ]
    marked: dict[str, set[float]] = {}
    for grid in (found.own, *found.projected.values()):
        for row in grid:
            for one in row:
                for mark in one.marks:
                    marked.setdefault(mark, set()).add(one.bandwidth)
    return out + [
        f"computed beyond a sheet at {', '.join(format_si(f, 'hertz') for f in sorted(over))}: {mark}"
        for mark, over in marked.items()
    ]
