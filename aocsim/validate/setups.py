"""Machines, loops and the compiled heart that several groups of checks begin with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components.slm_measured import both_arms
from aocsim.compose import Electronics, compose
from aocsim.diffusion.network import load_network
from aocsim.library import Library
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.scenarios.load import load_sample
from aocsim.scenarios.sample import Setup, prepare
from aocsim.spec import Text
from aocsim.validate.check import Setting, SkippedError

Array = NDArray[np.float64]
Overrides = Mapping[str, Mapping[str, Text]]

DARK: Overrides = {"slm": {"sheet": "slm_ideal"}, "optics": {"sheet": "optics_ideal"}}
"""No light but what the pixels let through, and no crosstalk: closed forms of one path need nothing else."""

BETA = 25.0
"""Gain, that of the heart."""

MINOR_POLES: Overrides = {"poles": {"sheet": "poles_all"}}


def program_of(machine: Machine, weight: Array, alpha: Array | float, beta: float) -> Program:
    """A program written by hand: weight (2, n, n), alpha (n,) or one for all, channels as they are, volts as units."""
    n = machine.channels
    return Program(weight, np.broadcast_to(np.asarray(alpha, dtype=float), n).copy(), beta, np.arange(n), 1.0)


def without_weights(machine: Machine, alpha: Array | float = 0.0, beta: float = 0.0) -> Loop:
    """The loop with dark modulators, nothing but alpha around it, alpha arriving as it is set and no offset."""
    n = machine.channels
    program = program_of(machine, np.zeros((2, n, n)), alpha, beta)
    return compose(machine, program, Electronics(program.alpha, np.zeros(n)))


def darkness(setting: Setting) -> Array:
    """Light that a measured machine's detector has in the dark and no neighbour sees, (2, n) W; 0 for other optics.

    From the optics' sheet: neighbours' ratios were measured as changes with the weights.
    """
    spec = setting.spec()
    sheet = AsBuilt(spec.parts["optics"], spec.name, "optics", setting.serial, spec.channels)
    if "darkness_light" not in sheet.spec.entries:
        return np.zeros((2, spec.channels))
    unit = sheet.scalar("throughput") / spec.channels * sheet.scalar("darkness_light")
    return np.asarray(unit * both_arms(sheet, "darkness"))


def photocurrents(machine: Machine, program: Program, z: Array, dark: Array | float = 0.0) -> Array:
    """Photocurrent of all detectors at node voltages z (m, n), bias light included, (m, 2, n) A.

    Light that a detector gets through its own pixels and around them, and of its neighbours' that exceeds their
    darkness what crosstalk brings over: the laws of the optics written out once more.

    Args:
        machine: as built.
        program: what is loaded.
        z: V.
        dark: `darkness` of the machine.
    """
    n, optics, detector = machine.channels, machine.optics, machine.detector
    light = np.stack([machine.arm_activation(arm, z) + machine.led.bias_power(arm) for arm in (0, 1)], axis=1)
    rows = light * optics.row * optics.throughput[:, None] / n
    pixels = optics.structure * machine.slm.response(program.weight)
    own = optics.column * np.einsum("aji,mai->maj", pixels, rows) + optics.direct * rows
    neighbours = optics.crosstalk - np.eye(n)
    received = own + np.einsum("ajk,mak->maj", neighbours, own - dark)
    return np.asarray(detector.responsivity * detector.output_efficiency * received)


def require_channels(machine: Machine, units: int, what: str) -> None:
    """Skip a comparison that needs more channels than a machine has alive.

    Raises:
        SkippedError: too few.
    """
    alive = machine.channels - len(machine.optics.dead)
    if alive < units:
        raise SkippedError(f"{what} needs {units} channels, {machine.name} has {alive} alive")


def heart_units(library: Library) -> int:
    """Channels that the shipped heart needs."""
    return sum(load_network(library.model_path("heart").with_suffix(".nc")).layout)


@lru_cache(maxsize=4)
def heart(setting: Setting, **changes: float | str) -> Setup:
    """The shipped heart compiled for the machine of a setting.

    Args:
        setting: of the checks.
        changes: of the scenario, dots in keys written as double underscores: compile__beta=50.

    Raises:
        SkippedError: a machine of fewer live channels than the network has units.
    """
    library = Library.open(setting.library)
    require_channels(setting.build(), heart_units(library), "the heart")
    overrides: dict[str, object] = {key.replace("__", "."): value for key, value in changes.items()}
    overrides |= {"machine": setting.machine, "serial": setting.serial, "seed": setting.seed}
    overrides["solve.threads"] = 1
    return prepare(load_sample("heart", library, overrides), library)
