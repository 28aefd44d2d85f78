"""What the commands print: lines and tables, on a terminal and into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer

NOTHING = "-"  # an empty cell, so that columns can be told apart in plain text


def say(*lines: str) -> None:
    """Print lines to standard output."""
    typer.echo("\n".join(lines))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: in full and aligned by spaces where the output is no terminal or wide enough, else folded."""
    cells = [[" ".join(cell.split()) or NOTHING for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    if not sys.stdout.isatty():
        say(
            *(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
                for line in (columns, *cells)
            )
        )
        return
    _print_on_terminal(columns, cells, sum(widths) + 2 * len(widths))


def _print_on_terminal(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text as Line

    console = Console(highlight=False)
    if width > console.width and len(columns) > 4:  # columns of three letters cannot be read
        for first, *others in cells:
            console.print(Line(first, style="bold"))
            for column, cell in zip(columns[1:], others, strict=True):
                if cell != NOTHING:
                    console.print(Padding(Line(f"{column}: {cell}"), (0, 0, 0, 4)))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*map(Line, row))
    console.print(table)


def short_path(path: Path) -> str:
    """A path, relative to the current folder where it lies in it."""
    with suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)
