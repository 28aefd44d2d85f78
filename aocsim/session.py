"""A bench session on file: what was set, what was read, and when.

A session is netCDF-4 with one table for each kind of thing, told apart by their dimensions::

    load        grey levels, each different set once
    gains       alpha and beta, each different pair once
    drive       bias and embedding, each different pair once
    call        every `read` and `read_chain`: what was set then (as indices into the three above), how it was asked,
                and the bench's clock before and after
    item        condition volts of a call, one item a condition and diffusion step
    carrier     channels that carry the sample in a `read_chain`, and their gains
    record      every solve that was recorded: call, step, condition, trial, and when its loop closed
    row         voltages, one row a sampling instant: call, step, condition, trial and time stand beside them
    loading     every `load_weights`, with the bench's clock
    waiting     every `wait`, with the bench's clock

So the voltages of call 3 are `data.voltage[data.row_call == 3]`, whatever the lengths of the other records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError
from aocsim.instrument import Capabilities, Pulse, Reading
from aocsim.record import Variables, assemble, load, write_result

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

KIND = "bench record"
"""Attribute `kind` of the file."""

SCHEMA = 1
"""Version of the layout above, attribute `bench_record_schema`."""

_NOT_SET = -1  # index of what was not set in the session, but left as it was found


@dataclass(frozen=True, eq=False)
class Call:
    """One reading, or chain of readings.

    Attributes:
        name: "read" or "read_chain".
        settings: by name, all that decides what was read; None for what was not set in this session.
        readings: one, or one for each step of a chain.
        began: s, the clock before.
        ended: s, the clock afterwards.
    """

    name: str
    settings: dict[str, Any]
    readings: tuple[Reading, ...]
    began: float
    ended: float


@dataclass(frozen=True)
class Span:
    """What took time without a reading: the index of what was loaded, or the seconds that were waited for."""

    what: float
    began: float
    ended: float


@dataclass(eq=False)
class Session:
    """All that passed between a bench and who used it.

    Attributes:
        capabilities: of the bench.
        began: s, the clock when the record began.
        loads: each different set of grey levels once, (2, n, n).
        calls: in their order.
        loadings: of weights; `what` is an index into `loads`.
        waitings: for `what` seconds.
    """

    capabilities: Capabilities
    began: float
    loads: list[NDArray[np.int64]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    loadings: list[Span] = field(default_factory=list)
    waitings: list[Span] = field(default_factory=list)


def dataset_of(session: Session, title: str = KIND) -> xarray.Dataset:
    """A session, laid out as this module's head says."""
    n, gains, drives = session.capabilities.channels, _Distinct(), _Distinct()
    calls = _call_table(session, gains, drives)
    loads = np.array(session.loads, dtype=np.int64).reshape(-1, 2, n, n)
    variables: Variables = {
        "grey": (("load", "arm", "channel", "input_channel"), loads, "1", "grey level as loaded"),
        "alpha": (("gains", "channel"), gains.column(0, n), "1", "relaxation as asked for"),
        "beta": (("gains",), gains.column(1), "1", "gradient gain as asked for"),
        "bias": (("drive", "channel"), drives.column(0, n), "V", "bias as asked for"),
        "embedding": (("drive", "channel"), drives.column(1, n), "V", "time embedding as asked for"),
        **calls,
        **_item_table(session.calls, n),
        **_record_tables(session.calls, n),
        **_span_table("loading", session.loadings, np.int32, "1", "index of the grey levels"),
        **_span_table("waiting", session.waitings, np.float64, "s", "how long to wait, as asked for"),
    }
    channel: Variables = {"channel": (("channel",), np.arange(n, dtype=np.int32), "1", "channel")}
    attributes = {
        "title": title,
        "kind": KIND,
        "bench_record_schema": SCHEMA,
        "capabilities": json.dumps(asdict(session.capabilities)),
        "clock_at_begin_s": session.began,
    }
    return assemble(variables, channel, attributes)


def write_session(session: Session, path: Path, title: str = KIND) -> None:
    """Write a session as netCDF: complete, or not at all.

    Raises:
        ResourceError: the disk is full.
        InputError: the file cannot be written.
    """
    write_result(dataset_of(session, title), path)


def read_session(path: Path) -> Session:
    """A session that `write_session` has written.

    Raises:
        InputError: no such file, cut short or damaged, no bench record, or one of another schema.
    """
    data = load(path, None)
    kind, schema = data.attrs.get("kind"), np.asarray(data.attrs.get("bench_record_schema")).tolist()
    if kind != KIND:
        raise InputError(
            "is not the record of a bench session", file=path, key="kind", got=kind, allowed=KIND
        )
    if schema != SCHEMA:
        raise InputError(
            "another version of the file",
            file=path,
            key="bench_record_schema",
            got=schema,
            allowed=str(SCHEMA),
        )
    with _damage_named(path):
        facts = json.loads(data.attrs["capabilities"])
        return Session(
            Capabilities(**{**facts, "window": tuple(facts["window"])}),
            float(data.attrs["clock_at_begin_s"]),
            list(data["grey"].values.astype(np.int64)),
            _calls_of(data),
            _spans_of(data, "loading"),
            _spans_of(data, "waiting"),
        )


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What does not fit together in the file is the file's fault."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"damaged: what it holds does not fit together ({error})", file=path) from error


class _Distinct:
    """A table in which each different row of settings stands once."""

    def __init__(self) -> None:
        self._rows: dict[bytes, tuple[Any, ...]] = {}
        self._index: dict[bytes, int] = {}

    def index(self, *row: Any) -> int:
        """Index of a row; -1 of what was not set."""
        if row[0] is None:
            return _NOT_SET
        key = b"|".join(np.asarray(value, dtype=float).tobytes() for value in row)
        self._rows.setdefault(key, row)
        return self._index.setdefault(key, len(self._index))

    def column(self, place: int, *shape: int) -> Array:
        """One column, (rows, *shape)."""
        return np.array([row[place] for row in self._rows.values()], dtype=float).reshape(-1, *shape)


def _call_table(session: Session, gains: _Distinct, drives: _Distinct) -> Variables:
    """How every call was made; fills `gains` and `drives`."""
    calls, facts = session.calls, session.capabilities
    asked = [call.settings for call in calls]
    pulses = [s.get("pulse") for s in asked]
    edges = {
        field.name: [np.nan if pulse is None else getattr(pulse, field.name) for pulse in pulses]
        for field in fields(Pulse)
    }

    def column(values: Sequence[Any], kind: Any, unit: str, text: str) -> Any:
        return ("call",), np.array(values, dtype=kind), unit, text

    def index(values: Sequence[Any], text: str) -> Any:
        return column(
            [_NOT_SET if v is None else v for v in values], np.int32, "1", f"{text}, -1 where not set"
        )

    return {
        "call_name": column([call.name for call in calls], np.str_, "1", "read or read_chain"),
        "call_load": index([s["grey"] for s in asked], "index of the grey levels"),
        "call_gains": index([gains.index(s["alpha"], s["beta"]) for s in asked], "index of alpha and beta"),
        "call_drive": index(
            [drives.index(s["bias"], s["embedding"]) for s in asked], "index of bias and embedding"
        ),
        "call_switch": column(
            [s["switch"] or "" for s in asked],
            np.str_,
            "1",
            "position of the loop's switch, empty where not set",
        ),
        "call_conditions": column(
            [len(s["condition"]) for s in asked], np.int32, "1", "number of conditions"
        ),
        "call_steps": column(
            [len(call.readings) for call in calls], np.int32, "1", "number of diffusion steps"
        ),
        "call_trials": column([s["trials"] for s in asked], np.int32, "1", "number of trials"),
        "call_samples": column(
            [s.get("samples", facts.samples) for s in asked],
            np.int32,
            "1",
            "length of the records, in samples",
        ),
        "call_window_first": column(
            [call.readings[0].window[0] for call in calls],
            np.int32,
            "1",
            "first sample of the read-out window",
        ),
        "call_window_last": column(
            [call.readings[0].window[1] for call in calls],
            np.int32,
            "1",
            "last sample of the read-out window",
        ),
        "call_pulse_start": column(edges["start"], float, "s", "begin of the pulse, NaN without pulse"),
        "call_pulse_stop": column(edges["stop"], float, "s", "end of the pulse, NaN without pulse"),
        "call_pulse_volts": column(edges["volts"], float, "V", "height of the pulse, NaN without pulse"),
        "call_began": column([call.began for call in calls], float, "s", "clock before the call"),
        "call_ended": column([call.ended for call in calls], float, "s", "clock after the call"),
    }


def _item_table(calls: Sequence[Call], n: int) -> Variables:
    """Conditions and carriers."""
    volts, carriers, gain, owner = [], [], [], []
    places: list[NDArray[np.int32]] = []
    for number, call in enumerate(calls):
        condition = call.settings["condition"].reshape(-1, len(call.readings), n)
        volts.append(condition.reshape(-1, n))
        places.append(_places(number, condition.shape[:2]))
        if "carriers" in call.settings:
            carriers.append(call.settings["carriers"])
            gain.append(call.settings["gain"])
            owner.append(np.full(len(carriers[-1]), number))
    place = _joined(places, np.int32, 3)
    return {
        "item_call": (("item",), place[:, 0], "1", "call"),
        "item_condition": (("item",), place[:, 1], "1", "condition of the call"),
        "item_step": (("item",), place[:, 2], "1", "diffusion step"),
        "condition": (("item", "channel"), _joined(volts, float, n), "V", "added to bias and embedding"),
        "carrier_call": (("carrier",), _joined(owner, np.int32), "1", "call"),
        "carrier_channel": (
            ("carrier",),
            _joined(carriers, np.int32),
            "1",
            "channel that carries the sample",
        ),
        "carrier_gain": (("carrier",), _joined(gain, float), "1", "gain from memory to node"),
    }


def _record_tables(calls: Sequence[Call], n: int) -> Variables:
    """When every solve began, and all voltages."""
    records, begun, rows, time, voltage = [], [], [], [], []
    for number, call in enumerate(calls):
        volts = np.stack(
            [reading.voltage for reading in call.readings]
        )  # step, condition, trial, sample, channel
        records.append(_places(number, volts.shape[:3]))
        begun.append(np.stack([reading.begun for reading in call.readings]).ravel())
        rows.append(np.repeat(records[-1], volts.shape[3], axis=0))
        time += [np.tile(r.time, r.voltage.shape[0] * r.voltage.shape[1]) for r in call.readings]
        voltage.append(volts.reshape(-1, n))
    record, row = _joined(records, np.int32, 4), _joined(rows, np.int32, 4)
    names = {
        "call": "call",
        "step": "diffusion step of the call",
        "condition": "condition of the call",
        "trial": "trial of the condition",
    }
    return {
        **{
            f"record_{name}": (("record",), record[:, i], "1", text)
            for i, (name, text) in enumerate(names.items())
        },
        "record_begun": (
            ("record",),
            _joined(begun, float),
            "s",
            "when the loop closed, on the bench's clock",
        ),
        **{f"row_{name}": (("row",), row[:, i], "1", text) for i, (name, text) in enumerate(names.items())},
        "row_time": (("row",), _joined(time, float), "s", "time after the loop closed"),
        "voltage": (("row", "channel"), _joined(voltage, float, n), "V", "node voltage as digitised"),
    }


def _span_table(dim: str, spans: Sequence[Span], kind: Any, unit: str, text: str) -> Variables:
    return {
        f"{dim}_of": ((dim,), np.array([span.what for span in spans], dtype=kind), unit, text),
        f"{dim}_began": ((dim,), np.array([span.began for span in spans], dtype=float), "s", "clock before"),
        f"{dim}_ended": ((dim,), np.array([span.ended for span in spans], dtype=float), "s", "clock after"),
    }


def _places(number: int, shape: Sequence[int]) -> NDArray[np.int32]:
    """Call number and index along each axis, for all elements of an array of this shape."""
    index = np.indices(shape).reshape(len(shape), -1).T
    return np.insert(index, 0, number, axis=1).astype(np.int32)


def _joined(parts: Sequence[Any], kind: Any, *shape: int) -> Any:
    return np.concatenate(parts).astype(kind) if parts else np.empty((0, *shape), dtype=kind)


def _calls_of(data: xarray.Dataset) -> list[Call]:
    """The calls of a record."""
    table = {name: data[name].values for name in map(str, data.data_vars) if name.startswith("call_")}
    pick = {
        name: _rows_of(data[name].values, len(table["call_name"]))
        for name in ("item_call", "carrier_call", "record_call", "row_call")
    }
    alpha, beta = data["alpha"].values, data["beta"].values
    bias, embedding = data["bias"].values, data["embedding"].values
    condition, voltage = data["condition"].values, data["voltage"].values
    begun, time = data["record_begun"].values, data["row_time"].values
    carriers, gain = data["carrier_channel"].values, data["carrier_gain"].values
    n = voltage.shape[1]
    out = []
    for number, name in enumerate(map(str, table["call_name"])):
        one = {key.removeprefix("call_"): column[number] for key, column in table.items()}
        conditions, steps, trials, samples = (
            int(one[key]) for key in ("conditions", "steps", "trials", "samples")
        )
        chain = name == "read_chain"
        load, gains, drive = int(one["load"]), int(one["gains"]), int(one["drive"])
        volts = condition[pick["item_call"][number]].reshape(conditions, steps, n)
        settings: dict[str, Any] = {
            "grey": None if load == _NOT_SET else load,
            "alpha": None if gains == _NOT_SET else alpha[gains],
            "beta": None if gains == _NOT_SET else float(beta[gains]),
            "switch": str(one["switch"]) or None,
            "bias": None if drive == _NOT_SET else bias[drive],
            "embedding": None if drive == _NOT_SET else embedding[drive],
            "condition": volts if chain else volts[:, 0],
            "trials": trials,
        }
        if chain:
            rows = pick["carrier_call"][number]
            settings |= {"carriers": carriers[rows].astype(np.int64), "gain": gain[rows]}
        else:
            start, stop, height = (float(one[f"pulse_{edge}"]) for edge in ("start", "stop", "volts"))
            settings |= {"samples": samples, "pulse": None if np.isnan(start) else Pulse(start, stop, height)}
        rows = pick["row_call"][number]
        read = voltage[rows].reshape(steps, conditions, trials, samples, n)
        times = time[rows].reshape(steps, -1, samples)[:, 0]
        when = begun[pick["record_call"][number]].reshape(steps, conditions, trials)
        window = int(one["window_first"]), int(one["window_last"])
        readings = tuple(Reading(read[k], times[k], when[k], window) for k in range(steps))
        out.append(Call(name, settings, readings, float(one["began"]), float(one["ended"])))
    return out


def _rows_of(owner: NDArray[np.int32], calls: int) -> list[slice]:
    """Rows of each call in a table that is sorted by calls."""
    edges = np.searchsorted(owner, np.arange(calls + 1))
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _spans_of(data: xarray.Dataset, dim: str) -> list[Span]:
    columns = (data[f"{dim}_{name}"].values for name in ("of", "began", "ended"))
    return [Span(float(what), float(a), float(b)) for what, a, b in zip(*columns, strict=True)]
