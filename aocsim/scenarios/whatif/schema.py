"""What scenarios of the kinds "sweep", "montecarlo", "budget" and "sensitivity" say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from aocsim.errors import InputError, unknown_name, validate
from aocsim.scenarios.kinds import OneRun, one_run
from aocsim.scenarios.schema import Scenario, Solve, Stored
from aocsim.spec import Text
from aocsim.units import QuantityError, to_si

FIGURES = ("w2_machine", "nrmse_step_ideal_mean", "rms_shift")
MOST_POINTS = 10_000
ALL = "all"
_LIMIT = re.compile(r"\s*(<=?|>=?)\s*(\S+)\s*")
_UNIQUE = "must name each one once"


def _figures(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError(_UNIQUE)
    return value


def _as_tuple(item: object) -> object:
    return tuple(item) if isinstance(item, list) else item


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_tuple)]


class WhatIf(Stored):
    """Many runs of one scenario; in a file, `scenario` names it and `set` changes it, which gives `base`.

    Attributes:
        name: of the study, that of its file.
        base: the scenario that is varied, as its file has it, changes included.
        figures: of its summary, that the pictures show; without them the usual ones of its kind. All are in the result.
        most: largest number of points that is run without a question.
    """

    schema_version: int = Field(alias="schema", ge=1, le=1)
    kind: str
    name: str = Field(min_length=1)
    describes: str = Field(min_length=1)
    base: dict[str, Any]
    usual: ClassVar[tuple[str, ...]] = FIGURES
    figures: Annotated[Names, Field(max_length=6)] = ()
    most: int = Field(default=MOST_POINTS, ge=1)

    @field_validator("figures")
    @classmethod
    def _figures_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _figures(value)

    @property
    def shown(self) -> tuple[str, ...]:
        """Figures of the summary that the study cannot do without."""
        return self.figures

    @property
    def study(self) -> OneRun:
        """The scenario that is varied, validated.

        Raises:
            InputError: it is none.
        """
        return validate(one_run(self.base.get("kind", "sample")), self.base)

    @property
    def machine(self) -> str:
        """Name of the machine's sheet."""
        return self.study.machine

    @property
    def serial(self) -> int:
        """Serial number where none is varied."""
        return self.study.serial

    @property
    def seed(self) -> int:
        """Seed of all live randomness."""
        return self.study.seed

    @property
    def parts(self) -> dict[str, dict[str, Text]]:
        """Changes to the machine's parts."""
        return self.study.parts

    @property
    def solve(self) -> Solve:
        """How the loop's equation is integrated."""
        return self.study.solve

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the trained models that are used."""
        return tuple(self.study.models)

    @property
    def named(self) -> dict[str, str]:
        """Files that are given by their paths, by key."""
        return self.study.named

    @property
    def described(self) -> str:
        """Where the data come from: scenario, machine, serial, models, seed and size, for titles."""
        study = self.study
        name, models = self.base.get("name", study.kind), ", ".join(study.models)
        size = f", {study.samples} samples" if isinstance(study, Scenario) else ""
        return f"{name} on {study.machine}, {self.which}, model {models}, seed {study.seed}{size}"

    @property
    def which(self) -> str:
        """Serial numbers, in words."""
        return f"serial {self.serial}"


class Sweep(WhatIf):
    """Keys of the scenario over lists or ranges.

    Attributes:
        vary: values by dotted key.
        design: all combinations; or values side by side, one point each; or one key alone at a time.
    """

    kind: Literal["sweep"]
    vary: dict[str, Any] = Field(min_length=1, max_length=16)
    design: Literal["product", "zip", "alone"] = "product"


class MonteCarlo(WhatIf):
    """Machines of many serials: figures of each, and how many meet the limits.

    Attributes:
        serials: number of machines.
        first_serial: number of the first one.
        only: variants: "all" has every part's mismatch, the name of a role that of this part alone.
        limits: of figures, such as "< 0.1": a machine that meets all of them counts for the yield.
    """

    kind: Literal["montecarlo"]
    serials: int = Field(default=50, ge=2)
    first_serial: int = Field(default=1, ge=0)
    only: Annotated[Names, Field(min_length=1, max_length=32)] = (ALL,)
    limits: dict[str, str] = Field(default={})

    @property
    def which(self) -> str:
        """Serial numbers, in words."""
        return f"serials {self.first_serial} to {self.first_serial + self.serials - 1}"

    @field_validator("only")
    @classmethod
    def _only_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _figures(value)

    @field_validator("limits")
    @classmethod
    def _are_limits(cls, value: dict[str, str]) -> dict[str, str]:
        for text in value.values():
            limit_of(text)
        return value

    @property
    def shown(self) -> tuple[str, ...]:
        """Figures that are shown or limited."""
        return (*self.figures, *self.limits)


class Budget(WhatIf):
    """Error budget: each departure from the ideal alone on, and alone off.

    Attributes:
        ideal: machine whose sheets say what ideal is; its parts must be of the same laws.
        terms: by name, ROLE or ROLE.ENTRY of the sheets, or dotted keys of the scenario with their ideal values;
            without them one for each role whose sheets differ.
    """

    kind: Literal["budget"]
    usual: ClassVar[tuple[str, ...]] = (
        "nrmse_step_ideal_mean",
        "top_bias_per_step_max",
        "w2_machine",
    )
    ideal: str = Field(default="ideal48", min_length=1)
    terms: dict[str, list[str] | dict[str, Any]] = Field(default={})


class Sensitivity(WhatIf):
    """Which uncertain numbers a figure leans on: Sobol indices, and the assumed numbers one by one.

    Attributes:
        factors: standard uncertainty by dotted key of a sheet's entry, relative in per cent or in its unit; without
            them the spreads of all entries that have one, as uncertainties of their values.
        n: base samples, a power of 2; factors + 2 times as many points.
        assumed: whether assumed entries (basis A) are moved one by one as well.
        step: relative, by which they are.
    """

    kind: Literal["sensitivity"]
    factors: dict[str, str] = Field(default={})
    n: int = Field(default=64, ge=4, le=65_536)
    assumed: bool = True
    step: float = Field(default=0.2, gt=0.0, lt=1.0)

    @field_validator("n")
    @classmethod
    def _is_a_power(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of 2")
        return value


WHAT_IF: Mapping[str, type[WhatIf]] = {
    "sweep": Sweep,
    "montecarlo": MonteCarlo,
    "budget": Budget,
    "sensitivity": Sensitivity,
}


def limit_of(text: str) -> tuple[str, float]:
    """Comparison and number of a limit such as "< 0.1".

    Raises:
        InputError: not a limit.
    """
    found = _LIMIT.fullmatch(text)
    try:
        if found is not None:
            return found.group(1), to_si(found.group(2), "dimensionless")
    except QuantityError:
        found = None
    raise InputError("is no limit", key="limits", got=text, allowed='such as "< 0.1" or ">= 2"')


def known_figure(name: str, known: Mapping[str, object], key: str) -> None:
    """Refuse a figure that the scenario's summary does not have.

    Raises:
        InputError: names the nearest.
    """
    if name not in known:
        raise unknown_name("figure of the summary", name, known, key=key)
