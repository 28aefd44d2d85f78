"""Diffusion methods as solves of the loop, digitally: their equations, their orders, what they are given."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from aocsim.diffusion.methods import METHODS, Stepping
from aocsim.diffusion.network import load_network
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.scenarios.ideal import ideal_states
from aocsim.scenarios.schema import Diffusion


@pytest.fixture(scope="module")
def network():
    return load_network(Library.open().model_path("heart").with_suffix(".nc"))


def noise(seed, count=6):
    return np.random.default_rng(seed).standard_normal((count, 2))


@pytest.mark.parametrize("seed", [1, 2])
def test_every_method_solves_its_equation(network, seed):
    """Written out with the network's velocity, which knows nothing of blocks and rings."""
    steps, x0 = 8, noise(seed)
    dt, f = 1 / steps, network.velocity
    points = {m: [x0, *ideal_states(Stepping.of(network, m, steps), x0)] for m in METHODS}
    for k in range(steps):
        t = k * dt
        x, y = points["explicit_euler"][k : k + 2]
        np.testing.assert_allclose(y, x + dt * f(x, t), rtol=0, atol=1e-12)
        x, y = points["implicit_euler"][k : k + 2]
        np.testing.assert_allclose(y, x + dt * f(y, t + dt), rtol=0, atol=1e-10)
        x, y = points["crank_nicolson"][k : k + 2]
        np.testing.assert_allclose(y, x + dt / 2 * (f(x, t) + f(y, t + dt)), rtol=0, atol=1e-10)
        x, predictor, y = points["heun"][2 * k : 2 * k + 3]
        np.testing.assert_allclose(predictor, x + dt * f(x, t), rtol=0, atol=1e-12)
        np.testing.assert_allclose(y, x + dt / 2 * (f(x, t) + f(predictor, t + dt)), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "order"), [("explicit_euler", 1), ("implicit_euler", 1), ("heun", 2), ("crank_nicolson", 2)]
)
def test_orders_are_those_of_the_textbook(network, method, order):
    """Error against DOP853 at 1e-11, from step to half the step."""
    x0 = noise(3)
    exact = solve_ivp(
        lambda t, x: network.velocity(x.reshape(-1, 2), t).ravel(),
        (0, 1), x0.ravel(), method="DOP853", rtol=1e-11, atol=1e-11,
    ).y[:, -1].reshape(-1, 2)  # fmt: skip
    errors = [
        np.sqrt(np.mean((ideal_states(Stepping.of(network, method, steps), x0)[-1] - exact) ** 2))
        for steps in (64, 128, 256)
    ]
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(slopes[-1], order, rtol=0, atol=0.15)


def test_half_a_step_from_the_read_out_is_the_digital_one(network):
    """As long as read-outs are exact; an error of one is carried on with alternating sign."""
    x0 = noise(4)
    digital = ideal_states(Stepping.of(network, "crank_nicolson", 8), x0)
    stepping = Stepping.of(network, "crank_nicolson", 8, "read_out")
    np.testing.assert_allclose(ideal_states(stepping, x0), digital, rtol=0, atol=1e-10)
    points, off = [x0, *digital[:3]], 1e-3
    wrong = [*points[:2], points[2] + off, points[3]]
    ask = [stepping.ask(some)[0] for some in (points, wrong)]
    np.testing.assert_allclose(ask[1] - ask[0], -2 * off, rtol=0, atol=1e-12)


def test_half_a_step_by_the_opened_ring_is_the_digital_one(network):
    """Two programs on the same units: the explicit half at the last d, the implicit one at the first d."""
    x0 = noise(7)
    digital = ideal_states(Stepping.of(network, "crank_nicolson", 8), x0)
    stepping = Stepping.of(network, "crank_nicolson", 8, "opened_ring")
    states = ideal_states(stepping, x0)
    assert stepping.solves == len(states) == 16
    np.testing.assert_allclose(states[1::2], digital, rtol=0, atol=1e-10)
    before = np.concatenate([x0[None], digital[:-1]])
    for k, half in enumerate(states[::2]):
        wanted = before[k] + network.velocity(before[k], k / 8) / 16
        np.testing.assert_allclose(half, wanted, rtol=0, atol=1e-10)
    assert stepping.operator.units == stepping.opened.units == 47
    np.testing.assert_array_equal(stepping.times, np.repeat(np.arange(1, 9), 2) / 8)


def test_idle_units_rest_at_zero_and_change_nothing(network):
    """The closed ring with the opened one's units: the fixed point, its jacobian and its map are the ring's."""
    shared = Stepping.of(network, "crank_nicolson", 8, "opened_ring").operator
    ring = Stepping.of(network, "crank_nicolson", 8).operator
    x = noise(8)
    z, found = ring.fixed_point(x, 0.4), shared.fixed_point(x, 0.4, 3 * np.ones((6, 47)))
    np.testing.assert_allclose(found, np.pad(z, ((0, 0), (0, 2))), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(
        shared.jacobian(found), np.pad(ring.jacobian(found[:, :45]), ((0, 0), (0, 2), (0, 2)))
    )
    np.testing.assert_allclose(shared.apply(found, 0.4, x), found, rtol=0, atol=1e-10)


def test_the_opened_ring_forgets_where_it_started(network):
    """Relaxed or not, the map comes to the same point from anywhere, and to rest after K + 1 applications."""
    operator = Stepping.of(network, "explicit_euler", 16).operator
    assert operator.units == 47 and not np.triu(operator.matrix).any()
    x, z = noise(5), 3 * np.random.default_rng(5).standard_normal((6, 47))
    for _ in range(network.depth + 1):
        z = operator.apply(z, 0.3, x) if operator.result.start else z
    np.testing.assert_allclose(z, operator.fixed_point(x, 0.3), rtol=0, atol=1e-12)
    relaxed = operator.relaxed(np.linspace(0, 0.6, 47))
    for _ in range(200):
        z = relaxed.apply(z, 0.7, x)
    np.testing.assert_allclose(z, operator.fixed_point(x, 0.7), rtol=0, atol=1e-12)


def test_solves_are_counted_and_times_are_those_that_are_reached(network):
    heun = Stepping.of(network, "heun", 2)
    assert heun.solves == Diffusion(steps=2, method="heun").solves == 4
    np.testing.assert_array_equal(heun.times, [0.5, 0.5, 1.0, 1.0])
    points = [noise(6)]
    asked = []
    for _ in range(4):
        x, t = heun.ask(points)
        asked.append(t)
        points.append(heun.accept(points, x))
    assert asked == [0.0, 0.5, 0.5, 1.0]
    with pytest.raises(InputError, match="no solve is left"):
        heun.ask(points)


def test_unknown_methods_and_empty_schedules_are_refused(network):
    with pytest.raises(InputError, match="did you mean 'heun'"):
        Stepping.of(network, "huen")
    with pytest.raises(InputError, match="steps"):
        Stepping.of(network, "heun", 0)
