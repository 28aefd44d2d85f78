"""Matrices of single solves: compiled products and copies against numpy, in both precisions."""

import numpy as np
import pytest

from aocsim.compose import compose
from aocsim.live import Live
from aocsim.loop import Arm, Loop
from aocsim.solve.compiled import CompiledLoop
from aocsim.solve.flat import flatten
from aocsim.solve.integrators import integrate
from aocsim.solve.kernels import own_products
from aocsim.solve.strips import WIDTH
from aocsim.solve.transposes import transpose
from aocsim.stages import Affine, Pole, Scale, fold

BOTH = pytest.mark.parametrize("kind", [np.float64, np.float32])


@BOTH
@pytest.mark.parametrize("each", [True, False], ids=["offsets of each", "common offsets"])
@pytest.mark.parametrize("n", [1, 3, 5, WIDTH, 2 * WIDTH, 50, 3 * WIDTH, 4 * WIDTH])
def test_products_are_numpys(n, kind, each):
    """Every width, of strips and others; the sums are in double precision whatever the matrices are kept in."""
    rng = np.random.default_rng(n)
    matrices = rng.standard_normal((7, n, n)).astype(kind)
    offsets = rng.standard_normal((7 if each else 1, n))
    x, out = rng.standard_normal((4, n)), np.full((4, n), np.nan)
    own_products(matrices, 2, x, offsets, out)
    expected = np.einsum("bi,bij->bj", x, matrices[2:6].astype(float)) + (offsets[2:6] if each else offsets)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-13 * n)


@BOTH
@pytest.mark.parametrize("rows", [1, 5])
def test_copies_are_transposed_with_their_gains(rows, kind):
    rng = np.random.default_rng(3)
    matrices, gains = rng.standard_normal((5, 7, 7)).astype(kind), rng.standard_normal((rows, 7))
    out = np.empty_like(matrices)
    transpose(matrices, gains, out)
    np.testing.assert_array_equal(out, np.swapaxes((gains[:, :, None] * matrices).astype(kind), 1, 2))


def stages_of(rng, kind):
    """All kinds of linear stages that may meet, of 5 solves and of all."""
    own = Affine(rng.standard_normal((5, 6, 6)).astype(kind), rng.standard_normal((5, 6)))
    common = Affine(rng.standard_normal((6, 6)), rng.standard_normal(6))
    return [
        own,
        common,
        Scale(rng.standard_normal((5, 6)), rng.standard_normal(6)),
        Scale(rng.standard_normal(6), 0.3),
        Scale(-1.5),
    ]


@BOTH
def test_folded_stages_do_what_both_do(kind):
    """Every pair, and three in a row; a gain behind the matrices of many solves copies none of them."""
    rng = np.random.default_rng(8)
    stages, x = stages_of(rng, kind), rng.standard_normal((5, 6))
    for first in stages:
        for second in stages:
            both = fold(first, second)
            expected = second.response(first.response(x))
            np.testing.assert_allclose(
                both.response(x), expected, rtol=0, atol=2e-6 if kind is np.float32 else 1e-12
            )
            for third in stages:
                got = fold(both, third).response(x)
                within = 1e-4 if kind is np.float32 else 1e-11
                np.testing.assert_allclose(got, third.response(expected), rtol=0, atol=within)
    assert fold(stages[0], stages[2]).matrix is stages[0].matrix


@BOTH
def test_a_loop_of_folded_stages_is_linearised_as_it_is_written(kind):
    """Affine stages with a gain of their own: response, jacobian and single solves."""
    rng = np.random.default_rng(9)
    own, _, each, common, _ = stages_of(rng, kind)
    node = (Pole(np.full(6, 1e7)),)
    written = Loop(6, (Arm("+", (own, each, common)),), node)
    folded = Loop(6, (Arm("+", (fold(fold(own, each), common),)),), node)
    state, drive = rng.standard_normal((2, 5, 6))
    np.testing.assert_allclose(folded.rhs(state, drive), written.rhs(state, drive), rtol=1e-9)
    np.testing.assert_allclose(
        folded.jacobian(state, drive), written.jacobian(state, drive), rtol=1e-9, atol=1e-3
    )
    np.testing.assert_allclose(
        folded.select(3).rhs(state[3], drive[3]), written.rhs(state, drive)[3], rtol=1e-9
    )
    compiled = CompiledLoop(folded).rhs(state, drive)
    within = 1e-4 if kind is np.float32 else 1e-9  # there the gain goes into the matrices
    np.testing.assert_allclose(compiled, written.rhs(state, drive), rtol=within, atol=1e7 * within)


def test_flicker_gives_matrices_in_single_precision_and_volts_in_double(bench_of):
    """A machine whose loop amplifies a hundredfold: single matrices move a transient by less than a microvolt."""
    bench = bench_of("aoc48", serial=3)
    machine, program = bench.machine, bench.compiled.program
    flicker = Live.of(machine, 4).flicker.at(np.arange(1.0, 6.0))
    loop = compose(machine, program, bench.electronics, flicker)
    flat = flatten(loop)
    assert flat.own.dtype == np.float32 and flat.offsets.dtype == np.float64

    def exact(arm):
        return Arm(
            arm.name,
            tuple(
                Affine(stage.matrix.astype(float), stage.offset) if isinstance(stage, Affine) else stage
                for stage in arm.stages
            ),
        )

    double = Loop(loop.channels, tuple(exact(arm) for arm in loop.arms), loop.node)
    assert flatten(double).own.dtype == np.float64
    drive = bench.drive(5, 0.5)[1]
    given = {"rtol": 1e-8, "atol": 1e-9}
    times = np.linspace(0.0, 20e-6, 9)
    got, want = (integrate(one, np.zeros((5, 48)), drive, times, **given).state for one in (loop, double))
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
