r"""How a network is split over modules of n x n weights.

A layer with more inputs or outputs than a module has channels is cut into tiles, its inputs being fanned out to all
tiles of a column and partial sums of a row of tiles being added at the nodes. Small tiles share a module as the blocks
of one matrix do, rows and columns of their own each. Sharing is sought first fit, largest tile first, so that the
number of modules is what this rule finds and not proven least; it is never below the bounds of `Split.least`.

A network whose block matrix fits into one module is held by it as a single machine holds it. More modules form a ring
through a crossbar: "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1, K units with a layer each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aocsim.diffusion.methods import Method
from aocsim.errors import InputError

MOST = 100_000  # tiles: larger networks on so small modules are a slip of the pen
OPENED: tuple[Method, ...] = ("explicit_euler", "heun")


@dataclass(frozen=True)
class Tile:
    """A part of a layer's matrix, at most n x n.

    Attributes:
        layer: from 1.
        rows: outputs.
        columns: inputs.
    """

    layer: int
    rows: int
    columns: int

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Split:
    """A network on modules.

    Attributes:
        widths: (d, h_1, ..., h_{K-1}), units of the ring's blocks; layer i maps block i to block i + 1.
        channels: n of each module.
        modules: the tiles of each module.
    """

    widths: tuple[int, ...]
    channels: int
    modules: tuple[tuple[Tile, ...], ...]

    @property
    def count(self) -> int:
        """Number of modules of one ring."""
        return len(self.modules)

    @property
    def weights(self) -> int:
        """Number of weights of the network."""
        return sum(tile.weights for tiles in self.modules for tile in tiles)

    @property
    def fill(self) -> float:
        """Weights over places for weights."""
        return self.weights / (self.count * self.channels**2)

    @property
    def crossings(self) -> int:
        """Passes through the crossbar in one round of the ring: one a layer, or none in a single module."""
        return len(self.widths) if self.count > 1 else 0

    @property
    def least(self) -> int:
        """No split has fewer modules: every weight needs a place, every output of a tile a row."""
        n = self.channels
        rows = sum(tile.rows for tiles in self.modules for tile in tiles)
        return max(math.ceil(self.weights / n**2), math.ceil(rows / n))


def split(widths: Sequence[int], channels: int, method: Method = "implicit_euler") -> Split:
    """Place a network's layers on modules.

    Args:
        widths: (d, h_1, ..., h_{K-1}), at least 1 each; one block alone is a layer that feeds itself.
        channels: n of a module.
        method: explicit ones open the ring, and need the d result channels twice where one module holds all.

    Raises:
        InputError: no layer, an empty one, or no channel.
    """
    if not widths or min(widths) < 1:
        raise InputError("a network has blocks of at least one unit", key="network.widths", got=list(widths))
    if channels < 1:
        raise InputError("out of range", key="module.channels", got=channels, allowed="1 or more")
    layers = list(zip((*widths[1:], widths[0]), widths, strict=True))  # (outputs, inputs)
    if sum(widths) + (widths[0] if method in OPENED else 0) <= channels:
        whole = tuple(Tile(k, rows, columns) for k, (rows, columns) in enumerate(layers, start=1))
        return Split(tuple(widths), channels, (whole,))
    cuts = math.prod(max(math.ceil(sum(side) / channels), 1) for side in zip(*layers, strict=True))
    if cuts > MOST:
        raise InputError(
            "no split of this network is considered",
            key="module.channels",
            got=channels,
            allowed=f"so many that a network of {sum(widths)} units has fewer than {MOST} tiles",
        )
    tiles = [
        Tile(k, rows, columns)
        for k, (outputs, inputs) in enumerate(layers, start=1)
        for rows in _cut(outputs, channels)
        for columns in _cut(inputs, channels)
    ]
    modules: list[list[Tile]] = []
    room: dict[int, tuple[int, int]] = {}  # rows and columns that are left, of modules that can take more
    for tile in sorted(tiles, key=lambda t: (-max(t.rows, t.columns), t.layer)):
        fits = (k for k, (rows, columns) in room.items() if tile.rows <= rows and tile.columns <= columns)
        k = next(fits, len(modules))
        rows, columns = room.pop(k, (channels, channels))
        if k == len(modules):
            modules.append([])
        modules[k].append(tile)
        if tile.rows < rows and tile.columns < columns:
            room[k] = (rows - tile.rows, columns - tile.columns)
            room = dict(sorted(room.items()))
    if len(modules) == 1:  # of an opened ring: input and result would stand on the same channels
        modules = [[tile for tile in tiles if (tile.layer == len(layers)) == last] for last in (False, True)]
        modules = [module for module in modules if module]
    return Split(tuple(widths), channels, tuple(map(tuple, modules)))


def _cut(size: int, most: int) -> list[int]:
    """Whole parts of `most`, and what is left."""
    return [most] * (size // most) + ([size % most] if size % most else [])


def rings_of(found: Split, modules: int, key: str = "study.modules") -> int:
    """How many copies of a network's ring these modules hold.

    Raises:
        InputError: no module, or too few to hold all layers at once, which a ring must.
    """
    if modules < 1:
        raise InputError("there must be a module", key=key, got=modules, allowed="1 or more")
    if modules < found.count:
        raise InputError(
            f"no split of this network fits: a ring needs all of its {found.weights:.4g} weights "
            f"({len(found.widths)} layers, widths up to {max(found.widths)}) in the modules at once",
            key=key,
            got=modules,
            allowed=f"{found.count} or more modules of {found.channels} channels",
        )
    return modules // found.count
