"""Compiled ensembles against `Loop.rhs`, the order conditions, SciPy, and their own rules for blocks and exits."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from aocsim.compose import compose, electronics_of
from aocsim.errors import PhysicsError
from aocsim.law import Law
from aocsim.live import Live
from aocsim.loop import Arm, Loop
from aocsim.solve import tsit5
from aocsim.solve.ensemble import integrate_ensemble
from aocsim.solve.flat import flatten, from_blocks, to_blocks
from aocsim.solve.integrators import integrate
from aocsim.solve.kernels import right_hand_side, work_for
from aocsim.stages import Affine, Elementwise, Pole, Scale

RATE = 2 * np.pi * 5e6  # 1/s
TAU = 1 / RATE
METHODS = ("Tsit5", "Exponential")
TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -12.0, 12.0)
LAWS = (
    TANH,
    Law.tabulate("bump", lambda x: x * np.exp(-x * x), lambda x: (1 - 2 * x * x) * np.exp(-x * x), -3, 2, 37),
    Law.tabulate("one interval", np.sin, np.cos, -1.0, 1.5, 1),
)
seeds = st.integers(0, 2**32 - 1)


def alpha_loop(alpha):
    """z' = (alpha z + u - z)/tau for each channel's own alpha."""
    alpha = np.atleast_1d(np.asarray(alpha, float))
    return Loop(len(alpha), (Arm("alpha", (Scale(alpha),)),), (Pole(np.full(len(alpha), RATE)),))


def tanh_loop(matrix, poles=(), alpha=0.0):
    """z' = (alpha z + M tanh z + u - z)/tau, with filters in the path, of these rates in 1/s."""
    matrix = np.asarray(matrix, float)
    n = matrix.shape[-1]
    path = (Elementwise(TANH), *(Pole(np.full(n, rate)) for rate in poles), Affine(matrix))
    return Loop(n, (Arm("alpha", (Scale(np.full(n, alpha)),)), Arm("+", path)), (Pole(np.full(n, RATE)),))


def random_stage(rng, kind, n, solves, size):
    def spread(scale, *kinds):
        shape = kinds[rng.integers(len(kinds))]
        return scale * rng.standard_normal(shape) if shape else float(scale * rng.standard_normal())

    any_shape = ((), (n,), (solves, n))
    match kind:
        case "law":
            gain_in, offset_in, gain_out, offset_out = (
                spread(s, (), (n,)) for s in (1.0, 0.3, size, 0.3 * size)
            )
            return Elementwise(LAWS[rng.integers(len(LAWS))], gain_in, offset_in, gain_out, offset_out)
        case "shared":
            return Affine(size * rng.standard_normal((n, n)) / np.sqrt(n), spread(0.2, *any_shape))
        case "own":
            return Affine(size * rng.standard_normal((solves, n, n)) / np.sqrt(n), spread(0.2, *any_shape))
        case "scale":
            return Scale(spread(size, *any_shape), spread(0.2, *any_shape))
    return Pole(RATE * rng.uniform(0.5, 5.0, n))


def random_loop(rng, n, solves, size=1.0):
    """One to three arms of up to six stages, some with a common beginning; laws and matrices behind the sum."""

    def some(kinds, most):
        return tuple(random_stage(rng, k, n, solves, size) for k in rng.choice(kinds, rng.integers(0, most)))

    kinds = ["law", "shared", "own", "scale", "pole"]
    common = some(kinds, 3)
    arms = (
        Arm(f"arm {i}", (common if rng.random() < 0.5 else ()) + some(kinds, 5))
        for i in range(rng.integers(1, 4))
    )
    behind = some(kinds[:-1], 3) if rng.random() < 0.4 else ()
    return Loop(n, tuple(arms), (*behind, Pole(RATE * rng.uniform(0.5, 2.0, n))))


def compiled_rhs(loop, state, drive):
    flat = flatten(loop)
    y = to_blocks(state, loop.channels)
    out = np.empty_like(y)
    right_hand_side(flat, 0, y, drive, work_for(flat, len(drive)), out)
    return from_blocks(out)


def machine_loop(bench, own=False, solves=0):
    """The bench's loop as built; `own` with flicker and drift, so that each solve has matrices of its own."""
    program, machine = bench.compiled.program, bench.machine
    if not own:
        return compose(machine, program, bench.electronics)
    live, begun = Live.of(machine, 1), np.arange(solves) * 426e-6
    electronics = electronics_of(machine, program.alpha, program.beta, live.drift.at(begun))
    return compose(machine, program, electronics, live.flicker.at(begun))


# ---------------------------------------------------------------------------------------------- right-hand side


@settings(max_examples=60)
@given(seeds, st.integers(1, 13), st.integers(1, 70))
def test_right_hand_side_of_any_loop(seed, n, solves):
    """Arrays and interpreter against the stages themselves: 1e-12 of the largest slope."""
    rng = np.random.default_rng(seed)
    loop = random_loop(rng, n, solves)
    state, drive = 2 * rng.standard_normal((solves, loop.states)), rng.standard_normal((solves, n))
    expected = loop.rhs(state, drive)
    found = compiled_rhs(loop, state, drive)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@settings(max_examples=40)
@given(seeds, st.integers(1, 9), st.integers(2, 20), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
def test_right_hand_side_of_what_is_no_number(seed, n, solves, bad):
    """Not finite exactly where the stages say so, no index out of a table, and other solves are not touched."""
    rng = np.random.default_rng(seed)
    loop = random_loop(rng, n, solves)
    state, drive = 2 * rng.standard_normal((solves, loop.states)), rng.standard_normal((solves, n))
    clean = compiled_rhs(loop, state, drive)
    state[1, rng.integers(loop.states)] = bad
    with np.errstate(all="ignore"):
        expected = loop.rhs(state, drive)
    found = compiled_rhs(loop, state, drive)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    others = np.arange(solves) != 1
    np.testing.assert_allclose(found[others], clean[others], rtol=0, atol=1e-12 * np.abs(clean).max())


# --------------------------------------------------------------------------------------------------- Tsit5's pair


def rooted_trees(order):
    """Rooted trees with this number of nodes, each a sorted tuple of its branches."""
    if order == 1:
        return {()}
    found = set()
    for first in range(1, order):
        for branch, rest in itertools.product(rooted_trees(first), rooted_trees(order - first)):
            found.add(tuple(sorted((branch, *rest))))
    return found


def nodes(tree):
    return 1 + sum(map(nodes, tree))


def density(tree):
    return nodes(tree) * math.prod(map(density, tree))


def weights(tree, a):
    """Elementary weight of a tree at each stage."""
    out = np.ones(len(a))
    for branch in tree:
        out = out * (a @ weights(branch, a))
    return out


TREES = [tree for order in range(1, 6) for tree in sorted(rooted_trees(order), key=repr)]
SEVEN = np.zeros((7, 7))
SEVEN[:6, :6], SEVEN[6, :6] = tsit5.A, tsit5.B


def test_all_rooted_trees_are_there():
    assert [len(rooted_trees(order)) for order in range(1, 6)] == [1, 1, 2, 4, 9]


def test_order_conditions():
    """Butcher's conditions: order 5 of the weights, 4 of the estimate and no more, 4 of the interpolant."""
    np.testing.assert_allclose(SEVEN.sum(axis=1), [*tsit5.C, 1.0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(tsit5.P.sum(axis=1), [*tsit5.B, 0.0], rtol=0, atol=1e-12)
    left = []
    for tree in TREES:
        at_stages, order = weights(tree, SEVEN), nodes(tree)
        assert tsit5.B @ at_stages[:6] == pytest.approx(1 / density(tree), abs=1e-12)
        if order == 5:
            left.append(abs(tsit5.E @ at_stages))
            continue
        assert tsit5.E @ at_stages == pytest.approx(0, abs=1e-12)
        for fraction in (0.2, 0.45, 0.7, 0.9):
            b = tsit5.P @ fraction ** np.arange(1, 5)
            assert b @ at_stages == pytest.approx(fraction**order / density(tree), abs=1e-11)
    assert max(left) > 1e-5


def test_as_a_method_of_solve_ivp():
    """Van der Pol's oscillator against DOP853, at ends of steps and between them."""

    def rhs(t, y):
        return [y[1], 2 * (1 - y[0] ** 2) * y[1] - y[0]]

    times = np.linspace(0, 10, 57)
    found = solve_ivp(rhs, (0, 10), [2.0, 0.0], method=tsit5.Tsit5, t_eval=times, rtol=1e-8, atol=1e-10)
    exact = solve_ivp(rhs, (0, 10), [2.0, 0.0], method="DOP853", t_eval=times, rtol=1e-12, atol=1e-13)
    assert found.success
    np.testing.assert_allclose(found.y, exact.y, rtol=0, atol=3e-6)


OTHER_STEPS = 1e-8
"""Of the signal: rounding moves a result by less, other steps by more."""


def transients_of(seed, n, solves):
    """A random loop, starts, drives and times."""
    rng = np.random.default_rng(seed)
    loop = random_loop(rng, n, solves, size=0.6)
    state, drive = rng.standard_normal((solves, loop.states)), rng.standard_normal((solves, n))
    return loop, state, drive, TAU * np.array([0.0, 0.01, 0.5, 0.6, 4.0])


@settings(max_examples=25)
@given(seeds, st.integers(1, 9), st.integers(1, 8))
@example(seed=18753178, n=5, solves=5)
@example(seed=9162, n=1, solves=1)
def test_both_frames_take_the_same_steps(seed, n, solves):
    """A drive given as a function goes through SciPy: as many evaluations, and the same result but for rounding.

    Each evaluation rounds in its own order in either frame. Mostly that moves a result by some 1e-14 of the signal; but
    where the estimate of a step's error nearly vanishes, the length of the next step hangs on it, and then by 1e-10.
    """
    loop, state, drive, times = transients_of(seed, n, solves)
    compiled = integrate(loop, state, drive, times, method="Tsit5")
    scipys = integrate(loop, state, lambda t: drive, times, method="Tsit5")
    within = OTHER_STEPS * np.abs(compiled.state).max()
    np.testing.assert_allclose(compiled.state, scipys.state, rtol=0, atol=within)
    assert compiled.evaluations == scipys.evaluations


def test_other_steps_would_show():
    """Steps that are longer by some per cent, where it is not their growth that is limited."""
    loop, state, drive, times = transients_of(seed=18753178, n=5, solves=5)
    found = integrate(loop, state, drive, times, method="Tsit5")
    others = integrate(loop, state, drive, times, method="Tsit5", rtol=1.2e-5, atol=1.2e-6)
    assert np.abs(others.state - found.state).max() > 10 * OTHER_STEPS * np.abs(found.state).max()


# ------------------------------------------------------------------------------------------------------- accuracy


@pytest.fixture(scope="module")
def hard_and_easy(bench_of):
    """64 solves of a machine, 63 driven weakly and one hard, with DOP853 at 1e-12."""
    bench = bench_of("aoc48", serial=1)
    _, drive = bench.drive(64, 0.5)
    drive = 0.3 * drive
    drive[37] *= 8
    times = np.concatenate([[0.0, 0.03e-6], np.linspace(0.4e-6, 6e-6, 8)])
    out = {}
    for own in (False, True):
        loop = machine_loop(bench, own, 64)
        start = np.zeros((64, loop.states))
        exact = integrate(loop, start, drive, times, method="DOP853", rtol=1e-12, atol=1e-13).state
        out[own] = loop, start, drive, times, exact
    return out


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_worst_trajectory_meets_the_tolerance(hard_and_easy, method, own):
    loop, start, drive, times, exact = hard_and_easy[own]
    assert own or np.abs(exact[37]).max() > 0.4
    for tolerance in 10.0 ** -np.arange(3, 9):
        found = integrate(loop, start, drive, times, method=method, rtol=tolerance, atol=tolerance / 10)
        assert np.abs(found.state - exact).max() <= 30 * tolerance, tolerance


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [16, pytest.param(48, marks=pytest.mark.slow)])
def test_all_poles_of_the_machine(bench_of, method, channels):
    """Nodes within 30 times the tolerance with every pole, against DOP853; filters carry 1e-8 to 1e-5 A."""
    bench = bench_of("aoc48", serial=1, channels=channels, poles={"sheet": "poles_all"})
    loop = machine_loop(bench)
    _, drive = bench.drive(3, 0.5)
    start, times = np.zeros((3, loop.states)), np.linspace(0.0, 1e-6, 6)
    exact = integrate(loop, start, drive, times, method="DOP853", rtol=1e-11, atol=1e-18).state[
        ..., :channels
    ]
    for tolerance in (1e-3, 1e-5, 1e-7):
        found = integrate(
            loop, start, drive, times, method=method, rtol=tolerance, atol=tolerance / 10, recorded=1
        )
        assert np.abs(found.state - exact).max() <= 30 * tolerance, tolerance


# -------------------------------------------------------------------------------------- blocks, threads, recording


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_neither_threads_nor_later_solves_change_a_bit(method, own):
    rng = np.random.default_rng(5)
    matrix = 0.8 * rng.standard_normal((100, 5, 5) if own else (5, 5)) / np.sqrt(5)
    loop = tanh_loop(matrix, poles=(7 * RATE,), alpha=0.3)
    state, drive = rng.standard_normal((100, 10)), rng.standard_normal((100, 5))
    times = np.linspace(0, 12 * TAU, 7)
    one = integrate(loop, state, drive, times, method=method)
    for threads in (2, 3):
        many = integrate(loop, state, drive, times, method=method, threads=threads)
        np.testing.assert_array_equal(many.state, one.state)
        assert many.evaluations == one.evaluations
    fewer = tanh_loop(matrix[:64] if own else matrix, poles=(7 * RATE,), alpha=0.3)
    alone = integrate(fewer, state[:64], drive[:64], times, method=method)
    np.testing.assert_array_equal(one.state[:64], alone.state)
    nodes_alone = integrate(loop, state, drive, times, method=method, recorded=1)
    np.testing.assert_array_equal(nodes_alone.state, one.state[..., :5])


@pytest.mark.parametrize("method", METHODS)
def test_a_block_of_one_agrees_with_a_block_of_many(method):
    """Own steps, the same solution."""
    rng = np.random.default_rng(6)
    loop = tanh_loop(0.8 * rng.standard_normal((9, 5, 5)) / np.sqrt(5), alpha=0.3)
    state, drive = rng.standard_normal((9, 5)), rng.standard_normal((9, 5))
    times = np.linspace(0, 12 * TAU, 7)
    options = {"method": method, "rtol": 1e-9, "atol": 1e-10}
    whole = integrate_ensemble(loop, state, drive, times, **options).state
    single = integrate_ensemble(loop, state, drive, times, rows=1, **options).state
    np.testing.assert_allclose(single, whole, rtol=0, atol=3e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_layout_and_type_of_the_input_do_not_matter(method, precision):
    rng = np.random.default_rng(7)
    loop = tanh_loop(0.4 * rng.standard_normal((4, 4)))
    state, drive = np.ones((6, 4)), rng.standard_normal((6, 4))
    times = np.linspace(0, 5 * TAU, 6)
    usual = integrate(loop, state, drive, times, method=method, precision=precision).state
    padded = np.zeros((12, 8))
    padded[::2, ::2] = drive
    for other_state, other_drive, other_times in (
        (state.astype(int), np.asfortranarray(drive), list(times)),
        (np.asfortranarray(state), padded[::2, ::2], np.repeat(times, 2)[::2]),
    ):
        found = integrate(loop, other_state, other_drive, other_times, method=method, precision=precision)
        np.testing.assert_array_equal(found.state, usual)
    assert not np.shares_memory(found.state, state)
    assert (state == 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_clock_may_begin_anywhere(method):
    loop, drive, times = alpha_loop([0.5, 0.9]), np.ones((1, 2)), np.linspace(0, 10 * TAU, 11)
    usual = integrate(loop, np.zeros((1, 2)), drive, times, method=method).state
    for begin in (-3e-6, 1e-3, 10.0):
        shifted = integrate(loop, np.zeros((1, 2)), drive, times + begin, method=method).state
        np.testing.assert_allclose(shifted, usual, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_no_solves_and_one_instant(method):
    loop = alpha_loop([0.5, 0.9])
    none = integrate(loop, np.zeros((0, 2)), np.zeros((0, 2)), np.linspace(0, TAU, 3), method=method)
    assert none.state.shape == (0, 3, 2)
    start = np.array([[1.0, 2.0]])
    found = integrate(loop, start, np.zeros((1, 2)), np.array([1e-6]), method=method)
    np.testing.assert_array_equal(found.state[:, 0], start)


@pytest.mark.parametrize("method", METHODS)
def test_shared_stages_shared_poles_and_chains(method):
    """Two arms behind one pole, one of them behind a second; another is no more than poles; one has no stage."""
    rng = np.random.default_rng(8)
    law, first, second = (
        Elementwise(TANH),
        Pole(np.full(4, 30 * RATE)),
        Pole(RATE * np.array([7, 9, 70, 200.0])),
    )
    arms = (
        Arm("+", (law, first, second, Affine(0.5 * rng.standard_normal((4, 4))))),
        Arm("-", (law, first, Affine(-0.5 * rng.standard_normal((4, 4))))),
        Arm("poles", (law, first, second)),
        Arm("wire", ()),
    )
    loop = Loop(4, arms, (Elementwise(TANH, gain_out=0.5), Pole(np.full(4, RATE))))
    assert loop.blocks == 3
    state, drive, times = np.zeros((3, 12)), rng.standard_normal((3, 4)), np.linspace(0, 20 * TAU, 5)
    exact = integrate(loop, state, drive, times, method="DOP853", rtol=1e-12, atol=1e-14).state
    for tolerance in (1e-4, 1e-6, 1e-8):
        found = integrate(loop, state, drive, times, method=method, rtol=tolerance, atol=tolerance / 10).state
        np.testing.assert_allclose(found, exact, rtol=0, atol=30 * tolerance)


@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_signals_narrower_than_the_loop(method):
    """Per-channel gains and laws where a matrix has made the signal narrow."""
    rng = np.random.default_rng(9)
    down, up = (
        Affine(0.5 * rng.standard_normal((2, 4)), np.array([0.1, 0.2])),
        Affine(rng.standard_normal((4, 2))),
    )
    law = Elementwise(TANH, gain_in=np.array([1.0, 0.5]), offset_out=0.3)
    loop = Loop(4, (Arm("+", (down, law, Scale(np.array([0.3, 0.6])), law, up)),), (Pole(np.full(4, RATE)),))
    drive, times = rng.standard_normal((3, 4)), np.linspace(0, 10 * TAU, 4)
    exact = integrate(loop, np.zeros((3, 4)), drive, times, method="DOP853", rtol=1e-11, atol=1e-12).state
    found = integrate(loop, np.zeros((3, 4)), drive, times, method=method, rtol=1e-7, atol=1e-8).state
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6)


def test_wider_signals_go_to_scipy_by_themselves_alone():
    rng = np.random.default_rng(10)
    arm = Arm(
        "+", (Affine(rng.standard_normal((5, 3))), Elementwise(TANH), Affine(rng.standard_normal((3, 5))))
    )
    loop = Loop(3, (arm,), (Pole(np.full(3, RATE)),))
    args = loop, np.zeros((2, 3)), rng.standard_normal((2, 3)), np.array([0.0, 3 * TAU])
    np.testing.assert_allclose(
        integrate(*args).state, integrate(*args, method="DOP853", rtol=1e-9).state, rtol=0, atol=1e-4
    )
    for method in METHODS:
        with pytest.raises(PhysicsError, match="5 channels inside a loop of 3"):
            integrate(*args, method=method)


# ---------------------------------------------------------------------------------------------------- steady exit


# ------------------------------------------------------------------------------------------------ single precision


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_float32(hard_and_easy, method, own):
    loop, start, drive, times, exact = hard_and_easy[own]
    found = integrate(
        loop, start, drive, times, method=method, rtol=1e-4, atol=1e-5, precision=np.float32
    ).state
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-3)


# ------------------------------------------------------------------------------------------------------- refusals

AT = np.linspace(0, 10 * TAU, 5)


def attempt(loop=None, state=None, drive=None, times=AT, **options):
    loop = loop or tanh_loop(0.3 * np.eye(2))
    solves = 3 if state is None else len(state)
    state = np.zeros((solves, loop.states)) if state is None else state
    return integrate(
        loop, state, np.ones((solves, loop.channels)) if drive is None else drive, times, **options
    )


def test_an_exhausted_budget_names_channel_rate_and_remedy():
    """Own rates of RATE and 1000 RATE (1 + 0.5): channel 1 sets the steps of an explicit method."""
    arms = (Arm("+", (Scale(np.array([0.2, 0.5])),)),)
    loop = Loop(2, arms, (Pole(RATE * np.array([1.0, 1000.0])),))
    rate = re.escape(f"{500 * RATE * 1e-6:.4g}")
    with pytest.raises(PhysicsError, match=rf"Tsit5 .* 50 steps .* channel 1 .* {rate} /us.*'Exponential'"):
        attempt(loop, method="Tsit5", most_steps=50)
    with pytest.raises(
        PhysicsError, match=r"Exponential .* 3 steps .* channel \d .* /us.*loosen rtol or atol"
    ):
        attempt(method="Exponential", most_steps=3)


@pytest.mark.parametrize("method", METHODS)
def test_an_unstable_loop_names_channel_and_gain(method):
    with pytest.raises(PhysicsError, match=r"solve 0: channel 1 leaves all bounds; .* gain of 1\.5"):
        attempt(alpha_loop([0.5, 1.5, 0.2]), method=method, times=np.linspace(0, 400e-6, 9))
    grow = np.zeros((3, 3))
    grow[1, 2] = grow[2, 1] = 3.0
    loop = Loop(3, (Arm("+", (Affine(grow),)),), (Pole(np.full(3, RATE)),))
    with pytest.raises(PhysicsError, match=r"channel [12] leaves all bounds; .*\+62\.83 /us"):
        attempt(loop, method=method, times=np.linspace(0, 400e-6, 9))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["state", "drive"])
def test_what_is_no_number_is_refused_as_such(method, bad, where):
    """And not as an unstable loop: the message names what was given, solve and channel."""
    given = np.zeros((3, 2))
    given[2, 1] = bad
    with pytest.raises((PhysicsError, ValueError), match=rf"{where}.*solve 2.*channel 1"):
        attempt(method=method, **{where: given})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "drive",
    [np.ones(2), np.ones((2, 2)), np.ones((4, 2)), np.ones((3, 1)), np.ones((3, 4))],
    ids=np.shape,
)
def test_a_drive_of_another_shape_is_refused(method, drive):
    with pytest.raises(ValueError, match="drive"):
        attempt(method=method, drive=drive)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(3, 4), (3, 1), (2,)])
def test_a_state_of_another_shape_is_refused(method, shape):
    with pytest.raises(ValueError, match="state"):
        attempt(method=method, state=np.zeros(shape), drive=np.ones((3, 2)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [AT[::-1], AT[[0, 1, 1, 2]], AT[[0, 2, 1, 3]], [0.0, np.nan, 1e-6], []])
def test_instants_that_do_not_increase_are_refused(method, times):
    with pytest.raises(ValueError, match="increas"):
        attempt(method=method, times=times)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("kind", ["matrix", "offset", "gain"])
def test_parameters_of_another_number_of_solves_are_refused(method, count, kind):
    """Kernels look up solve by solve: two for three solves would be read beyond their end."""
    stage = {
        "matrix": Affine(np.zeros((count, 2, 2))),
        "offset": Affine(np.zeros((2, 2)), np.zeros((count, 2))),
        "gain": Scale(np.zeros((count, 2))),
    }[kind]
    loop = Loop(2, (Arm("+", (stage,)),), (Pole(np.full(2, RATE)),))
    with pytest.raises(ValueError, match="solves"):
        attempt(loop, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [{"recorded": 5}, {"rtol": -1.0}, {"rtol": np.nan}, {"rtol": 0.0, "atol": 0.0}, {"threads": 0}],
    ids=str,
)
def test_options_without_sense_are_refused(method, options):
    with pytest.raises((ValueError, PhysicsError), match=next(iter(options))):
        attempt(method=method, **options)
