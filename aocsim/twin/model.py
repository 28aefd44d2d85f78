r"""The static map of the digital twin, as published with the 48-channel machine, and its fixed points.

Row vectors, input i to output j, arms + and -; w = W/max|W|, split by sign between the arms::

    u = a z + b;  v = d u / (1 + |u|^c)^(1/c) + f + g z               pair
    p = p3 v^3 + p2 v^2 + p1 v + p0,  q = r p                         emitters and rows
    s_j = o_j sum_i q_i (A_j w_ij^2 + B_j w_ij + C_j)                 modulator and outputs
    s_j += k_j o_j q_j                                                direct light, where asked for
    S_j = s_j + E_{j+1} (s_{j+1} - C_{j+1}) + L_{j-1} (s_{j-1} - C_{j-1})
    h_j = K_j [ beta/n (S+_j - S-_j) + rho (dc_j + beta lin_j) ]
    z'  = h + alpha z + clip(x + bias, low, high)

The order of operations and the form of each law: github.com/microsoft/aoc, `src/aoc/aoc_cell.py`, the 48-channel form
with its normalised matrix. There is no factor (1 - alpha): a relaxed map has it in beta, x and bias. The map knows no
time; its fixed points are those of a loop with one pole for each channel, dz/dt = z' - z.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from aocsim.arguments import count, number
from aocsim.components.pair_measured import sigmoid, sigmoid_slope
from aocsim.components.slm_measured import MeasuredSlm, share_of
from aocsim.errors import InputError, PhysicsError
from aocsim.twin.format import Measurement, read_measurement
from aocsim.twin.ranges import Ranges

if TYPE_CHECKING:
    from aocsim.library import Library
    from aocsim.machine import Machine
    from aocsim.spec import MachineSpec

Array = NDArray[np.float64]

FIRST_STEP = 1.0  # of the pole's time constant
LONGEST_STEP = 1e9  # of it: a step of this length is Newton's
NEWTON_STEPS = 12
SPANS = (1e3, 1e4, 1e5)  # of it, after which a loop that is followed is looked at
FOLLOWED = (1e-6, 1e-9)  # tolerances of that, relative and V


@dataclass(frozen=True, eq=False)
class StaticMap:
    """One program's map: z' = sum over arms of paths p(v(z)) + offset + alpha z + drive.

    Attributes:
        paths: (2, n, n) V for each unit of light, as [arm, output j, input i]; the - arm's carries its sign.
        offset: (n,) V.
        alpha: (n,).
        drive: (batch or 1, n) V, clipped.
        tanh: (a, b, c, d, f, g) of the pair.
        light: (2, 4) coefficients of the emitters, highest power first.
    """

    paths: Array
    offset: Array
    alpha: Array
    drive: Array
    tanh: Array
    light: Array

    def part(self, rows: NDArray[np.intp]) -> StaticMap:
        """The map for some of the drives."""
        return replace(self, drive=self.drive[rows] if len(self.drive) > 1 else self.drive)

    def step(self, z: Array) -> Array:
        """z' for z (batch, n), V."""
        a, b, c, d, f, g = self.tanh
        v = d * sigmoid(a * z + b, c) + f + g * z
        gradient = sum(np.polyval(self.light[arm], v) @ self.paths[arm].T for arm in (0, 1))
        return np.asarray(gradient + self.offset + self.alpha * z + self.drive)

    def jacobian(self, z: Array) -> Array:
        """d z'_j / d z_i, (batch, n, n)."""
        a, b, c, d, f, g = self.tanh
        u = a * z + b
        v = d * sigmoid(u, c) + f + g * z
        dv = a * d * sigmoid_slope(u, c) + g
        total = np.zeros((*z.shape, z.shape[-1]))
        for arm in (0, 1):
            slope = np.polyval(np.polyder(self.light[arm]), v) * dv
            total += self.paths[arm] * slope[:, None, :]
        return total + np.diag(self.alpha)


@dataclass(frozen=True, eq=False)
class Twin:
    """The digital twin of one measured machine; arrays of both arms are (2, n), the + arm first.

    Attributes:
        measurement: its parameters.
        ranges: what the calibration has seen that they come from: an `OutOfRangeWarning` tells where the map is
            evaluated beyond. None where nobody knows, as of a public file.
        retardance: of each column at full drive, over pi, (2, n), which makes other weights of those that are set
            (`aocsim.components.slm_measured.share_of`); 1 leaves them, as of a public file.
    """

    measurement: Measurement
    ranges: Ranges | None = None
    retardance: Array | float = 1.0

    @property
    def channels(self) -> int:
        """n."""
        return self.measurement.channels

    @cached_property
    def row(self) -> Array:
        """Row efficiencies r, (2, n)."""
        return self.measurement.arms("row_profiles.positive_row12", "row_profiles.negative_row12")

    @cached_property
    def column_law(self) -> Array:
        """Weight law (A, B, C) of each column, (2, n, 3)."""
        table = "column_wise_weights_distortion"
        return self.measurement.arms(f"{table}.positive_row12", f"{table}.negative_row12")

    @cached_property
    def output_correction(self) -> Array:
        """o, (2, n)."""
        return self.measurement.arms("output_correction.positive", "output_correction.negative")

    @cached_property
    def direct(self) -> Array:
        """Direct light k, (2, n), over that of the channel's own emitter behind its row."""
        return self.measurement.arms(
            "pbs_crosstalk.negative_to_positive", "pbs_crosstalk.positive_to_negative"
        )

    @cached_property
    def crosstalk(self) -> Array:
        """Neighbour ratios as matrices on the outputs, diagonal left out, (2, n, n) as [arm, to, from]."""
        out = np.zeros((2, self.channels, self.channels))
        k = np.arange(self.channels - 1)
        for arm, sign in enumerate(("positive", "negative")):
            ratios = f"pd_crosstalk.ratio_to_{{}}_{sign}_row12"
            out[arm, k, k + 1] = self.measurement.array(ratios.format("earlier"))[1:]
            out[arm, k + 1, k] = self.measurement.array(ratios.format("later"))[:-1]
        return out

    def offset(self, beta: float) -> Array:
        """What the electronics add at the node at gain beta, (n,) V: K rho (dc + beta lin)."""
        table = "close_loop_offset_and_scale"
        dc, linear = (self.measurement.array(f"{table}.{key}") for key in ("dc_offset", "linear_offset"))
        ratio = self.measurement.number(f"{table}.solution_to_adc_ratio")
        return np.asarray(self.scaling * (ratio * (dc + beta * linear)))

    @cached_property
    def scaling(self) -> Array:
        """K, (n,)."""
        return self.measurement.array("close_loop_offset_and_scale.scaling")

    def static_map(
        self,
        weights: ArrayLike,
        *,
        bias: ArrayLike = 0.0,
        x: ArrayLike = 0.0,
        alpha: ArrayLike,
        beta: float,
        direct_light: bool = False,
    ) -> StaticMap:
        """The map of one program; arguments as in `step`.

        Raises:
            InputError: a wrong shape, or what is not a finite number.
        """
        n = self.channels
        matrix = _numbers("weights", weights)
        if matrix.shape != (n, n):
            raise _shape_error("weights", matrix, f"({n}, {n})")
        gain = _numbers("beta", beta)
        if gain.ndim:
            raise _shape_error("beta", gain, "one number")
        relaxation = _numbers("alpha", alpha)
        if relaxation.shape not in ((), (n,)):
            raise _shape_error("alpha", relaxation, f"one number or ({n},)")
        full = np.abs(matrix).max()
        share = matrix / full if full > 0 else matrix
        outputs = np.empty((2, n, n))
        baseline = np.empty((2, n))
        retardance = np.broadcast_to(self.retardance, (2, n))
        for arm, part in enumerate((np.maximum(share, 0.0), np.maximum(-share, 0.0))):
            law = self.column_law[arm]
            passed = share_of(part, retardance[arm])
            eta = law[:, 0] * passed**2 + law[:, 1] * passed + law[:, 2]
            own = self.output_correction[arm][:, None] * eta.T
            if direct_light:
                own = own + np.diag(self.direct[arm] * self.output_correction[arm])
            outputs[arm] = own + self.crosstalk[arm] @ own
            baseline[arm] = -self.crosstalk[arm] @ law[:, 2]
        outputs *= self.row[:, None, :]
        per_light = self.scaling * (float(gain) / n)
        outputs *= per_light[:, None] * np.array([1.0, -1.0])[:, None, None]
        low, high = self.measurement.array("deq_input_min_max")
        rows = self._rows("bias", bias), self._rows("x", x)
        if len({len(row) for row in rows} - {1}) > 1:
            raise _shape_error("bias and x", rows[1], f"as many rows as bias, {len(rows[0])}")
        return StaticMap(
            outputs,
            self.offset(float(gain)) + per_light * (baseline[0] - baseline[1]),
            np.broadcast_to(relaxation, n),
            np.clip(rows[0] + rows[1], low, high),
            self.measurement.array("tanh_sigmoid_coeffs"),
            self.measurement.arms("led_poly_coeffs_pos", "led_poly_coeffs_neg"),
        )

    def step(
        self,
        z: ArrayLike,
        weights: ArrayLike,
        *,
        bias: ArrayLike = 0.0,
        x: ArrayLike = 0.0,
        alpha: ArrayLike,
        beta: float,
        direct_light: bool = False,
    ) -> Array:
        """The map applied once.

        Args:
            z: (batch, n) V.
            weights: (n, n), W[i, j] from input i to output j; only W/max|W| counts, and all may be 0.
            bias: one number, (n,) or (batch, n), V.
            x: the same.
            alpha: one number or (n,).
            beta: gain.
            direct_light: with the light that no pixel modulates.

        Returns:
            (batch, n) V.

        Raises:
            InputError: a wrong shape, or what is not a finite number.
            PhysicsError: a result that no float holds.
        """
        state = _numbers("z", z)
        if state.ndim != 2 or state.shape[1] != self.channels:
            raise _shape_error("z", state, f"(batch, {self.channels})")
        law = self.static_map(weights, bias=bias, x=x, alpha=alpha, beta=beta, direct_light=direct_light)
        if len(law.drive) not in (1, len(state)):
            raise _shape_error("bias and x", law.drive, f"as many rows as z, {len(state)}")
        if self.ranges is not None:
            self.ranges.warn_beyond(state, law.alpha, float(beta), stacklevel=2)
        with np.errstate(over="ignore", invalid="ignore"):
            out = law.step(state)
        if not np.isfinite(out).all():
            raise PhysicsError("twin: the map's values are too large for numbers")
        return out

    def fixed_point(
        self,
        weights: ArrayLike,
        *,
        bias: ArrayLike = 0.0,
        x: ArrayLike = 0.0,
        alpha: ArrayLike,
        beta: float,
        direct_light: bool = False,
        tol: float = 1e-9,
        max_iter: int = 1000,
    ) -> Array:
        """The fixed point that dz/dt = z' - z leads to from z = 0, by pseudo-transient continuation.

        Each iteration is an implicit Euler step whose length grows as the residual falls: far away it follows the
        loop, near the end it is Newton's method, so that alpha close to 1 costs nothing.

        Args:
            weights: as in `step`.
            bias: as in `step`.
            x: as in `step`; the batch is that of bias and x, 1 without.
            alpha: as in `step`.
            beta: as in `step`.
            direct_light: as in `step`.
            tol: V, largest Newton correction that still counts as found.
            max_iter: iterations.

        Returns:
            (batch, n) V.

        Raises:
            InputError: as `step`.
            PhysicsError: not found, or not attracting; says which of the batch, residual and iterations.
        """
        if number("tol", tol, 0.0) == 0:
            raise InputError("must be more than 0", key="tol", got=tol)
        count("max_iter", max_iter)
        law = self.static_map(weights, bias=bias, x=x, alpha=alpha, beta=beta, direct_light=direct_light)
        found = attracting_point(law, tol, max_iter)
        if self.ranges is not None:
            self.ranges.warn_beyond(found, law.alpha, float(beta), stacklevel=2)
        return found

    def spec(self, *, direct_light: bool = False, library: Library | None = None) -> MachineSpec:
        """The sheets of the machine whose static law is this twin's: see `aocsim.twin.sheets.machine_spec`.

        Raises:
            InputError: parameters that no sheet can hold, such as a retardance of the columns.
        """
        from aocsim.twin.build import checked_spec

        if not np.all(np.equal(self.retardance, 1)):
            raise InputError(
                "no sheet holds a retardance of the columns beside their parabolas",
                file=self.measurement.source,
                key="retardance",
                got=f"mean {np.mean(self.retardance):.4g}",
                allowed="1; machine() knows it, and the calibration's twin.yaml does without it",
            )

        return checked_spec(self.measurement, direct_light=direct_light, library=library)

    def machine(self, *, direct_light: bool = False, serial: int | None = None) -> Machine:
        """The machine behind this twin: its measured laws with the library's poles, noise and converters.

        Args:
            direct_light: with the light that no pixel modulates.
            serial: draws what has not been measured (alpha path, poles); None leaves it nominal.

        Raises:
            InputError: parameters that no machine can be built from, or no serial number.
        """
        from aocsim.twin.build import checked_machine, checked_serial

        found = checked_machine(self.measurement, direct_light=direct_light, serial=checked_serial(serial))
        assert isinstance(found.slm, MeasuredSlm)
        return replace(found, slm=replace(found.slm, retardance=self.retardance))

    def _rows(self, name: str, value: ArrayLike) -> Array:
        """A number, (n,) or (batch, n) as (1 or batch, n)."""
        array = _numbers(name, value)
        n = self.channels
        if array.shape not in ((), (n,)) and (array.ndim != 2 or array.shape[1] != n or not len(array)):
            raise _shape_error(name, array, f"one number, ({n},) or (batch, {n})")
        return np.broadcast_to(array, (1, n)) if array.ndim < 2 else array


def load(path: str | Path) -> Twin:
    """The twin of the machine whose parameters a file holds.

    Args:
        path: a file in the public twin's format (YAML); or the sheet of a calibration (.nc), with the ranges that its
            experiments have seen. What such a sheet says of gains of the alpha path and of the drive, the twin's map
            does not know.

    Raises:
        InputError: any fault of the file, with its place in it.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InputError("must be the path of a file", key="path", got=path)
    file = Path(path)
    if file.suffix == ".nc":
        # late: a calibration's sheet is made of a measurement, so that its module asks for this package
        from aocsim.calibration.sheet import read_sheet

        sheet = read_sheet(file)
        return Twin(sheet.twin(), sheet.ranges, sheet.chain.retardance)
    return Twin(read_measurement(file))


def attracting_point(law: StaticMap, tolerance: float, iterations: int) -> Array:
    """See `Twin.fixed_point`."""
    z = _continued(law, np.zeros_like(law.drive), tolerance, iterations)
    rates = np.linalg.eigvals(law.jacobian(z)).real.max(axis=1) - 1
    worst = int(np.argmax(rates))
    if rates[worst] >= 0:
        raise PhysicsError(
            f"twin: the fixed point for number {worst} of the batch attracts nothing (growth {rates[worst]:.3g} per "
            f"time constant of the pole)"
        )
    return z


def point_near(law: StaticMap, start: Array, tolerance: float, iterations: int) -> Array:
    """The fixed point near a state, (batch, n) V, by Newton's method; whether it attracts is not looked at.

    Where there is none near, the one that the loop goes to from there: just beyond a fold it creeps past the fixed
    point that has been, for longer than pseudo-transient continuation has patience, which the least residual attracts.

    Args:
        law: the map.
        start: (batch, n) V, where a loop has been seen to rest.
        tolerance: V, as in `Twin.fixed_point`.
        iterations: as there, of the states at which Newton's method does not come to an end.

    Raises:
        PhysicsError: not found.
    """
    z, left = np.array(start, dtype=float), np.arange(len(start))
    eye = np.eye(len(law.alpha))
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(NEWTON_STEPS):
            here, at = law.part(left), z[left]
            try:
                step = np.linalg.solve(eye - here.jacobian(at), (here.step(at) - at)[..., None])[..., 0]
            except np.linalg.LinAlgError:
                break
            z[left] = at + step
            left = left[~(np.abs(step).max(axis=1) < tolerance)]
            if not len(left):
                return z
    for row in left:
        alone = np.array([row])
        z[alone] = _followed(law.part(alone), start[alone], tolerance, iterations)
    return z


def _followed(law: StaticMap, start: Array, tolerance: float, iterations: int) -> Array:
    """The fixed point that one loop (1, n) goes to, by continuation, or along dz/dt = z' - z for ever longer.

    Raises:
        PhysicsError: it does not come to rest.
    """
    try:
        return _continued(law, start, tolerance, iterations)
    except PhysicsError as error:
        told = error
    eye, now, z = np.eye(len(law.alpha)), 0.0, start[0]
    for span in SPANS:
        way = solve_ivp(
            lambda _, y: law.step(y[None])[0] - y,
            (now, span),
            z,
            method="LSODA",
            jac=lambda _, y: law.jacobian(y[None])[0] - eye,
            rtol=FOLLOWED[0],
            atol=FOLLOWED[1],
            t_eval=[span],
        )
        if not way.success:
            break
        now, z = span, way.y[:, -1]
        try:
            return _continued(law, z[None], tolerance, iterations)
        except PhysicsError:
            continue
    raise told


def _continued(law: StaticMap, start: Array, tolerance: float, iterations: int) -> Array:
    """Fixed points by pseudo-transient continuation from `start`."""
    z = np.array(start, dtype=float)
    eye = np.eye(len(law.alpha))
    h = np.full(len(z), FIRST_STEP)
    size = np.full(len(z), np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        residual = law.step(z) - z
        norm = np.abs(residual).max(axis=1)
        done = 0
        for _ in range(iterations):
            done += 1
            try:
                step = np.linalg.solve(
                    eye * (1 + 1 / h[:, None, None]) - law.jacobian(z), residual[..., None]
                )[..., 0]
            except np.linalg.LinAlgError:
                break
            trial = law.step(z + step) - (z + step)
            trial_norm = np.abs(trial).max(axis=1)
            # on its way the loop may move faster for a while: short steps follow it whatever the residual does
            taken = (trial_norm <= norm + tolerance) | ((h <= FIRST_STEP) & np.isfinite(trial_norm))
            size = np.where(taken & (h >= LONGEST_STEP), np.abs(step).max(axis=1), np.inf)
            growth = np.clip(norm / np.maximum(trial_norm, 1e-300), 1.0, 50.0)
            h = np.where(taken, np.minimum(h * 2 * growth, LONGEST_STEP), np.minimum(h / 8, FIRST_STEP))
            z = np.where(taken[:, None], z + step, z)
            residual = np.where(taken[:, None], trial, residual)
            norm = np.where(taken, trial_norm, norm)
            if np.all(size < tolerance):
                return z
    worst = int(np.argmax(np.where(size < tolerance, -1.0, np.nan_to_num(norm, nan=np.inf))))
    raise PhysicsError(
        f"twin: no fixed point found for number {worst} of the batch: residual {norm[worst]:.3g} V after {done} "
        "iterations; more relaxation (alpha) with less gain (beta) helps"
    )


def _numbers(name: str, value: ArrayLike) -> Array:
    """Finite float64.

    Raises:
        InputError: anything else.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise TypeError
        array = array.astype(float)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("must be numbers", key=name, got=value) from error
    if not np.isfinite(array).all():
        raise InputError("must be finite", key=name)
    return array


def _shape_error(name: str, got: Array, allowed: str) -> InputError:
    return InputError("wrong shape", key=name, got=got.shape, allowed=allowed)
