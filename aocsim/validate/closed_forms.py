"""The simulator against closed forms: dynamics, noise, converters and single parts."""

from __future__ import annotations

from aocsim.validate import closed_converters, closed_detectors, closed_loops, closed_noise, closed_parts
from aocsim.validate.check import Check

TITLE = "Closed forms"
CHECKS: tuple[Check, ...] = (
    *closed_loops.CHECKS,
    *closed_noise.CHECKS,
    *closed_detectors.CHECKS,
    *closed_converters.CHECKS,
    *closed_parts.CHECKS,
)
