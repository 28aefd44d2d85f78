"""The formulas' machine in the time domain: dense random weights on real parts, noise drawn along the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_continuous_lyapunov

from aocsim.compose import compose, trimmed_exactly
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.roadmap.chain import Chain, Weights
from aocsim.roadmap.settling import settling_of
from aocsim.seeds import stream
from aocsim.solve.stochastic import integrate_stochastic
from aocsim.spec import MachineSpec

Array = NDArray[np.float64]

BURN = 4
"""Quarters of the slowest settling time to 1 %, after which noise is stationary to 1e-4 of its variance."""

PER_TIME_CONSTANT = 1.0
"""Steps in the node's own time constant, which the method knows exactly; relaxed loops are much slower."""


@dataclass(frozen=True)
class Simulated:
    """Noise of one simulated machine at rest.

    Attributes:
        channels: n.
        drawn: variance of the node voltages from the transients, V^2, mean of the channels in use.
        linear: the same by the linearised loop's covariance.
        standard_error: of `drawn`, V^2, from the scatter between solves.
    """

    channels: int
    drawn: float
    linear: float
    standard_error: float


def loop_of(spec: MachineSpec, channels: int, weights: Weights, alpha: float, seed: int) -> Loop:
    """The nominal machine of so many channels with a dense random matrix, its offsets trimmed.

    Args:
        spec: sheets; profiles are in the normalised aperture, so that any channel count builds.
        channels: n.
        weights: normal, cut at the modulator's full range.
        alpha: of the median channel.
        seed: of the matrix.
    """
    machine = Machine.build(replace(spec, channels=channels), serial=None)
    chain = Chain.of(machine)
    normals = stream(seed, "roadmap.weights", channels).standard_normal((channels, channels))
    signed = np.clip(weights.rms * normals, -1.0, 1.0)
    top = machine.slm.top()[:, :, None]
    # the magnitudes are shares of the panel's own range: the commanded weight is what passes as much
    dark, full = machine.slm.response(np.zeros((2, *signed.shape))), machine.slm.response(top + 0 * signed)
    share = np.stack([np.maximum(signed, 0.0), np.maximum(-signed, 0.0)])
    weight = machine.slm.invert(dark + share * (full - dark))
    program = Program(
        weight,
        1 - chain.relaxation(channels, weights, alpha),
        chain.beta(channels, weights, alpha),
        np.arange(channels),
        1.0,
    )
    return compose(machine, program, trimmed_exactly(machine, program))


def simulate(
    spec: MachineSpec,
    channels: int,
    weights: Weights,
    alpha: float,
    *,
    bandwidth: float,
    seed: int,
    solves: int = 32,
    instants: int = 32,
    matrices: int = 1,
    threads: int = 1,
) -> Simulated:
    """Variance of the node voltages of a loop at rest, drawn in the time domain and by its covariance.

    Args:
        spec: sheets of the machine.
        channels: n.
        weights: loaded.
        alpha: of the median channel.
        bandwidth: of the node by its sheet, Hz.
        seed: of matrices and noise.
        solves: transients of each matrix.
        instants: at which each transient is read, a quarter of a settling time apart.
        matrices: that are averaged.
        threads: of the integrator.
    """
    settle = settling_of(bandwidth, alpha, weights.radius).time
    step = settle / 4 / max(1, round(settle / 4 * 2 * np.pi * bandwidth * PER_TIME_CONSTANT))
    drawn, linear = [], []
    for k in range(matrices):
        loop = loop_of(spec, channels, weights, alpha, seed + k)
        rest, drive = np.zeros((solves, loop.states)), np.zeros((solves, channels))
        jacobian, diffusion = loop.linearise(np.zeros(loop.states), np.zeros(channels))
        covariance = solve_continuous_lyapunov(jacobian, -diffusion)
        linear.append(float(np.mean(np.diagonal(covariance)[:channels])))
        times = np.arange(BURN + instants) * settle / 4
        found = integrate_stochastic(
            loop, rest, drive, times, step=step, seed=seed + k, threads=threads, recorded=1
        )
        drawn.append(np.mean(found[:, BURN:, :channels] ** 2, axis=(1, 2)))
    per_solve = np.concatenate(drawn)
    return Simulated(
        channels=channels,
        drawn=float(per_solve.mean()),
        linear=float(np.mean(linear)),
        standard_error=float(per_solve.std(ddof=1) / np.sqrt(len(per_solve))),
    )
