"""Pictures of what-if studies: those of sweeps, strips of machines, bars of budgets and indices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.output import write_atomically
from aocsim.scenarios.whatif.budget import STATES, interactions
from aocsim.scenarios.whatif.labels import WIDTH, label_of, title
from aocsim.scenarios.whatif.montecarlo import LEVEL
from aocsim.scenarios.whatif.schema import WHAT_IF, Sweep, WhatIf, known_figure, limit_of
from aocsim.scenarios.whatif.sweep import MOST_DIMENSIONS
from aocsim.scenarios.whatif.sweep_plots import sweep
from aocsim.scenarios.whatif.tables import figures_of
from aocsim.style import BLUE, ORANGE, PURPLE, SKY, STYLE, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 16
MOST_LEANING = 10


def draw(data: xarray.Dataset, figures: Sequence[str] | None = None) -> Figure | None:
    """The picture of a what-if study; None for a sweep of more dimensions than a page has.

    Args:
        data: as `aocsim.scenarios.whatif.execute.execute` gives it.
        figures: of the summary; None takes the study's own.

    Raises:
        InputError: no such figure; or more dimensions than a page has, and figures were asked for.
    """
    import matplotlib

    scenario = WHAT_IF[data.attrs["kind"]].from_json(data.attrs["scenario"])
    if figures is None and isinstance(scenario, Sweep) and len(data["error"].dims) > MOST_DIMENSIONS:
        return None  # what a study has computed must not fail on its picture; the notes tell
    wanted = tuple(figures or json.loads(data.attrs["figures_shown"]))
    drawn = {"sweep": sweep, "montecarlo": montecarlo, "budget": budget, "sensitivity": sensitivity}
    with matplotlib.rc_context(STYLE):
        figure = drawn[scenario.kind](data, scenario, wanted)
        # the layout is found for the ticks of the one before, which have other widths
        for _ in range(2):
            figure.draw_without_rendering()
        return figure


def write_what_if(data: xarray.Dataset, folder: Path, figures: Sequence[str] | None = None) -> list[Path]:
    """Draw and write NAME.png, complete or not at all; as `draw`."""
    import matplotlib
    from matplotlib import pyplot

    backend = matplotlib.get_backend()
    pyplot.switch_backend("Agg")
    try:
        figure = draw(data, figures)
        if figure is None:
            return []
        path = folder / f"{data.attrs['scenario_name']}.png"
        with matplotlib.rc_context(STYLE):
            write_atomically(path, partial(figure.savefig, format="png"))
        pyplot.close(figure)
    finally:
        pyplot.switch_backend(backend)
    return [path]


def montecarlo(data: xarray.Dataset, scenario: WhatIf, figures: Sequence[str]) -> Figure:
    """A strip of machines for each variant, with median, and limit and yield where there are some."""
    from matplotlib import pyplot

    variants = [str(value) for value in data["mismatch"].values]
    limits = getattr(scenario, "limits", {})
    summary = json.loads(data.attrs["summary"])
    figure, axes = pyplot.subplots(
        1, len(figures), figsize=(WIDTH, 0.32 * len(variants) + 2.2), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], figures, strict=True):
        known_figure(name, figures_of(data), "--figure")
        for row, variant in enumerate(variants):
            values = data[name].sel(mismatch=variant).values
            values = values[np.isfinite(values)]
            if not len(values):
                continue
            # spread over the row by rank, so that equal values stand side by side and nothing is drawn by chance
            place = row + 0.3 * np.sin(2.4 * np.argsort(np.argsort(values)))
            axis.plot(
                [np.median(values)] * 2, [row - 0.4, row + 0.4], color=VERMILION, linewidth=1.8, zorder=1
            )
            axis.scatter(values, place, s=9, color=BLUE, alpha=0.7, linewidths=0, zorder=2)
        if name in limits:
            _, edge = limit_of(str(limits[name]))
            axis.axvline(edge, color="black", linewidth=0.9, linestyle="--")
            axis.set_title(f"limit {limits[name]}", fontsize=9)
        axis.set_xlabel(label_of(name))
        axis.set_xlim(left=min(0.0, axis.get_xlim()[0]))
        axis.locator_params(axis="x", nbins=5)
    told = [_with_yield(variant, summary) for variant in variants]
    axes[0, 0].set_yticks(range(len(variants)), told, fontsize=8)
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_ylabel("mismatch drawn")
    title(figure, scenario, "; line: median" + (f", yield with its {LEVEL:.0%} interval" if limits else ""))
    return figure


def _with_yield(variant: str, summary: dict[str, Any]) -> str:
    share = summary.get(f"yield.{variant}")
    name = variant if variant == "all" else f"{variant} alone"
    if share is None:
        return name
    low, high = (summary[f"yield_{end}.{variant}"] for end in ("low", "high"))
    return f"{name}\nyield {share:.0%} ({low:.0%} to {high:.0%})"


def budget(data: xarray.Dataset, scenario: WhatIf, figures: Sequence[str]) -> Figure:
    """Shares of each term, alone on and alone off, the largest on top."""
    from matplotlib import pyplot

    summary = json.loads(data.attrs["summary"])
    for name in figures:
        known_figure(f"{name}_share", dict.fromkeys(map(str, data.data_vars)), "--figure")
    first = np.nan_to_num(np.abs(data[f"{figures[0]}_share"].values)).max(axis=1)
    order = np.argsort(-first)[:MOST_BARS]
    place = np.arange(len(order))
    figure, axes = pyplot.subplots(
        1, len(figures), figsize=(WIDTH, 0.32 * len(order) + 2.0), squeeze=False, sharey=True
    )
    terms = [str(term) for term in data["term"].values]
    any_interacts = False
    for axis, name in zip(axes[0], figures, strict=True):
        shares = data[f"{name}_share"].values
        for k, (state, colour) in enumerate((("alone on", BLUE), ("alone off", ORANGE))):
            axis.barh(place + 0.2 * (2 * k - 1), shares[order, k], 0.38, color=colour, label=state)
        named = interactions(terms, shares)
        for row in (row for row, term in enumerate(order) if terms[term] in named):
            any_interacts = True
            end = max(0.0, float(np.nanmax(shares[order[row]])))
            axis.annotate("*", (end, row), (3, 0), textcoords="offset points", va="center", fontsize=9)
        axis.axvline(0.0, color="black", linewidth=0.6)
        axis.locator_params(axis="x", nbins=3)
        axis.tick_params(axis="x", labelsize=8)
        axis.margins(x=0.08)
        axis.set_xlabel(str(data[f"{name}_share"].attrs["long_name"]).replace(" of the term", ""), fontsize=8)
        ends = (f"{word} {_number(summary, f'{name}.{word}')}" for word in ("real", "ideal"))
        axis.set_title("\n".join((label_of(name), ", ".join(ends))), fontsize=8)
    axes[0, 0].set_yticks(place, [terms[term] for term in order], fontsize=8)
    axes[0, 0].invert_yaxis()
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STATES), fontsize=8
    )
    title(figure, scenario, "; * interacts with others" if any_interacts else "")
    return figure


def _number(summary: dict[str, Any], key: str) -> str:
    value = summary.get(key)
    return "-" if value is None else f"{value:.3g}"


def sensitivity(data: xarray.Dataset, scenario: WhatIf, figures: Sequence[str]) -> Figure:
    """A row for each figure: total and first indices with intervals, and the assumed numbers it leans on most."""
    from matplotlib import pyplot

    known = [str(name) for name in data["figure"].values]
    for name in figures:
        known_figure(name, dict.fromkeys(known), "--figure")
    count = min(data.sizes["factor"], MOST_BARS)
    leaning = bool(data.sizes["assumed"])
    rows = max(count, MOST_LEANING if leaning else 0)
    figure, axes = pyplot.subplots(
        len(figures), 2 if leaning else 1, figsize=(WIDTH, (0.17 * rows + 0.7) * len(figures) + 1.3),
        squeeze=False, sharex="col",
    )  # fmt: skip
    for row, name in enumerate(figures):
        here = data.sel(figure=name)
        _indices(axes[row, 0], here, count)
        axes[row, 0].set_title(label_of(name).replace("\n", " "), fontsize=8, loc="left")
        if leaning:
            _leaning(axes[row, 1], here)
    axes[-1, 0].set_xlabel("Sobol index (95 % interval)", fontsize=8)
    drawn = [axes[0, 0]]
    if leaning:
        step = getattr(scenario, "step", 0.0)
        axes[-1, 1].set_xlabel(f"change (%) where an assumed\nentry is moved by {step:.0%}", fontsize=8)
        drawn.append(axes[0, 1])
    legends = [axis.get_legend_handles_labels() for axis in drawn]
    figure.legend(
        [handle for handles, _ in legends for handle in handles], [text for _, texts in legends for text in texts],
        loc="outside lower center", ncols=4, fontsize=8,
    )  # fmt: skip
    title(figure, scenario)
    return figure


def _indices(axis: Axes, here: xarray.Dataset, count: int) -> None:
    order = np.argsort(-here["total"].values)[:count]
    place = np.arange(len(order))
    for k, (kind, colour) in enumerate((("total", BLUE), ("first", ORANGE))):
        middle = here[kind].values[order]
        low, high = (here[f"{kind}_{end}"].values[order] for end in ("low", "high"))
        # an interval of few samples may lie beside the estimate
        ends = np.maximum([middle - low, high - middle], 0.0)
        axis.barh(
            place + 0.2 * (2 * k - 1), middle, 0.38, xerr=ends, color=colour,
            error_kw={"linewidth": 0.8}, label={"total": "total", "first": "first order"}[kind],
        )  # fmt: skip
    axis.axvline(0.0, color="black", linewidth=0.6)
    axis.set_yticks(place, [_entry(key) for key in here["factor"].values[order]], fontsize=7)
    axis.tick_params(axis="x", labelsize=8)
    axis.invert_yaxis()


def _leaning(axis: Axes, here: xarray.Dataset) -> None:
    pairs = 100 * here["leaning"].values
    order = np.argsort(-np.nan_to_num(np.abs(pairs)).max(axis=1))[:MOST_LEANING]
    place = np.arange(len(order))
    for k, (end, colour) in enumerate((("down", SKY), ("up", PURPLE))):
        axis.barh(place + 0.2 * (2 * k - 1), pairs[order, k], 0.38, color=colour, label=end)
    axis.axvline(0.0, color="black", linewidth=0.6)
    axis.set_yticks(place, [_entry(key) for key in here["assumed"].values[order]], fontsize=7)
    axis.tick_params(axis="x", labelsize=8)
    axis.invert_yaxis()


def _entry(key: Any) -> str:
    return str(key).removeprefix("parts.").replace(".", ": ").replace("_", " ")
