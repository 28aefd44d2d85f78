"""What a scenario's run needs of the memory and of the disk."""

from __future__ import annotations

import os

from aocsim.blocks import Blocks, Load
from aocsim.diffusion.network import Network
from aocsim.errors import ResourceError
from aocsim.live import Live
from aocsim.machine import Machine
from aocsim.scenarios import ideal
from aocsim.scenarios.schema import Scenario
from aocsim.scenarios.trimming import threads_of
from aocsim.spool import is_much
from aocsim.trim import JACOBIANS, MOST_AT_ONCE

MEMORY_SHARE = 0.7  # of the computer's memory that a run may plan to use
PROGRAM = 2.0**28  # bytes that a process has before it computes: interpreter, libraries, compiled code
BUILDING = 150  # matrices of 8 n^2 bytes while a machine is built, programmed, and its response swept
MACHINE = 24  # of them in each worker, as received and as it is
STEP = 10  # arrays (samples, n) of one step


def _kept(scenario: Scenario) -> int:
    """Number of wave forms that are kept of each step."""
    samples, trials = (
        min(scenario.record.samples, scenario.samples),
        min(scenario.record.trials, scenario.trials),
    )
    return samples * trials


def result_bytes(scenario: Scenario, machine: Machine, network: Network) -> int:
    """Size of the arrays of all steps: read-outs, digital fixed points, and recorded voltages."""
    n, times, d = machine.channels, machine.digitiser.samples, network.layout[0]
    each = scenario.samples * (n + network.units + d + times * d) + _kept(scenario) * times * n
    return 8 * scenario.diffusion.solves * each


def check_memory(scenario: Scenario, machine: Machine, network: Network) -> None:
    """Refuse, before anything is computed, what the memory cannot hold.

    Raises:
        ResourceError: says what needs how much.
    """
    n, times, steps = machine.channels, machine.digitiser.samples, scenario.diffusion.solves
    samples, trials, noise = scenario.samples, scenario.trials, scenario.solve.amplitude > 0
    matrix = 8.0 * n * n
    large = result_bytes(scenario, machine, network)
    # a dataset and a file are made beside what is in memory
    results = 8.0 * 2**20 if is_much(large) else 2.0 * large
    results += 16.0 * samples * steps * (2 * network.layout[0] + 2)
    # chains of an analog memory are items of their own
    chains = trials if scenario.timeline.memory == "sample_and_hold" else 1
    step = 16.0 * _kept(scenario) * times * n + 16.0 * samples * chains * times * network.layout[0]
    step += 8.0 * samples * (STEP * chains * n + trials) + ideal.bytes_of(network.layout, samples)
    live = Live.of(machine, scenario.seed)
    load = Load.of(
        machine,
        noise=noise,
        slow=live.flicker is not None or live.drift is not None,
        diagnose=scenario.record.diagnosis,
    )
    block = Blocks.of(load, 1 if chains > 1 else trials).bytes_of(load)
    workers = threads_of(scenario)
    solves = (PROGRAM + MACHINE * matrix + block) * workers if workers > 1 else block
    others = scenario.compile.operating_point_trim
    trim = others * 16.0 * times * n + min(others * 16.0 * network.units**2, 2.0 * JACOBIANS)
    if scenario.compile.trims == "bench" and noise:
        trim = max(trim, 16.0 * MOST_AT_ONCE * times * n)
    needed = PROGRAM + BUILDING * matrix + results + solves + max(step, trim)
    total = float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    if needed > MEMORY_SHARE * total:
        raise ResourceError(
            f"the run needs about {needed / 2**30:.3g} GiB (results {results / 2**30:.3g} GiB, each step "
            f"{step / 2**30:.3g} GiB, trims {trim / 2**30:.3g} GiB, {workers} workers {solves / 2**30:.3g} GiB), this "
            f"computer has {total / 2**30:.3g} GiB: lower record.samples, record.trials, samples, "
            "compile.operating_point_trim or solve.threads"
        )
