"""Repeat a result from what its own file holds, and say whether it comes out the same, bit for bit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.output import refusal
from aocsim.provenance import BROUGHT_ALONG, KNOWLEDGE
from aocsim.record import read_inputs, read_result, write_result
from aocsim.scenarios.find import find_named
from aocsim.scenarios.load import Study, study_of
from aocsim.scenarios.run import RESULT, run_loaded

if TYPE_CHECKING:
    import xarray

NOT_REPEATED = ("run_id", "versions", "commit", "files")
"""Attributes that belong to one run; with them every one that begins with "wall_seconds"."""


@dataclass(frozen=True)
class Difference:
    """A variable or an attribute that did not come out the same.

    Attributes:
        name: of the variable, or "attribute NAME".
        what: how it differs, in words.
        largest: largest difference of two values, in `unit`; None where that means nothing.
        unit: of the variable.
    """

    name: str
    what: str
    largest: float | None = None
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Rerun:
    """A result run again.

    Attributes:
        differences: what came out otherwise; empty if the results are identical.
        versions: of software and computer, those that differ, as (then, now).
        variables: number of variables compared, coordinates included.
        attributes: number of attributes compared.
        data: the new result.
    """

    differences: tuple[Difference, ...]
    versions: Mapping[str, tuple[str, str]]
    variables: int
    attributes: int
    data: xarray.Dataset

    @property
    def identical(self) -> bool:
        """Whether all values are the same, bit for bit."""
        return not self.differences


def rerun(
    path: Path, *, threads: int | None = None, out: Path | None = None, progress: bool = False
) -> Rerun:
    """Run a result's scenario again on the sheets and the model that its file holds, and compare.

    Args:
        path: a result.nc.
        threads: workers, 0 takes all cores; by default as many as then. The result does not depend on it.
        out: folder for the new result; nothing is written without it.
        progress: show a progress bar on stderr.

    Raises:
        InputError: the file is no result, or its inputs do not suit this version; or `out` is where `path` lies.
        AocsimError: as `run_scenario`.
    """
    before = read_result(path)
    files = read_inputs(path)
    scenario = _scenario_of(before, path, threads)
    if out is not None and (out / RESULT).resolve() == path.resolve():
        raise InputError("holds the result that is to be repeated; choose another folder", file=out)
    with _unpacked(files) as place:
        library = Library((place,))
        try:
            find_named(scenario, library)
            outcome = run_loaded(scenario, library, out, progress)
        except InputError as error:
            raise _from_inside(error, place, path) from None
        target = place / RESULT if out is None else out / RESULT
        if out is None:  # written and read, so that both have been through the same conversions
            write_result(outcome.data, target, outcome.inputs)
        after = read_result(target)
    return compared(before, after)


@contextmanager
def _unpacked(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary folder of the library with these files in it.

    Raises:
        ResourceError, InputError: the system's temporary folder takes no more.
    """
    place: Path | None = None
    with ExitStack() as stack:
        try:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aocsim-")))
            for name, content in files.items():
                (place / name).parent.mkdir(exist_ok=True)
                (place / name).write_bytes(content)
        except OSError as error:
            raise refusal(error, Path("the temporary folder (TMPDIR)") if place is None else place) from error
        yield place


def compared(before: xarray.Dataset, after: xarray.Dataset) -> Rerun:
    """Two results of one scenario, every variable and scientific attribute, bit for bit."""
    names = sorted({str(name) for data in (before, after) for name in data.variables})
    found = [_variable_difference(name, before, after) for name in names]
    old, new = _scientific(before), _scientific(after)
    keys = sorted({*old, *new})
    found += [
        Difference(f"attribute {key}", f"{_short(old.get(key))}, now {_short(new.get(key))}")
        for key in keys
        if not _same_bits(np.asarray(old.get(key)), np.asarray(new.get(key)))
    ]
    then, now = (json.loads(data.attrs["versions"]) for data in (before, after))
    versions = {
        key: (str(then.get(key, "-")), str(now.get(key, "-")))
        for key in [*now, *(key for key in then if key not in now)]
        if then.get(key) != now.get(key)
    }
    differences = tuple(difference for difference in found if difference is not None)
    return Rerun(differences, versions, len(names), len(keys), after)


def _scenario_of(data: xarray.Dataset, path: Path, threads: int | None) -> Study:
    try:
        scenario = study_of(data.attrs["scenario"])
    except InputError as error:
        raise InputError(
            f"the scenario does not suit this version: {error.problem}",
            file=path,
            key=error.key or "scenario",
            got=error.got,
            allowed=error.allowed,
        ) from None
    stored = json.loads(scenario.to_json())
    if threads is not None:
        _base_of(stored).setdefault("solve", {})["threads"] = threads
    _shorten(_base_of(stored))
    try:
        return study_of(json.dumps(stored))
    except InputError as error:
        raise error.located(file="--threads" if threads is not None else path) from None


def _base_of(stored: dict[str, Any]) -> dict[str, Any]:
    """The scenario that is run, which a what-if study holds inside."""
    base: dict[str, Any] = stored.get("base", stored)
    return base


def _shorten(scenario: dict[str, Any]) -> None:
    """Files that were given by their paths, by the names under which they stand among the inputs."""
    if "model" in scenario:
        model = scenario["model"]
        scenario["model"] = Path(model).stem if model.endswith(".toml") else model
    for key, place in BROUGHT_ALONG.items():
        *tables, last = key.split(".")
        table = scenario
        for step in tables:
            table = table.get(step, {})
        if last in table:
            table[last] = _brought(table[last], place)


def _brought(value: Any, place: str) -> Any:
    return Path(place).name if isinstance(value, str) and value.endswith(".nc") else value


def _from_inside(error: InputError, place: Path, path: Path) -> InputError:
    """An error about one of the inputs, with the result's name in place of the temporary folder's."""
    file = error.file or ""
    if file.startswith(str(place)):
        file = f"{path}: {Path(file).relative_to(place).as_posix()} in it"
    return InputError(
        error.problem,
        file=file or path,
        key=error.key,
        got=error.got,
        allowed=error.allowed,
        nearest=error.nearest,
    )


def _scientific(data: xarray.Dataset) -> dict[str, Any]:
    """Attributes that a repetition must give again."""
    kept = {
        str(key): value
        for key, value in data.attrs.items()
        if key not in NOT_REPEATED and not str(key).startswith("wall_seconds")
    }
    # with keys that came later at their default
    scenario = json.loads(study_of(kept["scenario"]).to_json())
    _base_of(scenario).get("solve", {}).pop("threads", None)
    _shorten(_base_of(scenario))
    kept |= {key: _brought(kept[key], BROUGHT_ALONG[KNOWLEDGE]) for key in ("knowledge",) if key in kept}
    return kept | {"scenario": json.dumps(scenario, sort_keys=True)}


def _variable_difference(name: str, before: xarray.Dataset, after: xarray.Dataset) -> Difference | None:
    if name not in after.variables:
        return Difference(name, "is missing now")
    if name not in before.variables:
        return Difference(name, "was not there")
    old, new = before.variables[name], after.variables[name]
    a, b = np.asarray(old.values), np.asarray(new.values)
    unit = str(old.attrs.get("units", ""))
    if old.dims != new.dims or a.shape != b.shape:
        return Difference(
            name,
            f"{dict(zip(old.dims, a.shape, strict=True))}, now {dict(zip(new.dims, b.shape, strict=True))}",
        )
    if a.dtype != b.dtype:
        return Difference(name, f"type {a.dtype}, now {b.dtype}")
    if not _same_bits(a, b):
        return _values_difference(name, a, b, unit)
    if dict(old.attrs) != dict(new.attrs):
        return Difference(name, f"described by {dict(old.attrs)}, now {dict(new.attrs)}")
    return None


def _values_difference(name: str, a: Any, b: Any, unit: str) -> Difference:
    if a.dtype.kind not in "fiub":
        return Difference(name, f"{int(np.sum(a != b))} of {a.size} texts")
    bits = np.dtype(f"u{a.dtype.itemsize}")
    count = int(np.sum(np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits)))
    gap = np.abs(a.astype(float) - b.astype(float))
    largest = float(np.nanmax(gap)) if np.isfinite(gap).any() else None
    return Difference(name, f"{count} of {a.size} values", largest, unit)


def _same_bits(a: Any, b: Any) -> bool:
    """Whether two arrays have the same type, shape and bits; NaN equals the same NaN, and -0 is not 0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "O":
        return bool(a.tolist() == b.tolist())
    return bool(a.tobytes() == b.tobytes())


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
