"""Make the picture of where implicit steps stop converging: `make figures` calls it, too (half a minute)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from aocsim.diffusion.network import load_network
from aocsim.diffusion.onset import Onset, onset
from aocsim.library import Library
from aocsim.style import GREY, METHODS, STYLE

matplotlib.use("Agg")
from matplotlib import pyplot

FOLDER = Path(__file__).parent / "figures"
STEPS = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 64, 128)
SAMPLES = 128
IMPLICIT = ("implicit_euler", "crank_nicolson")


def draw(found: dict[str, Onset]) -> None:
    """Shares of equations that are solved, and the two quantities that decide it, with the bounds."""
    with matplotlib.rc_context(STYLE):
        figure, (top, low) = pyplot.subplots(2, 1, figsize=(5.6, 5.4), sharex=True)
        for method in IMPLICIT:
            told, colour, _ = METHODS[method]
            one = found[method]
            top.semilogx(
                one.steps, 100 * one.at_rest, color=colour, marker="o", markersize=4, label=f"{told}: loop"
            )
            top.semilogx(one.steps, 100 * one.iterated, color=colour, marker="s", markersize=4, linestyle=":",
                         label=f"{told}: digital iteration")  # fmt: skip
            low.loglog(one.steps, one.radius, color=colour, marker="s", markersize=4, linestyle=":",
                       label=f"{told}: spectral radius of iteration")  # fmt: skip
            low.loglog(one.steps, 1 + one.growth, color=colour, marker="o", markersize=4,
                       label=f"{told}: largest real part of J")  # fmt: skip
            for axis in (top, low):
                for steps, style in ((one.layerwise_steps, "--"), (one.theorem_steps, "-.")):
                    axis.axvline(steps, color=colour, linestyle=style, linewidth=0.8)
        low.axhline(1.0, color=GREY, linewidth=0.8)
        top.set_ylabel("equations solved (%)")
        low.set_ylabel("below 1: converges")
        low.set_xlabel("diffusion steps (dashed: layerwise bound, dash-dotted: Theorem 1)")
        top.set_ylim(-5, 140)
        top.set_yticks([0, 25, 50, 75, 100])
        low.set_ylim(top=low.get_ylim()[1] * 20)
        box: dict[str, Any] = {
            "fontsize": 7,
            "frameon": True,
            "facecolor": "white",
            "edgecolor": "none",
            "framealpha": 1.0,
        }
        top.legend(**box, ncols=2, loc="upper left")
        low.legend(**box, loc="upper right")
        figure.suptitle(
            f"From how many steps implicit methods work: heart, {SAMPLES} samples, digital", fontsize=9
        )
        figure.savefig(FOLDER / "onset.png", dpi=130)
        pyplot.close(figure)


def main() -> None:
    """Measure and draw."""
    FOLDER.mkdir(exist_ok=True)
    network = load_network(Library.open().model_path("heart").with_suffix(".nc"))
    x0 = np.random.default_rng(1).standard_normal((SAMPLES, network.layout[0]))
    found = {}
    for method in IMPLICIT:
        found[method] = onset(network, x0, STEPS, method)
    draw(found)


if __name__ == "__main__":
    main()
