"""Commands of what-if studies: `aocsim sweep`, `montecarlo`, `budget`, `sensitivity`, `plot` and `recommend`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aocsim.errors import InputError
from aocsim.folders import output_folder
from aocsim.options import LibraryOption, QuietOption
from aocsim.terminal import say, short_path

if TYPE_CHECKING:
    from aocsim.scenarios.whatif.schema import WhatIf

Of = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="Name, or path of a .toml file, of what is varied.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value of the scenario in all points; repeatable."
    ),
]
FigureOption = Annotated[
    list[str] | None,
    typer.Option("--figure", metavar="NAME", help="Figure of the summary that is drawn; repeatable."),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results.  [results/KIND_SCENARIO]")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Points at the same time; 0 takes all cores.")
]
ClusterOption = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", help="Dask scheduler, tcp://HOST:PORT (extra `cluster`)."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="Run however many points there are.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("sweep")(_sweep)
    app.command("montecarlo")(_montecarlo)
    app.command("budget")(_budget)
    app.command("sensitivity")(_sensitivity)
    app.command("plot")(_plot)
    app.command("recommend")(_recommend)


def _sweep(
    scenario: Of,
    vary: Annotated[
        list[str],
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="LOW:HIGH:lin:COUNT, LOW:HIGH:log:COUNT, or values parted by commas; repeatable.",
        ),
    ],
    side_by_side: Annotated[
        bool, typer.Option("--zip", help="Take values side by side instead of all combinations.")
    ] = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Vary one key at a time, the others as they are.")
    ] = False,
    changes: SetOption = None,
    figure: FigureOption = None,
    out: OutOption = None,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    yes: YesOption = False,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Vary keys of a scenario over lists and ranges; started again, it goes on where it was."""
    from aocsim.scenarios.whatif.axes import parse_vary

    axes = [parse_vary(text) for text in vary]
    twice = sorted({key for key, _ in axes if [key for key, _ in axes].count(key) > 1})
    if twice:
        raise InputError("is varied twice", file="--vary", key=twice[0])
    if side_by_side and alone:
        raise InputError("--zip and --alone exclude one another", file="--zip")
    design = "zip" if side_by_side else "alone" if alone else "product"
    settings = {"vary": dict(axes), "design": design}
    _run("sweep", scenario, settings, changes, figure, out, threads, cluster, yes, quiet, library)


def _montecarlo(
    scenario: Of,
    serials: Annotated[int, typer.Option("--serials", metavar="N", help="Number of machines.")] = 50,
    first: Annotated[int, typer.Option("--first-serial", metavar="N", help="Serial of the first.")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="ROLE", help="Mismatch of this part alone, or all; repeatable.  [all]"
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option("--limit", metavar="FIGURE<VALUE", help="What a machine must meet; repeatable."),
    ] = None,
    changes: SetOption = None,
    figure: FigureOption = None,
    out: OutOption = None,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    yes: YesOption = False,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Run a scenario on machines of many serials: spread, yield, and which part is to blame."""
    settings: dict[str, Any] = {"serials": serials, "first_serial": first, "limits": _limits(limit)}
    if only:
        settings["only"] = list(only)
    _run("montecarlo", scenario, settings, changes, figure, out, threads, cluster, yes, quiet, library)


def _limits(texts: Sequence[str] | None) -> dict[str, str]:
    out = {}
    for text in texts or ():
        place = min((text.find(sign) for sign in "<>" if sign in text), default=0)
        if place < 1:
            raise InputError("must read FIGURE<VALUE or FIGURE>VALUE", file="--limit", got=text)
        name = text[:place].strip()
        if name in out:
            raise InputError("is limited twice", file="--limit", key=name)
        out[name] = text[place:].strip()
    return out


def _budget(
    scenario: Of,
    ideal: Annotated[str, typer.Option("--ideal", metavar="MACHINE", help="What ideal is.")] = "ideal48",
    changes: SetOption = None,
    figure: FigureOption = None,
    out: OutOption = None,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Error budget: each part's departure from the ideal alone on, and alone off."""
    settings = {"ideal": ideal}
    _run("budget", scenario, settings, changes, figure, out, threads, cluster, False, quiet, library)


def _sensitivity(
    scenario: Of,
    factor: Annotated[
        list[str] | None,
        typer.Option(
            "--factor", metavar="KEY=SIGMA", help="Uncertain entry and its standard uncertainty; repeatable."
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", metavar="N", help="Base samples, a power of 2.")] = 64,
    changes: SetOption = None,
    figure: FigureOption = None,
    out: OutOption = None,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    yes: YesOption = False,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Sobol indices over the sheets' spreads, and the assumed numbers that an answer leans on."""
    factors = {}
    for text in factor or ():
        key, equals, sigma = (part.strip() for part in text.partition("="))
        if not equals or not sigma:
            raise InputError("must read KEY=SIGMA", file="--factor", got=text)
        if key in factors:
            raise InputError("is named twice", file="--factor", key=key)
        factors[key] = sigma
    settings = {"factors": factors, "n": n}
    _run("sensitivity", scenario, settings, changes, figure, out, threads, cluster, yes, quiet, library)


def _run(
    kind: str,
    of: str,
    settings: Mapping[str, Any],
    changes: Sequence[str] | None,
    figures: Sequence[str] | None,
    out: Path | None,
    threads: int | None,
    cluster: str | None,
    yes: bool,
    quiet: bool,
    library: Path | None,
) -> None:
    from aocsim.library import Library
    from aocsim.scenarios.load import what_if
    from aocsim.scenarios.overrides import parse_assignment

    if out is not None and not str(out).strip():
        raise InputError("must name a folder; the current one is .", key="--out", got=str(out))
    source = Library.open(library)
    base = dict(parse_assignment(text) for text in changes or ())
    if threads is not None:
        base["solve.threads"] = threads
    given = {**settings, "set": base} | ({"figures": list(figures)} if figures else {})
    if yes:
        given["most"] = sys.maxsize
    run_what_if(what_if(kind, of, source, given), source, out, cluster, quiet)


def run_what_if(scenario: WhatIf, source: Any, out: Path | None, cluster: str | None, quiet: bool) -> None:
    """Run a study and tell what came of it."""
    from aocsim.scenarios.run import run_loaded
    from aocsim.scenarios.whatif.execute import lay_out

    points = lay_out(scenario, source)  # before anything else, so that a wrong study leaves no folder
    if not quiet:
        say(f"{len(points)} points")
    with ExitStack() as stack:
        spread = None
        if cluster is not None:
            from aocsim.scenarios.whatif.cluster import cluster as opened

            spread = stack.enter_context(opened(cluster, say if not quiet else lambda text: None))
        folder = stack.enter_context(output_folder(out or Path("results") / scenario.name))
        shown = not quiet and sys.stderr.isatty()
        data = run_loaded(scenario, source, folder, shown, spread, points).data
    if not quiet:
        from aocsim.report import print_notes, print_summary

        print_summary(json.loads(data.attrs["summary"]))
        print_notes(data)
        written = [folder / name for name in json.loads(data.attrs.get("files", "[]"))]
        say("\nwritten:", *(f"  {short_path(path)}" for path in written))


def _plot(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A result.nc of a what-if study.")],
    figure: FigureOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the picture.  [beside the file]")
    ] = None,
) -> None:
    """Draw a what-if study again, with other figures of its summary."""
    from aocsim.record import read_result
    from aocsim.scenarios.whatif.plots import write_what_if
    from aocsim.scenarios.whatif.schema import WHAT_IF

    data = read_result(file)
    if data.attrs["kind"] not in WHAT_IF:
        raise InputError(
            "is no what-if study; its pictures stand beside it",
            file=file,
            key="kind",
            got=data.attrs["kind"],
            allowed=list(WHAT_IF),
        )
    with output_folder(out or file.parent) as folder:
        for path in write_what_if(data, folder, figure):
            say(short_path(path))


def _recommend(
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="Name of the machine's sheet.")],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Trained network.")] = "heart",
    serial: Annotated[int, typer.Option("--serial", metavar="N", help="Serial number.")] = 1,
    knowledge: Annotated[
        str,
        typer.Option(
            "--knowledge", metavar="WHAT", help="exact (as built), nominal, or a calibration's result.nc."
        ),
    ] = "exact",
    changes: SetOption = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the choice to a file, too.")
    ] = None,
    library: LibraryOption = None,
) -> None:
    """Recommend channels for a network, from a calibration or as built, and say what that gains."""
    from aocsim.library import Library
    from aocsim.output import write_json
    from aocsim.recommend import WAYS, recommend
    from aocsim.scenarios.attributes import unit_of
    from aocsim.scenarios.overrides import parse_assignment
    from aocsim.terminal import NOTHING, print_table

    given = dict(parse_assignment(text) for text in changes or ())
    found = recommend(
        Library.open(library), machine, model, {"serial": serial, "compile.knowledge": knowledge, **given}
    )
    units = range(len(found.alpha))
    print_table(
        ("unit", "channel", "alpha"),
        [(str(k), str(found.channel_of_unit[k]), f"{found.alpha[k]:.5f}") for k in units],
    )
    say("", f"left out: {', '.join(map(str, found.left_out)) or 'none'}")
    say(f"dead inputs: {', '.join(map(str, found.dead)) or 'none'}", "")
    ways = [found.figures[way] for way in WAYS]
    rows = [
        (key, *(NOTHING if way is None else f"{way[key]:.5g}" for way in ways), unit_of(key))
        for key in ways[0] or {}
    ]
    print_table(("figure", "recommended", "in order", "unit"), rows)
    if found.failure:
        say("", f"in order: {found.failure}")
    if json_file is not None:
        write_json(
            json_file,
            {
                "machine": machine,
                "serial": serial,
                "model": model,
                "channel_of_unit": found.channel_of_unit,
                "left_out": found.left_out,
                "figures": dict(found.figures),
            },
        )
