"""How this process keeps the memory that arrays have let go of.

A block of solves makes and drops arrays of some megabytes again and again. Left to itself, the C library hands them
back to the system, which clears every page before it gives it out anew: a tenth of a run's time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

LARGEST = 2**25
"""Bytes of an array that is kept, the most that glibc allows; larger ones go back to the system."""

KEPT = 2**26
"""Bytes that this process keeps at most."""

SET_BY = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@cache
def keep_freed_memory() -> bool:
    """Keep up to KEPT bytes for the next arrays; whether the C library can be told so.

    See mallopt(3). Without effect but on speed and memory. Limits that the environment sets stay as they are.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in SET_BY):
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    return tell is not None and bool(tell(_MMAP_THRESHOLD, LARGEST)) and bool(tell(_TRIM_THRESHOLD, KEPT))
