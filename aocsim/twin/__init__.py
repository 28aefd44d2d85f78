"""The digital twin of a measured machine: its parameter file in and out, its static map, and the machine behind it.

>>> import aocsim.twin
>>> twin = aocsim.twin.load("machine.yaml")                                          # doctest: +SKIP
>>> z = twin.fixed_point(weights, bias=0.1, alpha=0.97, beta=18.6)                   # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aocsim.twin.fit import Residual, measurement_of
    from aocsim.twin.format import Measurement, read_measurement, write_measurement
    from aocsim.twin.model import Twin, load
    from aocsim.twin.ranges import OutOfRangeWarning, Ranges

__all__ = [
    "Measurement",
    "OutOfRangeWarning",
    "Ranges",
    "Residual",
    "Twin",
    "load",
    "measurement_of",
    "read_measurement",
    "write_measurement",
]

_HOMES = {
    "Residual": "fit",
    "measurement_of": "fit",
    "Measurement": "format",
    "read_measurement": "format",
    "write_measurement": "format",
    "Twin": "model",
    "load": "model",
    "OutOfRangeWarning": "ranges",
    "Ranges": "ranges",
}


def __getattr__(name: str) -> Any:
    # Late: the command line registers this package's verbs and must not load numpy for it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
