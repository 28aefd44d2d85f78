"""The folder of a study: one file for each finished point, so that a study that was cut short goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aocsim.errors import InputError
from aocsim.folders import exclusive
from aocsim.output import refusal, write_json

POINTS = "points"
"""Subfolder of a study's folder."""

PLAN = "study.json"


@dataclass(frozen=True, eq=False)
class Found:
    """What a point came to.

    Attributes:
        summary: figures by name; None is no number.
        error: why it was impossible; empty where it was not.
        seconds: wall time.
    """

    summary: Mapping[str, float | None]
    error: str = ""
    seconds: float = 0.0


@contextmanager
def opened(folder: Path, base: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of a study's points, held so that no second study writes there.

    Args:
        folder: of the study.
        base: the scenario that is varied.

    Raises:
        InputError: another study is at work there, or the points there are of another scenario.
    """
    points = folder / POINTS
    try:
        points.mkdir(exist_ok=True)
    except OSError as error:
        raise refusal(error, points) from error
    with exclusive(points, "another study is at work in this folder"):
        for litter in points.glob(".*.json"):  # half-written by a study that was killed
            litter.unlink(missing_ok=True)
        plan = points / PLAN
        told = json.loads(json.dumps({"base": base}))
        told["base"].get("solve", {}).pop("threads", None)  # of which results do not depend
        if plan.exists():
            try:
                before = json.loads(plan.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise InputError(
                    "cannot be read, so that nobody knows whose points these are", file=plan
                ) from error
            if before != told:
                raise InputError(
                    "holds points of another scenario: choose another folder, or remove it",
                    file=points,
                    key=_first_difference(before.get("base"), told["base"]),
                )
        elif any(points.glob("*.json")):
            raise InputError("holds points of a study that nobody knows", file=points)
        else:
            write_json(plan, told)
        yield points


def _first_difference(old: object, new: object, key: str = "") -> str | None:
    """Dotted key in which two tables differ first."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                return _first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    return key or None


def read_point(folder: Path, digest: str) -> Found | None:
    """A finished point; None if there is none, or a damaged file, which is computed again."""
    try:
        data = json.loads((folder / f"{digest}.json").read_text(encoding="utf-8"))
        return Found(dict(data["summary"]), str(data["error"]), float(data["seconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_point(folder: Path, digest: str, place: Mapping[str, object], found: Found) -> None:
    """Keep a finished point.

    Raises:
        ResourceError: the disk is full; what is there stays.
    """
    write_json(
        folder / f"{digest}.json",
        {"place": place, "summary": found.summary, "error": found.error, "seconds": found.seconds},
    )
