r"""Closed forms of the loop's white noise, and Monte-Carlo integrations that know nothing of the linearised solver.

A mode of gain lambda behind the node's pole tau, relaxed by alpha, and white noise of one-sided density S there:

.. math::

    H(f) = \frac{1}{(1-\alpha)(1-\lambda) + 2\pi j f\tau}, \qquad
    \int_0^\infty S\,|H|^2\,df = \frac{S}{4\tau(1-\alpha)(1-\lambda)}                                         (1)

Noise that enters in front of the gain beta has S = beta^2 S_pre: at a fixed beta it grows with 1/(1 - alpha), and it
falls as sqrt(1 - alpha) only if beta falls with 1 - alpha.

Statistical tolerances: a variance from m draws has a relative standard error of sqrt(2/m), a periodogram that is the
mean of m has 1/sqrt(m). One value passes within four of them, the root mean square within one and a half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.components.photodetector import Photodetector
from aocsim.compose import Electronics, compose, reaching_at_rest
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.seeds import stream
from aocsim.solve.integrators import integrate
from aocsim.solve.linear_noise import read_out_covariance, sampled_noise
from aocsim.solve.steady import steady_state
from aocsim.stages import Noise, Pole, Scale
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, SkippedError, compared
from aocsim.validate.setups import darkness, heart, photocurrents

Array = NDArray[np.float64]

CHARGE = 1.602176634e-19  # C, exact; written out so that these forms share no constant with the parts
BOLTZMANN = 1.380649e-23  # J/K, exact
DENSITY = 1e-13  # V^2/Hz at the node, that of the 48-channel machine at beta = 25 within a factor of two
DRAWS = 20_000
ONE, MEAN = 4.0, 1.5  # standard errors, see above
RECORDS, RECORD, FORGOTTEN = 2000, 512, 128  # of the spectrum: number, samples of each, samples before it
RUNS, SAMPLES, PER_SAMPLE = 2000, 10, 24  # of the stochastic integration
REFERENCE_ALPHA = 0.97


def dark_density(detector: Photodetector) -> float:
    """4 k T/R + i_n^2 + (e_n/R)^2, A^2/Hz: what a detector in the dark has below its capacitance's rise."""
    resistance = detector.feedback_resistance
    thermal = 4 * BOLTZMANN * detector.noise_temperature / resistance
    return float(thermal + detector.current_noise**2 + (detector.voltage_noise / resistance) ** 2)


def mode_variance(density: float, tau: float, alpha: Array, gain: Array) -> Array:
    """The integral of equation (1), V^2: S / [4 tau (1 - alpha)(1 - lambda)]."""
    return np.asarray(density / (4 * tau * (1 - alpha) * (1 - gain)))


def folded_spectrum(
    density: float, tau: float, alpha: float, gain: float, frequencies: Array, rate: float
) -> Array:
    """S |H|^2 of equation (1), V^2/Hz, with everything above half the sampling rate folded below it."""
    orders = np.arange(-3000, 3001)[:, None]
    seen = np.abs(frequencies + orders * rate)
    return np.asarray(
        (density / (((1 - alpha) * (1 - gain)) ** 2 + (2 * np.pi * tau * seen) ** 2)).sum(axis=0)
    )


def modes(alpha: Array, gain: Array, density: float, rate: float) -> Loop:
    """Uncoupled single modes, one a channel, all with the same noise in front of the node's pole."""
    noise = Noise("white", lambda x: np.full_like(x, density))
    arms = (Arm("+", (Scale((1 - alpha) * gain), noise)), Arm("alpha", (Scale(alpha),)))
    return Loop(len(alpha), arms, (Pole(np.full(len(alpha), rate)),))


def grid() -> tuple[Array, Array]:
    """Alpha and lambda of 16 modes."""
    alpha, gain = np.meshgrid([0.0, 0.9, 0.97, 0.985], [-1.0, 0.0, 0.5, 0.9], indexing="ij")
    return alpha.ravel(), gain.ravel()


def node_rate(machine: Machine) -> float:
    """2 pi f of the machine's mean node pole, 1/s."""
    return float(2 * np.pi * machine.poles.node.mean())


def at_rest(loop: Loop, length: float) -> Array:
    """Node variances (n,) V^2 long after the start, from `read_out_covariance`."""
    n = loop.channels
    times = np.linspace(0.0, length, 5)
    found = read_out_covariance(loop, np.zeros(loop.states), np.zeros(n), times, 1)
    return np.array(np.diagonal(found[-1, :, -1, :]))


def variance_row(loop: Loop, alpha: Array, gain: Array, tau: float) -> Row:
    """Stationary variance of `modes` from the linearised loop against equation (1)."""
    got = at_rest(loop, 12 * tau / float(((1 - alpha) * (1 - gain)).min()))
    want = mode_variance(DENSITY, tau, alpha, gain)
    order = np.argsort(want)
    return compared(
        "node variance of single modes, alpha 0 to 0.985 and lambda -1 to 0.9, linearised loop",
        "S / [4 tau (1 - alpha)(1 - lambda)]",
        got / want,
        np.ones_like(want),
        rms=0.001,
        maximum=0.001,
        span=1.0,
        span_name="variance",
        curve=Curve(
            ((1 - alpha) * (1 - gain))[order],
            "(1 - alpha)(1 - lambda)",
            np.sqrt(got[order]) * 1e3,
            np.sqrt(want[order]) * 1e3,
            "node noise (mV rms)",
            log_x=True,
            log_y=True,
        ),
    )


def _variance(setting: Setting) -> Row:
    rate = node_rate(setting.build())
    alpha, gain = grid()
    return variance_row(modes(alpha, gain, DENSITY, rate), alpha, gain, 1 / rate)


def draws_row(loop: Loop, alpha: Array, gain: Array, tau: float, seed: int) -> Row:
    """Variance of what `sampled_noise` draws for `modes` against equation (1)."""
    n, times = len(alpha), 6
    interval = 3 * tau / float(((1 - alpha) * (1 - gain)).min())
    normals = stream(seed, "validate.draws").standard_normal((1, DRAWS, times, n))
    drawn = sampled_noise(loop, np.zeros((1, times, n)), np.zeros((1, n)), interval, normals, 1)
    got, want = drawn[0, :, -1].var(axis=0), mode_variance(DENSITY, tau, alpha, gain)
    error = PER_CENT * np.sqrt(2 / DRAWS)
    return compared(
        f"variance of {DRAWS} noise draws of single modes",
        "S / [4 tau (1 - alpha)(1 - lambda)]",
        got / want,
        np.ones_like(want),
        rms=round(MEAN * error, 2),
        maximum=round(ONE * error, 2),
        span=1.0,
        span_name="variance",
        reason=f"standard error {error:.2g} %",
    )


def _draws(setting: Setting) -> Row:
    rate = node_rate(setting.build())
    alpha, gain = grid()
    return draws_row(modes(alpha, gain, DENSITY, rate), alpha, gain, 1 / rate, setting.seed)


def spectrum_row(loop: Loop, alpha: float, gain: float, tau: float, sampling: float, seed: int) -> Row:
    """Mean periodogram of one mode's draws at the digitiser's rate against the folded S |H|^2."""
    total = FORGOTTEN + RECORD
    normals = stream(seed, "validate.spectrum").standard_normal((1, RECORDS, total, 1))
    drawn = sampled_noise(loop, np.zeros((1, total, 1)), np.zeros((1, 1)), 1 / sampling, normals, 1)
    taper = np.hanning(RECORD + 1)[:-1]
    waves = np.fft.rfft(drawn[0, :, FORGOTTEN:, 0] * taper, axis=1)
    power = 2 * (np.abs(waves) ** 2).mean(axis=0) / (sampling * (taper**2).sum())
    frequencies = np.asarray(np.fft.rfftfreq(RECORD, 1 / sampling), dtype=float)
    inside = slice(2, -2)  # the taper mixes in what is beyond the ends
    got, at = power[inside], frequencies[inside]
    want = folded_spectrum(DENSITY, tau, alpha, gain, at, sampling)
    error = PER_CENT / np.sqrt(RECORDS)
    return compared(
        f"spectrum of a mode's noise at alpha = {alpha:g}, lambda = {gain:g}, {RECORDS} records",
        "S |H|^2, folded at half the sampling rate",
        got / want,
        np.ones_like(want),
        rms=round(MEAN * error, 2),
        maximum=round((ONE + 1) * error, 2),  # the largest of 250 frequencies
        span=1.0,
        span_name="density at that frequency",
        reason=f"standard error {error:.2g} %",
        curve=Curve(
            at * 1e-6, "frequency (MHz)", got, want, "density (V^2/Hz)", log_x=True, log_y=True, points=False
        ),
    )


def _spectrum(setting: Setting) -> Row:
    machine = setting.build()
    rate, alpha, gain = node_rate(machine), REFERENCE_ALPHA, 0.3
    loop = modes(np.array([alpha]), np.array([gain]), DENSITY, rate)
    return spectrum_row(loop, alpha, gain, 1 / rate, machine.digitiser.sample_rate, setting.seed)


def node_densities(machine: Machine, program: Program, z: Array, dark: Array | float = 0.0) -> Array:
    """One-sided density (n,) V^2/Hz in front of the node's pole at node voltages z (n,); `dark` as `photocurrents`."""
    detector = machine.detector
    current = photocurrents(machine, program, z[None], dark)[0].sum(axis=0)
    total = detector.shot_noise * 2 * CHARGE * current + 2 * dark_density(detector)
    return np.asarray(total * (detector.feedback_resistance * machine.gains.node_gain(program.beta)) ** 2)


def stochastic_runs(loop: Loop, rate: Array, density: Array, rest: Array, drive: Array, seed: int) -> Array:
    """Stochastic Heun method of the nonlinear loop of one pole a channel, (SAMPLES, RUNS, n) V.

    Weak order 2: the variance of a mode of rate k is low by (k h)^2/4, below 0.3 % here.

    Args:
        loop: of n states.
        rate: (n,) of the node, 1/s.
        density: (n,) V^2/Hz in front of the pole, at rest: noise moves the photocurrent by parts in ten thousand.
        rest: (n,) V, where all runs start.
        drive: (n,) V.
        seed: of the draws.
    """
    rng = stream(seed, "validate.runs")
    h = 1 / (4.6875e6 * PER_SAMPLE)
    z = np.repeat(rest[None], RUNS, axis=0)
    drives = np.broadcast_to(drive, z.shape)
    size = rate * np.sqrt(density / 2 * h)
    out = np.empty((SAMPLES, *z.shape))
    for sample in range(SAMPLES):
        for _ in range(PER_SAMPLE):
            kick = size * rng.standard_normal(z.shape)
            first = loop.rhs(z, drives)
            z = z + h / 2 * (first + loop.rhs(z + h * first + kick, drives)) + kick
        out[sample] = z
    return out


def monte_carlo_row(loop: Loop, runs: Array, rest: Array, drive: Array, seed: int) -> Row:
    """Variance along the records, mean over channels: linearised covariance and draws against `runs`."""
    n, interval = loop.channels, 1 / 4.6875e6
    measured = runs.var(axis=1)
    times = np.asarray(interval * np.arange(SAMPLES + 1), dtype=float)
    covariance = read_out_covariance(loop, rest, drive, times, 2)
    exact = np.diagonal(np.diagonal(covariance, axis1=0, axis2=2), axis1=0, axis2=1)[1:]
    normals = stream(seed, "validate.repeats").standard_normal((1, RUNS, SAMPLES + 1, n))
    paths = np.repeat(rest[None], SAMPLES + 1, axis=0)[None]
    drawn = sampled_noise(loop, paths, drive[None], interval, normals, 1)[0, :, 1:].var(axis=0)
    ratios = np.stack([(exact / measured).mean(axis=1), (drawn / measured).mean(axis=1)])
    # two sets of draws in the second ratio; channels count as independent
    error = PER_CENT * np.sqrt(2 * 2 / (RUNS * n))
    scheme = 0.3  # per cent, see stochastic_runs
    return compared(
        "growing noise of the compiled heart from a start without noise, covariance and draws",
        f"stochastic Heun integration of the nonlinear loop, {RUNS} runs",
        ratios,
        np.ones_like(ratios),
        rms=round(MEAN * error + scheme, 2),
        maximum=round(ONE * error + scheme, 2),
        span=1.0,
        span_name="variance, mean of the channels",
        reason=f"standard error {error:.2g} %, {scheme:g} % of the integration's own",
        curve=Curve(
            times[1:] * 1e6,
            "time (us)",
            np.sqrt(exact.mean(axis=1)) * 1e3,
            np.sqrt(measured.mean(axis=1)) * 1e3,
            "node noise (mV rms)",
            want_label="stochastic runs",
        ),
    )


def _monte_carlo(setting: Setting) -> Row:
    setup = heart(setting)
    machine, program = setup.machine, setup.compiled.program
    if not dark_density(machine.detector):
        raise SkippedError(f"the detectors of {setting.machine} have no noise")
    loop = compose(machine, program, Electronics(program.alpha, -reaching_at_rest(machine, program)))
    if loop.states > loop.channels:
        raise SkippedError("the integration is written for one pole a channel")
    drive = program.drive(setup.operator.additive(0.5, np.array([[0.3, -0.4]])))
    start = np.zeros((1, loop.states))
    settled = integrate(loop, start, drive, np.array([0.0, 20e-6])).state[:, -1]
    rest = steady_state(loop, settled, drive)[0]
    density = node_densities(machine, program, rest, darkness(setting))
    runs = stochastic_runs(loop, 2 * np.pi * machine.poles.node, density, rest, drive[0], setting.seed)
    return monte_carlo_row(loop, runs, rest, drive[0], setting.seed)


CHECKS = (
    Check("noise_variance", _variance, "shared inputs"),
    Check("noise_draws", _draws, "shared inputs"),
    Check("noise_spectrum", _spectrum, "shared inputs"),
    Check("noise_monte_carlo", _monte_carlo, "shared inputs", slow=True),
)
