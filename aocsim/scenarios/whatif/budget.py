r"""Error budget: what each departure from the ideal costs, alone on and alone off.

With :math:`F_0` a figure of the ideal machine, :math:`F_1` of the real one, :math:`F_k` with term k alone on and
:math:`F_{-k}` with it alone off, the term's share of an error that is a root mean square is
:math:`\sqrt{F_k^2 - F_0^2}` and :math:`\sqrt{F_1^2 - F_{-k}^2}`, with the sign of the difference; of other figures
:math:`F_k - F_0` and :math:`F_1 - F_{-k}`. Independent small errors add in squares, then both shares are the same and
the root of the sum of their squares is what the machine has over the ideal one. Where the two differ by more than half
of the larger one, the term interacts with others, and is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aocsim.errors import InputError, unknown_name
from aocsim.law import Array
from aocsim.library import Library
from aocsim.record import Variables
from aocsim.scenarios.whatif.engine import check_count
from aocsim.scenarios.whatif.points import Point, changed, point
from aocsim.scenarios.whatif.schema import Budget
from aocsim.scenarios.whatif.store import Found
from aocsim.scenarios.whatif.tables import Laid, column, counts, notes_of, shown, unit_for
from aocsim.spec import Entry, MachineSpec

REAL, IDEAL = "real", "ideal"
STATES = ("on", "off")
IN_SQUARES = ("nrmse", "rms")
"""Figures that add in squares have one of these in their name."""

DIFFERS = 0.5  # of the larger share, from which on a term counts as interacting
NEGLIGIBLE = 0.05  # of the largest share, below which nobody asks how a term interacts


def terms_of(scenario: Budget, library: Library) -> dict[str, dict[str, object]]:
    """Changes that make each term ideal, by its name.

    Raises:
        InputError: a role or entry that is none, parts of other laws, or no term at all.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    ideal = library.machine(scenario.ideal)
    for role, part in spec.parts.items():
        if part.law != ideal.parts[role].law:
            raise InputError(
                f"{scenario.ideal} has no ideal of this law",
                key=f"parts.{role}",
                got=part.law,
                allowed=ideal.parts[role].law,
            )
    if not scenario.terms:
        out = {role: made_ideal(spec, ideal, role) for role in spec.parts}
        out = {role: changes for role, changes in out.items() if changes}
    else:
        out = {name: _changes(name, what, spec, ideal) for name, what in scenario.terms.items()}
    if not out:
        raise InputError("nothing tells the machine from the ideal one", key="ideal", got=scenario.ideal)
    return out


def made_ideal(
    spec: MachineSpec, ideal: MachineSpec, role: str, entry: str | None = None
) -> dict[str, object]:
    """Changes that give a part's entries, or one of them, the ideal values and spreads."""
    out: dict[str, object] = {}
    for name, wanted in ideal.parts[role].entries.items():
        here = spec.parts[role].entries[name]
        if entry not in (None, name) or _same(here, wanted):
            continue
        text = wanted.text
        out[f"parts.{role}.{name}"] = text if isinstance(text, str) else list(text)
        if here.spread:
            out[f"parts.{role}.{name}.spread"] = "0 %"
    return out


def _same(a: Entry, b: Entry) -> bool:
    return np.array_equal(a.value, b.value) and a.spread == b.spread == 0.0


def _changes(
    name: str, what: Sequence[str] | Mapping[str, object], spec: MachineSpec, ideal: MachineSpec
) -> dict[str, object]:
    if isinstance(what, Mapping):
        return dict(what)
    out: dict[str, object] = {}
    for item in what:
        role, _, entry = item.partition(".")
        if role not in spec.parts:
            raise unknown_name(f"role of {spec.name}", role, spec.parts, key=f"terms.{name}")
        if entry and entry not in spec.parts[role].entries:
            raise unknown_name(
                f"entry of {spec.parts[role].name}", entry, spec.parts[role].entries, key=f"terms.{name}"
            )
        out |= made_ideal(spec, ideal, role, entry or None)
    if not out:
        raise InputError("is ideal already", key=f"terms.{name}", got=list(what))
    return out


def lay_out(scenario: Budget, library: Library) -> list[Point]:
    """The real machine, the ideal one, and each term alone on and alone off."""
    terms = terms_of(scenario, library)
    check_count(scenario, 2 + 2 * len(terms))
    none: dict[str, object] = {}
    for changes in terms.values():
        none |= changes
    made: list[tuple[Mapping[str, str], Mapping[str, object]]] = [
        ({"term": REAL}, {}),
        ({"term": IDEAL}, none),
    ]
    for name, changes in terms.items():
        others: dict[str, object] = {}
        for other, off in terms.items():
            if other != name:
                others |= off
        made += [({"term": name, "state": "on"}, others), ({"term": name, "state": "off"}, changes)]
    return [point(place, changed(scenario.base, changes, library), library) for place, changes in made]


def share(name: str, more: Array, less: Array) -> Array:
    """What a figure has more in one run than in another, in squares where it is a root mean square."""
    if not any(word in name for word in IN_SQUARES):
        return np.asarray(more - less)
    squares = more**2 - less**2
    return np.asarray(np.sign(squares) * np.sqrt(np.abs(squares)))


def lay(scenario: Budget, library: Library, found: Sequence[Found]) -> Laid:
    """Figures of all runs, shares of each term, and which terms interact."""
    figures = shown(scenario, found)
    terms = list(terms_of(scenario, library))
    variables: dict[str, tuple[tuple[str, ...], object, str, str]] = {}
    summary, notes = counts(found), notes_of(found)
    for name in figures:
        values = column(found, name)
        real, ideal, each = values[0], values[1], values[2:].reshape(len(terms), 2)
        shares = np.stack([share(name, each[:, 0], ideal), share(name, real, each[:, 1])], axis=1)
        how = "in squares" if any(word in name for word in IN_SQUARES) else "as a difference"
        unit = unit_for(name)
        variables[name] = (("term", "state"), each, unit, f"{name} with the term alone on, alone off")
        variables[f"{name}_share"] = (("term", "state"), shares, unit, f"share of the term, {how}")
        total = float(share(name, real, ideal))
        summed = (
            float(np.sqrt(np.nansum(shares[:, 0] ** 2)))
            if how == "in squares"
            else float(np.nansum(shares[:, 0]))
        )
        summary |= {f"{name}.{REAL}": float(real), f"{name}.{IDEAL}": float(ideal)}
        summary |= {f"{name}_over_ideal": total, f"{name}_sum_of_shares": summed}
        for term, on, off in zip(terms, *shares.T, strict=True):
            summary |= {f"{name}_on.{term}": float(on), f"{name}_off.{term}": float(off)}
        interacting = interactions(terms, shares)
        if interacting:
            notes.append(
                f"{name}: on and off disagree for {', '.join(interacting)}: these interact with others."
            )
    errors = np.array([one.error for one in found[2:]]).reshape(len(terms), 2)
    variables["error"] = (("term", "state"), errors, "1", "why a run was impossible; empty where it was not")
    coordinates: Variables = {
        "term": (("term",), np.array(terms), "1", "departure from the ideal"),
        "state": (("state",), np.array(STATES), "1", "alone on, or alone off"),
    }
    return Laid(variables, coordinates, summary, notes, figures)


def interactions(terms: Sequence[str], shares: Array) -> list[str]:
    """Terms whose shares alone on and alone off disagree, the largest first."""
    size = np.nanmax(np.abs(shares), axis=1, initial=0.0)
    gap = np.abs(shares[:, 0] - shares[:, 1])
    order = np.argsort(-size)
    largest = size.max(initial=0.0)
    return [
        terms[k]
        for k in order
        if size[k] > NEGLIGIBLE * largest and np.isfinite(gap[k]) and gap[k] > DIFFERS * size[k]
    ]
