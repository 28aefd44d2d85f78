"""Integration through switching events against closed forms of linear loops."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.piecewise import Piece, integrate_pieces, opened
from aocsim.stages import Affine, Elementwise, Noise, Pole, Scale

TAU = 1 / (2 * np.pi * 5e6)
METHODS = ("Tsit5", "Exponential", "RK45", "DOP853", "LSODA", "Radau", "BDF")
TIGHT = {"rtol": 1e-8, "atol": 1e-10}
BEGIN, WIDTH, WINDOW = 20e-6, 50e-9, 50e-6
AMPLITUDES = np.array([[0.1, -0.4], [1.0, 0.0], [-0.3, 0.7]])
TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -12.0, 12.0)


def relaxed(alpha=0.97, channels=2):
    """W = 0: tau z' = u - (1 - alpha) z."""
    pole = Pole(np.full(channels, 1 / TAU))
    return Loop(channels, (Arm("alpha", (Scale(np.full(channels, alpha)),)),), (pole,))


def pulsed(times, alpha=0.97):
    """Closed form of the response to AMPLITUDES between BEGIN and BEGIN + WIDTH, (3, times, 2) V."""

    def step(t):
        return -np.expm1(-(1 - alpha) * np.maximum(t, 0.0) / TAU) / (1 - alpha)

    return AMPLITUDES[:, None, :] * (step(times - BEGIN) - step(times - BEGIN - WIDTH))[:, None]


def pulse_pieces(drive=AMPLITUDES):
    edges = (0.0, BEGIN, BEGIN + WIDTH, WINDOW)
    return [Piece(a, b, drive * (k == 1)) for k, (a, b) in enumerate(pairwise(edges))]


@pytest.mark.parametrize("method", METHODS)
def test_a_short_pulse_in_a_long_window_is_met(method):
    """50 ns in 50 us for three solves of different amplitude: 2e-7 V off the closed form at every instant: on the
    cuts, within the pulse, right behind it and at the window's end."""
    inner = [BEGIN, BEGIN + 20e-9, BEGIN + WIDTH, BEGIN + 60e-9]
    times = np.unique([*np.linspace(0.0, WINDOW, 11), *inner])
    found = integrate_pieces(relaxed(), np.zeros((3, 2)), pulse_pieces(), times, method=method, **TIGHT)
    exact = pulsed(times)
    assert np.abs(exact[0]).max() > 0.1
    np.testing.assert_allclose(found.state, exact, rtol=0, atol=2e-7)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "Exponential"])
def test_one_call_over_the_pulse_loses_it(method):
    """Why time is cut: with the same drive as a function of time every method steps over the pulse and says nothing."""

    def drive(t):
        return AMPLITUDES * (BEGIN <= t < BEGIN + WIDTH)

    times = np.array([0.0, BEGIN + WIDTH, WINDOW])
    lost = integrate(relaxed(), np.zeros((3, 2)), drive, times, method=method, **TIGHT).state
    assert not lost.any()
    assert np.abs(pulsed(times)).max() > 1.0


def tanh_loop(channels=4, poles=(80e6,)):
    rng = np.random.default_rng(5)
    matrix = 0.8 * rng.standard_normal((channels, channels)) / np.sqrt(channels)
    further = tuple(Pole(np.full(channels, 2 * np.pi * f)) for f in poles)
    front = Elementwise(TANH)
    arms = (
        Arm("+", (front, *further, Affine(matrix, 0.02))),
        Arm("-", (front, *further, Affine(-0.3 * np.eye(channels)))),
        Arm("alpha", (Scale(0.8),)),
    )
    return Loop(channels, arms, (Scale(1.0, 0.01), Pole(np.full(channels, 1 / TAU))))


@settings(max_examples=10)
@given(st.lists(st.floats(1e-9, 0.3e-6), min_size=1, max_size=5), st.sampled_from(["RK45", "DOP853"]))
def test_cutting_a_constant_drive_changes_nothing(lengths, method):
    """Nonlinear loop of two poles, at 1e-9: the same within 1e-6 V however it is cut."""
    edges = np.concatenate([[0.0], np.cumsum(lengths)])
    loop, start = tanh_loop(), np.zeros((2, 8))
    drive = np.random.default_rng(1).standard_normal((2, 4))
    times = np.linspace(0.0, edges[-1], 7)
    pieces = [Piece(a, b, drive) for a, b in pairwise(edges)]
    cut = integrate_pieces(loop, start, pieces, times, method=method, rtol=1e-9, atol=1e-11).state
    whole = integrate(loop, start, drive, times, method=method, rtol=1e-9, atol=1e-11).state
    np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-6)


def test_one_piece_is_one_call():
    """Bit for bit, evaluations included."""
    loop, drive = tanh_loop(), np.full((2, 4), 0.3)
    times = np.linspace(0.0, 1e-6, 5)
    one = integrate_pieces(loop, np.zeros((2, 8)), [Piece(0.0, 1e-6, drive)], times)
    other = integrate(loop, np.zeros((2, 8)), drive, times)
    np.testing.assert_array_equal(one.state, other.state)
    assert one.evaluations == other.evaluations


@pytest.mark.parametrize("method", METHODS)
def test_an_open_node_discharges_through_its_pole_and_the_arm_follows(method):
    """z = z0 e^{-t/tau}; a pole r of an arm sees it, y = y0 e^{-rt} + z0 r (e^{-t/tau} - e^{-rt})/(r - 1/tau).

    The arm's gain, an offset at the node and the drive are without effect on the node while the loop is open.
    """
    r = 2 * np.pi * 20e6
    loop = Loop(
        1,
        (Arm("+", (Pole(np.array([r])), Scale(0.9))), Arm("alpha", (Scale(0.5),))),
        (Scale(1.0, 0.2), Pole(np.array([1 / TAU]))),
    )
    start = np.array([[0.8, -0.1], [-0.5, 0.3]])
    times = np.linspace(0.0, 0.3e-6, 7)
    found = integrate_pieces(
        loop, start, [Piece(0.0, 0.3e-6, np.full((2, 1), 0.4), closed=False)], times, method=method, **TIGHT
    ).state
    node, arm = np.exp(-times / TAU), np.exp(-r * times)
    follows = start[:, :1] * r * (node - arm) / (r - 1 / TAU)
    np.testing.assert_allclose(found[..., 0], start[:, :1] * node, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found[..., 1], start[:, 1:] * arm + follows, rtol=0, atol=1e-7)


def test_close_open_close():
    """tau z' = 1 - 0.1 z for 1 us, open for 20 ns, closed again: three exponentials joined by hand."""
    loop, drive = relaxed(0.9, 1), np.ones((1, 1))
    edges = (0.0, 1e-6, 1.02e-6, 2e-6)
    pieces = [Piece(a, b, drive, closed=k != 1) for k, (a, b) in enumerate(pairwise(edges))]
    found = integrate_pieces(loop, np.zeros((1, 1)), pieces, np.array(edges), **TIGHT).state[0, :, 0]
    first = 10 * (1 - np.exp(-0.1e-6 / TAU))
    second = first * np.exp(-20e-9 / TAU)
    third = 10 + (second - 10) * np.exp(-0.1 * 0.98e-6 / TAU)
    np.testing.assert_allclose(found, [0.0, first, second, third], rtol=0, atol=1e-6)


def test_the_open_loop_has_the_same_states_and_no_feedback():
    """Jacobian of the open loop: the node's row is -1/tau alone, the arms' rows are those of the closed loop, no noise
    of an arm reaches the node."""
    closed = tanh_loop()
    noisy = (*closed.arms[0].stages, Noise("arm", lambda x: np.full_like(x, 1e-12)))
    closed = replace(closed, arms=(Arm("+", noisy), *closed.arms[1:]))
    state = np.random.default_rng(2).standard_normal((3, closed.states))
    drive = np.zeros((3, 4))
    a, d = opened(closed).linearise(state, drive)
    reference, noise = closed.linearise(state, drive)
    np.testing.assert_array_equal(a[:, :4], np.broadcast_to(np.eye(4, 8) / -TAU, (3, 4, 8)))
    np.testing.assert_array_equal(a[:, 4:], reference[:, 4:])
    assert noise.any()
    assert not d.any()


def test_each_solve_has_its_own_matrix():
    """A leading axis in the stages: batched, and one trajectory a call, against each solve alone."""
    rng = np.random.default_rng(3)
    matrices = 0.5 * rng.standard_normal((3, 2, 2))
    pole, drive = Pole(np.full(2, 1 / TAU)), rng.standard_normal((3, 2))
    loop = Loop(2, (Arm("+", (Elementwise(TANH), Affine(matrices))),), (pole,))
    edges = (0.0, 0.1e-6, 0.15e-6, 0.4e-6)
    times = np.linspace(0.0, 0.4e-6, 9)
    batch = [Piece(a, b, drive, closed=k != 1) for k, (a, b) in enumerate(pairwise(edges))]
    for method in ("DOP853", "Radau"):
        together = integrate_pieces(loop, np.zeros((3, 2)), batch, times, method=method, **TIGHT).state
        for i in range(3):
            own = Loop(2, (Arm("+", (Elementwise(TANH), Affine(matrices[i]))),), (pole,))
            pieces = [replace(piece, drive=drive[i : i + 1]) for piece in batch]
            alone = integrate_pieces(own, np.zeros((1, 2)), pieces, times, **TIGHT).state
            np.testing.assert_allclose(together[i], alone[0], rtol=0, atol=1e-6)


def test_when_a_pulse_comes_does_not_matter():
    """4096 s later, on a grid of 2^-27 s, where sums are exact: bit for bit."""
    grid = 2.0**-27
    edges = np.array([0, 2000, 2007, 7000]) * grid
    times = np.array([2003, 2007, 2500]) * grid

    def found(shift):
        pieces = [Piece(a, b, AMPLITUDES * (k == 1)) for k, (a, b) in enumerate(pairwise(edges + shift))]
        return integrate_pieces(relaxed(), np.zeros((3, 2)), pieces, times + shift).state

    np.testing.assert_array_equal(found(4096.0), found(0.0))


def test_nothing_is_integrated_beyond_the_last_instant():
    """Neither further pieces nor the rest of the last one."""
    loop, state = relaxed(), np.zeros((3, 2))
    for stop in (BEGIN + 20e-9, BEGIN + WIDTH):
        pieces = [pulse_pieces()[0], replace(pulse_pieces()[1], stop=stop)]
        short = integrate_pieces(loop, state, pieces, np.array([stop]))
        long = integrate_pieces(loop, state, pulse_pieces(), np.array([stop]))
        assert long.evaluations == short.evaluations
    start = integrate_pieces(loop, state + 0.3, pulse_pieces(), np.array([0.0]))
    assert (start.evaluations, start.state.tolist()) == (0, [[[0.3, 0.3]]] * 3)


def test_a_state_is_not_written_to():
    state = np.full((3, 2), 0.3)
    integrate_pieces(relaxed(), state, pulse_pieces(), np.array([0.0, WINDOW]))
    assert (state == 0.3).all()


DRIVE = np.zeros((3, 2))


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([], "no pieces"),
        ([(0.0, 1e-6), (1.1e-6, 2e-6)], "ends at 1e-06 s, the next one begins at 1.1e-06 s"),
        ([(0.0, 1e-6), (0.9e-6, 2e-6)], "ends at 1e-06 s, the next one begins at 9e-07 s"),
        ([(1e-6, 2e-6), (0.0, 1e-6)], "ends at 2e-06 s, the next one begins at 0.0 s"),
        ([(0.0, 1e-6), (1e-6, 1e-6), (1e-6, 2e-6)], "from 1e-06 s to 1e-06 s is empty"),
        ([(1e-6, 0.0)], "is empty"),
        ([(0.0, float("nan"))], "is empty"),
    ],
)
def test_pieces_that_do_not_join_are_refused(spans, message):
    with pytest.raises(ValueError, match=message):
        integrate_pieces(relaxed(), DRIVE, [Piece(a, b, DRIVE) for a, b in spans], np.array([0.5e-6]))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "there must be one"),
        ([1e-6, 1e-6], "must increase"),
        ([2e-6, 1e-6], "must increase"),
        ([float("nan")], "outside|increase"),
        ([-1e-9, 1e-6], "outside the pieces"),
        ([1e-6, 51e-6], "outside the pieces"),
    ],
)
def test_instants_outside_are_refused(times, message):
    with pytest.raises(ValueError, match=message):
        integrate_pieces(relaxed(), DRIVE, pulse_pieces(), np.array(times))


def test_wrong_shapes_are_refused():
    """No broadcasting: one drive for a batch of three is an error."""
    with pytest.raises(ValueError, match=r"drive must be \(3, 2\), got \(1, 2\)"):
        integrate_pieces(relaxed(), DRIVE, pulse_pieces(AMPLITUDES[:1]), np.array([1e-6]))
    with pytest.raises(ValueError, match=r"state must be \(solves, 2\), got \(3, 4\)"):
        integrate_pieces(relaxed(), np.zeros((3, 4)), pulse_pieces(), np.array([1e-6]))
