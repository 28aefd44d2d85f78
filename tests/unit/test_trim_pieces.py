"""The mean jacobian of the operating-point trim, whole and in pieces."""

import numpy as np

from aocsim import trim
from aocsim.diffusion.network import load_network
from aocsim.diffusion.operator import BlockOperator
from aocsim.library import Library


def test_the_mean_jacobian_is_the_same_in_pieces(monkeypatch):
    network = load_network(Library.open().model_path("heart").with_suffix(".nc"))
    operator = BlockOperator.from_network(network, 1 / 16)
    z = np.random.default_rng(0).normal(0, 0.5, (17, operator.matrix.shape[0]))
    whole = operator.jacobian(z).mean(axis=0)
    for size in (1, 5, 17, 100):
        monkeypatch.setattr(trim, "JACOBIANS", size * 8 * z.shape[1] ** 2)
        np.testing.assert_allclose(trim._mean_jacobian(operator, z), whole, rtol=1e-12, atol=1e-14)
