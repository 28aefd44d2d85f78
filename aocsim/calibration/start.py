"""First values of the chain from its dedicated experiments, each part by itself.

Every part is isolated by a difference: of lit and dark weights, of drive and no drive. What is left is a product of
what the input sends and what the output makes of it, and falls apart by its singular values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from aocsim.calibration.chain import LAW, LIGHT, PAIR, SIGNS, SLOPE, SWING, Chain
from aocsim.calibration.experiments import NEIGHBOURS
from aocsim.calibration.measure import Taken
from aocsim.calibration.panel import common_law
from aocsim.errors import NoConvergenceError, PhysicsError

Array = NDArray[np.float64]

DEAD = 0.02  # of the brightest input's light
FIRST = np.array([3.5, 0.0, 3.0, 0.0, -0.2, -0.07, -0.2, -0.07])  # a, b, c, g, and p_3, p_2 of both arms
SCALE = np.array([1.0, 0.1, 1.0, 0.01, 0.2, 0.07, 0.2, 0.07])


def first_chain(taken: Mapping[str, Taken], grey_levels: int) -> tuple[Chain, NDArray[np.bool_]]:
    """The chain of a machine, and which of its inputs shine.

    Args:
        taken: dedicated blocks by name.
        grey_levels: highest grey level.

    Raises:
        PhysicsError: read-outs that do not change with the drive.
        NoConvergenceError: a law that no fit finds.
    """
    singles = {name: _single(taken[f"single_{name}"]) for name in ("dark", "plus", "minus")}
    volts = singles["dark"][1]
    sent, live = _sent(singles, volts)
    law = _law(sent, volts, live)
    n = sent.shape[1]
    unit = np.zeros((2, n))
    chain = Chain(
        law[:PAIR],
        np.column_stack([law[PAIR::2], law[PAIR + 1 :: 2], np.zeros(2)]),
        np.ones((2, n)),
        np.zeros((2, n, LAW)),
        np.zeros((2, n - 1)),
        np.zeros((2, n - 1)),
        np.zeros(n),
        np.zeros(n),
        np.ones((2, n)),
    )
    shape = _shine(chain, volts)
    for arm in (0, 1):
        unit[arm] = sent[arm] @ shape[arm] / (shape[arm] @ shape[arm])
    unit[:, ~live] = 0.0
    row = unit / unit[:, live].mean(axis=1)[:, None]
    return _columns(taken, Chain(**{**vars(chain), "row": row}), singles, volts, grey_levels), live


def _single(taken: Taken) -> tuple[Array, Array]:
    """Response to each input alone, (inputs, drives, n) V, and the drives, V."""
    n = taken.mean.shape[1]
    alone = taken.mean[1:] - taken.mean[0]
    volts = taken.condition[1:].reshape(n, -1, n)[0, :, 0]
    return alone.reshape(n, len(volts), n), volts


def _sent(singles: Mapping[str, tuple[Array, Array]], volts: Array) -> tuple[Array, NDArray[np.bool_]]:
    """What each input sends of each arm, in the unit of that arm, (2, inputs, drives), and which inputs shine."""
    n = singles["dark"][0].shape[0]
    sent = np.empty((2, n, len(volts)))
    for arm, name in enumerate(("plus", "minus")):
        lit = SIGNS[arm] * (singles[name][0] - singles["dark"][0]).reshape(-1, n)
        left, size, right = np.linalg.svd(lit, full_matrices=False)
        if not size[0] > 0:
            raise PhysicsError(f"calibration: nothing that the inputs do arrives through the {'+-'[arm]} arm")
        sign = np.sign(right[0].sum())
        sent[arm] = (sign * size[0] * left[:, 0]).reshape(n, len(volts))
    bright = np.abs(sent).max(axis=(0, 2))
    return sent, bright > DEAD * bright.max()


def _law(sent: Array, volts: Array, live: NDArray[np.bool_]) -> Array:
    """The common law of pairs and emitters: a, b, c, g, and p_3, p_2 of each arm, in units of p_1."""
    size = float(np.abs(sent).max())

    def residual(law: Array) -> Array:
        shape = _shape(law, volts)
        out = []
        for arm in (0, 1):
            each = sent[arm][live]
            gain = each @ shape[arm] / (shape[arm] @ shape[arm])
            out.append((each - gain[:, None] * shape[arm]) / size)
        return np.concatenate(out).ravel()

    # no power of an emitter's law alone outweighs its slope within the pair's swing: noise must not find one that does
    reach = np.tile([SLOPE / (3 * SWING**2), SLOPE / (2 * SWING)], 2)
    lowest = np.array([1e-3, -5.0, 0.5, -1.0, *-reach])
    found = least_squares(
        residual,
        FIRST,
        bounds=(lowest, [1e3, 5.0, 50.0, 1.0, *reach]),
        x_scale=SCALE,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=400,
    )
    if not found.success:
        raise NoConvergenceError(f"calibration: the law of pairs and emitters was not found: {found.message}")
    return np.asarray(found.x)


def _shape(law: Array, volts: Array) -> Array:
    n = 1
    chain = Chain(
        law[:PAIR],
        np.column_stack([law[PAIR::2], law[PAIR + 1 :: 2], np.zeros(2)]),
        np.ones((2, n)),
        np.zeros((2, n, LIGHT)),
        np.zeros((2, 0)),
        np.zeros((2, 0)),
        np.zeros(n),
        np.zeros(n),
        np.ones((2, n)),
    )
    return _shine(chain, volts)


def _shine(chain: Chain, volts: Array) -> Array:
    """Light above that of no drive, (2, drives)."""
    lit = chain.emitted(chain.volts(volts))
    return np.asarray(lit - chain.emitted(chain.volts(np.zeros(1))))


def _columns(
    taken: Mapping[str, Taken],
    chain: Chain,
    singles: Mapping[str, tuple[Array, Array]],
    volts: Array,
    grey_levels: int,
) -> Chain:
    """Columns, crosstalk, offsets and light without drive, the rest being known."""
    n = chain.channels
    gain = float(taken["single_dark"].beta[-1]) / n
    uniform = [
        sorted((t for name, t in taken.items() if name.startswith(f"uniform_{sign}_")), key=_level)
        for sign in ("plus", "minus")
    ]
    drives = uniform[0][0].condition
    total = np.einsum("ai,aki->ak", chain.row, chain.emitted(chain.volts(drives)))
    total -= total[:, :1]
    dark = uniform[0][0].mean - uniform[0][0].mean[0]
    own = _darkness(chain, singles["dark"][0], volts, dark, total) / gain
    spread = np.empty((2, n, n))
    still = np.zeros((2, n))
    levels = np.array([_level(t) for t in uniform[0]]) / grey_levels
    columns = np.empty((len(levels), 2, n))
    for arm in (0, 1):
        lit = np.stack([t.mean - t.mean[0] for t in uniform[arm]])
        seen = SIGNS[arm] * (lit - dark)[:, 1:]
        use = total[arm, 1:]
        reached = np.einsum("lkj,k->lj", seen, use) / (use @ use) / gain + own[arm]
        spread[arm] = _spread(taken, arm, dark, use)
        columns[:, arm] = np.linalg.solve(spread[arm], reached.T).T
        # without drive the emitters shine as they do at v(0)
        rest = SIGNS[arm] * (np.stack([t.mean[0] for t in uniform[arm]]) - uniform[arm][0].mean[0]) / gain
        by = reached - own[arm]
        still[arm] = float((rest * by).sum() / (by * by).sum()) / chain.row[arm].sum()
    retardance, law = common_law(levels, columns.reshape(len(levels), -1))
    k = np.arange(n - 1)
    at_rest = still[:, 0] - chain.emitted(chain.volts(np.zeros(1)))[:, 0]
    light = chain.light.copy()
    light[:, 2] += at_rest
    out = Chain(
        chain.pair,
        light,
        chain.row,
        law.reshape(2, n, LAW),
        spread[:, k + 1, k],
        spread[:, k, k + 1],
        chain.offset,
        chain.offset_per_beta,
        np.full((2, n), retardance),
    )
    return _offsets(taken["offset"], out)


def _level(taken: Taken) -> float:
    return float(taken.block.name.rpartition("_")[2])


def _darkness(chain: Chain, dark: Array, volts: Array, together: Array, total: Array) -> Array:
    """What reaches each output at dark weights for a unit of light, (2, n), gain included."""
    n = chain.channels
    shape = _shine(chain, volts)
    alone = np.column_stack([SIGNS[arm] * np.outer(chain.row[arm], shape[arm]).ravel() for arm in (0, 1)])
    design = np.concatenate([alone, (SIGNS[:, None] * total[:, 1:]).T])
    seen = np.concatenate([dark.reshape(-1, n), together[1:]])
    return np.asarray(np.linalg.lstsq(design, seen, rcond=None)[0])


def _spread(taken: Mapping[str, Taken], arm: int, dark: Array, use: Array) -> Array:
    """X of one arm: what columns lit by threes bring to their neighbours, over what they bring to themselves."""
    n = dark.shape[1]
    sign = ("plus", "minus")[arm]
    seen = np.empty((NEIGHBOURS, n))
    for first in range(NEIGHBOURS):
        one = taken[f"columns_{sign}_{first}"]
        lit = SIGNS[arm] * ((one.mean - one.mean[0]) - dark)[1:]
        seen[first] = use @ lit / (use @ use)
    out = np.eye(n)
    j = np.arange(n)
    own = seen[j % NEIGHBOURS, j]
    out[j[1:], j[:-1]] = seen[j[:-1] % NEIGHBOURS, j[1:]] / own[:-1]
    out[j[:-1], j[1:]] = seen[j[1:] % NEIGHBOURS, j[:-1]] / own[1:]
    return out


def _offsets(taken: Taken, chain: Chain) -> Chain:
    """Offset and its part in beta, from dark weights without drive."""
    n = chain.channels
    left = taken.mean - chain.response(np.zeros((2, n, n)), taken.condition, taken.beta)
    slope, level = np.polyfit(taken.beta, left, 1)
    return Chain(**{**vars(chain), "offset": level, "offset_per_beta": slope})
