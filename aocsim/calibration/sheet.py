"""The calibration sheet: what a calibration has found, read back from its file and checked.

A sheet is the result.nc of a scenario of kind "calibration", or any file with the variables of
`aocsim.calibration.result.dataset_of` and the attributes `kind` and `drive_limit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import LAW, LIGHT, NAMES, PAIR, Chain
from aocsim.calibration.closed import Electronics
from aocsim.calibration.result import twin_of
from aocsim.calibration.transient_fit import TRANSIENT
from aocsim.components.slm_measured import MeasuredSlm
from aocsim.errors import InputError
from aocsim.folders import recover
from aocsim.record import SCHEMA, load
from aocsim.twin.build import checked_machine
from aocsim.twin.format import Measurement
from aocsim.twin.ranges import Ranges

if TYPE_CHECKING:
    import xarray

    from aocsim.library import Library
    from aocsim.machine import Machine

Array = NDArray[np.float64]

KIND = "calibration"
CLOSED = ("gradient_gain", "alpha_gain", "drive_gain", "residual_offset")
"""Parameters of the closed loop, in the order of `Electronics.vector`."""

_RANGES = {
    "drive": "seen_drive_v",
    "beta_min": "seen_beta_min",
    "beta_max": "seen_beta_max",
    "alpha_max": "seen_alpha_max",
}


@dataclass(frozen=True, eq=False)
class Sheet:
    """A calibration.

    Attributes:
        source: the file.
        chain: of the open loop.
        electronics: of the closed loop; None of a calibration that has none.
        transients: poles, delays and gains by name, (n,) each; empty without transients.
        errors: standard error of every parameter, by the names of `values`, in their shapes.
        identified: whether the experiments say anything of it, likewise; false of what was held.
        correlation: (parameters, parameters) of the open loop's errors, in the order of `Chain.vector`.
        units: of every parameter, by name.
        limit: V, at which the drive is clipped.
        ranges: what the experiments have seen.
        attributes: of the file.
    """

    source: Path
    chain: Chain
    electronics: Electronics | None
    transients: Mapping[str, Array]
    errors: Mapping[str, Array]
    identified: Mapping[str, NDArray[np.bool_]]
    correlation: Array
    units: Mapping[str, str]
    limit: float
    ranges: Ranges
    attributes: Mapping[str, Any]

    @property
    def channels(self) -> int:
        """n."""
        return self.chain.channels

    @property
    def dead(self) -> tuple[int, ...]:
        """Inputs that do not shine."""
        return tuple(int(i) for i in np.flatnonzero(~self.chain.row.any(axis=0)))

    @property
    def values(self) -> dict[str, Array]:
        """All parameters by name, the open loop's first."""
        found = {name: np.asarray(getattr(self.chain, name)) for name in NAMES}
        if self.electronics is not None:
            found |= dict(zip(CLOSED, self.electronics.vector.reshape(len(CLOSED), -1), strict=True))
        return {**found, **self.transients}

    def twin(self) -> Measurement:
        """The parameters in the public twin's format, which has no place for gains of alpha and of the drive."""
        return twin_of(self.chain, self.electronics, limit=self.limit, source=str(self.source))

    def machine(self, sheets: Machine, library: Library) -> Machine:
        """The machine that the sheet describes.

        Args:
            sheets: nominal machine of the data sheets: its converters, gain steps and grey levels, which no calibration
                looks for.
            library: where sheets come from for what is neither measured nor there; the static laws do not depend on it.

        Raises:
            InputError: another number of channels, or parameters that no machine can be built from.
        """
        if sheets.channels != self.channels:
            raise InputError(
                f"is the calibration of another machine: {sheets.name} has {sheets.channels} channels",
                file=self.source,
                got=self.channels,
                allowed=str(sheets.channels),
            )
        found = checked_machine(self.twin(), name=sheets.name, library=library)
        known = sheets.gains
        gains = replace(
            found.gains,
            beta_full_scale=known.beta_full_scale,
            beta_bits=known.beta_bits,
            alpha_bits=known.alpha_bits,
        )
        assert isinstance(found.slm, MeasuredSlm)
        slm = replace(found.slm, bits=sheets.slm.levels.bit_length(), retardance=self.chain.retardance)
        return replace(found, gains=gains, slm=slm, dac=sheets.dac, digitiser=sheets.digitiser)


def read_sheet(path: Path) -> Sheet:
    """A calibration that a run, or another program, has written.

    Raises:
        InputError: no such file, or one that is damaged; no calibration; a variable that is missing, of another shape,
            or holds what is no number.
    """
    recover(path.parent)
    data = load(path)
    kind, schema = data.attrs.get("kind"), data.attrs.get("aocsim_schema")
    if kind != KIND:
        raise InputError("is no calibration", file=path, key="kind", got=kind, allowed=repr(KIND))
    if schema is None or np.asarray(schema).tolist() != SCHEMA:
        raise InputError(
            "another version of the file", file=path, key="aocsim_schema", got=schema, allowed=str(SCHEMA)
        )
    shapes = _shapes(_channels(data, path))
    closed = any(name in data for name in CLOSED)
    left_out = [*(() if closed else CLOSED), *(name for name in TRANSIENT if name not in data)]
    shapes = {name: shape for name, shape in shapes.items() if name not in left_out}
    values = {name: _numbers(data, name, shape, path) for name, shape in shapes.items()}
    errors = {name: _numbers(data, f"{name}_error", shape, path) for name, shape in shapes.items()}
    for name, error in errors.items():
        if np.any(error < 0):
            raise InputError(
                "a standard error is less than 0", file=path, key=f"{name}_error", got=float(error.min())
            )
    chain = Chain(**{name: values[name] for name in NAMES})
    size = len(chain.vector)
    seen = {name: _numbers(data, f"{name}_identified", shapes[name], path) != 0 for name in NAMES}
    # every closed loop's parameter moves every rest, and every transient's its trace
    seen |= {name: np.ones(shapes[name], dtype=bool) for name in shapes if name not in NAMES}
    return Sheet(
        path,
        chain,
        Electronics(*(values[name] for name in CLOSED)) if closed else None,
        {name: values[name] for name in TRANSIENT if name in values},
        errors,
        seen,
        _numbers(data, "correlation", (size, size), path),
        {name: str(data[name].attrs.get("units", "1")) for name in shapes},
        _positive(data, "drive_limit", path),
        _ranges(data, path),
        dict(data.attrs),
    )


def _channels(data: xarray.Dataset, path: Path) -> int:
    if "row" not in data:
        raise InputError("a variable is missing", file=path, key="row")
    shape = data["row"].shape
    if len(shape) != 2 or shape[0] != 2 or shape[1] < 2:
        raise InputError("wrong shape", file=path, key="row", got=shape, allowed="(2, channels)")
    return int(shape[1])


def _shapes(n: int) -> dict[str, tuple[int, ...]]:
    """Of every parameter, for n channels."""
    of_chain = ((PAIR,), (2, LIGHT), (2, n), (2, n, LAW), (2, n - 1), (2, n - 1), (n,), (n,), (2, n))
    return dict(zip(NAMES, of_chain, strict=True)) | dict.fromkeys((*CLOSED, *TRANSIENT), (n,))


def _numbers(data: xarray.Dataset, name: str, shape: tuple[int, ...], path: Path) -> Array:
    """A variable as float64.

    Raises:
        InputError: missing, of another shape or type, or not finite.
    """
    if name not in data:
        raise InputError("a variable is missing", file=path, key=name)
    variable = data[name]
    if variable.dtype.kind not in "fiub":
        raise InputError("must be numbers", file=path, key=name, got=str(variable.dtype))
    if variable.shape != shape:
        raise InputError(
            "does not have the shape that its channels ask for",
            file=path,
            key=name,
            got=variable.shape,
            allowed=str(shape),
        )
    values = np.asarray(variable.values, dtype=float)
    wrong = np.argwhere(~np.isfinite(values))
    if wrong.size:
        place = tuple(wrong[0].tolist())
        raise InputError(f"not a number at {list(place)}", file=path, key=name, got=float(values[place]))
    return values


def _positive(data: xarray.Dataset, key: str, path: Path) -> float:
    found = _attribute(data, key, path)
    if found is None:
        raise InputError("the attribute is missing", file=path, key=key)
    if not found > 0:
        raise InputError("must be more than 0", file=path, key=key, got=found)
    return found


def _ranges(data: xarray.Dataset, path: Path) -> Ranges:
    return Ranges(**{name: _attribute(data, key, path) for name, key in _RANGES.items()})


def _attribute(data: xarray.Dataset, key: str, path: Path) -> float | None:
    """A number among the attributes; None where there is none of this name."""
    value = data.attrs.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError("the attribute must be a number", file=path, key=key, got=value) from error
    if not np.isfinite(number):
        raise InputError("the attribute must be a finite number", file=path, key=key, got=number)
    return number
