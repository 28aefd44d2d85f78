"""The simulated bench: a machine behind the instrument's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from aocsim.arguments import array, count, number
from aocsim.errors import InputError
from aocsim.experiment import Experiment, SolveSettings
from aocsim.instrument import (
    Capabilities,
    Instrument,
    Pulse,
    Reading,
    Switch,
    checked_carriers,
    checked_drive,
    checked_gains,
    checked_grey,
    checked_pulse,
    checked_switch,
)
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
        levels = checked_grey(self.capabilities, grey)
        self._clock = self._after(_plan(self._machine, 1, self._spacing, True).load_time, "grey")
        self._weight = levels / self._machine.slm.levels

    def set_gains(self, alpha: Array, beta: float) -> None:
        """Set alpha, (n,), and beta."""
        wanted, gradient = checked_gains(self.capabilities, alpha, beta)
        gains = self._machine.gains
        self._alpha, self._beta = gains.set_alpha(wanted), gains.set_beta(gradient)

    def set_switch(self, position: Switch) -> None:
        """Set the loop's switch."""
        self._switch = checked_switch(position)

    def set_drive(self, bias: Array, embedding: Array | float = 0.0) -> None:
        """Set the static DAC volts."""
        static, more = checked_drive(self.capabilities, bias, embedding)
        self._bias = static + more

    def read(
        self, condition: Array, *, trials: int = 1, samples: int | None = None, pulse: Pulse | None = None
    ) -> Reading:
        """Solve and record, once for each condition and trial."""
        volts = array("condition", condition, (None, self._machine.channels))
        trials, pulse = count("trials", trials), checked_pulse(pulse)
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
        over = self._after(_taken(plan, len(volts)), "condition")
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
        self._clock = over
        return Reading(measured.voltage, times, begun, window)

    def read_chain(
        self, condition: Array, carriers: NDArray[np.intp], gain: Array, *, trials: int = 1
    ) -> tuple[Reading, ...]:
        """Run diffusion steps through the analog memory, and record each of them."""
        machine, n = self._machine, self._machine.channels
        volts = array("condition", condition, (None, None, n))
        chains, steps = volts.shape[:2]
        cells = checked_carriers(self.capabilities, carriers)
        gains = array("gain", gain, cells.shape)
        trials = count("trials", trials)
        digitiser = machine.digitiser
        plan = schedule(
            machine,
            steps=steps,
            trials=trials,
            trial_spacing=self._spacing,
            memory="sample_and_hold",
            load_weights=False,
        )
        over = self._after(_taken(plan, chains), "condition")
        settings, items = self._settings, chains * trials
        experiment = Experiment(
            machine, self._program(), self._live, self._seed, self._name, settings, self._switch
        )
        name = f"{self._name}.{self._readings}"
        memory = AnalogMemory(machine.memory, cells, gains, seed=self._seed, name=name, noise=settings.noise)
        origin = self._clock + np.arange(chains)[:, None] * plan.period
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
            voltage = measured.voltage.reshape(chains, trials, digitiser.samples, n)
            readings.append(Reading(voltage, digitiser.times, begun, window))
            if step + 1 < steps:
                gap = plan.starts[step + 1][0] - plan.starts[step][0]
                memory.hold(measured.at_hold[:, 0], step, gap - plan.held + digitiser.times[-1] / 2)
        self._clock = over
        return tuple(readings)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._clock = self._after(number("wait", seconds, 0.0, unit="s"), "wait")

    def _after(self, seconds: float, key: str) -> float:
        """The clock when what is asked for is over; refused, before it begins, where no clock goes so far."""
        over = self._clock + seconds
        if over >= LONGEST:
            raise InputError(
                "longer than a session may last, trials are apart by their spacing",
                key=key,
                got=f"{seconds:.4g} s, when the clock stands at {self._clock:.4g} s",
                allowed=f"to {LONGEST:.4g} s on the clock",
            )
        return over

    def _program(self) -> Program:
        channels = np.arange(self._machine.channels)
        return Program(self._weight, self._alpha, self._beta, channels, 1.0)


def spacing_of(live: Live, wanted: float | None) -> float:
    """Time from one trial's begin to the next, s: what is wanted, or until flicker is independent."""
    if wanted is not None:
        return wanted
    return live.flicker.independent_after if live.flicker is not None else 0.0


def clock_after(machine: Machine, spacing: float, readings: Iterable[tuple[int, int]], clock: float) -> float:
    """Where a bench's clock stands after weights have been loaded and readings taken, without taking them, s.

    Args:
        machine: at the bench.
        spacing: s between trials' begins.
        readings: numbers of conditions and of trials, in order.
        clock: s, where it stands before.
    """
    clock += _plan(machine, 1, spacing, True).load_time
    for conditions, trials in readings:
        clock += _taken(_plan(machine, trials, spacing, False), conditions)
    return clock


def with_samples(machine: Machine, samples: int) -> Machine:
    """The machine with records of another length.

    Raises:
        InputError: shorter than the read-out window.
    """
    count("samples", samples)
    least = machine.digitiser.window.stop
    if samples < least:
        raise InputError(
            "the record ends within the read-out window",
            key="samples",
            got=samples,
            allowed=f"at least {least}",
        )
    return replace(machine, digitiser=replace(machine.digitiser, samples=samples))


_plans: WeakKeyDictionary[Machine, dict[tuple[int, float, bool], Schedule]] = WeakKeyDictionary()


def _plan(machine: Machine, trials: int, spacing: float, load: bool) -> Schedule:
    """Timeline of one condition; sessions ask for few of them again and again."""
    known = _plans.setdefault(machine, {})
    key = (trials, spacing, load)
    if key not in known:
        known[key] = schedule(machine, steps=1, trials=trials, trial_spacing=spacing, load_weights=load)
    return known[key]


def _taken(plan: Schedule, conditions: int) -> float:
    """From a reading's begin until the next one may begin, s: not before the trials' spacing is kept."""
    return plan.run_duration(conditions) + (plan.period - plan.duration)


def _within(pulse: Pulse, end: float) -> Pulse:
    if pulse.stop > end:
        got = f"{pulse.start * 1e6:.4g} to {pulse.stop * 1e6:.4g} us, {pulse.volts:.4g} V"
        raise InputError("not within the record", key="pulse", got=got, allowed=f"0 to {end * 1e6:.4g} us")
    return pulse


_: type[Instrument] = SimulatedBench  # the type checker proves that the interface is whole
