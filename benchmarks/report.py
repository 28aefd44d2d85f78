"""From raw rows to the numbers that are compared, and to a JSON file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

OURS = "aocsim"
STACKED = "scipy stacked"
SINGLE = ("scipy LSODA", "scipy Radau")


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians compared, without and with an exit at the steady state.

    With the exit, a library that cannot end early is compared as it is. A ratio is our trajectories per second over
    theirs; None where one of the two is missing. "scipy single" is the faster of LSODA and Radau one by one. Further
    ways of ours, whose library is "aocsim ...", are compared under "other_ways".
    """
    without = _compared([row for row in rows if not row["steady_exit"]])
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = row["library"], row["way"]
        if "seconds" in row and (key not in best or row["per_second"][0] > best[key]["per_second"][0]):
            best[key] = row
    return {**without, "steady_exit": _compared(list(best.values()))}


def _compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        library = row["library"]
        if "per_second" not in row:
            continue
        if library not in best or row["per_second"][0] > best[library]["per_second"][0]:
            best[library] = row
    peers = {library: row for library, row in best.items() if not library.startswith(OURS)}
    other_ways = {library: row for library, row in best.items() if library.startswith(f"{OURS} ")}
    return {
        **_against(best.get(OURS), peers),
        "other_ways": {library: _against(row, peers) for library, row in sorted(other_ways.items())},
        "libraries": {library: _named(row) for library, row in sorted(best.items())},
    }


def _against(ours: dict[str, Any] | None, peers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One of our ways against the fastest row of each peer."""
    fastest = max(peers, key=lambda library: peers[library]["per_second"][0], default=None)

    def ratio(*libraries: str) -> float | None:
        theirs = [peers[library]["per_second"][0] for library in libraries if library in peers]
        return ours["per_second"][0] / max(theirs) if ours and theirs else None

    products = ours.get("product_seconds") if ours else None
    median = sorted(ours["seconds"])[len(ours["seconds"]) // 2] if ours else None
    return {
        "ours": _named(ours),
        "best_peer": f"{fastest} {peers[fastest]['way']}" if fastest else None,
        "ratio_best_peer": ratio(fastest) if fastest else None,
        "ratio_scipy_stacked": ratio(STACKED),
        "ratio_scipy_single": ratio(*SINGLE),
        "roofline_fraction": products * ours["evaluations"] / median if products else None,
        "error": ours["error"] if ours else None,
    }


def _named(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """The numbers of a row that a table shows."""
    if row is None:
        return None
    keys = (
        "way",
        "knob",
        "error",
        "per_second",
        "compilation_seconds",
        "peak_megabytes",
        "idle_megabytes",
        "steady_exit",
    )
    return {key: row.get(key) for key in keys}


def write(path: Path, found: dict[str, Any]) -> None:
    """As JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".part")
    scratch.write_text(json.dumps(_plain(found), indent=1, allow_nan=False) + "\n")
    scratch.replace(path)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value
