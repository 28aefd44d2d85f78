r"""Compose a machine and the program loaded into it into a loop.

Signal path of one arm, from node voltage to node voltage::

    pair -> (driver pole) -> microLED -> (carrier pole) -> optics and modulator -> shot and amplifier noise
         -> (transimpedance pole) -> gain

The + and - arms share pair and driver; the alpha path joins them at the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.live import Drifted, Flicker
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.stages import Affine, Elementwise, Noise, Scale, Stage

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Electronics:
    """What the electronics between detectors and node really do.

    Attributes:
        alpha: ([solves,] n) gain of the alpha path.
        offset: ([solves,] n) V at the node.
        gain: ([solves,] n) or 1, gradient gain over that of the machine as built.
    """

    alpha: Array
    offset: Array
    gain: Array | float = 1.0


def electronics_of(machine: Machine, alpha: Array, beta: float, drift: Drifted | None = None) -> Electronics:
    """The electronics of a machine at what is set.

    Args:
        machine: as built.
        alpha: (n,) as set.
        beta: as set.
        drift: since the clock started, at each solve.
    """
    arrives, offset = alpha * machine.gains.alpha_gain, machine.gains.node_offset(beta)
    if drift is None:
        return Electronics(arrives, offset)
    return Electronics(arrives * drift.alpha, offset + drift.offset, drift.gain)


def reaching_at_rest(machine: Machine, program: Program, offset: Array | float = 0.0) -> Array:
    """What reaches each node at zero signal, (n,) V: `offset` of the electronics, darkness, bias light."""
    n = machine.channels
    bare = compose(machine, program, Electronics(np.zeros(n), np.zeros(n)))
    arms = [bare.arm_output(arm, np.zeros(n)) for arm in ("+", "-")]
    return np.asarray(np.sum(arms, axis=0) + offset)


def trimmed_exactly(machine: Machine, program: Program) -> Electronics:
    """Electronics without any error at this program: alpha as wanted, and nothing reaches a node at zero signal.

    What a perfect trim would reach. Only who may look inside a machine can tell; a bench has to measure.
    """
    return Electronics(program.alpha, -reaching_at_rest(machine, program))


LEAST_RELAXED = 1e-4  # of the node's pole: a loop closer to alpha = 1 has no band of its own to speak of


@lru_cache(maxsize=1)  # of one batch after the other, whose solves have them in common
def _light(machine: Machine, program: Program) -> tuple[Array, Array, Array]:
    """Transmission of the modulated paths, how far it wobbles, and that of the paths around, (2, n, n) each."""
    slm, optics = machine.slm, machine.optics
    fan = optics.fan()
    return fan * slm.response(program.weight), fan * slm.wobble(program.weight), optics.direct_matrix()


def photocurrent_matrix(machine: Machine, program: Program, flicker: Flicker | None = None) -> NDArray[Any]:
    """Photocurrent for each watt of emitted light, A/W, ([solves,] 2, n, n) as [arm, output j, input i].

    Those of single solves are in single precision: there are many, and 6e-8 of a transmission is far less than its
    flicker.
    """
    slm, optics, detector = machine.slm, machine.optics, machine.detector
    still, swing, steady = _light(machine, program)
    gain = detector.responsivity * detector.output_efficiency
    if flicker is None:
        return np.asarray(optics.collect(still + steady) * gain[:, :, None])
    from aocsim._kernels import wobbling_light  # compiled code is loaded by those who compute, not at import

    n = machine.channels
    pixel = np.ascontiguousarray(flicker.pixel, dtype=np.float32).reshape(-1, 2, n, n)
    common = 1 + slm.flicker_common * flicker.common.reshape(-1, 2)
    # each arm in one piece, as its stage wants it
    out = np.empty((2, len(pixel), n, n), dtype=np.float32)
    wobbling_light(still, swing, steady, optics.crosstalk, optics.reach, gain, pixel, common, out)
    return np.moveaxis(out, 0, 1).reshape(flicker.pixel.shape)


def compose(
    machine: Machine,
    program: Program,
    electronics: Electronics,
    flicker: Flicker | None = None,
    held: Array | None = None,
) -> Loop:
    """The loop of one machine with one program.

    With `flicker` or drifting electronics every solve of the batch has its own matrices (a leading axis in the
    stages); without them one loop serves any batch.

    Args:
        machine: as built.
        program: what is loaded.
        electronics: what the electronics really do.
        flicker: of each solve.
        held: ([solves,] n) V that drives the pairs instead of the node: the feedback is cut, and the node shows
            what the optical path makes of these volts. The alpha path is cut with it.
    """
    optics = photocurrent_matrix(machine, program, flicker)
    detector, poles = machine.detector, machine.poles
    front: tuple[Stage, ...] = (machine.pair.stage(), *poles.stage(poles.driver))
    alpha = electronics.alpha
    if held is not None:
        front, alpha = (Scale(0.0, held), *front), np.zeros_like(alpha)
    gain = detector.feedback_resistance * machine.gains.node_gain(program.beta)
    arms = []
    for index, sign in enumerate((1.0, -1.0)):
        matrix = np.ascontiguousarray(optics[..., index, :, :])
        bias = machine.led.bias_power(index) * np.matmul(matrix, np.ones(matrix.shape[-1], matrix.dtype))
        clamped = detector.bias_light_rejection[index] * bias
        stages: list[Stage] = [*front, Elementwise(machine.led.law(index))]
        stages += poles.stage(poles.led_over_carrier * machine.led.bandwidth(index))
        baseline = detector.responsivity * detector.output_efficiency[index] * machine.optics.baseline[index]
        stages.append(Affine(matrix, bias - clamped + baseline))
        # flicker moves the bias photocurrent by about a per cent, and the shot noise density no more: the mean serves
        mean_bias = clamped if clamped.ndim == 1 else clamped.mean(axis=0)
        stages.append(Noise(f"photocurrent {'+-'[index]}", _density(machine, mean_bias)))
        stages += [*poles.stage(poles.transimpedance), *poles.dead_time(poles.optical_delay)]
        stages.append(Scale(sign * gain * electronics.gain))
        arms.append(Arm("+-"[index], tuple(stages)))
    arms.append(Arm("alpha", (Scale(alpha),)))
    node: list[Stage] = [Scale(1.0, electronics.offset)]
    saturation = machine.node.stage()
    if saturation is not None:
        node.append(saturation)
    node += [*poles.dead_time(poles.node_delay), *poles.stage(poles.node)]
    # the alpha path acts at the node: it narrows the pole and raises its gain by the same factor
    relaxed = np.maximum(1 - (alpha if alpha.ndim == 1 else alpha.mean(axis=0)), LEAST_RELAXED)
    fast = 2 * detector.capacitance_noise(relaxed * poles.node) * (gain / relaxed) ** 2
    return Loop(machine.channels, tuple(arms), tuple(node), fast_noise=fast)


def _density(machine: Machine, clamped: Array) -> Callable[[Array], Array]:
    """Noise density at the detector; the clamped bias light is not in the signal, but it is in the shot noise."""
    return lambda signal: machine.detector.noise_density(signal + clamped)
