"""The command line: a thin layer over the package. What is slow to import, a command imports when it runs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aocsim import whatif_commands
from aocsim.calibration import commands as calibration_commands
from aocsim.console import DIFFERENT, Group, run_app
from aocsim.errors import InputError, unknown_name
from aocsim.folders import output_folder
from aocsim.options import LibraryOption, QuietOption
from aocsim.output import write_atomically
from aocsim.terminal import NOTHING, print_table, say, short_path
from aocsim.twin import commands as twin_commands
from aocsim.validate import command as validate_command

if TYPE_CHECKING:
    from aocsim.diffusion.network import Network
    from aocsim.diffusion.train import Recipe
    from aocsim.library import Kind, Library


def _folder(text: str | Path) -> Path:
    """A folder for results; an empty name, as of a variable that is not set, is not the current folder."""
    if not str(text).strip():
        raise InputError("must name a folder; the current one is .", key="--out", got=str(text))
    return Path(text)


OutOption = Annotated[
    Path | None,
    typer.Option("--out", parser=_folder, metavar="DIR", help="Folder of the results.  [results/SCENARIO]"),
]


KINDS: tuple[Kind, ...] = ("parts", "machines", "models", "scenarios")
LAST = 100  # iterations over which the final loss is averaged

app = typer.Typer(
    cls=Group,
    name="aocsim",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: it is not cut in a pipe, and comes in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the file, for example diffusion.steps=8; repeatable, the last one holds.",
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of the random numbers.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Workers; 0 takes all cores.")
]


def main() -> None:
    """Entry point of the command `aocsim`."""
    run_app(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        import aocsim

        say(f"aocsim {aocsim.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Simulate the analog optical computer and analog diffusion models on it."""


@app.command("run")
def _run(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="Name, or path of a .toml file.")],
    changes: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    threads: ThreadsOption = None,
    cluster: whatif_commands.ClusterOption = None,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Run a scenario: result.nc, summary.json and pictures."""
    from aocsim.library import Library
    from aocsim.scenarios.load import load_scenario
    from aocsim.scenarios.whatif.schema import WHAT_IF, WhatIf

    overrides = _overrides(changes, {"seed": ("--seed", seed), "solve.threads": ("--threads", threads)})
    source = Library.open(library)
    # Validated here once more, so that a wrong scenario does not leave a folder.
    loaded = load_scenario(scenario, source, overrides)
    if isinstance(loaded, WhatIf):
        whatif_commands.run_what_if(loaded, source, out, cluster, quiet)
        return
    if cluster is not None:
        raise InputError(
            "a cluster runs the points of what-if studies alone",
            key="--cluster",
            got=loaded.kind,
            allowed=list(WHAT_IF),
        )
    name = loaded.name
    with output_folder(out or Path("results") / name) as folder:
        from aocsim.scenarios.run import run_scenario

        before = _files(folder)
        data = run_scenario(
            scenario, library=library, overrides=overrides, out=folder, progress=_progress(quiet)
        )
        written = [path for path, state in _files(folder).items() if before.get(path) != state]
    if not quiet:
        from aocsim.report import print_notes, print_summary

        print_summary(json.loads(data.attrs["summary"]))
        print_notes(data)
        say("\nwritten:", *(f"  {short_path(path)}" for path in sorted(written)))


@app.command("roadmap")
def _roadmap(
    scenario: Annotated[
        str,
        typer.Argument(metavar="[SCENARIO]", help="Name, or path of a .toml file, of a kind of the roadmap."),
    ] = "roadmap_single",
    changes: SetOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Time, energy, light and bits with scale: `aocsim run` for scenarios of the roadmap, and no others."""
    from aocsim.library import Library
    from aocsim.scenarios.kinds import OF_ROADMAP
    from aocsim.scenarios.load import load_scenario

    overrides = _overrides(changes, {"seed": ("--seed", seed), "solve.threads": ("--threads", threads)})
    found = load_scenario(scenario, Library.open(library), overrides)
    if found.kind not in OF_ROADMAP:
        raise InputError(
            "is no scenario of the roadmap: take aocsim run",
            file=scenario,
            key="kind",
            got=found.kind,
            allowed=sorted(OF_ROADMAP),
        )
    _run(scenario, changes, seed, out, threads, None, quiet, library)


@app.command("rerun")
def _rerun(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A result.nc.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=_folder, metavar="DIR", help="Folder of the new results.  [not kept]"),
    ] = None,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Repeat a result from its own file; say whether it is identical.

    Sheets and model are taken from the file, not from the library. Every variable and scientific attribute is compared
    bit for bit. Exit status 0 if they are identical, 1 if not, 2 for bad input. Other versions are named.
    """
    from aocsim.repeat import rerun
    from aocsim.report import print_rerun

    found = rerun(file, threads=threads, out=out, progress=_progress(quiet))
    if not quiet:
        print_rerun(found)
    if not found.identical:
        raise typer.Exit(DIFFERENT)


@app.command("compare")
def _compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A result.nc.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the comparison to a file, too.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Compare two results: inputs, and outputs beyond noise.

    Means over samples are compared with their standard errors, paired where both runs start from the same noise, at 1 %
    for all means together (Bonferroni). Exit status 0 if the outputs agree within noise, 1 if not, 2 for bad input.
    """
    from dataclasses import asdict

    from aocsim.comparison import compare
    from aocsim.output import write_json
    from aocsim.report import print_comparison

    if json_file is not None and json_file.resolve() in (a.resolve(), b.resolve()):
        raise InputError(
            "is one of the results that are compared; choose another file", file=json_file, key="--json"
        )
    found = compare(a, b)
    if json_file is not None:
        write_json(json_file, {"a": str(a), "b": str(b), "agree": found.agree, **asdict(found)})
    if not quiet:
        print_comparison(found)
    if not found.agree:
        raise typer.Exit(DIFFERENT)


@app.command("list")
def _list(
    kind: Annotated[
        str | None, typer.Argument(metavar="[parts|machines|models|scenarios]", help="All without it.")
    ] = None,
    library: LibraryOption = None,
) -> None:
    """List what the library holds."""
    from aocsim.library import Library

    source = Library.open(library)
    kinds = KINDS if kind is None else (_kind(kind),)
    for i, one in enumerate(kinds):
        rows = [
            (name, _describes(path), short_path(path)) for name, path in sorted(source.names(one).items())
        ]
        if i:
            say("")
        print_table((one[:-1], "describes", "where"), rows)


@app.command("show")
def _show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Part, machine, model, scenario, or path of a result.nc.")
    ],
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Which, where several have the name.")
    ] = None,
    parts: Annotated[bool, typer.Option("--parts", help="Of a machine, all entries of its parts.")] = False,
    library: LibraryOption = None,
) -> None:
    """Show what a sheet, recipe, scenario or result says, with sources."""
    if name.endswith(".nc"):
        from aocsim.record import read_result
        from aocsim.report import print_result

        print_result(read_result(Path(name)))
        return
    from aocsim.library import Library
    from aocsim.show import show_machine, show_model, show_part, show_scenario

    source = Library.open(library)
    show: Mapping[Kind, Callable[[], None]] = {
        "parts": lambda: show_part(source.part(name)),
        "machines": lambda: show_machine(source.machine(name), parts),
        "models": lambda: show_model(source.model_path(name)),
        "scenarios": lambda: show_scenario(name, source),
    }
    found = _kinds_of(name, source) if kind is None else [_kind(kind)]
    for i, one in enumerate(found):
        if i:
            say("")
        show[one]()


@app.command("train")
def _train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Model, or path of its .toml file.")],
    changes: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=_folder, metavar="DIR", help="Folder of NAME.nc.  [beside the recipe]"),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not go on from what an interrupted training has left.")
    ] = False,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Train a model after its recipe (needs the extra `train`).

    A training that was interrupted goes on from its latest checkpoint.
    """
    from aocsim.library import Library

    source = Library.open(library)
    path = source.model_path(recipe)
    plan = _changed_recipe(path, _overrides(changes, {"training.seed": ("--seed", seed)}))
    try:
        machine = source.machine(plan.activation)
    except InputError as error:
        raise (error.located(file=path, key="activation") if error.file is None else error) from None
    with output_folder(path.parent if out is None else out) as folder:
        from aocsim.diffusion.network import save_network
        from aocsim.diffusion.train import train
        from aocsim.machine import nominal_activation
        from aocsim.scenarios.believed import programming_of

        began = time.perf_counter()
        checkpoint = folder / f"{plan.name}.checkpoint.npz"
        if restart:
            checkpoint.unlink(missing_ok=True)
        network, loss = train(
            plan,
            nominal_activation(machine),
            progress=_progress(quiet),
            start=_start(plan, source),
            through=programming_of(plan, machine, source),
            checkpoint=checkpoint,
            folder=path.parent,
        )
        seconds = time.perf_counter() - began
        target = folder / f"{plan.name}.nc"
        write_atomically(target, lambda temporary: save_network(network, temporary, loss))
        checkpoint.unlink(missing_ok=True)
    if not quiet:
        rows = [
            ("final loss", f"{loss[-LAST:].mean():.4f}, mean of the last {min(LAST, len(loss))} iterations"),
            *((key, f"{value:.4f}") for key, value in network.outcome.items()),
            ("time", f"{seconds:.1f} s"),
            ("written", short_path(target)),
        ]
        print_table(("training", plan.name), rows)


calibration_commands.register(app)
twin_commands.register(app)
validate_command.register(app)
whatif_commands.register(app)


def _overrides(
    changes: Sequence[str] | None, options: Mapping[str, tuple[str, int | None]]
) -> dict[str, object]:
    """Values by dotted key: those of `--set`, and `options` {key: (option, value)} where a value came."""
    from aocsim.scenarios.overrides import parse_assignment

    overrides: dict[str, object] = {}
    for text in changes or ():
        try:
            key, value = parse_assignment(text)
        except InputError as error:
            raise error.located(file="--set") from None
        overrides[key] = value
    for key, (option, number) in options.items():
        if number is not None:
            if key in overrides:
                raise InputError(f"is set twice, by {option} and by --set", key=key, got=overrides[key])
            overrides[key] = number
    return overrides


def _changed_recipe(path: Path, changes: Mapping[str, object]) -> Recipe:
    """The recipe in a file, with values changed by dotted key."""
    from aocsim.diffusion.train import Recipe
    from aocsim.errors import validate
    from aocsim.library import read_toml

    data, _, _ = read_toml(path)
    for key, value in changes.items():
        *tables, last = key.split(".")
        place = data
        for step in tables:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise InputError(f"cannot be set, {step!r} is not a table", file="override", key=key)
        place[last] = value
    try:
        recipe = validate(Recipe, data)
        if recipe.name != path.stem:
            raise InputError("must be the name of the file", key="name", got=recipe.name, allowed=path.stem)
    except InputError as error:
        changed = any(f"{error.key}.".startswith(f"{key}.") for key in changes)
        raise error.located(file="override" if changed else path) from None
    return recipe


def _start(plan: Recipe, library: Library) -> Network | None:
    """The network that a recipe goes on from."""
    from aocsim.diffusion.network import load_network

    name = plan.training.start
    if not name:
        return None
    try:
        return load_network(library.model_path(name).with_suffix(".nc"))
    except InputError as error:
        raise error.located(key="training.start") if error.key is None else error from None


def _kind(text: str) -> Kind:
    """The kind of this name, singular or plural."""
    for kind in KINDS:
        if text in (kind, kind[:-1]):
            return kind
    raise unknown_name("kind", text, KINDS)


def _kinds_of(name: str, library: Library) -> list[Kind]:
    """The kinds that have something of this name; never empty."""
    if name.endswith(".toml"):
        return [_kind_of_file(library.scenario_path(name))]
    names = {kind: library.names(kind) for kind in KINDS}
    found = [kind for kind in KINDS if name in names[kind]]
    if found:
        return found
    try:
        library.part(name)
    except InputError as error:
        if error.file is not None:  # there is such a sheet, but damaged, which `names` leaves out
            raise
    raise unknown_name("name", name, set().union(*names.values()))


def _kind_of_file(path: Path) -> Kind:
    from aocsim.library import read_toml

    data, _, _ = read_toml(path)
    if "law" in data or data.get("kind") == "machine":
        raise InputError(
            "is the sheet of a part or machine: show it by its name, with --library",
            file=path,
            nearest=path.stem,
        )
    return "models" if data.get("kind") == "network" else "scenarios"


def _describes(path: Path) -> str:
    """The line that says what a file is; a damaged file must not keep the others from being listed."""
    from aocsim.library import read_toml

    try:
        return str(read_toml(path)[0].get("describes", NOTHING))
    except InputError as error:
        return f"({error.problem})"


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Files in a folder, with what changes when one is replaced."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()
    }


def _progress(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()
