"""The velocity network of an analog diffusion model, and the file that holds a trained one.

Equations follow "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aocsim.diffusion.checks import check_layers, check_outline
from aocsim.diffusion.data import shape_rings
from aocsim.errors import InputError
from aocsim.interrupts import interrupts_deferred
from aocsim.law import Array, Law

if TYPE_CHECKING:
    import xarray

SCHEMA = 1
"""Version of the network file, in its attribute `aocsim_schema`."""


@dataclass(frozen=True, eq=False)
class Network:
    r"""Velocity field of a flow-matching model, as layers that the analog loop can hold.

    :math:`f = L_K \circ \dots \circ L_1`, :math:`L_i(x, t) = W_i s(x) + b_i + t e_i`: the activation s acts
    on the input of every layer, the first included ("Analog Diffusion Models",
    doi 10.21203/rs.3.rs-8919479/v1). All values are network units, t runs from 0 (noise) to 1 (data).

    Attributes:
        name: name of the model, the stem of its file.
        weights: K matrices W_i, (out, in).
        biases: K vectors b_i, (out,).
        time_embeddings: K vectors e_i, (out,).
        activation: the law s, network units in and out.
        data: name of the data set that the network was trained on.
        origin: how the network came about: plain values that JSON can hold.
        outline: outline of the data as rings, each (vertices, 2), in network units; empty where it is not kept.

    Raises:
        InputError: shapes that do not chain, values that are not finite, or an outline that bounds no area, meets
            itself or is not normalised; `key` names the variable.
    """

    name: str
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    time_embeddings: tuple[Array, ...]
    activation: Law
    data: str
    origin: Mapping[str, object] = field(default_factory=dict)
    outline: tuple[Array, ...] = ()

    def __post_init__(self) -> None:
        """Make the arrays float64 and check them."""
        for key in ("weights", "biases", "time_embeddings"):
            arrays = tuple(np.ascontiguousarray(a, dtype=np.float64) for a in getattr(self, key))
            object.__setattr__(self, key, arrays)
        check_layers(self.weights, self.biases, self.time_embeddings)
        object.__setattr__(self, "outline", check_outline(self.outline, self.layout[0]))

    @property
    def outcome(self) -> dict[str, float]:
        """What its training says that it is worth digitally; empty where nothing is told."""
        found = self.origin.get("outcome")
        return {str(key): float(value) for key, value in found.items()} if isinstance(found, Mapping) else {}

    @property
    def depth(self) -> int:
        """Number of layers K."""
        return len(self.weights)

    @property
    def layout(self) -> tuple[int, ...]:
        """Block sizes (d, h_1, ..., h_{K-1}) of the loop's state."""
        return tuple(w.shape[1] for w in self.weights)

    @property
    def units(self) -> int:
        """Number of units of the loop, d + h_1 + ... + h_{K-1}."""
        return sum(self.layout)

    @property
    def rings(self) -> tuple[Array, ...]:
        """Rings of the data, each (vertices, 2), in network units: those kept, or those that `data` names.

        Raises:
            InputError: none are kept, and `data` names no known shape or a file that is refused.
        """
        return self.outline or shape_rings(self.data)

    def velocity(self, x: Array, t: float | Array) -> Array:
        """Velocity dx/dt = f(x, t).

        Args:
            x: (batch, d) points, network units.
            t: time in [0, 1], one for all points or (batch,).

        Returns:
            (batch, d), network units per unit of time.

        Raises:
            InputError: x or t has another shape.
        """
        x = as_batch(x, self.layout[0], "x")
        column = as_times(t, len(x))[:, None]
        for weight, bias, embedding in zip(self.weights, self.biases, self.time_embeddings, strict=True):
            x = self.activation.response(x) @ weight.T + bias + column * embedding
        return x


def as_batch(values: Array, width: int, key: str) -> Array:
    """Check that `values` is (batch, width) and return it as float64.

    Raises:
        InputError: another shape; nothing is broadcast.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != width:
        raise InputError("wrong shape", key=key, got=array.shape, allowed=f"(batch, {width})")
    return array


def as_times(t: float | Array, batch: int) -> Array:
    """One time for all, or (batch,), as (batch,) float64.

    Raises:
        InputError: another shape.
    """
    array = np.asarray(t, dtype=np.float64)
    if array.shape not in ((), (batch,)):
        raise InputError("wrong shape", key="t", got=array.shape, allowed=f"a number or ({batch},)")
    return np.broadcast_to(array, (batch,))


def save_network(network: Network, path: str | os.PathLike[str], loss: Array | None = None) -> Path:
    """Write a network to a netCDF-4 file, complete or not at all.

    Args:
        network: what to write.
        path: the file, by convention models/NAME.nc; replaced if it is there.
        loss: (iterations,) training loss, mean squared error of the velocity.

    Returns:
        The path.

    Raises:
        InputError: the folder does not exist.
    """
    import xarray

    target = Path(path)
    if not target.parent.is_dir():
        raise InputError("the folder does not exist", file=target, got=str(target.parent))
    one = {"units": "1"}
    variables: dict[str, tuple[tuple[str, ...], Array, dict[str, str]]] = {}
    layers = zip(network.weights, network.biases, network.time_embeddings, strict=True)
    for i, (weight, bias, embedding) in enumerate(layers, start=1):
        out, into = f"output_{i}", f"input_{i}"
        variables[f"weight_{i}"] = ((out, into), weight, one | {"long_name": f"weights of layer {i}"})
        variables[f"bias_{i}"] = ((out,), bias, one | {"long_name": f"bias of layer {i}"})
        variables[f"time_embedding_{i}"] = (
            (out,),
            embedding,
            one | {"long_name": f"bias of layer {i} per unit of diffusion time"},
        )
    for i, ring in enumerate(network.outline, start=1):
        variables[f"data_ring_{i}"] = (
            (f"vertex_{i}", "axis"),
            ring,
            one | {"long_name": f"ring {i} of the outline of the data"},
        )
    law = network.activation
    variables["activation_coefficients"] = (
        ("interval", "power"),
        law.coefficients,
        one | {"long_name": "cubic coefficients of the activation on uniform intervals"},
    )
    for end, value in (("lower", law.lower), ("upper", law.upper)):
        variables[f"activation_{end}"] = (
            (),
            np.asarray(value),
            one | {"long_name": f"{end} end of the table of the activation"},
        )
    curve = np.zeros(0) if loss is None else np.asarray(loss, dtype=np.float64)
    variables["loss"] = (
        ("iteration",),
        curve,
        one | {"long_name": "training loss, mean squared error of the velocity"},
    )
    dataset = xarray.Dataset(
        variables,
        attrs={
            "aocsim_schema": SCHEMA,
            "kind": "network",
            "name": network.name,
            "data": network.data,
            "layers": network.depth,
            "data_rings": len(network.outline),
            "activation_name": law.name,
            "origin": json.dumps(dict(network.origin), sort_keys=True),
        },
    )
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    try:
        with interrupts_deferred():  # the library's locks must not be left half-taken
            dataset.to_netcdf(temporary, engine="netcdf4", format="NETCDF4")
        # mkstemp makes the file private to its owner; a model is as readable as any other new file.
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def load_network(path: str | os.PathLike[str]) -> Network:
    """Read a network file.

    Args:
        path: a file written by `save_network`.

    Returns:
        The network, checked.

    Raises:
        InputError: the file is missing, cut short, no netCDF file or no network, of another schema version;
            a variable is missing, is not finite, or has a shape that does not chain; the outline is damaged.
    """
    file = Path(path)
    dataset = _read(file)
    try:
        depth = int(dataset.attrs["layers"])
        weights, biases, embeddings = (
            tuple(_variable(dataset, f"{kind}_{i}", file) for i in range(1, depth + 1))
            for kind in ("weight", "bias", "time_embedding")
        )
        check_layers(weights, biases, embeddings, file)
        outline = check_outline(_outline(dataset, file), weights[0].shape[1], file)
        return Network(
            str(dataset.attrs["name"]),
            weights,
            biases,
            embeddings,
            _law(dataset, file),
            str(dataset.attrs["data"]),
            dict(json.loads(dataset.attrs["origin"])),
            outline,
        )
    except KeyError as error:
        raise InputError("the attribute is missing", file=file, key=str(error.args[0])) from error
    except (TypeError, ValueError) as error:
        raise InputError(f"an attribute is damaged: {error}", file=file) from error


def network_of(path: str | os.PathLike[str]) -> Network:
    """`load_network`; the same object again as long as the file holds the same.

    Raises:
        InputError: as `load_network`.
    """
    file = Path(path)
    return _read_once(file, file.read_bytes() if file.is_file() else b"")


@lru_cache(maxsize=4)
def _read_once(file: Path, content: bytes) -> Network:
    return load_network(file)


def load_loss(path: str | os.PathLike[str]) -> Array:
    """Training loss (iterations,) kept in a network file; empty when none was kept.

    Raises:
        InputError: as `load_network`.
    """
    return _variable(_read(Path(path)), "loss", Path(path))


def _read(file: Path) -> xarray.Dataset:
    import xarray

    if not file.is_file():
        raise InputError("no such file", file=file)
    try:
        with interrupts_deferred():
            dataset = xarray.load_dataset(file, engine="netcdf4")
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"cut short, or not a netCDF file ({error})", file=file) from error
    if dataset.attrs.get("kind") != "network":
        raise InputError(
            "not a network file", file=file, key="kind", got=dataset.attrs.get("kind"), allowed="network"
        )
    schema = np.asarray(dataset.attrs.get("aocsim_schema")).tolist()
    if schema != SCHEMA:
        raise InputError(
            "another version of the file", file=file, key="aocsim_schema", got=schema, allowed=str(SCHEMA)
        )
    return dataset


def _variable(dataset: xarray.Dataset, key: str, file: Path) -> Array:
    if key not in dataset:
        raise InputError("the variable is missing", file=file, key=key)
    values = dataset[key].values
    if values.dtype.kind not in "fiu":
        raise InputError("not numbers", file=file, key=key, got=str(values.dtype), allowed="float64")
    return np.asarray(values, dtype=np.float64)


def _outline(dataset: xarray.Dataset, file: Path) -> tuple[Array, ...]:
    """Rings of the data, as many as the attribute says; a file that keeps none may be without it."""
    kept = [str(name) for name in dataset.variables if str(name).startswith("data_ring_")]
    if not kept and "data_rings" not in dataset.attrs:
        return ()
    count = int(dataset.attrs["data_rings"])
    if count != len(kept):
        raise InputError(
            "not the number of rings that the file keeps",
            file=file,
            key="data_rings",
            got=count,
            allowed=str(len(kept)),
        )
    return tuple(_variable(dataset, f"data_ring_{i}", file) for i in range(1, count + 1))


def _law(dataset: xarray.Dataset, file: Path) -> Law:
    key = "activation_coefficients"
    coefficients = _variable(dataset, key, file)
    if coefficients.ndim != 2 or coefficients.shape[1] != 4 or not len(coefficients):
        raise InputError("wrong shape", file=file, key=key, got=coefficients.shape, allowed="(interval, 4)")
    lower, upper = (_variable(dataset, f"activation_{end}", file) for end in ("lower", "upper"))
    for name, values in ((key, coefficients), ("activation_lower", lower), ("activation_upper", upper)):
        if not np.isfinite(values).all():
            raise InputError("not a finite number", file=file, key=name)
    if lower.shape or upper.shape or not lower < upper:
        raise InputError(
            "empty table interval",
            file=file,
            key="activation_lower",
            got=lower.tolist(),
            allowed=f"< {upper.tolist()}",
        )
    return Law(str(dataset.attrs["activation_name"]), float(lower), float(upper), coefficients)
