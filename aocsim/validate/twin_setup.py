"""What the checks of the twin begin with: its file, its machine, and a random program at whose fixed point it rests."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import compose, electronics_of
from aocsim.errors import PhysicsError
from aocsim.library import Library
from aocsim.live import Flicker
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.solve.steady import require_stable, steady_state
from aocsim.spec import MachineSpec, Text
from aocsim.twin.build import checked_spec
from aocsim.twin.fit import measurement_of
from aocsim.twin.format import measurement, read_measurement, write_measurement
from aocsim.twin.model import StaticMap, Twin
from aocsim.validate.check import Setting, SkippedError

Array = NDArray[np.float64]

TOLERANCE = 1e-10  # V, of the steady states
DRIVES = 6
LINEAR_SHARE = 0.8  # of the linear range that the fixed points of the program may fill
ALPHA = (0.6, 0.9)  # range of the program's alpha
BETA = 25.0  # where the search for a gain begins, and where it ends: at a loop that is well inside stability
LEAST_BETA = 0.1
LEADING = 0.6  # largest real part of the unrelaxed map's eigenvalues
SPAN = 1.2  # V, of the unrelaxed drive
SEED = 2025

Changes = Mapping[str, Mapping[str, Text]]


@dataclass(frozen=True, eq=False)
class Case:
    """A twin, and a program with drives whose fixed points stay inside the amplifier's linear range.

    Attributes:
        twin: of the file.
        origin: what the file is, for the table.
        weights: (n, n), as the twin takes them.
        drive: (drives, n) V.
        alpha: (n,).
        beta: gain.
    """

    twin: Twin
    origin: str
    weights: Array
    drive: Array
    alpha: Array
    beta: float

    def map(self, twin: Twin | None = None, direct_light: bool = False) -> StaticMap:
        """The program's map on this twin or on another one."""
        return (twin or self.twin).static_map(
            self.weights, bias=self.drive, alpha=self.alpha, beta=self.beta, direct_light=direct_light
        )

    def fixed_point(self, twin: Twin | None = None, direct_light: bool = False) -> Array:
        """The twin's fixed points, (drives, n) V."""
        return (twin or self.twin).fixed_point(
            self.weights, bias=self.drive, alpha=self.alpha, beta=self.beta, direct_light=direct_light
        )

    def weight(self) -> Array:
        """Commanded weights, unrounded, (2, n, n) as [arm, output, input]."""
        share: Array = self.weights / np.abs(self.weights).max()
        return np.stack([np.maximum(share, 0.0).T, np.maximum(-share, 0.0).T])

    def machine(self, changes: Changes | None = None, direct_light: bool = False) -> Machine:
        """The machine of the twin, nominal, with entries or sheets changed."""
        spec = self.machine_spec(direct_light)
        return Machine.build(spec.with_overrides(changes or {}, Library.open().part), None)

    def machine_spec(self, direct_light: bool = False) -> MachineSpec:
        """The sheets of the machine of the twin."""
        return checked_spec(self.twin.measurement, direct_light=direct_light)

    def loop(
        self,
        machine: Machine,
        weight: Array | None = None,
        alpha: Array | None = None,
        beta: float | None = None,
        flicker: Flicker | None = None,
    ) -> Loop:
        """The machine's loop with this program, or with settings that were rounded."""
        a, b = self.alpha if alpha is None else alpha, self.beta if beta is None else beta
        program = Program(self.weight() if weight is None else weight, a, b, np.arange(machine.channels), 1.0)
        return compose(machine, program, electronics_of(machine, a, b), flicker)

    def rest(self, loop: Loop, drive: Array | None = None, start: Array | None = None) -> Array:
        """Where the loop rests, and is stable, (drives, n) V: from 0 V, or from `start`."""
        volts = self.drive if drive is None else drive
        state = np.zeros((len(volts), loop.states)) if start is None else start
        state = steady_state(loop, state, volts, TOLERANCE, "twin's machine")
        require_stable(loop, state, volts, "twin's machine")
        return state[:, : loop.channels]

    def amplification(self, z: Array) -> Array:
        """(I - J)^-1 of the map at the fixed points, (drives, n, n): what a volt at each node does to all."""
        return np.asarray(np.linalg.inv(np.eye(z.shape[1]) - self.map().jacobian(z)), dtype=float)

    def gentle(self, room: float) -> bool:
        """Whether all fixed points are well inside stability, and within `room`, V."""
        try:
            z = self.fixed_point()
        except PhysicsError:
            return False
        gradient = self.map().jacobian(z) - np.diag(self.alpha)
        unrelaxed = np.linalg.eigvals(gradient / (1 - self.alpha)[:, None])
        return bool(np.abs(z).max() <= room and unrelaxed.real.max() <= LEADING)

    def changed(self, values: Mapping[str, object]) -> Twin:
        """The twin with other parameters by dotted key."""
        return Twin(measurement({**self.twin.measurement.values, **values}, "changed"))


@lru_cache(maxsize=2)
def case_of(setting: Setting) -> Case:
    """The case of the setting's twin file, or else of its machine in the twin's format, by way of a file."""
    if setting.twin_file is not None:
        found, origin = read_measurement(setting.twin_file), setting.twin_file.name
    else:
        origin = f"{setting.machine}, serial {setting.serial}, in the twin's format"
        with tempfile.TemporaryDirectory() as folder:
            written, _ = measurement_of(setting.spec(), setting.serial, origin)
            path = write_measurement(written, Path(folder) / "exported.yaml")
            found = replace(read_measurement(path), source=origin)
    twin = Twin(found)
    rng = np.random.default_rng(SEED)
    n = twin.channels
    weights, alpha = rng.uniform(-1.0, 1.0, (n, n)), rng.uniform(*ALPHA, n)
    relaxed = (1 - alpha) * rng.uniform(-SPAN, SPAN, (DRIVES, n))
    beta, nothing = BETA, np.zeros((1, n))
    while True:
        # offsets, which 1/(1 - alpha) amplifies, are trimmed as on a machine: nothing reaches a node at rest
        drive = relaxed - twin.step(nothing, weights, alpha=alpha, beta=beta)
        case = Case(twin, origin, weights, drive, alpha, beta)
        node = case.machine().node
        if case.gentle(LINEAR_SHARE * min(-node.linear_low, node.linear_high)):
            return case
        beta *= 0.8
        if beta < LEAST_BETA:
            raise SkippedError("no random program has fixed points within the amplifier's linear range")
