r"""Fan-out and fan-in optics: from emitters to modulator pixels to detectors.

Light of emitter i reaches pixel (i, j) with the row efficiency r_i and detector j with the column profile c_j;
structure that is not a product of a row and a column law stays as a factor for each pixel:

.. math:: \eta_{ji} = \frac{T}{n}\, r_i\, c_j\, (1 + \epsilon_{ji}), \qquad
    r_i = \sum_k a_k x_i^k,\quad c_j = c_0 e^{-x_j^2/2 s^2}                                                (1)

Imaging errors grow away from the optical axis and push light outwards. Detector j receives, beside its own
light L_j, the neighbours' (E towards the earlier, L towards the later detector):

.. math:: S_j = L_j + E_{j+1} L_{j+1} + \Lambda_{j-1} L_{j-1}                                             (2)

Direct light of emitter j that no pixel has modulated falls on detector j. All profiles are functions of the
normalised aperture coordinate x in (-1, 1), so that machines of any channel count build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aocsim.asbuilt import AsBuilt, aperture
from aocsim.components.roles import Known
from aocsim.seeds import stream
from aocsim.spec import EntrySpec

Array = NDArray[np.float64]

ENTRIES = {
    "throughput": EntrySpec("dimensionless", per=("machine", "arm")),
    "row_profile": EntrySpec("dimensionless", shape=0),
    "row_ripple": EntrySpec("dimensionless", per=("machine", "channel")),
    "row_arm_ripple": EntrySpec("dimensionless", per=("machine", "channel_arm")),
    "dead_fraction": EntrySpec("dimensionless"),
    "column_amplitude": EntrySpec("dimensionless", shape=2, per=("machine", "arm")),
    "column_width": EntrySpec("dimensionless", per=("machine", "arm")),
    "column_ripple": EntrySpec("dimensionless", per=("machine", "channel")),
    "column_arm_ripple": EntrySpec("dimensionless", per=("machine", "channel_arm")),
    "pixel_structure": EntrySpec("dimensionless", per=("machine", "pixel")),
    "crosstalk_centre": EntrySpec("dimensionless", per=("machine", "arm", "channel_arm")),
    "crosstalk_to_earlier": EntrySpec("dimensionless", shape=2, per=("machine", "arm")),
    "crosstalk_to_later": EntrySpec("dimensionless", shape=2, per=("machine", "arm")),
    "crosstalk_inward": EntrySpec("dimensionless", shape=2, per=("machine", "arm")),
    "crosstalk_exponent_to_earlier": EntrySpec("dimensionless", shape=2),
    "crosstalk_exponent_to_later": EntrySpec("dimensionless", shape=2),
    "crosstalk_inward_exponent": EntrySpec("dimensionless"),
    "crosstalk_ripple": EntrySpec("dimensionless", per=("machine", "channel_arm")),
    "crosstalk_beyond": EntrySpec("dimensionless", per=("machine",)),
    "direct_centre": EntrySpec("dimensionless", per=("machine", "channel_arm")),
    "direct_edge": EntrySpec("dimensionless"),
    "direct_exponent": EntrySpec("dimensionless"),
}


@dataclass(frozen=True, eq=False)
class Optics:
    """As built. Arrays are [arm, output j, input i] or [arm, channel].

    Attributes:
        throughput: T, (2,), part of an emitter's light that its row would put on all detectors together.
        row: r_i, (2, n).
        column: c_j, (2, n).
        structure: 1 + eps_ji, (2, n, n).
        crosstalk: equation (2) as a matrix on the detectors' light, (2, n, n).
        direct: part of emitter j's light, in units of r_j T/n, that reaches detector j unmodulated, (2, n).
        dead: inputs whose emitter gives no light, sorted channel numbers.
        baseline: light on each detector that no emitter moves, (2, n) W; negative where a correction takes it off.
    """

    throughput: Array
    row: Array
    column: Array
    structure: Array
    crosstalk: Array
    direct: Array
    dead: tuple[int, ...]
    baseline: Array

    @classmethod
    def build(cls, part: AsBuilt) -> Optics:
        """Draw the optics of one machine."""
        n = part.channels
        x = aperture(n)
        row = np.polynomial.polynomial.polyval(x, np.atleast_1d(part.nominal("row_profile")))
        row = row * part.array("row_ripple", "channel_arm") * part.array("row_arm_ripple", "channel_arm")
        dead = _dead_inputs(part)
        row[:, list(dead)] = 0.0
        width = part.array("column_width", "arm")[:, None]
        column = part.array("column_amplitude", "arm")[:, None] * np.exp(-(x**2) / (2 * width**2))
        column *= part.array("column_ripple", "channel_arm") * part.array("column_arm_ripple", "channel_arm")
        direct_centre = part.array("direct_centre", "channel_arm")
        direct_nominal = float(part.nominal("direct_centre"))
        edge_over_centre = part.scalar("direct_edge") / direct_nominal if direct_nominal else 0.0
        grows = part.scalar("direct_exponent")
        return cls(
            throughput=part.array("throughput", "arm"),
            row=np.maximum(row, 0.0),
            column=np.maximum(column, 0.0),
            structure=np.maximum(part.array("pixel_structure", "pixel"), 0.0),
            crosstalk=_crosstalk(part, x),
            direct=np.maximum(direct_centre * (1 + (edge_over_centre - 1) * np.abs(x) ** grows), 0.0),
            dead=dead,
            baseline=np.zeros((2, n)),
        )

    def fan(self) -> Array:
        """Light path of equation (1) without the modulator, T replaced by throughput/n, (2, n, n) as [arm, j, i]."""
        split = self.throughput[:, None, None] / self.row.shape[1]
        return np.asarray(split * self.column[:, :, None] * self.row[:, None, :] * self.structure)

    def collect(self, light: Array) -> Array:
        """Apply crosstalk, equation (2), to (..., 2, n, inputs): light before to light on the detectors."""
        c = self.crosstalk
        n = c.shape[-1]
        out = light * c[:, np.arange(n), np.arange(n)][:, :, None]
        for apart in range(1, self.reach + 1):
            k = np.arange(n - apart)
            out[..., :-apart, :] += c[:, k, k + apart][:, :, None] * light[..., apart:, :]
            out[..., apart:, :] += c[:, k + apart, k][:, :, None] * light[..., :-apart, :]
        return np.asarray(out)

    @cached_property
    def reach(self) -> int:
        """How many detectors away light arrives."""
        _, output, source = np.nonzero(self.crosstalk)
        return int(np.abs(output - source).max(initial=0))

    def direct_matrix(self) -> Array:
        """Light path around the modulator, (2, n, n), diagonal."""
        n = self.direct.shape[1]
        out = np.zeros((2, n, n))
        alive = self.throughput[:, None] / n * self.direct * self.row
        out[:, np.arange(n), np.arange(n)] = alive
        return out

    def as_known(self, known: Known) -> Optics:
        """As far as it is known: all profiles, the structure and the crosstalk; what is dead is seen."""
        return replace(
            self,
            throughput=known("throughput", self.throughput),
            row=known("row", self.row),
            column=known("column", self.column),
            structure=known("structure", self.structure),
            crosstalk=known("crosstalk", self.crosstalk),
            direct=known("direct", self.direct),
        )


def _dead_inputs(part: AsBuilt) -> tuple[int, ...]:
    count = round(part.scalar("dead_fraction") * part.channels)
    if part.serial is None or not count:
        return ()
    rng = stream(part.serial, f"{part.machine}.{part.role}.dead_fraction")
    return tuple(sorted(int(i) for i in rng.choice(part.channels, size=count, replace=False)))


def _crosstalk(part: AsBuilt, x: Array) -> Array:
    inward_exponent = part.scalar("crosstalk_inward_exponent")
    centre = part.array("crosstalk_centre", "channel_arm")
    inward = part.array("crosstalk_inward", "arm")[:, None]
    ripple = part.array("crosstalk_ripple", "channel_arm")
    ratios = []
    for direction, side in (("to_earlier", -x), ("to_later", x)):
        edge = part.array(f"crosstalk_{direction}", "arm")[:, None]
        exponent = part.array(f"crosstalk_exponent_{direction}", "arm")[:, None]
        outward = centre + (edge - centre) * np.maximum(side, 0.0) ** exponent
        ratio = (outward + inward * np.maximum(-side, 0.0) ** inward_exponent) * ripple
        ratios.append(np.maximum(ratio, 0.0))
    to_earlier, to_later = ratios
    return neighbour_matrix(to_earlier, to_later, part.scalar("crosstalk_beyond"))


def neighbour_matrix(to_earlier: Array, to_later: Array, beyond: float = 0.0) -> Array:
    """Equation (2) as a matrix, (2, n, n), from the ratios E and Lambda, (2, n) each, and the share q."""
    n = to_earlier.shape[1]
    out = np.zeros((2, n, n))
    out[:, np.arange(n), np.arange(n)] = 1.0
    k = np.arange(n - 1)
    out[:, k, k + 1] = to_earlier[:, 1:]
    out[:, k + 1, k] = to_later[:, :-1]
    k = np.arange(n - 2)
    out[:, k, k + 2] = beyond * to_earlier[:, 2:]
    out[:, k + 2, k] = beyond * to_later[:, :-2]
    return out
