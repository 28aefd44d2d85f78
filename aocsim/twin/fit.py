r"""Fit the twin's format to a machine: what its static laws come to in the public twin's parameters.

A machine of measured laws holds the parameters themselves (`aocsim.twin.held`). Any other one is looked at from the
outside, law by law:

- the pair by least squares of the six-parameter sigmoid to the mean of all channels; what a channel's own pair has more
  or less of that goes into the row of its input, since both arms see it;
- each arm's emitters by a cubic in the pair's swing, in a unit U in which the mean slope is 0.218 /V as measured;
- the light paths X_ji(w) of all pixels by r_i (a_j w^2 + b_j w + c_j), the best product of rows and columns, with c_j
  what a dark panel lets through: block matrices leave most pixels dark under all inputs, and a constant that is off by
  a share of the modulator's curve would add up over them;
- crosstalk, output efficiency, gain and offsets exactly: the twin's crosstalk follows the output correction, so that a
  neighbour's ratio takes o_j/o_{j+1}, and its darkness acts on s - c, which the offset in beta makes up for.

What the format cannot hold is left out: errors of the alpha path, single pixels, offsets of single channels' pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from aocsim.components.pair_measured import sigmoid
from aocsim.components.roles import Node
from aocsim.machine import Machine
from aocsim.spec import MachineSpec
from aocsim.twin.build import checked_serial
from aocsim.twin.format import Measurement, measurement
from aocsim.twin.held import held_by, holds_its_measurement

Array = NDArray[np.float64]

MEASURED_SLOPE = 0.218
"""Of the light over the pair's volts in the twin's unit, 1/V: mean of both arms of the 48-channel machine."""

PAIR_RANGE = 4.0  # knees to either side
POINTS = 801
WEIGHTS = np.linspace(0.0, 1.0, 17)
FAR = 1e3  # V: rails that are not there
PER_CENT = 100.0


@dataclass(frozen=True)
class Residual:
    """How far a law of the machine is from the format's.

    Attributes:
        law: which.
        rms: root mean square over all places.
        maximum: largest.
        unit: of both.
    """

    law: str
    rms: float
    maximum: float
    unit: str


def measurement_of(
    spec: MachineSpec, serial: int | None, source: str
) -> tuple[Measurement, tuple[Residual, ...]]:
    """A machine in the twin's format, and what the format could not hold.

    Args:
        spec: its sheets.
        serial: serial number; None for the nominal machine.
        source: what to call it in messages.

    Returns:
        The parameters, and the residuals of the fits: none for a machine of measured laws without spread.

    Raises:
        InputError: no serial number, no machine, or one that no twin rests with.
    """
    machine = Machine.build(spec, checked_serial(serial))
    if holds_its_measurement(spec, machine):
        return held_by(spec, machine, source), ()
    values: dict[str, Any] = {}
    residuals: list[Residual] = []
    swing, pairs = _pair(machine, values, residuals)
    unit = _emitters(machine, swing, values, residuals)
    _optics(machine, unit, pairs, values, residuals)
    _node(machine, values, residuals)
    _kept(machine, values)
    return measurement(values, source), tuple(residuals)


def _residual(law: str, error: Array, unit: str) -> Residual:
    return Residual(law, float(np.sqrt(np.mean(error**2))), float(np.abs(error).max()), unit)


def _pair(machine: Machine, values: dict[str, Any], residuals: list[Residual]) -> tuple[float, Array]:
    """The pair's six parameters; returns the largest output, V, and each channel's over the mean one's, (n,)."""
    z = np.linspace(-PAIR_RANGE, PAIR_RANGE, POINTS) * machine.pair.knee
    each = machine.pair.stage().response(np.repeat(z[:, None], machine.channels, axis=1))
    mean, swing = each.mean(axis=1), float(machine.pair.swing.mean())

    def law(p: Array) -> Array:
        a, b, c, d, f, g = p
        return np.asarray(d * sigmoid(a * z + b, c) + f + g * z)

    start = np.array([1 / machine.pair.knee, 0.0, 3.0, swing, 0.0, 0.0])
    found = least_squares(
        lambda p: (law(p) - mean) / swing,
        start,
        bounds=([0, -np.inf, 0.5, 0, -np.inf, -np.inf], [np.inf, np.inf, 100, np.inf, np.inf, np.inf]),
        x_scale=[start[0], 0.1, 1.0, swing, 0.1 * swing, 0.01],
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
    )
    values["tanh_sigmoid_coeffs"] = found.x.tolist()
    residuals.append(
        _residual("pair, mean of the channels", PER_CENT * (law(found.x) - mean) / swing, "% of swing")
    )
    # about their values at rest, which the offset trims take off
    moved, rest = each - each[POINTS // 2], mean - mean[POINTS // 2]
    gain = rest @ moved / (rest @ rest)
    left = each - gain * mean[:, None]
    residuals.append(_residual("pair, channels about their mean", PER_CENT * left / swing, "% of swing"))
    return float(np.abs(each).max()), gain


def _emitters(machine: Machine, swing: float, values: dict[str, Any], residuals: list[Residual]) -> float:
    """The cubics of both arms; returns the unit of light U, W."""
    v = np.linspace(-swing, swing, POINTS)
    light = [machine.led.law(arm).response(v) for arm in (0, 1)]
    slopes = [float(machine.led.law(arm).slope(np.zeros(1))[0]) for arm in (0, 1)]
    unit = float(np.mean(slopes)) / MEASURED_SLOPE
    for arm, sign in enumerate(("pos", "neg")):
        # bias light that no clamp removes is light that the twin has at v = 0
        left = float(np.mean(1 - machine.detector.bias_light_rejection[arm])) * machine.led.bias_power(arm)
        law = np.asarray(np.polyfit(v, (light[arm] + left) / unit, 3), dtype=float)
        values[f"led_poly_coeffs_{sign}"] = law.tolist()
        error = np.polyval(law, v) - (light[arm] + left) / unit
        residuals.append(
            _residual(
                f"emitters, {'+-'[arm]} arm", PER_CENT * error * unit / np.ptp(light[arm]), "% of range"
            )
        )
    return unit


def _optics(
    machine: Machine, unit: float, pairs: Array, values: dict[str, Any], residuals: list[Residual]
) -> None:
    """Rows, the pairs' gains `pairs` (n,) within them, columns, outputs, neighbours, direct light, gain and offsets."""
    n, optics, detector, gains = machine.channels, machine.optics, machine.detector, machine.gains
    # volts at the node for each unit of light on a detector, over scaling and beta/n
    chain = detector.responsivity * detector.feedback_resistance * gains.electrical_gain * n * unit
    fan = chain * optics.fan()
    paths = np.stack([fan * machine.slm.response(np.full((2, n, n), w)) for w in WEIGHTS])
    ratio = machine.digitiser.input_scale
    outward = np.zeros((2, n))
    for arm, sign in enumerate(("positive", "negative")):
        row = paths[-1, arm].mean(axis=0)
        for _ in range(20):  # alternating least squares for the best product at full weight
            column = paths[-1, arm] @ row / (row @ row)
            row = paths[-1, arm].T @ column / (column @ column)
        row /= row[row > 0].mean() if (row > 0).any() else 1.0
        each = paths[:, arm] @ row / (row @ row)
        law = parabolas_from_dark(each)
        fitted = np.polynomial.polynomial.polyval(WEIGHTS, law[:, ::-1].T).T
        error = fitted[:, :, None] * row - paths[:, arm]
        residuals.append(
            _residual(
                f"light paths, {'+-'[arm]} arm", PER_CENT * error / paths[-1, arm].mean(), "% of mean path"
            )
        )
        o = detector.output_efficiency[arm]
        matrix = optics.crosstalk[arm]
        k = np.arange(n - 1)
        earlier, later = np.zeros(n), np.zeros(n)
        earlier[1:] = matrix[k, k + 1] * o[:-1] / o[1:]
        later[:-1] = matrix[k + 1, k] * o[1:] / o[:-1]
        lost = matrix.copy()
        lost[np.arange(n), np.arange(n)] -= 1.0
        lost[k, k + 1] = lost[k + 1, k] = 0.0
        residuals.append(_residual(f"crosstalk past the neighbours, {'+-'[arm]} arm", PER_CENT * lost, "%"))
        direct = chain * np.diagonal(optics.direct_matrix()[arm])
        values[f"row_profiles.{sign}_row12"] = (row * pairs).tolist()
        values[f"column_wise_weights_distortion.{sign}_row12"] = law.tolist()
        values[f"output_correction.{sign}"] = o.tolist()
        values[f"pd_crosstalk.ratio_to_earlier_{sign}_row12"] = earlier.tolist()
        values[f"pd_crosstalk.ratio_to_later_{sign}_row12"] = later.tolist()
        values[f"pd_crosstalk.pd_{sign}_darkness"] = law[:, 2].tolist()
        leak = ("negative_to_positive", "positive_to_negative")[arm]
        values[f"pbs_crosstalk.{leak}"] = np.divide(direct, row, out=np.zeros(n), where=row > 0).tolist()
        # the twin takes the darkness off before the crosstalk; light that no emitter moves adds to it
        taken = np.zeros(n)
        taken[:-1] += earlier[1:] * law[1:, 2]
        taken[1:] += later[:-1] * law[:-1, 2]
        outward[arm] = taken + o * chain / unit * optics.baseline[arm]
    scaling = gains.closed_loop_gain
    linear = gains.offset_per_beta / (ratio * scaling) + (outward[0] - outward[1]) / (n * ratio)
    table = "close_loop_offset_and_scale."
    values[table + "scaling"] = scaling.tolist()
    values[table + "dc_offset"] = (gains.offset / (ratio * scaling)).tolist()
    values[table + "linear_offset"] = linear.tolist()
    values[table + "solution_to_adc_ratio"] = float(ratio)
    residuals.append(_residual("alpha path, left out", PER_CENT * (gains.alpha_gain - 1), "%"))
    best = np.argsort(-paths[-1].sum(axis=(0, 2)), kind="stable") + 1
    values["best_to_worst_channels"] = [int(channel) for channel in best]


def parabolas_from_dark(each: Array) -> Array:
    """(n, 3) a, b, c of each column: c the value at weight 0, a and b by least squares over the other weights.

    Args:
        each: (weights, n) a column's light path at `WEIGHTS`.
    """
    dark, weights = each[0], WEIGHTS[1:, None]
    curve = np.linalg.lstsq(np.hstack([weights**2, weights]), each[1:] - dark, rcond=None)[0]
    return np.vstack([curve, dark]).T


def _node(machine: Machine, values: dict[str, Any], residuals: list[Residual]) -> None:
    """Saturation: a parabola below that ends flat on the rail, a quartic above, and no cosines."""
    node, stage = machine.node, machine.node.stage()
    low, high = max(node.linear_low, -FAR), min(node.linear_high, FAR)
    reach = np.array([-FAR, FAR]) if stage is None else stage.response(np.array([[-FAR], [FAR]]))[:, 0]
    bottom, top = float(reach[0]), float(reach[1])
    # slope 1 where the linear range ends, slope 0 on the rail: s - s^2 / 4w with w the way to the rail
    width = low - bottom
    start = low - 2 * width
    first = _touching(low, bottom) if width > 0 else (0.0, 1.0, 0.0)
    above = np.linspace(high, high + 4 * (top - high), POINTS)
    third = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
    if top > high:
        third = np.polyfit(above, _response(node, above), 4)
    end = float(above[-1])
    values |= {
        "saturation.negative_saturation": bottom,
        "saturation.piece0_constant": bottom + 1.0,
        "saturation.piece0_cosine_coeff": 1 / (2 * np.pi * start),
        "saturation.piece0_start_stop": [start, start],
        "saturation.piece1_polynomials": list(first),
        "saturation.piece1_start_stop": [start, low],
        "saturation.piece3_polynomials": third.tolist(),
        "saturation.piece3_start_stop": [high, end],
        "saturation.piece4_first_constant": -end,
        "saturation.piece4_second_constant": top - 1.0,
        "saturation.piece4_start_stop": [end, end],
        "saturation.positive_saturation": top,
    }
    below = np.linspace(start, low, POINTS)
    error = np.concatenate(
        [np.polyval(first, below) - _response(node, below), np.polyval(third, above) - _response(node, above)]
    )
    residuals.append(_residual("amplifier outside its linear range", 1e3 * error, "mV"))


def _response(node: Node, u: Array) -> Array:
    stage = node.stage()
    return u if stage is None else stage.response(u[:, None])[:, 0]


def _touching(limit: float, rail: float) -> tuple[float, float, float]:
    """Coefficients of the parabola that leaves the diagonal at `limit` with slope 1 and ends flat on `rail`."""
    width = limit - rail
    curvature = 1 / (4 * width)
    return curvature, 1 - 2 * curvature * limit, curvature * limit**2


def _kept(machine: Machine, values: dict[str, Any]) -> None:
    """Keys that the forward pass does not use: zeros, or what the closed loop has."""
    nothing = [0.0] * machine.channels
    table = "close_loop_offset_and_scale."
    values |= {
        table + "readout_dc_offset": nothing,
        table + "readout_linear_offset": nothing,
        table + "scaling_second_order": nothing,
        "open_loop_offset_and_scale.adc_offset": values[table + "dc_offset"],
        "open_loop_offset_and_scale.linear_offset": values[table + "linear_offset"],
        "pd_offset.pd_offset_positive_row12": nothing,
        "pd_offset.pd_offset_negative_row12": nothing,
        "deq_input_min_max": [-machine.dac.full_scale, machine.dac.full_scale],
    }
