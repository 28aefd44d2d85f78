"""Interrupts that wait for the end of a block that they must not cut."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_DEFERRED = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C and terminations that come inside the block act at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears them, and may set handlers
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    numbers = [getattr(signal, name) for name in _DEFERRED if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler not in (None, signal.SIG_IGN):
            signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler not in (None, signal.SIG_IGN):
                signal.signal(number, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)
