"""Closed forms of the detectors' noise: in the dark, behind the gain, and of electrons that are counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aocsim.components.photodetector import Photodetector
from aocsim.compose import Electronics, compose
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.seeds import stream
from aocsim.stages import Noise, Pole, Scale
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError, compared
from aocsim.validate.closed_noise import (
    CHARGE,
    DRAWS,
    MEAN,
    ONE,
    REFERENCE_ALPHA,
    at_rest,
    dark_density,
    node_rate,
)
from aocsim.validate.setups import (
    BETA,
    DARK,
    Overrides,
    darkness,
    photocurrents,
    program_of,
    without_weights,
)

Array = NDArray[np.float64]

WALKS = 40  # steps of one time constant in the counting of electrons
ALPHAS = np.array([0.9, 0.95, 0.97, 0.985])
ONLY_SHOT: Overrides = {
    "detector": {
        "voltage_noise": "0 nV/Hz^0.5",
        "current_noise": "0 pA/Hz^0.5",
        "noise_temperature": "0 K",
        "shot_noise": "1",
    }
}


def beta_row(
    loop_at: Callable[[float, float], Loop], gain_at: Callable[[float], Array], rate: Array, density: float
) -> Row:
    """Dark machine's node noise at fixed beta and at beta that falls with 1 - alpha, against beta^2 S_pre.

    Args:
        loop_at: the loop at alpha and beta.
        gain_at: (n,) V/A from photocurrent to node at beta.
        rate: (n,) 1/s of the nodes.
        density: of each of the two detectors, A^2/Hz.
    """
    fixed = np.full(len(ALPHAS), BETA)
    scaled = BETA * (1 - ALPHAS) / (1 - REFERENCE_ALPHA)
    got, want = [], []
    for betas in (fixed, scaled):
        for alpha, beta in zip(ALPHAS, betas, strict=True):
            got.append(at_rest(loop_at(alpha, beta), 12 / float(rate.min() * (1 - alpha))))
            want.append(2 * density * gain_at(beta) ** 2 * rate / (4 * (1 - alpha)))
    found, expected = np.array(got), np.array(want)
    half = len(ALPHAS)
    return compared(
        "node noise of the dark machine at fixed beta, and at beta in proportion to 1 - alpha",
        "(R_f kappa beta G)^2 (S+ + S-) / [4 tau (1 - alpha)]",
        found / expected,
        np.ones_like(found),
        rms=0.01,
        maximum=0.01,
        span=1.0,
        span_name="variance",
        reason=f"{np.sqrt(found[half - 2].mean()) * 1e3:.3g} mV rms at alpha = 0.97, beta = {BETA:g}",
        curve=Curve(
            1 - ALPHAS,
            "1 - alpha, beta in proportion",
            np.sqrt(found[half:, 0]) * 1e3,
            np.sqrt(expected[half:, 0]) * 1e3,
            "node noise (mV rms)",
            log_x=True,
            log_y=True,
        ),
    )


def _beta(setting: Setting) -> Row:
    machine = setting.build(DARK)
    density = dark_density(machine.detector)
    if not density:
        raise SkippedError(f"the detectors of {setting.machine} have no noise")
    resistance = machine.detector.feedback_resistance
    return beta_row(
        lambda alpha, beta: without_weights(machine, alpha, beta),
        lambda beta: resistance * machine.gains.node_gain(beta),
        2 * np.pi * machine.poles.node,
        density,
    )


def shot_row(machine: Machine, current: Callable[[Array], Array]) -> Row:
    """Noise density of the composed loop, all pixels open, against 2 q I.

    Args:
        machine: with shot noise alone.
        current: photocurrents of both arms' detectors together, (m, n) A at z (m, n).
    """
    n = machine.channels
    program = program_of(machine, np.ones((2, n, n)), 0.0, BETA)
    loop = compose(machine, program, Electronics(np.zeros(n), np.zeros(n)))
    z = np.linspace(-1.5, 1.5, 13)[:, None] * np.ones(n)
    state = np.zeros((len(z), loop.states))
    state[:, :n] = z
    diffusion = np.diagonal(loop.linearise(state, np.zeros_like(z))[1], axis1=-2, axis2=-1)[:, :n]
    gain = machine.detector.feedback_resistance * machine.gains.node_gain(BETA)
    got = 2 * diffusion / (2 * np.pi * machine.poles.node * gain) ** 2
    amperes = current(z)
    want = 2 * CHARGE * amperes
    return compared(
        "noise density of both detectors with shot noise alone, node from -1.5 to 1.5 V",
        "2 q I of the photocurrents, bias light and crosstalk included",
        got / want,
        np.ones_like(want),
        rms=1e-4,
        maximum=1e-4,
        span=1.0,
        span_name="density",
        reason=f"I of both detectors from {amperes.min() * 1e6:.3g} to {amperes.max() * 1e6:.3g} uA",
        curve=Curve(
            amperes[:, n // 2] * 1e6,
            "photocurrent (uA)",
            got[:, n // 2],
            want[:, n // 2],
            "density (A^2/Hz)",
        ),
    )


def full_currents(machine: Machine, z: Array, dark: Array | float = 0.0) -> Array:
    """Photocurrent of both arms' detectors with all pixels open, (m, n) A; `dark` as in `photocurrents`."""
    n = machine.channels
    program = program_of(machine, np.ones((2, n, n)), 0.0, BETA)
    return np.asarray(photocurrents(machine, program, z, dark).sum(axis=1))


def _shot(setting: Setting) -> Row:
    machine = setting.build(ONLY_SHOT)
    if machine.poles.stage(machine.poles.transimpedance):
        raise SkippedError(
            "the density is read off at the node, which needs detectors without a pole of their own"
        )
    dark = darkness(setting)
    return shot_row(machine, lambda z: full_currents(machine, z, dark))


def counted(current: float, tau: float, seed: int) -> float:
    """Standard deviation, A, of electrons that come at random, counted behind one pole: no formula for noise."""
    rng = stream(seed, "validate.electrons", round(current * 1e12))
    h = tau / WALKS
    kept = np.exp(-h / tau)
    mean = current * h / CHARGE
    y = np.zeros(DRAWS)
    for _ in range(5 * WALKS):  # exp(-10) of the variance is missing
        y = kept * y + (1 - kept) * (rng.poisson(mean, DRAWS) - mean) * CHARGE / h
    return float(y.std())


def shot_band_row(detector: Photodetector, tau: float, seed: int) -> Row:
    """Variance behind the node's pole of the detector's density against counted electrons."""
    currents = np.array([0.1e-6, 1e-6, 3e-6, 10e-6])
    noise = Noise("shot", lambda x: np.broadcast_to(detector.noise_density(currents), x.shape))
    loop = Loop(len(currents), (Arm("+", (Scale(0.0), noise)),), (Pole(np.full(len(currents), 1 / tau)),))
    got = np.sqrt(at_rest(loop, 12 * tau))
    want = np.array([counted(one, tau, seed) for one in currents])
    error = PER_CENT * np.sqrt(0.5 / DRAWS)
    return compared(
        "shot noise in the node's band, 0.1 to 10 uA",
        f"electrons counted at random behind a pole, {DRAWS} trains",
        got / want,
        np.ones_like(want),
        rms=round(MEAN * error, 2),
        maximum=round(ONE * error, 2),
        span=1.0,
        span_name="rms current",
        reason=f"standard error {error:.2g} %",
        curve=Curve(
            currents * 1e6,
            "photocurrent (uA)",
            got * 1e9,
            want * 1e9,
            "noise (nA rms)",
            want_label="counted",
            log_x=True,
            log_y=True,
        ),
    )


def _shot_band(setting: Setting) -> Row:
    machine = setting.build(ONLY_SHOT)
    return shot_band_row(machine.detector, 1 / node_rate(machine), setting.seed)


CHECKS = (
    Check("noise_behind_beta", _beta, "shared inputs"),
    Check("shot_noise_density", _shot, "shared inputs"),
    Check("shot_noise_counted", _shot_band, "independent", slow=True),
)
