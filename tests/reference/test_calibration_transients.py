"""Poles, delays and relaxations from transients: made-up ones with known noise, and those of a machine as built."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot

from aocsim.bench import SimulatedBench
from aocsim.calibration import pictures
from aocsim.calibration.transient_fit import _model, fit_transients, transient_variables
from aocsim.calibration.transients import (
    ALPHAS,
    ENDS,
    LEAST_TRIALS,
    SAMPLES,
    Traces,
    take_transients,
    transient_block,
)
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.record import assemble

TIME = np.arange(SAMPLES) / 4.6875e6
N = 24


def truth(seed):
    """f, t_0, k, d and the offsets of N channels."""
    rng = np.random.default_rng(seed)
    rows = [rng.normal(5e6, 5e4, N), rng.uniform(0, 20e-9, N), rng.normal(1, 3e-3, N), rng.normal(1, 1e-3, N)]
    return np.concatenate([rows, rng.normal(0, 2e-3, (len(ALPHAS), N))])


def made_up(seed, trials=150, second_pole=None):
    """Traces of the closed form, written out here, with noise that hangs together from sample to sample."""
    rng, values = np.random.default_rng(seed), truth(seed)
    alpha = np.repeat(np.array(ALPHAS)[:, None], N, axis=1)
    drive = np.array(ENDS)[:, None] * (1 - alpha[:, None])
    pole, delay, k, d = values[:4]
    late = np.maximum(TIME[:, None] - delay, 0.0)
    mean = np.empty((len(ALPHAS), len(ENDS), SAMPLES, N))
    for a in range(len(ALPHAS)):
        left = 1 - k * alpha[a]
        slow = left * 2 * np.pi * pole
        step = 1 - np.exp(-slow * late)
        if second_pole:
            fast = 2 * np.pi * second_pole
            step = 1 - (fast * np.exp(-slow * late) - slow * np.exp(-fast * late)) / (fast - slow)
        for m in range(len(ENDS)):
            mean[a, m] = (d * drive[a, m] + values[4 + a]) / left * step
    apart = np.abs(TIME[:, None] - TIME)
    spread = 1e-6 * (0.5 * np.eye(SAMPLES) + 0.5 * np.exp(-apart / 0.5e-6))
    factor = np.linalg.cholesky(spread)
    noise = np.einsum("ij,amtjn->amtin", factor, rng.standard_normal((*mean.shape[:2], trials, SAMPLES, N)))
    read = mean[:, :, None] + noise
    off = noise - noise.mean(axis=2, keepdims=True)
    covariance = np.einsum("amtin,amtjn->anij", off, off, optimize=True) / (len(ENDS) * (trials - 1))
    return Traces(TIME, alpha, drive, read.mean(axis=2), covariance, trials, 5e6, 0.0)


def test_derivatives_are_those_of_differences():
    traces, x = made_up(0, trials=5), truth(0)[:, 3]
    _, by = _model(x, traces, 3)
    for i, value in enumerate(x):
        step = np.zeros_like(x)
        step[i] = 1e-5 * max(abs(value), 1e-9 if i == 1 else 1e-3)
        up, down = (_model(x + s * step, traces, 3)[0] for s in (1, -1))
        scale = np.abs(by[..., i]).max()
        np.testing.assert_allclose(by[..., i] / scale, (up - down) / (2 * step[i]) / scale, rtol=0, atol=1e-5)


def test_intervals_hold_the_truth_and_chi_squared_is_its_degrees_of_freedom():
    """576 parameters: 68 % of them within one standard error, give or take 8 %."""
    pulls, chi = [], []
    for seed in range(6):
        fit = fit_transients(made_up(seed))
        found = np.array([fit.pole, fit.delay, fit.alpha, fit.drive])
        pulls.append((found - truth(seed)[:4]) / fit.error)
        chi.append(fit.chi_squared / fit.degrees)
    assert 0.60 < np.mean(np.abs(pulls) < 1) < 0.76
    # 631 degrees of freedom: 0.056 a channel, less than 0.01 in the mean of 144
    assert np.mean(chi) == pytest.approx(1.0, abs=0.04)


def test_a_second_pole_is_told_by_chi_squared():
    fit = fit_transients(made_up(1, second_pole=2e6))
    assert np.all(fit.chi_squared / fit.degrees > 1.5)


def bench_of(serial):
    return SimulatedBench(Machine.build(Library.open().machine("aoc48"), serial), seed=serial)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Traces of a machine as built, with noise and drift, and the folder that keeps them."""
    folder = tmp_path_factory.mktemp("kept")
    bench = bench_of(5)
    block = transient_block(bench.capabilities, trials=100)
    return block, take_transients(block, lambda name, clock: bench, folder), folder


def test_a_machine_with_one_pole_is_explained(recorded):
    """Poles and relaxations as built; the loop has no dead time."""
    machine = bench_of(5)._machine
    fit = fit_transients(recorded[1])
    assert np.mean(fit.chi_squared) / fit.degrees == pytest.approx(1.0, abs=0.1)
    pulls = (
        np.array([fit.pole - machine.poles.node, fit.delay, fit.alpha - machine.gains.alpha_gain])
        / fit.error[:3]
    )
    assert np.all(np.sqrt(np.mean(pulls**2, axis=1)) < 1.5)
    assert fit.error[0].max() < 2e3 and fit.error[1].max() < 1e-10 and fit.error[2].max() < 1e-5


def test_what_was_recorded_is_read_back(recorded, tmp_path):
    block, traces, folder = recorded

    def never(name, clock):
        raise AssertionError("the bench is asked again")

    again = take_transients(block, never, folder)
    for name in ("time", "alpha", "drive", "mean", "covariance", "ended", "bandwidth"):
        np.testing.assert_array_equal(getattr(again, name), getattr(traces, name))
    with pytest.raises(InputError, match="of another calibration"):
        take_transients(block, never, folder, clock=1.0)
    (tmp_path / "transients.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="damaged"):
        take_transients(block, never, tmp_path)


def test_bad_traces_are_refused(recorded):
    traces = recorded[1]
    with pytest.raises(InputError, match="too few trials"):
        fit_transients(replace(traces, trials=LEAST_TRIALS - 1))
    with pytest.raises(InputError, match="samples of channel 0 have no covariance"):
        fit_transients(replace(traces, covariance=np.zeros_like(traces.covariance)))
    mean = traces.mean.copy()
    mean[0, 0, 3, 7] = np.nan
    with pytest.raises(InputError, match="not a number"):
        fit_transients(replace(traces, mean=mean))
    mean = traces.mean.copy()
    mean[..., 9] = 0.25
    with pytest.raises(InputError, match="channel 9 are constant"):
        fit_transients(replace(traces, mean=mean))


def test_any_number_of_relaxations_is_fitted_and_drawn(recorded):
    """Three, as another laboratory may have recorded them, and five."""
    traces = recorded[1]
    for which in ([0, 1, 3], [0, 1, 2, 3, 3]):
        parts = {name: getattr(traces, name)[which] for name in ("alpha", "drive", "mean", "covariance")}
        some = replace(traces, **parts)
        data = assemble(transient_variables(fit_transients(some), some), {}, {})
        data.attrs = {"scenario": '{"seed": 1}', "machine": "aoc48, serial 5"}
        figure = pictures.transients(data)
        assert len(figure.axes[0].get_legend().get_texts()) == len(which)
        pyplot.close(figure)


def test_every_variable_has_its_unit(recorded):
    variables = transient_variables(fit_transients(recorded[1]), recorded[1])
    assert {name: unit for name, (_, _, unit, _) in variables.items()}["pole_error"] == "Hz"
    for name, (dimensions, values, unit, told) in variables.items():
        assert np.ndim(values) == len(dimensions) and unit and told, name
