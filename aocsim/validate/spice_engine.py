"""ngspice as a batch program: run a netlist, read the raw file that it writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import AocsimError
from aocsim.validate.check import SkippedError

Array = NDArray[np.float64]

PROGRAM = "ngspice"
TIMEOUT = 300.0  # s
# what ngspice writes before it gives up, and sometimes before it goes on with what cannot be trusted
TROUBLE = re.compile(r"^.*(?:error|singular|timestep too small|aborted).*$", re.IGNORECASE | re.MULTILINE)


class SpiceError(AocsimError):
    """ngspice did not solve a circuit, or its raw file cannot be read; the message says why."""


@dataclass(frozen=True, eq=False)
class Plot:
    """One analysis of a raw file.

    Attributes:
        name: of the analysis, as ngspice calls it.
        vectors: (points,) by name in lower case: "time", "frequency", "v(node)".
    """

    name: str
    vectors: dict[str, Array]

    def __getitem__(self, name: str) -> Array:
        """The vector of this name.

        Raises:
            SpiceError: there is none.
        """
        try:
            return self.vectors[name]
        except KeyError:
            known = ", ".join(self.vectors)
            raise SpiceError(f"{self.name!r} has no vector {name!r}, it has {known}") from None


def require_program() -> str:
    """Path of ngspice.

    Raises:
        SkippedError: it is not installed.
    """
    found = shutil.which(PROGRAM)
    if found is None:
        raise SkippedError("ngspice is not installed")
    return found


def version() -> str:
    """What `ngspice --version` calls itself: "ngspice-39".

    Raises:
        SkippedError: it is not installed.
    """
    told = subprocess.run(
        [require_program(), "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    found = re.search(r"ngspice-\S+", told.stdout)
    return found.group() if found else "ngspice"


def run(netlist: str, timeout: float = TIMEOUT) -> tuple[Plot, ...]:
    """Solve a circuit; one plot for each analysis, in the order of the raw file.

    Args:
        netlist: with its analyses; the first line is the title.
        timeout: s.

    Raises:
        SkippedError: ngspice is not installed.
        SpiceError: it takes too long, ends with an error, complains of one, or leaves no readable raw file.
    """
    program = require_program()
    with tempfile.TemporaryDirectory(prefix="aocsim-spice-") as folder:
        circuit, raw = Path(folder) / "circuit.cir", Path(folder) / "circuit.raw"
        circuit.write_text(netlist)
        try:
            done = subprocess.run(
                [program, "-b", "-r", raw.name, circuit.name],
                cwd=folder,
                # numbers as text, and none of the user's own start-up commands
                env={**os.environ, "SPICE_ASCIIRAWFILE": "1", "HOME": folder},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SpiceError(f"ngspice was stopped after {timeout:g} s") from None
        log = done.stdout + "\n" + done.stderr
        complaint = TROUBLE.search(log)
        if done.returncode or complaint:
            told = complaint.group().strip() if complaint else log.strip()[-200:]
            raise SpiceError(f"ngspice failed with exit status {done.returncode}: {told}")
        if not raw.exists():
            raise SpiceError("ngspice wrote no raw file: the netlist asks for no analysis")
        return parse_raw(raw.read_text())


def parse_raw(text: str) -> tuple[Plot, ...]:
    """The plots of a raw file with real numbers as text.

    Raises:
        SpiceError: complex or binary numbers, a file that is cut off, numbers that are not finite.
    """
    lines = iter(text.splitlines())
    plots = []
    header: dict[str, str] = {}
    for line in lines:
        key, colon, rest = line.partition(":")
        if not colon:
            if line.strip():
                raise SpiceError(f"raw file: a header line was expected, not {line.strip()[:40]!r}")
            continue
        header[key.strip().lower()] = rest.strip()
        if key == "Binary":
            raise SpiceError("raw file: binary numbers")
        if key != "Variables":
            continue
        if header.get("flags") != "real":
            raise SpiceError(f"raw file: real numbers were expected, not {header.get('flags')!r}")
        missing = {"no. variables", "no. points", "plotname"} - header.keys()
        if missing:
            raise SpiceError(f"raw file: a header without {min(missing)!r}")
        names = [next(lines, "").split()[1:2] for _ in range(int(header["no. variables"]))]
        if not all(names) or next(lines, "") != "Values:":
            raise SpiceError("raw file: cut off among the names")
        plots.append(_plot(header, [name[0].lower() for name in names], lines))
        header = {}
    if not plots:
        raise SpiceError("raw file: no analysis in it")
    return tuple(plots)


def _plot(header: dict[str, str], names: list[str], lines: Iterator[str]) -> Plot:
    """Read the values that follow a header."""
    points = int(header["no. points"])
    values = np.empty((points, len(names)))
    try:
        for point in range(points):
            for k in range(len(names)):
                fields = next(lines).split()
                while not fields:  # points are set apart by empty lines
                    fields = next(lines).split()
                if k == 0 and int(fields[0]) != point:
                    raise SpiceError(f"raw file: point {point} was expected, not {fields[0]}")
                values[point, k] = float(fields[-1])
    except (StopIteration, ValueError) as error:
        raise SpiceError(f"raw file: cut off in {header.get('plotname')!r}") from error
    if not points or not np.isfinite(values).all():
        raise SpiceError(
            f"raw file: {header.get('plotname')!r} holds no numbers, or some that are not finite"
        )
    return Plot(header.get("plotname", ""), {name: values[:, k] for k, name in enumerate(names)})
