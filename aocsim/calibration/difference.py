r"""Two calibrations side by side: every parameter's difference in units of its errors.

For each parameter that both have found,

.. math:: d = \frac{b - a}{\sqrt{e_a^2 + e_b^2}}                                                              (1)

with the standard errors e of the sheets. The calibrations differ where :math:`|d| > z_{1 - p/2N}`, the normal
distribution's quantile at the level p = 1 % shared out over all N values (Bonferroni): errors that hang together make
that the more cautious. What one of them has held, or has not identified, is counted and not compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import NAMES
from aocsim.calibration.sheet import CLOSED, Sheet
from aocsim.calibration.transient_fit import TRANSIENT
from aocsim.significance import LEVEL

Array = NDArray[np.float64]

_SETS = {
    "pair": (("a", "b", "c", "g"),),
    "light": (("+", "-"), ("p3", "p2", "p0")),
    "law": (("+", "-"), None, ("A", "B", "C")),
    **dict.fromkeys(("row", "later", "earlier", "retardance"), (("+", "-"), None)),
    **dict.fromkeys(("offset", "offset_per_beta", *CLOSED, *TRANSIENT), (None,)),
}
"""What the axes of a group's values are called; None is the channel's number."""


@dataclass(frozen=True)
class GroupDifference:
    """One group of parameters of two calibrations.

    Attributes:
        name: of the group.
        unit: of its values; of several ones, that of the largest difference.
        compared: number of values compared.
        left_out: number of those that are held, or not identified, in one of the two.
        rms: root mean square of d; None where nothing is compared.
        largest: the d of largest size.
        where: whose that is.
        difference: largest |new - old|, in `unit`.
        where_difference: whose that is.
        beyond: number of values that differ beyond their errors.
    """

    name: str
    unit: str
    compared: int
    left_out: int
    rms: float | None = None
    largest: float | None = None
    where: str = ""
    difference: float | None = None
    where_difference: str = ""
    beyond: int = 0


@dataclass(frozen=True)
class SheetDifference:
    """Two calibrations side by side.

    Attributes:
        groups: of parameters that both have, in the order of the sheets.
        notes: what keeps the two from being compared in full.
        compared: number of values compared.
        limit: what |d| must exceed to count.
        comparable: whether both are of machines of one size whose inputs shine alike.
    """

    groups: tuple[GroupDifference, ...]
    notes: tuple[str, ...]
    compared: int
    limit: float
    comparable: bool

    @property
    def agree(self) -> bool:
        """Whether they agree: comparable, and no value differs beyond its error."""
        return self.comparable and not any(group.beyond for group in self.groups)


def sheet_difference(old: Sheet, new: Sheet) -> SheetDifference:
    """Compare all values that two calibrations have in common."""
    from scipy.stats import norm

    notes, comparable = _notes(old, new)
    a, b = old.values, new.values
    known = (*NAMES, *CLOSED, *TRANSIENT)
    names = [name for name in known if name in a and name in b and a[name].shape == b[name].shape]
    seen = {name: _compared(name, old, new) for name in names}
    total = int(sum(which.sum() for which in seen.values()))
    limit = float(norm.isf(LEVEL / (2 * max(total, 1))))
    groups = tuple(_group(name, old, new, seen[name], limit) for name in names)
    return SheetDifference(groups, tuple(notes), total, limit, comparable)


def _notes(old: Sheet, new: Sheet) -> tuple[list[str], bool]:
    """What stands between the two, and whether their values can be held against each other at all."""
    notes, comparable = [], True
    machines = [str(sheet.attributes.get("machine", "")) for sheet in (old, new)]
    if machines[0] != machines[1]:
        notes.append(f"of two machines: {machines[0] or 'not named'}, and {machines[1] or 'not named'}")
    if old.channels != new.channels:
        notes.append(
            f"{old.channels} channels against {new.channels}: only what does not belong to a channel is compared"
        )
        return notes, False
    gone, come = set(new.dead) - set(old.dead), set(old.dead) - set(new.dead)
    for inputs, what in ((gone, "shine in the old one alone"), (come, "shine in the new one alone")):
        if inputs:
            notes.append(f"inputs that {what}: {', '.join(map(str, sorted(inputs)))}")
            comparable = False
    for one, other, name in ((old, new, "new"), (new, old, "old")):
        if one.electronics is not None and other.electronics is None:
            notes.append(f"the {name} one has no closed loop: {', '.join(CLOSED)} are not compared")
        if one.transients and not other.transients:
            notes.append(f"the {name} one has no transients: {', '.join(TRANSIENT)} are not compared")
    return notes, comparable


def _compared(name: str, old: Sheet, new: Sheet) -> NDArray[np.bool_]:
    return np.asarray(old.identified[name] & new.identified[name])


def _group(name: str, old: Sheet, new: Sheet, which: NDArray[np.bool_], limit: float) -> GroupDifference:
    gap = np.where(which, new.values[name] - old.values[name], 0.0)
    error = np.hypot(old.errors[name], new.errors[name])
    # two values without errors differ infinitely, or not at all
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(gap == 0.0, 0.0, gap / error)
    count = int(which.sum())
    if not count:
        return GroupDifference(name, old.units[name], 0, which.size)
    worst, farthest = (np.unravel_index(int(np.argmax(np.abs(x))), x.shape) for x in (ratio, gap))
    units = old.units[name].split(", ")
    return GroupDifference(
        name,
        units[farthest[-1]] if len(units) > 1 else units[0],
        count,
        int(which.size - count),
        float(np.sqrt(np.mean(ratio[which] ** 2))),
        float(ratio[worst]),
        _place(name, worst),
        float(abs(gap[farthest])),
        _place(name, farthest),
        int((np.abs(ratio) > limit).sum()),
    )


def _place(name: str, index: tuple[np.intp, ...]) -> str:
    """A value in words, such as "+ 12 B": arm, channel, coefficient."""
    labels = (
        str(int(i)) if axis is None else axis[int(i)] for axis, i in zip(_SETS[name], index, strict=True)
    )
    return " ".join(labels)
