"""From a measurement to its machine, with every refusal told in the terms of the measurement's own file.

What can be read can still be no machine: an amplifier whose pieces do not meet, light that falls with the drive. The
parts refuse it under the names of their sheets, which nobody has seen who has written none of them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aocsim.errors import InputError
from aocsim.library import FOLDERS, Library
from aocsim.machine import Machine
from aocsim.spec import MachineSpec
from aocsim.twin.format import Measurement
from aocsim.twin.reach import check_reach, check_sizes
from aocsim.twin.sheets import PLACES, law_of, machine_spec, sheets_of

LARGEST_SERIAL = 2**63 - 1
LIMITS = "deq_input_min_max"

_BESIDE = {
    "parts.dac.full_scale": LIMITS,
    "parts.digitiser.input_scale": "close_loop_offset_and_scale.solution_to_adc_ratio",
    "parts.node": "saturation",
}
"""Keys of the machine's sheet, and of refusals, that are no entry of a measured law."""

_INSTEAD = {"parts.pair.swing": "a smaller swing, or emitters whose light rises further"}
"""What is allowed, where the part that refuses names entries which a measurement does not have."""


def checked_serial(serial: object) -> int | None:
    """A serial number, or None for the nominal machine.

    Raises:
        InputError: something else.
    """
    if serial is None:
        return None
    try:
        number = operator.index(serial)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(serial, bool) or not 0 <= number <= LARGEST_SERIAL:
        raise InputError("must be a whole number", key="serial", got=serial, allowed="0 to 2^63 - 1")
    return number


def checked_spec(
    found: Measurement, *, name: str = "twin", direct_light: bool = False, library: Library | None = None
) -> MachineSpec:
    """`machine_spec` of a measurement that can be a machine's; arguments as there.

    Raises:
        InputError: what no sheet can hold, with the measurement's file and key.
    """
    _check_numbers(found)
    with _told(found, name):
        return machine_spec(found, name=name, direct_light=direct_light, library=library)


def checked_machine(
    found: Measurement,
    *,
    name: str = "twin",
    direct_light: bool = False,
    library: Library | None = None,
    serial: int | None = None,
) -> Machine:
    """The machine of a measurement, with all its laws in tables; arguments as in `checked_spec`.

    Raises:
        InputError: what no machine can be built from, with the measurement's file and key.
    """
    spec = checked_spec(found, name=name, direct_light=direct_light, library=library)
    with _told(found, name), np.errstate(all="ignore"):
        machine = Machine.build(spec, serial)
        machine.pair.stage()
        machine.node.stage()
        for arm in (0, 1):
            machine.led.law(arm)
        check_reach(machine)
    return machine


def checked_sheets(
    found: Measurement, name: str, library: Library, *, direct_light: bool = False
) -> dict[str, str]:
    """`sheets_of` of a measurement whose nominal machine has been built, under names that are free.

    Raises:
        InputError: as `checked_machine`, or a sheet that would stand before another one of the library.
    """
    _check_numbers(found)
    sheets = sheets_of(found, name, library, direct_light=direct_light)
    for sheet, text in sheets.items():
        for folder in library.folders:
            _check_free(folder / FOLDERS["parts"] / f"{sheet}.toml", text)
    checked_machine(found, name=name, direct_light=direct_light, library=library)
    return sheets


def _check_free(path: Path, text: str) -> None:
    try:
        same = not path.is_file() or path.read_bytes() == text.encode()
    except OSError:
        same = False  # whatever it is, it is found by this name
    if not same:
        raise InputError(
            "is in the library with another content, and would be hidden by the new sheet",
            file=path,
            key="name",
            got=path.stem,
            allowed="a name that no sheet has",
        )


def _check_numbers(found: Measurement) -> None:
    """What can be told from the file's numbers alone."""
    check_sizes(found)
    _check_limits(found)
    _check_slopes(found)


def _check_limits(found: Measurement) -> None:
    """Refuse limits of the drive that the machine's converters, which are symmetric, do not have."""
    low, high = found.array(LIMITS).tolist()
    if low != -high or not high > 0:
        raise InputError(
            "the machine's converters clip at the same volts either way",
            file=found.source,
            key=LIMITS,
            got=[low, high],
            allowed="[-V, V] with V more than 0",
        )


def _check_slopes(found: Measurement) -> None:
    """Refuse light that falls with the drive, or with the weight, at its own number."""
    for short, sign in (("pos", "positive"), ("neg", "negative")):
        _check_rising(
            found, f"led_poly_coeffs_{short}.2", found.array(f"led_poly_coeffs_{short}")[2], "drive"
        )
        key = f"column_wise_weights_distortion.{sign}_row12"
        for j, law in enumerate(found.array(key)):
            _check_rising(found, f"{key}.{j}.1", law[1], "weight")


def _check_rising(found: Measurement, key: str, slope: float, what: str) -> None:
    if not slope > 0:
        raise InputError(
            f"the light must rise with the {what}",
            file=found.source,
            key=key,
            got=float(slope),
            allowed="more than 0",
        )


@contextmanager
def _told(found: Measurement, name: str) -> Iterator[None]:
    """Refusals of sheets that stand in no file yet, told as those of the measurement's file."""
    try:
        yield
    except InputError as error:
        place = "" if error.file is None else error.file.removesuffix(".toml")
        if error.file is not None and place != name and not place.startswith(f"{name}_"):
            raise  # a fault of a sheet that the library holds
        raise InputError(
            error.problem,
            file=found.source,
            key=_key_in_file(error.key or "", place.removeprefix(f"{name}_")),
            got=error.got,
            allowed=_INSTEAD.get(error.key or "", error.allowed),
            nearest=error.nearest,
        ) from error
    except ValueError as error:  # of a table that does not come out finite
        raise InputError(f"makes no machine: {error}", file=found.source) from error


def _key_in_file(key: str, sheet: str) -> str:
    """The measurement's key for "parts.ROLE.ENTRY", or for "entries.ENTRY" of a sheet's."""
    steps = key.split(".")
    role = next((role for role in PLACES if law_of(role) == f"{sheet}_measured"), "")
    if steps[0] == "parts":
        role, steps = steps[1], steps[1:]
    place = PLACES.get(role, {}).get(steps[1]) if len(steps) > 1 else None
    if place is None:
        return _BESIDE.get(key, key)
    return place.key if place.item is None else f"{place.key}.{place.item}"
