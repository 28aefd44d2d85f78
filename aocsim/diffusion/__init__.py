"""Analog diffusion models: network, block operator, methods, data sets and training."""

from __future__ import annotations

from typing import Any

__all__ = ["Solution", "solve"]


def __getattr__(name: str) -> Any:
    """`solve` and `Solution`, found when they are asked for: the import of the package stays light.

    The module of the same name as the function stands behind it: `from aocsim.diffusion import solve` is the function.
    """
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("aocsim.diffusion.solving"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
