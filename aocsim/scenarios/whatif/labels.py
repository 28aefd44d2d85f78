"""What stands on the axes of what-if pictures: names of figures and keys, units with a fitting prefix."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.scenarios.attributes import unit_of
from aocsim.scenarios.whatif.schema import WhatIf
from aocsim.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION
from aocsim.terminal import NOTHING
from aocsim.units import engineering

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)
MARKERS = "osD^vPX"
WIDTH = 7.2
_LINE = 22  # characters, from which on a key's name is broken

NAMES = {
    "w2_machine": "$W_2$ of the machine's samples\n(network units)",
    "w2_ideal": "$W_2$ of digital samples\n(network units)",
    "mmd2_machine": "unbiased MMD$^2$ of the\nmachine's samples",
    "nrmse_step_ideal_mean": "NRMSE of a read-out\nagainst the digital step",
    "nrmse_top": "NRMSE of the samples' channels\nagainst the digital step",
    "rms_shift": "RMS shift of the samples\n(network units)",
    "top_bias_per_step_max": "largest bias of a step\n(network units)",
    "settling_us_median": "median settling time (µs)",
    "bandwidth_3db_hz": "−3 dB bandwidth (Hz)",
}
_DIMENSIONS = {"1": "dimensionless", "": "dimensionless", "s": "second", "V": "volt", "K": "kelvin"}


def label_of(figure: str) -> str:
    """A figure of a summary for an axis, with its unit."""
    unit = unit_of(figure).replace("us", "µs")
    return NAMES.get(figure, figure if unit == NOTHING else f"{figure} ({unit})")


def title(figure: Figure, scenario: WhatIf, more: str = "") -> None:
    """What is shown, and where it comes from."""
    figure.suptitle(f"{scenario.describes}\n({scenario.described}{more})", fontsize=10)


def scale_of(values: Any, unit: str) -> tuple[float, str]:
    """Factor that brings SI values to the unit with a prefix in which they are best read, and that unit."""
    finite = np.abs(np.asarray(values, dtype=float))
    finite = finite[np.isfinite(finite)]
    power, text = engineering(float(finite.max(initial=0.0)), _DIMENSIONS.get(unit, unit))
    return 10.0**-power, text.replace("u", "µ", 1) if text.startswith("u") else text


def key_label(key: str, unit: str, line: int = _LINE) -> str:
    """A dotted key for an axis: "parts.poles.node" in MHz is "poles: node (MHz)"."""
    told = key.removeprefix("parts.").replace("_", " ").replace(".", ": ", 1).replace(".", ", ")
    return "\n".join(textwrap.wrap(told if not unit else f"{told} ({unit})", line))


def is_log(values: Any) -> bool:
    """Whether numbers are spaced evenly in the logarithm."""
    return len(values) > 2 and min(values) > 0 and bool(np.ptp(np.diff(np.log(values))) < 1e-6)


def edges_of(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Edges of the cells around numbers, in their logarithm where they are spaced so."""
    x = np.asarray(values, dtype=float)
    logarithmic = is_log(x)
    x = np.log(x) if logarithmic else x
    middle = (x[1:] + x[:-1]) / 2
    edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return np.exp(edges) if logarithmic else edges


def ticks_along(axis: Axes, values: Any, most: int, which: str = "x") -> None:
    """A logarithmic scale where the numbers are spaced so; ticks at whole numbers where all are."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    side = getattr(axis, f"{which}axis")
    if not is_log(values):
        side.set_major_locator(MaxNLocator(most, integer=bool(np.all(np.mod(values, 1) == 0))))
        return
    getattr(axis, f"set_{which}scale")("log")
    # within two decades their ends alone would say too little
    few = max(values) < 100 * min(values)
    side.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    side.set_major_formatter(lambda value, place: f"{value:g}")
    side.set_minor_formatter(NullFormatter())
