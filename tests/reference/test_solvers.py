"""Integrators against each other, against closed forms, and steady states with their stability."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import RK45, solve_ivp
from scipy.optimize import brentq

from aocsim.compose import compose
from aocsim.errors import PhysicsError
from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import FIRST_STEP, integrate
from aocsim.solve.steady import at_rest, require_stable, steady_state
from aocsim.stages import Affine, Elementwise, Pole, Scale

TAU = 1 / (2 * np.pi * 5e6)
TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -12.0, 12.0)


def leaky(alpha, channels=1):
    """One channel with its alpha path: z' = (alpha z + u - z)/tau."""
    return Loop(
        channels, (Arm("alpha", (Scale(np.full(channels, alpha)),)),), (Pole(np.full(channels, 1 / TAU)),)
    )


def tanh_loop(matrix, poles=()):
    """z' = (M tanh z + u - z)/tau, with further poles in the path."""
    n = len(matrix)
    arm = Arm(
        "+",
        (
            Elementwise(TANH),
            *(Pole(np.full(n, 2 * np.pi * f)) for f in poles),
            Affine(np.asarray(matrix, float)),
        ),
    )
    return Loop(n, (arm,), (Pole(np.full(n, 1 / TAU)),))


def settle(loop, drive, start, stop=60 * TAU):
    state = np.zeros((1, loop.states))
    state[:, : loop.channels] = start
    return integrate(loop, state, drive, np.array([0.0, stop]), rtol=1e-9, atol=1e-12).state[:, -1]


@pytest.mark.parametrize(
    ("sheet", "channels"),
    [("poles", 48), ("poles_all", 16), pytest.param("poles_all", 48, marks=pytest.mark.slow)],
)
def test_methods_agree_on_the_full_loop(bench_of, sheet, channels):
    """LSODA, Radau and DOP853 of the machine, transient of 10 us (1 us with all poles): 1e-6 V at every instant."""
    bench = bench_of("aoc48", serial=1, channels=channels, poles={"sheet": sheet})
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(1, 0.5)
    times = np.linspace(0.0, 1e-6, 6) if sheet == "poles_all" else np.linspace(0.0, 10e-6, 41)
    start = np.zeros((1, loop.states))
    # LED and detector states are 1e-4 W and 1e-6 A: one tolerance for all has to suit the smallest
    tight = {"rtol": 1e-9, "atol": 1e-14} if sheet == "poles_all" else {"rtol": 1e-9, "atol": 1e-11}
    found = {
        method: integrate(loop, start, drive, times, method=method, **tight).state[..., :channels]
        for method in ("LSODA", "Radau", "DOP853")
    }
    assert np.abs(found["DOP853"]).max() > 0.1
    for method in ("LSODA", "Radau"):
        np.testing.assert_allclose(found[method], found["DOP853"], rtol=0, atol=1e-6)


def test_default_tolerance_with_all_poles(bench_of):
    """RK45 at the default tolerance (1e-5, 1e-6 V) on all poles against 1e-12: 1e-4 V at the node."""
    bench = bench_of("aoc48", serial=1, poles={"sheet": "poles_all"})
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(1, 0.5)
    times = np.linspace(0.0, 1e-6, 6)
    start = np.zeros((1, loop.states))
    rough = integrate(loop, start, drive, times, method="RK45").state[..., :48]
    fine = integrate(loop, start, drive, times, method="DOP853", rtol=1e-10, atol=1e-14).state[..., :48]
    np.testing.assert_allclose(rough, fine, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["RK45", "DOP853"])
def test_the_worst_of_many_trajectories_meets_the_tolerance(method):
    """One moving trajectory among 63 at rest. An error averaged over the batch forgives it, by a factor of 8 and
    more; ours treats it as if it were alone."""
    # an oscillation, so that errors do not die away: z1' = w z2, z2' = -w z1
    loop = Loop(2, (Arm("+", (Affine(np.array([[1.0, 6.0], [-6.0, 1.0]])),)),), (Pole(np.full(2, 1.0)),))
    batch = np.zeros((64, 2))
    batch[17] = [1.0, 0.0]
    drive = np.zeros((64, 2))
    times = np.array([0.0, 5.0, 10.0])
    rtol, atol = 1e-6, 1e-6
    exact = np.array([[np.cos(6 * t), -np.sin(6 * t)] for t in times])
    alone = integrate(loop, batch[17:18], drive[:1], times, method=method, rtol=rtol, atol=atol)
    among = integrate(loop, batch, drive, times, method=method, rtol=rtol, atol=atol)
    error_alone = np.abs(alone.state[0] - exact).max()
    error_among = np.abs(among.state[17] - exact).max()
    assert error_among <= 1.05 * error_alone
    averaged = (
        solve_ivp(
            lambda t, y: loop.rhs(y.reshape(64, 2), drive).ravel(),
            (0.0, 10.0),
            batch.ravel(),
            method=method,
            t_eval=times,
            rtol=rtol,
            atol=atol,
        )
        .y.reshape(64, 2, 3)[17]
        .T
    )
    assert np.abs(averaged - exact).max() > 3 * error_among


def test_a_stiff_trajectory_among_dull_ones():
    """64 solves of the same loop, one driven hard: each to 10 times the tolerance of the closed form."""
    loop = leaky(0.97)
    drive = np.zeros((64, 1))
    drive[40] = 0.03
    times = np.linspace(0.0, 100 * TAU, 9)
    found = integrate(loop, np.zeros((64, 1)), drive, times, rtol=1e-8, atol=1e-8).state[..., 0]
    exact = drive / 0.03 * (1 - np.exp(-0.03 * times / TAU))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-7)


@settings(max_examples=15)
@given(st.floats(0.0, 0.98), st.sampled_from(["RK45", "DOP853", "LSODA", "Radau"]))
def test_single_mode_relaxation(alpha, method):
    """z = u/(1 - alpha) (1 - exp(-(1 - alpha) t/tau)): settling time scales with 1/(1 - alpha) exactly."""
    times = np.linspace(0.0, 6 * TAU / (1 - alpha), 13)
    found = integrate(
        leaky(alpha),
        np.zeros((1, 1)),
        np.full((1, 1), 1 - alpha),
        times,
        method=method,
        rtol=1e-9,
        atol=1e-11,
    ).state[0, :, 0]
    np.testing.assert_allclose(found, 1 - np.exp(-(1 - alpha) * times / TAU), rtol=0, atol=2e-7)


def test_smooth_drive_of_time():
    """A sine on one pole: amplitude 1/sqrt(1 + (w tau)^2) and phase -atan(w tau), after the start has died away."""
    w = 2 * np.pi * 5e6
    times = np.concatenate([[0.0], np.linspace(40 * TAU, 50 * TAU, 30)])
    found = integrate(
        leaky(0.0), np.zeros((1, 1)), lambda t: np.full((1, 1), np.sin(w * t)), times, rtol=1e-9, atol=1e-11
    ).state[0, 1:, 0]
    np.testing.assert_allclose(found, np.sin(w * times[1:] - np.pi / 4) / np.sqrt(2), rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", ["RK45", "DOP853", "LSODA", "Radau", "BDF"])
def test_a_pulse_is_cut_into_segments(method):
    """50 ns in a 50 us window: one call over it all returns zero; three segments give the closed form."""
    loop, width = leaky(0.9), 50e-9
    pulse = 20e-6
    edges = [0.0, pulse, pulse + width, 50e-6]
    state = np.zeros((1, 1))
    for k, (a, b) in enumerate(itertools.pairwise(edges)):
        drive = np.full((1, 1), 1.0 if k == 1 else 0.0)
        stop = b if k < 2 else pulse + width + 1e-6
        state = integrate(
            loop, state, drive, np.array([a, stop]), method=method, rtol=1e-8, atol=1e-10
        ).state[:, -1]
    expected = 10 * (1 - np.exp(-0.1 * width / TAU)) * np.exp(-0.1 * 1e-6 / TAU)
    assert float(state[0, 0]) == pytest.approx(expected, abs=1e-6)


def test_returned_times_are_those_asked_for():
    times = np.array([0.0, 1e-9, 5e-9, 400e-9])
    found = integrate(leaky(0.0), np.zeros((3, 1)), np.ones((3, 1)), times)
    assert found.state.shape == (3, 4, 1)
    assert not found.state[:, 0].any()


def test_evaluations_count_the_batch_once():
    one = integrate(leaky(0.5), np.zeros((1, 1)), np.ones((1, 1)), np.array([0.0, 1e-6]))
    many = integrate(leaky(0.5), np.zeros((50, 1)), np.ones((50, 1)), np.array([0.0, 1e-6]))
    assert many.evaluations == one.evaluations


def test_batch_norm_of_one_trajectory_is_scipys():
    """With a single trajectory the worst and the average are the same: scipy's own steps, bit for bit."""
    loop = tanh_loop(1.5 * np.random.default_rng(0).standard_normal((5, 5)) / np.sqrt(5))
    drive, times = np.full((1, 5), 0.2), np.linspace(0, 20 * TAU, 5)
    ours = integrate(loop, np.zeros((1, 5)), drive, times, method="RK45")
    first = min(FIRST_STEP / loop.fastest_rate, times[-1])
    scipys = solve_ivp(
        lambda t, y: loop.rhs(y[None], drive)[0],
        (0, times[-1]),
        np.zeros(5),
        RK45,
        times,
        rtol=1e-5,
        atol=1e-6,
        first_step=first,
    )
    np.testing.assert_array_equal(ours.state[0], scipys.y.T)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_steady_state_of_contracting_loops(seed, gain):
    """Residual of the fixed-point equation, by plain iteration from elsewhere: 1e-9 V."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((6, 6))
    matrix *= gain / np.linalg.norm(matrix, 2)
    drive = rng.standard_normal((4, 6))
    found = steady_state(tanh_loop(matrix), rng.standard_normal((4, 6)), drive)
    np.testing.assert_allclose(found, TANH.response(found) @ matrix.T + drive, rtol=0, atol=1e-9)
    z = np.zeros((4, 6))
    for _ in range(400):
        z = TANH.response(z) @ matrix.T + drive
    np.testing.assert_allclose(found, z, rtol=0, atol=1e-9)


def test_steady_state_is_where_the_transient_ends(bench_of):
    bench = bench_of("aoc48", serial=1)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(3, 0.5)
    path = integrate(loop, np.zeros((3, 48)), drive, np.array([0.0, 200e-6]), rtol=1e-9, atol=1e-11).state
    np.testing.assert_allclose(steady_state(loop, 0.9 * path[:, -1], drive), path[:, -1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("beyond", [1e-3, 0.07, 1.0])
def test_steady_state_goes_on_where_a_loop_is_slow_and_then_fast_again(beyond):
    """z' = (2 tanh z + u - z)/tau a little beyond its fold, tanh^2 z = 1/2: one root, behind a residual that grows."""
    fold = np.sqrt(2) - np.arctanh(np.sqrt(0.5))
    drive = fold + beyond
    root = brentq(lambda z: 2 * np.tanh(z) + drive - z, 1.0, 6.0, xtol=1e-14)
    found = steady_state(tanh_loop([[2.0]]), np.array([[-2.5]]), np.array([[drive]]))
    assert found[0, 0] == pytest.approx(root, abs=1e-6)  # of the law's table


@pytest.mark.parametrize("share", [1.0, 0.999, 0.5, 0.0], ids=["settled", "nearly", "half-way", "from rest"])
def test_where_transients_lead_to_is_their_steady_state(bench_of, share):
    """By Newton's method with one jacobian where the way is straight, else by continuation; all proven stable."""
    bench = bench_of("aoc48", serial=1)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(3, 0.5)
    end = integrate(loop, np.zeros((3, 48)), drive, np.array([0.0, 18e-6])).state[:, -1]
    start = end * np.array([[1.0], [share], [1.0]])  # one solve among others
    found, proven = at_rest(loop, start, drive)
    np.testing.assert_allclose(found, steady_state(loop, start, drive, 1e-12), rtol=0, atol=1e-9)
    assert proven.all()


def test_a_rest_near_a_saddle_is_that_to_which_the_loop_goes():
    """z' = (3 tanh z - z)/tau: at zero Newton's method stands still, and the loop does not."""
    loop = tanh_loop([[3.0]])
    with pytest.raises(PhysicsError, match="unstable"):
        found, proven = at_rest(loop, np.zeros((1, 1)), np.zeros((1, 1)))
        assert not proven.any()
        require_stable(loop, found, np.zeros((1, 1)), "saddle")
    found, proven = at_rest(loop, np.array([[1e-3], [2.9]]), np.zeros((2, 1)))
    outer = brentq(lambda z: 3 * np.tanh(z) - z, 1.0, 4.0, xtol=1e-14)
    assert abs(found[1, 0]) == pytest.approx(outer, abs=1e-6) and proven[1]
    assert not proven[0] or abs(found[0, 0]) == pytest.approx(outer, abs=1e-6)


def test_a_rest_that_is_none_is_refused_with_the_number_among_all():
    """And what was asked about stays as it was, with a jacobian that cannot be inverted, too."""
    loop = Loop(
        1,
        (Arm("+", (Elementwise(TANH, gain_out=-1.0),)), Arm("alpha", (Scale(np.ones(1)),))),
        (Pole(np.full(1, 1 / TAU)),),
    )
    state, drive = np.array([[np.arctanh(0.5)], [0.0], [np.arctanh(0.2)]]), np.array([[0.5], [3.0], [0.2]])
    kept = state.copy()
    with pytest.raises(PhysicsError, match="solve 1 still moves"):
        at_rest(loop, state, drive)
    np.testing.assert_array_equal(state, kept)
    flat = Loop(2, (Arm("+", (Affine(np.full((2, 2), 0.5)),)),), (Pole(np.full(2, 1 / TAU)),))
    start = np.ones((1, 2))
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(flat.jacobian(start, np.zeros((1, 2))))
    found, proven = at_rest(flat, start, np.zeros((1, 2)))
    np.testing.assert_array_equal(found, start)
    assert not proven[0] and found is not start


def test_steady_state_without_any_is_refused_with_numbers():
    """A law that saturates below its drive has no equilibrium: -tanh z + 3 = 0 is never met."""
    loop = Loop(
        2,
        (Arm("+", (Elementwise(TANH, gain_out=-1.0),)), Arm("alpha", (Scale(np.ones(2)),))),
        (Pole(np.full(2, 1 / TAU)),),
    )
    drive = np.array([[0.5, 0.5], [0.5, 3.0]])
    with pytest.raises(PhysicsError, match=r"solve 1 still moves by .* V/us; there channel 1 leads"):
        steady_state(loop, np.zeros((2, 2)), drive)


def test_unstable_loop_is_refused_with_channel_and_eigenvalue():
    """Slope 3 at rest of channel 2: eigenvalue (3 - 1)/tau = +62.83 /us."""
    matrix = np.diag([0.5, 0.2, 3.0])
    with pytest.raises(PhysicsError, match=r"channel 2 .*\+62\.83 /us"):
        require_stable(tanh_loop(matrix), np.zeros((1, 3)), np.zeros((1, 3)), "here")


def test_bistable_loop_middle_state_is_refused_and_the_outer_ones_are_not():
    loop, drive = tanh_loop([[3.0]]), np.zeros((1, 1))
    with pytest.raises(PhysicsError, match="unstable"):
        require_stable(loop, steady_state(loop, np.zeros((1, 1)), drive), drive, "middle")
    for side in (-1.0, 1.0):
        end = settle(loop, drive, 0.1 * side)
        values = require_stable(loop, steady_state(loop, end, drive), drive, "outer")
        assert values.real.max() < 0
        # z = 3 tanh z, by bisection: 2.98470
        assert float(end[0, 0]) == pytest.approx(side * 2.984704585, abs=1e-6)


def test_oscillating_loop_is_refused_with_its_frequency():
    """Ring of three inverters at slope 2.5: eigenvalues (-1 + 2.5 e^{+-i pi/3})/tau, 5 MHz x 2.5 sin(pi/3)."""
    ring = -2.5 * np.roll(np.eye(3), 1, axis=1)
    with pytest.raises(PhysicsError, match=r"oscillating at 10\.8 MHz"):
        require_stable(tanh_loop(ring), np.zeros((1, 3)), np.zeros((1, 3)), "here")


def test_stability_limit_of_the_ring():
    """The ring of three rings for a slope above 2, and only above."""
    for slope, stable in ((1.99, True), (2.01, False)):
        loop = tanh_loop(-slope * np.roll(np.eye(3), 1, axis=1))
        if stable:
            require_stable(loop, np.zeros((1, 3)), np.zeros((1, 3)), "here")
        else:
            with pytest.raises(PhysicsError, match="unstable"):
                require_stable(loop, np.zeros((1, 3)), np.zeros((1, 3)), "here")


def test_a_further_pole_makes_a_stable_loop_ring():
    """Negative slope 8: one pole is stable whatever the gain, three equal ones are unstable above 8."""
    for gain, stable in ((7.9, True), (8.1, False)):
        loop = tanh_loop([[-gain]], poles=(5e6, 5e6))
        rest = np.zeros((1, 3)), np.zeros((1, 1))
        assert loop.states == 3
        if stable:
            require_stable(loop, *rest, "here")
        else:
            with pytest.raises(PhysicsError, match="channel 0"):
                require_stable(loop, *rest, "here")
    require_stable(tanh_loop([[-50.0]]), np.zeros((1, 1)), np.zeros((1, 1)), "here")


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method"):
        integrate(leaky(0.0), np.zeros((1, 1)), np.ones((1, 1)), np.array([0.0, 1e-9]), method="Euler")


@pytest.mark.parametrize("method", ["RK45", "DOP853"])
def test_a_blown_up_solution_is_refused(method):
    """A linear loop of slope 3 grows as exp(2 t/tau) and leaves the floats after 11.4 us: not a silent nan."""
    loop = leaky(3.0)
    with np.errstate(all="ignore"):
        try:
            found = integrate(
                loop, np.full((1, 1), 1.0), np.zeros((1, 1)), np.array([0.0, 40e-6]), method=method
            )
        except PhysicsError:
            return
    assert np.isfinite(found.state).all()


@pytest.mark.parametrize("method", ["RK45", "DOP853"])
def test_a_start_at_rest_stays_in_the_stable_range(method):
    """At rest SciPy guesses the whole span as its first step: stages overflowed before they were rejected."""
    rate = 1 / TAU
    arm = Arm("alpha", (Scale(np.full(2, 0.5)),))
    loop = Loop(2, (arm,), (Pole(np.full(2, rate)),))
    seen = []
    watched = loop.rhs

    def rhs(state, drive):
        seen.append(np.abs(state).max())
        return watched(state, drive)

    object.__setattr__(loop, "rhs", rhs)
    times = np.linspace(0.0, 20e-6, 41)
    integrate(loop, np.zeros((3, 2)), lambda t: np.full((3, 2), 0.02 * np.sin(2e6 * t)), times, method=method)
    assert max(seen) < 1.0
