"""The simulated bench: a machine behind the instrument's interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError, unknown_name
from aocsim.experiment import Experiment, SolveSettings
from aocsim.instrument import Capabilities, Instrument, Pulse, Reading, Switch
from aocsim.live import LONGEST, Live
from aocsim.machine import Machine
from aocsim.memory import AnalogMemory
from aocsim.program import Program
from aocsim.timeline import Schedule, schedule

Array = NDArray[np.float64]


class SimulatedBench:
    """A machine as a laboratory has it: `aocsim.instrument.Instrument`.

    What happens inside is the physics of `aocsim.experiment`; what comes out is what the digitiser says. The slow
    processes run on the bench's clock, which every load, reading and wait moves on.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        seed: int = 0,
        name: str = "bench",
        settings: SolveSettings | None = None,
        trial_spacing: float | None = None,
        progress: Callable[[int], object] = lambda solves: None,
    ) -> None:
        """Switch the bench on: dark weights, no gain, no drive, the loop closed, the clock at 0.

        Args:
            machine: as built, at the temperature of the room.
            seed: of the live randomness.
            name: prefix of the white noise's streams.
            settings: of the solver.
            trial_spacing: s between trials' begins; None keeps them so far apart that their flicker is independent.
            progress: called with the number of solves as they are done.
        """
        n = machine.channels
        self._machine, self._seed, self._name = machine, seed, name
        self._settings = settings or SolveSettings()
        self._live = Live.of(machine, seed)
        self._spacing = spacing_of(self._live, trial_spacing)
        self._progress = progress
        self._clock, self._readings = 0.0, 0
        self._weight = np.zeros((2, n, n))
        self._alpha, self._beta = np.zeros(n), 0.0
        self._switch: Switch = "closed"
        self._bias = np.zeros(n)

    @property
    def capabilities(self) -> Capabilities:
        """What the devices' data sheets say."""
        machine = self._machine
        dac, gains, digitiser = machine.dac, machine.gains, machine.digitiser
        window = digitiser.window
        return Capabilities(
            channels=machine.channels,
            grey_levels=machine.slm.levels,
            drive_full_scale=dac.full_scale,
            drive_step=2 * dac.full_scale / 2**dac.bits if dac.bits else 0.0,
            alpha_step=1.0 / (2**gains.alpha_bits - 1),
            beta_full_scale=gains.beta_full_scale,
            beta_step=gains.beta_full_scale / (2**gains.beta_bits - 1),
            bandwidth=machine.poles.nominal_bandwidth,
            sample_rate=digitiser.sample_rate,
            samples=digitiser.samples,
            window=(window.start, window.stop - 1),
        )

    @property
    def clock(self) -> float:
        """Seconds since the session began."""
        return self._clock

    def load_weights(self, grey: NDArray[np.int64]) -> None:
        """Load grey levels, (2, n, n), and wait for the modulators."""
        n, top = self._machine.channels, self._machine.slm.levels
        levels = np.asarray(grey)
        if levels.shape != (2, n, n) or levels.dtype.kind not in "iu":
            raise InputError(
                "grey levels must be whole numbers",
                key="grey",
                got=f"{levels.dtype} of shape {levels.shape}",
                allowed=f"integers of shape {(2, n, n)}",
            )
        if levels.min() < 0 or levels.max() > top:
            raise InputError(
                "beyond the modulator's grey levels",
                key="grey",
                got=f"{levels.min()} to {levels.max()}",
                allowed=f"0 to {top}",
            )
        self._weight = levels / top
        self._clock += _plan(self._machine, 1, self._spacing, True).load_time

    def set_gains(self, alpha: Array, beta: float) -> None:
        """Set alpha, (n,), and beta."""
        wanted = _checked("alpha", alpha, (self._machine.channels,))
        gains = self._machine.gains
        if wanted.min() < 0 or wanted.max() > 1:
            got = f"{wanted.min():.6g} to {wanted.max():.6g}"
            raise InputError("beyond what can be set", key="alpha", got=got, allowed="0 to 1")
        if not 0 <= beta <= gains.beta_full_scale:
            allowed = f"0 to {gains.beta_full_scale:.6g}"
            raise InputError("beyond what can be set", key="beta", got=beta, allowed=allowed)
        self._alpha, self._beta = gains.set_alpha(wanted), gains.set_beta(beta)

    def set_switch(self, position: Switch) -> None:
        """Set the loop's switch."""
        if position not in get_args(Switch):
            raise unknown_name("position of the switch", str(position), get_args(Switch), key="switch")
        self._switch = position

    def set_drive(self, bias: Array, embedding: Array | float = 0.0) -> None:
        """Set the static DAC volts."""
        shape = (self._machine.channels,)
        spread = (
            np.broadcast_to(np.asarray(embedding, dtype=float), shape)
            if np.ndim(embedding) == 0
            else embedding
        )
        self._bias = _checked("bias", bias, shape) + _checked("embedding", np.asarray(spread), shape)

    def read(
        self, condition: Array, *, trials: int = 1, samples: int | None = None, pulse: Pulse | None = None
    ) -> Reading:
        """Solve and record, once for each condition and trial."""
        if np.ndim(condition) != 2 or not len(condition):
            raise InputError("must be (conditions, channels)", key="condition", got=np.shape(condition))
        volts = _checked("condition", condition, (len(condition), self._machine.channels))
        _whole("trials", trials)
        if pulse is not None and self._switch == "open":
            raise InputError(
                "a pulse goes to the node, which the drive does not reach", key="pulse", got="open loop"
            )
        machine = self._machine
        usual = machine.digitiser.window
        window = (usual.start, usual.stop - 1)
        if samples is not None:
            machine = with_samples(machine, samples)
        times = machine.digitiser.times
        plan = _plan(machine, trials, self._spacing, False)
        begun = self._clock + np.arange(len(volts))[:, None] * plan.period + np.array(plan.starts[0])
        experiment = Experiment(
            machine, self._program(), self._live, self._seed, self._name, self._settings, self._switch
        )
        measured = experiment.measure(
            self._bias + volts,
            begun,
            self._readings,
            keep=(len(volts), trials),
            diagnose=False,
            pulse=None if pulse is None else _within(pulse, times[-1]),
            done=self._progress,
        )
        self._readings += 1
        self._clock += _taken(plan, len(volts))
        return Reading(measured.voltage, times, begun, window)

    def read_chain(
        self, condition: Array, carriers: NDArray[np.intp], gain: Array, *, trials: int = 1
    ) -> tuple[Reading, ...]:
        """Run diffusion steps through the analog memory, and record each of them."""
        machine, n = self._machine, self._machine.channels
        if np.ndim(condition) != 3 or not np.size(condition):
            raise InputError(
                "must be (conditions, steps, channels)", key="condition", got=np.shape(condition)
            )
        count, steps = np.shape(condition)[:2]
        volts = _checked("condition", condition, (count, steps, n))
        cells = np.asarray(carriers)
        if cells.ndim != 1 or cells.dtype.kind not in "iu" or not set(cells.tolist()) <= set(range(n)):
            raise InputError(
                "not channels", key="carriers", got=cells.tolist(), allowed=f"numbers from 0 to {n - 1}"
            )
        gains = _checked("gain", gain, cells.shape)
        _whole("trials", trials)
        digitiser = machine.digitiser
        plan = schedule(
            machine,
            steps=steps,
            trials=trials,
            trial_spacing=self._spacing,
            memory="sample_and_hold",
            load_weights=False,
        )
        settings, items = self._settings, count * trials
        experiment = Experiment(
            machine, self._program(), self._live, self._seed, self._name, settings, self._switch
        )
        name = f"{self._name}.{self._readings}"
        memory = AnalogMemory(machine.memory, cells, gains, seed=self._seed, name=name, noise=settings.noise)
        origin = self._clock + np.arange(count)[:, None] * plan.period
        window = (digitiser.window.start, digitiser.window.stop - 1)
        readings = []
        for step in range(steps):
            begun = origin + np.array(plan.starts[step])
            measured = experiment.measure(
                np.repeat(self._bias + volts[:, step], trials, axis=0),
                begun.reshape(items, 1),
                self._readings,
                analog=memory.drive(items, n),
                keep=(items, 1),
                diagnose=False,
                done=self._progress,
            )
            self._readings += 1
            voltage = measured.voltage.reshape(count, trials, digitiser.samples, n)
            readings.append(Reading(voltage, digitiser.times, begun, window))
            if step + 1 < steps:
                gap = plan.starts[step + 1][0] - plan.starts[step][0]
                memory.hold(measured.at_hold[:, 0], step, gap - plan.held + digitiser.times[-1] / 2)
        self._clock += _taken(plan, count)
        return tuple(readings)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise InputError("must be a time, not negative", key="wait", got=seconds)
        if self._clock + seconds >= LONGEST:
            raise InputError(
                "longer than a session may last", key="wait", got=seconds, allowed=f"below {LONGEST:.3g} s"
            )
        self._clock += seconds

    def _program(self) -> Program:
        channels = np.arange(self._machine.channels)
        return Program(self._weight, self._alpha, self._beta, channels, 1.0)


def spacing_of(live: Live, wanted: float | None) -> float:
    """Time from one trial's begin to the next, s: what is wanted, or until flicker is independent."""
    if wanted is not None:
        return wanted
    return live.flicker.independent_after if live.flicker is not None else 0.0


def with_samples(machine: Machine, samples: int) -> Machine:
    """The machine with records of another length.

    Raises:
        InputError: shorter than the read-out window.
    """
    _whole("samples", samples)
    least = machine.digitiser.window.stop
    if samples < least:
        raise InputError(
            "the record ends within the read-out window",
            key="samples",
            got=samples,
            allowed=f"at least {least}",
        )
    return replace(machine, digitiser=replace(machine.digitiser, samples=samples))


def _plan(machine: Machine, trials: int, spacing: float, load: bool) -> Schedule:
    """Timeline of one condition."""
    return schedule(machine, steps=1, trials=trials, trial_spacing=spacing, load_weights=load)


def _taken(plan: Schedule, conditions: int) -> float:
    """From a reading's begin until the next one may begin, s: not before the trials' spacing is kept."""
    return plan.run_duration(conditions) + (plan.period - plan.duration)


def _whole(key: str, count: int) -> None:
    if not isinstance(count, int | np.integer) or count < 1:
        raise InputError("must be a whole number, at least 1", key=key, got=count)


def _within(pulse: Pulse, end: float) -> Pulse:
    if not 0 <= pulse.start < pulse.stop <= end or not math.isfinite(pulse.volts):
        got = f"{pulse.start * 1e6:.4g} to {pulse.stop * 1e6:.4g} us, {pulse.volts:.4g} V"
        raise InputError("not within the record", key="pulse", got=got, allowed=f"0 to {end * 1e6:.4g} us")
    return pulse


def _checked(key: str, values: Array, shape: tuple[int, ...]) -> Array:
    try:
        out = np.array(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError("not numbers", key=key, got=values) from error
    if out.shape != shape:
        raise InputError("wrong shape", key=key, got=out.shape, allowed=str(shape))
    if not np.isfinite(out).all():
        raise InputError("not finite", key=key, got=str(out[~np.isfinite(out)][0]))
    return out


_: type[Instrument] = SimulatedBench  # the type checker proves that the interface is whole
