r"""What averaging helps: over a read-out window hardly, over trials until the systematic error stands out.

The modulators' flicker is frozen within a solve and new in the next one. White noise from the detectors is correlated
over a relaxed loop's 1 to 4 us, and at most 15 % of a reading's variance is white in 5 MHz: a window that took off all
of it would gain 1/sqrt(1 - 0.15) = 1.085. Trials are independent but for the flicker's lines, so that k of them divide
the random error by little less than sqrt(k), and nothing takes off the systematic one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.bench import SimulatedBench
from aocsim.diffusion.samplers import implicit_states
from aocsim.experiment import SolveSettings
from aocsim.machine import Machine
from aocsim.scenarios.sample import Setup
from aocsim.seeds import stream
from aocsim.trim import Trims, at_operating_point, load, trim_electronics
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError, within
from aocsim.validate.setups import heart

Array = NDArray[np.float64]

WHITE = 0.15  # largest share of the variance that is white
WINDOW = 26  # samples: 5.5 us
TRIALS = 100
PUBLISHED_NRMSE = 1e-2  # per diffusion step, Supplementary 2c
SAMPLES = 4  # of noise, at each of the diffusion steps below
STEPS = (3, 7, 11, 15)
OTHERS = 32  # samples of the trim at the operating point
SOLVER = SolveSettings(rtol=1e-5, atol=1e-6)


@dataclass(frozen=True, eq=False)
class Records:
    """Readings of the trimmed heart at several diffusion steps.

    Attributes:
        random: (items, trials, times, units) network units, reading less the same solve without noise, in the window.
        systematic: (items, units) reading without noise, window mean, less the ideal fixed point.
        span: range of the ideal fixed points over items and units.
    """

    random: Array
    systematic: Array
    span: float


def trims_of(setup: Setup, seed: int) -> Trims:
    """All trims of a scenario, made on the bench."""
    bench = SimulatedBench(setup.machine, seed=seed, name="validate.trim", settings=SOLVER)
    program, steps = setup.compiled.program, setup.scenario.diffusion.steps
    found = trim_electronics(bench, program, setup.operator, steps)
    start = stream(seed, "validate.others").standard_normal((OTHERS, setup.network.layout[0]))
    return at_operating_point(bench, program, found, setup.stepping, start)


def record(setup: Setup, machine: Machine, trims: Trims, trials: int, seed: int) -> Records:
    """Read the heart at ideal states of some diffusion steps, with and without noise.

    Args:
        setup: of the heart.
        machine: to read, that of the setup or one with some noise switched off.
        trims: made before.
        trials: of each item.
        seed: of the noise.
    """
    program, steps = setup.compiled.program, setup.scenario.diffusion.steps
    start = stream(seed, "validate.start").standard_normal((SAMPLES, setup.network.layout[0]))
    states = implicit_states(setup.network, start, steps)
    points, drives = [], []
    for step in STEPS:
        x, t = states[step - 1][:, : start.shape[1]], (step + 1) / steps
        points.append(states[step])
        drives.append(program.drive(setup.operator.additive(t, x), trims.correction[step]))
    readings = []
    for noise, repeats in ((True, trials), (False, 1)):
        settings = replace(SOLVER, noise=noise)
        bench = SimulatedBench(machine, seed=seed, name="validate.records", settings=settings)
        load(bench, program)
        bench.set_gains(trims.alpha, program.beta)
        bench.set_drive(trims.bias)
        volts = bench.read(np.concatenate(drives), trials=repeats).voltage
        first = machine.digitiser.window.start
        readings.append(program.units(volts[:, :, first : first + WINDOW]))
    ideal = np.concatenate(points)
    noisy, quiet = readings
    return Records(noisy - quiet, quiet.mean(axis=(1, 2)) - ideal, float(np.ptp(ideal)))


@lru_cache(maxsize=2)
def records_of(setting: Setting) -> tuple[Setup, Trims, Records]:
    """Setup, trims and records of a setting's own machine, made once for the checks below.

    Raises:
        SkippedError: a machine without noise.
    """
    setup = heart(setting)
    if not (setup.machine.slm.flicker or setup.machine.slm.flicker_common):
        raise SkippedError(f"the modulators of {setting.machine} do not flicker")
    trims = trims_of(setup, setting.seed)
    return setup, trims, record(setup, setup.machine, trims, TRIALS, setting.seed)


def rms(values: Array) -> float:
    """Root mean square over everything."""
    return float(np.sqrt(np.mean(values**2)))


def window_errors(random: Array) -> Array:
    """Rms random error of the mean over the first 1, 2, ... samples of the window, one trial, (times,)."""
    counts = np.arange(1, random.shape[2] + 1)
    means = np.cumsum(random, axis=2) / counts[:, None]
    return np.array([rms(means[:, :, k]) for k in range(len(counts))])


def trial_errors(random: Array, systematic: Array, counts: Array) -> tuple[Array, Array]:
    """Rms random and total error of the window's mean over so many trials, (counts,) each."""
    each = random.mean(axis=2)
    random_left, total = [], []
    for count in counts:
        groups = each.shape[1] // count
        means = each[:, : groups * count].reshape(each.shape[0], groups, count, -1).mean(axis=2)
        random_left.append(rms(means))
        total.append(rms(means + systematic[:, None]))
    return np.array(random_left), np.array(total)


def window_row(records: Records, interval: float) -> Row:
    """Gain of the window over its first sample against the white share that the sheet allows."""
    errors = window_errors(records.random)
    gain = float(errors[0] / errors[-1])
    top = 1 / np.sqrt(1 - WHITE)
    length = np.asarray(np.arange(1, len(errors) + 1) * interval * 1e6, dtype=float)
    return within(
        "random error of one sample over that of the mean over a window of 5.5 us",
        "1 to 1/sqrt(1 - 0.15): at most 15 % of the variance is white in 5 MHz",
        gain,
        1.0,
        top,
        reason=f"NRMSE {errors[0] / records.span * PER_CENT:.3g} % and {errors[-1] / records.span * PER_CENT:.3g} %",
        curve=Curve(
            length,
            "window (us)",
            errors / records.span * PER_CENT,
            errors[-1]
            / records.span
            * PER_CENT
            * np.sqrt(1 + WHITE / (1 - WHITE) / np.arange(1, len(errors) + 1)),
            "random NRMSE (%)",
            want_label="15 % white",
        ),
    )


def _window(setting: Setting) -> Row:
    setup, _, records = records_of(setting)
    return window_row(records, 1 / setup.machine.digitiser.sample_rate)


def gain_row(records: Records) -> Row:
    """Total error of one trial over that of five."""
    counts = np.array([1, 5, records.random.shape[1]])
    _, total = trial_errors(records.random, records.systematic, counts)
    nrmse = total / records.span * PER_CENT
    return within(
        "error to the ideal of one trial over that of five",
        "five trials help: 1.6, to sqrt(5) of independent ones without a systematic error",
        float(total[0] / total[1]),
        1.6,
        float(np.sqrt(5)),
        reason=f"NRMSE {nrmse[0]:.3g} % of 1, {nrmse[1]:.3g} % of 5, {nrmse[2]:.3g} % of {counts[2]} trials, "
        f"systematic {rms(records.systematic) / records.span * PER_CENT:.3g} %",
    )


def _gain(setting: Setting) -> Row:
    return gain_row(records_of(setting)[2])


def beyond_row(records: Records) -> Row:
    """What more than five trials can still take off an NRMSE of 1e-2."""
    left, total = trial_errors(records.random, records.systematic, np.array([5, records.random.shape[1]]))
    random = float(left[0] / records.span)
    gain = PER_CENT * (1 - float(np.sqrt(max(1 - (random / PUBLISHED_NRMSE) ** 2, 0.0))))
    return within(
        "what more than five trials can take off the published NRMSE per step of 1e-2",
        "nothing that can be told: at most 5 %",
        gain,
        0.0,
        5.0,
        unit="%",
        reason=f"random NRMSE of five trials {random * PER_CENT:.3g} %; against this machine's own, smaller systematic "
        f"error {total[0] / total[1]:.3g} times",
    )


def _beyond(setting: Setting) -> Row:
    return beyond_row(records_of(setting)[2])


CHECKS = (
    Check("window_averaging", _window, "fitted", slow=True),
    Check("five_trials", _gain, "fitted", slow=True),
    Check("beyond_five_trials", _beyond, "fitted", slow=True),
)
