"""The solver family for any field: closed forms, orders, identities, what is refused."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from aocsim.diffusion import solve
from aocsim.diffusion.methods import METHODS, Stepping
from aocsim.diffusion.network import load_network
from aocsim.diffusion.onset import onset
from aocsim.errors import InputError, PhysicsError
from aocsim.library import Library
from aocsim.scenarios.ideal import ideal_states

A = np.array([[-1.2, 2.0], [-0.7, 0.4]])
B = np.array([0.3, -0.8])


def affine(x, t):
    return x @ A.T + B


def winding(x, t):
    """Nonlinear, and t is in it."""
    return np.stack([np.sin(3 * t) - x[:, 0] * x[:, 1], np.cos(x[:, 0] + t)], axis=1)


def start(seed=0, count=5):
    return np.random.default_rng(seed).standard_normal((count, 2))


@pytest.fixture(scope="module")
def network():
    return load_network(Library.open().model_path("heart").with_suffix(".nc"))


STABILITY = {
    "explicit_euler": lambda z, one: one + z,
    "heun": lambda z, one: one + z + z @ z / 2,
    "implicit_euler": lambda z, one: np.linalg.inv(one - z),
    "crank_nicolson": lambda z, one: np.linalg.solve(one - z / 2, one + z / 2),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_steps_of_an_affine_field_are_its_stability_function(method, steps):
    """x' + A^-1 B = R(dt A) (x + A^-1 B), with the textbook's R."""
    rest = -np.linalg.solve(A, B)
    growth = STABILITY[method](A / steps, np.eye(2))
    found = solve(affine, start(), method=method, steps=steps)
    expected = start() - rest
    for k in range(steps):
        expected = expected @ growth.T
        np.testing.assert_allclose(found.points[k + 1], expected + rest, rtol=0, atol=1e-9)
    assert found.converged.all() and found.times[0] == 0.0 and found.times[-1] == 1.0


@pytest.mark.parametrize(
    ("method", "order"), [("explicit_euler", 1), ("implicit_euler", 1), ("heun", 2), ("crank_nicolson", 2)]
)
@pytest.mark.parametrize("field", [affine, winding])
def test_orders_by_slope(method, order, field):
    """Against the matrix exponential, and DOP853 at 1e-12."""
    if field is affine:
        rest = -np.linalg.solve(A, B)
        exact = (start() - rest) @ expm(A).T + rest
    else:
        exact = solve_ivp(
            lambda t, x: winding(x.reshape(-1, 2), t).ravel(), (0, 1), start().ravel(),
            method="DOP853", rtol=1e-12, atol=1e-12,
        ).y[:, -1].reshape(-1, 2)  # fmt: skip
    errors = [
        np.abs(solve(field, start(), method=method, steps=n).points[-1] - exact).max() for n in (100, 200)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("method", ["implicit_euler", "crank_nicolson"])
def test_implicit_equations_are_solved_to_1e_10(method):
    found = solve(winding, start(1), method=method, steps=4)
    for k in range(4):
        x, y, t = found.points[k], found.points[k + 1], k / 4
        if method == "implicit_euler":
            right = x + winding(y, t + 0.25) / 4
        else:
            right = x + (winding(x, t) + winding(y, t + 0.25)) / 8
        np.testing.assert_allclose(y, right, rtol=0, atol=1e-10)


def test_heun_is_crank_nicolson_with_two_evaluations():
    heun = solve(winding, start(2), method="heun", steps=7)
    twice = solve(winding, start(2), method="crank_nicolson", steps=7, iterations=1)
    np.testing.assert_allclose(twice.points, heun.points, rtol=0, atol=1e-14)
    assert heun.evaluations == twice.evaluations == 14


def test_one_iteration_from_the_point_before_is_explicit():
    """From x, g(x) = x + dt f(x, t'): Euler's step with the field at the step's end; none leaves the warm start."""
    one = solve(winding, start(3), method="implicit_euler", steps=1, iterations=1, warm_start="previous")
    np.testing.assert_allclose(one.points[1], start(3) + winding(start(3), 1.0), rtol=0, atol=1e-14)
    none = solve(winding, start(3), method="implicit_euler", steps=4, iterations=0)
    explicit = solve(winding, start(3), method="explicit_euler", steps=4)
    np.testing.assert_allclose(none.points, explicit.points, rtol=0, atol=1e-14)
    assert not none.converged.any()


@pytest.mark.parametrize("method", ["implicit_euler", "crank_nicolson"])
def test_relaxed_iteration_comes_to_the_same_point_later(method):
    exact = solve(winding, start(4), method=method, steps=8)
    plain = solve(winding, start(4), method=method, steps=8, iterations=60)
    relaxed = solve(
        winding, start(4), method=method, steps=8, iterations=200, relaxation=np.array([0.4, 0.7])
    )
    np.testing.assert_allclose(plain.points, exact.points, rtol=0, atol=1e-9)
    np.testing.assert_allclose(relaxed.points, exact.points, rtol=0, atol=1e-9)
    few = [
        solve(winding, start(4), method=method, steps=8, iterations=6, relaxation=a).residual.max()
        for a in (0.0, 0.7)
    ]
    assert few[1] > 10 * few[0]


def test_a_jacobian_saves_the_differences():
    given = solve(affine, start(), steps=4, jacobian=lambda x, t: np.broadcast_to(A, (len(x), 2, 2)))
    found = solve(affine, start(), steps=4)
    np.testing.assert_allclose(given.points, found.points, rtol=0, atol=1e-9)
    assert given.evaluations < found.evaluations


def test_stiff_fields_need_implicit_methods():
    """f = -1000 (x - cos t): stable at 10 steps where explicit ones are not."""

    def stiff(x, t):
        return -1000.0 * (x - np.cos(t))

    x0 = np.ones((1, 1))
    assert abs(solve(stiff, x0, steps=10).points[-1, 0, 0] - np.cos(1.0)) < 1e-3
    assert np.abs(solve(stiff, x0, method="crank_nicolson", steps=10).points[-1]).max() < 2.0
    assert np.abs(solve(stiff, x0, method="explicit_euler", steps=10).points[-1]).max() > 1e10


@pytest.mark.parametrize("method", METHODS)
def test_a_network_steps_as_the_loop_does(network, method):
    """Once with the velocity alone, once as fixed points of the block operator."""
    x0 = start(5)
    found = solve(network, x0, method=method, steps=8).points[1:]
    loop = ideal_states(Stepping.of(network, method, 8), x0)
    np.testing.assert_allclose(found, loop[1::2] if method == "heun" else loop, rtol=0, atol=1e-8)


def test_k_applications_of_the_block_map_are_one_evaluation(network):
    """Whatever the hidden blocks begin with; the first one begins with y and ends as x + dt f(y, t)."""
    operator = Stepping.of(network, "implicit_euler", 16).operator
    rng, x = np.random.default_rng(6), start(6)
    z = rng.standard_normal((len(x), operator.units))
    y = z[:, :2].copy()
    for _ in range(network.depth):
        z = operator.apply(z, 0.4, x)
    np.testing.assert_allclose(z[:, :2], x + network.velocity(y, 0.4) / 16, rtol=0, atol=1e-13)


def test_loops_come_to_rest_where_iteration_does_not(network):
    """The loop goes to fewer steps than iteration, Crank-Nicolson to fewer than Euler, and all beyond the bounds."""
    steps = [2, 4, 8, 16]
    found = {m: onset(network, start(7, 12), steps, m) for m in ("implicit_euler", "crank_nicolson")}
    euler, half = found["implicit_euler"], found["crank_nicolson"]
    assert euler.fewest(euler.at_rest) <= 4 < euler.fewest(euler.iterated) <= 16
    assert half.fewest(half.iterated) < euler.fewest(euler.iterated)
    assert half.theorem_steps == pytest.approx(euler.theorem_steps / 2)
    assert 16 < euler.layerwise_steps < euler.theorem_steps
    # the radius says the same as the iteration itself
    assert np.all((euler.radius < 1) == (euler.iterated == 1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "crank_nicholson"}, "did you mean 'crank_nicolson'"),
        ({"warm_start": "explict"}, "did you mean 'explicit'"),
        ({"steps": 0}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"iterations": -1}, "iterations"),
        ({"relaxation": 1.0}, "relaxation"),
        ({"relaxation": [0.1, 0.2, 0.3]}, "relaxation: wrong shape"),
        ({"x0": np.zeros(3)}, "x0: wrong shape"),
        ({"x0": np.array([[np.nan, 0.0]])}, "x0: not a finite number"),
        ({"f": lambda x, t: x[:, :1]}, r"f: wrong shape of f\(x, t\)"),
    ],
)
def test_bad_input_is_refused(changes, message):
    given = {"f": affine, "x0": start()} | changes
    with pytest.raises(InputError, match=message):
        solve(given.pop("f"), given.pop("x0"), **given)


def test_no_solution_and_no_numbers_are_told():
    with pytest.raises(PhysicsError, match=r"implicit_euler, step 1: no solution .* take more steps"):
        solve(lambda x, t: x**2 + 1.0, np.zeros((1, 1)), steps=1)
    with pytest.raises(PhysicsError, match="are no numbers any more"):
        solve(lambda x, t: x * 1e200, np.ones((1, 1)), method="explicit_euler", steps=4)
