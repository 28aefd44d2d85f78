"""Analog memory between diffusion steps: sample-and-hold cells carry a step's solution to the next step's drive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.components.sample_and_hold import SampleAndHold
from aocsim.seeds import stream

Array = NDArray[np.float64]


class AnalogMemory:
    """The cells of a batch of diffusion chains, one cell for each channel that carries the sample.

    A cell's output returns to the node through an amplifier of gain 1 - alpha, as the relaxed map wants it, beside
    what the DACs give; it is not converted, hence neither rounded nor clipped.
    """

    def __init__(
        self,
        cell: SampleAndHold,
        channels: NDArray[np.intp],
        gain: Array,
        *,
        seed: int,
        name: str,
        noise: float = 1.0,
    ) -> None:
        """Empty cells, discharged to 0 V.

        Args:
            cell: as built.
            channels: (d,) that carry the sample.
            gain: (d,) from cell to node.
            seed: of the live randomness.
            name: prefix of the streams' names.
            noise: factor on the amplitude of the kT/C noise; 0 draws none.
        """
        self._cell, self._channels, self._gain = cell, channels, gain
        self._seed, self._name, self._noise = seed, name, noise
        self.held: Array | None = None

    def drive(self, items: int, channels: int) -> Array:
        """What the cells add at the node behind the DACs, (items, n) V."""
        out = np.zeros((items, channels))
        if self.held is not None:
            out[:, self._channels] = self._gain * self.held[:, self._channels]
        return out

    def hold(self, node: Array, step: int, held_for: float) -> None:
        """Take over what the node shows at the end of a step.

        Args:
            node: (items, n) V at the hold instant.
            step: number of the step, part of the streams' names.
            held_for: s until the middle of the next solve, for the droop.
        """
        normals = np.zeros_like(node)
        if self._noise:
            for item in range(len(node)):
                rng = stream(self._seed, f"{self._name}.memory", item, step)
                normals[item] = self._noise * rng.standard_normal(node.shape[1])
        before = np.zeros_like(node) if self.held is None else self.held
        self.held = self._cell.hold(node, before, held_for, normals)
