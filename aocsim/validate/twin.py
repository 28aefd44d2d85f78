"""The digital twin and the machine behind it: the published map, and each piece of physics that it leaves out."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, compared, within
from aocsim.validate.reference_twin import reference_step
from aocsim.validate.twin_missing import MISSING
from aocsim.validate.twin_setup import case_of

Array = NDArray[np.float64]

TITLE = "Digital twin of a measured machine"

MICROVOLT = 1e-6
HEART = {"samples": 256, "trials": 2, "solve.threads": 1}
NEAR = 1.15  # times the ideal's distance to the data


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
    """Numbers that come back from sheets and file other than they went in."""
    from aocsim.twin.format import read_measurement, write_measurement
    from aocsim.twin.sheets import machine_spec, measured_by

    found = case_of(setting).twin.measurement
    through = measured_by(machine_spec(found).parts, "sheets")
    with tempfile.TemporaryDirectory() as folder:
        back = read_measurement(write_measurement(through, Path(folder) / "back.yaml"))
    changed = [key for key, value in found.values.items() if repr(back.values[key]) != repr(value)]
    total = float(len(found.values))
    return within(
        "keys of the file that come back bit for bit from file -> sheets -> file",
        "the file itself",
        total - len(changed),
        total,
        total,
        unit="keys",
        reason=", ".join(changed[:3]) or "all as they were",
    )


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

    case = case_of(setting)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "components").mkdir()
        from aocsim.library import Library

        write_sheets(root / "components", sheets_of(case.twin.measurement, "measured", Library.open()))
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
        expected=1.0,
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
    Check("twin_step", step_row),
    Check("twin_round_trip", round_trip_row),
    Check("twin_machine", lambda setting: rest_row(setting, False)),
    Check("twin_machine_direct_light", lambda setting: rest_row(setting, True)),
    *MISSING,
    Check("twin_heart", heart_row, slow=True),
)
