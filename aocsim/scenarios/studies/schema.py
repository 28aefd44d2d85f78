"""What scenarios of the kinds "steps", "noise", "averaging", "readout" and "relaxation" say."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from aocsim.diffusion.methods import Method
from aocsim.errors import InputError
from aocsim.scenarios.models_schema import ModelsOnMachine
from aocsim.scenarios.schema import Table, quantity

Time = Annotated[float, quantity("second", 1e-9, 1.0)]


def _growing(value: tuple[float, ...]) -> tuple[float, ...]:
    if any(b <= a for a, b in pairwise(value)):
        raise ValueError("must grow from one to the next")
    return value


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("names one more than once")
    return value


# a TOML array arrives as a list, which a strict tuple would refuse
Steps = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...],
    Field(min_length=1, max_length=64, strict=False),
    AfterValidator(_growing),
]
Numbers = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1000)], ...],
    Field(min_length=1, max_length=64, strict=False),
    AfterValidator(_growing),
]
Times = Annotated[
    tuple[Time, ...], Field(min_length=1, max_length=64, strict=False), AfterValidator(_growing)
]
Methods = Annotated[
    tuple[Method, ...], Field(min_length=1, max_length=4, strict=False), AfterValidator(_each_once)
]
EVERY: Methods = ("explicit_euler", "heun", "implicit_euler", "crank_nicolson")


class StepsTable(Table):
    """Table [study] of kind "steps".

    Attributes:
        digital_samples: samples of each digital run, from the same noise as the machine's as far as both go. Distances
            of finite clouds grow as they get smaller: curves and the machine's points compare at equal numbers.
        steps: numbers of steps of the digital runs.
        iterations: of implicit equations, beside iteration to convergence.
        machine_steps: numbers of steps on the machine.
        methods: digitally and on the machine.
        machine_methods: those of them that are run on the machine; None is all.
        settling: whether settling times are measured on the machine, which takes most of the work.
    """

    digital_samples: int = Field(default=256, ge=8, le=100_000)
    steps: Steps = (1, 2, 4, 8, 16, 32, 64, 128)
    iterations: Steps = (1, 2, 4, 8)
    machine_steps: Steps = (2, 4, 8, 16, 32)
    methods: Methods = EVERY
    machine_methods: Methods | None = None
    settling: bool = False

    @model_validator(mode="after")
    def _machine_is_among_all(self) -> StepsTable:
        extra = [method for method in self.on_machine if method not in self.methods]
        if extra:
            raise InputError(
                "is run on the machine alone", key="study.machine_methods", got=extra[0], allowed=self.methods
            )
        return self

    @property
    def on_machine(self) -> Methods:
        """Methods that are run on the machine."""
        return self.methods if self.machine_methods is None else self.machine_methods


class NoiseTable(Table):
    """Table [study] of kind "noise".

    Attributes:
        scales: factors on the amplitudes of the machine's noise; 0 is among them, as what the others are compared to.
        methods: on the machine.
        kick: length of the kick to the points, network units.
        kicked_after: steps after which it is given, each in a run of its own.
    """

    scales: Numbers = (0.0, 1.0, 2.0, 5.0, 10.0)
    methods: Methods = ("implicit_euler", "explicit_euler")
    kick: float = Field(default=0.1, gt=0, le=10.0)
    kicked_after: Steps = (4, 8, 12)

    @field_validator("scales")
    @classmethod
    def _has_silence(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if value[0] != 0.0:
            raise ValueError("must begin with 0, what the others are compared with")
        return value


class AveragingTable(Table):
    """Table [study] of kind "averaging".

    Attributes:
        trials: numbers of trials that are averaged.
        windows: lengths of the averaging window, seconds, which ends where the scenario's does; at the scenario's
            number of trials.
    """

    trials: Annotated[
        tuple[Annotated[int, Field(ge=1, le=1000)], ...],
        Field(min_length=1, strict=False),
        AfterValidator(_growing),
    ] = (1, 2, 5, 10, 20, 50, 100)
    windows: Times = (0.2e-6, 0.5e-6, 1e-6, 2e-6, 3.5e-6, 5.5e-6)


class ReadoutTable(Table):
    """Table [study] of kind "readout".

    Attributes:
        times: ends of the averaging window, seconds after the loop closes.
        width: of the window, seconds.
    """

    times: Times = (0.5e-6, 1e-6, 2e-6, 3e-6, 5e-6, 8e-6, 12e-6, 18e-6)
    width: Time = 0.4e-6


class RelaxationTable(Table):
    """Table [study] of kind "relaxation".

    Attributes:
        light: factors on the emitters' external efficiency.
        alphas: how alpha is chosen at each of them.
    """

    light: Numbers = (0.25, 0.5, 1.0, 2.0, 4.0)
    alphas: Annotated[
        tuple[Literal["per_channel", "global"], ...],
        Field(min_length=1, max_length=2, strict=False),
        AfterValidator(_each_once),
    ] = ("per_channel", "global")


class OverSteps(ModelsOnMachine):
    """What varies methods and steps, digitally and on the machine."""

    study: StepsTable = StepsTable()


class StepsStudy(OverSteps):
    """Quality against steps and evaluations, every method, digitally and on the machine."""

    kind: Literal["steps"]


class NoiseStudy(ModelsOnMachine):
    """What the diffusion makes of noise: more of it on the machine, and one kick to the points."""

    kind: Literal["noise"]
    study: NoiseTable = NoiseTable()

    @model_validator(mode="after")
    def _can_be_followed(self) -> NoiseStudy:
        last = self.study.kicked_after[-1]
        if last >= self.diffusion.steps:
            raise InputError(
                "no step is left after the kick",
                key="study.kicked_after",
                got=last,
                allowed=f"less than diffusion.steps = {self.diffusion.steps}",
            )
        if self.timeline.memory != "digital":
            raise InputError(
                "a kick is given to the host's points",
                key="timeline.memory",
                got=self.timeline.memory,
                allowed="digital",
            )
        return self


class AveragingStudy(ModelsOnMachine):
    """Quality against averaged trials and against the averaging window."""

    kind: Literal["averaging"]
    study: AveragingTable = AveragingTable()


class ReadoutStudy(ModelsOnMachine):
    """Quality against the time of the read-out, before the loop has come to rest and after."""

    kind: Literal["readout"]
    study: ReadoutTable = ReadoutTable()


class RelaxationStudy(ModelsOnMachine):
    """Alpha against light, settling time and signal-to-noise ratio."""

    kind: Literal["relaxation"]
    study: RelaxationTable = RelaxationTable()


STUDIES: dict[str, type[ModelsOnMachine]] = {
    "steps": StepsStudy,
    "noise": NoiseStudy,
    "averaging": AveragingStudy,
    "readout": ReadoutStudy,
    "relaxation": RelaxationStudy,
}
