"""The trained model that ships, against its recipe, the machine's nonlinearity, and data."""

from __future__ import annotations

import numpy as np
import pytest

from aocsim.diffusion.data import shape_points
from aocsim.diffusion.network import load_loss, load_network
from aocsim.diffusion.samplers import implicit_euler
from aocsim.diffusion.train import Recipe, load_recipe
from aocsim.library import Library
from aocsim.machine import nominal_activation
from aocsim.metrics import gaussian_fit, gaussian_sample, w2


@pytest.fixture(scope="module")
def library():
    return Library.open()


@pytest.fixture(scope="module")
def network(library):
    return load_network(library.model_path("heart").with_suffix(".nc"))


def test_it_was_trained_by_its_recipe(library, network):
    recipe = load_recipe(library.model_path("heart"))
    # keys that have come since have had the values that they have by default
    trained = Recipe.model_validate(network.origin["recipe"])
    assert trained.training == recipe.training
    assert trained.layout == recipe.layout == network.layout
    assert len(load_loss(library.model_path("heart").with_suffix(".nc"))) == recipe.training.iterations


@pytest.mark.parametrize("machine", ["aoc48", "ideal48"])
def test_its_activation_is_the_machines(library, network, machine):
    """Trained on the table of the typical machine; the ideal one follows the same nominal nonlinearity."""
    law = nominal_activation(library.machine(machine))
    y = np.linspace(-11.9, 11.9, 4001)
    np.testing.assert_allclose(network.activation.response(y), law.response(y), rtol=0, atol=1e-9)


def test_it_draws_the_heart(network):
    """Exact W2 of 1,000 against 1,000 points: near a second data sample, far below the fitted Gaussian."""
    rng = np.random.default_rng(2026)
    reference = shape_points("heart", 1000, rng)
    made = implicit_euler(network, rng.standard_normal((1000, 2)), 16)[-1]
    gaussian = gaussian_sample(*gaussian_fit(reference), 1000, rng)
    assert w2(made, reference) < 0.7 * w2(gaussian, reference)
    assert w2(made, reference) < 2.0 * w2(shape_points("heart", 1000, rng), reference)


def test_it_stays_inside_the_amplifiers_linear_range(library, network):
    """Hidden states of 99 % of samples and steps within -1.67 and 2.26 V at 0.279 V a unit."""
    from aocsim.diffusion.samplers import implicit_states

    states = implicit_states(network, np.random.default_rng(1).standard_normal((500, 2)), 16) * 0.279
    node = library.machine("aoc48").parts["node"]
    assert np.percentile(states, 0.5) > node.value("linear_low")
    assert np.percentile(states, 99.5) < node.value("linear_high")
