"""The steady-state exit against integration to the end: what it fills in is never farther off than it says."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aocsim.compose import compose
from aocsim.errors import PhysicsError
from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.rest import judge
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
    # the loop is not quite straight: a tenth of what is left may come on top
    return found, away - 1.1 * np.nan_to_num(found.left) - 2 * own - 1e-7 * size - 1e-8


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
    if times[-1] > 100e-6:
        assert np.isfinite(found.left).all()
    if times[-1] > 100e-6 and method == "Tsit5":  # at rest the other method takes long steps anyway
        assert found.evaluations < 0.9 * whole.evaluations
    assert np.nanmax(found.left, initial=0.0) <= WITHIN
    nodes = (..., slice(loop.channels))
    np.testing.assert_allclose(found.state[nodes], whole.state[nodes], rtol=0, atol=1.1 * WITHIN)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 0.999),
    st.floats(0.0, 1.5),
    st.integers(1, 4),
    st.sampled_from(METHODS),
    st.booleans(),
)
def test_an_exit_is_never_wrong(seed, alpha, radius, n, method, linear):
    """Spectral radius up to 1.5 of the matrix, slow channels, kicks down to a tenth of a microvolt."""
    assume(abs(radius - 1) > 1e-3)  # there a linearised loop decides nothing
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


@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_bounds_the_linear_path(seed):
    """Nodes with filters of other units, linear: every later distance by the matrix exponential is below `left`."""
    from scipy.linalg import expm

    rng = np.random.default_rng(seed)
    n = 3
    into = Elementwise(TANH, gain_in=1e-3, gain_out=1e-3)  # straight, a millionth of its input
    path = (into, Pole(np.full(n, 3 * RATE)), Affine(rng.standard_normal((n, n)) * 4e5))
    loop = Loop(n, (Arm("+", path), Arm("alpha", (Scale(0.5),))), (Pole(np.full(n, RATE)),))
    state = np.concatenate([1e-6 * rng.standard_normal(n), 1e-12 * rng.standard_normal(n)])[None]
    found = judge(loop, state, np.zeros((1, n)))
    jacobian = loop.jacobian(state, np.zeros((1, n)))[0]
    if np.linalg.eigvals(jacobian).real.max() >= 0:
        assert found is None
        return
    distance = state[0] - found.state[0]
    later = [np.abs(expm(jacobian * t) @ distance)[:n].max() for t in np.linspace(0, 20 * TAU, 200)]
    assert max(later) <= 1.02 * found.left[0]


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
