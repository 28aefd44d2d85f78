"""Compiled programs: the composed loop's fixed point against the network's, and refusals that carry numbers."""

import numpy as np
import pytest

from aocsim.compiler import choose_channels, compile_network, emitter_scale, knowledge_of
from aocsim.compose import compose, photocurrent_matrix
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import InputError
from aocsim.machine import nominal_activation
from aocsim.solve.integrators import integrate
from aocsim.solve.steady import require_stable, steady_state


def settled(bench, drive):
    loop = compose(bench.machine, bench.compiled.program, bench.electronics)
    start = np.zeros((len(drive), loop.states))
    path = integrate(loop, start, drive, np.array([0.0, 60e-6]), rtol=1e-8, atol=1e-9).state[:, -1]
    fixed = steady_state(loop, path, drive)
    for k in range(len(drive)):
        require_stable(loop, fixed[k : k + 1], drive[k : k + 1], "test")
    return bench.compiled.program.units(fixed[:, : bench.machine.channels])


def realised_matrix(bench):
    """Slope of the gradient path in volts per unit of activation, from the composed loop's own matrices."""
    machine, program = bench.machine, bench.compiled.program
    matrices = photocurrent_matrix(machine, program)
    scale = emitter_scale(machine, bench.network.activation, program.volts_per_unit)
    gain = (
        machine.detector.feedback_resistance
        * machine.gains.closed_loop_gain
        * program.beta
        * machine.gains.electrical_gain
    )
    return gain[:, None] * (matrices[0] * scale[0] - matrices[1] * scale[1])


def target_matrix(bench):
    program = bench.compiled.program
    out = np.zeros((bench.machine.channels,) * 2)
    channels = program.channel_of_unit
    rows = (1 - program.alpha[channels])[:, None] * program.volts_per_unit * bench.operator.matrix
    out[np.ix_(channels, channels)] = rows
    return out


@pytest.mark.parametrize("layout", [(2, 6, 5), (2, 22, 21)])
@pytest.mark.parametrize("alpha", ["per_channel", "global", 0.985])
def test_ideal_machine_settles_at_the_networks_fixed_point(bench_of, layout, alpha):
    """ideal48 without quantisation: 1e-6 network units on every unit."""
    bench = bench_of("ideal48", serial=1, quantise=False, layout=layout, alpha=alpha)
    x, drive = bench.drive(5, 0.4)
    expected = bench.operator.fixed_point(x, 0.4)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(settled(bench, drive), expected, rtol=0, atol=1e-6)


def test_global_alpha_is_the_least_that_every_row_can_hold(bench_of):
    """One step of the setting less relaxation, and the fullest row wants more light than there is."""
    bench = bench_of("ideal48", serial=1, quantise=False, alpha="global")
    found = bench.compiled.program.alpha[bench.compiled.program.channel_of_unit]
    assert np.ptp(found) == 0
    with pytest.raises(InputError, match="weights beyond the gain range"):
        bench_of(
            "ideal48", serial=1, quantise=False, alpha=float(found[0]) - 0.01 * (1 - float(found[0])) - 2e-3
        )


def test_fixed_point_does_not_depend_on_relaxation(bench_of):
    """The same network at beta 20 and 60 and at per-channel alpha: alpha differs, the fixed point does not."""
    found, alphas = [], []
    for beta in (20.0, 60.0):
        bench = bench_of("ideal48", serial=1, quantise=False, beta=beta)
        _, drive = bench.drive(4, 0.4)
        found.append(settled(bench, drive))
        alphas.append(bench.compiled.program.alpha.max())
    assert alphas[0] != pytest.approx(alphas[1], abs=1e-3)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_settling_scales_with_one_over_one_minus_alpha(bench_of):
    """A global alpha: all eigenvalues are those of the unrelaxed loop times 1 - alpha, 1e-6 of the largest."""
    values = {}
    for alpha in (0.97, 0.985):
        bench = bench_of("ideal48", serial=1, quantise=False, alpha=alpha, beta=60.0)
        x, drive = bench.drive(1, 0.4)
        loop = compose(bench.machine, bench.compiled.program, bench.electronics)
        fixed = steady_state(
            loop, integrate(loop, np.zeros((1, 48)), drive, np.array([0.0, 60e-6])).state[:, -1], drive
        )
        used = bench.compiled.program.channel_of_unit
        jacobian = loop.jacobian(fixed, drive)[0][np.ix_(used, used)]
        set_alpha = bench.compiled.program.alpha[used[0]]
        values[alpha] = np.sort_complex(np.linalg.eigvals(jacobian) / (1 - set_alpha))
        # and these are the network's own: (J - 1)/tau
        own = np.linalg.eigvals(bench.operator.jacobian(bench.operator.fixed_point(x, 0.4))[0] - np.eye(13))
        np.testing.assert_allclose(
            np.sort_complex(own * 2 * np.pi * 5e6), values[alpha], rtol=0, atol=1e-5 * 2 * np.pi * 5e6
        )
    np.testing.assert_allclose(values[0.97], values[0.985], rtol=0, atol=1e-5 * 2 * np.pi * 5e6)


@pytest.mark.parametrize("serial", [1, 2])
def test_realised_response_with_exact_knowledge(bench_of, serial):
    """aoc48, all of its profiles, crosstalk and darkness, without quantisation: 1e-6 of the full weight range."""
    bench = bench_of("aoc48", serial=serial, quantise=False)
    target = target_matrix(bench)
    used = bench.compiled.program.channel_of_unit
    error = np.abs(realised_matrix(bench) - target)[used].max() / np.abs(target).max()
    assert error < 1e-6
    assert bench.compiled.inversion_error < 1e-6


def test_rounding_error_is_that_of_the_grey_levels(bench_of):
    """8 bits: uniform error of 1/255 of a row's range, 1/(255 sqrt 12) rms, where pixels are not dark."""
    bench = bench_of("aoc48", serial=1, layout=(2, 22, 21))
    exact = bench_of("aoc48", serial=1, layout=(2, 22, 21), quantise=False)
    difference = bench.compiled.program.weight - exact.compiled.program.weight
    assert np.abs(difference).max() <= 0.5 / 255 + 1e-12
    lit = exact.compiled.program.weight > 2 / 255
    assert difference[lit].std() == pytest.approx(1 / (255 * np.sqrt(12)), rel=0.05)
    levels = bench.compiled.program.weight * 255
    np.testing.assert_allclose(levels, np.round(levels), rtol=0, atol=1e-9)
    reported = realised_matrix(bench) - target_matrix(bench)
    used = bench.compiled.program.channel_of_unit
    rms = np.sqrt(np.mean(reported[used] ** 2)) / np.abs(target_matrix(bench)).max()
    assert bench.compiled.rounding_error == pytest.approx(rms, rel=1e-6)


def test_rows_use_the_full_range(bench_of):
    """alpha per channel: the largest need of every used row is within 1 % of what its pixels reach."""
    bench = bench_of("aoc48", serial=1, layout=(2, 22, 21))
    program, slm = bench.compiled.program, bench.machine.slm
    share = (program.weight / slm.top()[:, :, None]).max(axis=(0, 2))[program.channel_of_unit]
    relaxed = program.alpha[program.channel_of_unit] > 0
    assert relaxed.all()
    transmitted = slm.modulated(program.weight).max(axis=(0, 2))[program.channel_of_unit]
    assert transmitted.min() > 0.97
    assert share.max() <= 1 + 1e-9


def test_no_unit_stands_on_a_dead_input(bench_of):
    for serial in range(1, 6):
        bench = bench_of("aoc48", serial=serial, layout=(2, 22, 21))
        channels = bench.compiled.program.channel_of_unit
        assert not set(channels.tolist()) & set(bench.machine.optics.dead)
        assert len(set(channels.tolist())) == 45


def test_drive_carries_one_minus_alpha_volts(bench_of):
    bench = bench_of("aoc48", serial=1)
    program = bench.compiled.program
    units = np.random.default_rng(0).standard_normal((3, 13))
    volts = program.drive(units)
    for k, channel in enumerate(program.channel_of_unit):
        np.testing.assert_allclose(
            volts[:, channel], (1 - program.alpha[channel]) * program.volts_per_unit * units[:, k]
        )
    idle = np.setdiff1d(np.arange(48), program.channel_of_unit)
    assert not volts[:, idle].any()


def test_more_units_than_channels_is_refused(bench_of, network_of, spec_of, machine_of):
    bench = bench_of("aoc48", serial=1)
    network = network_of(bench.network.activation, (2, 23, 23))
    with pytest.raises(InputError, match=r"got 48; allowed: at most 47 on aoc48"):
        choose_channels(BlockOperator.from_network(network, 0.1), bench.knowledge, 27.0)


def test_weights_beyond_the_gain_range_are_refused_with_the_remedy(bench_of):
    """The message names an alpha; with it, and not with a little less, the program compiles."""
    bench = bench_of("aoc48", serial=1)
    options = {"volts_per_unit": bench.machine.pair.knee, "beta": 27.0}
    with pytest.raises(InputError, match=r"channel \d+ \(unit \d+\) needs [\d.]+ times") as caught:
        compile_network(bench.operator, bench.knowledge, alpha=0.5, **options)
    needed = float(str(caught.value.allowed).split(">=")[1].split()[0])
    assert 0.5 < needed < 1
    compile_network(bench.operator, bench.knowledge, alpha=needed + 1e-3, **options)
    with pytest.raises(InputError):
        compile_network(bench.operator, bench.knowledge, alpha=needed - 2e-3, **options)


def test_volts_beyond_the_dac_are_refused(bench_of):
    bench = bench_of("aoc48", serial=1, beta=1000.0)
    loud = BlockOperator(
        bench.operator.layout,
        bench.operator.matrix,
        bench.operator.bias + 40.0,
        bench.operator.time_embedding,
        bench.operator.activation,
        bench.operator.dt,
        bench.operator.relaxation,
    )
    with pytest.raises(InputError, match=r"needs [\d.]+ V.*\+-1\.3 V"):
        compile_network(loud, bench.knowledge, volts_per_unit=bench.machine.pair.knee, beta=1000.0)


def test_beta_beyond_the_hardware_is_refused(bench_of):
    """beta_full_scale is 1024: a program that asks for 5000 cannot be set."""
    bench = bench_of("aoc48", serial=1)
    try:
        compiled = compile_network(
            bench.operator, bench.knowledge, volts_per_unit=bench.machine.pair.knee, beta=5000.0
        )
    except InputError:
        return
    assert compiled.program.beta <= 1024


def test_nominal_activation_is_normalised(spec_of):
    """s(0) = 0, unit slope at 0, and the pair's sign: one unit on the knee is still far from saturated."""
    law = nominal_activation(spec_of("aoc48"))
    assert abs(float(law.response(np.array(0.0)))) < 1e-12
    assert float(law.slope(np.array(0.0))) == pytest.approx(1.0, abs=1e-9)
    y = np.linspace(-3, 3, 61)
    assert np.all(np.diff(law.response(y)) > 0)


def test_relative_knowledge_is_wrong_by_what_it_says(bench_of):
    """Known to 1 %: the believed rows differ from the true ones by 1 % rms, over 48 rows and both arms."""
    bench = bench_of("aoc48", serial=1)
    known = knowledge_of(bench.machine, bench.spec, bench.network.activation, 0.01, bench.machine.pair.knee)
    alive = np.setdiff1d(np.arange(48), bench.machine.optics.dead)
    ratio = known.machine.optics.row[:, alive] / bench.machine.optics.row[:, alive] - 1
    assert ratio.std() == pytest.approx(0.01, rel=0.25)
