"""State of a training on its way, from which the next one goes on with the same bits."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aocsim.errors import InputError
from aocsim.law import Array, Law
from aocsim.output import write_atomically

if TYPE_CHECKING:
    import torch
    from pydantic import BaseModel

    from aocsim.diffusion.through import Programming

EVERY = 500
"""Iterations from one checkpoint to the next."""

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def fingerprint(recipe: BaseModel, activation: Law, initial: Array, through: Programming | None) -> str:
    """SHA-256 of all that decides what a training gives."""
    digest = hashlib.sha256(recipe.model_dump_json(by_alias=True).encode())
    digest.update(np.ascontiguousarray(activation.coefficients).tobytes())
    digest.update(np.array([activation.lower, activation.upper]).tobytes())
    digest.update(np.ascontiguousarray(initial).tobytes())
    digest.update(("" if through is None else through.digest).encode())
    return digest.hexdigest()


def write_checkpoint(
    path: Path,
    mark: str,
    iteration: int,
    theta: torch.Tensor,
    mean: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    loss: Array,
) -> None:
    """Write the state before an iteration, complete or not at all."""
    state = optimiser.state[theta]
    arrays = {name: state[name].detach().numpy() for name in _MOMENTS}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(
                file,
                fingerprint=mark,
                iteration=iteration,
                theta=theta.detach().numpy(),
                mean=mean.numpy(),
                rng=json.dumps(rng.bit_generator.state, default=np.ndarray.tolist),
                loss=loss[:iteration],
                **arrays,
            )

    write_atomically(path, write)


def read_checkpoint(path: Path, mark: str) -> dict[str, Any] | None:
    """What `write_checkpoint` has written; None where there is no file.

    Raises:
        InputError: damaged, or of another training.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as found:
            kept = {name: found[name] for name in found.files}
        same = str(kept["fingerprint"]) == mark
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"is damaged: {error}; --restart begins anew", file=path) from error
    if not same:
        raise InputError("is of a training with another recipe: --restart begins anew", file=path)
    return kept


def restore(
    kept: dict[str, Any],
    theta: torch.Tensor,
    mean: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    loss: Array,
) -> int:
    """Put a checkpoint's state in place; the iteration that comes next."""
    import torch

    iteration = int(kept["iteration"])
    with torch.no_grad():
        theta.copy_(torch.from_numpy(kept["theta"]))
        mean.copy_(torch.from_numpy(kept["mean"]))
    optimiser.state[theta] = {name: torch.from_numpy(np.array(kept[name])) for name in _MOMENTS}
    rng.bit_generator.state = _with_words(json.loads(str(kept["rng"])))
    loss[:iteration] = kept["loss"]
    return iteration


def _with_words(state: Any) -> Any:
    """A generator's state with its lists as arrays of 64-bit words again."""
    if isinstance(state, dict):
        return {key: _with_words(value) for key, value in state.items()}
    return np.array(state, dtype=np.uint64) if isinstance(state, list) else state
