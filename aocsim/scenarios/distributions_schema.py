"""What a scenario of kind "distributions" says."""

from __future__ import annotations

from typing import Literal

from aocsim.scenarios.models_schema import ModelsOnMachine


class Distributions(ModelsOnMachine):
    """Several models on one machine, beside its twin, the ideal, a Gaussian and the data."""

    kind: Literal["distributions"]
