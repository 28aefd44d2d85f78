"""How many solves are taken at once, so that a worker's memory stays within a budget, however wide the machine.

The counts below are of arrays that stand in memory side by side at the worst instant, as measured: matrices of 8 n^2
bytes, or 8 N^2 with the states of further poles, and traces of 8 times n bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aocsim.compose import Electronics, compose
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.solve.linear_noise import linear_states

SOLVES_PER_BLOCK = 80
"""The most, whole items with all their trials, but one item at least."""

USUAL_CHANNELS = 48
"""Machines of up to so many channels take whole blocks: no budget changes what they give."""

BUDGET = 2**28
"""Bytes that a worker may plan for what it works on."""

FOR_TRACES = 2**26  # bytes of the budget that traces get in any case

TRACES = 7  # of a solve, while noise is added and digitised
COMMON = 10  # matrices of a loop that all solves share
OWN = 16  # of a solve whose matrices are its own: flicker, light, arms for the kernels; fewer where they are single
DIAGNOSED = 14  # of an item, while its fixed point is sought
LINEARISED = 22  # of an item, while its noise is propagated


@dataclass(frozen=True)
class Load:
    """What decides how much memory a solve takes.

    Attributes:
        channels: n.
        states: of the loop, n for each pole.
        linear: states of the linearised loop, which has some for dead times, too.
        times: samples of a record.
        own: whether slow processes give each solve matrices of its own.
        noise: whether loops are linearised for their noise.
        diagnose: whether fixed points are sought.
    """

    channels: int
    states: int
    linear: int
    times: int
    own: bool
    noise: bool
    diagnose: bool

    @classmethod
    def of(cls, machine: Machine, *, noise: bool, slow: bool, diagnose: bool) -> Load:
        """The load of a machine's solves.

        Args:
            machine: as built, with the record that is taken.
            noise: whether live noise is drawn.
            slow: whether there is flicker or drift.
            diagnose: whether fixed points are sought.
        """
        n = machine.channels
        nothing = np.zeros(n)
        dark = Program(np.zeros((2, n, n)), nothing, 1.0, np.arange(n), 1.0)
        loop = compose(machine, dark, Electronics(nothing, nothing))
        times = machine.digitiser.samples
        return cls(n, loop.states, linear_states(loop), times, noise and slow, noise, diagnose)

    @property
    def trace(self) -> float:
        """Bytes that the traces of one solve take."""
        return 8.0 * self.times * (TRACES * self.channels + self.states - self.channels)

    @property
    def own_matrices(self) -> float:
        """Bytes of one solve's own matrices."""
        return 8.0 * OWN * self.channels**2 if self.own else 0.0

    @property
    def diagnosed(self) -> float:
        """Bytes that one item takes while its fixed point is sought."""
        return self.own_matrices + 8.0 * DIAGNOSED * self.states**2 if self.diagnose else 0.0

    @property
    def linearised(self) -> float:
        """Bytes that one item takes while its noise is propagated."""
        return 8.0 * LINEARISED * self.linear**2 if self.noise else 0.0

    @property
    def common(self) -> float:
        """Bytes of the matrices that all solves share."""
        return 8.0 * COMMON * self.channels**2


@dataclass(frozen=True)
class Blocks:
    """How a batch is cut.

    Attributes:
        items: of a block, which is what a worker gets.
        trials: of each item that are worked on together, and share a linearised loop.
        integrated: solves that are integrated together.
        diagnosed: items whose fixed points are sought together.
    """

    items: int
    trials: int
    integrated: int
    diagnosed: int

    @classmethod
    def of(cls, load: Load, trials: int) -> Blocks:
        """Blocks that stay within the budget, if single solves do.

        Args:
            load: of the solves.
            trials: of each item.
        """
        items = max(1, SOLVES_PER_BLOCK // trials)
        if load.channels <= USUAL_CHANNELS:
            return cls(items, trials, items * trials, items)
        room = BUDGET - load.common
        single = max(load.own_matrices, load.diagnosed, load.linearised)
        solves = _fit(max(FOR_TRACES, room - single), load.trace)
        together = min(trials, solves)
        items = min(items, max(1, solves // trials), _fit(room, load.linearised + together * load.trace))
        room -= items * together * load.trace
        integrated = min(items * together, _fit(room, load.own_matrices))
        return cls(items, together, integrated, min(items, _fit(room, load.diagnosed)))

    def bytes_of(self, load: Load) -> float:
        """What a worker takes for one block."""
        matrices = (
            self.integrated * load.own_matrices,
            self.diagnosed * load.diagnosed,
            self.items * load.linearised,
        )
        return load.common + self.items * self.trials * load.trace + max(matrices)


def _fit(room: float, each: float) -> int:
    """How many fit, at least one."""
    return SOLVES_PER_BLOCK if each == 0 else max(1, int(min(room // each, SOLVES_PER_BLOCK)))
