"""The timeline's picture shows what the schedule says."""

import json

import matplotlib
import numpy as np
import pytest
import xarray

from aocsim.timeline import schedule

matplotlib.use("Agg")

from matplotlib import colors, pyplot

from aocsim.gantt import PHASES, timeline

COMMON = ["modulators", "DACs", "loop switch", "window", "digitiser"]


def drawn(machine, **options):
    """The events of a schedule as a Dataset, and their figure."""
    found = schedule(machine, **options)
    columns = {
        "event_start": [e.start for e in found.events],
        "event_stop": [e.stop for e in found.events],
        "event_resource": np.array([e.resource for e in found.events]),
        "event_what": np.array([e.what for e in found.events]),
        "event_step": [e.step + 1 for e in found.events],
        "event_trial": [e.trial for e in found.events],
    }
    scenario = {"machine": "aoc48", "serial": 1, "model": "heart", "seed": 1}
    data = xarray.Dataset(
        {name: ("event", values) for name, values in columns.items()}
        | {"step_latency": ("step", list(found.step_latency))},
        attrs={"scenario": json.dumps(scenario)},
    )
    return found, timeline(data)


def bars(axis):
    """Rows of (start, stop) in the axis' unit, in the order of the labels."""
    boxes = [[path.get_extents() for path in row.get_paths()] for row in axis.collections]
    return [sorted((box.x0, box.x1) for box in row) for row in boxes]


def labels(axis):
    return [text.get_text() for text in axis.get_yticklabels()]


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


@pytest.mark.parametrize(
    ("memory", "rows"),
    [("digital", [*COMMON, "host link"]), ("sample_and_hold", [*COMMON, "memory", "host link"])],
)
def test_every_event_of_a_sample_is_a_bar(machine_of, memory, rows):
    found, figure = drawn(machine_of("aoc48"), steps=3, trials=2, memory=memory)
    whole = figure.axes[0]
    assert labels(whole) == rows
    assert whole.get_xlabel() == "time (ms)"
    resources = ["slm", "dac", "loop", "read-out", "digitiser", "memory", "host"]
    expected = [
        sorted((1e3 * e.start, 1e3 * e.stop) for e in found.events if e.resource == resource)
        for resource in resources
        if resource in found.busy
    ]
    for shown, wanted in zip(bars(whole), expected, strict=True):
        np.testing.assert_allclose(shown, wanted, rtol=0, atol=1e-9)


def test_a_digital_step_and_its_first_trial(machine_of):
    """The step lasts 2.0202 ms, its first trial 1 + 19.2 + 10 us; both count from their own begin."""
    _, figure = drawn(machine_of("aoc48"), steps=3, trials=2)
    _, step, trial = figure.axes
    assert step.get_xlim() == pytest.approx((0, 2.0202))
    assert trial.get_xlim() == pytest.approx((0, 30.2))
    assert trial.get_xlabel() == "time (µs)"
    assert labels(trial) == ["DACs", "loop switch", "window", "digitiser", "host link"]
    closed = bars(trial)[1]
    np.testing.assert_allclose(closed, [(1.0, 20.2)], rtol=1e-9)
    assert [text.get_text() for text in step.texts] == ["trial 1", "trial 2"]


def test_a_chain_and_its_first_steps(machine_of):
    """Steps of 29.2 us: four of them, and then two."""
    _, figure = drawn(machine_of("aoc48"), steps=4, trials=2, memory="sample_and_hold")
    _, chain, two = figure.axes
    assert chain.get_xlim() == pytest.approx((0, 1 + 4 * 29.2))
    assert two.get_xlim() == pytest.approx((0, 1 + 2 * 29.2))
    assert len(bars(chain)[1]) == 4
    track, hold = sorted(bars(two)[4])[:2]
    np.testing.assert_allclose([track, hold], [(18.5, 18.75), (18.75, 47.7)], rtol=1e-9)


def test_the_legend_says_how_long_each_thing_takes(machine_of):
    _, figure = drawn(machine_of("aoc48"), steps=2, trials=1, memory="sample_and_hold")
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [
        "load weights, 16.7 ms",
        "settle, 5 ms",
        "set drive, 1 µs",
        "loop closed, 19.2 µs",
        "read out, 4.75 µs",
        "record, 19.2 µs",
        "re-arm, 10 µs",
        "track, 250 ns",
        "hold, up to 28.9 µs",
        "transfer, 1 ms",
    ]


@pytest.mark.parametrize("memory", ["digital", "sample_and_hold"])
def test_the_shortest_timeline_is_drawn(machine_of, memory):
    """One step of one trial, weights loaded."""
    _, figure = drawn(machine_of("aoc48"), steps=1, trials=1, memory=memory, load_weights=False)
    assert "modulators" not in labels(figure.axes[0])
    figure.canvas.draw()


def test_colours_differ_in_lightness_within_a_row():
    """Work and waiting of one resource are told apart in print without colour: luminance apart by a factor of 1.5."""

    def luminance(what):
        return float(np.dot(np.array(colors.to_rgb(PHASES[what])) ** 2.2, [0.2126, 0.7152, 0.0722]))

    for work, wait in (("load weights", "settle"), ("record", "re-arm"), ("track", "hold")):
        assert luminance(wait) > 1.5 * luminance(work)
