"""Make the pictures of the README: `make figures` (two to four minutes)."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import numpy as np
import xarray

import aocsim
from aocsim.plots import BLUE, GREY, ORANGE, STYLE, VERMILION, write_pictures

matplotlib.use("Agg")
from matplotlib import pyplot

FOLDER = Path(__file__).parent / "figures"
VARIANTS = {
    "parts known to 0.25 %, trimmed at the operating point": ({}, BLUE),
    "the same without the trim": ({"compile.operating_point_trim": 0}, ORANGE),
    "data-sheet values alone": (
        {"compile.operating_point_trim": 0, "compile.knowledge": "nominal"},
        VERMILION,
    ),
}


def shift(data: xarray.Dataset) -> np.ndarray:
    """RMS distance between machine and ideal samples of the same noise after each step, network units."""
    return np.asarray(np.sqrt(((data["state"] - data["state_ideal"]) ** 2).sum("dim").mean("sample")))


def knowledge_matters(runs: dict[str, xarray.Dataset]) -> None:
    """Why trims and knowledge of the parts matter: mean errors add up over the steps, and what comes out."""
    with matplotlib.rc_context(STYLE):
        figure = pyplot.figure(figsize=(7.2, 4.6))
        grid = figure.add_gridspec(2, 3, height_ratios=(1, 1.15))
        left, right = figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[0, 2])
        for label, data in runs.items():
            colour = VARIANTS[label][1]
            order, d = data["channel_of_unit"].values, data.sizes["dim"]
            read = data["read_out"].sel(channel=order).values / data.attrs["volts_per_unit"]
            bias = np.abs((read - data["ideal_fixed_point"].values)[..., :d].mean(axis=0)).max(axis=1)
            left.semilogy(data["step"], shift(data), color=colour, marker="o", markersize=3, label=label)
            right.semilogy(data["step"], np.maximum(bias, 1e-5), color=colour, marker="o", markersize=3)
        left.set_title("RMS shift against the ideal samples")
        right.set_title("mean error of one step")
        left.set_ylabel("network units")
        for axis in (left, right):
            axis.set_xlabel("diffusion step")
            axis.xaxis.get_major_locator().set_params(integer=True)
        left.set_ylim(top=left.get_ylim()[1] * 12)
        left.legend(loc="upper left")
        for column, (label, data) in enumerate(runs.items()):
            axis = figure.add_subplot(grid[1, column])
            points, reference = data["state"].isel(step=-1).values, data["reference"].values
            axis.scatter(reference[:, 0], reference[:, 1], s=2, color="#d9d9d9", linewidths=0)
            axis.scatter(points[:, 0], points[:, 1], s=5, color=VARIANTS[label][1], linewidths=0)
            axis.set_xlim(-1.7, 1.7)
            axis.set_ylim(-1.7, 1.7)
            axis.set_aspect("equal")
            axis.set_xlabel("$x_1$ (network units)", color=GREY)
            if not column:
                axis.set_ylabel("$x_2$ (network units)", color=GREY)
        figure.suptitle("What the programmer knows of aoc48 (serial 1) decides what comes out")
        figure.savefig(FOLDER / "knowledge.png", dpi=130)
        pyplot.close(figure)


def main() -> None:
    """Run the variants and write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    runs = {label: aocsim.run("heart", overrides=dict(changes)) for label, (changes, _) in VARIANTS.items()}
    first = next(iter(runs.values()))
    scratch = FOLDER / "scratch"
    scratch.mkdir(exist_ok=True)
    write_pictures(first, scratch)
    for name in ("samples.png", "voltages.png"):
        (scratch / name).replace(FOLDER / name)
    shutil.rmtree(scratch)
    knowledge_matters(runs)


if __name__ == "__main__":
    main()
