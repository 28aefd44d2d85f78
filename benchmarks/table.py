"""The benchmark table of the README, from a result file.

    python benchmarks/table.py [benchmarks/results/latest.json] [--check]

Replaces what stands between the markers of README.md; without markers, or with --check, it prints the table alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
HEAD = (
    "track", "load", "trajectories/s", "over the best peer", "which", "over SciPy stacked", "over SciPy one by one",
    "share of roofline", "error",
)  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """Markdown: one table without and one with an exit at the steady state, and where they were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found["versions"].items()))
    parts = [
        f"{_where(found)}; {versions}.",
        _one(found, exits=False),
        "With an exit at the steady state where a library has one:",
        _one(found, exits=True),
    ]
    if found["absent"]:
        parts.append("Absent: " + ", ".join(sorted(found["absent"])) + ".")
    return "\n\n".join(parts)


def _where(found: dict[str, Any]) -> str:
    """On what the tracks were measured, those of one machine and day together."""
    places: dict[str, list[str]] = {}
    for name, track in found["tracks"].items():
        one, rounds = track["machine"], track["rounds"]
        where = f"{one['threads']} threads of {one['processor']}, {one['date']}"
        place = f"median of {rounds} interleaved rounds on {where}"
        places.setdefault(place, []).append(name.split("/")[0])
    told = [f"{', '.join(dict.fromkeys(names))}: {place}" for place, names in places.items()]
    text = "; ".join(told) if len(told) > 1 else next(iter(places))
    return text[0].upper() + text[1:]


def _one(found: dict[str, Any], *, exits: bool) -> str:
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for name, track in found["tracks"].items():
        both = track["steady_exit"] if exits else track
        if exits and not any(row["steady_exit"] and row.get("seconds") for row in track["rows"]):
            continue
        shown = {name: both, **{f"{name}, {way}": other for way, other in both["other_ways"].items()}}
        for told, numbers in shown.items():
            lines.append("| " + " | ".join(_cells(told, numbers)) + " |")
    return "\n".join(lines)


def _cells(name: str, numbers: dict[str, Any]) -> list[str]:
    ours, (track, load) = numbers["ours"], name.split("/")
    # of a noisy ensemble the error is the weak one, in units of what is allowed
    unit = "" if track == "noise" else " V"
    return [
        track,
        load.replace("aocsim ", ""),
        _short(ours["per_second"][0]) if ours else "-",
        _times(numbers["ratio_best_peer"]),
        numbers["best_peer"] or "-",
        _times(numbers["ratio_scipy_stacked"]),
        _times(numbers["ratio_scipy_single"]),
        "-" if numbers["roofline_fraction"] is None else f"{100 * numbers['roofline_fraction']:.0f} %",
        "-" if numbers["error"] is None else f"{numbers['error']:.1e}{unit}",
    ]


def _short(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}".replace(",", " ")


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x"


def placed(readme: str, text: str) -> str:
    """The README with the table between its markers.

    Raises:
        ValueError: it has not both markers, in order.
    """
    begin, end = readme.find(BEGIN), readme.find(END)
    if not 0 <= begin < end:
        raise ValueError(f"no markers {BEGIN} and {END}")
    return f"{readme[: begin + len(BEGIN)]}\n\n{text}\n\n{readme[end:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, default=ROOT / "benchmarks/results/latest.json")
    parser.add_argument("--check", action="store_true", help="print the table, change nothing")
    arguments = parser.parse_args()
    text = table(json.loads(arguments.result.read_text()))
    readme = ROOT / "README.md"
    if arguments.check or BEGIN not in readme.read_text():
        print(text)
    else:
        readme.write_text(placed(readme.read_text(), text))


if __name__ == "__main__":
    main()
