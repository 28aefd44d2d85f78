"""Two results side by side: what differs in their inputs, and what in their outputs beyond noise.

Variables with a sample axis are noisy: their means over the samples are compared with the means' standard errors, all
of them at one level (`aocsim.significance` has the formulas). The rest must be equal, except for what live noise has
passed into without an average over samples: the trims, which every seed earns anew, and the waves of a few samples.
That is shown and not judged; what it does to the samples is. No noise makes a number into none: a variable that has
values that are not finite in one of the results alone differs, whatever it is.

What a trim has made of its own few noisy solves stays with all samples of a run and does not average out. Unless both
runs have trimmed with the same noise, each mean of a read-out is therefore allowed, on top of its standard error, the
live noise of one solve: the scatter of read-out less ideal fixed point, times the root of the number of trials
averaged. Not allowed for is drift over the hours since the trims; from some thousand samples on, mean settling times
show the trims' chance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aocsim.arguments import count, number
from aocsim.errors import InputError
from aocsim.inputs import InputDifference, Stored, input_differences
from aocsim.record import read_inputs, read_result
from aocsim.significance import Array, MeanDifference, mean_difference

if TYPE_CHECKING:
    import xarray

SAMPLE = "sample"
NOT_AVERAGED = frozenset({"begun", "bias"})
"""Variables with a sample axis that trims decide: many samples share what a trim has found, and how long it took."""
NOT_JUDGED = NOT_AVERAGED | {"bias_correction", "alpha_setting", "offset_left", "alpha_left", "voltage"}
"""Variables that depend on the seed without an average over samples."""

Judged = Literal["paired", "unpaired", "exact", "shown only"]


@dataclass(frozen=True)
class OutputDifference:
    """One variable of two results.

    Attributes:
        name: of the variable, or "axis NAME" for axes of different lengths.
        judged: how: means of paired or unpaired samples, equality, or not at all.
        differs: whether the results differ in it beyond noise.
        what: in words, where and how much.
        unit: of the numbers below; "1" for none.
        difference: b less a, where it stands out most; None where that means nothing.
        error: standard error of the difference there.
        ratio: |difference| / error there; None for infinity, where nothing scatters.
        limit: what the ratio must exceed to count.
        tests: number of means tested.
    """

    name: str
    judged: Judged
    differs: bool
    what: str
    unit: str = "1"
    difference: float | None = None
    error: float | None = None
    ratio: float | None = None
    limit: float | None = None
    tests: int = 0


@dataclass(frozen=True)
class Comparison:
    """Two results side by side.

    Attributes:
        inputs: what differs in what they were made from.
        outputs: every variable.
        summary: figure -> (a, b), None where there is no number.
        paired: whether samples of the same number started from the same noise.
        samples: how many there are in each.
        tests: number of means compared, over which the level of significance is shared out.
    """

    inputs: tuple[InputDifference, ...]
    outputs: tuple[OutputDifference, ...]
    summary: Mapping[str, tuple[float | None, float | None]]
    paired: bool
    samples: tuple[int, int]
    tests: int

    @property
    def agree(self) -> bool:
        """Whether nothing in the outputs differs beyond noise."""
        return not any(output.differs for output in self.outputs)


def compare(path_a: Path, path_b: Path) -> Comparison:
    """Compare two results, of whatever scenarios.

    Args:
        path_a: a result.nc.
        path_b: another one.

    Raises:
        InputError: a file that is no result, or a calibration.
    """
    stored = []
    for path in (path_a, path_b):
        stored.append(Stored(read_result(path), read_inputs(path)))
        if stored[-1].data.attrs["kind"] == "calibration":
            problem = "is a calibration, whose parameters have errors of their own: aocsim diff compares two"
            raise InputError(problem, file=path, key="kind")
    a, b = stored
    for path, one in zip((path_a, path_b), stored, strict=True):
        try:
            # what is damaged is found in the file that it stands in
            input_differences(one, one)
            output_differences(one.data, one.data)
            _noise_of_trims("read_out", one.data)
            _summaries(one.data, one.data)
        except (InputError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise _damaged(error, path) from error
    inputs = input_differences(a, b)
    outputs, paired, tests = output_differences(a.data, b.data)
    samples = (a.data.sizes.get(SAMPLE, 0), b.data.sizes.get(SAMPLE, 0))
    return Comparison(tuple(inputs), tuple(outputs), _summaries(a.data, b.data), paired, samples, tests)


def output_differences(a: xarray.Dataset, b: xarray.Dataset) -> tuple[list[OutputDifference], bool, int]:
    """Every variable of two results, whether samples are paired, and the number of means tested."""
    paired = _start_alike(a, b)
    rows: list[OutputDifference] = []
    for axis in sorted({str(name) for data in (a, b) for name in data.sizes}):
        lengths = (a.sizes.get(axis), b.sizes.get(axis))
        if lengths[0] != lengths[1]:
            rows.append(OutputDifference(f"axis {axis}", "exact", True, f"{lengths[0]} against {lengths[1]}"))
    kinds = a.attrs.get("kind"), b.attrs.get("kind")
    if kinds[0] != kinds[1]:
        rows.append(OutputDifference("attribute kind", "exact", True, f"{kinds[0]} against {kinds[1]}"))
    means: dict[str, MeanDifference] = {}
    exact: list[OutputDifference] = []
    for name in sorted({str(name) for data in (a, b) for name in data.variables}):
        found = _means(name, a, b, paired)
        if found is None:
            exact.extend(_exact(name, a, b))
        else:
            means[name] = found
    tests = sum(found.tested for found in means.values())
    rows += [_judge(name, found, tests, a[name], paired) for name, found in means.items()]
    return [_with_gaps(row, a, b) for row in rows + exact], paired, tests


def _with_gaps(row: OutputDifference, a: xarray.Dataset, b: xarray.Dataset) -> OutputDifference:
    """The row, as one that differs where one result alone has values of the variable that are not finite."""
    if row.name not in a.variables or row.name not in b.variables:
        return row
    first, second = a.variables[row.name], b.variables[row.name]
    if first.dtype.kind != "f" or second.dtype.kind != "f":
        return row
    gaps = [int((~np.isfinite(variable.values)).sum()) for variable in (first, second)]
    if (gaps[0] > 0) == (gaps[1] > 0):
        return row
    here, count, size = ("a", gaps[0], first.size) if gaps[0] else ("b", gaps[1], second.size)
    return replace(
        row, differs=True, what=f"{count} of {size} values are not finite in {here} alone; {row.what}"
    )


def _start_alike(a: xarray.Dataset, b: xarray.Dataset) -> bool:
    """Whether the samples that both have started from the same noise."""
    if "start" not in a or "start" not in b:
        return False
    first, second = a["start"].values, b["start"].values
    count = min(len(first), len(second))
    return count > 0 and np.array_equal(first[:count], second[:count])


def _means(name: str, a: xarray.Dataset, b: xarray.Dataset, paired: bool) -> MeanDifference | None:
    """The differences of a variable's means over samples; None for what has no samples or cannot be compared."""
    if name in NOT_AVERAGED or name not in a.data_vars or name not in b.data_vars:
        return None
    first, second = a[name], b[name]
    if SAMPLE not in first.dims or first.dims != second.dims or not _are_numbers(first, second):
        return None
    if _unit_of(first) != _unit_of(second):
        return None
    x, y = (np.asarray(v.transpose(SAMPLE, ...).values, dtype=float) for v in (first, second))
    if x.shape[1:] != y.shape[1:]:
        return None
    if paired:
        count = min(len(x), len(y))
        x, y = x[:count], y[:count]
    common: tuple[Array | float, Array | float] = (0.0, 0.0)
    if not (paired and _chance_of_trims(a) == _chance_of_trims(b)):
        common = _noise_of_trims(name, a), _noise_of_trims(name, b)
    return mean_difference(x, y, paired=paired, common=common)


def _chance_of_trims(data: xarray.Dataset) -> tuple[object, ...]:
    """What decides the draws of the noise that a run has trimmed with."""
    scenario = json.loads(data.attrs["scenario"])
    settings = scenario.get("compile", {})
    if not isinstance(settings, Mapping):
        raise InputError("must be a table", key="scenario.compile", got=settings)
    return scenario.get("seed"), settings.get("trims"), settings.get("operating_point_trim")


def _noise_of_trims(name: str, data: xarray.Dataset) -> Array | float:
    """Allowance for what trims leave: read_out (steps, channels) V, state (steps, dims), 0 for other variables."""
    needed = ("read_out", "ideal_fixed_point", "channel_of_unit", "state")
    if name not in ("read_out", "state") or any(variable not in data for variable in needed):
        return 0.0
    used, volts = data["channel_of_unit"].values, number("volts_per_unit", data.attrs.get("volts_per_unit"))
    trials = count("scenario.trials", json.loads(data.attrs["scenario"]).get("trials"))
    read_out = data["read_out"].transpose(SAMPLE, "step", "channel").values
    ideal = data["ideal_fixed_point"].transpose(SAMPLE, "step", "unit").values
    noise = read_out.std(axis=0)
    noise[..., used] = (read_out[..., used] - volts * ideal).std(axis=0)
    noise = noise * np.sqrt(trials)
    return np.asarray(noise if name == "read_out" else noise[..., used[: data.sizes["dim"]]] / volts)


def _judge(
    name: str, found: MeanDifference, tests: int, variable: xarray.DataArray, paired: bool
) -> OutputDifference:
    """A noisy variable, at the place where its means stand out most against their limit."""
    judged: Judged = "paired" if paired else "unpaired"
    unit = _unit_of(variable)
    if not found.tested:
        return OutputDifference(name, judged, False, "too few samples to tell", unit)
    if not np.nan_to_num(found.difference).any():
        return OutputDifference(name, judged, False, "equal", unit, 0.0, tests=found.tested)
    ratio, limit, beyond = found.ratio(), found.limit(tests), found.beyond_noise(tests)
    excess = np.where(np.isfinite(found.difference), ratio / limit, -1.0)
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    axes = [axis for axis in variable.dims if axis != SAMPLE]
    place = ", ".join(_place(variable[axis], i) for axis, i in zip(axes, worst, strict=True))
    differing = int(beyond.sum())
    return OutputDifference(
        name,
        judged,
        differing > 0,
        f"{differing} of {found.tested} means differ" + (f", most at {place}" if place else ""),
        unit,
        float(found.difference[worst]),
        float(found.error[worst]),
        float(ratio[worst]) if np.isfinite(ratio[worst]) else None,
        float(limit[worst]),
        found.tested,
    )


def _unit_of(variable: Any) -> str:
    return str(variable.attrs.get("units", "1"))


def _place(axis: xarray.DataArray, index: Any) -> str:
    """A place on an axis, such as "time 1.067e-06 s"."""
    value, unit = axis.values[index], _unit_of(axis)
    text = f"{value:.4g}" if axis.dtype.kind == "f" else str(value)
    return f"{axis.name} {text}" + ("" if unit == "1" else f" {unit}")


def _exact(name: str, a: xarray.Dataset, b: xarray.Dataset) -> list[OutputDifference]:
    """A variable without noise; nothing where an axis of another length, listed already, is all there is."""
    judged: Judged = "shown only" if name in NOT_JUDGED else "exact"
    if name not in a.variables or name not in b.variables:
        missing = "the first" if name not in a.variables else "the second"
        return [OutputDifference(name, "exact", True, f"only in {'b' if missing == 'the first' else 'a'}")]
    first, second = a.variables[name], b.variables[name]
    unit = _unit_of(first)
    if first.dims != second.dims:
        return [OutputDifference(name, "exact", True, f"axes {first.dims} against {second.dims}", unit)]
    if unit != _unit_of(second):
        return [OutputDifference(name, "exact", True, f"unit {unit} against {_unit_of(second)}")]
    if first.shape != second.shape:
        return []
    x, y = np.asarray(first.values), np.asarray(second.values)
    if not _are_numbers(first, second):
        unequal = int(np.sum(x != y))
        what = f"{unequal} of {x.size} texts differ" if unequal else "equal"
        return [OutputDifference(name, judged, unequal > 0 and judged == "exact", what, unit)]
    same = (x == y) | (np.isnan(x.astype(float)) & np.isnan(y.astype(float)))
    if same.all():
        return [OutputDifference(name, judged, False, "equal", unit)]
    return [_largest(name, judged, x.astype(float), y.astype(float), ~same, unit)]


def _largest(name: str, judged: Judged, x: Array, y: Array, unequal: Any, unit: str) -> OutputDifference:
    gap = np.where(np.isfinite(y - x), y - x, 0.0)
    worst = float(gap.flat[int(np.argmax(np.abs(gap)))])
    what = f"{int(unequal.sum())} of {x.size} values differ"
    return OutputDifference(name, judged, judged == "exact", what, unit, worst)


def _are_numbers(*variables: Any) -> bool:
    return all(variable.dtype.kind in "fiub" for variable in variables)


def _summaries(a: xarray.Dataset, b: xarray.Dataset) -> dict[str, tuple[float | None, float | None]]:
    first, second = (json.loads(data.attrs["summary"]) for data in (a, b))
    keys = [*first, *(key for key in second if key not in first)]
    return {key: (first.get(key), second.get(key)) for key in keys}


def _damaged(error: Exception, path: Path) -> InputError:
    if isinstance(error, InputError):
        return error.located(file=path)
    return InputError(f"is damaged: {error!r}", file=path)
