"""Training through a machine: the torch layer against the simulator's own laws, and interrupted trainings."""

from dataclasses import replace

import numpy as np
import pytest

import aocsim.twin
from aocsim.compose import Electronics, compose, trimmed_exactly
from aocsim.diffusion.checkpoint import EVERY
from aocsim.diffusion.network import load_network
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.scenarios.believed import programming_of
from aocsim.solve.steady import steady_state
from aocsim.twin.fit import measurement_of
from aocsim.twin.format import write_measurement

torch = pytest.importorskip("torch", reason="needs torch (extra `train`)")

from aocsim.diffusion.through import Programmed, Programming, StaticLoop  # noqa: E402
from aocsim.diffusion.train import Recipe, load_recipe, train  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def library():
    return Library.open()


@pytest.fixture(scope="module")
def network(library):
    return load_network(library.model_path("heart").with_suffix(".nc"))


@pytest.fixture(scope="module")
def twin_path(library, tmp_path_factory):
    """The exported twin of one machine, as a file."""
    path = tmp_path_factory.mktemp("twin") / "machine.yaml"
    write_measurement(measurement_of(library.machine("aoc48"), 7, "aoc48")[0], path)
    return path


def machines(library, path):
    spec = library.machine("aoc48")
    return {
        "as built": Machine.build(spec, 3),
        "nominal": Machine.build(spec, None),
        "twin": aocsim.twin.load(path).machine(),
    }


@pytest.mark.parametrize("which", ["as built", "nominal", "twin"])
def test_the_layer_is_the_simulator_s_static_law(library, twin_path, which):
    """Random weights, gains and node voltages, far beyond the linear range too: the same tables, to 1e-12 V."""
    machine = machines(library, twin_path)[which]
    rng = np.random.default_rng(2)
    program = Program(rng.random((2, 48, 48)), rng.uniform(0.8, 0.99, 48), 23.0, np.arange(48), 1.0)
    loop = compose(machine, program, Electronics(program.alpha, np.zeros(48)))
    z = rng.normal(0.0, 0.5, (40, 48))
    expected = sum(loop.arm_output(arm.name, z) for arm in loop.arms)
    layer = StaticLoop(loop)
    found = layer(torch.from_numpy(z))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
    # the gradient is that of central differences of the simulator
    here = torch.from_numpy(z[:3]).requires_grad_()
    pull = rng.normal(size=(3, 48))
    (layer(here) * torch.from_numpy(pull)).sum().backward()
    step = 1e-5
    for i in rng.integers(0, 48, 4):
        shift = step * np.eye(48)[i]
        up, down = (sum(loop.arm_output(a.name, z[:3] + s * shift) for a in loop.arms) for s in (1, -1))
        slope = ((up - down) / (2 * step) * pull).sum(axis=1)
        np.testing.assert_allclose(here.grad[:, i].numpy(), slope, rtol=1e-6, atol=1e-7)


def test_the_layer_is_the_twin_s_map(library, twin_path):
    """Against `Twin.step`, which knows neither stages nor tables of the simulator."""
    twin = aocsim.twin.load(twin_path)
    machine, rng = twin.machine(), np.random.default_rng(3)
    weights = np.round(rng.uniform(-1, 1, (48, 48)) * 255) / 255
    weights[0, 0] = 1.0
    arms = np.stack([np.maximum(weights.T, 0.0), np.maximum(-weights.T, 0.0)])
    alpha, beta = machine.gains.set_alpha(np.full(48, 0.9)), machine.gains.set_beta(18.0)
    program = Program(arms, alpha, beta, np.arange(48), 1.0)
    loop = compose(machine, program, Electronics(np.zeros(48), np.zeros(48)))
    z = rng.normal(0.0, 0.2, (30, 48))
    found = StaticLoop(loop)(torch.from_numpy(z)).numpy() + machine.gains.node_offset(beta)
    expected = twin.step(z, weights, alpha=0.0, beta=beta)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def programming(library, steps=16):
    spec = library.machine("aoc48")
    return Programming(Machine.build(spec, 3), spec, steps, 25.0, 0.8, "of a test")


def tensors(network):
    layers = (network.weights, network.biases, network.time_embeddings)
    return [[torch.from_numpy(value) for value in kind] for kind in layers]


def test_a_programmed_network_is_what_the_machine_comes_to_rest_at(library, network):
    """z = x + dt f(z, t) with the layer's f, at the resting point of the composed loop, trimmed exactly."""
    how = programming(library)
    program = how.compiled(network).program
    loop = compose(how.machine, program, trimmed_exactly(how.machine, program))
    operator = BlockOperator.from_network(network, 1 / 16)
    rng = np.random.default_rng(4)
    x = rng.normal(size=(12, 2))
    drive = program.drive(operator.additive(0.5, x))
    rest = steady_state(loop, np.zeros((12, loop.states)), drive)[:, :48]
    y = program.units(rest)
    layer = Programmed(how, network)
    found, hidden = layer.velocity(
        *tensors(network), torch.from_numpy(y[:, :2]), torch.full((12, 1), 0.5, dtype=torch.float64)
    )
    # equation (1), but for the channels that carry no unit, which rest at millivolts and not at 0 V
    units = torch.from_numpy(y)
    np.testing.assert_allclose(
        layer.gradient(units).numpy() + operator.additive(0.5, x), y, rtol=0, atol=3e-4
    )
    # equation (2), but for coupling of second order
    np.testing.assert_allclose(y[:, :2], x + found.numpy() / 16, rtol=0, atol=1e-3)
    np.testing.assert_allclose(torch.cat(hidden, 1).numpy(), y[:, 2:], rtol=0, atol=1e-2)
    # and it is not the ideal network: the machine's distortion is in it
    ideal = network.velocity(y[:, :2], 0.5)
    assert np.abs(found.numpy() - ideal).max() > 0.02


def test_the_gradient_passes_the_rounding_straight_through(library, network):
    """Grey levels do not move with a small change of a weight; the layer's velocity does, as W s(h) says."""
    layer = Programmed(programming(library), network)
    weights, biases, embeddings = tensors(network)
    x, t = torch.zeros((1, 2), dtype=torch.float64) + 0.3, torch.full((1, 1), 0.25, dtype=torch.float64)
    base, hidden = layer.velocity(weights, biases, embeddings, x, t)
    moved = [*weights[:-1], weights[-1].clone()]
    moved[-1][1, 4] += 1e-3
    after, _ = layer.velocity(moved, biases, embeddings, x, t)
    expected = 1e-3 * network.activation.response(hidden[-1].numpy())[0, 4]
    np.testing.assert_allclose((after - base).numpy(), [[0.0, expected]], rtol=1e-9, atol=1e-15)


def recipe(**training):
    return Recipe.model_validate(
        {
            "schema": 1, "kind": "network", "name": "small", "describes": "For tests.", "layout": [2, 6, 5],
            "data": "letter:S", "activation": "aoc48",
            "training": {
                "iterations": EVERY + 40, "batch": 64, "learning_rate": 0.01, "max_weight": 2.0, "max_state": 5.0,
                "ema": 0.9, "seed": 5, "refresh": 30,
            } | training,
        }
    )  # fmt: skip


@pytest.mark.parametrize("machine", [False, True])
def test_an_interrupted_training_goes_on_with_the_same_bits(library, network, tmp_path, monkeypatch, machine):
    through = programming(library) if machine else None
    plan, law = recipe(), network.activation
    whole, loss = train(plan, law, through=through)
    path, seen = tmp_path / "small.checkpoint.npz", []

    def interrupted():
        seen.append(1)
        if len(seen) == EVERY + 20:
            raise KeyboardInterrupt

    monkeypatch.setattr("aocsim.diffusion.train.raise_if_interrupted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(plan, law, through=through, checkpoint=path)
    assert path.exists()
    monkeypatch.undo()
    again, more = train(plan, law, through=through, checkpoint=path)
    np.testing.assert_array_equal(loss, more)
    for one, other in zip(whole.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(InputError, match="another recipe: --restart"):
        train(recipe(seed=6), law, through=through, checkpoint=path)
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="is damaged"):
        train(plan, law, through=through, checkpoint=path)


def test_training_through_a_machine_makes_its_own_velocity_better(library, network):
    """Fine-tuned through one machine: the loss of the velocity that this machine gives when programmed falls."""
    how = programming(library)
    plan = load_recipe(library.model_path("heart"))
    changed = {"iterations": 150, "learning_rate": 2e-3, "batch": 512, "ema": 0.95, "refresh": 10}
    plan = plan.model_copy(update={"training": plan.training.model_copy(update=changed)})
    tuned, _ = train(plan, network.activation, start=network, through=how)

    def loss_of(one):
        rng = np.random.default_rng(9)
        from aocsim.diffusion.data import shape_points

        x1, x0 = shape_points(one.rings, 20_000, rng), rng.standard_normal((20_000, 2))
        t = (np.arange(20_000) + 0.5)[:, None] / 20_000
        x = torch.from_numpy(t * x1 + (1 - t) * x0)
        with torch.no_grad():
            found, _ = Programmed(how, one).velocity(*tensors(one), x, torch.from_numpy(t))
        return float(((found.numpy() - (x1 - x0)) ** 2).mean())

    assert loss_of(tuned) < loss_of(network)


def test_what_is_trained_through_is_found_or_refused(library, twin_path, tmp_path):
    spec = library.machine("aoc48")

    def named(through):
        return programming_of(recipe(through=through), spec, library)

    assert named("ideal") is None
    assert named("nominal").machine.serial is None
    assert named(str(twin_path)).digest != named("nominal").digest
    with pytest.raises(InputError, match=r"training\.through: is no machine to train through"):
        named("nominel")
    with pytest.raises(InputError, match=r"missing\.nc"):
        named(str(tmp_path / "missing.nc"))
    with pytest.raises(InputError, match=r"another machine.* got 48"):
        programming_of(recipe(through=str(twin_path)), replace(spec, channels=8), library)


def test_a_machine_that_cannot_hold_the_weights_says_what_to_change(library, network):
    weak = Programming(**{**programming(library).__dict__, "beta": 1e-4})
    with pytest.raises(InputError, match=r"training\.max_weight"):
        Programmed(weak, network)
