"""The machine as it is: a few simulated samples, and the energy ledger of one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.experiment import SETTLED
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.roadmap import operations
from aocsim.roadmap.equipment import Equipment, equipment_of
from aocsim.roadmap.ledger import Ledger, check, ledger
from aocsim.scenarios import sample
from aocsim.scenarios.roadmap.schema import WithEquipment
from aocsim.scenarios.sample import Run, Setup
from aocsim.scenarios.schema import Record, Scenario

MOST_EVALUATIONS = 1000  # that digital iteration is given


@dataclass(frozen=True, eq=False)
class Prototype:
    """What a scenario's machine does with its first model.

    Attributes:
        setup: of the simulated samples, on the machine as built.
        machine: the nominal one, of which ledger and projections are.
        equipment: beside it.
        ledger: of one sample.
        settling: median time of a solve to 1 %, s, simulated.
        evaluations: of the network until digital iteration from rest is as near, median of the solves.
        unreached: share of the solves that iteration does not bring as near: they count as all that are tried.
        weights: of the network, nonzero ones.
        span: peak to peak of the ideal node voltages over units and samples, V, mean of the solves.
        signal: their root mean square, V.
        alpha: median relaxation of the channels in use.
    """

    setup: Setup
    machine: Machine
    equipment: Equipment
    ledger: Ledger
    settling: float
    evaluations: float
    unreached: float
    weights: int
    span: float
    signal: float
    alpha: float

    @property
    def bandwidth(self) -> float:
        """Of the node by its sheet, Hz."""
        return self.machine.poles.nominal_bandwidth

    @property
    def rate(self) -> float:
        """Operations a second by bandwidth."""
        return operations.rate_by_bandwidth(self.machine.channels, self.bandwidth)

    @property
    def useful(self) -> float:
        """Operations of a digital processor that one solve replaces."""
        return operations.useful_operations(self.evaluations, self.weights)


def simulated_scenario(scenario: WithEquipment) -> Scenario:
    """The scenario of kind "sample" behind the figures of the machine as it is."""
    return scenario.of(scenario.models[0], record=Record(samples=0, trials=0, diagnosis=True))


def prototype_of(
    scenario: WithEquipment, library: Library, progress: Callable[[int], object] = lambda solves: None
) -> Prototype:
    """Simulate a few samples, and count the energy of one.

    Args:
        scenario: whose first model runs.
        library: of sheets and models.
        progress: called with the number of solves as they are done.

    Raises:
        AocsimError: the samples are impossible, or a part does not state its power.
    """
    spec = library.machine(scenario.machine, scenario.parts)
    nominal = Machine.build(spec, serial=None)
    equipment = equipment_of(nominal, scenario.equipment_sheets(library))
    one = simulated_scenario(scenario)
    setup = sample.prepare(one, library)
    found = ledger(sample.with_record(nominal, one), equipment, setup.schedule, one.samples)
    check(found)
    run = sample.execute(setup, progress)
    needed = iterations_of(setup, run)
    volts = setup.compiled.program.volts_per_unit
    ideal = [np.asarray(solve) for solve in run.ideal_fixed_point]
    program = setup.compiled.program
    return Prototype(
        setup=setup,
        machine=nominal,
        equipment=equipment,
        ledger=found,
        settling=float(np.median(run.settling)),
        evaluations=float(np.median(needed)),
        unreached=float(np.mean(needed == MOST_EVALUATIONS)),
        weights=sum(int(np.count_nonzero(weight)) for weight in setup.network.weights),
        span=volts * float(np.mean([np.ptp(solve) for solve in ideal])),
        signal=volts * float(np.sqrt(np.mean([np.mean(solve**2) for solve in ideal]))),
        alpha=float(np.median(program.alpha[program.channel_of_unit])),
    )


def iterations_of(setup: Setup, run: Run) -> NDArray[np.float64]:
    """Evaluations of the network until digital iteration from rest is within 1 % of its limit, (solves, samples).

    One application of the block matrix evaluates every layer once, which is one evaluation's work. Where iteration does
    not come so near (a loop can settle where it diverges) it counts as `MOST_EVALUATIONS`.
    """
    operator, counts = setup.operator, []
    points = [run.start]
    for k in range(len(run.state)):
        x, t = setup.stepping.ask(points)
        ideal = np.asarray(run.ideal_fixed_point[k])
        z = np.zeros_like(ideal)
        limit = SETTLED * np.linalg.norm(ideal, axis=1)
        needed = np.full(len(z), float(MOST_EVALUATIONS))
        for count in range(1, MOST_EVALUATIONS):
            z = operator.apply(z, t, x)
            near = np.linalg.norm(z - ideal, axis=1) <= limit
            needed = np.where(near & (needed == MOST_EVALUATIONS), float(count), needed)
            if (needed < MOST_EVALUATIONS).all():
                break
        counts.append(needed)
        points.append(np.asarray(run.state[k]))
    return np.array(counts)
