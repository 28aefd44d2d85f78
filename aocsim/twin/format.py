"""The public twin's parameter file: a YAML file of numbers, read with suspicion and written back as it was.

The file is that of github.com/microsoft/aoc (`src/aoc/hw_config`, the 48-channel form). It holds numbers and lists of
numbers alone, so that nothing of YAML but these is accepted: no tags, anchors or aliases, no second document.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aocsim.errors import InputError, unknown_name
from aocsim.output import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["number", "channels", "order", "columns"] | int
Numbers = float | tuple[float, ...] | tuple[tuple[float, ...], ...]

LARGEST = 2**20  # bytes: the file of a thousand channels has 700,000
DEEPEST = 4  # tables and lists within each other; the format has three
FEWEST_CHANNELS, MOST_CHANNELS = 2, 4096
COLUMN = 3  # coefficients of the weight law of one column

FIELDS: Mapping[str, Kind] = {
    "best_to_worst_channels": "order",
    "close_loop_offset_and_scale.dc_offset": "channels",
    "close_loop_offset_and_scale.linear_offset": "channels",
    "close_loop_offset_and_scale.readout_dc_offset": "channels",
    "close_loop_offset_and_scale.readout_linear_offset": "channels",
    "close_loop_offset_and_scale.scaling": "channels",
    "close_loop_offset_and_scale.scaling_second_order": "channels",
    "close_loop_offset_and_scale.solution_to_adc_ratio": "number",
    "column_wise_weights_distortion.negative_row12": "columns",
    "column_wise_weights_distortion.positive_row12": "columns",
    "deq_input_min_max": 2,
    "led_poly_coeffs_neg": 4,
    "led_poly_coeffs_pos": 4,
    "open_loop_offset_and_scale.adc_offset": "channels",
    "open_loop_offset_and_scale.linear_offset": "channels",
    "output_correction.negative": "channels",
    "output_correction.positive": "channels",
    "pbs_crosstalk.negative_to_positive": "channels",
    "pbs_crosstalk.positive_to_negative": "channels",
    "pd_crosstalk.pd_negative_darkness": "channels",
    "pd_crosstalk.pd_positive_darkness": "channels",
    "pd_crosstalk.ratio_to_earlier_negative_row12": "channels",
    "pd_crosstalk.ratio_to_earlier_positive_row12": "channels",
    "pd_crosstalk.ratio_to_later_negative_row12": "channels",
    "pd_crosstalk.ratio_to_later_positive_row12": "channels",
    "pd_offset.pd_offset_negative_row12": "channels",
    "pd_offset.pd_offset_positive_row12": "channels",
    "row_profiles.negative_row12": "channels",
    "row_profiles.positive_row12": "channels",
    "saturation.negative_saturation": "number",
    "saturation.piece0_constant": "number",
    "saturation.piece0_cosine_coeff": "number",
    "saturation.piece0_start_stop": 2,
    "saturation.piece1_polynomials": 3,
    "saturation.piece1_start_stop": 2,
    "saturation.piece3_polynomials": 5,
    "saturation.piece3_start_stop": 2,
    "saturation.piece4_first_constant": "number",
    "saturation.piece4_second_constant": "number",
    "saturation.piece4_start_stop": 2,
    "saturation.positive_saturation": "number",
    "tanh_sigmoid_coeffs": 6,
}
"""Dotted key -> what stands there: a number, a list of that many, one for each channel, or three for each column."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?\.?(?:inf|nan|infinity)", re.IGNORECASE)


@dataclass(frozen=True)
class Measurement:
    """A machine's measured parameters, complete and consistent.

    Attributes:
        values: by the dotted keys of `FIELDS`, all of them.
        channels: n.
        source: the file, or what else they come from.
        sha256: hex digest of the file's bytes; empty for what comes from no file.
    """

    values: Mapping[str, Numbers]
    channels: int
    source: str
    sha256: str = ""

    def number(self, key: str) -> float:
        """A value that is one number."""
        value = self.values[key]
        assert isinstance(value, float)
        return value

    def array(self, key: str) -> NDArray[np.float64]:
        """A list, (length,) or (n, 3)."""
        import numpy as np

        return np.array(self.values[key], dtype=float)

    def arms(self, positive: str, negative: str) -> NDArray[np.float64]:
        """The lists of both arms, (2, length), the + arm first."""
        import numpy as np

        return np.stack([self.array(positive), self.array(negative)])


def measurement(values: Mapping[str, Any], source: str, sha256: str = "") -> Measurement:
    """Check values by dotted key.

    Raises:
        InputError: unknown or missing key, wrong length, not a finite number, or laws that are none.
    """
    for key in values:
        if key not in FIELDS:
            raise unknown_name("key", key, FIELDS, file=source, key=key)
    missing = [key for key in FIELDS if key not in values]
    if missing:
        raise InputError("missing", file=source, key=missing[0])
    lengths = Counter(
        len(values[key]) for key, kind in FIELDS.items() if isinstance(kind, str) and _is_list(values[key])
    )
    channels = lengths.most_common(1)[0][0] if lengths else 0
    checked = {key: _checked(values[key], kind, channels, key, source) for key, kind in FIELDS.items()}
    if not FEWEST_CHANNELS <= channels <= MOST_CHANNELS:
        raise InputError(
            "another number of channels than a machine can have",
            file=source,
            got=channels,
            allowed=f"{FEWEST_CHANNELS} to {MOST_CHANNELS}",
        )
    found = Measurement(checked, channels, source, sha256)
    exponent = found.array("tanh_sigmoid_coeffs")[2]
    if not exponent > 0:
        raise InputError(
            "the third coefficient, the exponent, must be more than 0",
            file=source,
            key="tanh_sigmoid_coeffs",
            got=float(exponent),
        )
    low, high = found.array("deq_input_min_max")
    if not low <= high:
        raise InputError(
            "the lower end is above the upper one",
            file=source,
            key="deq_input_min_max",
            got=[float(low), float(high)],
        )
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _checked(value: Any, kind: Kind, channels: int, key: str, source: str) -> Numbers:
    if kind == "number":
        return _finite(value, key, source)
    wanted = channels if isinstance(kind, str) else kind
    why = " channels, as most lists of the file have" if isinstance(kind, str) else " numbers"
    if not _is_list(value):
        raise InputError("must be a list", file=source, key=key, got=value, allowed=f"{wanted}{why}")
    if len(value) != wanted:
        raise InputError("wrong length", file=source, key=key, got=len(value), allowed=f"{wanted}{why}")
    if kind == "columns":
        return tuple(_column(item, f"{key}.{j}", source) for j, item in enumerate(value))
    numbers = tuple(_finite(item, f"{key}.{j}", source) for j, item in enumerate(value))
    if kind == "order":
        for j, number in enumerate(numbers):
            if number != round(number):
                raise InputError("must be a whole number", file=source, key=f"{key}.{j}", got=number)
    return numbers


def _column(value: Any, key: str, source: str) -> tuple[float, ...]:
    if not _is_list(value) or len(value) != COLUMN:
        got = len(value) if _is_list(value) else value
        raise InputError("must be a list of 3 numbers", file=source, key=key, got=got)
    return tuple(_finite(item, f"{key}.{k}", source) for k, item in enumerate(value))


def _finite(value: Any, key: str, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("must be a number", file=source, key=key, got=value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError("must be a finite number", file=source, key=key, got=value)
    return number


def read_measurement(path: Path) -> Measurement:
    """The parameters in a file.

    Raises:
        InputError: any fault of the file, with its place in it.
    """
    import hashlib

    raw = _bytes_of(path)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", file=path) from error
    flat: dict[str, Any] = {}
    tree = _parse(text, path)
    if not isinstance(tree, dict):
        raise InputError("must be a table of the twin's keys", file=path)
    tables = {key.split(".")[0] for key in FIELDS if "." in key}
    names = {key.split(".")[0] for key in FIELDS}
    for name, value in tree.items():
        if name not in names:
            raise unknown_name("key", name, names, file=str(path), key=name)
        if name in tables and isinstance(value, dict):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        elif name in tables:
            raise InputError("must be a table", file=path, key=name, got=value)
        else:
            flat[name] = value
    return measurement(flat, str(path), hashlib.sha256(raw).hexdigest())


def _bytes_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise InputError("is a folder, not a file", file=path)
        if path.exists() and not path.is_file():
            raise InputError("is not an ordinary file", file=path)
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read: {reason}", file=path) from error
    if len(raw) > LARGEST:
        raise InputError("is larger than such a file can be", file=path, allowed=f"{LARGEST} bytes")
    return raw


def _parse(text: str, path: Path) -> Any:
    """Tables, lists, numbers and texts of the one document in `text`."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = iter(yaml.parse(text, Loader=loader))
        tree = _document(events, path)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"is not valid YAML{where}: {problem}", file=path) from error
    return tree


def _document(events: Iterator[Any], path: Path) -> Any:
    import yaml

    tree: Any = None
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise InputError("holds more than one document", file=path)
            tree = _node(next(events), events, path, "", 1)
    return tree


def _node(event: Any, events: Iterator[Any], path: Path, place: str, depth: int) -> Any:
    import yaml

    key = place or None
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise InputError("YAML anchors and aliases are not accepted", file=path, key=key)
    if event.tag is not None:
        raise InputError("YAML tags are not accepted", file=path, key=key, got=str(event.tag))
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event.value, event.style, path, key)
    if depth > DEEPEST:
        raise InputError("tables and lists are nested too deep", file=path, key=key)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            if len(items) == MOST_CHANNELS:
                raise InputError(f"a list of more than {MOST_CHANNELS}", file=path, key=key)
            items.append(_node(event, events, path, f"{place}.{len(items)}" if place else "", depth + 1))
        return items
    table: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
            raise InputError("a key must be plain text", file=path, key=key)
        name = event.value
        here = f"{place}.{name}" if place else name
        if name in table:
            raise InputError("stands there twice", file=path, key=here)
        table[name] = _node(next(events), events, path, here, depth + 1)
    return table


def _scalar(text: str, style: str | None, path: Path, key: str | None) -> float | int | str:
    """A number; other text comes back as it is, to be refused with its place."""
    if style:  # quoted, or a block of text
        return text
    if _NOT_FINITE.fullmatch(text):
        raise InputError("must be a finite number", file=path, key=key, got=text)
    if not _NUMBER.fullmatch(text) or re.match(r"[+-]?0[0-9]", text):  # a leading 0 is octal to some readers
        return text
    return float(text)


def write_measurement(found: Measurement, path: Path) -> Path:
    """Write parameters as the public twin reads them; every number comes back bit for bit.

    Raises:
        InputError, ResourceError: as `aocsim.output.write_atomically`.
    """
    import yaml

    tree: dict[str, Any] = {}
    for key, kind in FIELDS.items():
        value: Any = found.values[key]
        if kind == "order":
            value = [round(number) for number in value]
        elif kind == "columns":
            value = [list(column) for column in value]
        elif kind != "number":
            value = list(value)
        table, _, name = key.rpartition(".")
        (tree.setdefault(table, {}) if table else tree)[name] = value
    text = yaml.safe_dump(tree, default_flow_style=None, width=100)
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
