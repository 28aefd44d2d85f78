"""Picture of "quality_energy": W2 against energy, and the gain at equal quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.pictures import write_figures
from aocsim.scenarios.studies.plots import W2
from aocsim.style import BLUE, GREEN, GREY, METHODS, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOLD = {
    "settling": "machine, loop until settled",
    "events": "machine, parts during their events",
    "bench": "machine, nothing switched off",
}
CONTENDERS = ("#222222", PURPLE, GREY, GREEN, SKY, ORANGE)
SHARES = {"total": ("total", BLUE), "hardware": ("hardware", VERMILION), "algorithm": ("algorithm", GREEN)}


def write_quality(data: xarray.Dataset, folder: Path) -> list[Path]:
    """Draw and write quality_energy.png."""
    return write_figures({"quality_energy.png": lambda: quality(data)}, folder)


def told_of(name: str) -> str:
    """A contender in words."""
    return TOLD.get(name, "projected, " + name.replace("_", " "))


def _label(data: xarray.Dataset, name: str) -> str:
    beyond = name not in TOLD and float(data["projected_beyond"].sel(projection=name))
    return told_of(name) + (" (beyond a sheet)" if beyond else "")


def quality(data: xarray.Dataset) -> Figure:
    """W2 against energy for each weight, gains against quality, and their shares."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(7.2, 7.2))
    grid = figure.add_gridspec(2, 2, height_ratios=[1.35, 1])
    above, left, right = (figure.add_subplot(place) for place in (grid[0, :], grid[1, 0], grid[1, 1]))
    _clouds(above, data)
    figure.legend(*above.get_legend_handles_labels(), fontsize=6.5, loc="outside lower center", ncols=3)
    _curves(left, data)
    _bars(right, data)
    scenario = json.loads(data.attrs["scenario"])
    models = ", ".join(str(name).replace("_", " ") for name in data["model"].values)
    figure.suptitle(
        "Quality against energy, explicit digitally and implicit on analog machines "
        "(circles: Euler, triangles: Crank-Nicolson)\n"
        f"{scenario['machine']}, serial {scenario['serial']}, seed {scenario['seed']}, {scenario['samples']} samples, "
        f"{scenario['trials']} trial{'s' * (scenario['trials'] > 1)}; mean over: {models}",
        fontsize=8,
    )
    return figure


def _clouds(axis: Axes, data: xarray.Dataset) -> None:
    per_weight = data["digital_energy"] / data["nonzero_weights"]
    target = float(json.loads(data.attrs["summary"])["w2_target"])
    for scheme in data["scheme"].values:
        told, colour, marker = METHODS[str(scheme)]
        w2 = data["digital_w2"].sel(scheme=scheme).mean("model", skipna=False)
        cost = per_weight.sel(scheme=scheme).mean("model", skipna=False)
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.0}
        if str(scheme) in ("explicit_euler", "heun"):
            axis.plot(
                cost.sel(iterations="converged"),
                w2.sel(iterations="converged"),
                label=f"{told}, digital",
                **style,
            )
            continue
        counts = [str(text) for text in data["iterations"].values if str(text) != "converged"]
        for k, count in enumerate(counts):
            axis.plot(
                cost.sel(iterations=count),
                w2.sel(iterations=count),
                **{**style, "linewidth": 0.7, "linestyle": ("-", "--", "-.", ":")[k % 4]},
                label=f"{told}, digital, {count} it.",
            )
    for k, name in enumerate(data["contender"].values):
        energy = _energy_of(data, str(name))
        for scheme in data["scheme"].values:
            _, _, marker = METHODS[str(scheme)]
            w2 = data["machine_w2"].sel(scheme=scheme).mean("model", skipna=False)
            if not np.isfinite(w2).any():
                continue
            axis.plot(
                energy.sel(scheme=scheme).mean("model", skipna=False),
                w2,
                color=CONTENDERS[k % len(CONTENDERS)],
                marker=marker,
                markersize=5,
                linewidth=1.0,
                markerfacecolor="white" if str(name) not in TOLD else None,
                label=_label(data, str(name)) if str(scheme) == str(data["scheme"].values[-1]) else None,
            )
    axis.axhline(target, color=GREY, linewidth=0.8, linestyle="--", label=f"counted as equal, {target:.3f}")
    axis.set(xscale="log", xlabel="energy of a sample for each nonzero weight (J)", ylabel=W2)
    axis.set_ylim(bottom=0.0)


def _energy_of(data: xarray.Dataset, name: str) -> xarray.DataArray:
    if name in TOLD:
        return data["machine_energy"].sel(account=name) / data["nonzero_weights"]
    return data["projected_energy"].sel(projection=name) / data["projected_weights"].sel(projection=name)


def _curves(axis: Axes, data: xarray.Dataset) -> None:
    for k, name in enumerate(data["contender"].values):
        axis.plot(
            data["target"],
            data["gain_of_quality"].sel(contender=name),
            color=CONTENDERS[k % len(CONTENDERS)],
            drawstyle="steps-mid",
            linewidth=1.2,
        )
    axis.axhline(1.0, color=GREY, linewidth=0.8)
    target = float(json.loads(data.attrs["summary"])["w2_target"])
    axis.axvline(target, color=GREY, linewidth=0.8, linestyle="--")
    axis.set(
        yscale="log", xlabel="wanted quality, " + W2, ylabel="energy gain", title="gain at equal quality"
    )


def _bars(axis: Axes, data: xarray.Dataset) -> None:
    names = [str(name) for name in data["contender"].values]
    for k, (share, (told, colour)) in enumerate(SHARES.items()):
        here = data.sel(share=share)
        value = here["gain"].values
        place = np.arange(len(names)) + 0.25 * (k - 1)
        error = np.abs(np.array([value - here["gain_low"].values, here["gain_high"].values - value]))
        axis.errorbar(
            value,
            place,
            xerr=np.where(np.isfinite(error), error, 0.0),
            color=colour,
            marker="o",
            markersize=4,
            linestyle="none",
            capsize=2,
            label=told,
        )
    axis.axvline(1.0, color=GREY, linewidth=0.8)
    axis.set_yticks(
        range(len(names)),
        [told_of(name).replace("machine, ", "").replace("projected, ", "") for name in names],
        fontsize=6.5,
    )
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xscale="log", xlabel="energy gain (68 % intervals)", title="hardware and algorithm")
    axis.legend(fontsize=6.5)
