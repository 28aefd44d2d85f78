"""The bench as a laboratory has it: what can be set, and what can be read. Nothing else of a machine is visible.

Trims and calibrations are written against `Instrument` alone, so that they run unchanged on the simulated machine,
on a record of an earlier session, and on the real machine once somebody has written the driver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aocsim.arguments import array, number, plain
from aocsim.errors import AocsimError, InputError, unknown_name

Array = NDArray[np.float64]
Switch = Literal["closed", "open", "explicit"]


@dataclass(frozen=True)
class Capabilities:
    """What the data sheets of the bench's devices say.

    Attributes:
        channels: n.
        grey_levels: highest grey level G of the modulators.
        drive_full_scale: V; the DACs clip the sum of bias, embedding and condition to +- this.
        drive_step: V; 0 for converters without rounding.
        alpha_step: smallest change of alpha.
        beta_full_scale: largest beta.
        beta_step: smallest change of beta.
        bandwidth: Hz, nominal -3 dB frequency of the open loop.
        sample_rate: Hz, of the digitiser.
        samples: of a record, where a reading does not ask for another length.
        window: first and last index of the read-out window in such a record.
    """

    channels: int
    grey_levels: int
    drive_full_scale: float
    drive_step: float
    alpha_step: float
    beta_full_scale: float
    beta_step: float
    bandwidth: float
    sample_rate: float
    samples: int
    window: tuple[int, int]

    def applied(self, volts: Array) -> Array:
        """What the DACs make of volts that are asked for: clipped and rounded, shape of `volts`."""
        clipped = np.clip(volts, -self.drive_full_scale, self.drive_full_scale)
        if not self.drive_step:
            return np.asarray(clipped)
        top = self.drive_full_scale - self.drive_step
        return np.asarray(np.minimum(np.round(clipped / self.drive_step) * self.drive_step, top))


@dataclass(frozen=True)
class Pulse:
    """A rectangular pulse on top of the drive.

    Attributes:
        start: s after the loop closes.
        stop: s.
        volts: height, the same on all channels.
    """

    start: float
    stop: float
    volts: float


@dataclass(frozen=True, eq=False)
class Reading:
    """Records as the digitiser gave them.

    Attributes:
        voltage: (conditions, trials, samples, n) V at the node.
        time: (samples,) s after the loop closes.
        begun: (conditions, trials) s on the bench's clock, when each loop closed.
        window: first and last index of the read-out window.
    """

    voltage: Array
    time: Array
    begun: Array
    window: tuple[int, int]

    @property
    def mean(self) -> Array:
        """Mean over window and trials, (conditions, n) V."""
        first, last = self.window
        return np.asarray(self.voltage[:, :, first : last + 1].mean(axis=(1, 2)))

    def tail(self, samples: int) -> Array:
        """Mean over the last samples of the record and over trials, (conditions, n) V."""
        return np.asarray(self.voltage[:, :, -samples:].mean(axis=(1, 2)))


def checked_gains(facts: Capabilities, alpha: object, beta: object) -> tuple[Array, float]:
    """Alpha, (n,), and beta that a bench can set; InputError for others."""
    wanted = array("alpha", alpha, (facts.channels,))
    if wanted.min() < 0 or wanted.max() > 1:
        got = f"{wanted.min():.6g} to {wanted.max():.6g}"
        raise InputError("beyond what can be set", key="alpha", got=got, allowed="0 to 1")
    return wanted, number("beta", beta, 0.0, facts.beta_full_scale)


def checked_switch(position: object) -> Switch:
    """A position of the loop's switch; InputError for anything else."""
    if not isinstance(position, str) or position not in get_args(Switch):
        raise unknown_name("position of the switch", str(position), get_args(Switch), key="switch")
    return cast(Switch, position)


def checked_drive(facts: Capabilities, bias: object, embedding: object) -> tuple[Array, Array]:
    """Bias and embedding, (n,) V each; an embedding of one number is that of all channels. InputError for others."""
    n = facts.channels
    given = plain("embedding", embedding)
    spread = np.full(n, number("embedding", embedding)) if given.ndim == 0 else embedding
    return array("bias", bias, (n,)), array("embedding", spread, (n,))


def checked_pulse(pulse: object) -> Pulse | None:
    """A pulse of finite numbers; InputError for anything else."""
    if pulse is None:
        return None
    if not isinstance(pulse, Pulse):
        raise InputError("must be a Pulse", key="pulse", got=pulse)
    start = number("pulse", pulse.start, 0.0, unit="s")
    stop = number("pulse", pulse.stop, 0.0, unit="s")
    if stop <= start:
        raise InputError("the pulse ends before it begins", key="pulse", got=f"{start:.4g} to {stop:.4g} s")
    return Pulse(start, stop, number("pulse", pulse.volts))


def checked_carriers(facts: Capabilities, carriers: object) -> NDArray[np.intp]:
    """Channels, (d,); InputError for anything else."""
    cells, n = plain("carriers", carriers), facts.channels
    listed = cells.tolist()
    if cells.ndim != 1 or cells.dtype.kind not in "iu" or not set(listed) <= set(range(n)):
        raise InputError("not channels", key="carriers", got=listed, allowed=f"numbers from 0 to {n - 1}")
    return cells.astype(np.intp)


def checked_grey(facts: Capabilities, grey: object) -> NDArray[np.int64]:
    """Grey levels, (2, n, n); InputError for anything else."""
    n, top = facts.channels, facts.grey_levels
    levels = plain("grey", grey)
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
    return levels.astype(np.int64)


@runtime_checkable
class Instrument(Protocol):
    """A bench. Settings hold until they are changed; a reading takes time on the bench's clock."""

    @property
    def capabilities(self) -> Capabilities:
        """What the devices' data sheets say."""

    @property
    def clock(self) -> float:
        """Seconds since the session began."""

    def load_weights(self, grey: NDArray[np.int64]) -> None:
        """Load grey levels and wait for the modulators.

        Args:
            grey: (2, n, n) whole numbers in [0, G] as [arm, output, input].

        Raises:
            InputError: wrong shape, not whole, or out of range.
        """

    def set_gains(self, alpha: Array, beta: float) -> None:
        """Set the relaxation of each channel, (n,) in [0, 1], and the gradient gain; both round to their steps.

        Raises:
            InputError: wrong shape or out of range.
        """

    def set_switch(self, position: Switch) -> None:
        """Where the loop's switch stands during a solve.

        "closed": the loop. "open": the drive feeds the differential pairs, and the node shows what the optical path
        makes of it. "explicit": the optical path is closed, the alpha path is cut.

        Raises:
            InputError: another position.
        """

    def set_drive(self, bias: Array, embedding: Array | float = 0.0) -> None:
        """Set the static DAC volts.

        Args:
            bias: (n,) V.
            embedding: (n,) V, the time embedding of the diffusion step.

        Raises:
            InputError: wrong shape or not finite.
        """

    def read(
        self, condition: Array, *, trials: int = 1, samples: int | None = None, pulse: Pulse | None = None
    ) -> Reading:
        """Solve from a discharged node, once for each condition and trial, and record.

        Args:
            condition: (conditions, n) V, added to bias and embedding.
            trials: solves of each condition.
            samples: length of the records; the usual one where None.
            pulse: on top of the drive of every solve.

        Raises:
            InputError: wrong shape, not finite, or a pulse outside the record.
        """

    def read_chain(
        self, condition: Array, carriers: NDArray[np.intp], gain: Array, *, trials: int = 1
    ) -> tuple[Reading, ...]:
        """Run diffusion steps one after the other through the analog memory, and record each of them.

        At the end of each step's read-out window the memory takes over what the carrying nodes show, and in the
        next step it adds that, times the gain, to the drive.

        Args:
            condition: (conditions, steps, n) V.
            carriers: (d,) channels that carry the sample.
            gain: (d,) from memory to node.
            trials: runs of each chain.

        Returns:
            One reading for each step.

        Raises:
            InputError: wrong shape or not finite.
        """

    def wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            InputError: negative or not finite.
        """


MEMBERS = frozenset(
    (
        "capabilities",
        "clock",
        "load_weights",
        "set_gains",
        "set_switch",
        "set_drive",
        "read",
        "read_chain",
        "wait",
    )
)
"""All that an `Instrument` has."""


def sealed(bench: Instrument) -> Instrument:
    """A bench that shows nothing but the interface, for code that must not look into the machine.

    Neither the attributes of what is returned, public or private, nor those of its methods and of what their closures
    hold lead to `bench`; refusals carry no traceback into it; nothing can be set on it. This guards against a short
    cut taken by mistake, not against intent: the bench is in the same process, and who has an iterator in a method's
    closure reduced as for pickling, asks the garbage collector, walks up the stack from a callback or catches an error
    that is a defect of the bench still finds it.

    Args:
        bench: whatever stands behind.
    """
    requests: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def answer() -> tuple[Any, AocsimError | None]:
        name, args, options = requests.pop()
        if name not in MEMBERS:
            raise AttributeError(f"a bench has no {name!r}")
        try:
            member = getattr(bench, name)
            return (member(*args, **options) if callable(member) else member), None
        except AocsimError as error:
            error.__cause__ = error.__context__ = None
            return None, error.with_traceback(None)

    # `answer` knows the bench, but an iterator has no attribute that says what it calls: the closures below end there
    answers = iter(answer, object())

    def ask(name: str, *args: Any, **options: Any) -> Any:
        requests.append((name, args, options))
        found, refusal = next(answers)
        if refusal is not None:
            raise refusal
        return found

    class Sealed:
        __slots__ = ()

        @property
        def capabilities(self) -> Capabilities:
            found: Capabilities = ask("capabilities")
            return found

        @property
        def clock(self) -> float:
            return float(ask("clock"))

        def load_weights(self, grey: NDArray[np.int64]) -> None:
            ask("load_weights", grey)

        def set_gains(self, alpha: Array, beta: float) -> None:
            ask("set_gains", alpha, beta)

        def set_switch(self, position: Switch) -> None:
            ask("set_switch", position)

        def set_drive(self, bias: Array, embedding: Array | float = 0.0) -> None:
            ask("set_drive", bias, embedding)

        def read(
            self, condition: Array, *, trials: int = 1, samples: int | None = None, pulse: Pulse | None = None
        ) -> Reading:
            found: Reading = ask("read", condition, trials=trials, samples=samples, pulse=pulse)
            return found

        def read_chain(
            self, condition: Array, carriers: NDArray[np.intp], gain: Array, *, trials: int = 1
        ) -> tuple[Reading, ...]:
            found: tuple[Reading, ...] = ask("read_chain", condition, carriers, gain, trials=trials)
            return found

        def wait(self, seconds: float) -> None:
            ask("wait", seconds)

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"a sealed bench cannot be changed: {name}")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(f"a sealed bench cannot be changed: {name}")

    return Sealed()
