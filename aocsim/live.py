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

import numpy as np
from numpy.typing import NDArray

from aocsim.machine import Machine
from aocsim.seeds import stream
from aocsim.solve.draws import Words, fill_counted, key_schedule
from aocsim.solve.kernels import compiled

Array = NDArray[np.float64]

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
        pixel: (solves, 2, n, n) of unit variance.
        common: (solves, 2) of unit variance.
    """

    pixel: Array
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
    _waves: tuple[Array, Array] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rng = stream(self.seed, "flicker.lines")
        object.__setattr__(self, "_shift", float(rng.uniform()))
        object.__setattr__(self, "_keys", key_schedule(self.seed, "flicker"))
        phase = rng.uniform(0, 2 * np.pi, (len(self.lines), self._width))
        size = np.sqrt(2 * np.atleast_1d(self.lines))[:, None]
        object.__setattr__(self, "_waves", (size * np.cos(phase), size * np.sin(phase)))

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
        theta = np.pi / 2 * (place - index)
        drawn = {int(k): self._normals(int(k)) for k in np.unique(np.concatenate([index, index + 1]))}
        out = np.empty((len(index), self._width))
        rest = math.sqrt(1.0 - float(np.sum(self.lines)))
        one, two = rest * np.cos(theta), rest * np.sin(theta)
        turn = 2 * np.pi * np.outer(times, np.arange(1, len(self.lines) + 1)) / self.frame_time
        cosine, sine = np.cos(turn), np.sin(turn)
        for row, k in enumerate(index.tolist()):
            here, ahead = drawn[k], drawn[k + 1]
            _mixed(one[row], two[row], here, ahead, cosine[row], sine[row], *self._waves, out[row])
        n = self.channels
        return Flicker(out[:, 2:].reshape(-1, 2, n, n), out[:, :2])

    def _normals(self, index: int) -> NDArray[np.float32]:
        """xi_k of equation (1), (2 + 2 n^2,)."""
        out = np.empty(self._width, dtype=np.float32)
        fill_counted(self._keys, (index % _WORD, index // _WORD, 0), out[None])
        return out


@compiled
def _mixed(
    one: float,
    two: float,
    here: NDArray[np.float32],
    ahead: NDArray[np.float32],
    cosine: Array,
    sine: Array,
    even: Array,
    odd: Array,
    out: Array,
) -> None:
    """out = one here + two ahead + the lines, by cos(a + b): no cosine for each pixel and solve; all (width,)."""
    for i in range(out.shape[0]):
        out[i] = one * here[i] + two * ahead[i]
    for line in range(even.shape[0]):
        for i in range(out.shape[0]):
            out[i] += cosine[line] * even[line, i] - sine[line] * odd[line, i]


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

    def every(self, copies: int) -> Drifted:
        """Of the first of each `copies` solves."""
        return Drifted(self.gain[::copies], self.offset[::copies], self.alpha[::copies])


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
        walk = {int(k): self._at_second(int(k)) for k in np.unique(np.concatenate([second, second + 1]))}
        part = (instants - second)[:, None]
        start = np.array([walk[int(k)] for k in second]).reshape(len(second), -1)
        end = np.array([walk[int(k) + 1] for k in second]).reshape(len(second), -1)
        return np.asarray(start + part * (end - start))

    def _at_second(self, second: int) -> Array:
        """Standard Wiener processes at a whole second, (3 n,) sqrt(s)."""
        n = self.channels

        def normals(level: int, index: int) -> Array:
            return _steps(self.seed, n, level, index)

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
