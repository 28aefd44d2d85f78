"""One figure for each kind of study, curves averaged over its models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.pictures import write_figures
from aocsim.style import BLUE, GREY, METHODS, PURPLE, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHOICES = {"per_channel": ("per channel", BLUE, "o"), "global": ("global", VERMILION, "s")}
W2, MMD2 = "$W_2$ (network units)", "unbiased MMD$^2$"


def write_study(data: xarray.Dataset, folder: Path) -> None:
    """Draw and write the picture KIND.png, complete or not at all."""
    kind = str(data.attrs["kind"])
    write_figures({f"{kind}.png": lambda: DRAWN[kind](data)}, folder)


def _titled(figure: Figure, data: xarray.Dataset, title: str) -> None:
    scenario = json.loads(data.attrs["scenario"])
    names = [str(name).replace("_", " ") for name in data["model"].values]
    models = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    figure.suptitle(
        f"{title}\n{scenario['machine']}, serial {scenario['serial']}, seed {scenario['seed']}, "
        f"{scenario['samples']} samples; mean over: {models}",
        fontsize=8,
    )


def _band(axis: Axes, data: xarray.Dataset, name: str, over: str, scale: float = 1.0, **style: Any) -> None:
    """Mean over the models with the root mean square of their 68 % intervals' halves."""
    x = data[over].values * scale
    value = data[name].mean("model").values
    half = (data[f"{name}_high"] - data[f"{name}_low"]) / 2
    error = np.sqrt((half**2).mean("model").values / data.sizes["model"])
    axis.errorbar(x, value, error, capsize=2, markersize=4, linewidth=1.2, **style)


def _logarithmic(axis: Axes, values: object, scale: float = 1.0) -> None:
    """A logarithmic axis with the values themselves as its ticks."""
    numbers = np.asarray(values, dtype=float) * scale
    axis.set_xscale("log")
    axis.set_xticks(numbers, [f"{number:g}" for number in numbers])
    axis.minorticks_off()


def steps(data: xarray.Dataset) -> Figure:
    """W2 and MMD^2 against steps; W2 against evaluations; W2 against steps with few iterations."""
    from matplotlib import pyplot

    figure, ((left, right), (low, other)) = pyplot.subplots(2, 2, figsize=(7.2, 6.0))
    for axis, name, label in ((left, "w2", W2), (right, "mmd2", MMD2)):
        for scheme in data["scheme"].values:
            told, colour, marker = METHODS[str(scheme)]
            here = data.sel(scheme=scheme)
            curve = here[f"digital_{name}"].sel(iterations="converged").mean("model", skipna=False)
            axis.plot(data["steps"], curve, color=colour, linewidth=1.2, label=f"{told}, digital")
            told = f"{told}, machine"
            _band(
                axis,
                here,
                f"machine_{name}",
                "machine_steps",
                color=colour,
                marker=marker,
                linestyle="none",
                label=told,
            )
        _logarithmic(axis, data["steps"])
        axis.set(xlabel="diffusion steps", ylabel=label)
    for scheme in data["scheme"].values:
        _few_iterations(low, other, data.sel(scheme=scheme).mean("model", skipna=False), str(scheme))
    left.set_yscale("log")
    right.set_yscale("symlog", linthresh=1e-2)
    low.set(xscale="log", yscale="log", xlabel="network evaluations of a digital sample", ylabel=W2)
    _logarithmic(other, data["steps"])
    other.set(yscale="log", xlabel="diffusion steps", ylabel=W2)
    for axis, room in ((left, 2.5), (low, 20.0), (other, 20.0)):
        axis.set_ylim(top=axis.get_ylim()[1] * room)  # room for the legend
        axis.legend(fontsize=5.5, ncols=2, loc="upper right")
    _titled(figure, data, "Quality against steps and evaluations; a curve begins where there is a solution")
    return figure


def _few_iterations(low: Axes, other: Axes, mean: xarray.Dataset, scheme: str) -> None:
    """One method's curves against evaluations, and an implicit one's against steps."""
    told, colour, marker = METHODS[scheme]
    converged = mean.sel(iterations="converged")
    if scheme in ("explicit_euler", "heun"):
        x, y = converged["digital_evaluations"], converged["digital_w2"]
        low.plot(x, y, color=colour, marker=marker, markersize=3.5, label=told)
        return
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 0.9}
    counts = [text for text in mean["iterations"].values if str(text) != "converged"]
    for k, count in enumerate(counts):
        one, line = mean.sel(iterations=count), ("-", "--", "-.", ":")[k % 4]
        for axis, x in ((low, one["digital_evaluations"]), (other, one["steps"])):
            axis.plot(x, one["digital_w2"], linestyle=line, label=f"{told}, {count} it.", **style)
    other.plot(
        converged["steps"],
        converged["digital_w2"],
        color=colour,
        linewidth=2.5,
        alpha=0.3,
        label=f"{told}, converged",
    )


def noise(data: xarray.Dataset) -> Figure:
    """W2 against noise; noise that is left over noise added up; a kick followed through the later steps."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(7.2, 5.2))
    grid = figure.add_gridspec(2, 2)
    left, right = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    below = figure.add_subplot(grid[1, :])
    scales = data["noise_scale"].values
    for method in data["scheme"].values:
        told, colour, marker = METHODS[str(method)]
        here = data.sel(scheme=method)
        _band(left, here, "w2", "noise_scale", color=colour, marker=marker, label=told)
        share = here["noise_share_left"].mean("model").values
        right.plot(scales[scales > 0], share[scales > 0], color=colour, marker=marker, markersize=4)
        for k, step in enumerate(data["kicked_after"].values):
            for way, style in (("machine", "none"), ("digital", "-"), ("linear", ":")):
                curve = here["kick"].sel(way=way, kicked_after=step).mean("model", skipna=False)
                below.plot(
                    data["step"],
                    curve,
                    color=colour,
                    linestyle=style,
                    marker=marker if way == "machine" else None,
                    markersize=4,
                    linewidth=1.1,
                    label=f"{told}, {way}" if not k else None,
                )
    left.set(xlabel="factor on the machine's noise", ylabel=W2)
    right.set(xlabel="factor on the machine's noise", ylabel="noise left / noise added up")
    right.axhline(1.0, color=GREY, linewidth=0.8)
    right.set_xscale("log")
    _logarithmic(right, scales[scales > 0])
    below.axhline(1.0, color=GREY, linewidth=0.8)
    below.set_xticks(data["step"].values[:: max(1, data.sizes["step"] // 8)])
    below.set(xlabel="diffusion step", ylabel="RMS deviation / kick", yscale="log")
    left.legend(fontsize=7)
    below.legend(fontsize=7, ncols=2)
    _titled(
        figure,
        data,
        "What the diffusion makes of noise and of a kick (linear: products of the steps' jacobians)",
    )
    return figure


def averaging(data: xarray.Dataset) -> Figure:
    """Distances against trials and against the averaging window."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(7.2, 4.6), sharey="row")
    for row, (name, label) in enumerate((("w2", W2), ("mmd2", MMD2))):
        left, right = axes[row]
        _band(left, data, f"trials_{name}", "trials", color=BLUE, marker="o")
        _band(right, data, f"window_{name}", "window", 1e6, color=VERMILION, marker="s")
        _logarithmic(left, data["trials"])
        _logarithmic(right, data["window"], 1e6)
        left.set_ylabel(label)
    axes[1, 0].set_xlabel("trials that are averaged")
    axes[1, 1].set_xlabel("averaging window (µs)")
    _titled(figure, data, "Averaging over trials, and over a window at the scenario's trials")
    return figure


def readout(data: xarray.Dataset) -> Figure:
    """Distances against the time of the read-out."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(7.2, 2.9))
    for axis, name, label in zip(axes, ("w2", "mmd2"), (W2, MMD2), strict=False):
        _band(axis, data, name, "time", 1e6, color=BLUE, marker="o")
        axis.set_ylabel(label)
    axes[2].plot(
        data["time"] * 1e6, data["nrmse_step_ideal"].mean("model"), color=PURPLE, marker="o", markersize=4
    )
    axes[2].set(yscale="log", ylabel="NRMSE of a step")
    for axis in axes:
        axis.set_xlabel("read-out (µs)")
        _logarithmic(axis, data["time"], 1e6)
        axis.tick_params(axis="x", labelsize=7)
    _titled(figure, data, "Read out before the loop has come to rest")
    return figure


def relaxation(data: xarray.Dataset) -> Figure:
    """Alpha, settling time, signal-to-noise ratio and W2 against light."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(7.2, 4.8), sharex=True)
    for choice in data["choice"].values:
        told, colour, marker = CHOICES[str(choice)]
        here = data.sel(choice=choice)
        mean = here.mean("model", skipna=False)
        style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2}
        axes[0, 0].plot(data["light"], 1 - mean["alpha_median"], label=f"{told}, median", **style)
        axes[0, 0].plot(
            data["light"], 1 - mean["alpha_max"], linestyle=":", label=f"{told}, slowest", **style
        )
        axes[0, 1].plot(data["light"], mean["settling"] * 1e6, **style)
        axes[1, 0].plot(data["light"], mean["signal_to_noise"], **style)
        _band(axes[1, 1], here, "w2", "light", color=colour, marker=marker)
    for axis, label in zip(
        axes.ravel(), (r"$1 - \alpha$", "settling time (µs)", "signal-to-noise ratio", W2), strict=True
    ):
        _logarithmic(axis, data["light"])
        axis.set_ylabel(label)
    axes[0, 0].set_yscale("log")
    axes[0, 0].legend(fontsize=6.5)
    for axis in axes[1]:
        axis.set_xlabel("light (times the sheet's)")
    _titled(figure, data, "What less light costs: relaxation, time and noise")
    return figure


DRAWN: Mapping[str, Callable[[xarray.Dataset], Figure]] = {
    "steps": steps,
    "noise": noise,
    "averaging": averaging,
    "readout": readout,
    "relaxation": relaxation,
}
