"""Studies that vary one setting of the machine: averaging, the read-out's time, and relaxation against light."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.scenarios.sample import with_record
from aocsim.scenarios.schema import Record, Timeline
from aocsim.scenarios.studies.cases import Case, Place, Ran, grid, run_cases
from aocsim.scenarios.studies.found import Columns, Found, evaluations_of, figures_over, notes_of, spec_of
from aocsim.scenarios.studies.schema import AveragingStudy, ReadoutStudy, RelaxationStudy

EFFICIENCY = "external_efficiency"
MODEL = "trained model"
Axes = dict[str, Sequence[str | float]]


def averaging_cases(scenario: AveragingStudy, library: Library) -> list[Case]:
    """Every model with every number of trials, and with every window."""
    stop = _window(scenario, library)[1]
    out = []
    for model in scenario.models:
        for trials in scenario.study.trials:
            out.append(Case({"model": model, "trials": float(trials)}, scenario.of(model, trials=trials)))
        for width in scenario.study.windows:
            timeline = _timeline(scenario.timeline, stop - width, stop)
            place: Place = {"model": model, "window": width}
            out.append(Case(place, scenario.of(model, timeline=timeline)))
    return out


def averaging(scenario: AveragingStudy, library: Library, progress: Callable[[int], object]) -> Found:
    """Quality against averaged trials and against the averaging window.

    Raises:
        AocsimError: nothing is possible.
    """
    ran = run_cases(averaging_cases(scenario, library), library, progress)
    study, models = scenario.study, list(scenario.models)
    by_trials: Axes = {"model": models, "trials": [float(k) for k in study.trials]}
    by_window: Axes = {"model": models, "window": list(study.windows)}
    variables = figures_over([one for one in ran if "trials" in one.place], by_trials, "trials_")
    variables |= figures_over([one for one in ran if "window" in one.place], by_window, "window_")
    coordinates: Columns = {
        "model": (("model",), np.array(models), "1", MODEL),
        "trials": (("trials",), np.array(study.trials), "1", "trials that are averaged"),
        "window": (("window",), np.array(study.windows), "s", "length of the averaging window"),
    }
    w2 = np.asarray(variables["trials_w2"][1])
    summary = {f"w2.trials.{k}": float(v) for k, v in zip(study.trials, w2.mean(axis=0), strict=True)}
    windows = np.asarray(variables["window_w2"][1]).mean(axis=0)
    summary |= {f"w2.window_us.{k * 1e6:g}": float(v) for k, v in zip(study.windows, windows, strict=True)}
    if 5 in study.trials:
        five = list(study.trials).index(5)
        change = w2[:, five:].mean(axis=0) / w2[:, five].mean() - 1.0
        summary["w2_change_past_five_trials"] = float(change[np.argmax(np.abs(change))])
    return Found(variables, coordinates, summary, notes_of(ran), spec_of(ran), evaluations_of(ran))


def readout_cases(scenario: ReadoutStudy) -> list[Case]:
    """Every model read out at every time."""
    return [
        Case(
            {"model": model, "time": stop},
            scenario.of(
                model, timeline=_timeline(scenario.timeline, max(0.0, stop - scenario.study.width), stop)
            ),
        )
        for model in scenario.models
        for stop in scenario.study.times
    ]


def readout(scenario: ReadoutStudy, library: Library, progress: Callable[[int], object]) -> Found:
    """Quality against the time of the read-out.

    Raises:
        AocsimError: nothing is possible.
    """
    ran = run_cases(readout_cases(scenario), library, progress)
    study = scenario.study
    axes: Axes = {"model": list(scenario.models), "time": list(study.times)}
    variables = figures_over(ran, axes)
    coordinates: Columns = {
        "model": (("model",), np.array(axes["model"]), "1", MODEL),
        "time": (("time",), np.array(study.times), "s", "end of the averaging window after the loop closes"),
    }
    w2 = np.asarray(variables["w2"][1]).mean(axis=0)
    summary = {f"w2.time_us.{k * 1e6:g}": float(v) for k, v in zip(study.times, w2, strict=True)}
    good = np.flatnonzero(w2 <= 1.05 * w2[-1])
    if len(good):
        # from where on it stays good
        worse = np.flatnonzero(~(w2 <= 1.05 * w2[-1]))
        summary["readout_us_within_5_percent"] = float(study.times[worse[-1] + 1 if len(worse) else 0]) * 1e6
    return Found(variables, coordinates, summary, notes_of(ran), spec_of(ran), evaluations_of(ran))


def relaxation_cases(scenario: RelaxationStudy, library: Library) -> list[Case]:
    """Every model at every light and choice of alpha, with noise and without."""
    spec = library.machine(scenario.machine, scenario.parts)
    sheet = spec.parts["led"]
    if EFFICIENCY not in sheet.entries:
        raise InputError(
            f"its emitters have no {EFFICIENCY}",
            key="machine",
            got=scenario.machine,
            allowed="a microLED's law",
        )
    efficiency = float(sheet[EFFICIENCY].value)
    out = []
    for model in scenario.models:
        for light in scenario.study.light:
            led = {**scenario.parts.get("led", {}), EFFICIENCY: f"{efficiency * light:.17g}"}
            for alpha in scenario.study.alphas:
                chosen = scenario.compile.model_copy(update={"alpha": alpha})
                for noise in (1.0, 0.0):
                    place: Place = {"model": model, "light": light, "choice": alpha, "noise": noise}
                    changed = scenario.of(
                        model,
                        compile=chosen,
                        parts={**scenario.parts, "led": led},
                        solve=scenario.solve.model_copy(
                            update={"noise_scale": noise * scenario.solve.noise_scale}
                        ),
                        record=Record(samples=0, trials=0, diagnosis=bool(noise)),
                    )
                    out.append(Case(place, changed))
    return out


def relaxation(scenario: RelaxationStudy, library: Library, progress: Callable[[int], object]) -> Found:
    """Alpha against light, settling time and signal-to-noise ratio.

    The noise of a read-out is that of the first solve, which is given the same points with noise and without: the
    scatter over the samples of the difference, root mean square over the channels in use.

    Raises:
        AocsimError: nothing is possible.
    """
    ran = run_cases(relaxation_cases(scenario, library), library, progress)
    study = scenario.study
    noisy = [one for one in ran if one.place["noise"]]
    axes: Axes = {"model": list(scenario.models), "choice": list(study.alphas), "light": list(study.light)}
    variables = figures_over([_without_noise(one) for one in noisy], axes)
    quiet = {_key(one): one for one in ran if not one.place["noise"]}
    rows = [(_without_noise(one).place, _signal(one, quiet[_key(one)])) for one in noisy]
    more = grid(rows, axes, ["read_out_noise", "signal_to_noise"])
    told = {
        "read_out_noise": ("V", "noise of the averaged read-out, RMS over the channels in use"),
        "signal_to_noise": ("1", "standard deviation of the read-outs over the samples, over their noise"),
    }
    variables |= {name: (tuple(axes), more[name], *told[name]) for name in told}
    coordinates: Columns = {
        "model": (("model",), np.array(axes["model"]), "1", MODEL),
        "choice": (("choice",), np.array(axes["choice"]), "1", "how alpha is chosen"),
        "light": (("light",), np.array(axes["light"]), "1", "factor on the emitters' external efficiency"),
    }
    summary = {}
    for name in ("w2", "alpha_median", "alpha_max", "settling", "signal_to_noise"):
        values = np.asarray(variables[name][1]).mean(axis=0)
        for k, choice in enumerate(study.alphas):
            for light, value in zip(study.light, values[k], strict=True):
                summary[f"{name}.{choice}.{light:g}"] = float(value)
    return Found(variables, coordinates, summary, notes_of(noisy), spec_of(ran), evaluations_of(ran))


def _without_noise(one: Ran) -> Ran:
    place = {key: value for key, value in one.place.items() if key != "noise"}
    return Ran(place, one.setup, one.run, one.figures, one.failure)


def _key(one: Ran) -> tuple[str | float, ...]:
    return tuple(value for key, value in one.place.items() if key != "noise")


def _signal(one: Ran, quiet: Ran) -> dict[str, float]:
    if one.run is None or one.setup is None or quiet.run is None:
        return {}
    used = one.setup.compiled.program.channel_of_unit
    loud, silent = (np.asarray(ran.read_out[0])[:, used] for ran in (one.run, quiet.run))
    noise = float(np.sqrt((loud - silent).var(axis=0).mean()))
    signal = float(np.sqrt(silent.var(axis=0).mean()))
    return {"read_out_noise": noise, "signal_to_noise": signal / noise if noise else float("inf")}


def _window(scenario: AveragingStudy, library: Library) -> tuple[float, float]:
    """Averaging window of the scenario, s."""
    nominal = Machine.build(library.machine(scenario.machine, scenario.parts), serial=None)
    digitiser = with_record(nominal, scenario.of(scenario.models[0])).digitiser
    return digitiser.window_start, digitiser.window_stop


def _timeline(timeline: Timeline, start: float, stop: float) -> Timeline:
    return timeline.model_copy(
        update={"window_start": f"{start * 1e6:.6f} us", "window_stop": f"{stop * 1e6:.6f} us"}
    )
