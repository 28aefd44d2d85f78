r"""Closed forms of converters: rounding, effective bits, and what sampling does to what lies above half its rate.

A converter of step Delta is off by Delta/sqrt(12) rms on a slow ramp. Its effective bits are found by a sine test
(IEEE Std 1241): a sine is fitted to the record, and of what is left, rms eta,

.. math:: \mathrm{ENOB} = \log_2\frac{\text{full-scale range}}{\eta\sqrt{12}}

A frequency f appears at |f - m f_s|, m being the nearest whole number; white noise folds with its full variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from aocsim.bench import SimulatedBench
from aocsim.components.dac import Dac
from aocsim.components.digitiser import Digitiser
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.seeds import stream
from aocsim.solve.integrators import integrate
from aocsim.solve.linear_noise import sampled_noise
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError, compared, within
from aocsim.validate.closed_noise import DENSITY, ONE, folded_spectrum, modes, node_rate
from aocsim.validate.setups import without_weights

Array = NDArray[np.float64]

RAMP = 200_001
SINE = 65_536  # samples of the effective-bit test
ABOVE = np.array([2.6e6, 3.1e6, 4.0e6, 5.3e6, 6.4e6, 7.7e6])  # Hz, above half the sampling rate of 2.34 MHz
RECORD = 256  # samples of the aliasing test
STARTED = 10  # samples until the node's start is forgotten, 60 time constants
NODE_AMPLITUDE = 0.5  # V
TRIALS = 40
RECORDS, LENGTH = 4000, 72  # of folded white noise


def ramp_row(converters: dict[str, tuple[Array, Array, float]]) -> Row:
    """Rounding on ramps: by converter, what went in, what came out, and the step, all V."""
    got, want = [], []
    for given, out, step in converters.values():
        error = out - given
        got += [float(np.sqrt(np.mean(error**2))) / step, float(np.abs(error).max()) / step]
        want += [1 / np.sqrt(12), 0.5]
    given, out, step = next(iter(converters.values()))
    part = np.flatnonzero(np.abs(given) < 2 * step)[:: max(1, RAMP // 200_000)]
    ideal = given[part] / step - np.floor(given[part] / step + 0.5)
    return compared(
        "rounding of " + " and ".join(converters) + " on a ramp, rms and largest",
        "step/sqrt(12) and step/2",
        np.array(got),
        np.array(want),
        rms=0.5,
        maximum=0.5,
        span=0.5,
        span_name="half a step",
        reason=", ".join(f"{name} step {step * 1e6:.4g} uV" for name, (_, _, step) in converters.items()),
        curve=Curve(
            given[part] / step, "ramp (steps)", (given - out)[part] / step, ideal, "rounded off (steps)"
        ),
    )


def ramps(dac: Dac, digitiser: Digitiser) -> dict[str, tuple[Array, Array, float]]:
    """Ramps over nine tenths of the range of each converter that rounds, for `ramp_row`."""
    line, out = np.linspace(-0.9, 0.9, RAMP), {}
    if dac.bits:
        given = line * dac.full_scale
        out["DAC"] = (given, dac.response(given), 2 * dac.full_scale / 2**dac.bits)
    if digitiser.bits:
        span = digitiser.full_scale * digitiser.input_scale
        out["digitiser"] = (line * span, digitiser.quantise(line * span), 2 * span / 2**digitiser.bits)
    return out


def _ramp(setting: Setting) -> Row:
    machine = setting.build()
    converters = ramps(machine.dac, machine.digitiser)
    if not converters:
        raise SkippedError(f"the converters of {setting.machine} do not round")
    return ramp_row(converters)


def sine_residual(record: Array, phase: Array) -> float:
    """Rms of what a fit of sine, cosine and constant leaves of a record, at known phase (rad)."""
    design = np.stack([np.sin(phase), np.cos(phase), np.ones_like(phase)], axis=1)
    left = record - design @ np.linalg.lstsq(design, record, rcond=None)[0]
    return float(np.sqrt(np.mean(left**2)))


def effective_bits_row(digitiser: Digitiser, stated: float, seed: int) -> Row:
    """Sine test of a digitiser's rounding and noise against the effective bits that its sheet states."""
    span = digitiser.full_scale * digitiser.input_scale
    normals = stream(seed, "validate.enob").standard_normal(SINE)
    bits, levels = [], np.array([0.1, 0.3, 0.6, 0.97])
    for level in levels:
        phase = np.asarray(2 * np.pi * 0.1234567 * np.arange(SINE), dtype=float)
        node = level * span * np.sin(phase + 0.3) + digitiser.noise * normals
        left = sine_residual(digitiser.quantise(node), phase)
        bits.append(float(np.log2(2 * span / (left * np.sqrt(12)))))
    return within(
        "effective bits of the digitiser by a sine test at 0.97 of full scale",
        "the sheet's; IEEE Std 1241",
        bits[-1],
        stated - 0.05,
        stated + 0.05,
        unit="bit",
        reason=f"{SINE} samples",
        curve=Curve(
            levels, "amplitude over full scale", np.array(bits), np.full(4, stated), "effective bits"
        ),
    )


def _effective_bits(setting: Setting) -> Row:
    digitiser = setting.build().digitiser
    if not np.isfinite(digitiser.effective_bits):
        raise SkippedError(f"the digitiser of {setting.machine} is ideal")
    return effective_bits_row(digitiser, digitiser.effective_bits, setting.seed)


def floor_row(voltage: Array, span: float, stated: float) -> Row:
    """Scatter of records (..., times, n) V of a node at rest against full scale/(2^ENOB sqrt 12); span both ways."""
    got = float(np.sqrt(voltage.var(axis=-2).mean()) * np.sqrt(voltage.shape[-2] / (voltage.shape[-2] - 1)))
    want = span / (2**stated * np.sqrt(12))
    count = voltage.size
    error = PER_CENT * np.sqrt(0.5 / count)
    return compared(
        "scatter of the bench's readings at rest without weights and gain",
        "full-scale range/(2^ENOB sqrt 12)",
        got,
        want,
        rms=round(ONE * error, 2),
        maximum=round(ONE * error, 2),
        span_name=f"{want * 1e3:.3f} mV",
        reason=f"{got * 1e3:.3f} mV of {count} samples",
    )


def _floor(setting: Setting) -> Row:
    machine = setting.build()
    digitiser = machine.digitiser
    if not np.isfinite(digitiser.effective_bits):
        raise SkippedError(f"the digitiser of {setting.machine} is ideal")
    bench = SimulatedBench(machine, seed=setting.seed, name="validate")
    reading = bench.read(np.zeros((1, machine.channels)), trials=TRIALS)
    span = 2 * digitiser.full_scale * digitiser.input_scale
    return floor_row(reading.voltage[0, :, STARTED:], span, digitiser.effective_bits)


def strongest(record: Array, rate: float) -> tuple[float, float]:
    """Frequency, Hz, and amplitude of the sine that fits a record best."""
    padded = np.abs(np.fft.rfft((record - record.mean()) * np.hanning(len(record)), 16 * len(record)))
    step = rate / (16 * len(record))
    near = float(np.argmax(padded)) * step
    phase = np.asarray(2 * np.pi * np.arange(len(record)) / rate, dtype=float)

    def left(frequency: float) -> float:
        return sine_residual(record, frequency * phase)

    found = minimize_scalar(left, bounds=(near - step, near + step), method="bounded", options={"xatol": 1.0})
    frequency = float(found.x)
    design = np.stack([np.sin(frequency * phase), np.cos(frequency * phase), np.ones_like(phase)], axis=1)
    wave = np.linalg.lstsq(design, record, rcond=None)[0]
    return frequency, float(np.hypot(wave[0], wave[1]))


def folded(frequency: Array, rate: float) -> Array:
    """Where a frequency appears after sampling, Hz."""
    return np.asarray(np.abs(frequency - rate * np.round(frequency / rate)))


def sine_alias_row(loop: Loop, digitiser: Digitiser, rate: float) -> Row:
    """Sines above half the sampling rate at the node against where and how large they should appear.

    Args:
        loop: without weights, one sine for each of its first channels.
        digitiser: reads the node.
        rate: sampling rate for the closed form, Hz.
    """
    n, count = loop.channels, len(ABOVE)
    pole = np.asarray(loop.node[-1].rate)[:count] / (2 * np.pi)  # type: ignore[union-attr]
    response = 1 / np.sqrt(1 + (ABOVE / pole) ** 2)
    drive = np.zeros((1, n))
    omega = np.zeros(n)
    omega[:count], drive[0, :count] = 2 * np.pi * ABOVE, NODE_AMPLITUDE
    times = np.arange(RECORD) / digitiser.sample_rate
    start = np.zeros((1, loop.states))
    path = integrate(
        loop, start, lambda t: drive * np.sin(omega * t), times, method="DOP853", rtol=1e-7, atol=1e-9
    ).state[0]
    seen = digitiser.quantise(path[STARTED:, :count])
    found = np.array([strongest(one, digitiser.sample_rate) for one in seen.T])
    where, size = folded(ABOVE, rate), NODE_AMPLITUDE * response
    return compared(
        "sines of 2.6 to 7.7 MHz at the node, as sampled: frequency and amplitude",
        "|f - m f_s| and the node's 1/sqrt(1 + f^2/f_3dB^2)",
        np.concatenate([found[:, 0] / (rate / 2), found[:, 1] / size]),
        np.concatenate([where / (rate / 2), np.ones(count)]),
        rms=0.05,
        maximum=0.1,
        span=1.0,
        span_name=f"half the sampling rate, {rate / 2e6:.4g} MHz, and the amplitude",
        curve=Curve(ABOVE * 1e-6, "at the node (MHz)", found[:, 0] * 1e-6, where * 1e-6, "as sampled (MHz)"),
    )


def _sine_alias(setting: Setting) -> Row:
    machine = setting.build()
    if machine.channels < len(ABOVE):
        raise SkippedError(
            f"{len(ABOVE)} sines need a channel each, {setting.machine} has {machine.channels}"
        )
    return sine_alias_row(without_weights(machine), machine.digitiser, machine.digitiser.sample_rate)


def white_alias_row(machine: Machine, tau: float, seed: int) -> Row:
    """Variance and spectrum of the unrelaxed node's noise as sampled against S/(4 tau), all folded."""
    rate = machine.digitiser.sample_rate
    loop = modes(np.zeros(1), np.zeros(1), DENSITY, node_rate(machine))
    normals = stream(seed, "validate.folded").standard_normal((1, RECORDS, LENGTH, 1))
    drawn = sampled_noise(loop, np.zeros((1, LENGTH, 1)), np.zeros((1, 1)), 1 / rate, normals, 1)
    record = drawn[0, :, STARTED:, 0]
    length = record.shape[1]
    power = 2 * (np.abs(np.fft.rfft(record, axis=1)) ** 2).mean(axis=0) / (rate * length)
    frequencies = np.asarray(np.fft.rfftfreq(length, 1 / rate), dtype=float)
    want = DENSITY / (4 * tau)
    error = PER_CENT * np.sqrt(2 / record.size)
    inside = slice(1, -1)
    below = 2 / np.pi * np.arctan(rate / 2 * 2 * np.pi * tau)
    return compared(
        "variance of noise of 5 MHz bandwidth, sampled below twice that",
        "S/(4 tau): all of it, folded",
        record.var() / want,
        1.0,
        rms=round(ONE * error, 2),
        maximum=round(ONE * error, 2),
        span=1.0,
        span_name="variance",
        reason=f"only {below * PER_CENT:.0f} % of it stood below half the sampling rate",
        curve=Curve(
            frequencies[inside] * 1e-6,
            "frequency (MHz)",
            power[inside],
            folded_spectrum(DENSITY, tau, 0.0, 0.0, frequencies[inside], rate),
            "density (V^2/Hz)",
        ),
    )


def _white_alias(setting: Setting) -> Row:
    machine = setting.build()
    return white_alias_row(machine, 1 / node_rate(machine), setting.seed)


CHECKS = (
    Check("converter_rounding", _ramp, "shared inputs"),
    Check("effective_bits", _effective_bits, "shared inputs"),
    Check("digitiser_noise_floor", _floor, "shared inputs"),
    Check("aliased_sines", _sine_alias, "shared inputs", slow=True),
    Check("aliased_noise", _white_alias, "shared inputs"),
)
