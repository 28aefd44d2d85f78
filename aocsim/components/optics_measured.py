r"""Fan-out and fan-in optics as they were measured: a number for each row, column and neighbour.

Light of emitter i reaches detector j with the row efficiency r_i and the output correction o_j; the columns' own
profile is in the modulator's measured law. Each detector sees its neighbours' light less their darkness c, since the
ratios were measured as changes with the weights:

.. math:: s_j = \sum_i o_j\,\eta_{ji}\,r_i\,p_i + \epsilon\,k_j\,o_j\,r_j\,p_j                            (1)

.. math:: S_j = s_j + E_{j+1}(s_{j+1} - c_{j+1}) + \Lambda_{j-1}(s_{j-1} - c_{j-1})                       (2)

as in the public digital twin of the 48-channel machine (github.com/microsoft/aoc, parameters of April 2025), in
whose unit of light U the darkness stands. So the darkness makes a light of its own, which no emitter moves,

.. math:: B = -\frac{T}{n}\,U\,(M - 1)\,c, \qquad S = M s + B                                             (3)

k_j is direct light that no pixel modulates; its share epsilon is 1 for a machine as it is, and 0 where the
measurement's other numbers have been corrected for it. The crosstalk of the first detector to the earlier one and
of the last to the later one fall beside the array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt
from aocsim.components.optics import Optics, neighbour_matrix
from aocsim.components.slm_measured import both_arms
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

_PER_CHANNEL = EntrySpec("dimensionless", shape=0, per=("machine", "channel"))
_KEPT = EntrySpec("dimensionless", shape=0)

ENTRIES = {
    "throughput": EntrySpec("dimensionless"),
    "row_plus": _PER_CHANNEL,
    "row_minus": _PER_CHANNEL,
    "output_correction_plus": _PER_CHANNEL,
    "output_correction_minus": _PER_CHANNEL,
    "pixel_structure": EntrySpec("dimensionless", per=("machine", "pixel")),
    "to_earlier_plus": _PER_CHANNEL,
    "to_earlier_minus": _PER_CHANNEL,
    "to_later_plus": _PER_CHANNEL,
    "to_later_minus": _PER_CHANNEL,
    "darkness_plus": _PER_CHANNEL,
    "darkness_minus": _PER_CHANNEL,
    "darkness_light": EntrySpec("watt"),
    "direct_plus": _PER_CHANNEL,
    "direct_minus": _PER_CHANNEL,
    "direct_share": EntrySpec("dimensionless"),
    "kept_detector_darkness_plus": _KEPT,
    "kept_detector_darkness_minus": _KEPT,
    "kept_best_to_worst": _KEPT,
}


def build(part: AsBuilt) -> Optics:
    """Draw the optics of one machine; "kept" entries came with the measurement and act on nothing."""
    n = part.channels
    row, correction = both_arms(part, "row"), both_arms(part, "output_correction")
    crosstalk = neighbour_matrix(both_arms(part, "to_earlier"), both_arms(part, "to_later"))
    darkness, throughput = both_arms(part, "darkness"), part.scalar("throughput")
    taken_off = np.matmul(crosstalk - np.eye(n), darkness[:, :, None])[:, :, 0]
    return Optics(
        throughput=np.full(2, throughput),
        row=row,
        column=correction,
        structure=part.array("pixel_structure", "pixel"),
        crosstalk=crosstalk,
        direct=part.scalar("direct_share") * both_arms(part, "direct") * correction,
        dead=tuple(int(i) for i in np.flatnonzero(~row.any(axis=0))),
        baseline=-throughput / n * part.scalar("darkness_light") * taken_off,
    )
