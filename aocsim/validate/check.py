"""What a comparison is: a check with a name, and the row that it fills in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.spec import MachineSpec, Text

Array = NDArray[np.float64]
Status = Literal["pass", "fail", "skipped"]
Reference = Literal["independent", "shared inputs", "second implementation", "fitted"]

REFERENCES: Mapping[Reference, str] = {
    "independent": "from outside the machine's model: published data, ngspice with the sheets' component values, "
    "another method, or a closed form that takes nothing from the machine",
    "shared inputs": "a formula or a second way that takes parameters from the same sheets or objects as what it is "
    "compared with: it sees a wrong computation, not a wrong parameter",
    "second implementation": "the same equations written once more by the same authors: it sees a slip, not a mistake "
    "shared by both",
    "fitted": "sheets or criterion were tuned to this reference: the row shows that the fit holds",
}
"""How much a reference can tell, and what each word means."""

PER_CENT = 100.0


class SkippedError(Exception):
    """Raised by a check that cannot run here; the message is the reason, for example that a program is missing."""


@dataclass(frozen=True)
class Setting:
    """What the checks run on.

    Attributes:
        machine: name of the machine sheet.
        serial: serial number of the machine.
        seed: of the live noise.
        library: folder of sheets that is searched first.
        twin_file: a measured machine's parameter file, in the public twin's format; None if there is none.
    """

    machine: str = "aoc48"
    serial: int = 1
    seed: int = 0
    library: Path | None = None
    twin_file: Path | None = None

    def spec(self, changes: Mapping[str, Mapping[str, Text]] | None = None) -> MachineSpec:
        """The machine's sheets, with entries changed as in `Library.machine`."""
        return Library.open(self.library).machine(self.machine, changes)

    def build(self, changes: Mapping[str, Mapping[str, Text]] | None = None) -> Machine:
        """The machine as built."""
        return Machine.build(self.spec(changes), self.serial)


@dataclass(frozen=True, eq=False)
class Curve:
    """What a figure shows of a check: the simulator over the reference.

    Attributes:
        x: (points,).
        x_label: with unit.
        got: (points,), of the simulator; nan leaves a gap.
        want: (points,), of the reference.
        y_label: with unit.
        got_label: what `got` is, two or three words.
        want_label: what `want` is.
        log_x: logarithmic abscissa.
        log_y: logarithmic ordinate.
        points: draw `got` as markers rather than as a dashed line.
        band: (points,) lower and upper end of what is expected; drawn behind both.
        band_label: what the band is.
    """

    x: Array
    x_label: str
    got: Array
    want: Array
    y_label: str
    got_label: str = "aocsim"
    want_label: str = "reference"
    log_x: bool = False
    log_y: bool = False
    points: bool = True
    band: tuple[Array, Array] | None = None
    band_label: str = ""


@dataclass(frozen=True)
class Reading:
    """A number that has to lie in an interval.

    Attributes:
        value: the number.
        low: lower end, may be infinite.
        high: upper end, may be infinite.
        unit: of all three; may be empty.
    """

    value: float
    low: float
    high: float
    unit: str = ""

    @property
    def told(self) -> str:
        """The number with its unit."""
        return self._with_unit(f"{self.value:.4g}")

    @property
    def interval(self) -> str:
        """The interval in words."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            return self._with_unit(f"{self.low:.4g} to {self.high:.4g}")
        return self._with_unit(
            f"at least {self.low:.4g}" if np.isfinite(self.low) else f"at most {self.high:.4g}"
        )

    @property
    def inside(self) -> bool:
        """Whether the number lies in the interval; not a number does not."""
        return bool(self.low <= self.value <= self.high)

    def _with_unit(self, text: str) -> str:
        return f"{text} {self.unit}".rstrip()


@dataclass(frozen=True, eq=False)
class Row:
    """One comparison of the table.

    Attributes:
        what: what of the simulator is compared, one line.
        against: with what, named so that it can be looked up.
        rms: root mean square error, per cent of `span`; for one number the absolute error; None where the criterion
            is an interval.
        maximum: largest error, per cent of `span`, or None likewise.
        span: what the errors are per cent of, in words with its size: "range of 4.3 V".
        tolerance: the criterion in words, with its numbers.
        status: whether it is met.
        reason: why it was skipped or failed, or what the numbers do not say; may be empty.
        curve: for the figure of the group.
        reading: the number and its interval, where that is the criterion.
    """

    what: str
    against: str
    rms: float | None
    maximum: float | None
    span: str
    tolerance: str
    status: Status
    reason: str = ""
    curve: Curve | None = None
    reading: Reading | None = None


@dataclass(frozen=True)
class Check:
    """A named comparison.

    Attributes:
        name: lower case with underscores, unique in the whole table; `aocsim validate --only NAME` runs it alone.
        run: does it.
        reference: how independent what it compares with is.
        slow: it takes more than a second or two; its test is marked slow.
    """

    name: str
    run: Callable[[Setting], Row]
    reference: Reference
    slow: bool = False


def compared(
    what: str,
    against: str,
    got: ArrayLike,
    want: ArrayLike,
    *,
    rms: float,
    maximum: float,
    span: float | None = None,
    span_name: str | None = None,
    reason: str = "",
    curve: Curve | None = None,
) -> Row:
    """A row for arrays that should agree.

    Args:
        what: as in `Row`.
        against: as in `Row`.
        got: of the simulator.
        want: the reference, same shape.
        rms: largest root mean square error that passes, per cent of the span.
        maximum: largest error that passes, per cent of the span.
        span: signal range; by default that of `want`, largest less smallest, or its size for one number.
        span_name: `Row.span`.
        reason: as in `Row`.
        curve: as in `Row`.

    Raises:
        ValueError: shapes differ, or the range is not positive.
    """
    a, b = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"{what}: cannot compare shapes {a.shape} and {b.shape}")
    if span is None:
        span = float(np.ptp(b)) if b.size > 1 else float(np.abs(b).max())
    if not span > 0:
        raise ValueError(f"{what}: the reference has no range")
    error = PER_CENT * np.abs(a - b) / span
    size, worst = float(np.sqrt(np.mean(error**2))), float(error.max())
    passed = size <= rms and worst <= maximum  # false for nan
    return Row(
        what,
        against,
        size,
        worst,
        span_name or f"range of the reference, {span:.4g}",
        f"rms {rms:g} %, max {maximum:g} %",
        "pass" if passed else "fail",
        reason,
        curve,
    )


def within(
    what: str,
    against: str,
    value: float,
    low: float,
    high: float,
    *,
    unit: str = "",
    reason: str = "",
    curve: Curve | None = None,
) -> Row:
    """A row for one number that has to lie in an interval, an end of which may be infinite.

    It has no error: where in the interval the number should lie, the criterion does not say. `reason` should say what
    the number is.

    Raises:
        ValueError: no such interval.
    """
    if not low <= high or not (np.isfinite(low) or np.isfinite(high)):
        raise ValueError(f"{what}: from {low} to {high} is no interval")
    reading = Reading(float(value), float(low), float(high), unit)
    status: Status = "pass" if reading.inside else "fail"
    return Row(what, against, None, None, "", reading.interval, status, reason, curve, reading)
