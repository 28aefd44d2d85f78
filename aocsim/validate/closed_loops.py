r"""Closed forms of the loop's dynamics: steps, frequency responses and settling.

A pole of -3 dB frequency f answers a step with 1 - exp(-2 pi f t) and a sine with 1/(1 + j f'/f). Around the node's
pole a path of gain alpha moves it to (1 - alpha) f, so that everything takes 1/(1 - alpha) as long and

.. math:: t_{1\,\%} = \frac{\ln 100}{2\pi f\,(1-\alpha)}
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from aocsim.components.microled import MicroLed
from aocsim.compose import Electronics, compose, reaching_at_rest
from aocsim.experiment import settling_time
from aocsim.loop import Arm, Loop
from aocsim.machine import Machine
from aocsim.response import corner, small_signal, sweep
from aocsim.solve.integrators import integrate
from aocsim.solve.steady import steady_state
from aocsim.stages import Scale
from aocsim.validate.check import Check, Curve, Row, Setting, SkippedError, compared
from aocsim.validate.setups import BETA, DARK, MINOR_POLES, heart, program_of, without_weights

Array = NDArray[np.float64]

ALPHAS = np.array([0.0, 0.5, 0.9, 0.965, 0.97, 0.975, 0.98, 0.985])
MICROSECONDS = 1e6
SMALL = 1e-4  # V: the second order of pair and emitter is 3e-5 of the first here
ATTENUATED = 0.01  # of the sweep's amplitude: relaxed channels amplify a drive a hundredfold
SWEPT_CHANNELS = 4


def carrier_bandwidth(a: float, b: float, c: float, thickness: float, area: float, current: float) -> float:
    """(A + 2 B n + 3 C n^2) / 2 pi in Hz at a drive current, n being the real root of the carrier balance."""
    charge = 1.602176634e-19
    roots = np.roots([c, b, a, -current / (charge * thickness * area)])
    n = float(next(root.real for root in roots if abs(root.imag) < 1e-6 * abs(root) and root.real > 0))
    return float((a + 2 * b * n + 3 * c * n * n) / (2 * np.pi))


def led_bandwidth(machine: Machine, arm: int = 0) -> float:
    """`carrier_bandwidth` of a machine's emitters at their bias, Hz."""
    if not isinstance(machine.led, MicroLed):
        raise SkippedError(f"the emitters of {machine.name} are a measured law")
    diode = machine.led.diodes[arm]
    bias = machine.led.bias_current[arm]
    return carrier_bandwidth(diode.a, diode.b, diode.c, diode.thickness, diode.area, bias)


def lags_step(bandwidths: Array, times: Array) -> Array:
    """Step response (times,) of first-order lags one behind the other, (k,) Hz, by the exponential of their chain."""
    rates = 2 * np.pi * np.asarray(bandwidths)
    chain = np.diag(-rates) + np.diag(rates[1:], -1)
    source = np.zeros(len(rates))
    source[0] = rates[0]
    rest = np.linalg.solve(chain, source)
    return np.array([(expm(chain * t) @ rest - rest)[-1] for t in times])


def lags_response(bandwidths: Array, frequencies: Array) -> Array:
    """Product of 1/(1 + j f/f_k), complex (frequencies,)."""
    return np.asarray(np.prod(1 / (1 + 1j * frequencies[:, None] / np.asarray(bandwidths)), axis=1))


def step_row(loop: Loop, bandwidth: Array) -> Row:
    """Step of every channel without weights and alpha against 1 - exp(-2 pi f t), f (n,) Hz."""
    n, size = loop.channels, 0.1
    times = np.linspace(0.0, 200e-9, 41)
    drive = np.full((1, n), size)
    found = integrate(loop, np.zeros((1, loop.states)), drive, times, method="DOP853", rtol=1e-11, atol=1e-14)
    got = found.state[0, :, :n] / size
    want = 1 - np.exp(-2 * np.pi * bandwidth * times[:, None])
    return compared(
        "step response of one pole, all channels",
        "1 - exp(-t/tau), tau = 1/(2 pi f) of the pole as built",
        got,
        want,
        rms=1e-3,
        maximum=1e-3,
        span=1.0,
        span_name="height of the step",
        reason="the tolerance is the integrator's, no physics is between the two",
        curve=Curve(times * 1e9, "time (ns)", got[:, 0], want[:, 0], "node voltage over its final value"),
    )


def _step(setting: Setting) -> Row:
    machine = setting.build()
    return step_row(without_weights(machine), machine.poles.node)


def chain_of(machine: Machine) -> tuple[Loop, NDArray[np.intp], NDArray[np.intp], Array]:
    """Single paths from channel i to channel i + 1 for every other live i: loop, inputs, outputs, lags (paths, 5) Hz.

    Nothing comes back to channel i, so that a drive of i reaches i + 1 through i's node, driver, emitter,
    the other detector's amplifier and node, one behind the other.
    """
    n = machine.channels
    inputs = np.array([i for i in range(0, n - 1, 2) if i not in machine.optics.dead], dtype=np.intp)
    outputs = inputs + 1
    weight = np.zeros((2, n, n))
    weight[0, outputs, inputs] = 1.0
    program = program_of(machine, weight, 0.0, BETA)
    loop = compose(machine, program, Electronics(np.zeros(n), -reaching_at_rest(machine, program)))
    poles = machine.poles
    emitter = poles.led_over_carrier * led_bandwidth(machine)
    lags = np.stack(
        [
            poles.node[inputs],
            poles.driver[inputs],
            np.full(len(inputs), emitter),
            poles.transimpedance[outputs],
            poles.node[outputs],
        ],
        axis=1,
    )
    return loop, inputs, outputs, lags


def cascade_step_row(loop: Loop, inputs: NDArray[np.intp], outputs: NDArray[np.intp], lags: Array) -> Row:
    """A small step on all inputs of `chain_of`, seen at its outputs, against `lags_step`."""
    n = loop.channels
    quiet, drive = np.zeros((1, n)), np.zeros((1, n))
    drive[0, inputs] = SMALL
    rest = steady_state(loop, np.zeros((1, loop.states)), quiet)
    final = steady_state(loop, rest, drive)
    times = np.linspace(0.0, 400e-9, 41)
    found = integrate(loop, rest, drive, times, method="DOP853", rtol=1e-11, atol=1e-15).state[0]
    got = (found - rest)[:, outputs] / (final - rest)[0, outputs]
    want = np.stack([lags_step(one, times) for one in lags], axis=1)
    return compared(
        "step response of node, driver, emitter, detector and node in a row",
        "matrix exponential of five first-order lags",
        got,
        want,
        rms=0.02,
        maximum=0.05,
        span=1.0,
        span_name="height of the step",
        reason=f"a step of {SMALL * 1e3:g} mV has 0.003 % of second order",
        curve=Curve(times * 1e9, "time (ns)", got[:, 0], want[:, 0], "node voltage over its final value"),
    )


def _cascade_step(setting: Setting) -> Row:
    return cascade_step_row(*chain_of(setting.build({**DARK, **MINOR_POLES})))


def cascade_response_row(loop: Loop, inputs: NDArray[np.intp], outputs: NDArray[np.intp], lags: Array) -> Row:
    """Jacobian's frequency response from inputs to outputs of `chain_of` against `lags_response`."""
    n = loop.channels
    quiet = np.zeros((1, n))
    rest = steady_state(loop, np.zeros((1, loop.states)), quiet)[0]
    frequencies = np.geomspace(1e3, 100e6, 26)
    found = small_signal(loop, rest, quiet[0], frequencies)[:, outputs, inputs]
    got = found / found[:1].real
    want = np.stack([lags_response(one, frequencies) for one in lags], axis=1)
    error = np.abs(got / want)
    return compared(
        "frequency response of node, driver, emitter, detector and node in a row",
        "product of 1/(1 + j f/f_k), relative over six decades of its size",
        error,
        np.ones_like(error),
        rms=0.01,
        maximum=0.02,
        span=1.0,
        span_name="response at that frequency",
        curve=Curve(
            frequencies * 1e-6,
            "frequency (MHz)",
            np.abs(got[:, 0]),
            np.abs(want[:, 0]),
            "magnitude",
            log_x=True,
            log_y=True,
        ),
    )


def _cascade_response(setting: Setting) -> Row:
    return cascade_response_row(*chain_of(setting.build({**DARK, **MINOR_POLES})))


def corner_row(loop: Loop, bandwidth: Array) -> Row:
    """-3 dB frequencies of the open path by a sweep of sines in time, against the poles (n,) Hz."""
    channels = np.arange(0, loop.channels, max(1, loop.channels // 12), dtype=np.intp)
    frequencies = np.geomspace(0.4, 1.8, 8) * float(np.median(bandwidth))
    magnitude = sweep(loop, channels, frequencies)
    got = np.array([corner(frequencies, row) for row in magnitude])
    want = bandwidth[channels]
    line = 1 / np.sqrt(1 + (frequencies / want[0]) ** 2)
    return compared(
        "-3 dB frequency of the open path (W = 0, alpha = 0), DAC to node, by a sweep in time",
        "the node's pole as built, channel by channel",
        got,
        want,
        rms=0.05,
        maximum=0.1,
        span=float(np.mean(want)),
        span_name=f"mean pole, {np.mean(want) * 1e-6:.3f} MHz",
        reason=f"mean of {len(channels)} channels {np.mean(got) * 1e-6:.3f} MHz",
        curve=Curve(
            frequencies * 1e-6, "frequency (MHz)", magnitude[0], line, "magnitude", log_x=True, log_y=True
        ),
    )


def _corner(setting: Setting) -> Row:
    machine = setting.build()
    return corner_row(without_weights(machine), machine.poles.node)


def attenuated(loop: Loop, factor: float) -> Loop:
    """The same loop behind an attenuator of its drive: arms raised by 1/factor, their sum with the drive lowered."""
    raised = Scale(1 / factor)
    arms = tuple(Arm(arm.name, (*arm.stages, raised)) for arm in loop.arms)
    return Loop(loop.channels, arms, (Scale(factor), *loop.node), loop.fast_noise)


def closed_loop_row(swept: Loop, linear: Loop, channels: NDArray[np.intp]) -> Row:
    """Sweep of the nonlinear closed loop `swept` at rest against the jacobian's response of `linear`."""
    frequencies = np.geomspace(40e3, 4e6, 7)
    got = sweep(attenuated(swept, ATTENUATED), channels, frequencies)
    quiet = np.zeros(linear.channels)
    rest = steady_state(linear, np.zeros((1, linear.states)), quiet[None])[0]
    found = small_signal(linear, rest, quiet, np.concatenate([[0.0], frequencies]))[:, channels, channels]
    want = np.abs(found[1:] / found[:1]).T
    ratio = got / want
    return compared(
        f"closed-loop response of the compiled heart, {len(channels)} channels, by a sweep in time",
        "C (j w - J)^-1 B with the jacobian at rest",
        ratio,
        np.ones_like(ratio),
        rms=0.5,
        maximum=1.0,
        span=1.0,
        span_name="response at that frequency",
        reason=f"drive of {20 * ATTENUATED:g} mV",
        curve=Curve(
            frequencies * 1e-6, "frequency (MHz)", got[0], want[0], "magnitude", log_x=True, log_y=True
        ),
    )


def heart_loop(setting: Setting) -> tuple[Loop, NDArray[np.intp]]:
    """The heart's closed loop without electronic errors, and channels over the whole range of alpha."""
    setup = heart(setting)
    machine, program = setup.machine, setup.compiled.program
    loop = compose(machine, program, Electronics(program.alpha, -reaching_at_rest(machine, program)))
    used = program.channel_of_unit
    order = used[np.argsort(program.alpha[used], kind="stable")]
    return loop, order[np.linspace(0, len(order) - 1, SWEPT_CHANNELS).round().astype(np.intp)]


def _closed_loop(setting: Setting) -> Row:
    loop, channels = heart_loop(setting)
    return closed_loop_row(loop, loop, channels)


def settling_row(machine: Machine, bandwidth: Array, alphas: Array = ALPHAS) -> Row:
    """Time to 1 % of loops with alpha alone against ln(100) tau/(1 - alpha), channel by channel; bandwidth (n,) Hz."""
    n, got = machine.channels, []
    for alpha in alphas:
        loop = without_weights(machine, alpha)
        drive = np.full((1, n), 0.1 * (1 - alpha))
        times = np.linspace(0.0, 6 / (2 * np.pi * 5e6 * (1 - alpha)), 121)
        start = np.zeros((1, loop.states))
        path = integrate(loop, start, drive, times, method="DOP853", rtol=1e-10, atol=1e-13).state[0, :, :n]
        left = np.abs(path - drive / (1 - alpha)) / np.abs(drive / (1 - alpha))
        got.append(settling_time(left.T, times))
    found = np.array(got)
    want = np.log(100) / (2 * np.pi * bandwidth * (1 - alphas[:, None]))
    ratio = found / want
    return compared(
        "settling to 1 % with alpha from 0 to 0.985, every channel",
        "ln(100) tau/(1 - alpha)",
        ratio,
        np.ones_like(ratio),
        rms=0.1,
        maximum=0.1,
        span=1.0,
        span_name="settling time",
        reason=f"{found[0, 0] * 1e9:.1f} ns without relaxation, {found[-1, 0] * 1e6:.2f} us at {alphas[-1]:g}",
        curve=Curve(
            1 - alphas,
            "1 - alpha",
            found[:, 0] * MICROSECONDS,
            want[:, 0] * MICROSECONDS,
            "settling (us)",
            log_x=True,
            log_y=True,
        ),
    )


def _settling(setting: Setting) -> Row:
    machine = setting.build()
    return settling_row(machine, machine.poles.node)


CHECKS = (
    Check("step_of_one_pole", _step, "shared inputs"),
    Check("step_of_cascaded_poles", _cascade_step, "shared inputs"),
    Check("response_of_cascaded_poles", _cascade_response, "shared inputs"),
    Check("open_path_corner", _corner, "shared inputs"),
    Check("closed_loop_small_signal", _closed_loop, "shared inputs", slow=True),
    Check("settling_with_relaxation", _settling, "shared inputs"),
)
