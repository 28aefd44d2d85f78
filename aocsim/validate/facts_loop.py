r"""The published facts of the loop: its bandwidth, relaxed and not, its settling, and how a kick dies away.

A kick to the nodes during a solve dies as the slowest mode of the closed loop. With one alpha for all channels that
is, in the eigenvalues lambda of the unrelaxed ideal map at the fixed point,

.. math:: \delta z \propto e^{-(1-\alpha)(1-\max\mathrm{Re}\,\lambda)\,t/\tau}
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aocsim.compiler import compile_network, knowledge_of
from aocsim.compose import compose, trimmed_exactly
from aocsim.diffusion.operator import BlockOperator
from aocsim.law import Law
from aocsim.loop import Loop
from aocsim.machine import nominal_activation
from aocsim.response import corner, sweep
from aocsim.scenarios.sample import execute
from aocsim.solve.integrators import integrate
from aocsim.solve.piecewise import Piece, integrate_pieces
from aocsim.solve.steady import steady_state
from aocsim.validate.check import PER_CENT, Check, Curve, Row, Setting, compared, within
from aocsim.validate.setups import heart, require_channels, without_weights

Array = NDArray[np.float64]

PUBLISHED_BANDWIDTH = 5e6  # Hz, Supplementary 1b
RELAXED_BANDWIDTH = 150e3  # Hz at alpha = 0.97
ALPHA = 0.97
SWEPT = np.geomspace(0.4, 1.8, 8)
KICK, KICK_LENGTH = 0.01, 100e-9  # V, far below the knee of 0.28 V, and s
GAINS = np.array([0.4, 0.6, 0.8])
RING, RING_BETA = 12, 10.0  # units of each layer, and a gain at which its weights fill the modulators
POINT = ((0.3, -0.4), 0.5)  # sample and diffusion time at which the loop is kicked
SAMPLES = 8


def bandwidth_row(loop: Loop, published: float, what: str) -> Row:
    """Mean -3 dB frequency of a loop without weights against the published one, within 1 %."""
    frequencies = SWEPT * published
    magnitude = sweep(loop, np.arange(loop.channels, dtype=np.intp), frequencies)
    corners = np.array([corner(frequencies, row) for row in magnitude])
    unit, per = ("MHz", 1e-6) if published > 1e6 else ("kHz", 1e-3)
    ideal = 1 / np.sqrt(1 + (frequencies / published) ** 2)
    return within(
        what,
        f"{published * per:g} {unit}, within 1 %",
        float(corners.mean()) * per,
        0.99 * published * per,
        1.01 * published * per,
        unit=unit,
        reason=f"mean of all channels, {corners.min() * per:.4g} to {corners.max() * per:.4g} {unit}",
        curve=Curve(
            frequencies * per,
            f"frequency ({unit})",
            magnitude.mean(axis=0),
            ideal,
            "magnitude",
            want_label="one pole",
            log_x=True,
            log_y=True,
        ),
    )


def _bandwidth(setting: Setting) -> Row:
    loop = without_weights(setting.build())
    return bandwidth_row(loop, PUBLISHED_BANDWIDTH, "-3 dB frequency of the loop response (W = 0, alpha = 0)")


def _relaxed_bandwidth(setting: Setting) -> Row:
    machine = setting.build()
    alpha = machine.gains.set_alpha(np.full(machine.channels, ALPHA))
    loop = without_weights(machine, alpha)
    return bandwidth_row(loop, RELAXED_BANDWIDTH, "-3 dB frequency of the loop at alpha = 0.97 (W = 0)")


def settling_row(settling: Array) -> Row:
    """Median settling time per diffusion step, s, against 10 to 15 us."""
    times = settling.ravel() * 1e6
    steps = settling.mean(axis=1) * 1e6
    return within(
        f"settling to 1 % of each diffusion step of the heart, {times.size} solves",
        "10 to 15 us per step, published",
        float(np.median(times)),
        10.0,
        15.0,
        unit="us",
        reason=f"median; 95 % of them within {np.percentile(times, 95):.3g} us",
        curve=Curve(
            np.arange(1, len(steps) + 1, dtype=float),
            "diffusion step",
            steps,
            np.full(len(steps), 12.5),
            "settling (us)",
            want_label="published, middle",
        ),
    )


def _settling(setting: Setting) -> Row:
    setup = heart(setting, samples=SAMPLES, trials=1, compile__operating_point_trim=0)
    return settling_row(execute(setup).settling)


def kick(loop: Loop, drive: Array, channels: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """A kick to some nodes of the settled loop.

    Args:
        loop: closed.
        drive: (1, n) V.
        channels: that are kicked.

    Returns:
        Fixed point (N,), instants (times,) s from the end of the kick, and distance (times, N) from the fixed point.
    """
    start = np.zeros((1, loop.states))
    rest = steady_state(loop, integrate(loop, start, drive, np.array([0.0, 20e-6])).state[:, -1], drive)
    push = np.zeros_like(drive)
    push[0, channels] = KICK
    after = np.linspace(0.0, 24e-6, 241)
    pieces = [Piece(0.0, KICK_LENGTH, drive + push), Piece(KICK_LENGTH, 1.0, drive)]
    path = integrate_pieces(
        loop, rest, pieces, KICK_LENGTH + after, method="DOP853", rtol=1e-12, atol=1e-14
    ).state[0]
    return rest[0], after, path - rest[0]


def rate_of(times: Array, amplitude: Array) -> float:
    """Rate, 1/s, at which |amplitude| (times,) falls: a line through its logarithm."""
    return float(-np.polynomial.polynomial.polyfit(times, np.log(np.abs(amplitude)), 1)[1])


def modes_row(times: Array, distance: Array, jacobian: Array, slowest: int = 6) -> Row:
    """Decay of the slowest modes' amplitudes in a kicked loop against the jacobian's eigenvalues.

    The heart's slowest modes lie within a few per cent of one another and are far from orthogonal: each one's amplitude
    is taken by its left eigenvector.
    """
    values, right = np.linalg.eig(jacobian)
    order = np.argsort(-values.real)[:slowest]
    amplitude = distance @ np.linalg.inv(right).T[:, order]
    tail = (times >= 2e-6) & (times <= 8e-6)
    got = np.array([rate_of(times[tail], one) for one in amplitude[tail].T])
    want = -values.real[order]
    line = np.abs(amplitude[tail][0, 0]) * np.exp(-want[0] * (times - times[tail][0]))
    return compared(
        f"decay of a kick to the nodes during a solve of the heart, its {slowest} slowest modes",
        "real parts of the jacobian's eigenvalues",
        got / want,
        np.ones_like(want),
        rms=0.5,
        maximum=1.0,
        span=1.0,
        span_name="rate",
        reason=f"slowest {got[0] * 1e-6:.4g} /us",
        curve=Curve(
            times * 1e6,
            "time after the kick (us)",
            np.abs(amplitude[:, 0]),
            line,
            "amplitude of the slowest mode (V)",
            log_y=True,
            points=False,
        ),
    )


def _kicked_heart(setting: Setting) -> Row:
    setup = heart(setting)
    machine, program = setup.machine, setup.compiled.program
    loop = compose(machine, program, trimmed_exactly(machine, program))
    sample, t = POINT
    drive = program.drive(setup.operator.additive(t, np.array([sample])))
    rest, times, distance = kick(loop, drive, program.channel_of_unit)
    return modes_row(times, distance, loop.jacobian(rest[None], drive)[0])


def symmetric_ring(activation: Law, gain: float) -> BlockOperator:
    """Two layers A and A^T whose ring has the eigenvalues +-gain once, and +-gain/3 else, at rest."""
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.standard_normal((RING, RING)))[0] for _ in range(2))
    values = np.full(RING, gain / 3)
    values[0] = gain
    layer = left @ np.diag(values) @ right
    matrix = np.zeros((2 * RING, 2 * RING))
    matrix[RING:, :RING], matrix[:RING, RING:] = layer, layer.T
    nothing = np.zeros(2 * RING)
    return BlockOperator((RING, RING), matrix, nothing, nothing, activation, 1.0, nothing)


def kick_rates(setting: Setting, gains: Array) -> Array:
    """Rate of the slowest mode, 1/s, of `symmetric_ring` on the machine with one alpha for all, for each gain."""
    spec, machine = setting.spec(), setting.build()
    activation, volts = nominal_activation(spec), float(machine.pair.knee)
    known = knowledge_of(machine, spec, activation, "exact", volts)
    out = []
    for gain in gains:
        operator = symmetric_ring(activation, float(gain))
        program = compile_network(operator, known, volts_per_unit=volts, beta=RING_BETA, alpha=ALPHA).program
        loop = compose(machine, program, trimmed_exactly(machine, program))
        _, times, distance = kick(loop, np.zeros((1, machine.channels)), program.channel_of_unit)
        out.append(slowest_decay(times, distance, (12e-6, 24e-6)))
    return np.array(out)


def slowest_decay(times: Array, distance: Array, window: tuple[float, float]) -> float:
    """Rate, 1/s, of the slowest mode in the tail of a decay (times, N), told from one faster mode.

    The tail's two strongest patterns are found by their singular values, the matrix that takes them from one sample
    to the next by least squares; its larger eigenvalue is the slowest mode (P. J. Schmid, J. Fluid Mech. 656, 5
    (2010)).
    """
    inside = (times >= window[0]) & (times <= window[1])
    tail, step = distance[inside], times[1] - times[0]
    # each sample weighs the same, however far the decay has come
    scale = np.linalg.norm(tail, axis=1, keepdims=True)
    patterns = np.linalg.svd(tail / scale, full_matrices=False)[2][:2]
    seen = tail @ patterns.T
    matrix = np.linalg.lstsq(seen[:-1] / scale[:-1], seen[1:] / scale[:-1], rcond=None)[0]
    return float(-np.log(np.abs(np.linalg.eigvals(matrix)).max()) / step)


def kick_row(rates: Array, gains: Array, alpha: float, tau: float) -> Row:
    """Rates (gains,) 1/s of kicked loops against (1 - alpha)(1 - lambda)/tau."""
    want = (1 - alpha) * (1 - gains) / tau
    # an arm's slope at rest differs by 2 % from the activation's: 2 % of lambda; the mean pole by 0.5 %
    allowed = 0.5 + 2.0 * gains / (1 - gains)
    return compared(
        f"decay of a kick to two layers A and A^T, lambda = {', '.join(f'{g:g}' for g in gains)}, alpha = {alpha:.4g}",
        "(1 - alpha)(1 - lambda)/tau, in units of what a slope known to 2 % and a pole to 0.5 % allow",
        (rates / want - 1) / (allowed / PER_CENT),
        np.zeros_like(want),
        rms=PER_CENT,
        maximum=PER_CENT,
        span=1.0,
        span_name=", ".join(f"{a:.1f} %" for a in allowed) + " of the rate",
        reason="rates over the formula " + ", ".join(f"{r:.4f}" for r in rates / want),
        curve=Curve(1 - gains, "1 - lambda", rates * 1e-6, want * 1e-6, "rate (/us)"),
    )


def _kicked_ring(setting: Setting) -> Row:
    machine = setting.build()
    require_channels(machine, 2 * RING, "the ring")
    alpha = float(machine.gains.set_alpha(np.array([ALPHA]))[0])
    tau = 1 / float(2 * np.pi * machine.poles.node.mean())
    return kick_row(kick_rates(setting, GAINS), GAINS, alpha, tau)


CHECKS = (
    Check("loop_bandwidth", _bandwidth, "shared inputs"),
    Check("relaxed_bandwidth", _relaxed_bandwidth, "shared inputs", slow=True),
    Check("settling_of_a_step", _settling, "independent", slow=True),
    Check("kick_of_the_heart", _kicked_heart, "shared inputs", slow=True),
    Check("kick_of_a_symmetric_ring", _kicked_ring, "shared inputs", slow=True),
)
