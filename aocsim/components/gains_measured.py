r"""Gains and offsets of the electronics as they were measured in closed loop.

The public digital twin of the 48-channel machine (github.com/microsoft/aoc, parameters of April 2025) corrects the
gradient g of channel j, in volts at the node, to

.. math:: g_j \leftarrow \kappa_j\,[g_j + \rho\,(o_j + \beta\,o'_j)]                                      (1)

with the offsets in volts at the converter and rho volts at the node for each of those. As a part of the loop this is
`aocsim.components.gains.Gains` with the offsets kappa_j rho o_j and kappa_j rho o'_j.

Entries called "kept" came with the measurement and act on nothing here: what the read-out, the open loop and the
detectors alone showed at rest, and a second-order scaling that is zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components.gains import Gains
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

_VOLTS = EntrySpec("volt", shape=0, per=("machine", "channel"))
_KEPT_VOLTS = EntrySpec("volt", shape=0)
_KEPT_NUMBERS = EntrySpec("dimensionless", shape=0)

ENTRIES = {
    "electrical_gain": EntrySpec("dimensionless"),
    "scaling": EntrySpec("dimensionless", shape=0, per=("machine", "channel")),
    "dc_offset": _VOLTS,
    "linear_offset": _VOLTS,
    "solution_to_adc_ratio": EntrySpec("volt/volt"),
    "beta_full_scale": EntrySpec("dimensionless"),
    "beta_bits": EntrySpec("dimensionless"),
    "alpha_bits": EntrySpec("dimensionless"),
    "alpha_gain": EntrySpec("dimensionless", per=("machine", "channel")),
    "gain_drift": EntrySpec("1/second**0.5"),
    "offset_drift": EntrySpec("volt/second**0.5"),
    "alpha_drift": EntrySpec("1/second**0.5"),
    "kept_scaling_second_order": _KEPT_NUMBERS,
    "kept_readout_dc_offset": _KEPT_VOLTS,
    "kept_readout_linear_offset": _KEPT_VOLTS,
    "kept_open_loop_offset": _KEPT_VOLTS,
    "kept_open_loop_linear_offset": _KEPT_VOLTS,
    "kept_detector_offset_plus": _KEPT_VOLTS,
    "kept_detector_offset_minus": _KEPT_VOLTS,
}


def node_offset(offset: Array, scaling: Array, ratio: float) -> Array:
    """kappa rho o: volts at the node that an offset at the converter, V, stands for."""
    return np.asarray(scaling * (ratio * offset))


def build(part: AsBuilt) -> Gains:
    """Draw the gains of one machine."""
    scaling, ratio = part.profile("scaling"), part.scalar("solution_to_adc_ratio")
    return Gains(
        electrical_gain=part.scalar("electrical_gain"),
        closed_loop_gain=scaling,
        beta_full_scale=part.scalar("beta_full_scale"),
        beta_bits=part.integer("beta_bits"),
        alpha_bits=part.integer("alpha_bits"),
        alpha_gain=part.array("alpha_gain", "channel"),
        offset=node_offset(part.profile("dc_offset"), scaling, ratio),
        offset_per_beta=node_offset(part.profile("linear_offset"), scaling, ratio),
        gain_drift=part.scalar("gain_drift"),
        offset_drift=part.scalar("offset_drift"),
        alpha_drift=part.scalar("alpha_drift"),
    )
