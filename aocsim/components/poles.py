r"""First-order poles of the loop, dz/dt = 2 pi f_3dB (u - z), and its dead time, y(t) = x(t - L).

The dominant pole belongs to the shared node. Minor poles (driver, carrier lifetime of the microLED,
transimpedance amplifier) stand in the optical arms; a bandwidth of `inf` leaves a part instantaneous.

Dead time in the optical arms (flight of the light, drivers and amplifiers) leaves the relaxation by the alpha path as
it is; at the node it delays the alpha path too. With :math:`1 - \alpha \ll 1` a slow mode then slows down by
:math:`1 + L/\tau`, tau the node's time constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.spec import EntrySpec
from aocsim.stages import Delay, Pole

Array = NDArray[np.float64]

ENTRIES = {
    "node": EntrySpec("hertz", per=("machine", "channel")),
    "driver": EntrySpec("hertz", per=("machine", "channel")),
    "led_over_carrier": EntrySpec("dimensionless"),
    "transimpedance": EntrySpec("hertz", per=("machine", "channel")),
    "optical_delay": EntrySpec("second"),
    "node_delay": EntrySpec("second"),
}


@dataclass(frozen=True, eq=False)
class Poles:
    """As built.

    Attributes:
        node: -3 dB frequency of the node, (n,) Hz.
        driver: of the LED driver, (n,) Hz; inf for none.
        led_over_carrier: LED bandwidth over that of its carrier lifetime; inf for an instantaneous LED.
        transimpedance: of the detector's amplifier, (n,) Hz; inf for none.
        optical_delay: dead time of the optical arms, s.
        node_delay: dead time of the node, where arms and alpha path are together, s.
        nominal_bandwidth: of the node by its data sheet, Hz.
    """

    node: Array
    driver: Array
    led_over_carrier: float
    transimpedance: Array
    optical_delay: float
    node_delay: float
    nominal_bandwidth: float

    @classmethod
    def build(cls, part: AsBuilt) -> Poles:
        """Draw the poles of one machine."""
        return cls(
            node=part.array("node", "channel"),
            driver=part.array("driver", "channel"),
            led_over_carrier=part.scalar("led_over_carrier"),
            transimpedance=part.array("transimpedance", "channel"),
            optical_delay=part.scalar("optical_delay"),
            node_delay=part.scalar("node_delay"),
            nominal_bandwidth=float(part.nominal("node")),
        )

    def stage(self, bandwidth: Array | float) -> tuple[Pole, ...]:
        """A pole of this -3 dB frequency, (n,) or scalar Hz; no stage where it is infinite."""
        f = np.broadcast_to(np.asarray(bandwidth, dtype=float), self.node.shape)
        return () if np.isinf(f).all() else (Pole(2 * np.pi * f),)

    def dead_time(self, seconds: float) -> tuple[Delay, ...]:
        """Dead time, s; no stage where there is none."""
        return (Delay(seconds),) if seconds else ()
