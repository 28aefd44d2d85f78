"""The public twin's parameter file: a YAML file of numbers, read with suspicion and written back as it was.

The file is that of github.com/microsoft/aoc (`src/aoc/hw_config`, the 48-channel form). It holds numbers and lists of
numbers alone, so that nothing of YAML but these is accepted: no tags, anchors or aliases, no second document.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aocsim.errors import InputError, nearest_name
from aocsim.output import write_atomically
from aocsim.twin.plain_yaml import parse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["number", "channels", "order", "columns"] | int
Numbers = float | tuple[float, ...] | tuple[tuple[float, ...], ...]

FEWEST_CHANNELS, MOST_CHANNELS = 2, 4096
LARGEST = (
    2048 * MOST_CHANNELS
)  # bytes: a channel has 29 numbers of 25 characters; the rest is for wide indents
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
            raise _unknown_key(key, FIELDS, source)
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
    _check_pair(found)
    low, high = found.array("deq_input_min_max")
    if not low <= high:
        raise InputError(
            "the lower end is above the upper one",
            file=source,
            key="deq_input_min_max",
            got=[float(low), float(high)],
        )
    return found


def _check_pair(found: Measurement) -> None:
    """Refuse a sigmoid without knee, slope or swing: no feedthrough can be told from it, and no machine built."""
    slope, _, exponent, swing, _, _ = found.array("tanh_sigmoid_coeffs").tolist()
    for item, name, value, good in (
        (0, "slope", slope, slope != 0),
        (2, "exponent", exponent, exponent > 0),
        (3, "swing", swing, swing != 0),
        (3, "swing over the slope", swing, slope * swing != 0),  # their product is a number of its own
    ):
        if not good:
            raise InputError(
                f"the pair has no {name}",
                file=found.source,
                key=f"tanh_sigmoid_coeffs.{item}",
                got=value,
                allowed="more than 0" if item == 2 else "any number but 0",
            )


def check_order(found: Measurement) -> None:
    """Refuse an order of the channels that does not name each of them once, counted from 1.

    Raises:
        InputError: the first entry that is no channel, or one that stands there already.
    """
    key = "best_to_worst_channels"
    seen: set[float] = set()
    for j, channel in enumerate(found.array(key).tolist()):
        problem = "names a channel twice" if channel in seen else "is no channel"
        if channel in seen or channel > found.channels:
            raise InputError(
                problem,
                file=found.source,
                key=f"{key}.{j}",
                got=int(channel),
                allowed=f"each of 1 to {found.channels} once",
            )
        seen.add(channel)


def _unknown_key(key: str, known: Iterable[str], source: str) -> InputError:
    """Without the list of all keys, which is longer than anybody reads."""
    names = list(known)
    return InputError(
        "unknown key",
        file=source,
        key=key,
        nearest=nearest_name(key, names),
        allowed=f"one of the format's {len(names)} keys",
    )


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
            if number != round(number) or number < 1:
                raise InputError(
                    "must be a whole number",
                    file=source,
                    key=f"{key}.{j}",
                    got=number,
                    allowed="at least 1",
                )
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
    tree = parse(text, path, MOST_CHANNELS)
    if not isinstance(tree, dict):
        raise InputError("must be a table of the twin's keys", file=path)
    tables = {key.split(".")[0] for key in FIELDS if "." in key}
    names = {key.split(".")[0] for key in FIELDS}
    for name, value in tree.items():
        if name not in names:
            raise _unknown_key(name, names, str(path))
        if name in tables and isinstance(value, dict):
            flat |= {f"{name}.{inner}": item for inner, item in value.items()}
        elif name in tables:
            raise InputError("must be a table", file=path, key=name, got=value)
        else:
            flat[name] = value
    found = measurement(flat, str(path), hashlib.sha256(raw).hexdigest())
    check_order(found)
    return found


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


def write_measurement(found: Measurement, path: Path) -> Path:
    """Write parameters as the public twin reads them; every number comes back bit for bit.

    Raises:
        InputError: an order of the channels that no file may hold, or as `aocsim.output.write_atomically`.
        ResourceError: as `aocsim.output.write_atomically`.
    """
    import yaml

    check_order(found)
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
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(tree, Dumper=dumper, default_flow_style=None, width=100)
    return write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
