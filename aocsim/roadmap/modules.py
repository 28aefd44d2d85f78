r"""From sheets to rings of modules: how long everything takes where a network is split over them.

A module whose node has another bandwidth F than the machine's records for the same multiple of its settling time:

.. math:: T(F) = T_0\,\frac{t_s(F)}{t_s(F_0)}                                                              (1)

with t_s of `aocsim.roadmap.settling`, poles (emitter, photodiode, transimpedance amplifier) and flight time of the
projected parts in it as in `aocsim.roadmap.projection`, and T_0 the record of the machine's sheet. A ring of several
modules passes the crossbar once a layer: its pole and its delay stand in t_s like those of the optical arms, and what
they add to (1) is the ring's dead time. A single module has no crossbar.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from aocsim.components.module import ProjectedModule
from aocsim.components.switch import Switch
from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.roadmap.rings import Rings, Shared
from aocsim.roadmap.settling import flight_time, refuse_beyond, settling_of, slowest
from aocsim.roadmap.split import Split, rings_of


@dataclass(frozen=True)
class Loops:
    """How the loops are run, as far as their settling goes.

    Attributes:
        alpha: relaxation of the median channel.
        radius: spectral radius of the unrelaxed map, below 1.
    """

    alpha: float
    radius: float


@dataclass(frozen=True)
class Technology:
    """What rings are made of.

    Attributes:
        machine: for durations and, without `module`, for everything.
        switch: crossbar between modules.
        module: projected parts around the loop; None leaves the machine's.
        bandwidth: of the node, Hz; None leaves the machine's.
    """

    machine: Machine
    switch: Switch
    module: ProjectedModule | None = None
    bandwidth: float | None = None

    def limits(self, modules: int) -> dict[str, float]:
        """Bandwidths that the parts can follow, Hz; that of the crossbar where a ring has one.

        The machine's own parts follow their own node as they are built; they limit another bandwidth.
        """
        if self.module is not None:
            own = dict(self.module.bandwidths)
        else:
            own = {} if self.bandwidth is None else slowest(self.machine)
        return own | ({"crossbar": self.switch.bandwidth} if modules > 1 else {})

    @property
    def node(self) -> float:
        """Bandwidth of the node, Hz."""
        return self.machine.poles.nominal_bandwidth if self.bandwidth is None else self.bandwidth

    def settling(self, loops: Loops, *, crossbar: bool) -> float:
        """Settling time to 1 %, s.

        Raises:
            InputError: a loop that does not settle.
        """
        module = self.module
        poles = () if module is None else module.poles(self.node)
        delay = 0.0 if module is None else flight_time(module.path_length)
        if crossbar:
            poles, delay = (*poles, self.switch.bandwidth), delay + self.switch.delay
        found = _settling_time(self.node, loops.alpha, loops.radius, poles, delay)
        if found == float("inf"):
            raise InputError(
                "the loop does not settle with the lags of its parts",
                key="bandwidth",
                got=f"{self.node:.4g} Hz",
            )
        return found

    def timed(self, loops: Loops) -> Machine:
        """The machine with the record of equation (1) and the module's frame time; itself if nothing is projected."""
        if self.module is None and self.bandwidth is None:
            return self.machine
        plain = replace(self, module=None, bandwidth=None)
        factor = self.settling(loops, crossbar=False) / plain.settling(loops, crossbar=False)
        digitiser = self.machine.digitiser
        out = replace(
            self.machine,
            digitiser=replace(
                digitiser,
                sample_rate=digitiser.sample_rate / factor,
                window_start=digitiser.window_start * factor,
                window_stop=digitiser.window_stop * factor,
            ),
            poles=replace(
                self.machine.poles,
                node=self.machine.poles.node * (self.node / plain.node),
                nominal_bandwidth=self.node,
            ),
        )
        if self.module is None:
            return out
        slm = replace(self.machine.slm, frame_time=self.module.frame_time, settling_time=0.0)  # type: ignore[type-var]
        return replace(out, slm=slm)


@lru_cache(maxsize=1024)
def _settling_time(
    bandwidth: float, alpha: float, radius: float, poles: tuple[float, ...], delay: float
) -> float:
    """S to 1 %, kept: many numbers of modules and many drawn machines have the same loops."""
    return settling_of(bandwidth, alpha, radius, poles=poles, delay=delay).time


def rings_with(
    technology: Technology,
    found: Split,
    modules: int,
    loops: Loops,
    *,
    shared: Shared,
    in_flight: int,
    double_buffered: bool,
    key: str = "study.modules",
) -> Rings:
    """So many modules as rings that hold a network.

    Args:
        technology: of all modules.
        found: the network's split.
        modules: in all; what is left over stays idle.
        loops: how they are run.
        shared: what all rings share.
        in_flight: samples under way for each ring.
        double_buffered: whether a ring's next drive can be set while it solves.
        key: where the number of modules stands.

    Raises:
        InputError: no module, too few for the network, a bandwidth that a part cannot follow, or a loop that does not
            settle.
    """
    count = rings_of(found, modules, key)
    limits = technology.limits(found.count)
    if limits:
        refuse_beyond(limits, technology.node, "bandwidth")
    machine, dead, closing = technology.timed(loops), 0.0, 0.0
    if found.count > 1:
        slower = technology.settling(loops, crossbar=True) / technology.settling(loops, crossbar=False)
        record = machine.digitiser.samples / machine.digitiser.sample_rate
        dead, closing = record * (slower - 1), technology.switch.switching_time
    return Rings(
        machine=machine,
        modules=found.count,
        rings=count,
        closing=closing,
        dead_time=dead,
        shared=shared,
        in_flight=in_flight,
        double_buffered=double_buffered,
    )
