"""Pictures of the kind "roadmap_single"."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aocsim.pictures import write_figures
from aocsim.scenarios.roadmap.drawing import COLOURS, INK, MARKS, frequency, mark_beyond, told, wanted_of
from aocsim.scenarios.roadmap.plots_limits import assumptions, limits, settling
from aocsim.style import BLUE, GREY, ORANGE

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def write_single(data: xarray.Dataset, folder: Path) -> list[Path]:
    """Draw all pictures of a result into a folder; returns the files."""
    return write_figures({f"{name}.png": partial(draw, data) for name, draw in PICTURES.items()}, folder)


def energy(data: xarray.Dataset) -> Figure:
    """Energy of one sample by part: events alone, and with nothing switched off between them."""
    from matplotlib import pyplot

    order = np.argsort(data["energy_by_part_idle"].values)
    parts = data["counted_part"].values[order]
    events, always = (data[name].values[order] for name in ("energy_by_part", "energy_by_part_idle"))
    figure, axis = pyplot.subplots(figsize=(6.4, 0.34 * len(parts) + 1.6))
    places = np.arange(len(parts))
    axis.barh(
        places + 0.2,
        events,
        height=0.38,
        color=BLUE,
        label=f"during its events, {events.sum():.3g} J together",
    )
    axis.barh(
        places - 0.2,
        always,
        height=0.38,
        color=ORANGE,
        hatch="//",
        edgecolor="white",
        label=f"never switched off, {always.sum():.3g} J together",
    )
    axis.set_yticks(places, parts)
    axis.set_xscale("log")
    axis.set_xlabel("energy of one diffusion sample (J), weights shared by the run's samples")
    axis.legend(loc="lower right")
    axis.set_title(f"Where the energy of a sample goes\n{told(data)}")
    return figure


def projections(data: xarray.Dataset) -> Figure:
    """Operations for each joule and power of a module against its channels."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9.2, 4.1))
    one = data.isel(module=0)
    n = data["channels"].values
    summary = json.loads(data.attrs["summary"])
    for k, f in enumerate(data["projected_bandwidth"].values):
        here = one.isel(projected_bandwidth=k)
        axes[0].plot(
            n, here["projected_efficiency_held"] / 1e12, color=COLOURS[k], marker=MARKS[k], label=frequency(f)
        )
        axes[0].plot(n, here["projected_efficiency"] / 1e12, color=COLOURS[k], ls=":", lw=1)
        axes[1].plot(n, here["projected_power_held"], color=COLOURS[k], marker=MARKS[k], label=frequency(f))
        axes[1].plot(n, here["projected_power"], color=COLOURS[k], ls=":", lw=1)
        mark_beyond(
            axes[0], n, here["projected_efficiency_held"].values / 1e12, here["projected_beyond"].values
        )
        mark_beyond(axes[1], n, here["projected_power_held"].values, here["projected_beyond"].values)
    own = data.isel(bandwidth=int(np.argmin(abs(data["bandwidth"].values - data.attrs["own_bandwidth_hz"]))))
    axes[0].plot(
        n,
        own["own_efficiency"] / 1e12,
        color=GREY,
        marker="x",
        label=f"machine's own parts, {frequency(float(own['bandwidth']))}",
    )
    mark_beyond(axes[0], n, own["own_efficiency"].values / 1e12, own["own_beyond"].values)
    for name, style in (("published", "-"), ("reference", "--")):
        level = data.attrs[f"{name}_efficiency"] / 1e12
        axes[0].axhline(level, color=INK, lw=1, ls=style)
        where = {"ha": "left", "va": "bottom"} if name == "published" else {"ha": "right", "va": "top"}
        text = "published" if name == "published" else "digital reference"
        axes[0].annotate(text, (n[0] if name == "published" else n[-1], level), fontsize=8, **where)
    axes[0].set_ylabel("10$^{12}$ operations for each joule (TOPS/W)")
    axes[1].set_ylabel("power of one module (W)")
    for axis in axes:
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel("channels N of a module")
    axes[0].legend(loc="center right", bbox_to_anchor=(1.0, 0.51), fontsize=7)
    count = summary["modules_100m"]
    axes[1].set_title(
        f"100 M weights: {count:.0f} modules, {summary['power_w_100m_held']:.0f} W at "
        f"{frequency(float(data['projected_bandwidth'][0]))}",
        fontsize=9,
    )
    axes[0].set_title("2 N² operations in every 1/f", fontsize=9)
    figure.suptitle(
        f"{one['module'].item()}: light that holds an error of {wanted_of(data):g} (dotted: current of its sheet); "
        "rings: beyond a sheet",
        fontsize=10,
    )
    return figure


def paths(data: xarray.Dataset) -> Figure:
    """New weights against the batch, and the way from step to step."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(9.6, 3.5), width_ratios=[2, 1, 1])
    for k, device in enumerate(data["device"].values):
        axes[0].plot(
            data["batch"],
            100 * data["loading_share"].isel(device=k),
            color=COLOURS[k],
            marker=MARKS[k],
            label=device,
        )
    axes[0].axhline(10, color=INK, lw=0.8)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("samples that share one loading of weights")
    axes[0].set_ylabel("time that goes to new weights (%)")
    axes[0].legend(fontsize=8, loc="center right")
    ways = ["converters\nand host", "analog\nmemory"]
    axes[1].bar(ways, data["passage_time"] * 1e6, color=[BLUE, ORANGE])
    axes[1].set_yscale("log")
    axes[1].set_ylabel("latency of a step (µs)")
    axes[2].bar(ways, data["passage_error"] * 1e3, color=[BLUE, ORANGE])
    axes[2].set_ylabel("error of one passage, RMS (mV)")
    figure.suptitle(f"New weights, and the way from step to step, {told(data)}", fontsize=10)
    return figure


PICTURES: Mapping[str, Callable[[xarray.Dataset], Figure]] = {
    "energy": energy,
    "projections": projections,
    "limits": limits,
    "settling": settling,
    "assumptions": assumptions,
    "paths": paths,
}
