r"""Dead time: the method of steps, settling, and the delay at which a loop begins to oscillate."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aocsim.compose import compose, trimmed_exactly
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.solve.integrators import integrate
from aocsim.solve.retarded import root_near, unstable_roots
from aocsim.solve.steady import steady_state
from aocsim.stages import Delay, Pole, Scale
from aocsim.validate.check import Check, Curve, Reference, Row, Setting, compared, within

Array = NDArray[np.float64]

TITLE = "Dead time"

RATE = 2 * np.pi * 5e6
DEAD_TIME = 20e-9  # s, the largest that is reported
ALPHA = 0.97


def retarded_decay(t: Array, gain: float, lag: float) -> Array:
    r"""Solution of :math:`\dot z = -g\,z(t - L)` with z = 1 for t <= 0, by the method of steps.

    .. math:: z(t) = \sum_{k=0}^{\lfloor t/L \rfloor + 1} \frac{(-g)^k\,(t - (k - 1)L)^k}{k!}

    Args:
        t: (times,) s, not negative.
        gain: g, 1/s.
        lag: L, s.
    """
    out = np.ones_like(t)
    for k in range(1, int(t.max() / lag) + 2):
        out += (-gain) ** k * np.maximum(t - (k - 1) * lag, 0.0) ** k / math.factorial(k)
    return out


def critical_delay(gain: float) -> tuple[float, float]:
    r"""Dead time, s, at which z' = r(-z - k z(t - L)) begins to oscillate, and the frequency, Hz.

    On the imaginary axis s + r + r k exp(-sL) = 0 has :math:`\omega = r\sqrt{k^2 - 1}` and
    :math:`L = \arccos(-1/k)/\omega`.

    Args:
        gain: k > 1.
    """
    omega = RATE * np.sqrt(gain**2 - 1)
    return float(np.arccos(-1 / gain) / omega), float(omega / (2 * np.pi))


def _scalar(now: float, then: float, lag: float) -> Loop:
    """z' = r(-z + now z(t) + then z(t - L))."""
    arms = (Arm("now", (Scale(now),)), Arm("then", (Scale(then), Delay(lag))))
    return Loop(1, arms, (Pole(np.array([RATE])),))


def _method_of_steps(setting: Setting) -> Row:
    gain = 0.5 / DEAD_TIME
    loop = _scalar(1.0, -gain / RATE, DEAD_TIME)
    times = np.linspace(0.0, 12 * DEAD_TIME, 241)
    got = integrate(loop, np.ones((1, 1)), np.zeros((1, 1)), times, rtol=1e-8, atol=1e-10).state[0, :, 0]
    want = retarded_decay(times, gain, DEAD_TIME)
    return compared(
        "integration with dead time, twelve delays of 20 ns",
        "method of steps: the polynomials in closed form",
        got,
        want,
        rms=1e-4,
        maximum=1e-3,
        curve=Curve(times * 1e9, "time (ns)", got, want, "z (V)", want_label="method of steps"),
    )


def _oscillation(setting: Setting) -> Row:
    gains = np.array([1.2, 1.5, 2.0, 3.0, 5.0])
    want = np.array([critical_delay(gain)[0] for gain in gains])
    got = np.array([_onset(gain, delay) for gain, delay in zip(gains, want, strict=True)])
    return compared(
        "dead time at which a transient neither grows nor decays, gains -1.2 to -5",
        "characteristic equation s + r + r k exp(-sL) = 0 on the imaginary axis",
        got,
        want,
        rms=0.5,
        maximum=1.0,
        curve=Curve(gains, "loop gain, negative", got * 1e9, want * 1e9, "delay at onset (ns)"),
    )


def _onset(gain: float, near: float) -> float:
    """Dead time at which the amplitude of the integrated loop stays, s; from growth rates at two delays."""
    rates, delays = [], np.array([0.98, 1.02]) * near
    for delay in delays:
        period = 1 / critical_delay(gain)[1]
        times = np.linspace(0.0, 30 * period, 1801)
        z = integrate(
            _scalar(0.0, -gain, delay), np.ones((1, 1)), np.zeros((1, 1)), times, rtol=1e-7, atol=1e-12
        )
        size = np.abs(z.state[0, :, 0])
        # the envelope, period by period, once the start has died away
        peaks = size[1:].reshape(30, 60).max(axis=1)[6:]
        rates.append(np.polyfit(np.arange(len(peaks)) * period, np.log(peaks), 1)[0])
    return float(np.interp(0.0, rates, delays))


@cache
def _machine(setting: Setting, role_entry: str, delay: float) -> Machine:
    text = f"{delay * 1e9:.9g} ns"
    return Machine.build(setting.spec({"poles": {role_entry: text}}), setting.serial)


def relaxed_loop(setting: Setting, entry: str, delay: float) -> Loop:
    """The setting's machine, dark but for its rest light, with one global alpha and dead time in one place."""
    machine = _machine(setting, entry, delay)
    n = machine.channels
    rng = np.random.default_rng(5)
    # a contraction: weak weights of both signs, each in one arm
    wanted = rng.uniform(-0.5, 0.5, (n, n))
    weight = np.stack([np.maximum(wanted, 0), np.maximum(-wanted, 0)])
    program = Program(weight, np.full(n, ALPHA), 5.0, np.arange(n), machine.pair.knee)
    return compose(machine, program, trimmed_exactly(machine, program))


def settling_time(loop: Loop) -> float:
    """Time to 1 % of the way from 0 to the fixed point, s."""
    n = loop.channels
    drive = (1 - ALPHA) * np.random.default_rng(6).uniform(-0.3, 0.3, (1, n))
    times = np.linspace(0.0, 40e-6, 4001)
    path = integrate(loop, np.zeros((1, loop.states)), drive, times, rtol=1e-7, atol=1e-9).state
    fixed = steady_state(loop, path[:, -1], drive)
    left = np.linalg.norm((path - fixed)[0, :, :n], axis=-1)
    left /= left[0]
    last = int(np.flatnonzero(left > 0.01)[-1])
    logs = np.log(left[last : last + 2])
    return float(times[last] + (np.log(0.01) - logs[0]) / (logs[1] - logs[0]) * (times[1] - times[0]))


def _slowed(entry: str, low: float, high: float, expected: float, where: str, reference: Reference) -> Check:
    def run(setting: Setting) -> Row:
        delays = np.array([0.0, 5e-9, 10e-9, 20e-9])
        times = np.array([settling_time(relaxed_loop(setting, entry, delay)) for delay in delays])
        want = times[0] * (1 + (expected - 1) * delays / DEAD_TIME)
        return within(
            f"settling with 20 ns of dead time {where} over settling without",
            "1 + L/tau of a relaxed mode at the node, 1 in the optical branch"
            if expected > 1
            else "1: relaxation is by the alpha path, which has no dead time",
            times[-1] / times[0],
            low,
            high,
            reason=f"settling to 1 % takes {times[0] * 1e6:.2f} us without dead time",
            curve=Curve(delays * 1e9, "dead time (ns)", times * 1e6, want * 1e6, "settling to 1 % (us)"),
        )

    return Check(f"settling_with_{entry}", run, reference, slow=True)


def _machine_oscillates(setting: Setting) -> Row:
    low, high = 1e-9, 200e-9
    while high / low > 1 + 1e-4:
        middle = float(np.sqrt(low * high))
        loop, rest = _unrelaxed(setting, middle)
        now, retarded, _ = loop.linearise_retarded(rest[0], np.zeros(loop.channels))
        low, high = (low, middle) if unstable_roots((now, retarded), loop.lags) else (middle, high)
    onset = float(np.sqrt(low * high))
    delays = onset * np.array([0.985, 0.9925, 1.0, 1.0075, 1.015])
    predicted, found = np.empty(len(delays)), np.empty(len(delays))
    for k, delay in enumerate(delays):
        loop, rest = _unrelaxed(setting, delay)
        now, retarded, _ = loop.linearise_retarded(rest[0], np.zeros(loop.channels))
        predicted[k] = rightmost(loop, now, retarded)
        found[k] = _growth(loop, rest)
    return within(
        "optical dead time at which the machine oscillates: no relaxation, every channel pulls its neighbour down",
        "argument principle on the 48-channel characteristic equation",
        float(np.interp(0.0, found, delays)) * 1e9,
        0.99 * onset * 1e9,
        1.01 * onset * 1e9,
        unit="ns",
        reason="where small deviations of integrated transients neither grow nor decay",
        curve=Curve(
            delays * 1e9,
            "optical dead time (ns)",
            found * 1e-6,
            predicted * 1e-6,
            "growth (1/us)",
            want_label="rightmost root",
        ),
    )


def _unrelaxed(setting: Setting, delay: float) -> tuple[Loop, Array]:
    """A strong inhibitory ring without alpha, and its rest, (1, N) V."""
    machine = _machine(setting, "optical_delay", delay)
    n = machine.channels
    weight = np.zeros((2, n, n))
    weight[1, np.arange(n), (np.arange(n) + 1) % n] = 1.0
    weight[1, np.arange(n), np.arange(n)] = 1.0
    program = Program(weight, np.zeros(n), machine.gains.beta_full_scale, np.arange(n), machine.pair.knee)
    loop = compose(machine, program, trimmed_exactly(machine, program))
    return loop, steady_state(loop, np.zeros((1, loop.states)), np.zeros((1, n)))


def rightmost(loop: Loop, now: Array, retarded: Array, points: int = 24) -> float:
    r"""Real part of the rightmost root of the characteristic equation, 1/s.

    First by collocation of the history at Chebyshev points (D. Breda, S. Maset, R. Vermiglio, SIAM J. Sci. Comput.
    27, 482 (2005)), for one lag; then by Newton's method on the equation itself.
    """
    lags = [lag for lag in loop.lags if lag > 0]
    if len(lags) != 1 or loop.states != loop.channels:
        raise ValueError("for one lag and no poles in the arms")
    n, lag = loop.channels, lags[0]
    place = loop.lags.index(lag)
    still = now + sum(retarded[k] for k in range(len(loop.lags)) if k != place)
    # Chebyshev differentiation (L. N. Trefethen, Spectral Methods in MATLAB, chapter 6) on [-L, 0], x_0 = 0
    k = np.arange(points + 1)
    x = np.cos(np.pi * k / points)
    c = np.where((k == 0) | (k == points), 2.0, 1.0) * (-1.0) ** k
    differences = x[:, None] - x[None, :] + np.eye(points + 1)
    derivative = np.outer(c, 1 / c) / differences
    derivative -= np.diag(derivative.sum(axis=1))
    big = np.kron(derivative * 2 / lag, np.eye(n))
    big[:n] = 0.0
    big[:n, :n], big[:n, -n:] = still, retarded[place]
    values = np.linalg.eigvals(big)
    leading = values[np.argmax(values.real)]
    return root_near((now, retarded), loop.lags, complex(leading)).real


def _growth(loop: Loop, rest: Array) -> float:
    """Rate at which a small deviation grows, 1/s, by the leading mode, which is alone in the second half."""
    start = rest + 1e-9 * np.random.default_rng(3).standard_normal(rest.shape)
    times = np.linspace(0.0, 10e-6, 2001)
    drive = np.zeros((1, loop.channels))
    path = integrate(loop, start, drive, times, rtol=1e-6, atol=1e-15).state[0] - rest[0]
    amplitude = np.sqrt((path**2).sum(axis=1))
    half = len(times) // 2
    return float(np.polyfit(times[half:], np.log(amplitude[half:]), 1)[0])


CHECKS: tuple[Check, ...] = (
    Check("method_of_steps", _method_of_steps, "independent"),
    Check("oscillation_onset", _oscillation, "independent", slow=True),
    _slowed("node_delay", 1.55, 1.70, 1 + DEAD_TIME * RATE, "at the node", "shared inputs"),
    _slowed("optical_delay", 0.97, 1.03, 1.0, "in the optical branch", "independent"),
    Check("machine_oscillation_onset", _machine_oscillates, "shared inputs", slow=True),
)
