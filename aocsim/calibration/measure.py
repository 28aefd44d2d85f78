"""Take a calibration's experiments at a bench, block by block; what is finished survives an interrupt.

Of each experiment the window means of its trials are kept: their mean, their standard deviation, and two signs of a
loop that does not come to rest. Every block is a file of its own until all are there; a calibration that was
interrupted goes on with the blocks that are missing, on the bench's clock where it would have stood. Where a block's
duration is known before it is made, as on a simulated bench, blocks are made side by side; each has a bench of its own,
so that what they give is the same in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.experiments import Block
from aocsim.errors import InputError
from aocsim.instrument import Instrument, Reading
from aocsim.interrupts import raise_if_interrupted
from aocsim.output import write_atomically
from aocsim.parallel import parallel

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Taken:
    """What a block of experiments gave.

    Attributes:
        block: what was asked.
        mean: (experiments, n) V, over window and trials.
        deviation: (experiments, n) V, standard deviation of the trials' window means; 0 of a single trial.
        motion: (experiments, n) V, root mean square within the window about its mean, mean over the trials.
        creep: (experiments, n) V, mean of the window's second half less that of the first, mean over the trials.
        ended: s, the bench's clock afterwards.
    """

    block: Block
    mean: Array
    deviation: Array
    motion: Array
    creep: Array
    ended: float

    @property
    def beta(self) -> Array:
        """(experiments,) gain as it was set."""
        return np.concatenate([np.full(len(s.condition), s.beta) for s in self.block.settings])

    @property
    def condition(self) -> Array:
        """(experiments, n) V as asked for."""
        return np.concatenate([s.condition for s in self.block.settings])

    @property
    def alpha(self) -> Array:
        """(experiments, n) as set."""
        return np.concatenate([np.tile(s.alpha, (len(s.condition), 1)) for s in self.block.settings])

    @property
    def trials(self) -> NDArray[np.int64]:
        """(experiments,)."""
        return np.concatenate([np.full(len(s.condition), s.trials) for s in self.block.settings])


OpenBench = Callable[[str, float], Instrument]
"""A bench for the block of this name, whose clock stands at these seconds."""


def take(
    blocks: Iterable[Block],
    open_bench: OpenBench,
    kept: Path | None = None,
    done: Callable[[int], object] = lambda solves: None,
    clock: float = 0.0,
    ends: Callable[[Block, float], float] | None = None,
    workers: int = 1,
) -> list[Taken]:
    """Make all experiments that have not been made.

    Args:
        blocks: in their order.
        open_bench: called once for each block that is not finished; in a worker where there are several.
        kept: folder of finished blocks; None keeps nothing.
        done: called with the number of solves of blocks that were found finished, and of those that workers have made.
        clock: s, where the bench's clock stands at the first block.
        ends: where the clock will stand after a block that begins at a given instant, s; None where only the bench
            itself can tell.
        workers: blocks that are made side by side, where `ends` is given.

    Raises:
        InputError: a file in the folder that is damaged, or of another calibration.
    """
    if ends is not None and workers > 1:
        return _side_by_side(list(blocks), open_bench, kept, done, clock, ends, workers)
    out: list[Taken] = []
    for block in blocks:
        path = None if kept is None else kept / f"{block.name}.npz"
        if path is not None and path.exists():
            taken = _read(path, block, clock)
            done(block.solves)
        else:
            taken = _take(block, open_bench(block.name, clock))
            if path is not None:
                _write(path, taken, clock)
        clock = taken.ended
        out.append(taken)
    return out


def _side_by_side(
    blocks: list[Block],
    open_bench: OpenBench,
    kept: Path | None,
    done: Callable[[int], object],
    clock: float,
    ends: Callable[[Block, float], float],
    workers: int,
) -> list[Taken]:
    starts: list[float] = []
    for block in blocks:
        starts.append(clock)
        clock = ends(block, clock)
    paths = [None if kept is None else kept / f"{block.name}.npz" for block in blocks]
    found: dict[int, Taken] = {}
    for i, (block, path, start) in enumerate(zip(blocks, paths, starts, strict=True)):
        if path is not None and path.exists():
            found[i] = _read(path, block, start)
            done(block.solves)
    missing = [i for i in range(len(blocks)) if i not in found]
    asked = [(blocks[i], starts[i]) for i in missing]
    for i, taken in zip(missing, parallel(partial(_begin, open_bench), asked, workers), strict=True):
        if (path := paths[i]) is not None:
            _write(path, taken, starts[i])
        found[i] = taken
        done(taken.block.solves)
        raise_if_interrupted()
    for i, after in enumerate([*starts[1:], clock]):
        if found[i].ended != after:
            raise RuntimeError(f"block {blocks[i].name} ended at {found[i].ended} s, not {after} s")
    return [found[i] for i in range(len(blocks))]


def _begin(open_bench: OpenBench, asked: tuple[Block, float]) -> Taken:
    block, clock = asked
    return _take(block, open_bench(block.name, clock))


def _take(block: Block, bench: Instrument) -> Taken:
    bench.load_weights(block.grey)
    bench.set_switch(block.switch)
    bench.set_drive(np.zeros(bench.capabilities.channels))
    parts = []
    for setting in block.settings:
        bench.set_gains(setting.alpha, setting.beta)
        parts.append(_reduced(bench.read(setting.condition, trials=setting.trials)))
    mean, deviation, motion, creep = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Taken(block, mean, deviation, motion, creep, bench.clock)


def _reduced(reading: Reading) -> tuple[Array, Array, Array, Array]:
    first, last = reading.window
    inside = reading.voltage[:, :, first : last + 1]
    means = inside.mean(axis=2)
    spread = means.std(axis=1, ddof=1) if means.shape[1] > 1 else np.zeros((len(means), means.shape[2]))
    half = inside.shape[2] // 2
    creep = inside[:, :, -half:].mean(axis=(1, 2)) - inside[:, :, :half].mean(axis=(1, 2))
    return means.mean(axis=1), spread, inside.std(axis=2).mean(axis=1), creep


def fingerprint(block: Block, clock: float) -> str:
    """SHA-256 of all that decides what a block gives at a given bench."""
    digest = hashlib.sha256(f"{block.name} {block.stage} {block.switch} {clock!r}".encode())
    digest.update(np.ascontiguousarray(block.grey, dtype="<i8").tobytes())
    for setting in block.settings:
        digest.update(f"{setting.beta!r} {setting.trials}".encode())
        for numbers in (setting.alpha, setting.condition):
            digest.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
    return digest.hexdigest()


def _write(path: Path, taken: Taken, clock: float) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                fingerprint=fingerprint(taken.block, clock),
                mean=taken.mean,
                deviation=taken.deviation,
                motion=taken.motion,
                creep=taken.creep,
                ended=taken.ended,
            )

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, write)


def _read(path: Path, block: Block, clock: float) -> Taken:
    try:
        with np.load(path, allow_pickle=False) as found:
            same = str(found["fingerprint"]) == fingerprint(block, clock)
            mean, deviation, motion, creep = (
                np.asarray(found[name], dtype=float) for name in ("mean", "deviation", "motion", "creep")
            )
            ended = float(found["ended"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"damaged: {error}", file=path) from error
    if not same:
        raise InputError("is of another calibration: take another folder, or remove it", file=path)
    return Taken(block, mean, deviation, motion, creep, ended)
