"""The truth of a calibration: against what `twin_of` writes, and against the twin's own forward pass."""

from dataclasses import replace

import numpy as np
import pytest

from aocsim.bench import SimulatedBench
from aocsim.calibration.chain import NAMES, SLOPE, SWING, Chain
from aocsim.calibration.closed import Electronics
from aocsim.calibration.experiments import sweep
from aocsim.calibration.measure import take
from aocsim.calibration.panel import parabolas_alone
from aocsim.calibration.result import twin_of
from aocsim.calibration.truth import as_built, chain_of
from aocsim.components.slm_measured import share_of
from aocsim.errors import InputError
from aocsim.experiment import SolveSettings
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.twin import Twin, measurement_of
from aocsim.twin.format import measurement

BETA = 18.6


def some_chain(seed, n=7):
    rng = np.random.default_rng(seed)
    row = rng.uniform(0.8, 1.2, (2, n))
    row[:, seed % n] = 0.0
    live = np.arange(n) != seed % n
    return Chain(
        np.array([3.4, -0.02, 4.1, 0.004]),
        rng.normal(0, 0.1, (2, 3)),
        row / row[:, live].mean(axis=1)[:, None],
        np.stack(
            [rng.uniform(-0.2, -0.1, (2, n)), rng.uniform(0.7, 0.9, (2, n)), rng.uniform(0.03, 0.06, (2, n))],
            -1,
        ),
        rng.uniform(0, 0.3, (2, n - 1)),
        rng.uniform(0, 0.3, (2, n - 1)),
        rng.normal(0, 0.01, n),
        rng.normal(0, 0.001, n),
        np.ones((2, n)),
    )


def same(one, other, tolerance=1e-12):
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=0, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("as_machine", [False, True])
def test_the_way_to_the_format_and_back_is_the_identity(seed, as_machine):
    chain = some_chain(seed)
    back, electronics = chain_of(twin_of(chain, limit=1.3), as_machine=as_machine)
    same(back, chain)
    ideal = Electronics.ideal(chain.channels)
    np.testing.assert_allclose(electronics.vector, ideal.vector, rtol=0, atol=1e-12)


def test_the_closed_loops_gain_and_offset_come_back_from_a_calibrations_file():
    chain, n = some_chain(3), 7
    rng = np.random.default_rng(5)
    given = Electronics(rng.normal(1, 0.03, n), np.ones(n), np.ones(n), rng.normal(0, 0.005, n))
    back, found = chain_of(twin_of(chain, given, limit=1.3), as_machine=False)
    same(back, chain)
    np.testing.assert_allclose(found.vector, given.vector, rtol=0, atol=1e-12)


def random_weights(n, seed):
    rng = np.random.default_rng(seed)
    share = rng.uniform(-1, 1, (n, n))
    share /= np.abs(share).max()
    split = np.stack([np.maximum(share, 0), np.maximum(-share, 0)])
    return share.T, split, rng.normal(0, 0.4, (5, n))


@pytest.mark.parametrize("seed", [1, 4])
@pytest.mark.parametrize("flipped", [False, True])
def test_the_chain_of_any_measurement_is_the_twins_own_map(measured_values, seed, flipped):
    """The pair's output offset, its swing, the ratio to the converter's volts and all gains are other than stated."""
    values, n = measured_values(seed, 9), 9
    slope, offset, exponent, swing, _, through = values["tanh_sigmoid_coeffs"]
    values["tanh_sigmoid_coeffs"] = [slope, offset, exponent, swing, 0.03, through]
    if flipped:
        values["tanh_sigmoid_coeffs"] = [-slope, -offset, exponent, -swing, 0.03, through]
    found = measurement(values, "made up")
    chain, electronics = chain_of(found)
    weights, split, z = random_weights(n, seed)
    for beta in (0.0, 3.0, BETA):
        want = Twin(found).step(z, weights, alpha=0.0, beta=beta)
        got = chain.response(split, z, np.full(5, beta))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
    assert np.ptp(want) > 0.1
    np.testing.assert_array_equal(electronics.vector, Electronics.ideal(n).vector)
    live = (Twin(found).row > 0).all(axis=0)
    np.testing.assert_allclose(chain.row[:, live].mean(axis=1), 1.0, rtol=1e-12)
    assert chain.pair[0] > 0


def test_conventions_are_those_in_which_calibrations_are_compared(measured_values):
    """By numpy's own polynomials, quantity by quantity."""
    found = measurement(measured_values(7, 48), "made up")
    twin, (chain, _) = Twin(found), chain_of(found)
    live = (twin.row > 0).any(axis=0)
    _, _, _, swing, shift, through = found.array("tanh_sigmoid_coeffs")
    np.testing.assert_allclose(chain.pair[3], through * SWING / swing, rtol=1e-12)
    for arm in (0, 1):
        cubic = np.poly1d(found.arms("led_poly_coeffs_pos", "led_poly_coeffs_neg")[arm])
        p3, p2, p1, p0 = cubic(np.poly1d([swing / SWING, shift])).coeffs
        np.testing.assert_allclose(chain.light[arm], np.array([p3, p2, p0]) * SLOPE / p1, rtol=1e-12)
        gain = twin.scaling * twin.output_correction[arm] * p1 / SLOPE * twin.row[arm][live].mean()
        np.testing.assert_allclose(chain.law[arm], twin.column_law[arm] * gain[:, None], rtol=1e-12)


def test_the_truth_of_a_machine_that_is_not_of_the_form_is_near_and_its_own():
    """Against its bench without noise: nearer than the paper's 0.015, and ten times nearer than the data sheets."""
    spec = Library.open().machine("aoc48")
    bench = SimulatedBench(Machine.build(spec, 3), settings=SolveSettings(noise=False))
    top = bench.capabilities.grey_levels
    blocks = sweep(bench.capabilities, BETA, 3, matrices=2, inputs=2, gains=2, trials=1)
    taken = take(blocks, lambda name, clock: bench)
    error = {}
    for serial in (3, None):
        chain, _ = chain_of(measurement_of(spec, serial, "aoc48")[0])
        left = [t.mean - chain.response(t.block.grey / top, t.condition, t.beta) for t in taken]
        rms = np.sqrt(np.mean(np.concatenate(left) ** 2, axis=1))
        error[serial] = np.mean(rms / np.ptp(np.concatenate([t.mean for t in taken]), axis=1))
    assert error[3] < 0.015
    assert error[3] < error[None] / 10


def test_the_truth_of_an_over_driven_panel_has_its_retardance():
    """As drawn for each column; and on the machine's own bench, that is nearer than parabolas of the grey level are."""
    matched = {
        "optics": {"pixel_structure.spread": "0 %", "direct_centre": "0", "direct_edge": "0"},
        "pair": {"tail_current.spread": "0 %", "input_offset.spread": "0 mV"},
    }
    spec = Library.open().machine("aoc48", matched)
    machine = Machine.build(spec, 3)
    chain, _ = as_built(spec, 3)
    np.testing.assert_allclose(chain.retardance, machine.slm.retardance_scale, rtol=0, atol=1e-4)
    bench = SimulatedBench(machine, settings=SolveSettings(noise=False))
    top = bench.capabilities.grey_levels
    (block,) = sweep(bench.capabilities, BETA, 3, matrices=1, inputs=2, gains=1, trials=1)
    (taken,) = take([block], lambda name, clock: bench)
    export = chain_of(measurement_of(spec, 3, "aoc48")[0])[0]
    # darkness is read off, not fitted, and both have it in the same unit
    np.testing.assert_allclose(chain.law[:, :, 2], export.law[:, :, 2], rtol=1e-9)
    error = [
        np.std(taken.mean - found.response(taken.block.grey / top, taken.condition, taken.beta))
        for found in (chain, parabolas_alone(chain), export, parabolas_through_all(chain))
    ]
    # those that half of all pixels being dark has been thought of for stand between, then those with the darkness held
    assert error[0] < error[1] < error[2] < error[3]
    assert error[0] < 0.4 * error[3]


def parabolas_through_all(chain):
    """Without retardance, by least squares over evenly spread levels."""
    levels = np.linspace(0, 1, 17)
    share = share_of(levels[:, None, None], chain.retardance)
    a, b, c = np.moveaxis(chain.law, -1, 0)
    each = ((a * share + b) * share + c).reshape(len(levels), -1)
    law = np.polynomial.polynomial.polyfit(levels, each, 2)[::-1].T.reshape(chain.law.shape)
    return replace(chain, law=law, retardance=np.ones_like(chain.retardance))


def test_parabolas_alone_are_the_nearest():
    """To half dark, half evenly spread weights: any other coefficient is farther off."""
    rng = np.random.default_rng(6)
    chain = replace(some_chain(3), retardance=rng.uniform(0.9, 1.1, (2, 7)))
    levels = np.linspace(0, 1, 257)

    def off(law):
        given = replace(chain, law=law, retardance=np.ones((2, 7)))
        at = [np.full((2, 7, 7), w) for w in levels]
        left = np.array([given.paths(share) - chain.paths(share) for share in at])
        # at one input; without crosstalk each output shows its own column
        squares = (left[..., 1] ** 2).sum(axis=(1, 2))
        return 0.5 * squares[0] + 0.5 * squares[1:].sum() / len(levels)

    chain = replace(chain, later=np.zeros((2, 6)), earlier=np.zeros((2, 6)))
    found = parabolas_alone(chain)
    best = off(found.law)
    assert best > 0
    for step in rng.normal(0, 1e-3, (20, 2, 7, 3)):
        assert off(found.law + step) > best
    assert parabolas_alone(found) is found


@pytest.mark.parametrize(
    "change",
    [
        {"close_loop_offset_and_scale.scaling": [0.7] * 6 + [0.0]},
        {"row_profiles.positive_row12": [0.0] * 7},
        {"led_poly_coeffs_neg": [0.0, 0.0, 0.0, 1.0]},
    ],
)
def test_what_has_no_unit_is_refused(measured_values, change):
    with pytest.raises(InputError, match="made up: an arm without light, or an output without gain"):
        chain_of(measurement(measured_values(1, 7) | change, "made up"))
