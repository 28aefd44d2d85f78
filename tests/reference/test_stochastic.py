"""The stochastic method against matrix functions, closed forms, the linearised noise, and itself.

Of a linear loop one step is z' = M z + W normals. Both matrices are found from the method's own results, the normals
being known by their counters; then its covariance follows without any sampling.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov
from scipy.stats import chi2

from aocsim.compose import compose
from aocsim.errors import PhysicsError
from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve.draws import draws_for, fill_normals, key_schedule
from aocsim.solve.integrators import integrate
from aocsim.solve.linear_noise import read_out_covariance
from aocsim.solve.relaxation import decay
from aocsim.solve.stochastic import ROWS, STREAM, integrate_stochastic
from aocsim.stages import Affine, Delay, Elementwise, Noise, Pole, Scale

INTERVAL = 1 / 4.6875e6
TAU = 1 / (2 * np.pi * 5e6)
N = 3

seeds = st.integers(0, 2**32 - 1)


def constant(density, name="white"):
    return Noise(name, lambda x: np.full_like(x, density))


def poles(frequencies):
    return Pole(2 * np.pi * np.asarray(frequencies) * 1e6)


RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((N, N)) * 0.4
ALPHA = Arm("alpha", (Scale(np.array([0.2, 0.5, 0.7])),))
NODE = (Scale(0.9, 0.1), poles([5, 5.2, 4.7]))
AMPLIFIER, DRIVER, LED = poles([30, 25, 40]), poles([60, 50, 70]), poles([20, 15, 25])
SIGN = Scale(np.array([1.0, -0.8, 0.6]))
COUPLED = {
    "one pole": (Affine(MATRIX), constant(1e-15), SIGN),
    "filtered": (Affine(MATRIX), constant(1e-15), AMPLIFIER, SIGN),
    "noise before a chain": (constant(2e-15, "driver"), DRIVER, LED, Affine(MATRIX), SIGN),
    "all": (
        *(constant(2e-15, "driver"), DRIVER, LED, Affine(MATRIX)),
        *(constant(1e-15), AMPLIFIER, SIGN, constant(3e-16, "late")),
    ),
}


def coupled(kind):
    return Loop(N, (Arm("+", COUPLED[kind]), ALPHA), NODE)


def one_step(loop, h):
    """M and W of the method for a linear loop without offsets."""
    n, size = loop.channels, loop.states
    drive = np.zeros((1, n))
    offset = integrate_stochastic(_quiet(loop), np.zeros((1, size)), drive, np.array([0, h]), step=h, seed=1)[
        0, 1
    ]
    unit = integrate_stochastic(
        _quiet(loop), np.eye(size), np.zeros((size, n)), np.array([0, h]), step=h, seed=1
    )
    count = 3 * size
    draws, normals = draws_for(key_schedule(1, STREAM), 0, count, n), np.empty((loop.blocks, count, n))
    for place in range(loop.blocks):
        fill_normals(draws, 0, place, normals[place])
    drawn = integrate_stochastic(
        loop, np.zeros((count, size)), np.zeros((count, n)), np.array([0, h]), step=h, seed=1
    )
    each = np.swapaxes(normals, 0, 1).reshape(count, -1)
    W, _, rank, _ = np.linalg.lstsq(each, drawn[:, 1] - offset, rcond=None)
    assert rank == size
    assert np.abs(each @ W - (drawn[:, 1] - offset)).max() < 1e-11 * np.abs(drawn[:, 1] - offset).max()
    return (unit[:, 1] - offset).T, W.T


def _quiet(loop):
    """Without noise."""
    arms = tuple(Arm(a.name, tuple(s for s in a.stages if not isinstance(s, Noise))) for a in loop.arms)
    return Loop(loop.channels, arms, tuple(s for s in loop.node if not isinstance(s, Noise)))


def exact(loop):
    return loop.linearise(np.zeros(loop.states), np.zeros(loop.channels))


def orders(errors):
    """Of successive halvings of the step."""
    return np.array([np.log2(a / b) for a, b in pairwise(errors)])


@pytest.mark.parametrize("kind", COUPLED)
def test_stationary_covariance_is_of_second_order(kind):
    loop = coupled(kind)
    a, d = exact(loop)
    wanted = solve_continuous_lyapunov(a, -d)[:N, :N]
    errors = []
    for h in TAU / np.array([2.0, 4, 8, 16, 32]):
        M, W = one_step(loop, h)
        found = solve_discrete_lyapunov(M, W @ W.T)[:N, :N]
        errors.append(np.abs(found - wanted).max() / np.abs(wanted).max())
    assert orders(errors)[-2:] == pytest.approx(2, abs=0.15)
    if "chain" not in kind and kind != "all":
        assert errors[0] < 5e-3  # at half a time constant


ALONE = {
    "direct": (Scale(0.0), constant(1e-15), Scale(-0.7), constant(1e-16, "late")),
    "filter": (Scale(0.0), constant(1e-15), AMPLIFIER, Scale(np.array([0.5, 0.0, -2.0]))),
    "confluent": (Scale(0.0), constant(1e-15), poles([4, 2.6, 1.41]), SIGN, constant(1e-16, "late")),
    "slow": (Scale(0.0), constant(1e-15), poles([1e-6, 1e-3, 0.1]), SIGN),
}


@pytest.mark.parametrize("h", [1e-3, 0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("kind", ALONE)
def test_without_a_way_around_the_loop_any_step_is_exact(kind, h):
    """Mean and covariance of node and filter, by matrix exponentials; "confluent": both decay alike."""
    loop = Loop(N, (Arm("+", ALONE[kind]), ALPHA), (poles([5, 5.2, 4.7]),))
    a, d = exact(loop)
    M, W = one_step(loop, h * TAU)
    phi = expm(a * h * TAU)
    assert np.abs(M - phi).max() < 1e-13
    if kind == "direct":
        rate = -np.diagonal(a)
        wanted = np.diag(np.diagonal(d) * -np.expm1(-2 * rate * h * TAU) / (2 * rate))
    else:
        wanted = _covariance(a, d, h * TAU)
    scale = np.sqrt(np.outer(np.diagonal(wanted), np.diagonal(wanted))) + 1e-60
    assert (np.abs(W @ W.T - wanted) / scale).max() < 1e-11


def _covariance(a, d, h):
    """By Van Loan's exponential over a short step, and doublings."""
    n, doublings = len(a), max(0, int(np.ceil(np.log2(np.abs(a).max() * h))))
    short = h / 2**doublings
    block = expm(np.block([[-a, d], [np.zeros((n, n)), a.T]]) * short)
    phi = block[n:, n:].T
    q = phi @ block[:n, n:]
    for _ in range(doublings):
        q = q + phi @ q @ phi.T
        phi = phi @ phi
    return q


def tanh_loop(kind, noise=1e-15):
    """Laws in the arms and behind the sum, and a density that follows the signal."""
    law = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -4.0, 4.0)
    rails = Elementwise(law, gain_in=0.7, gain_out=1 / 0.7)
    shot = Noise("shot", lambda x: noise * np.maximum(2.0 + 1.5 * x + 0.2 * x**2, 0.05))
    filters = (AMPLIFIER,) if kind == "filtered" else ()
    front = (DRIVER,) if kind == "filtered" else ()
    stages = (*front, Elementwise(law, gain_in=3.0), Affine(MATRIX, 0.2), shot, *filters, SIGN)
    return Loop(N, (Arm("+", stages), ALPHA), (Scale(0.9, 0.1), rails, poles([5, 5.2, 4.7])))


@pytest.mark.parametrize("kind", ["bare", "filtered"])
def test_without_noise_it_is_of_second_order(kind):
    loop = tanh_loop(kind, 0.0)
    rng = np.random.default_rng(2)
    drive, state = 0.5 * rng.standard_normal((6, N)), rng.standard_normal((6, loop.states))
    times = 2 * TAU * np.arange(5)
    wanted = integrate(loop, state, drive, times, method="DOP853", rtol=1e-11, atol=1e-13).state
    errors = [
        np.std((integrate_stochastic(loop, state, drive, times, step=2 * TAU / k, seed=0) - wanted)[..., :N])
        for k in (32, 128, 256, 512)
    ]
    assert orders(errors)[-2:] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("kind", ["bare", "filtered"])
def test_covariance_along_a_transient_is_of_second_order(kind):
    """Small noise of a nonlinear loop, its density and slopes changing: against the equation of its covariance.

    As in a linear loop the result is W normals, the normals of all steps in one row; no sampling.
    """
    loop = tanh_loop(kind, 1e-21)
    rng = np.random.default_rng(2)
    drive, state = np.array([[0.5, -0.4, 0.8]]), rng.standard_normal((1, loop.states))
    end, size = 1.5 * TAU, loop.states
    paths = integrate(
        loop, state, drive, np.linspace(0, end, 257), method="DOP853", rtol=1e-11, atol=1e-13
    ).state[0]
    wanted, h = np.zeros((size, size)), end / 128

    def change(p, place):
        a, d = loop.linearise(paths[place], drive[0])
        return a @ p + p @ a.T + d

    for k in range(128):  # Runge and Kutta
        one = change(wanted, 2 * k)
        two = change(wanted + h / 2 * one, 2 * k + 1)
        three = change(wanted + h / 2 * two, 2 * k + 1)
        four = change(wanted + h * three, 2 * k + 2)
        wanted = wanted + h / 6 * (one + 2 * two + 2 * three + four)
    wanted = wanted[:N, :N]
    errors = []
    for steps in (8, 16, 32, 64):
        places = (0, loop.blocks - 1) if kind == "filtered" else (0,)
        count = 2 * steps * len(places) * N
        draws = draws_for(key_schedule(3, STREAM), 0, count, N)
        normals = np.empty((steps, len(places), count, N))
        for step in range(steps):
            for row, place in zip(normals[step], places, strict=True):
                fill_normals(draws, step, place, row)
        given = {"times": np.array([0, end]), "step": end / steps, "seed": 3, "recorded": 1}
        noisy = integrate_stochastic(loop, np.tile(state, (count, 1)), np.tile(drive, (count, 1)), **given)
        still = integrate_stochastic(tanh_loop(kind, 0.0), state, drive, **given)
        each = np.moveaxis(normals, 2, 0).reshape(count, -1)
        W = np.linalg.lstsq(each, noisy[:, 1] - still[:, 1], rcond=None)[0].T
        assert np.abs(each @ W.T - (noisy[:, 1] - still[:, 1])).max() < 1e-4 * np.abs(W).max()
        errors.append(np.abs(W @ W.T - wanted).max() / np.abs(wanted).max())
    assert orders(errors)[-1] == pytest.approx(2, abs=0.3)


@settings(max_examples=5)
@given(seeds, st.sampled_from([0.25, 1.0]))
def test_autocovariance_of_a_single_mode(seed, h):
    """S / [4 tau (1 - alpha)(1 - lambda)], falling at the mode's rate: 400 records at rest, within 5 deviations."""
    density, alpha, gain, solves, samples = 1e-15, 0.8, 0.5, 400, 400
    arm = Arm("+", (Scale(np.array([(1 - alpha) * gain])), constant(density)))
    loop = Loop(1, (arm, Arm("alpha", (Scale(np.array([alpha])),))), (Pole(np.array([1 / TAU])),))
    rate, interval = (1 - alpha) * (1 - gain) / TAU, TAU
    wanted = density / (4 * TAU * (1 - alpha) * (1 - gain))
    start = np.sqrt(wanted) * np.random.default_rng(seed).standard_normal((solves, 1))
    x = integrate_stochastic(
        loop, start, np.zeros((solves, 1)), interval * np.arange(samples), step=h * interval, seed=seed
    )[..., 0]
    decay = np.exp(-rate * interval)
    independent = solves * samples * (1 - decay**2) / (1 + decay**2)
    for lag in (0, 1, 5, 20):
        found = (x[:, lag:] * x[:, : samples - lag]).mean() / wanted
        assert found == pytest.approx(decay**lag, abs=5 * np.sqrt(2 / independent))


@pytest.mark.parametrize("poles_sheet", ["poles", "poles_all"])
def test_16_channels_have_the_linearised_covariance(bench_of, poles_sheet):
    """All channels and three instants of a transient, by the likelihood ratio of their covariance; the mean as well."""
    bench = bench_of("aoc48", serial=3, channels=16, beta=27.0, poles={"sheet": poles_sheet})
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    n, count, samples, steps = 16, 4000, 12, 24
    drive = np.repeat(bench.drive(1, 0.5)[1], count, axis=0)
    times = INTERVAL * np.arange(samples)
    start = np.zeros((count, loop.states))
    if poles_sheet == "poles_all":  # light and current at rest for dark nodes
        start[:] = integrate(loop, start[:1], 0 * drive[:1], np.array([0, 3e-7])).state[:, -1]
        start[:, :n] = 0
    noisy = integrate_stochastic(
        loop, start, drive, times, step=INTERVAL / steps, seed=4, recorded=1, threads=2
    )
    path = integrate(loop, start[:1], drive[:1], times, method="DOP853", rtol=1e-9, atol=1e-12).state[0]
    exact_covariance = read_out_covariance(loop, start[0], drive[0], times)
    away = noisy - path[:, :n]
    for instants in ([2], [5], [samples - 1], [3, 7, 11]):
        size = n * len(instants)
        wanted = exact_covariance[np.ix_(instants, range(n), instants, range(n))].reshape(size, size)
        found = np.cov(away[:, instants].reshape(count, size).T)
        ratio = np.linalg.solve(wanted, found)
        likelihood = (count - 1) * (np.trace(ratio) - size - np.linalg.slogdet(ratio)[1])
        degrees = size * (size + 1) / 2
        assert chi2.sf(likelihood, degrees) > 1e-4, instants
        each = (count - 1) * np.diagonal(found) / np.diagonal(wanted)
        assert chi2.sf(each, count - 1).min() > 1e-4 / size and chi2.cdf(each, count - 1).min() > 1e-4 / size
    mean = away[:, -1].mean(axis=0)
    deviation = np.sqrt(np.diagonal(exact_covariance[-1, :, -1]) / count)
    assert np.abs(mean / deviation).max() < 5


def ensemble(kind):
    """37 solves with a loop each, or parameters of some kinds each."""
    rng, solves = np.random.default_rng(5), 37
    own = rng.standard_normal((solves, N, N)) * 0.3
    matrix = own if kind in ("own matrices", "all own") else MATRIX
    gains = rng.uniform(0.5, 1.0, (solves, N)) if kind in ("own gains", "all own") else np.ones(N)
    shifts = rng.uniform(-0.1, 0.1, (solves, N)) if kind in ("own gains", "all own") else 0.0
    alpha = Arm("alpha", (Scale(rng.uniform(0.1, 0.6, (solves, N))),)) if kind == "all own" else ALPHA
    law = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -4.0, 4.0)
    stages = (Elementwise(law), Affine(matrix, shifts), constant(1e-12), AMPLIFIER, Scale(gains, shifts))
    shot = Noise("shot", lambda x: 1e-12 * (50 + x))
    direct = (Affine(matrix[..., ::-1]), shot, Scale(-gains))
    node = (Scale(0.9, 0.1), replace(shot, name="node"), NODE[-1])
    loop = Loop(N, (Arm("+", stages), Arm("-", direct), alpha), node)
    return loop, rng.standard_normal((solves, loop.states)), 0.3 * rng.standard_normal((solves, N))


def part(loop, a, b):
    """Solves a to b of a loop."""

    def cut(values, axes):
        return values[a:b] if np.ndim(values) == axes else values

    def cut_stage(stage):
        if isinstance(stage, Affine):
            return Affine(cut(stage.matrix, 3), cut(stage.offset, 2))
        return Scale(cut(stage.gain, 2), cut(stage.offset, 2)) if isinstance(stage, Scale) else stage

    arms = tuple(Arm(arm.name, tuple(cut_stage(stage) for stage in arm.stages)) for arm in loop.arms)
    return Loop(loop.channels, arms, loop.node)


@pytest.mark.parametrize("kind", ["common", "own matrices", "own gains", "all own"])
def test_neither_threads_nor_the_cut_into_calls_change_a_bit(kind):
    loop, state, drive = ensemble(kind)
    times, linear = TAU * np.arange(6), decay(loop)

    def run(a, b, **given):
        one = part(loop, a, b)
        given |= {"linear": linear} if kind == "all own" else {}
        return integrate_stochastic(
            one, state[a:b], drive[a:b], times, step=TAU / 4, seed=9, first=a, **given
        )

    whole = run(0, 37)
    assert whole[:, -1].std(axis=0).min() > 1e-3
    assert np.array_equal(run(0, 37, threads=2), whole)
    assert np.array_equal(run(0, 37, recorded=1), whole[..., :N])
    for a, b in ((0, 5), (5, 10), (5, 37), (ROWS, 2 * ROWS), (36, 37)):
        assert np.array_equal(run(a, b), whole[a:b])


def test_a_machine_cut_into_calls_gives_the_same_bits(bench_of):
    """BLAS and 16 channels with many solves: 0 to 99 at once, and 0 to 49 and from 50."""
    bench = bench_of("aoc48", serial=3, channels=16, beta=27.0)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    drive = bench.drive(100, 0.5)[1]
    given = {"times": INTERVAL * np.arange(3), "step": INTERVAL / 8, "seed": 4}
    whole = integrate_stochastic(loop, np.zeros((100, 16)), drive, **given)
    for a, b in ((0, 50), (50, 100), (7, 9)):
        one = integrate_stochastic(loop, np.zeros((b - a, 16)), drive[a:b], first=a, **given)
        assert np.array_equal(one, whole[a:b])


def test_a_segment_goes_on_where_the_last_one_ended():
    """In two calls as in one: densities that do not change, and steps numbered on."""
    loop = coupled("all")
    given = {"drive": np.zeros((2, N)), "step": TAU / 4, "seed": 1}
    whole = integrate_stochastic(loop, np.zeros((2, loop.states)), times=TAU * np.arange(5), **given)
    early = integrate_stochastic(loop, np.zeros((2, loop.states)), times=TAU * np.arange(3), **given)
    late = integrate_stochastic(loop, early[:, -1], times=2 * TAU + TAU * np.arange(3), first_step=8, **given)
    np.testing.assert_allclose(late, whole[:, 2:], rtol=0, atol=1e-14)
    again = integrate_stochastic(loop, early[:, -1], times=2 * TAU + TAU * np.arange(3), **given)
    assert np.abs(again - whole[:, 2:]).max() > 1e-4


def run(loop, step=TAU / 4, times=(0, TAU, 2 * TAU), drive=0.0, **given):
    return integrate_stochastic(
        loop,
        np.zeros((2, loop.states)),
        np.full((2, loop.channels), drive),
        times,
        step=step,
        seed=1,
        **given,
    )


def with_arm(*stages):
    return Loop(N, (Arm("+", stages), ALPHA), NODE)


def test_what_it_does_not_do_is_refused():
    plain = coupled("one pole")
    with pytest.raises(ValueError, match=r"divide .*; the nearest that does is 1.06\d*e-08 s"):
        run(plain, step=TAU / 3.1)
    with pytest.raises(ValueError, match="positive"):
        run(plain, step=0.0)
    with pytest.raises(ValueError, match="equidistant"):
        run(plain, times=TAU * np.array([0, 1, 3]))
    with pytest.raises(ValueError, match="numbered"):
        run(plain, first=2**32 - 1)
    with pytest.raises(ValueError, match="numbered"):
        run(plain, first_step=2**32 - 1)
    with pytest.raises(PhysicsError, match="dead time"):
        run(with_arm(constant(1e-15), Delay(1e-9), SIGN))
    matrix = Affine(MATRIX)
    for stages in (
        (constant(1e-15, "early"), matrix),
        (matrix, SIGN, constant(1e-15, "early"), SIGN, matrix),
        (LED, constant(1e-15, "early"), SIGN, matrix, LED),
    ):
        with pytest.raises(PhysicsError, match=r"'early' in arm '.' passes a matrix"):
            run(with_arm(*stages))
    early = constant(1e-15, "early")
    both = Loop(N, (Arm("+", (early, SIGN)), Arm("-", (early, Scale(-0.5))), ALPHA), NODE)
    with pytest.raises(PhysicsError, match="'early' reaches the node by several ways"):
        run(both)
    with pytest.raises(PhysicsError, match="'root': the density in channel 0 is no parabola"):
        run(with_arm(Noise("root", lambda x: 1e-15 * np.sqrt(20 + x)), SIGN))
    for wrong in (lambda x: 1e-15 * x, lambda x: np.full_like(x, np.nan)):
        with pytest.raises(PhysicsError, match="'wrong': its density is negative or not finite"):
            run(with_arm(Noise("wrong", wrong), SIGN))


def test_a_solve_that_leaves_all_bounds_is_named():
    arm = Arm("+", (Scale(np.array([0.1, 3.0, 0.1])), constant(1e-22)))
    loop = Loop(N, (arm, ALPHA), NODE[-1:])
    drive = np.zeros((40, N))
    drive[21, 1] = 1.0
    with pytest.raises(PhysicsError, match=r"at t = 0.\d+ us in solve 21: channel 1 leaves all bounds"):
        integrate_stochastic(loop, np.zeros((40, N)), drive, TAU * np.arange(10), step=TAU / 8, seed=1)


def test_arms_that_share_source_and_filter_have_it_once():
    front = (constant(1e-15), AMPLIFIER)
    shared = Loop(N, (Arm("+", (*front, SIGN)), Arm("-", (*front, Affine(MATRIX))), ALPHA), NODE)
    a, d = exact(shared)
    M, W = one_step(shared, TAU / 64)
    found = solve_discrete_lyapunov(M, W @ W.T)
    wanted = solve_continuous_lyapunov(a, -d)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3 * np.abs(wanted).max())


def test_laws_and_gains_between_source_and_pole_carry_the_noise_by_their_slopes():
    """q of each way a source can stand in, against the loop's own diffusion at the same state."""
    law = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -4.0, 4.0)
    law = Elementwise(law, gain_in=np.array([0.5, 1.0, -2.0]), offset_in=0.1, gain_out=1.3)
    shot = Noise("shot", lambda x: 1e-15 * np.maximum(30.0 + 3 * x + 0.2 * x**2, 5.0))
    quiet = Noise("quiet", lambda x: 1e-15 * np.maximum(3.0 * (x + 4), 1.0))
    offset = Scale(np.array([0.0, 0.7, -1.2]), 0.4)
    rng = np.random.default_rng(3)
    for stages in (
        (SIGN, shot, offset, SIGN, law, quiet, offset),
        (law, Affine(MATRIX, 0.3), shot, offset, AMPLIFIER, law),
        (law, shot, law, law, Scale(0.5), quiet),
    ):
        loop = Loop(N, (Arm("+", stages), ALPHA), (Scale(0.9, 0.1), law, quiet, NODE[-1]))
        state, drive = rng.standard_normal((4, loop.states)), rng.standard_normal((4, N))
        h, count = 1e-7 * TAU, 40
        given = {"times": np.array([0, h]), "step": h, "seed": 1}
        for y, u in zip(state, drive, strict=True):
            wanted = loop.linearise(y, u)[1]
            many = integrate_stochastic(loop, np.tile(y, (count, 1)), np.tile(u, (count, 1)), **given)[:, 1]
            still = integrate_stochastic(_quiet(loop), y[None], u[None], **given)[0, 1]
            draws, normals = draws_for(key_schedule(1, STREAM), 0, count, N), np.empty((count, N))
            for place in range(loop.blocks):
                fill_normals(draws, 0, place, normals)
                found = (many - still)[:, place * N : (place + 1) * N] / np.sqrt(h)
                expected = np.diagonal(wanted)[place * N : (place + 1) * N]
                np.testing.assert_allclose(
                    (found / normals).mean(axis=0) ** 2, expected, rtol=2e-4, atol=1e-12
                )
