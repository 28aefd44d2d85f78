"""The command `aocsim`, and `python -m aocsim`: an interrupt while modules load is answered like any other."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Load the command line and run it."""
    before = signal.signal(signal.SIGINT, _leave)
    from aocsim.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has been opened yet, and an exception inside an import may be swallowed there."""
    sys.stderr.write("aocsim: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
