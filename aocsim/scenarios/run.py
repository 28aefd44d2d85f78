"""Run a scenario from its name: validate, compute, write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aocsim.library import Library
from aocsim.scenarios.schema import Scenario, load_scenario

if TYPE_CHECKING:
    import xarray

RESULT, SUMMARY = "result.nc", "summary.json"


def run_scenario(
    name: str | Path,
    *,
    library: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    out: Path | None = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Run a scenario and return its Dataset.

    Args:
        name: of a scenario in the library, or a path to a .toml file.
        library: folder that is searched first.
        overrides: dotted keys and their values, as with `--set`.
        out: folder for result.nc, summary.json and pictures; None writes nothing.
        progress: show a progress bar on stderr.

    Raises:
        AocsimError: anything wrong with the input, found before the long computation where possible.
    """
    from aocsim.output import output_folder

    source = Library.open(library)
    scenario = load_scenario(name, source, overrides)
    if out is None:
        return _run(scenario, source, None, progress)
    with output_folder(out):
        return _run(scenario, source, out, progress)


def _run(scenario: Scenario, source: Library, out: Path | None, progress: bool) -> xarray.Dataset:

    from tqdm import tqdm

    from aocsim.output import all_or_nothing, write_json
    from aocsim.record import write_result
    from aocsim.scenarios import sample
    from aocsim.scenarios.dataset import dataset_of
    from aocsim.scenarios.summary import compare

    began = time.perf_counter()
    setup = sample.prepare(scenario, source)
    with tqdm(total=sample.solves_of(scenario), unit="solve", disable=not progress, leave=False) as bar:
        found = sample.execute(setup, bar.update)
    comparison = compare(setup, found)
    data = dataset_of(setup, found, comparison, time.perf_counter() - began)
    if out is not None:
        from aocsim.plots import write_pictures

        with all_or_nothing(out) as scratch:
            write_result(data, scratch / RESULT)
            write_json(scratch / SUMMARY, comparison.summary)
            write_pictures(data, scratch)
    return data
