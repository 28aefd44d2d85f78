"""Batches of solves: cut into blocks, spread over workers, drawn for, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aocsim.interrupts import raise_if_interrupted
from aocsim.parallel import parallel
from aocsim.solve.draws import key_schedule
from aocsim.solve.kept_draws import standard_normals

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """What one diffusion step of a batch of items (samples, or settings of the drive) gave.

    Attributes:
        read_out: (items, n) V, mean over window and trials.
        voltage: (kept items, kept trials, times, n) V as digitised.
        watched: (items, times, watched channels) V as digitised, first trial.
        at_hold: (items, trials, n) V at the node at the last instant of the window, as an analog memory sees it; no
            trials where none does.
        settling: (items,) s, noiseless first trial, to 1 % of its fixed point's distance from rest; nan without
            diagnosis.
        fixed_point: (items, n) V, of the first trial; nan without diagnosis.
        left: (items, states) V, noiseless state at the end of the last trial's record.
        evaluations: of the right-hand side, for the batch each served.
    """

    read_out: Array
    voltage: Array
    watched: Array
    at_hold: Array
    settling: Array
    fixed_point: Array
    left: Array
    evaluations: int


class Draws:
    """Standard normals of a block's items, which go on from trial to trial."""

    def __init__(self, seed: int, name: str, places: Sequence[tuple[int, int]]) -> None:
        """Streams at places (sample, step); named apart, so that a pole more changes no other draws."""
        self._seed, self._name, self._places = seed, name, places
        self._begun: dict[str, int] = {}

    def normals(self, which: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """(items, trials, ...) of "noise" or "read_out", shape without the items: those of the next trials.

        In single precision: there are many. They are not to be written to.
        """
        trials, begun = shape[0], self._begun.get(which, 0)
        self._begun[which] = begun + trials
        keys = key_schedule(self._seed, f"{self._name}.{which}")
        numbers = [(*place, trial) for place in self._places for trial in range(begun, begun + trials)]
        return standard_normals(keys, np.array(numbers, dtype=np.int64), (len(self._places), *shape))


def cut(length: int, size: int) -> list[slice]:
    """Pieces of `size`, the last one shorter."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def run_blocks(
    work: Callable[[NDArray[np.intp]], Measured],
    blocks: list[NDArray[np.intp]],
    workers: int,
    done: Callable[[int], object],
) -> Iterator[Measured]:
    """Results of all blocks in their order; `done` hears the number of samples of each block as it comes in."""
    found = map(work, blocks) if workers == 1 or len(blocks) == 1 else parallel(work, blocks, workers)
    for block, measured in zip(blocks, found, strict=True):
        yield measured
        done(len(block))
        raise_if_interrupted()


def gathered(parts: Iterator[Measured], blocks: list[NDArray[np.intp]], kept: int) -> Measured:
    """One result of those of all blocks, of which `kept` items have voltages; each is let go as it is taken over."""
    names = [entry.name for entry in fields(Measured) if entry.name != "evaluations"]
    out: dict[str, Array] = {}
    evaluations = 0
    for block, part in zip(blocks, parts, strict=True):
        for name in names:
            values = getattr(part, name)
            if name not in out:
                total = kept if name == "voltage" else int(blocks[-1][-1]) + 1
                out[name] = np.empty((total, *values.shape[1:]))
            out[name][block[: len(values)]] = values
        evaluations += part.evaluations
    return Measured(**out, evaluations=evaluations)
