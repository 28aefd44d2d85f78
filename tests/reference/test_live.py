"""Slow processes on the bench's clock: correlation, lines and drift against their closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from aocsim.compose import Electronics, compose, electronics_of
from aocsim.live import CORRELATION_AT_GRID, Drift, FlickerProcess, Live, flicker_correlation
from aocsim.program import Program

TAU = 200e-6
FRAME = 16.7e-3


def process(seed=1, channels=24, lines=(), tau=TAU):
    return FlickerProcess(seed, channels, tau, np.array(lines), FRAME)


def flat(flicker):
    return np.concatenate([flicker.common, flicker.pixel.reshape(len(flicker.common), -1)], axis=1)


def test_the_correlation_is_that_of_the_interpolated_noise():
    """The closed form against an integral over the grid's origin, and 1/e at the correlation time."""

    def by_integral(s):
        def product(theta):
            end = theta + s * np.pi / 2
            turns, rest = divmod(end, np.pi / 2)
            if turns == 0:
                return np.cos(theta) * np.cos(end) + np.sin(theta) * np.sin(end)
            return np.sin(theta) * np.cos(rest) if turns == 1 else 0.0

        edges = [np.pi / 2 * (k - s) for k in range(1, 4) if 0 < k - s < 1]
        return quad(product, 0, np.pi / 2, points=edges or None)[0] / (np.pi / 2)

    for s in (0.0, 0.2, 0.5, 0.9387, 1.0, 1.3, 1.9, 2.5):
        lag = np.array([s * TAU / CORRELATION_AT_GRID])
        assert flicker_correlation(lag, TAU)[0] == pytest.approx(by_integral(s), abs=1e-9), s
    assert flicker_correlation(np.array([TAU]), TAU)[0] == pytest.approx(np.exp(-1), abs=1e-4)


@pytest.mark.parametrize("lag", [0.0, 20e-6, 100e-6, 200e-6, 300e-6, 420e-6, 2e-3])
def test_flicker_has_the_stated_correlation(lag):
    """1,154 pixels x 200 instants spread over random origins: within five standard errors."""
    pairs = []
    for seed in range(20):
        times = np.linspace(0, 3.7, 10) + seed * 0.01
        one, two = flat(process(seed).at(times)), flat(process(seed).at(times + lag))
        pairs.append((one * two).mean(axis=1))
    found = np.mean(pairs)
    expected = flicker_correlation(np.array([lag]), TAU)[0]
    # the origin, drawn once a seed, moves the correlation more than the pixels' number does
    assert found == pytest.approx(expected, abs=5 * np.std(pairs) / np.sqrt(len(pairs) * 10) + 0.01)


def test_flicker_is_gaussian_of_unit_variance_everywhere_on_its_grid():
    for place in (0.0, 0.3, 0.5, 0.9):
        drawn = flat(process(7, 48).at(np.array([place * TAU])))[0]
        assert stats.kstest(drawn, "norm").pvalue > 1e-3, place


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=6), st.randoms())
def test_flicker_is_a_function_of_the_clock(times, random):
    """Asked in any order, alone or together: the same bits."""
    wobble = process(3, 4, lines=(0.1,))
    together = flat(wobble.at(np.array(times)))
    order = list(range(len(times)))
    random.shuffle(order)
    for k in order:
        np.testing.assert_array_equal(
            flat(process(3, 4, lines=(0.1,)).at(np.array([times[k]])))[0], together[k]
        )


def test_flicker_is_frozen_within_a_solve():
    """Over half a solve of 19 us it moves by less than a fifth of its deviation, rms."""
    times = np.linspace(0, 1, 40)
    moved = flat(process(5).at(times + 9.6e-6)) - flat(process(5).at(times))
    assert np.sqrt(np.mean(moved**2)) < 0.2


def test_lines_stand_at_multiples_of_the_frame_rate():
    """Discrete Fourier transform over 8 frames: lines of the stated power, the rest spread out."""
    shares = (0.3, 0.2)
    wobble = process(2, 16, lines=shares)
    count = 512
    times = np.arange(count) * 8 * FRAME / count
    power = np.mean(np.abs(np.fft.rfft(flat(wobble.at(times)), axis=0) / count) ** 2, axis=1) * 2
    rest = (1 - sum(shares)) / (count / 2)  # white at this spacing, which is past the correlation
    assert power[8] == pytest.approx(shares[0] + rest, rel=0.05)
    assert power[16] == pytest.approx(shares[1] + rest, rel=0.05)
    others = np.delete(power[1:-1], [7, 15])
    assert others.mean() == pytest.approx(rest, rel=0.1)


def test_pixels_and_arms_are_independent():
    drawn = flat(process(4, 12).at(np.arange(400) * 7.1e-3 + 1.0))
    correlation = np.corrcoef(drawn[:, :60].T) - np.eye(60)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(400)


def test_a_correlation_time_of_zero_makes_every_solve_its_own():
    times = np.array([0.0, 1e-8, 2e-8])
    drawn = flat(process(6, 32, tau=0.0).at(times))
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 5 / np.sqrt(2 * 32**2)


def test_drift_is_a_wiener_process():
    """Variance t, increments independent: 40 seeds x 144 walks against chi-squared limits."""
    times = np.array([1.0, 10.0, 3600.0, 3601.0, 100_000.0])
    paths = []
    for seed in range(40):
        paths.append(Drift(seed, 48, 1.0, 1.0, 1.0).walks(times))
    walk = np.concatenate(paths, axis=1)
    steps = np.diff(np.concatenate([np.zeros((1, walk.shape[1])), walk]), axis=0)
    normal = steps / np.sqrt(np.diff(np.concatenate([[0.0], times])))[:, None]
    count = walk.shape[1]
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], count) / count
    assert np.all((normal**2).mean(axis=1) > low)
    assert np.all((normal**2).mean(axis=1) < high)
    assert np.abs(np.corrcoef(normal) - np.eye(len(times))).max() < 5 / np.sqrt(count)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=4))
def test_drift_is_a_function_of_the_clock(times):
    drift = Drift(9, 3, 1e-4, 1e-5, 1e-6)
    together = drift.at(times)
    for k, instant in enumerate(times):
        alone = drift.at([instant])
        for name in ("gain", "offset", "alpha"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[k])


def test_drift_starts_at_nothing_and_refuses_times_outside_its_range():
    start = Drift(9, 3, 1.0, 1.0, 1.0).at([0.0])
    assert np.all(start.gain == 1) and np.all(start.alpha == 1) and not start.offset.any()
    for instant in (-1.0, 2.0**33, np.nan):
        with pytest.raises(ValueError, match="clock"):
            Drift(9, 3, 1.0, 1.0).at([instant])


def test_drift_of_the_sheet_after_an_hour(machine_of):
    """0.3 %, 1 mV and 1e-5 rms after an hour, over 40 seeds x 48 channels."""
    machine = machine_of("aoc48", 1)
    found = [Live.of(machine, seed).drift.at([3600.0]) for seed in range(40)]
    for name, expected in (("gain", 3e-3), ("offset", 1e-3), ("alpha", 1e-5)):
        assert np.array([getattr(one, name) for one in found]).std() == pytest.approx(expected, rel=0.06), (
            name
        )


@pytest.mark.parametrize("hours", [1.0, 100.0, 1e5])
def test_a_gain_keeps_its_sign_and_its_mean_however_long_it_drifts(machine_of, hours):
    """exp(d W - d^2 t/2): its logarithm is Gaussian of deviation d sqrt(t), its mean 1; at 1e5 h d sqrt(t) = 0.95."""
    machine = machine_of("aoc48", 1)
    found = np.array([Live.of(machine, seed).drift.at([3600.0 * hours]).gain for seed in range(40)])
    deviation = 3e-3 * np.sqrt(hours)
    assert np.all(found > 0)
    assert np.log(found).std() == pytest.approx(deviation, rel=0.06)
    error = np.sqrt(np.expm1(deviation**2) / found.size)
    assert found.mean() == pytest.approx(1.0, abs=5 * error)


def test_alpha_drifts_by_streams_of_its_own(machine_of):
    """Gain and offset are, bit for bit, what they are in a machine whose alpha stands still."""
    times = [0.5, 100.0, 1e6]
    drifting, still = (
        machine_of("aoc48", 1),
        machine_of("aoc48", 1, gains={"alpha_drift": "0 ppm/sqrt(hour)"}),
    )
    one, other = (Live.of(machine, 3).drift.at(times) for machine in (drifting, still))
    np.testing.assert_array_equal(one.gain, other.gain)
    np.testing.assert_array_equal(one.offset, other.offset)
    assert np.all(other.alpha == 1)
    assert np.abs(one.alpha[-1] - 1).max() > 1e-5
    alone = {"gain_drift": "0 %/sqrt(hour)", "offset_drift": "0 mV/sqrt(hour)"}
    np.testing.assert_array_equal(
        Live.of(machine_of("aoc48", 1, gains=alone), 3).drift.at(times).alpha, one.alpha
    )


def test_alpha_that_has_drifted_is_what_the_loop_has(machine_of):
    """A dark, noiseless channel rests at u/(1 - alpha'), with the alpha' that arrives by then."""
    machine = machine_of("aoc48", 1, gains={"alpha_drift": "1000 ppm/sqrt(hour)"})
    drift = Live.of(machine, 2).drift.at([3600.0, 7200.0])
    alpha = np.full(48, 0.98)
    found = electronics_of(machine, alpha, 1.0, drift)
    np.testing.assert_allclose(found.alpha, alpha * machine.gains.alpha_gain * drift.alpha, rtol=1e-15)
    dark = Program(np.zeros((2, 48, 48)), alpha, 0.0, np.arange(48), 1.0)
    loop = compose(machine, dark, Electronics(found.alpha, np.zeros(48)))
    drive = np.full((2, 48), 1e-3)
    rest = drive / (1 - found.alpha)
    assert (
        np.abs(loop.rhs(np.concatenate([rest, np.zeros((2, loop.states - 48))], axis=1), drive)[:, :48]).max()
        < 1.0
    )
    assert np.ptp(rest) > 1e-3


def test_ideal_machines_have_no_slow_processes(machine_of):
    live = Live.of(machine_of("ideal48", 1), 1)
    assert live.flicker is None and live.drift is None
