r"""Several units in a ring, each a layer with a machine of its own, against the block matrix on one machine.

Unit k takes the node voltages of unit k - 1 through an analog crossbar, which brings each of them to the channel where
unit k expects it, sends them through its own pairs, emitters, modulators and detectors, and adds the result at its own
nodes. Closed, the ring relaxes to an implicit step; opened before the first unit, it is the layers one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aocsim.compiler import compile_network, knowledge_of
from aocsim.compose import Electronics, compose, photocurrent_matrix, reaching_at_rest
from aocsim.diffusion.operator import BlockOperator
from aocsim.diffusion.samplers import implicit_states
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine, nominal_activation
from aocsim.program import Program
from aocsim.scenarios.sample import Setup
from aocsim.seeds import stream
from aocsim.solve.integrators import integrate
from aocsim.solve.steady import steady_state
from aocsim.stages import Affine, Elementwise, Pole, Scale
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError, compared, within
from aocsim.validate.setups import heart

Array = NDArray[np.float64]

POINTS = 24
STEPS = (2, 8, 14)
IMPLICIT = ("implicit_euler", "crank_nicolson")
EXACT = 1e-7  # per cent: 1e-9 relative
PUBLISHED_NRMSE = 1e-2  # per diffusion step, Supplementary 2c


@dataclass(frozen=True, eq=False)
class Unit:
    """One unit of a ring.

    Attributes:
        machine: as built.
        program: a layer: rows that carry none are dark.
        source: unit whose nodes it takes in; None for one whose nodes are only driven.
    """

    machine: Machine
    program: Program
    source: int | None


def ring_of(units: Sequence[Unit]) -> Loop:
    """The loop of all units, nodes one unit behind the other; offsets trimmed so that nothing reaches a node at rest.

    Raises:
        SkippedError: a machine with poles in its arms.
    """
    n, count = units[0].machine.channels, len(units)
    arms: list[Arm] = []
    alpha, offset = np.zeros((count, n)), np.zeros((count, n))
    rates = np.array([2 * np.pi * unit.machine.poles.node for unit in units])
    for k, unit in enumerate(units):
        machine, program = unit.machine, unit.program
        if len([s for s in compose(machine, program, _none(n)).arms[0].stages if isinstance(s, Pole)]):
            raise SkippedError("units are written for machines whose only pole is the node's")
        alpha[k] = program.alpha
        if unit.source is None:
            continue
        offset[k] = -reaching_at_rest(machine, program)
        crossbar = np.zeros((n, count * n))
        here = program.channel_of_unit
        there = units[unit.source].program.channel_of_unit
        crossbar[here, unit.source * n + there] = 1.0
        front = (Affine(crossbar), machine.pair.stage())
        gain = machine.detector.feedback_resistance * machine.gains.node_gain(program.beta)
        rejection = machine.detector.bias_light_rejection
        currents = photocurrent_matrix(machine, program)
        for arm, sign in enumerate((1.0, -1.0)):
            matrix, rest = np.zeros((count * n, n)), np.zeros(count * n)
            rows = slice(k * n, (k + 1) * n)
            matrix[rows] = sign * gain[:, None] * currents[arm]
            left = (1 - rejection[arm]) * machine.led.bias_power(arm)
            sensitivity = machine.detector.responsivity * machine.detector.output_efficiency[arm]
            unmoved = sensitivity * machine.optics.baseline[arm]
            rest[rows] = sign * gain * (currents[arm].sum(axis=1) * left + unmoved)
            stages = (*front, Elementwise(machine.led.law(arm)), Affine(matrix, rest))
            arms.append(Arm(f"unit {k} {'+-'[arm]}", stages))
    arms.append(Arm("alpha", (Scale(alpha.ravel()),)))
    node = [Scale(1.0, offset.ravel())]
    saturation = units[0].machine.node.stage()
    stages_behind = (*node, *((saturation,) if saturation is not None else ()), Pole(rates.ravel()))
    return Loop(count * n, tuple(arms), stages_behind)


def _none(n: int) -> Electronics:
    return Electronics(np.zeros(n), np.zeros(n))


def layer_program(program: Program, rows: NDArray[np.intp]) -> Program:
    """The rows of a block-matrix program that belong to one layer; the others dark."""
    weight = np.zeros_like(program.weight)
    weight[:, rows] = program.weight[:, rows]
    return replace(program, weight=weight)


def blocks_of(operator: BlockOperator) -> list[NDArray[np.intp]]:
    """Units of each block, in the order in which the ring runs: x first."""
    edges = np.cumsum((0, *operator.layout))
    return [np.arange(a, b) for a, b in pairwise(edges)]


def drives_of(setup: Setup, seed: int) -> tuple[Array, Array]:
    """Additive terms (points, units) at some diffusion steps, and their ideal fixed points."""
    steps, d = setup.scenario.diffusion.steps, setup.network.layout[0]
    start = stream(seed, "validate.units").standard_normal((POINTS // len(STEPS), d))
    states = implicit_states(setup.network, start, steps)
    additive = [setup.operator.additive((k + 1) / steps, states[k - 1][:, :d]) for k in STEPS]
    return np.concatenate(additive), np.concatenate([states[k] for k in STEPS])


def settled(loop: Loop, drive: Array) -> Array:
    """Fixed points (solves, n) V from a discharged start."""
    start = np.zeros((len(drive), loop.states))
    late = integrate(loop, start, drive, np.array([0.0, 20e-6])).state[:, -1]
    return steady_state(loop, late, drive)[:, : loop.channels]


def same_row(what: str, ring: Array, block: Array) -> Row:
    """A ring's units' own voltages (points, units) V against the block matrix on one machine."""
    return compared(
        what,
        "block matrix on one machine",
        ring,
        block,
        rms=EXACT,
        maximum=EXACT,
        reason="1e-9 of the range: the same sums in another order",
        curve=Curve(np.arange(block.shape[1], dtype=float), "unit", ring[0], block[0], "node voltage (V)"),
    )


def _ideal(setting: Setting, method: str = "implicit_euler") -> Setup:
    return heart(
        Setting("ideal48", setting.serial, setting.seed, setting.library),
        compile__knowledge="exact",
        diffusion__method=method,
    )


def _closed(setting: Setting) -> Row:
    """Of both implicit methods: Crank-Nicolson's ring has half the step, and rows of its own alpha."""
    both = [closed_ring(_ideal(setting, method), setting.seed) for method in IMPLICIT]
    own, block = (np.concatenate(part) for part in zip(*both, strict=True))
    count = _ideal(setting).network.depth
    return same_row(
        f"{count} units in a closed ring on ideal48, implicit and Crank-Nicolson steps", own, block
    )


def closed_ring(setup: Setup, seed: int) -> tuple[Array, Array]:
    """Node voltages of the ring of units, and of the block matrix on one machine, both (points, units) V."""
    machine, program, operator = setup.machine, setup.compiled.program, setup.operator
    channels, n, blocks = program.channel_of_unit, machine.channels, blocks_of(operator)
    units = [
        Unit(machine, layer_program(program, channels[block]), (k - 1) % len(blocks))
        for k, block in enumerate(blocks)
    ]
    additive, _ = drives_of(setup, seed)
    drive = program.drive(additive)
    one = compose(machine, program, Electronics(program.alpha, -reaching_at_rest(machine, program)))
    block = settled(one, drive)[:, channels]
    found = settled(ring_of(units), np.tile(drive, (1, len(blocks)))).reshape(len(drive), len(blocks), n)
    return np.concatenate([found[:, k, channels[rows]] for k, rows in enumerate(blocks)], axis=1), block


def opened_operator(operator: BlockOperator) -> tuple[Array, list[NDArray[np.intp]]]:
    """Strictly lower block-triangular W of the opened ring, (n + d, n + d), and its blocks: x, hidden, result."""
    n, d = operator.units, operator.layout[0]
    matrix = np.zeros((n + d, n + d))
    matrix[d:n, :n] = operator.matrix[d:, :]
    matrix[n:, :n] = operator.matrix[:d, :]
    return matrix, [*blocks_of(operator), np.arange(n, n + d)]


def explicit_program(machine: Machine, matrix: Array, volts: float, beta: float) -> Program:
    """A matrix in network units on an ideal machine without relaxation: weights in proportion, beta up to them."""
    n, units = machine.channels, len(matrix)
    weight = np.zeros((2, n, n))
    top = np.abs(matrix).max()
    weight[0, :units, :units] = np.maximum(matrix, 0) / top
    weight[1, :units, :units] = np.maximum(-matrix, 0) / top
    return Program(weight, np.zeros(n), beta, np.arange(units), volts)


def _opened(setting: Setting) -> Row:
    setup = _ideal(setting)
    machine, operator = setup.machine, setup.operator
    matrix, blocks = opened_operator(operator)
    # beta of full scale: the hidden rows' own slopes do not matter here, only that both forms have the same
    program = explicit_program(machine, matrix, setup.compiled.program.volts_per_unit, 512.0)
    channels, n = program.channel_of_unit, machine.channels
    units = [
        Unit(machine, layer_program(program, channels[block]), None if k == 0 else k - 1)
        for k, block in enumerate(blocks)
    ]
    sample = stream(setting.seed, "validate.opened").standard_normal((POINTS, operator.layout[0]))
    additive = np.zeros((POINTS, len(matrix)))
    total = operator.additive(0.5, None, POINTS)
    additive[:, : operator.layout[0]] = sample
    additive[:, operator.layout[0] : operator.units] = total[:, operator.layout[0] :]
    additive[:, operator.units :] = total[:, : operator.layout[0]]
    drive = program.drive(additive)
    block = settled(compose(machine, program, _none(n)), drive)[:, channels]
    found = settled(ring_of(units), np.tile(drive, (1, len(units)))).reshape(POINTS, len(units), n)
    own = np.concatenate([found[:, k, channels[rows]] for k, rows in enumerate(blocks)], axis=1)
    return same_row(f"{len(units)} units in an opened ring on ideal48, explicit steps", own, block)


def ring_error(setting: Setting, setup: Setup) -> tuple[Array, Array, Array]:
    """Ring of units of different serials and one machine, both compiled for what they are, and the ideal, in units."""
    spec, operator = setup.spec, setup.operator
    activation, volts = nominal_activation(spec), setup.compiled.program.volts_per_unit
    beta, relaxed = setup.compiled.program.beta, setup.scenario.compile.alpha_min
    blocks = blocks_of(operator)
    units, drives = [], []
    additive, ideal = drives_of(setup, setting.seed)

    def compiled(machine: Machine, matrix: Array) -> Program:
        known = knowledge_of(machine, spec, activation, "exact", volts)
        layer = replace(operator, matrix=matrix)
        return compile_network(layer, known, volts_per_unit=volts, beta=beta, alpha_min=relaxed).program

    for k, rows in enumerate(blocks):
        machine = Machine.build(spec, setting.serial + k)
        matrix = np.zeros_like(operator.matrix)
        matrix[rows] = operator.matrix[rows]
        program = compiled(machine, matrix)
        units.append(Unit(machine, program, (k - 1) % len(blocks)))
        mine = np.zeros_like(additive)
        mine[:, rows] = additive[:, rows]
        drives.append(program.drive(mine))
    n = units[0].machine.channels
    found = settled(ring_of(units), np.concatenate(drives, axis=1)).reshape(len(additive), len(units), n)
    ring = np.concatenate(
        [units[k].program.units(found[:, k])[:, rows] for k, rows in enumerate(blocks)], axis=1
    )
    machine = units[0].machine
    program = compiled(machine, operator.matrix)
    loop = compose(machine, program, Electronics(program.alpha, -reaching_at_rest(machine, program)))
    return ring, program.units(settled(loop, program.drive(additive))), ideal


def serials_row(ring: Array, one: Array, ideal: Array) -> Row:
    """NRMSE of the ring of different machines against the ideal; one machine's beside it."""
    span = float(np.ptp(ideal))
    errors = [float(np.sqrt(np.mean((got - ideal) ** 2))) / span * PER_CENT for got in (ring, one)]
    between = float(np.sqrt(np.mean((ring - one) ** 2))) / span * PER_CENT
    return within(
        "NRMSE of a ring of units of different serials, compiled for each as it is, to the ideal",
        "1 %, published per diffusion step for one machine",
        errors[0],
        0.0,
        PUBLISHED_NRMSE * PER_CENT,
        unit="%",
        reason=f"the block matrix on one machine {errors[1]:.3g} %, ring against it {between:.3g} %",
        curve=Curve(
            np.arange(ideal.shape[1], dtype=float), "unit", ring[0], ideal[0], "fixed point (network units)"
        ),
    )


def _serials(setting: Setting) -> Row:
    return serials_row(*ring_error(setting, heart(setting)))


CHECKS = (
    Check("ring_of_units", _closed, "second implementation", slow=True),
    Check("opened_ring_of_units", _opened, "second implementation", slow=True),
    Check("ring_of_different_units", _serials, "independent", slow=True),
)
