r"""Noisy loops by an exponential method of fixed step: white noise goes around the loop, through its laws.

With :math:`\lambda` and N of `aocsim.solve.relaxation`, for the nodes

.. math::

    a &= e^{h\lambda} z + h \varphi_1(h\lambda) N(z) + \xi, \\
    z(t + h) &= a + h \varphi_2(h\lambda) [N(a) - N(z)]

with the same :math:`\xi` in both: the method of S. M. Cox and P. C. Matthews, J. Comput. Phys. 176, 430 (2002), with
the noise's own response to the linear part (G. J. Lord and A. Tambue, IMA J. Numer. Anal. 33, 515 (2013)). Filters
follow their inputs, taken as straight lines from the start to the end of a step, and have noise of their own. Moments
are of order :math:`h^2` for the small noise of a machine: what is left, :math:`\varepsilon^2 h`, comes from densities
that follow the noise itself (G. N. Milstein and M. V. Tretyakov, SIAM J. Numer. Anal. 34, 2142 (1997)).

Exact for any step are, channel by channel: a node's decay, a filter's, their noise at constant density q,

.. math:: \langle\xi^2\rangle = q\,\frac{e^{2\lambda h} - 1}{2\lambda},

and the way of signal and noise from a filter to the node within the step where there is no matrix and no other filter
between them: their covariance is that of :math:`\dot z = \lambda z + \kappa y,\ \dot y = -r y + \sqrt q\,\dot W`. Laws
on such ways enter by their slopes at the step's start. All else, the way around the loop above all, is of order
:math:`h^2`: noise that enters a filter with a matrix or another filter behind it wants steps below that filter's time
constant. Densities are those of the step's middle, extrapolated from its start and the last step's, in a call's
first step those of its start: a density never sees the noise it is about to scale (Ito).

`Loop.fast_noise` is not part of this: it is far above the loop's band, and is added where samples are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aocsim.errors import PhysicsError
from aocsim.loop import Loop
from aocsim.parallel import in_threads
from aocsim.solve.draws import draws_for, key_schedule
from aocsim.solve.flat import Flat, flatten, from_blocks, to_blocks
from aocsim.solve.kernels import work_for
from aocsim.solve.noisy_step import integrate_block, weights_of
from aocsim.solve.outcome import STATUS, WORST, require_reached
from aocsim.solve.relaxation import decay
from aocsim.solve.white import white_of

Array = NDArray[Any]

STREAM = "loop.white"
ROWS = 16  # solves of a block, which begins at a multiple of this
WHOLE = 1e-9  # relative distance of a ratio from a whole number
EQUAL = 1e-9  # relative difference of intervals that still are equal


def integrate_stochastic(
    loop: Loop,
    state: Array,
    drive: Array,
    times: Array,
    *,
    step: float,
    seed: int,
    first: int = 0,
    first_step: int = 0,
    threads: int = 1,
    linear: Array | None = None,
    recorded: int | None = None,
) -> Array:
    """Integrate an ensemble of noisy loops without dead time over one segment of constant drive.

    A solve's noise depends on seed, its number and the number of the step alone. Blocks begin at multiples of `ROWS`
    in these numbers, and are filled up where the loop has matrices common to all solves, since BLAS may add in another
    order for another number of rows: so each solve's result is the same to the last bit for any number of threads,
    and for any cut of an ensemble into calls. But where solves have gains of their own on the direct path, the rate of
    decay is that of their mean: then `linear` has to be given for the cut to change nothing.

    Args:
        loop: whose stages may carry a leading axis of length `solves`.
        state: (solves, N) V at times[0].
        drive: (solves, n) V.
        times: equidistant instants, s.
        step: s, a whole fraction of the interval.
        seed: 0 <= seed < 2^64.
        first: number of the first solve.
        first_step: number of the first step, where a segment continues another.
        threads: at least 1; without effect on the result.
        linear: (poles, n) 1/s of which N is the rest; `decay` of the loop by default.
        recorded: number of poles whose states are returned, the nodes' first; all by default.

    Returns:
        (solves, times, recorded * n) V.

    Raises:
        ValueError: instants that are not equidistant, a step that is no whole fraction of the interval, or a number
            that is none of 32 bits.
        PhysicsError: the loop has dead time, or noise that is not independent between channels where it meets a pole,
            or whose density is no parabola; or a solve left all bounds: names solve of the batch, channel and time.
    """
    if loop.delayed:
        raise PhysicsError(
            "the stochastic method knows no dead time: set the delays to zero, or use linear noise"
        )
    times = np.asarray(times, dtype=float)
    every, length = _steps(times, step)
    solves, n = drive.shape
    total = (len(times) - 1) * every
    if not 0 <= first_step <= 2**32 - total:
        raise ValueError(f"steps must be numbered in [0, 2^32), got {first_step} to {first_step + total - 1}")
    keys = key_schedule(seed, STREAM)
    flat = flatten(loop)
    white = white_of(loop, flat, drive)
    linear = decay(loop) if linear is None else linear
    weights = weights_of(linear, white.filters, length)
    noisy = np.zeros(loop.blocks + 1, dtype=bool)
    noisy[white.sources[:, 1]] = True
    noisy[-1] = noisy[0] or noisy[white.filters].any()
    recorded = loop.blocks if recorded is None else recorded
    out = np.empty((solves, len(times), recorded * n))

    def one(begin: int) -> None:
        numbers = np.arange(begin, begin + ROWS)
        inside = numbers[(numbers >= first) & (numbers < first + solves)]
        if not len(flat.shared):
            numbers = inside
        low = int(inside[0] - numbers[0])
        live = low, low + len(inside)
        chosen = np.clip(numbers - first, 0, solves - 1)
        y, u = to_blocks(state[chosen], n), np.ascontiguousarray(drive[chosen])
        filled = np.empty((len(chosen), len(times), recorded * n))
        counts = np.zeros(5, dtype=np.int64)
        noise = white._replace(
            density=_of_solves(white.density, 2, chosen), coupling=_of_solves(white.coupling, 1, chosen)
        )
        done = integrate_block(
            _block_of(flat, chosen), noise, weights, 0, y, u, linear, every, noisy,
            draws_for(keys, int(numbers[0]), len(numbers), n), first_step, live, work_for(flat, len(u)), filled, counts,
        )  # fmt: skip
        if counts[STATUS]:
            at = times[0] + done * length
            counts[WORST] -= low
            own = chosen[slice(*live)]
            last = from_blocks(y)[slice(*live)]
            require_reached(loop, "The stochastic method", counts, int(own[0]), at, last, drive[own])
        out[inside - first] = filled[slice(*live)]

    blocks = range(first - first % ROWS, first + solves, ROWS)
    in_threads(one, blocks, threads)
    return out


def _equal(steps: Array, times: Array) -> bool:
    """Whether intervals are equal but for rounding."""
    rounding = EQUAL * steps[0] + 4 * np.spacing(np.abs(times).max())
    return bool(np.all(np.abs(steps - steps[0]) <= rounding))


def _steps(times: Array, step: float) -> tuple[int, float]:
    """Steps of each interval, and their exact length, s."""
    if len(times) < 2 or not times[1] > times[0] or not _equal(np.diff(times), times):
        raise ValueError("the stochastic method needs two or more equidistant, rising instants")
    interval = float(times[-1] - times[0]) / (len(times) - 1)
    if not 0 < step < np.inf:
        raise ValueError(f"the step must be positive, got {step}")
    every = max(1, round(interval / step))
    if abs(interval / step - every) > WHOLE * every:
        raise ValueError(
            f"a step of {step:.6g} s does not divide the sampling interval of {interval:.6g} s; "
            f"the nearest that does is {interval / every!r} s"
        )
    return every, interval / every


def _block_of(flat: Flat, chosen: NDArray[np.int64]) -> Flat:
    """The loop of some solves; `Flat.own` is indexed by solve even if there is only one."""
    own = np.take(flat.own, chosen, 1) if len(flat.own) else flat.own
    rest = {name: _of_solves(getattr(flat, name), 1, chosen) for name in ("offsets", "gains", "shifts")}
    return flat._replace(own=np.ascontiguousarray(own), **rest)


def _of_solves(values: Array, axis: int, chosen: NDArray[np.int64]) -> Array:
    """Parameters of some solves, where solves have their own."""
    return np.ascontiguousarray(values if values.shape[axis] == 1 else np.take(values, chosen, axis))
