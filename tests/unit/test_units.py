"""Quantities as text: every spelling that must be read, and the whole matrix of those that must not."""

import contextlib
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.units import (
    NotAQuantityError,
    QuantityError,
    UnknownUnitError,
    WrongDimensionError,
    check_dimension,
    format_si,
    is_percentage,
    to_si,
)

SPELLINGS = [
    ("5 MHz", "hertz", 5e6),
    ("5MHz", "hertz", 5e6),
    (" 5  MHz ", "hertz", 5e6),
    ("5e6 1/s", "hertz", 5e6),
    ("5e6/s", "hertz", 5e6),
    ("1 Hz", "hertz", 1.0),
    ("inf Hz", "hertz", math.inf),
    ("-0.33 %/K", "1/kelvin", -0.0033),
    ("12 um", "meter", 12e-6),
    ("12 µm", "meter", 12e-6),
    ("1e7 1/s", "1/second", 1e7),
    ("2e-11 cm^3/s", "meter^3/second", 2e-17),
    ("1e-30 cm**6/s", "meter^6/second", 1e-42),
    ("500", "dimensionless", 500.0),
    ("+.5", "dimensionless", 0.5),
    ("10 %", "dimensionless", 0.1),
    ("5 %", "volt/volt", 0.05),
    ("0.5 V/V", "volt/volt", 0.5),
    ("0.5", "volt/volt", 0.5),
    ("200 ppm", "dimensionless", 200e-6),
    ("0.1 mV", "volt", 1e-4),
    ("4 nV/sqrt(Hz)", "volt/hertz^0.5", 4e-9),
    ("4 nV/Hz^0.5", "volt/hertz^0.5", 4e-9),
    ("0.27 A/W", "ampere/watt", 0.27),
    ("10 kohm", "ohm", 1e4),
    ("10 kΩ", "ohm", 1e4),
    ("20 pF", "farad", 20e-12),
    ("15 mrad", "radian", 0.015),
    ("180 degree", "radian", math.pi),
    ("60 rpm", "radian/second", 2 * math.pi),
    ("25 degC", "kelvin", 298.15),
    ("25 °C", "kelvin", 298.15),
    ("1 mV/h", "volt/second", 1e-3 / 3600),
    ("3 mV/degC", "volt/kelvin", 3e-3),
    ("1 mV V^-1", "dimensionless", 1e-3),
    ("2 pA/(V s)", "ampere/(volt*second)", 2e-12),
]


@pytest.mark.parametrize(("text", "dimension", "value"), SPELLINGS)
def test_every_spelling(text, dimension, value):
    assert to_si(text, dimension) == pytest.approx(value, rel=1e-15)


def test_decimal_prefixes_are_exact():
    # The float must be the one that the literal in SI gives, else a sheet in mV and one in V differ.
    assert to_si("12 um", "meter") == 12e-6
    assert to_si("31.83 ns", "second") == 31.83e-9
    assert to_si("2e-11 cm^3/s", "meter^3/second") == 2e-17


EXAMPLES = {
    "volt": "1 mV",
    "ampere": "1 mA",
    "second": "1 us",
    "hertz": "1 MHz",
    "kelvin": "1 K",
    "1/kelvin": "1 %/K",
    "watt": "1 mW",
    "watt/ampere": "1 mW/uA",
    "ampere/watt": "1 A/W",
    "meter": "1 um",
    "ohm": "1 kohm",
    "farad": "1 pF",
    "radian": "1 mrad",
    "radian/second": "1 rad/s",
    "dimensionless": "1",
    "meter^3/second": "1 cm^3/s",
    "volt/hertz^0.5": "1 nV/sqrt(Hz)",
    "joule": "1 pJ",
}


@pytest.mark.parametrize("dimension", EXAMPLES)
def test_matrix_of_wrong_dimensions(dimension):
    for other, text in EXAMPLES.items():
        if {dimension, other} == {"watt/ampere", "volt"}:
            continue  # W/A is V
        if other == dimension:
            assert math.isfinite(to_si(text, dimension))
        else:
            with pytest.raises(WrongDimensionError) as caught:
                to_si(text, dimension)
            assert repr(text) in str(caught.value)


def test_a_volt_is_a_watt_per_ampere():
    assert to_si("3 mV", "watt/ampere") == 3e-3


@pytest.mark.parametrize("text", ["nan", "nan V", "-nan V", "NaN V"])
def test_nan_is_refused(text):
    with pytest.raises(NotAQuantityError):
        to_si(text, "volt")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "V",
        "five V",
        "1,5",
        "1e",
        "--1 V",
        "1..2 V",
        "1.2.3 V",
        "infinity V",
        "٣ V",
        "1e999 V",
        "1e9999 V",
    ],
)
def test_not_a_quantity(text):
    with pytest.raises(QuantityError):
        to_si(text, "volt")


@pytest.mark.parametrize(
    "text",
    [
        "5 bogus",
        "5 mhz",
        "5 V + 2 V",
        "5 2 V",
        "5 (V",
        "5 V)",
        "5 ()",
        "5 __class__",
        "5 V**9**9**9",
        "5 V^9999",
        "5 V^^2",
        "5 V*",
        "5 *V",
        "5 V//A",
        "0x10 V",
        "1_000 V",
        "3 dB",
        "3 dBm",
        "3 dB/K",
        "5 V;A",
        "5 V\nA=",
    ],
)
def test_unknown_units(text):
    with pytest.raises(UnknownUnitError):
        to_si(text, "volt" if "dB" not in text else ("watt" if "dBm" in text else "dimensionless"))


@pytest.mark.parametrize("value", [5, 5.0, True, None, ["5 V"]])
def test_only_text_is_a_quantity(value):
    with pytest.raises(NotAQuantityError):
        to_si(value, "volt")


def test_infinity_is_not_reached_by_overflow():
    with pytest.raises(NotAQuantityError):
        to_si("1e400", "dimensionless")
    assert to_si("-inf", "dimensionless") == -math.inf


def test_temperature_differences():
    assert to_si("2 degC", "kelvin", difference=True) == 2.0
    assert to_si("9 degF", "kelvin", difference=True) == pytest.approx(5.0)
    assert to_si("2 K", "kelvin", difference=True) == 2.0


def test_errors_are_value_errors_with_problem_and_text():
    with pytest.raises(ValueError) as caught:
        to_si("5 mA", "volt")
    assert isinstance(caught.value, QuantityError)
    assert caught.value.text == "5 mA"
    assert str(caught.value) == "must be a quantity in volt, not in 'mA'; got '5 mA'"


def test_percentage():
    assert is_percentage("10 %")
    assert is_percentage("10%")
    assert not any(map(is_percentage, ["0.1", "10 %/K", "10 ppm", "% 10", ""]))


@pytest.mark.parametrize(
    "dimension", ["volt", "kilogram", "dimensionless", "1/kelvin", "volt/hertz^0.5", "radian"]
)
def test_dimension_is_coherent(dimension):
    check_dimension(dimension)


@pytest.mark.parametrize("dimension", ["millivolt", "percent", "gram", "degC", "decibel", "bogus", "minute"])
def test_dimension_with_a_scale_is_refused(dimension):
    with pytest.raises(ValueError):
        check_dimension(dimension)


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (5e6, "hertz", "5 MHz"),
        (999.9999999e-3, "volt", "1 V"),
        (1e-3, "volt", "1 mV"),
        (-2.5e-9, "second", "-2.5 ns"),
        (0.0, "volt", "0 V"),
        (math.inf, "hertz", "inf Hz"),
        (-0.0033, "1/kelvin", "-0.0033 1/K"),
        (0.5, "volt/volt", "0.5"),
        (500.0, "dimensionless", "500"),
        (298.15, "kelvin", "298.15 K"),
        (2e-17, "meter^3/second", "2e-17 m^3/s"),
        (0.27, "ampere/watt", "270 mA/W"),
        (1e-20, "volt", "1e-05 fV"),
        (3.0, "candela", "3 cd"),
    ],
)
def test_format(value, dimension, text):
    assert format_si(value, dimension) == text


@given(
    st.floats(allow_nan=False, min_value=-1e200, max_value=1e200).filter(lambda x: x == 0 or abs(x) > 1e-200),
    st.sampled_from([*EXAMPLES, "candela", "meter^6/second", "kilogram", "volt*second"]),
)
def test_format_and_read_round_trip(value, dimension):
    assert to_si(format_si(value, dimension, digits=17), dimension) == pytest.approx(value, rel=1e-14)
    assert to_si(format_si(value, dimension), dimension) == pytest.approx(value, rel=1e-5)


@given(st.text(alphabet="0123456789.eE+-*/^() VmAsHz%µ", max_size=20))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(QuantityError):
        assert not math.isnan(to_si(text, "volt"))


def test_pint_is_imported_late():
    code = (
        "import sys; from aocsim.units import to_si; assert to_si('500', 'dimensionless') == 500;"
        "sys.exit('pint' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
    )
