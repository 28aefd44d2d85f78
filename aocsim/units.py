"""Quantities as text at the border; plain SI floats inside.

Sheets, scenarios and the command line carry numbers with their units ("5 MHz", "-0.33 %/K"); `to_si` checks
the dimension and strips the unit. Only this module knows pint, and imports it when first needed.
"""

from __future__ import annotations

import math
import re
import tokenize
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import pint

    Registry = pint.UnitRegistry[Decimal]
    Unit = pint.registry.Unit

_NUMBER = re.compile(
    r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?|[+-]?(?:inf|nan)\b)(?![0-9.])(.*)",
    re.DOTALL,
)
_POWER = r"(?:\^|\*\*)\s*-?\d{1,2}(?:\.\d{1,2})?"
# The grammar of units is checked before pint sees the text, because pint evaluates any arithmetic in it.
_UNIT = re.compile(
    rf"(?:[^\W\d]\w*|[%°]\w*|1(?=\s*/)|\((?=\S)|\)|{_POWER}(?!\s*(?:\^|\*))|/(?!\s*/)|[*·]|\s+)*"
)
_ROOT = re.compile(r"sqrt\(\s*([^\W\d]\w*)\s*\)")
_LONGEST = 200
# What pint raises on unit texts it cannot use.
_PINT_REFUSALS = (
    AttributeError, ValueError, TypeError, ArithmeticError, AssertionError, IndexError, SyntaxError,
    tokenize.TokenError,
)  # fmt: skip
_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
# Named in one word, so that a prefix can be set before the symbol; compound units are built from these.
_SYMBOLS = {
    "volt": "V", "second": "s", "ampere": "A", "hertz": "Hz", "watt": "W", "kelvin": "K", "meter": "m",
    "metre": "m", "ohm": "ohm", "farad": "F", "henry": "H", "joule": "J", "coulomb": "C", "radian": "rad",
}  # fmt: skip


class QuantityError(ValueError):
    """A text is not the quantity it should be.

    Attributes:
        problem: what is wrong, without the text itself.
        text: the offending text.
    """

    def __init__(self, problem: str, text: object) -> None:
        """Keep both; str() joins them."""
        super().__init__(problem, text)
        self.problem = problem
        self.text = text

    def __str__(self) -> str:
        """One message: the problem and the text."""
        return f"{self.problem}; got {self.text!r}"


class NotAQuantityError(QuantityError):
    """The text is not a number followed by a unit."""


class UnknownUnitError(QuantityError):
    """The unit is not known, or not usable in a quantity."""


class WrongDimensionError(QuantityError):
    """The unit is known but measures something else."""


@lru_cache(maxsize=1)
def _registry() -> Registry:
    import pint

    # Decimal arithmetic keeps "12 um" the float nearest to 12e-6, without the noise of chained factors.
    return pint.UnitRegistry(non_int_type=Decimal)


@lru_cache(maxsize=1024)
def _unit(text: str) -> Unit:
    """The pint unit of a unit expression; '' and '1' are dimensionless."""
    expression = _ROOT.sub(r"\1^0.5", text.strip()).replace("·", "*")
    if not _UNIT.fullmatch(expression):
        raise UnknownUnitError("the unit is not a product of known units and powers", text)
    if expression.startswith("/"):
        expression = "1" + expression
    try:
        unit = _registry().parse_units(expression or "dimensionless")
        _registry().get_root_units(unit)  # dB/K parses, but has no root
    except _PINT_REFUSALS as error:
        raise UnknownUnitError(f"unknown unit {text.strip()!r}", text) from error
    return unit


def _exponents(unit: Unit) -> dict[str, float]:
    """Exponents of the base units. Unlike pint's dimensionality they tell rad/s from 1/s and 1 from rad."""
    _, root = _registry().get_root_units(unit)
    return {str(name): round(float(cast(float, power)), 6) for name, power in root._units.items() if power}


def to_si(text: str, dimension: str, *, difference: bool = False) -> float:
    """The value of a quantity in the SI unit `dimension`.

    >>> to_si("5 MHz", "hertz")
    5000000.0
    >>> to_si("-0.33 %/K", "1/kelvin")
    -0.0033

    An angle is not a plain number here: a text in Hz is refused for "radian/second", and the other way round.

    Args:
        text: number and unit, "12 um", "1e7 1/s", "inf Hz", "25 degC"; a number alone where the dimension is
            a plain ratio.
        dimension: unit expression in SI base or derived units without prefix, "volt", "watt/ampere",
            "1/kelvin", "dimensionless".
        difference: the quantity is a difference, so that 2 degC means 2 K.

    Returns:
        The value; may be infinite, never NaN.

    Raises:
        NotAQuantityError: not a number with a unit, or NaN.
        UnknownUnitError: a unit that does not exist or has no proportional scale (dB).
        WrongDimensionError: a quantity of another kind, or a unit where none belongs or none where one does.
    """
    if not isinstance(text, str):
        raise NotAQuantityError("must be text, a number with its unit", text)
    return _to_si(text, dimension, difference)


@lru_cache(maxsize=4096)
def _to_si(text: str, dimension: str, difference: bool) -> float:
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise NotAQuantityError("is not a number with a unit", text)
    number, suffix = found.group(1), found.group(2).strip()
    if number.endswith("nan"):
        raise NotAQuantityError("must not be NaN", text)
    if not suffix and dimension == "dimensionless":  # the commonest case needs no pint
        return _finite_if_written_so(float(number), number, text)
    try:
        unit = _unit(suffix)
    except UnknownUnitError as error:
        raise UnknownUnitError(error.problem, text) from error
    wanted = _unit(dimension)
    if _exponents(unit) != _exponents(wanted):
        if not _exponents(wanted):
            raise WrongDimensionError(f"must be a plain number or ratio, which {suffix!r} is not", text)
        came = f"not in {suffix!r}" if suffix else "the number has no unit"
        raise WrongDimensionError(f"must be a quantity in {dimension}, {came}", text)
    return _convert(Decimal(number), unit, wanted, difference, text)


def _convert(number: Decimal, unit: Unit, wanted: Unit, difference: bool, text: str) -> float:
    registry = _registry()
    scale_is_proportional = all(registry._is_multiplicative(name) for name in unit._units)
    if not scale_is_proportional:
        if str(wanted) != "kelvin":
            raise UnknownUnitError("logarithmic units are ambiguous here, give the plain ratio", text)
        if difference:
            unit = registry.parse_units(f"delta_{unit}")
    try:
        value = float(registry.convert(number, unit, wanted))
    except (InvalidOperation, ArithmeticError) as error:
        raise NotAQuantityError("is out of the range of floating-point numbers", text) from error
    return _finite_if_written_so(value, str(number), text)


def _finite_if_written_so(value: float, number: str, text: str) -> float:
    if math.isinf(value) and "inf" not in number.lower():
        raise NotAQuantityError("is too large for a floating-point number", text)
    return value


def is_percentage(text: str) -> bool:
    """Whether a quantity's unit is exactly the per cent sign, as in "10 %"."""
    found = _NUMBER.fullmatch(text)
    return found is not None and found.group(2).strip() == "%"


def check_dimension(dimension: str) -> None:
    """Refuse a `dimension` that is not a coherent SI unit expression.

    Raises:
        ValueError: unknown, or scaled ("millivolt", "percent"), which would make values mean something else.
    """
    unit = _unit(dimension)
    registry = _registry()
    base = registry.get_base_units(unit)
    if not math.isclose(float(cast(float, base[0])), 1.0, rel_tol=1e-12) or not all(
        registry._is_multiplicative(name) for name in unit._units
    ):
        raise ValueError(f"dimension {dimension!r} is not a plain SI unit")


@lru_cache(maxsize=256)
def _symbol(dimension: str) -> tuple[str, bool]:
    """Unit symbol that `to_si` reads back, and whether an engineering prefix may precede it."""
    unit = _unit(dimension)
    if not unit._units:
        return "", False
    names = [name for name in re.findall(r"[a-z]+", dimension) if name not in _SYMBOLS]
    if names:
        return f"{unit:~C}", False
    symbol = re.sub(r"[a-z]+", lambda match: _SYMBOLS[match.group()], dimension)
    first_is_linear = re.match(r"[a-z]+(?![a-z]|\s*(?:\^|\*\*))", dimension)
    return symbol, first_is_linear is not None and not dimension.startswith("kelvin")


def format_si(value: float, dimension: str, digits: int = 6) -> str:
    """A value in SI as text for people, with an engineering prefix where the unit takes one.

    >>> format_si(5e6, "hertz")
    '5 MHz'

    Args:
        value: in the SI unit `dimension`.
        dimension: as in `to_si`, which reads the text back (to `digits` significant digits).
        digits: significant digits.
    """
    # Rounded first: 999.9999999 mV shall read 1 V.
    rounded = float(f"{value:.{digits}g}")
    exponent, unit = engineering(rounded, dimension)
    scaled = float(Decimal(repr(rounded)).scaleb(-exponent)) if exponent else rounded
    return f"{scaled:.{digits}g} {unit}".rstrip()


def engineering(value: float, dimension: str) -> tuple[int, str]:
    """Power of ten, and the unit with the prefix for it, in which a value reads as 1 to 1000.

    >>> engineering(5e6, "hertz")
    (6, 'MHz')

    Args:
        value: in the SI unit `dimension`.
        dimension: as in `to_si`.

    Returns:
        0 and the bare unit, empty for plain numbers, where no prefix may stand before it.
    """
    symbol, takes_prefix = _symbol(dimension)
    if not takes_prefix or value == 0 or not math.isfinite(value):
        return 0, symbol
    exponent = min(max(3 * math.floor(math.log10(abs(value)) / 3 + 1e-12), -15), 12)
    return exponent, f"{_PREFIXES[exponent]}{symbol}"


def same_dimension(one: str, other: str) -> bool:
    """Whether two unit expressions measure the same.

    >>> same_dimension("(volt)*(ampere)*(second)", "joule")
    True

    Args:
        one: products of units, as in `to_si`; "dimensionless" may be a factor.
        other: likewise.

    Raises:
        UnknownUnitError: a unit that does not exist.
    """
    return _exponents(_unit(one)) == _exponents(_unit(other))
