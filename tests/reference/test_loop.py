"""The composed loop against sequential evaluation, a hand-written machine, finite differences and expm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from aocsim.components.pair import normalised_current
from aocsim.compose import Electronics, compose, electronics_of, photocurrent_matrix
from aocsim.constants import thermal_voltage
from aocsim.law import Law
from aocsim.live import Flicker
from aocsim.loop import Arm, Loop
from aocsim.solve.integrators import integrate
from aocsim.solve.steady import steady_state
from aocsim.stages import Affine, Elementwise, Noise, Pole, Scale, fold

TANH = Law.tabulate("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2, -8.0, 8.0)
LINE = Law.tabulate("line", lambda x: x, np.ones_like, -1.0, 1.0)
N = 3

seeds = st.integers(0, 2**32 - 1)
kinds = st.lists(st.sampled_from(["law", "affine", "scale", "number", "pole", "noise"]), max_size=6)


def make(kind, rng, n=N, solves=None):
    lead = () if solves is None else (solves,)
    if kind == "law":
        return Elementwise(TANH, *rng.uniform(0.3, 1.2, (4, n)))
    if kind == "affine":
        return Affine(0.5 * rng.standard_normal((*lead, n, n)), 0.3 * rng.standard_normal((*lead, n)))
    if kind == "scale":
        return Scale(rng.standard_normal(n), rng.standard_normal(n))
    if kind == "number":
        return Scale(float(rng.standard_normal()), float(rng.standard_normal()))
    if kind == "pole":
        return Pole(rng.uniform(1.0, 9.0, n))
    return Noise("noise", lambda x: np.ones_like(x))


def by_hand(loop_arms, node, state, drive, n=N):
    """Second implementation: walk the arms one after the other; common beginnings share their poles' states."""
    rate = np.zeros_like(state)
    blocks = {}
    total = drive.copy()
    for arm in loop_arms:
        x, path = state[..., :n], ()
        for stage in arm.stages:
            path = (*path, id(stage))
            if isinstance(stage, Pole):
                block = blocks.setdefault(path, len(blocks) + 1)
                rows = slice(block * n, (block + 1) * n)
                rate[..., rows] = stage.rate * (x - state[..., rows])
                x = state[..., rows]
            else:
                x = plain(stage, x)
        total = total + x
    for stage in node[:-1]:
        total = plain(stage, total)
    rate[..., :n] = node[-1].rate * (total - state[..., :n])
    return rate


def plain(stage, x):
    if isinstance(stage, Noise):
        return x
    if isinstance(stage, Elementwise):
        return (
            stage.gain_out * np.asarray(stage.law.response(stage.gain_in * x + stage.offset_in))
            + stage.offset_out
        )
    if isinstance(stage, Affine):
        return np.einsum("...ij,...j->...i", stage.matrix, x) + stage.offset
    return stage.gain * x + stage.offset


def central_jacobian(loop, state, drive, h=1e-5):
    out = np.empty((len(state), len(state)))
    for k in range(len(state)):
        up, down = state.copy(), state.copy()
        up[k] += h
        down[k] -= h
        out[:, k] = (loop.rhs(up, drive) - loop.rhs(down, drive)) / (2 * h)
    return out


@given(st.sampled_from(["affine", "scale", "number"]), st.sampled_from(["affine", "scale", "number"]), seeds)
def test_fold_of_two_linear_stages_is_one_after_the_other(first, second, seed):
    rng = np.random.default_rng(seed)
    one, two = make(first, rng), make(second, rng)
    x = rng.standard_normal((4, N))
    np.testing.assert_allclose(fold(one, two).response(x), two.response(one.response(x)), rtol=0, atol=1e-13)


@given(st.sampled_from([None, 4]), st.sampled_from([None, 4]), st.booleans(), seeds)
def test_fold_with_one_matrix_for_each_solve(lead_one, lead_two, number_offsets, seed):
    rng = np.random.default_rng(seed)
    one, two = make("affine", rng, solves=lead_one), make("affine", rng, solves=lead_two)
    if number_offsets:
        one = Affine(one.matrix, 0.7)
    x = rng.standard_normal((4, N))
    np.testing.assert_allclose(fold(one, two).response(x), two.response(one.response(x)), rtol=0, atol=1e-13)


@settings(max_examples=150)
@given(
    kinds,
    st.lists(kinds, min_size=1, max_size=3),
    st.lists(st.sampled_from(["law", "affine", "scale", "number", "noise"]), max_size=3),
    seeds,
)
def test_rhs_of_random_arms(front, tails, behind, seed):
    """Arms with a common beginning, whatever stands in it, give the hand-written derivative."""
    rng = np.random.default_rng(seed)
    shared = [make(kind, rng) for kind in front]
    arms = tuple(Arm(str(k), (*shared, *(make(kind, rng) for kind in tail))) for k, tail in enumerate(tails))
    node = (*(make(kind, rng) for kind in behind), make("pole", rng))
    loop = Loop(N, arms, node)
    state, drive = rng.standard_normal((4, loop.states)), rng.standard_normal((4, N))
    expected = by_hand(arms, node, state, drive)
    np.testing.assert_allclose(loop.rhs(state, drive), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(loop.rhs(state[0], drive[0]), expected[0], rtol=0, atol=1e-11)


@settings(max_examples=60)
@given(kinds, st.lists(kinds, min_size=1, max_size=3), seeds)
def test_jacobian_of_random_arms(front, tails, seed):
    """Against central differences of the hand-written derivative, which has no plan and no merging."""
    rng = np.random.default_rng(seed)
    shared = [make(kind, rng) for kind in front]
    arms = tuple(Arm(str(k), (*shared, *(make(kind, rng) for kind in tail))) for k, tail in enumerate(tails))
    node = (make("scale", rng), make("law", rng), make("pole", rng))
    loop = Loop(N, arms, node)
    state, drive, h = rng.standard_normal(loop.states), rng.standard_normal(N), 1e-5
    expected = np.empty((loop.states, loop.states))
    for k in range(loop.states):
        shift = np.zeros(loop.states)
        shift[k] = h
        rise = by_hand(arms, node, state + shift, drive) - by_hand(arms, node, state - shift, drive)
        expected[:, k] = rise / (2 * h)
    found = loop.jacobian(state[None], drive[None])[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("wide", [1, 2, 5])
def test_jacobian_and_diffusion_of_arms_of_another_width(wide):
    """A signal of fewer or more channels inside an arm, with noise there; by the chain rule, written out."""
    rng = np.random.default_rng(wide)
    into, back = rng.standard_normal((wide, N)), rng.standard_normal((N, wide))
    law = Elementwise(TANH, *rng.uniform(0.3, 1.2, (4, wide)))
    density, rate = rng.uniform(1, 2, wide), rng.uniform(1, 2, N)
    noise = Noise("n", lambda x: np.broadcast_to(density, x.shape))
    loop = Loop(N, (Arm("a", (Affine(into), law, noise, Affine(back))),), (Pole(rate),))
    z = rng.standard_normal((2, N))
    jacobian, diffusion = loop.linearise(z, np.zeros((2, N)))
    for k in range(2):
        slope = law.gain_in * law.gain_out / np.cosh(law.gain_in * (into @ z[k]) + law.offset_in) ** 2
        expected = rate[:, None] * (back @ np.diag(slope) @ into - np.eye(N))
        np.testing.assert_allclose(jacobian[k], expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        carried = rate[:, None] * back
        np.testing.assert_allclose(diffusion[k], carried @ np.diag(density / 2) @ carried.T, rtol=1e-12)


def test_common_beginning_of_two_linear_stages_and_a_pole():
    """Two arms that share a gain, another gain and a pole have one pole between them, not two."""
    rng = np.random.default_rng(0)
    shared = (make("scale", rng), make("scale", rng), make("pole", rng))
    arms = (Arm("a", (*shared, make("affine", rng))), Arm("b", (*shared, make("law", rng))))
    node = (make("pole", rng),)
    loop = Loop(N, arms, node)
    assert loop.states == 2 * N
    state, drive = rng.standard_normal((2, 2 * N)), rng.standard_normal((2, N))
    np.testing.assert_allclose(loop.rhs(state, drive), by_hand(arms, node, state, drive), atol=1e-12)


def test_a_second_pole_behind_the_sum_works_or_is_refused():
    """The node is "a tuple of stages"; a pole in front of the dominant one is state too."""
    first, last = Pole(np.array([3.0, 4.0, 5.0])), Pole(np.array([1.0, 1.0, 1.0]))
    try:
        loop = Loop(N, (Arm("a", (Scale(0.5),)),), (first, last))
    except ValueError:
        return
    state, drive = np.arange(6.0), np.array([0.1, 0.2, 0.3])
    expected = np.concatenate([state[3:] - state[:3], first.rate * (0.5 * state[:3] + drive - state[3:])])
    np.testing.assert_allclose(loop.rhs(state, drive), expected, rtol=1e-13)


def test_diffusion_of_one_source_by_hand():
    """White current noise of one-sided density S through a matrix into a pole: D = r^2 M diag(S/2) M^T."""
    rng = np.random.default_rng(1)
    matrix, rate, density = rng.standard_normal((N, N)), rng.uniform(1, 2, N), rng.uniform(1, 2, N)
    noise = Noise("n", lambda x: np.broadcast_to(density, x.shape))
    loop = Loop(
        N, (Arm("a", (Scale(np.zeros(N)), noise, Affine(matrix))), Arm("b", (Scale(0.1),))), (Pole(rate),)
    )
    _, diffusion = loop.linearise(np.zeros((1, N)), np.zeros((1, N)))
    expected = (rate[:, None] * matrix) @ np.diag(density / 2) @ (rate[:, None] * matrix).T
    np.testing.assert_allclose(diffusion[0], expected, rtol=1e-12)


def test_diffusion_of_a_source_that_two_arms_share_is_correlated():
    """The same noise through two gains adds as amplitudes, two sources as powers."""
    noise = Noise("n", lambda x: np.full_like(x, 2.0))
    other = Noise("m", lambda x: np.full_like(x, 2.0))
    pole = (Pole(np.ones(N)),)
    common = Loop(N, (Arm("a", (noise, Scale(1.0))), Arm("b", (noise, Scale(2.0)))), pole)
    apart = Loop(N, (Arm("a", (noise, Scale(1.0))), Arm("b", (other, Scale(2.0)))), pole)
    at = np.zeros((1, N)), np.zeros((1, N))
    np.testing.assert_allclose(common.linearise(*at)[1][0], 9.0 * np.eye(N), rtol=1e-14)
    np.testing.assert_allclose(apart.linearise(*at)[1][0], 5.0 * np.eye(N), rtol=1e-14)


def as_built(bench):
    """The electronics with all their errors, at the program's settings."""
    program = bench.compiled.program
    return electronics_of(bench.machine, program.alpha, program.beta)


def wobble(solves, channels, seed=3):
    """Independent flicker of unit variance."""
    rng = np.random.default_rng(seed)
    return Flicker(rng.standard_normal((solves, 2, channels, channels)), rng.standard_normal((solves, 2)))


def machine_rhs(machine, program, electronics, state, drive):
    """The machine with all its poles, written by hand from parts' formulas and not from stages or tables."""
    n = machine.channels
    z, d, light_p, tia_p, light_m, tia_m = (state[..., k * n : (k + 1) * n] for k in range(6))
    two_vt = 2 * thermal_voltage(machine.pair.junction_temperature)
    pair, led, detector, poles = machine.pair, machine.led, machine.detector, machine.poles
    stretch = (1 + pair.degeneration * pair.tail_mismatch) / (1 + pair.degeneration)
    base = (pair.input_attenuation * z + pair.input_offset) / (two_vt * stretch)
    bypass = pair.feedthrough * two_vt / (pair.input_attenuation * pair.swing).mean()
    v = pair.swing * (normalised_current(base, pair.degeneration) + bypass * base)
    out = [None, 2 * np.pi * poles.driver * (v - d)]
    current = []
    for arm, (light, tia) in enumerate(((light_p, tia_p), (light_m, tia_m))):
        drive_current = led.bias_current[arm] + led.transconductance[arm] * d * (
            1 - led.compression[arm] * d**2
        )
        emitted = led.diodes[arm].power(drive_current) - led.diodes[arm].power(led.bias_current[arm])
        rate = 2 * np.pi * poles.led_over_carrier * float(led.diodes[arm].bandwidth(led.bias_current[arm]))
        out.append(rate * (emitted - light))
        # modulator, fan-out, crosstalk, direct light, detector
        slm, optics = machine.slm, machine.optics
        transmission = slm.transmission[arm] * (
            np.sin(slm.retardance_scale[arm][:, None] * np.arcsin(np.sqrt(program.weight[arm]))) ** 2
            + slm.inverse_contrast[arm]
            + slm.stray_light[arm][:, None]
        )
        split = optics.throughput[arm] / n
        path = split * np.outer(optics.column[arm], optics.row[arm]) * optics.structure[arm] * transmission
        path = optics.crosstalk[arm] @ (path + split * np.diag(optics.direct[arm] * optics.row[arm]))
        matrix = detector.responsivity * detector.output_efficiency[arm][:, None] * path
        bias = matrix.sum(axis=1) * led.diodes[arm].power(led.bias_current[arm])
        photo = light @ matrix.T + bias * (1 - detector.bias_light_rejection[arm])
        out.append(2 * np.pi * poles.transimpedance * (photo - tia))
        current.append(tia)
    gains = machine.gains
    gain = detector.feedback_resistance * gains.closed_loop_gain * program.beta * gains.electrical_gain
    total = gain * (current[0] - current[1]) + electronics.alpha * z + drive + electronics.offset
    out[0] = 2 * np.pi * poles.node * (machine.node.saturate(total) - z)
    return np.concatenate(out, axis=-1)


@pytest.fixture(scope="module")
def full(bench_of):
    bench = bench_of(
        "aoc48", serial=2, poles={"sheet": "poles_all"}, detector={"bias_light_rejection": "0.97"}
    )
    electronics = as_built(bench)
    return bench, electronics, compose(bench.machine, bench.compiled.program, electronics)


def states_of(loop, count, seed=0):
    """Node voltages of a volt, the other states of the size that they have at such a node."""
    rng = np.random.default_rng(seed)
    scale = np.repeat([1.0, 0.15, 2e-4, 1e-7, 2e-4, 1e-7], loop.channels)
    return rng.standard_normal((count, loop.states)) * scale, 0.3 * rng.standard_normal(
        (count, loop.channels)
    )


def test_machine_with_all_poles_by_hand(full):
    """1e-8 of the largest rate of change of each kind of state."""
    bench, electronics, loop = full
    assert loop.states == 6 * 48
    state, drive = states_of(loop, 3)
    state[0, :48] *= 3.0  # into the amplifier's rails
    state[:, 48:96] = np.clip(state[:, 48:96], -0.25, 0.25)  # the pair cannot give more
    found = loop.rhs(state, drive).reshape(3, 6, 48)
    expected = machine_rhs(bench.machine, bench.compiled.program, electronics, state, drive).reshape(3, 6, 48)
    for kind in range(6):
        scale = np.abs(expected[:, kind]).max()
        np.testing.assert_allclose(found[:, kind], expected[:, kind], rtol=0, atol=1e-8 * scale)


def scaled_difference(found, expected, channels, tolerance):
    """Blocks have units of V, W and A: each is compared over its own largest entry."""
    blocks = len(found) // channels
    for i in range(blocks):
        for j in range(blocks):
            cell = np.s_[i * channels : (i + 1) * channels, j * channels : (j + 1) * channels]
            scale = np.abs(expected[cell]).max()
            np.testing.assert_allclose(found[cell], expected[cell], rtol=0, atol=tolerance * scale + 1e-300)


def test_jacobian_with_all_poles_by_central_differences(full):
    _, _, loop = full
    state, drive = states_of(loop, 1, seed=3)
    step = np.repeat([1e-5, 1e-6, 1e-8, 1e-11, 1e-8, 1e-11], 48)
    expected = np.empty((loop.states, loop.states))
    up, down = state[0] + np.diag(step), state[0] - np.diag(step)
    rise = loop.rhs(up, np.repeat(drive, loop.states, axis=0)) - loop.rhs(
        down, np.repeat(drive, loop.states, axis=0)
    )
    expected = (rise / (2 * step[:, None])).T
    found = loop.jacobian(state, drive)[0]
    # differences of numbers around 1e8 leave 1e-8 of it; the zero blocks stay zero
    for i in range(6):
        for j in range(6):
            cell = np.s_[i * 48 : (i + 1) * 48, j * 48 : (j + 1) * 48]
            scale = np.abs(found[cell]).max()
            if scale == 0:
                assert not expected[cell].any()
            else:
                np.testing.assert_allclose(found[cell], expected[cell], rtol=0, atol=1e-6 * scale)


def test_jacobian_of_one_pole_by_central_differences(bench_of):
    bench = bench_of("aoc48", serial=2)
    loop = compose(bench.machine, bench.compiled.program, as_built(bench))
    rng = np.random.default_rng(5)
    for _ in range(3):
        state, drive = 1.5 * rng.standard_normal(48), 0.3 * rng.standard_normal(48)
        expected = central_jacobian(loop, state, drive)
        found = loop.jacobian(state[None], drive[None])[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_each_solve_of_a_flickering_batch_is_its_own_loop(bench_of):
    """Batch with a leading axis, `select`, and a loop composed from one draw: the same derivative and jacobian."""
    bench = bench_of("aoc48", serial=2, poles={"sheet": "poles_all"})
    program, machine = bench.compiled.program, bench.machine
    flicker = wobble(4, 48)
    batch = compose(machine, program, bench.electronics, flicker)
    state, drive = states_of(batch, 4)
    rates, jacobians = batch.rhs(state, drive), batch.jacobian(state, drive)
    for k in range(4):
        single = compose(machine, program, bench.electronics, Flicker(flicker.pixel[k], flicker.common[k]))
        np.testing.assert_allclose(batch.select(k).rhs(state[k], drive[k]), rates[k], rtol=1e-12, atol=1e-6)
        np.testing.assert_allclose(single.rhs(state[k], drive[k]), rates[k], rtol=1e-12, atol=1e-6)
        np.testing.assert_allclose(
            batch.select(k).jacobian(state[k], drive[k]), jacobians[k], rtol=1e-12, atol=1e-4
        )


def test_flicker_has_the_sheets_size(bench_of):
    """Ensemble of matrices: pixel part sigma_G sqrt(tau (1 - tau)) and 1 % common to an arm; 3 % over 600 draws."""
    bench = bench_of("aoc48", serial=2, channels=16)
    machine, program = bench.machine, bench.compiled.program
    draws = wobble(600, 16)
    quiet = photocurrent_matrix(machine, program)
    change = photocurrent_matrix(machine, program, draws) - quiet
    # crosstalk mixes rows of independent pixels: variances add with its squares
    slm, optics = machine.slm, machine.optics
    tau = slm.modulated(program.weight)
    one = optics.fan() * slm.transmission[:, None, None] * 0.015 * np.sqrt(tau * (1 - tau))
    mixed = (
        np.sqrt(optics.crosstalk**2 @ one**2)
        * (machine.detector.responsivity * machine.detector.output_efficiency)[:, :, None]
    )
    common = 0.01 * np.abs(
        quiet
        - (optics.crosstalk @ optics.direct_matrix())
        * (machine.detector.responsivity * machine.detector.output_efficiency)[:, :, None]
    )
    expected = np.sqrt(mixed**2 + common**2)
    alive = expected > 0
    ratio = change.std(axis=0)[alive] / expected[alive]
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1.0, rel=0.03)


def test_linear_loop_is_expm():
    """A loop of straight laws and several poles answers a step as the matrix exponential does; 1e-8 of the step."""
    rng = np.random.default_rng(8)
    straight = Elementwise(LINE, rng.uniform(0.5, 1, N))
    front = (straight, Pole(2 * np.pi * np.array([50e6, 60e6, 70e6])))
    arms = (
        Arm("+", (*front, Affine(0.4 * rng.standard_normal((N, N))), Pole(2 * np.pi * np.full(N, 30e6)))),
        Arm("-", (*front, Affine(0.4 * rng.standard_normal((N, N))))),
        Arm("alpha", (Scale(np.array([0.5, 0.2, 0.0])),)),
    )
    loop = Loop(N, arms, (Pole(2 * np.pi * np.array([5e6, 5.1e6, 4.9e6])),))
    drive = np.array([[0.1, -0.2, 0.3]])
    a = loop.jacobian(np.zeros((1, loop.states)), drive)[0]
    b = loop.rhs(np.zeros((1, loop.states)), drive)[0]
    times = np.linspace(0, 300e-9, 13)
    found = integrate(
        loop, np.zeros((1, loop.states)), drive, times, method="DOP853", rtol=1e-12, atol=1e-14
    ).state[0]
    expected = np.array([np.linalg.solve(a, (expm(a * t) - np.eye(len(a))) @ b) for t in times])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_small_step_of_the_machine_is_expm(full):
    """A microvolt on the drives of the settled machine: the linearised loop's answer to 1e-8 of the largest."""
    bench, _electronics, loop = full
    _, drive = bench.drive(1, 0.5)
    rest = steady_state(
        loop, integrate(loop, np.zeros((1, loop.states)), drive, np.array([0, 15e-6])).state[:, -1], drive
    )
    step = 1e-6 * np.random.default_rng(2).standard_normal((1, 48))
    a = loop.jacobian(rest, drive)[0]
    b = loop.rhs(rest, drive + step)[0] - loop.rhs(rest, drive)[0]
    times = np.array([0.0, 20e-9, 200e-9, 2e-6])
    found = (
        integrate(loop, rest, drive + step, times, method="DOP853", rtol=1e-12, atol=1e-15).state[0] - rest
    )
    expected = np.array([np.linalg.solve(a, (expm(a * t) - np.eye(len(a))) @ b) for t in times])
    np.testing.assert_allclose(found[:, :48], expected[:, :48], rtol=0, atol=1e-8)
    largest = np.abs(expected[:, :48]).max()
    assert largest > 1e-6
    assert np.abs(found - expected)[:, :48].max() < 1e-3 * largest


def test_arm_output_is_the_settled_path(full):
    """Static output of an arm: what its poles arrive at for constant node voltages."""
    bench, electronics, loop = full
    z = np.random.default_rng(4).uniform(-1, 1, 48)
    n = 48
    state = np.zeros(loop.states)
    state[:n] = z
    for _ in range(4):  # the poles behind z, front to back
        rate = machine_rhs(bench.machine, bench.compiled.program, electronics, state[None], np.zeros((1, n)))[
            0
        ]
        poles, led = bench.machine.poles, bench.machine.led
        rates = [
            poles.driver,
            led.bandwidth(0) * np.ones(n),
            poles.transimpedance,
            led.bandwidth(1) * np.ones(n),
            poles.transimpedance,
        ]
        state[n:] += rate[n:] / (2 * np.pi * np.concatenate(rates))
    gain = bench.machine.detector.feedback_resistance * bench.machine.gains.node_gain(
        bench.compiled.program.beta
    )
    for name, block, sign in (("+", 3, 1), ("-", 5, -1)):
        expected = sign * gain * state[block * n : (block + 1) * n]
        np.testing.assert_allclose(
            loop.arm_output(name, z), expected, rtol=0, atol=1e-8 * np.abs(expected).max()
        )
    np.testing.assert_allclose(loop.arm_output("alpha", z), electronics.alpha * z)


def test_untrimmed_machine_carries_its_offsets(bench_of):
    bench = bench_of("aoc48", serial=2)
    gains, program = bench.machine.gains, bench.compiled.program
    electronics = as_built(bench)
    np.testing.assert_allclose(electronics.alpha, program.alpha * gains.alpha_gain)
    np.testing.assert_allclose(electronics.offset, gains.offset + program.beta * gains.offset_per_beta)


def test_node_without_dominant_pole_is_refused():
    with pytest.raises(ValueError, match="dominant pole"):
        Loop(N, (Arm("a", (Scale(0.5),)),), (Scale(1.0),))


def test_electronics_are_what_reaches_the_node(bench_of):
    bench = bench_of("ideal48", serial=1)
    rng = np.random.default_rng(0)
    electronics = Electronics(rng.uniform(0, 0.9, 48), rng.standard_normal(48))
    loop = compose(bench.machine, bench.compiled.program, electronics)
    rate = loop.rhs(np.zeros((1, 48)), np.zeros((1, 48)))[0]
    np.testing.assert_allclose(rate, 2 * np.pi * 5e6 * electronics.offset, rtol=1e-12)
