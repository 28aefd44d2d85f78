"""The command `aocsim`, and `python -m aocsim`: an interrupt while modules load is answered like any other."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Load the command line and run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # which a shell asks for where it runs something in the background
        signal.signal(signal.SIGINT, _leave)
    from aocsim.cli import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        # where the interrupt fell into code that a library builds from text, the interpreter remembers it, and would
        # end itself by the signal whatever status is asked for
        # what libraries do at an interpreter's end is done first: workers' locks and folders would be left behind; but
        # the end of idle workers is none of it
        parallel = sys.modules.get("aocsim.parallel")
        if parallel is not None:
            parallel.stop_workers()
        atexit._run_exitfuncs()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has been opened yet, and an exception inside an import may be swallowed there."""
    sys.stderr.write("aocsim: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
