r"""Trims: what a laboratory corrects on its machine, through the instrument alone.

Three of them, in this order:

1. *Alpha*, channel by channel. With dark modulators and no gradient gain a channel is z = alpha' z + u + o, whose
   fixed point moves by 2u/(1 - alpha') between drives +u and -u. The offset o drops out of the difference, and its
   own part of the mean is the first guess of the offset. A loop that is as slow as 1 - alpha = 0.008 could run away
   before it is trimmed: the first look is taken at less relaxation, where an error of a per cent does no harm.
2. *Offsets*, with the program loaded, since darkness depends on it. All fixed points are brought to 0 V by Newton's
   method on the bias,

   .. math:: \delta b = -\,[\mathrm{diag}(1-\alpha)\,(I - J)]\;\bar z

   with J the ideal network's jacobian at rest: an error of alpha does not move a fixed point that is at 0 V. So
   the loop is relaxed by no more than 0.8 meanwhile. More would amplify the offsets, but with them the flicker that
   hides them; and close to alpha = 1 the loop of a badly known machine is far from the ideal one, or has no stable
   rest at all. Where the method does not converge, it goes on at less alpha still. Then solves are averaged until
   their standard error is well below 0.1 mV, or the time for it on the bench is up; what it came to is in the cost.
3. *At the operating point*: other noise samples run through the machine, and at every diffusion step the bias volts
   of all channels are corrected by the mean error that was read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aocsim.diffusion.methods import Stepping
from aocsim.diffusion.operator import BlockOperator
from aocsim.errors import PhysicsError
from aocsim.instrument import Instrument
from aocsim.program import Program

Array = NDArray[np.float64]

GENTLE = 0.9  # largest alpha of a loop that has not been trimmed
EXCURSION = 1.0  # V, distance of the two fixed points from which alpha is measured
SETTLED_CONSTANTS = 12.0  # time constants that the slowest channel is given in the alpha trim
LONGEST_RECORD = 100_000  # samples
AVERAGED = 64  # samples at a record's end that are averaged there
ALPHA_TRIALS = 4
ALPHA_ROUNDS = 2  # at the wanted alpha, after the gentle one
MISSED = 0.1  # of 1 - alpha, at least ten steps: a channel that the last look finds further off has run away before
OFFSET_TRIALS = 8
OFFSET_ROUNDS = 6  # that a machine takes whose parts are as well known as usual
OFFSET_TARGET = 1e-4  # V: what the trim promises, or says that it has missed
PRECISE = 3e-5  # V rms: standard error that it averages for
MORE_TRIALS = 4  # times as many from one look to the next
MOST_AT_ONCE = 512  # solves of one reading, for the memory's sake
OFFSET_TIME = 2.0  # s on the bench, after which solves are no longer averaged over more than the first few
PATIENCE = 4  # looks within which the corrections must have halved
FOUND = 5e-5  # V rms: corrections below this need not be told from noise
NOISY = 3.0  # standard errors: corrections below this cannot
GIVEN_UP = 5e-3  # V rms: corrections that stay above this are no matter of noise
SLOW = 1.0  # s, of one reading: from here on drift within it is worth a word
REST_CEILINGS = (0.8, 0.5, 0.0)
REST_MARGIN = 0.4  # of the slowest channel's own rate: a loop that is slower does not settle within a record
CHAIN_ROUNDS = 2
JACOBIANS = 2**27  # bytes that are averaged at a time
LOST = (
    0.5  # of the expected excursion: a channel that moves less, or ten times more, does not follow its alpha
)


@dataclass(frozen=True)
class Cost:
    """What a trim took.

    Attributes:
        name: of the trim.
        solves: number of solves.
        seconds: on the bench's clock, loading of weights included.
        left: root mean square of the last correction over the channels, in the trim's unit: a bound for what the
            trim left behind.
        reached: whether the trim has come as close as it promises; false where noise or drift would not let it.
    """

    name: str
    solves: int
    seconds: float
    left: float
    reached: bool = True


@dataclass(frozen=True, eq=False)
class Trims:
    """What the trims have found.

    Attributes:
        alpha: (n,) to be set, so that the program's alpha arrives.
        bias: (n,) V at the DACs, under every drive.
        correction: (steps, n) V, of the trim at the operating point; 0 without it.
        costs: of each trim that was made.
        opened: alpha and bias of the program of Crank-Nicolson's explicit half, where that is a solve of its own; the
            corrections of its solves stand among the others.
    """

    alpha: Array
    bias: Array
    correction: Array
    costs: tuple[Cost, ...] = ()
    opened: Trims | None = None

    @classmethod
    def none(cls, program: Program, steps: int) -> Trims:
        """A machine that is used as it was built."""
        n = len(program.alpha)
        return cls(program.alpha, np.zeros(n), np.zeros((steps, n)))


def trim_electronics(bench: Instrument, program: Program, operator: BlockOperator, steps: int) -> Trims:
    """Trim alpha and offsets of a bench for a program, and leave the program loaded.

    Args:
        bench: in any state; afterwards it holds the program, its gains and the offset trim's bias.
        program: what is to run.
        operator: the ideal operator of one diffusion step, for J.
        steps: diffusion steps, for which nothing is corrected yet.

    Raises:
        PhysicsError: a channel that does not answer to its alpha, or offsets that cannot be nulled.
    """
    found = Trims.none(program, steps)
    alpha, bias, first = trim_alpha(bench, program.alpha)
    bias, second = trim_offsets(bench, program, operator, alpha, bias)
    return replace(found, alpha=alpha, bias=bias, costs=(first, second))


def trim_alpha(bench: Instrument, wanted: Array) -> tuple[Array, Array, Cost]:
    """Find the settings at which the wanted alpha arrives.

    Args:
        bench: its weights go dark and its gradient gain to 0.
        wanted: (n,).

    Returns:
        alpha to be set (n,), bias that nulls the offsets without gradient (n,) V, and the cost.

    Raises:
        PhysicsError: a channel whose fixed point does not follow.
    """
    began, solves = bench.clock, 0
    facts = bench.capabilities
    n = facts.channels
    bench.set_switch("closed")
    bench.load_weights(np.zeros((2, n, n), dtype=np.int64))
    gentle = np.minimum(wanted, GENTLE)
    setting, bias = gentle.copy(), np.zeros(n)
    arrived, offset = _alpha_of(bench, setting, gentle, bias)
    solves += 2 * ALPHA_TRIALS
    bias = -offset
    # the alpha path is a potentiometer and an amplifier: its error is one of gain
    gain = np.divide(arrived, setting, out=np.ones(n), where=setting > 0)
    setting = np.clip(wanted / gain, 0.0, 1.0)
    left = math.nan
    for _ in range(ALPHA_ROUNDS):
        before = bench.clock
        arrived, offset = _alpha_of(bench, setting, wanted, bias)
        solves += 2 * ALPHA_TRIALS
        bias = -offset
        error = np.where(wanted > 0, arrived - wanted, 0.0)
        # what is set is rounded: the correction counts from there, and below half a step there is none
        applied = np.round(setting / facts.alpha_step) * facts.alpha_step
        setting = np.clip(applied - error, 0.0, 1.0)
        left = float(np.sqrt(np.mean(error**2)))
    # a channel that ran between the amplifier's rails looks like one of less alpha, and is corrected too little
    allowed = np.maximum(MISSED * (1.0 - wanted), 10 * facts.alpha_step)
    worst = int(np.argmax(np.abs(error) / allowed))
    if not abs(error[worst]) <= allowed[worst]:
        raise PhysicsError(
            f"alpha trim: channel {worst} does not come to its alpha of {wanted[worst]:.5g}, it was last seen "
            f"{error[worst]:+.2g} off{_slowly(bench.clock - before)}"
        )
    return setting, bias, Cost("alpha", solves, bench.clock - began, left)


def _alpha_of(bench: Instrument, setting: Array, expected: Array, bias: Array) -> tuple[Array, Array]:
    """Alpha that arrives, (n,), and node offsets, (n,) V, without gradient.

    Args:
        bench: with dark modulators.
        setting: (n,) alpha to be set.
        expected: (n,) alpha that should arrive, for the size of the drive and the length of the record.
        bias: (n,) V, around which the drives swing.
    """
    facts = bench.capabilities
    bench.set_gains(setting, 0.0)
    bench.set_drive(np.zeros_like(bias))
    relaxed = np.maximum(1.0 - expected, facts.alpha_step)
    swing = np.minimum(EXCURSION / 2 * relaxed, facts.drive_full_scale / 2)
    # the DACs' codes are known: what they really give is what counts
    high, low = facts.applied(bias + swing), facts.applied(bias - swing)
    slowest = 1.0 / (2 * np.pi * facts.bandwidth * relaxed.min())
    length = math.ceil(SETTLED_CONSTANTS * slowest * facts.sample_rate) + AVERAGED
    if length > LONGEST_RECORD:
        worst = int(np.argmin(relaxed))
        raise PhysicsError(
            f"alpha trim: channel {worst} would take {slowest * SETTLED_CONSTANTS:.3g} s to settle at its alpha of "
            f"{expected[worst]:.8g}"
        )
    # high, low, low, high: what drifts steadily drops out of the difference
    order = np.arange(2 * ALPHA_TRIALS) % 4
    is_high = (order == 0) | (order == 3)
    before = bench.clock
    reading = bench.read(np.where(is_high[:, None], high, low), samples=max(facts.samples, length))
    ends = reading.tail(AVERAGED)
    up, down = ends[is_high].mean(axis=0), ends[~is_high].mean(axis=0)
    moved, asked = up - down, high - low
    if np.any(moved < LOST * asked / relaxed) or np.any(moved > 10 * asked / relaxed):
        ratio = moved * relaxed / asked
        worst = int(np.argmax(np.abs(np.log(np.maximum(ratio, 1e-6)))))
        raise PhysicsError(
            f"alpha trim: channel {worst} moves {ratio[worst]:.3g} times as far as its alpha of "
            f"{expected[worst]:.5g} says{_slowly(bench.clock - before)}"
        )
    open_gain = asked / moved
    return 1.0 - open_gain, (up + down) / 2 * open_gain - (high + low) / 2


def trim_offsets(
    bench: Instrument,
    program: Program,
    operator: BlockOperator,
    alpha: Array,
    bias: Array,
    *,
    loaded: bool = False,
) -> tuple[Array, Cost]:
    """Bring all fixed points of the loaded program to 0 V where nothing drives it.

    Args:
        bench: is left with the program.
        program: what is to run.
        operator: the ideal operator of one diffusion step.
        alpha: (n,) to be set.
        bias: (n,) V, where to start.
        loaded: whether the program's weights are loaded already.

    Returns:
        bias (n,) V and the cost, which says whether 0.1 mV have been reached.

    Raises:
        PhysicsError: fixed points that come nowhere near rest at 0 V.
    """
    began, solves = bench.clock, 0
    facts, channels = bench.capabilities, program.channel_of_unit
    bench.set_switch("closed")
    if not loaded:
        load(bench, program)
    gradient = np.zeros((facts.channels, facts.channels))
    at_rest = operator.jacobian(np.zeros((1, operator.matrix.shape[0])))[0]
    gradient[np.ix_(channels, channels)] = (1.0 - program.alpha[channels])[:, None] * at_rest
    highest, until = _steady_alpha(program.alpha, gradient), bench.clock + OFFSET_TIME
    for ceiling in (one for one in REST_CEILINGS if one <= highest):
        bench.set_gains(np.minimum(alpha, ceiling), program.beta)
        newton = np.diag(1.0 - np.minimum(program.alpha, ceiling)) - gradient
        found = _brought_to_rest(bench, newton, bias, until)
        bias, solves = found.bias, solves + found.solves
        if found.at_rest:
            break
    size = _rms(found.step)
    if not found.at_rest and size > GIVEN_UP:
        worst = int(np.argmax(np.abs(found.step)))
        raise PhysicsError(
            f"offset trim: the fixed points do not come to rest at 0 V, the last correction of channel {worst} "
            f"was {found.step[worst] * 1e3:.3g} mV{_slowly(found.seconds)}"
        )
    bench.set_gains(alpha, program.beta)
    bench.set_drive(bias)
    reached = found.error <= OFFSET_TARGET and size <= max(OFFSET_TARGET, NOISY * found.error)
    return bias, Cost("offset", solves, bench.clock - began, size, reached)


@dataclass(frozen=True, eq=False)
class _Rest:
    """Where Newton's method has come to.

    Attributes:
        bias: (n,) V.
        step: (n,) V, the last correction, which is in it.
        error: V, standard error of that, rms over the channels.
        at_rest: whether the loop has come to where its corrections are noise; false where they do not shrink.
        solves: number of solves.
        seconds: on the bench's clock, of the last reading.
    """

    bias: Array
    step: Array
    error: float
    at_rest: bool
    solves: int
    seconds: float


def _brought_to_rest(bench: Instrument, newton: Array, bias: Array, until: float) -> _Rest:
    """Newton's method on the bias: few solves while it is far off, then as many as tell what is left from noise.

    Args:
        bench: with the gains that `newton` stands for.
        newton: (n, n) from a fixed point to the drive that takes it to 0 V.
        bias: (n,) V, where to start.
        until: s on the bench's clock, after which no more solves are averaged than at first.
    """
    facts = bench.capabilities
    count, solves, sizes = OFFSET_TRIALS, 0, list[float]()
    while True:
        applied, before = facts.applied(bias), bench.clock
        bench.set_drive(applied)
        steps = _solved(bench, count) @ newton.T
        step, error = steps.mean(axis=0), _rms(steps.std(axis=0, ddof=1)) / math.sqrt(count)
        bias, solves, seconds = applied - step, solves + count, bench.clock - before
        sizes.append(_rms(step))
        at_rest = sizes[-1] <= max(FOUND, NOISY * error)
        rest = _Rest(bias, step, error, at_rest, solves, seconds)
        if at_rest:
            # in steps, so that what an earlier look's noise has put into the bias is no larger than this one's
            wanted = min(math.ceil(count * (error / PRECISE) ** 2), MORE_TRIALS * count)
            wanted = min(wanted, int((until - bench.clock) / seconds * count))
            if wanted <= count:
                return rest
            count = wanted
        elif count > OFFSET_TRIALS and bench.clock + seconds > until:
            return replace(rest, at_rest=True)  # as far as fewer solves could tell
        elif len(sizes) > PATIENCE and sizes[-1] > sizes[-1 - PATIENCE] / 2:
            # the loop is not the one that Newton's matrix is of, or drifts faster than it is read
            return rest


def _solved(bench: Instrument, count: int) -> Array:
    """Read-outs of `count` solves without any drive but the bias, (count, n) V.

    Each one is a condition of its own: the host takes it over before the next, so that flicker is independent even
    where trials follow back-to-back.
    """
    found, facts = list[Array](), bench.capabilities
    for first in range(0, count, MOST_AT_ONCE):
        reading = bench.read(np.zeros((min(MOST_AT_ONCE, count - first), facts.channels)))
        start, stop = reading.window
        found.append(reading.voltage[:, 0, start : stop + 1].mean(axis=1))
    return np.concatenate(found)


def _slowly(seconds: float) -> str:
    """What to say of a reading that took so long that offsets have drifted in it; nothing where it did not."""
    if seconds < SLOW:
        return ""
    return (
        f"; a reading took {seconds:.3g} s on the bench, in which offsets drift: let solves follow more closely "
        "(timeline.trial_spacing, parts.slm.flicker_correlation_time, parts.digitiser.transfer_time and rearm_time)"
    )


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _steady_alpha(alpha: Array, gradient: Array) -> float:
    """Largest ceiling on alpha at which the ideal loop rests at 0 V and returns there fast enough.

    A few long diffusion steps make a loop that is bistable without drive, and has no rest at 0 V.

    Args:
        alpha: (n,) wanted.
        gradient: (n, n) slope of the gradient path at rest.
    """
    for ceiling in REST_CEILINGS:
        relaxed = 1.0 - np.minimum(alpha, ceiling)
        slowest = float(np.linalg.eigvals(np.diag(relaxed) - gradient).real.min())
        if slowest >= REST_MARGIN * relaxed.min():
            return ceiling
    return 0.0


def load(bench: Instrument, program: Program) -> None:
    """Load a program's weights."""
    bench.load_weights(np.rint(program.weight * bench.capabilities.grey_levels).astype(np.int64))


def at_operating_point(
    bench: Instrument,
    program: Program,
    trims: Trims,
    stepping: Stepping,
    start: Array,
    *,
    analog: bool = False,
    opened: Program | None = None,
) -> Trims:
    """Correct the bias at each solve of a diffusion by the mean error of other noise samples.

    At each solve the mean over samples of (read-out - ideal fixed point) = e, in network units, is taken off by
    moving the additive term by -(I - J) e, with J the ideal map's mean jacobian: to first order the mean fixed
    point then moves by -e. The samples go on from the corrected read-outs.

    With an analog memory the samples cannot be corrected on their way: whole chains run, each step is judged from
    where its own chain stood before it, and all steps are corrected together, twice.

    Args:
        bench: with its electronics trimmed and the program loaded.
        program: what is to run.
        trims: found so far.
        stepping: method, network and steps.
        start: (samples, d) noise that is used for nothing else. One trial each is enough, since the mean runs over
            all samples.
        analog: the sample goes from step to step in the bench's analog memory, whose pedestal is then trimmed too.
        opened: where the explicit half of a step is a solve of its own, its program, trimmed as `trims.opened` says.
    """
    began = bench.clock
    bench.set_switch("closed")
    bench.set_gains(trims.alpha, program.beta)
    bench.set_drive(trims.bias)
    if analog:
        correction = np.zeros_like(trims.correction)
        for _ in range(CHAIN_ROUNDS):
            correction = correction + _of_chains(bench, program, correction, stepping.operator, start)
        solves = CHAIN_ROUNDS * len(start) * stepping.solves
    else:
        turns = [(program, trims)]
        if opened is not None and trims.opened is not None:
            turns.insert(0, (opened, trims.opened))
        correction, solves = _solve_by_solve(bench, turns, stepping, start), len(start) * stepping.solves
    left = float(np.sqrt(np.mean(correction**2)))
    cost = Cost("operating point", solves, bench.clock - began, left)
    return replace(trims, correction=correction, costs=(*trims.costs, cost))


def _solve_by_solve(
    bench: Instrument, turns: Sequence[tuple[Program, Trims]], stepping: Stepping, start: Array
) -> Array:
    """Corrections (solves, n) V where the host takes the samples from solve to solve, programs taking turns."""
    out, points = [], [start]
    for solve in range(stepping.solves):
        operator, (program, found) = stepping.operator_of(solve), turns[solve % len(turns)]
        if len(turns) > 1:
            load(bench, program)
            bench.set_gains(found.alpha, program.beta)
            bench.set_drive(found.bias)
        x, t = stepping.ask(points)
        read = bench.read(program.drive(operator.additive(t, x)))
        error, correction = error_of(program, operator, read.mean, x, t)
        out.append(correction)
        corrected = (program.units(read.mean) - error)[:, operator.result]
        points.append(stepping.accept(points, corrected))
    return np.array(out)


def _of_chains(
    bench: Instrument, program: Program, correction: Array, operator: BlockOperator, start: Array
) -> Array:
    """What is to be added to corrections (steps, n) V where an analog memory takes the samples from step to step."""
    steps, d = len(correction), start.shape[1]
    carriers, nothing = program.channel_of_unit[:d], np.zeros_like(start)
    times = (np.arange(steps) + 1) / steps
    additive = [operator.additive(t, nothing if step else start) for step, t in enumerate(times)]
    drive = np.stack([program.drive(one) for one in additive], axis=1) + correction
    readings = bench.read_chain(drive, carriers, 1.0 - program.alpha[carriers])
    out, x = [], start
    for t, read in zip(times, readings, strict=True):
        out.append(error_of(program, operator, read.mean, x, float(t))[1])
        x = program.units(read.mean)[:, :d]
    return np.array(out)


def error_of(
    program: Program, operator: BlockOperator, read_out: Array, x: Array, t: float
) -> tuple[Array, Array]:
    """Mean error of one step, (units,), and the drive that takes it off, (n,) V.

    Args:
        program: for units and channels.
        operator: the ideal operator of one step.
        read_out: (samples, n) V.
        x: (samples, d) where the samples stood before the step.
        t: diffusion time at the step's end.
    """
    ideal = operator.fixed_point(x, t)
    error = (program.units(read_out) - ideal).mean(axis=0)
    return error, program.drive(_mean_jacobian(operator, ideal) @ error - error)


def _mean_jacobian(operator: BlockOperator, z: Array) -> Array:
    """Mean over samples z (samples, units) of the operator's jacobian, (units, units), in pieces that memory holds."""
    size = max(1, JACOBIANS // (8 * z.shape[1] ** 2))
    if len(z) <= size:
        return np.asarray(operator.jacobian(z).mean(axis=0))
    total = sum(operator.jacobian(z[begin : begin + size]).sum(axis=0) for begin in range(0, len(z), size))
    return np.asarray(total / len(z))
