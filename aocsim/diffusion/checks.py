"""What a network, and the file that holds one, may not be."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aocsim.diffusion.polygons import Rings, bounding_box, checked
from aocsim.errors import InputError
from aocsim.law import Array

ROUNDING = 1e-9
"""How far the bounding box of an outline may be from that of a normalised one, network units."""


def check_layers(
    weights: tuple[Array, ...],
    biases: tuple[Array, ...],
    embeddings: tuple[Array, ...],
    file: Path | None = None,
) -> None:
    """Refuse layers that do not chain or are not finite.

    Args:
        weights: K matrices, (out, in).
        biases: K vectors, (out,).
        embeddings: K vectors, (out,).
        file: where they come from, for the message; variables are named as in a network file.

    Raises:
        InputError: as said.
    """
    depth = len(weights)
    if not depth or len(biases) != depth or len(embeddings) != depth:
        raise InputError(
            "a network has as many biases and time embeddings as weights",
            file=file,
            got=f"{depth} weights, {len(biases)} biases, {len(embeddings)} time embeddings",
            allowed="the same number of each, at least 1",
        )
    for i, weight in enumerate(weights):
        if weight.ndim != 2:
            raise InputError(
                "wrong shape", file=file, key=f"weight_{i + 1}", got=weight.shape, allowed="(output, input)"
            )
    for i, weight in enumerate(weights):
        # The last layer returns to the dimensions of the first one's input: a velocity is as wide as a point.
        wanted = weights[(i + 1) % depth].shape[1]
        if weight.shape[0] != wanted:
            raise InputError(
                "layers do not chain: the outputs of a layer are the inputs of the next, those of the last "
                "layer are the inputs of the first",
                file=file,
                key=f"weight_{i + 1}",
                got=weight.shape,
                allowed=str((wanted, weight.shape[1])),
            )
        for key, vector in ((f"bias_{i + 1}", biases[i]), (f"time_embedding_{i + 1}", embeddings[i])):
            if vector.shape != weight.shape[:1]:
                raise InputError(
                    "wrong shape", file=file, key=key, got=vector.shape, allowed=str(weight.shape[:1])
                )
    for kind, arrays in (("weight", weights), ("bias", biases), ("time_embedding", embeddings)):
        for i, array in enumerate(arrays):
            bad = int(array.size - np.isfinite(array).sum())
            if bad:
                raise InputError(
                    "not a finite number",
                    file=file,
                    key=f"{kind}_{i + 1}",
                    got=f"{bad} of {array.size} values",
                )


def check_outline(rings: Rings, dimensions: int, file: Path | None = None) -> Rings:
    """Outline of the data that a network was trained on, or refused.

    Args:
        rings: each (vertices, 2), network units; none where the network keeps no outline.
        dimensions: d, of the network's points.
        file: where they come from, for the message; variables are named as in a network file.

    Returns:
        The rings as float64.

    Raises:
        InputError: points of other than two dimensions, rings that bound no area or meet, or that are not normalised
            to [-1, 1]^2.
    """
    if not len(rings):
        return ()
    if dimensions != 2:
        raise InputError(
            "an outline belongs to points of two dimensions",
            file=file,
            key="outline",
            got=dimensions,
            allowed="2",
        )
    for number, ring in enumerate(rings, start=1):
        key = f"data_ring_{number}"
        if np.ndim(ring) != 2 or np.shape(ring)[1] != 2:
            raise InputError("wrong shape", file=file, key=key, got=np.shape(ring), allowed="(vertex, 2)")
        bad = int(np.size(ring) - np.isfinite(ring).sum())
        if bad:
            raise InputError(
                "not a finite number", file=file, key=key, got=f"{bad} of {np.size(ring)} values"
            )
    out = checked(rings, file=file, key="outline")
    lower, upper = bounding_box(out)
    if np.abs(lower + upper).max() > ROUNDING or abs(float((upper - lower).max()) - 2.0) > ROUNDING:
        raise InputError(
            "the outline is not normalised",
            file=file,
            key="outline",
            got=f"from {lower.tolist()} to {upper.tolist()}",
            allowed="a box about the origin, its longer side 2",
        )
    return out
