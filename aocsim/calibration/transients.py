"""Transients of single channels, recorded: with dark modulators each relaxes by itself from 0 when the loop closes.

Offsets drift, by little, but a relaxation near 1 amplifies it: drives are taken in turn, a few trials at a time, so
that all see the same drift. What `aocsim.calibration.transient_fit` needs is kept: means over the trials, and how the
samples of a single trial hang together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.experiments import Block, Setting
from aocsim.calibration.measure import OpenBench, fingerprint
from aocsim.errors import InputError
from aocsim.instrument import Capabilities, Reading
from aocsim.output import write_atomically
from aocsim.record import Variables

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

ALPHAS = (0.6, 0.85, 0.92, 0.96)
ENDS = (0.3, -0.3, 0.15, -0.15)  # V at which transients come to rest, where the amplifier is straight
SAMPLES = 40  # of a record's beginning
LEAST = 8  # degrees of freedom of the covariance for each sample of a transient
LEAST_TRIALS = -(-LEAST * SAMPLES // len(ENDS)) + 1
TURN = 5  # trials of one drive, before the next has its turn
NAME = "transients"


@dataclass(frozen=True, eq=False)
class Traces:
    """Transients of several relaxations, each with the same number of drives.

    Attributes:
        time: (samples,) s.
        alpha: (a, n) as set.
        drive: (a, m, n) V as set.
        mean: (a, m, samples, n) V, over trials.
        covariance: (a, n, samples, samples) V^2, of a single trial, over trials and drives.
        trials: of each.
        bandwidth: Hz, of the loop as the data sheets have it.
        ended: s, the bench's clock afterwards.
    """

    time: Array
    alpha: Array
    drive: Array
    mean: Array
    covariance: Array
    trials: int
    bandwidth: float
    ended: float

    @property
    def freedom(self) -> int:
        """Of the covariances."""
        return int(self.drive.shape[1]) * (self.trials - 1)


def transient_block(facts: Capabilities, *, trials: int) -> Block:
    """What is asked of the bench.

    Args:
        facts: of the bench.
        trials: solves of each transient.
    """
    n = facts.channels
    settings = []
    for wanted in ALPHAS:
        alpha = np.full(n, round(wanted / facts.alpha_step) * facts.alpha_step)
        drive = np.array(ENDS)[:, None] * (1 - alpha)
        settings.append(Setting(alpha, 0.0, facts.applied(drive), trials))
    return Block(NAME, "transient", np.zeros((2, n, n), dtype=np.int64), "closed", tuple(settings))


def take_transients(
    block: Block,
    open_bench: OpenBench,
    kept: Path | None = None,
    done: Callable[[int], object] = lambda solves: None,
    clock: float = 0.0,
) -> Traces:
    """Record the transients, or read what was recorded.

    Args:
        block: as `transient_block` makes it.
        open_bench: called where nothing is kept.
        kept: folder of what is finished; None keeps nothing.
        done: called with the number of solves if they were found finished.
        clock: s, where the bench's clock stands.

    Raises:
        InputError: a file in the folder that is damaged, or of another calibration.
    """
    path = None if kept is None else kept / f"{block.name}.npz"
    mark = fingerprint(block, clock)
    if path is not None and path.exists():
        done(block.solves)
        return _read(path, mark, block)
    bench = open_bench(block.name, clock)
    bench.load_weights(block.grey)
    bench.set_switch(block.switch)
    bench.set_drive(np.zeros(bench.capabilities.channels))
    means, covariances, time = [], [], np.empty(0)
    for setting in block.settings:
        bench.set_gains(setting.alpha, setting.beta)
        turns = [
            bench.read(setting.condition, trials=min(TURN, setting.trials - begun))
            for begun in range(0, setting.trials, TURN)
        ]
        mean, covariance, time = _reduced(turns)
        means.append(mean)
        covariances.append(covariance)
    traces = _traces(
        block, time, np.array(means), np.array(covariances), bench.capabilities.bandwidth, bench.clock
    )
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(
                    file,
                    fingerprint=mark,
                    ended=traces.ended,
                    bandwidth=traces.bandwidth,
                    mean=traces.mean,
                    covariance=traces.covariance,
                    time=time,
                )

        write_atomically(path, write)
    return traces


def _reduced(turns: list[Reading]) -> tuple[Array, Array, Array]:
    """Mean traces (m, samples, n), their covariance over trials (n, samples, samples), and the time."""
    volts = np.concatenate([turn.voltage[:, :, :SAMPLES] for turn in turns], axis=1)
    mean = volts.mean(axis=1)
    off = volts - mean[:, None]
    freedom = max(1, off.shape[0] * (off.shape[1] - 1))
    covariance = np.einsum("mtin,mtjn->nij", off, off, optimize=True) / freedom
    return mean, covariance, turns[0].time[:SAMPLES]


def _traces(
    block: Block, time: Array, mean: Array, covariance: Array, bandwidth: float, ended: float
) -> Traces:
    return Traces(
        time,
        np.array([setting.alpha for setting in block.settings]),
        np.array([setting.condition for setting in block.settings]),
        mean,
        covariance,
        block.settings[0].trials,
        bandwidth,
        ended,
    )


def _read(path: Path, mark: str, block: Block) -> Traces:
    try:
        with np.load(path, allow_pickle=False) as found:
            same = str(found["fingerprint"]) == mark
            time, mean, covariance = (
                np.asarray(found[k], dtype=float) for k in ("time", "mean", "covariance")
            )
            bandwidth, ended = float(found["bandwidth"]), float(found["ended"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"damaged: {error}", file=path) from error
    if not same:
        raise InputError("is of another calibration: take another folder, or remove it", file=path)
    return _traces(block, time, mean, covariance, bandwidth, ended)


_PREFIX = "transient_"
_OVER = ("relaxation", "transient")
_KEPT = {
    "time": (("transient_time",), "s", "time after the loop closes"),
    "alpha": (("relaxation", "channel"), "1", "relaxation as set"),
    "drive": ((*_OVER, "channel"), "V", "drive as asked for"),
    "mean": ((*_OVER, "transient_time", "channel"), "V", "node voltage, mean over trials"),
    "covariance": (
        ("relaxation", "channel", "transient_time", "transient_time_too"),
        "V^2",
        "covariance of a trial's samples",
    ),
    "trials": ((), "1", "solves of each transient"),
    "bandwidth": ((), "Hz", "bandwidth of the loop by the data sheets"),
    "ended": ((), "s", "bench's clock after the transients"),
}


def numbers_of(traces: Traces) -> Iterator[Array]:
    """All that was set and read, in a fixed order."""
    return (np.asarray(getattr(traces, name), dtype=float) for name in _KEPT)


def variables_of(traces: Traces) -> Variables:
    """Transients as variables of a Dataset."""
    return {
        _PREFIX + name: (dimensions, getattr(traces, name), unit, f"transients: {told}")
        for name, (dimensions, unit, told) in _KEPT.items()
    }


def traces_of(data: xarray.Dataset, path: Path) -> Traces | None:
    """Transients of a Dataset; None where there are none.

    Raises:
        InputError: a variable that is missing, has other dimensions, or holds what is not a number.
    """
    if not any(_PREFIX + name in data for name in _KEPT):
        return None
    found = {}
    for name, (dimensions, _, _) in _KEPT.items():
        key = _PREFIX + name
        if key not in data:
            raise InputError("a variable is missing", file=path, key=key)
        if data[key].dims != dimensions:
            allowed = ", ".join(dimensions) or "none"
            raise InputError("other dimensions", file=path, key=key, got=data[key].dims, allowed=allowed)
        found[name] = np.asarray(data[key].values, dtype=float)
        if not np.isfinite(found[name]).all():
            raise InputError("not a number", file=path, key=key)
    arrays = {name: found[name] for name in ("time", "alpha", "drive", "mean", "covariance")}
    trials, bandwidth, ended = (float(found[name]) for name in ("trials", "bandwidth", "ended"))
    return Traces(**arrays, trials=int(trials), bandwidth=bandwidth, ended=ended)
