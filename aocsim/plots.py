"""Pictures of results. Each takes a Dataset as `record` writes it and stands alone: title, axes with units, legend."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aocsim.gantt import timeline
from aocsim.pictures import write_figures
from aocsim.style import BLUE, GREEN, GREY, PURPLE, SKY, VERMILION, YELLOW, source_of

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
GRID_COLUMNS, GRID_ROWS = 6, 5


def write_pictures(data: xarray.Dataset, folder: Path) -> list[Path]:
    """Draw and write all pictures of a "sample" result, each complete or not at all."""
    drawings: dict[str, Callable[[xarray.Dataset], Figure]] = {
        "samples.png": samples,
        "settling.png": settling_grid,
        "bias.png": bias,
        "timeline.png": timeline,
    }
    if data.sizes["recorded_sample"] and data.sizes["trial"]:
        drawings["voltages.png"] = voltages
    return write_figures({name: partial(draw, data) for name, draw in drawings.items()}, folder)


def _summary(data: xarray.Dataset) -> dict[str, Any]:
    return dict(json.loads(data.attrs["summary"]))


SOLVES = {
    "explicit_euler": "explicit diffusion steps",
    "heun": "solves of Heun's method, two a step",
    "implicit_euler": "implicit diffusion steps",
    "crank_nicolson": "Crank-Nicolson diffusion steps",
}


def solves_of(data: xarray.Dataset) -> str:
    """What the entries of the axis `step` are, in the plural."""
    return SOLVES[json.loads(data.attrs["scenario"])["diffusion"]["method"]]


def _cloud(axis: Axes, points: Array, **style: Any) -> None:
    """Scatter the first two dimensions of points (n, d)."""
    axis.scatter(points[:, 0], points[:, 1], **style)


def samples(data: xarray.Dataset) -> Figure:
    """Noise, the machine's samples and the ideal ones, each over the data cloud."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(7.2, 3.3), sharex=True, sharey=True, layout="compressed")
    summary = _summary(data)
    panels = (
        ("noise, t = 0", data["start"], None),
        ("machine, t = 1", data["state"].isel(step=-1), summary["w2_machine"]),
        ("same network, digital", data["state_ideal"].isel(step=-1), summary["w2_ideal"]),
    )
    for axis, (title, cloud, distance), colour in zip(axes, panels, (GREY, VERMILION, BLUE), strict=True):
        _cloud(axis, data["reference"].values, s=3, color="#d9d9d9", linewidths=0, label="data")
        _cloud(axis, cloud.values, s=7, color=colour, linewidths=0, label="samples")
        axis.set_title(f"{title}\n" + ("" if distance is None else f"$W_2$ = {distance:.3f}"))
        axis.set_aspect("equal")
        axis.set_xlim(-2.2, 2.2)
        axis.set_ylim(-2.2, 2.2)
        axis.set_xlabel("$x_1$ (network units)")
    axes[0].set_ylabel("$x_2$ (network units)")
    axes[1].legend(loc="lower right", handletextpad=0.1, markerscale=1.5)
    figure.suptitle(
        f"{data.sizes['sample']} samples, {data.sizes['step']} {solves_of(data)} ({source_of(data)})"
    )
    return figure


def voltages(data: xarray.Dataset) -> Figure:
    """All node voltages of the first recorded solve, with the read-out window."""
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    step = data.sizes["step"] // 2
    wave = data["voltage"].isel(recorded_sample=0, trial=0, step=step).load()
    used = np.isin(data["channel"].values, data["channel_of_unit"].values)
    order = data["channel_of_unit"].values
    top = order[: data.sizes["dim"]]
    time = data["time"].values * 1e6
    figure, axis = pyplot.subplots(figsize=(7.2, 3.6))
    for channel in data["channel"].values:
        colour, width, depth = (SKY, 0.6, 1) if used[channel] else (GREY, 0.5, 0)
        if channel in top:
            colour, width, depth = VERMILION, 1.4, 2
        axis.plot(time, wave.sel(channel=channel), color=colour, linewidth=width, zorder=depth)
    start, stop = window_of(data)
    axis.axvspan(start * 1e6, stop * 1e6, color=YELLOW, alpha=0.35, linewidth=0)
    handles = [
        Line2D([], [], color=VERMILION, linewidth=1.4, label="channels that carry the sample"),
        Line2D([], [], color=SKY, linewidth=1.0, label="hidden units"),
        Line2D([], [], color=GREY, linewidth=1.0, label="unused channels"),
        Rectangle((0, 0), 1, 1, color=YELLOW, alpha=0.35, linewidth=0, label="read-out window"),
    ]
    if "settling" in data:
        settled = float(data["settling"].isel(sample=0, step=step)) * 1e6
        label = f"settled to 1 % of the distance\nof all voltages: {settled:.1f} µs"
        handles.insert(3, axis.axvline(settled, color="black", linewidth=0.8, linestyle="--", label=label))
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.set_xlim(0, time[-1])
    axis.set_xlabel("time after the loop closes (µs)")
    axis.set_ylabel("node voltage (V)")
    axis.set_title(
        f"{data.sizes['channel']} node voltages as digitised, diffusion step {step + 1} of {data.sizes['step']}\n"
        f"({source_of(data)}, sample 0)"
    )
    return figure


def window_of(data: xarray.Dataset) -> tuple[float, float]:
    """Start and stop of the read-out window, s."""
    return float(data.attrs["window_start_s"]), float(data.attrs["window_stop_s"])


def settling_grid(data: xarray.Dataset) -> Figure:
    """Diffusion steps against solve time: where the samples stand while the loop settles."""
    from matplotlib import pyplot

    steps = data.sizes["step"]
    rows = np.unique(np.linspace(0, steps - 1, min(GRID_ROWS, steps)).round().astype(int))
    time = data["time"].values
    columns = [int(np.argmin(abs(time - instant * 1e-6))) for instant in grid_instants(time[-1] * 1e6)]
    # a few instants of what may be large, and stay on the disk
    recorded, scale = data["solution_voltage"], float(data.attrs["volts_per_unit"])
    figure, axes = pyplot.subplots(
        len(rows),
        len(columns),
        figsize=(7.2, 1.22 * len(rows) + 0.7),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    # all panels share these; set first, since every cloud would ask all of them for limits that fit
    axes[0, 0].set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    for row, step in enumerate(rows):
        for column, k in enumerate(columns):
            axis: Axes = axes[row, column]
            _cloud(axis, data["reference"].values, s=1, color="#d9d9d9", linewidths=0)
            points = recorded.isel(step=step, time=k).values / scale
            _cloud(axis, points, s=2.5, color=VERMILION, linewidths=0)
            axis.set_aspect("equal")
            if row == 0:
                axis.set_title(f"{time[k] * 1e6:.1f} µs", fontsize=9)
            if column == 0:
                axis.set_ylabel(f"step {step + 1}")
    figure.supxlabel("$x_1$ (network units); columns: time after the loop closes", fontsize=9)
    figure.supylabel("$x_2$ (network units)", fontsize=9)
    figure.suptitle(
        f"{recorded.sizes['sample']} samples while the loop settles, over the data ({source_of(data)})"
    )
    return figure


def grid_instants(record_us: float) -> Array:
    """Instants of the settling grid, us: growing, since the loop settles exponentially."""
    return np.concatenate([[0.0], np.geomspace(0.03, 0.9, GRID_COLUMNS - 1) * record_us])


def bias(data: xarray.Dataset) -> Figure:
    """Why samples shift: error of each step, its mean over samples on the channels that carry the sample."""
    from matplotlib import pyplot

    d = data.sizes["dim"]
    scale = float(data.attrs["volts_per_unit"])
    order = data["channel_of_unit"].values
    carriers = data["read_out"].sel(channel=order[:d]).values / scale
    error = carriers - data["ideal_fixed_point"].isel(unit=slice(d)).values
    step = data["step"].values
    figure, axes = pyplot.subplots(1, 2, figsize=(7.2, 2.8))
    mean, spread = error.mean(axis=0), error.std(axis=0)
    for k, colour in zip(range(min(d, 4)), (VERMILION, BLUE, GREEN, PURPLE), strict=False):
        axes[0].errorbar(
            step,
            mean[:, k],
            spread[:, k],
            color=colour,
            marker="o",
            markersize=3,
            linewidth=1,
            label=f"$x_{k + 1}$",
        )
    axes[0].axhline(0, color="black", linewidth=0.6)
    axes[0].set_xlabel("diffusion step")
    axes[0].set_ylabel("read-out minus ideal\n(network units)")
    axes[0].set_title("mean error per step (bars: spread)")
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high + 0.25 * (high - low))
    axes[0].legend(ncols=2, loc="upper center")
    shift = np.sqrt(((data["state"] - data["state_ideal"]) ** 2).sum("dim").mean("sample"))
    axes[1].plot(
        step, shift, color=VERMILION, marker="o", markersize=3, linewidth=1, label="distance to ideal samples"
    )
    total = np.sqrt((np.cumsum(mean, axis=0) ** 2).sum(axis=1))
    axes[1].plot(step, total, color=GREY, linestyle="--", linewidth=1, label="sum of mean errors")
    axes[1].set_xlabel("diffusion step")
    axes[1].set_ylabel("RMS shift (network units)")
    axes[1].set_title("how errors add up")
    axes[1].set_ylim(0, 1.3 * axes[1].get_ylim()[1])
    axes[1].legend(loc="upper left")
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"Machine against ideal, step by step ({source_of(data)})")
    return figure
