"""Linearised noise against scipy's matrix functions, closed forms, and a stochastic integration of the loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm, solve_continuous_lyapunov

from aocsim.compose import compose, photocurrent_matrix
from aocsim.constants import BOLTZMANN, ELEMENTARY_CHARGE
from aocsim.errors import PhysicsError
from aocsim.experiment import NOISE_PIECES
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.linear_noise import (
    COMPILED,
    LEAST_VARIANCE,
    discretise,
    factor,
    read_out_covariance,
    sampled_noise,
    segments,
)
from aocsim.solve.noise_kernels import transition, upper_factor
from aocsim.solve.steady import steady_state
from aocsim.stages import Affine, Noise, Pole, Scale

INTERVAL = 1 / 4.6875e6
TAU = 1 / (2 * np.pi * 5e6)

seeds = st.integers(0, 2**32 - 1)


def random_system(seed, n=5, spread=1.0):
    rng = np.random.default_rng(seed)
    a = 1e7 * (rng.standard_normal((n, n)) - 3 * np.eye(n)) * np.exp(spread * rng.standard_normal(n))[:, None]
    half = rng.standard_normal((n, n))
    return a, 1e-6 * half @ half.T


def van_loan(a, d, h):
    """Van Loan's block exponential: an independent way to the same covariance (short intervals only)."""
    n = len(a)
    block = np.block([[-a, d], [np.zeros((n, n)), a.T]]) * h
    e = expm(block)
    phi = e[n:, n:].T
    return phi, phi @ e[:n, n:]


@given(seeds, st.floats(-9, -6.5))
def test_propagator_is_expm(seed, power):
    a, d = random_system(seed)
    phi, q = discretise(a, d, 10.0**power)
    expected = expm(a * 10.0**power)
    np.testing.assert_allclose(phi, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))
    np.testing.assert_allclose(q, q.T, rtol=0, atol=1e-15 * np.abs(q).max())


@given(seeds)
def test_covariance_is_van_loans(seed):
    a, d = random_system(seed, spread=0.3)
    h = 0.5 / np.abs(a).sum(axis=1).max()
    expected = van_loan(a, d, h)[1]
    np.testing.assert_allclose(discretise(a, d, h)[1], expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@settings(max_examples=40)
@given(seeds, st.floats(-8, -6))
def test_covariance_solves_lyapunov(seed, power):
    """Q = P - Phi P Phi^T with A P + P A^T = -D, for a stable A over any interval."""
    a, d = random_system(seed)
    a = a - (max(0.0, np.linalg.eigvals(a).real.max()) + 1e6) * np.eye(5)
    h = 10.0**power
    p = solve_continuous_lyapunov(a, -d)
    phi = expm(a * h)
    expected = p - phi @ p @ phi.T
    np.testing.assert_allclose(discretise(a, d, h)[1], expected, rtol=0, atol=1e-8 * np.abs(p).max())


def test_a_batch_is_each_of_its_systems():
    systems = [random_system(k) for k in range(4)]
    phi, q = discretise(np.array([s[0] for s in systems]), np.array([s[1] for s in systems]), 1e-7)
    for k, (a, d) in enumerate(systems):
        one = discretise(a, d, 1e-7)
        np.testing.assert_allclose(phi[k], one[0], rtol=0, atol=1e-9)
        np.testing.assert_allclose(q[k], one[1], rtol=0, atol=1e-9 * np.abs(one[1]).max())


@given(st.integers(2, 400), st.integers(1, 12))
def test_stretches_cover_every_interval_once(samples, count):
    edges = segments(samples, count)
    assert edges[0] == 0 and edges[-1] == samples - 1
    assert (np.diff(edges) > 0).all() and len(edges) <= count + 1
    if count > 1 and samples > 3:
        assert samples // 2 - 1 in edges  # the second half is one


@given(seeds, st.integers(1, 5))
def test_factor_of_a_singular_covariance(seed, rank):
    half = np.random.default_rng(seed).standard_normal((5, rank))
    covariance = half @ half.T
    low = factor(covariance)
    np.testing.assert_allclose(low @ low.T, covariance, rtol=0, atol=1e-11 * np.trace(covariance))
    assert not np.triu(low, 1).any()
    up = covariance.copy()
    upper_factor(up, 1e-13, np.empty(5))
    np.testing.assert_allclose(up.T @ up, covariance, rtol=0, atol=1e-11 * np.trace(covariance))
    assert not np.tril(up, -1).any()


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize(("kind", "within"), [(np.float64, 1e-9), (np.float32, 8e-4)])
@given(seed=seeds, power=st.floats(-9, -6.5))
def test_compiled_transition_is_expm_and_van_loans(kind, within, diagonal, seed, power):
    a, d = random_system(seed, spread=0.3)
    d = np.diag(np.diag(d)) if diagonal else d
    h, kind = 10.0**power, np.dtype(kind)
    phi, q = transition(a.astype(kind), d.astype(kind), h, COMPILED[kind][0], np.empty((9, 5, 5), kind))
    expected, covariance = (
        expm(a * h),
        discretise(a, d, h)[1],
    )  # which is held to Van Loan's and Lyapunov's above
    np.testing.assert_allclose(phi, expected, rtol=0, atol=within * max(1.0, np.abs(expected).max()))
    np.testing.assert_allclose(q, covariance, rtol=0, atol=within * np.abs(covariance).max())


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("gain", [1.0, 6.0, 30.0])
@given(power=st.floats(-8, -6))
def test_compiled_transition_of_chains_and_of_what_rings(kind, gain, power):
    """Each state follows the one before, and pairs that hardly decay: the series' error adds up over the parts."""
    h, kind = 10.0**power, np.dtype(kind)
    z = COMPILED[kind][0]
    ringing = np.kron(np.eye(4), np.array([[-0.05, gain], [-gain, -0.05]]))
    for a in (1e6 * (gain * np.eye(8, k=-1) - np.eye(8)), 1e6 * ringing):
        d = np.eye(8)
        phi, q = transition(a.astype(kind), d.astype(kind), h, z, np.empty((9, 8, 8), kind))
        expected, covariance = expm(a * h), discretise(a, d, h)[1]
        series = z**5 / 120 * (1 + np.abs(a).sum(axis=0).max() * h / z) + 10 * np.finfo(kind).eps
        assert np.linalg.norm(phi - expected, 2) < series * np.linalg.norm(expected, 2)
        within = (2 * z) ** 4 / 4320 + series
        assert np.linalg.norm(q - covariance, 2) < within * np.linalg.norm(covariance, 2)


@pytest.mark.parametrize(("kind", "within"), [(np.float64, 1e-9), (np.float32, 1e-5)])
@pytest.mark.parametrize("rank", [1, 3])
def test_factor_where_many_states_follow_from_few(kind, within, rank):
    """What rounding leaves of a pivot must not be divided by."""
    for seed, n in enumerate((48, 100, 300)):
        half = np.random.default_rng(seed).standard_normal((n, rank))
        covariance = half @ half.T
        up = covariance.astype(kind)
        upper_factor(up, LEAST_VARIANCE[np.dtype(kind)], np.empty(n, kind))
        np.testing.assert_allclose(up.T @ up, covariance, rtol=0, atol=within * covariance.max())


def test_one_source_of_noise_for_all_channels():
    """One channel has noise and drives all others: against the covariance in double precision."""
    n, rate = 48, 1 / TAU
    rng = np.random.default_rng(5)
    matrix = np.zeros((n, n))
    matrix[1:, 0] = rng.standard_normal(n - 1)
    noise = Noise("n", lambda x: np.where(np.arange(n) == 0, 1e-15, 0.0) * np.ones_like(x))
    loop = Loop(n, (Arm("+", (Affine(matrix), noise)),), (Pole(np.full(n, rate)),))
    normals = np.eye(4 * n).reshape(1, 4 * n, 4, n)
    drawn = sampled_noise(loop, np.zeros((1, 4, n)), np.zeros((1, n)), INTERVAL, normals, 1)[0, :, -1]
    jacobian, diffusion = loop.linearise(np.zeros(n), np.zeros(n))
    expected = discretise(jacobian, diffusion, 3 * INTERVAL)[1]
    np.testing.assert_allclose(drawn.T @ drawn, expected, rtol=0, atol=1e-3 * expected.max())


def test_a_record_of_one_sample_has_no_noise_yet():
    loop = Loop(2, (Arm("+", (Scale(0.5),)),), (Pole(np.full(2, 1 / TAU)),))
    out = sampled_noise(loop, np.zeros((3, 1, 2)), np.zeros((3, 2)), INTERVAL, np.ones((3, 2, 1, 2)), 4)
    assert out.shape == (3, 2, 1, 2) and not out.any()


def test_a_loop_far_from_stable_is_refused():
    noise = Noise("n", lambda x: np.full_like(x, 1e-15))
    loop = Loop(2, (Arm("+", (Scale(500.0), noise)),), (Pole(np.full(2, 1 / TAU)),))
    with pytest.raises(PhysicsError, match="white noise overflows"):
        sampled_noise(loop, np.zeros((1, 9, 2)), np.zeros((1, 2)), INTERVAL, np.ones((1, 1, 9, 2)), 4)


def test_a_state_without_noise_stays_so():
    covariance = np.diag([1.0, 0.0, 4.0])
    covariance[0, 2] = covariance[2, 0] = 1.0
    up = covariance.copy()
    upper_factor(up, 1e-13, np.empty(3))
    np.testing.assert_allclose(up.T @ up, covariance, rtol=0, atol=1e-11)


@settings(max_examples=20)
@given(st.floats(0.0, 0.98), st.floats(-2.0, 0.9))
def test_single_mode_variance(alpha, gain):
    """S / [4 tau (1 - alpha)(1 - lambda)] at rest, and its exponential rise from a start without noise."""
    density = 1e-15
    noise = Noise("n", lambda x: np.full_like(x, density))
    loop = Loop(
        1,
        (Arm("+", (Scale(np.array([(1 - alpha) * gain])), noise)), Arm("alpha", (Scale(np.array([alpha])),))),
        (Pole(np.array([1 / TAU])),),
    )
    rate = (1 - alpha) * (1 - gain) / TAU
    times = 0.2 / rate * np.arange(30)
    found = read_out_covariance(loop, np.zeros(1), np.zeros(1), times)
    rest = density / (4 * TAU * (1 - alpha) * (1 - gain))
    variance = rest * (1 - np.exp(-2 * rate * times))
    np.testing.assert_allclose(found[np.arange(30), 0, np.arange(30), 0], variance, rtol=1e-8, atol=1e-30)
    # covariance between two instants: that of the earlier, decayed
    np.testing.assert_allclose(
        found[29, 0, 20, 0], variance[20] * np.exp(-rate * (times[29] - times[20])), rtol=1e-8
    )


def ensemble(bench, loop, drive, start, count, samples, per_sample, seed):
    """Stochastic Heun method of the real, nonlinear loop of one pole; (samples, count, n) V.

    The noise is written here from the parts: shot, thermal and amplifier noise of both detectors behind the
    gain, at the photocurrent of the instant. Weak order 2: at 40 steps per sample (5.3 ns, 0.17 tau) the
    variance of the fastest mode is 0.9 % low at most, and of the relaxed ones far less.
    """
    machine, program, n = bench.machine, bench.compiled.program, bench.machine.channels
    detector, matrices = machine.detector, photocurrent_matrix(machine, program)
    gain = detector.feedback_resistance * machine.gains.node_gain(program.beta)
    rate = 2 * np.pi * machine.poles.node
    floor = (
        4 * BOLTZMANN * detector.noise_temperature / detector.feedback_resistance
        + detector.current_noise**2
        + (detector.voltage_noise / detector.feedback_resistance) ** 2
    )
    rng = np.random.default_rng(seed)
    h = INTERVAL / per_sample
    z = np.repeat(start, count, axis=0)
    drives = np.broadcast_to(drive, (count, n))
    out = np.zeros((samples, count, n))
    out[0] = z
    for sample in range(1, samples):
        for _ in range(per_sample):
            density = 0.0
            for arm in (0, 1):
                # mean over the ensemble: noise moves the photocurrent by parts in ten thousand
                light = machine.arm_activation(arm, z.mean(axis=0, keepdims=True)) + machine.led.bias_power(
                    arm
                )
                density = density + 2 * ELEMENTARY_CHARGE * (light @ matrices[arm].T) + floor
            kick = rate * gain * np.sqrt(density / 2 * h) * rng.standard_normal(z.shape)
            first = loop.rhs(z, drives)
            second = loop.rhs(z + h * first + kick, drives)
            z = z + h / 2 * (first + second) + kick
        out[sample] = z
    return out


def compare(bench, count, samples, per_sample, pieces, seed):
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(1, 0.5)
    n = loop.channels
    times = INTERVAL * np.arange(samples)
    path = integrate(loop, np.zeros((1, n)), drive, times, rtol=1e-9, atol=1e-12).state[0]
    runs = ensemble(bench, loop, drive, np.zeros((1, n)), count, samples, per_sample, seed)
    measured = runs.var(axis=1)
    exact = read_out_covariance(loop, np.zeros(n), drive[0], times)
    diagonal = np.einsum("kiki->ki", exact)
    normals = np.random.default_rng(seed + 1).standard_normal((1, count, samples, n))
    drawn = sampled_noise(loop, path[None], drive, INTERVAL, normals, pieces)[0].var(axis=0)
    return path, runs, measured, diagonal, exact, drawn


@pytest.mark.parametrize(
    ("beta", "samples", "within", "of_all"),
    [(27.0, 60, 0.015, 0.04), (150.0, 60, 0.015, 0.04), (27.0, 24, 0.04, 0.07)],
    ids=["slow transient", "fast transient", "cut short"],
)
def test_few_stretches_give_the_read_out_its_noise(bench_of, beta, samples, within, of_all):
    """What experiments draw against eight linearisations an interval, without statistics: one draw for each normal.

    Deviation of a mean over the last quarter on every channel, variance over all channels at every later instant.
    """
    bench = bench_of("aoc48", serial=3, channels=16, beta=beta)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(1, 0.5)
    n, times = loop.channels, INTERVAL * np.arange(samples)
    path = integrate(loop, np.zeros((1, n)), drive, times, rtol=1e-9, atol=1e-12).state[0]
    exact = read_out_covariance(loop, np.zeros(n), drive[0], times)
    each = np.eye(samples * n).reshape(1, samples * n, samples, n)
    drawn = sampled_noise(loop, path[None], drive, INTERVAL, each, NOISE_PIECES)[0]
    window = slice(3 * samples // 4, samples)
    read = np.sqrt((drawn[:, window].mean(axis=1) ** 2).sum(axis=0))
    expected = np.sqrt([exact[window, i, window, i].mean() for i in range(n)])
    np.testing.assert_allclose(read, expected, rtol=within)
    variance = (drawn**2).sum(axis=(0, 2))[3:]
    np.testing.assert_allclose(variance, np.einsum("kiki->k", exact)[3:], rtol=of_all)


def test_transients_with_parameters_of_their_own_are_each_by_itself(bench_of):
    """As with the switch open, where the drive goes in behind it."""
    bench = bench_of("aoc48", serial=3, channels=16)
    _, drive = bench.drive(5, 0.5)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics, None, drive)
    assert loop.own and not compose(bench.machine, bench.compiled.program, bench.electronics).own
    rng = np.random.default_rng(2)
    still = np.zeros_like(drive)
    paths = 0.1 * rng.standard_normal((5, 12, loop.states))
    normals = rng.standard_normal((5, 2, 12, loop.states))
    together = sampled_noise(loop, paths, still, INTERVAL, normals, 3)
    for k in range(5):
        here = slice(k, k + 1)
        alone = sampled_noise(loop.select(k), paths[here], still[here], INTERVAL, normals[here], 3)
        np.testing.assert_array_equal(together[here], alone)


def check(bench, count, samples, per_sample, seed, resolved=3):
    """Variance along the transient: pooled over channels, 3 % of it; statistical error below 1 %.

    `sampled_noise` linearises no finer than the samples: it is held to 3 % from sample `resolved` on, when the
    steepest part of the transient is over.
    """
    path, runs, measured, diagonal, exact, drawn = compare(bench, count, samples, per_sample, 6, seed)
    n = bench.machine.channels
    assert np.sqrt(2 / (count * n)) < 0.01
    assert np.abs(path[-1] - path[1]).max() > 0.05  # there is a transient
    # the mean over a window, which is what is read: its variance holds the correlation between instants
    window = slice(samples // 2, samples)
    mean = runs[window].mean(axis=0).var(axis=0)
    length = samples - samples // 2
    predicted = np.array([exact[window, i, window, i].sum() for i in range(n)]) / length**2
    assert (predicted / mean).mean() == pytest.approx(1.0, abs=0.03)
    found = {"read_out_covariance": diagonal, "sampled_noise": drawn}
    # channel by channel at the end, within 5 standard errors of the ensembles
    error = 5 * np.sqrt(2 / count)
    for name, other in found.items():
        np.testing.assert_allclose(
            other[-1] / measured[-1], 1.0, rtol=0, atol=0.03 + np.sqrt(2) * error, err_msg=name
        )
    ratios = {name: (other[1:] / measured[1:]).mean(axis=1) for name, other in found.items()}
    ratios["sampled_noise"] = ratios["sampled_noise"][resolved - 1 :]
    wrong = {name: ratio.round(3) for name, ratio in ratios.items() if np.abs(ratio - 1).max() > 0.03}
    assert not wrong


@pytest.mark.parametrize("beta", [27.0, 150.0], ids=["slow transient", "transient within one sample"])
def test_against_a_stochastic_integration_of_16_channels(bench_of, beta):
    bench = bench_of("aoc48", serial=3, channels=16, beta=beta)
    check(bench, count=8000, samples=8, per_sample=40, seed=11)


@pytest.mark.slow
def test_against_a_stochastic_integration_of_48_channels(bench_of):
    bench = bench_of("aoc48", serial=3, beta=27.0)
    check(bench, count=3000, samples=24, per_sample=40, seed=12)


def test_at_rest_is_the_lyapunov_solution(bench_of):
    """Long after the transient: A P + P A^T = -D, the loop's own A and D, 0.1 % of the largest variance."""
    bench = bench_of("aoc48", serial=3, channels=16, beta=150.0)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(1, 0.5)
    rest = steady_state(
        loop, integrate(loop, np.zeros((1, 16)), drive, np.array([0.0, 100e-6])).state[:, -1], drive
    )
    a, d = loop.linearise(rest, drive)
    expected = solve_continuous_lyapunov(a[0], -d[0])
    found = read_out_covariance(loop, rest[0], drive[0], INTERVAL * np.arange(60), 1)[-1, :, -1, :]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * expected.max())


def test_all_poles_filter_the_noise_as_scipy_does(bench_of):
    """Machine with all poles at rest: the node's covariance by Lyapunov on scaled states, 0.1 % of the largest."""
    bench = bench_of("aoc48", serial=3, channels=16, beta=150.0, poles={"sheet": "poles_all"})
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(1, 0.5)
    start = np.zeros((1, loop.states))
    rest = steady_state(loop, integrate(loop, start, drive, np.array([0.0, 30e-6])).state[:, -1], drive)
    a, d = loop.linearise(rest, drive)
    scale = np.repeat([1.0, 0.1, 1e-4, 1e-6, 1e-4, 1e-6], 16)  # V, V, W, A, W, A
    p = solve_continuous_lyapunov(a[0] / scale[:, None] * scale, -d[0] / np.outer(scale, scale))
    expected = p[:16, :16]
    found = read_out_covariance(loop, rest[0], drive[0], INTERVAL * np.arange(60), 1)[-1, :, -1, :]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * expected.max())
    normals = np.random.default_rng(4).standard_normal((1, 2000, 25, loop.states))
    paths = np.repeat(rest, 25, axis=0)[None]
    drawn = sampled_noise(loop, paths, drive, INTERVAL, normals, 4)[0, :, -1].var(axis=0)
    late = read_out_covariance(loop, rest[0], drive[0], INTERVAL * np.arange(25), 1)[-1, :, -1, :]
    assert (drawn / np.diag(late)).mean() == pytest.approx(1.0, abs=0.03)


def test_densities_are_the_detectors(bench_of):
    """Diffusion at the node by hand: r^2 g^2 (S+ + S-)/2 on the diagonal, S from photocurrent with bias light."""
    bench = bench_of("aoc48", serial=3)
    machine, program = bench.machine, bench.compiled.program
    loop = compose(machine, program, bench.electronics)
    z, drive = np.random.default_rng(0).uniform(-0.8, 0.8, (2, 48)), np.zeros((2, 48))
    matrices = photocurrent_matrix(machine, program)
    detector = machine.detector
    floor = 4 * BOLTZMANN * 298.15 / 1e4 + (2e-12) ** 2 + (0.4e-12) ** 2
    density = 0.0
    for arm in (0, 1):
        light = machine.arm_activation(arm, z) + machine.led.bias_power(arm)
        density = density + 2 * ELEMENTARY_CHARGE * light @ matrices[arm].T + floor
    gain = (
        detector.feedback_resistance * machine.gains.node_gain(program.beta) * 2 * np.pi * machine.poles.node
    )
    found = loop.linearise(z, drive)[1]
    for k in range(2):
        np.testing.assert_allclose(np.diag(found[k]), gain**2 * density[k] / 2, rtol=1e-6)
        assert not (found[k] - np.diag(np.diag(found[k]))).any()
