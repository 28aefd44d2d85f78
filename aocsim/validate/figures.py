"""One figure a group: each comparison that has a curve, over its reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from aocsim.output import write_atomically
from aocsim.style import BLUE, GREY, SKY, STYLE, VERMILION
from aocsim.validate.check import Array, Curve, Setting
from aocsim.validate.table import Finding, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLUMNS, WIDTH, HEIGHT = 3, 9.6, 2.9
LINE, LABEL = 40, 34  # letters of a panel's title, and of an axis's label
DECADE = 12.0
FEW = 60  # points up to which each has a marker of full size


def write_figures(findings: Sequence[Finding], setting: Setting, folder: Path) -> list[Path]:
    """Write validation_GROUP.png for every group with a curve; returns the files."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    written = []
    with matplotlib.rc_context(STYLE):
        for group in dict.fromkeys(finding.group for finding in findings):
            shown = [found for found in findings if found.group == group and found.row.curve is not None]
            if shown:
                figure = group_figure(group, shown, setting)
                FigureCanvasAgg(figure)
                path = folder / f"validation_{group}.png"
                write_atomically(path, partial(figure.savefig, format="png"))
                written.append(path)
    return written


def group_figure(group: str, findings: Sequence[Finding], setting: Setting) -> Figure:
    """Panels of one group."""
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(findings))
    rows = -(-len(findings) // columns)
    figure = Figure(figsize=(WIDTH * columns / COLUMNS, HEIGHT * rows + 0.4))
    figure.suptitle(f"{title(group)} ({setting.machine}, serial {setting.serial})")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, finding in zip(axes, findings, strict=False):
        if finding.row.curve is not None:
            _draw(axis, finding, finding.row.curve)
    for axis in axes[len(findings) :]:
        axis.set_axis_off()
    return figure


def _draw(axis: Axes, finding: Finding, curve: Curve) -> None:
    row = finding.row
    failed = row.status == "fail"
    if curve.band is not None:
        axis.fill_between(curve.x, *curve.band, color=SKY, alpha=0.4, lw=0, label=curve.band_label)
    axis.plot(curve.x, curve.want, color=GREY, lw=2.2, label=curve.want_label)
    if curve.points:
        size = 3.5 if len(curve.x) <= FEW else 1.6
        axis.plot(
            curve.x, curve.got, "o", color=VERMILION if failed else BLUE, ms=size, label=curve.got_label
        )
    else:
        axis.plot(
            curve.x, curve.got, "--", color=VERMILION if failed else BLUE, lw=1.2, label=curve.got_label
        )
    axis.set_xlabel(fill(curve.x_label, LABEL))
    axis.set_ylabel(fill(curve.y_label, LABEL))
    if curve.log_x:
        axis.set_xscale("log")
        _few_ticks(axis.xaxis, curve.x)
    if curve.log_y:
        axis.set_yscale("log")
        _few_ticks(axis.yaxis, np.concatenate([curve.got, curve.want]))
    name = fill(finding.check.replace("_", " "), LINE)
    if row.reading is not None:
        errors = f"{row.reading.told}; {row.tolerance}"
    elif row.rms is None or row.maximum is None:
        errors = ""
    elif row.rms == row.maximum:  # one number
        errors = f"{row.rms:.2g} % off; {row.tolerance}"
    else:
        errors = f"rms {row.rms:.2g} %, max {row.maximum:.2g} %"
    axis.set_title(f"{name}\n{'FAILS: ' if failed else ''}{errors}", fontsize=8)
    axis.legend(fontsize=7)


def _few_ticks(axis: Axis, values: Array) -> None:
    """Plain numbers on a logarithmic axis of less than a decade, whose usual labels run into one another."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    shown = values[np.isfinite(values) & (values > 0)]
    if len(shown) and shown.max() / shown.min() < DECADE:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_minor_formatter(NullFormatter())
