r"""Compose a machine and the program loaded into it into a loop.

Signal path of one arm, from node voltage to node voltage::

    pair -> (driver pole) -> microLED -> (carrier pole) -> optics and modulator -> shot and amplifier noise
         -> (transimpedance pole) -> gain

The + and - arms share pair and driver; the alpha path joins them at the node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.seeds import stream
from aocsim.stages import Affine, Elementwise, Noise, Scale, Stage

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Flicker:
    """Frozen wobble of the modulators for a batch of solves.

    Attributes:
        pixel: (solves, 2, n, n) standard normals.
        common: (solves, 2) standard normals.
    """

    pixel: Array
    common: Array

    @classmethod
    def draw(
        cls, seed: int, name: str, channels: int, places: Sequence[tuple[int, int]], trials: int
    ) -> Flicker:
        """Draws for each (sample, step) of `places` and each trial, in that order.

        Each (sample, step) has its own stream, so that draws depend neither on batches nor on other samples.
        """
        n = channels
        pixel = np.empty((len(places), trials, 2, n, n))
        common = np.empty((len(places), trials, 2))
        for k, (sample, step) in enumerate(places):
            rng = stream(seed, name, sample, step)
            for trial in range(trials):
                common[k, trial] = rng.standard_normal(2)
                rng.standard_normal(out=pixel[k, trial])
        return cls(pixel.reshape(-1, 2, n, n), common.reshape(-1, 2))


@dataclass(frozen=True, eq=False)
class Trims:
    """What the electronics really add once they have been trimmed.

    Attributes:
        alpha: (n,) gain of the alpha path.
        offset: (n,) V at the node.
    """

    alpha: Array
    offset: Array


LEAST_RELAXED = 1e-4  # of the node's pole: a loop closer to alpha = 1 has no band of its own to speak of


def untrimmed(machine: Machine, program: Program) -> Trims:
    """The machine as built, without any trim."""
    return Trims(program.alpha * machine.gains.alpha_gain, machine.gains.node_offset(program.beta))


def photocurrent_matrix(machine: Machine, program: Program, flicker: Flicker | None = None) -> Array:
    """Photocurrent for each watt of emitted light, A/W, ([solves,] 2, n, n) as [arm, output j, input i]."""
    slm, optics, detector = machine.slm, machine.optics, machine.detector
    transmission = slm.response(program.weight)
    if flicker is not None:
        transmission = transmission + slm.wobble(program.weight) * flicker.pixel
        transmission *= (1 + slm.flicker_common * flicker.common)[..., None, None]
    light = optics.collect(optics.fan() * transmission + optics.direct_matrix())
    return np.asarray(light * (detector.responsivity * detector.output_efficiency)[:, :, None])


def compose(
    machine: Machine,
    program: Program,
    trims: Trims,
    flicker: Flicker | None = None,
) -> Loop:
    """The loop of one machine with one program.

    With `flicker` every solve of the batch has its own matrices (a leading axis in the optics' stages);
    without it one loop serves any batch.
    """
    optics = photocurrent_matrix(machine, program, flicker)
    detector, poles = machine.detector, machine.poles
    front: tuple[Stage, ...] = (machine.pair.stage(), *poles.stage(poles.driver))
    gain = detector.feedback_resistance * machine.gains.node_gain(program.beta)
    arms = []
    for index, sign in enumerate((1.0, -1.0)):
        matrix = np.ascontiguousarray(optics[..., index, :, :])
        bias = matrix.sum(axis=-1) * machine.led.bias_power(index)
        clamped = detector.bias_light_rejection[index] * bias
        stages: list[Stage] = [*front, Elementwise(machine.led.law(index))]
        stages += poles.stage(poles.led_over_carrier * machine.led.bandwidth(index))
        stages.append(Affine(matrix, bias - clamped))
        # flicker moves the bias photocurrent by about a per cent, and the shot noise density no more: the mean serves
        mean_bias = clamped if clamped.ndim == 1 else clamped.mean(axis=0)
        stages.append(Noise(f"photocurrent {'+-'[index]}", _density(machine, mean_bias)))
        stages += poles.stage(poles.transimpedance)
        stages.append(Scale(sign * gain))
        arms.append(Arm("+-"[index], tuple(stages)))
    arms.append(Arm("alpha", (Scale(trims.alpha),)))
    node: list[Stage] = [Scale(1.0, trims.offset)]
    saturation = machine.node.stage()
    if saturation is not None:
        node.append(saturation)
    node += poles.stage(poles.node)
    # the alpha path acts at the node: it narrows the pole and raises its gain by the same factor
    relaxed = np.maximum(1 - trims.alpha, LEAST_RELAXED)
    fast = 2 * detector.capacitance_noise(relaxed * poles.node) * (gain / relaxed) ** 2
    return Loop(machine.channels, tuple(arms), tuple(node), fast_noise=fast)


def _density(machine: Machine, clamped: Array) -> Callable[[Array], Array]:
    """Noise density at the detector; the clamped bias light is not in the signal, but it is in the shot noise."""
    return lambda signal: machine.detector.noise_density(signal + clamped)
