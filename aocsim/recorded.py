"""Benches on file: `RecordingBench` keeps what was set and read, `RecordedBench` gives it back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from aocsim.arguments import array, count, number
from aocsim.errors import InputError
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
from aocsim.session import KIND, Call, Session, Span, dataset_of, read_session, write_session

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

SAME = 1e-12
"""Of full scale: settings that differ by less are the same. Another computer's linear algebra moves the last bits of
what is asked for; what a device can tell apart is larger by many orders."""


class _Settings:
    """What is set, as it was asked for; None until it is."""

    def __init__(self) -> None:
        self.grey: int | None = None
        self.alpha: Array | None = None
        self.beta: float | None = None
        self.switch: str | None = None
        self.bias: Array | None = None
        self.embedding: Array | None = None

    def set_gains(self, alpha: Array, beta: float) -> None:
        self.alpha, self.beta = np.array(alpha, dtype=float), float(beta)

    def set_drive(self, bias: Array, embedding: Array | float) -> None:
        self.bias = np.array(bias, dtype=float)
        self.embedding = np.array(embedding, dtype=float)
        if not self.embedding.ndim:
            self.embedding = np.full_like(self.bias, float(self.embedding))

    def reading(self, condition: Array, trials: int, samples: int, pulse: Pulse | None) -> dict[str, Any]:
        """All that decides what `read` gives."""
        asked = {"trials": int(trials), "samples": int(samples), "pulse": pulse}
        return {**vars(self), "condition": np.array(condition, dtype=float), **asked}

    def chain(self, condition: Array, carriers: NDArray[np.intp], gain: Array, trials: int) -> dict[str, Any]:
        """All that decides what `read_chain` gives."""
        return {
            **vars(self),
            "condition": np.array(condition, dtype=float),
            "carriers": np.array(carriers, dtype=np.int64),
            "gain": np.array(gain, dtype=float),
            "trials": int(trials),
        }


class RecordingBench:
    """Any instrument, with a record of all that passes: what was asked for, what came, when."""

    def __init__(self, bench: Instrument) -> None:
        """Begin a record.

        Args:
            bench: in any state; what is not set in the session counts as "as it was found".
        """
        self._bench, self._settings = bench, _Settings()
        self._session = Session(bench.capabilities, bench.clock)

    @property
    def capabilities(self) -> Capabilities:
        """What the devices' data sheets say."""
        return self._bench.capabilities

    @property
    def clock(self) -> float:
        """Seconds since the session began."""
        return self._bench.clock

    def load_weights(self, grey: NDArray[np.int64]) -> None:
        """Load grey levels, (2, n, n)."""
        began = self.clock
        self._bench.load_weights(grey)
        loads = self._session.loads
        known = next((i for i, load in enumerate(loads) if np.array_equal(load, grey)), len(loads))
        if known == len(loads):
            loads.append(np.array(grey, dtype=np.int64))
        self._settings.grey = known
        self._session.loadings.append(Span(known, began, self.clock))

    def set_gains(self, alpha: Array, beta: float) -> None:
        """Set alpha, (n,), and beta."""
        self._bench.set_gains(alpha, beta)
        self._settings.set_gains(alpha, beta)

    def set_switch(self, position: Switch) -> None:
        """Set the loop's switch."""
        self._bench.set_switch(position)
        self._settings.switch = position

    def set_drive(self, bias: Array, embedding: Array | float = 0.0) -> None:
        """Set the static DAC volts."""
        self._bench.set_drive(bias, embedding)
        self._settings.set_drive(bias, embedding)

    def read(
        self, condition: Array, *, trials: int = 1, samples: int | None = None, pulse: Pulse | None = None
    ) -> Reading:
        """Solve and record, once for each condition and trial."""
        began = self.clock
        reading = self._bench.read(condition, trials=trials, samples=samples, pulse=pulse)
        length = self.capabilities.samples if samples is None else samples
        asked = self._settings.reading(condition, trials, length, pulse)
        self._session.calls.append(Call("read", asked, (_copy(reading),), began, self.clock))
        return reading

    def read_chain(
        self, condition: Array, carriers: NDArray[np.intp], gain: Array, *, trials: int = 1
    ) -> tuple[Reading, ...]:
        """Run diffusion steps through the analog memory, and record each of them."""
        began = self.clock
        readings = self._bench.read_chain(condition, carriers, gain, trials=trials)
        asked = self._settings.chain(condition, carriers, gain, trials)
        self._session.calls.append(Call("read_chain", asked, tuple(map(_copy, readings)), began, self.clock))
        return readings

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        began = self.clock
        self._bench.wait(seconds)
        self._session.waitings.append(Span(seconds, began, self.clock))

    def dataset(self, title: str = KIND) -> xarray.Dataset:
        """The record so far, laid out as `aocsim.session` says."""
        return dataset_of(self._session, title)

    def save(self, path: Path, title: str = KIND) -> None:
        """Write the record so far as netCDF: complete, or not at all.

        Args:
            path: the file.
            title: what the session was about.

        Raises:
            ResourceError: the disk is full.
            InputError: the file cannot be written.
        """
        write_session(self._session, Path(path), title)


class RecordedBench:
    """The bench of a recorded session: the same settings give the same readings, bit for bit.

    What was read k times with the same settings gives the k-th record the k-th time. The clock moves as it did; it
    stands still between the calls.
    """

    def __init__(self, path: Path) -> None:
        """Open a record.

        Args:
            path: of a file that `RecordingBench.save` has written.

        Raises:
            InputError: no such file, cut short, or no bench record.
        """
        self._path = Path(path)
        self._session = read_session(self._path)
        self._clock = self._session.began
        self._settings = _Settings()
        self._taken: Counter[tuple[str, float]] = Counter()

    @property
    def capabilities(self) -> Capabilities:
        """What the devices' data sheets said."""
        return self._session.capabilities

    @property
    def clock(self) -> float:
        """Seconds since the session began."""
        return self._clock

    def load_weights(self, grey: NDArray[np.int64]) -> None:
        """Load grey levels, (2, n, n), that were loaded in the session.

        Raises:
            InputError: they were not.
        """
        wanted, loads = checked_grey(self.capabilities, grey), self._session.loads
        apart = [int((load != wanted).sum()) for load in loads]
        if 0 not in apart:
            near = f"; the nearest of {len(loads)} differ in {min(apart)} of {wanted.size}" if loads else ""
            raise InputError(f"these grey levels were never loaded{near}", file=self._path, key="grey")
        index = self._settings.grey = apart.index(0)
        self._pass("load", index, [span for span in self._session.loadings if span.what == index])

    def set_gains(self, alpha: Array, beta: float) -> None:
        """Set alpha, (n,), and beta; what was never recorded with them is refused when it is read."""
        self._settings.set_gains(*checked_gains(self.capabilities, alpha, beta))

    def set_switch(self, position: Switch) -> None:
        """Set the loop's switch.

        Raises:
            InputError: another position.
        """
        self._settings.switch = checked_switch(position)

    def set_drive(self, bias: Array, embedding: Array | float = 0.0) -> None:
        """Set the static DAC volts; what was never recorded with them is refused when it is read."""
        self._settings.set_drive(*checked_drive(self.capabilities, bias, embedding))

    def read(
        self, condition: Array, *, trials: int = 1, samples: int | None = None, pulse: Pulse | None = None
    ) -> Reading:
        """What `read` gave in the session.

        Raises:
            InputError: it was never called so, or not as often; says what the nearest call had different.
        """
        facts = self.capabilities
        length = facts.samples if samples is None else count("samples", samples)
        volts = array("condition", condition, (None, facts.channels))
        asked = self._settings.reading(volts, count("trials", trials), length, checked_pulse(pulse))
        return self._find("read", asked)[0]

    def read_chain(
        self, condition: Array, carriers: NDArray[np.intp], gain: Array, *, trials: int = 1
    ) -> tuple[Reading, ...]:
        """What `read_chain` gave in the session.

        Raises:
            InputError: it was never called so, or not as often; says what the nearest call had different.
        """
        volts = array("condition", condition, (None, None, self.capabilities.channels))
        cells = checked_carriers(self.capabilities, carriers)
        gains = array("gain", gain, cells.shape)
        asked = self._settings.chain(volts, cells, gains, count("trials", trials))
        return self._find("read_chain", asked)

    def wait(self, seconds: float) -> None:
        """Let time pass, as it did where the session waited as long.

        Raises:
            InputError: negative or not finite.
        """
        seconds = number("wait", seconds, 0.0, unit="s")
        same = [span for span in self._session.waitings if span.what == seconds]
        self._pass("wait", seconds, same or [Span(seconds, 0.0, seconds)])

    def _find(self, name: str, wanted: dict[str, Any]) -> tuple[Reading, ...]:
        """Readings of the next call that was made with these settings."""
        calls = [call for call in self._session.calls if call.name == name]
        if not calls:
            raise InputError(f"the record holds no {name}", file=self._path, key=name)
        found = [
            i for i, call in enumerate(calls) if not self._differences(wanted, call.settings, first=True)
        ]
        if not found:
            self._refuse(name, wanted, calls)
        taken = self._taken[name, found[0]]
        if taken == len(found):
            times = "once" if taken == 1 else f"{taken} times"
            raise InputError(f"was read {times} with these settings, not more", file=self._path, key=name)
        self._taken[name, found[0]] += 1
        call = calls[found[taken]]
        self._advance(call.began, call.ended)
        return tuple(map(_copy, call.readings))

    def _refuse(self, name: str, wanted: dict[str, Any], calls: list[Call]) -> NoReturn:
        """Say which of the recorded calls is nearest, and what it had different."""
        differences = [self._differences(wanted, call.settings) for call in calls]
        nearest = min(range(len(calls)), key=lambda i: len(differences[i]))
        texts = [f"{setting} ({text})" for setting, text in differences[nearest].items()]
        raise InputError(
            f"not in the record; the nearest of {len(calls)} calls, number {nearest}, was made with another "
            + ", ".join(texts),
            file=self._path,
            key=f"{name}.{next(iter(differences[nearest]))}",
        )

    def _differences(
        self, wanted: dict[str, Any], recorded: dict[str, Any], first: bool = False
    ) -> dict[str, str]:
        """How each setting that differs does so; with `first`, the first of them."""
        out = {}
        for name, value in wanted.items():
            text = _difference(value, recorded[name], SAME * self._full_scale(name))
            if text:
                out[name] = text
                if first:
                    break
        return out

    def _full_scale(self, name: str) -> float:
        if name in ("bias", "embedding", "condition"):
            return self.capabilities.drive_full_scale
        return self.capabilities.beta_full_scale if name == "beta" else 1.0

    def _pass(self, what: str, key: float, spans: Sequence[Span]) -> None:
        """Let pass the time that the k-th of these took; what is repeated more often takes as long as the last."""
        span = spans[min(self._taken[what, key], len(spans) - 1)]
        self._taken[what, key] += 1
        self._advance(span.began, span.ended)

    def _advance(self, began: float, ended: float) -> None:
        # sums of floats depend on their order: on the session's own path the clock shows its very numbers
        self._clock = ended if self._clock == began else self._clock + (ended - began)


def _difference(wanted: Any, recorded: Any, tolerance: float) -> str:
    """How two values of a setting differ; empty where they do not."""
    if wanted is None or recorded is None:
        if wanted is recorded:
            return ""
        return "was set then, is not now" if wanted is None else "was not set then, is now"
    if isinstance(wanted, np.ndarray):
        if wanted.shape != recorded.shape:
            return f"shape {recorded.shape} then, {wanted.shape} now"
        apart = np.abs(wanted - recorded)
        other = ~(apart <= tolerance)  # nan is another value, too
        if not other.any():
            return ""
        return f"{int(other.sum())} of {other.size} values, by up to {np.max(apart):.3g}"
    same = abs(wanted - recorded) <= tolerance if isinstance(wanted, float) else wanted == recorded
    return "" if same else f"{recorded} then, {wanted} now"


def _copy(reading: Reading) -> Reading:
    """Arrays that nobody else can change."""
    return Reading(
        np.array(reading.voltage, dtype=float),
        np.array(reading.time, dtype=float),
        np.array(reading.begun, dtype=float),
        reading.window,
    )


_: tuple[type[Instrument], ...] = (RecordingBench, RecordedBench)  # the type checker proves the interface
