"""Write pictures in the house style, each complete or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aocsim.output import write_atomically
from aocsim.style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(drawings: Mapping[str, Callable[[], Figure]], folder: Path) -> list[Path]:
    """Draw and write pictures by the names of their files; returns them."""
    import matplotlib

    # a notebook names its backend in the environment, and must be able to go on drawing
    if "matplotlib.pyplot" not in sys.modules and "MPLBACKEND" not in os.environ:
        matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        for name, draw in drawings.items():
            figure = draw()
            write_atomically(folder / name, partial(figure.savefig, format="png"))
            pyplot.close(figure)
    return [folder / name for name in drawings]
