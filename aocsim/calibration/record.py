"""Experiments on file: what a calibration was made from, and can be made from again without the machine.

One netCDF file holds the settings and the reduced read-outs of all blocks, as `aocsim.calibration.measure` has taken
them, with what the data sheets of the bench's devices say, the transients, and the name of the machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.experiments import Block, Setting
from aocsim.calibration.measure import Taken
from aocsim.calibration.transients import Traces, numbers_of, traces_of, variables_of
from aocsim.errors import InputError
from aocsim.instrument import Capabilities, checked_grey, checked_switch
from aocsim.record import Variables, assemble, load, write_result

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

KIND = "experiments"
_READ = {
    "mean": "node voltage, mean over window and trials",
    "deviation": "standard deviation of the trials' window means",
    "motion": "root mean square within the window about its mean",
    "creep": "mean of the window's second half less that of the first",
}


@dataclass(frozen=True, eq=False)
class Record:
    """All experiments of a calibration.

    Attributes:
        facts: what the devices' data sheets say.
        machine: which machine it was, in words.
        taken: blocks in the order in which they were made.
        transients: recorded after them; None where there are none.
    """

    facts: Capabilities
    machine: str
    taken: tuple[Taken, ...]
    transients: Traces | None = None

    def stage(self, *names: str) -> list[Taken]:
        """Blocks of these stages."""
        return [one for one in self.taken if one.block.stage in names]

    @property
    def experiments(self) -> int:
        """Their number, each transient one of them."""
        traces = 0 if self.transients is None else int(np.prod(self.transients.drive.shape[:2]))
        return traces + sum(one.block.experiments for one in self.taken)

    @property
    def solves(self) -> int:
        """Trials of all experiments."""
        traces = self.transients
        more = 0 if traces is None else int(np.prod(traces.drive.shape[:2])) * traces.trials
        return more + sum(one.block.solves for one in self.taken)

    @property
    def ended(self) -> float:
        """The bench's clock after the last of them, s."""
        return self.taken[-1].ended if self.transients is None else self.transients.ended

    @property
    def digest(self) -> str:
        """SHA-256 of settings and read-outs, in hex digits."""
        digest = hashlib.sha256(json.dumps([asdict(self.facts), self.machine]).encode())
        for taken in self.taken:
            digest.update(f"{taken.block.name} {taken.block.stage} {taken.block.switch}".encode())
            digest.update(np.ascontiguousarray(taken.block.grey, dtype="<i8").tobytes())
            for numbers in (taken.alpha, taken.beta, taken.condition, taken.trials, *_read(taken)):
                digest.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
        if self.transients is not None:
            for numbers in numbers_of(self.transients):
                digest.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
        return digest.hexdigest()


def _read(taken: Taken) -> Iterator[Array]:
    return (getattr(taken, name) for name in _READ)


def write_record(record: Record, path: Path) -> None:
    """Write all experiments as netCDF: complete, or not at all."""
    write_result(dataset_of(record), path)


def dataset_of(record: Record) -> xarray.Dataset:
    """The experiments as a Dataset: one row for each, and one block for each set of weights."""
    taken, each = record.taken, ("experiment", "channel")
    rows = [(block, setting) for block, one in enumerate(taken) for setting in _settings(one.block)]
    blocks = [one.block for one in taken]
    variables: dict[str, tuple[tuple[str, ...], Any, str, str]] = {
        name: (each, np.concatenate([getattr(one, name) for one in taken]), "V", told)
        for name, told in _READ.items()
    }
    variables |= {
        "condition": (each, np.concatenate([one.condition for one in taken]), "V", "drive as asked for"),
        "alpha": (each, np.concatenate([one.alpha for one in taken]), "1", "relaxation as set"),
        "beta": (("experiment",), np.concatenate([one.beta for one in taken]), "1", "gain as set"),
        "trials": (("experiment",), np.concatenate([one.trials for one in taken]), "1", "solves averaged"),
        "block": (
            ("experiment",),
            np.array([block for block, _ in rows]),
            "1",
            "number of its set of weights",
        ),
        "setting": (
            ("experiment",),
            np.array([number for _, number in rows]),
            "1",
            "number of its gains in the block",
        ),
        "grey": (
            ("block_number", "arm", "channel", "input_channel"),
            np.array([block.grey for block in blocks], dtype=np.int32),
            "1",
            "grey level of the modulator's pixel from an input to an output",
        ),
        "ended": (
            ("block_number",),
            np.array([one.ended for one in taken]),
            "s",
            "bench's clock after the block",
        ),
        "name": (("block_number",), np.array([block.name for block in blocks]), "1", "name of the block"),
        "stage": (
            ("block_number",),
            np.array([block.stage for block in blocks]),
            "1",
            "what the block is for",
        ),
        "switch": (
            ("block_number",),
            np.array([block.switch for block in blocks]),
            "1",
            "position of the loop's switch",
        ),
        "machine": (
            ("block_number",),
            np.array([record.machine] * len(blocks)),
            "1",
            "machine that was measured",
        ),
    }
    if record.transients is not None:
        variables |= variables_of(record.transients)
    n = record.facts.channels
    coordinates: Variables = {
        "arm": (("arm",), np.array(["positive", "negative"]), "1", "arm"),
        "channel": (("channel",), np.arange(n, dtype=np.int32), "1", "channel"),
    }
    attributes = {
        "kind": KIND,
        "title": f"experiments on {record.machine}",
        "facts": json.dumps(asdict(record.facts)),
    }
    return assemble(variables, coordinates, attributes)


def _settings(block: Block) -> Iterator[int]:
    """The number of its setting, for every experiment of a block."""
    for number, setting in enumerate(block.settings):
        yield from [number] * len(setting.condition)


def read_record(path: Path) -> Record:
    """Experiments that `write_record` or a laboratory has written.

    Raises:
        InputError: no such file, not one of experiments, damaged; several machines in one file; a read-out that is not
            a number.
    """
    data = load(path)
    if data.attrs.get("kind") != KIND:
        raise InputError(
            "holds no experiments", file=path, key="kind", got=data.attrs.get("kind"), allowed=f"{KIND!r}"
        )
    missing = sorted(_expected() - set(map(str, data.variables)))
    if missing:
        raise InputError("a variable is missing", file=path, key=missing[0])
    try:
        known = json.loads(data.attrs["facts"])
        facts = Capabilities(**{**known, "window": tuple(known["window"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("damaged: what the bench's data sheets say", file=path, key="facts") from error
    machines = sorted(set(data["machine"].values.tolist()))
    if len(machines) != 1:
        raise InputError(
            "holds experiments of several machines: each is calibrated by itself",
            file=path,
            key="machine",
            got=", ".join(machines),
        )
    if data.sizes["channel"] != facts.channels:
        raise InputError(
            "read-outs and data sheets differ in the channels",
            file=path,
            key="channel",
            got=data.sizes["channel"],
            allowed=str(facts.channels),
        )
    _refuse_no_numbers(data, path)
    try:
        taken = tuple(_blocks(data, facts))
    except (InputError, ValueError, IndexError) as error:
        problem = error.problem if isinstance(error, InputError) else f"damaged: {error}"
        raise InputError(problem, file=path) from error
    transients = traces_of(data, path)
    if transients is not None and transients.alpha.shape[1] != facts.channels:
        raise InputError(
            "transients and data sheets differ in the channels",
            file=path,
            key="transient_alpha",
            got=transients.alpha.shape[1],
            allowed=str(facts.channels),
        )
    return Record(facts, machines[0], taken, transients)


def _expected() -> set[str]:
    return {
        *_READ, "condition", "alpha", "beta", "trials", "block", "setting", "grey", "ended", "name", "stage", "switch",
        "machine",
    }  # fmt: skip


def _refuse_no_numbers(data: xarray.Dataset, path: Path) -> None:
    for name in (*_READ, "condition", "alpha", "beta"):
        values = data[name].values
        if not np.isfinite(values).all():
            place = np.argwhere(~np.isfinite(values))[0]
            where = data["name"].values[data["block"].values[place[0]]]
            channel = f", channel {place[1]}" if len(place) > 1 else ""
            raise InputError(
                f"not a number in experiment {place[0]} ({where}){channel}",
                file=path,
                key=name,
                got=float(values[tuple(place)]),
            )


def _blocks(data: xarray.Dataset, facts: Capabilities) -> Iterator[Taken]:
    of_block, of_setting = data["block"].values, data["setting"].values
    values = {name: data[name].values for name in (*_READ, "condition", "alpha", "beta", "trials")}
    for number, name in enumerate(data["name"].values.tolist()):
        rows = np.flatnonzero(of_block == number)
        settings = []
        for one in dict.fromkeys(of_setting[rows].tolist()):
            part = rows[of_setting[rows] == one]
            first = part[0]
            settings.append(
                Setting(
                    values["alpha"][first],
                    float(values["beta"][first]),
                    values["condition"][part],
                    int(values["trials"][first]),
                )
            )
        if not settings:
            raise ValueError(f"block {name!r} holds no experiment")
        block = Block(
            name,
            str(data["stage"].values[number]),
            checked_grey(facts, data["grey"].values[number]),
            checked_switch(str(data["switch"].values[number])),
            tuple(settings),
        )
        means = {key: np.asarray(values[key][rows], dtype=float) for key in _READ}
        yield Taken(block, **means, ended=float(data["ended"].values[number]))


FEW_AT_THE_END = 0.05  # of a channel's read-outs: more, this close to the largest or smallest, are clipped
CLOSE_TO_THE_END = 0.005  # of the channel's range


def refuse_dead_or_clipped(record: Record, file: str | None = None) -> None:
    """Refuse a sweep in which an output does not move, or stands at an end of its range.

    Args:
        record: all experiments.
        file: where they come from, if from one.

    Raises:
        InputError: names the channel.
    """
    sweep = record.stage("sweep")
    if not sweep:
        return
    read = np.concatenate([one.mean for one in sweep])
    for channel in range(record.facts.channels):
        volts = read[:, channel]
        low, high = float(volts.min()), float(volts.max())
        if high - low <= 1e-9 * max(1.0, abs(high)):
            raise InputError(
                f"read-outs of channel {channel} are constant: {len(volts)} experiments of the sweep all give "
                f"{high:.4g} V",
                file=file,
                key="mean",
            )
        for end, what in ((low, "lowest"), (high, "highest")):
            share = float(np.mean(np.abs(volts - end) <= CLOSE_TO_THE_END * (high - low)))
            if len(volts) >= 2 / FEW_AT_THE_END and share > FEW_AT_THE_END:
                raise InputError(
                    f"read-outs of channel {channel} are saturated: {100 * share:.0f} % of the sweep stand at the "
                    f"{what}, {end:.4g} V; a smaller gain or drive keeps them inside",
                    file=file,
                    key="mean",
                )
