"""What the commands print about results: one, one run again, two side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aocsim.scenarios.attributes import unit_of
from aocsim.significance import LEVEL
from aocsim.terminal import NOTHING, print_table, say

if TYPE_CHECKING:
    import xarray

    from aocsim.comparison import Comparison, OutputDifference
    from aocsim.repeat import Rerun


def print_summary(summary: Mapping[str, object]) -> None:
    """A run's figures with their units."""
    rows = []
    for key, value in summary.items():
        if value is None:
            value = "not a number"
        rows.append((key, _figure(value), unit_of(key)))
    print_table(("summary", "value", "unit"), rows)


def print_notes(data: xarray.Dataset) -> None:
    """What a reader of a result has to know."""
    notes = json.loads(data.attrs["notes"])
    if notes:
        say("\nto know:", *(f"  {note}" for note in notes))


def print_result(data: xarray.Dataset) -> None:
    """A stored result: what it is, what made it, its figures."""
    scenario, made = json.loads(data.attrs["scenario"]), json.loads(data.attrs["versions"])

    def told(key: str) -> str:
        return str(scenario.get(key, NOTHING))

    rows = [
        ("scenario", f"{told('name')}: {told('describes')}"),
        ("machine", f"{told('machine')}, serial {told('serial')}"),
        ("model", told("model")),
        ("seed", told("seed")),
        ("run", data.attrs["run_id"]),
        ("commit", str(data.attrs.get("commit", "")) or NOTHING),
        ("made with", ", ".join(f"{name} {version}" for name, version in made.items())),
    ]
    print_table(("result", ""), rows)
    say("")
    print_summary(json.loads(data.attrs["summary"]))
    print_notes(data)


def print_rerun(found: Rerun) -> None:
    """Whether a repeated run is identical, and where not."""
    if found.versions:
        rows = [(name, then, now) for name, (then, now) in found.versions.items()]
        print_table(("software or computer differs", "then", "now"), rows)
        say("")
    if found.identical:
        say(f"identical, bit for bit: {found.variables} variables and {found.attributes} attributes")
        return
    differences = [
        (item.name, item.what, NOTHING if item.largest is None else _quantity(item.largest, item.unit))
        for item in found.differences
    ]
    print_table(("differs", "how", "at most by"), differences)
    cause = "with other software or another computer" if found.versions else "with the same software"
    count = len(found.differences)
    say(f"\nnot identical, {cause}: {count} difference{'' if count == 1 else 's'}")


def print_comparison(found: Comparison) -> None:
    """Inputs, outputs and figures of two results, and whether they agree."""
    if found.inputs:
        print_table(("input", "key", "a", "b"), [(i.group, i.key, i.a, i.b) for i in found.inputs])
    else:
        say("the inputs are the same")
    say("")
    columns = ("output", "judged", "a and b", "b - a", "std. error", "ratio", "limit")
    rows = [_output_row(output) for output in found.outputs if output.what != "equal"]
    if rows:
        print_table(columns, rows)
        say("")
    print_table(("summary", "a", "b", "b - a", "unit"), [_summary_row(*row) for row in found.summary.items()])
    how = (
        "paired, they start from the same noise"
        if found.paired
        else "not paired, they start from other noise"
    )
    say(
        f"\n{found.samples[0]} and {found.samples[1]} samples, {how}; {found.tests} means compared at the level of "
        f"{LEVEL:.0%} for all together"
    )
    if found.agree:
        say("the results agree within noise")
    else:
        names = ", ".join(output.name for output in found.outputs if output.differs)
        say(f"the results differ beyond noise: {names}")


def _output_row(output: OutputDifference) -> tuple[str, ...]:
    """One line; capitals mark what counts."""
    ratio = "infinite" if output.ratio is None and output.error is not None else _number(output.ratio)
    return (
        output.name,
        output.judged,
        f"{'DIFFERS: ' if output.differs else ''}{output.what}",
        NOTHING if output.difference is None else _quantity(output.difference, output.unit),
        NOTHING if output.error is None else _quantity(output.error, output.unit),
        ratio,
        _number(output.limit),
    )


def _summary_row(key: str, values: tuple[float | None, float | None]) -> tuple[str, ...]:
    a, b = values
    gap = NOTHING if a is None or b is None else _figure(b - a)
    return key, _figure(a), _figure(b), gap, unit_of(key)


def _figure(value: object) -> str:
    if value is None:
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def _quantity(value: float, unit: str) -> str:
    return f"{value:.3g}" if unit in ("1", "") else f"{value:.3g} {unit}"
