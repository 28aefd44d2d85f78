"""What scenarios with several models on one machine have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from aocsim.scenarios.schema import OnMachine, Record, Scenario

OWN = {"schema_version", "kind"}
"""Fields in which a model's own scenario differs."""


class ModelsOnMachine(OnMachine):
    """A validated scenario with several models, which run one after the other, each on freshly trimmed electronics.

    All of them have the same noise and the same seed.

    Attributes:
        models: names of the trained models.
    """

    # a TOML array arrives as a list, which a strict tuple would refuse
    models: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=64, strict=False)
    ]
    samples: int = Field(ge=8, le=100_000)  # the least that is cut into sub-samples

    @field_validator("models")
    @classmethod
    def _models_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"named more than once: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> ModelsOnMachine:
        self.of(self.models[0])
        return self

    def of(self, model: str, **changes: Any) -> Scenario:
        """The scenario of one model, without records of wave forms.

        Args:
            model: its name.
            changes: fields of `Scenario` that differ.

        Raises:
            InputError: fields that do not fit together.
        """
        fields = {name: getattr(self, name) for name in OnMachine.model_fields if name not in OWN}
        record = Record(samples=0, trials=0, diagnosis=False)
        own = {"schema": self.schema_version, "kind": "sample", "model": model, "record": record}
        return Scenario(**{**fields, **own, **changes})
