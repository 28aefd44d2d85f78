"""Run a scenario from its name: validate, compute, write."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aocsim.errors import InputError
from aocsim.interrupts import raise_if_interrupted
from aocsim.library import Library
from aocsim.scenarios.calibration_schema import Calibration
from aocsim.scenarios.distributions_schema import Distributions
from aocsim.scenarios.load import Study, load_scenario
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.scenarios.roadmap.modules_schema import RoadmapModules
from aocsim.scenarios.roadmap.schema import WithEquipment
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.whatif.schema import WhatIf

if TYPE_CHECKING:
    import xarray

    from aocsim.scenarios.whatif.engine import Spread
    from aocsim.scenarios.whatif.points import Point
    from aocsim.spec import MachineSpec

RESULT, SUMMARY = "result.nc", "summary.json"
EXPERIMENTS = "unfinished_experiments"
"""Folder of what a calibration has measured so far: one that is started again goes on from there."""

Beside = Callable[[Path], object]
"""Writes pictures and other files of a result into a folder."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a run has given, and what made it.

    Attributes:
        data: the result; its attribute `run_id` stands in every file of the run that can hold it. Large variables are
            read from files as they are asked for, without a folder from temporary ones that go with the dataset.
        inputs: the files that were read, by their place in a library folder.
        beside: writes what belongs beside the result.
    """

    data: xarray.Dataset
    inputs: Mapping[str, bytes]
    beside: Beside = lambda folder: None


def run_scenario(
    name: str | Path,
    *,
    library: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    out: Path | None = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Run a scenario and return its Dataset, whose large variables may stay on the disk until they are asked for.

    Args:
        name: of a scenario in the library, or a path to a .toml file.
        library: folder that is searched first.
        overrides: dotted keys and their values, as with `--set`.
        out: folder for result.nc, summary.json and pictures; None writes nothing.
        progress: show a progress bar on stderr.

    Raises:
        AocsimError: anything wrong with the input, found before the long computation where possible.
    """
    source = Library.open(library)
    return run_loaded(load_scenario(name, source, overrides), source, out, progress).data


def run_loaded(
    scenario: Study,
    source: Library,
    out: Path | None,
    progress: bool = False,
    spread: Spread | None = None,
    points: Sequence[Point] | None = None,
) -> Outcome:
    """`run_scenario` for a scenario that has been read.

    Args:
        scenario: of any kind.
        source: of sheets, models and scenarios.
        out: folder; None writes nothing.
        progress: show a progress bar on stderr.
        spread: where the points of a what-if study are run; None takes processes of this computer.
        points: of a what-if study, where they have been laid out already.
    """
    from aocsim.folders import all_or_nothing, output_folder
    from aocsim.record import files_of
    from aocsim.scenarios.dataset import SPOOLED
    from aocsim.spool import NAME as SPOOL
    from aocsim.spool import read_from

    if out is None:
        return _compute(scenario, source, progress, lambda: None, None, spread, points)
    with output_folder(out), ExitStack() as ending:
        for name in (RESULT, SUMMARY):
            if (out / name).is_dir():
                raise InputError("is a folder, not a file", file=out / name)
        if isinstance(scenario, Calibration) and (out / RESULT).exists():
            raise InputError(
                "a calibration is there, and stays: choose another folder", file=out, key="--out"
            )

        @cache
        def scratch() -> Path:
            # where results are large, already while they are computed
            return ending.enter_context(all_or_nothing(out, superseded=lambda: files_of(out / RESULT)))

        outcome = _compute(scenario, source, progress, scratch, out, spread, points)
        raise_if_interrupted()
        _write(outcome, scratch())
        spooled = (scratch() / SPOOL).exists()
        shutil.rmtree(scratch() / SPOOL, ignore_errors=True)
    if isinstance(scenario, Calibration):
        from aocsim.scenarios.calibrate import forget

        forget(out / EXPERIMENTS)  # what was kept on the way is in the result now
    return replace(outcome, data=read_from(outcome.data, out / RESULT, SPOOLED)) if spooled else outcome


def _compute(
    scenario: Study,
    source: Library,
    progress: bool,
    scratch: Callable[[], Path | None],
    out: Path | None,
    spread: Spread | None = None,
    points: Sequence[Point] | None = None,
) -> Outcome:

    from aocsim.parallel import one_blas_thread
    from aocsim.provenance import input_files

    if isinstance(scenario, WhatIf):
        return _of_many(scenario, source, progress, out, spread, points)
    with one_blas_thread():
        first = source.machine(scenario.machine, scenario.parts)
        inputs = input_files(first, scenario.models, source, scenario.named, scenario.sheets)
        if isinstance(scenario, Scenario):
            spec, data, beside = _sampled(scenario, source, progress, scratch)
        elif isinstance(scenario, Distributions):
            spec, data, beside = _over_distributions(scenario, source, progress)
        elif isinstance(scenario, WithEquipment | RoadmapModules):
            spec, data, beside = _mapped(scenario, source, progress)
        elif isinstance(scenario, ModelsOnMachine):
            spec, data, beside = _studied(scenario, source, progress)
        else:
            spec, data, beside = _calibrated(
                scenario, source, progress, None if out is None else out / EXPERIMENTS
            )
        if input_files(spec, scenario.models, source, scenario.named, scenario.sheets) != inputs:
            raise InputError(
                "sheets, model or other files have changed while they were read: start the run again"
            )
    data.attrs["run_id"] = secrets.token_hex(16)
    data.attrs["model_record"] = _model_record(inputs)
    return Outcome(data, inputs, beside)


def _sampled(
    scenario: Scenario, source: Library, progress: bool, scratch: Callable[[], Path | None]
) -> tuple[MachineSpec, xarray.Dataset, Beside]:
    from tqdm import tqdm

    from aocsim.plots import write_pictures
    from aocsim.scenarios import sample
    from aocsim.scenarios.dataset import dataset_of
    from aocsim.scenarios.summary import compare

    began = time.perf_counter()
    setup = sample.prepare(scenario, source)
    with tqdm(total=sample.solves_of(scenario), unit="solve", disable=not progress, leave=False) as bar:
        found = sample.execute(setup, bar.update, scratch)
    comparison = compare(setup, found)
    data = dataset_of(setup, found, comparison, time.perf_counter() - began)
    return setup.spec, data, lambda folder: write_pictures(data, folder)


def _over_distributions(
    scenario: Distributions, source: Library, progress: bool
) -> tuple[MachineSpec, xarray.Dataset, Beside]:
    from tqdm import tqdm

    from aocsim.scenarios import distributions
    from aocsim.scenarios.distributions_dataset import distributions_dataset
    from aocsim.scenarios.distributions_plots import write_distributions

    began = time.perf_counter()
    with tqdm(
        total=distributions.solves_of(scenario), unit="solve", disable=not progress, leave=False
    ) as bar:
        found = distributions.execute(scenario, source, bar.update, bar.set_description)
    data = distributions_dataset(scenario, found, time.perf_counter() - began)
    return found[0].setup.spec, data, lambda folder: write_distributions(data, folder)


def _studied(
    scenario: ModelsOnMachine, source: Library, progress: bool
) -> tuple[MachineSpec, xarray.Dataset, Beside]:
    from tqdm import tqdm

    from aocsim.scenarios.studies.execute import execute, solves_of
    from aocsim.scenarios.studies.plots import write_study

    with tqdm(total=solves_of(scenario, source), unit="solve", disable=not progress, leave=False) as bar:
        spec, data = execute(scenario, source, bar.update)
    return spec, data, lambda folder: write_study(data, folder)


def _mapped(
    scenario: WithEquipment | RoadmapModules, source: Library, progress: bool
) -> tuple[MachineSpec, xarray.Dataset, Beside]:
    from tqdm import tqdm

    from aocsim.scenarios.roadmap.execute import execute, work_of, write_pictures

    count, unit = work_of(scenario)
    with tqdm(total=count, unit=unit, disable=not progress, leave=False) as bar:
        spec, data = execute(scenario, source, bar.update)
    return spec, data, lambda folder: write_pictures(data, folder)


def _of_many(
    scenario: WhatIf,
    source: Library,
    progress: bool,
    out: Path | None,
    spread: Spread | None,
    points: Sequence[Point] | None,
) -> Outcome:
    from tqdm import tqdm

    from aocsim.scenarios.whatif.execute import execute, lay_out
    from aocsim.scenarios.whatif.plots import write_what_if
    from aocsim.scenarios.whatif.points import inputs_of

    points = lay_out(scenario, source) if points is None else points
    inputs = inputs_of(points, source)
    count = len({one.digest for one in points})
    with tqdm(total=count, unit="point", disable=not progress, leave=False) as bar:
        data = execute(scenario, points, source, out, _Shown(bar), spread)
    data.attrs["run_id"] = secrets.token_hex(16)
    data.attrs["model_record"] = _model_record(inputs)
    return Outcome(data, inputs, lambda folder: write_what_if(data, folder))


class _Shown:
    """Moves a bar of progress; what was finished before says nothing of the rate, and of the time that is left."""

    def __init__(self, bar: Any) -> None:
        self.bar, self.begun = bar, False

    def __call__(self, points: int) -> None:
        if self.begun:
            self.bar.update(points)
            return
        self.begun = True
        self.bar.initial = self.bar.n = self.bar.last_print_n = points
        self.bar.refresh()


def _calibrated(
    scenario: Calibration, source: Library, progress: bool, kept: Path | None
) -> tuple[MachineSpec, xarray.Dataset, Beside]:
    from tqdm import tqdm

    from aocsim.scenarios import calibrate
    from aocsim.scenarios.calibration_dataset import calibration_dataset, write_beside

    began = time.perf_counter()
    setup = calibrate.prepare(scenario, source)
    with tqdm(total=calibrate.solves_of(setup), unit="solve", disable=not progress, leave=False) as bar:
        record = calibrate.experiments_of(setup, kept, bar.update)
        measured = time.perf_counter() - began
        bar.set_description("fitting")
        found = calibrate.execute(setup, record)
    data = calibration_dataset(setup, found, measured, time.perf_counter() - began)
    return setup.spec, data, lambda folder: write_beside(data, setup, found, folder)


def _model_record(inputs: Mapping[str, bytes]) -> str:
    """Files of the model and their hashes, as JSON."""
    from aocsim.record import sha256_of

    files = {place: sha256_of(content) for place, content in inputs.items() if place.startswith("models/")}
    return json.dumps(files, sort_keys=True)


def _write(outcome: Outcome, scratch: Path) -> None:
    """Write result.nc, summary.json, pictures and what else belongs beside them into a scratch folder."""
    from aocsim.output import write_json
    from aocsim.record import write_result

    data = outcome.data
    outcome.beside(scratch)
    write_json(scratch / SUMMARY, {"run_id": data.attrs["run_id"], **json.loads(data.attrs["summary"])})
    names = sorted({RESULT, *(path.name for path in scratch.iterdir() if path.is_file())})
    data.attrs["files"] = json.dumps(names)
    write_result(data, scratch / RESULT, outcome.inputs)
