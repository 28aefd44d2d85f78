r"""The twin's parameters that a machine of measured laws holds, with what its other sheets make of them.

The sheets of the measured laws hold the parameters themselves. They act as the twin's as long as the light's way to the
node has the gain that they were measured with, and nothing else adds light:

.. math:: q^\pm_j = R_f\,G\,\rho\,T\,U\,\epsilon^\pm_j = 1                                                    (1)

(transimpedance, electrical gain, responsivity, throughput, unit of light as warm as it is, efficiency of the output).
Sheets that have been changed may make something else of it. The format can carry that without loss:

- q goes into the output correction, o -> q o. The twin's crosstalk follows the output correction, so that the ratio of
  neighbour i to output j takes q_j/q_i;
- light that no emitter moves, and that the twin puts at the crosstalk's darkness, goes into the offset in beta;
- a factor on all pixels goes into the rows, and out of the direct light, which passes no pixel;
- bias light that no clamp takes away goes into the constant of the emitters;
- limits of the drive and the read-out's scale are those of the converters.

What it cannot carry is an alpha that arrives as another one than was set.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.components.microled_measured import MeasuredMicroLed
from aocsim.errors import InputError
from aocsim.machine import Machine
from aocsim.spec import MachineSpec
from aocsim.twin.format import Measurement, measurement
from aocsim.twin.reach import check_reach
from aocsim.twin.sheets import PLACES, law_of, measured_by

Array = NDArray[np.float64]

SAME = 1e-12  # relative: numbers that differ by rounding alone stay as they were measured
_CLOSED = "close_loop_offset_and_scale."
_SIGNS = ("positive", "negative")


def holds_its_measurement(spec: MachineSpec, machine: Machine) -> bool:
    """Whether the sheets' numbers are the machine's: measured laws for its channels, nothing drawn onto them.

    Args:
        spec: its sheets.
        machine: as built from them.
    """
    for role, entries in PLACES.items():
        part = spec.parts[role]
        if part.law != law_of(role):
            return False
        if machine.serial is not None and any(part[entry].spread for entry in entries):
            return False
        listed = (part.value(entry) for entry in entries if part.wanted[entry].shape == 0)
        if any(np.size(value) != machine.channels for value in listed):
            return False  # stretched over another number of channels
    bias = [1 - machine.detector.bias_light_rejection[arm] for arm in (0, 1)]
    return _even(machine.optics.structure) and all(map(_even, bias))


def held_by(spec: MachineSpec, machine: Machine, source: str) -> Measurement:
    """The parameters of a twin that rests where this machine does.

    Args:
        spec: sheets of a machine that `holds_its_measurement`.
        machine: as built from them.
        source: what to call it in messages.

    Raises:
        InputError: sheets that contradict each other, no light at the node, an error of the alpha path, or laws that
            the machine leaves.
    """
    check_reach(machine)
    found = measured_by(spec.parts, source)
    assert isinstance(machine.led, MeasuredMicroLed)
    unit = machine.led.coefficients[0][2] / float(found.array("led_poly_coeffs_pos")[2])
    _check_path(spec, machine, unit)
    values: dict[str, Any] = dict(found.values)
    _converters(machine, found, values)
    _bias_light(machine, found, values, unit)
    _pixels(machine, found, values)
    _gain(machine, found, values, unit)
    return measurement(values, source)


def folded_keys(found: Measurement, spec: MachineSpec) -> list[str]:
    """Keys of `held_by`'s result at which it is not what the sheets of the measured laws say."""
    plain = measured_by(spec.parts, found.source).values
    return [key for key, value in found.values.items() if value != plain[key]]


def _even(values: Array) -> bool:
    return bool(np.ptp(values) <= SAME * np.abs(values).max())


def _is(value: Array | float, other: Array | float) -> bool:
    return np.allclose(value, other, rtol=SAME, atol=0)


def _check_path(spec: MachineSpec, machine: Machine, unit: float) -> None:
    """Refuse what the format holds no number for: an alpha that is off, and a light path of no gain."""
    alpha = spec.parts["gains"]["alpha_gain"]
    if alpha.value != 1:
        raise InputError(
            "the twin's format holds no error of the alpha path",
            key="parts.gains.alpha_gain",
            got=alpha.text,
            allowed="1",
        )
    for place, value in (
        ("gains.electrical_gain", machine.gains.electrical_gain),
        ("detector.responsivity", machine.detector.responsivity),
        ("detector.feedback_resistance", machine.detector.feedback_resistance),
        ("detector.output_efficiency", float(machine.detector.output_efficiency.min())),
        ("optics.throughput", float(machine.optics.throughput[0])),
        ("optics.pixel_structure", float(machine.optics.structure.flat[0])),
        ("led.unit_light", unit),
        ("digitiser.input_scale", machine.digitiser.input_scale),
    ):
        if not 0 < value < np.inf:
            raise InputError(
                "no gain that the twin's format can carry",
                key=f"parts.{place}",
                got=value,
                allowed="more than 0 and finite",
            )


def _converters(machine: Machine, found: Measurement, values: dict[str, Any]) -> None:
    """The converters' own range and scale, which the sheets of the measured laws only keep."""
    limit, scale = machine.dac.full_scale, machine.digitiser.input_scale
    values["deq_input_min_max"] = (-limit, limit)
    ratio = found.number(_CLOSED + "solution_to_adc_ratio")
    if scale != ratio:
        values[_CLOSED + "solution_to_adc_ratio"] = scale
        for key in ("dc_offset", "linear_offset"):
            values[_CLOSED + key] = (found.array(_CLOSED + key) * (ratio / scale)).tolist()


def _bias_light(machine: Machine, found: Measurement, values: dict[str, Any], unit: float) -> None:
    for arm, short in enumerate(("pos", "neg")):
        left = 1 - float(machine.detector.bias_light_rejection[arm, 0])
        if left:
            law = found.array(f"led_poly_coeffs_{short}")
            law[3] += left * machine.led.bias_power(arm) / unit
            values[f"led_poly_coeffs_{short}"] = law.tolist()


def _pixels(machine: Machine, found: Measurement, values: dict[str, Any]) -> None:
    """A factor on all pixels, and the share of the direct light that there is: the twin knows all of it or none."""
    optics = machine.optics
    factor = float(optics.structure.flat[0])
    leaks = ("pbs_crosstalk.negative_to_positive", "pbs_crosstalk.positive_to_negative")
    whole = found.arms(*leaks) * optics.column
    lit = whole != 0
    share = float(np.mean(optics.direct[lit] / whole[lit])) if lit.any() else 0.0
    wanted = (share if share and not _is(share, 1.0) else 1.0) / factor
    for sign, leak in zip(_SIGNS, leaks, strict=True):
        rows = f"row_profiles.{sign}_row12"
        if not _is(factor, 1.0):
            values[rows] = (found.array(rows) * factor).tolist()
        if not _is(wanted, 1.0):
            values[leak] = (found.array(leak) * wanted).tolist()


def _gain(machine: Machine, found: Measurement, values: dict[str, Any], unit: float) -> None:
    """Equation (1), and the light that no emitter moves."""
    n, detector, optics = machine.channels, machine.detector, machine.optics
    chain = detector.responsivity * detector.feedback_resistance * machine.gains.electrical_gain
    gain = chain * unit * optics.throughput[:, None] * detector.output_efficiency
    extra = np.zeros((2, n))
    for arm, sign in enumerate(_SIGNS):
        q = gain[arm]
        keys = [f"pd_crosstalk.ratio_to_{side}_{sign}_row12" for side in ("earlier", "later")]
        earlier, later = map(found.array, keys)
        if not _even(q):
            earlier[1:] *= q[:-1] / q[1:]
            later[:-1] *= q[1:] / q[:-1]
            values |= {keys[0]: earlier.tolist(), keys[1]: later.tolist()}
        if not _is(q, 1.0):
            key = f"output_correction.{sign}"
            values[key] = (found.array(key) * q).tolist()
        dark = found.array(f"column_wise_weights_distortion.{sign}_row12")[:, 2]
        taken = np.zeros(n)
        taken[:-1] += earlier[1:] * dark[1:]
        taken[1:] += later[:-1] * dark[:-1]
        # light at the detector over that of the twin's unit on all of its rows
        light = q * n * optics.baseline[arm] / (optics.throughput[arm] * unit)
        if not np.allclose(light, -taken, rtol=SAME, atol=SAME * np.abs(taken).max()):
            extra[arm] = light + taken
    if extra.any():
        key = _CLOSED + "linear_offset"
        ratio = values[_CLOSED + "solution_to_adc_ratio"]
        values[key] = (np.array(values[key]) + (extra[0] - extra[1]) / (n * ratio)).tolist()
