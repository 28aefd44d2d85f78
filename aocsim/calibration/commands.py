"""The calibration's verb of the command line: two calibrations side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aocsim.console import DIFFERENT
from aocsim.errors import InputError
from aocsim.terminal import NOTHING, print_table, say

if TYPE_CHECKING:
    from aocsim.calibration.difference import GroupDifference, SheetDifference


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("diff")(diff)


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A calibration, its result.nc.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the comparison to a file, too.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Compare two calibrations, value by value, in units of their errors.

    At 1 % for all values together (Bonferroni). What one of them has not identified is counted, not compared. Exit
    status 0 if they agree, 1 if not, 2 for bad input.
    """
    from dataclasses import asdict

    from aocsim.calibration.difference import sheet_difference
    from aocsim.calibration.sheet import read_sheet
    from aocsim.output import write_json

    if json_file is not None and json_file.resolve() in (old.resolve(), new.resolve()):
        raise InputError(
            "is one of the calibrations that are compared; choose another file", file=json_file, key="--json"
        )
    found = sheet_difference(read_sheet(old), read_sheet(new))
    if json_file is not None:
        write_json(json_file, {"old": str(old), "new": str(new), "agree": found.agree, **asdict(found)})
    if not quiet:
        _print(found)
    if not found.agree:
        raise typer.Exit(DIFFERENT)


def _print(found: SheetDifference) -> None:
    from aocsim.significance import LEVEL

    if found.notes:
        say(*found.notes, "")
    columns = (
        "parameters", "unit", "compared", "left out", "rms of d", "largest d", "of", "largest difference", "of",
        "beyond",
    )  # fmt: skip
    print_table(columns, [_row(group) for group in found.groups])
    left = sum(group.left_out for group in found.groups)
    say(
        f"\n{found.compared} values compared, d being the difference over its error; at {LEVEL:.0%} for all together "
        f"|d| may be {found.limit:.3g}"
    )
    if left:
        say(f"{left} values are held, or not identified, in one of the two")
    if found.agree:
        say("the calibrations agree within their errors")
        return
    names = ", ".join(group.name for group in found.groups if group.beyond)
    say(f"the calibrations differ{f' beyond their errors: {names}' if names else ''}")


def _row(group: GroupDifference) -> tuple[str, ...]:
    def number(value: float | None, digits: int = 3) -> str:
        return NOTHING if value is None else f"{value:.{digits}g}"

    return (
        group.name,
        NOTHING if group.unit == "1" else group.unit,
        str(group.compared),
        str(group.left_out),
        number(group.rms),
        number(group.largest),
        group.where,
        number(group.difference),
        group.where_difference,
        str(group.beyond),
    )
