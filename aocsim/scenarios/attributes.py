"""Attributes that the results of all kinds of scenarios have: where they come from and what they come to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aocsim.provenance import commit, machine_record, versions
from aocsim.spec import MachineSpec
from aocsim.terminal import NOTHING

if TYPE_CHECKING:
    from aocsim.scenarios.load import Study

_UNITS = {
    "ns": "ns", "us": "us", "ms": "ms", "s": "s", "hz": "Hz", "v": "V", "mv": "mV", "w": "W", "j": "J",
}  # fmt: skip


def attributes_of(
    scenario: Study,
    spec: MachineSpec,
    *,
    notes: Sequence[str],
    summary: Mapping[str, float | None],
    wall_seconds: float,
) -> dict[str, object]:
    """Attributes by name.

    Args:
        scenario: validated.
        spec: the machine's sheets.
        notes: what a reader has to know.
        summary: flat figures of merit; those that are no finite numbers are stored as null.
        wall_seconds: wall time of all.
    """
    finite = {k: v if v is not None and math.isfinite(v) else None for k, v in summary.items()}
    return {
        "title": scenario.describes,
        "kind": scenario.kind,
        "scenario_name": scenario.name,
        "scenario": scenario.to_json(),
        "machine_record": machine_record(spec),
        "versions": json.dumps(versions(), sort_keys=True),
        "commit": commit(),
        "seed": scenario.seed,
        "serial": scenario.serial,
        "solver": scenario.solve.method,
        "rtol": scenario.solve.rtol,
        "atol_v": scenario.solve.atol,
        "notes": json.dumps(list(notes)),
        "summary": json.dumps(finite),
        "wall_seconds": wall_seconds,
    }


def unit_of(key: str) -> str:
    """The unit that a summary's key names, as in settling_us_median or samples_per_s."""
    words = key.split("_")
    for before, word in zip(["", *words], words, strict=False):
        if word in _UNITS:
            return f"1/{_UNITS[word]}" if before == "per" else _UNITS[word]
    return NOTHING
