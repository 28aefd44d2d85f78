"""torchode, torchdiffeq and torchsde: float64, without gradients, the vector field compiled (torch.compile) where
there is a C++ compiler; on all threads, laws smooth where they can be.

torchode: Tsit5, every trajectory with its own steps; its Dopri5 was slower in wider scans. torchdiffeq: dopri5 on the
whole stack, its error norm replaced by that of the worst trajectory; dopri8 was no faster, and did not end a call in
tens of seconds where trajectories have matrices of their own. torchsde: srk at constant steps; euler needs far shorter
ones for the same weak error. None of them ends at a steady state and still gives the instants in between.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from types import FunctionType

import numpy as np
import torch
from candidates import STABLE, Candidate, Run, threads
from loads import Task
from numpy.typing import NDArray
from reference import Reference
from translate import SECOND, Ops, right_hand_side, translate

Array = NDArray[np.float64]
LIBRARIES = ("torchode", "torchdiffeq", "torchsde")

OPS = Ops(
    clip=lambda x, low, high: torch.clamp(x, low, high),
    index=lambda x, highest: torch.clamp(x.to(torch.int64), max=highest),
    take=lambda table, k: table[k],
    shared=lambda x, matrix: x @ matrix,
    own=lambda x, matrix: torch.bmm(matrix, x.unsqueeze(-1)).squeeze(-1),
    join=lambda parts: torch.cat(parts, dim=-1),
    real=lambda k: k.to(torch.float64),
    tanh=torch.tanh,
)


def versions() -> dict[str, str]:
    return {name: version(name) for name in ("torch", *LIBRARIES) if find_spec(name)}


def candidates(task: Task) -> list[Candidate]:
    how = "compiled" if shutil.which("c++") or shutil.which("g++") else "eager"
    ways = [("torchode", "tsit5"), ("torchdiffeq", "dopri5")]
    if task.noisy:
        ways = [("torchsde", "srk")]
    loosest = STABLE if task.stiff else np.inf
    return [
        Candidate(
            library,
            f"{method} smooth {how}",
            (method, "smooth", how),
            noise=task.noisy,
            loosest=loosest,
        )
        for library, method in ways
        if find_spec(library)
    ]


def build(task: Task, candidate: Candidate, reference: Reference, steady: bool) -> Run:
    """A function of the tolerance (or, with noise, of the step in s) that returns (trajectories, 90, n) V."""
    method, laws, how = candidate.settings
    torch.set_num_threads(threads())
    plan = translate(task.loop, laws, reference.envelope)
    arrays = {key: torch.tensor(a) for key, a in plan.arrays.items()}
    drive = torch.from_numpy(task.drive)

    def field(y: torch.Tensor) -> torch.Tensor:
        return right_hand_side(plan, OPS, arrays, y, drive)

    if how == "compiled":
        # compiled code is kept by code object, and only so many versions of each
        own = FunctionType(field.__code__.replace(), globals(), "field", None, field.__closure__)
        field = torch.compile(own, dynamic=False)
    maker = {"torchode": _torchode, "torchdiffeq": _torchdiffeq, "torchsde": _torchsde}[candidate.library]
    solve = maker(task, method, field, reference)

    def run(setting: float) -> Array:
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.ascontiguousarray(solve(setting).numpy())

    return run


def _torchode(task: Task, method: str, field: Callable, reference: Reference) -> Callable:
    import torchode

    state, n = torch.from_numpy(task.state), task.channels
    instants = torch.from_numpy(task.times * SECOND).expand(len(state), -1).contiguous()
    problem = torchode.InitialValueProblem(y0=state, t_eval=instants)
    first = torch.full((len(state),), 0.1 / (task.loop.fastest_rate / SECOND), dtype=torch.float64)
    term = torchode.ODETerm(lambda t, y: field(y))
    step = {"tsit5": torchode.Tsit5, "dopri5": torchode.Dopri5}[method](term=term)

    def solve(tolerance: float) -> torch.Tensor:
        controller = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        solver = torchode.AutoDiffAdjoint(step, controller)
        return solver.solve(problem, dt0=first).ys[..., :n]

    return solve


def _torchdiffeq(task: Task, method: str, field: Callable, reference: Reference) -> Callable:
    import torchdiffeq

    state, n = torch.from_numpy(task.state), task.channels
    instants = torch.from_numpy(task.times * SECOND)
    shape = state.shape
    options = {
        "norm": lambda e: e.reshape(shape).square().mean(dim=-1).max().sqrt(),
        "first_step": 0.1 / (task.loop.fastest_rate / SECOND),
    }

    def solve(tolerance: float) -> torch.Tensor:
        found = torchdiffeq.odeint(
            lambda t, y: field(y),
            state,
            instants,
            rtol=tolerance,
            atol=tolerance,
            method=method,
            options=options,
        )
        return found[..., :n].transpose(0, 1)

    return solve


class _Sde(torch.nn.Module):
    """The loop with the additive noise of its steady state."""

    noise_type = "diagonal"
    sde_type = "ito"

    def __init__(self, field: Callable, amplitude: torch.Tensor) -> None:
        super().__init__()
        self.field, self.amplitude = field, amplitude

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.field(y)

    def g(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.amplitude


def _torchsde(task: Task, method: str, field: Callable, reference: Reference) -> Callable:
    import torchsde

    state = torch.from_numpy(task.state)
    instants = torch.from_numpy(task.times * SECOND)
    copies = -(-len(state) // len(reference.diffusion))
    amplitude = np.repeat(reference.diffusion, copies, axis=0)[: len(state)] / np.sqrt(SECOND)
    sde = _Sde(field, torch.from_numpy(amplitude))
    levy = "space-time" if method == "srk" else "none"

    def solve(step: float) -> torch.Tensor:
        path = torchsde.BrownianInterval(
            t0=float(instants[0]),
            t1=float(instants[-1]),
            size=tuple(state.shape),
            dtype=torch.float64,
            dt=step * SECOND,
            levy_area_approximation=levy,
        )
        found = torchsde.sdeint(sde, state, instants, bm=path, method=method, dt=step * SECOND)
        return found.transpose(0, 1)

    return solve
