"""Which channels of a machine a network should stand on, and what the choice gains before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import InputError, PhysicsError
from aocsim.experiment import SETTLED
from aocsim.library import Library
from aocsim.scenarios import sample
from aocsim.scenarios.load import load_sample

WAYS = ("chosen", "in_order")


@dataclass(frozen=True, eq=False)
class Recommendation:
    """A choice of channels.

    Attributes:
        channel_of_unit: (units,) recommended channel of each unit.
        left_out: channels that stay dark, dead ones among them.
        dead: channels without light at their input, as the machine is known.
        alpha: (units,) relaxation that each unit needs.
        figures: by way, recommended and in order; None where the network cannot stand there.
        failure: why it cannot stand there in order; empty if it can.
    """

    channel_of_unit: NDArray[np.intp]
    left_out: NDArray[np.intp]
    dead: NDArray[np.intp]
    alpha: NDArray[np.float64]
    figures: Mapping[str, Mapping[str, float] | None]
    failure: str = ""


def recommend(
    library: Library,
    machine: str,
    model: str,
    overrides: Mapping[str, object] | None = None,
    scenario: str = "heart",
) -> Recommendation:
    """Choose channels for a network, from what is known of a machine.

    Args:
        library: of sheets and models.
        machine: name of its sheet.
        model: name of the trained network.
        overrides: of the scenario by dotted key, such as {"serial": 7, "compile.knowledge": "exact"}.
        scenario: of kind "sample", that says how the network is programmed.

    Raises:
        InputError: any fault of the input, or a network that does not fit the machine however it is placed.
    """
    changes: dict[str, object] = {"machine": machine, "model": model, **(overrides or {})}
    figures: dict[str, Mapping[str, float] | None] = {}
    failure, best = "", None
    for way in WAYS:
        asked = load_sample(scenario, library, {**changes, "compile.channels": way})
        try:
            setup = sample.prepare(asked, library)
        except (InputError, PhysicsError) as error:
            if way == WAYS[0]:
                raise
            figures[way], failure = None, str(error)
            continue
        best = best or setup
        figures[way] = figures_of(setup)
    assert best is not None
    program = best.compiled.program
    every = np.arange(best.machine.channels)
    return Recommendation(
        program.channel_of_unit,
        np.setdiff1d(every, program.channel_of_unit),
        np.asarray(best.machine.optics.dead, dtype=np.intp),
        program.alpha[program.channel_of_unit],
        figures,
        failure,
    )


def figures_of(setup: sample.Setup) -> dict[str, float]:
    """What a placement promises.

    A channel whose loop is broken relaxes with the rate 2 pi f (1 - alpha), f its pole, and is within 1 % after
    ln(100) of its time constants; noise at its node stands 1/(1 - alpha) above that of its electronics.
    """
    program, used = setup.compiled.program, setup.compiled.program.channel_of_unit
    left = 1.0 - program.alpha[used]
    rate = 2.0 * np.pi * setup.machine.poles.node[used] * left
    settling = -np.log(SETTLED) / rate
    return {
        "alpha_max": float(program.alpha[used].max()),
        "alpha_median": float(np.median(program.alpha[used])),
        "settling_us_slowest": float(settling.max() * 1e6),
        "settling_us_median": float(np.median(settling) * 1e6),
        "gain_at_rest_rms": float(np.sqrt(np.mean(1.0 / left**2))),
        "rounding_error": setup.compiled.rounding_error,
    }
