r"""Where a calibrated twin comes to rest under a program, for comparison with what its machine was read at.

With the sheet's gradient G (open-loop offsets left out) and gains K, k and d of gradient, alpha path and drive, a
machine as built rests at

.. math:: z = K\,G(z) + k\,\alpha\,z + d\,u + o + \beta\,o'                                                  (1)

A trimmed one does not: its alpha has been set so that without gradient (1 - k alpha)/d is the program's 1 - alpha, and
a bias so that it rests at 0 V where nothing else drives it. Close to alpha = 1 no sheet knows k and o as well as the
trims do; what they have brought about is taken as done, so that

.. math:: (1 - \alpha)\,z = \frac{K}{d}\bigl[G(z) - G(0)\bigr] + u                                           (2)

with the program's alpha, and the drive u without that bias. A correction at the operating point is a part of u: the
machine is given it, and the twin has to say what comes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import SIGNS, SLOPE, SWING, Chain
from aocsim.calibration.closed import Electronics
from aocsim.calibration.truth import as_built
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.spec import MachineSpec
from aocsim.twin.model import StaticMap, attracting_point, point_near

Array = NDArray[np.float64]

TOLERANCE = 1e-9  # V, of the last Newton step
ITERATIONS = 1000
AT_ONCE = 256  # drives, for the memory's sake


class Known(Protocol):
    """What a twin is made of: a calibration's `Sheet`, or `Exported`."""

    @property
    def chain(self) -> Chain:
        """Of the open loop."""
        ...

    @property
    def electronics(self) -> Electronics | None:
        """Of the closed loop, beside the chain's."""
        ...

    @property
    def limit(self) -> float:
        """V, at which the drive is clipped."""
        ...


@dataclass(frozen=True, eq=False)
class Exported:
    """The twin of a machine as built, by fits to its laws from inside: about what a calibration without noise reaches.

    Attributes:
        chain: of the open loop.
        electronics: of the closed loop, beside the chain's.
        limit: V, at which the drive is clipped.
    """

    chain: Chain
    electronics: Electronics
    limit: float

    @classmethod
    def of(cls, spec: MachineSpec, serial: int) -> Exported:
        """The twin that `aocsim export-twin` writes, with the columns' retardance.

        Raises:
            InputError: a machine that no twin rests with.
        """
        return cls(*as_built(spec, serial), Machine.build(spec, serial).dac.full_scale)


def predicted_rest(
    sheet: Known, program: Program, drive: Array, *, trimmed: bool, start: Array | None = None
) -> Array:
    """The fixed points that a loop from 0 V on comes to, or those near a state where the loop has been seen to rest.

    Args:
        sheet: of the machine.
        program: grey levels and gains, its alpha the one that is to arrive; alpha as set where nothing is trimmed.
        drive: (m, n) V, u of equations (1) and (2).
        trimmed: whether alpha and offsets of the machine are; decides between the two.
        start: (m, n) V; None is 0 V.

    Returns:
        (m, n) V.

    Raises:
        PhysicsError: a twin that does not come to rest.
    """
    law = _law(sheet, program, trimmed)
    low, high = -sheet.limit, sheet.limit
    gain = np.ones(sheet.chain.channels) if trimmed else _electronics(sheet).drive
    out = np.empty_like(drive)
    for first in range(0, len(drive), AT_ONCE):
        here = slice(first, first + AT_ONCE)
        u = gain * np.clip(drive[here], low, high)
        part = StaticMap(law.paths, law.offset, law.alpha, u, law.tanh, law.light)
        if start is None:
            out[here] = attracting_point(part, TOLERANCE, ITERATIONS)
        else:
            out[here] = point_near(part, start[here], TOLERANCE, ITERATIONS)
    return out


def _electronics(sheet: Known) -> Electronics:
    return sheet.electronics or Electronics.ideal(sheet.chain.channels)


def _law(sheet: Known, program: Program, trimmed: bool) -> StaticMap:
    """The map without any drive."""
    chain, found, n = sheet.chain, _electronics(sheet), sheet.chain.channels
    gain = found.gradient / found.drive if trimmed else found.gradient
    paths = chain.paths(program.weight) * SIGNS[:, None, None] * (gain * program.beta / n)[:, None]
    a, b, c, through = chain.pair
    tanh = np.array([a, b, c, SWING, 0.0, through])
    light = np.insert(chain.light, 2, SLOPE, axis=1)
    nothing = np.zeros((1, n))
    if trimmed:
        bare = StaticMap(paths, np.zeros(n), program.alpha, nothing, tanh, light)
        return StaticMap(paths, -bare.step(nothing)[0], program.alpha, nothing, tanh, light)
    offset = chain.offset + program.beta * chain.offset_per_beta + found.offset
    return StaticMap(paths, offset, found.alpha * program.alpha, nothing, tanh, light)
