"""Make the pictures of the README: `make figures` (five to nine minutes)."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib
import numpy as np
import xarray

import aocsim
from aocsim.bench import SimulatedBench
from aocsim.experiment import SolveSettings
from aocsim.library import Library
from aocsim.plots import write_pictures
from aocsim.scenarios import sample
from aocsim.scenarios.load import load_sample
from aocsim.style import BLUE, GREY, ORANGE, STYLE, VERMILION
from aocsim.trim import trim_electronics

matplotlib.use("Agg")
from matplotlib import pyplot

TRIALS = 10
HOURS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
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


def spread_of_means(spacing: float | None) -> tuple[np.ndarray, float]:
    """Deviation of the mean of 1 to 10 trials, V, mean over the used channels; and their spacing, s.

    Read through the instrument: the same drive 300 times, trials as close as told, repetitions far apart.
    """
    setup = sample.prepare(load_sample("heart", Library.open(), {"serial": 1}), Library.open())
    program, machine = setup.compiled.program, setup.machine
    bench = SimulatedBench(
        machine, seed=5, trial_spacing=spacing, settings=SolveSettings(rtol=1e-4, atol=1e-5)
    )
    trims = trim_electronics(bench, program, setup.operator, setup.scenario.diffusion.steps)
    bench.set_gains(trims.alpha, program.beta)
    drive = program.drive(setup.operator.additive(0.5, np.array([[0.7, -0.4]])))
    reading = bench.read(np.repeat(drive, 300, axis=0), trials=TRIALS)
    first, last = reading.window
    voltage = reading.voltage[..., program.channel_of_unit]
    trials = voltage[:, :, first : last + 1].mean(axis=2)
    means = np.cumsum(trials, axis=1) / np.arange(1, TRIALS + 1)[:, None]
    return np.asarray(means.std(axis=0).mean(axis=1)), float(reading.begun[0, 1] - reading.begun[0, 0])


def time_matters() -> None:
    """Averaging against the flicker's correlation time, and a machine that is used hours after its trim."""
    with matplotlib.rc_context(STYLE):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(7.2, 3.0))
        count = np.arange(1, TRIALS + 1)
        for label, spacing, colour in (
            ("as close as possible", 0.0, VERMILION),
            ("flicker independent", None, BLUE),
        ):
            spread, apart = spread_of_means(spacing)
            shown = f"{apart * 1e6:.0f} µs" if apart < 1e-3 else f"{apart * 1e3:.2f} ms"
            left.loglog(
                count, spread * 1e3, color=colour, marker="o", markersize=3, label=f"{label}: {shown}"
            )
        left.loglog(
            count, spread[0] * 1e3 / np.sqrt(count), color=GREY, linestyle="--", label="$1/\\sqrt{m}$"
        )
        left.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
        left.set_yticks([2, 3, 5, 10], ["2", "3", "5", "10"])
        left.set_ylim(2, 14)
        left.minorticks_off()
        left.set_xlabel("trials $m$ that are averaged")
        left.set_ylabel("deviation of the read-out (mV)")
        left.set_title("trials and their spacing")
        left.legend(loc="lower left")
        shifts = []
        for hours in HOURS:
            changes = {"samples": 64, "record.samples": 0, "environment.hours_since_trim": hours}
            shifts.append(shift(aocsim.run("heart", overrides=changes))[-1])
        right.plot(HOURS, shifts, color=BLUE, marker="o", markersize=3)
        right.set_xlabel("time since the trims (h)")
        right.set_ylabel("RMS shift (network units)")
        right.set_title("drift of gains and offsets, one random walk")
        right.set_ylim(bottom=0)
        figure.suptitle("What time does to aoc48 (serial 1)")
        figure.savefig(FOLDER / "time.png", dpi=130)
        pyplot.close(figure)


def main() -> None:
    """Run the variants and write the pictures."""
    FOLDER.mkdir(exist_ok=True)
    runs = {label: aocsim.run("heart", overrides=dict(changes)) for label, (changes, _) in VARIANTS.items()}
    first = next(iter(runs.values()))
    scratch = FOLDER / "scratch"
    scratch.mkdir(exist_ok=True)
    write_pictures(first, scratch)
    for name in ("samples.png", "voltages.png", "timeline.png"):
        (scratch / name).replace(FOLDER / name)
    shutil.rmtree(scratch)
    knowledge_matters(runs)
    time_matters()


if __name__ == "__main__":
    main()
