"""Which laws exist, what their sheets must hold, which role each can fill, and what builds it.

A role may be filled by several laws, such as a part after its physics and the same part as it was measured. A
package that brings a law of its own registers it by an entry point of the group `aocsim.parts`, whose name is the
law's and whose object is a `PartLaw`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from aocsim.asbuilt import AsBuilt
from aocsim.components import (
    controller,
    dac,
    digitiser,
    gains,
    gains_measured,
    microled,
    microled_measured,
    module,
    node,
    node_measured,
    optics,
    optics_measured,
    pair,
    pair_measured,
    photodetector,
    poles,
    processor,
    published,
    sample_and_hold,
    slm,
    slm_measured,
    switch,
)
from aocsim.errors import InputError, unknown_name
from aocsim.spec import EntrySpec

GROUP = "aocsim.parts"


@dataclass(frozen=True)
class PartLaw:
    """A law as the registry knows it.

    Attributes:
        role: that it can fill, see `aocsim.components.roles` for what a machine asks of each.
        entries: of its sheets.
        build: draws the part of one machine.
    """

    role: str
    entries: Mapping[str, EntrySpec]
    build: Callable[[AsBuilt], Any]


OWN: Mapping[str, PartLaw] = {
    "pair": PartLaw("pair", pair.ENTRIES, pair.DifferentialPair.build),
    "pair_measured": PartLaw("pair", pair_measured.ENTRIES, pair_measured.MeasuredPair.build),
    "microled": PartLaw("led", microled.ENTRIES, microled.MicroLed.build),
    "microled_measured": PartLaw("led", microled_measured.ENTRIES, microled_measured.MeasuredMicroLed.build),
    "optics": PartLaw("optics", optics.ENTRIES, optics.Optics.build),
    "optics_measured": PartLaw("optics", optics_measured.ENTRIES, optics_measured.build),
    "slm": PartLaw("slm", slm.ENTRIES, slm.Slm.build),
    "slm_measured": PartLaw("slm", slm_measured.ENTRIES, slm_measured.MeasuredSlm.build),
    "photodetector": PartLaw("detector", photodetector.ENTRIES, photodetector.Photodetector.build),
    "gains": PartLaw("gains", gains.ENTRIES, gains.Gains.build),
    "gains_measured": PartLaw("gains", gains_measured.ENTRIES, gains_measured.build),
    "node": PartLaw("node", node.ENTRIES, node.SummingNode.build),
    "node_measured": PartLaw("node", node_measured.ENTRIES, node_measured.MeasuredNode.build),
    "poles": PartLaw("poles", poles.ENTRIES, poles.Poles.build),
    "dac": PartLaw("dac", dac.ENTRIES, dac.Dac.build),
    "digitiser": PartLaw("digitiser", digitiser.ENTRIES, digitiser.Digitiser.build),
    "sample_and_hold": PartLaw("memory", sample_and_hold.ENTRIES, sample_and_hold.SampleAndHold.build),
}
"""This package's laws by name; the roles of a machine are those that they fill, in this order."""

EQUIPMENT: Mapping[str, PartLaw] = {
    "controller": PartLaw("controller", controller.ENTRIES, controller.Controller.build),
    "switch": PartLaw("switch", switch.ENTRIES, switch.Switch.build),
    "processor": PartLaw("reference", processor.ENTRIES, processor.Processor.build),
    "published": PartLaw("published", published.ENTRIES, published.Published.build),
    "module": PartLaw("module", module.ENTRIES, module.ProjectedModule.build),
}
"""Laws of what stands beside a machine, and counts where energies are counted; no machine's sheet names it."""


@cache
def part_laws() -> Mapping[str, PartLaw]:
    """All laws by name: this package's and those from outside.

    Raises:
        InputError: a law from outside that cannot be loaded or used; names the package.
    """
    found = dict(OWN)
    known = {law.role for law in OWN.values()}
    for point in entry_points(group=GROUP):
        origin = f"entry point {point.name!r} of {point.dist.name if point.dist else 'a package'}"
        try:
            law = point.load()
        except Exception as error:  # anything may go wrong in code from elsewhere
            raise InputError(f"cannot be loaded: {type(error).__name__}: {error}", file=origin) from error
        if not isinstance(law, PartLaw):
            raise InputError("must be a PartLaw", file=origin, got=type(law).__name__)
        if law.role not in known:
            raise unknown_name("role", law.role, known, file=origin, key="role")
        if point.name in found or point.name in EQUIPMENT:
            raise InputError("a law of this name exists already", file=origin, got=point.name)
        found[point.name] = law
    return found


def laws() -> Mapping[str, Mapping[str, EntrySpec]]:
    """Law -> the entries of its sheets, equipment included."""
    return {name: law.entries for name, law in (*part_laws().items(), *EQUIPMENT.items())}


def roles() -> Mapping[str, tuple[str, ...]]:
    """Role -> the laws that can fill it, this package's first."""
    found: dict[str, tuple[str, ...]] = {}
    for name, law in part_laws().items():
        found[law.role] = (*found.get(law.role, ()), name)
    return found


def build(part: AsBuilt) -> Any:
    """The part of one machine, or of its equipment, drawn by the law of its sheet."""
    return {**part_laws(), **EQUIPMENT}[part.spec.law].build(part)
