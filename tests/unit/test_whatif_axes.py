"""Ranges and lists of what is varied: their values, units and what is refused."""

import numpy as np
import pytest

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.scenarios.whatif.axes import axis_of, names_of, parse_vary
from aocsim.units import to_si


@pytest.fixture(scope="module")
def spec():
    return Library.open().machine("aoc48")


def test_ranges_of_a_sheet_are_in_its_unit(spec):
    axis = axis_of("parts.poles.node", "1 MHz:16 MHz:log:5", spec)
    np.testing.assert_allclose(axis.labels, 1e6 * 2.0 ** np.arange(5), rtol=1e-12)
    assert axis.unit == "hertz" and axis.logarithmic
    # what is set reads back as the number that labels it
    assert [to_si(str(value), "hertz") for value in axis.values] == pytest.approx(list(axis.labels))
    plain = axis_of("parts.slm.contrast", "50:5000:log:3", spec)
    assert plain.values == ("50", "500", "5000") and plain.unit == "1"


def test_whole_numbers_stay_whole_where_all_are(spec):
    assert axis_of("samples", "8:64:log:4", spec).values == (8, 16, 32, 64)
    assert axis_of("compile.beta", "20:21:lin:3", spec).values == (20.0, 20.5, 21.0)
    assert axis_of("diffusion.steps", "4,8,16", spec).values == (4, 8, 16)


def test_times_temperatures_and_words(spec):
    hours = axis_of("environment.temperature", "293 K:303 K:lin:3", spec)
    np.testing.assert_allclose(hours.labels, [293, 298, 303])
    assert hours.unit == "K"
    words = axis_of("diffusion.method", "heun,implicit_euler", spec)
    assert words.labels == ("heun", "implicit_euler") and not words.is_numeric
    spread = axis_of("parts.slm.contrast.spread", "0 %,10 %", spec)
    np.testing.assert_allclose(spread.labels, [0.0, 0.1])


@pytest.mark.parametrize(
    ("key", "values", "told"),
    [
        ("parts.slm.contrst", "1,2", r"did you mean 'parts.slm.contrast'"),
        ("parts.slmm.contrast", "1,2", r"did you mean 'slm'"),
        ("parts.poles.node", "1 us:2 us:lin:3", r"parts\.poles\.node"),
        ("parts.slm.contrast", "50:5000:9", "is not a range"),
        ("parts.slm.contrast", "50:5000:log:1", "too few or too many"),
        ("parts.slm.contrast", "-5:50:log:3", "above 0"),
        ("parts.slm.contrast", "50:50:lin:3", "must be finite and differ"),
        ("parts.slm.contrast", "50,50", "twice"),
        ("environment.temperature", "293 K:20 degC:lin:3", "same unit"),
        ("compile.beta", [], "no values"),
        ("compile.beta", "", "no values"),
        ("compile.beta", 3.0, "a range or a list"),
    ],
)
def test_bad_axes_are_refused_by_name(spec, key, values, told):
    with pytest.raises(InputError, match=told):
        axis_of(key, values, spec)


@pytest.mark.parametrize("text", ["a.b", "a.b=", "=3", "a b=3"])
def test_malformed_arguments_are_refused(text):
    with pytest.raises(InputError):
        parse_vary(text)


def test_names_are_short_and_tell_apart(spec):
    keys = ("parts.dac.bits", "parts.slm.bits", "compile.beta", "parts.slm.contrast.spread")
    axes = [axis_of(key, "4,8" if "spread" not in key else "0 %,1 %", spec) for key in keys]
    assert list(names_of(axes, {"beta"}).values()) == [
        "dac_bits",
        "slm_bits",
        "compile_beta",
        "contrast_spread",
    ]
