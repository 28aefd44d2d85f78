"""What a scenario of kind "calibration" may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from aocsim.calibration.transients import LEAST_TRIALS
from aocsim.scenarios.schema import Solve, Stored, Table, choices, quantity
from aocsim.spec import Text


def _file(item: object) -> object:
    if item is not None and not (isinstance(item, str) and item.endswith(".nc")):
        raise ValueError("must be the path of a file that ends in .nc")
    return item


class OpenLoop(Table):
    """The first stage: dedicated experiments, and a sweep of random weights, drives and gains.

    Attributes:
        matrices: sets of random weights.
        held_out: of these, how many no fit sees: the errors that are told are theirs.
        inputs: random drives under each.
        gains: gains for each drive.
        trials: solves of each experiment of the sweep.
        dedicated_trials: of each dedicated one.
    """

    matrices: int = Field(default=100, ge=1, le=100_000)
    held_out: int = Field(default=10, ge=1)
    inputs: int = Field(default=6, ge=1, le=1000)
    gains: int = Field(default=7, ge=1, le=100)
    trials: int = Field(default=100, ge=1, le=10_000)
    dedicated_trials: int = Field(default=100, ge=1, le=10_000)

    @model_validator(mode="after")
    def _some_are_left(self) -> OpenLoop:
        if self.held_out >= self.matrices:
            raise ValueError(f"held_out must be fewer than the {self.matrices} matrices: the fit needs some")
        return self


class ClosedLoop(Table):
    """The second stage: random weights, relaxations, drives and gains with the loop closed.

    Attributes:
        matrices: sets of random weights.
        held_out: of these, how many no fit sees.
        inputs: drives under each, with a relaxation and a gain of their own.
        trials: solves of each experiment.
    """

    matrices: int = Field(default=1000, ge=1, le=100_000)
    held_out: int = Field(default=200, ge=1)
    inputs: int = Field(default=1, ge=1, le=1000)
    trials: int = Field(default=100, ge=1, le=10_000)

    @model_validator(mode="after")
    def _some_are_left(self) -> ClosedLoop:
        if self.held_out >= self.matrices:
            raise ValueError(f"held_out must be fewer than the {self.matrices} matrices: the fit needs some")
        return self


class Transients(Table):
    """Transients of single channels, from which pole, delay and relaxation are fitted.

    Attributes:
        trials: solves of each; so many that the covariance of their samples is known.
    """

    trials: int = Field(default=100, ge=LEAST_TRIALS, le=10_000)


class Calibration(Stored):
    """A validated scenario of kind "calibration"; all numbers are SI floats.

    Attributes:
        name: of the scenario, that of its file.
        machine: name of the machine's sheet.
        serial: decides the mismatch, together with the machine's name.
        seed: of what is drawn for the experiments, and of all live randomness.
        beta: gain about which the experiments are made; they go from a third to four thirds of it.
        open: the first stage.
        closed: the second; without it the first alone.
        transients: recorded and fitted after the rest; without it they are not.
        open_loop: a calibration whose first stage is taken over, instead of a stage of its own.
        record: experiments as an earlier calibration has kept them; without it they are made.
        hours_later: between the experiments that are fitted and those that are held out.
        parts: changes to the machine's parts by role, as in `MachineSpec.with_overrides`.
        temperature: of the room, kelvin; None is what the sheets refer to.
    """

    schema_version: int = Field(alias="schema", ge=1, le=1)
    kind: Literal["calibration"]
    name: str = Field(min_length=1)
    describes: str = Field(min_length=1)
    machine: str = Field(min_length=1)
    serial: int = Field(ge=0, lt=2**63)
    seed: int = Field(ge=0, lt=2**63)
    beta: float = Field(default=20.0, gt=0.0, le=1000.0)
    open: OpenLoop = OpenLoop()
    closed: ClosedLoop | None = None
    transients: Transients | None = None
    open_loop: Annotated[str | None, BeforeValidator(_file)] = None
    record: Annotated[str | None, BeforeValidator(_file)] = None
    hours_later: float = Field(default=0.0, ge=0.0, le=1e5)
    parts: Annotated[dict[str, dict[str, Text]], BeforeValidator(choices)] = Field(default={})
    temperature: Annotated[float | None, quantity("kelvin", 1.0, 1e4)] = None
    solve: Solve = Solve()

    @model_validator(mode="after")
    def _has_a_stage(self) -> Calibration:
        if self.open_loop is not None and self.closed is None:
            raise ValueError("open_loop takes the first stage over: a second one, [closed], must follow")
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the trained models that are used: none."""
        return ()

    @property
    def named(self) -> dict[str, str]:
        """Files that are given by their paths, by key."""
        given = {"open_loop": self.open_loop, "record": self.record}
        return {key: path for key, path in given.items() if path is not None}
