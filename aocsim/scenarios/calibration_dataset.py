"""From a run of kind "calibration" to its sheet, a Dataset with provenance, and the files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from aocsim.calibration.chain import NAMES
from aocsim.calibration.closed import Electronics
from aocsim.calibration.measure import Taken
from aocsim.calibration.panel import parabolas_alone
from aocsim.calibration.record import write_record
from aocsim.calibration.result import dataset_of, described, twin_of
from aocsim.calibration.transient_fit import transient_variables
from aocsim.record import Variables, assemble
from aocsim.scenarios.attributes import attributes_of
from aocsim.scenarios.calibrate import Errors, Found, Setup
from aocsim.significance import LEVEL

if TYPE_CHECKING:
    import xarray

Array = NDArray[np.float64]

RECORD, TWIN = "experiments.nc", "twin.yaml"
NOTABLE = 0.01  # of the experiments: from here on those left out are worth a note


def calibration_dataset(
    setup: Setup, found: Found, measured_seconds: float, wall_seconds: float
) -> xarray.Dataset:
    """The calibration's sheet: parameters with errors, errors of held-out predictions, ranges, provenance.

    Args:
        setup: of the scenario.
        found: by both stages.
        measured_seconds: wall time of the experiments.
        wall_seconds: wall time of all.
    """
    scenario = setup.scenario
    sheet = dataset_of(found.opened, found.closed)
    extra = assemble({**_variables(found), **_transients(found), **_truth(setup, found)}, {}, {})
    data = sheet.assign({str(name): extra[name] for name in extra.data_vars})
    attributes = {
        **attributes_of(
            scenario,
            setup.spec,
            notes=notes_of(setup, found),
            summary=summary_of(found),
            wall_seconds=wall_seconds,
        ),
        "machine": found.record.machine,
        "data_sha256": found.record.digest,
        "drive_limit": found.record.facts.drive_full_scale,
        **ranges_of(found),
        "wall_seconds_measuring": measured_seconds,
    }
    data.attrs = {**sheet.attrs, **attributes}
    return data


def _transients(found: Found) -> Variables:
    if found.transients is None or found.record.transients is None:
        return {}
    return transient_variables(found.transients, found.record.transients)


def _truth(setup: Setup, found: Found) -> Variables:
    """What the parameters are, where the machine that was measured is the simulated one."""
    # the truth is that of the sheets' own temperature
    if found.record.machine != setup.label or setup.scenario.temperature is not None:
        return {}
    from aocsim.calibration.truth import as_built

    chain, _ = as_built(setup.spec, setup.scenario.serial)
    out: dict[str, tuple[tuple[str, ...], Any, str, str]] = {}
    for name in NAMES:
        dimensions, unit, told = described(name)
        out[f"{name}_truth"] = (dimensions, getattr(chain, name), unit, f"as built: {told}")
    if found.closed is not None:
        alpha = np.broadcast_to(setup.machine.gains.alpha_gain, len(found.live))
        out["alpha_gain_truth"] = (
            ("channel",),
            alpha,
            "1",
            "as built: relaxation that arrives over the one set",
        )
    if found.transients is not None:
        out["pole_truth"] = (("channel",), setup.machine.poles.node, "Hz", "as built: pole of the node")
    return out


def ranges_of(found: Found) -> dict[str, float]:
    """What the experiments have seen, as attributes: the twin is not proven beyond."""
    fitted = [one for one in found.record.taken if one.block.stage != "closed"]
    beta = np.concatenate([one.beta[one.beta > 0] for one in found.record.taken])
    # with the loop open the drive stands at the pairs, with it closed the node's own voltage
    seen = [np.abs(one.condition).max() for one in fitted]
    alpha = [0.0]
    if found.rests is not None:
        seen.append(np.abs(found.rests.rest).max())
        alpha.append(found.rests.alpha.max())
    return {
        "seen_drive_v": float(max(seen)),
        "seen_beta_min": float(beta.min()),
        "seen_beta_max": float(beta.max()),
        "seen_alpha_max": float(max(alpha)),
    }


def summary_of(found: Found) -> dict[str, float | None]:
    """Flat figures of merit; None where there is no number."""
    out: dict[str, float] = {}
    if found.errors is not None:
        out |= _told("open_loop", found.errors, "dedicated_nrmse_mean")
        out["nominal_nrmse_mean"] = float(np.mean(found.errors.nominal))
    closed, errors = found.closed, found.closed_errors
    if closed is not None and errors is not None and found.left_out is not None:
        out |= _told("closed_loop", errors, "open_loop_alone_nrmse_mean")
        out["nominal_closed_loop_nrmse_mean"] = float(np.mean(errors.nominal))
        out |= {f"closed_loop_{why}": float(count) for why, count in found.left_out.items()}
        out["closed_loop_rests_not_found"] = float(closed.lost + np.isnan(errors.fitted).sum())
    if found.transients is not None:
        ratio = found.transients.chi_squared / found.transients.degrees
        out["transient_chi_squared_mean"] = float(ratio.mean())
        out["transient_chi_squared_max"] = float(ratio.max())
        out["pole_mhz_mean"] = 1e-6 * float(found.transients.pole.mean())
    out["unidentified"] = float(_unidentified(found).sum())
    out["parameters"] = float(found.opened.identified.sum()) + (
        0.0 if closed is None else 4.0 * len(found.live)
    )
    record = found.record
    out["experiments"] = float(record.experiments)
    out["solves"] = float(record.solves)
    out["bench_s"] = record.ended
    return {key: value if np.isfinite(value) else None for key, value in out.items()}


def _told(stage: str, errors: Errors, before: str) -> dict[str, float]:
    good = errors.fitted[np.isfinite(errors.fitted)]
    if not len(good):
        return {f"{stage}_nrmse_mean": np.nan, f"{stage}_nrmse_p95": np.nan, f"{stage}_n": 0.0}
    return {
        f"{stage}_nrmse_mean": float(np.mean(good)),
        f"{stage}_nrmse_p95": float(np.percentile(good, 95)),
        f"{stage}_n": float(len(good)),
        before: float(np.nanmean(errors.before)),
    }


def _unidentified(found: Found) -> NDArray[np.bool_]:
    """Parameters of which the data say nothing, those of inputs that do not shine left out."""
    chain = found.opened.chain
    wanted = chain.replaced(np.ones(len(chain.vector)))
    wanted.row[:, ~found.live] = 0.0
    return np.logical_and(wanted.vector > 0, ~found.opened.identified)


def notes_of(setup: Setup, found: Found) -> list[str]:
    """What a reader has to know to judge the calibration."""
    out = []
    if setup.record is not None:
        out.append(f"the experiments come from a file, of {found.record.machine}; no machine was asked")
    if setup.scenario.hours_later:
        out.append(f"what was held out was measured {setup.scenario.hours_later:g} h after the rest")
    dead = np.flatnonzero(~found.live).tolist()
    if dead:
        out.append(f"inputs that do not shine: {', '.join(map(str, dead))}")
    count = int(_unidentified(found).sum())
    if count:
        out.append(
            f"the experiments say nothing of {count} parameters, which stand where the first fit left them"
        )
    if found.transients is not None:
        fit = found.transients
        beyond = np.flatnonzero(chi2.sf(fit.chi_squared, fit.degrees) < LEVEL / len(fit.pole)).tolist()
        if beyond:
            out.append(
                f"one pole does not explain the transients of {len(beyond)} of {len(fit.pole)} channels, such as "
                f"{beyond[0]}: chi-squared over its {fit.degrees} degrees of freedom is "
                f"{np.mean(fit.chi_squared) / fit.degrees:.3g} on the mean"
            )
    if found.left_out is not None and found.closed_errors is not None:
        total = sum(one.block.experiments for one in found.record.stage("closed"))
        told = ", ".join(f"{number} {why}" for why, number in found.left_out.items() if number)
        if told:
            out.append(f"of {total} experiments with the loop closed, left out: {told}")
    return out


def _variables(found: Found) -> Variables:
    """Errors of predictions, and residuals by channel."""
    variables: dict[str, tuple[tuple[str, ...], Any, str, str]] = {}
    stages = {
        "open": (found.errors, "the dedicated experiments alone"),
        "closed": (found.closed_errors, "the open loop alone"),
    }
    for stage, (errors, before) in stages.items():
        if errors is None:
            continue
        axis = f"{stage}_held_out"
        over = "root mean square error over the range of the outputs, held-out experiment"
        variables |= {
            f"{stage}_nrmse": ((axis,), errors.fitted, "1", f"{over}, {stage} loop"),
            f"{stage}_nrmse_before": ((axis,), errors.before, "1", f"{over}, by {before}"),
            f"{stage}_nrmse_nominal": ((axis,), errors.nominal, "1", f"{over}, by the data sheets"),
            f"{stage}_held_out_residual": (
                (axis, "channel"),
                errors.residual,
                "V",
                "held-out read-out less predicted",
            ),
        }
    top = found.record.facts.grey_levels
    names = [
        stage for stage in dict.fromkeys(one.block.stage for one in found.record.taken) if stage != "closed"
    ]
    if names:
        by_stage = [_residual(found.record.stage(stage), found, top) for stage in names]
        told = "root mean square of read-out less predicted, all experiments of the stage"
        variables["stage_residual"] = (("stage", "channel"), np.array(by_stage), "V", told)
        variables["stage_name"] = (("stage",), np.array(names), "1", "stage of the open loop")
    return variables


def _residual(taken: list[Taken], found: Found, top: int) -> Array:
    chain = found.opened.chain
    left = [one.mean - chain.response(one.block.grey / top, one.condition, one.beta) for one in taken]
    return np.asarray(np.sqrt(np.mean(np.concatenate(left) ** 2, axis=0)))


def write_beside(data: xarray.Dataset, setup: Setup, found: Found, folder: Path) -> None:
    """The experiments, the twin in the public format, and pictures."""
    from aocsim.calibration.pictures import write_pictures
    from aocsim.twin.format import write_measurement

    if setup.record is None:
        write_record(found.record, folder / RECORD)
    electronics = Electronics.ideal(len(found.live)) if found.closed is None else found.closed.electronics
    twin = twin_of(
        parabolas_alone(found.opened.chain), electronics, limit=found.record.facts.drive_full_scale
    )
    write_measurement(twin, folder / TWIN)
    write_pictures(data, folder)
