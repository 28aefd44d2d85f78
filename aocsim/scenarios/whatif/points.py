"""Points of a study: scenarios that differ in what is varied, told apart by the hash of all their inputs."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aocsim.errors import InputError, validate
from aocsim.library import Library
from aocsim.provenance import input_files, source_digest
from aocsim.record import sha256_of
from aocsim.scenarios.find import find_named
from aocsim.scenarios.kinds import OneRun, one_run
from aocsim.scenarios.overrides import assign

Place = Mapping[str, str | float]
"""Where a point stands: a label for each dimension of the study."""


@dataclass(frozen=True, eq=False)
class Point:
    """One scenario of a study.

    Attributes:
        place: where it stands.
        scenario: what is run.
        digest: of the scenario, the files it reads and this package's code: what its result depends on.
    """

    place: Place
    scenario: OneRun
    digest: str


def changed(base: Mapping[str, Any], changes: Mapping[str, object], library: Library) -> OneRun:
    """A scenario with changes, checked like one from a file.

    Raises:
        InputError: whatever is wrong with it; the key is one of `changes` where that is to blame.
    """
    data = copy.deepcopy(dict(base))
    for key, value in changes.items():
        assign(data, key, value)
    scenario = validate(one_run(data.get("kind", "sample")), data)
    find_named(scenario, library)
    return scenario


def point(place: Place, scenario: OneRun, library: Library) -> Point:
    """A point, with the hash of all that decides its result."""
    stored = json.loads(scenario.to_json())
    for key in ("name", "describes"):
        stored.pop(key)
    stored["solve"].pop("threads")
    spec = library.machine(scenario.machine, scenario.parts)
    files = input_files(spec, scenario.models, library, scenario.named, scenario.sheets)
    inputs = {path: sha256_of(content) for path, content in sorted(files.items())}
    text = json.dumps([stored, inputs, _code()], sort_keys=True)
    return Point(place, scenario, hashlib.sha256(text.encode()).hexdigest()[:32])


@lru_cache(maxsize=1)
def _code() -> str:
    return source_digest()


def inputs_of(points: Iterable[Point], library: Library) -> dict[str, bytes]:
    """All files that the points read, by their place in a library folder.

    Raises:
        InputError: two points read files of one name that differ.
    """
    out: dict[str, bytes] = {}
    seen: set[str] = set()
    for one in points:
        scenario = one.scenario
        told = json.dumps(
            [scenario.machine, scenario.parts, scenario.models, scenario.named, scenario.sheets],
            sort_keys=True,
        )
        if told in seen:
            continue
        seen.add(told)
        spec = library.machine(scenario.machine, scenario.parts)
        files = input_files(spec, scenario.models, library, scenario.named, scenario.sheets)
        for path, content in files.items():
            if out.setdefault(path, content) != content:
                raise InputError("files of one name differ between the points", file=path)
    return out
