"""The figure of the twin's limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from aocsim.output import write_atomically
from aocsim.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, STYLE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, "black")
DASHES = ("-", "--")
LOWEST, HIGHEST = 2e-5, 0.1  # below, rounding is all that is seen


class Drawn(Protocol):
    """What is drawn of a limit."""

    @property
    def what(self) -> str:
        """The effect in words."""

    @property
    def one(self) -> float:
        """One unit of size."""

    @property
    def unit(self) -> str:
        """Of `one`."""

    @property
    def sizes(self) -> NDArray[np.float64]:
        """(k,) in units of the spread."""

    @property
    def error(self) -> NDArray[np.float64]:
        """(k,)."""


def draw_limits(limits: Sequence[Drawn], level: float, source: str, path: Path) -> Path:
    """Draw error over size of all effects and write it, complete or not at all."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib.rc_context(STYLE):
        figure = limits_figure(limits, level, source)
        FigureCanvasAgg(figure)
        return write_atomically(path, partial(figure.savefig, format="png"))


def limits_figure(limits: Sequence[Drawn], level: float, source: str) -> Figure:
    """Error of machine against twin over the size of each effect."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.0))
    axis = figure.subplots()
    for k, one in enumerate(one for one in limits if len(one.sizes)):
        label = f"{one.what} ({one.one:.3g} {one.unit})"
        style = DASHES[k // len(COLOURS) % len(DASHES)]
        axis.loglog(
            one.sizes, one.error, style, color=COLOURS[k % len(COLOURS)], marker="o", ms=2.5, label=label
        )
    axis.set_ylim(LOWEST, HIGHEST)
    axis.axhline(level, color=GREY, lw=1, label="a measured machine against its twin")
    axis.set_xlabel("size of the effect over the part's own spread (in brackets)")
    axis.set_ylabel("error of the read-out against the twin's fixed point (NRMSE)")
    axis.set_title(f"Where the digital twin of {source} stops being true", fontsize=10)
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=2)
    return figure
