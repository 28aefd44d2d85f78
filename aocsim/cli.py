"""The command line: a thin layer over the package. What is slow to import, a command imports when it runs."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from aocsim.errors import AocsimError, InputError, unknown_name
from aocsim.output import DISK_FULL, output_folder, write_atomically
from aocsim.terminal import NOTHING, print_table, say, short_path

if TYPE_CHECKING:
    from aocsim.diffusion.train import Recipe
    from aocsim.library import Kind, Library

FAULT, INTERRUPTED, BROKEN_PIPE = 2, 130, 1  # exit statuses
KINDS: tuple[Kind, ...] = ("parts", "machines", "models", "scenarios")
LAST = 100  # iterations over which the final loss is averaged
_UNITS = {
    "ns": "ns", "us": "us", "ms": "ms", "s": "s", "hz": "Hz", "v": "V", "mv": "mV", "w": "W", "j": "J",
}  # fmt: skip


class _Group(TyperGroup):
    """Commands whose errors are told in one line; only defects of the program show a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer's own handling would end an interrupt with various statuses."""
        try:
            return super().invoke(ctx)
        except AocsimError as error:
            raise _failed(str(error)) from None
        except MemoryError as error:
            raise _failed(f"not enough memory: {error}") from None
        except KeyboardInterrupt:
            typer.echo("aocsim: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None


def _failed(message: str) -> typer.Exit:
    typer.echo(f"aocsim: error: {' '.join(message.split())}", err=True)
    return typer.Exit(FAULT)


app = typer.Typer(
    cls=_Group,
    name="aocsim",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: it is not cut in a pipe, and comes in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LibraryOption = Annotated[
    Path | None, typer.Option("--library", metavar="DIR", help="Folder of sheets that is searched first.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of the file, for example diffusion.steps=8; repeatable, the last one holds.",
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of the random numbers.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def main() -> None:
    """Entry point of the command `aocsim`."""
    logging.basicConfig(format="aocsim: %(message)s", level=logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a source's name may hold letters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    for name in (
        "SIGTERM",
        "SIGHUP",
    ):  # a terminated run cleans up as an interrupted one: workers, temporary files
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupted)
    try:
        app(prog_name="aocsim")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        sys.exit(_failed(_cannot_write(error)).exit_code)
    finally:
        _flush()


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _flush() -> None:
    """Write what is buffered; the interpreter would do it too late to report that nobody reads it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer goes nowhere, or the interpreter's own flush would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(BROKEN_PIPE)
        sys.exit(_failed(_cannot_write(error)).exit_code)


def _cannot_write(error: OSError) -> str:
    place = "output" if error.filename is None else error.filename
    return f"{place}: cannot be written: {error.strerror}"


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
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of the results.  [results/SCENARIO]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="Workers; 0 takes all cores.")
    ] = None,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Run a scenario: result.nc, summary.json and pictures."""
    from aocsim.library import Library
    from aocsim.scenarios.schema import load_scenario

    overrides = _overrides(changes, {"seed": ("--seed", seed), "solve.threads": ("--threads", threads)})
    # Validated here once more, so that a wrong scenario does not leave a folder.
    name = load_scenario(scenario, Library.open(library), overrides).name
    with output_folder(out or Path("results") / name) as folder:
        from aocsim.scenarios.run import run_scenario

        before = _files(folder)
        data = run_scenario(
            scenario, library=library, overrides=overrides, out=folder, progress=_progress(quiet)
        )
        written = [path for path, state in _files(folder).items() if before.get(path) != state]
    if not quiet:
        _print_summary(json.loads(data.attrs["summary"]))
        say("\nto know:", *(f"  {note}" for note in json.loads(data.attrs["notes"])))
        say("\nwritten:", *(f"  {short_path(path)}" for path in sorted(written)))


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
    name: Annotated[str, typer.Argument(metavar="NAME", help="Part, machine, model or scenario.")],
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Which, where several have the name.")
    ] = None,
    parts: Annotated[bool, typer.Option("--parts", help="Of a machine, all entries of its parts.")] = False,
    library: LibraryOption = None,
) -> None:
    """Show what a sheet, recipe or scenario says, with sources."""
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
        Path | None, typer.Option("--out", metavar="DIR", help="Folder of NAME.nc.  [beside the recipe]")
    ] = None,
    quiet: QuietOption = False,
    library: LibraryOption = None,
) -> None:
    """Train a model after its recipe (needs the extra `train`)."""
    from aocsim.library import Library

    source = Library.open(library)
    path = source.model_path(recipe)
    plan = _changed_recipe(path, _overrides(changes, {"training.seed": ("--seed", seed)}))
    machine = source.machine(plan.activation)
    with output_folder(path.parent if out is None else out) as folder:
        from aocsim.diffusion.network import save_network
        from aocsim.diffusion.train import train
        from aocsim.machine import nominal_activation

        began = time.perf_counter()
        network, loss = train(plan, nominal_activation(machine), progress=_progress(quiet))
        seconds = time.perf_counter() - began
        target = folder / f"{plan.name}.nc"
        write_atomically(target, lambda temporary: save_network(network, temporary, loss))
    if not quiet:
        rows = [
            ("final loss", f"{loss[-LAST:].mean():.4f}, mean of the last {min(LAST, len(loss))} iterations"),
            ("time", f"{seconds:.1f} s"),
            ("written", short_path(target)),
        ]
        print_table(("training", plan.name), rows)


def _overrides(
    changes: Sequence[str] | None, options: Mapping[str, tuple[str, int | None]]
) -> dict[str, object]:
    """Values by dotted key: those of `--set`, and `options` {key: (option, value)} where a value came."""
    from aocsim.scenarios.schema import parse_assignment

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


def _print_summary(summary: Mapping[str, object]) -> None:
    rows = []
    for key, value in summary.items():
        if value is None:
            value = "not a number"
        rows.append((key, f"{value:.6g}" if isinstance(value, float) else str(value), _unit(key)))
    print_table(("summary", "value", "unit"), rows)


def _unit(key: str) -> str:
    """The unit that a summary's key names, as in settling_us_median or samples_per_s."""
    words = key.split("_")
    for before, word in zip(["", *words], words, strict=False):
        if word in _UNITS:
            return f"1/{_UNITS[word]}" if before == "per" else _UNITS[word]
    return NOTHING


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Files in a folder, with what changes when one is replaced."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()
    }


def _progress(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()
