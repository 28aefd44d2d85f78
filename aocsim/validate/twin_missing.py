r"""Each piece of physics that the twin leaves out, switched in alone on the machine built from it.

Small errors e of what arrives at the nodes move the fixed point by

.. math:: \delta z = (1 - J)^{-1} e                                                                       (1)

with J the jacobian of the twin's map, so that each effect has an estimate that no loop was asked for. Where the physics
is another static law, the twin with that law is the reference; noise has the covariance of a linear process.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_discrete_lyapunov

from aocsim.components.node_measured import MeasuredNode
from aocsim.constants import BOLTZMANN, ELEMENTARY_CHARGE
from aocsim.live import Flicker
from aocsim.solve.linear_noise import discretise
from aocsim.twin.fit import FAR
from aocsim.validate.check import PER_CENT, Check, Row, Setting, SkippedError, compared
from aocsim.validate.twin_setup import Case, Changes, case_of

Array = NDArray[np.float64]

ARMS = np.array([1.0, -1.0])
DRAWS = 12  # of the flicker
MICROVOLT = 1e-6
OVERDRIVE = 3.0  # times the drive at which all fixed points are linear
RELAXED_STEP, RELAXED_STEPS = (
    0.5,
    6000,
)  # of the saturated map, whose slowest mode takes 1/(1 - alpha) of them
FIRST_ORDER = "first order, (1 - J)^-1 e with the twin's jacobian"


def slm_row(setting: Setting) -> Row:
    """Weights rounded to the modulators' grey levels."""
    case = case_of(setting)
    machine, z = case.machine(), case.fixed_point()
    exact = case.weight()
    rounded = np.round(exact * machine.slm.levels) / machine.slm.levels
    effect = case.rest(case.loop(machine, weight=rounded)) - z
    error = _transmission(case, rounded) - _transmission(case, exact)
    return _small(case, f"{machine.slm.bits}-bit weights", effect, _arriving(case, z, error), z)


def converter_row(setting: Setting) -> Row:
    """Drive, alpha and beta rounded to what can be set."""
    case = case_of(setting)
    machine, z = case.machine(), case.fixed_point()
    drive = machine.dac.response(case.drive)
    alpha, beta = machine.gains.set_alpha(case.alpha), machine.gains.set_beta(case.beta)
    effect = case.rest(case.loop(machine, alpha=alpha, beta=beta), drive) - z
    # all of the gradient but the fixed offset is proportional to beta
    gradient = z - case.alpha * z - case.drive - case.twin.offset(0.0)
    error = drive - case.drive + (alpha - case.alpha) * z + (beta / case.beta - 1) * gradient
    bits = f"{machine.dac.bits}-bit drive, {machine.gains.alpha_bits}-bit alpha and beta"
    return _small(case, bits, effect, error, z)


def flicker_row(setting: Setting) -> Row:
    """Flicker of the modulators, drawn anew for each of several solves."""
    one = replace(case_of(setting), drive=case_of(setting).drive[:1])
    machine, n = one.machine(), one.twin.channels
    rng = np.random.default_rng(setting.seed)
    pixel, common = rng.standard_normal((DRAWS, 2, n, n)), rng.standard_normal((DRAWS, 2))
    many = replace(one, drive=np.repeat(one.drive, DRAWS, axis=0))
    z = many.fixed_point()
    effect = many.rest(many.loop(machine, flicker=Flicker(pixel, common))) - z
    weight = one.weight()
    law = one.twin.column_law[:, :, None]
    slope = np.abs(2 * law[..., 0] * weight + law[..., 1])
    error = slope * machine.slm.flicker * np.sqrt(weight * (1 - weight)) * pixel
    error = error + machine.slm.flicker_common * common[..., None, None] * _transmission(one, weight)
    return _small(many, f"flicker, {DRAWS} draws", effect, _arriving(many, z, error), z)


def poles_row(setting: Setting) -> Row:
    """Poles of emitters, driver and transimpedance amplifiers: they move no fixed point, and leave it stable."""
    case = replace(case_of(setting), drive=case_of(setting).drive[:2])
    machine = case.machine({"poles": {"sheet": "poles_all"}})
    loop, z = case.loop(machine), case.fixed_point()
    return _static(
        case, f"minor poles, {loop.blocks} for each channel, all modes stable", case.rest(loop), z, z
    )


def saturation_row(setting: Setting) -> Row:
    """The amplifier's saturation, at drives that leave its linear range; an amplifier without rails has none."""
    case = case_of(setting)
    limit = case.twin.measurement.array("deq_input_min_max")
    hard = replace(case, drive=np.clip(OVERDRIVE * case.drive, *limit))
    machine = hard.machine()
    node, law = machine.node, hard.map()
    assert isinstance(node, MeasuredNode)
    if max(-node.linear_low, node.linear_high) >= FAR:
        raise SkippedError("the node amplifier does not saturate")
    z = np.zeros_like(hard.drive)
    for _ in range(RELAXED_STEPS):
        z = z + RELAXED_STEP * (node.saturate(law.step(z)) - z)
    beyond = np.mean((z < node.linear_low) | (z > node.linear_high))
    row = compared(
        "saturation, at drives that leave the linear range: fixed point",
        "the twin's map behind the measured saturation, iterated",
        hard.rest(hard.loop(machine)),
        z,
        rms=0.01,
        maximum=0.1,  # the loop's table rounds the kinks off by half a millivolt
        span_name=f"range of {np.ptp(z):.3g} V",
        reason=f"{PER_CENT * beyond:.0f} % of the channels rest beyond it",
    )
    return row if beyond > 0 else replace(row, status="fail", reason="no channel has left the linear range")


def droop_row(setting: Setting) -> Row:
    """Emitters 5 K warmer than in calibration: 1 % less light."""
    return _warmer(setting, "emitters 5 K warmer", {"led": {"temperature_rise": "5 K"}}, 0.0, 5.0)


def room_row(setting: Setting) -> Row:
    """A room 10 K warmer: pairs and emitters."""
    return _warmer(setting, "a room 10 K warmer", {}, 10.0, 0.0)


def noise_row(setting: Setting) -> Row:
    """White noise of the detectors in the mean over the read-out window."""
    case = replace(case_of(setting), drive=case_of(setting).drive[:1])
    machine, z = case.machine(), case.fixed_point()
    loop, n = case.loop(machine), case.twin.channels
    times = machine.digitiser.times[machine.digitiser.window]
    interval, count = float(times[1] - times[0]), len(times)
    jacobian, diffusion = loop.linearise(z, case.drive)
    phi, q = discretise(jacobian[0], diffusion[0], interval)
    rest = solve_discrete_lyapunov(phi, q)
    got = np.sqrt(_of_mean([np.linalg.matrix_power(phi, k) @ rest for k in range(count)]))
    # the same from the twin's jacobian, mode by mode, with the detectors' densities written out
    rate = 2 * np.pi * machine.poles.node
    values, modes = np.linalg.eig(rate[:, None] * (case.map().jacobian(z)[0] - np.eye(n)))
    inverse = np.linalg.inv(modes)
    strength = inverse @ np.diag(rate**2 * _density(case, z) / 2) @ inverse.conj().T
    modal = -strength / (values[:, None] + values.conj())
    at_lags = [
        np.real((modes * np.exp(values * k * interval)) @ modal @ modes.conj().T) for k in range(count)
    ]
    want = np.sqrt(_of_mean(at_lags))
    effect = PER_CENT * float(np.sqrt(np.mean(got**2))) / float(np.ptp(z))
    return compared(
        f"noise of the detectors: standard deviation of each channel's mean over {count} samples",
        "linear process with the twin's jacobian; shot, thermal and amplifier noise written out",
        got,
        want,
        rms=0.5,
        maximum=2.0,
        span=float(np.mean(want)),
        span_name=f"mean of {np.mean(want) * 1e6:.3g} µV",
        reason=f"{effect:.2g} % of the range of the fixed points",
    )


MISSING: tuple[Check, ...] = (
    Check("twin_slm_rounding", slm_row, "shared inputs"),
    Check("twin_converter_rounding", converter_row, "shared inputs"),
    Check("twin_saturation", saturation_row, "shared inputs"),
    Check("twin_minor_poles", poles_row, "shared inputs"),
    Check("twin_noise", noise_row, "shared inputs"),
    Check("twin_flicker", flicker_row, "shared inputs"),
    Check("twin_thermal_droop", droop_row, "shared inputs"),
    Check("twin_room", room_row, "shared inputs"),
)


def _transmission(case: Case, weight: Array) -> Array:
    """The twin's weight law, (2, n, n) as [arm, output, input]."""
    law = case.twin.column_law[:, :, None]
    return np.asarray((law[..., 0] * weight + law[..., 1]) * weight + law[..., 2])


def _light(case: Case, z: Array) -> Array:
    """Light behind the rows in the twin's unit, (drives, 2, n)."""
    a, b, c, d, f, g = case.twin.measurement.array("tanh_sigmoid_coeffs")
    u = a * z + b
    v = d * u / (1 + np.abs(u) ** c) ** (1 / c) + f + g * z
    laws = case.twin.measurement.arms("led_poly_coeffs_pos", "led_poly_coeffs_neg")
    return np.stack([np.polyval(law, v) * row for law, row in zip(laws, case.twin.row, strict=True)], axis=1)


def _outputs(case: Case) -> Array:
    """Volts at node j for each unit of light on output k, sign of the arm included, (2, n, n)."""
    n = case.twin.channels
    neighbours = np.eye(n) + case.twin.crosstalk
    gain = ARMS[:, None, None] * case.twin.scaling[:, None] * case.beta / n
    return np.asarray(gain * neighbours * case.twin.output_correction[:, None, :])


def _arriving(case: Case, z: Array, error: Array) -> Array:
    """Volts at the nodes, (drives, n), from errors of the transmissions, ([drives,] 2, n, n)."""
    received = np.matmul(error, _light(case, z)[..., None])[..., 0]
    return np.asarray(np.einsum("amj,kaj->km", _outputs(case), received))


def _small(case: Case, what: str, effect: Array, error: Array, z: Array) -> Row:
    """A small effect against equation (1), in per cent of the estimate's range."""
    estimate = np.matmul(case.amplification(z), error[..., None])[..., 0]
    return compared(
        f"{what}: shift of the fixed point",
        FIRST_ORDER,
        effect,
        estimate,
        rms=2.0,
        maximum=10.0,
        span_name=f"range of the estimated shift, {np.ptp(estimate):.3g} V",
        reason=_size(effect, z),
    )


def _static(case: Case, what: str, got: Array, want: Array, plain: Array) -> Row:
    """A fixed point against the twin with the same law; the limit is a microvolt."""
    limit = PER_CENT * MICROVOLT / float(np.ptp(want))
    return compared(
        f"{what}: fixed point",
        "the twin with the same law",
        got,
        want,
        rms=limit,
        maximum=limit,
        span_name=f"range of {np.ptp(want):.3g} V; the limit is 1 µV",
        reason=_size(got - plain, plain),
    )


def _size(effect: Array, z: Array) -> str:
    per_range = PER_CENT / float(np.ptp(z))
    rms, most = float(np.sqrt(np.mean(effect**2))), float(np.abs(effect).max())
    return (
        f"moves the fixed point by {per_range * rms:.2g} % of its range rms, {per_range * most:.2g} % at most"
    )


def _warmer(setting: Setting, what: str, changes: Changes, room: float, rise: float) -> Row:
    """The machine warmer, against the twin with less light and flatter pairs."""
    case = case_of(setting)
    machine, spec = case.machine(changes), case.machine_spec()
    if room:
        machine = machine.at_temperature(float(spec.parts["led"].value("reference_temperature")) + room)
    droop = float(spec.parts["led"].value("thermal_droop"))
    flatter = float(spec.parts["pair"].value("slope_temperature_coefficient"))
    values = case.twin.measurement.values
    light = 1 + droop * (room + rise)
    pair = np.array(values["tanh_sigmoid_coeffs"])
    pair[0] *= 1 + flatter * room
    leds = {
        key: [light * number for number in case.twin.measurement.array(key).tolist()]
        for key in ("led_poly_coeffs_pos", "led_poly_coeffs_neg")
    }
    warm = case.changed({"tanh_sigmoid_coeffs": pair.tolist(), **leds})
    return _static(case, what, case.rest(case.loop(machine)), case.fixed_point(warm), case.fixed_point())


def _of_mean(lags: list[Array]) -> Array:
    """Variance of each channel's mean over equidistant samples, from the covariance at lags 0, 1, ..."""
    count = len(lags)
    diagonals = [np.diagonal(lag) for lag in lags]
    total = count * diagonals[0] + 2 * sum((count - k) * diagonals[k] for k in range(1, count))
    return np.asarray(total / count**2)


def _density(case: Case, z: Array) -> Array:
    """One-sided density of the detectors' noise at the nodes, (n,) V^2/Hz, both arms together."""
    spec, machine = case.machine_spec(), case.machine()
    detector, n = machine.detector, case.twin.channels
    unit = float(spec.parts["led"].value("unit_light"))
    to_current = detector.responsivity * float(spec.parts["optics"].value("throughput")) / n
    neighbours = np.eye(n) + case.twin.crosstalk
    paths = neighbours @ (case.twin.output_correction[:, :, None] * _transmission(case, case.weight()))
    bias = np.array([machine.led.bias_power(arm) for arm in (0, 1)])
    light = unit * _light(case, z)[0] + bias[:, None] * case.twin.row
    dark = unit * (case.twin.crosstalk @ case.twin.column_law[:, :, 2:])[..., 0]
    current = to_current * ((paths @ light[..., None])[..., 0] - dark)
    resistance = detector.feedback_resistance
    density = 2 * ELEMENTARY_CHARGE * current + 4 * BOLTZMANN * detector.noise_temperature / resistance
    density = density + detector.current_noise**2 + (detector.voltage_noise / resistance) ** 2
    gain = resistance * case.twin.scaling * case.beta * machine.gains.electrical_gain
    return np.asarray(gain**2 * density.sum(axis=0))
