"""From a run of kind "sample" to its Dataset, with provenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.record import Variables, assemble
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.summary import Comparison
from aocsim.scenarios.trimming import rooms_differ
from aocsim.spool import transposed
from aocsim.trim import OFFSET_TARGET

if TYPE_CHECKING:
    import xarray

NOTABLE = 0.01  # of the solves: from here on an oddity is worth a note

SPOOLED = ("voltage", "solution_voltage", "read_out", "ideal_fixed_point")
"""Variables that are read from files as they are asked for, where a run is large."""


def notes_of(setup: Setup, run: Run, comparison: Comparison) -> list[str]:
    """What a reader of the result has to know to judge it."""
    settings, summary = setup.scenario.compile, comparison.summary
    out = ["offsets and alpha are as built, nothing is trimmed"]
    if settings.trims == "bench":
        out = [
            f"trimmed on the bench, medians left over the used channels: offsets "
            f"{summary['offset_left_v_median'] * 1e3:.2g} mV, alpha {summary['alpha_left_median']:.1g}"
        ]
        out += _missed(run, summary["offset_left_v_median"])
    out += [
        f"the {cost.name} trim took {cost.seconds:.3g} s on the bench, {cost.solves} solves"
        for cost in run.trims.costs
    ]
    if run.tended.costs:
        seconds = sum(cost.seconds for cost in run.tended.costs)
        out.append(
            f"offsets were trimmed again {len(run.tended.costs)} times between samples, {seconds:.3g} s in all"
        )
    room = setup.scenario.environment
    if room.hours_since_trim:
        out.append(
            f"the first sample begins {room.hours_since_trim:g} h after the trims; gains, offsets and alpha drift"
        )
    if rooms_differ(setup):
        here, there = (
            "the sheets' temperature" if t is None else f"{t:.2f} K"
            for t in (room.temperature, room.temperature_at_trim)
        )
        out.append(f"the room is at {here}, it was at {there} during the trims")
    if setup.scenario.timeline.memory == "sample_and_hold":
        out.append(
            "an analog memory carries the sample: trials are chains of their own, averaged at each read-out"
        )
    if not isinstance(settings.knowledge, str):
        out.append(
            f"the compiler knows the parts to {settings.knowledge * 100:.3g} %, drawn at random: a stand-in for a "
            "calibration"
        )
    out += setup.known_by_another
    if not setup.scenario.record.diagnosis:
        out.append(
            "fixed points of the loop, their stability and settling times have not been looked at (record.diagnosis)"
        )
    if summary["saturated_fraction"] > NOTABLE:
        out.append(
            f"{summary['saturated_fraction'] * 100:.0f} % of the solves end outside the node amplifier's linear range"
        )
    if summary["unsettled_fraction"] > NOTABLE:
        out.append(
            f"{summary['unsettled_fraction'] * 100:.0f} % of the solves have not settled to 1 % when the read-out "
            "window opens"
        )
    return out


def _missed(run: Run, left: float) -> list[str]:
    """A note where an offset trim has not come to what it promises.

    Args:
        run: with its trims.
        left: V, median over the used channels, as seen from inside.
    """
    costs = [cost for cost in (*run.trims.costs, *run.tended.costs) if cost.name.startswith("offset")]
    missed = [cost for cost in costs if not cost.reached]
    if not missed and left <= OFFSET_TARGET:
        return []
    worst = max(missed or costs, key=lambda cost: cost.left)
    which = f"{len(missed)} of {len(costs)} offset trims" if len(costs) > 1 and missed else "the offset trim"
    return [
        f"{which} missed the target of {OFFSET_TARGET * 1e3:g} mV: {left * 1e3:.2g} mV are left after the first, the "
        f"last correction was {worst.left * 1e3:.2g} mV rms; noise or drift did not let it come closer in the time "
        "that a trim may take"
    ]


def dataset_of(setup: Setup, run: Run, comparison: Comparison, wall_seconds: float) -> xarray.Dataset:
    """The result of a "sample" scenario, with provenance."""
    variables: Variables = {
        **_run_variables(setup, run, comparison),
        **_program_variables(setup, run),
        **_timeline_variables(setup),
    }
    scenario = setup.scenario
    attributes = {
        **attributes_of(
            scenario,
            setup.spec,
            notes=notes_of(setup, run, comparison),
            summary=comparison.summary,
            wall_seconds=wall_seconds,
        ),
        "network_origin": json.dumps(dict(setup.network.origin), sort_keys=True, default=str),
        "solver_nfev": run.evaluations,
        "knowledge": str(scenario.compile.knowledge),
        "volts_per_unit": setup.compiled.program.volts_per_unit,
        "window_start_s": setup.machine.digitiser.window_start,
        "window_stop_s": setup.machine.digitiser.window_stop,
        "inversion_error": setup.compiled.inversion_error,
        "rounding_error": setup.compiled.rounding_error,
        "dead_inputs": json.dumps(list(setup.machine.optics.dead)),
        "phase_seconds": json.dumps(setup.schedule.phases, sort_keys=True),
        "wall_seconds_trimming": run.trim_seconds,
        "wall_seconds_solving": run.solve_seconds,
    }
    return assemble(variables, _coordinates(setup, run), attributes)


def _coordinates(setup: Setup, run: Run) -> Variables:
    scenario, machine = setup.scenario, setup.machine
    stepping, d = setup.stepping, setup.network.layout[0]

    def axis(name: str, values: Any, unit: str, text: str) -> tuple[tuple[str, ...], Any, str, str]:
        return (name,), values, unit, text

    return {
        "sample": axis("sample", np.arange(scenario.samples), "1", "diffusion sample"),
        "step": axis("step", np.arange(1, stepping.solves + 1), "1", _step_name(setup)),
        "diffusion_time": axis("step", stepping.times, "1", "diffusion time at the end of the step"),
        "recorded_sample": axis(
            "recorded_sample", np.arange(run.voltage.shape[1]), "1", "sample whose waves are kept"
        ),
        "trial": axis("trial", np.arange(run.voltage.shape[2]), "1", "trial"),
        "channel": axis("channel", np.arange(machine.channels), "1", "channel"),
        "input_channel": axis("input_channel", np.arange(machine.channels), "1", "input channel"),
        "unit": axis("unit", np.arange(setup.operator.units), "1", "network unit"),
        "dim": axis("dim", np.arange(d), "1", "data dimension"),
        "arm": axis("arm", np.array(["+", "-"]), "1", "optical arm"),
        "time": axis("time", machine.digitiser.times, "s", "time after the loop closes"),
    }


def _step_name(setup: Setup) -> str:
    """What an entry of the axis `step` is."""
    if setup.stepping.solves == setup.stepping.steps:
        return "diffusion step"
    if setup.opened is not None:
        return "solve of the loop: explicit and implicit half of each diffusion step in turn"
    return "solve of the loop: predictor and corrector of each diffusion step in turn"


def _run_variables(setup: Setup, run: Run, comparison: Comparison) -> Variables:
    def by_sample(array: Any) -> Any:
        return transposed(array, (1, 0, 2))

    diagnosis: Variables = {
        "settling": (
            ("sample", "step"),
            np.transpose(run.settling),
            "s",
            "noiseless settling to 1 % of the fixed point's distance from rest",
        ),
    }
    return {
        "voltage": (
            ("recorded_sample", "step", "trial", "channel", "time"),
            transposed(run.voltage, (1, 0, 2, 4, 3)),
            "V",
            "node voltage as digitised",
        ),
        "solution_voltage": (
            ("sample", "step", "dim", "time"),
            transposed(run.solution_voltage, (1, 0, 3, 2)),
            "V",
            "node voltage of the channels that carry the sample, first trial, as digitised",
        ),
        "read_out": (
            ("sample", "step", "channel"),
            by_sample(run.read_out),
            "V",
            "node voltage, mean over read-out window and trials",
        ),
        "begun": (("sample",), run.tended.begun, "s", "when the sample began, on the bench's clock"),
        "start": (("sample", "dim"), run.start, "1", "Gaussian noise that the sample starts from"),
        "state": (("sample", "step", "dim"), by_sample(run.state), "1", "point after the step, machine"),
        "state_ideal": (
            ("sample", "step", "dim"),
            by_sample(comparison.state_ideal),
            "1",
            "point after the step, same network and noise digitally",
        ),
        "ideal_fixed_point": (
            ("sample", "step", "unit"),
            by_sample(run.ideal_fixed_point),
            "1",
            "digital fixed point of the step from the machine's own state",
        ),
        **(diagnosis if setup.scenario.record.diagnosis else {}),
        "reference": (("point", "dim"), comparison.reference, "1", "held-out data"),
        "gaussian": (
            ("sample", "dim"),
            comparison.gaussian,
            "1",
            "draws from the Gaussian fitted to the data",
        ),
        "floor": (("sample", "dim"), comparison.floor, "1", "second data sample"),
        "open_path_response": (
            ("swept_channel", "frequency"),
            comparison.magnitude,
            "1",
            "response from DAC to node with W = 0 and alpha = 0, relative to its static gain",
        ),
        "frequency": (("frequency",), comparison.frequency, "Hz", "frequency of the response"),
    }


def _program_variables(setup: Setup, run: Run) -> Variables:
    program = setup.compiled.program
    return {
        **_opened_variables(setup, run),
        "weight": (
            ("arm", "channel", "input_channel"),
            program.weight,
            "1",
            "commanded modulator weight, grey level over the highest",
        ),
        "alpha": (("channel",), program.alpha, "1", "relaxation that the program wants to arrive"),
        "channel_of_unit": (
            ("unit",),
            program.channel_of_unit.astype(np.int32),
            "1",
            "channel of each network unit",
        ),
        "alpha_setting": (
            ("channel",),
            run.trims.alpha,
            "1",
            "relaxation that is set for it, as the trim has found",
        ),
        "bias": (
            ("sample", "channel"),
            run.tended.bias,
            "V",
            "offset trim of the drive, the latest before the sample",
        ),
        "bias_correction": (
            ("step", "channel"),
            run.trims.correction,
            "V",
            "operating-point trim of the drive",
        ),
        "offset_left": (("channel",), run.offset_left, "V", "what reaches the node at rest after the trims"),
        "alpha_left": (("channel",), run.alpha_left, "1", "alpha that arrives less the one wanted"),
    }


def _opened_variables(setup: Setup, run: Run) -> Variables:
    """The program of an explicit half that is a solve of its own."""
    if setup.opened is None or run.trims.opened is None:
        return {}
    program = setup.opened.program
    return {
        "weight_opened": (
            ("arm", "channel", "input_channel"),
            program.weight,
            "1",
            "commanded modulator weight of the explicit half's program",
        ),
        "alpha_opened": (
            ("channel",),
            program.alpha,
            "1",
            "relaxation that the explicit half's program wants",
        ),
        "alpha_setting_opened": (("channel",), run.trims.opened.alpha, "1", "relaxation that is set for it"),
        "bias_opened": (
            ("sample", "channel"),
            run.tended.bias_opened,
            "V",
            "offset trim of the explicit half's drive, the latest before the sample",
        ),
    }


def _timeline_variables(setup: Setup) -> Variables:
    events = setup.schedule.events
    return {
        "event_start": (("event",), np.array([e.start for e in events]), "s", "start of the event"),
        "event_stop": (("event",), np.array([e.stop for e in events]), "s", "end of the event"),
        "event_resource": (("event",), np.array([e.resource for e in events]), "1", "resource in use"),
        "event_what": (("event",), np.array([e.what for e in events]), "1", "what happens"),
        "event_step": (
            ("event",),
            np.array([e.step + 1 for e in events], dtype=np.int32),
            "1",
            "diffusion step, 0 outside any",
        ),
        "event_trial": (
            ("event",),
            np.array([e.trial for e in events], dtype=np.int32),
            "1",
            "trial, -1 outside any",
        ),
        "step_latency": (
            ("step",),
            np.array(setup.schedule.step_latency),
            "s",
            "from the first DAC update to the "
            + (
                "value that the first trial's memory holds"
                if setup.scenario.timeline.memory == "sample_and_hold"
                else "last record on the host"
            ),
        ),
    }
