r"""Slow processes of a machine, as functions of the bench's clock: flicker of the modulators and drift of the gains.

Both are random, and both can be asked at any instant in any order: what they answer depends on the seed and the
clock alone, not on what was asked before, nor on how work is split.

Flicker is a Gaussian process of unit variance for every pixel and one for each arm. On a grid of spacing D whose
origin is random, every grid point k has its own standard normals xi_k, and between two of them

.. math:: x(t) = \cos\theta\,\xi_k + \sin\theta\,\xi_{k+1}, \qquad \theta = \frac{\pi}{2}\,\frac{t - t_k}{D}     (1)

The variance is 1 everywhere; averaged over the grid's origin the correlation at lag s D is

.. math::

    \rho(s) = (1 - s/2)\cos\varphi + \sin\varphi/\pi,\ \varphi = \pi s/2 \quad (s \le 1), \qquad
    \rho(s) = [\cos\psi - (\pi/2 - \psi)\sin\psi]/\pi,\ \psi = \pi(s-1)/2 \quad (1 \le s \le 2)            (2)

and 0 beyond 2 D: solves further apart see independent flicker, exactly. D is such that rho is 1/e at the sheet's
correlation time. A share of the variance stands in lines at multiples of the frame rate instead, each of them
sqrt(2) cos(2 pi k t/T + phase) with one phase for each pixel.

Drift is a Wiener process for every channel's gain, offset and alpha, 0 when the clock starts, built by halving
intervals (P. Levy; e.g. P. Glasserman, *Monte Carlo Methods in Financial Engineering*, section 3.1), and straight
within a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.machine import Machine
from aocsim.seeds import stream
from aocsim.solve.draws import Words, key_schedule
from aocsim.solve.kept_draws import standard_normals
from aocsim.solve.kernels import compiled

Array = NDArray[np.float64]
Single = NDArray[np.float32]

CORRELATION_AT_GRID = 0.9387  # s of equation (2) where rho = 1/e
INDEPENDENT = 2.0  # s from which rho = 0
SHORTEST_GRID = 1e-9  # s, for a correlation time of 0: no two solves are this close
LEVELS = 32  # halvings of the drift's longest time, 2^32 s, down to one second
LONGEST = 2.0**LEVELS - 1  # s that the bench's clock may show
_WORD = 2**32


def flicker_correlation(lag: Array, correlation_time: float) -> Array:
    """Equation (2) for lags in s."""
    s = np.abs(np.asarray(lag, dtype=float)) * CORRELATION_AT_GRID / correlation_time
    phi, psi = np.pi / 2 * s, np.pi / 2 * (s - 1)
    near = (1 - s / 2) * np.cos(phi) + np.sin(phi) / np.pi
    far = (np.cos(psi) - (np.pi / 2 - psi) * np.sin(psi)) / np.pi
    return np.where(s <= 1, near, np.where(s < INDEPENDENT, far, 0.0))


@dataclass(frozen=True, eq=False)
class Flicker:
    """Wobble of the modulators, frozen for each solve of a batch.

    Attributes:
        pixel: (solves, 2, n, n) of unit variance; the process gives single precision: there are many.
        common: (solves, 2) of unit variance.
    """

    pixel: NDArray[Any]
    common: Array


@dataclass(frozen=True, eq=False)
class FlickerProcess:
    """The modulators' wobble in time.

    Attributes:
        seed: of the live randomness.
        channels: n.
        correlation_time: s, where equation (2) is 1/e.
        lines: (k,) shares of the variance at 1, 2, ... k times the frame rate.
        frame_time: s.
    """

    seed: int
    channels: int
    correlation_time: float
    lines: Array
    frame_time: float
    _shift: float = field(init=False, repr=False)
    _keys: Words = field(init=False, repr=False)
    _waves: tuple[Single, Single] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rng = stream(self.seed, "flicker.lines")
        object.__setattr__(self, "_shift", float(rng.uniform()))
        object.__setattr__(self, "_keys", key_schedule(self.seed, "flicker"))
        phase = rng.uniform(0, 2 * np.pi, (len(self.lines), self._width))
        size = np.sqrt(2 * np.atleast_1d(self.lines))[:, None]
        waves = tuple((size * wave(phase)).astype(np.float32) for wave in (np.cos, np.sin))
        object.__setattr__(self, "_waves", waves)

    @property
    def _width(self) -> int:
        return 2 + 2 * self.channels**2

    @property
    def grid(self) -> float:
        """D of equation (1), s."""
        return max(self.correlation_time / CORRELATION_AT_GRID, SHORTEST_GRID)

    @property
    def independent_after(self) -> float:
        """Lag from which the part without lines is independent, s."""
        return INDEPENDENT * self.grid

    def at(self, times: Array) -> Flicker:
        """Wobble at instants of the bench's clock.

        Args:
            times: (solves,) s, not negative.
        """
        place = np.asarray(times, dtype=float) / self.grid + self._shift
        index = np.floor(place).astype(np.int64)
        cells = np.unique(np.concatenate([index, index + 1]))
        words = np.stack([cells % _WORD, cells // _WORD, np.zeros_like(cells)], axis=1)
        normals = standard_normals(self._keys, words, (len(cells), self._width))
        theta = np.pi / 2 * (place - index)
        rest = math.sqrt(1.0 - float(np.sum(self.lines)))
        turn = 2 * np.pi * np.outer(times, np.arange(1, len(self.lines) + 1)) / self.frame_time
        n, single = self.channels, np.float32
        common, pixel = (np.empty((len(index), width), dtype=single) for width in (2, 2 * n**2))
        _mix(
            normals,
            np.searchsorted(cells, index),
            (rest * np.cos(theta)).astype(single),
            (rest * np.sin(theta)).astype(single),
            np.cos(turn).astype(single),
            np.sin(turn).astype(single),
            *self._waves,
            common,
            pixel,
        )
        return Flicker(pixel.reshape(-1, 2, n, n), common.astype(float))


@compiled
def _mix(
    normals: Single,
    cell: NDArray[np.intp],
    one: Single,
    two: Single,
    cosine: Single,
    sine: Single,
    even: Single,
    odd: Single,
    common: Single,
    pixel: Single,
) -> None:
    """Equation (1) with the lines, by cos(a + b): no cosine for each pixel and solve.

    Args:
        normals: (cells, width), of each grid point.
        cell: (solves,) of the grid point before each solve; the next one is that after it.
        one: (solves,) factor of the one before.
        two: (solves,) of the one after.
        cosine: (solves, lines).
        sine: (solves, lines).
        even: (lines, width).
        odd: (lines, width).
        common: (solves, 2), the first of the width.
        pixel: (solves, width - 2), the others.
    """
    for row in range(pixel.shape[0]):
        here, ahead = normals[cell[row]], normals[cell[row] + 1]
        for part, begin in ((common[row], 0), (pixel[row], common.shape[1])):
            _sum(one[row], here[begin:], two[row], ahead[begin:], part, False)
            for line in range(even.shape[0]):
                _sum(cosine[row, line], even[line][begin:], -sine[row, line], odd[line][begin:], part, True)


@compiled
def _sum(a: float, x: Single, b: float, y: Single, out: Single, more: bool) -> None:
    """out = a x + b y, or that much more; x and y may be longer than out."""
    if more:
        for i in range(out.shape[0]):
            out[i] += a * x[i] + b * y[i]
    else:
        for i in range(out.shape[0]):
            out[i] = a * x[i] + b * y[i]


@dataclass(frozen=True, eq=False)
class Drifted:
    """How far the electronics have drifted since the clock started, at the instant of each solve.

    Attributes:
        gain: (solves, n) factor of the gradient gain, positive.
        offset: (solves, n) V, change of the node offset.
        alpha: (solves, n) factor of the alpha that arrives, positive.
    """

    gain: Array
    offset: Array
    alpha: Array


@dataclass(frozen=True, eq=False)
class Drift:
    """Random walks of gain, offset and alpha, as `aocsim.components.gains` says.

    Attributes:
        seed: of the live randomness.
        channels: n.
        gain_rate: standard deviation of the gain's logarithm after one second, 1/sqrt(s).
        offset_rate: of the node offset, V/sqrt(s).
        alpha_rate: of the logarithm of alpha, 1/sqrt(s).
    """

    seed: int
    channels: int
    gain_rate: float
    offset_rate: float
    alpha_rate: float = 0.0

    def at(self, times: Sequence[float] | Array) -> Drifted:
        """Drift since the clock started.

        Args:
            times: (solves,) s, not negative and below 2^32 s.

        Raises:
            ValueError: an instant outside that range.
        """
        instants = np.asarray(times, dtype=float)
        gain, offset, alpha = np.split(self.walks(instants), 3, axis=1)
        return Drifted(
            _positive(self.gain_rate, gain, instants),
            self.offset_rate * offset,
            _positive(self.alpha_rate, alpha, instants),
        )

    def walks(self, times: Sequence[float] | Array) -> Array:
        """Standard Wiener processes of gain, offset and alpha, (solves, 3 n) sqrt(s); as `at`."""
        instants = np.asarray(times, dtype=float)
        if instants.size and not (instants.min() >= 0 and instants.max() < LONGEST):
            raise ValueError(f"the bench's clock must be in [0, 2^{LEVELS}) s")
        second = np.floor(instants).astype(np.int64)
        seconds = map(int, np.unique(np.concatenate([second, second + 1])))
        walk = {k: _at_second(self.seed, self.channels, k) for k in seconds}
        part = (instants - second)[:, None]
        start = np.array([walk[int(k)] for k in second]).reshape(len(second), -1)
        end = np.array([walk[int(k) + 1] for k in second]).reshape(len(second), -1)
        return np.asarray(start + part * (end - start))


@lru_cache(maxsize=1024)  # neighbouring seconds share all but a few of them, and readings follow one another
def _steps(seed: int, channels: int, level: int, index: int) -> Array:
    """Standard normals of a walk's midpoint, (3 n,)."""
    # alpha has streams of its own: gain and offset are what they were before it drifted
    out = np.concatenate(
        [
            stream(seed, "drift", level, index).standard_normal(2 * channels),
            stream(seed, "drift.alpha", level, index).standard_normal(channels),
        ]
    )
    out.flags.writeable = False
    return out


@lru_cache(maxsize=64)  # neighbouring instants share them, and batches follow one another
def _at_second(seed: int, n: int, second: int) -> Array:
    """Standard Wiener processes at a whole second, (3 n,) sqrt(s)."""

    def normals(level: int, index: int) -> Array:
        return _steps(seed, n, level, index)

    span = 2**LEVELS
    low, high = np.zeros(3 * n), math.sqrt(span) * normals(0, 0)
    start = 0
    for level in range(1, LEVELS + 1):
        if second == start:
            return low
        half = span // 2
        # of a Wiener process with known ends: mean of them, variance a quarter of the interval
        middle = (low + high) / 2 + math.sqrt(span) / 2 * normals(level, start // span)
        if second >= start + half:
            low, start = middle, start + half
        else:
            high = middle
        span = half
    return low


def _positive(rate: float, walk: Array, times: Array) -> Array:
    """Factor of a ratio whose logarithm walks, of mean 1 at all times."""
    return np.asarray(np.exp(rate * walk - rate**2 * times[:, None] / 2))


@dataclass(frozen=True, eq=False)
class Live:
    """What lives in a machine besides white noise.

    Attributes:
        flicker: of the modulators; None where they have none.
        drift: of the electronics; None where they have none.
    """

    flicker: FlickerProcess | None
    drift: Drift | None

    @classmethod
    def of(cls, machine: Machine, seed: int) -> Live:
        """The slow processes of a machine.

        Args:
            machine: as built.
            seed: of the live randomness.
        """
        slm, gains, n = machine.slm, machine.gains, machine.channels
        flicker, drift = None, None
        if slm.flicker or slm.flicker_common:
            lines = np.asarray(slm.flicker_lines, dtype=float)
            flicker = FlickerProcess(seed, n, slm.flicker_correlation_time, lines, slm.frame_time)
        rates = gains.gain_drift, gains.offset_drift, gains.alpha_drift
        if any(rates):
            drift = Drift(seed, n, *rates)
        return cls(flicker, drift)
