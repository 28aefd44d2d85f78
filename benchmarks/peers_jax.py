"""diffrax: jit-compiled, float64, every trajectory with its own steps (vmap) or all with those of the worst (stacked).

Scanned: Dopri5 and Tsit5. The batch is sharded over as many host devices as there are threads, and laws are smooth
where they can be: one device, tables and Dopri8 were never faster than the best of these in wider scans. Several poles:
Tsit5 alone, whose steps stability sets; Kvaerno5, with a jacobian of 288 states for each trajectory, did not end a call
with 16 trajectories within three minutes, and its linear solves do not go through shard_map. Noise: ShARK and
SRA1 at constant steps; Euler needs far shorter ones for the same weak error.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from candidates import SETTLED, STABLE, Candidate, Run, threads
from loads import Task
from numpy.typing import NDArray
from reference import Reference
from translate import SECOND, Ops, Translation, right_hand_side, translate

os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={threads()}")

import diffrax
import jax
import jax.numpy as jnp
import lineax
from jax.sharding import Mesh, PartitionSpec

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

Array = NDArray[np.float64]

OPS = Ops(
    clip=jnp.clip,
    index=lambda x, highest: jnp.minimum(x.astype(jnp.int32), highest),
    take=lambda table, k: jnp.take(table, k, mode="clip"),
    shared=lambda x, matrix: x @ matrix,
    own=lambda x, matrix: jnp.einsum("...ij,...j->...i", matrix, x),
    join=lambda parts: jnp.concatenate(parts, axis=-1),
    real=lambda k: k.astype(jnp.float64),
    tanh=jnp.tanh,
)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("jax", "jaxlib", "diffrax")}


def candidates(task: Task) -> list[Candidate]:
    where = "sharded" if threads() > 1 else "one device"
    if task.noisy:
        ways = [("ShARK", "vmap", "smooth", where), ("SRA1", "vmap", "smooth", where)]
    elif task.stiff:
        ways = [("Tsit5", mode, "smooth", where) for mode in ("stacked", "vmap")]
    else:
        ways = [
            (solver, mode, "smooth", where) for solver in ("Dopri5", "Tsit5") for mode in ("stacked", "vmap")
        ]
    loosest = STABLE if task.stiff else np.inf
    return [
        Candidate("diffrax", " ".join(way), way, exits=not task.noisy, noise=task.noisy, loosest=loosest)
        for way in ways
    ]


def build(task: Task, candidate: Candidate, reference: Reference, steady: bool) -> Run:
    """A function of the tolerance (or, with noise, of the step in s) that returns (trajectories, 90, n) V."""
    kind, mode, laws, where = candidate.settings
    plan = translate(task.loop, laws, reference.envelope)
    if task.noisy:
        return _noisy(task, plan, kind, where, reference.diffusion)
    solve = _solver(task, plan, kind, mode, steady)
    own = {key: 0 if key in plan.own else None for key in plan.arrays}
    batched = jax.vmap(solve, in_axes=(own, 0, 0, None)) if mode == "vmap" else solve
    return _compiled(batched, task, plan, where)


def _compiled(solve: Callable, task: Task, plan: Translation, where: str) -> Run:
    """Jit, on one device or with the trajectories sharded over all; arguments are put there once."""
    if where == "sharded":
        solve = _sharded(solve, plan, 2)
    compiled = jax.jit(solve)
    arrays = {key: jnp.asarray(a) for key, a in plan.arrays.items()}
    state, drive = jnp.asarray(task.state), jnp.asarray(task.drive)

    def run(setting: float) -> Array:
        return np.ascontiguousarray(compiled(arrays, state, drive, jnp.asarray(setting)))

    return run


def _worst(y: jax.Array) -> jax.Array:
    """Root mean square over a trajectory, maximum over trajectories."""
    return jnp.sqrt(jnp.max(jnp.mean(y * y, axis=-1)))


def _solver(task: Task, plan: Translation, kind: str, mode: str, steady: bool) -> Callable:
    times = jnp.asarray(task.times * SECOND)
    norm = _worst if mode == "stacked" else diffrax_rms
    n, slowest = task.channels, task.slowest / SECOND
    first = 0.1 / (task.loop.fastest_rate / SECOND)

    def field(t, y, args):
        return right_hand_side(plan, OPS, args[0], y, args[1])

    def solve(arrays, state, drive, tolerance):
        # a slowest decay that moves by less than this has less than SETTLED before it
        still = diffrax.steady_state_event(rtol=0.0, atol=SETTLED * slowest, norm=_biggest)
        subs = [diffrax.SubSaveAt(ts=times, fn=lambda t, y, args: y[..., :n])]
        if steady:
            subs.append(diffrax.SubSaveAt(t1=True, fn=lambda t, y, args: y[..., :n]))
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            getattr(diffrax, kind)(),
            times[0],
            times[-1],
            first,
            state,
            (arrays, drive),
            saveat=diffrax.SaveAt(subs=subs),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance, norm=norm),
            max_steps=None,
            adjoint=diffrax.ForwardMode(),
            event=diffrax.Event(still) if steady else None,
            throw=False,
        )
        out = found.ys[0]
        if steady:
            out = jnp.where(jnp.isfinite(out), out, found.ys[1][-1])
        return out if mode == "vmap" else jnp.swapaxes(out, 0, 1)

    return solve


def diffrax_rms(y: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(y * y))


def _biggest(y: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(y))


def _noisy(task: Task, plan: Translation, kind: str, where: str, diffusion: Array) -> Run:
    """Constant steps, one Brownian path a trajectory; the noise is additive, that of the steady state."""
    times = jnp.asarray(task.times * SECOND)
    solver = {"Euler": diffrax.Euler, "ShARK": diffrax.ShARK, "SRA1": diffrax.SRA1}[kind]()
    levy = diffrax.BrownianIncrement if kind == "Euler" else diffrax.SpaceTimeLevyArea

    def solve(arrays, state, drive, amplitude, key, step):
        path = diffrax.UnsafeBrownianPath(shape=state.shape, key=key, levy_area=levy)
        found = diffrax.diffeqsolve(
            diffrax.MultiTerm(
                diffrax.ODETerm(lambda t, y, args: right_hand_side(plan, OPS, arrays, y, drive)),
                diffrax.ControlTerm(lambda t, y, args: lineax.DiagonalLinearOperator(amplitude), path),
            ),
            solver,
            times[0],
            times[-1],
            step,
            state,
            saveat=diffrax.SaveAt(ts=times),
            max_steps=None,
            adjoint=diffrax.ForwardMode(),
            throw=False,
        )
        return found.ys

    own = {key: 0 if key in plan.own else None for key in plan.arrays}
    batched = jax.vmap(solve, in_axes=(own, 0, 0, 0, 0, None))
    if where == "sharded":
        batched = _sharded(batched, plan, 4)
    compiled = jax.jit(batched)
    arrays = {key: jnp.asarray(a) for key, a in plan.arrays.items()}
    state, drive = jnp.asarray(task.state), jnp.asarray(task.drive)
    amplitude = jnp.asarray(np.repeat(diffusion, -(-len(state) // len(diffusion)), axis=0)[: len(state)])
    amplitude = amplitude / np.sqrt(SECOND)
    seeds = iter(range(1 << 30))

    def run(step: float) -> Array:
        keys = jax.random.split(jax.random.key(next(seeds)), len(state))
        found = compiled(arrays, state, drive, amplitude, keys, jnp.asarray(step * SECOND))
        return np.ascontiguousarray(found)

    return run


def _sharded(solve: Callable, plan: Translation, split_arguments: int) -> Callable:
    """The trajectories over all host devices; the first argument holds the arrays, the last the setting."""
    mesh = Mesh(np.array(jax.devices()), ("batch",))
    split, whole = PartitionSpec("batch"), PartitionSpec()
    arrays = {key: split if key in plan.own else whole for key in plan.arrays}
    specs = (arrays, *[split] * split_arguments, whole)
    return jax.shard_map(solve, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
