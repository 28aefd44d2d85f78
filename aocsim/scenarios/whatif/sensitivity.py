r"""Which uncertain numbers a figure leans on.

Sobol's indices of first order and total, :math:`S_j = Var(E[F|x_j])/Var F` and
:math:`S_{Tj} = 1 - Var(E[F|x_{\sim j}])/Var F`, by SciPy's estimator (Saltelli et al., Computer Physics Communications
181 (2010) 259, doi 10.1016/j.cpc.2009.09.018) with bootstrap intervals, over normal distributions of the sheets'
numbers, cut at their valid ranges. Beside them the entries whose basis is A, assumed: each is moved by the same
relative step down and up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap, norm, qmc, sobol_indices

from aocsim.errors import InputError, PhysicsError, unknown_name
from aocsim.law import Array
from aocsim.library import Library
from aocsim.record import Variables
from aocsim.scenarios.whatif.engine import check_count
from aocsim.scenarios.whatif.points import Point, changed, point
from aocsim.scenarios.whatif.schema import Sensitivity
from aocsim.scenarios.whatif.store import Found
from aocsim.scenarios.whatif.tables import Laid, column, counts, notes_of, shown
from aocsim.seeds import stream
from aocsim.spec import Entry, MachineSpec, read_spread

LEVEL = 0.95
RESAMPLED = 999


@dataclass(frozen=True, eq=False)
class Factor:
    """An uncertain entry of a sheet.

    Attributes:
        key: dotted, "parts.ROLE.ENTRY".
        entry: as on the sheet.
        sigma: standard uncertainty, SI; of a list relative, common to its numbers.
    """

    key: str
    entry: Entry
    sigma: float

    def text(self, probability: float) -> object:
        """The entry's value at a probability of its distribution, cut at the valid range, as `--set` takes it."""
        low, high = self.entry.valid
        if np.ndim(self.entry.value):
            factor = 1.0 + self.sigma * norm.ppf(probability)
            return [
                self._told(float(np.clip(one * factor, low, high))) for one in np.asarray(self.entry.value)
            ]
        middle = float(self.entry.value)
        a, b = norm.cdf([(low - middle) / self.sigma, (high - middle) / self.sigma])
        drawn = middle + self.sigma * norm.ppf(a + probability * (b - a))
        return self._told(float(np.clip(drawn, low, high)))

    def _told(self, value: float) -> str:
        unit = self.entry.dimension
        return repr(value) if unit == "dimensionless" else f"{value!r} {unit}"


def factors_of(scenario: Sensitivity, library: Library) -> list[Factor]:
    """The uncertain entries.

    Raises:
        InputError: an entry that is none, an uncertainty of the wrong dimension, or none at all.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    if not scenario.factors:
        out = [
            Factor(f"parts.{role}.{name}", entry, sigma)
            for role, part in spec.parts.items()
            for name, entry in part.entries.items()
            if not part.wanted[name].optional  # energies alone depend on these
            and (sigma := _sigma(entry, entry.spread, entry.spread_is_relative)) > 0
        ]
    else:
        out = [_factor(key, text, spec) for key, text in scenario.factors.items()]
    if not out:
        raise InputError("no entry of the machine's sheets has a spread", key="factors", got=scenario.machine)
    return out


def _factor(key: str, text: str, spec: MachineSpec) -> Factor:
    steps = key.split(".")
    known = [f"parts.{role}.{name}" for role, part in spec.parts.items() for name in part.entries]
    if key not in known:
        raise unknown_name("entry of a sheet", key, known, key="factors")
    entry = spec.parts[steps[1]].entries[steps[2]]
    sigma = _sigma(entry, *read_spread(text, entry.dimension, f"factors.{key}"))
    if sigma <= 0:
        raise InputError("the uncertainty comes to nothing", key=f"factors.{key}", got=text)
    return Factor(key, entry, sigma)


def _sigma(entry: Entry, spread: float, relative: bool) -> float:
    """Standard uncertainty of an entry's value; 0 where a relative one of nothing or of infinity is none."""
    value = np.asarray(entry.value, dtype=float)
    if not np.isfinite(value).all():
        return 0.0
    if value.ndim:
        return spread if relative else 0.0
    return spread * abs(float(value)) if relative else spread


def assumed_of(scenario: Sensitivity, library: Library) -> list[tuple[str, Entry]]:
    """Entries of basis A that are finite numbers other than 0, which a relative step can move."""
    if not scenario.assumed:
        return []
    spec = library.machine(scenario.machine, scenario.parts)
    return [
        (f"parts.{role}.{name}", entry)
        for role, part in spec.parts.items()
        for name, entry in part.entries.items()
        if not part.wanted[name].optional
        and entry.basis == "A"
        and not np.ndim(entry.value)
        and np.isfinite(entry.value)
        and entry.value != 0.0
    ]


def probabilities(scenario: Sensitivity, count: int) -> Array:
    """(count + 2, n, count) of A, B, and A with one column of B each, scrambled Sobol' points."""
    rng = stream(scenario.seed, "sensitivity")
    both = qmc.Sobol(2 * count, scramble=True, rng=rng).random(scenario.n)
    a, b = both[:, :count], both[:, count:]
    mixed = np.repeat(a[None], count, axis=0)
    for j in range(count):
        mixed[j, :, j] = b[:, j]
    return np.concatenate([a[None], b[None], mixed])


def lay_out(scenario: Sensitivity, library: Library) -> list[Point]:
    """Points of the Sobol' design, then the nominal machine and each assumed entry down and up."""
    factors, assumed = factors_of(scenario, library), assumed_of(scenario, library)
    check_count(scenario, scenario.n * (len(factors) + 2) + 1 + 2 * len(assumed))
    out = []
    for block, rows in enumerate(probabilities(scenario, len(factors))):
        for k, row in enumerate(rows):
            changes = {factor.key: factor.text(float(p)) for factor, p in zip(factors, row, strict=True)}
            place = {"block": float(block), "base_sample": float(k)}
            out.append(point(place, changed(scenario.base, changes, library), library))
    out.append(point({"moved": "nothing"}, changed(scenario.base, {}, library), library))
    for key, entry in assumed:
        for text in moved(entry, scenario.step):
            out.append(point({"moved": key}, changed(scenario.base, {key: text}, library), library))
    return out


def moved(entry: Entry, step: float) -> tuple[str, str]:
    """An entry's value down and up by a relative step, within its valid range and whole where it counts something."""
    value, (low, high) = float(entry.value), entry.valid
    is_count = entry.dimension == "dimensionless" and value == round(value) and abs(value) > 1.0
    ends = [float(np.clip(value * factor, low, high)) for factor in (1.0 - step, 1.0 + step)]
    if is_count:
        ends = [float(round(end)) for end in ends]
    factor = Factor("", entry, 0.0)
    return factor._told(ends[0]), factor._told(ends[1])


def lay(scenario: Sensitivity, library: Library, found: Sequence[Found]) -> Laid:
    """Indices with intervals, and how far each assumed entry moves each figure.

    Raises:
        PhysicsError: a point of the design was impossible: indices need all of them.
    """
    figures = shown(scenario, found)
    factors, assumed = factors_of(scenario, library), assumed_of(scenario, library)
    size = scenario.n * (len(factors) + 2)
    design, nominal, ends = found[:size], found[size], found[size + 1 :]
    bad = [one.error for one in design if one.error]
    if bad:
        raise PhysicsError(
            f"{len(bad)} of {size} points of the design were impossible, which indices need all: take smaller "
            f"uncertainties; the first one: {bad[0]}"
        )
    over = ("figure", "factor")
    tables = {name: np.full((len(figures), len(factors)), np.nan) for name in _TABLES}
    leaning = np.full((len(figures), len(assumed), 2), np.nan)
    summary, notes = counts(found), notes_of(found)
    for row, name in enumerate(figures):
        values = column(design, name).reshape(len(factors) + 2, scenario.n)
        if not np.isfinite(values).all():
            raise PhysicsError(f"{name} is no number at some point of the design, which indices need all")
        for key, table in indices(values, scenario.seed).items():
            tables[key][row] = table
        scale = column([nominal], name)[0]
        if scale:  # of nothing no change is a share
            leaning[row] = (column(ends, name).reshape(-1, 2) - scale) / scale
        for k, factor in enumerate(factors):
            summary[f"{name}_total.{factor.key}"] = float(tables["total"][row, k])
        most = [k for k in np.argsort(-_largest(leaning[row])) if _largest(leaning[row])[k] > 0][:5]
        for k in most:
            summary[f"{name}_leans.{assumed[k][0]}"] = float(_largest(leaning[row])[k])
        if most:
            told = ", ".join(f"{assumed[k][0]} ({_largest(leaning[row])[k]:.1%})" for k in most)
            notes.append(
                f"{name} leans most on these assumed numbers, at a step of {scenario.step:.0%}: {told}."
            )
    variables: dict[str, tuple[tuple[str, ...], object, str, str]] = {
        key: (over, table, "1", _TABLES[key]) for key, table in tables.items()
    }
    variables["leaning"] = (
        ("figure", "assumed", "end"),
        leaning,
        "1",
        f"relative change of the figure when the entry goes down and up by {scenario.step:g} of its value",
    )
    coordinates: Variables = {
        "figure": (("figure",), np.array(figures), "1", "figure of the summary"),
        "factor": (("factor",), np.array([factor.key for factor in factors]), "1", "uncertain entry"),
        "sigma": (
            ("factor",),
            np.array([factor.sigma for factor in factors]),
            "1",
            "standard uncertainty, SI",
        ),
        "assumed": (("assumed",), np.array([key for key, _ in assumed], dtype=str), "1", "entry of basis A"),
        "end": (("end",), np.array(["down", "up"]), "1", "which way it is moved"),
    }
    return Laid(variables, coordinates, summary, notes, figures)


_TABLES: Mapping[str, str] = {
    "first": "Sobol index of first order",
    "first_low": "lower end of its 95 % interval",
    "first_high": "upper end of its 95 % interval",
    "total": "total Sobol index",
    "total_low": "lower end of its 95 % interval",
    "total_high": "upper end of its 95 % interval",
}


def _largest(pairs: Array) -> Array:
    """(entries,) larger of the changes down and up; 0 where neither is a number."""
    return np.asarray(np.nan_to_num(np.abs(pairs)).max(axis=-1, initial=0.0))


def indices(values: Array, seed: int) -> dict[str, Array]:
    """Sobol indices of a figure with bootstrap intervals.

    Args:
        values: (factors + 2, n) of A, B, and A with one column of B each.
        seed: of the bootstrap.

    Returns:
        "first", "total" and the ends of their intervals, (factors,) each.
    """
    estimate = _estimate(values)
    out = {"first": estimate[0], "total": estimate[1]}
    if np.ptp(values) == 0:
        ends = ("first_low", "first_high", "total_low", "total_high")
        return out | {end: np.zeros(len(values) - 2) for end in ends}
    # SciPy's own bootstrap of indices takes no generator, and a result must come out the same again
    interval = bootstrap(
        (np.arange(values.shape[1]),),
        lambda rows: _estimate(values[:, rows]),
        vectorized=False,
        n_resamples=RESAMPLED,
        confidence_level=LEVEL,
        method="percentile",
        rng=stream(seed, "sensitivity.bootstrap"),
    ).confidence_interval
    for row, name in enumerate(("first", "total")):
        out |= {f"{name}_low": interval.low[row], f"{name}_high": interval.high[row]}
    return out


def _estimate(values: Array) -> Array:
    """(2, factors) indices of first order and total."""
    # the figure twice: SciPy takes one figure of one factor for a number, and fails
    a, b, mixed = (np.stack([part, part], axis=-2) for part in (values[0], values[1], values[2:]))
    result = sobol_indices(func={"f_A": a, "f_B": b, "f_AB": mixed}, n=values.shape[1])
    return np.stack([np.reshape(found, (2, -1))[0] for found in (result.first_order, result.total_order)])
