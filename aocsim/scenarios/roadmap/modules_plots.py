"""Pictures of "roadmap_modules": what adding modules does, and who works when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aocsim.gantt import NAMES, PHASES, ROW, time_scale, time_text
from aocsim.pictures import write_figures
from aocsim.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY)
MARKERS = "osD^vP"
TOLD = {
    "loop": "rings",
    "switch": "crossbar",
    "dac": "DACs",
    "digitiser": "digitisers",
    "memory": "memory cells",
    "host": "host links",
    "slm": "modulators, of loading",
}
UNITS_SHOWN = 4  # of each resource in the timeline
ROUNDS_SHOWN = 2.2  # of a step without waiting, in the timeline's lower panel
LEAST_TEXT = 0.02  # of the axis: narrower bars have no number


def write_modules(data: xarray.Dataset, folder: Path) -> list[Path]:
    """Draw and write roadmap_modules.png and modules_timeline.png."""
    return write_figures(
        {"roadmap_modules.png": lambda: modules(data), "modules_timeline.png": lambda: timeline(data)}, folder
    )


def _source(data: xarray.Dataset) -> str:
    scenario = json.loads(data.attrs["scenario"])
    return (
        f"{scenario['samples']} samples, {scenario['diffusion']['steps']} steps; a ring is "
        f"{int(data.attrs['modules_per_ring'])} modules of {scenario['study']['channels']} channels; "
        f"{scenario['machine']}, seed {scenario['seed']}"
    )


def modules(data: xarray.Dataset) -> Figure:
    """Throughput and latency against modules, who works how much, and waiting of random arrivals."""
    from matplotlib import pyplot

    figure, ((left, right), (low, other)) = pyplot.subplots(2, 2, figsize=(7.2, 6.6))
    tells = str(data.attrs["variant_tells"]).split("\n")
    count = data["modules"].values
    for k, name in enumerate(data["variant"].values):
        here, colour = data.sel(variant=name), COLOURS[k % len(COLOURS)]
        style = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "markersize": 4, "linestyle": "none"}
        beyond = " (beyond a sheet)" if float(here["beyond"]) else ""
        left.plot(count, here["throughput"], label=f"{name}: {tells[k]}{beyond}", **style)
        left.plot(count, here["throughput_of_batch"], color=colour, linewidth=1.0)
        left.plot(count, here["throughput_closed_form"], color=colour, linewidth=0.8, linestyle=":")
        enough = float(here["modules_enough"])
        if np.isfinite(enough) and enough <= count[-1]:
            left.axvline(enough, color=colour, linewidth=0.8, linestyle="--")
        right.plot(count, here["latency"], **{**style, "linestyle": "-", "linewidth": 1.0})
    left.plot([], [], color=GREY, linewidth=1.0, label="closed form, this batch")
    left.plot([], [], color=GREY, linewidth=0.8, linestyle=":", label="closed form, endless batch")
    left.plot([], [], color=GREY, linewidth=0.8, linestyle="--", label="from here on more do not help")
    left.set(yscale="log", ylabel="samples per second", title="throughput")
    right.set(yscale="log", ylabel="mean time to a sample (s)", title="latency in the batch")
    figure.legend(*left.get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=2)
    _utilisation(low, data)
    for axis in (left, right, low):
        _modules_axis(axis, count)
    _waiting(other, data)
    figure.suptitle(f"What adding modules does\n{_source(data)}", fontsize=8)
    return figure


def _modules_axis(axis: Axes, count: np.ndarray) -> None:
    axis.set_xscale("log")
    axis.set_xticks(count, [f"{n:g}" for n in count], fontsize=7)
    axis.minorticks_off()
    axis.set_xlabel("modules")


def _utilisation(axis: Axes, data: xarray.Dataset) -> None:
    name = json.loads(data.attrs["scenario"])["study"]["drawn_variant"]
    here = data["utilisation"].sel(variant=name)
    for k, resource in enumerate(r for r in data["resource"].values if str(r) != "slm"):
        share = here.sel(resource=resource)
        if np.isfinite(share).any():
            axis.plot(
                data["modules"],
                100 * share,
                color=COLOURS[k % len(COLOURS)],
                marker=MARKERS[k % len(MARKERS)],
                markersize=3.5,
                linewidth=1.0,
                label=TOLD[str(resource)],
            )
    axis.set(ylabel="share of the time at work (%)", title=f"utilisation, {name}", ylim=(0, 119))
    axis.legend(fontsize=6.5, ncols=3, loc="upper center")


def _waiting(axis: Axes, data: xarray.Dataset) -> None:
    if "load" not in data.dims:
        axis.set_axis_off()
        return
    study = json.loads(data.attrs["scenario"])["study"]
    service = float(json.loads(data.attrs["summary"])["service_s"])
    rings = int(json.loads(data.attrs["summary"])["rings_loaded"])
    axis.errorbar(
        100 * data["load"],
        data["wait"] / service,
        data["wait_error"] / service,
        color=BLUE,
        marker="o",
        markersize=4,
        linestyle="none",
        capsize=2,
        label="simulated",
    )
    axis.plot(
        100 * data["load"],
        data["wait_closed_form"] / service,
        color=GREY,
        label=f"M/D/{rings} of {time_text(service)}, endless",
    )
    axis.plot(
        100 * data["load"],
        data["wait_same_arrivals"] / service,
        color="black",
        marker="x",
        markersize=6,
        linestyle="none",
        label="the same arrivals, recursion",
    )
    positive = data["wait_closed_form"].values / service
    axis.set(
        xlabel="load (% of what the rings can take)",
        ylabel="mean wait (times of a sample)",
        title=f"random arrivals, {study['loaded_variant']}, {study['loaded']} modules",
        yscale="log",
        ylim=(0.3 * positive.min(), None),
    )
    axis.legend(fontsize=7)


def timeline(data: xarray.Dataset) -> Figure:
    """Who works when: the whole batch, and its first steps with the samples' numbers."""
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    study = json.loads(data.attrs["scenario"])["study"]
    begin = float(data["event_start"].values[data["event_resource"].values != "slm"].min())
    end = float(data["event_stop"].max())
    first = (data["event_sample"] == 0) & (data["event_step"] == 1)
    one = float(data["event_stop"].where(first).max()) - begin
    spans = [(0.0, end), (begin, min(end, begin + ROUNDS_SHOWN * one))]
    rows = [_rows(data, span) for span in spans]
    heights = [len(rows[0]), 1.5 * len(rows[1])]
    figure, axes = pyplot.subplots(2, 1, figsize=(7.2, 1.9 + 0.7 * ROW * sum(heights)), height_ratios=heights)
    titles = (f"loading and the batch: {time_text(end)}", f"its first {time_text(spans[1][1] - begin)}")
    for axis, span, title, here in zip(axes, spans, titles, rows, strict=True):
        _bars(axis, data, here, span, axis is axes[1])
        axis.set_title(title, loc="left", fontsize=9)
    lasting = data["event_what"].values[data["event_stop"].values > data["event_start"].values]
    seen = [what for what in PHASES if what in lasting]
    figure.legend(
        handles=[Patch(facecolor=PHASES[what], label=NAMES.get(what, what)) for what in seen],
        loc="outside lower center",
        ncols=6,
        fontsize=7,
        handlelength=1.0,
    )
    figure.suptitle(
        f"Who works when: {study['drawn_variant']}, {study['drawn']} modules; numbers are samples, at most "
        f"{UNITS_SHOWN} of each shown\n{_source(data)}",
        fontsize=8,
    )
    return figure


def _rows(data: xarray.Dataset, span: tuple[float, float]) -> list[tuple[str, int]]:
    """Resources and units with something to do in a span of time, s."""
    within = (data["event_stop"].values > span[0]) & (data["event_start"].values < span[1])
    out = []
    for name in dict.fromkeys(("slm", *TOLD)):
        units = np.unique(data["event_unit"].values[within & (data["event_resource"].values == name)])
        out += [(name, int(unit)) for unit in units[:UNITS_SHOWN]]
    return out


def _bars(
    axis: Axes, data: xarray.Dataset, rows: list[tuple[str, int]], span: tuple[float, float], numbers: bool
) -> None:
    factor, unit = time_scale(span[1] - span[0])
    resource, units = data["event_resource"].values, data["event_unit"].values
    start, stop = data["event_start"].values, data["event_stop"].values
    total = (span[1] - span[0]) * factor
    for row, (name, number) in enumerate(rows):
        mine = np.flatnonzero((resource == name) & (units == number) & (stop > span[0]) & (start < span[1]))
        begins = (np.clip(start[mine], *span) - span[0]) * factor
        widths = (np.clip(stop[mine], *span) - span[0]) * factor - begins
        colours = [PHASES.get(str(what), GREY) for what in data["event_what"].values[mine]]
        wide = numbers & (widths > LEAST_TEXT * total)  # narrow ones would vanish behind a white edge
        axis.broken_barh(
            list(zip(begins.tolist(), widths.tolist(), strict=True)),
            (row - 0.4, 0.8),
            facecolors=colours,
            edgecolors=["white" if own else colour for own, colour in zip(wide, colours, strict=True)],
            linewidth=0.4,
        )
        for k, begin, width in zip(mine, begins, widths, strict=True):
            if numbers and width > LEAST_TEXT * total and data["event_sample"].values[k] >= 0:
                axis.text(
                    begin + width / 2,
                    row,
                    str(int(data["event_sample"].values[k]) + 1),
                    ha="center",
                    va="center",
                    fontsize=5.5,
                )
    axis.set_yticks(
        range(len(rows)), [f"{TOLD[name].split(',')[0]} {number + 1}" for name, number in rows], fontsize=6.5
    )
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0, total)
    axis.set_xlabel(f"time ({unit})", labelpad=1)
