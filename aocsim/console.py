"""How the command line ends: errors told in one line, exit statuses, interrupts, output that nobody reads."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from aocsim.errors import AocsimError, NoConvergenceError
from aocsim.interrupts import listen, raise_if_interrupted
from aocsim.output import DISK_FULL

DIFFERENT, NO_RESULT, FAULT, INTERRUPTED, BROKEN_PIPE = 1, 1, 2, 130, 1
"""Exit statuses: results differ; a fit that does not converge; bad input, or a machine that does not work; Ctrl-C; the
reader went away."""


class Group(TyperGroup):
    """Commands whose errors are told in one line; only defects of the program show a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer's own handling would end an interrupt with various statuses."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                raise_if_interrupted()  # whatever has become of it: swallowed, or taken for another fault
        except NoConvergenceError as error:
            raise _failed(str(error), NO_RESULT) from None
        except AocsimError as error:
            raise _failed(str(error)) from None
        except MemoryError as error:
            raise _failed(f"not enough memory: {error}") from None
        except KeyboardInterrupt:
            typer.echo("aocsim: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(BROKEN_PIPE) from None


def _failed(message: str, status: int = FAULT) -> typer.Exit:
    typer.echo(f"aocsim: error: {' '.join(message.split())}", err=True)
    return typer.Exit(status)


def run_app(app: typer.Typer) -> None:
    """Run a command line and end the process with its status."""
    logging.basicConfig(format="aocsim: %(message)s", level=logging.WARNING)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a source's name may hold letters that the terminal has not
            stream.reconfigure(errors="backslashreplace")
    # a terminated run cleans up as an interrupted one: workers, temporary files
    listen()
    try:
        app(prog_name="aocsim")
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        sys.exit(_failed(_cannot_write(error)).exit_code)
    except KeyboardInterrupt:  # before the command began, or after it ended
        typer.echo("aocsim: interrupted", err=True)
        sys.exit(INTERRUPTED)
    finally:
        _flush()
        # the command has ended: an interrupt while the interpreter ends, too, would show a traceback
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


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
