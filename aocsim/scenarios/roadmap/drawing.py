"""What the roadmap's pictures have in common."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from aocsim.units import format_si

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
MARKS = ("o", "s", "^", "D", "v", "P")
VERDICTS = {"met": (BLUE, "o"), "beyond the sheets": (ORANGE, "^"), "forbidden": (VERMILION, "X")}
INK = "#222222"


def frequency(value: float) -> str:
    """Hz as text."""
    return format_si(value, "hertz")


def mark_beyond(axis: Axes, x: Any, y: Any, beyond: Any) -> None:
    """Ring the points of a curve that are beyond a sheet, as of the variables whose names end with "beyond"."""
    on = np.asarray(beyond) > 0
    axis.plot(
        np.asarray(x)[on], np.asarray(y)[on], ls="", marker="o", ms=11, mfc="none", mec=VERMILION, mew=1.2
    )


def wanted_of(data: xarray.Dataset) -> float:
    """Error that the light is to hold, as the scenario has it."""
    return float(json.loads(data.attrs["scenario"])["roadmap"]["nrmse"])


def told(data: xarray.Dataset) -> str:
    """Machine and serial of a result, for a title."""
    scenario = json.loads(data.attrs["scenario"])
    return f"{scenario['machine']}, serial {scenario['serial']}, {', '.join(scenario['models'])}"
