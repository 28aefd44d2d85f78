"""What a run of kind "sample" comes to: reference clouds and figures of merit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import compose, trimmed_exactly
from aocsim.diffusion.methods import Stepping
from aocsim.errors import PhysicsError
from aocsim.metrics import nrmse, rms_distance, w2
from aocsim.program import Program
from aocsim.response import corner, transfer
from aocsim.scenarios.digital import digital_side, mmd2_of
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.twin_points import step_errors

Array = NDArray[np.float64]

RESPONDING = 8  # channels, at most
BANDWIDTHS = np.geomspace(0.4, 1.8, 10)  # of the node's nominal bandwidth


@dataclass(frozen=True, eq=False)
class Comparison:
    """The machine's samples beside what they are compared with.

    Attributes:
        state_ideal: (solves, samples, d) the same network stepped digitally from the same noise.
        reference: (1000, d) held-out data.
        gaussian: (samples, d) drawn from the Gaussian fitted to the reference.
        floor: (samples, d) a second data sample.
        summary: flat figures of merit.
        frequency: (k,) Hz of the response.
        magnitude: (m, k) response of the open path, relative to its static gain.
    """

    state_ideal: Array
    reference: Array
    gaussian: Array
    floor: Array
    summary: dict[str, float]
    frequency: Array
    magnitude: Array


def compare(setup: Setup, run: Run) -> Comparison:
    """Reference clouds and the summary's figures."""
    scenario, network, program = setup.scenario, setup.network, setup.compiled.program
    stepping, diffusion = setup.stepping, setup.scenario.diffusion
    digital = digital_side(
        network, diffusion.method, diffusion.steps, diffusion.explicit_half, scenario.samples, scenario.seed
    )
    reference, last = digital.reference, run.state[-1]
    frequency, magnitude = open_path_response(setup)
    corners = [corner(frequency, row) for row in magnitude]
    summary: dict[str, float] = {
        **_of_diagnosis(setup, run),
        "bandwidth_3db_hz": float(np.median(corners)),
        "theorem1_dt_max": digital.theorem1_dt_max,
        "layerwise_bound": digital.layerwise_bound,
        "dt": stepping.dt,
    }
    distances = {
        "w2": {"machine": w2(last, reference), **digital.w2},
        "mmd2": {"machine": mmd2_of(last, reference), **digital.mmd2},
    }
    summary |= {f"{kind}_{name}": value for kind, of in distances.items() for name, value in of.items()}
    summary |= {
        **_of_steps(program, run, stepping),
        **_of_twin(setup, run),
        "rms_shift": rms_distance(last, digital.states[-1]),
        "alpha_max": float(program.alpha.max()),
        "beta": program.beta,
        "latency_s_per_step": float(np.mean(setup.schedule.step_latency)),
        "latency_s_per_sample": setup.schedule.duration - setup.schedule.load_time,
        "latency_s_run": setup.schedule.run_duration(scenario.samples)
        + sum(c.seconds for c in run.tended.costs),
        **_of_trims(setup, run),
        "solver_nfev": float(run.evaluations),
    }
    # copies: what is kept of the digital side is the next one's, too
    return Comparison(
        digital.states.copy(),
        reference.copy(),
        digital.gaussian.copy(),
        digital.floor.copy(),
        summary,
        frequency,
        magnitude,
    )


def _of_diagnosis(setup: Setup, run: Run) -> dict[str, float]:
    """How the loop settled; no numbers where nobody has looked."""
    names = ("settling_us_median", "settling_us_p95", "saturated_fraction", "unsettled_fraction")
    if not setup.scenario.record.diagnosis:
        return dict.fromkeys(names, float("nan"))
    figures = (
        float(np.median(run.settling)) * 1e6,
        float(np.percentile(run.settling, 95)) * 1e6,
        float(np.mean(run.saturated)),
        float(np.mean(run.settling > setup.machine.digitiser.window_start)),
    )
    return dict(zip(names, figures, strict=True))


def _of_steps(program: Program, run: Run, stepping: Stepping) -> dict[str, float]:
    """How far read-outs are from the digital fixed points, step by step."""
    whole, top, bias = [], [], []
    for k, (volts, ideal) in enumerate(zip(run.read_out, run.ideal_fixed_point, strict=True)):
        got, result = program.units(volts), stepping.result_of(k)
        whole.append(nrmse(got, ideal))
        top.append(nrmse(got[:, result], ideal[:, result]))
        bias.append(np.abs((got - ideal)[:, result].mean(axis=0)).max())
    return {
        "nrmse_step_ideal_mean": float(np.mean(whole)),
        "nrmse_top": float(np.mean(top)),
        "top_bias_per_step_max": float(np.max(bias)),
    }


def _of_twin(setup: Setup, run: Run) -> dict[str, float]:
    """How far read-outs are from what the calibration predicts that the machine is known by; nothing without one.

    No number where the twin comes to no rest, or with an analog memory, whose drive only the machine knows.
    """
    if setup.sheet is None:
        return {}
    try:
        return {"nrmse_step_twin_mean": float(np.mean(step_errors(setup, run, setup.sheet)))}
    except PhysicsError:
        return {"nrmse_step_twin_mean": float("nan")}


def _of_trims(setup: Setup, run: Run) -> dict[str, float]:
    """What each trim took on the bench, and what it left: medians over the used channels, seen from inside."""
    out = {f"trim_{cost.name.replace(' ', '_')}_s": cost.seconds for cost in run.trims.costs}
    used = setup.compiled.program.channel_of_unit
    return out | {
        "trim_offset_again_s": sum(cost.seconds for cost in run.tended.costs),
        "offset_left_v_median": float(np.median(np.abs(run.offset_left[used]))),
        "alpha_left_median": float(np.median(np.abs(run.alpha_left[used]))),
    }


def open_path_response(setup: Setup) -> tuple[Array, Array]:
    """Response from DAC to node with W = 0 and alpha = 0: frequencies (k,) Hz, magnitudes (m, k)."""
    program = setup.compiled.program
    dark = Program(
        np.zeros_like(program.weight),
        np.zeros_like(program.alpha),
        program.beta,
        program.channel_of_unit,
        program.volts_per_unit,
    )
    n = setup.machine.channels
    channels = np.unique(np.linspace(0, n - 1, min(n, RESPONDING)).round().astype(np.intp))
    loop = compose(setup.machine, dark, trimmed_exactly(setup.machine, dark))
    frequencies = BANDWIDTHS * float(np.median(setup.machine.poles.node))
    return frequencies, transfer(loop, channels, frequencies)
