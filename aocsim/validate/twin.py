"""The digital twin and the machine behind it: the published map, and each piece of physics that it leaves out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.library import Library
from aocsim.twin.format import Measurement, measurement, read_measurement, write_measurement
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, compared, within
from aocsim.validate.reference_twin import reference_step
from aocsim.validate.setups import heart_units, require_channels
from aocsim.validate.twin_missing import MISSING
from aocsim.validate.twin_setup import case_of

Array = NDArray[np.float64]

TITLE = "Digital twin of a measured machine"

MICROVOLT = 1e-6
HEART = {"samples": 256, "trials": 2, "solve.threads": 1}
NEAR = 1.15  # times the ideal's distance to the data

KEPT: Mapping[str, Mapping[str, str]] = {
    "optics": {
        "kept_detector_darkness_plus": "pd_crosstalk.pd_positive_darkness",
        "kept_detector_darkness_minus": "pd_crosstalk.pd_negative_darkness",
        "kept_best_to_worst": "best_to_worst_channels",
    },
    "gains": {
        "kept_scaling_second_order": "close_loop_offset_and_scale.scaling_second_order",
        "kept_readout_dc_offset": "close_loop_offset_and_scale.readout_dc_offset",
        "kept_readout_linear_offset": "close_loop_offset_and_scale.readout_linear_offset",
        "kept_open_loop_offset": "open_loop_offset_and_scale.adc_offset",
        "kept_open_loop_linear_offset": "open_loop_offset_and_scale.linear_offset",
        "kept_detector_offset_plus": "pd_offset.pd_offset_positive_row12",
        "kept_detector_offset_minus": "pd_offset.pd_offset_negative_row12",
    },
    "node": {
        "negative_saturation": "saturation.negative_saturation",
        "piece0_ends": "saturation.piece0_start_stop",
        "piece0_constant": "saturation.piece0_constant",
        "piece0_coefficient": "saturation.piece0_cosine_coeff",
        "piece1_ends": "saturation.piece1_start_stop",
        "piece1_polynomial": "saturation.piece1_polynomials",
        "piece3_ends": "saturation.piece3_start_stop",
        "piece3_polynomial": "saturation.piece3_polynomials",
        "piece4_ends": "saturation.piece4_start_stop",
        "piece4_phase": "saturation.piece4_first_constant",
        "piece4_constant": "saturation.piece4_second_constant",
        "positive_saturation": "saturation.positive_saturation",
        "kept_drive_limits": "deq_input_min_max",
    },
}
"""Role -> entry -> key of the file, for entries that no other row tells apart: a list of its own, after their names."""


def step_row(setting: Setting) -> Row:
    """The map against the second implementation, at states from rail to rail."""
    case = case_of(setting)
    rng = np.random.default_rng(1)
    z = rng.uniform(-3.0, 3.0, case.drive.shape)
    x = rng.uniform(-1.5, 1.5, case.drive.shape)
    got, want = [], []
    for direct in (False, True):
        got.append(
            case.twin.step(
                z, case.weights, bias=case.drive, x=x, alpha=case.alpha, beta=case.beta, direct_light=direct
            )
        )
        rows = [
            reference_step(
                case.twin.measurement,
                z[k].tolist(),
                case.weights.tolist(),
                case.drive[k].tolist(),
                x[k].tolist(),
                case.alpha.tolist(),
                case.beta,
                direct,
            )
            for k in range(len(z))
        ]
        want.append(np.array(rows))
    return _within_microvolt(
        "one step of the twin, direct light off and on",
        "the published forward pass, written out number by number",
        np.array(got),
        np.array(want),
        case.origin,
    )


def round_trip_row(setting: Setting) -> Row:
    """Numbers that come back from sheets and file other than they went in, and those that stand in another's place.

    A number that acts on the loop is seen by the rows of the machine. One that is only kept, or acts beyond the linear
    range, would come back from a wrong entry as well as from its own.
    """
    from aocsim.twin.sheets import machine_spec, measured_by

    found = case_of(setting).twin.measurement
    through = measured_by(machine_spec(found).parts, "sheets")
    with tempfile.TemporaryDirectory() as folder:
        back = read_measurement(write_measurement(through, Path(folder) / "back.yaml"))
    wrong = [key for key, value in found.values.items() if repr(back.values[key]) != repr(value)]
    told = marked(found)
    parts = machine_spec(told).parts
    for role, entries in KEPT.items():
        for entry, key in entries.items():
            stands = np.atleast_1d(parts[role].value(entry))
            if not np.array_equal(stands, np.atleast_1d(np.asarray(told.values[key]))):
                wrong.append(f"{role}.{entry} is not {key}")
    total = float(len(found.values) + sum(map(len, KEPT.values())))
    return within(
        "keys that come back bit for bit from file -> sheets -> file, and entries that hold what their name says",
        "the file itself; for what acts on no other row a second list of places",
        total - len(wrong),
        total,
        total,
        unit="keys and entries",
        reason="; ".join(wrong[:3]) or "all as they were",
    )


def marked(found: Measurement) -> Measurement:
    """A measurement with another number at each place of `KEPT`, so that two of them cannot be taken for each other."""
    values, count = dict(found.values), 0
    for entries in KEPT.values():
        for key in entries.values():
            shape = np.shape(found.values[key])
            size = int(np.prod(shape, dtype=int))
            marks = np.arange(count, count + size, dtype=float).reshape(shape)
            values[key] = marks.tolist()
            count += size
    return measurement(values, "marked")


def rest_row(setting: Setting, direct: bool) -> Row:
    """Fixed points of the physical machine against the twin's."""
    case = case_of(setting)
    want = case.fixed_point(direct_light=direct)
    got = case.rest(case.loop(case.machine(direct_light=direct)))
    return _within_microvolt(
        f"steady state of the machine built from the twin, direct light {'on' if direct else 'off'}",
        "the twin's fixed point; rounding, noise and flicker left out",
        got,
        want,
        f"{case.origin}; largest difference {np.abs(got - want).max():.2g} V, all stable",
        Curve(
            want.ravel(),
            "fixed point of the twin (V)",
            (got - want).ravel() / MICROVOLT,
            np.zeros(want.size),
            "machine less twin (µV)",
        ),
    )


def heart_row(setting: Setting) -> Row:
    """The shipped heart on the imported machine, trimmed on its bench."""
    from aocsim.scenarios.run import run_scenario
    from aocsim.twin.folder import write_sheets
    from aocsim.twin.sheets import sheets_of

    case, library = case_of(setting), Library.open()
    require_channels(case.machine(), heart_units(library), "the heart")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "components").mkdir()
        write_sheets(root / "components", sheets_of(case.twin.measurement, "measured", library))
        changes = HEART | {"machine": "measured", "serial": setting.serial, "seed": setting.seed + 1}
        data = run_scenario("heart", library=root, overrides=changes)
    found = json.loads(data.attrs["summary"])
    machine, ideal = found["w2_machine"], found["w2_ideal"]
    return within(
        f"heart on the imported machine, {HEART['samples']} samples, trimmed on the bench: W2 to the data",
        f"ideal sampler from the same noise, W2 {ideal:.4g}: at most {PER_CENT * (NEAR - 1):.0f} % more",
        machine / ideal,
        0.0,
        NEAR,
        unit="of the ideal's",
        reason=f"W2 {machine:.4g}, rms shift {found['rms_shift']:.3g}, per-step NRMSE "
        f"{found['nrmse_step_ideal_mean']:.2g}, settling {found['settling_us_median']:.3g} us; {case.origin}",
    )


def _within_microvolt(
    what: str, against: str, got: Array, want: Array, reason: str, curve: Curve | None = None
) -> Row:
    limit = PER_CENT * MICROVOLT / float(np.ptp(want))
    return compared(
        what,
        against,
        got,
        want,
        rms=limit,
        maximum=limit,
        span_name=f"range of {np.ptp(want):.3g} V; the limit is 1 µV",
        reason=reason,
        curve=curve,
    )


CHECKS: tuple[Check, ...] = (
    Check("twin_step", step_row, "second implementation"),
    Check("twin_round_trip", round_trip_row, "shared inputs"),
    Check("twin_machine", lambda setting: rest_row(setting, False), "second implementation"),
    Check("twin_machine_direct_light", lambda setting: rest_row(setting, True), "second implementation"),
    *MISSING,
    Check("twin_heart", heart_row, "second implementation", slow=True),
)
