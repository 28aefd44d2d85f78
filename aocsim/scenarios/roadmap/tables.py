"""Tables of the kind "roadmap_single": what is computed, as variables with dimensions, units and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aocsim.roadmap.assumptions import Assumption, emitter_at
from aocsim.roadmap.chain import Chain
from aocsim.roadmap.noise import SOURCES, Working, effective_bits, error, variances
from aocsim.roadmap.paths import Passage, loading_share
from aocsim.roadmap.projection import Case, Projected
from aocsim.roadmap.settling import flight_time, lags_of, settling_of, slowest
from aocsim.roadmap.simulate import Simulated
from aocsim.scenarios.roadmap.prototype import Prototype

Columns = dict[str, tuple[tuple[str, ...], Any, str, str]]
"""Name -> (dimensions, values, unit, long name)."""

SETTLING_BANDWIDTHS = tuple(float(f) for f in np.geomspace(1e6, 3e10, 28))

FIGURES: Mapping[str, tuple[str, str]] = {
    "nrmse": ("1", "error of one solve and one sample of the read-out, RMS over the range"),
    "effective_bits": ("1", "bits of an ideal converter with the same error"),
    "settling": ("s", "time of a step: slowest mode to 1 %, with the parts' poles and dead time"),
    "power": ("W", "power of everything while it solves"),
    "efficiency": ("1/J", "operations for each joule, 2 N^2 per 1/f_3dB"),
    "light": ("1", "factor on the emitters' current that holds the wanted error"),
    "power_held": ("W", "power with that light; inf where no light holds the error"),
    "efficiency_held": ("1/J", "operations for each joule with that light, 2 N^2 per 1/f_3dB"),
    "direct_current": ("A", "direct photocurrent of the median detector"),
    "signal_current": ("A", "RMS of the signal at the median detector"),
    "feedback_resistance": ("ohm", "of the transimpedance amplifiers"),
    "voltage_gain": ("1", "gain behind the transimpedance amplifiers that alpha asks for"),
    "beyond": ("1", "1 where something is beyond a sheet's valid range or does not fit"),
}


def figures_of(one: Projected) -> dict[str, float]:
    """Numbers of one projection by the names in `FIGURES`."""
    return {
        "nrmse": one.nrmse,
        "effective_bits": one.bits,
        "settling": one.settling.time,
        "power": one.power(),
        "efficiency": one.efficiency(),
        "light": one.light,
        "power_held": one.power(held=True),
        "efficiency_held": one.efficiency(held=True),
        "direct_current": one.direct_current,
        "signal_current": one.signal_current,
        "feedback_resistance": one.feedback_resistance,
        "voltage_gain": one.voltage_gain,
        "beyond": float(bool(one.marks)),
    }


def ledger_table(found: Prototype) -> Columns:
    """Rows of the ledger, and sums by part."""
    rows = found.ledger.rows
    parts = list(found.ledger.by_part(idle=True))
    plain, idle = found.ledger.by_part(), found.ledger.by_part(idle=True)
    shown = "of one sample, weights shared by the run's samples"
    return {
        "part": (("row",), np.array([row.part for row in rows]), "1", "role of the part"),
        "consumer": (("row",), np.array([row.consumer for row in rows]), "1", "consumer of the part"),
        "event": (("row",), np.array([row.event for row in rows]), "1", "events during which it is on"),
        "count": (("row",), np.array([row.count for row in rows]), "1", "number of these events in a sample"),
        "duration": (("row",), np.array([row.duration for row in rows]), "s", "of these events together"),
        "power": (("row",), np.array([row.power for row in rows]), "W", "mean power during the events"),
        "energy": (("row",), np.array([row.energy for row in rows]), "J", "energy in a sample"),
        "formula": (
            ("row",),
            np.array(
                [" x ".join(f"{f.name} {f.value:.6g} [{f.dimension}]" for f in row.factors) for row in rows]
            ),
            "1",
            "factors of the energy",
        ),
        "energy_by_part": (
            ("counted_part",),
            np.array([plain.get(part, 0.0) for part in parts]),
            "J",
            f"energy of the events, {shown}",
        ),
        "energy_by_part_idle": (
            ("counted_part",),
            np.array([idle[part] for part in parts]),
            "J",
            f"energy with nothing switched off between events, {shown}",
        ),
        "counted_part": (("counted_part",), np.array(parts), "1", "role of the part"),
    }


def grid_of(
    rows: Sequence[Sequence[Projected]], dims: tuple[str, ...], prefix: str, shape: tuple[int, ...]
) -> Columns:
    """Figures and variances of projections over a grid, whose last two dimensions are channels and bandwidth."""
    flat = [one for row in rows for one in row]
    numbers = [figures_of(one) for one in flat]
    out: Columns = {
        f"{prefix}_{name}": (dims, np.array([one[name] for one in numbers]).reshape(shape), *told)
        for name, told in FIGURES.items()
    }
    parts = np.array([[one.variance[source] for source in SOURCES] for one in flat])
    out[f"{prefix}_variance"] = (
        (*dims, "source"),
        parts.reshape(*shape, len(SOURCES)),
        "V^2",
        "variance of the node voltages by source",
    )
    return out


def light_table(found: Prototype, case: Case, channels: Sequence[int], light: Sequence[float]) -> Columns:
    """Error of the machine's own parts against the light, at its own bandwidth."""
    chain = Chain.of(found.machine)
    values = np.zeros((len(channels), len(light)))
    for i, n in enumerate(channels):
        work: Working = case.at(n, found.bandwidth)
        for j, factor in enumerate(light):
            values[i, j] = error(variances(chain.with_light(factor), found.machine.slm, work), work)
    dims = ("channels", "light_factor")
    return {
        "own_nrmse_at_light": (dims, values, "1", "error at the machine's own bandwidth, RMS over the range"),
        "own_bits_at_light": (
            dims,
            np.vectorize(effective_bits)(values),
            "1",
            "bits of an ideal converter with the same error",
        ),
    }


def settling_table(found: Prototype, case: Case, path: float) -> Columns:
    """Settling against the node's bandwidth, with one lag after the other taken away."""
    limits = slowest(found.machine)
    flight = flight_time(path)
    cases = {
        "own parts": (tuple(limits.values()), flight),
        "own emitters, faster electronics": ((limits["emitter"],), flight),
        "flight of the light alone": ((), flight),
        "no lags": ((), 0.0),
    }
    values = [
        [
            settling_of(f, case.alpha, case.weights.radius, poles=poles, delay=delay).time
            for f in SETTLING_BANDWIDTHS
        ]
        for poles, delay in cases.values()
    ]
    lags = lags_of(found.machine, path)
    at = [emitter_at(found.machine, f) for f in SETTLING_BANDWIDTHS]
    return {
        "settling_with": (
            ("lags", "node_bandwidth"),
            np.array(values),
            "s",
            "time to 1 %, slowest mode of the random matrix",
        ),
        "lags": (("lags",), np.array(list(cases)), "1", "what lags behind the node"),
        "lag": (("lagging",), np.array(list(lags.values())), "s", "1/(2 pi f) of a pole, or a dead time"),
        "lagging": (("lagging",), np.array(list(lags)), "1", "part, slowest first"),
        "emitter_current_density": (
            ("node_bandwidth",),
            np.array([one[0] for one in at]),
            "A/m^2",
            "at which the machine's own emitters follow so fast (carrier balance)",
        ),
        "emitter_efficiency": (
            ("node_bandwidth",),
            np.array([one[1] for one in at]),
            "1",
            "photons for each electron inside these emitters at that current",
        ),
        "node_bandwidth": (("node_bandwidth",), np.array(SETTLING_BANDWIDTHS), "Hz", "bandwidth of the node"),
    }


def assumption_table(rows: Sequence[Sequence[Assumption]]) -> Columns:
    """Assumptions over the projected bandwidths."""
    first, dims = rows[0], ("assumption", "projected_bandwidth")

    def over(name: str) -> list[list[float]]:
        return [[getattr(row[k], name) for row in rows] for k in range(len(first))]

    unit = "as assumption_unit says"
    return {
        "assumption": (("assumption",), np.array([one.name for one in first]), "1", "what is assumed"),
        "assumption_unit": (
            ("assumption",),
            np.array([one.unit for one in first]),
            "1",
            "unit of its numbers",
        ),
        "assumption_at_most": (
            ("assumption",),
            np.array([int(one.at_most) for one in first], dtype=np.int8),
            "1",
            "1 where no more than needed is good, 0 where no less is",
        ),
        "assumption_needed": (dims, np.array(over("needed")), unit, "number that the published chain needs"),
        "assumption_given": (dims, np.array(over("given")), unit, "number that the sheets give"),
        "assumption_bound": (
            dims,
            np.array(over("bound")),
            unit,
            "bound by physics; nan where there is none",
        ),
        "assumption_verdict": (
            dims,
            np.array([[row[k].verdict for row in rows] for k in range(len(first))]),
            "1",
            "met, beyond the sheets, or forbidden by physics",
        ),
    }


def path_table(
    devices: Mapping[str, tuple[float, float]], batches: Sequence[int], steps: int, ways: Sequence[Passage]
) -> Columns:
    """New weights against the batch, and the way from step to step.

    Args:
        devices: (time of new weights, time of a step), s, by name.
        batches: samples that share weights.
        steps: of a sample.
        ways: from step to step.
    """
    shares = [
        [loading_share(load, batch, steps, step) for batch in batches] for load, step in devices.values()
    ]
    return {
        "loading_share": (
            ("device", "batch"),
            np.array(shares),
            "1",
            "share of the time that goes to new weights",
        ),
        "device": (("device",), np.array(list(devices)), "1", "machine or projected module"),
        "batch": (("batch",), np.array(batches), "1", "samples that share one loading of weights"),
        "way": (("way",), np.array([one.way for one in ways]), "1", "from one diffusion step to the next"),
        "passage_time": (("way",), np.array([one.time for one in ways]), "s", "latency of a step, one trial"),
        "passage_energy": (
            ("way",),
            np.array([one.energy for one in ways]),
            "J",
            "energy of a step's events",
        ),
        "passage_error": (("way",), np.array([one.error for one in ways]), "V", "error of one passage, RMS"),
    }


def simulation_table(found: Sequence[Simulated], formula: Sequence[float]) -> Columns:
    """Noise in the time domain beside the formula."""
    dims = ("simulated_channels",)
    numbers = [one.channels for one in found]
    told = {
        "simulated_variance": ([one.drawn for one in found], "variance of the node voltages, time domain"),
        "simulated_standard_error": (
            [one.standard_error for one in found],
            "standard error of that variance",
        ),
        "simulated_linear": ([one.linear for one in found], "the same by the linearised loop's covariance"),
        "simulated_formula": (list(formula), "the same by the formula for any channel count"),
    }
    out: Columns = {name: (dims, np.array(values), "V^2", text) for name, (values, text) in told.items()}
    out["simulated_channels"] = (dims, np.array(numbers), "1", "channels")
    return out
