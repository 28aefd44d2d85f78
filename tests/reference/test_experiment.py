"""Running a programmed machine: independence of threads and batches, draws, settling times, averaging."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.compose import compose, electronics_of
from aocsim.errors import PhysicsError
from aocsim.experiment import SOLVES_PER_BLOCK, Experiment, SolveSettings, settling_time
from aocsim.live import Live, flicker_correlation
from aocsim.solve.integrators import integrate

FAR_APART = 1e-3  # s between solves: their flicker is independent


class Bound:
    """An experiment whose solves begin one after the other, samples in order."""

    def __init__(self, inner, trials, spacing):
        self.inner, self.trials, self.spacing = inner, trials, spacing

    def measure(self, drive, step, **options):
        begun = np.arange(len(drive) * self.trials).reshape(len(drive), self.trials) * self.spacing
        return self.inner.measure(drive, begun + step * self.spacing * 1e4, step, **options)


def experiment(bench, trials=3, seed=5, spacing=FAR_APART, program=None, **changes):
    machine = bench.trimmed_machine
    program = program or bench.compiled.program
    live = Live.of(machine, seed)
    return Bound(Experiment(machine, program, live, seed, "run", SolveSettings(**changes)), trials, spacing)


@pytest.fixture(scope="module")
def bench(bench_of):
    return bench_of("aoc48", serial=2, channels=16, beta=60.0)


def test_threads_change_nothing(bench):
    """One and two threads, three blocks of samples: every bit of every array."""
    trials = SOLVES_PER_BLOCK // 4
    _, drive = bench.drive(10, 0.5)
    one = experiment(bench, trials, threads=1).measure(drive, 1, keep=(10, 2))
    two = experiment(bench, trials, threads=2).measure(drive, 1, keep=(10, 2))
    for name in ("read_out", "voltage", "settling", "fixed_point"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_the_same_seed_repeats_and_another_does_not(bench):
    _, drive = bench.drive(2, 0.5)
    one = experiment(bench).measure(drive, 0).read_out
    np.testing.assert_array_equal(one, experiment(bench).measure(drive, 0).read_out)
    assert not np.array_equal(one, experiment(bench, seed=6).measure(drive, 0).read_out)
    assert not np.array_equal(one, experiment(bench).measure(drive, 1).read_out)


def test_later_samples_do_not_change_earlier_blocks(bench):
    """Fixed blocks in sample order: a longer batch begins with the shorter one, bit for bit."""
    trials = SOLVES_PER_BLOCK // 4
    _, drive = bench.drive(12, 0.5)
    short = experiment(bench, trials).measure(drive[:8], 0).read_out
    np.testing.assert_array_equal(experiment(bench, trials).measure(drive, 0).read_out[:8], short)


@settings(max_examples=50)
@given(st.floats(1e-7, 3e-6), st.floats(0.1, 10.0))
def test_settling_time_of_an_exponential(tau, amplitude):
    """exp(-t/tau) is at 1 % after tau ln 100, wherever the samples fall, even past the record's end."""
    times = np.arange(90) / 4.6875e6
    left = np.exp(-times / tau)[None]
    assert settling_time(left, times)[0] == pytest.approx(tau * np.log(100), rel=1e-9)
    assert settling_time(left, times, level=0.1)[0] == pytest.approx(tau * np.log(10), rel=1e-9)


def test_settling_time_continues_an_unfinished_record():
    times = np.arange(90) / 4.6875e6
    left = np.exp(-times / 20e-6)[None]
    assert settling_time(left, times)[0] == pytest.approx(20e-6 * np.log(100), rel=1e-9)


def test_settling_time_is_the_last_crossing_not_the_first():
    times = np.linspace(0.0, 10.0, 1001)
    left = np.abs(np.cos(times)) * np.exp(-0.3 * times)
    found = settling_time(left[None], times, level=0.2)[0]
    assert np.all(left[times > found + 0.01] < 0.2)
    assert np.any(left[(times < found) & (times > found - 0.05)] > 0.2)


def test_settling_of_what_never_moved_is_zero():
    assert settling_time(np.zeros((1, 5)), np.arange(5.0))[0] == 0.0


def test_noiseless_experiment_is_the_window_mean_of_the_transient(bench_of):
    """ideal48 without draws: the mean over samples 61 to 83 of a tight transient, 1e-5 V."""
    bench = bench_of("ideal48", serial=1)
    _, drive = bench.drive(3, 0.5)
    found = experiment(bench, trials=2, noise=False).measure(drive, 0)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    times = np.arange(90) / 4.6875e6
    path = integrate(loop, np.zeros((3, 48)), drive, times, method="DOP853", rtol=1e-9, atol=1e-11).state
    np.testing.assert_allclose(found.read_out, path[:, 61:84].mean(axis=1), rtol=0, atol=1e-5)
    late = integrate(loop, np.zeros((3, 48)), drive, np.array([0.0, 300e-6])).state[:, -1]
    np.testing.assert_allclose(found.fixed_point, late, rtol=0, atol=1e-4)


def test_noise_of_the_read_out_falls_with_trials(bench):
    """Live noise alone, flicker included: averaging 16 trials leaves a quarter of one trial's deviation."""
    _, one = bench.drive(1, 0.5)
    drive = np.repeat(one, 80, axis=0)
    single = experiment(bench, trials=1).measure(drive, 0).read_out.std(axis=0)
    many = experiment(bench, trials=16).measure(drive, 0).read_out.std(axis=0)
    used = bench.compiled.program.channel_of_unit
    assert (many / single)[used].mean() == pytest.approx(0.25, rel=0.1)


def test_kept_voltages_average_to_the_read_out(bench):
    _, drive = bench.drive(3, 0.5)
    found = experiment(bench, trials=4).measure(drive, 0, keep=(3, 4))
    assert found.voltage.shape == (3, 4, 90, 16)
    np.testing.assert_allclose(
        found.voltage[:, :, 61:84].mean(axis=(1, 2)), found.read_out, rtol=0, atol=1e-12
    )


def test_a_drive_beyond_the_dac_is_clipped(bench):
    """The DAC gives +-1.3 V, whatever was asked: 2 V and 1.3 V read the same without noise."""
    idle = np.setdiff1d(np.arange(16), bench.compiled.program.channel_of_unit)[0]
    drive = np.zeros((2, 16))
    drive[0, idle], drive[1, idle] = 2.0, 1.3
    read = experiment(bench, noise=False).measure(drive, 0).read_out
    np.testing.assert_allclose(read[0], read[1], rtol=0, atol=2e-4)
    assert read[0, idle] == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize("kick", [0.0, 1e-3], ids=["on the unstable point", "beside it"])
def test_a_loop_that_sits_on_an_unstable_fixed_point_is_refused(bench_of, kick):
    """alpha = 1.02 on one channel: the node runs away from 0 V, or sits there only for want of noise."""
    bench = bench_of("ideal48", serial=1)
    alpha = bench.compiled.program.alpha.copy()
    idle = np.setdiff1d(np.arange(48), bench.compiled.program.channel_of_unit)
    used = bench.compiled.program.channel_of_unit[0]
    assert used not in idle
    alpha[used] = 1.5
    unstable = replace(bench.compiled.program, alpha=alpha)
    drive = np.zeros((1, 48))
    drive[0, used] = kick
    with pytest.raises(PhysicsError), np.errstate(all="ignore"):
        experiment(bench, trials=1, program=unstable).measure(drive, 0)


def test_back_to_back_trials_average_less_than_spaced_ones(bench):
    """Variance of the mean of m equally correlated trials: [1 + 2 sum_k (1 - k/m) rho(k s)] / m of a single one's.

    White noise and rounding average in either case, so their share, measured with flicker off, is taken apart.
    """
    used = bench.compiled.program.channel_of_unit
    _, one = bench.drive(1, 0.5)
    drive, trials, close = np.repeat(one, 160, axis=0), 5, 30e-6

    def variance(trials, spacing, seed, pixel):
        slm = bench.machine.slm
        still = replace(slm, flicker=slm.flicker * pixel, flicker_common=slm.flicker_common * pixel)
        other = replace(bench, machine=replace(bench.machine, slm=replace(still, flicker_lines=np.zeros(1))))
        # samples far apart, trials as told
        inner = experiment(other, trials, seed).inner
        begun = np.arange(len(drive))[:, None] * 5e-3 + np.arange(trials) * spacing
        read = inner.measure(drive, begun, 0, diagnose=False).read_out
        return read.var(axis=0)[used]

    white = variance(1, 0.0, 3, 0.0).mean()
    # all of one seed: the first of several trials is the single one, so that most of the scatter is common
    single = variance(1, 0.0, 2, 1.0).mean() - white
    apart = variance(trials, FAR_APART, 2, 1.0).mean() - white / trials
    together = variance(trials, close, 2, 1.0).mean() - white / trials
    lags = np.arange(1, trials)
    rho = flicker_correlation(lags * close, bench.machine.slm.flicker_correlation_time)
    expected = (1 + 2 * np.sum((1 - lags / trials) * rho)) / trials
    assert apart / single == pytest.approx(1 / trials, rel=0.25)
    assert together / single == pytest.approx(expected, rel=0.12)
    assert together > 3 * apart


def test_a_start_is_where_the_transient_goes_on_from(bench):
    """A record cut in two, the second half started where the first has ended, against one by SciPy's LSODA."""
    machine, program = bench.trimmed_machine, bench.compiled.program
    _, drive = bench.drive(3, 0.5)
    quiet = experiment(bench, trials=2, noise=0.0, rtol=1e-9, atol=1e-9)
    first = quiet.measure(drive, 0, keep=(3, 1))
    second = quiet.measure(drive, 1, keep=(3, 1), start=first.left)
    times = machine.digitiser.times
    loop = compose(machine, program, electronics_of(machine, program.alpha, program.beta))
    both = np.concatenate([times, times[-1] + times[1:]])
    volts = machine.dac.response(drive)
    whole = integrate(
        loop, np.zeros((3, loop.states)), volts, both, method="LSODA", rtol=1e-10, atol=1e-10
    ).state
    np.testing.assert_allclose(second.left, whole[:, -1], rtol=0, atol=1e-7)
    step = machine.digitiser.quantise(np.array([0.0, 1.0]))  # voltages are digitised: to one level
    level = np.ptp(step) * 2.0**-8
    digitised = machine.digitiser.quantise(whole[:, len(times) - 1 :, : machine.channels])
    np.testing.assert_allclose(second.voltage[:, 0], digitised, rtol=0, atol=level)
