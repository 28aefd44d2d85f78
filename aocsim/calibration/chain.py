r"""The chain of the digital twin as a function of its parameters, with derivatives.

With the loop open, the drive z (volts at the pairs) gives at node j, with w the grey levels that the modulators are set
to, as shares of the highest one, w' what columns of retardance s pi make of them
(`aocsim.components.slm_measured.share_of`), and +- the arms,

.. math::

    y_j = o_j + \beta\,o'_j + \frac{\beta}{n} \sum_\pm \pm \sum_k X^\pm_{jk}
          \sum_i \bigl(A^\pm_k w_{ki}'^2 + B^\pm_k w_{ki}' + C^\pm_k\bigr)\, r^\pm_i\, p^\pm(v(z_i)),           (1)

    v(z) = d\,\sigma_c(a z + b) + g z, \qquad p^\pm(v) = p_3 v^3 + p_2 v^2 + p_1 v + p_0,
    \qquad \sigma_c(u) = u / (1 + |u|^c)^{1/c}

X is 1 on its diagonal and reaches to the two neighbours. At s = 1 it is the
public twin's chain (github.com/microsoft/aoc) with what no measurement can tell apart held by convention:

- the swing d and the slope p_1 have stated values, and the pair has no output offset: a cubic of a scaled and shifted v
  is a cubic of v;
- the mean of each arm's row efficiencies r over the live inputs is 1: their scale is the columns';
- output correction and closed-loop gain are 1: their product with (A, B, C) is all that light from a column meets, and
  the ratio of a neighbour's is in X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aocsim.components.pair_measured import sigmoid, sigmoid_slope
from aocsim.components.slm_measured import share_by_retardance, share_of

Array = NDArray[np.float64]

SWING = 0.2151  # V: the measured machine's
SLOPE = 0.218  # 1/V: mean of its arms
SIGNS = np.array([1.0, -1.0])
PAIR, LIGHT, LAW = 4, 3, 3  # numbers of free parameters of the pair, of an arm's light, of a column's law


@dataclass(frozen=True, eq=False)
class Chain:
    """Parameters of equation (1); both arms, the + arm first.

    Attributes:
        pair: (4,) a in 1/V, b, c, g.
        light: (2, 3) p_3, p_2, p_0 in units of light over V^3, V^2 and 1.
        row: (2, n) r.
        law: (2, n, 3) A, B, C of each column, V for each unit of light.
        later: (2, n - 1) X_{j+1, j}, what reaches the next output.
        earlier: (2, n - 1) X_{j, j+1}, what reaches the previous one.
        offset: (n,) o, V.
        offset_per_beta: (n,) o', V.
        retardance: (2, n) s of each column; 1 is that of the public twin.
    """

    pair: Array
    light: Array
    row: Array
    law: Array
    later: Array
    earlier: Array
    offset: Array
    offset_per_beta: Array
    retardance: Array

    @property
    def channels(self) -> int:
        """n."""
        return int(self.row.shape[1])

    @property
    def vector(self) -> Array:
        """All parameters, one behind the other in the order of the attributes."""
        return np.concatenate([np.ravel(getattr(self, name)) for name in NAMES])

    def replaced(self, vector: Array) -> Chain:
        """The chain with other parameters in the order of `vector`."""
        parts, begin = {}, 0
        for name in NAMES:
            shape = getattr(self, name).shape
            size = int(np.prod(shape))
            parts[name] = vector[begin : begin + size].reshape(shape)
            begin += size
        return Chain(**parts)

    @property
    def spread(self) -> Array:
        """X, (2, n, n)."""
        n = self.channels
        out = np.tile(np.eye(n), (2, 1, 1))
        k = np.arange(n - 1)
        out[:, k + 1, k] = self.later
        out[:, k, k + 1] = self.earlier
        return out

    def volts(self, z: Array) -> Array:
        """v(z), V."""
        a, b, c, g = self.pair
        return np.asarray(SWING * sigmoid(a * z + b, c) + g * z)

    def emitted(self, v: Array) -> Array:
        """p(v) of both arms, (2, *shape of v)."""
        p3, p2, p0 = (self.light[:, k].reshape(2, *(1,) * v.ndim) for k in range(LIGHT))
        return np.asarray(((p3 * v + p2) * v + SLOPE) * v + p0)

    def response(self, share: Array, z: Array, beta: Array) -> Array:
        """Equation (1) for one set of weights.

        Args:
            share: (2, n, n) transmissions as [arm, output, input].
            z: (m, n) V.
            beta: (m,) gains.

        Returns:
            (m, n) V.
        """
        paths = self.paths(share)
        light = self.emitted(self.volts(z))
        gradient = light[0] @ paths[0].T - light[1] @ paths[1].T
        constant = self.offset + beta[:, None] * self.offset_per_beta
        return np.asarray(constant + beta[:, None] / self.channels * gradient)

    def paths(self, share: Array) -> Array:
        """Volts at output j for a unit of light of input i and a unit of beta/n, (2, n, n), without the arm's sign."""
        return np.asarray(np.matmul(self.spread, self._columns(share)) * self.row[:, None, :])

    def _columns(self, share: Array) -> Array:
        a, b, c = (self.law[:, :, k, None] for k in range(LAW))
        here = share_of(share, self.retardance[:, :, None])
        return np.asarray((a * here + b) * here + c)

    @property
    def places(self) -> NDArray[np.intp]:
        """Of the columns of `jacobian`, for each output, the places in `vector`, (n, columns)."""
        n = self.channels
        begin, count = {}, 0
        for name in NAMES:
            begin[name], count = count, count + getattr(self, name).size
        j = np.arange(n)
        common = np.arange(PAIR + 2 * LIGHT + 2 * n)
        columns = [np.tile(common, (n, 1))]
        for arm in (0, 1):
            for by in (-1, 0, 1):
                k = np.clip(j + by, 0, n - 1)
                columns.append(begin["law"] + (arm * n + k)[:, None] * LAW + np.arange(LAW))
                columns.append(begin["retardance"] + (arm * n + k)[:, None])
            first = arm * (n - 1)
            columns.append(begin["later"] + first + np.clip(j - 1, 0, n - 2)[:, None])
            columns.append(begin["earlier"] + first + np.clip(j, 0, n - 2)[:, None])
        columns += [begin["offset"] + j[:, None], begin["offset_per_beta"] + j[:, None]]
        return np.concatenate(columns, axis=1)

    def jacobian(self, share: Array, z: Array, beta: Array) -> Array:
        """Derivative of `response` by the parameters that an output knows, (m, n, columns): see `places`.

        An output at the edge has no neighbour there; its column is 0.
        """
        n, m = self.channels, len(z)
        v, slope = self.volts(z), self._slopes(z)
        light = self.emitted(v)
        reached = np.matmul(self.spread, self._columns(share))
        gain = beta[:, None] / n
        pair = np.zeros((m, n, PAIR))
        s = self.retardance[:, :, None]
        here, by = share_of(share, s), share_by_retardance(share, s)
        lights, rows, others = [], [], []
        for arm in (0, 1):
            signed = (SIGNS[arm] * gain)[:, :, None]
            path = reached[arm] * self.row[arm]
            p3, p2, _ = self.light[arm]
            steep = (3 * p3 * v + 2 * p2) * v + SLOPE
            pair += signed * np.stack([(steep * one) @ path.T for one in slope], axis=-1)
            lights.append(signed * np.stack([one @ path.T for one in (v**3, v**2, np.ones_like(v))], axis=-1))
            rows.append(signed * (reached[arm] * light[arm][:, None, :]))
            sent = light[arm] * self.row[arm]
            whole = np.repeat(sent.sum(axis=1)[:, None], n, axis=1)
            steeper = (2 * self.law[arm, :, :1] * here[arm] + self.law[arm, :, 1:2]) * by[arm]
            moments = np.stack(
                [sent @ (here[arm] ** 2).T, sent @ here[arm].T, whole, sent @ steeper.T], axis=-1
            )
            behind = (moments[:, :, :LAW] * self.law[arm]).sum(axis=-1, keepdims=True)
            before, after = _shifted(moments), _shifted(moments[:, ::-1])[:, ::-1]
            later = np.concatenate([[0.0], self.later[arm]])[:, None]
            earlier = np.concatenate([self.earlier[arm], [0.0]])[:, None]
            others += [signed * later * before, signed * moments, signed * earlier * after]
            others += [signed * _shifted(behind), signed * _shifted(behind[:, ::-1])[:, ::-1]]
        ones = np.ones((m, n, 1))
        out = [pair, *lights, *rows, *others, ones, ones * beta[:, None, None]]
        return np.concatenate(out, axis=-1)

    def _slopes(self, z: Array) -> Array:
        """Derivatives of v(z) by a, b, c and g, (4, *shape of z)."""
        a, b, c, _ = self.pair
        u = a * z + b
        by_u = SWING * sigmoid_slope(u, c)
        return np.stack([by_u * z, by_u, SWING * _by_exponent(u, c), z])

    def slope(self, z: Array) -> Array:
        """dv/dz."""
        a, b, c, g = (float(one) for one in self.pair)
        return np.asarray(SWING * a * sigmoid_slope(a * z + b, c) + g)


NAMES = ("pair", "light", "row", "law", "later", "earlier", "offset", "offset_per_beta", "retardance")
"""Parameters in the order of `Chain.vector`."""


def _shifted(values: Array) -> Array:
    """Along the second axis, what stood at j - 1; 0 at the first."""
    out = np.zeros_like(values)
    out[:, 1:] = values[:, :-1]
    return out


def _by_exponent(u: Array, c: float) -> Array:
    """Derivative of u / (1 + |u|^c)^(1/c) by c; 0 at u = 0."""
    size = np.maximum(np.abs(u), 1e-300)
    log = np.log(size)
    # ln(1 + |u|^c) and |u|^c / (1 + |u|^c), without overflow
    whole = np.logaddexp(0.0, c * log)
    share = np.exp(c * log - whole)
    return np.asarray(sigmoid(u, c) * (whole / c**2 - share * log / c))
