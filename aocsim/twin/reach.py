"""How far a machine's measured laws are those that its parameters state.

The machine has its laws in tables, and its emitters' cubic ends where light would fall with the drive. The twin knows
neither: beyond, the two would rest at different volts, and nothing would say so.
"""

from __future__ import annotations

import numpy as np

from aocsim.components.microled_measured import MeasuredMicroLed
from aocsim.components.node_measured import MeasuredNode
from aocsim.components.pair_measured import MeasuredPair
from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.twin.format import FIELDS, Measurement

LEAST_EXPONENT, LARGEST_EXPONENT = 1.0, 30.0
"""The table misses the sigmoid by up to 5e-7 of its swing in between, and by more where it has a kink."""

LARGEST_INPUT = 1e6  # in units of the pair's u, and V: double precision then leaves 1e-8 of them to the table
LARGEST = 1e9  # of any number in a file, whose products then stay far from the largest float
POINTS = 2001


def check_sizes(found: Measurement) -> None:
    """Refuse numbers that overflow in a product with others.

    Raises:
        InputError: the first of them.
    """
    for key, kind in FIELDS.items():
        values = np.atleast_1d(np.array(found.values[key], dtype=float))
        large = np.argwhere(np.abs(values) > LARGEST)
        if large.size:
            place = tuple(large[0].tolist())
            raise InputError(
                "is larger than any machine's",
                file=found.source,
                key=".".join([key, *(str(step) for step in place if kind != "number")]),
                got=float(values[place]),
                allowed=f"up to {LARGEST:g} either way",
            )


def check_reach(machine: Machine) -> None:
    """Refuse a machine of measured laws that leaves them between its amplifier's saturation voltages.

    Raises:
        InputError: by the key of the machine's sheet.
    """
    pair, led, node = machine.pair, machine.led, machine.node
    assert isinstance(pair, MeasuredPair)
    assert isinstance(led, MeasuredMicroLed)
    assert isinstance(node, MeasuredNode)
    if not LEAST_EXPONENT <= pair.exponent <= LARGEST_EXPONENT:
        raise InputError(
            "the pair's knee is no smooth one",
            key="parts.pair.exponent",
            got=pair.exponent,
            allowed=f"{LEAST_EXPONENT:g} to {LARGEST_EXPONENT:g}",
        )
    flat = abs(pair.feedthrough) / float(np.abs(pair.slope).min())
    if flat > LARGEST_INPUT:
        raise InputError(
            "the pair has next to no slope beside its feedthrough",
            key="parts.pair.slope",
            got=float(pair.slope[np.argmin(np.abs(pair.slope))]),
            allowed=f"at least {abs(pair.feedthrough) / LARGEST_INPUT:.3g} 1/V either way",
        )
    offset = float(np.abs(pair.input_offset).max())
    if offset * max(1.0, flat) > LARGEST_INPUT:
        raise InputError(
            "the pair is never near its knee",
            key="parts.pair.input_offset",
            got=float(pair.input_offset[np.argmax(np.abs(pair.input_offset))]),
            allowed=f"up to {LARGEST_INPUT / max(1.0, flat):.3g} either way",
        )
    u = np.linspace(node.piece0_ends[0], node.piece4_ends[1], POINTS)
    volts = node.saturate(u)
    # the saturation values themselves too, and 0 V, where every solve begins
    z = np.linspace(
        min(volts.min(), node.negative_saturation, 0.0),
        max(volts.max(), node.positive_saturation, 0.0),
        POINTS,
    )
    drive = pair.stage().response(np.repeat(z[:, None], machine.channels, axis=1))
    highest, limit = float(np.abs(drive).max()), min(led.drive_limit(arm) for arm in (0, 1))
    if highest > limit:
        # the swing alone has been held against the limit when the machine was built
        through = abs(pair.feedthrough) * float(np.abs(z).max())
        entry = "feedthrough" if through > float(np.abs(pair.output_offset).max()) else "output_offset"
        raise InputError(
            f"the pairs drive the emitters to {highest:.3g} V, whose law holds to {limit:.3g} V",
            key=f"parts.pair.{entry}",
            got=pair.feedthrough if entry == "feedthrough" else float(np.abs(pair.output_offset).max()),
            allowed="less of it, or emitters whose light rises further",
        )
