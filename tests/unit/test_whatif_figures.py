"""What studies make of their points' figures, against closed forms."""

import numpy as np
import pytest
from scipy.stats import qmc

from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.scenarios.load import what_if
from aocsim.scenarios.whatif import sensitivity
from aocsim.scenarios.whatif.budget import interactions, share
from aocsim.scenarios.whatif.labels import edges_of, key_label, scale_of
from aocsim.scenarios.whatif.schema import limit_of
from aocsim.scenarios.whatif.sensitivity import indices
from aocsim.scenarios.whatif.store import Found


def test_independent_errors_add_in_squares():
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 3e-3, 100_000), rng.normal(0, 4e-3, 100_000)
    rms = [np.sqrt(np.mean(x**2)) for x in (one, two, one + two)]
    assert share("nrmse", rms[2], rms[1]) == pytest.approx(rms[0], rel=0.02)
    assert share("rms_shift", 3.0, 5.0) == pytest.approx(-4.0)  # a term that makes it better
    assert share("w2_machine", 5.0, 3.0) == 2.0


def test_terms_that_need_one_another_are_named():
    """Two that cost nothing alone and all together, one that does not care, and one too small to ask."""
    shares = np.array([[0.0, 1.0], [0.5, 0.45], [0.02, 0.0]])
    assert interactions(["both", "alone", "small"], shares) == ["both"]


def test_indices_of_ishigami_s_function():
    """Closed form, a = 7, b = 0.1: doi 10.1109/ISUMA.1990.151285."""
    a, b, n = 7.0, 0.1, 2**12
    u = qmc.Sobol(6, scramble=True, rng=np.random.default_rng(2)).random(n)
    x, y = np.pi * (2 * u[:, :3] - 1), np.pi * (2 * u[:, 3:] - 1)

    def f(z):
        return np.sin(z[:, 0]) + a * np.sin(z[:, 1]) ** 2 + b * z[:, 2] ** 4 * np.sin(z[:, 0])

    mixed = []
    for j in range(3):
        z = x.copy()
        z[:, j] = y[:, j]
        mixed.append(f(z))
    found = indices(np.array([f(x), f(y), *mixed]), seed=3)
    variance = a**2 / 8 + b * np.pi**4 / 5 + b**2 * np.pi**8 / 18 + 0.5
    first = np.array([0.5 * (1 + b * np.pi**4 / 5) ** 2, a**2 / 8, 0.0]) / variance
    third = 8 * b**2 * np.pi**8 / 225 / variance
    total = first + np.array([third, 0.0, third])
    np.testing.assert_allclose(found["first"], first, rtol=0, atol=0.02)
    np.testing.assert_allclose(found["total"], total, rtol=0, atol=0.02)
    for kind, exact in (("first", first), ("total", total)):
        assert np.all(found[f"{kind}_low"] - 0.01 <= exact) and np.all(exact <= found[f"{kind}_high"] + 0.01)
    again = indices(np.array([f(x), f(y), *mixed]), seed=3)
    np.testing.assert_array_equal(again["first_low"], found["first_low"])


def test_a_constant_leans_on_nothing():
    found = indices(np.ones((4, 8)), seed=1)
    assert not any(np.any(table) for table in found.values())


def test_limits():
    assert limit_of("< 0.1") == ("<", 0.1) and limit_of(">=2") == (">=", 2.0)
    for bad in ("0.1", "< x", "== 1", "< 1 V"):
        with pytest.raises(InputError, match="is no limit"):
            limit_of(bad)


def test_cells_of_a_map_stand_around_their_numbers():
    """On a logarithmic axis in the logarithm: an edge half a cell below the first number may not be below zero."""
    linear, log = edges_of([1.0, 2.0, 3.0]), edges_of([20.0, 200.0, 2000.0])
    np.testing.assert_allclose(linear, [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_allclose(log, 20.0 * 10.0 ** (np.arange(4) - 0.5))


def test_axes_are_in_units_in_which_numbers_are_read():
    assert scale_of([0.0, 0.06], "radian") == (1e3, "mrad")
    assert scale_of([2e6, 1e7], "hertz") == (1e-6, "MHz")
    assert scale_of([0.0, 2e-6], "s") == (1e6, "µs")
    assert scale_of([293.15, 303.15], "K") == (1.0, "K") and scale_of([20.0, 2000.0], "1") == (1.0, "")
    assert key_label("parts.poles.node", "MHz") == "poles: node (MHz)"


def test_of_a_figure_that_is_nothing_no_number_is_named_as_leant_on():
    """A share of nothing is no number, and must not be told as an enormous one."""
    library = Library.open()
    settings = {"factors": {"parts.slm.contrast": "10 %"}, "n": 4, "figures": ["saturated_fraction"]}
    scenario = what_if("sensitivity", "heart", library, settings)
    count = len(sensitivity.lay_out(scenario, library))
    design = 4 * 3
    found = [
        Found({"saturated_fraction": 0.01 * k if k < design else 0.0 if k == design else 0.1})
        for k in range(count)
    ]
    laid = sensitivity.lay(scenario, library, found)
    assert count > design + 1
    assert np.isnan(np.asarray(laid.variables["leaning"][1])).all()
    assert not any("leans" in text for text in (*laid.notes, *laid.summary))


def test_one_factor_alone_has_all_of_the_variance():
    values = np.random.default_rng(0).standard_normal((3, 256))
    values[2] = values[1]  # A with its only column from B is B
    found = indices(values, 1)
    assert found["first"].shape == found["total_low"].shape == (1,)
    assert found["first"][0] == pytest.approx(1.0, abs=0.15)
    assert found["total"][0] == pytest.approx(1.0, abs=0.15)
