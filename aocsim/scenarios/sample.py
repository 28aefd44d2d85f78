"""Scenario kind "sample": run an analog diffusion model through a machine and compare with the ideal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.compiler import Compiled, compile_network, knowledge_of
from aocsim.compose import Trims, compose, untrimmed
from aocsim.diffusion.data import shape_points, shape_rings
from aocsim.diffusion.network import Network, load_network
from aocsim.diffusion.operator import BlockOperator, layerwise_bound, theorem1_dt_max
from aocsim.diffusion.samplers import implicit_states
from aocsim.errors import InputError, ResourceError
from aocsim.experiment import SOLVES_PER_BLOCK, Experiment, SolveSettings
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.metrics import gaussian_fit, gaussian_sample, mmd2_unbiased, nrmse, rms_distance, w2
from aocsim.program import Program
from aocsim.response import corner, sweep
from aocsim.scenarios.schema import Scenario
from aocsim.seeds import stream
from aocsim.spec import MachineSpec
from aocsim.timeline import Schedule, schedule
from aocsim.trim import at_operating_point, decreed

Array = NDArray[np.float64]

REFERENCE_POINTS = 1000
REFERENCE_SEED = 0  # the held-out data are the same for every seed of a scenario
SWEEP_CHANNELS = 8
SWEEP = np.geomspace(0.4, 1.8, 10)  # of the node's nominal bandwidth
TRIM_TRIALS = 1  # solves of each sample in the operating-point trim, whose mean runs over many samples
MEMORY_SHARE = 0.7  # of the computer's memory that a run may plan to use


@dataclass(frozen=True, eq=False)
class Setup:
    """Everything before the first solve.

    Attributes:
        scenario: validated.
        spec: the machine's sheets with the scenario's changes.
        machine: as built, with the scenario's record and window.
        network: the trained model.
        operator: of one diffusion step.
        compiled: the program and its errors.
        trims: of offsets and alpha, by decree.
        schedule: of one sample.
    """

    scenario: Scenario
    spec: MachineSpec
    machine: Machine
    network: Network
    operator: BlockOperator
    compiled: Compiled
    trims: Trims
    schedule: Schedule


@dataclass(frozen=True, eq=False)
class Run:
    """What the run gave. Diffusion steps stand on the first axis.

    Attributes:
        start: (samples, d) noise.
        state: (steps, samples, d) points after each step, network units.
        read_out: (steps, samples, n) V.
        ideal_fixed_point: (steps, samples, units) digital fixed point from the machine's own state.
        settling: (steps, samples) s.
        saturated: (steps, samples) whether a used channel's fixed point is outside the amplifier's linear range.
        voltage: (steps, kept samples, kept trials, times, n) V.
        solution_voltage: (steps, samples, times, d) V, channels that carry the sample, first trial.
        correction: (steps, n) V, operating-point trim.
        evaluations: of the right-hand side.
        solve_seconds: wall time of trim and solves.
    """

    start: Array
    state: Array
    read_out: Array
    ideal_fixed_point: Array
    settling: Array
    saturated: NDArray[np.bool_]
    voltage: Array
    solution_voltage: Array
    correction: Array
    evaluations: int
    solve_seconds: float


def prepare(scenario: Scenario, library: Library) -> Setup:
    """Build the machine, compile the network, lay out the timeline.

    Raises:
        AocsimError: anything that makes the scenario impossible, before the first solve.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    machine = with_record(Machine.build(spec, scenario.serial), scenario)
    network = load_network(library.model_path(scenario.model).with_suffix(".nc"))
    steps = scenario.diffusion.steps
    shape_rings(network.data)  # known data, or refused before the first solve
    check_memory(scenario, machine, network)
    operator = BlockOperator.from_network(network, 1.0 / steps)
    settings = scenario.compile
    volts = settings.volts_per_unit or Machine.build(spec, serial=None).pair.knee
    known = knowledge_of(machine, spec, network.activation, settings.knowledge, volts)
    compiled = compile_network(
        operator,
        known,
        volts_per_unit=volts,
        beta=settings.beta,
        alpha=settings.alpha,
        alpha_min=settings.alpha_min,
        quantise=settings.quantise,
    )
    trims = untrimmed(machine, compiled.program)
    if settings.trims == "decree":
        trims = decreed(machine, compiled.program, settings.offset_residual, settings.alpha_residual)
    plan = schedule(machine, steps=steps, trials=scenario.trials, trial_spacing=spacing_of(scenario, machine))
    return Setup(scenario, spec, machine, network, operator, compiled, trims, plan)


def with_record(machine: Machine, scenario: Scenario) -> Machine:
    """The machine with the record length and read-out window that the scenario asks for.

    Raises:
        InputError: a window outside the record, or one that holds no sample.
    """
    digitiser = machine.digitiser
    samples = scenario.timeline.samples_per_record or digitiser.samples
    # the record ends one sampling interval after its last sample
    length = samples / digitiser.sample_rate
    start, stop = scenario.timeline.window(length, (digitiser.window_start, digitiser.window_stop))
    changed = replace(digitiser, samples=samples, window_start=start, window_stop=stop)
    if changed.window.start >= changed.window.stop:
        raise InputError(
            "the read-out window holds no sample",
            key="timeline.window_start",
            got=f"{start * 1e6:.4g} to {stop * 1e6:.4g} us",
            allowed=f"at least one multiple of {1e6 / digitiser.sample_rate:.4g} us",
        )
    return replace(machine, digitiser=changed)


def spacing_of(scenario: Scenario, machine: Machine) -> float:
    """Time from one trial's start to the next, s: what the scenario says, or the flicker's correlation time.

    Raises:
        InputError: trials so close that they would share their flicker, which is drawn for each of them.
    """
    slm, spacing = machine.slm, scenario.timeline.trial_spacing
    if spacing is None:
        return slm.flicker_correlation_time
    if spacing < slm.flicker_correlation_time and (slm.flicker or slm.flicker_common):
        raise InputError(
            "trials this close share their flicker, and averaging them would not help as drawn",
            key="timeline.trial_spacing",
            got=f"{spacing * 1e6:.4g} us",
            allowed=f"at least the flicker's correlation time, {slm.flicker_correlation_time * 1e6:.4g} us",
        )
    return spacing


def check_memory(scenario: Scenario, machine: Machine, network: Network) -> None:
    """Refuse, before anything is computed, what the memory cannot hold.

    Raises:
        ResourceError: says what needs how much.
    """
    n, times, steps = machine.channels, machine.digitiser.samples, scenario.diffusion.steps
    kept = min(scenario.record.samples, scenario.samples) * min(scenario.record.trials, scenario.trials)
    voltage = 8.0 * kept * steps * times * n
    results = 8.0 * scenario.samples * steps * (n + 2 * network.units + 4 + times * network.layout[0])
    solves = max(SOLVES_PER_BLOCK, scenario.trials)
    block = 8.0 * solves * (12 * n * n + times * n * 8) * threads_of(scenario)
    # a dataset is assembled beside the arrays it is made of
    needed = 2 * (voltage + results) + block
    total = float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * total:
        raise ResourceError(
            f"the run needs about {needed / 2**30:.3g} GiB (recorded voltages {voltage / 2**30:.3g} GiB, results "
            f"{results / 2**30:.3g} GiB, solves {block / 2**30:.3g} GiB), this computer has {total / 2**30:.3g} GiB: "
            "lower record.samples, record.trials, samples or diffusion.steps"
        )


def threads_of(scenario: Scenario) -> int:
    """Worker processes, at least 1."""
    return scenario.solve.threads or os.cpu_count() or 1


def solves_of(scenario: Scenario) -> int:
    """Number of solves of trim and run together."""
    solves = scenario.samples * scenario.trials + scenario.compile.operating_point_trim * TRIM_TRIALS
    return solves * scenario.diffusion.steps


def execute(setup: Setup, progress: Callable[[int], object] = lambda solves: None) -> Run:
    """Trim at the operating point, then take all samples through all diffusion steps."""
    scenario, operator, program = setup.scenario, setup.operator, setup.compiled.program
    steps, count, d = scenario.diffusion.steps, scenario.samples, setup.network.layout[0]
    solve = scenario.solve
    settings = SolveSettings(solve.method, solve.rtol, solve.atol, threads_of(scenario), solve.noise)

    def experiment(name: str, trials: int) -> Experiment:
        return Experiment(setup.machine, program, setup.trims, trials, scenario.seed, name, settings)

    began = time.perf_counter()
    correction = np.zeros((steps, setup.machine.channels))
    others = scenario.compile.operating_point_trim
    if others:
        start = stream(scenario.seed, "trim.start").standard_normal((others, d))
        correction = at_operating_point(experiment("trim", TRIM_TRIALS), operator, start, steps, progress)
    start = stream(scenario.seed, "start").standard_normal((count, d))
    x, run = start, experiment("run", scenario.trials)
    keep = (min(scenario.record.samples, count), min(scenario.record.trials, scenario.trials))
    watch = program.channel_of_unit[:d]
    states, reads, fixed, settling, saturated, voltage, watched = [], [], [], [], [], [], []
    node, evaluations = setup.machine.node, 0
    for step in range(steps):
        t = (step + 1) / steps
        drive = program.drive(operator.additive(t, x), correction[step])
        segment = setup.schedule.solve_of(step)
        measured = run.measure(
            drive, segment.step, keep=keep, watch=watch, closed=segment.stop - segment.start, done=progress
        )
        fixed.append(operator.fixed_point(x, t))
        x = program.units(measured.read_out)[:, :d]
        states.append(x)
        reads.append(measured.read_out)
        settling.append(measured.settling)
        rest = measured.fixed_point[:, program.channel_of_unit]
        saturated.append(((rest < node.linear_low) | (rest > node.linear_high)).any(axis=1))
        voltage.append(measured.voltage)
        watched.append(measured.watched)
        evaluations += measured.evaluations
    return Run(
        start=start,
        state=np.array(states),
        read_out=np.array(reads),
        ideal_fixed_point=np.array(fixed),
        settling=np.array(settling),
        saturated=np.array(saturated),
        voltage=np.array(voltage),
        solution_voltage=np.array(watched),
        correction=correction,
        evaluations=evaluations,
        solve_seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """The machine's samples beside what they are compared with.

    Attributes:
        state_ideal: (steps, samples, d) the same network stepped digitally from the same noise.
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


def compare(setup: Setup, run: Run) -> Comparison:
    """Reference clouds and the summary's figures."""
    scenario, network, program = setup.scenario, setup.network, setup.compiled.program
    d, steps = network.layout[0], scenario.diffusion.steps
    states = implicit_states(network, run.start, steps)[:, :, :d]
    data = stream(REFERENCE_SEED, f"data.{network.data}.held_out")
    reference = shape_points(network.data, REFERENCE_POINTS, data)
    other = stream(REFERENCE_SEED, f"data.{network.data}.floor")
    floor = shape_points(network.data, scenario.samples, other)
    mean, covariance = gaussian_fit(reference)
    gaussian = gaussian_sample(mean, covariance, scenario.samples, stream(REFERENCE_SEED, "data.gaussian"))
    got = program.units(run.read_out)
    error = got - run.ideal_fixed_point
    frequency, magnitude = open_path_response(setup)
    corners = [corner(frequency, row) for row in magnitude]
    clouds = {"machine": run.state[-1], "ideal": states[-1], "gaussian": gaussian, "floor": floor}
    summary: dict[str, float] = {
        "settling_us_median": float(np.median(run.settling)) * 1e6,
        "settling_us_p95": float(np.percentile(run.settling, 95)) * 1e6,
        "saturated_fraction": float(np.mean(run.saturated)),
        "unsettled_fraction": float(np.mean(run.settling > setup.machine.digitiser.window_start)),
        "bandwidth_3db_hz": float(np.median(corners)),
        "theorem1_dt_max": theorem1_dt_max(network),
        "layerwise_bound": layerwise_bound(network, 1 / steps),
        "dt": 1 / steps,
    }
    summary |= {f"w2_{name}": w2(cloud, reference) for name, cloud in clouds.items()}
    # the unbiased estimate needs two points
    summary |= {
        f"mmd2_{name}": mmd2_unbiased(cloud, reference) if len(cloud) > 1 else float("nan")
        for name, cloud in clouds.items()
        if name != "floor"
    }
    summary |= {
        "nrmse_step_ideal_mean": float(
            np.mean([nrmse(a, b) for a, b in zip(got, run.ideal_fixed_point, strict=True)])
        ),
        "nrmse_top": float(
            np.mean([nrmse(a[:, :d], b[:, :d]) for a, b in zip(got, run.ideal_fixed_point, strict=True)])
        ),
        "top_bias_per_step_max": float(np.abs(error[:, :, :d].mean(axis=1)).max()),
        "rms_shift": rms_distance(run.state[-1], states[-1]),
        "alpha_max": float(program.alpha.max()),
        "beta": program.beta,
        "latency_s_per_step": float(np.mean(setup.schedule.step_latency)),
        "solver_nfev": float(run.evaluations),
    }
    return Comparison(states, reference, gaussian, floor, summary, frequency, magnitude)


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
    trims = decreed(setup.machine, dark, 0.0, 0.0)
    n = setup.machine.channels
    channels = np.unique(np.linspace(0, n - 1, min(n, SWEEP_CHANNELS)).round().astype(np.intp))
    loop = compose(setup.machine, dark, trims)
    frequencies = SWEEP * float(np.median(setup.machine.poles.node))
    return frequencies, sweep(loop, channels, frequencies)
