"""Run a schedule's solves for a batch of diffusion samples and read the machine out.

Two kinds of live randomness meet here. Flicker is frozen within a solve: every (sample, step, trial) has its
own matrices. White noise is added at the sampling times from the linearised loop. Both come from streams named
by sample and step, so that results depend neither on threads nor on how a batch is split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from aocsim.compose import Flicker, Trims, compose
from aocsim.loop import Loop
from aocsim.machine import Machine
from aocsim.parallel import parallel
from aocsim.program import Program
from aocsim.seeds import stream
from aocsim.solve.integrators import integrate
from aocsim.solve.linear_noise import sampled_noise
from aocsim.solve.steady import proven_stable, require_stable, steady_state

Array = NDArray[np.float64]

SOLVES_PER_BLOCK = 80
NOISE_PIECES = 6  # stretches of a transient in which the loop is linearised
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
        noise: whether flicker, white noise and converter noise are drawn.
    """

    method: str = "RK45"
    rtol: float = 1e-5
    atol: float = 1e-6
    threads: int = 1
    noise: bool = True


@dataclass(frozen=True, eq=False)
class Measured:
    """What one diffusion step of a batch of samples gave.

    Attributes:
        read_out: (samples, n) V, mean over window and trials.
        voltage: (kept samples, kept trials, times, n) V as digitised.
        watched: (samples, times, watched channels) V as digitised, first trial.
        settling: (samples,) s, noiseless first trial, to 1 % of the distance to its fixed point.
        fixed_point: (samples, n) V, of the first trial.
        evaluations: of the right-hand side, for the batch each served.
    """

    read_out: Array
    voltage: Array
    watched: Array
    settling: Array
    fixed_point: Array
    evaluations: int


@dataclass(frozen=True, eq=False)
class Experiment:
    """A programmed machine ready to solve.

    Attributes:
        machine: as built.
        program: as loaded.
        trims: what the trimmed electronics add.
        trials: solves averaged for each step.
        seed: of the live noise.
        name: prefix of the random streams' names, for example "run" or "trim".
        settings: of the integrator.
    """

    machine: Machine
    program: Program
    trims: Trims
    trials: int
    seed: int
    name: str
    settings: SolveSettings

    def measure(
        self,
        drive: Array,
        step: int,
        *,
        keep: tuple[int, int] = (0, 0),
        watch: NDArray[np.intp] = _NONE,
        closed: float = np.inf,
        done: Callable[[int], object] = lambda solves: None,
    ) -> Measured:
        """One diffusion step: solve, digitise, average.

        Args:
            drive: (samples, n) V before the DACs.
            step: number of the step, part of the streams' names.
            keep: number of samples and of trials whose voltages are returned.
            watch: channels whose voltages are returned for all samples.
            closed: how long the loop stays closed, s.
            done: called with the number of solves after each block.

        Raises:
            ValueError: the loop opens before the record ends.
            PhysicsError: a loop without fixed point, or unstable at it.
        """
        if self.machine.digitiser.times[-1] > closed:
            raise ValueError(f"the loop opens after {closed:.4g} s, within the record")
        set_drive = self.machine.dac.response(drive)
        size = max(1, SOLVES_PER_BLOCK // self.trials)
        blocks = [np.arange(a, min(a + size, len(drive))) for a in range(0, len(drive), size)]

        work = partial(self._block, set_drive, step, keep, watch)
        parts = _run_blocks(work, blocks, self.settings.threads, lambda samples: done(samples * self.trials))
        return Measured(
            np.concatenate([p.read_out for p in parts]),
            np.concatenate([p.voltage for p in parts]),
            np.concatenate([p.watched for p in parts]),
            np.concatenate([p.settling for p in parts]),
            np.concatenate([p.fixed_point for p in parts]),
            sum(p.evaluations for p in parts),
        )

    def _block(
        self,
        all_drives: Array,
        step: int,
        keep: tuple[int, int],
        watch: NDArray[np.intp],
        samples: NDArray[np.intp],
    ) -> Measured:
        # the matrices are small: threads inside BLAS would only wait for one another
        with threadpool_limits(limits=1, user_api="blas"):
            return self._solve(all_drives[samples], step, keep, watch, samples)

    def _solve(
        self,
        drive: Array,
        step: int,
        keep: tuple[int, int],
        watch: NDArray[np.intp],
        samples: NDArray[np.intp],
    ) -> Measured:
        machine, trials, digitiser = self.machine, self.trials, self.machine.digitiser
        n, noise = machine.channels, self.settings.noise
        places = [(int(sample), step) for sample in samples]
        quiet = compose(machine, self.program, self.trims)
        loop = quiet
        flicker = None
        if noise and (machine.slm.flicker or machine.slm.flicker_common):
            flicker = Flicker.draw(self.seed, f"{self.name}.flicker", n, places, trials)
            loop = compose(machine, self.program, self.trims, flicker)
        repeats = np.repeat(drive, trials, axis=0) if flicker is not None else drive
        clean = integrate(
            loop,
            np.zeros((len(repeats), loop.states)),
            repeats,
            digitiser.times,
            method=self.settings.method,
            rtol=self.settings.rtol,
            atol=self.settings.atol,
        )
        copies = trials if flicker is not None else 1
        paths = clean.state.reshape(len(samples), copies, digitiser.samples, loop.states)
        first = loop
        if flicker is not None:
            own = Flicker(flicker.pixel[::trials], flicker.common[::trials])
            first = compose(machine, self.program, self.trims, own)
        fixed, settling = self._settling(first, paths[:, 0], drive, step)
        volts = np.broadcast_to(paths[..., :n], (len(samples), trials, digitiser.samples, n))
        if noise:
            volts = volts + self._noise(quiet, paths.mean(axis=1), drive, places)
        volts = digitiser.quantise(volts)
        kept = max(0, int(np.searchsorted(samples, keep[0])))
        return Measured(
            volts[:, :, digitiser.window].mean(axis=(1, 2)),
            np.array(volts[:kept, : keep[1]]),
            np.array(volts[:, 0][..., watch]),
            settling,
            fixed,
            clean.evaluations,
        )

    def _noise(self, loop: Loop, paths: Array, drive: Array, places: Sequence[tuple[int, int]]) -> Array:
        """White noise of loop and digitiser, (samples, trials, times, n) V."""
        digitiser = self.machine.digitiser
        count, n, states = digitiser.samples, loop.channels, loop.states

        def normals(name: str, width: int) -> Array:
            # named apart, so that a pole more does not change the digitiser's draws
            shape = (self.trials, count, width)
            streams = (stream(self.seed, f"{self.name}.{name}", *place) for place in places)
            return np.array([rng.standard_normal(shape) for rng in streams])

        white = sampled_noise(
            loop, paths, drive, 1 / digitiser.sample_rate, normals("noise", states), NOISE_PIECES
        )
        own = np.sqrt(digitiser.noise**2 + loop.fast_noise)
        return np.asarray(white + own * normals("read_out", n))

    def _settling(self, loop: Loop, paths: Array, drive: Array, step: int) -> tuple[Array, Array]:
        """Fixed points (samples, n) V of noiseless transients and their settling times (samples,) s."""
        n, times = loop.channels, self.machine.digitiser.times
        where = f"diffusion step {step + 1}"
        fixed = steady_state(loop, paths[:, -1], drive, where=where)
        used = self.program.channel_of_unit
        distance = np.linalg.norm((paths[..., :n] - fixed[:, None, :n])[..., used], axis=-1)
        left = distance / np.maximum(distance[:, :1], 1e-300)
        for sample in np.flatnonzero(~proven_stable(loop.jacobian(fixed, drive))):
            one = loop.select(int(sample))
            here = slice(sample, sample + 1)
            require_stable(one, fixed[here], drive[here], where)
        return fixed[:, :n], settling_time(left, times)


def settling_time(left: Array, times: Array, level: float = SETTLED) -> Array:
    """Last crossing of `level` by relative distances, interpolated in the logarithm, (samples,) s.

    Args:
        left: (samples, times) distance to the fixed point over the initial one.
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


def _run_blocks(
    work: Callable[[NDArray[np.intp]], Measured],
    blocks: list[NDArray[np.intp]],
    workers: int,
    done: Callable[[int], object],
) -> list[Measured]:
    """Results of all blocks in their order; `done` hears the number of samples of each block as it comes in."""
    results: list[Measured] = []
    found = map(work, blocks) if workers == 1 or len(blocks) == 1 else parallel(work, blocks, workers)
    for block, measured in zip(blocks, found, strict=True):
        results.append(measured)
        done(len(block))
    return results
