"""Pictures of sweeps: lines, heat maps, small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.errors import InputError
from aocsim.scenarios.whatif.labels import (
    COLOURS,
    MARKERS,
    WIDTH,
    edges_of,
    key_label,
    label_of,
    scale_of,
    ticks_along,
    title,
)
from aocsim.scenarios.whatif.schema import WhatIf, known_figure
from aocsim.scenarios.whatif.sweep import MOST_DIMENSIONS
from aocsim.scenarios.whatif.tables import figures_of

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 7
MAP_FROM = 4  # numbers along each of two axes, from which on a heat map tells more than lines
MOST_TICKS = 4
IMPOSSIBLE = "0.85"  # grey of a heat map's cells that have no number
# panel heights: from the panel's foot to the first line's crosses, and from one line's to the next line's
FIRST_CROSS, NEXT_CROSS = 1.03, 0.04


def sweep(data: xarray.Dataset, scenario: WhatIf, figures: Sequence[str]) -> Figure:
    """Lines over one axis, a line for each value of a second one; heat maps over two; a row for each of a third."""
    from matplotlib import pyplot

    for name in figures:
        known_figure(name, figures_of(data), "--figure")
    if "varied" in data.coords:
        return _alone(data, scenario, figures)
    dims = [str(dim) for dim in data[figures[0]].dims]
    if dims == ["point"]:
        first = next(str(name) for name in data.coords if data[name].dims == ("point",))
        data, dims = data.swap_dims(point=first), [first]
    dims.sort(key=lambda dim: (not _is_numeric(data, dim), -data.sizes[dim]))
    if len(dims) > MOST_DIMENSIONS:
        raise InputError(
            "more dimensions than a page has; take a slice in a notebook",
            key="vary",
            got=len(dims),
            allowed="up to 3",
        )
    rows = [None] if len(dims) < 3 else list(data[dims[2]].values)
    as_map = len(dims) > 1 and all(_is_numeric(data, dim) and data.sizes[dim] >= MAP_FROM for dim in dims[:2])
    figure, axes = pyplot.subplots(
        len(rows), len(figures), figsize=(WIDTH, 2.6 * len(rows) + 0.9), squeeze=False, sharex=True,
        sharey=True if as_map else "col",
    )  # fmt: skip
    most = max(MOST_TICKS, 2 * MOST_TICKS // len(figures))
    for row, value in enumerate(rows):
        here = data if value is None else data.sel({dims[2]: value})
        for column, name in enumerate(figures):
            axis = axes[row, column]
            if as_map:
                _map(axis, here, dims, name, _range_of(data[name].values), most)
            else:
                _lines(axis, here, dims, name, most)
            if value is not None:
                crossed = sum(line.get_marker() == "x" for line in axis.lines)
                axis.set_title(f"{_told(data, dims[2], value)}", fontsize=8, pad=6.0 + 6.0 * crossed)
            if row == len(rows) - 1:
                axis.set_xlabel(_axis_label(data, dims[0]), fontsize=8)
            if as_map and not column:
                axis.set_ylabel(_axis_label(data, dims[1]), fontsize=8)
            elif not as_map:
                axis.set_ylabel(label_of(name), fontsize=8)
    if as_map:
        for column, name in enumerate(figures):
            mesh = axes[0, column].collections[0]
            bar = figure.colorbar(mesh, ax=axes[:, column].tolist(), location="top", shrink=0.9)
            bar.set_label(label_of(name), fontsize=8)
            bar.ax.locator_params(nbins=4)
    elif len(dims) > 1:
        # below the panels: lines may run anywhere
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=MOST_LINES,
            title=_axis_label(data, dims[1]), fontsize=8, title_fontsize=8,
        )  # fmt: skip
    title(figure, scenario, _told_of_impossible(data, "grey" if as_map else "crosses"))
    return figure


def _told_of_impossible(data: xarray.Dataset, mark: str) -> str:
    """What the title says of points without numbers, if there are some."""
    return f"; {mark}: impossible" if np.any(data["error"].values != "") else ""


def _cross_out(axis: Axes, places: Any, errors: Any, colour: str, line: int) -> None:
    """Crosses on top of the panel where a line has no number, those of each line above the last's."""
    there = np.asarray(places)[errors != ""]
    if not len(there):
        return
    height = np.full(len(there), FIRST_CROSS + line * NEXT_CROSS)
    axis.plot(
        there, height, linestyle="none", marker="x", markersize=4, color=colour, transform=axis.get_xaxis_transform(),
        clip_on=False,
    )  # fmt: skip


def _alone(data: xarray.Dataset, scenario: WhatIf, figures: Sequence[str]) -> Figure:
    """A column for each key that is varied alone, a row for each figure."""
    from matplotlib import pyplot

    keys = list(dict.fromkeys(map(str, data["varied"].values)))
    figure, axes = pyplot.subplots(
        len(figures), len(keys), figsize=(WIDTH, 1.8 * len(figures) + 1.0), squeeze=False, sharey="row",
        sharex="col",
    )  # fmt: skip
    for column, key in enumerate(keys):
        here = data.isel(point=np.flatnonzero(data["varied"].values == key))
        x = here["number"].values
        numeric = bool(np.isfinite(x).all())
        scale, unit = scale_of(x, str(here["unit"].values[0])) if numeric else (1.0, "")
        places = x * scale if numeric else np.arange(len(x))
        for row, name in enumerate(figures):
            axis = axes[row, column]
            axis.plot(
                places, here[name].values, color=COLOURS[row], marker=MARKERS[row], markersize=3.5, linewidth=1.1
            )  # fmt: skip
            _cross_out(axis, places, here["error"].values, COLOURS[row], 0)
            axis.margins(y=0.12)
            if not column:
                axis.set_ylabel(label_of(name), fontsize=8)
        bottom = axes[-1, column]
        if numeric:
            ticks_along(bottom, places, MOST_TICKS)
        else:
            bottom.set_xticks(places, list(here["value"].values), rotation=30, ha="right")
        bottom.set_xlabel(key_label(key, unit), fontsize=8)
    title(figure, scenario, _told_of_impossible(data, "crosses"))
    return figure


def _is_numeric(data: xarray.Dataset, name: str) -> bool:
    return data[name].dtype.kind in "fiu"


def _scaled(data: xarray.Dataset, name: str) -> tuple[Any, str]:
    """A coordinate in the unit in which it is best read, and that unit."""
    scale, unit = scale_of(data[name].values, str(data[name].attrs["units"]))
    return data[name].values * scale, unit


def _axis_label(data: xarray.Dataset, name: str) -> str:
    unit = _scaled(data, name)[1] if _is_numeric(data, name) else ""
    return key_label(str(data[name].attrs["long_name"]), unit, line=40)


def _told(data: xarray.Dataset, name: str, value: Any) -> str:
    """A coordinate and one of its values."""
    return f"{key_label(str(data[name].attrs['long_name']), '', line=40)} {_value(data, name, value)}"


def _value(data: xarray.Dataset, name: str, value: Any) -> str:
    if not _is_numeric(data, name):
        return str(value)
    scale, unit = scale_of(data[name].values, str(data[name].attrs["units"]))
    return f"{float(value) * scale:.4g} {unit}".rstrip()


def _lines(axis: Axes, data: xarray.Dataset, dims: Sequence[str], name: str, ticks: int) -> None:
    numeric = _is_numeric(data, dims[0])
    places = _scaled(data, dims[0])[0] if numeric else np.arange(data.sizes[dims[0]])
    others = [None] if len(dims) < 2 else list(data[dims[1]].values)
    shown = (
        others
        if len(others) <= MOST_LINES
        else [others[k] for k in np.linspace(0, len(others) - 1, MOST_LINES, dtype=int)]
    )
    for k, other in enumerate(shown):
        here = data[[name, "error"]] if other is None else data[[name, "error"]].sel({dims[1]: other})
        y, errors = (here[one].transpose(..., dims[0]).values for one in (name, "error"))
        _cross_out(axis, places, errors, COLOURS[k % len(COLOURS)], k)
        axis.plot(
            places, y, color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)],
            markersize=3.5, linewidth=1.1, label=None if other is None else _value(data, dims[1], other),
        )  # fmt: skip
    if numeric:
        ticks_along(axis, places, ticks)
    else:
        axis.set_xticks(places, [str(value) for value in data[dims[0]].values], rotation=30, ha="right")
    axis.margins(y=0.12)


def _range_of(values: Any) -> tuple[float, float]:
    """Smallest and largest number of a figure: one scale of colours for all rows."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)


def _map(
    axis: Axes, data: xarray.Dataset, dims: Sequence[str], name: str, ends: tuple[float, float], ticks: int
) -> None:
    x, y = (_scaled(data, dim)[0] for dim in dims[:2])
    values = np.ma.masked_invalid(data[name].transpose(dims[1], dims[0]).values)
    axis.set_facecolor(IMPOSSIBLE)
    axis.pcolormesh(edges_of(x), edges_of(y), values, cmap="cividis", vmin=ends[0], vmax=ends[1])
    ticks_along(axis, x, ticks)
    ticks_along(axis, y, ticks, "y")
