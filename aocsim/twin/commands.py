"""The twin's verbs of the command line: a measured machine into the library, and a machine into the twin's format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aocsim.errors import InputError
from aocsim.options import LibraryOption, QuietOption
from aocsim.terminal import print_table, say, short_path


def register(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    app.command("import-twin")(import_twin)
    app.command("export-twin")(export_twin)


def import_twin(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Parameters of a measured machine, in YAML.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Library folder that takes the sheets.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the machine.  [the file's name]")
    ] = None,
    direct_light: Annotated[
        bool, typer.Option("--direct-light", help="With the light that no pixel modulates.")
    ] = False,
    library: LibraryOption = None,
    quiet: QuietOption = False,
) -> None:
    """Make sheets of a measured machine from the public twin's parameter file.

    Files that are there already stay: the same ones are passed over, others are refused before anything is written, and
    so are parameters that no machine can be built from.
    """
    from aocsim.folders import output_folder
    from aocsim.library import FOLDERS, Library
    from aocsim.twin.build import checked_sheets
    from aocsim.twin.folder import plain_name, write_sheets
    from aocsim.twin.format import read_measurement
    from aocsim.twin.sheets import TYPICAL

    found = read_measurement(file)
    machine = plain_name(file.stem) if name is None else name
    if plain_name(machine) != machine:
        raise InputError(
            "is no name for a sheet", key="--name", got=machine, allowed="letters, digits, '_', '-' and '.'"
        )
    if machine == TYPICAL:
        raise InputError(
            "is the machine that gives what a measurement does not hold", key="--name", got=machine
        )
    # built once, so that what is no machine is refused before a folder is made
    sheets = checked_sheets(found, machine, Library.open(library), direct_light=direct_light)
    with output_folder(out / FOLDERS["machines"]) as folder:
        written = write_sheets(folder, sheets)
    if not quiet:
        rows = [(sheet, "written" if sheet in written else "as it was") for sheet in sheets]
        print_table(("sheet", short_path(out / FOLDERS["machines"])), rows)
        say("", f"{found.channels} channels from {short_path(file)}")


def export_twin(
    machine: Annotated[
        str, typer.Argument(metavar="MACHINE", help="Name of a machine, or path of its sheet.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The parameter file, in YAML.")],
    serial: Annotated[
        int | None,
        typer.Option("--serial", metavar="N", min=0, max=2**63 - 1, help="Which machine.  [the nominal one]"),
    ] = None,
    library: LibraryOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write a machine's static laws in the public twin's format.

    A machine of measured laws comes out as it went in; where its other sheets have been changed, with what they make of
    it. Of any other the format's laws are fitted, and what they cannot hold is printed.
    """
    from aocsim.library import Library
    from aocsim.twin.fit import measurement_of
    from aocsim.twin.format import FIELDS, write_measurement
    from aocsim.twin.held import folded_keys

    name = machine
    if machine.endswith(".toml"):
        path = Path(machine)
        library, name = path.absolute().parent.parent, path.stem
        if not path.is_file():
            raise InputError("no such file", file=path)
    spec = Library.open(library).machine(name)
    found, residuals = measurement_of(spec, serial, name)
    write_measurement(found, out)
    if quiet:
        return
    if residuals:
        print_table(
            ("law", "rms", "maximum", "unit"),
            [(item.law, f"{item.rms:.3g}", f"{item.maximum:.3g}", item.unit) for item in residuals],
        )
        say("")
    elif folded := folded_keys(found, spec):
        say(f"as measured, with what the machine's other sheets make of it: {', '.join(folded)}")
    else:
        say("as measured, every number as it was")
    if not residuals and serial is not None and spec.parts["gains"]["alpha_gain"].spread:
        say("left out: by how much alpha arrives other than set, of this serial")
    share = spec.parts["optics"].entries.get("direct_share")
    if (share is None or share.value) and any(any(found.array(key)) for key in FIELDS if "pbs_" in key):
        say("with direct light, which is for the reader to ask for: import-twin --direct-light")
    say(f"written: {short_path(out)}")
