"""Training of analog diffusion models: conditional flow matching on the machine's own activation.

Needs torch (extra `train`), which is imported only when a training starts.
"""

from __future__ import annotations

import math
import os
import platform
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aocsim.diffusion.checkpoint import EVERY, fingerprint, read_checkpoint, restore, write_checkpoint
from aocsim.diffusion.data import check_data, shape_points, shape_rings
from aocsim.diffusion.network import Network
from aocsim.diffusion.polygons import Rings
from aocsim.diffusion.solving import solve
from aocsim.diffusion.through import Programmed, Programming, torch_law
from aocsim.errors import InputError, PhysicsError, from_validation
from aocsim.interrupts import raise_if_interrupted
from aocsim.law import Array, Law
from aocsim.metrics import mmd2_unbiased, w2
from aocsim.seeds import stream

POOL = 2**17
"""Data points drawn once; the minibatches are drawn from them."""

WARM_UP = 200
"""Iterations over which the learning rate rises linearly."""

STATE_PENALTY = 0.003
"""Weight of the mean squared excess of hidden states over `max_state`, beside the flow-matching loss."""

HELD_OUT = 20_000
"""Fresh points that the outcome's loss is taken over."""

SAMPLES = 1000
"""Samples, and data points, that the outcome's distances are taken between."""

FINAL_RATE = 1e-3
"""Learning rate at the end of the cosine, as a fraction of its peak: the last tenth is the fine finish."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Training(_Strict):
    """Table [training] of a recipe.

    Attributes:
        iterations: optimiser steps.
        batch: points per step.
        learning_rate: peak learning rate of Adam.
        max_weight: bound on |W| of every hidden layer (all but the last), network units. A row's largest
            weight sets how much of the loop must be relaxed, and so how fast it settles. The last layer is
            not bounded: in the loop its rows carry dt W_K.
        max_state: |output| of a hidden layer above which the excess is penalised, network units, so that
            states stay where the machine's amplifiers are linear. Few points go beyond it, and not far.
        ema: decay per step of the running mean of the parameters, which is what training returns.
        seed: of the initial weights, the data and the noise.
        through: "ideal", the activation alone; "nominal", the machine of the data sheets as it would be programmed;
            or the path of a calibration's result.nc or of a twin's parameter file (.yaml), whose machine is taken.
        start: name of a model to go on from in place of random weights; "" for none.
        steps: diffusion steps of the runs that the network is for. The outcome is taken at them, and a machine is
            programmed for their length.
        beta: gain at which a machine is programmed.
        alpha_min: least relaxation of its channels.
        refresh: iterations from one programming of the machine to the next.
    """

    iterations: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    max_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    max_state: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    through: Annotated[str, Field(min_length=1)] = "ideal"
    start: str = ""
    steps: Annotated[int, Field(ge=1, le=4096)] = 16
    beta: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 25.0
    alpha_min: Annotated[float, Field(ge=0, lt=1)] = 0.8
    refresh: Annotated[int, Field(ge=1)] = 20


class Recipe(_Strict):
    """A model's recipe, models/NAME.toml.

    Attributes:
        schema_version: key `schema`, the version of the format.
        kind: always "network".
        name: name of the model, the stem of its file.
        describes: one sentence.
        layout: block sizes (d, h_1, ..., h_{K-1}).
        data: name of the data set.
        activation: machine sheet whose nominal activation the network is trained on.
        training: how.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    kind: Literal["network"]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    describes: Annotated[str, Field(min_length=1)]
    # A TOML array arrives as a list, which a strict tuple would refuse; its elements stay strict.
    layout: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, strict=False)]
    data: str
    activation: Annotated[str, Field(min_length=1)]
    training: Training

    @field_validator("data")
    @classmethod
    def _known_data(cls, value: str) -> str:
        check_data(value)
        return value


class _Parameters:
    """All layers in one flat vector, so that clamping, averaging and the optimiser are one operation each."""

    def __init__(self, layout: tuple[int, ...], max_weight: float) -> None:
        self.shapes: list[tuple[int, ...]] = []
        bounds: list[Array] = []
        for i, into in enumerate(layout):
            out = layout[(i + 1) % len(layout)]
            last = i == len(layout) - 1
            self.shapes += [(out, into), (out,), (out,)]
            bounds += [np.full(out * into, np.inf if last else max_weight), np.full(2 * out, np.inf)]
        self.bound = np.concatenate(bounds)
        self.sizes = [math.prod(shape) for shape in self.shapes]

    def initial(self, rng: np.random.Generator) -> Array:
        """Uniform in +-1/sqrt(inputs), weights, biases and time embeddings alike."""
        parts = []
        for out, into in self.shapes[::3]:
            parts.append(rng.uniform(-1.0, 1.0, out * (into + 2)) / math.sqrt(into))
        return np.clip(np.concatenate(parts), -self.bound, self.bound)

    def flatten(self, network: Network) -> Array:
        layers = zip(network.weights, network.biases, network.time_embeddings, strict=True)
        return np.concatenate([part.ravel() for layer in layers for part in layer])

    def split(self, values: Array) -> list[Array]:
        ends = np.cumsum(self.sizes)[:-1]
        return [p.reshape(s) for p, s in zip(np.split(values, ends), self.shapes, strict=True)]


def train(
    recipe: Recipe,
    activation: Law,
    *,
    progress: bool = False,
    start: Network | None = None,
    through: Programming | None = None,
    checkpoint: Path | None = None,
    folder: Path | None = None,
) -> tuple[Network, Array]:
    r"""Train a network by conditional flow matching.

    Minimises the mean of :math:`|f(x_t, t) - (x_1 - x_0)|^2`, :math:`x_t = t x_1 + (1 - t) x_0`, with x_1 a
    data point, x_0 standard normal and t uniform in [0, 1] ("Analog Diffusion Models",
    doi 10.21203/rs.3.rs-8919479/v1). Added is `STATE_PENALTY` times the squared excess of \|z\| over the
    recipe's `max_state`, mean over the units of a hidden layer, summed over the layers. Adam, a linear
    warm-up and a cosine to nearly zero; after every step the weights of the hidden layers are clamped to the
    recipe's `max_weight`. The times of a batch are stratified, one in each of as many equal intervals, which
    leaves the mean as it is and lowers its scatter. One thread, float64, all randomness from the recipe's
    seed: the same recipe gives the same bits on the same library versions, interrupted or not.

    Through a machine f is the velocity that it gives once it has been programmed (`aocsim.diffusion.through`); the
    weights stay those of the equation, and the machine is programmed with the latest ones every `refresh` iterations.

    Args:
        recipe: layout, data and settings.
        activation: the law s, network units in and out.
        progress: show a progress bar.
        start: network to go on from in place of random weights, for instance one that was trained on a
            slightly different law. The optimiser starts afresh.
        through: machine to train through; None is the activation alone.
        checkpoint: file of the state of a training that has not come to its end, from which the next one goes on.
        folder: that a relative FILE of data = "polygon:FILE" is taken from, the recipe's; None is the current one.

    Returns:
        The network, whose parameters are the running mean, and the loss (iterations,): the mean squared
        error of the velocity per dimension at every iteration, without the penalty.

    Raises:
        InputError: torch is not installed, `start` has another layout, the layout does not fit the data, the
            checkpoint is of another recipe or damaged, the machine cannot hold the weights, or the loss stopped
            being finite.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError("training needs torch: install aocsim with the extra `train`") from error

    if start is not None and start.layout != recipe.layout:
        raise InputError("wrong layout", key="start", got=start.layout, allowed=recipe.layout)
    outline = shape_rings(recipe.data, folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        values, loss = _optimise(recipe, activation, outline, progress, start, through, checkpoint)
    finally:
        torch.set_num_threads(threads)
    origin = {
        "recipe": recipe.model_dump(mode="json", by_alias=True),
        "started_from": None if start is None else start.name,
        "through": None if through is None else {"machine": through.machine.name, "sha256": through.digest},
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    network = _network(recipe, activation, values, outline)
    origin["outcome"] = outcome(network, recipe)
    return replace(network, origin=origin), loss


def _network(recipe: Recipe, activation: Law, values: Array, outline: Rings) -> Network:
    parts = _Parameters(recipe.layout, recipe.training.max_weight).split(values)
    weights, biases, embeddings = tuple(parts[0::3]), tuple(parts[1::3]), tuple(parts[2::3])
    return Network(recipe.name, weights, biases, embeddings, activation, recipe.data, {}, outline)


def outcome(network: Network, recipe: Recipe) -> dict[str, float]:
    """What a trained network is worth digitally, whatever it was trained through.

    Returns:
        held_out_loss, mean squared error of the velocity per dimension over fresh points, dimensionless; w2 in network
        units and mmd2, dimensionless, between samples of implicit Euler steps and fresh data points.
    """
    settings, d = recipe.training, network.layout[0]
    rng = stream(settings.seed, "training.outcome")
    x1, x0 = shape_points(network.rings, HELD_OUT, rng), rng.standard_normal((HELD_OUT, d))
    t = (np.arange(HELD_OUT) + rng.random(HELD_OUT)) / HELD_OUT
    off = network.velocity(t[:, None] * x1 + (1.0 - t[:, None]) * x0, t) - (x1 - x0)
    found = {"held_out_loss": float(np.mean(off**2))}
    data, noise = shape_points(network.rings, SAMPLES, rng), rng.standard_normal((SAMPLES, d))
    try:
        samples = solve(network, noise, steps=settings.steps).points[-1]
    except PhysicsError:  # a network that has learned nothing yet may have no implicit step
        return found
    return found | {"w2": w2(samples, data), "mmd2": mmd2_unbiased(samples, data)}


def _optimise(
    recipe: Recipe,
    activation: Law,
    outline: Rings,
    progress: bool,
    start: Network | None,
    through: Programming | None,
    checkpoint: Path | None,
) -> tuple[Array, Array]:
    import torch
    from tqdm import tqdm

    settings = recipe.training
    parameters = _Parameters(recipe.layout, settings.max_weight)
    if start is None:
        initial = parameters.initial(stream(settings.seed, "training.initial"))
    else:
        initial = parameters.flatten(start)
    theta = torch.from_numpy(initial).requires_grad_()
    mean = theta.detach().clone()
    bound = torch.from_numpy(parameters.bound)
    s = torch_law(activation)
    pool = shape_points(outline, POOL, stream(settings.seed, "training.pool"))
    if pool.shape[1] != recipe.layout[0]:
        raise InputError(
            "the first block must be as wide as the data",
            key="layout",
            got=recipe.layout,
            allowed=str(pool.shape[1]),
        )
    rng = stream(settings.seed, "training.batches")
    # A short memory of squared gradients: the loss is noisy, its scale is not.
    optimiser = torch.optim.Adam([theta], lr=settings.learning_rate, betas=(0.9, 0.99), fused=True)
    loss_curve = np.empty(settings.iterations)
    batch = settings.batch
    edges = np.arange(batch) / batch

    mark = fingerprint(recipe, activation, initial, through)
    kept = None if checkpoint is None else read_checkpoint(checkpoint, mark)
    first = 0
    if kept is not None:
        first = restore(kept, theta, mean, optimiser, rng, loss_curve)
    programmed: Programmed | None = None
    bar = tqdm(
        range(first, settings.iterations),
        initial=first,
        total=settings.iterations,
        desc=f"training {recipe.name}",
        disable=not progress,
        mininterval=0.5,
    )
    for iteration in bar:
        if checkpoint is not None and iteration > first and iteration % EVERY == 0:
            write_checkpoint(checkpoint, mark, iteration, theta, mean, optimiser, rng, loss_curve)
        raise_if_interrupted()
        # also where a training may have to go on, so that it goes on the same
        if through is not None and (iteration % settings.refresh == 0 or iteration % EVERY == 0):
            programmed = Programmed(
                through, _network(recipe, activation, theta.detach().numpy().copy(), outline)
            )
        x1 = pool[rng.integers(0, len(pool), batch)]
        x0 = rng.standard_normal((batch, recipe.layout[0]))
        t = (edges + rng.random(batch) / batch)[:, None]
        z, column = torch.from_numpy(t * x1 + (1.0 - t) * x0), torch.from_numpy(t)
        flat = [
            p.view(q) for p, q in zip(torch.split(theta, parameters.sizes), parameters.shapes, strict=True)
        ]
        excess = torch.zeros((), dtype=torch.float64)
        if programmed is not None:
            z, hidden = programmed.velocity(flat[0::3], flat[1::3], flat[2::3], z, column)
            for block in hidden:
                excess = excess + (block.abs() - settings.max_state).relu().square().mean()
        else:
            for i, (weight, bias, embedding) in enumerate(
                zip(flat[0::3], flat[1::3], flat[2::3], strict=True)
            ):
                if i > 0:
                    excess = excess + (z.abs() - settings.max_state).relu().square().mean()
                z = torch.addmm(bias, s(z), weight.T) + column * embedding
        loss = (z - torch.from_numpy(x1 - x0)).square().mean()

        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(iteration, settings.iterations)
        optimiser.zero_grad()
        (loss + STATE_PENALTY * excess).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            theta.copy_(torch.maximum(torch.minimum(theta, bound), -bound))
            # The mean must not remember the random start: its window grows to the recipe's.
            mean.lerp_(theta, max(1.0 - settings.ema, 1.0 / (iteration + 1)))
        loss_curve[iteration] = loss.item()
        if not math.isfinite(loss_curve[iteration]):
            raise InputError(
                f"training diverged at iteration {iteration}",
                key="training.learning_rate",
                got=settings.learning_rate,
                allowed="a smaller number",
            )
        if iteration % 100 == 0:
            bar.set_postfix(loss=f"{loss_curve[max(0, iteration - 99) : iteration + 1].mean():.4f}")
    # The mean of values on the bound can exceed it by a rounding error.
    return np.clip(mean.numpy(), -parameters.bound, parameters.bound), loss_curve


def _schedule(iteration: int, iterations: int) -> float:
    """Learning rate over its peak: linear warm-up times a cosine from 1 to `FINAL_RATE`."""
    warm = min(1.0, (iteration + 1) / WARM_UP)
    cosine = 0.5 * (1.0 + math.cos(math.pi * iteration / iterations))
    return warm * (FINAL_RATE + (1.0 - FINAL_RATE) * cosine)


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read and check a recipe.

    Args:
        path: a TOML file, by convention models/NAME.toml.

    Returns:
        The recipe.

    Raises:
        InputError: the file is missing or no TOML, or a key is unknown, missing or not allowed; the message
            names the file, the key, what came and what is allowed.
    """
    file = Path(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not a TOML file: {error}", file=file) from error
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise from_validation(error, Recipe, file) from error
    except InputError as error:
        raise error.located(file=file) from None
