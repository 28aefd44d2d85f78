"""Which laws exist, what their sheets must hold, and which roles a machine fills with them."""

from __future__ import annotations

from collections.abc import Mapping

from aocsim.components import (
    dac,
    digitiser,
    gains,
    microled,
    node,
    optics,
    pair,
    photodetector,
    poles,
    sample_and_hold,
    slm,
)
from aocsim.spec import EntrySpec

ROLES: Mapping[str, str] = {
    "pair": "pair",
    "led": "microled",
    "optics": "optics",
    "slm": "slm",
    "detector": "photodetector",
    "gains": "gains",
    "node": "node",
    "poles": "poles",
    "dac": "dac",
    "digitiser": "digitiser",
    "memory": "sample_and_hold",
}
"""Role in a machine -> law of the part that fills it."""


def laws() -> Mapping[str, Mapping[str, EntrySpec]]:
    """Law -> the entries of its sheets."""
    return {
        "pair": pair.ENTRIES,
        "microled": microled.ENTRIES,
        "optics": optics.ENTRIES,
        "slm": slm.ENTRIES,
        "photodetector": photodetector.ENTRIES,
        "gains": gains.ENTRIES,
        "node": node.ENTRIES,
        "poles": poles.ENTRIES,
        "dac": dac.ENTRIES,
        "digitiser": digitiser.ENTRIES,
        "sample_and_hold": sample_and_hold.ENTRIES,
    }
