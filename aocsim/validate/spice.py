r"""Circuits in ngspice: transistors in place of the pair's law, the whole loop, the noise of a detector.

The pair's law gives emitter currents. Collectors carry :math:`\alpha_F = \beta_F/(1 + \beta_F)` of them, and no sheet
has base currents: alpha_F is put onto the tail current in the comparison.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from aocsim.compiler import compile_network, knowledge_of
from aocsim.components.pair import DifferentialPair
from aocsim.components.photodetector import Photodetector
from aocsim.compose import compose, trimmed_exactly
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import BlockOperator
from aocsim.machine import Machine, nominal_activation
from aocsim.program import Program
from aocsim.seeds import stream
from aocsim.solve.integrators import integrate
from aocsim.solve.piecewise import opened
from aocsim.validate.check import Check, Curve, Row, Setting, SkippedError, compared
from aocsim.validate.netlist import loop_netlist
from aocsim.validate.setups import Overrides
from aocsim.validate.spice_engine import Plot, run, version
from aocsim.validate.spice_stages import FORWARD_GAIN, transimpedance, transistor_pair

Array = NDArray[np.float64]

TITLE = "Circuits in ngspice"

JUNCTIONS = (250.0, 275.0, 300.0, 325.0, 350.0)  # K
ALPHA_F = FORWARD_GAIN / (1 + FORWARD_GAIN)
SWEEP = 201
KNEES = 10.0  # largest reach of the sweep, in knee voltages

CHANNELS, LAYOUT, STEPS = 8, (2, 3, 3), 8
WEIGHTS, BIASES = 2.5, 1.0  # of the network: its units move over the knee and past it
BETA = 7.5  # 8 channels get six times the light of 48 each: the slowest relaxes with alpha = 0.97
DURATION = 15e-6  # s
LONGEST_STEP = 10e-9  # s, of ngspice
SAMPLES = 301
REST = 1e-6  # s, in which all poles settle on a node at 0 V

PHOTOCURRENT = 3e-6  # A, of a detector in use
RELAXED = 0.97
SPECTRUM_TOP = 1e9  # Hz
WHITE_TOP = 100e3  # Hz, below which e_n C is 0.05 % of the density


def pair_row(setting: Setting, junction: float) -> Row:
    """A degenerated pair of transistors over the node's linear range, junctions at this temperature, K."""
    spec = setting.spec()
    nominal = Machine.build(spec, serial=None)
    law, sheet = nominal.pair, spec.parts["pair"]
    if not isinstance(law, DifferentialPair):
        raise SkippedError("the machine's pairs have a measured law, for which there is no circuit")
    tail, emitter, load = (
        float(sheet.value(entry)) for entry in ("tail_current", "emitter_resistance", "load_resistance")
    )
    attenuation = float(law.input_attenuation[0])
    # an ideal node has no ends
    reach = np.clip([nominal.node.linear_low, nominal.node.linear_high], -KNEES * law.knee, KNEES * law.knee)
    text = transistor_pair(
        tail_current=tail,
        emitter_resistance=emitter,
        load_resistance=load,
        temperature=junction,
        base_voltages=attenuation * np.linspace(reach[0], reach[1], SWEEP),
    )
    (plot,) = run(text)
    base = plot["v(d)"]
    want = (plot["v(c2)"] - plot["v(c1)"]) / load
    there = law.at_temperature(law.reference_temperature + junction - law.junction_temperature)
    collectors = replace(there, swing=ALPHA_F * there.swing, feedthrough=0.0)
    node = np.broadcast_to(base[:, None] / attenuation, (len(base), nominal.channels))
    got = collectors.stage().response(node)[:, 0] / load
    return compared(
        f"differential pair with emitter degeneration, junctions at {junction:g} K",
        f"two 2N3904 with {emitter:g} ohm in each emitter, {version()}",
        got,
        want,
        rms=0.5,
        maximum=1.5,
        span_name=f"swing of the collectors, {np.ptp(want) * 1e3:.4g} mA",
        reason=f"alpha_F = {ALPHA_F:.4f} on the tail current, BF = {FORWARD_GAIN:g}; the rest is the transistors' "
        "own: base leakage, high injection, base resistance",
        curve=Curve(
            base * 1e3, "voltage between bases (mV)", got * 1e3, want * 1e3, "collectors' difference (mA)"
        ),
    )


def small_loop(setting: Setting, changes: Overrides) -> tuple[Machine, Program, Array]:
    """Eight channels of the machine with a random network of three layers: machine, program, drive (n,) V."""
    spec = replace(setting.spec(changes), channels=CHANNELS)
    machine = Machine.build(spec, setting.serial)
    rng = stream(0, "validate.spice.network")
    shapes = list(zip(LAYOUT[1:] + LAYOUT[:1], LAYOUT, strict=True))
    network = Network(
        "random",
        tuple(WEIGHTS * rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes),
        tuple(BIASES * rng.standard_normal(out) for out, _ in shapes),
        tuple(BIASES * rng.standard_normal(out) for out, _ in shapes),
        nominal_activation(spec),
        "none",
    )
    operator = BlockOperator.from_network(network, 1 / STEPS)
    volts = machine.pair.knee
    knowledge = knowledge_of(machine, spec, network.activation, "exact", volts)
    program = compile_network(operator, knowledge, volts_per_unit=volts, beta=BETA).program
    start = rng.standard_normal((1, LAYOUT[0]))
    return machine, program, program.drive(operator.additive(0.5, start, 1))[0]


def loop_row(
    setting: Setting, poles: dict[str, str], what: str, reason: str = "", carrier_dynamics: bool = False
) -> Row:
    """The closed loop from z = 0 in ngspice and by DOP853, at instants at which ngspice has stepped."""
    machine, program, drive = small_loop(setting, {"poles": poles})
    electronics = trimmed_exactly(machine, program)
    text = loop_netlist(
        machine,
        program,
        electronics,
        drive,
        duration=DURATION,
        longest_step=LONGEST_STEP,
        carrier_dynamics=carrier_dynamics,
    )
    (plot,) = run(text)
    steps = plot["time"]
    # what ngspice has computed, not what it would interpolate
    chosen = np.unique(np.searchsorted(steps, np.linspace(0, DURATION, SAMPLES)).clip(0, len(steps) - 1))
    times = steps[chosen]
    want = np.stack([plot[f"v(z{i})"][chosen] for i in range(CHANNELS)], axis=1)
    loop = compose(machine, program, electronics)
    solve = partial(integrate, method="DOP853", rtol=1e-8, atol=1e-10)
    quiet, rest = np.zeros((1, CHANNELS)), np.array([0.0, REST])
    # behind an open switch the node stays at 0 V while the arms' poles find what belongs to it
    start = solve(opened(loop), np.zeros((1, loop.states)), quiet, rest).state[:, -1]
    got = solve(loop, start, drive[None], times).state[0][:, :CHANNELS]
    widest = int(np.argmax(np.ptp(want, axis=0)))
    slowest = f"alpha from {program.alpha.min():.2f} to {program.alpha.max():.4f}"
    return compared(
        f"closed loop of {CHANNELS} channels over {DURATION * 1e6:g} us, {what}",
        f"its parts' formulae as a circuit, {version()}",
        got,
        want,
        rms=0.1,
        maximum=0.5,
        span_name=f"range of all channels, {np.ptp(want):.3f} V",
        reason="; ".join(filter(None, (slowest, reason))),
        curve=Curve(
            times * 1e6, "time (us)", got[:, widest], want[:, widest], f"node voltage of channel {widest} (V)"
        ),
    )


def _detector(setting: Setting) -> Photodetector:
    return setting.build().detector


def _spectrum(plot: Plot, top: float) -> tuple[Array, Array]:
    """Frequencies from 1 kHz to `top`, Hz, and density at the output, V^2/Hz."""
    f = plot["frequency"]
    band = (f >= 1e3 * (1 - 1e-9)) & (f <= top * (1 + 1e-9))
    return f[band], plot["onoise_spectrum"][band] ** 2


def _relative(what: str, against: str, got: Array, want: Array, reason: str, curve: Curve | None) -> Row:
    ratio = got / want
    return compared(
        what,
        f"{against}, {version()}",
        ratio,
        np.ones_like(ratio),
        rms=2.0,
        maximum=2.0,
        span=1.0,
        span_name="the circuit's own, point by point" if ratio.size > 1 else "the circuit's own",
        reason=reason,
        curve=curve,
    )


def _density_curve(f: Array, got: Array, want: Array) -> Curve:
    return Curve(
        f,
        "frequency (Hz)",
        np.sqrt(got) * 1e9,
        np.sqrt(want) * 1e9,
        "noise at the output (nV/sqrt(Hz))",
        log_x=True,
        log_y=True,
    )


STAGE = "photodiode, R_f, C_f and operational amplifier with e_n and i_n"


def white_row(setting: Setting) -> Row:
    """Equation (1) of the detector where its white noise is all there is."""
    detector = _detector(setting)
    density, _ = run(transimpedance(detector, PHOTOCURRENT, np.inf))
    f, want = _spectrum(density, WHITE_TOP)
    got = detector.feedback_resistance**2 * detector.noise_density(np.full_like(f, PHOTOCURRENT))
    return _relative(
        "white noise of a detector, 1 to 100 kHz",
        STAGE,
        got,
        want,
        f"photocurrent {PHOTOCURRENT * 1e6:g} uA",
        None,
    )


def density_row(setting: Setting) -> Row:
    """Equation (1) and the integrand of equation (2) behind the Butterworth low-pass."""
    detector = _detector(setting)
    density, _ = run(transimpedance(detector, PHOTOCURRENT, np.inf))
    f, want = _spectrum(density, SPECTRUM_TOP)
    rising = (2 * np.pi * f * detector.input_capacitance * detector.voltage_noise) ** 2
    flat = detector.noise_density(np.full_like(f, PHOTOCURRENT))
    low_pass = 1 + (f / detector.amplifier_bandwidth) ** 4
    got = detector.feedback_resistance**2 * (flat + rising) / low_pass
    return _relative(
        "noise density of a detector, 1 kHz to 1 GHz",
        STAGE,
        got,
        want,
        "C is all that hangs on the summing node, C_f included",
        _density_curve(f, got, want),
    )


def _variances(detector: Photodetector, node: float) -> tuple[float, float, float, float]:
    """Behind a node pole, Hz: the detector's white and e_n C variance, and the circuit's total and e_n's, V^2."""
    _, total = run(transimpedance(detector, PHOTOCURRENT, node))
    square = detector.feedback_resistance**2
    # what the loop makes of white noise: a density through the node's pole
    white = square * float(detector.noise_density(np.array(PHOTOCURRENT))) * np.pi / 2 * node
    rising = square * float(detector.capacitance_noise(np.array([node]))[0])
    everything = float(total["v(onoise_total)"][0]) ** 2
    return white, rising, everything, float(total["v(onoise_total_rvoltage)"][0]) ** 2


def relaxed_row(setting: Setting) -> Row:
    """All of a detector's noise behind the pole of a relaxed node."""
    machine = setting.build()
    pole = machine.poles.nominal_bandwidth
    white, rising, total, _ = _variances(machine.detector, (1 - RELAXED) * pole)
    open_white, open_rising, open_total, _ = _variances(machine.detector, pole)
    excess = 100 * ((open_white + open_rising) / open_total - 1)
    return _relative(
        f"variance of a detector's noise behind the node at alpha = {RELAXED:g}, all frequencies",
        STAGE,
        np.array([white + rising]),
        np.array([total]),
        f"{np.sqrt(total) * 1e6:.2f} uV; the loop's white noise does not pass the amplifier's low-pass, which without "
        f"relaxation makes it {excess:+.1f} % of the variance too large",
        None,
    )


def capacitance_row(setting: Setting) -> Row:
    """Equation (2) behind the node's own pole, the flat part of e_n beside it."""
    machine = setting.build()
    detector, pole = machine.detector, machine.poles.nominal_bandwidth
    _, rising, _, voltage = _variances(detector, pole)
    flat = detector.voltage_noise**2 * np.pi / 2 * pole
    return _relative(
        f"variance from e_n behind the node's {pole * 1e-6:g} MHz, all frequencies",
        STAGE,
        np.array([rising + flat]),
        np.array([voltage]),
        f"{100 * rising / (rising + flat):.1f} % of it e_n on C",
        None,
    )


CHECKS: tuple[Check, ...] = (
    *(
        Check(f"spice_pair_{junction:g}_kelvin", partial(pair_row, junction=junction), "independent")
        for junction in JUNCTIONS
    ),
    Check(
        "spice_loop_one_pole",
        partial(loop_row, poles={"sheet": "poles"}, what="the node's pole alone"),
        "independent",
    ),
    Check(
        "spice_loop_minor_poles",
        partial(
            loop_row,
            poles={"sheet": "poles_all"},
            what="poles of node, driver, microLED and transimpedance amplifier",
        ),
        "independent",
        slow=True,
    ),
    Check(
        "spice_loop_carriers",
        partial(
            loop_row,
            poles={"sheet": "poles_all"},
            what="all poles, the microLED's against its carrier dynamics",
            reason="in the circuit the carrier balance itself makes the microLED's lag",
            carrier_dynamics=True,
        ),
        "independent",
        slow=True,
    ),
    Check(
        "spice_loop_dead_time",
        partial(
            loop_row,
            poles={"sheet": "poles_all", "optical_delay": "20 ns", "node_delay": "20 ns"},
            what="all poles, 20 ns of dead time in the arms and 20 ns at the node",
            reason="the circuit's dead time is that of lossless lines",
        ),
        "independent",
        slow=True,
    ),
    Check("spice_detector_white", white_row, "independent"),
    Check("spice_detector_density", density_row, "independent"),
    Check("spice_detector_relaxed", relaxed_row, "independent"),
    Check("spice_detector_capacitance", capacitance_row, "independent"),
)
