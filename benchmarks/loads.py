"""What is solved: ensembles of transients of the machine's loop, 19.2 us with 90 output instants at 4.6875 MHz.

A task is a track (which shape of problem) on a load (which machine and program):

    track          matrices                      poles   trajectories   loads
    shared         one for all, 48 channels      1       1024           all
    distinct       one for each, 48 channels     1       512            all
    three_poles    one for all, 48 channels      all     128            heart, alpha0.9
    noise          one for all, 48 channels      1       2048           heart, alpha0.9
    channels_256   one for all, synthetic loop   1       256            alpha0.9
    channels_1000  one for all, synthetic loop   1       128            alpha0.9

    load       alpha          weights                spectral radius of the optical part of the loop
    heart      per channel    of the shipped heart   0.07
    alpha0.9   0.9            random                 0.08
    alpha0.5   0.5            random                 0.4

The heart's drives are those of its 16 diffusion steps, along the digital model's own path. Trims are exact. The three
lower tracks ask how costs grow with poles, noise and channels, for which one or two loads suffice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import Electronics, compose, reaching_at_rest
from aocsim.library import Library
from aocsim.live import Live
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.scenarios.load import load_sample
from aocsim.scenarios.sample import Setup, prepare
from aocsim.stages import Affine, Elementwise, Noise, Pole, Scale

Array = NDArray[np.float64]

LOADS = {"heart": 0.0, "alpha0.9": 0.08, "alpha0.5": 0.4}
"""Spectral radius of the optical part; 0 where it is what the program makes it."""

BATCHES = {
    "shared": 1024,
    "distinct": 512,
    "three_poles": 128,
    "noise": 2048,
    "channels_256": 256,
    "channels_1000": 128,
}

SCANNED = {"shared": 128, "distinct": 128, "three_poles": 16, "channels_256": 64, "channels_1000": 32}
"""Trajectories on which tolerances are scanned; with noise all, since the weak error is one of the ensemble."""

CASES = {
    "shared": tuple(LOADS),
    "distinct": tuple(LOADS),
    "three_poles": ("heart", "alpha0.9"),
    "noise": ("heart", "alpha0.9"),
    "channels_256": ("alpha0.9",),
    "channels_1000": ("alpha0.9",),
}

INSTANTS = 90
SAMPLE_RATE = 4.6875e6  # Hz
TRIAL_SPACING = 426e-6  # s between two solves on the bench's clock
SEED = 20
NOISE_DRIVES = 2  # drives of a noisy ensemble, each with as many trajectories


@dataclass(frozen=True, eq=False)
class Task:
    """One ensemble.

    Attributes:
        track: see above.
        load: see above.
        loop: its stages carry a leading axis where every trajectory has its own matrices.
        state: (trajectories, N) V at the first instant.
        drive: (trajectories, n) V.
        times: (90,) s.
    """

    track: str
    load: str
    loop: Loop
    state: Array
    drive: Array
    times: Array

    @property
    def name(self) -> str:
        return f"{self.track}/{self.load}"

    @property
    def channels(self) -> int:
        return self.loop.channels

    @property
    def noisy(self) -> bool:
        return self.track == "noise"

    @property
    def stiff(self) -> bool:
        return self.loop.blocks > 1

    def part(self, count: int) -> Task:
        """Its first trajectories."""
        if count >= len(self.state):
            return self
        loop = sliced(self.loop, 0, count)
        return replace(self, loop=loop, state=self.state[:count], drive=self.drive[:count])

    @property
    def slowest(self) -> float:
        """Slowest decay at the last trajectory's end, 1/s, as its program sets it: of 1 - alpha alone."""
        alphas = [np.max(s.gain) for arm in self.loop.arms for s in arm.stages if arm.name == "alpha"]
        rate = float(np.min(self.loop.node[-1].rate))
        return rate * max(1e-3, 1.0 - float(max(alphas, default=0.0)))


def task_of(track: str, load: str, trajectories: int | None = None) -> Task:
    """The ensemble of a track on a load, the same in every process."""
    count = trajectories or BATCHES[track]
    if track.startswith("channels_"):
        loop, drive = _synthetic(int(track.split("_")[1]), load, count)
    else:
        loop, drive = _machine(track, load, count)
    if track == "noise":
        drive = np.repeat(drive[:NOISE_DRIVES], -(-count // NOISE_DRIVES), axis=0)[:count]
    times = np.arange(INSTANTS) / SAMPLE_RATE
    return Task(track, load, loop, np.zeros((count, loop.states)), drive, times)


@lru_cache(maxsize=4)
def _heart(poles: str) -> Setup:
    library = Library.open()
    return prepare(load_sample("heart", library, {"parts.poles.sheet": poles}), library)


def _machine(track: str, load: str, count: int) -> tuple[Loop, Array]:
    """Loop and drives of the 48-channel machine."""
    setup = _heart("poles_all" if track == "three_poles" else "poles")
    machine = setup.machine
    if load == "heart":
        program, drive = setup.compiled.program, _heart_drives(setup, count)
    else:
        # the minor poles change no gain at rest
        program, drive = _random(_heart("poles").machine, load, count)
    electronics = Electronics(program.alpha, -reaching_at_rest(machine, program))
    if track != "distinct":
        return compose(machine, program, electronics), drive
    begun = np.arange(count) * TRIAL_SPACING
    live = Live.of(machine, SEED)
    flicker, drift = live.flicker.at(begun), live.drift.at(begun)
    drifted = Electronics(electronics.alpha * drift.alpha, electronics.offset + drift.offset, drift.gain)
    return in_double(compose(machine, program, drifted, flicker)), drive


def in_double(loop: Loop) -> Loop:
    """A loop whose matrices are in double precision: what peers are given, and here to be as exact as they."""

    def part(stage: object) -> object:
        return replace(stage, matrix=stage.matrix.astype(float)) if isinstance(stage, Affine) else stage

    return _changed(loop, part)


def _heart_drives(setup: Setup, count: int) -> Array:
    """Drives of the heart's diffusion steps, (count, n) V: every step of as many samples as are needed."""
    steps, operator = setup.scenario.diffusion.steps, setup.operator
    samples = -(-count // steps)
    x = np.random.default_rng(SEED).standard_normal((samples, operator.layout[0]))
    drives = []
    for step in range(steps):
        t = (step + 1) / steps
        drives.append(setup.compiled.program.drive(operator.additive(t, x)))
        x = operator.fixed_point(x, t)[:, : operator.layout[0]]
    return np.concatenate(drives)[np.random.default_rng(SEED).permutation(samples * steps)[:count]]


def _random(machine: Machine, load: str, count: int) -> tuple[Program, Array]:
    """Random weights, with the gain that gives the optical part its spectral radius, and random drives."""
    rng, n = np.random.default_rng(SEED), machine.channels
    alpha = np.full(n, float(load.removeprefix("alpha")))
    program = Program(rng.uniform(size=(2, n, n)), alpha, 25.0, np.arange(n), 1.0)
    loop = compose(machine, program, Electronics(alpha, -reaching_at_rest(machine, program)))
    program = replace(program, beta=program.beta * LOADS[load] / optical_radius(loop, alpha))
    return program, _random_drives(rng, alpha, machine.pair.knee, count)


def _random_drives(rng: np.random.Generator, alpha: Array, knee: float, count: int) -> Array:
    """Drives that would bring the nodes to about the pairs' knee without light, (count, n) V."""
    return np.asarray((1 - alpha) * knee * rng.standard_normal((count, len(alpha))))


def optical_radius(loop: Loop, alpha: Array) -> float:
    """Spectral radius of what passes through the light, at zero signal; for loops of the node's pole alone."""
    n = loop.channels
    loop_gain = loop.jacobian(np.zeros((1, n)), np.zeros((1, n)))[0] / loop.node[-1].rate[:, None] + np.eye(n)
    return float(np.abs(np.linalg.eigvals(loop_gain - np.diag(alpha))).max())


def _synthetic(n: int, load: str, count: int) -> tuple[Loop, Array]:
    """A loop of n channels of the machine's parts, with random matrices, built from stages alone."""
    machine = _heart("poles").machine
    rng = np.random.default_rng(SEED)
    alpha = np.full(n, float(load.removeprefix("alpha")))
    rates = 2 * np.pi * np.resize(machine.poles.node, n)
    own = machine.pair.stage()
    channel = [np.resize(np.broadcast_to(gain, machine.channels), n) for gain in (own.gain_in, own.gain_out)]
    pair = Elementwise(own.law, gain_in=channel[0], gain_out=channel[1])
    weights = rng.uniform(size=(2, n, n)) * 48 / n

    def loop(gain: float) -> Loop:
        arms = []
        for arm, sign in enumerate((1.0, -1.0)):
            light = Affine(weights[arm] * machine.detector.responsivity)
            silent = Noise(f"arm {arm}", lambda x: np.zeros_like(x))
            led = Elementwise(machine.led.law(arm))
            arms.append(Arm("+-"[arm], (pair, led, light, silent, Scale(sign * gain))))
        arms.append(Arm("alpha", (Scale(alpha),)))
        rails = machine.node.stage()
        return Loop(n, tuple(arms), (Scale(1.0), rails, Pole(rates)) if rails else (Pole(rates),))

    unit = 1e3
    gain = unit * LOADS[load] / optical_radius(loop(unit), alpha)
    return loop(gain), _random_drives(rng, alpha, machine.pair.knee, count)


def sliced(loop: Loop, first: int, last: int) -> Loop:
    """The loop of some of the trajectories."""

    def part(stage: object) -> object:
        if isinstance(stage, Affine):
            offset, gain = np.asarray(stage.offset), np.asarray(stage.gain)
            return Affine(
                stage.matrix[first:last] if stage.matrix.ndim == 3 else stage.matrix,
                offset[first:last] if offset.ndim == 2 else offset,
                gain[first:last] if gain.ndim == 2 else gain,
            )
        if isinstance(stage, Scale):
            gain, offset = np.asarray(stage.gain), np.asarray(stage.offset)
            return Scale(
                gain[first:last] if gain.ndim == 2 else gain,
                offset[first:last] if offset.ndim == 2 else offset,
            )
        return stage

    return _changed(loop, part)


def _changed(loop: Loop, part: Callable[[object], object]) -> Loop:
    """A loop with other stages."""
    parts: dict[int, object] = {}

    def of(stages: tuple) -> tuple:
        # arms that share a stage go on sharing it
        return tuple(parts.setdefault(id(stage), part(stage)) for stage in stages)

    arms = tuple(Arm(arm.name, of(arm.stages)) for arm in loop.arms)
    return Loop(loop.channels, arms, of(loop.node), loop.fast_noise)
