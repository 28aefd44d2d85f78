r"""The loop of a machine as a circuit for ngspice, generated from its parts.

Their laws are written as circuits rather than as tables:

- the pair: a node at w volts whose current law is its equation (1), V/2 V_T = w + k tanh w; nobody inverts it but
  ngspice's Newton;
- the driver: equation (3) of the microLED as a current;
- the microLED: one node a carrier density, with the carrier balance A n + B n^2 + C n^3 = I/(q d area) as its
  current law;
- optics and modulator: one controlled source a pixel, neighbours' light summed at the detectors;
- the detector: photocurrent less the clamped bias light's, which a replica of the emitter gives, into R_f;
- dead time: lossless lines, matched at the far end;
- the node: sum, saturation by tanh, and an R-C;
- the switch in front of the R-C: it is open in the operating point and closes at t = 0.

Signals are volts on nodes; light is 1 V for 1 mW.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.components.microled import AbcDiode, MicroLed
from aocsim.components.node import SummingNode
from aocsim.components.pair import DifferentialPair
from aocsim.components.slm import Slm
from aocsim.compose import Electronics
from aocsim.constants import ELEMENTARY_CHARGE, thermal_voltage
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.validate.check import SkippedError

Array = NDArray[np.float64]

CARRIERS = 1e25  # 1/m^3 for 1 V on a carrier node
CARRIER_RATE = 1e8  # 1/s for 1 A into it
POLE_CAPACITANCE = 1e-9  # F
CLOSING_TIME = 1e-12  # s, that the switch takes
LINE = 50.0  # ohm


@dataclass(frozen=True, eq=False)
class _Parts:
    """A machine with the parts whose laws are physics rather than fits to measurements."""

    machine: Machine
    pair: DifferentialPair
    led: MicroLed
    slm: Slm
    node: SummingNode

    @classmethod
    def of(cls, machine: Machine) -> _Parts:
        pair, led, slm, node = machine.pair, machine.led, machine.slm, machine.node
        if not (
            isinstance(pair, DifferentialPair)
            and isinstance(led, MicroLed)
            and isinstance(slm, Slm)
            and isinstance(node, SummingNode)
        ):
            raise SkippedError(f"{machine.name} has parts with measured laws, for which there is no circuit")
        return cls(machine, pair, led, slm, node)


def loop_netlist(
    machine: Machine,
    program: Program,
    electronics: Electronics,
    drive: Array,
    *,
    duration: float,
    longest_step: float,
    carrier_dynamics: bool = False,
) -> str:
    """The closed loop from z = 0, when the switch closes, as a transient; v(z0), v(z1), ... are the node voltages.

    Args:
        machine: as built, of parts with physical laws.
        program: what is loaded.
        electronics: of one solve; its offset is (n,) V.
        drive: (n,) V at the node.
        duration: s.
        longest_step: of ngspice, s.
        carrier_dynamics: let the carriers' own balance make the microLED's pole, in place of the linear pole at the
            bandwidth of the bias.

    Raises:
        SkippedError: a part has a measured law.
    """
    n, parts = machine.channels, _Parts.of(machine)
    lines = [
        f"* loop of {machine.name}, serial {machine.serial}, {n} channels",
        # charges are 1e-9 C and smaller: the default charge tolerance would decide the step
        ".options reltol=1e-6 abstol=1e-13 vntol=1e-9 chgtol=1e-20 gmin=1e-15 trtol=1",
        f"Vclosed closed 0 pulse(0 1 0 {CLOSING_TIME} {CLOSING_TIME} {2 * duration} {4 * duration})",
    ]
    for i in range(n):
        lines += _pair(parts, i)
    for arm, name in enumerate("pm"):
        lines += _replica(parts, arm, name)
        for i in range(n):
            lines += _emitter(parts, arm, name, i, carrier_dynamics)
        lines += _optics(parts, program, arm, name)
        for j in range(n):
            lines += _detector(machine, arm, name, j)
    gain = machine.gains.closed_loop_gain * program.beta * machine.gains.electrical_gain
    gain = np.broadcast_to(gain * electronics.gain, (n,))
    offset = np.broadcast_to(electronics.offset, (n,))
    for j in range(n):
        lines += [
            f"Bsum{j} sum{j} 0 V = {_number(gain[j])}*(V(tp{j})-V(tm{j})) + {_number(electronics.alpha[j])}*V(z{j})"
            f" + {_number(offset[j])} + {_number(drive[j])}",
            f"Bamp{j} amp{j} 0 V = {_saturated(parts, f'V(sum{j})')}",
            *_line(f"amp{j}", f"late{j}", machine.poles.node_delay),
            f"Bgate{j} gate{j} 0 V = V(closed)*V(late{j})",
            *_pole(f"gate{j}", f"z{j}", float(machine.poles.node[j])),
        ]
    saved = " ".join(f"v(z{j})" for j in range(n))
    lines += [f".tran {longest_step!r} {duration!r} 0 {longest_step!r}", f".save {saved}", ".end"]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """For an expression: in brackets, since it may be negative."""
    return f"({float(value)!r})"


def _pole(source: str, target: str, frequency: float) -> list[str]:
    """First-order pole between an ideal source and a node that nothing loads; a wire at an infinite frequency."""
    if math.isinf(frequency):
        return [f"E{target} {target} 0 {source} 0 1"]
    resistance = 1 / (2 * math.pi * frequency * POLE_CAPACITANCE)
    return [f"R{target} {source} {target} {resistance!r}", f"C{target} {target} 0 {POLE_CAPACITANCE!r}"]


def _line(source: str, target: str, delay: float) -> list[str]:
    """Dead time between an ideal source and a node that may be loaded."""
    if not delay:
        return [f"E{target} {target} 0 {source} 0 1"]
    return [
        f"T{target} {source} 0 end{target} 0 z0={LINE} td={delay!r}",
        f"Rend{target} end{target} 0 {LINE}",
        f"E{target} {target} 0 end{target} 0 1",
    ]


def _pair(parts: _Parts, i: int) -> list[str]:
    """Base attenuator with offset, equation (1), load and feedthrough, and the driver's pole: v(dI)."""
    pair, poles = parts.pair, parts.machine.poles
    per_volt = 1 / (2 * thermal_voltage(pair.junction_temperature))
    base = f"{_number(pair.input_attenuation[i])}*V(z{i})+{_number(pair.input_offset[i])}"
    own = pair.degeneration * pair.tail_mismatch[i]
    lines = [
        f"Bw{i} w{i} 0 I = V(w{i}) + {_number(own)}*tanh(V(w{i})) - {_number(per_volt)}*({base})",
        f"Bv{i} v{i} 0 V = {_number(pair.swing[i])}*tanh(V(w{i})) + {_number(pair.feedthrough)}*V(z{i})",
    ]
    return lines + _pole(f"v{i}", f"d{i}", float(poles.driver[i]))


def _carriers(diode: AbcDiode, node: str, current: str, dynamic: bool) -> list[str]:
    """A node whose voltage is the carrier density that a drive current sustains."""
    per_current = 1 / (ELEMENTARY_CHARGE * diode.thickness * diode.area * CARRIERS * CARRIER_RATE)
    a, b, c = (
        coefficient * CARRIERS**power / CARRIER_RATE
        for power, coefficient in enumerate((diode.a, diode.b, diode.c))
    )
    x = f"V({node})"
    balance = f"{_number(a)}*{x} + {_number(b)}*{x}*{x} + {_number(c)}*{x}*{x}*{x}"
    lines = [f"B{node} {node} 0 I = {balance} - {_number(per_current)}*max({current}, 0)"]
    return [*lines, f"C{node} {node} 0 {1 / CARRIER_RATE!r}"] if dynamic else lines


def _light(diode: AbcDiode, node: str) -> str:
    """Light of a carrier density, mW."""
    volume = diode.thickness * diode.area
    per_square = 1e3 * diode.external_efficiency * diode.photon_energy * volume * diode.b * CARRIERS**2
    return f"{_number(per_square)}*V({node})*V({node})"


def _replica(parts: _Parts, arm: int, name: str) -> list[str]:
    """An emitter on its bias alone: v(rest)."""
    diode = parts.led.diodes[arm]
    return [
        *_carriers(diode, f"nrest{name}", _number(parts.led.bias_current[arm]), False),
        f"Brest{name} rest{name} 0 V = {_light(diode, f'nrest{name}')}",
    ]


def _emitter(parts: _Parts, arm: int, name: str, i: int, dynamic: bool) -> list[str]:
    """Driver, carriers and light of one emitter: v(lNAMEi), mW."""
    led, tag, v = parts.led, f"{name}{i}", f"V(d{i})"
    current = (
        f"{_number(led.bias_current[arm])} + {_number(led.transconductance[arm])}*{v}"
        f"*(1-{_number(led.compression[arm])}*{v}*{v})"
    )
    diode = led.diodes[arm]
    pole = math.inf if dynamic else parts.machine.poles.led_over_carrier * _bandwidth(parts.led, arm)
    return [
        *_carriers(diode, f"n{tag}", current, dynamic),
        f"Bo{tag} o{tag} 0 V = {_light(diode, f'n{tag}')}",
        *_pole(f"o{tag}", f"l{tag}", pole),
    ]


def _bandwidth(led: MicroLed, arm: int) -> float:
    """Bandwidth of the carriers at the bias, Hz: the balance's own root, by numpy."""
    diode, current = led.diodes[arm], led.bias_current[arm]
    rate = current / (ELEMENTARY_CHARGE * diode.thickness * diode.area)
    scaled = [diode.c * CARRIERS**2, diode.b * CARRIERS, diode.a, -rate / CARRIERS]
    roots = np.roots(scaled)
    n = float(roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real[0]) * CARRIERS
    return (diode.a + 2 * diode.b * n + 3 * diode.c * n**2) / (2 * math.pi)


def _optics(parts: _Parts, program: Program, arm: int, name: str) -> list[str]:
    """Light in front of the detectors, before their neighbours' share: v(fNAMEj), and of emitters at rest v(gNAMEj)."""
    optics, slm, n = parts.machine.optics, parts.slm, parts.machine.channels
    lines = []
    for j in range(n):
        bias = 0.0
        lines += [f"Rf{name}{j} f{name}{j} 0 1"]
        for i in range(n):
            angle = slm.retardance_scale[arm, j] * math.asin(math.sqrt(program.weight[arm, j, i]))
            passed = math.sin(angle) ** 2 + slm.inverse_contrast[arm, j, i] + slm.stray_light[arm, j]
            path = optics.column[arm, j] * optics.row[arm, i] * optics.structure[arm, j, i]
            share = path * slm.transmission[arm] * passed
            if i == j:  # direct light passes no pixel
                share += optics.direct[arm, j] * optics.row[arm, j]
            share *= optics.throughput[arm] / n
            bias += share
            lines.append(f"Gf{name}{j}_{i} 0 f{name}{j} l{name}{i} 0 {float(share)!r}")
        lines.append(f"Eg{name}{j} g{name}{j} 0 rest{name} 0 {float(bias)!r}")
    return lines


def _detector(machine: Machine, arm: int, name: str, j: int) -> list[str]:
    """Photocurrent with the neighbours' light, less the clamped one, into R_f: v(tNAMEj), V."""
    detector, crosstalk = machine.detector, machine.optics.crosstalk[arm]
    efficiency = 1e-3 * detector.responsivity * detector.output_efficiency[arm, j]
    resistance = detector.feedback_resistance

    def light(node: str) -> str:
        near = [k for k in (j - 1, j, j + 1) if 0 <= k < machine.channels]
        return "+".join(f"{_number(crosstalk[j, k])}*V({node}{name}{k})" for k in near)

    clamped = _number(detector.bias_light_rejection[arm, j])
    lines = [
        f"Bi{name}{j} 0 r{name}{j} I = {_number(efficiency)}*({light('f')} - {clamped}*({light('g')})"
        f" + {_number(1e3 * machine.optics.baseline[arm, j])})",
        f"Rt{name}{j} r{name}{j} 0 {resistance!r}",
        f"Eu{name}{j} u{name}{j} 0 r{name}{j} 0 1",
        *_line(f"u{name}{j}", f"t{name}{j}", machine.poles.optical_delay),
    ]
    pole = float(machine.poles.transimpedance[j])
    if math.isfinite(pole):
        lines.append(f"Ct{name}{j} r{name}{j} 0 {1 / (2 * math.pi * pole * resistance)!r}")
    return lines


def _saturated(parts: _Parts, x: str) -> str:
    """The summing amplifier's output."""
    node, out = parts.node, x
    for start, rail, beyond in (
        (node.linear_high, node.rail_high, ">"),
        (node.linear_low, node.rail_low, "<"),
    ):
        if math.isfinite(rail):
            bend = f"{_number(rail - start)}*tanh(({x}-{_number(start)})/{_number(rail - start)})"
            out = f"{x} {beyond} {_number(start)} ? {_number(start)} + {bend} : ({out})"
    return out
