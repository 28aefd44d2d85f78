"""Interrupts: those that wait for the end of a block that they must not cut, and those that get lost.

Python raises KeyboardInterrupt wherever the program stands. Where that is inside a callback that it calls by itself, of
a weak reference or a finaliser, it reports the exception and goes on as if there had been none. So a command line
listens for interrupts here, where they are remembered, and raises them again at places that are safe.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

_came: list[int] = []


def listen() -> None:
    """Take Ctrl-C and terminations for KeyboardInterrupt, and remember them; those that are ignored stay so."""
    _came.clear()
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if getattr(sys.unraisablehook, "func", None) is not _report:
        sys.unraisablehook = partial(_report, sys.unraisablehook)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _report(others: Callable[[Any], object], lost: Any) -> None:
    """Say nothing of a swallowed interrupt, which is raised again; the rest is for `others`."""
    if not (_came and lost.exc_type is KeyboardInterrupt):
        others(lost)


def raise_if_interrupted() -> None:
    """Raise the interrupt that has come since `listen`, for it may have been swallowed.

    Raises:
        KeyboardInterrupt: one has come.
    """
    if _came:
        raise KeyboardInterrupt


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C and terminations that come inside the block act at its end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears them, and may set handlers
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
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
