r"""Sample-and-hold: the analog memory that keeps a node voltage from one diffusion step to the next.

While the switch is closed the hold capacitor follows the node through one pole; when it opens, the charge of the
switch is left on the capacitor (pedestal), thermal noise is frozen in, and leakage discharges it from then on
(W. Kester, ed., *The Data Conversion Handbook*, Newnes 2005, chapter 7; kT/C: R. Sarpeshkar, T. Delbruck, C. A. Mead,
*IEEE Circuits Devices Mag.* 9(6), 23 (1993)):

.. math::

    v(t) = v_n + (v_{n-1} - v_n)\,e^{-T/\tau} + V_{ped} + \sqrt{kT_K/C}\,\xi - D\,t,
        \qquad \xi \sim N(0, 1)                                                                            (1)

    \tau = t_{acq} / \ln(1/\epsilon)                                                                       (2)

v_n is the node's voltage at the hold instant, v_{n-1} the voltage held before, T the time it tracked, t the time since
it holds. A data sheet states tau as the acquisition time t_acq in which all but epsilon of a step has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.constants import BOLTZMANN
from aocsim.power import UNKNOWN, Load, each
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "acquisition_time": EntrySpec("second"),
    "acquisition_error": EntrySpec("dimensionless"),
    "droop_rate": EntrySpec("volt/second", per=("machine", "channel")),
    "pedestal": EntrySpec("volt", per=("machine", "channel")),
    "capacitance": EntrySpec("farad"),
    "temperature": EntrySpec("kelvin"),
    "supply_power": EntrySpec("watt", optional=True),
}


@dataclass(frozen=True, eq=False)
class SampleAndHold:
    """As built: one memory cell for each channel.

    Attributes:
        acquisition_time: t_acq, s, for which the switch is closed before a hold.
        acquisition_error: epsilon, part of a step that is missing after the acquisition time, in [0, 1).
        droop_rate: D, (n,) V/s, positive for a held voltage that falls.
        pedestal: V_ped, (n,) V, left by the switch when it opens.
        capacitance: C, F, of the hold capacitor; inf for a noiseless cell.
        temperature: T_K, K, of the switch.
        supply_power: W for each channel, tracking or holding.
    """

    acquisition_time: float
    acquisition_error: float
    droop_rate: Array
    pedestal: Array
    capacitance: float
    temperature: float
    supply_power: float = UNKNOWN

    @classmethod
    def build(cls, part: AsBuilt) -> SampleAndHold:
        """Draw the memory cells of one machine."""
        return cls(
            acquisition_time=part.scalar("acquisition_time"),
            acquisition_error=part.scalar("acquisition_error"),
            droop_rate=part.array("droop_rate", "channel"),
            pedestal=part.array("pedestal", "channel"),
            capacitance=part.scalar("capacitance"),
            temperature=part.scalar("temperature"),
            supply_power=part.optional("supply_power"),
        )

    def power(self, channels: int) -> tuple[Load, ...]:
        """What the memory cells of all channels take from the supply while they track or hold.

        Raises:
            InputError: the sheet does not say.
        """
        return (each("memory cells", channels, "channels", self.supply_power, "memory", "supply_power"),)

    @property
    def noise(self) -> float:
        """Standard deviation of a held voltage, sqrt(k T_K / C), in V."""
        return float(np.sqrt(BOLTZMANN * self.temperature / self.capacitance))

    def missing(self, tracked: float) -> float:
        """Part of the step from the voltage held before that is missing after tracking for so many seconds.

        exp(-T/tau) of equations (1) and (2), written as epsilon^(T/t_acq).

        Raises:
            ValueError: a negative time.
        """
        if not tracked >= 0:
            raise ValueError(f"memory: cannot track for {tracked} s")
        return float(self.acquisition_error ** (tracked / self.acquisition_time))

    def hold(
        self,
        node: Array,
        previous: Array,
        held_for: Array | float,
        normals: Array,
        tracked: float | None = None,
    ) -> Array:
        """Equation (1): the voltage that the memory gives back.

        Args:
            node: voltage at the hold instant, (..., n) V.
            previous: voltage held before, (..., n) V.
            held_for: time since the hold instant, s: a number, or an array that broadcasts to node's shape.
            normals: standard normals, (..., n).
            tracked: how long the switch was closed, s; the acquisition time if None.

        Returns:
            Held voltage, (..., n) V.

        Raises:
            ValueError: shapes that differ, another number of channels, or a negative time.
        """
        node, held_for = np.asarray(node, dtype=float), np.asarray(held_for, dtype=float)
        shapes = (np.shape(previous), np.shape(normals), np.broadcast_shapes(node.shape, held_for.shape))
        if node.shape[-1:] != self.pedestal.shape or any(shape != node.shape for shape in shapes):
            raise ValueError(
                f"memory of {len(self.pedestal)} channels: node {node.shape}, previous {shapes[0]}, "
                f"normals {shapes[1]} and held_for {held_for.shape} do not fit together"
            )
        if not (held_for >= 0).all():
            raise ValueError(f"memory: cannot hold for {held_for.min()} s")
        missing = self.missing(self.acquisition_time if tracked is None else tracked)
        acquired = node + missing * (previous - node)
        return np.asarray(acquired + self.pedestal + self.noise * normals - self.droop_rate * held_for)
