r"""The continuous-time loop composed from stages: right-hand side, jacobian, noise.

Every arm takes the node voltage z, passes it through its stages and adds its output to the node; the node's
stages end with the dominant pole, whose state is z:

.. math:: \dot z = r\,\bigl[A\bigl(\textstyle\sum_{a} f_a(z) + u\bigr) - z\bigr]

Poles inside an arm add states behind z, in the order of the arms. The loop knows stages, never parts.

Dead time commutes with everything that does not change with time, static laws and poles alike. So all of an arm's
dead time, and that of the node behind it, is taken at the arm's input, z(t - L), and the equation is one with
retarded arguments whose only history is that of the node. The drive stands before the loop closes and has no
history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.stages import Affine, Delay, Noise, Pole, Scale, Stage, fold
from aocsim.tangent import Gain, Product, Tangent, add, carried

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Arm:
    """One path from the node back to the node.

    Attributes:
        name: for messages.
        stages: in signal order. Arms that begin with the same stage objects evaluate them once.
    """

    name: str
    stages: tuple[Stage, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One evaluation: `stage` on register `source` into register `target`; a pole owns a block of states.

    The first registers hold the node voltages, once for each lag; the source SUM is the sum of drive and arms.
    """

    stage: Stage
    source: int
    target: int
    block: int = -1


@dataclass(frozen=True, eq=False)
class Loop:
    """A composed loop for one solve or, with stages that carry a leading axis, for one loop a solve.

    Attributes:
        channels: n.
        arms: paths from node to node.
        node: stages behind the sum of arms and drive; the last is the dominant Pole.
        fast_noise: (n,) V^2, variance that noise far above the loop's band adds to each sample of z,
            independent from sample to sample; it does not pass around the optical loop.
        lags: dead times of the arms, each once, rising, s; (0.0,) for a loop without dead time.
        blocks: number of poles, each n states.
    """

    channels: int
    arms: tuple[Arm, ...]
    node: tuple[Stage, ...]
    fast_noise: Array | float = 0.0
    lags: tuple[float, ...] = field(init=False)
    _fast: tuple[Step, ...] = field(init=False, repr=False)
    _full: tuple[Step, ...] = field(init=False, repr=False)
    _sums: tuple[tuple[int, ...], tuple[int, ...]] = field(init=False, repr=False)
    blocks: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.node or not isinstance(self.node[-1], Pole):
            raise ValueError("the node's last stage must be its dominant pole")
        if any(isinstance(stage, Pole) for stage in self.node[:-1]):
            raise ValueError(
                "behind the sum there is one pole, the dominant one; further poles stand in the arms"
            )
        behind = _dead_time(self.node)
        lag = [_dead_time(arm.stages) + behind for arm in self.arms]
        lags = tuple(sorted(set(lag))) or (0.0,)
        roots = [lags.index(one) for one in lag]
        full, full_sum, blocks = _plan(self.arms, self.node, roots)
        folds: dict[tuple[int, int], Affine | Scale] = {}
        arms = tuple(Arm(a.name, _merged(a.stages, folds)) for a in self.arms)
        fast, fast_sum, _ = _plan(arms, _merged(self.node, folds), roots)
        for name, value in (
            ("lags", lags),
            ("_full", full),
            ("_fast", fast),
            ("_sums", (full_sum, fast_sum)),
            ("blocks", blocks),
        ):
            object.__setattr__(self, name, value)

    @property
    def states(self) -> int:
        """Number of states N of one solve: n for each pole."""
        return self.blocks * self.channels

    @property
    def plan(self) -> tuple[tuple[Step, ...], tuple[int, ...]]:
        """What one evaluation of the right-hand side does, in order, and the registers that are summed at the node.

        Neighbouring linear stages are one; noise and dead time do not appear.
        """
        return self._fast, self._sums[1]

    @property
    def delayed(self) -> bool:
        """Whether there is any dead time."""
        return self.lags != (0.0,)

    @property
    def fastest_rate(self) -> float:
        """Largest pole rate, 1/s: nothing in the open loop moves faster."""
        stages = [stage for arm in self.arms for stage in arm.stages] + list(self.node)
        return max(float(np.max(stage.rate)) for stage in stages if isinstance(stage, Pole))

    def rhs(self, state: Array, drive: Array, past: Sequence[Array] | None = None) -> Array:
        """d(state)/dt in V/s.

        Args:
            state: (..., N), the first n entries the node voltages, V.
            drive: (..., n), V added at the node.
            past: node voltages (..., n) V as they were a dead time ago, one for each of `lags`; by default they are
                those of now, which holds at rest and for a loop without dead time.
        """
        n = self.channels
        rate = np.empty_like(state)
        registers: dict[int, Array] = (
            dict.fromkeys(range(len(self.lags)), state[..., :n]) if past is None else dict(enumerate(past))
        )
        arm_outputs = self._sums[1]
        for step in self._fast:
            if step.source == SUM:
                x = drive + registers[arm_outputs[0]]
                for register in arm_outputs[1:]:
                    x += registers[register]
            else:
                x = registers[step.source]
            stage = step.stage
            if isinstance(stage, Pole):
                y = state[..., step.block * n : (step.block + 1) * n]
                rate[..., step.block * n : (step.block + 1) * n] = stage.rate * (x - y)
                registers[step.target] = y
            elif not isinstance(stage, Noise | Delay):
                registers[step.target] = stage.response(x)
        return rate

    def arm_output(self, name: str, node: Array) -> Array:
        """What an arm adds to the node, V, for constant node voltages (..., n) V; its poles have settled.

        Raises:
            KeyError: no arm of this name.
        """
        x = node
        for stage in {arm.name: arm for arm in self.arms}[name].stages:
            if not isinstance(stage, Pole | Noise | Delay):
                x = stage.response(x)
        return x

    def linearise(
        self, state: Array, drive: Array, kind: type[np.floating[Any]] = np.float64
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        r"""Jacobian and diffusion of the loop, d(delta)/dt = A delta + white noise with covariance D dt.

        Dead time is left out: A is that of signals which change little in it, whose steady states are the loop's.

        Args:
            state: (..., N).
            drive: (..., n).
            kind: precision of the results.

        Returns:
            A (..., N, N) in 1/s, and D (..., N, N) in V^2/s: half the one-sided density of each noise source,
            carried through the stages behind it.
        """
        lead, total = state.shape[:-1], self.states
        jacobian, diffusion = np.zeros((2, int(np.prod(lead)), total, total), dtype=kind)
        self._linearised(state, drive, jacobian, None, diffusion)
        return jacobian.reshape(*lead, total, total), diffusion.reshape(*lead, total, total)

    def jacobian(self, state: Array, drive: Array) -> Array:
        """A of `linearise` alone, (..., N, N) in 1/s."""
        lead, total = state.shape[:-1], self.states
        jacobian = np.zeros((int(np.prod(lead)), total, total))
        self._linearised(state, drive, jacobian, None, None)
        return jacobian.reshape(*lead, total, total)

    def linearise_retarded(self, state: Array, drive: Array) -> tuple[Array, Array, Array]:
        r"""The linearised loop with its dead times.

        .. math:: \dot\delta(t) = A_0\,\delta(t) + \sum_l A_l\,\delta_z(t - L_l) + \text{white noise}

        Args:
            state: (..., N) V, common to now and then.
            drive: (..., n) V.

        Returns:
            A_0 (..., N, N) in 1/s, without anything that passes through an arm from its input; A_l, (..., lags, N, n)
            in 1/s for the node voltages that long ago, one for each of `lags`; D (..., N, N) in V^2/s.
        """
        lead, total = state.shape[:-1], self.states
        solves, lags = int(np.prod(lead)), len(self.lags)
        jacobian, diffusion = np.zeros((2, solves, total, total))
        retarded = np.zeros((solves, lags, total, self.channels))
        self._linearised(state, drive, jacobian, retarded, diffusion)
        return (
            jacobian.reshape(*lead, total, total),
            retarded.reshape(*lead, lags, total, self.channels),
            diffusion.reshape(*lead, total, total),
        )

    def _linearised(
        self,
        state: Array,
        drive: Array,
        jacobian: NDArray[Any],
        retarded: Array | None,
        diffusion: NDArray[Any] | None,
    ) -> None:
        """Add to A_0 (solves, N, N), to A_l (solves, lags, N, n) and to D (solves, N, N).

        What passes through an arm is of now where nobody asks for A_l. Without D no source of noise is looked at.
        """
        n, total = self.channels, self.states
        drive = np.broadcast_to(drive, (*state.shape[:-1], n)).reshape(-1, n)
        state = state.reshape(-1, total)
        solves = len(state)
        roots = range(len(self.lags))
        # keys of a tangent: a block of states, then the arms' inputs, one for each lag; sources below zero
        values: dict[int, Array] = dict.fromkeys(roots, state[:, :n])
        tangents = {root: Tangent.of(self.blocks + root, solves, n) for root in roots}
        densities: dict[int, Array] = {}
        sources: dict[int, list[tuple[int, Gain]]] = {}
        for step in self._full:
            if step.source == SUM:
                x = drive + sum(values[r] for r in self._sums[0])
                tangent = Tangent.total([tangents[r] for r in self._sums[0]])
            else:
                x, tangent = values[step.source], tangents[step.source]
            stage = step.stage
            if isinstance(stage, Pole):
                rows = slice(step.block * n, (step.block + 1) * n)
                for key, rated in tangent.scaled(stage.rate).gains.items():
                    if key >= self.blocks and retarded is not None:
                        add(retarded[:, key - self.blocks, rows, :], rated)
                    elif key >= 0:
                        block = 0 if key >= self.blocks else key
                        add(jacobian[:, rows, block * n : (block + 1) * n], rated)
                    else:
                        sources.setdefault(key, []).append((step.block, rated))
                add(jacobian[:, rows, rows], (Product(-stage.rate),))
                y = state[:, rows]
                tangent = Tangent.of(step.block, solves, n)
            elif isinstance(stage, Noise):
                y = x
                if diffusion is not None:
                    key = -1 - len(densities)
                    densities[key] = np.broadcast_to(stage.density(x) / 2, x.shape)
                    tangent = tangent.with_source(key, *x.shape)
            elif isinstance(stage, Delay):
                raise AssertionError("dead time is taken at the arms' inputs")
            else:
                y = stage.response(x)
                tangent = tangent.through(stage, x)
            values[step.target], tangents[step.target] = y, tangent
        for key, reached in sources.items():
            for i, left in reached:
                for j, right in reached:
                    assert diffusion is not None
                    cell = diffusion[:, i * n : (i + 1) * n, j * n : (j + 1) * n]
                    add(cell, carried(left, densities[key], right))

    @property
    def own(self) -> bool:
        """Whether any stage has parameters of its own for each solve of a batch."""
        stages = [stage for arm in self.arms for stage in arm.stages] + list(self.node)
        return any(
            np.ndim(value) == axes
            for stage in stages
            if isinstance(stage, Affine | Scale)
            for value, axes in _parameters(stage)
        )

    def select(self, solve: int | slice | NDArray[np.intp]) -> Loop:
        """The loop of one solve of a batch, or of some; stages that arms have in common stay common."""
        known: dict[int, Stage] = {}

        def part(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
            return tuple(known.setdefault(id(stage), _part(stage, solve)) for stage in stages)

        arms = tuple(Arm(arm.name, part(arm.stages)) for arm in self.arms)
        return Loop(self.channels, arms, part(self.node), self.fast_noise)


def _parameters(stage: Affine | Scale) -> tuple[tuple[Array | float, int], ...]:
    """A stage's fields in their order, each with the number of axes that it has where solves have their own."""
    if isinstance(stage, Affine):
        return (stage.matrix, 3), (stage.offset, 2), (stage.gain, 2)
    return (stage.gain, 2), (stage.offset, 2)


def _part(stage: Stage, solve: int | slice | NDArray[np.intp]) -> Stage:
    """A stage of one solve, or of some, of those that have parameters of their own."""
    if not isinstance(stage, Affine | Scale):
        return stage

    def of(value: Array | float, own: int) -> Array:
        array = np.asarray(value)
        if array.ndim != own:
            return array
        return np.asarray(array[solve] if len(array) > 1 else array[0])

    return type(stage)(*(of(value, own) for value, own in _parameters(stage)))


SUM = -1  # as a step's source: drive and the arms' outputs


def _merged(stages: Sequence[Stage], folds: dict[tuple[int, int], Affine | Scale]) -> tuple[Stage, ...]:
    """Fold neighbouring linear stages into one and leave out noise, and dead time, which is taken at the input.

    `folds` remembers results, so that arms which share stages go on sharing the folded ones.
    """
    out: list[Stage] = []
    for stage in stages:
        if isinstance(stage, Noise | Delay):
            continue
        if out and isinstance(stage, Affine | Scale) and isinstance(out[-1], Affine | Scale):
            pair = id(out[-1]), id(stage)
            if pair not in folds:
                folds[pair] = fold(out[-1], stage)
            out[-1] = folds[pair]
        else:
            out.append(stage)
    return tuple(out)


def _dead_time(stages: Sequence[Stage]) -> float:
    return sum(stage.seconds for stage in stages if isinstance(stage, Delay))


def _plan(
    arms: Sequence[Arm], node: Sequence[Stage], roots: Sequence[int]
) -> tuple[tuple[Step, ...], tuple[int, ...], int]:
    """Evaluation order with common beginnings evaluated once; block 0 is the node's pole.

    `roots` names the register of each arm's input; the first registers hold z, once for each lag.
    """
    steps: list[Step] = []
    outputs: list[int] = []
    known: dict[tuple[int, ...], int] = {(root,): root for root in roots}
    registers, blocks = max(roots, default=0), 1
    for arm, root in zip(arms, roots, strict=True):
        path: tuple[int, ...] = (root,)
        for stage in arm.stages:
            if isinstance(stage, Delay):
                continue
            source, path = known[path], (*path, id(stage))
            if path in known:
                continue
            registers += 1
            block = -1
            if isinstance(stage, Pole):
                block, blocks = blocks, blocks + 1
            steps.append(Step(stage, source, registers, block))
            known[path] = registers
        outputs.append(known[path])
    source = SUM
    for i, stage in enumerate(node):
        if isinstance(stage, Delay):
            continue
        registers += 1
        last = i == len(node) - 1
        steps.append(Step(stage, source, registers, 0 if last else -1))
        source = registers
    return tuple(steps), tuple(outputs), blocks
