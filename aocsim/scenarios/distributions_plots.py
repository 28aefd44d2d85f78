"""Pictures of a run of kind "distributions": the clouds as a grid, and bar charts of their distances from the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aocsim.pictures import write_figures
from aocsim.style import BLUE, GREEN, GREY, METHODS, ORANGE, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

COLOURS = {"machine": VERMILION, "twin": ORANGE, "ideal": BLUE, "gaussian": GREY, "floor": GREEN}
TOLD = {
    "machine": "machine",
    "twin": "static twin",
    "ideal": "same network, digital",
    "gaussian": "Gaussian fitted to the data",
    "floor": "second data sample",
}
ROWS = ("floor", "ideal", "twin", "machine")
LIMIT = 1.6  # network units to either side


def write_distributions(data: xarray.Dataset, folder: Path) -> None:
    """Draw and write both pictures, each complete or not at all."""
    write_figures(
        {"distributions.png": lambda: clouds(data), "distances.png": lambda: distances(data)}, folder
    )


def _source(data: xarray.Dataset) -> str:
    scenario = json.loads(data.attrs["scenario"])
    method, *_ = METHODS[scenario["diffusion"]["method"]]
    return (
        f"{scenario['machine']}, serial {scenario['serial']}, seed {scenario['seed']}, {scenario['samples']} samples,\n"
        f"{scenario['trials']} trials, {scenario['diffusion']['steps']} steps of {method}"
    )


def label_of(name: str) -> str:
    """A data set's name for an axis: letter:A as A."""
    return name.removeprefix("letter:").removeprefix("polygon:").replace("_", " ")


def clouds(data: xarray.Dataset) -> Figure:
    """Every model's clouds, one column each: a second data sample, ideal, twin, machine."""
    from matplotlib import pyplot

    count = data.sizes["model"]
    figure, axes = pyplot.subplots(
        len(ROWS), count, figsize=(max(4.0, 0.72 * count + 0.9), 3.9), squeeze=False, sharex=True, sharey=True
    )
    for column in range(count):
        for row, name in enumerate(ROWS):
            axis, points = axes[row, column], data["points"].isel(model=column).sel(cloud=name).values
            axis.scatter(points[:, 0], points[:, 1], s=1.2, color=COLOURS[name], linewidths=0)
            axis.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), xticks=[-1, 1], yticks=[-1, 1])
            axis.set_aspect("equal")
            axis.tick_params(labelsize=6, length=2)
            if column == 0:
                axis.set_ylabel({"floor": "data", "ideal": "digital"}.get(name, name), fontsize=8)
        axes[0, column].set_title(label_of(str(data["data_set"].values[column])), fontsize=8)
    figure.supxlabel("$x_1$ (network units)", fontsize=8)
    figure.supylabel("$x_2$ (network units)", fontsize=8)
    figure.suptitle(_source(data), fontsize=8)
    return figure


def distances(data: xarray.Dataset) -> Figure:
    """W2 and MMD^2 of every cloud from the held-out data, with their intervals."""
    from matplotlib import pyplot

    count, names = data.sizes["model"], [str(name) for name in data["cloud"].values]
    figure, axes = pyplot.subplots(2, 1, figsize=(max(4.5, 0.55 * count + 1.2), 4.8), sharex=True)
    width = 0.8 / len(names)
    for axis, key, text in zip(
        axes, ("w2", "mmd2"), ("$W_2$ (network units)", "unbiased MMD$^2$"), strict=True
    ):
        for k, name in enumerate(names):
            value, low, high = (data[key + end].sel(cloud=name).values for end in ("", "_low", "_high"))
            error = np.maximum([value - low, high - value], 0.0)
            place = np.arange(count) + (k - (len(names) - 1) / 2) * width
            axis.bar(place, value, width, color=COLOURS[name], label=TOLD[name])
            axis.errorbar(place, value, error, fmt="none", ecolor="black", elinewidth=0.6)
        axis.set_ylabel(text)
        axis.axhline(0.0, color="black", linewidth=0.5)
    labels = [label_of(str(name)) for name in data["data_set"].values]
    axes[1].set_xticks(np.arange(count), labels, rotation=30, ha="right")
    handles, told = axes[0].get_legend_handles_labels()
    figure.legend(handles, told, ncols=3, fontsize=7, loc="outside lower center")
    figure.suptitle(f"Distance from 1,000 held-out points, 68 % intervals\n{_source(data)}", fontsize=8)
    return figure
