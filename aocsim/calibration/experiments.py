"""What a calibration asks a bench: blocks of experiments, each of one set of weights.

Dedicated experiments isolate a part each. The drive of an open loop stands at the pairs, so that

- single inputs, driven one after the other under full and dark weights, show the light of each input, for each arm: the
  pairs' and the emitters' law, the rows, and the darkness;
- all inputs, driven together under uniform weights, show the columns' law from grey level to grey level;
- columns that are lit by threes show what reaches their neighbours;
- dark weights without drive, from gain to gain, show the offsets.

Random weights, drives and gains are the sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.instrument import Capabilities, Switch
from aocsim.seeds import stream

Array = NDArray[np.float64]

NEIGHBOURS = 3  # every third column is lit where crosstalk is looked at
FAR = 1.2  # V: the largest drive of a single input, four knees of the measured pair
NEAR = 0.4  # V: the drive of all inputs together
SPREAD = 0.35  # V: standard deviation of random drives
LEVELS = 17
RELAXED = (0.3, 0.9)  # range of random relaxations: beyond, dense random weights often have several rests


@dataclass(frozen=True, eq=False)
class Setting:
    """Settings of the gains, and the drives that are read under them.

    Attributes:
        alpha: (n,).
        beta: gain.
        condition: (m, n) V.
        trials: solves of each condition.
    """

    alpha: Array
    beta: float
    condition: Array
    trials: int


@dataclass(frozen=True, eq=False)
class Block:
    """Experiments of one set of weights.

    Attributes:
        name: unique in a calibration.
        stage: what it is for: "single", "uniform", "columns", "offset", "sweep" or "closed".
        grey: (2, n, n) grey levels.
        switch: position of the loop's switch.
        settings: in the order in which they are made.
    """

    name: str
    stage: str
    grey: NDArray[np.int64]
    switch: Switch
    settings: tuple[Setting, ...]

    @property
    def solves(self) -> int:
        """Number of solves."""
        return sum(len(setting.condition) * setting.trials for setting in self.settings)

    @property
    def experiments(self) -> int:
        """Number of conditions."""
        return sum(len(setting.condition) for setting in self.settings)


def dedicated(
    facts: Capabilities, beta: float, *, trials: int, levels: int = LEVELS, drives: int = 12
) -> Iterator[Block]:
    """The dedicated experiments of the open loop.

    Args:
        facts: of the bench.
        beta: gain at which parts are looked at.
        trials: of an experiment in which all inputs shine; single inputs take a fifth, offsets three times as many.
        levels: grey levels of the columns' law.
        drives: levels of single inputs.
    """
    n, top = facts.channels, facts.grey_levels
    alpha, still = np.zeros(n), np.zeros((1, n))
    dark = np.zeros((2, n, n), dtype=np.int64)
    steps = np.concatenate(
        [
            np.linspace(-FAR, 0, drives // 2, endpoint=False),
            -np.linspace(-FAR, 0, drives // 2, endpoint=False),
        ]
    )
    alone = (steps[:, None, None] * np.eye(n)).transpose(1, 0, 2).reshape(-1, n)
    alone = facts.applied(alone)
    together = facts.applied(NEAR * np.array([0.0, 1.0, -1.0])[:, None] * np.ones(n))
    beta = settable(facts, beta)
    gains = [settable(facts, gain) for gain in np.linspace(0.0, 4 / 3, 5) * beta]
    rest = tuple(Setting(alpha, gain, still, 3 * trials) for gain in gains)
    yield Block("offset", "offset", dark, "open", rest)
    few = max(1, trials // 5)
    for name, arm in (("dark", None), ("plus", 0), ("minus", 1)):
        grey = dark.copy()
        if arm is not None:
            grey[arm] = top
        settings = (Setting(alpha, beta, still, 3 * trials), Setting(alpha, beta, alone, few))
        yield Block(f"single_{name}", "single", grey, "open", settings)
    for arm, sign in enumerate(("plus", "minus")):
        for level in np.unique(np.round(np.linspace(0, top, levels)).astype(np.int64)).tolist():
            grey = dark.copy()
            grey[arm] = level
            yield Block(
                f"uniform_{sign}_{level}", "uniform", grey, "open", (Setting(alpha, beta, together, trials),)
            )
        for first in range(NEIGHBOURS):
            grey = dark.copy()
            grey[arm, first::NEIGHBOURS] = top
            setting = Setting(alpha, beta, together, 2 * trials)
            yield Block(f"columns_{sign}_{first}", "columns", grey, "open", (setting,))


def settable(facts: Capabilities, beta: float) -> float:
    """The gain nearest to `beta` that can be set."""
    return float(np.clip(round(beta / facts.beta_step) * facts.beta_step, 0.0, facts.beta_full_scale))


def signed_grey(weights: Array, top: int) -> NDArray[np.int64]:
    """Grey levels (2, n, n) of signed weights (n, n) within -1 and 1, as [output, input]."""
    size = np.round(np.abs(weights) * top).astype(np.int64)
    return np.stack([np.where(weights > 0, size, 0), np.where(weights < 0, size, 0)])


def sweep(
    facts: Capabilities, beta: float, seed: int, *, matrices: int, inputs: int, gains: int, trials: int
) -> Iterator[Block]:
    """Random weights, drives and gains with the loop open.

    Args:
        facts: of the bench.
        beta: nominal gain; others go from a third to four thirds of it.
        seed: of what is drawn.
        matrices: number of sets of weights.
        inputs: of drives under each.
        gains: of gains for each drive.
        trials: solves of each.
    """
    n = facts.channels
    for number in range(matrices):
        rng = stream(seed, "calibration.sweep", number)
        weights = rng.uniform(-1, 1, (n, n))
        grey = signed_grey(weights / np.abs(weights).max(), facts.grey_levels)
        drive = facts.applied(SPREAD * rng.standard_normal((inputs, n)))
        settings = tuple(
            Setting(np.zeros(n), settable(facts, gain), drive, trials)
            for gain in np.linspace(1 / 3, 4 / 3, gains) * beta
        )
        yield Block(f"sweep_{number}", "sweep", grey, "open", settings)


def closed(
    facts: Capabilities, beta: float, seed: int, *, matrices: int, inputs: int, trials: int
) -> Iterator[Block]:
    """Random weights, relaxations, drives and gains with the loop closed.

    Args:
        facts: of the bench.
        beta: nominal gain; others go from half of it to it.
        seed: of what is drawn.
        matrices: number of sets of weights.
        inputs: drives under each, which have a relaxation and a gain of their own.
        trials: solves of each.
    """
    n = facts.channels
    for number in range(matrices):
        rng = stream(seed, "calibration.closed", number)
        weights = rng.uniform(-1, 1, (n, n))
        grey = signed_grey(weights / np.abs(weights).max(), facts.grey_levels)
        settings = []
        for _ in range(inputs):
            alpha = np.round(rng.uniform(*RELAXED, n) / facts.alpha_step) * facts.alpha_step
            drive = facts.applied((1 - alpha) * SPREAD * rng.standard_normal((1, n)))
            settings.append(Setting(alpha, settable(facts, rng.uniform(0.5, 1.0) * beta), drive, trials))
        yield Block(f"closed_{number}", "closed", grey, "closed", tuple(settings))
