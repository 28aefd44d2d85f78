"""The steady-state exit against integration to the end: what it fills in is never farther off than it says."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from aocsim.compose import compose
from aocsim.errors import PhysicsError
from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.outcome import EVALUATIONS
from aocsim.solve.rest import Watch, judge
from aocsim.stages import Affine, Delay, Elementwise, Pole, Scale

RATE = 2 * np.pi * 5e6  # 1/s
TAU = 1 / RATE
METHODS = ("Tsit5", "Exponential")
WITHIN = 1e-5  # V
TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -12.0, 12.0)


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


def exited(loop, state, drive, times, method):
    """What was found with exit, and by how much it is farther from the real path, V, than it may."""
    options = {"method": method, "rtol": 1e-7, "atol": 1e-8}
    found = integrate(loop, state, drive, times, steady_exit=WITHIN, **options)
    reference = "Radau" if loop.blocks > 1 else "DOP853"
    real = integrate(loop, state, drive, times, method=reference, rtol=1e-10, atol=1e-13).state
    away = np.abs(found.state - real)[..., : loop.channels].max(axis=(1, 2))
    size = np.abs(real[..., : loop.channels]).max(axis=(1, 2))
    plain = integrate(loop, state, drive, times, **options).state
    own = np.abs(plain - real)[..., : loop.channels].max(axis=(1, 2))
    return found, away - np.nan_to_num(found.left) - 2 * own - 1e-7 * size - 1e-8


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sheet", ["poles", "poles_all"])
def test_of_the_machine(bench_of, method, sheet):
    bench = bench_of("aoc48", serial=1, channels=16, poles={"sheet": sheet})
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(20, 0.5)
    start, times = np.zeros((20, loop.states)), np.linspace(0.0, 200e-6, 101)
    if sheet == "poles_all" and method == "Tsit5":
        times = times[:11]
    options = {"method": method, "rtol": 1e-8, "atol": 1e-9}
    whole = integrate(loop, start, drive, times, **options)
    found = integrate(loop, start, drive, times, steady_exit=WITHIN, **options)
    assert whole.left is None
    if sheet == "poles" and method == "Tsit5":  # at rest the other method takes long steps anyway
        assert np.isfinite(found.left).all()
        assert found.evaluations < 0.5 * whole.evaluations
    assert np.nanmax(found.left, initial=0.0) <= WITHIN
    nodes = (..., slice(loop.channels))
    np.testing.assert_allclose(found.state[nodes], whole.state[nodes], rtol=0, atol=WITHIN + 1e-7)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 0.999),
    st.floats(0.0, 1.5),
    st.integers(1, 4),
    st.sampled_from(METHODS),
    st.booleans(),
)
@example(1285763, 0.5, 1.0, 3, "Tsit5", False)  # neither grows nor decays: a linearised loop decides nothing
def test_an_exit_is_never_wrong(seed, alpha, radius, n, method, linear):
    """Spectral radius up to 1.5 of the matrix, slow channels, kicks down to a tenth of a microvolt."""
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, n))
    matrix *= radius * (1 - alpha) / max(1e-3, np.abs(np.linalg.eigvals(matrix)).max())
    path = (Affine(matrix),) if linear else (Elementwise(TANH), Affine(matrix))
    loop = Loop(n, (Arm("alpha", (Scale(np.full(n, alpha)),)), Arm("+", path)), (Pole(np.full(n, RATE)),))
    size = 10.0 ** rng.uniform(-7, 0, (3, 1))
    state, drive = size * rng.standard_normal((3, n)), size * (1 - alpha) * rng.standard_normal((3, n))
    _, beyond = exited(loop, state, drive, np.linspace(0, 30 * TAU / (1 - alpha), 16), method)
    assert beyond.max() <= 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("loop", "state", "drive"),
    [
        pytest.param(alpha_loop(1.5), [[0.0]], [[1e-7]], id="alpha above 1 near its unstable rest"),
        pytest.param(alpha_loop([1.0, 0.5]), [[0.0, 0.0]], [[0.0, 1e-9]], id="alpha of 1 at rest"),
        pytest.param(alpha_loop([1.0, 0.5]), [[0.0, 0.0]], [[1e-7, 0.0]], id="alpha of 1 drifting"),
        pytest.param(tanh_loop(np.diag([3.0, 0.1])), [[1e-10, 5e-6]], [[0.0, 0.0]], id="saddle"),
        pytest.param(tanh_loop([[3.0]]), [[1e-9], [2e-6]], [[0.0], [0.0]], id="bistable"),
        pytest.param(tanh_loop([[-8.5]], (RATE, RATE)), [[1e-6, 0.0, 0.0]], [[0.0]], id="ringing"),
    ],
)
def test_none_at_a_rest_that_does_not_attract(method, loop, state, drive):
    """At the first instants all of them stand within the exit's volts of an equilibrium."""
    assert judge(loop, np.array(state), np.array(drive)) is None
    found, beyond = exited(loop, np.array(state), np.array(drive), np.linspace(0, 3 * TAU, 7), method)
    assert np.isnan(found.left).all()
    assert beyond.max() <= 0


@pytest.mark.parametrize(
    ("method", "fast"), [("Tsit5", ()), ("Exponential", ()), ("Exponential", (1000 * RATE,))]
)
@pytest.mark.parametrize("offset", [1e-4, 2e-3, 0.1, 1.0])
def test_none_while_a_slow_filter_is_on_its_way(method, fast, offset):
    """The node stands at its equilibrium by chance, the filter does not and will push it off."""
    loop = tanh_loop([[0.5]], (*fast, RATE / 20))
    z = 1.0
    drive = np.array([[z - 0.5 * np.tanh(z)]])
    state = np.full((1, loop.states), np.tanh(z))
    state[0, 0], state[0, -1] = z, np.tanh(z) + offset
    _, beyond = exited(loop, state, drive, np.linspace(0, 200 * TAU, 41), method)
    assert beyond.max() <= 0


@pytest.mark.parametrize("method", METHODS)
def test_a_record_shorter_than_the_settling_is_integrated_to_its_end(method):
    loop, times = alpha_loop([0.5, 0.999]), np.linspace(0, 50 * TAU, 6)
    start, drive = np.zeros((1, 2)), np.full((1, 2), 0.01)
    found = integrate(loop, start, drive, times, method=method, steady_exit=WITHIN)
    assert np.isnan(found.left).all()
    plain = integrate(loop, start, drive, times, method=method)
    np.testing.assert_array_equal(found.state, plain.state)


@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_looks_without_success_change_no_bit(monkeypatch, method, spaced):
    """A block goes on from where it paused as if nothing had happened."""
    looks = []
    monkeypatch.setattr(Watch, "leaves", lambda self, *args: looks.append(args))
    loop = tanh_loop([[0.4, -0.8], [0.8, 0.3]], (3 * RATE, RATE / 3))
    times = 400 * TAU * (np.linspace(0, 1, 9) if spaced else np.array([0, 0.01, 0.02, 0.03, 0.5, 0.6, 1]))
    start, drive = np.zeros((5, loop.states)), np.linspace(0.1, 0.5, 10).reshape(5, 2)
    found = integrate(loop, start, drive, times, method=method, steady_exit=1e-3)
    assert len(looks) > 3
    assert np.isnan(found.left).all()
    plain = integrate(loop, start, drive, times, method=method)
    np.testing.assert_array_equal(found.state, plain.state)


@pytest.mark.parametrize("method", METHODS)
def test_none_on_a_limit_cycle(method):
    """Whose node stands still twice in each turn; a second solve that has come to rest has to wait."""
    loop = tanh_loop([[-8.5]], (RATE, RATE))
    state = np.zeros((2, 3))
    state[0, 0] = 0.1
    found = integrate(
        loop, state, np.zeros((2, 1)), np.linspace(0, 300 * TAU, 31), method=method, steady_exit=0.01
    )
    assert np.isnan(found.left).all()
    assert not found.proven.any()
    assert np.ptp(found.state[0, 20:, 0]) > 0.1


def test_nothing_is_said_where_the_loop_is_not_straight():
    """Half-way to saturation, though the rest at 0 attracts; and beside a fold, where there is none."""
    loop, none = tanh_loop([[0.5]]), np.zeros((1, 1))
    assert judge(loop, np.array([[1.0]]), none) is None
    assert judge(loop, np.array([[1e-3]]), none) is not None
    fold = np.arctanh(np.sqrt(2 / 3))  # where d(3 tanh z - z)/dz = 0
    drive = np.array([[3 * np.tanh(fold) - fold + 1e-5]])
    assert judge(tanh_loop([[3.0]]), np.array([[-fold - 5e-3]]), drive) is None


@pytest.mark.parametrize("method", METHODS)
def test_a_solve_leaves_its_saddle_first(method):
    """From a billionth of a volt beside the saddle to the rest at z = 3 tanh z, and not before."""
    loop, times = tanh_loop([[3.0]]), np.linspace(0, 60 * TAU, 61)
    found, beyond = exited(loop, np.array([[1e-9], [-2e-6]]), np.zeros((2, 1)), times, method)
    assert beyond.max() <= 0
    if method == "Tsit5":  # the other's steps at rest are so long that a look would cost more
        assert np.isfinite(found.left).all()
        assert found.proven.all()
    end = found.state[:, -1, 0]
    np.testing.assert_allclose(end, 3 * np.tanh(end), rtol=1e-6)
    assert end[0] > 2.9
    assert end[1] < -2.9


@pytest.mark.parametrize("method", METHODS)
def test_matrices_of_their_own_and_threads(method):
    """Blocks of different solves, and one solve in the last."""
    rng = np.random.default_rng(4)
    loop = tanh_loop(0.5 * rng.standard_normal((33, 3, 3)))
    drive, times = rng.standard_normal((33, 3)), np.linspace(0, 300 * TAU, 11)
    found, beyond = exited(loop, np.zeros((33, 3)), drive, times, method)
    assert np.isfinite(found.left).any()
    assert beyond.max() <= 0
    again = integrate(loop, np.zeros((33, 3)), drive, times, steady_exit=WITHIN, method=method, rtol=1e-7, atol=1e-8,
                      threads=3)  # fmt: skip
    np.testing.assert_array_equal(found.state, again.state)
    np.testing.assert_array_equal(found.left, again.left)
    np.testing.assert_array_equal(found.proven, again.proven)


def test_a_part_of_a_loop_shares_what_the_whole_shares():
    common = Affine(np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2)])), Pole(np.full(2, RATE))
    arms = Arm("+", (*common, Scale(0.1))), Arm("-", (*common, Scale(np.array([[0.1], [0.2], [0.3]]))))
    loop = Loop(2, arms, (Pole(np.full(2, RATE)),))
    part, state, drive = loop.select(slice(1, 3)), np.arange(12.0).reshape(3, 4), np.ones((3, 2))
    assert part.states == loop.states == 4
    np.testing.assert_array_equal(part.rhs(state[1:], drive[1:]), loop.rhs(state, drive)[1:])


def test_no_look_that_costs_more_than_to_integrate_on():
    loop, counts = alpha_loop(np.full(30, 0.5)), np.zeros(6, dtype=np.int64)
    watch = Watch(loop, slice(0, 1), np.zeros((1, 30)), WITHIN, work=30.0**2)
    assert watch.when[2] > 0
    assert not watch.leaves(np.zeros((1, 30)), counts, remaining=10.0)
    assert watch.when == (0.0, 0, 0.0)
    assert counts[EVALUATIONS] == 0


def weighted_norm(jacobian, weights):
    """Logarithmic norm of max |x_i|/w_i, by its definition as a limit."""
    scaled = jacobian * weights[None, :] / weights[:, None]
    h = 1e-7 / np.abs(scaled).max()
    return (np.abs(np.eye(len(weights)) + h * scaled).sum(axis=1).max() - 1) / h


@pytest.mark.parametrize("seed", range(20))
def test_proven_where_some_weighted_logarithmic_norm_is_negative(seed):
    """Perron's vector of the comparison matrix gives the lowest norm of all weights: proven if that is below 0."""
    rng = np.random.default_rng(seed)
    n = 4
    matrix = rng.standard_normal((n, n)) * rng.uniform(0.2, 1.2) / np.sqrt(n)
    loop = Loop(n, (Arm("+", (Affine(matrix),)),), (Pole(RATE * rng.uniform(0.5, 2, n)),))
    jacobian = loop.jacobian(np.zeros((1, n)), np.zeros((1, n)))[0]
    positive = np.abs(jacobian)
    np.fill_diagonal(positive, np.diag(jacobian) + 2 * np.abs(jacobian).max())
    values, vectors = np.linalg.eig(positive)
    best = np.abs(vectors[:, np.argmax(values.real)].real)
    lowest = weighted_norm(jacobian, best)
    found = judge(loop, np.full((1, n), 1e-9), np.zeros((1, n)))
    stable = np.linalg.eigvals(jacobian).real.max() < 0
    assert (found is not None) == stable
    if found is not None:
        assert found.proven[0] == (lowest < 0)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_left_bounds_the_linear_path(seed):
    """Linear, also far from normal, with filters in units of their own: by the matrix exponential."""
    rng = np.random.default_rng(seed)
    n, unit = 3, 10.0 ** rng.uniform(-6, 6)
    far = 10.0 ** rng.uniform(-1, 1, (n, 1))
    matrix = far * rng.standard_normal((n, n)) / far.T
    matrix *= rng.uniform(0.3, 0.9) / np.linalg.eigvals(matrix).real.max()
    path = (Scale(np.full(n, unit)), Pole(10.0 ** rng.uniform(-1, 2, n) * RATE), Affine(matrix / unit))
    loop = Loop(n, (Arm("+", path), Arm("alpha", (Scale(0.1),))), (Pole(np.full(n, RATE)),))
    units = np.repeat([1.0, unit], n)
    state = 1e-6 * units * rng.standard_normal((1, 2 * n))
    jacobian = loop.jacobian(state, np.zeros((1, n)))[0]
    found = judge(loop, state, np.zeros((1, n)))
    slowest = -np.linalg.eigvals(jacobian).real.max()
    assert (found is not None) == (slowest > 0)
    if found is None:
        return
    np.testing.assert_allclose(found.state, 0.0, atol=1e-12 * unit + 1e-12)
    # the lowest of all weighted norms is the leading eigenvalue of the matrix with absolute values beside its diagonal
    metzler = np.where(np.eye(2 * n, dtype=bool), jacobian, np.abs(jacobian))
    assert found.proven[0] == (np.linalg.eigvals(metzler).real.max() < 0)
    times = np.concatenate([[0.0], np.geomspace(1e-4 * TAU, 20 / slowest, 1500)])
    largest = max(np.abs(expm(jacobian * t) @ state[0] / units).max() for t in times)
    assert largest <= (1 + 1e-6) * found.left[0]
    if not found.proven[0]:
        assert found.left[0] <= 1.06 * largest


@pytest.mark.parametrize("method", METHODS)
def test_threads_change_no_bit(bench_of, method):
    bench = bench_of("aoc48", serial=2, channels=16)
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    _, drive = bench.drive(150, 0.5)
    start, times = np.zeros((150, loop.states)), np.linspace(0.0, 100e-6, 51)
    one, two = (
        integrate(loop, start, drive, times, method=method, steady_exit=WITHIN, threads=threads)
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one.state, two.state)
    np.testing.assert_array_equal(one.left, two.left)


def test_what_cannot_leave_early_is_refused():
    loop, zero, times = alpha_loop(0.5), np.zeros((1, 1)), np.linspace(0, TAU, 3)
    late = Loop(1, (Arm("+", (Delay(1e-9), Scale(0.5))),), (Pole(np.full(1, RATE)),))
    for volts in (0.0, -1e-6, np.nan, np.inf):
        with pytest.raises(ValueError, match="steady_exit must be volts above 0"):
            integrate(loop, zero, zero, times, steady_exit=volts)
    for options in (
        {"loop": loop, "method": "RK45"},
        {"loop": late},
        {"loop": loop, "drive": lambda t: zero},
    ):
        given_loop, given_drive = options.pop("loop"), options.pop("drive", zero)
        with pytest.raises(PhysicsError, match="a steady exit takes a compiled method"):
            integrate(given_loop, zero, given_drive, times, steady_exit=WITHIN, **options)
    with pytest.raises(PhysicsError, match="out of float32's reach: ask for 1e-05 V or more"):
        integrate(loop, zero, zero, times, steady_exit=1e-6, precision=np.float32, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_float32(method):
    loop, times = tanh_loop([[0.4, -0.8], [0.8, 0.3]]), np.linspace(0, 300 * TAU, 11)
    start, drive = np.zeros((3, 2)), np.linspace(0.1, 0.6, 6).reshape(3, 2)
    found = integrate(
        loop, start, drive, times, method=method, steady_exit=1e-4, precision=np.float32, rtol=1e-5, atol=1e-6
    )
    real = integrate(loop, start, drive, times, method="DOP853", rtol=1e-10, atol=1e-13).state
    assert np.isfinite(found.left).all()
    assert found.state.dtype == np.float32
    assert np.abs(found.state - real).max() <= 1.2e-4
