"""Run a schedule's solves for a batch of diffusion samples and read the machine out.

Two kinds of live randomness meet here. Flicker and drift are slow: every solve has its own matrices, frozen at
what the processes are when the solve is half over on the bench's clock. White noise is added at the sampling times
from the linearised loop, from streams named by item and step. So results depend neither on threads nor on how a
batch is split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from aocsim.allocation import keep_freed_memory
from aocsim.batch import Draws, Measured, cut, gathered, run_blocks
from aocsim.blocks import SOLVES_PER_BLOCK as SOLVES_PER_BLOCK
from aocsim.blocks import USUAL_CHANNELS, Blocks, Load
from aocsim.compose import compose, electronics_of
from aocsim.instrument import Pulse, Switch
from aocsim.live import Drifted, Flicker, Live
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.parallel import one_blas_thread
from aocsim.program import Program
from aocsim.solve.integrators import AUTO, Transients
from aocsim.solve.linear_noise import linear_states, sampled_noise
from aocsim.solve.piecewise import Piece, integrate_pieces
from aocsim.solve.steady import at_rest, require_stable

Array = NDArray[np.float64]

NOISE_PIECES = 4  # stretches of a transient in which the loop is linearised
SETTLED = 0.01  # of the distance to the fixed point
_NONE = np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class SolveSettings:
    """How solves are integrated.

    Attributes:
        method: of `integrate`.
        rtol: relative tolerance.
        atol: absolute tolerance, V.
        threads: worker processes, at least 1; the result does not depend on their number.
        noise: factor on the amplitudes of flicker, white noise and converter noise; 0 draws none, and no drift.
    """

    method: str = AUTO
    rtol: float = 1e-5
    atol: float = 1e-6
    threads: int = 1
    noise: float = 1.0


@dataclass(frozen=True, eq=False)
class Task:
    """What a block of solves shares.

    Attributes:
        drive: (items, n) V at the node, as the converters give it.
        begun: (items, trials) s on the bench's clock.
        step: part of the streams' names.
        keep: number of items and of trials whose voltages are returned.
        watch: channels whose voltages are returned for all items.
        diagnose: whether fixed points are sought, proven stable and settling times measured.
        hold: whether an analog memory looks at the node.
        pulse: on top of the drive, the same in every solve.
        start: (items, states) V that each trial of an item starts from; None is rest.
        blocks: how much of it is worked on at once.
    """

    drive: Array
    begun: Array
    step: int
    keep: tuple[int, int]
    watch: NDArray[np.intp]
    diagnose: bool
    hold: bool
    pulse: Pulse | None
    start: Array | None
    blocks: Blocks


@dataclass(frozen=True, eq=False)
class _Slow:
    """What the slow processes are during each solve of a batch; None where there is no such process."""

    flicker: Flicker | None = None
    drift: Drifted | None = None


@dataclass(frozen=True, eq=False)
class Experiment:
    """A programmed machine ready to solve.

    Attributes:
        machine: as built, at the temperature of the room.
        program: as loaded; its alpha is what is set, trims included.
        live: the machine's slow processes.
        seed: of the live noise.
        name: prefix of the random streams' names, for example "run" or "bench".
        settings: of the integrator.
        switch: position of the loop's switch during a solve.
    """

    machine: Machine
    program: Program
    live: Live
    seed: int
    name: str
    settings: SolveSettings
    switch: Switch = "closed"

    def measure(
        self,
        drive: Array,
        begun: Array,
        step: int,
        *,
        analog: Array | float = 0.0,
        keep: tuple[int, int] = (0, 0),
        watch: NDArray[np.intp] = _NONE,
        closed: float = np.inf,
        diagnose: bool = True,
        hold: bool = True,
        pulse: Pulse | None = None,
        start: Array | None = None,
        done: Callable[[int], object] = lambda solves: None,
    ) -> Measured:
        """One diffusion step: solve, digitise, average.

        Args:
            drive: (items, n) V before the DACs.
            begun: (items, trials) s, when each solve's loop closes, on the bench's clock.
            step: number of the step, part of the streams' names.
            analog: (items, n) V added to the drive behind the DACs.
            keep: number of items and of trials whose voltages are returned.
            watch: channels whose voltages are returned for all items.
            closed: how long the loop stays closed, s.
            diagnose: seek fixed points and their stability.
            hold: return what an analog memory sees of each trial.
            pulse: added to the drive behind the DACs; the loop must not be open.
            start: (items, states) V of the loop's state in which every trial starts, as `Measured.left` has it; None is
                the loop at rest.
            done: called with the number of solves after each block.

        Raises:
            ValueError: the loop opens before the record ends.
            PhysicsError: with diagnosis, a loop without fixed point, or unstable at it.
        """
        if self.machine.digitiser.times[-1] > closed:
            raise ValueError(f"the loop opens after {closed:.4g} s, within the record")
        trials = begun.shape[1]
        blocks = self._blocks(trials, diagnose)
        volts = self.machine.dac.response(drive) + analog
        task = Task(volts, begun, step, keep, watch, diagnose, hold, pulse, start, blocks)
        pieces = [np.arange(part.start, part.stop) for part in cut(len(drive), blocks.items)]
        # sent to workers again and again: without what nobody asks for
        sent = self if self.settings.noise else replace(self, live=Live(None, None))
        work = partial(sent._block, task)
        parts = run_blocks(work, pieces, self.settings.threads, lambda items: done(items * trials))
        return gathered(parts, pieces, min(keep[0], len(drive)))

    def _blocks(self, trials: int, diagnose: bool) -> Blocks:
        noise, slow = self.settings.noise > 0, bool(self._lives)
        machine = self.machine
        if machine.channels <= USUAL_CHANNELS:  # whose blocks are whole, whatever their load
            n, times = machine.channels, machine.digitiser.samples
            return Blocks.of(Load(n, n, n, times, noise and slow, noise, diagnose), trials)
        return Blocks.of(Load.of(machine, noise=noise, slow=slow, diagnose=diagnose), trials)

    @property
    def _lives(self) -> bool:
        """Whether slow processes tell one solve from the next."""
        return self.settings.noise > 0 and (self.live.flicker is not None or self.live.drift is not None)

    def _block(self, task: Task, items: NDArray[np.intp]) -> Measured:
        keep_freed_memory()
        # the matrices are small: threads inside BLAS would only wait for one another
        with one_blas_thread():
            return self._solve(task, items)

    def _slow(self, begun: Array) -> _Slow:
        """Flicker and drift of solves that begin at instants of the bench's clock, (solves,) s."""
        middle, live = begun + self.machine.digitiser.times[-1] / 2, self.live
        flicker = live.flicker.at(middle) if live.flicker is not None else None
        if flicker is not None and self.settings.noise != 1.0:
            flicker = Flicker(self.settings.noise * flicker.pixel, self.settings.noise * flicker.common)
        return _Slow(flicker, live.drift.at(middle) if live.drift is not None else None)

    def _loop(self, drive: Array, slow: _Slow) -> tuple[Loop, Array]:
        """The loop, and what drives its node, (solves, n) V; one loop serves all solves without slow processes."""
        machine, program = self.machine, self.program
        if self.switch == "explicit":
            program = replace(program, alpha=np.zeros_like(program.alpha))
        electronics = electronics_of(machine, program.alpha, program.beta, slow.drift)
        if self.switch == "open":
            return compose(machine, program, electronics, slow.flicker, drive), np.zeros_like(drive)
        return compose(machine, program, electronics, slow.flicker), drive

    def _quiet(self, drive: Array) -> tuple[Loop, Array]:
        """`_loop` without slow processes."""
        if self.switch == "closed":
            return _still(self.machine, self.program), drive
        return self._loop(drive, _Slow())

    def _solve(self, task: Task, items: NDArray[np.intp]) -> Measured:
        trials, step = task.begun.shape[1], task.step
        passes = cut(trials, task.blocks.trials)
        draws = Draws(self.seed, self.name, [(int(item), step) for item in items])
        parts = [self._pass(task, items, some, draws) for some in passes]
        if len(parts) == 1:
            return parts[0]
        shares = [(some.stop - some.start) / trials for some in passes]
        return replace(
            parts[0],
            read_out=np.sum(
                [share * part.read_out for share, part in zip(shares, parts, strict=True)], axis=0
            ),
            voltage=np.concatenate([part.voltage for part in parts], axis=1),
            at_hold=np.concatenate([part.at_hold for part in parts], axis=1),
            left=parts[-1].left,
            evaluations=sum(part.evaluations for part in parts),
        )

    def _pass(self, task: Task, items: NDArray[np.intp], some: slice, draws: Draws) -> Measured:
        """Some trials of some items; what is of the first trial alone comes with the pass that has it."""
        digitiser, drive, begun = self.machine.digitiser, task.drive[items], task.begun[items, some]
        n, trials, noise = self.machine.channels, begun.shape[1], self.settings.noise
        start = None if task.start is None else task.start[items]
        paths, first, evaluations = self._clean(drive, begun, start, task)
        fixed, settling = np.full((len(items), n), np.nan), np.full(len(items), np.nan)
        if task.diagnose and some.start == 0:
            for part in cut(len(items), task.blocks.diagnosed):
                loop, at_node = first or self._loop(drive[part], self._slow(begun[part, 0]))
                fixed[part], settling[part] = self._settling(loop, paths[part, 0], at_node, task.step)
        if noise:
            quiet, at_quiet = self._quiet(drive)
            mean = paths[:, 0] if paths.shape[1] == 1 else paths.mean(axis=1)
            volts = self._white(quiet, mean, at_quiet, trials, draws)
            volts *= noise
            volts += paths[..., :n]
        else:
            volts = np.broadcast_to(paths[..., :n], (len(items), trials, digitiser.samples, n))
        at_hold = np.array(volts[:, : trials if task.hold else 0, digitiser.window.stop - 1])
        if noise:
            normals = draws.normals("read_out", (trials, digitiser.samples, n))
            digitiser.digitise(volts, noise * self._read_out_noise(quiet), normals)
        else:
            volts = digitiser.quantise(volts)
        kept = max(0, int(np.searchsorted(items, task.keep[0])))
        return Measured(
            volts[:, :, digitiser.window].mean(axis=(1, 2)),
            np.array(volts[:kept, : max(0, task.keep[1] - some.start)]),
            np.array(volts[:, 0][..., task.watch]),
            at_hold,
            settling,
            fixed,
            np.array(paths[:, -1, -1]),
            evaluations,
        )

    def _clean(
        self, drive: Array, begun: Array, start: Array | None, task: Task
    ) -> tuple[Array, tuple[Loop, Array] | None, int]:
        """Noiseless transients of items, (items, trials or 1, times, N) V, and the number of evaluations.

        Between them the loop of each item's first trial, and what drives its node; None if they are to be made again.
        """
        # solves that nothing tells apart are integrated once
        copies = begun.shape[1] if self._lives else 1
        every, instants = np.repeat(drive, copies, axis=0), begun[:, :copies].ravel()
        starts = None if start is None else np.repeat(start, copies, axis=0)
        parts = cut(len(every), task.blocks.integrated)
        found, first = [], None
        for part in parts:
            begins = None if starts is None else starts[part]
            clean, loop, at_node = self._integrated(every[part], instants[part], begins, task.pulse)
            found.append(clean)
            if len(parts) == 1 and task.blocks.diagnosed >= len(drive):
                first = loop.select(slice(None, None, copies)), at_node[::copies]
            del loop, at_node  # those of two parts would fill the memory
        paths = found[0].state if len(found) == 1 else np.concatenate([clean.state for clean in found])
        return (
            paths.reshape(len(drive), copies, *paths.shape[1:]),
            first,
            sum(clean.evaluations for clean in found),
        )

    def _integrated(
        self, drive: Array, begun: Array, start: Array | None, pulse: Pulse | None
    ) -> tuple[Transients, Loop, Array]:
        """Transients of solves, their loop, and what drives its node."""
        times = self.machine.digitiser.times
        slow = self._slow(begun) if self._lives else _Slow()
        loop, at_node = self._loop(drive, slow)
        start = np.zeros((len(at_node), loop.states)) if start is None else start
        pieces, settings = _pieces(at_node, times, pulse), self.settings
        clean = integrate_pieces(
            loop, start, pieces, times, method=settings.method, rtol=settings.rtol, atol=settings.atol
        )
        return clean, loop, at_node

    def _white(self, loop: Loop, paths: Array, drive: Array, trials: int, draws: Draws) -> Array:
        """White noise of the loop, (items, trials, times, n) V."""
        digitiser = self.machine.digitiser
        normals = draws.normals("noise", (trials, digitiser.samples, linear_states(loop)))
        interval = 1 / digitiser.sample_rate
        return sampled_noise(loop, paths, drive, interval, normals, NOISE_PIECES)

    def _read_out_noise(self, loop: Loop) -> Array:
        """Noise that each sample has for itself, (n,) V: the digitiser's, and what lies far above the loop's band."""
        both = np.sqrt(self.machine.digitiser.noise**2 + loop.fast_noise)
        return np.array(np.broadcast_to(both, loop.channels))

    def _settling(self, loop: Loop, paths: Array, drive: Array, step: int) -> tuple[Array, Array]:
        """Fixed points (samples, n) V of noiseless transients and their settling times (samples,) s."""
        n, times = loop.channels, self.machine.digitiser.times
        where = f"diffusion step {step + 1}"
        fixed, stable = at_rest(loop, paths[:, -1], drive, where=where)
        used = self.program.channel_of_unit
        distance = np.linalg.norm((paths[..., :n] - fixed[:, None, :n])[..., used], axis=-1)
        # at rest all voltages are zero: a warm start is measured by the same yardstick as one from rest
        from_rest = np.linalg.norm(fixed[:, :n][:, used], axis=-1, keepdims=True)
        left = distance / np.maximum(from_rest, 1e-300)
        for sample in np.flatnonzero(~stable):
            one = loop.select(int(sample))
            here = slice(sample, sample + 1)
            require_stable(one, fixed[here], drive[here], where)
        return fixed[:, :n], settling_time(left, times)


@lru_cache(maxsize=1)  # of one block after the other, which have it in common
def _still(machine: Machine, program: Program) -> Loop:
    """The closed loop without slow processes."""
    return compose(machine, program, electronics_of(machine, program.alpha, program.beta))


def _pieces(drive: Array, times: Array, pulse: Pulse | None) -> list[Piece]:
    """Stretches of constant drive over a record."""
    first, last = float(times[0]), float(times[-1])
    if pulse is None:
        return [Piece(first, last, drive)]
    # a record that ends within the pulse cuts it off
    edges = [(first, pulse.start, 0.0), (pulse.start, pulse.stop, pulse.volts), (pulse.stop, last, 0.0)]
    return [Piece(start, stop, drive + volts) for start, stop, volts in edges if stop > start]


def settling_time(left: Array, times: Array, level: float = SETTLED) -> Array:
    """Last crossing of `level` by relative distances, interpolated in the logarithm, (samples,) s.

    Args:
        left: (samples, times) distance to the fixed point over a yardstick, such as the fixed point's from rest.
        times: (times,) s.
        level: what counts as settled.

    Where a record ends unsettled, the last interval's exponential is continued.
    """
    log = np.log(np.maximum(left, 1e-300))
    last = np.array([np.flatnonzero(row > level)[-1] if (row > level).any() else 0 for row in left])
    start = np.minimum(last, len(times) - 2)
    rows = np.arange(len(left))
    a, b = log[rows, start], log[rows, start + 1]
    slope = np.where(b < a, b - a, -1e-300)
    out = times[start] + (np.log(level) - a) / slope * (times[start + 1] - times[start])
    return np.where((left > level).any(axis=1), out, 0.0)
