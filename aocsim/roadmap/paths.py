r"""What lies beside the loop: new weights against the batch that shares them, and the way from step to step.

New weights take T_w, a batch of samples B times K steps of t each. The share of time that goes to the weights is

.. math:: \frac{T_w}{T_w + B K t}, \qquad B_{10\,\%} = \frac{9\,T_w}{K t}                                  (1)

From one step to the next the sample goes through an analog memory or through converters and a host
(`aocsim.timeline` has both). Errors of one passage, root mean square at the node:

.. math::

    \sigma_m^2 = \epsilon^2 s^2 + \sigma_{ped}^2 + (D\,t_h)^2 + kT/C, \qquad
    \sigma_c^2 = \sigma_{ADC}^2 / M + \Delta_{ADC}^2 / 12 M + \Delta_{DAC}^2 / 12                           (2)

with the part epsilon of a step that is not acquired, s the signal, the pedestals' scatter (their mean is trimmed), the
droop while the cell holds, M samples in the window. Noise of the loop itself goes both ways and is left out. Errors of
K passages add in squares where nothing damps them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.roadmap.equipment import Equipment
from aocsim.roadmap.ledger import ledger
from aocsim.spec import MachineSpec
from aocsim.timeline import Memory, schedule

SHARE = 0.1  # of the time, that may go to new weights


def loading_share(load_time: float, batch: int, steps: int, step_time: float) -> float:
    """Share of time that goes to new weights, equation (1).

    Raises:
        InputError: no batch, no steps, or times that are none.
    """
    if batch < 1 or steps < 1 or not step_time > 0 or not load_time >= 0:
        raise InputError(
            "new weights need a batch with steps that take time",
            key="roadmap.batches",
            got=(batch, steps, step_time),
            allowed="at least one sample of one step",
        )
    return load_time / (load_time + batch * steps * step_time)


def batch_for(load_time: float, steps: int, step_time: float, share: float = SHARE) -> float:
    """Batch at which no more than a share of the time goes to new weights, equation (1).

    >>> round(batch_for(0.0217, 16, 13e-6))
    939
    """
    return (1 / share - 1) * load_time / (steps * step_time)


@dataclass(frozen=True)
class Passage:
    """From one diffusion step to the next.

    Attributes:
        way: digital or sample_and_hold.
        time: latency of a step on the bench, one trial, s.
        energy: of a step, J, events alone.
        error: root mean square at the node, V.
        parts: variance by cause, V^2.
    """

    way: Memory
    time: float
    energy: float
    error: float
    parts: dict[str, float]


def passages(
    machine: Machine, spec: MachineSpec, equipment: Equipment, steps: int, signal: float
) -> tuple[Passage, Passage]:
    """Both ways, digital first.

    Args:
        machine: as built.
        spec: its sheets, for the scatter of the pedestals.
        equipment: beside it.
        steps: of a sample.
        signal: root mean square of what a cell has to acquire, V.

    Raises:
        InputError: as `aocsim.timeline.schedule` and `aocsim.roadmap.ledger.ledger`.
    """
    found = []
    for way in ("digital", "sample_and_hold"):
        memory: Memory = way
        timeline = schedule(machine, steps=steps, trials=1, memory=memory, load_weights=False)
        energy = ledger(machine, equipment, timeline).per_step()
        time = sum(timeline.step_latency) / steps
        parts = _converters(machine) if way == "digital" else _cells(machine, spec, time, signal)
        error = float(np.sqrt(sum(parts.values())))
        found.append(Passage(memory, time, energy, error, parts))
    return found[0], found[1]


def _cells(machine: Machine, spec: MachineSpec, held_for: float, signal: float) -> dict[str, float]:
    memory, entry = machine.memory, spec.parts["memory"]["pedestal"]
    scatter = entry.spread * (abs(float(entry.value)) if entry.spread_is_relative else 1.0)
    return {
        "acquisition": (memory.acquisition_error * signal) ** 2,
        "pedestal": scatter**2,
        "droop": float(np.mean((memory.droop_rate * held_for) ** 2)),
        "thermal": memory.noise**2,
    }


def _converters(machine: Machine) -> dict[str, float]:
    digitiser, dac = machine.digitiser, machine.dac
    window = max(1, digitiser.window.stop - digitiser.window.start)

    def rounding(full_scale: float, bits: int) -> float:
        return (2 * full_scale / 2**bits) ** 2 / 12 if bits else 0.0

    own = digitiser.full_scale * digitiser.input_scale
    return {
        "digitiser noise": digitiser.noise**2 / window,
        "digitiser rounding": rounding(own, digitiser.bits) / window,
        "DAC rounding": rounding(dac.full_scale, dac.bits),
    }
