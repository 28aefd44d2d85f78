"""What is varied: keys of a scenario, and the values that each takes, as lists or as ranges with units."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aocsim.errors import InputError, unknown_name
from aocsim.law import Array
from aocsim.scenarios.overrides import parse_assignment, split_key
from aocsim.spec import SHEET, MachineSpec
from aocsim.units import QuantityError, is_percentage, to_si

SPACINGS = ("lin", "log")
MOST_VALUES = 1_000_000
WITHOUT_EFFECT = ("name", "describes", "schema", "kind")
"""Keys of a scenario that say what it is called, not what it does."""

FORM = "LOW:HIGH:lin:COUNT or LOW:HIGH:log:COUNT, such as 50:5000:log:9, or a list, such as 0.9,0.95"
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*")
# of what scenarios hold beside the sheets' entries
_DIMENSIONS = {"second": "s", "volt": "V", "kelvin": "K", "dimensionless": "1"}


@dataclass(frozen=True, eq=False)
class Axis:
    """One dimension of a study.

    Attributes:
        key: dotted, as `--set` takes it.
        values: as `--set` takes them, in order.
        labels: numbers in `unit` where all values are some, else texts.
        unit: SI; "1" for plain numbers and texts.
        logarithmic: whether the values are spaced so.
    """

    key: str
    values: tuple[object, ...]
    labels: Array | tuple[str, ...]
    unit: str
    logarithmic: bool = False

    def __len__(self) -> int:
        """Number of values."""
        return len(self.values)

    @property
    def is_numeric(self) -> bool:
        """Whether the labels are numbers."""
        return isinstance(self.labels, np.ndarray)


def parse_vary(text: str) -> tuple[str, str]:
    """Key and values of a command-line KEY=VALUES.

    Raises:
        InputError: no "=", no values, or a malformed key.
    """
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not values:
        raise InputError("must read KEY=VALUES", file="--vary", got=text, allowed=FORM)
    split_key(key)
    return key, values


def axis_of(key: str, values: object, spec: MachineSpec) -> Axis:
    """An axis from what a file or the command line says of it.

    Args:
        key: dotted key of the scenario.
        values: a range or a list as text, or a list of values.
        spec: the machine, whose sheets say which entries there are and of which dimension.

    Raises:
        InputError: an unknown entry of a part, no values, a value twice, a malformed range, or one of the wrong
            dimension.
    """
    if key.partition(".")[0] in WITHOUT_EFFECT or key == "solve.threads":
        raise InputError("no result depends on it, so there is nothing to see", key=f"vary.{key}", got=values)
    dimension = _dimension(key, spec)
    logarithmic = False
    if isinstance(values, str) and ":" in values:
        items, logarithmic = _range(key, values, dimension)
    elif isinstance(values, str):
        items = [parse_assignment(f"{key}={item}")[1] for item in values.split(",")]
    elif isinstance(values, Sequence):
        items = list(values)
    else:
        raise InputError("must be a range or a list", key=f"vary.{key}", got=values, allowed=FORM)
    if not items or any(item == "" for item in items):
        raise InputError("no values", key=f"vary.{key}", got=values, allowed=FORM)
    if len({repr(item) for item in items}) < len(items):
        raise InputError("a value stands there twice", key=f"vary.{key}", got=values)
    if dimension is not None:
        items = [str(item) if isinstance(item, (int, float)) else item for item in items]
    labels, unit = _labels(key, items, dimension)
    return Axis(key, tuple(items), labels, unit, logarithmic)


def _dimension(key: str, spec: MachineSpec) -> str | None:
    """Dimension of an entry of a part; None for other keys.

    Raises:
        InputError: no such role or entry.
    """
    steps = split_key(key)
    if steps[0] != "parts" or len(steps) < 3:
        return None
    role, entry, *rest = steps[1:]
    if role not in spec.parts:
        raise unknown_name(f"role of {spec.name}", role, spec.parts, key=f"vary.{key}")
    part = spec.parts[role]
    if entry == SHEET:
        return None
    if entry not in part.entries or rest not in ([], ["spread"]):
        near = [f"parts.{role}.{name}" for name in part.entries]
        raise unknown_name(f"entry of {part.name}", key, near, key="vary")
    return part.entries[entry].dimension


def _range(key: str, text: str, dimension: str | None) -> tuple[list[object], bool]:
    parts = [part.strip() for part in text.split(":")]
    place = f"vary.{key}"
    if len(parts) != 4 or parts[2] not in SPACINGS or not parts[3].isdecimal():
        raise InputError("is not a range", key=place, got=text, allowed=FORM)
    count = int(parts[3])
    if not 2 <= count <= MOST_VALUES:
        raise InputError("too few or too many values", key=place, got=count, allowed=f"2 to {MOST_VALUES}")
    ends, unit, whole = _ends(place, parts[:2], dimension, key.endswith(".spread"))
    logarithmic = parts[2] == "log"
    if ends[0] == ends[1] or not all(map(math.isfinite, ends)):
        raise InputError("the ends must be finite and differ", key=place, got=text)
    if logarithmic and min(ends) <= 0:
        raise InputError("a logarithmic range has ends above 0", key=place, got=text)
    low, high = ends
    numbers = np.geomspace(low, high, count) if logarithmic else np.linspace(low, high, count)
    # as they would be written: without the last bits of the spacing's rounding
    numbers = np.array([float(f"{number:.12g}") for number in numbers])
    if unit:
        return [f"{number:.12g} {unit}" for number in numbers], logarithmic
    if dimension is not None:
        return [f"{number:.12g}" for number in numbers], logarithmic
    if whole and np.array_equal(numbers, np.round(numbers)):
        return [int(number) for number in numbers], logarithmic
    return [float(number) for number in numbers], logarithmic


def _ends(
    place: str, texts: Sequence[str], dimension: str | None, is_spread: bool
) -> tuple[list[float], str, bool]:
    """Ends of a range, the unit that they are in, and whether both are whole numbers."""
    if dimension is not None and not (is_spread and all(map(is_percentage, texts))):
        try:
            ends = [to_si(text, dimension, difference=is_spread) for text in texts]
        except QuantityError as error:
            raise InputError(
                error.problem, key=place, got=error.text, allowed=f"a quantity in {dimension}"
            ) from error
        return ends, "" if dimension == "dimensionless" else dimension, False
    found = [_NUMBER.fullmatch(text) for text in texts]
    if found[0] is None or found[1] is None:
        raise InputError("an end of the range is no number", key=place, got=":".join(texts), allowed=FORM)
    units = [match.group(2) for match in found if match]
    if units[0] != units[1]:
        raise InputError("both ends need the same unit", key=place, got=":".join(texts))
    numbers = [match.group(1) for match in found if match]
    whole = all(re.fullmatch(r"[+-]?\d+", number) for number in numbers)
    return [float(number) for number in numbers], units[0], whole


def _labels(key: str, items: Sequence[object], dimension: str | None) -> tuple[Array | tuple[str, ...], str]:
    if all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items):
        return np.array([float(str(item)) for item in items]), "1"
    if all(isinstance(item, str) for item in items):
        texts = [str(item) for item in items]
        spread = key.endswith(".spread")
        candidates = dict(_DIMENSIONS) if dimension is None else {dimension: dimension}
        if spread:
            candidates = {"dimensionless": "1", **candidates}
        for candidate, unit in candidates.items():
            try:
                numbers = [to_si(text, candidate, difference=spread) for text in texts]
            except QuantityError:
                continue
            return np.array(numbers), "1" if unit == "dimensionless" else unit
        if dimension is not None:
            # the sheet itself says what is wrong, with its valid range
            return tuple(texts), "1"
    return tuple(str(item) for item in items), "1"


def names_of(axes: Sequence[Axis], taken: Collection[str] = ()) -> Mapping[str, str]:
    """A short name for each key: its last word, or as many as tell it from the others and from names that are taken."""
    out: dict[str, str] = {}
    for axis in axes:
        steps = axis.key.split(".")
        for size in range(1, len(steps) + 1):
            name = "_".join(steps[-size:])
            others = ["_".join(other.key.split(".")[-size:]) for other in axes if other is not axis]
            if name not in others and name not in taken and name not in ("spread", "sheet", "value"):
                break
        out[axis.key] = name if name not in taken else f"{name}_set"
    return out
