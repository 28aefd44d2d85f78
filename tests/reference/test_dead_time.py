"""Loops with dead time against closed forms, an independent integrator, and themselves in other words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from aocsim.compose import compose
from aocsim.errors import PhysicsError
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import SINGLE_METHODS, integrate
from aocsim.solve.linear_noise import linear, linear_states, read_out_covariance, sampled_noise
from aocsim.solve.piecewise import Piece, integrate_pieces, opened
from aocsim.solve.retarded import History, all_pass, breaks, characteristic, root_near, unstable_roots
from aocsim.solve.steady import require_stable
from aocsim.stages import Affine, Delay, Noise, Pole, Scale
from aocsim.validate.check import Setting
from aocsim.validate.dead_time import critical_delay, retarded_decay, rightmost

RATE = 2 * np.pi * 5e6
L = 20e-9


def scalar(now=0.0, then=0.0, lag=L, n=1, noise=None):
    stages = [Scale(then), Delay(lag)]
    if noise is not None:
        stages.append(Noise("white", lambda x: np.full_like(x, noise)))
    return Loop(n, (Arm("now", (Scale(now),)), Arm("then", tuple(stages))), (Pole(np.full(n, RATE)),))


def matrices(loop, z=None):
    z = np.zeros(loop.states) if z is None else z
    now, retarded, _ = loop.linearise_retarded(z, np.zeros(loop.channels))
    return now, retarded


def heun(loop, state, drive, stop, step):
    """Second-order fixed steps with linear interpolation of the past: another method, converged by its small step."""
    n = loop.channels
    count = round(stop / step)
    path = np.empty((count + 1, *state.shape))
    path[0] = state

    def past(k, lag):
        back = k - lag / step
        if back <= 0:
            return state[:, :n]
        low = int(np.floor(back))
        part = back - low
        high = min(low + 1, k)
        return (1 - part) * path[low][:, :n] + part * path[high][:, :n]

    for k in range(count):
        here = [path[k][:, :n] if lag == 0 else past(k, lag) for lag in loop.lags]
        first = loop.rhs(path[k], drive, here)
        guess = path[k] + step * first
        path[k + 1] = guess
        there = [guess[:, :n] if lag == 0 else past(k + 1, lag) for lag in loop.lags]
        path[k + 1] = path[k] + step / 2 * (first + loop.rhs(guess, drive, there))
    return path


@pytest.mark.parametrize("method", ["Tsit5", "RK45", "DOP853"])
def test_method_of_steps(method):
    """z' = -g z(t - L) from z = 1: polynomials in closed form."""
    times = np.linspace(0, 10 * L, 101)
    loop = scalar(now=1.0, then=-0.7 / L / RATE)
    found = integrate(loop, np.ones((1, 1)), np.zeros((1, 1)), times, method=method, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.state[0, :, 0], retarded_decay(times, 0.7 / L, L), rtol=0, atol=2e-8)


def test_error_falls_with_the_tolerance():
    times = np.linspace(0, 10 * L, 41)
    loop = scalar(now=1.0, then=-0.7 / L / RATE)
    exact = retarded_decay(times, 0.7 / L, L)
    errors = [
        np.abs(
            integrate(loop, np.ones((1, 1)), np.zeros((1, 1)), times, rtol=r, atol=r * 1e-2).state[0, :, 0]
            - exact
        ).max()
        for r in (1e-3, 1e-5, 1e-7)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_machine_with_delays_in_arm_and_node_against_fixed_steps(machine_of, bench_of):
    """Both delays, all poles, eight channels: Heun's method of 0.25 ns, whose own error is seen by halving."""
    bench = bench_of(
        channels=16,
        poles={"sheet": "poles_all", "optical_delay": "7 ns", "node_delay": "12 ns"},
        layout=(2, 4, 4),
    )
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    assert loop.lags == pytest.approx((12e-9, 19e-9))
    _, drive = bench.drive(2, 0.5)
    start = np.zeros((2, loop.states))
    times = np.linspace(0, 0.5e-6, 11)
    found = integrate(loop, start, drive, times, rtol=1e-9, atol=1e-12).state
    coarse, fine = (heun(loop, start, drive, 0.5e-6, h)[:: round(50e-9 / h)] for h in (0.25e-9, 0.125e-9))
    extrapolated = np.moveaxis(fine + (fine - coarse) / 3, 0, 1)
    scale = np.ptp(extrapolated)
    assert np.abs(fine - coarse).max() < 2e-4 * scale
    np.testing.assert_allclose(found, extrapolated, rtol=0, atol=2e-5 * scale)


def test_delay_commutes_with_static_laws_and_stands_anywhere_in_an_arm():
    rng = np.random.default_rng(1)
    matrix = 0.4 * rng.standard_normal((3, 3))
    pole = Pole(np.full(3, RATE))
    stages = [Scale(0.8), Affine(matrix)]
    times, drive = np.linspace(0, 1e-6, 30), rng.standard_normal((2, 3))
    paths = []
    for place in range(3):
        arm = (*stages[:place], Delay(L), *stages[place:])
        loop = Loop(3, (Arm("a", arm),), (pole,))
        paths.append(integrate(loop, np.zeros((2, 3)), drive, times).state)
    behind = Loop(3, (Arm("a", tuple(stages)),), (Delay(L), pole))
    paths.append(integrate(behind, np.zeros((2, 3)), drive, times).state)
    halves = Loop(3, (Arm("a", (Delay(L / 4), *stages)),), (Delay(3 * L / 4), pole))
    paths.append(integrate(halves, np.zeros((2, 3)), drive, times).state)
    for path in paths[1:]:
        np.testing.assert_allclose(path, paths[0], rtol=0, atol=1e-12)


def test_tiny_delay_is_none():
    times, drive = np.linspace(0, 0.1e-6, 11), np.ones((1, 1))
    start = np.zeros((1, 1))
    without = integrate(scalar(then=0.5, lag=0.0), start, drive, times, rtol=1e-8, atol=1e-10).state
    tiny = integrate(scalar(then=0.5, lag=1e-10), start, drive, times, rtol=1e-8, atol=1e-10).state
    # the fixed point is the same; on the way the loop lags by about the delay
    np.testing.assert_allclose(tiny, without, rtol=0, atol=3e-3)
    assert not scalar(then=0.5, lag=0.0).delayed


def test_a_cut_does_not_lose_the_past():
    loop = scalar(now=0.2, then=-0.9, n=2)
    drive = np.array([[0.3, -0.2]])
    times = np.linspace(0, 0.6e-6, 61)
    start = np.full((1, 2), 0.1)
    whole = integrate_pieces(loop, start, [Piece(0, 0.6e-6, drive)], times, rtol=1e-9, atol=1e-12).state
    # cuts that are shorter than the delay, and unequal
    edges = [0.0, 3e-9, 5e-9, 31e-9, 200e-9, 0.6e-6]
    pieces = [Piece(a, b, drive) for a, b in pairwise(edges)]
    cut = integrate_pieces(loop, start, pieces, times, rtol=1e-9, atol=1e-12).state
    np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-8)


def test_opening_keeps_the_nodes_dead_time_and_discharges():
    loop = Loop(1, (Arm("a", (Scale(0.9),)),), (Delay(L), Pole(np.array([RATE]))))
    assert opened(loop).lags == loop.lags
    pieces = [Piece(0, 1e-6, np.ones((1, 1))), Piece(1e-6, 1.2e-6, np.ones((1, 1)), closed=False)]
    times = np.array([1e-6, 1.1e-6, 1.2e-6])
    z = integrate_pieces(loop, np.zeros((1, 1)), pieces, times, rtol=1e-9, atol=1e-12).state[0, :, 0]
    np.testing.assert_allclose(z[1:] / z[0], np.exp(-RATE * np.array([0.1e-6, 0.2e-6])), rtol=1e-6)


def test_batch_is_its_members():
    loop = scalar(now=0.1, then=-1.5, n=2)
    drive = np.random.default_rng(2).standard_normal((5, 2))
    times = np.linspace(0, 0.4e-6, 9)
    together = integrate(loop, np.zeros((5, 2)), drive, times, rtol=1e-8, atol=1e-10).state
    for k in range(5):
        alone = integrate(loop, np.zeros((1, 2)), drive[k : k + 1], times, rtol=1e-8, atol=1e-10).state
        np.testing.assert_allclose(together[k], alone[0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", SINGLE_METHODS)
def test_methods_that_cannot_look_back_say_so(method):
    with pytest.raises(PhysicsError, match=r"dead time: use Tsit5, RK45, DOP853"):
        integrate(scalar(then=0.5), np.zeros((1, 1)), np.ones((1, 1)), np.array([0.0, 1e-7]), method=method)


def test_history_before_now_and_on_another_clock():
    history = History(np.array([[5.0]]), 1)
    assert history.at(-1.0) == 5.0
    history.steps.extend([(0.0, 1.0, lambda t: np.array([t])), (1.0, 2.0, lambda t: np.array([10 * t]))])
    assert [float(history.at(t)[0, 0]) for t in (-0.1, 0.0, 0.5, 1.0, 1.5)] == [5.0, 0.0, 0.5, 10.0, 15.0]
    moved = history.seen_from(2.0)
    assert float(moved.at(-0.5)[0, 0]) == 15.0
    history.forget(1.5)
    assert len(history.steps) == 1


def test_breaks_are_the_sums_of_dead_times():
    found = breaks((2.0, 3.0), (10.0, 20.0))
    assert found == pytest.approx([12, 13, 14, 15, 16, 17, 18, 19, 20])
    assert breaks((20.0,), (0.0, 5.0)) == [5.0]


@pytest.mark.parametrize("gain", [1.05, 1.3, 2.0, 4.0, 10.0])
def test_argument_principle_finds_the_onset(gain):
    """acos(-1/k) / (r sqrt(k^2 - 1))."""
    onset, frequency = critical_delay(gain)
    for factor, count in ((0.999, 0), (1.001, 2)):
        loop = scalar(then=-gain, lag=factor * onset)
        assert unstable_roots(matrices(loop), loop.lags) == count
    loop = scalar(then=-gain, lag=onset)
    root = root_near(matrices(loop), loop.lags, complex(-0.1 * RATE, 2 * np.pi * frequency * 1.02))
    assert abs(root.real) < 1e-9 * RATE
    assert root.imag == pytest.approx(2 * np.pi * frequency, rel=1e-9)


def test_roots_of_many_channels_are_counted_one_by_one():
    """A diagonal loop of 40 channels: as many pairs as channels beyond their own onset, or real roots beyond 1."""
    gains = np.linspace(-6, 1.5, 40)
    lag = 15e-9
    loop = Loop(40, (Arm("a", (Scale(gains), Delay(lag))),), (Pole(np.full(40, RATE)),))
    expected = sum(2 for g in gains if g < -1 and critical_delay(-g)[0] < lag) + int(np.sum(gains > 1))
    assert 4 < expected < 40
    assert unstable_roots(matrices(loop), loop.lags) == expected


def test_without_delay_the_count_is_that_of_eigenvalues():
    rng = np.random.default_rng(4)
    for scale in (0.5, 1.0, 2.0, 4.0):
        matrix = scale * rng.standard_normal((12, 12)) / np.sqrt(12)
        loop = Loop(12, (Arm("a", (Affine(matrix),)),), (Pole(np.full(12, RATE)),))
        values = np.linalg.eigvals(loop.jacobian(np.zeros((1, 12)), np.zeros((1, 12)))[0])
        assert unstable_roots(matrices(loop), loop.lags) == np.sum(values.real > 0)


def test_a_root_on_the_axis_is_told():
    loop = scalar(then=1.0)  # s = 0 is a root
    assert unstable_roots(matrices(loop), loop.lags) == -1


def test_rightmost_root_by_collocation_is_one_of_the_equation():
    rng = np.random.default_rng(5)
    loop = Loop(6, (Arm("a", (Affine(rng.standard_normal((6, 6))), Delay(L))),), (Pole(np.full(6, RATE)),))
    now, retarded = matrices(loop)
    found = rightmost(loop, now, retarded)
    unstable = unstable_roots((now, retarded), loop.lags)
    assert (found > 0) == (unstable > 0)
    # just left of it the shifted equation has no root to the right, just right of it there is one
    for shift, none in ((1.001, True), (0.999, False)):
        moved = found * shift if found > 0 else found * (2 - shift)
        shifted = (now - moved * np.eye(6), retarded * np.exp(-moved * L))
        assert (unstable_roots(shifted, loop.lags) == 0) == none


def test_a_run_refuses_a_loop_that_its_dead_time_makes_oscillate():
    loop = scalar(then=-3.0, lag=2 * critical_delay(3.0)[0])
    zero = np.zeros((1, 1))
    assert np.linalg.eigvals(loop.jacobian(zero, zero)).real.max() < 0
    with pytest.raises(
        PhysicsError, match=r"step 3: the loop's dead time makes it oscillate: solve 0 has 2 growing"
    ):
        require_stable(loop, zero, zero, "step 3")
    require_stable(scalar(then=-3.0, lag=0.5 * critical_delay(3.0)[0]), zero, zero, "step 3")


def test_all_pass_has_the_phase_of_the_delay():
    loop = scalar(now=0.3, then=-0.8, noise=1e-12)
    now, retarded, diffusion = loop.linearise_retarded(np.zeros(1), np.zeros(1))
    a, d = all_pass((now, retarded, diffusion), loop.lags)
    assert d[0, 0] == pytest.approx(RATE**2 * 0.5e-12)
    for frequency in (1e5, 1e6, 5e6):
        tolerance = (2 * np.pi * frequency * L) ** 3 / 12
        s = 2j * np.pi * frequency
        exact = 1 / characteristic((now, retarded), loop.lags, np.array([s]))[0, 0, 0]
        rational = np.linalg.inv(s * np.eye(2) - a)[0, 0]
        assert abs(rational / exact - 1) < tolerance


def test_noise_of_a_delayed_loop_against_the_spectrum():
    """Variance at rest: the integral of S |H|^2 with the true exp(-sL)."""
    density = 1e-12
    loop = scalar(now=0.9, then=-0.6, noise=density)
    assert linear_states(loop) == 2
    f = np.linspace(0, 3e9, 3_000_001)
    s = 2j * np.pi * f
    transfer = RATE / (s + RATE * (1 - 0.9 + 0.6 * np.exp(-s * L)))
    expected = np.trapezoid(density * np.abs(transfer) ** 2, f)
    zero, times = np.zeros(1), np.arange(8) * 213e-9
    covariance = read_out_covariance(loop, zero, zero, times)
    assert covariance[-1, 0, -1, 0] == pytest.approx(expected, rel=0.02)
    normals = np.random.default_rng(7).standard_normal((1, 20000, 8, linear_states(loop)))
    drawn = sampled_noise(loop, np.zeros((1, 8, 1)), np.zeros((1, 1)), 213e-9, normals, 2)
    assert drawn[0, :, -1, 0].var() == pytest.approx(expected, rel=0.05)
    # without the delay the variance is another one
    assert linear(scalar(0.9, -0.6, 0.0, noise=density), zero, zero)[0].shape == (1, 1)
    assert density * RATE / 4 / 0.7 == pytest.approx(expected, rel=0.5)
    assert density * RATE / 4 / 0.7 != pytest.approx(expected, rel=0.03)


def test_sheet_puts_the_delay_where_it_says():
    for entry, lags in (("optical_delay", (0.0, 2e-8)), ("node_delay", (2e-8,))):
        machine = Setting().build({"poles": {entry: "20 ns"}})
        from aocsim.program import Program

        program = Program(np.zeros((2, 48, 48)), np.full(48, 0.9), 5.0, np.arange(48), 0.3)
        from aocsim.compose import trimmed_exactly

        assert compose(machine, program, trimmed_exactly(machine, program)).lags == pytest.approx(lags)
