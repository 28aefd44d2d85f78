"""Between the twin's parameters and the sheets of a machine: where each number of the file stands.

The file's numbers go into sheets of the measured laws, one a role; what such a measurement does not hold (noise,
flicker, poles, converters, the unit of light) comes from the library's typical machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aocsim.components import registry
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.spec import MachineSpec, PartSpec
from aocsim.twin.format import COLUMN, FIELDS, Measurement, Numbers, measurement
from aocsim.twin.sheet_text import Entries, entry_of, head, quantity, quoted, sheet_lines, written

TYPICAL = "aoc48"
"""The machine whose sheets give what the measurement does not hold."""

THROUGHPUT_SHARE = 0.6
"""Transmission of the typical modulator, which the measured column law has divided out."""

UNITS = {
    "volt": "V",
    "1/volt": "1/V",
    "1/volt**2": "1/V^2",
    "1/volt**3": "1/V^3",
    "volt/volt": "",
    "dimensionless": "",
    "watt": "W",
    "hertz": "Hz",
}


@dataclass(frozen=True)
class Place:
    """Where an entry's value stands in the file.

    Attributes:
        key: dotted; its whole value, unless one of the others says otherwise.
        item: one number of the list.
        column: this coefficient of every column's law.
        other: `item` of this key follows, so that the entry is a list of the + and the - arm's.
    """

    key: str
    item: int | None = None
    column: int | None = None
    other: str | None = None


def _arms(key: str, entry: str, column: int | None = None) -> dict[str, Place]:
    """Entries for both arms; `key` has a gap for "positive" or "negative"."""
    signs = {"plus": "positive", "minus": "negative"}
    return {f"{entry}_{arm}": Place(key.format(sign), column=column) for arm, sign in signs.items()}


def _leds(item: int) -> Place:
    return Place("led_poly_coeffs_pos", item, other="led_poly_coeffs_neg")


_WEIGHTS = "column_wise_weights_distortion.{}_row12"
_CLOSED, _OPEN = "close_loop_offset_and_scale.", "open_loop_offset_and_scale."

PLACES: Mapping[str, Mapping[str, Place]] = {
    "pair": {
        "slope": Place("tanh_sigmoid_coeffs", 0),
        "input_offset": Place("tanh_sigmoid_coeffs", 1),
        "exponent": Place("tanh_sigmoid_coeffs", 2),
        "swing": Place("tanh_sigmoid_coeffs", 3),
        "output_offset": Place("tanh_sigmoid_coeffs", 4),
        "feedthrough": Place("tanh_sigmoid_coeffs", 5),
    },
    "led": {"cubic": _leds(0), "quadratic": _leds(1), "linear": _leds(2), "constant": _leds(3)},
    "optics": {
        **_arms("row_profiles.{}_row12", "row"),
        **_arms("output_correction.{}", "output_correction"),
        **_arms("pd_crosstalk.ratio_to_earlier_{}_row12", "to_earlier"),
        **_arms("pd_crosstalk.ratio_to_later_{}_row12", "to_later"),
        **_arms(_WEIGHTS, "darkness", COLUMN - 1),
        "direct_plus": Place("pbs_crosstalk.negative_to_positive"),
        "direct_minus": Place("pbs_crosstalk.positive_to_negative"),
        **_arms("pd_crosstalk.pd_{}_darkness", "kept_detector_darkness"),
        "kept_best_to_worst": Place("best_to_worst_channels"),
    },
    "slm": {
        **_arms(_WEIGHTS, "quadratic", 0),
        **_arms(_WEIGHTS, "linear", 1),
        **_arms(_WEIGHTS, "darkness", 2),
    },
    "gains": {
        "scaling": Place(_CLOSED + "scaling"),
        "dc_offset": Place(_CLOSED + "dc_offset"),
        "linear_offset": Place(_CLOSED + "linear_offset"),
        "solution_to_adc_ratio": Place(_CLOSED + "solution_to_adc_ratio"),
        "kept_scaling_second_order": Place(_CLOSED + "scaling_second_order"),
        "kept_readout_dc_offset": Place(_CLOSED + "readout_dc_offset"),
        "kept_readout_linear_offset": Place(_CLOSED + "readout_linear_offset"),
        "kept_open_loop_offset": Place(_OPEN + "adc_offset"),
        "kept_open_loop_linear_offset": Place(_OPEN + "linear_offset"),
        **_arms("pd_offset.pd_offset_{}_row12", "kept_detector_offset"),
    },
    "node": {
        "negative_saturation": Place("saturation.negative_saturation"),
        "piece0_ends": Place("saturation.piece0_start_stop"),
        "piece0_constant": Place("saturation.piece0_constant"),
        "piece0_coefficient": Place("saturation.piece0_cosine_coeff"),
        "piece1_ends": Place("saturation.piece1_start_stop"),
        "piece1_polynomial": Place("saturation.piece1_polynomials"),
        "piece3_ends": Place("saturation.piece3_start_stop"),
        "piece3_polynomial": Place("saturation.piece3_polynomials"),
        "piece4_ends": Place("saturation.piece4_start_stop"),
        "piece4_phase": Place("saturation.piece4_first_constant"),
        "piece4_constant": Place("saturation.piece4_second_constant"),
        "positive_saturation": Place("saturation.positive_saturation"),
        "kept_drive_limits": Place("deq_input_min_max"),
    },
}
"""Role -> entry of its measured law -> where its value stands in the file."""

DESCRIBES = {
    "pair": "differential pair as measured, a fitted sigmoid",
    "led": "microLEDs and drivers as measured, a cubic for each arm",
    "optics": "fan-out and fan-in as measured, a number for each row, column and neighbour",
    "slm": "modulator as measured, a quadratic of the weight for each column and arm",
    "gains": "gains and offsets as measured in closed loop",
    "node": "summing amplifier as measured, a saturation in pieces",
}


def law_of(role: str) -> str:
    """The measured law of a role."""
    return next(law for law in registry.roles()[role] if law.endswith("_measured"))


def sheets_of(
    found: Measurement, name: str, library: Library, *, direct_light: bool = False
) -> dict[str, str]:
    """Texts of all sheets of a measured machine by sheet name, the machine's own, `name`, last.

    Args:
        found: the parameters.
        name: of the machine; the parts' sheets are called NAME_LAW without "_measured".
        library: where the typical machine's sheets are.
        direct_light: with the light that no pixel modulates.

    Raises:
        InputError: emitters whose light does not rise with the drive.
    """
    typical = library.machine(TYPICAL)
    digest = f", sha256 {found.sha256}" if found.sha256 else ""
    # the file's name alone: the same file gives the same sheets wherever it lies
    origin = Path(found.source).name.encode("utf-8", "replace").decode()
    source = f"{origin}{digest}"
    extra = _beside(found, typical, direct_light)
    sheets: dict[str, str] = {}
    lines = [
        *head(None, name, f"measured machine of {origin}"),
        f"channels = {found.channels}",
        "",
        "[parts]",
    ]
    for role in typical.parts:
        if role not in PLACES:
            continue
        law = law_of(role)
        sheet = f"{name}_{law.removesuffix('_measured')}"
        entries = {**extra[role], **measured_entries(found, role, source)}
        sheets[sheet] = "\n".join(sheet_lines(law, sheet, f"{DESCRIBES[role]}, {name}", entries))
        lines.append(f"{role} = {quoted(sheet)}")
    lines += [f"{role} = {quoted(typical.parts[role].name)}" for role in ("poles", "memory")]
    low, high = found.array("deq_input_min_max")
    ratio = found.number(_CLOSED + "solution_to_adc_ratio")
    lines += [
        "",
        "[parts.detector]  # the measured optics hold the outputs' efficiency, since it comes before the crosstalk",
        f"sheet = {quoted(typical.parts['detector'].name)}",
        'output_efficiency = { value = ["1", "1"], spread = "0 %" }',
        "",
        "[parts.dac]",
        f"sheet = {quoted(typical.parts['dac'].name)}",
        f"full_scale = {quoted(quantity(min(abs(low), abs(high)), 'V'))}",
        "",
        "[parts.digitiser]",
        f"sheet = {quoted(typical.parts['digitiser'].name)}",
        f'input_scale = "{ratio!r}"',
        "",
    ]
    sheets[name] = "\n".join(lines)
    return sheets


def machine_spec(
    found: Measurement, *, name: str = "twin", direct_light: bool = False, library: Library | None = None
) -> MachineSpec:
    """The validated sheets of a measured machine, without files; what no machine has is told by `aocsim.twin.build`.

    Args:
        found: the parameters.
        name: of the machine, which with the serial decides the mismatch of what has not been measured.
        direct_light: with the light that no pixel modulates.
        library: where the typical machine's sheets are; by default as `Library.open()`.
    """
    library = Library.open() if library is None else library
    sheets = sheets_of(found, name, library, direct_light=direct_light)
    return replace(library, given_sheets={**(library.given_sheets or {}), **sheets}).machine(name)


def measured_entries(found: Measurement, role: str, source: str) -> Entries:
    """The entries of a role's sheet that stand in the file."""
    wanted = registry.laws()[law_of(role)]
    entries: Entries = {}
    for entry, place in PLACES[role].items():
        unit = UNITS[wanted[entry].dimension]
        value = _at(found, place)
        texts = (
            [quantity(item, unit) for item in value] if isinstance(value, tuple) else quantity(value, unit)
        )
        valid = [quantity(float("-inf"), unit), quantity(float("inf"), unit)]
        if entry == "exponent":
            valid[0] = "1e-3"
        entries[entry] = {
            "value": texts,
            "basis": "M",
            "source": f"{place.key} of {source}",
            "valid": valid,
        }
    return entries


def measured_by(parts: Mapping[str, PartSpec], source: str) -> Measurement:
    """The parameters that a machine's sheets of measured laws hold.

    Raises:
        InputError: a role filled by another law, or sheets that contradict each other.
    """
    values: dict[str, Any] = {}
    filled: dict[tuple[str, int | None, int | None], str] = {}
    for role, entries in PLACES.items():
        if parts[role].law != law_of(role):
            raise InputError(
                f"is no sheet of law {law_of(role)!r}", key=f"parts.{role}", got=parts[role].name
            )
        for entry, place in entries.items():
            value = parts[role].value(entry)
            where = f"parts.{role}.{entry}"
            for target, item in _targets(place, value):
                known = filled.setdefault((target.key, target.item, target.column), where)
                before = values.get(target.key)
                values[target.key] = _put(before, target, item)
                if known != where and before is not None and values[target.key] != before:
                    raise InputError(f"contradicts {known}", key=where)
    return measurement({key: values[key] for key in FIELDS}, source)


def _targets(place: Place, value: Any) -> list[tuple[Place, Any]]:
    if place.other is not None:
        first, second = (float(item) for item in value)
        return [(Place(place.key, place.item), first), (Place(place.other, place.item), second)]
    plain = float(value) if isinstance(value, float | int) else [float(item) for item in value]
    return [(place, plain)]


def _put(before: Any, place: Place, value: Any) -> Any:
    """What stands at a key, with a number, a list, or one coefficient of every column filled in."""
    if place.column is not None:
        rows = [list(row) for row in before] if before else [[None] * COLUMN for _ in value]
        if len(rows) != len(value):
            raise InputError("lists of different length for one law", key=place.key, got=len(value))
        for row, number in zip(rows, value, strict=True):
            row[place.column] = number
        return rows
    if place.item is not None:
        kind = FIELDS[place.key]
        items = list(before) if before else [None] * (kind if isinstance(kind, int) else 0)
        items[place.item] = value
        return items
    return value


def _at(found: Measurement, place: Place) -> Numbers:
    values: Any = found.values[place.key]
    if place.other is not None:
        other: Any = found.values[place.other]
        return values[place.item], other[place.item]
    if place.item is not None:
        return float(values[place.item])
    if place.column is not None:
        return tuple(row[place.column] for row in values)
    return found.values[place.key]


def _beside(found: Measurement, typical: MachineSpec, direct_light: bool) -> dict[str, Entries]:
    """The entries that the file does not hold, by role."""
    nominal = Machine.build(typical, serial=None)
    wanted = float(sum(nominal.led.law(arm).slope(np.zeros(1))[0] for arm in (0, 1)))
    slope = sum(found.array(key).tolist()[2] for key in ("led_poly_coeffs_pos", "led_poly_coeffs_neg"))
    if not (slope > 0 and 0 < wanted / slope < math.inf):
        raise InputError(
            "the light must rise with the drive", file=found.source, key="led_poly_coeffs_pos.2", got=slope
        )
    unit = wanted / slope
    throughput = float(nominal.optics.throughput.mean()) * THROUGHPUT_SHARE
    chain = nominal.detector.responsivity * throughput * unit * nominal.detector.feedback_resistance
    led, gains, slm = (written(typical.parts[role]) for role in ("led", "gains", "slm"))
    derived = f"so that this machine's light has the slope of {TYPICAL}'s"
    room = {key: led[key] for key in ("reference_temperature", "operating_range")}
    return {
        "pair": {
            "slope_temperature_coefficient": entry_of(
                "-0.14 %/K", "X", "degenerated pair that fits such a law, at constant tail current", "1/K", 1
            ),
            **room,
        },
        "led": {
            "unit_light": entry_of(f"{unit!r} W", "X", derived, "W"),
            "bias_light": entry_of(f"{nominal.led.bias_power(0)!r} W", "X", f"bias light of {TYPICAL}", "W"),
            "bandwidth": entry_of(
                f"{nominal.led.bandwidth(0)!r} Hz", "X", f"carrier bandwidth of {TYPICAL}", "Hz"
            ),
            **{key: led[key] for key in ("thermal_droop", "temperature_rise")},
            **room,
        },
        "optics": {
            "throughput": entry_of(f"{throughput!r}", "X", f"throughput and panel of {TYPICAL}", ""),
            "pixel_structure": entry_of("1", "X", "the measured laws are products of rows and columns", ""),
            "darkness_light": entry_of(f"{unit!r} W", "X", "the unit of the measured light", "W"),
            "direct_share": entry_of(
                "1" if direct_light else "0",
                "A",
                "1 with direct light, 0 without, as the public twin by default",
                "",
            ),
        },
        "slm": {key: slm[key] for key in registry.laws()["slm_measured"] if key in slm},
        "gains": {
            "electrical_gain": entry_of(
                f"{1 / chain!r}", "X", "makes one volt of the measured gradient one volt at the node", ""
            ),
            **{
                key: gains[key]
                for key in registry.laws()["gains_measured"]
                if key in gains and "gain" not in key
            },
            **{key: gains[key] for key in ("alpha_gain", "gain_drift")},
        },
        "node": {},
    }
