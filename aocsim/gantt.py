"""The timeline's picture: which resource does what, for one sample, one step or chain, and one solve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW, source_of

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

ROWS = {
    "slm": "modulators",
    "dac": "DACs",
    "loop": "loop switch",
    "read-out": "window",
    "digitiser": "digitiser",
    "memory": "memory",
    "host": "host link",
}
# a resource's work in its colour, what it makes others wait for in a paler one
PHASES = {
    "load weights": PURPLE,
    "settle": "#ecc9da",
    "set drive": ORANGE,
    "solve": BLUE,
    "window": YELLOW,
    "record": GREEN,
    "re-arm": "#a6dbc9",
    "track": "#222222",
    "hold": "#c9c9c9",
    "transfer": VERMILION,
    "close ring": SKY,
}
NAMES = {"solve": "loop closed", "set drive": "set drive", "window": "read out"}
BAND = "#f0f0f0"
LABEL_SIZE = 6.5  # pt
ROW = 0.23  # inch
LEAST_WIDTH = 0.012  # of the axis: narrower bars have an edge in their own colour, not to vanish
LEAST_SEEN = 3e-4  # of the axis: a third of a pixel
ROOM_PER_LETTER = 0.011  # of the axis, in LABEL_SIZE


@dataclass(frozen=True, eq=False)
class _Events:
    """A timeline's events, one entry each, as in the Dataset."""

    start: Array
    stop: Array
    resource: NDArray[np.str_]
    what: NDArray[np.str_]
    step: NDArray[np.int32]
    trial: NDArray[np.int32]

    @classmethod
    def of(cls, data: xarray.Dataset) -> _Events:
        names = ("start", "stop", "resource", "what", "step", "trial")
        return cls(*(data[f"event_{name}"].values for name in names))

    def span(self, chosen: NDArray[np.bool_]) -> tuple[float, float]:
        """First start and last stop of the chosen events, s."""
        return float(self.start[chosen].min()), float(self.stop[chosen].max())


def timeline(data: xarray.Dataset) -> Figure:
    """One sample; within it the first step, or with a memory the first chain; within that the first solves.

    Args:
        data: with event_start, event_stop (s), event_resource, event_what, event_step (from 1, 0 outside any),
            event_trial (from 0, -1 outside any) and step_latency (s).
    """
    from matplotlib import pyplot

    events = _Events.of(data)
    chained = bool((events.resource == "memory").any())
    panels = _panels(events, chained)
    rows = [[r for r in ROWS if _seen(events, r, span).any()] for _, span, _ in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(7.2, 0.65 * len(panels) + ROW * sum(map(len, rows))),
        height_ratios=[len(names) for names in rows],
    )
    for axis, (title, span, counted), names in zip(axes, panels, rows, strict=True):
        _panel(axis, events, span, names, counted)
        axis.set_title(title, loc="left", fontsize=9, pad=11 if axis is axes[0] else 4)
    _mark_steps(axes[0], events, chained)
    _legend(figure, events)
    latency, total = time_text(float(data["step_latency"].mean())), time_text(float(events.stop.max()))
    to = "held value" if chained else "last record on the host"
    figure.suptitle(
        f"Timeline: {latency} from a step's first DAC update to its {to}, {total} for one sample\n({source_of(data)})",
        fontsize=9,
    )
    return figure


def _panels(events: _Events, chained: bool) -> list[tuple[str, tuple[float, float], str]]:
    """Titles and spans, s, of the whole and of parts of it, and what is counted there."""
    steps, trials = int(events.step.max()), int(events.trial.max()) + 1
    first, bench = events.step == 1, events.resource != "host"
    whole = (0.0, float(events.stop.max()))
    if not chained:
        return [
            (f"one sample: {_count(steps, 'step')} of {_count(trials, 'trial')}", whole, ""),
            ("the first diffusion step", events.span(first), "trial"),
            ("its first trial", events.span(first & bench & (events.trial <= 0)), "trial"),
        ]
    chain = (events.trial == 0) & bench
    panels = [
        (f"one sample: {_count(trials, 'chain')} of {_count(steps, 'step')}", whole, ""),
        ("the first trial: a chain of all steps", events.span(chain), "step"),
    ]
    if steps > 2:
        two = chain & (events.step <= 2) & (events.what != "hold")
        panels.append(("its first two steps", events.span(two), "step"))
    return panels


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _seen(events: _Events, resource: str, span: tuple[float, float]) -> NDArray[np.bool_]:
    """Which events of a resource lie in a span of time, s."""
    within = (events.stop > span[0]) & (events.start < span[1])
    return np.asarray((events.resource == resource) & within)


def _panel(axis: Axes, events: _Events, span: tuple[float, float], rows: list[str], counted: str) -> None:
    """Bars of a span of time, labelled with the step or trial (`counted`) where there is room."""
    factor, unit = time_scale(span[1] - span[0])
    start = (np.clip(events.start, *span) - span[0]) * factor
    width = (np.clip(events.stop, *span) - span[0]) * factor - start
    total = (span[1] - span[0]) * factor
    for row, name in enumerate(rows):
        mine = np.flatnonzero(_seen(events, name, span))
        # short bars over long ones; of those too short to be seen but for their edges, the longest counts
        seen = width[mine] > LEAST_SEEN * total
        mine = mine[np.lexsort((np.where(seen, -width[mine], width[mine]), seen))]
        colours = [PHASES.get(what, GREY) for what in events.what[mine]]
        thin = width[mine] < LEAST_WIDTH * total
        axis.broken_barh(
            list(zip(start[mine].tolist(), width[mine].tolist(), strict=True)),
            (row - 0.4, 0.8),
            facecolors=colours,
            edgecolors=[own if narrow else "white" for own, narrow in zip(colours, thin, strict=True)],
            linewidth=0.6,
            snap=False,
            zorder=2,
        )
        if not counted or name not in ("loop", "host"):
            continue
        for k in mine:
            number = events.step[k] if counted == "step" else events.trial[k] + 1
            text = next((t for t in (f"{counted} {number}", str(number)) if _fits(t, width[k] / total)), None)
            if text:
                middle = start[k] + width[k] / 2
                axis.text(
                    middle, row, text, ha="center", va="center", fontsize=LABEL_SIZE, color="white", zorder=3
                )
    axis.set_yticks(range(len(rows)), [ROWS[name] for name in rows])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(0, total)
    axis.set_xlabel(f"time ({unit})", labelpad=1)


def _fits(text: str, share: float) -> bool:
    """Whether a text fits into this share of the axis."""
    return (len(text) + 1) * ROOM_PER_LETTER < share


def _mark_steps(axis: Axes, events: _Events, chained: bool) -> None:
    """Bands behind every other step, or chain of a trial, with their numbers above where there is room."""
    number = events.trial + 1 if chained else events.step
    _, total = events.span(np.ones_like(number, dtype=bool))
    factor, _ = time_scale(total)
    bench = (events.resource != "host") if chained else np.ones_like(number, dtype=bool)
    for k in np.unique(number[events.step > 0]):
        a, b = events.span((number == k) & bench & (events.step > 0))
        if k % 2:
            axis.axvspan(a * factor, b * factor, color=BAND, linewidth=0, zorder=0)
        if _fits(str(k), 1.6 * (b - a) / total):
            axis.text(
                (a + b) / 2 * factor,
                1.0,
                str(k),
                ha="center",
                va="bottom",
                fontsize=LABEL_SIZE,
                transform=axis.get_xaxis_transform(),
            )


def _legend(figure: Figure, events: _Events) -> None:
    """Every kind of event with its duration."""
    from matplotlib.patches import Patch

    handles = []
    for what, colour in PHASES.items():
        mine = events.what == what
        if mine.any():
            durations = (events.stop - events.start)[mine]
            text = ("up to " if np.ptp(durations) > 0.01 * durations.max() else "") + time_text(
                durations.max()
            )
            handles.append(Patch(facecolor=colour, label=f"{NAMES.get(what, what)}, {text}"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=5,
        fontsize=7.5,
        handlelength=1.0,
        handletextpad=0.5,
        columnspacing=1.2,
    )


def time_scale(seconds: float) -> tuple[float, str]:
    """Factor and unit in which a time is a number from 1 to 1000."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1:
            return factor, unit
    return 1e9, "ns"


def time_text(seconds: float) -> str:
    """A time with its unit, three significant digits."""
    factor, unit = time_scale(seconds)
    return f"{seconds * factor:.3g} {unit}"
