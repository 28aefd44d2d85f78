"""The command `aocsim validate`; what is slow to import is imported when it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aocsim.console import DIFFERENT
from aocsim.folders import output_folder
from aocsim.terminal import NOTHING, print_table, say, short_path

if TYPE_CHECKING:
    from aocsim.validate.check import Setting
    from aocsim.validate.table import Finding


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("validate")(_validate)


def _validate(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="A group or a check; repeatable.  [all]"),
    ] = None,
    machine: Annotated[str, typer.Option(metavar="NAME", help="The machine that is compared.")] = "aoc48",
    serial: Annotated[int, typer.Option(metavar="N", min=0, max=2**63 - 1, help="Its serial number.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**63 - 1, help="Seed of the live noise.")] = 0,
    twin: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Parameter file of a measured machine, as the public twin has it."),
    ] = None,
    twin_limits: Annotated[
        bool, typer.Option("--twin-limits", help="Instead, find where a static twin stops being true.")
    ] = False,
    list_only: Annotated[bool, typer.Option("--list", help="List groups and checks; run nothing.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of table and figures.")] = Path(
        "results/validation"
    ),
    threads: Annotated[
        int, typer.Option(metavar="N", min=0, max=256, help="Workers; 0 takes all cores.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    library: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of sheets that is searched first.")
    ] = None,
) -> None:
    """Compare the simulator with closed forms, SPICE, the measured machine and the paper's facts.

    One row a comparison: error RMS and maximum in per cent of range, or a value and its interval; tolerance, whether
    it passes, and how independent its reference is. Leaves validation.json and a figure for each group. Exit status 1
    if a row fails, 2 for bad input.
    """
    from aocsim.validate.check import Setting

    if list_only:
        _list(only or ())
        return
    setting = Setting(machine, serial, seed, library, twin)
    if twin_limits:
        _limits(setting, out, threads, quiet)
        return
    from aocsim.validate.table import chosen

    chosen(only or ())  # a wrong name leaves no folder
    _check_setting(setting)
    with output_folder(out) as folder:
        findings = _run(setting, only or (), folder, threads, quiet)
    failed = [finding for finding in findings if finding.row.status == "fail"]
    if not quiet:
        _print(findings)
    if failed:
        raise typer.Exit(DIFFERENT)


def _list(only: Sequence[str]) -> None:
    from aocsim.validate.table import chosen, title

    rows = [(group, check.name, "slow" if check.slow else "", title(group)) for group, check in chosen(only)]
    print_table(("group", "check", "", "about"), rows)


def _check_setting(setting: Setting) -> None:
    """Refuse a faulty sheet or file before hours of work."""
    setting.build()
    if setting.twin_file is not None:
        from aocsim.twin import load

        load(setting.twin_file)


def _run(setting: Setting, only: Sequence[str], folder: Path, threads: int, quiet: bool) -> list[Finding]:
    from tqdm import tqdm

    from aocsim.folders import all_or_nothing
    from aocsim.validate.figures import write_figures
    from aocsim.validate.table import chosen, run_checks, write_table

    places = chosen(only)
    workers = min(threads or os.cpu_count() or 1, len(places))
    with tqdm(total=len(places), disable=None if not quiet else True, unit="row") as bar:

        def done(finding: Finding) -> None:
            bar.set_postfix_str(finding.check)
            bar.update()

        findings = run_checks(setting, only, workers, done)
    with all_or_nothing(folder, lambda: _earlier(folder)) as scratch:
        write_table(findings, setting, scratch)
        write_figures(findings, setting, scratch)
    return findings


def _earlier(folder: Path) -> set[str]:
    from aocsim.validate.table import GROUPS, MADE_BY, TABLE

    names = {TABLE, MADE_BY, *(f"validation_{group}.png" for group in GROUPS)}
    return {name for name in names if (folder / name).is_file()}


def _print(findings: Sequence[Finding]) -> None:
    from aocsim.validate.check import REFERENCES

    rows = [
        (
            finding.check,
            finding.row.status.upper() if finding.row.status == "fail" else finding.row.status,
            _percent(finding.row.rms),
            _percent(finding.row.maximum),
            "" if finding.row.reading is None else finding.row.reading.told,
            finding.row.tolerance,
            finding.reference,
            finding.row.what,
            finding.row.against,
            finding.row.reason,
        )
        for finding in findings
    ]
    columns = (
        "check",
        "status",
        "rms %",
        "max %",
        "value",
        "tolerance",
        "reference",
        "what",
        "against",
        "note",
    )
    print_table(columns, rows)
    say("", "reference:")
    say(*(f"  {word}: {meaning}" for word, meaning in REFERENCES.items()))
    count = {
        status: sum(finding.row.status == status for finding in findings)
        for status in ("pass", "fail", "skipped")
    }
    say("", f"{count['pass']} passed, {count['fail']} failed, {count['skipped']} skipped")


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2g}"


def _limits(setting: Setting, out: Path, threads: int, quiet: bool) -> None:
    from aocsim.validate.limits import find_limits, require_heart, write_limits

    _check_setting(setting)
    require_heart(setting)
    with output_folder(out) as folder:
        limits = find_limits(setting, threads=threads, progress=not quiet)
        written = write_limits(limits, setting, folder)
    if not quiet:
        print_table(limits.columns, limits.rows())
        say("\nwritten:", *(f"  {short_path(path)}" for path in written))
