r"""What a calibration would find without errors: a measurement's parameters in the chain's conventions.

The inverse of `aocsim.calibration.result.twin_of`. A measurement has the pair (a, b, c, d, f, g), the cubics p, rows r,
columns (A, B, C), output corrections w, crosstalk E, gains K, the ratio rho and offsets (o, o'). With s the stated
swing and p_1 the stated slope, the conventions of `aocsim.calibration.chain` make of them

.. math::

    v = \tfrac{d}{s} v' + f, \qquad g' = g\,\tfrac{s}{d}, \qquad
    p(v) = \tfrac{q_1}{p_1}\,p'(v') \ \text{with}\ q_1 = \tfrac{d}{s}\,\dot p(f),                             (1)

    r'_i = r_i / \bar r, \qquad (A, B, C)'_k = K_k\,w_k\,\bar r\,\tfrac{q_1}{p_1}\,(A, B, C)_k,
    \qquad X_{jk} = \tfrac{K_j}{K_k} E_{jk},                                                        (2)

    o_j \leftarrow K_j \rho\, o_j, \qquad
    o'_j \leftarrow K_j \Bigl[\rho\, o'_j - \tfrac{1}{n} \sum_\pm \pm \sum_k E^\pm_{jk}\,C^\pm_k\Bigr]    (3)

the mean over the inputs that shine. Of a machine of the twin's form this is the truth, whatever noise its experiments
have. Of any other `aocsim.twin.measurement_of` gives a measurement by fits of its own, to each law and over ranges of
their own, so that what comes out is the truth as near as the form can hold it: a calibration, which weighs the misfit
by its experiments, ends beside it even without noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import SIGNS, SLOPE, SWING, Chain
from aocsim.calibration.closed import Electronics
from aocsim.calibration.panel import column_laws
from aocsim.calibration.start import DEAD
from aocsim.components.slm_measured import MeasuredSlm
from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.spec import MachineSpec
from aocsim.twin.fit import WEIGHTS, measurement_of, parabolas_from_dark
from aocsim.twin.format import Measurement
from aocsim.twin.model import Twin

Array = NDArray[np.float64]

CLOSED = "close_loop_offset_and_scale."
OPENED = "open_loop_offset_and_scale.adc_offset"


def chain_of(found: Measurement, *, as_machine: bool = True) -> tuple[Chain, Electronics]:
    """A measurement's parameters as the two stages of a calibration name them.

    A machine that is built from a measurement has the gain and the offset of its closed loop with the loop open, too:
    both belong to the chain then, and the closed loop adds nothing. A calibration's own file holds the gain of the
    closed loop over that of the open one, and the open loop's offset beside the closed one's. What the format has no
    place for is ideal: gains of the alpha path and of the drive. Direct light is left out, as the twin does by default.

    Args:
        found: the parameters.
        as_machine: of the machine that is built from the measurement; otherwise of the machine whose calibration has
            been written by `twin_of`.

    Raises:
        InputError: an arm without light, or an output without gain, for which the conventions have no unit.
    """
    twin = Twin(found)
    n = twin.channels
    pair, light, unit = _emitters(found)
    bright = np.abs(twin.row).max(axis=0)
    live = bright > DEAD * bright.max()
    mean = twin.row[:, live].mean(axis=1) if live.any() else np.zeros(2)
    gain = twin.scaling
    if not (np.all(mean) and np.all(unit) and np.all(gain)):
        raise InputError("an arm without light, or an output without gain", file=found.source)
    constant = twin.offset(0.0)
    volts = gain * found.number(CLOSED + "solution_to_adc_ratio") * found.array(CLOSED + "linear_offset")
    beside = np.einsum("a,ajk,ak->j", SIGNS, twin.crosstalk, twin.column_law[:, :, 2])
    per_beta = volts - gain / n * beside
    ideal = Electronics.ideal(n)
    if as_machine:
        inside, electronics = gain, ideal
    else:
        inside = np.ones(n)
        opened = found.array(OPENED)
        electronics = Electronics(gain, ideal.alpha, ideal.drive, constant - opened)
        constant = opened
    scale = inside * twin.output_correction * (mean * unit)[:, None]
    ratio = twin.crosstalk * (inside[:, None] / inside)
    k = np.arange(n - 1)
    chain = Chain(
        pair,
        light,
        twin.row / mean[:, None],
        twin.column_law * scale[:, :, None],
        ratio[:, k + 1, k],
        ratio[:, k, k + 1],
        constant,
        per_beta,
        np.ones((2, n)),
    )
    return chain, electronics


def as_built(spec: MachineSpec, serial: int | None) -> tuple[Chain, Electronics]:
    """`chain_of` a machine's export, with the retardance of each column.

    Args:
        spec: its sheets.
        serial: serial number; None for the nominal machine.

    Raises:
        InputError: a machine that no twin rests with.
    """
    chain, electronics = chain_of(measurement_of(spec, serial, spec.name)[0])
    slm = Machine.build(spec, serial).slm
    if isinstance(slm, MeasuredSlm):
        return replace(chain, retardance=np.broadcast_to(slm.retardance, slm.linear.shape)), electronics
    n = chain.channels
    each = np.array([slm.response(np.full((2, n, n), w)).mean(axis=2).ravel() for w in WEIGHTS])
    retardance, law = column_laws(WEIGHTS, each)
    # the export's parabolas are those of the same responses, each in the unit of its light path
    unit = chain.law[:, :, 1].ravel() / parabolas_from_dark(each)[:, 1]
    columns = (unit[:, None] * law).reshape(chain.law.shape)
    return replace(chain, law=columns, retardance=retardance.reshape(2, n)), electronics


def _emitters(found: Measurement) -> tuple[Array, Array, Array]:
    """Equation (1): the pair's a, b, c and g', both arms' p_3, p_2 and p_0, (2, 3), and the arms' units q_1/p_1."""
    a, b, c, swing, shift, through = found.array("tanh_sigmoid_coeffs").tolist()
    # the sigmoid is odd: a pair that falls is one that rises, seen from the other side
    side = np.copysign(1.0, swing)
    stretch = abs(swing) / SWING
    pair = np.array([side * a, side * b, c, through / stretch])
    cubics = found.arms("led_poly_coeffs_pos", "led_poly_coeffs_neg")
    # the shift's binomials on one side, the stretch's powers on the other
    p3, p2, p1, p0 = cubics.T
    moved = np.stack(
        [
            p3,
            3 * p3 * shift + p2,
            (3 * p3 * shift + 2 * p2) * shift + p1,
            ((p3 * shift + p2) * shift + p1) * shift + p0,
        ],
        axis=1,
    )
    moved = moved * stretch ** np.arange(3, -1, -1)
    unit = moved[:, 2] / SLOPE
    with np.errstate(divide="ignore", invalid="ignore"):
        light = moved[:, [0, 1, 3]] / unit[:, None]
    return pair, light, unit
