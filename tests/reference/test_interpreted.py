"""The compiled methods against themselves without a compiler: the same numbers to round-off."""

import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys
import numpy as np
from aocsim.law import Law
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.stochastic import integrate_stochastic
from aocsim.stages import Affine, Elementwise, Noise, Pole, Scale

rate, n, rng = 2 * np.pi * 5e6, 3, np.random.default_rng(0)
tanh = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -12.0, 12.0)
optics = rng.standard_normal((2, n, n) if sys.argv[2] == "own" else (n, n)) / 10
path = (Elementwise(tanh), Pole(np.full(n, 8 * rate)), Affine(optics), Noise("n", lambda x: np.full_like(x, 1e-14)))
loop = Loop(n, (Arm("alpha", (Scale(np.array([0.5, 0.9, 0.97])),)), Arm("+", path)), (Pole(np.full(n, rate)),))
state, drive, times = np.zeros((2, 2 * n)), rng.normal(0, 0.02, (2, n)), np.arange(9) / 4.6875e6
found = [integrate(loop, state, drive, times, method=name).state for name in ("Tsit5", "Exponential")]
found.append(integrate_stochastic(loop, state, drive, times, step=times[1] / 4, seed=3))
np.save(sys.argv[1], np.array(found))
"""


@pytest.mark.parametrize("matrices", [pytest.param("shared", marks=pytest.mark.slow), "own"])
def test_without_the_compiler_the_numbers_are_the_same(tmp_path, matrices):
    found = {}
    for disabled in ("0", "1"):
        path = tmp_path / f"{disabled}.npy"
        command = [sys.executable, "-c", SCRIPT, str(path), matrices]
        subprocess.run(command, check=True, env={**os.environ, "NUMBA_DISABLE_JIT": disabled}, timeout=120)
        found[disabled] = np.load(path)
    # Tsit5's steps follow an error estimate, in which round-off is large; those of the others are rounded
    for method, allowed in enumerate((1e-11, 1e-13, 1e-13)):
        np.testing.assert_allclose(found["1"][method], found["0"][method], rtol=0, atol=allowed)
    assert np.abs(found["0"]).max() > 0.1
