"""The exponential integrator: its functions, its order, filters of any speed, instants of output."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.compose import compose
from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve import exponential
from aocsim.solve.flat import flatten, from_blocks, to_blocks
from aocsim.solve.integrators import integrate
from aocsim.solve.kernels import work_for
from aocsim.solve.outcome import REACHED, REJECTED, STATUS, STEPS, WRITTEN
from aocsim.solve.piecewise import Piece, integrate_pieces
from aocsim.solve.relaxation import decay, phi, weights
from aocsim.stages import Affine, Elementwise, Pole, Scale

RATE = 2 * np.pi * 5e6  # 1/s
TAU = 1 / RATE
TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -12.0, 12.0, 16384)


def nonlinear(poles=(), n=4, gain=1.2, alpha=0.4, behind=()):
    """n channels, tanh, filters of these multiples of the node's rate, a dense matrix."""
    matrix = gain * np.random.default_rng(2).standard_normal((n, n)) / np.sqrt(n)
    path = (Elementwise(TANH), *(Pole(np.full(n, p * RATE)) for p in poles), Affine(matrix))
    arms = (Arm("alpha", (Scale(np.linspace(0.0, alpha, n)),)), Arm("+", path))
    return Loop(n, arms, (*behind, Pole(RATE * np.linspace(0.8, 1.2, n))))


def task(loop, solves=2, seed=3):
    rng = np.random.default_rng(seed)
    return np.zeros((solves, loop.states)), rng.standard_normal((solves, loop.channels))


def exact(loop, state, drive, times, method="DOP853"):
    return integrate(loop, state, drive, times, method=method, rtol=1e-12, atol=1e-15).state


def fixed_steps(loop, state, drive, stop, steps):
    """States (solves, N) at `stop` after equal steps, whatever the error: each ends where the record so far does."""
    flat, y = flatten(loop), to_blocks(state.copy(), loop.channels)
    counts, progress, slopes = np.zeros(6, dtype=np.int64), np.zeros(4), np.zeros((6, *y.shape))
    out, largest, work = (
        np.empty((len(state), 2, loop.channels)),
        np.zeros(len(y)),
        work_for(flat, len(state)),
    )
    for step in range(steps):
        times = np.array([0.0, stop * (step + 1) / steps])
        counts[WRITTEN] = min(step, 1)
        progress[1] = stop
        exponential.integrate_block(
            flat, 0, y, drive, times, decay(loop), 1e9, 1e9, stop, 2 * steps, 0.0, 0, 0.0, work, out, counts,
            progress, slopes, largest,
        )  # fmt: skip
    assert (counts[STEPS], counts[REJECTED], counts[STATUS]) == (steps, 0, REACHED)
    return from_blocks(y)


# ------------------------------------------------------------------------------------------------------ functions


def test_phi_of_fast_decay():
    """phi_k(-x) -> 1/((k - 1)! x), to its first correction."""
    x = np.array([1e4, 1e8, 1e15])
    for k, factorial in ((1, 1), (2, 1), (3, 2), (4, 6)):
        np.testing.assert_allclose(phi(-x)[k], 1 / (factorial * x), rtol=4e-4)
    assert not phi(-x)[0].any()


@settings(max_examples=60)
@given(st.floats(-60.0, 3.0))
def test_phi_is_its_integral(x):
    """phi_k(x), the integral of exp((1 - s) x) s^(k - 1)/(k - 1)! over s from 0 to 1, by Gauss's rule."""
    nodes, gauss = np.polynomial.legendre.leggauss(120)
    s = (1 + nodes) / 2
    expected = [
        gauss / 2 @ (np.exp((1 - s) * x) * s ** (k - 1)) / math.factorial(k - 1) for k in (1, 2, 3, 4)
    ]
    np.testing.assert_allclose(phi(np.array(x)), [np.exp(x), *expected], rtol=1e-12)


def test_weights_of_a_step():
    linear, step = -np.array([[1.0, 2.0], [30.0, 1e6]]), 1e-3
    found = np.empty((5, 2, 2))
    weights(linear, step, found)
    for p, i in itertools.product(range(2), repeat=2):
        single = phi(step * linear[p, i])
        single[1:] *= step * (1 if p == 0 else -linear[p, i])
        np.testing.assert_allclose(found[:, p, i], single, rtol=1e-14)


def test_decay_is_the_direct_path():
    """alpha and a law's slope at rest behind the sum count; matrices do not; solves are averaged; then filters."""
    own = Scale(np.array([[0.2, 0.4], [0.4, 0.8]]))
    filtered = Arm("f", (Pole(np.array([7.0, 9.0])), Scale(0.9)))
    loop = Loop(
        2, (Arm("a", (own,)), Arm("m", (Affine(np.eye(2)),)), filtered),
        (Elementwise(TANH, gain_out=0.5), Pole(np.array([2.0, 3.0]))),
    )  # fmt: skip
    np.testing.assert_allclose(decay(loop), [[-2 * (1 - 0.15), -3 * (1 - 0.3)], [-7, -9]], rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------- order


@settings(max_examples=40)
@given(st.floats(0.0, 300.0), st.floats(-2.0, 0.999), st.floats(0.01, 100.0))
def test_a_decoupled_linear_loop_is_exact_at_any_step(stop, alpha, slow):
    """z = u/(1 - alpha) + (z_0 - u/(1 - alpha)) exp(-(1 - alpha) t/tau), with spread alpha."""
    alphas = np.array([alpha, 1 - (1 - alpha) / slow if slow > 1 else alpha / 2])
    loop = Loop(2, (Arm("alpha", (Scale(alphas),)),), (Pole(np.full(2, RATE)),))
    times = np.linspace(0.0, max(stop, 1e-3) * TAU, 4)
    start, drive = np.array([[1.0, -1.0]]), np.array([[0.3, 0.2]]) * (1 - alphas)
    found = integrate(loop, start, drive, times, method="Exponential").state[0]
    rest = drive[0] / (1 - alphas)
    expected = rest + (start[0] - rest) * np.exp(-(1 - alphas) * times[:, None] / TAU)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def observed_order(errors):
    return np.diff(np.log2(errors[::-1]))


@pytest.mark.parametrize("behind", [(), (Elementwise(TANH, gain_in=0.7), Scale(0.9))])
def test_order_four_with_one_pole(behind):
    loop = nonlinear(behind=behind)
    state, drive = task(loop)
    fine = exact(loop, state, drive, np.array([0.0, 8 * TAU]))[:, -1]
    steps = (16, 32, 64, 128)
    errors = [np.abs(fixed_steps(loop, state, drive, 8 * TAU, k) - fine).max() for k in steps]
    assert observed_order(errors).min() > 3.6
    assert errors[-1] < 1e-6


@pytest.mark.parametrize(
    ("poles", "largest", "order"),
    [((3.0,), 1e-5, 3.6), ((30.0,), 2e-5, 2.5), ((300.0,), 1e-5, 1.0), ((30.0, 70.0), 6e-5, 1.5)],
)
def test_filters_leave_small_constants(poles, largest, order):
    """Order 4 where steps resolve the filters; where they do not it falls, at errors below 1e-4 V for tau/4."""
    loop = nonlinear(poles)
    state, drive = task(loop, solves=1)
    stop, steps = 8 * TAU, (32, 64, 128)
    fine = exact(loop, state, drive, np.array([0.0, stop]))[:, -1]
    errors = [np.abs(fixed_steps(loop, state, drive, stop, k) - fine)[:, :4].max() for k in steps]
    assert errors[0] < largest
    assert np.log2(errors[0] / errors[-1]) / 2 > order


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("poles", [(30.0,), (30.0, 70.0)])
def test_a_hundred_times_faster_filters_cost_no_more(tolerance, poles):
    times, counts = np.linspace(0.0, 20 * TAU, 5), []
    for factor in (1, 100):
        loop = nonlinear(tuple(factor * p for p in poles))
        state, drive = task(loop)
        found = integrate(
            loop, state, drive, times, method="Exponential", rtol=tolerance, atol=tolerance / 10
        )
        counts.append(found.evaluations)
    assert counts[1] <= 1.5 * counts[0]


def test_infinitely_fast_filters_are_none():
    times = np.linspace(0.0, 20 * TAU, 5)
    loop = nonlinear((1e9,))
    state, drive = task(loop)
    found = integrate(loop, state, drive, times, method="Exponential", rtol=1e-7, atol=1e-8).state[..., :4]
    plain = nonlinear()
    np.testing.assert_allclose(found, exact(plain, *task(plain), times), rtol=0, atol=3e-6)


# ------------------------------------------------------------------------------------------------ instants of output


@pytest.mark.parametrize("poles", [(), (30.0,)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_instants_within_steps_are_as_good_as_ends(poles, tolerance):
    """Many instants, all on one long grid, against the same at few; both against DOP853."""
    loop = nonlinear(poles)
    state, drive = task(loop)
    options = {"method": "Exponential", "rtol": tolerance, "atol": tolerance / 10}
    few, many = np.linspace(0, 16 * TAU, 9), np.linspace(0, 16 * TAU, 1025)
    fine = exact(loop, state, drive, many)[..., :4]
    ends = integrate(loop, state, drive, few, **options).state[..., :4]
    dense = integrate(loop, state, drive, many, **options)
    assert dense.evaluations < 4 * 1024  # steps are longer than the interval
    error_ends = np.abs(ends - fine[:, ::128]).max()
    error_dense = np.abs(dense.state[..., :4] - fine).max()
    assert error_dense <= 10 * max(error_ends, 0.1 * tolerance)


@pytest.mark.parametrize("poles", [(), (30.0,)])
def test_instants_may_lie_anywhere(poles):
    """Irregular ones, some closer than round-off of the record's length allows steps to be, against regular ones."""
    loop = nonlinear(poles)
    state, drive = task(loop)
    regular = np.linspace(0.0, 16 * TAU, 257)
    extra = np.sort(np.random.default_rng(4).uniform(0.0, 16 * TAU, 200))
    times = np.unique(np.concatenate([regular, extra, np.nextafter(regular[1:], 0.0)]))
    options = {"method": "Exponential", "rtol": 1e-6, "atol": 1e-7}
    found = integrate(loop, state, drive, times, **options).state
    few = integrate(loop, state, drive, regular, **options).state
    np.testing.assert_array_equal(found[:, np.searchsorted(times, regular)], few)
    fine = exact(loop, state, drive, times)
    np.testing.assert_allclose(found[..., :4], fine[..., :4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("poles", [(), (3.0,), (30.0, 70.0)])
def test_a_short_pulse_in_pieces(poles):
    """50 ns of drive in 6 us, integrator begun anew at each cut: 50 times the tolerance off DOP853."""
    loop = nonlinear(poles)
    state, drive = task(loop)
    pulse = [(0.0, 2e-6, 0.2), (2e-6, 2.05e-6, 3.0), (2.05e-6, 6e-6, 0.2)]
    times = np.linspace(0.0, 6e-6, 61)
    pieces = [Piece(a, b, size * drive) for a, b, size in pulse]
    fine = integrate_pieces(loop, state, pieces, times, method="DOP853", rtol=1e-12, atol=1e-14).state[
        ..., :4
    ]
    for tolerance in (1e-3, 1e-5, 1e-7):
        found = integrate_pieces(
            loop, state, pieces, times, method="Exponential", rtol=tolerance, atol=tolerance / 10
        ).state[..., :4]
        np.testing.assert_allclose(found, fine, rtol=0, atol=50 * tolerance)
    assert np.abs(fine[:, 21] - fine[:, 20]).max() > 0.1


def test_a_pulse_with_the_switch_open_between(bench_of):
    """The machine's loop opened and closed again."""
    bench = bench_of("aoc48", serial=1, channels=16)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(2, 0.5)
    pieces = [
        Piece(0.0, 3e-6, drive), Piece(3e-6, 3.05e-6, drive, closed=False), Piece(3.05e-6, 5e-6, drive),
    ]  # fmt: skip
    times, start = np.linspace(0.0, 5e-6, 26), np.zeros((2, loop.states))
    fine = integrate_pieces(loop, start, pieces, times, method="DOP853", rtol=1e-11, atol=1e-13).state
    found = integrate_pieces(loop, start, pieces, times, method="Exponential").state
    np.testing.assert_allclose(found, fine, rtol=0, atol=3e-4)


# ------------------------------------------------------------------------------------------------------ odd loops


@pytest.mark.parametrize("alpha", [1.0, 1 - 1e-12, 0.9999])
def test_channels_that_hardly_decay(alpha):
    """Nothing but a nonlinear arm holds them: its steps follow the loop's own rates all the same."""
    matrix = -2.0 * np.eye(3) + 0.3 * np.random.default_rng(1).standard_normal((3, 3))
    arms = (Arm("alpha", (Scale(np.full(3, alpha)),)), Arm("+", (Elementwise(TANH), Affine(matrix))))
    loop = Loop(3, arms, (Pole(np.full(3, RATE)),))
    drive = np.array([[0.4, 0.5, -0.3]])
    for times in (np.linspace(0, 10 * TAU, 4), np.array([0.0, 3000 * TAU])):
        found = integrate(loop, np.zeros((1, 3)), drive, times, method="Exponential").state
        fine = integrate(loop, np.zeros((1, 3)), drive, times, method="Radau", rtol=1e-10, atol=1e-12).state
        np.testing.assert_allclose(found, fine, rtol=0, atol=1e-4)


def test_an_integrator_integrates():
    """alpha of 1: z = u t/tau."""
    loop = Loop(2, (Arm("alpha", (Scale(np.ones(2)),)),), (Pole(np.full(2, RATE)),))
    times = np.linspace(0, 10 * TAU, 4)
    found = integrate(loop, np.zeros((1, 2)), np.array([[0.1, -0.2]]), times, method="Exponential").state[0]
    np.testing.assert_allclose(found, np.outer(times / TAU, [0.1, -0.2]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rates", [(3e3, 7e3), (3e4, 7e4), (1e6, 1e3)])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_chains_of_fast_filters_may_begin_out_of_rest(rates, tolerance):
    """Filters at 0 whose inputs are not: the transient is over in 1e-4 tau, far shorter than a step."""
    path = (Elementwise(TANH, offset_out=0.5), *(Pole(np.full(3, r * RATE)) for r in rates))
    loop = Loop(3, (Arm("+", (*path, Affine(0.4 * np.ones((3, 3))))),), (Pole(np.full(3, RATE)),))
    plain = Loop(3, (Arm("+", (path[0], Affine(0.4 * np.ones((3, 3))))),), (Pole(np.full(3, RATE)),))
    drive, times = np.array([[0.5, -0.4, 1.0]]), np.linspace(0, 10 * TAU, 3)
    found = integrate(
        loop,
        np.zeros((1, loop.states)),
        drive,
        times,
        method="Exponential",
        rtol=tolerance,
        atol=tolerance / 10,
    ).state[..., :3]
    fine = exact(plain, np.zeros((1, 3)), drive, times)
    slowness = 3 / min(rates)  # what filters of this speed change by being there
    np.testing.assert_allclose(found, fine, rtol=0, atol=30 * tolerance + slowness)
