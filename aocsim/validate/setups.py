"""Machines, loops and the compiled heart that several groups of checks begin with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import Electronics, compose
from aocsim.library import Library
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.scenarios.sample import Setup, prepare
from aocsim.scenarios.schema import load_scenario
from aocsim.spec import Text
from aocsim.validate.check import Setting

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


@lru_cache(maxsize=4)
def heart(setting: Setting, **changes: float | str) -> Setup:
    """The shipped heart compiled for the machine of a setting.

    Args:
        setting: of the checks.
        changes: of the scenario, dots in keys written as double underscores: compile__beta=50.
    """
    overrides: dict[str, object] = {key.replace("__", "."): value for key, value in changes.items()}
    overrides |= {"machine": setting.machine, "serial": setting.serial, "seed": setting.seed}
    overrides["solve.threads"] = 1
    library = Library.open(setting.library)
    return prepare(load_scenario("heart", library, overrides), library)
