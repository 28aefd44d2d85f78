"""What a scenario file of kind "sample" may say, and how quantities stand in scenario files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from aocsim.diffusion.methods import ExplicitHalf, Method, solves_per_step
from aocsim.errors import InputError, validate
from aocsim.spec import Text, flat_choice
from aocsim.units import QuantityError, format_si, is_percentage, to_si

SI = {"si": True}  # validation context: quantities are already SI numbers, as in a stored scenario
SHEET = ".nc"  # how the path of a calibration ends


def quantity(dimension: str, lowest: float, highest: float) -> BeforeValidator:
    """Reads a quantity as text into SI and checks its range, ends included."""

    def read(item: object, info: ValidationInfo) -> object:
        if item is None:
            return None
        if isinstance(item, str):
            try:
                value = to_si(item, dimension)
            except QuantityError as error:
                raise ValueError(error.problem) from error
        elif (info.context or {}).get("si") and isinstance(item, (int, float)):
            value = float(item)
        else:
            raise ValueError(f"must be text, a quantity in {dimension} with its unit")
        if not lowest <= value <= highest:
            ends = " to ".join(format_si(end, dimension) for end in (lowest, highest))
            raise ValueError(f"out of range, allowed {ends}")
        return value

    return BeforeValidator(read)


def _word_or_number(
    words: tuple[str, ...],
    lowest: float,
    highest: float,
    *,
    open_end: bool = False,
    suffix: str | None = None,
) -> BeforeValidator:
    """Passes one of `words`, the path of a file that ends in `suffix`, or a number in the range as a float."""

    def read(item: object) -> object:
        if isinstance(item, str) and (item in words or (suffix is not None and item.endswith(suffix))):
            return item
        number = float(item) if isinstance(item, (int, float)) and not isinstance(item, bool) else None
        if number is None or not lowest <= number <= highest or (open_end and number == highest):
            ends = f"a number from {lowest:g} to {'below ' if open_end else ''}{highest:g}"
            file = "" if suffix is None else f", or the path of a calibration (*{suffix})"
            raise ValueError(f"must be {' or '.join(map(repr, words))}, or {ends}{file}")
        return number

    return BeforeValidator(read)


def _window_edge(item: object) -> object:
    if item is None:
        return None
    if not isinstance(item, str):
        raise ValueError('must be a time or a fraction of the record as text, such as "13 us" or "68 %"')
    value, is_fraction = _edge(item)
    if not 0 <= value <= (1.0 if is_fraction else 1.0e3):
        raise ValueError("must be a time from 0 s to 1 ks, or a fraction from 0 % to 100 %")
    return item


def _edge(text: str) -> tuple[float, bool]:
    """Value of a window's edge, and whether it is a fraction of the record (else seconds)."""
    is_fraction = is_percentage(text)
    try:
        return to_si(text, "dimensionless" if is_fraction else "second"), is_fraction
    except QuantityError as error:
        raise ValueError(error.problem) from error


def choices(item: object) -> object:
    """Reads a table of changes to parts into flat choices by role."""
    # InputError passes through pydantic as it is, with the full key.
    if not isinstance(item, Mapping):
        raise InputError("must be a table with one key for each changed role", key="parts", got=item)
    return {role: flat_choice(choice, f"parts.{role}") for role, choice in item.items()}


class Table(BaseModel):
    """A table of a scenario: nothing unknown, nothing converted, nothing infinite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Stored(Table):
    """A whole scenario, which a result keeps as text."""

    def to_json(self) -> str:
        """The whole scenario, defaults included, as one line of JSON that `from_json` reads back."""
        return self.model_dump_json(by_alias=True)

    @property
    def sheets(self) -> tuple[str, ...]:
        """Names of the sheets that are read beside those of the machine's parts."""
        return ()

    @classmethod
    def from_json(cls, text: str) -> Self:
        """A scenario that `to_json` has written.

        Raises:
            InputError: not such a text.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not a stored scenario: {error}") from error
        return validate(cls, data, context=SI)


class Diffusion(Table):
    """How the diffusion equation is stepped.

    Attributes:
        steps: of diffusion time.
        method: of `aocsim.diffusion.methods`.
        explicit_half: of Crank-Nicolson: digital, from the read-out of the solve before, or opened_ring, a solve of the
            ring opened at half the step, by a second program that takes turns with the closed ring's.
    """

    steps: int = Field(ge=1, le=4096)
    method: Method = "implicit_euler"
    explicit_half: ExplicitHalf = "digital"

    @property
    def solves(self) -> int:
        """Solves of the loop for one sample."""
        return self.steps * solves_per_step(self.method, self.explicit_half)

    def by(self, method: Method, steps: int | None = None) -> Diffusion:
        """The same by another method and number of steps; what is said of an explicit half is for Crank-Nicolson's."""
        half = self.explicit_half if method == "crank_nicolson" else "digital"
        return Diffusion(steps=steps or self.steps, method=method, explicit_half=half)

    @model_validator(mode="after")
    def _has_a_half(self) -> Diffusion:
        if self.explicit_half != "digital" and self.method != "crank_nicolson":
            raise InputError(
                "is for crank_nicolson",
                key="diffusion.explicit_half",
                got=f"{self.explicit_half} with {self.method}",
                allowed="digital",
            )
        return self


class Compile(Table):
    """How the network is programmed, and how well the programmer knows the machine.

    Attributes:
        knowledge: relative standard error with which the parts are known; or exactly; or as on the sheet; or the
            path of a calibration's result.nc, which is all that is known then. A relative path begins at the current
            folder.
        alpha: one relaxation for all channels; or chosen, for each channel or globally the least that all can hold.
        alpha_min: least relaxation that is chosen.
        channels: which channel each unit gets: chosen after light and weights, or the first live ones in order.
        beta: gain of the electronics after the arms' difference, dimensionless.
        volts_per_unit: volts that stand for one network unit; by default the knee of the machine's pairs.
        trims: whether alpha and offsets are trimmed, through the bench's instruments, before use.
        operating_point_trim: number of noise samples of the trim at the operating point; 0 leaves it out.
        offset_trim_interval: time after which offsets are trimmed again between two samples, seconds; not where the
            environment says that the machine has been left alone.
    """

    knowledge: Annotated[float | str, _word_or_number(("exact", "nominal"), 0.0, 0.5, suffix=SHEET)] = 0.0025
    alpha: Annotated[
        float | Literal["per_channel", "global"],
        _word_or_number(("per_channel", "global"), 0.0, 1.0, open_end=True),
    ] = "per_channel"
    alpha_min: float = Field(default=0.8, ge=0.0, lt=1.0)
    channels: Literal["chosen", "in_order"] = "chosen"
    beta: float = Field(default=27.0, gt=0.0, le=1000.0)
    volts_per_unit: Annotated[float | None, quantity("volt", 1e-3, 100.0)] = None
    trims: Literal["bench", "none"] = "bench"
    operating_point_trim: int = Field(default=128, ge=0, le=10_000)
    offset_trim_interval: Annotated[float, quantity("second", 1e-3, 1e9)] = 10.0

    @property
    def calibration(self) -> str | None:
        """The path of the calibration that is all that is known of the machine; None where something else is."""
        named = isinstance(self.knowledge, str) and self.knowledge.endswith(SHEET)
        return str(self.knowledge) if named else None


class Environment(Table):
    """The room, and the time that has passed in it.

    Attributes:
        temperature: of the room while the samples are taken, kelvin; None is what the sheets refer to.
        temperature_at_trim: of the room during the trims, likewise.
        hours_since_trim: hours between the trims and the first sample, in which gains, offsets and alpha drift.
    """

    temperature: Annotated[float | None, quantity("kelvin", 1.0, 1e4)] = None
    temperature_at_trim: Annotated[float | None, quantity("kelvin", 1.0, 1e4)] = None
    hours_since_trim: float = Field(default=0.0, ge=0.0, le=1e5)


class Timeline(Table):
    """When the read-out records; what is None is the digitiser's own setting.

    Attributes:
        window_start: begin of the averaging window, text, a time or a fraction of the record.
        window_stop: its end.
        samples_per_record: length of a record in samples of the digitiser.
        trial_spacing: time from one trial to the next, seconds; None until flicker is independent, and 0 for as
            soon as the digitiser is ready.
        memory: what carries the sample from step to step: the host, which averages trials, or sample-and-hold
            cells, where each trial is a chain of its own.
        start: what the loop starts a solve from: rest, or (a warm start) the voltages that the last trial of the solve
            before has left on its nodes, held for all trials of the next.
    """

    window_start: Annotated[str | None, BeforeValidator(_window_edge)] = None
    window_stop: Annotated[str | None, BeforeValidator(_window_edge)] = None
    samples_per_record: int | None = Field(default=None, ge=2, le=1_000_000)
    trial_spacing: Annotated[float | None, quantity("second", 0.0, 1e6)] = None
    memory: Literal["digital", "sample_and_hold"] = "digital"
    start: Literal["rest", "previous"] = "rest"

    @model_validator(mode="after")
    def _in_order(self) -> Timeline:
        if self.window_start is not None and self.window_stop is not None:
            (start, start_is_fraction), (stop, stop_is_fraction) = (
                _edge(self.window_start),
                _edge(self.window_stop),
            )
            if start_is_fraction == stop_is_fraction and start >= stop:
                raise ValueError("window_start must be before window_stop")
        return self

    def window(self, record_length: float, default: tuple[float, float]) -> tuple[float, float]:
        """Begin and end of the averaging window, seconds from the begin of the record.

        Args:
            record_length: seconds.
            default: what holds where the scenario says nothing, seconds.

        Raises:
            InputError: the window is empty or not inside the record.
        """
        edges = list(default)
        for i, text in enumerate((self.window_start, self.window_stop)):
            if text is not None:
                value, is_fraction = _edge(text)
                edges[i] = value * record_length if is_fraction else value
        start, stop = edges
        if not 0 <= start < stop <= record_length:
            got = " to ".join(format_si(edge, "second") for edge in edges)
            raise InputError(
                "the window must lie inside the record and not be empty",
                key="timeline.window_start",
                got=got,
                allowed=f"0 s to {format_si(record_length, 'second')}",
            )
        return start, stop


class Solve(Table):
    """How the loop's equation is integrated.

    Attributes:
        method: of `aocsim.solve.integrators.integrate`; auto takes the compiled one that suits the loop.
        rtol: relative tolerance of the integrator.
        atol: its absolute tolerance, volts.
        threads: workers; 0 takes all cores. The result does not depend on it.
        noise: whether live noise is added.
        noise_scale: factor on the amplitudes of flicker, white noise, converter and memory noise, for studies.
    """

    method: Literal["auto", "Tsit5", "Exponential", "RK45", "DOP853", "LSODA", "Radau", "BDF"] = "auto"
    rtol: float = Field(default=1e-5, ge=1e-12, le=0.1)
    atol: Annotated[float, quantity("volt", 1e-15, 1.0)] = 1e-5
    threads: int = Field(default=0, ge=0, le=256)
    noise: bool = True
    noise_scale: float = Field(default=1.0, ge=0.0, le=1000.0)

    @property
    def amplitude(self) -> float:
        """Factor on the noise's amplitudes, 0 for none."""
        return self.noise_scale if self.noise else 0.0


class Record(Table):
    """What is looked at and kept beside the read-outs.

    Attributes:
        samples: number of samples whose wave forms are kept; results are kept of all.
        trials: number of their trials.
        diagnosis: whether the loop's fixed points are sought, proven stable, and settling times measured: most of the
            work on a wide machine, where it grows as the cube of the channels.
    """

    samples: int = Field(default=2, ge=0)
    trials: int = Field(default=1, ge=0)
    diagnosis: bool = True


class OnMachine(Stored):
    """What scenarios that run trained models on a machine say in common; all numbers are SI floats.

    Attributes:
        name: of the scenario, that of its file.
        kind: of the scenario.
        machine: name of the machine's sheet.
        serial: decides the mismatch, together with the machine's name.
        samples: number of diffusion samples, of each model.
        trials, seed: repetitions of each solve, averaged; seed of all live randomness.
        diffusion, compile, environment, timeline, solve: the tables of these names.
        parts: changes to the machine's parts by role, as in `MachineSpec.with_overrides`.
    """

    schema_version: int = Field(alias="schema", ge=1, le=1)
    kind: str
    name: str = Field(min_length=1)
    describes: str = Field(min_length=1)
    machine: str = Field(min_length=1)
    serial: int = Field(ge=0, lt=2**63)
    samples: int = Field(ge=1, le=100_000)
    trials: int = Field(ge=1, le=1000)
    seed: int = Field(ge=0, lt=2**63)
    diffusion: Diffusion
    compile: Compile = Compile()
    parts: Annotated[dict[str, dict[str, Text]], BeforeValidator(choices)] = Field(default={})
    environment: Environment = Environment()
    timeline: Timeline = Timeline()
    solve: Solve = Solve()

    @property
    def named(self) -> dict[str, str]:
        """Files that are given by their paths, by key."""
        calibration = self.compile.calibration
        return {} if calibration is None else {"compile.knowledge": calibration}


class Scenario(OnMachine):
    """A validated scenario of kind "sample".

    Attributes:
        model: name of the trained model.
        record: what is kept beside the read-outs.
    """

    kind: Literal["sample"]
    model: str = Field(min_length=1)
    record: Record = Record()

    @model_validator(mode="after")
    def _can_be_held(self) -> Scenario:
        if self.timeline.memory == "sample_and_hold" and self.diffusion.method != "implicit_euler":
            raise InputError(
                "its cells carry the sample of implicit_euler alone",
                key="timeline.memory",
                got=f"sample_and_hold with {self.diffusion.method}",
                allowed="digital",
            )
        if self.timeline.start == "previous" and self.diffusion.explicit_half == "opened_ring":
            raise InputError(
                "nodes discharge while the other program's weights are loaded",
                key="timeline.start",
                got="previous with diffusion.explicit_half = opened_ring",
                allowed="rest",
            )
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the trained models that are used."""
        return (self.model,)
