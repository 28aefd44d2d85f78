"""What a run of kind "sample" comes to: reference clouds and figures of merit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import compose, trimmed_exactly
from aocsim.diffusion.data import shape_points
from aocsim.diffusion.methods import Stepping
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import layerwise_bound, theorem1_dt_max
from aocsim.errors import PhysicsError
from aocsim.metrics import gaussian_fit, gaussian_sample, mmd2_unbiased, nrmse, rms_distance, w2
from aocsim.program import Program
from aocsim.response import corner, sweep
from aocsim.scenarios.ideal import ideal_states
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.twin_points import step_errors
from aocsim.seeds import stream

Array = NDArray[np.float64]

REFERENCE_POINTS = 1000
REFERENCE_SEED = 0  # the held-out data are the same for every seed of a scenario
SWEEP_CHANNELS = 8
SWEEP = np.geomspace(0.4, 1.8, 10)  # of the node's nominal bandwidth


@dataclass(frozen=True, eq=False)
class Comparison:
    """The machine's samples beside what they are compared with.

    Attributes:
        state_ideal: (solves, samples, d) the same network stepped digitally from the same noise.
        reference: (1000, d) held-out data.
        gaussian: (samples, d) drawn from the Gaussian fitted to the reference.
        floor: (samples, d) a second data sample.
        summary: flat figures of merit.
        frequency: (k,) Hz of the sweep.
        magnitude: (m, k) response of the open path, relative to its static gain.
    """

    state_ideal: Array
    reference: Array
    gaussian: Array
    floor: Array
    summary: dict[str, float]
    frequency: Array
    magnitude: Array


def reference_of(network: Network) -> Array:
    """(1000, d) held-out data, the same for all scenarios."""
    rng = stream(REFERENCE_SEED, f"data.{network.data}.held_out")
    return shape_points(network.rings, REFERENCE_POINTS, rng)


def compare(setup: Setup, run: Run) -> Comparison:
    """Reference clouds and the summary's figures."""
    scenario, network, program = setup.scenario, setup.network, setup.compiled.program
    stepping = setup.stepping
    states = ideal_states(stepping, run.start)
    reference = reference_of(network)
    other = stream(REFERENCE_SEED, f"data.{network.data}.floor")
    floor = shape_points(network.rings, scenario.samples, other)
    mean, covariance = gaussian_fit(reference)
    gaussian = gaussian_sample(mean, covariance, scenario.samples, stream(REFERENCE_SEED, "data.gaussian"))
    frequency, magnitude = open_path_response(setup)
    corners = [corner(frequency, row) for row in magnitude]
    clouds = {"machine": run.state[-1], "ideal": states[-1], "gaussian": gaussian, "floor": floor}
    summary: dict[str, float] = {
        **_of_diagnosis(setup, run),
        "bandwidth_3db_hz": float(np.median(corners)),
        "theorem1_dt_max": theorem1_dt_max(network),
        "layerwise_bound": layerwise_bound(network, stepping.operator.dt),
        "dt": stepping.dt,
    }
    summary |= {f"w2_{name}": w2(cloud, reference) for name, cloud in clouds.items()}
    # the unbiased estimate needs two points
    summary |= {
        f"mmd2_{name}": mmd2_unbiased(cloud, reference) if len(cloud) > 1 else float("nan")
        for name, cloud in clouds.items()
        if name != "floor"
    }
    summary |= {
        **_of_steps(program, run, stepping),
        **_of_twin(setup, run),
        "rms_shift": rms_distance(run.state[-1], states[-1]),
        "alpha_max": float(program.alpha.max()),
        "beta": program.beta,
        "latency_s_per_step": float(np.mean(setup.schedule.step_latency)),
        "latency_s_per_sample": setup.schedule.duration - setup.schedule.load_time,
        "latency_s_run": setup.schedule.run_duration(scenario.samples)
        + sum(c.seconds for c in run.tended.costs),
        **_of_trims(setup, run),
        "solver_nfev": float(run.evaluations),
    }
    return Comparison(states, reference, gaussian, floor, summary, frequency, magnitude)


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
    channels = np.unique(np.linspace(0, n - 1, min(n, SWEEP_CHANNELS)).round().astype(np.intp))
    loop = compose(setup.machine, dark, trimmed_exactly(setup.machine, dark))
    frequencies = SWEEP * float(np.median(setup.machine.poles.node))
    return frequencies, sweep(loop, channels, frequencies)
