"""Pictures of a calibration: how well it predicts, what it says of each parameter, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import LAW, NAMES
from aocsim.calibration.transient_fit import COMMON
from aocsim.pictures import write_figures
from aocsim.style import BLUE, GREEN, GREY, ORANGE, VERMILION

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = {
    "open": ("loop open", 0.015, "dedicated experiments alone"),
    "closed": ("loop closed", 0.009, "first stage alone"),
}
"""Title, mean error that the laboratory reports of its machine, and what stands before the stage."""
BINS = 30
LOUD = 99.0  # per cent of the residuals within the colour scale


def write_pictures(data: xarray.Dataset, folder: Path) -> None:
    """Draw and write all pictures of a calibration, each complete or not at all."""
    drawings: dict[str, Callable[[xarray.Dataset], Figure]] = {
        "errors.png": errors,
        "parameters.png": parameters,
        "residuals.png": residuals,
    }
    if "transient_chi_squared" in data:
        drawings["transients.png"] = transients
    write_figures({name: partial(draw, data) for name, draw in drawings.items()}, folder)


def _shown(data: xarray.Dataset) -> list[str]:
    return [stage for stage in STAGES if f"{stage}_nrmse" in data]


def _source(data: xarray.Dataset) -> str:
    scenario = json.loads(data.attrs["scenario"])
    return f"{data.attrs['machine']}, seed {scenario['seed']}"


def errors(data: xarray.Dataset) -> Figure:
    """Histograms of the errors of held-out experiments: by the stage, by what stands before it, by the data sheets."""
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    stages = _shown(data) or ["open"]
    figure, axes = pyplot.subplots(1, len(stages), figsize=(3.6 * len(stages), 3.0), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        title, reported, before = STAGES[stage]
        if f"{stage}_nrmse" not in data:
            axis.set_axis_off()
            continue
        clouds = (
            ("data sheets", "_nominal", GREY),
            (before, "_before", BLUE),
            ("calibrated", "", VERMILION),
        )
        values = {label: _finite(data[f"{stage}_nrmse{suffix}"]) for label, suffix, _ in clouds}
        every = np.concatenate(list(values.values()))
        edges = np.geomspace(0.9 * every.min(), 1.1 * every.max(), BINS + 1)
        for label, _, colour in clouds:
            axis.hist(
                values[label],
                edges,
                color=colour,
                alpha=0.65,
                label=f"{label}: mean {np.mean(values[label]):.4f}",
            )
        axis.axvline(
            reported,
            ymax=0.62,
            color="black",
            linestyle="--",
            linewidth=0.9,
            label=f"reported by the laboratory: {reported:g}",
        )
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlabel("error over the range of the outputs")
        axis.set_ylabel("held-out experiments")
        axis.set_title(f"{title}, {len(values['calibrated'])} experiments")
        low, high = axis.get_ylim()
        axis.set_ylim(low, 1.55 * high)
        axis.legend(fontsize=7, loc="upper left")
    figure.suptitle(f"Errors of predictions ({_source(data)})", fontsize=10)
    return figure


def _finite(values: xarray.DataArray) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.asarray(values.values, dtype=float)
    return np.asarray(found[np.isfinite(found)])


def parameters(data: xarray.Dataset) -> Figure:
    """Each group of parameters with standard errors, against the truth where it is known."""
    from matplotlib import pyplot

    panels = [
        ("row", None, "row efficiency $r$"),
        *[("law", k, f"column law ${letter}$ (V)") for k, letter in zip(range(LAW), "ABC", strict=True)],
        ("later", None, "crosstalk to the next"),
        ("earlier", None, "crosstalk to the previous"),
        ("offset", None, "offset (V)"),
        ("offset_per_beta", None, "offset per $\\beta$ (V)"),
    ]
    if "gradient_gain" in data:
        panels += [
            ("gradient_gain", None, "gain of the gradient $K$"),
            ("alpha_gain", None, "gain of the relaxation $k$"),
            ("drive_gain", None, "gain of the drive $d$"),
            ("residual_offset", None, "residual offset (V)"),
        ]
    figure, axes = pyplot.subplots(len(panels) // 4, 4, figsize=(7.2, 1.9 * (len(panels) // 4) + 0.5))
    for axis, (name, component, label) in zip(axes.flat, panels, strict=True):
        _panel(axis, data, name, component)
        axis.set_title(label, fontsize=8)
        axis.tick_params(labelsize=7)
    known = any(f"{name}_truth" in data for name in NAMES)
    if known:
        figure.supxlabel("as built", fontsize=9)
    figure.supylabel("calibrated, with standard error", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=4, fontsize=8)
    figure.suptitle(f"Parameters ({_source(data)})", fontsize=10)
    return figure


def _panel(axis: Axes, data: xarray.Dataset, name: str, component: int | None) -> None:
    """One group: of both arms where it has them; for all alike where every truth is the same."""
    from matplotlib.ticker import MaxNLocator

    truth = data.get(f"{name}_truth")
    values, spread = data[name].values, data[f"{name}_error"].values
    against = None if truth is None else truth.values
    if component is not None:
        values, spread = values[..., component], spread[..., component]
        against = None if against is None else against[..., component]
    rows = values.reshape(-1, values.shape[-1])
    for arm, (row, error) in enumerate(zip(rows, spread.reshape(rows.shape), strict=True)):
        x = np.arange(len(row)) if against is None else against.reshape(rows.shape)[arm]
        colour, marker = ((VERMILION, "o"), (BLUE, "s"))[arm] if len(rows) > 1 else (GREEN, "D")
        label = ("+ arm", "- arm")[arm] if len(rows) > 1 else "channel"
        axis.errorbar(
            x,
            row,
            error,
            color=colour,
            marker=marker,
            markersize=2,
            linestyle="none",
            elinewidth=0.7,
            label=label,
        )
    axis.xaxis.set_major_locator(MaxNLocator(4))
    axis.ticklabel_format(scilimits=(-3, 4))
    if against is None:
        axis.set_xlabel("channel", fontsize=8)
    elif np.ptp(against) > 0:
        ends = [against.min(), against.max()]
        axis.plot(ends, ends, color="black", linewidth=0.7, zorder=0, label="equal")


def residuals(data: xarray.Dataset) -> Figure:
    """Maps of what the stages leave of held-out experiments, by output; experiments sorted by their error."""
    from matplotlib import pyplot

    stages = _shown(data) or ["open"]
    figure, axes = pyplot.subplots(1, len(stages), figsize=(3.7 * len(stages), 3.6), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        title = STAGES[stage][0]
        if f"{stage}_held_out_residual" not in data:
            axis.set_axis_off()
            continue
        left = data[f"{stage}_held_out_residual"].values * 1e3
        good = np.isfinite(left).all(axis=1)
        left = left[good][np.argsort(data[f"{stage}_nrmse"].values[good])]
        scale = float(np.percentile(np.abs(left), LOUD)) if left.size else 1.0
        image = axis.imshow(
            left, cmap="RdBu_r", vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest"
        )
        figure.colorbar(image, ax=axis, label="read less predicted (mV)", extend="both")
        axis.set_xlabel("channel")
        axis.set_ylabel("held-out experiment, the best first")
        axis.set_title(f"{title}, rms {np.sqrt(np.mean(left**2)):.2f} mV")
    figure.suptitle(f"Residuals ({_source(data)})", fontsize=10)
    return figure


def transients(data: xarray.Dataset) -> Figure:
    """Transients of the channel that one pole explains least, what the fit leaves of them, and chi-squared of all."""
    from matplotlib import pyplot
    from scipy.stats import chi2

    ratio = data["transient_chi_squared"].values
    worst = int(np.argmax(ratio))
    time = data["transient_time"].values * 1e6
    read = data["transient_mean"].values[..., worst]
    left = data["transient_residual"].values[..., worst]
    error = data["transient_mean_error"].values[:, worst]
    alpha = data["transient_alpha"].values[:, worst]
    figure, (one, two, three) = pyplot.subplots(1, 3, figsize=(7.6, 2.9))
    # a laboratory may record more relaxations than there are colours
    looks = cycle(zip((BLUE, ORANGE, GREEN, VERMILION), ("o", "s", "D", "^"), strict=True))
    for k, (colour, marker) in zip(range(len(alpha)), looks, strict=False):
        label = f"$\\alpha$ = {alpha[k]:.3f}"
        one.plot(time, read[k, 0], marker, color=colour, markersize=2.2, label=label)
        one.plot(time, read[k, 0] - left[k, 0], color=colour, linewidth=0.8)
        two.errorbar(
            time,
            left[k, 0] * 1e6,
            error[k] * 1e6,
            fmt=marker,
            color=colour,
            markersize=2.2,
            elinewidth=0.6,
            alpha=0.8,
        )
    one.set_ylabel("node voltage (V)")
    one.set_title(f"channel {worst}, fitted: lines", fontsize=9)
    one.legend(fontsize=7)
    two.axhline(0.0, color="black", linewidth=0.7)
    two.set_ylabel("read less fitted (µV)")
    two.set_title("residuals, standard errors", fontsize=9)
    for axis in (one, two):
        axis.set_xlabel("time after the loop closes (µs)")
    degrees = data["transient_residual"].values[..., worst].size - len(COMMON) - len(alpha)
    three.axhspan(
        *(chi2.ppf(p, degrees) / degrees for p in (0.025, 0.975)),
        color=GREY,
        alpha=0.3,
        label="95 % expected",
    )
    three.plot(ratio, "o", color=VERMILION, markersize=3)
    three.set_xlabel("channel")
    three.set_ylabel("$\\chi^2$ over degrees of freedom")
    three.set_title(f"mean {ratio.mean():.3f}", fontsize=9)
    three.legend(fontsize=7)
    figure.suptitle(f"Transients and one pole for each channel ({_source(data)})", fontsize=10)
    return figure
