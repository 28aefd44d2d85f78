r"""Normal random numbers by counting, in compiled code.

Philox4x32-10 turns a key of two 32-bit words and a counter of four into four random words: J. K. Salmon,
M. A. Moraes, R. O. Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, Proc. SC'11, 16 (2011). There is
no state. A draw is found by what it is for, so that neither the cut into blocks nor the threads can change it.

The key is that of a seed and a stream's name. The counter is (solve, step, place, group), or what stands for these:
place tells apart what takes noise in one step, group the channels. Of n channels, channel c takes number c div g of the
four that group c mod g gives, g = ceil(n/4).

Two words make two normals (G. E. P. Box and M. E. Muller, Ann. Math. Stat. 29, 610 (1958)),

.. math::

    \sqrt{-2 \ln u}\,\cos 2\pi v, \quad \sqrt{-2 \ln u}\,\sin 2\pi v, \qquad
    u = (w_0 + \tfrac12)\,2^{-32}, \quad v = (w_1 + \tfrac12)\,2^{-32},

so that none lies beyond 6.76. Logarithm, sine and cosine are the polynomials of fdlibm (Sun Microsystems, 1993) without
their special cases, to some units of the last place.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aocsim.seeds import name_words
from aocsim.solve.kernels import compiled

Array = NDArray[Any]
Words = NDArray[np.uint64]  # 32-bit words, each in 64 bits, where products of two have room

ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)
UP = np.uint64(32)
FIRST_MULTIPLIER = np.uint64(0xD2511F53)
SECOND_MULTIPLIER = np.uint64(0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # by which the key's words grow from round to round


@lru_cache(maxsize=64)
def key_schedule(seed: int, name: str) -> Words:
    """Keys of all rounds, (ROUNDS, 2), for the stream of this seed and name.

    Args:
        seed: 0 <= seed < 2^64.
        name: dotted name of what is drawn.

    Raises:
        ValueError: the seed is out of its range.
    """
    start = operator.index(seed)
    if not 0 <= start < 2**64:
        raise ValueError(f"seed must be in [0, 2^64), got {start}")
    words = np.random.SeedSequence(start, spawn_key=name_words(name)).generate_state(2, np.uint32)
    return schedule_of(int(words[0]), int(words[1]))


def schedule_of(first: int, second: int) -> Words:
    """Keys of all rounds, (ROUNDS, 2), from those of the first."""
    rounds = np.arange(ROUNDS, dtype=np.uint64)[:, None]
    grown = np.array([first, second], dtype=np.uint64) + rounds * np.array(WEYL, dtype=np.uint64)
    return grown & LOW


@compiled
def _round(a: Any, b: Any, c: Any, d: Any, first: Any, second: Any) -> tuple[Any, Any, Any, Any]:
    """One round of Philox on four words; all are unsigned and of 64 bits."""
    p, q = FIRST_MULTIPLIER * a, SECOND_MULTIPLIER * c
    return (q >> UP) ^ b ^ first, q & LOW, (p >> UP) ^ d ^ second, p & LOW


@compiled
def philox(keys: Words, solve: Words, step: int, place: int, group: Words, out: Words) -> None:
    """Four words for each of the counters (solve[m], step, place, group[m]).

    Args:
        keys: `key_schedule`.
        solve: (counters,).
        step: below 2^32, as all words of a counter.
        place: third word.
        group: (counters,).
        out: (4, counters).
    """
    k, middle, other = keys, np.uint64(step), np.uint64(place)
    for m in range(out.shape[1]):
        a, b, c, d = solve[m] & LOW, middle, other, group[m] & LOW
        a, b, c, d = _round(a, b, c, d, k[0, 0], k[0, 1])
        a, b, c, d = _round(a, b, c, d, k[1, 0], k[1, 1])
        a, b, c, d = _round(a, b, c, d, k[2, 0], k[2, 1])
        a, b, c, d = _round(a, b, c, d, k[3, 0], k[3, 1])
        a, b, c, d = _round(a, b, c, d, k[4, 0], k[4, 1])
        a, b, c, d = _round(a, b, c, d, k[5, 0], k[5, 1])
        a, b, c, d = _round(a, b, c, d, k[6, 0], k[6, 1])
        a, b, c, d = _round(a, b, c, d, k[7, 0], k[7, 1])
        a, b, c, d = _round(a, b, c, d, k[8, 0], k[8, 1])
        a, b, c, d = _round(a, b, c, d, k[9, 0], k[9, 1])
        out[0, m], out[1, m], out[2, m], out[3, m] = a, b, c, d


ROOT = np.sqrt(2.0)
LN2 = np.log(2.0)
FRACTION = np.int64((1 << 52) - 1)  # bits of a number's fraction
ONE = np.int64(1023 << 52)  # bits of 1.0
WORD = 2.0**-32
# fdlibm's e_log.c, k_sin.c and k_cos.c
L1, L2, L3 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01
L4, L5, L6 = 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01
L7 = 1.479819860511658591e-01
S1, S2, S3 = -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04
S4, S5, S6 = 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10
C1, C2, C3 = 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05
C4, C5, C6 = -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11


@compiled
def box_muller(words: Words, scratch: Array, out: Array) -> None:
    """Standard normals from words: rows 0 and 1 of `out` from rows 0 and 1 of `words`, 2 and 3 from 2 and 3.

    Args:
        words: (4, counters).
        scratch: (2, counters).
        out: (4, counters).
    """
    count = words.shape[1]
    number, bits, power = scratch[0], scratch[0].view(np.int64), scratch[1]
    for half in range(0, 4, 2):
        for m in range(count):
            number[m] = np.float64(np.int64(words[half, m])) + 0.5
        for m in range(count):
            pattern = bits[m]
            power[m] = np.float64(np.int32(pattern >> np.int64(52))) - (1023.0 + 32.0)
            bits[m] = (pattern & FRACTION) | ONE
        for m in range(count):
            x = number[m]
            above = x > ROOT
            f = (0.5 * x if above else x) - 1.0
            e = power[m] + (1.0 if above else 0.0)
            s = f / (2.0 + f)
            z = s * s
            w = z * z
            even = w * (L2 + w * (L4 + w * L6))
            odd = z * (L1 + w * (L3 + w * (L5 + w * L7)))
            h = 0.5 * f * f
            radius = np.sqrt(-2.0 * (e * LN2 - ((h - s * (h + (even + odd))) - f)))
            # a quarter turn is 2^30; the angle is taken from the nearest one
            turn = np.int64(words[half + 1, m])
            quarter = (turn + np.int64(1 << 29)) >> np.int64(30)
            angle = (np.float64(np.int32(turn - (quarter << np.int64(30)))) + 0.5) * (2.0 * np.pi * WORD)
            z = angle * angle
            sine = angle + angle * z * (S1 + z * (S2 + z * (S3 + z * (S4 + z * (S5 + z * S6)))))
            cosine = C1 + z * (C2 + z * (C3 + z * (C4 + z * (C5 + z * C6))))
            cosine = 1.0 - 0.5 * z + z * z * cosine
            odd_quarter = (quarter & np.int64(1)) != 0
            across = sine if odd_quarter else cosine
            along = cosine if odd_quarter else sine
            left = ((quarter + np.int64(1)) & np.int64(2)) != 0
            below = (quarter & np.int64(2)) != 0
            out[half, m] = radius * (-across if left else across)
            out[half + 1, m] = radius * (-along if below else along)


class Draws(NamedTuple):
    """What `fill_normals` needs for a block of consecutive solves.

    Attributes:
        keys: (ROUNDS, 2).
        solve: (rows * groups,) first words of the counters.
        group: (rows * groups,) last words.
        words: (4, rows * groups) scratch.
        scratch: (2, rows * groups).
        four: (4, rows * groups) scratch.
    """

    keys: Words
    solve: Words
    group: Words
    words: Words
    scratch: Array
    four: Array


def draws_for(keys: Words, first: int, rows: int, channels: int) -> Draws:
    """Counters and scratch of a block.

    Args:
        keys: `key_schedule`.
        first: number of the block's first solve.
        rows: solves of the block.
        channels: n.

    Raises:
        ValueError: a solve's number is no 32-bit word.
    """
    if not 0 <= first <= 2**32 - rows:
        raise ValueError(f"solves must be numbered in [0, 2^32), got {first} to {first + rows - 1}")
    groups = -(-channels // 4)
    solve, group = np.divmod(np.arange(rows * groups, dtype=np.uint64), np.uint64(groups))
    return Draws(
        keys,
        solve + np.uint64(first),
        group,
        np.empty((4, rows * groups), dtype=np.uint64),
        np.empty((2, rows * groups)),
        np.empty((4, rows * groups)),
    )


@compiled
def fill_normals(draws: Draws, step: int, place: int, out: Array) -> None:
    """Standard normals for the channels of consecutive solves.

    Args:
        draws: of the block.
        step: number of the step, below 2^32.
        place: what takes the noise.
        out: (rows, n).
    """
    rows, n = out.shape
    groups = draws.group.shape[0] // rows
    philox(draws.keys, draws.solve, step, place, draws.group, draws.words)
    box_muller(draws.words, draws.scratch, draws.four)
    for b in range(rows):
        for j in range(4):
            begin = j * groups
            for i in range(begin, min(begin + groups, n)):
                out[b, i] = draws.four[j, b * groups + i - begin]


@compiled
def _fill_runs(keys: Words, numbers: Words, out: Array) -> None:
    """`fill_normals` for draws (runs, n) with the first three words of their counters, (runs, 3)."""
    n = out.shape[1]
    groups = -(-n // 4)
    draws = Draws(
        keys,
        np.empty(groups, dtype=np.uint64),
        np.arange(groups).astype(np.uint64),
        np.empty((4, groups), dtype=np.uint64),
        np.empty((2, groups)),
        np.empty((4, groups)),
    )
    for run in range(out.shape[0]):
        draws.solve[:] = numbers[run, 0]
        if n % 4:
            fill_normals(draws, numbers[run, 1], numbers[run, 2], out[run : run + 1])
        else:  # the numbers stand where they belong
            philox(keys, draws.solve, numbers[run, 1], numbers[run, 2], draws.group, draws.words)
            box_muller(draws.words, draws.scratch, out[run].reshape(4, groups))


def fill_counted(keys: Words, numbers: Sequence[Sequence[int]] | NDArray[np.int64], out: Array) -> None:
    """Standard normals of draws, each of which three words tell from all others of its stream.

    Args:
        keys: `key_schedule`.
        numbers: (draws, 3), each below 2^32.
        out: (draws, ...), in one piece; at most 2^34 numbers a draw.
    """
    if len(out):
        _fill_runs(keys, np.asarray(numbers, dtype=np.uint64).reshape(len(out), 3), out.reshape(len(out), -1))
