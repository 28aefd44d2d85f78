import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.diffusion.methods import Stepping
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import BlockOperator, layerwise_bound, lipschitz, theorem1_dt_max
from aocsim.diffusion.samplers import explicit_euler, implicit_euler, implicit_states
from aocsim.errors import InputError, PhysicsError
from aocsim.law import Law

TANH = Law.tabulate("tanh", np.tanh, lambda x: 1.0 / np.cosh(x) ** 2, -8.0, 8.0)
BATCH = 5

layouts = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 2**32 - 1)


def random_network(layout, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    pairs = list(zip(layout[1:] + layout[:1], layout, strict=True))
    return Network(
        "random",
        tuple(scale * rng.standard_normal(pair) / np.sqrt(pair[1]) for pair in pairs),
        tuple(0.3 * rng.standard_normal(out) for out, _ in pairs),
        tuple(0.3 * rng.standard_normal(out) for out, _ in pairs),
        TANH,
        "none",
    )


def noise(network, seed, batch=BATCH):
    return np.random.default_rng(seed).standard_normal((batch, network.layout[0]))


@settings(deadline=None)
@given(layouts, seeds)
def test_as_many_applications_as_layers_evaluate_the_network(layout, seed):
    network = random_network(layout, seed)
    operator = BlockOperator.from_network(network, 1.0)
    x, t = noise(network, seed), np.linspace(0.0, 1.0, BATCH)
    z = np.zeros((BATCH, network.units))
    z[:, : layout[0]] = x
    for _ in range(operator.depth):
        z = operator.apply(z, t)
    np.testing.assert_allclose(z[:, : layout[0]], network.velocity(x, t), rtol=0, atol=1e-12)


@settings(deadline=None)
@given(layouts, seeds, st.floats(0.01, 0.2))
def test_fixed_point_is_an_implicit_euler_step(layout, seed, dt):
    network = random_network(layout, seed)
    operator = BlockOperator.from_network(network, dt)
    x = noise(network, seed)
    z = operator.fixed_point(x, 0.3 + dt)
    after = z[:, : layout[0]]
    np.testing.assert_allclose(after, x + dt * network.velocity(after, 0.3 + dt), rtol=0, atol=1e-10)
    np.testing.assert_allclose(operator.apply(z, 0.3 + dt, x), z, rtol=0, atol=1e-11)
    # Found from elsewhere too: at these steps it is unique.
    np.testing.assert_allclose(operator.fixed_point(x, 0.3 + dt, np.zeros_like(z)), z, rtol=0, atol=1e-9)


@settings(deadline=None)
@given(layouts, seeds, st.data())
def test_relaxation_keeps_the_fixed_point(layout, seed, data):
    network = random_network(layout, seed)
    operator = BlockOperator.from_network(network, 0.1)
    alpha = data.draw(st.floats(0.0, 0.99) | st.just(None))
    if alpha is None:
        alpha = np.random.default_rng(seed).uniform(0.0, 0.99, network.units)
    relaxed = operator.relaxed(alpha)
    x = noise(network, seed)
    z = operator.fixed_point(x, 0.5)
    np.testing.assert_allclose(relaxed.apply(z, 0.5, x), z, rtol=0, atol=1e-11)
    np.testing.assert_allclose(relaxed.fixed_point(x, 0.5), z, rtol=0, atol=1e-11)
    z = z + 0.1
    np.testing.assert_allclose(relaxed.apply(z, 0.5, x), alpha * z + (1 - alpha) * operator.apply(z, 0.5, x))


@settings(deadline=None)
@given(layouts, seeds, st.floats(0.0, 0.9))
def test_jacobian_is_the_derivative(layout, seed, alpha):
    network = random_network(layout, seed)
    operator = BlockOperator.from_network(network, 0.25).relaxed(alpha)
    z = np.random.default_rng(seed).standard_normal((BATCH, network.units))
    step = 1e-5
    columns = [
        (operator.apply(z + step * unit, 0.5) - operator.apply(z - step * unit, 0.5)) / (2.0 * step)
        for unit in np.eye(network.units)
    ]
    np.testing.assert_allclose(operator.jacobian(z), np.stack(columns, axis=2), rtol=0, atol=1e-8)


def test_blocks_lie_where_the_equation_puts_them():
    network = random_network((2, 4, 3), 0)
    matrix = BlockOperator.from_network(network, 0.125).matrix
    np.testing.assert_array_equal(matrix[2:6, :2], network.weights[0])
    np.testing.assert_array_equal(matrix[6:, 2:6], network.weights[1])
    np.testing.assert_array_equal(matrix[:2, 6:], 0.125 * network.weights[2])
    assert np.count_nonzero(matrix) == sum(weight.size for weight in network.weights)


def linear_network(rate):
    """One layer, f(x) = rate x: implicit Euler multiplies by 1/(1 - rate dt)."""
    line = Law.tabulate("line", lambda x: x, np.ones_like, -1.0, 1.0)
    return Network("linear", (np.array([[rate]]),), (np.zeros(1),), (np.zeros(1),), line, "none")


@pytest.mark.parametrize("rate", [-3.0, 0.5])
def test_samplers_on_a_linear_law_have_the_closed_form(rate):
    network, x0, steps = linear_network(rate), np.array([[1.0], [-2.0]]), 10
    powers = np.arange(steps + 1)[:, None, None]
    np.testing.assert_allclose(implicit_euler(network, x0, steps), x0 / (1.0 - rate / steps) ** powers)
    np.testing.assert_allclose(explicit_euler(network, x0, steps), x0 * (1.0 + rate / steps) ** powers)


@pytest.mark.parametrize("sampler", [implicit_euler, explicit_euler])
def test_samplers_are_of_first_order(sampler):
    network = random_network((2, 6, 5), 4)
    x0 = noise(network, 1)
    fine = sampler(network, x0, 1280)[-1]
    errors = [np.abs(sampler(network, x0, steps)[-1] - fine).max() for steps in (10, 20, 40)]
    slope = np.polyfit(np.log([10, 20, 40]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.1)


def test_implicit_states_hold_the_trajectory():
    network = random_network((2, 6, 5), 4)
    x0 = noise(network, 1)
    states, points = implicit_states(network, x0, 8), implicit_euler(network, x0, 8)
    assert states.shape == (8, BATCH, 13)
    assert points.shape == (9, BATCH, 2)
    np.testing.assert_array_equal(points[0], x0)
    np.testing.assert_array_equal(points[1:], states[:, :, :2])


def test_missing_fixed_point_is_said_and_named():
    square = Law.tabulate("square", lambda x: x**2, lambda x: 2.0 * x, -4.0, 4.0)
    network = Network("square", (np.eye(1),), (np.ones(1),), (np.zeros(1),), square, "none")
    # z = z^2 + 1 + x has real roots only for x <= -3/4.
    operator = BlockOperator.from_network(network, 1.0)
    np.testing.assert_allclose(operator.fixed_point(np.array([[-3.0]]), 0.0, np.array([[0.0]])), [[-1.0]])
    with pytest.raises(PhysicsError, match=r"1 of 2 samples; sample 1 .* residual"):
        operator.fixed_point(np.array([[-3.0], [0.0]]), 0.0, np.zeros((2, 1)))
    with pytest.raises(PhysicsError, match="step 1 of 1"):
        implicit_euler(network, np.array([[0.0]]), 1)


def test_newton_recovers_where_the_first_step_is_singular():
    # At the origin the slope of ADM is exactly 1, so that the first Newton step has no solution.
    network = Network("gain", (np.eye(1),), (np.zeros(1),), (np.zeros(1),), TANH, "none")
    operator = BlockOperator.from_network(network, 1.0)
    x = np.array([[0.5], [-0.2]])
    z = operator.fixed_point(x, 0.0, np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(z, np.tanh(z) + x, rtol=0, atol=1e-9)


@settings(deadline=None)
@given(layouts, seeds)
def test_bounds_agree_with_their_formulas_and_each_other(layout, seed):
    network = random_network(layout, seed, scale=2.0)
    norms = [np.linalg.norm(weight, np.inf) for weight in network.weights]
    whole = np.linalg.norm(BlockOperator.from_network(network, 1.0).matrix, np.inf)
    assert theorem1_dt_max(network) == pytest.approx(whole ** -len(norms), rel=1e-6)
    assert layerwise_bound(network, 0.1) == pytest.approx(0.1 * np.prod(norms), rel=1e-6)
    dt = theorem1_dt_max(network)
    assert layerwise_bound(network, dt) <= 1.0 + 1e-9


def test_below_the_theorem_the_map_contracts():
    network = random_network((2, 6, 5), 4)
    dt = 0.9 * theorem1_dt_max(network)
    operator = BlockOperator.from_network(network, dt)
    x = noise(network, 0)
    z = np.random.default_rng(1).standard_normal((BATCH, network.units)) * 5.0
    for _ in range(300):
        z = operator.apply(z, 0.5, x)
    np.testing.assert_allclose(z, operator.fixed_point(x, 0.5), rtol=0, atol=1e-10)


def test_lipschitz_of_tanh_and_of_a_law_that_peaks_within_an_interval():
    assert lipschitz(TANH) == pytest.approx(1.0, abs=1e-9)
    coarse = Law("bump", 0.0, 2.0, np.array([[0.0, 0.0, 3.0, -2.0], [1.0, 0.0, 0.0, 0.0]]))
    assert lipschitz(coarse) == pytest.approx(1.5)


def test_wrong_shapes_and_values_are_refused():
    network = random_network((2, 3), 0)
    operator = BlockOperator.from_network(network, 0.1)
    x, z = np.zeros((4, 2)), np.zeros((4, 5))
    for call in (
        lambda: operator.apply(np.zeros((4, 4)), 0.0),
        lambda: operator.apply(z, np.zeros(3)),
        lambda: operator.apply(z, 0.0, np.zeros((1, 2))),
        lambda: operator.fixed_point(np.zeros(2), 0.0),
        lambda: operator.fixed_point(x, 0.0, np.zeros((1, 5))),
        lambda: operator.jacobian(np.zeros(5)),
        lambda: operator.relaxed(1.0),
        lambda: operator.relaxed(np.zeros(4)),
        lambda: BlockOperator.from_network(network, 0.0),
        lambda: network.velocity(np.zeros((4, 3)), 0.0),
        lambda: network.velocity(x, np.zeros((4, 1))),
        lambda: implicit_euler(network, x, 0),
        lambda: explicit_euler(network, np.zeros(2), 4),
        lambda: BlockOperator((2, 3), np.ones((5, 5)), np.zeros(5), np.zeros(5), TANH, 1.0, np.zeros(5)),
    ):
        with pytest.raises(InputError):
            call()


@settings(deadline=None)
@given(layouts, seeds, st.sampled_from(["implicit_euler", "crank_nicolson", "explicit_euler", "heun"]))
def test_one_unit_a_layer_is_the_block_matrix(layout, seed, method):
    """K units in a ring, each with the weights of one layer and its neighbour's light, all at once."""
    network = random_network(layout, seed)
    operator = Stepping.of(network, method, steps=8).operator
    opened = method in ("explicit_euler", "heun")
    dt = {"crank_nicolson": 1 / 16}.get(method, 1 / 8)
    x, t = noise(network, seed), 0.3
    rng = np.random.default_rng(seed)
    sizes = (*layout, layout[0]) if opened else layout
    units = [rng.standard_normal((BATCH, size)) for size in sizes]
    z = np.concatenate(units, axis=1)
    for _ in range(3):
        light = [TANH.response(one) for one in units]
        after = []
        for k in range(len(sizes)):
            last = k == len(sizes) - 1 if opened else k == 0  # the unit behind the network's last layer
            layer = network.depth - 1 if last else k - 1
            if opened and k == 0:
                after.append(x)
                continue
            factor = dt if last else 1.0
            weight, b, e = (
                part[layer] for part in (network.weights, network.biases, network.time_embeddings)
            )
            after.append(factor * (light[k - 1] @ weight.T + b + t * e) + (x if last else 0.0))
        units = after
        z = operator.apply(z, t, x)
        np.testing.assert_allclose(z, np.concatenate(units, axis=1), rtol=0, atol=1e-12)
