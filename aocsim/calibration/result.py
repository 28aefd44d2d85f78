r"""What a calibration has found: as a Dataset with errors, and in the public twin's format.

The public format has places for the chain's parameters. Those that convention holds go where they do nothing: output
corrections are 1, the pair's output offset is 0, its swing and the emitters' slope are the stated ones. Its crosstalk
acts on light less darkness, so that

.. math:: o'_j\ \text{becomes}\ o'_j + \frac{K_j}{n}\sum_\pm \pm \sum_{k \ne j} X^\pm_{jk}\,C^\pm_k

in its offset per beta. It has none for gains of the alpha path and of the drive, nor for the columns' retardance: these
stay in the Dataset alone. `aocsim.calibration.panel.parabolas_alone` gives columns that do without the latter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aocsim.calibration.chain import NAMES, SIGNS, SLOPE, SWING, Chain
from aocsim.calibration.closed import TERMS, ClosedFit, Electronics
from aocsim.calibration.experiments import FAR
from aocsim.calibration.joint import Fitted
from aocsim.record import Variables, assemble
from aocsim.twin.format import Measurement, measurement

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

SIGN_NAMES = ("positive", "negative")
REACH = 1.25 * FAR
"""V to which the amplifier is taken to be straight: little beyond where the experiments have been."""

_CHAIN: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "pair": (("pair_parameter",), ("1/V", "1", "1", "1"), "a, b, c and g of the pairs' common law"),
    "light": (("arm", "power"), ("V-3", "V-2", "1"), "p3, p2 and p0 of the emitters, the slope being stated"),
    "row": (("arm", "channel"), ("1",), "row efficiency over its mean"),
    "law": (("arm", "channel", "coefficient"), ("V",), "A, B and C of each column"),
    "later": (("arm", "neighbours"), ("1",), "share of an output's light that reaches the next one"),
    "earlier": (("arm", "neighbours"), ("1",), "share of an output's light that reaches the previous one"),
    "offset": (("channel",), ("V",), "offset at the node"),
    "offset_per_beta": (("channel",), ("V",), "offset at the node for each unit of beta"),
    "retardance": (("arm", "channel"), ("1",), "retardance of each column at full drive, over pi"),
}
_ELECTRONICS = {
    "gradient_gain": ("1", "gain of the gradient in the closed loop, over the open one's"),
    "alpha_gain": ("1", "relaxation that arrives over the one that is set"),
    "drive_gain": ("1", "drive that arrives over the one that is set"),
    "residual_offset": ("V", "offset of the closed loop beside the open one's"),
}


def dataset_of(
    opened: Fitted, closed: ClosedFit | None = None, attributes: dict[str, Any] | None = None
) -> xarray.Dataset:
    """Values, standard errors and correlations of all parameters, with units.

    Args:
        opened: fit of the open loop.
        closed: fit of the closed loop.
        attributes: what made it.
    """
    variables: dict[str, tuple[tuple[str, ...], Any, str, str]] = {}
    chain = opened.chain
    error = np.sqrt(np.maximum(np.diagonal(opened.covariance), 0.0))
    errors, seen = chain.replaced(error), chain.replaced(opened.identified.astype(float))
    for name in NAMES:
        dimensions, unit, told = described(name)
        variables[name] = (dimensions, getattr(chain, name), unit, told)
        variables[f"{name}_error"] = (dimensions, getattr(errors, name), unit, f"standard error: {told}")
        told_seen = f"whether the experiments say anything of it: {told}"
        variables[f"{name}_identified"] = (dimensions, getattr(seen, name).astype(np.int8), "1", told_seen)
    parameters = ("parameter", "other_parameter")
    variables["correlation"] = (
        parameters,
        _correlation(opened.covariance),
        "1",
        "correlation of the open loop's errors",
    )
    spectrum = (
        ("direction",),
        opened.spectrum,
        "1",
        "eigenvalues of the scaled normal matrix over the largest",
    )
    variables["spectrum"] = spectrum
    if closed is not None:
        spread = np.sqrt(np.maximum(np.diagonal(closed.covariance), 0.0)).reshape(TERMS, -1)
        values = closed.electronics.vector.reshape(TERMS, -1)
        for k, (name, (unit, told)) in enumerate(_ELECTRONICS.items()):
            variables[name] = (("channel",), values[k], unit, told)
            variables[f"{name}_error"] = (("channel",), spread[k], unit, f"standard error: {told}")
        both = ("electronic_parameter", "other_electronic_parameter")
        told = "correlation of the closed loop's errors"
        variables["closed_correlation"] = (both, _correlation(closed.covariance), "1", told)
        variables["closed_residual"] = (
            ("experiment", "channel"),
            closed.residual,
            "V",
            "rest as read less predicted",
        )
    coordinates: Variables = {
        "arm": (("arm",), np.array(SIGN_NAMES), "1", "arm"),
        "channel": (("channel",), np.arange(chain.channels, dtype=np.int32), "1", "channel"),
    }
    return assemble(variables, coordinates, {"kind": "calibration", **(attributes or {})})


def described(name: str) -> tuple[tuple[str, ...], str, str]:
    """Dimensions, unit and meaning of one of the chain's parameters."""
    dimensions, units, told = _CHAIN[name]
    return dimensions, units[0] if len(set(units)) == 1 else ", ".join(units), told


def _correlation(covariance: Array) -> NDArray[np.float32]:
    error = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    scale = np.divide(1.0, error, out=np.zeros_like(error), where=error > 0)
    return np.asarray(covariance * np.outer(scale, scale), dtype=np.float32)


def twin_of(
    chain: Chain, electronics: Electronics | None = None, *, limit: float, source: str = "calibration"
) -> Measurement:
    """The parameters in the public twin's format.

    Args:
        chain: of the open loop.
        electronics: of the closed loop; by default what the open loop has.
        limit: V, at which the drive is clipped.
        source: what to call them in messages.
    """
    n = chain.channels
    found = electronics or Electronics.ideal(n)
    a, b, c, g = chain.pair.tolist()
    values: dict[str, Any] = {"tanh_sigmoid_coeffs": [a, b, c, SWING, 0.0, g]}
    nothing = [0.0] * n
    beside = chain.spread - np.eye(n)
    taken = np.einsum("a,ajk,ak->j", SIGNS, beside, chain.law[:, :, 2])
    for arm, sign in enumerate(SIGN_NAMES):
        p3, p2, p0 = chain.light[arm].tolist()
        values[f"led_poly_coeffs_{sign[:3]}"] = [p3, p2, SLOPE, p0]
        values[f"row_profiles.{sign}_row12"] = chain.row[arm].tolist()
        values[f"column_wise_weights_distortion.{sign}_row12"] = chain.law[arm].tolist()
        values[f"output_correction.{sign}"] = [1.0] * n
        values[f"pd_crosstalk.ratio_to_earlier_{sign}_row12"] = [0.0, *chain.earlier[arm].tolist()]
        values[f"pd_crosstalk.ratio_to_later_{sign}_row12"] = [*chain.later[arm].tolist(), 0.0]
        values[f"pd_crosstalk.pd_{sign}_darkness"] = chain.law[arm, :, 2].tolist()
        values[f"pd_offset.pd_offset_{sign}_row12"] = nothing
    table = "close_loop_offset_and_scale."
    gain = found.gradient
    constant = ((chain.offset + found.offset) / gain).tolist()
    linear = (chain.offset_per_beta / gain + taken / n).tolist()
    values |= {
        table + "scaling": gain.tolist(),
        table + "dc_offset": constant,
        table + "linear_offset": linear,
        table + "solution_to_adc_ratio": 1.0,
        table + "readout_dc_offset": nothing,
        table + "readout_linear_offset": nothing,
        table + "scaling_second_order": nothing,
        "open_loop_offset_and_scale.adc_offset": chain.offset.tolist(),
        "open_loop_offset_and_scale.linear_offset": chain.offset_per_beta.tolist(),
        "pbs_crosstalk.negative_to_positive": nothing,
        "pbs_crosstalk.positive_to_negative": nothing,
        "deq_input_min_max": [-limit, limit],
        "best_to_worst_channels": _order(chain),
        **_straight(),
    }
    return measurement(values, source)


def _order(chain: Chain) -> list[int]:
    """Channels from the one that meets the most light down, counted from 1."""
    full = chain.paths(np.ones((2, chain.channels, chain.channels))).sum(axis=(0, 2))
    return [int(channel) for channel in np.argsort(-full, kind="stable") + 1]


def _straight() -> dict[str, Any]:
    """An amplifier that is straight from -REACH to REACH, and clips there."""
    return {
        "saturation.negative_saturation": -REACH,
        "saturation.piece0_constant": -REACH + 1.0,
        "saturation.piece0_cosine_coeff": -1 / (2 * np.pi * REACH),
        "saturation.piece0_start_stop": [-REACH, -REACH],
        "saturation.piece1_polynomials": [0.0, 1.0, 0.0],
        "saturation.piece1_start_stop": [-REACH, -REACH],
        "saturation.piece3_polynomials": [0.0, 0.0, 0.0, 1.0, 0.0],
        "saturation.piece3_start_stop": [REACH, REACH],
        "saturation.piece4_first_constant": -REACH,
        "saturation.piece4_second_constant": REACH - 1.0,
        "saturation.piece4_start_stop": [REACH, REACH],
        "saturation.positive_saturation": REACH,
    }
