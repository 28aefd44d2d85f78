"""Pictures of the kind "roadmap_single" about what limits: noise and light, settling, and what would have to hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.scenarios.roadmap.drawing import COLOURS, INK, MARKS, VERDICTS, frequency, mark_beyond, wanted_of
from aocsim.style import BLUE, ORANGE, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SOURCE_STYLES: tuple[tuple[Any, float, float], ...] = (
    ("-", 5.0, 9.0),
    ("--", 1.4, 5.0),
    ((0, (2, 2)), 2.2, 4.5),
    ("-.", 1.4, 5.0),
    ("-", 1.2, 4.0),
    (":", 1.6, 4.0),
)
"""Dashes, width and size of the marks of each source of noise."""


def limits(data: xarray.Dataset) -> Figure:
    """Error, its sources, the light that it wants, against channels, bandwidth and light."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9.2, 7.4))
    n, wanted = data["channels"].values, wanted_of(data)
    one = data.isel(module=0)
    error, sources, light, lit = axes.flat
    chosen = np.unique(np.linspace(0, data.sizes["bandwidth"] - 1, 3).round().astype(int))
    for k, index in enumerate(chosen):
        f = float(data["bandwidth"][index])
        here = data.isel(bandwidth=int(index))
        error.plot(n, here["own_nrmse"], color=COLOURS[k], ls="--", label=f"own parts, {frequency(f)}")
        light.plot(n, here["own_light"], color=COLOURS[k], ls="--", label=f"own parts, {frequency(f)}")
        for axis, name in ((error, "own_nrmse"), (light, "own_light")):
            mark_beyond(axis, n, here[name].values, here["own_beyond"].values)
    # too many channels for a panel are so at every bandwidth; the light that holds the error is not in the error
    too_many = one["projected_beyond"].min("projected_bandwidth").values
    for k, f in enumerate(data["projected_bandwidth"].values, start=3):
        here = one.isel(projected_bandwidth=k - 3)
        mark_beyond(error, n, here["projected_nrmse"].values, too_many)
        mark_beyond(light, n, here["projected_light"].values, here["projected_beyond"].values)
        for axis, name in ((error, "projected_nrmse"), (light, "projected_light")):
            axis.plot(
                n, here[name], color=COLOURS[k], marker=MARKS[k], ms=4, label=f"projected, {frequency(f)}"
            )
    error.axhline(wanted, color=INK, lw=0.8)
    error.set_ylabel("error, RMS over range")
    error.set_title("one solve, one sample", fontsize=9)
    light.axhline(1.0, color=INK, lw=0.8)
    light.set_ylabel(f"factor on the sheet's light for {wanted:g}")
    light.set_title("light that holds the error", fontsize=9)
    first = one.isel(projected_bandwidth=0)
    span = float(data.attrs["span_v"])
    for k, source in enumerate(data["source"].values):
        share = np.sqrt(first["projected_variance"].sel(source=source)) / span
        ls, lw, ms = SOURCE_STYLES[k % len(SOURCE_STYLES)]
        # narrower and open on wider and full, so that both of two curves on one another are seen
        face = COLOURS[k] if k == 0 else "white"
        sources.plot(n, share, color=COLOURS[k], marker=MARKS[k], mfc=face, ls=ls, lw=lw, ms=ms, label=source)
    _room_below(sources, 30.0)
    sources.set_ylabel("error by source, RMS over range")
    sources.set_title(f"projected, {frequency(float(data['projected_bandwidth'][0]))}", fontsize=9)
    own = float(data.attrs["own_bandwidth_hz"])
    # as above, of the machine's own panel
    too_many = data["own_beyond"].min("bandwidth").values
    for k, count in enumerate(n):
        lit.plot(
            data["light_factor"],
            data["own_nrmse_at_light"].isel(channels=k),
            color=COLOURS[k % len(COLOURS)],
            marker=MARKS[k % len(MARKS)],
            ms=4,
            label=f"N = {count}" + (" (beyond a sheet)" if too_many[k] else ""),
        )
    lit.set_xlabel("factor on all light")
    lit.set_ylabel("error, RMS over range")
    lit.set_title(f"own parts, {frequency(own)}", fontsize=9)
    for axis in (error, sources, light):
        axis.set_xlabel("channels N")
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.legend(fontsize=7, loc="lower right" if axis is light else "best")
    _room_below(light, 30.0)
    factors = data["light_factor"].values
    lit.set_xticks(factors, [f"{factor:g}" for factor in factors])
    lit.minorticks_off()
    levels = [
        level for level in (0.002, 0.003, 0.004, 0.006, 0.01, 0.02, 0.03, 0.05, 0.1) if _inside(lit, level)
    ]
    lit.set_yticks(levels, [f"{level:g}" for level in levels])
    bits = error.twinx()
    bits.set_yscale("log")
    bits.set_ylim(error.get_ylim())
    whole = [k for k in range(17) if _inside(error, 2.0**-k / 12**0.5)]
    bits.set_yticks([2.0**-k / 12**0.5 for k in whole], [str(k) for k in whole])
    bits.minorticks_off()
    bits.spines["right"].set_visible(True)
    bits.set_ylabel("effective bits")
    drawn = ", ".join(
        f"{int(count)}: {ratio:.3f}"
        for count, ratio in zip(
            data["simulated_channels"].values,
            np.sqrt(data["simulated_formula"].values / data["simulated_variance"].values),
            strict=True,
        )
    )
    figure.suptitle(
        f"Noise and light with scale (rings: beyond a sheet)\nformula over time domain, RMS, at N = {drawn}",
        fontsize=10,
    )
    return figure


def settling(data: xarray.Dataset) -> Figure:
    """Settling against the node's bandwidth, and what the emitters pay for theirs."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9.2, 3.9))
    f = data["node_bandwidth"].values
    for k, name in enumerate(data["lags"].values):
        axes[0].plot(
            f,
            data["settling_with"].isel(lags=k) * 1e9,
            color=COLOURS[k],
            ls=("-", "--", "-.", ":")[k],
            label=name,
        )
    axes[0].plot(
        data["projected_bandwidth"],
        data["projected_settling"].isel(module=0, channels=0) * 1e9,
        ls="",
        marker="o",
        color=INK,
        label="projected module",
    )
    published = json.loads(data.attrs["summary"])
    axes[0].plot(
        data["projected_bandwidth"],
        [published[f"published_step_ns.{float(v) / 1e9:g}"] for v in data["projected_bandwidth"].values],
        ls="",
        marker="x",
        color=VERMILION,
        label="published",
    )
    axes[0].set_ylabel("time of a step, to 1 % (ns)")
    axes[0].set_title(f"own parts: {data['lagging'].values[0]}, then {data['lagging'].values[1]}", fontsize=9)
    axes[0].set_yscale("log")
    glows = data["emitter_efficiency"].values > 0
    density = np.where(glows, data["emitter_current_density"] * 1e-7, np.nan)  # kA/cm^2
    axes[1].plot(f, density, color=BLUE, label="current density")
    axes[1].set_ylabel("current density (kA/cm²)", color=BLUE)
    axes[1].set_yscale("log")
    other = axes[1].twinx()
    other.spines["right"].set_visible(True)
    other.plot(
        f, np.where(glows, data["emitter_efficiency"], np.nan), color=ORANGE, ls="--", label="efficiency"
    )
    other.set_ylabel("photons for each electron", color=ORANGE)
    other.set_ylim(0, 1)
    axes[1].set_title("what the machine's own emitters pay for bandwidth", fontsize=9)
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xlabel("-3 dB bandwidth (Hz)")
    axes[0].legend(fontsize=7)
    figure.suptitle("How fast loops settle, and what emitters pay for speed", fontsize=10)
    return figure


def assumptions(data: xarray.Dataset) -> Figure:
    """What would have to hold: how far the sheets are from what the published chain needs."""
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    bandwidths = data["projected_bandwidth"].values
    names = data["assumption"].values
    figure, axes = pyplot.subplots(
        1,
        len(bandwidths),
        figsize=(3.0 + 2.4 * len(bandwidths), 0.42 * len(names) + 1.9),
        sharey=True,
        squeeze=False,
    )
    places = np.arange(len(names))[::-1]
    for k, axis in enumerate(axes[0]):
        here = data.isel(projected_bandwidth=k)
        needed, given, bound = (here[f"assumption_{which}"].values for which in ("needed", "given", "bound"))
        strain = np.where(data["assumption_at_most"].values == 1, given / needed, needed / given)
        least = bound / needed
        for place, ratio, low, verdict in zip(
            places, strain, least, here["assumption_verdict"].values, strict=True
        ):
            colour, mark = VERDICTS[str(verdict)]
            at = np.log10(float(np.clip(ratio, 1e-3, 30.0)))
            axis.plot([0, at], [place, place], color=colour, lw=2.5)
            axis.plot(at, place, ls="", marker=mark, ms=8, color=colour)
            if np.isfinite(low):
                axis.plot(np.log10(low), place, marker="|", ms=14, mew=2, color=INK)
        axis.axvline(0, color=INK, lw=1)
        axis.set_title(frequency(float(bandwidths[k])), fontsize=9)
        axis.set_xlim(-3.3, 1.6)
        axis.set_xticks([-3, -2, -1, 0, 1], ["0.001", "0.01", "0.1", "1", "10"])
        axis.set_xlabel("sheets over what is needed")
    axes[0][0].set_yticks(places, names)
    handles: list[Any] = [
        Line2D([], [], color=colour, marker=mark, ms=8, lw=2.5, label=name)
        for name, (colour, mark) in VERDICTS.items()
    ]
    handles.append(Line2D([], [], color=INK, marker="|", ls="", ms=10, mew=2, label="bound by physics"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(
        f"What {data.attrs['published_efficiency'] / 1e12:g} TOPS/W need, and what {data['module'].values[0]} gives "
        "(left of the line: more than enough)",
        fontsize=10,
    )
    return figure


def _room_below(axis: Axes, factor: float) -> None:
    """Lower a logarithmic axis by a factor, to make room for its legend."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    axis.set_ylim(low / factor, high)


def _inside(axis: Axes, level: float) -> bool:
    low, high = axis.get_ylim()
    return bool(low <= level <= high)
