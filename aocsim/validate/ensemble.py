"""The typical machine is like the measured one: a measurement among many serials, array by array."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aocsim.components.slm import Slm
from aocsim.machine import Machine
from aocsim.twin import Twin, load
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError

Array = NDArray[np.float64]

TITLE = "A measured machine among the serials of the typical one"

SERIALS = 200
BAND = (5.0, 95.0)  # per cent of the serials
INSIDE = 85.0  # per cent of the channels that have to lie in the band
WEIGHTS = 65  # at which the column law is fitted
SPREAD = 1.5  # of the measured spread, that the ensemble's may have


def _columns(machine: Machine) -> tuple[Array, Array, Array]:
    """Column law of each arm in the twin's units: response at full weight, darkness, curvature, each (2, n)."""
    slm = machine.slm
    if not isinstance(slm, Slm):
        raise SkippedError("the machine's modulator is a measured one, which has no ensemble")
    n = machine.channels
    # one unit of the twin is a pixel of nominal transmission
    scale = machine.optics.column * (slm.transmission / np.mean(slm.transmission))[:, None]
    scale *= machine.optics.structure.mean(axis=2)
    weight = np.linspace(0.0, 1.0, WEIGHTS)
    modulated = slm.modulated(np.broadcast_to(weight, (2, n, WEIGHTS)))
    # the twin's law is a parabola from the measured darkness on, the panel's is not one
    powers = np.stack([weight**2, weight], axis=1)
    square, linear = np.linalg.lstsq(powers, modulated.reshape(-1, WEIGHTS).T, rcond=None)[0].reshape(2, 2, n)
    full = square + linear
    return scale * full, scale * slm.dark().mean(axis=2), square / full


def _ratios(machine: Machine) -> tuple[Array, Array]:
    """Neighbour ratios to the earlier and to the later output, (2, n); zero where there is no neighbour."""
    n = machine.channels
    k = np.arange(n - 1)
    earlier, later = np.zeros((2, n)), np.zeros((2, n))
    earlier[:, 1:] = machine.optics.crosstalk[:, k, k + 1]
    later[:, :-1] = machine.optics.crosstalk[:, k + 1, k]
    return earlier, later


QUANTITIES: dict[str, tuple[str, Callable[[Machine], Array], Callable[[Twin], Array]]] = {
    "row_profile": ("row efficiency r", lambda m: m.optics.row, lambda t: t.row),
    "row_arm_mismatch": (
        "row efficiency of the + arm over the - arm",
        lambda m: _over(m.optics.row[0], m.optics.row[1]),
        lambda t: _over(t.row[0], t.row[1]),
    ),
    "column_profile": (
        "column response a + b at full weight",
        lambda m: _columns(m)[0],
        lambda t: t.column_law[..., 0] + t.column_law[..., 1],
    ),
    "column_arm_mismatch": (
        "column response of the + arm over the - arm",
        lambda m: _over(*_columns(m)[0]),
        lambda t: _over(*(t.column_law[..., 0] + t.column_law[..., 1])),
    ),
    "column_curvature": (
        "curvature of the column law, a over a + b",
        lambda m: _columns(m)[2],
        lambda t: t.column_law[..., 0] / (t.column_law[..., 0] + t.column_law[..., 1]),
    ),
    "contrast": (
        "system contrast, full over dark",
        lambda m: 1 + _columns(m)[0] / _columns(m)[1],
        lambda t: t.column_law.sum(axis=-1) / t.column_law[..., 2],
    ),
    "crosstalk_to_earlier": (
        "neighbour ratio to the earlier output",
        lambda m: _ratios(m)[0],
        lambda t: _measured_ratios(t)[0],
    ),
    "crosstalk_to_later": (
        "neighbour ratio to the later output",
        lambda m: _ratios(m)[1],
        lambda t: _measured_ratios(t)[1],
    ),
    "direct_light": (
        "direct light over that of a fully transmitting pixel",
        lambda m: (
            m.optics.direct / np.mean(m.slm.transmission) if isinstance(m.slm, Slm) else m.optics.direct
        ),
        lambda t: t.direct,
    ),
    "output_efficiency": (
        "output efficiency",
        lambda m: m.detector.output_efficiency,
        lambda t: t.output_correction,
    ),
    "closed_loop_gain": ("closed-loop gain", lambda m: m.gains.closed_loop_gain, lambda t: t.scaling),
    "node_offset": ("offset at the node, V", lambda m: m.gains.offset, lambda t: t.offset(0.0)),
    "offset_per_beta": (
        "offset for each unit of beta, V",
        lambda m: m.gains.offset_per_beta,
        lambda t: t.offset(1.0) - t.offset(0.0),
    ),
}
"""Per-channel arrays: what they are, of a machine and of a measurement, (n,) or (2, n)."""


def _over(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _measured_ratios(twin: Twin) -> tuple[Array, Array]:
    n = twin.channels
    k = np.arange(n - 1)
    earlier, later = np.zeros((2, n)), np.zeros((2, n))
    earlier[:, 1:], later[:, :-1] = twin.crosstalk[:, k, k + 1], twin.crosstalk[:, k + 1, k]
    return earlier, later


@cache
def _ensemble(setting: Setting) -> dict[str, Array]:
    """Every quantity of all serials, (serials, n) or (serials, 2, n)."""
    spec = setting.spec()
    machines = [Machine.build(spec, serial) for serial in range(1, SERIALS + 1)]
    return {name: np.array([of(machine) for machine in machines]) for name, (_, of, _) in QUANTITIES.items()}


def _check(name: str) -> Check:
    what, _, measured = QUANTITIES[name]

    def run(setting: Setting) -> Row:
        if setting.twin_file is None:
            raise SkippedError("no measured machine: give its parameter file (--twin FILE)")
        twin = load(setting.twin_file)
        return banded(what, measured(twin), _ensemble(setting)[name], setting.twin_file.name)

    return Check(name, run, "fitted", slow=True)


def banded(what: str, measured: Array, ensemble: Array, source: str) -> Row:
    """Where one measured array lies among those of many machines.

    Entries that are 0 are none (a dead input, the neighbour of the last channel).

    Args:
        what: the quantity.
        measured: (n,) or (2, n).
        ensemble: (serials, ...) the same of every machine.
        source: of the measurement.
    """
    if measured.shape != ensemble.shape[1:]:
        raise SkippedError(f"measured on {measured.shape[-1]} channels, the machine has {ensemble.shape[-1]}")
    present = np.where(ensemble == 0, np.nan, ensemble)
    live = (measured != 0) & ~np.isnan(present).all(axis=0)
    values = present[:, live]
    low, high = np.nanpercentile(values, BAND, axis=0)
    middle, seen = np.nanmean(values, axis=0), measured[live]
    inside = PER_CENT * float(np.mean((seen >= low) & (seen <= high)))
    spread = float(np.sqrt(np.mean(np.nanvar(values, axis=0))))
    off = np.abs(seen - middle)
    ratio = spread / float(np.sqrt(np.mean(off**2)))
    span = float(np.ptp(seen))
    first = measured if measured.ndim == 1 else measured[0]
    count = int(live.sum() if measured.ndim == 1 else live[0].sum())
    channel = np.flatnonzero(live if measured.ndim == 1 else live[0]).astype(float)
    return Row(
        f"{what}, {ensemble.shape[0]} serials",
        f"measured machine, {source}",
        PER_CENT * float(np.sqrt(np.mean(off**2))) / span,
        PER_CENT * float(off.max()) / span,
        f"range of the measured values, {span:.4g}",
        f"at least {INSIDE:g} % of channels in the {BAND[0]:g}-{BAND[1]:g} % band, spread at most {SPREAD:g} of the "
        "measured one",
        "pass" if inside >= INSIDE and ratio <= SPREAD else "fail",
        f"{inside:.0f} % of channels in the band, spread {ratio:.2f} of the measured one",
        Curve(
            channel,
            "channel",
            first[channel.astype(int)],
            middle[:count],
            what if measured.ndim == 1 else f"{what}, + arm",
            got_label="measured",
            want_label="mean of the serials",
            band=(low[:count], high[:count]),
            band_label="5 to 95 % of the serials",
        ),
    )


CHECKS: tuple[Check, ...] = tuple(_check(name) for name in QUANTITIES)
