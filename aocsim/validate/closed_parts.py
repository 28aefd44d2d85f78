r"""Closed forms of single parts: pair, microLED, detector's capacitance, memory cell.

Pair with emitter degeneration: slope I_EE R_L a/(2 V_T + I_EE R_E) at the origin. Emitter: carriers obey
dn/dt = I/(q d A) - A n - B n^2 - C n^3 and the light is in proportion to B n^2. Memory cell: sqrt(kT/C).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad, solve_ivp

from aocsim.components.microled import AbcDiode, MicroLed
from aocsim.components.pair import DifferentialPair
from aocsim.components.photodetector import Photodetector
from aocsim.components.sample_and_hold import SampleAndHold
from aocsim.machine import Machine
from aocsim.memory import AnalogMemory
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError, compared, within
from aocsim.validate.closed_loops import carrier_bandwidth
from aocsim.validate.closed_noise import BOLTZMANN, CHARGE, ONE

Array = NDArray[np.float64]

MEASURED_LAW = (
    3.580,
    4.265,
    0.2151,
    4.8e-3,
)  # a 1/V, c, d V, g: of the 48-channel machine, its offsets left out
SWING_CURRENT = 8e-3  # A around the bias
CELLS = 2000  # items of the memory's draws


def measured_law(z: Array) -> Array:
    """d u/(1 + |u|^c)^(1/c) + g z with u = a z, V, for node voltages z, V."""
    a, c, d, g = MEASURED_LAW
    u = a * z
    return np.asarray(d * u / (1 + np.abs(u) ** c) ** (1 / c) + g * z)


def _pair(setting: Setting, nominal: bool = False) -> DifferentialPair:
    machine = Machine.build(setting.spec(), None) if nominal else setting.build()
    if not isinstance(machine.pair, DifferentialPair):
        raise SkippedError(f"the pairs of {setting.machine} are a measured law")
    return machine.pair


def _led(setting: Setting) -> MicroLed:
    led = setting.build().led
    if not isinstance(led, MicroLed):
        raise SkippedError(f"the emitters of {setting.machine} are a measured law")
    return led


def pair_slope_row(pair: DifferentialPair, closed: Array) -> Row:
    """Slope of each channel's law where its base is at 0 V, by differences, against the closed form (n,) V/V."""
    stage, step = pair.stage(), 1e-4
    origin = -pair.input_offset / pair.input_attenuation
    rise = stage.response((origin + step)[None]) - stage.response((origin - step)[None])
    return compared(
        "slope of the pairs at the origin, every channel",
        "I_EE R_L a/(2 kT/q + I_EE R_E) + feedthrough",
        rise[0] / (2 * step),
        closed,
        rms=0.01,
        maximum=0.02,
        span=float(closed.mean()),
        span_name=f"mean slope, {closed.mean():.4g} V/V",
    )


def closed_slope(pair: DifferentialPair, tail: float, emitter: float, junction: float) -> Array:
    """I R_L a/(2 kT/q + I R_E) with each channel's I, and the feedthrough, which scales with the channel; (n,) V/V."""
    two_vt = 2 * BOLTZMANN * junction / CHARGE
    ideal = pair.swing * pair.input_attenuation
    emitters = tail * pair.tail_mismatch * emitter
    scale = ideal * (two_vt + tail * emitter) / (two_vt + emitters)
    return np.asarray(ideal / (two_vt + emitters) + pair.feedthrough * scale / ideal.mean())


def _pair_slope(setting: Setting) -> Row:
    pair, sheet = _pair(setting), setting.spec().parts["pair"]
    tail, emitter = float(sheet.value("tail_current")), float(sheet.value("emitter_resistance"))
    return pair_slope_row(pair, closed_slope(pair, tail, emitter, pair.junction_temperature))


def pair_law_row(pair: DifferentialPair) -> Row:
    """Nominal pair over +-1 V against the measured law."""
    z = np.linspace(-1.0, 1.0, 401)
    got = pair.stage().response(np.repeat(z[:, None], len(pair.swing), axis=1)).mean(axis=1)
    want = measured_law(z)
    return compared(
        "degenerated pair (k = 1.4) within +-1 V",
        "measured law of the 48-channel machine, c = 4.265",
        got,
        want,
        rms=1.0,
        maximum=2.5,
        span=MEASURED_LAW[2],
        span_name=f"swing, {MEASURED_LAW[2]} V",
        reason="two laws for one knee: 1 % rms is what the pair's physics leaves",
        curve=Curve(z, "node (V)", got, want, "pair (V)", want_label="measured", points=False),
    )


def _pair_law(setting: Setting) -> Row:
    return pair_law_row(_pair(setting, nominal=True))


def led_step_row(diode: AbcDiode, bias: float, bandwidth: float) -> Row:
    """Light of the carrier balance after a step of 0.1 % of the bias against one pole of this bandwidth, Hz."""
    volume = CHARGE * diode.thickness * diode.area
    unit = 1e24  # 1/m^3: carriers of order one for the integrator

    def rate(_: float, n: Array, current: float) -> Array:
        m = n * unit
        return np.asarray((current / volume - diode.a * m - diode.b * m**2 - diode.c * m**3) / unit)

    rest, end = (float(np.asarray(diode.density(bias * k))) / unit for k in (1.0, 1.001))
    times = np.linspace(0.0, 8e-9, 41)
    found = solve_ivp(
        rate, (0.0, times[-1]), [rest], t_eval=times, args=(1.001 * bias,), rtol=1e-10, atol=1e-13
    ).y[0]
    carriers = (found**2 - rest**2) / (end**2 - rest**2)
    got = 1 - np.exp(-2 * np.pi * bandwidth * times)
    return compared(
        f"emitter's pole at its bias of {bias * 1e3:.3g} mA, step response",
        "integrated carrier balance, a step of 0.1 %",
        got,
        carriers,
        rms=0.05,
        maximum=0.1,
        span=1.0,
        span_name="height of the step",
        reason=f"f = 1/(2 pi tau_d) = {bandwidth * 1e-6:.1f} MHz",
        curve=Curve(times * 1e9, "time (ns)", got, carriers, "light", want_label="carriers"),
    )


def _led_step(setting: Setting) -> Row:
    led = _led(setting)
    return led_step_row(led.diodes[0], led.bias_current[0], led.bandwidth(0))


def led_bandwidth_row(diode: AbcDiode) -> Row:
    """Small-signal bandwidth over current against the carrier balance solved as a cubic's root."""
    currents = np.geomspace(0.1e-3, 20e-3, 25)
    got = diode.bandwidth(currents)
    want = np.array(
        [carrier_bandwidth(diode.a, diode.b, diode.c, diode.thickness, diode.area, one) for one in currents]
    )
    return compared(
        "emitter's bandwidth from 0.1 to 20 mA",
        "(A + 2 B n + 3 C n^2)/2 pi at the root of the carrier balance",
        got / want,
        np.ones_like(want),
        rms=1e-4,
        maximum=1e-4,
        span=1.0,
        span_name="bandwidth",
        reason=f"{got[-1] * 1e-6:.1f} MHz at 20 mA",
        curve=Curve(currents * 1e3, "current (mA)", got * 1e-6, want * 1e-6, "bandwidth (MHz)", log_x=True),
    )


def _led_bandwidth(setting: Setting) -> Row:
    return led_bandwidth_row(_led(setting).diodes[0])


def led_20ma_row(diode: AbcDiode) -> Row:
    """Bandwidth at 20 mA against what the coefficients of the literature give."""
    return within(
        "emitter's bandwidth at 20 mA",
        "177 MHz by hand from A, B, C, d and the emitter's area; data sheet 200 MHz",
        float(diode.bandwidth(20e-3)) * 1e-6,
        176.5,
        177.5,
        unit="MHz",
    )


def _led_20ma(setting: Setting) -> Row:
    return led_20ma_row(_led(setting).diodes[0])


def led_curvature_row(diode: AbcDiode) -> Row:
    """Quadratic over linear term of the light for +-8 mA around 10 mA."""
    x = np.linspace(-1.0, 1.0, 801)
    power = diode.power(10e-3 + SWING_CURRENT * x)
    terms = np.polynomial.polynomial.polyfit(x, power, 3)
    linear = terms[0] + terms[1] * x
    return within(
        "quadratic over linear term of the emitter's light, +-8 mA around 10 mA",
        "-0.079 by hand from A, B, C; measured -0.076 and -0.069 with the driver",
        float(terms[2] / terms[1]),
        -0.0795,
        -0.0785,
        curve=Curve(x * 8, "current less bias (mA)", power * 1e3, linear * 1e3, "light (mW)", "law", "line"),
    )


def _led_curvature(setting: Setting) -> Row:
    return led_curvature_row(_led(setting).diodes[0])


def capacitance_row(detector: Photodetector, bandwidths: Array) -> Row:
    """The detector's e_n C noise behind node poles (m,) Hz against the integral by quadrature."""
    got = np.sqrt(detector.capacitance_noise(bandwidths))
    size = 2 * np.pi * detector.input_capacitance * detector.voltage_noise
    if not size:
        raise SkippedError("the detectors' amplifiers have no voltage noise")
    top = detector.amplifier_bandwidth

    def density(f: float, node: float) -> float:
        return f**2 / (1 + (f / node) ** 2) / (1 + (f / top) ** 4)

    # the integrand falls as f^-4 beyond the amplifier: 1e-6 of the integral lies above a hundred times its pole
    edges = [0.0, 1e5, 1e6, 1e7, top, 3 * top, 10 * top, 100 * top, 1000 * top]
    spans = list(pairwise(edges))
    want = np.array(
        [size * np.sqrt(sum(quad(density, *span, args=(node,))[0] for span in spans)) for node in bandwidths]
    )
    return compared(
        "e_n C noise behind node poles of 0.05 to 10 MHz",
        "integral of (2 pi f C e_n)^2 |H|^2 by quadrature",
        got / want,
        np.ones_like(want),
        rms=0.01,
        maximum=0.01,
        span=1.0,
        span_name="rms current",
        curve=Curve(
            bandwidths * 1e-6, "node (MHz)", got * 1e9, want * 1e9, "noise (nA rms)", log_x=True, log_y=True
        ),
    )


def _capacitance(setting: Setting) -> Row:
    return capacitance_row(setting.build().detector, np.geomspace(0.05e6, 10e6, 12))


def memory_row(cell: SampleAndHold, capacitance: float, temperature: float, seed: int) -> Row:
    """Scatter of what the analog memory holds, against sqrt(kT/C)."""
    n = len(cell.pedestal)
    held = []
    for noise in (True, False):
        memory = AnalogMemory(cell, np.arange(n), np.ones(n), seed=seed, name="validate.memory", noise=noise)
        memory.hold(np.full((CELLS, n), 0.3), 0, 10e-6)
        held.append(memory.drive(CELLS, n))
    error = held[0] - held[1]
    got = float(np.sqrt(np.mean(error**2)))
    want = float(np.sqrt(BOLTZMANN * temperature / capacitance))
    standard = PER_CENT * np.sqrt(0.5 / error.size)
    spread = np.sort(error, axis=None)[:: error.size // 200]
    share = (np.arange(len(spread)) + 0.5) / len(spread)
    # quantiles of a Gaussian by interpolation of its distribution on a grid
    x = np.linspace(-5, 5, 2001)
    normal = np.cumsum(np.exp(-(x**2) / 2)) * (x[1] - x[0]) / np.sqrt(2 * np.pi)
    quantile = want * np.interp(share, normal, x)
    return compared(
        "noise of the analog memory's cells, drawn",
        "sqrt(kT/C)",
        got,
        want,
        rms=round(ONE * standard, 2),
        maximum=round(ONE * standard, 2),
        span_name=f"{want * 1e6:.2f} uV at {capacitance * 1e12:g} pF",
        reason=f"{got * 1e6:.2f} uV of {error.size} draws",
        curve=Curve(share, "share of the draws", spread * 1e6, quantile * 1e6, "held less wanted (uV)"),
    )


def _memory(setting: Setting) -> Row:
    cell = setting.build().memory
    if not np.isfinite(cell.capacitance):
        raise SkippedError(f"the memory of {setting.machine} is noiseless")
    return memory_row(cell, cell.capacitance, cell.temperature, setting.seed)


CHECKS = (
    Check("pair_slope", _pair_slope, "shared inputs"),
    Check("pair_law", _pair_law, "fitted"),
    Check("led_step", _led_step, "shared inputs"),
    Check("led_bandwidth", _led_bandwidth, "shared inputs"),
    Check("led_bandwidth_20ma", _led_20ma, "shared inputs"),
    Check("led_curvature", _led_curvature, "shared inputs"),
    Check("capacitance_noise", _capacitance, "shared inputs"),
    Check("memory_noise", _memory, "shared inputs"),
)
