"""What is published of the real machine, asked of the simulated one."""

from __future__ import annotations

from aocsim.validate import facts_averaging, facts_light, facts_loop, facts_noise, facts_units
from aocsim.validate.check import Check

TITLE = "Facts of the machine"
CHECKS: tuple[Check, ...] = (
    *facts_loop.CHECKS,
    *facts_averaging.CHECKS,
    *facts_noise.CHECKS,
    *facts_units.CHECKS,
    *facts_light.CHECKS,
)
