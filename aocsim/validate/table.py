"""The table of all comparisons: which groups there are, how they run, how they are kept."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from aocsim.errors import AocsimError, InputError, unknown_name
from aocsim.output import write_json
from aocsim.parallel import one_blas_thread, parallel
from aocsim.provenance import commit, versions
from aocsim.validate.check import REFERENCES, Check, Reference, Row, Setting, SkippedError

log = logging.getLogger(__name__)

GROUPS: tuple[str, ...] = (
    "closed_forms",
    "dead_time",
    "spice",
    "twin",
    "ensemble",
    "machine_facts",
)
"""Modules of this package, each with a TITLE and its CHECKS, in the order of the table."""

TABLE, MADE_BY = "validation.json", "validation_made_by.json"


@dataclass(frozen=True, eq=False)
class Finding:
    """A row of the table and where it comes from.

    Attributes:
        group: module of the check.
        check: name of the check.
        reference: of the check: how independent what it compares with is.
        row: what it found.
        seconds: how long it took, s.
    """

    group: str
    check: str
    reference: Reference
    row: Row
    seconds: float

    def as_record(self) -> dict[str, object]:
        """Plain values for JSON: all of the row but its curve, errors as `rms_percent` and `max_percent`.

        A row has either errors or a value with its interval; what it has not is None.
        """
        reading = self.row.reading
        return {
            "group": self.group,
            "check": self.check,
            "what": self.row.what,
            "against": self.row.against,
            "reference": self.reference,
            "rms_percent": self.row.rms,
            "max_percent": self.row.maximum,
            "percent_of": self.row.span or None,
            "value": None if reading is None else reading.value,
            "lowest": None if reading is None else reading.low,
            "highest": None if reading is None else reading.high,
            "unit": None if reading is None else reading.unit,
            "tolerance": self.row.tolerance,
            "status": self.row.status,
            "reason": self.row.reason,
            "seconds": round(self.seconds, 3),
        }


def title(group: str) -> str:
    """What a group compares, for the heading of its figure."""
    return str(import_module(f"aocsim.validate.{group}").TITLE)


def checks(group: str) -> tuple[Check, ...]:
    """The checks of a group."""
    return tuple(import_module(f"aocsim.validate.{group}").CHECKS)


def chosen(only: Sequence[str] = ()) -> list[tuple[str, Check]]:
    """Groups and checks to run, in the order of the table; all of them if no group or check is named.

    Raises:
        InputError: no group or check of this name.
    """
    every = [(group, check) for group in GROUPS for check in checks(group)]
    names = {*GROUPS, *(check.name for _, check in every)}
    for name in only:
        if name not in names:
            raise unknown_name("group or check", name, names, key="--only")
    return [(group, check) for group, check in every if not only or group in only or check.name in only]


def run_check(setting: Setting, place: tuple[str, str]) -> Finding:
    """One check, named by its group and name; whatever goes wrong in it, sheets included, is a failed row."""
    group, name = place
    check = next(check for check in checks(group) if check.name == name)
    began = time.perf_counter()
    try:
        # the matrices are small, and workers share the cores: threads inside BLAS would wait for one another
        with one_blas_thread():
            row = check.run(setting)
    except SkippedError as reason:
        row = _empty(check, "skipped", str(reason))
    except AocsimError as error:
        row = _empty(check, "fail", str(error))
    except Exception as error:  # a defect in one comparison must not take the others along
        log.exception("%s", name)
        row = _empty(check, "fail", f"{type(error).__name__}: {error}")
    return Finding(group, name, check.reference, row, time.perf_counter() - began)


def run_checks(
    setting: Setting,
    only: Sequence[str] = (),
    workers: int = 1,
    done: Callable[[Finding], object] = lambda _: None,
) -> list[Finding]:
    """Run the comparisons.

    Args:
        setting: on what.
        only: groups and checks; all if empty.
        workers: processes.
        done: hears each finding as it comes.

    Raises:
        InputError: unknown names.
    """
    places = [(group, check.name) for group, check in chosen(only)]
    work = partial(run_check, setting)
    found: Iterator[Finding] = map(work, places) if workers == 1 else parallel(work, places, workers)
    findings = []
    for finding in found:
        findings.append(finding)
        done(finding)
    return findings


def _empty(check: Check, status: str, reason: str) -> Row:
    what = check.name.replace("_", " ")
    return Row(what, "", None, None, "", "", "skipped" if status == "skipped" else "fail", reason)


def write_table(findings: Sequence[Finding], setting: Setting, folder: Path) -> None:
    """Write validation.json, a list of rows, and beside it what made it and what the words for references mean."""
    write_json(folder / TABLE, [finding.as_record() for finding in findings])
    write_json(folder / MADE_BY, made_by(setting))


def made_by(setting: Setting) -> Mapping[str, object]:
    """Versions, commit, setting, and the words for references."""
    settled = {name: None if value is None else str(value) for name, value in asdict(setting).items()}
    return {"commit": commit(), "versions": versions(), "setting": settled, "references": REFERENCES}


def read_table(path: Path) -> list[dict[str, object]]:
    """The rows of a validation.json.

    Raises:
        InputError: not such a file.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", file=path) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "status" in row for row in rows):
        raise InputError("is no table of comparisons", file=path)
    return rows
