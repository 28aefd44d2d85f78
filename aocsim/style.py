"""How pictures look: palette, style, and the line that says where the data come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray

# Okabe and Ito's palette, distinguishable with every common colour vision
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
)
GREY = "#8a8a8a"

METHODS = {
    "explicit_euler": ("explicit Euler", ORANGE, "s"),
    "heun": ("Heun", GREEN, "D"),
    "implicit_euler": ("implicit Euler", BLUE, "o"),
    "crank_nicolson": ("Crank-Nicolson", VERMILION, "^"),
}
"""What each method is called, its colour and its marker."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "savefig.dpi": 160,
}


def source_of(data: xarray.Dataset) -> str:
    """Machine, serial, model and seed of a result, for a title."""
    scenario = json.loads(data.attrs["scenario"])
    return f"{scenario['machine']}, serial {scenario['serial']}, model {scenario['model']}, seed {scenario['seed']}"
