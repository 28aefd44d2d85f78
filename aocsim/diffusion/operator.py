"""The block operator that the analog loop iterates, its fixed points and the bounds on the step.

Equations follow "Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aocsim.diffusion.network import Network, as_batch, as_times
from aocsim.errors import InputError, PhysicsError
from aocsim.law import Array, Law

_NEWTON_STEPS = 60
_HALVINGS = 10
_RELAXATION_TIME = 60.0
_RELAXATION_STEP = 0.1
_RUNAWAY = 1e6


@dataclass(frozen=True, eq=False)
class BlockOperator:
    r"""The map whose fixed point is an implicit Euler step, with all layers in one state.

    :math:`ADM(z) = W s(z) + b + t e + pad(x)`, pad(x) = (x, 0, ..., 0), with blocks of the sizes
    d, h_1, ..., h_{K-1} ("Analog Diffusion Models", doi 10.21203/rs.3.rs-8919479/v1)::

        W = [ 0                   dt W_K ]    b = [dt b_K]    e = [dt e_K]
            [ W_1  0                     ]        [b_1   ]        [e_1   ]
            [      W_2  0                ]        [b_2   ]        [e_2   ]
            [           ...              ]        [...   ]        [...   ]

    With relaxation a the map is a z + (1 - a) ADM(z), which has the same fixed points.

    Attributes:
        layout: block sizes (d, h_1, ..., h_{K-1}); n is their sum.
        matrix: (n, n) W, rows are outputs; zero outside the ring of blocks.
        bias: (n,) b.
        time_embedding: (n,) e, per unit of diffusion time.
        activation: the law s.
        dt: step of diffusion time that the matrix holds.
        relaxation: (n,) a, each in [0, 1).

    Raises:
        InputError: shapes do not fit the layout, or the matrix is not zero outside the ring of blocks.
    """

    layout: tuple[int, ...]
    matrix: Array
    bias: Array
    time_embedding: Array
    activation: Law
    dt: float
    relaxation: Array

    def __post_init__(self) -> None:
        """Check the shapes and the structure."""
        n = sum(self.layout)
        for key, shape in (
            ("matrix", (n, n)),
            ("bias", (n,)),
            ("time_embedding", (n,)),
            ("relaxation", (n,)),
        ):
            got = getattr(self, key).shape
            if got != shape:
                raise InputError("wrong shape", key=key, got=got, allowed=str(shape))
        elsewhere = self.matrix.copy()
        for rows, columns in self.ring():
            elsewhere[rows, columns] = 0.0
        if elsewhere.any():
            raise InputError("the block matrix is not zero outside the ring of blocks", key="matrix")
        if not ((self.relaxation >= 0.0) & (self.relaxation < 1.0)).all():
            raise InputError(
                "out of range",
                key="alpha",
                got=self.relaxation.tolist(),
                allowed="at least 0 and less than 1",
            )

    @classmethod
    def from_network(cls, network: Network, dt: float) -> BlockOperator:
        """Block operator of a network, without relaxation.

        Args:
            network: whose layers to place.
            dt: step of diffusion time; 1 for training and for evaluating the velocity.

        Raises:
            InputError: dt is not a positive finite number.
        """
        checked_step(dt)
        n = network.units
        matrix, bias, embedding = np.zeros((n, n)), np.zeros(n), np.zeros(n)
        layers = zip(
            ring_of(network.layout), network.weights, network.biases, network.time_embeddings, strict=True
        )
        for i, ((rows, columns), weight, b, e) in enumerate(layers, start=1):
            factor = dt if i == network.depth else 1.0
            matrix[rows, columns] = factor * weight
            bias[rows] = factor * b
            embedding[rows] = factor * e
        return cls(network.layout, matrix, bias, embedding, network.activation, float(dt), np.zeros(n))

    @property
    def units(self) -> int:
        """Number of units n."""
        return len(self.bias)

    @property
    def depth(self) -> int:
        """Number of blocks, which is the number of layers K."""
        return len(self.layout)

    def ring(self) -> list[tuple[slice, slice]]:
        """(rows, columns) of the block of each layer, W_1 first and dt W_K last."""
        return ring_of(self.layout)

    @property
    def result(self) -> slice:
        """Units that hold the step's result: the first d."""
        return slice(0, self.layout[0])

    @property
    def entries(self) -> Array:
        """(n,) 1 for units to whose drive x is added, and 0 for the others."""
        out = np.zeros(self.units)
        out[: self.layout[0]] = 1.0
        out[self.result] = 1.0
        return out

    def relaxed(self, alpha: float | Array) -> BlockOperator:
        """The operator a z + (1 - a) ADM(z): same fixed points, more iterations, (1 - a) W in the optics.

        Args:
            alpha: a, one for all units or (n,), each in [0, 1). Replaces the present one.

        Raises:
            InputError: another shape or range.
        """
        array = np.asarray(alpha, dtype=np.float64)
        if array.shape not in ((), (self.units,)):
            raise InputError(
                "wrong shape", key="alpha", got=array.shape, allowed=f"a number or ({self.units},)"
            )
        return replace(self, relaxation=np.broadcast_to(array, (self.units,)).copy())

    def apply(self, z: Array, t: float | Array, x: Array | None = None) -> Array:
        """One application of the map.

        Args:
            z: (batch, n) states, network units.
            t: diffusion time, one for all or (batch,).
            x: (batch, d) input term; none is zero.

        Returns:
            (batch, n), network units.

        Raises:
            InputError: a wrong shape.
        """
        z = as_batch(z, self.units, "z")
        drive = self.additive(t, x, len(z))
        return self.relaxation * z + (1.0 - self.relaxation) * (
            self.activation.response(z) @ self.matrix.T + drive
        )

    def jacobian(self, z: Array) -> Array:
        """Jacobian of the map, d apply_i / d z_j = a_i delta_ij + (1 - a_i) W_ij s'(z_j).

        Args:
            z: (batch, n) states, network units.

        Returns:
            (batch, n, n), dimensionless.

        Raises:
            InputError: a wrong shape.
        """
        slope = self.activation.slope(as_batch(z, self.units, "z"))
        jacobian = ((1.0 - self.relaxation)[:, None] * self.matrix) * slope[:, None, :]
        diagonal = np.arange(self.units)
        jacobian[:, diagonal, diagonal] += self.relaxation
        return jacobian

    def fixed_point(self, x: Array, t: float | Array, z0: Array | None = None, tol: float = 1e-12) -> Array:
        r"""State z = ADM(z), with first d entries :math:`x' = x + dt f(x', t)`, by Newton's method.

        The Newton step is damped until the residual falls. A sample that stalls is carried on as the loop
        itself would be, along dz/dt = -z + ADM(z), and then tried once more. Where there are several fixed
        points, the one found is the one that the starting state leads to.

        Args:
            x: (batch, d) input term, network units.
            t: diffusion time at the end of the step, one for all or (batch,).
            z0: (batch, n) starting state; by default the layers' outputs at x.
            tol: largest residual \|ADM(z) - z\| allowed in any unit, relative to max(1, max\|z\|).

        Returns:
            (batch, n) fixed points, network units.

        Raises:
            InputError: a wrong shape.
            PhysicsError: no fixed point was found; names the sample with the largest residual.
        """
        x = as_batch(x, self.layout[0], "x")
        z = self.layer_outputs(x, t) if z0 is None else as_batch(z0, self.units, "z0").copy()
        if len(z) != len(x):
            raise InputError("wrong shape", key="z0", got=z.shape, allowed=str((len(x), self.units)))
        drive = self.additive(t, x, len(x))
        z, residual = self._newton(z, drive, tol)
        stalled = np.flatnonzero(~(residual <= tol))
        if len(stalled):
            z[stalled] = self._settle(z[stalled], drive[stalled])
            z[stalled], residual[stalled] = self._newton(z[stalled], drive[stalled], tol)
        failed = np.flatnonzero(~(residual <= tol))
        if len(failed):
            worst = failed[np.argmax(residual[failed])]
            raise PhysicsError(
                f"no fixed point found for {len(failed)} of {len(x)} samples; sample {worst} is left with a "
                f"relative residual of {residual[worst]:.3g} (tolerance {tol:.3g}) at dt = {self.dt:.4g}: "
                "take more steps"
            )
        return z

    def layer_outputs(self, x: Array, t: float | Array) -> Array:
        """State whose first block is x and whose other blocks are the hidden layers at x.

        Args:
            x: (batch, d) points, network units.
            t: diffusion time, one for all or (batch,).

        Returns:
            (batch, n), network units.

        Raises:
            InputError: a wrong shape.
        """
        x = as_batch(x, self.layout[0], "x")
        drive = self.additive(t, None, len(x))
        z = np.zeros((len(x), self.units))
        z[:, : self.layout[0]] = x
        for rows, columns in self.ring()[:-1]:
            z[:, rows] = (
                self.activation.response(z[:, columns]) @ self.matrix[rows, columns].T + drive[:, rows]
            )
        return z

    def additive(self, t: float | Array, x: Array | None, batch: int | None = None) -> Array:
        """The additive term b + t e + pad(x), which the machine's drive carries.

        Args:
            t: diffusion time, one for all or (batch,).
            x: (batch, d) input term; none is zero.
            batch: number of samples where x is none.

        Returns:
            (batch, n), network units.

        Raises:
            InputError: a wrong shape.
        """
        if batch is None:
            batch = 1 if x is None else len(x)
        drive = self.bias + as_times(t, batch)[:, None] * self.time_embedding
        if x is not None:
            x = as_batch(x, self.layout[0], "x")
            if len(x) != batch:
                raise InputError("wrong shape", key="x", got=x.shape, allowed=str((batch, self.layout[0])))
            drive[:, : self.layout[0]] += x
            if self.result.start:
                drive[:, self.result] += x
        return drive

    def _residual(self, z: Array, drive: Array) -> Array:
        return self.activation.response(z) @ self.matrix.T + drive - z

    def _newton(self, z: Array, drive: Array, tol: float) -> tuple[Array, Array]:
        """Damped Newton on all samples at once; returns states and relative residuals (batch,)."""
        residual = self._residual(z, drive)
        error = np.abs(residual).max(axis=1)
        for _ in range(_NEWTON_STEPS):
            unsolved = np.flatnonzero(~(error <= tol * np.maximum(1.0, np.abs(z).max(axis=1))))
            if not len(unsolved):
                break
            start, before = z[unsolved], error[unsolved]
            step = self._newton_step(start, residual[unsolved])
            todo, length = np.arange(len(unsolved)), 1.0
            for _ in range(_HALVINGS):
                trial = start[todo] + length * step[todo]
                trial_residual = self._residual(trial, drive[unsolved[todo]])
                trial_error = np.abs(trial_residual).max(axis=1)
                good = trial_error < before[todo]
                taken = unsolved[todo[good]]
                z[taken], residual[taken], error[taken] = trial[good], trial_residual[good], trial_error[good]
                todo, length = todo[~good], length / 2.0
                if not len(todo):
                    break
            if len(todo) == len(unsolved):
                # No sample moved: every remaining one sits in a valley of the residual.
                break
        return z, error / np.maximum(1.0, np.abs(z).max(axis=1))

    def _newton_step(self, z: Array, residual: Array) -> Array:
        """Solve (I - J) step = residual by elimination around the ring: what remains is d x d.

        Block i+1 of the step is J_i times block i plus the residual, so the last block is affine in the first
        and closes the ring; far cheaper than n x n, and exact.
        """
        slope = self.activation.slope(z)
        d = self.layout[0]
        gain = np.broadcast_to(np.eye(d), (len(z), d, d))
        constant = np.zeros((len(z), d))
        gains, constants = [gain], [constant]
        for rows, columns in self.ring():
            block = self.matrix[rows, columns] * slope[:, None, columns]
            gain = block @ gain
            constant = (block @ constant[..., None])[..., 0] + residual[:, rows]
            gains.append(gain)
            constants.append(constant)
        closed = np.eye(d) - gains.pop()
        # Where the ring cannot be closed the step follows the residual once around it, as the loop would.
        closed[np.linalg.det(closed) == 0.0] = np.eye(d)
        first = np.linalg.solve(closed, constants.pop()[..., None])
        return np.concatenate(
            [(g @ first)[..., 0] + c for g, c in zip(gains, constants, strict=True)], axis=1
        )

    def _settle(self, z: Array, drive: Array) -> Array:
        """Follow dz/dt = -z + ADM(z), time in units of the loop's, with the exponential Euler method."""
        gain = -np.expm1(-_RELAXATION_STEP)
        for _ in range(round(_RELAXATION_TIME / _RELAXATION_STEP)):
            bounded = np.abs(z).max(axis=1, keepdims=True) < _RUNAWAY
            z = np.where(bounded, z + gain * self._residual(z, drive), z)
        return z


def checked_step(dt: float) -> None:
    """Refuse what is no step of diffusion time.

    Raises:
        InputError: not a positive finite number.
    """
    if not (np.isfinite(dt) and dt > 0.0):
        raise InputError("out of range", key="dt", got=dt, allowed="a positive number")


def ring_of(layout: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """(rows, columns) of the block of each layer of a closed ring of blocks of these sizes."""
    ends = np.cumsum(layout).tolist()
    blocks = [slice(end - size, end) for end, size in zip(ends, layout, strict=True)]
    return list(zip(blocks[1:] + blocks[:1], blocks, strict=True))


def lipschitz(law: Law) -> float:
    """Lipschitz constant of a law, its largest \\|slope\\|, exact for the table.

    The slope is quadratic on every interval, so its extremes are at the ends or at the vertex.
    """
    c = law.coefficients
    vertex = np.divide(-c[:, 2], 3.0 * c[:, 3], out=np.zeros(len(c)), where=c[:, 3] != 0.0)
    s = np.stack([np.zeros(len(c)), np.clip(vertex, 0.0, 1.0), np.ones(len(c))], axis=1)
    slopes = c[:, 1:2] + s * (2.0 * c[:, 2:3] + s * 3.0 * c[:, 3:4])
    return float(np.abs(slopes).max()) * len(c) / (law.upper - law.lower)


def theorem1_dt_max(network: Network) -> float:
    r"""Step below which Theorem 1 guarantees a unique and attracting fixed point.

    :math:`dt < 1 / (Lip(s)^K |W|_\infty^K)` (Theorem 1 of "Analog Diffusion Models",
    doi 10.21203/rs.3.rs-8919479/v1), with :math:`|W|_\infty` the operator norm induced by the maximum norm
    (the largest row sum of \|entries\|) of the block matrix at dt = 1, which is the largest of the layers'
    :math:`|W_i|_\infty`. It is not the norm at dt itself: dt stands alone on the left.

    The bound is sufficient only, and far from tight: loops settle at steps hundreds of times as long.
    """
    norm = max(_row_sum_norm(weight) for weight in network.weights)
    gain = (lipschitz(network.activation) * norm) ** network.depth
    return float(1.0 / gain) if gain > 0.0 else float("inf")


def layerwise_bound(network: Network, dt: float) -> float:
    r"""Bound on the Lipschitz constant of K applications of the map, layer by layer.

    :math:`dt Lip(s)^K \prod_i |W_i|_\infty`, with the norm of `theorem1_dt_max` (largest row sum of
    \|entries\|); dimensionless. Below 1 it guarantees a unique and attracting fixed point, as Theorem 1 does,
    and it is never larger than dt / `theorem1_dt_max`.
    """
    norms = [_row_sum_norm(weight) for weight in network.weights]
    return float(dt * lipschitz(network.activation) ** network.depth * np.prod(norms))


def _row_sum_norm(weight: Array) -> float:
    return float(np.abs(weight).sum(axis=1).max())
