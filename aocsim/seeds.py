"""Named random streams.

Every random number in the package comes from a stream with a dotted name. A stream depends on the seed, its
own name and its indices alone, so adding a part, or changing the order of the work, changes no other draw.
"""

from __future__ import annotations

import hashlib
import operator
from functools import cache

import numpy as np

_WORD = 2**32
_SEED_END = 2**64


@cache
def name_words(name: str) -> tuple[int, ...]:
    """The four unsigned 32-bit words that stand for a stream's name.

    They are the 16-byte BLAKE2b digest of the name in UTF-8, read as little-endian words: the same on every
    machine and in every run, which Python's own salted hash is not.
    """
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    return tuple(int(word) for word in np.frombuffer(digest, dtype="<u4"))


def stream(seed: int, name: str, *indices: int) -> np.random.Generator:
    """The random generator of a named stream, in its initial state.

    Args:
        seed: 0 <= seed < 2^64; the scenario's seed for live noise, the machine's for what is as built.
        name: dotted name of what is drawn, for example "aoc48.slm.contrast".
        indices: which draw, for example sample, step and trial; each in [0, 2^32). With them a draw is
            found by counting, whatever was drawn before. (1,) and (1, 0) are different streams.

    Returns:
        A fresh Generator on the counter-based Philox bit generator.

    Raises:
        ValueError: the name has empty parts, or seed or an index is out of its range.
        TypeError: seed or an index is not an integer.
    """
    if not all(name.split(".")):
        raise ValueError(f"a stream needs a dotted name without empty parts, got {name!r}")
    # Larger numbers would spread over several words of the key and could meet another stream's.
    start = operator.index(seed)
    if not 0 <= start < _SEED_END:
        raise ValueError(f"seed must be in [0, 2^64), got {start}")
    counters = tuple(operator.index(index) for index in indices)
    if not all(0 <= counter < _WORD for counter in counters):
        raise ValueError(f"stream {name!r}: indices must be in [0, 2^32), got {counters}")
    sequence = np.random.SeedSequence(start, spawn_key=name_words(name) + counters)
    return np.random.Generator(np.random.Philox(sequence))
