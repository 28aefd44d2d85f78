r"""Compile a network for a machine: from weights to grey levels, gains and volts.

The relaxed map on the machine, in volts, is z = g(z) + alpha z + u with

.. math:: g_j = (1-\alpha_j)\,V \sum_i W_{ji}\, s(z_i/V), \qquad u_j = (1-\alpha_j)\,V\,(b_j + t e_j + x_j)

The gradient path offers a limited slope for each weight, beta times the light that reaches channel j; alpha_j
is chosen so that each row of W uses the modulator's full range. What the chain does to the light is inverted
as far as the user knows it (profiles, residual modulator law, darkness, crosstalk, direct light, the arms'
emitters), and then rounded to the modulator's grey levels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError, PhysicsError
from aocsim.law import Law
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.seeds import stream
from aocsim.spec import MachineSpec

Array = NDArray[np.float64]

INVERSION_TOLERANCE = 1e-6  # of the full weight range
INVERSION_STEPS = 200
WORST_INVERSION = 5e-3  # of the full weight range: more has nothing to do with rounding
FILL_MARGIN = 1.002  # a row is aimed at this much less than its pixels reach, so that rounding finds room
FIT_RANGE = 3.0  # network units over which an arm's law is matched to the activation
DRIVE_SIGMA = 3.0  # the drive must hold this many standard deviations of a Gaussian start


@dataclass(frozen=True, eq=False)
class Knowledge:
    """The linear chain as the user believes it to be.

    Attributes:
        machine: the believed machine; its modulator, crosstalk, detectors and gains are used.
        path: (2, n, n) volts at the node, before crosstalk, for each unit of modulator transmission and each
            unit of activation, per unit of beta; sign of the arm not included.
        direct: (2, n, n) the same for light around the modulator, transmission included.
    """

    machine: Machine
    path: Array
    direct: Array

    def response(self, weight: Array, beta: float) -> Array:
        """Slope of the gradient path, (n, n) V for each unit of activation, as [output j, input i]."""
        light = self.machine.optics.collect(self.path * self.machine.slm.response(weight) + self.direct)
        efficiency = self.machine.detector.output_efficiency
        weighted = light * (efficiency * self.machine.gains.node_gain(beta))[:, :, None]
        return np.asarray(weighted[0] - weighted[1])

    def own(self, beta: float) -> Array:
        """Part of `response` that a unit of transmission of pixel (j, i) gives to its own output, (2, n, n)."""
        efficiency = self.machine.detector.output_efficiency * self.machine.gains.node_gain(beta)
        return np.asarray(self.path * efficiency[:, :, None])


def knowledge_of(
    machine: Machine,
    spec: MachineSpec,
    activation: Law,
    knowledge: float | str | Machine,
    volts: float,
) -> Knowledge:
    """What the user knows of the machine.

    Args:
        machine: as built.
        spec: its sheet.
        activation: the network's activation, to which the arms' laws are matched.
        knowledge: "exact"; "nominal" for the sheet's values alone; the relative error with which every gain,
            profile, darkness and crosstalk of the machine is known; or the machine that the user believes it to be.
        volts: node voltage of one network unit.
    """
    if isinstance(knowledge, Machine):
        believed = knowledge
    elif knowledge == "nominal":
        believed = Machine.build(spec, serial=None)
        # a dead input is seen at the first look, whatever else is unknown
        believed = replace(believed, optics=replace(believed.optics, dead=machine.optics.dead))
    else:
        believed = machine
    error = 0.0 if isinstance(knowledge, str | Machine) else float(knowledge)

    def known(name: str, true: Array) -> Array:
        if not error:
            return true
        rng = stream(machine.serial or 0, f"{machine.name}.knowledge.{name}")
        return np.asarray(true * (1 + error * rng.standard_normal(true.shape)))

    optics, slm = believed.optics.as_known(known), believed.slm.as_known(known)
    detector, gains = believed.detector.as_known(known), believed.gains.as_known(known)
    scale = known("emitter", emitter_scale(believed, activation, volts))
    chain = detector.responsivity * detector.feedback_resistance * scale[:, None, :]
    known_machine = replace(believed, optics=optics, slm=slm, detector=detector, gains=gains)
    return Knowledge(known_machine, chain * optics.fan(), chain * optics.direct_matrix())


def emitter_scale(machine: Machine, activation: Law, volts: float) -> Array:
    """Light above bias for each unit of activation, W, (2, n): least squares over +-3 network units."""
    y = np.linspace(-FIT_RANGE, FIT_RANGE, 121)
    s = activation.response(y)
    z = np.repeat(volts * y[:, None], machine.channels, axis=1)
    rows = []
    for arm in (0, 1):
        light = machine.arm_activation(arm, z)
        light = light - machine.arm_activation(arm, np.zeros((1, machine.channels)))
        rows.append(s @ light / (s @ s))
    return np.array(rows)


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program and how it came about.

    Attributes:
        program: what is loaded.
        inversion_error: largest |realised - wanted| slope before rounding, over the full weight range.
        rounding_error: the same, root mean square, after rounding.
    """

    program: Program
    inversion_error: float
    rounding_error: float


def compile_network(
    operator: BlockOperator,
    knowledge: Knowledge,
    *,
    volts_per_unit: float,
    beta: float,
    alpha: float | Literal["per_channel", "global"] = "per_channel",
    alpha_min: float = 0.0,
    quantise: bool = True,
    channels: Literal["chosen", "in_order"] | NDArray[np.intp] = "chosen",
) -> Compiled:
    """Find grey levels, alpha and the channel map for the block operator of one step size.

    Args:
        operator: W, b, e of the relaxed map's target, in network units.
        knowledge: what is known of the machine.
        volts_per_unit: V.
        beta: wanted gain.
        alpha: "per_channel"; "global", the least that every row can hold, for all units; or a number for all.
        alpha_min: with either word, the least relaxation; rows that would fill the modulator's range with less
            settle no later than the slowest ones, and more relaxation filters their noise. Channels without a
            unit are parked at it.
        quantise: round to the modulator's grey levels.
        channels: "chosen" by `choose_channels`, the first live ones in order, or (units,) those of another program.

    Raises:
        InputError: more units than live channels, weights beyond the gain range, or volts beyond the DAC.
        PhysicsError: crosstalk too strong to be inverted.
    """
    machine = knowledge.machine
    set_beta = machine.gains.set_beta(beta)
    if not 0 < beta <= machine.gains.beta_full_scale or not set_beta:
        raise InputError(
            "beyond the gain that the machine can set",
            key="compile.beta",
            got=beta,
            allowed=f"more than half a step above 0 and at most {machine.gains.beta_full_scale:.4g}",
        )
    beta = set_beta
    if isinstance(channels, str):
        taken = choose_channels(operator, knowledge, beta, channels == "in_order")
    else:
        taken = channels
    n = machine.channels
    wanted = np.zeros((n, n))
    wanted[np.ix_(taken, taken)] = operator.matrix * volts_per_unit
    used = np.zeros(n, dtype=bool)
    used[taken] = True

    if isinstance(alpha, str):
        share = np.zeros(n)
        share[used] = 1.0 - alpha_min
        for _ in range(40):
            _, fill = invert_chain(knowledge, share[:, None] * wanted, used, beta)
            # neighbours couple through crosstalk, so a row's room changes as the others' shares do
            better = np.where(
                used, np.minimum(share / np.maximum(fill * FILL_MARGIN, 1e-9), 1.0 - alpha_min), 0.0
            )
            if alpha == "global":
                better = np.where(used, better[used].min(), 0.0)
            done = np.all(fill[used] <= 1.0) and np.allclose(better, share, rtol=1e-3, atol=0.0)
            if done:
                break
            share = better
        set_alpha = machine.gains.set_alpha(np.where(used, 1 - share, alpha_min))
        # rounding alpha down would ask for more weight than the row has
        top = 2**machine.gains.alpha_bits - 1
        set_alpha = np.where(used & (1 - set_alpha > share), np.minimum(set_alpha + 1 / top, 1.0), set_alpha)
    else:
        set_alpha = machine.gains.set_alpha(np.full(n, float(alpha)))
    share = np.where(used, 1 - set_alpha, 0.0)
    weight, fill = invert_chain(knowledge, share[:, None] * wanted, used, beta)
    _check_gain(share, fill, used, taken, beta, set_alpha, alpha)
    target = share[:, None] * wanted
    full = np.abs(target[used]).max() or 1.0
    inversion = float(np.abs(knowledge.response(weight, beta) - target)[used].max() / full)
    if inversion > WORST_INVERSION:
        raise PhysicsError(
            f"the optics cannot be inverted: {inversion:.2g} of the weight range is left after {INVERSION_STEPS} "
            "iterations; crosstalk or direct light are too strong"
        )
    if quantise:
        weight = np.round(weight * machine.slm.levels) / machine.slm.levels
    rounding = float(np.sqrt(np.mean((knowledge.response(weight, beta) - target)[used] ** 2)) / full)
    program = Program(weight, set_alpha, beta, taken, volts_per_unit)
    _check_drive(operator, program, machine)
    return Compiled(program, inversion, rounding)


def _check_gain(
    share: Array,
    fill: Array,
    used: NDArray[np.bool_],
    channels: NDArray[np.intp],
    beta: float,
    alpha: Array,
    asked: float | str,
) -> None:
    """Refuse rows that need more slope than the gradient path has.

    Raises:
        InputError: names channel, unit and the numbers.
    """
    starved = np.where(used & (share <= 0), np.inf, fill)
    worst = int(np.argmax(starved))
    if starved[worst] <= 1 + 1e-3:
        return
    unit = int(np.flatnonzero(channels == worst)[0])
    here = f"channel {worst} (unit {unit})"
    if not np.isfinite(starved[worst]) or isinstance(asked, str):
        raise InputError(
            f"weights beyond the gain range: {here} gets too little light for its weights even at alpha = "
            f"{alpha[worst]:.5g}",
            key="compile.beta",
            got=beta,
            allowed="a larger beta, more light, or smaller weights in the network",
        )
    raise InputError(
        f"weights beyond the gain range: {here} needs {fill[worst]:.3g} times the slope that beta = {beta:.4g} gives "
        f"at alpha = {alpha[worst]:.5g}",
        key="compile.alpha",
        got=asked,
        allowed=f"alpha >= {1 - share[worst] / fill[worst]:.5g} for this row, a larger beta, or per_channel",
    )


def choose_channels(
    operator: BlockOperator, knowledge: Knowledge, beta: float, in_order: bool = False
) -> NDArray[np.intp]:
    """Channel of each unit: dead inputs and the weakest channels left out, the largest rows where light is plenty.

    With `in_order` the first live ones in order, whatever light they have.

    Raises:
        InputError: more units than live channels.
    """
    machine = knowledge.machine
    own = (knowledge.own(beta) * machine.slm.column_profile()[:, :, None]).mean(axis=0)
    live = np.setdiff1d(np.arange(machine.channels), machine.optics.dead)
    units = operator.matrix.shape[0]
    if units > len(live):
        raise InputError(
            "more units than live channels",
            key="model",
            got=units,
            allowed=f"at most {len(live)} on {machine.name}",
        )
    if in_order:
        return np.asarray(live[:units], dtype=np.intp)
    strength = own[:, live].mean(axis=1)[live]
    kept = live[np.argsort(-strength, kind="stable")[:units]]
    reach = np.abs(operator.matrix).max(axis=1)
    order = np.argsort(-reach, kind="stable")
    channels = np.empty(units, dtype=np.intp)
    channels[order] = kept
    return channels


def invert_chain(
    knowledge: Knowledge, target: Array, used: NDArray[np.bool_], beta: float
) -> tuple[Array, Array]:
    """Commanded weights whose believed response is `target`, and how full each row is.

    The sign of what a pixel pair has to give chooses the arm, the other stays dark. Crosstalk and direct light
    couple a column to its neighbours: a fixed-point iteration takes the neighbours' share off the target.

    Args:
        knowledge: the chain.
        target: (n, n) V for each unit of activation.
        used: (n,) rows that carry a unit; the others stay dark.
        beta: gain.

    Returns:
        weight (2, n, n) in [0, 1], and fill (n,): the largest need of a row over what its pixels reach.
    """
    slm = knowledge.machine.slm
    own = knowledge.own(beta)
    dark = own * slm.response(np.zeros_like(own))
    top = np.broadcast_to(slm.top()[:, :, None], own.shape)
    reach = own * slm.response(top) - dark
    live = (reach > 0).all(axis=0) & used[:, None]
    weight = np.zeros_like(own)
    fill = np.zeros(len(used))
    # a dead input's own pixels reach nothing and need nothing but what its neighbours' light leaves: ignore that
    lost = np.where(used[:, None] & (np.abs(target) > 0), 0.0, np.inf)
    for _ in range(INVERSION_STEPS):
        now = own * slm.response(weight)
        need = now[0] - now[1] + (target - knowledge.response(weight, beta)) - (dark[0] - dark[1])
        side = np.stack([np.maximum(need, 0), np.maximum(-need, 0)])
        # where no light arrives, any need is out of reach
        ratio = np.where(live, side / np.where(reach > 0, reach, 1.0), np.where(side > lost, np.inf, 0.0))
        fill = ratio.max(axis=(0, 2))
        wanted = slm.invert(
            slm.response(np.zeros_like(own)) + np.where(live, side / np.where(own > 0, own, 1.0), 0.0)
        )
        wanted = np.where(side > 0, wanted, 0.0)
        change = float(np.abs(wanted - weight).max())
        weight = wanted
        if change < INVERSION_TOLERANCE:
            break
    return weight, fill


def _check_drive(operator: BlockOperator, program: Program, machine: Machine) -> None:
    """Refuse a program whose drive leaves the DAC's range."""
    peak = np.abs(operator.bias) + np.abs(operator.time_embedding) + DRIVE_SIGMA * operator.entries
    volts = np.abs(program.drive(peak))
    worst = int(np.argmax(volts))
    if volts[worst] > machine.dac.full_scale:
        raise InputError(
            f"volts beyond the DAC: channel {worst} needs {volts[worst]:.3g} V",
            key="compile.volts_per_unit",
            got=program.volts_per_unit,
            allowed=f"a drive within +-{machine.dac.full_scale:.4g} V",
        )
