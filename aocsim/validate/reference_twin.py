"""The public twin's forward pass once more, number by number, as it reads in its equations.

Plain Python floats and loops over channels, written from the published order of operations and sharing nothing with
`aocsim.twin.model`: a second implementation to compare with, not one to use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aocsim.twin.format import Measurement

Row = Sequence[float]


def reference_step(
    found: Measurement,
    z: Row,
    weights: Sequence[Row],
    bias: Row,
    x: Row,
    alpha: Row,
    beta: float,
    direct_light: bool,
) -> list[float]:
    """One application of the map to one state, V.

    Args:
        found: parameters.
        z: n volts.
        weights: n rows of n, W[i][j] from input i to output j.
        bias: n volts.
        x: n volts.
        alpha: n numbers.
        beta: gain.
        direct_light: with the light around the modulator.
    """
    values: dict[str, Any] = dict(found.values)
    n = found.channels
    full = max(abs(w) for row in weights for w in row)
    v = [_tanh(values["tanh_sigmoid_coeffs"], volts) for volts in z]
    sums = []
    for sign, short, leak in (
        ("positive", "pos", "negative_to_positive"),
        ("negative", "neg", "positive_to_negative"),
    ):
        cubic = values[f"led_poly_coeffs_{short}"]
        profile = values[f"row_profiles.{sign}_row12"]
        light = [_polynomial(cubic, v[i]) * profile[i] for i in range(n)]
        laws = values[f"column_wise_weights_distortion.{sign}_row12"]
        output = values[f"output_correction.{sign}"]
        direct = values[f"pbs_crosstalk.{leak}"]
        received = []
        for j in range(n):
            total = 0.0
            for i in range(n):
                w = weights[i][j] / full if full else 0.0
                share = max(w, 0.0) if sign == "positive" else max(-w, 0.0)
                total += light[i] * _polynomial(laws[j], share)
            total *= output[j]
            if direct_light:
                total += direct[j] * output[j] * light[j]
            received.append(total)
        bright = [received[j] - laws[j][2] for j in range(n)]
        earlier = values[f"pd_crosstalk.ratio_to_earlier_{sign}_row12"]
        later = values[f"pd_crosstalk.ratio_to_later_{sign}_row12"]
        with_neighbours = []
        for j in range(n):
            total = received[j]
            if j + 1 < n:
                total += earlier[j + 1] * bright[j + 1]
            if j > 0:
                total += later[j - 1] * bright[j - 1]
            with_neighbours.append(total * beta / n)
        sums.append(with_neighbours)
    table = "close_loop_offset_and_scale."
    ratio = values[table + "solution_to_adc_ratio"]
    low, high = values["deq_input_min_max"]
    out = []
    for j in range(n):
        gradient = sums[0][j] - sums[1][j]
        dc, slope = values[table + "dc_offset"][j], values[table + "linear_offset"][j]
        gradient += ratio * (dc + beta * slope)
        gradient *= values[table + "scaling"][j]
        out.append(gradient + alpha[j] * z[j] + min(max(x[j] + bias[j], low), high))
    return out


def _tanh(coefficients: Any, z: float) -> float:
    a, b, c, d, f, g = coefficients
    u = a * z + b
    # written with logarithms, so that a large |u| to the power of a large c is no number too large
    log_power = c * math.log(abs(u)) if u else -math.inf
    log_sum = max(log_power, 0.0) + math.log1p(math.exp(-abs(log_power)))
    return float(d * u * math.exp(-log_sum / c) + f + g * z)


def _polynomial(coefficients: Any, x: float) -> float:
    total = 0.0
    for coefficient in coefficients:
        total = total * x + coefficient
    return total
