"""Scenario kind "roadmap_modules": batches on rings of modules, against how many there are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.bench import spacing_of
from aocsim.diffusion.network import load_network
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.live import Live
from aocsim.machine import Machine
from aocsim.record import Variables, assemble
from aocsim.roadmap.batches import Batch, run_batch
from aocsim.roadmap.equipment import equipment_of, module_of
from aocsim.roadmap.modules import Loops, Technology, rings_with
from aocsim.roadmap.projection import beyond_module, beyond_panel
from aocsim.roadmap.queueing import mean_wait, waits
from aocsim.roadmap.rings import Rings, Shared
from aocsim.roadmap.split import Split, split
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.roadmap.modules_schema import RoadmapModules, VariantTable
from aocsim.seeds import stream
from aocsim.spec import MachineSpec

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

RESOURCES = ("loop", "switch", "dac", "digitiser", "memory", "host", "slm")
"""Of which the utilisation is told."""

PARTS = 10  # of the arrivals, whose means scatter as their common mean's error says
WARM = 0.1  # of the arrivals: those before are not counted, the queue being empty at first


@dataclass(frozen=True, eq=False)
class _Variant:
    """A technology with everything built."""

    table: VariantTable
    technology: Technology
    spacing: float
    marks: tuple[str, ...]

    def rings(self, scenario: RoadmapModules, found: Split, modules: int, key: str, name: str) -> Rings:
        """So many modules.

        Raises:
            InputError: as `rings_with`; names the variant.
        """
        try:
            return rings_with(
                self.technology,
                found,
                modules,
                Loops(scenario.loops.alpha, scenario.loops.radius),
                shared=Shared(**self.table.shared.model_dump()),
                in_flight=self.table.in_flight,
                double_buffered=self.table.double_buffered,
                key=key,
            )
        except InputError as error:
            if error.key != "bandwidth":
                raise
            raise InputError(
                error.problem, key=f"variants.{name}.bandwidth", got=error.got, allowed=error.allowed
            ) from None

    def batch(
        self, scenario: RoadmapModules, rings: Rings, samples: int, arrivals: Array | None = None
    ) -> Batch:
        """A batch on these rings."""
        return run_batch(
            rings,
            samples=samples,
            steps=scenario.diffusion.solves,
            trials=scenario.trials,
            trial_spacing=self.spacing,
            memory=self.table.memory,
            read=self.table.read,
            arrivals=None if arrivals is None else [float(t) for t in arrivals],
        )


def execute(
    scenario: RoadmapModules, library: Library, progress: Callable[[int], object] = lambda runs: None
) -> tuple[MachineSpec, xarray.Dataset]:
    """Run it.

    Args:
        scenario: validated.
        library: of sheets and models.
        progress: called with the number of batches as they are done.

    Returns:
        The machine's sheets, and the result.

    Raises:
        InputError: no module, too few for the network, a bandwidth that a part cannot follow, or anything wrong with
            the sheets.
    """
    began = time.perf_counter()
    found = split(widths_of(scenario, library), scenario.study.channels, scenario.diffusion.method)
    variants = {name: _built(scenario, library, name) for name in scenario.variants}
    study = scenario.study
    plans = {
        name: [one.rings(scenario, found, modules, "study.modules", name) for modules in study.modules]
        for name, one in variants.items()
    }
    drawn_plan = variants[study.drawn_variant].rings(
        scenario, found, study.drawn, "study.drawn", study.drawn_variant
    )
    columns, summary = _over_modules(scenario, found, variants, plans, progress)
    drawn = variants[study.drawn_variant].batch(
        scenario, drawn_plan, min(scenario.samples, 2 * drawn_plan.rings * drawn_plan.in_flight)
    )
    progress(1)
    columns = {**columns, **_events(drawn)}
    columns["beyond"] = (
        ("variant",), np.array([float(bool(one.marks)) for one in variants.values()]), "1",
        "1 where something is beyond a sheet's valid range or does not fit",
    )  # fmt: skip
    coordinates: Variables = {
        "variant": (("variant",), np.array(list(variants)), "1", "technology"),
        "modules": (("modules",), np.array(study.modules), "1", "modules in all"),
        "resource": (("resource",), np.array(RESOURCES), "1", "what is shared, or the rings' own"),
    }
    if study.loads:
        waiting, figures = _waiting(scenario, found, variants, progress)
        columns, summary = {**columns, **waiting}, summary | figures
        coordinates = {
            **coordinates,
            "load": (
                ("load",),
                np.array(study.loads),
                "1",
                "samples that arrive over those that rings can take",
            ),
        }
    spec = library.machine(scenario.machine, scenario.parts)
    notes = [
        f"the network has {found.weights:.4g} weights in {len(found.widths)} layers; a ring takes {found.count} "
        f"modules of {found.channels} channels, {found.fill:.0%} full",
        *(
            f"{name}: {one.table.tells}; {_enough(scenario, plans[name][0], one.table)}"
            for name, one in variants.items()
        ),
        *(f"{name}: computed beyond a sheet: {mark}" for name, one in variants.items() for mark in one.marks),
    ]
    attributes = attributes_of(
        scenario, spec, notes=notes, summary=summary, wall_seconds=time.perf_counter() - began
    ) | {
        "variant_tells": "\n".join(one.table.tells for one in variants.values()),
        "modules_per_ring": found.count,
    }
    return spec, assemble(columns, coordinates, attributes)


def widths_of(scenario: RoadmapModules, library: Library) -> tuple[int, ...]:
    """Blocks of the network that is split.

    Raises:
        InputError: no such model.
    """
    if scenario.network.widths is not None:
        return scenario.network.widths
    assert scenario.network.model is not None
    return load_network(library.model_path(scenario.network.model).with_suffix(".nc")).layout


def runs_of(scenario: RoadmapModules) -> int:
    """Number of batches."""
    return len(scenario.variants) * len(scenario.study.modules) + 1 + len(scenario.study.loads)


def _built(scenario: RoadmapModules, library: Library, name: str) -> _Variant:
    table = scenario.variants[name]
    spec, beside, sheet = scenario.sheets_of(name, library)
    # durations are the same whatever the number of channels
    machine = Machine.build(spec, scenario.serial)
    module = None if sheet is None else module_of(sheet)
    wanted = scenario.timeline.trial_spacing
    if module is not None and wanted is None:
        wanted = 0.0  # nobody knows the flicker of panels that are not there yet
    spacing = spacing_of(Live.of(machine, scenario.seed), wanted)
    technology = Technology(machine, equipment_of(machine, beside).switch, module, table.bandwidth)
    channels = scenario.study.channels
    if module is None or sheet is None:
        marks = beyond_panel(machine, channels)
    else:
        marks = beyond_module(sheet, module, channels)
    return _Variant(table, technology, spacing, tuple(marks))


def _enough(scenario: RoadmapModules, rings: Rings, table: VariantTable) -> str:
    enough = rings.enough(scenario.diffusion.solves, table.memory, table.read)
    if math.isinf(enough):
        return "nothing that rings share sets their pace"
    return f"more than {rings.modules * enough:.0f} modules do not help"


def _over_modules(
    scenario: RoadmapModules,
    found: Split,
    variants: Mapping[str, _Variant],
    plans: Mapping[str, list[Rings]],
    progress: Callable[[int], object],
) -> tuple[Variables, dict[str, float]]:
    shape = (len(variants), len(scenario.study.modules))
    rate, closed, latency, useful = (np.full(shape, np.nan) for _ in range(4))
    loading = np.full(shape, np.nan)
    use = np.full((*shape, len(RESOURCES)), np.nan)
    bottleneck = np.full(shape, "", dtype="<U12")
    enough = np.full(len(variants), np.nan)
    summary: dict[str, float] = {
        "modules_per_ring": float(found.count),
        "module_fill": found.fill,
        "weights": float(found.weights),
    }
    steps = scenario.diffusion.solves
    for i, (name, one) in enumerate(variants.items()):
        memory, read = one.table.memory, one.table.read
        for j, (modules, rings) in enumerate(zip(scenario.study.modules, plans[name], strict=True)):
            batch = one.batch(scenario, rings, scenario.samples)
            pace, what = rings.pace(steps, memory, read)
            rate[i, j], latency[i, j] = batch.throughput, float(np.mean(batch.latency))
            closed[i, j], bottleneck[i, j] = 1 / (pace * steps * scenario.trials), what
            small, _ = rings.pace(steps, memory, read, scenario.samples)
            useful[i, j] = 1 / (small * steps * scenario.trials)
            loading[i, j] = batch.load_time
            use[i, j] = [batch.utilisation.get(resource, np.nan) for resource in RESOURCES]
            summary |= {
                f"samples_per_s.{name}.{modules}": rate[i, j],
                f"latency_s.{name}.{modules}": latency[i, j],
            }
            progress(1)
        enough[i] = found.count * plans[name][0].enough(steps, memory, read)
        summary[f"modules_enough.{name}"] = float(enough[i])
        summary[f"solve_s.{name}"] = plans[name][0].solve
    axes = ("variant", "modules")
    told = "samples a second"
    columns: Variables = {
        "throughput": (axes, rate, "1/s", f"{told}, batch from loaded weights to its last record"),
        "throughput_closed_form": (axes, closed, "1/s", f"{told}, pace of a long batch by the slowest circuit"),
        "throughput_of_batch": (
            axes, useful, "1/s", f"{told}, that pace with no more samples under way than the batch has",
        ),
        "bottleneck": (axes, bottleneck, "1", "what sets that pace"),
        "latency": (axes, latency, "s", "mean time from the batch's begin to a sample's last record"),
        "load_time": (axes, loading, "s", "time until all modulators are loaded"),
        "utilisation": (
            (*axes, "resource"), use, "1",
            "share of the batch's time in which the resource works; modulators: of the loading",
        ),
        "modules_enough": (
            ("variant",), enough, "1", "modules from which on what they share sets the pace; inf for never",
        ),
    }  # fmt: skip
    return columns, summary


def _waiting(
    scenario: RoadmapModules,
    found: Split,
    variants: Mapping[str, _Variant],
    progress: Callable[[int], object],
) -> tuple[Variables, dict[str, float]]:
    """Samples that arrive at random, against M/D/c: a sample holds a ring for all of its steps."""
    study = scenario.study
    name = study.loaded_variant
    one = variants[name]
    rings = one.rings(scenario, found, study.loaded, "study.loaded", name)
    # arrivals queue before the rings, not before an admission
    rings = replace(rings, in_flight=study.arrivals)
    alone = one.batch(scenario, replace(rings, rings=1), 2)
    service = alone.begun[1] - alone.begun[0]
    pure = one.batch(scenario, rings, 1).latency[0]
    wait, error, same, closed = (np.full(len(study.loads), np.nan) for _ in range(4))
    counted = slice(int(WARM * study.arrivals), None)
    for k, load in enumerate(study.loads):
        rate = load * rings.rings / service
        rng = stream(scenario.seed, f"roadmap.arrivals.{load:g}")
        times = np.cumsum(rng.exponential(1 / rate, study.arrivals))
        batch = one.batch(scenario, rings, study.arrivals, times)
        waited = np.array(batch.latency)[counted] - pure
        parts = np.array([part.mean() for part in np.array_split(waited, PARTS)])
        wait[k], error[k] = parts.mean(), parts.std(ddof=1) / math.sqrt(len(parts))
        same[k] = waits(times, service, rings.rings)[counted].mean()
        closed[k] = mean_wait(rate, service, rings.rings)
        progress(1)
    columns: Variables = {
        "wait": (("load",), wait, "s", f"mean wait of samples that arrive at random, {name}"),
        "wait_error": (("load",), error, "s", "its standard error, from parts of the arrivals"),
        "wait_same_arrivals": (
            ("load",),
            same,
            "s",
            "mean wait of the same arrivals before servers of constant time",
        ),
        "wait_closed_form": (
            ("load",),
            closed,
            "s",
            "mean wait before as many servers, after endless arrivals",
        ),
    }
    return columns, {"service_s": service, "rings_loaded": float(rings.rings)}


def _events(batch: Batch) -> Variables:
    events = batch.events

    def integers(name: str) -> NDArray[np.int32]:
        return np.array([getattr(event, name) for event in events], dtype=np.int32)

    return {
        "event_start": (("event",), np.array([e.start for e in events]), "s", "start of the event"),
        "event_stop": (("event",), np.array([e.stop for e in events]), "s", "end of the event"),
        "event_resource": (("event",), np.array([e.resource for e in events]), "1", "resource in use"),
        "event_what": (("event",), np.array([e.what for e in events]), "1", "what happens"),
        "event_unit": (("event",), integers("unit"), "1", "which of the resources of this kind, from 0"),
        "event_sample": (("event",), integers("sample"), "1", "sample, -1 outside any"),
        "event_step": (("event",), integers("step") + 1, "1", "diffusion step, 0 outside any"),
        "event_trial": (("event",), integers("trial"), "1", "trial, -1 outside any"),
    }
