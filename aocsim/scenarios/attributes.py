"""Attributes of a result that several models have made: where it comes from and what it comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from aocsim.provenance import commit, machine_record, versions
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.spec import MachineSpec


def attributes_of(
    scenario: ModelsOnMachine,
    spec: MachineSpec,
    *,
    evaluations: int,
    notes: Sequence[str],
    summary: Mapping[str, float],
    wall_seconds: float,
) -> dict[str, object]:
    """Attributes by name.

    Args:
        scenario: validated.
        spec: the machine's sheets.
        evaluations: of the right-hand side in all runs.
        notes: what a reader has to know.
        summary: flat figures of merit.
        wall_seconds: wall time of all.
    """
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
        "solver_nfev": evaluations,
        "knowledge": str(scenario.compile.knowledge),
        "notes": json.dumps(list(notes)),
        "summary": json.dumps(dict(summary)),
        "wall_seconds": wall_seconds,
    }
