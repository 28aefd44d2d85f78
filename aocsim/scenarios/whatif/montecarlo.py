"""Many machines: figures over serials with all mismatch, and with that of one part alone."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import binomtest

from aocsim.errors import unknown_name
from aocsim.library import Library
from aocsim.record import Variables
from aocsim.scenarios.whatif.engine import check_count
from aocsim.scenarios.whatif.points import Point, changed, point
from aocsim.scenarios.whatif.schema import ALL, MonteCarlo, limit_of
from aocsim.scenarios.whatif.store import Found
from aocsim.scenarios.whatif.tables import Laid, column, counts, figures_over, notes_of, shown
from aocsim.spec import MachineSpec

LEVEL = 0.68
SHARES = ("dead_fraction",)
"""Entries that say how many of a part's channels a serial draws, whatever their spread."""

_MEETS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def without_mismatch(spec: MachineSpec, roles: Sequence[str]) -> dict[str, object]:
    """Changes that leave the parts in these roles as their sheets' values are, with nothing drawn for a serial."""
    entries = [(role, name, entry) for role in roles for name, entry in spec.parts[role].entries.items()]
    out: dict[str, object] = {
        f"parts.{role}.{name}.spread": "0 %" for role, name, entry in entries if entry.spread
    }
    return out | {f"parts.{role}.{name}": "0" for role, name, _ in entries if name in SHARES}


def lay_out(scenario: MonteCarlo, library: Library) -> list[Point]:
    """Every variant at every serial, serials fastest.

    Raises:
        InputError: a role that is none, or too many points.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    check_count(scenario, scenario.serials * len(scenario.only))
    out = []
    for variant in scenario.only:
        if variant != ALL and variant not in spec.parts:
            raise unknown_name(f"role of {spec.name}", variant, [ALL, *spec.parts], key="only")
        others = [] if variant == ALL else [role for role in spec.parts if role != variant]
        changes = without_mismatch(spec, others)
        for serial in serials_of(scenario):
            made = changed(scenario.base, {**changes, "serial": serial}, library)
            out.append(point({"mismatch": variant, "serial": float(serial)}, made, library))
    return out


def serials_of(scenario: MonteCarlo) -> list[int]:
    """Serial numbers of the machines."""
    return list(range(scenario.first_serial, scenario.first_serial + scenario.serials))


def lay(scenario: MonteCarlo, library: Library, found: Sequence[Found]) -> Laid:
    """Figures over variants and serials, and how many machines meet all limits."""
    figures = shown(scenario, found)
    shape = (len(scenario.only), scenario.serials)
    variables = dict(figures_over(("mismatch", "serial"), shape, found))
    coordinates: Variables = {
        "mismatch": (
            ("mismatch",),
            np.array(scenario.only),
            "1",
            "part whose mismatch alone is drawn, or all",
        ),
        "serial": (("serial",), np.array(serials_of(scenario)), "1", "serial number"),
    }
    summary, notes = counts(found), notes_of(found)
    for name in figures:
        values = column(found, name).reshape(shape)
        for variant, row in zip(scenario.only, values, strict=True):
            if np.isfinite(row).any():
                summary[f"{name}_median.{variant}"] = float(np.nanmedian(row))
                summary[f"{name}_p95.{variant}"] = float(np.nanpercentile(row, 95))
        notes += _to_blame(name, scenario.only, summary)
    if scenario.limits:
        passed = np.array([_passes(scenario, one) for one in found]).reshape(shape)
        variables["passed"] = (
            ("mismatch", "serial"),
            passed.astype(np.int8),
            "1",
            "1 where all limits are met",
        )
        for variant, row in zip(scenario.only, passed, strict=True):
            share = binomtest(int(row.sum()), len(row)).proportion_ci(LEVEL, "wilson")
            summary |= {
                f"yield.{variant}": float(row.mean()),
                f"yield_low.{variant}": float(share.low),
                f"yield_high.{variant}": float(share.high),
            }
    return Laid(variables, coordinates, summary, notes, figures)


def _to_blame(name: str, variants: Sequence[str], summary: Mapping[str, float]) -> list[str]:
    """The part whose mismatch alone brings a figure nearest to where all mismatch together has it."""
    found = {variant: summary[key] for variant in variants if (key := f"{name}_p95.{variant}") in summary}
    whole = found.pop(ALL, None)
    if whole is None or len(found) < 2:
        return []
    part = min(found, key=lambda variant: abs(found[variant] - whole))
    return [
        f"{name}: the mismatch of {part} alone comes nearest to that of all parts "
        f"(95th percentile {found[part]:.3g}, all {whole:.3g})."
    ]


def _passes(scenario: MonteCarlo, found: Found) -> bool:
    """Whether a machine meets all limits; one that cannot run, or has no number, does not."""
    for name, text in scenario.limits.items():
        value, (how, limit) = found.summary.get(name), limit_of(text)
        if value is None or not _MEETS[how](value, limit):
            return False
    return True
