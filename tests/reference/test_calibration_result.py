"""Results of a calibration: the public twin's format against the fit's own equations, and the Dataset's errors."""

import numpy as np
import pytest
from scipy.linalg import expm

import aocsim.twin
from aocsim.calibration.chain import NAMES, Chain
from aocsim.calibration.closed import ClosedFit, Electronics
from aocsim.calibration.joint import Fitted
from aocsim.calibration.result import dataset_of, twin_of
from aocsim.twin.format import read_measurement, write_measurement

BETA = 18.6


def some_chain(n=7):
    rng = np.random.default_rng(2)
    return Chain(
        np.array([3.4, -0.02, 4.1, 0.004]),
        np.array([[-0.22, -0.07, 5e-4], [-0.26, -0.08, 4e-4]]),
        rng.uniform(0.8, 1.2, (2, n)),
        np.stack(
            [rng.uniform(-0.2, -0.1, (2, n)), rng.uniform(0.7, 0.9, (2, n)), rng.uniform(0.03, 0.06, (2, n))],
            -1,
        ),
        rng.uniform(0, 0.3, (2, n - 1)),
        rng.uniform(0, 0.3, (2, n - 1)),
        rng.normal(0, 0.01, n),
        rng.normal(0, 0.001, n),
        np.ones((2, n)),
    )


def some_electronics(n=7):
    rng = np.random.default_rng(3)
    return Electronics(rng.normal(1, 0.03, n), np.ones(n), np.ones(n), rng.normal(0, 0.005, n))


def test_the_twin_of_a_calibration_is_the_fits_own_map(tmp_path):
    """Weights, drives, gains and relaxations at random; after writing and reading the file, too."""
    chain, electronics = some_chain(), some_electronics()
    n, rng = chain.channels, np.random.default_rng(4)
    path = write_measurement(twin_of(chain, electronics, limit=1.3), tmp_path / "twin.yaml")
    twin = aocsim.twin.Twin(read_measurement(path))
    share = rng.uniform(-1, 1, (n, n))
    share /= np.abs(share).max()
    z, bias, alpha = rng.normal(0, 0.4, (5, n)), rng.normal(0, 0.2, (5, n)), rng.uniform(0, 0.9, n)
    split = np.stack([np.maximum(share, 0), np.maximum(-share, 0)])
    opened = chain.response(split, z, np.full(5, BETA))
    constant = chain.offset + BETA * chain.offset_per_beta
    want = electronics.gradient * (opened - constant) + constant + electronics.offset + alpha * z + bias
    got = twin.step(z, share.T, bias=bias, alpha=alpha, beta=BETA)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    plain = aocsim.twin.Twin(twin_of(chain, limit=1.3)).step(z, share.T, alpha=0.0, beta=BETA)
    np.testing.assert_allclose(plain, opened, rtol=0, atol=1e-12)


def test_the_file_makes_a_machine_that_is_straight_where_the_experiments_were():
    chain, electronics = some_chain(48), some_electronics(48)
    twin = aocsim.twin.Twin(twin_of(chain, electronics, limit=1.3))
    machine = twin.machine()
    assert machine.node.linear_low == pytest.approx(-1.5) and machine.node.linear_high == pytest.approx(1.5)
    np.testing.assert_allclose(machine.gains.closed_loop_gain, electronics.gradient, rtol=1e-12)


def fits(n=7):
    chain, rng = some_chain(n), np.random.default_rng(5)
    size = len(chain.vector)
    skew = 0.02 * rng.standard_normal((size, size))
    turn = expm(skew - skew.T)
    covariance = turn @ np.diag(rng.uniform(1, 4, size) * 1e-8) @ turn.T
    identified = np.ones(size, dtype=bool)
    identified[-1] = False
    opened = Fitted(chain, covariance, identified, np.linspace(1, 0, size), {"sweep": 1e-3}, 4)
    closed = ClosedFit(some_electronics(n), 1e-8 * np.eye(4 * n), rng.normal(0, 1e-4, (6, n)), 0)
    return opened, closed


def test_every_parameter_has_value_error_unit_and_name(tmp_path):
    opened, closed = fits()
    data = dataset_of(opened, closed, {"machine": "made up"})
    for name, variable in data.variables.items():
        assert variable.attrs["units"] and variable.attrs["long_name"], name
    error = np.sqrt(np.diagonal(opened.covariance))
    found = np.concatenate([data[f"{name}_error"].values.ravel() for name in NAMES])
    np.testing.assert_allclose(found, error)
    assert data["retardance_identified"].values.tolist() == [[1] * 7, [1] * 6 + [0]]
    np.testing.assert_allclose(np.diagonal(data["correlation"]), 1.0, rtol=1e-6)
    assert np.abs(data["correlation"]).max() <= 1 + 1e-6
    np.testing.assert_allclose(data["alpha_gain_error"], 1e-4)
    data.to_netcdf(tmp_path / "calibration.nc")
    assert (tmp_path / "calibration.nc").stat().st_size < 2**20


def test_what_was_held_has_neither_error_nor_correlation():
    opened, _ = fits()
    opened.covariance[0] = opened.covariance[:, 0] = 0.0
    data = dataset_of(opened)
    assert data["pair_error"].values[0] == 0.0
    assert np.all(data["correlation"].values[0] == 0.0)
    assert "gradient_gain" not in data


@pytest.mark.parametrize("name", NAMES)
def test_the_vector_holds_every_parameter_in_order(name):
    chain = some_chain()
    numbered = chain.replaced(np.arange(len(chain.vector), dtype=float))
    np.testing.assert_array_equal(numbered.vector, np.arange(len(chain.vector)))
    assert getattr(numbered, name).shape == getattr(chain, name).shape
