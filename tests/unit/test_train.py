import tomllib
from pathlib import Path

import numpy as np
import pytest

from aocsim.diffusion.through import torch_law
from aocsim.diffusion.train import Recipe, load_recipe, train
from aocsim.errors import InputError
from aocsim.law import Law

MODELS = Path(__file__).parents[2] / "models"


def skewed_law():
    """A saturating law that is not odd, with a table short enough that tests go beyond it."""
    return Law.tabulate(
        "skewed",
        lambda x: np.tanh(x) + 0.1 * np.tanh(x) ** 2,
        lambda x: (1.0 + 0.2 * np.tanh(x)) / np.cosh(x) ** 2,
        -3.0,
        3.0,
        intervals=128,
    )


def small_recipe(**training):
    return Recipe.model_validate(
        {
            "schema": 1,
            "kind": "network",
            "name": "small",
            "describes": "For tests.",
            "layout": [2, 8, 7],
            "data": "heart",
            "activation": "aoc48",
            "training": {
                "iterations": 60,
                "batch": 256,
                "learning_rate": 0.01,
                "max_weight": 1.0,
                "max_state": 5.0,
                "ema": 0.9,
                "seed": 5,
            }
            | training,
        }
    )


@pytest.fixture
def recipe_file(tmp_path):
    """Function that writes the heart's recipe with a text replaced."""

    def write(old="", new=""):
        text = (MODELS / "heart.toml").read_text()
        assert old in text
        path = tmp_path / "heart.toml"
        path.write_text(text.replace(old, new, 1))
        return path

    return write


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_read_and_named_as_its_file(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert list(recipe.layout) == tomllib.loads(path.read_text())["layout"]


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("iterations", "iteration", "training.iteration", "did you mean 'iterations'"),
        ('data = "heart"', 'data = "hart"', "data", "did you mean 'heart'"),
        ('data = "heart"', "", "data", "missing"),
        ("schema = 1", "schema = 2", "schema", "got 2; allowed: 1"),
        ("[2, 22, 21]", "[2, 22.0, 21]", "layout.1", "whole number"),
        ("[2, 22, 21]", "[]", "layout", "layout"),
        ("seed = 1", 'seed = "1"', "training.seed", "whole number"),
        ("seed = 1", "seed = -1", "training.seed", "at least 0"),
        ("ema = 0.", "ema = 1.", "training.ema", "less than 1"),
        ('name = "heart"', 'name = "../heart"', "name", "got '../heart'"),
    ],
)
def test_faulty_recipe_is_refused_by_key(recipe_file, old, new, key, message):
    path = recipe_file(old, new)
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    assert caught.value.key == key
    assert caught.value.file == str(path)
    assert message in str(caught.value)


def test_recipe_that_is_no_toml_or_is_missing_is_refused(recipe_file, tmp_path):
    with pytest.raises(InputError, match="not a TOML file"):
        load_recipe(recipe_file("schema = 1", "schema : 1"))
    with pytest.raises(InputError, match=r"absent\.toml"):
        load_recipe(tmp_path / "absent.toml")


@pytest.mark.train
class TestWithTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch", reason="training needs the extra `train`")

    def test_torch_and_numpy_evaluate_the_same_law(self, torch):
        law = skewed_law()
        x = np.linspace(-6.0, 6.0, 4001).reshape(-1, 1)
        tensor = torch.from_numpy(x).requires_grad_()
        y = torch_law(law)(tensor)
        y.sum().backward()
        np.testing.assert_allclose(y.detach().numpy(), law.response(x), rtol=0, atol=1e-12)
        np.testing.assert_allclose(tensor.grad.numpy(), law.slope(x), rtol=0, atol=1e-12)

    def test_loss_falls(self):
        _, loss = train(small_recipe(iterations=400, batch=512), skewed_law())
        assert loss.shape == (400,)
        # The variance of x1 - x0 is what a network that knows nothing leaves; the mean alone gets below it.
        assert loss[-50:].mean() < 0.75 * loss[:10].mean()

    def test_training_repeats_bit_for_bit_and_depends_on_the_seed(self):
        (a, loss_a), (b, loss_b) = (train(small_recipe(), skewed_law()) for _ in range(2))
        np.testing.assert_array_equal(loss_a, loss_b)
        for x, y in zip(a.weights + a.biases, b.weights + b.biases, strict=True):
            np.testing.assert_array_equal(x, y)
        other, _ = train(small_recipe(seed=6), skewed_law())
        assert not np.array_equal(a.weights[0], other.weights[0])

    def test_training_leaves_the_caller_s_torch_alone(self, torch):
        threads, state = torch.get_num_threads(), torch.random.get_rng_state()
        train(small_recipe(iterations=3), skewed_law())
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_hidden_weights_keep_their_bound_and_the_last_layer_is_free(self):
        bound = 0.05
        network, _ = train(small_recipe(max_weight=bound), skewed_law())
        for weight in network.weights[:-1]:
            assert np.abs(weight).max() <= bound
        assert np.abs(network.weights[-1]).max() > bound

    def test_penalty_keeps_hidden_states_small(self):
        x = np.random.default_rng(0).standard_normal((200, 2))
        largest = []
        for max_state in (0.05, 50.0):
            network, _ = train(small_recipe(max_state=max_state, iterations=400), skewed_law())
            hidden = skewed_law().response(x) @ network.weights[0].T + network.biases[0]
            largest.append(np.abs(hidden).mean())
        assert largest[0] < largest[1]

    def test_training_goes_on_from_a_network(self):
        first, loss = train(small_recipe(iterations=400), skewed_law())
        _, resumed = train(small_recipe(iterations=5), skewed_law(), start=first)
        assert resumed.mean() < 0.9 * loss[:5].mean()
        assert first.origin["started_from"] is None

    def test_start_of_another_layout_is_refused(self):
        network, _ = train(small_recipe(iterations=1), skewed_law())
        other = small_recipe(iterations=1).model_copy(update={"layout": (2, 8)})
        with pytest.raises(InputError, match="layout"):
            train(other, skewed_law(), start=network)

    def test_layout_that_does_not_fit_the_data_is_refused(self):
        with pytest.raises(InputError, match="as wide as the data"):
            train(small_recipe().model_copy(update={"layout": (3, 8)}), skewed_law())

    def test_diverging_training_is_said(self):
        with pytest.raises(InputError, match=r"diverged.*learning_rate|learning_rate.*diverged"):
            train(small_recipe(learning_rate=1e200, max_weight=1e300), skewed_law())

    def test_origin_holds_the_recipe(self):
        recipe = small_recipe(iterations=2)
        network, _ = train(recipe, skewed_law())
        assert Recipe.model_validate(network.origin["recipe"]) == recipe


@pytest.mark.train
def test_an_outline_lies_beside_its_recipe(tmp_path):
    """Wherever the training is started from: a relative file is the recipe's neighbour."""
    pytest.importorskip("torch", reason="needs torch (extra `train`)")
    (tmp_path / "kite.txt").write_text("0 0\n2 1\n0 4\n-2 1\n")
    recipe = small_recipe(iterations=3).model_copy(update={"data": "polygon:kite.txt"})
    network, _ = train(recipe, skewed_law(), folder=tmp_path)
    np.testing.assert_allclose(np.ptp(network.rings[0], axis=0), [2.0, 2.0])
    with pytest.raises(InputError, match="no such file"):
        train(recipe, skewed_law())
