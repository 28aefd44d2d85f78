r"""First-order poles of the loop: dz/dt = 2 pi f_3dB (u - z).

The dominant pole belongs to the shared node. Minor poles (driver, carrier lifetime of the microLED,
transimpedance amplifier) stand in the optical arms; a bandwidth of `inf` leaves a part instantaneous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.spec import EntrySpec
from aocsim.stages import Pole

Array = NDArray[np.float64]

ENTRIES = {
    "node": EntrySpec("hertz", per=("machine", "channel")),
    "driver": EntrySpec("hertz", per=("machine", "channel")),
    "led_over_carrier": EntrySpec("dimensionless"),
    "transimpedance": EntrySpec("hertz", per=("machine", "channel")),
}


@dataclass(frozen=True, eq=False)
class Poles:
    """As built.

    Attributes:
        node: -3 dB frequency of the node, (n,) Hz.
        driver: of the LED driver, (n,) Hz; inf for none.
        led_over_carrier: LED bandwidth over that of its carrier lifetime; inf for an instantaneous LED.
        transimpedance: of the detector's amplifier, (n,) Hz; inf for none.
        nominal_bandwidth: of the node by its data sheet, Hz.
    """

    node: Array
    driver: Array
    led_over_carrier: float
    transimpedance: Array
    nominal_bandwidth: float

    @classmethod
    def build(cls, part: AsBuilt) -> Poles:
        """Draw the poles of one machine."""
        return cls(
            node=part.array("node", "channel"),
            driver=part.array("driver", "channel"),
            led_over_carrier=part.scalar("led_over_carrier"),
            transimpedance=part.array("transimpedance", "channel"),
            nominal_bandwidth=float(part.nominal("node")),
        )

    def stage(self, bandwidth: Array | float) -> tuple[Pole, ...]:
        """A pole of this -3 dB frequency, (n,) or scalar Hz; no stage where it is infinite."""
        f = np.broadcast_to(np.asarray(bandwidth, dtype=float), self.node.shape)
        return () if np.isinf(f).all() else (Pole(2 * np.pi * f),)
