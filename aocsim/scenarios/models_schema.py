"""What scenarios with several models on one machine have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from aocsim.scenarios.schema import (
    Compile,
    Diffusion,
    Environment,
    Record,
    Scenario,
    Solve,
    Stored,
    Timeline,
    choices,
)
from aocsim.spec import Text


class ModelsOnMachine(Stored):
    """A validated scenario with several models; all numbers are SI floats.

    Attributes:
        name: of the scenario, that of its file.
        kind: of the scenario.
        machine: name of the machine's sheet.
        serial: decides the mismatch, together with the machine's name.
        models: names of the trained models, which run one after the other, each on freshly trimmed electronics.
        samples: number of diffusion samples of each model.
        trials, seed: repetitions of each solve, averaged; seed of all live randomness, the same for all models.
        parts: changes to the machine's parts by role, as in `MachineSpec.with_overrides`.
        diffusion, compile, environment, timeline, solve: as of kind "sample".
    """

    schema_version: int = Field(alias="schema", ge=1, le=1)
    kind: str
    name: str = Field(min_length=1)
    describes: str = Field(min_length=1)
    machine: str = Field(min_length=1)
    serial: int = Field(ge=0, lt=2**63)
    # a TOML array arrives as a list, which a strict tuple would refuse
    models: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=64, strict=False)
    ]
    samples: int = Field(ge=8, le=100_000)  # the least that is cut into sub-samples
    trials: int = Field(ge=1, le=1000)
    seed: int = Field(ge=0, lt=2**63)
    diffusion: Diffusion
    compile: Compile = Compile()
    parts: Annotated[dict[str, dict[str, Text]], BeforeValidator(choices)] = Field(default={})
    environment: Environment = Environment()
    timeline: Timeline = Timeline()
    solve: Solve = Solve()

    @field_validator("models")
    @classmethod
    def _models_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return value

    @property
    def named(self) -> dict[str, str]:
        """Files that are given by their paths, by key."""
        return self.of(self.models[0]).named

    def of(self, model: str, **changes: Any) -> Scenario:
        """The scenario of one model, without records of wave forms.

        Args:
            model: its name.
            changes: fields of `Scenario` that differ.

        Raises:
            InputError: fields that do not fit together.
        """
        fields = {
            name: getattr(self, name)
            for name in (
                "name",
                "describes",
                "machine",
                "serial",
                "samples",
                "trials",
                "seed",
                "diffusion",
                "compile",
                "parts",
                "environment",
                "timeline",
                "solve",
            )
        }
        record = Record(samples=0, trials=0, diagnosis=False)
        own = {"schema": self.schema_version, "kind": "sample", "model": model, "record": record}
        return Scenario(**{**fields, **own, **changes})
