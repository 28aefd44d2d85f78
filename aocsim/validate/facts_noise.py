r"""Where the random error of a reading comes from, and how it falls over trials.

Sources are told apart by switching all others off in the sheets. Flicker is drawn anew for trials that are far apart,
but for its lines at multiples of the frame rate: trials half a millisecond apart see a line of 60 Hz standing still.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.bench import spacing_of
from aocsim.live import Live
from aocsim.spec import Text
from aocsim.timeline import schedule
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, compared, within
from aocsim.validate.facts_averaging import TRIALS, WHITE, Records, record, records_of, rms, trial_errors
from aocsim.validate.setups import Overrides

Array = NDArray[np.float64]

NO_FLICKER: Overrides = {"slm": {"flicker": "0 rad", "flicker_common": "0"}}
NO_DETECTOR_NOISE: Overrides = {
    "detector": {
        "shot_noise": "0",
        "noise_temperature": "0 K",
        "voltage_noise": "0 nV/Hz^0.5",
        "current_noise": "0 pA/Hz^0.5",
    }
}
NO_CONVERTER_NOISE: Overrides = {"digitiser": {"effective_bits": "inf"}}
NO_DRIFT: Overrides = {"gains": {"gain_drift": "0 %/sqrt(hour)", "offset_drift": "0 mV/sqrt(hour)"}}
SOURCES: dict[str, tuple[Overrides, ...]] = {
    "flicker": (NO_DETECTOR_NOISE, NO_CONVERTER_NOISE, NO_DRIFT),
    "detectors": (NO_FLICKER, NO_CONVERTER_NOISE, NO_DRIFT),
    "converter": (NO_FLICKER, NO_DETECTOR_NOISE, NO_DRIFT),
    "drift": (NO_FLICKER, NO_DETECTOR_NOISE, NO_CONVERTER_NOISE),
}
"""What is switched off so that one source of noise is left."""


def independent(errors: Array) -> float:
    """Number of independent patterns in errors (draws, units): (sum of variances)^2 over the sum of their squares."""
    powers = np.linalg.svd(errors, compute_uv=False) ** 2
    return float(powers.sum() ** 2 / (powers**2).sum())


def lines_left(counts: Array, spacing: float, lines: Array, frame_time: float) -> Array:
    """Variance of a mean over trials at equal spacing, s, from unit flicker with lines at multiples of the frame rate.

    1/k of what is no line, and of a line at f the square of sin(k pi f T)/(k sin(pi f T)).
    """
    out = (1 - lines.sum()) / counts
    for harmonic, share in enumerate(lines, start=1):
        phase = np.pi * harmonic / frame_time * spacing
        out = out + share * (np.sin(counts * phase) / (counts * np.sin(phase))) ** 2
    return np.asarray(out)


def trials_row(records: Records, left_of: Array, counts: Array, flicker: float) -> Row:
    """Random error over trials against that of independent trials and flicker lines.

    Args:
        records: of the trimmed heart.
        left_of: (counts,) variance of `lines_left`.
        counts: numbers of trials.
        flicker: share of flicker in the variance of one trial's window; the rest is independent.
    """
    left, total = trial_errors(records.random, records.systematic, counts)
    want = left[0] * np.sqrt(flicker * left_of + (1 - flicker) / counts)
    # the reference starts from the first point, which says nothing of it
    ratio = (left / want)[1:]
    each = records.random.mean(axis=2)
    modes = independent(each.reshape(-1, each.shape[-1]))
    groups = len(each) * (each.shape[1] // counts[-1])
    error = PER_CENT * np.sqrt(0.5 / (groups * modes))
    return compared(
        f"random error of the heart's read-out over {counts[1]} to {counts[-1]} trials, from that of one",
        "1/sqrt(trials), lines of the flicker at the frame rate added as they are sampled",
        ratio,
        np.ones_like(ratio),
        rms=round(2 * error, 1),
        maximum=round(4 * error, 1),
        span=1.0,
        span_name="random error",
        reason=f"standard error {error:.2g} % at {counts[-1]} trials, {modes:.1f} independent patterns; with the lines "
        f"{want[2] / want[0] * np.sqrt(counts[2]):.3f} times 1/sqrt({counts[2]}) at {counts[2]} trials",
        curve=Curve(
            counts.astype(float),
            "trials",
            total / records.span * PER_CENT,
            np.hypot(rms(records.systematic), want) / records.span * PER_CENT,
            "NRMSE to the ideal (%)",
            log_x=True,
            want_label="trials, lines, systematic",
        ),
    )


def _trials(setting: Setting) -> Row:
    setup, _, records = records_of(setting)
    slm, counts = setup.machine.slm, np.array([1, 2, 5, 10, 20])
    spacing = spacing_of(Live.of(setup.machine, setting.seed), None)
    begins = schedule(setup.machine, steps=1, trials=2, trial_spacing=spacing, load_weights=False).starts[0]
    left_of = lines_left(counts, begins[1] - begins[0], slm.flicker_lines, slm.frame_time)
    parts = _shares(setting)
    return trials_row(records, left_of, counts, parts["flicker"][1] / sum(parts[k][1] for k in SOURCES))


def white_row(random: Array) -> Row:
    """Part of a sample's variance that the next sample, 213 ns later, does not share; random as in `Records`."""
    lags = range(random.shape[2])
    power = np.mean(random[:, :, 0] ** 2)
    shared = np.array([np.mean(random[:, :, 0] * random[:, :, k]) for k in lags]) / power
    interval = 1 / 4.6875
    return within(
        "part of a sample's variance that the next sample does not share",
        "at most 15 %: no more is white in 5 MHz",
        PER_CENT * float(1 - shared[1]),
        0.0,
        PER_CENT * WHITE,
        unit="%",
        reason=f"after 5.3 us {PER_CENT * (1 - shared[-1]):.3g} %",
        curve=Curve(
            np.asarray([interval * k for k in lags]),
            "lag (us)",
            shared,
            np.full(len(lags), 1 - WHITE),
            "correlation",
            want_label="least",
        ),
    )


def _white(setting: Setting) -> Row:
    return white_row(records_of(setting)[2].random)


def shares(setting: Setting) -> dict[str, tuple[float, float]]:
    """Variance of one sample and of the window's mean, units^2, with one source of noise left; "all" with all.

    Seed and clock are the same, so that the flicker is the same: the shares are free of its scatter.
    """
    setup, trims, full = records_of(setting)
    out = {"all": full.random}
    for name, changes in SOURCES.items():
        merged: dict[str, dict[str, Text]] = {}
        for change in changes:
            for role, entries in change.items():
                merged.setdefault(role, {}).update(entries)
        machine = setting.build(merged)
        machine = replace(
            machine, digitiser=replace(machine.digitiser, samples=setup.machine.digitiser.samples)
        )
        out[name] = record(setup, machine, trims, TRIALS, setting.seed).random
    return {name: (rms(r[:, :, 0]) ** 2, rms(r.mean(axis=2)) ** 2) for name, r in out.items()}


@lru_cache(maxsize=2)
def _shares(setting: Setting) -> dict[str, tuple[float, float]]:
    return shares(setting)


def sum_row(parts: dict[str, tuple[float, float]]) -> Row:
    """Variances of single sources against that of all together."""
    names = [name for name in parts if name != "all"]
    total = [sum(parts[name][k] for name in names) for k in (0, 1)]
    got = np.sqrt(np.array(total) / np.array(parts["all"]))
    return compared(
        "random error from flicker, detectors, converter and drift apart, added as powers",
        "all of them together, one sample and window of 5.5 us",
        got,
        np.ones(2),
        rms=5.0,
        maximum=5.0,
        span=1.0,
        span_name="random error",
        reason="shares of a sample: "
        + ", ".join(f"{n} {PER_CENT * parts[n][0] / total[0]:.3g} %" for n in names)
        + "; of a window: "
        + ", ".join(f"{n} {PER_CENT * parts[n][1] / total[1]:.3g} %" for n in names),
    )


def _sum(setting: Setting) -> Row:
    return sum_row(_shares(setting))


def flicker_row(parts: dict[str, tuple[float, float]]) -> Row:
    """Share of flicker in a sample's variance."""
    share = PER_CENT * parts["flicker"][0] / parts["all"][0]
    return within(
        "share of flicker in the variance of one sample",
        "at least 85 %: at most 10 to 15 % is white in 5 MHz",
        share,
        PER_CENT * (1 - WHITE),
        np.inf,
        unit="%",
        reason="the rest is the detectors', which the relaxed loop has correlated over microseconds",
    )


def _flicker(setting: Setting) -> Row:
    return flicker_row(_shares(setting))


CHECKS = (
    Check("trial_averaging", _trials, "shared inputs", slow=True),
    Check("noise_shares_add_up", _sum, "shared inputs", slow=True),
    Check("white_share", _white, "fitted", slow=True),
    Check("flicker_share", _flicker, "fitted", slow=True),
)
