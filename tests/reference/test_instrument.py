"""The bench's interface: what it shows of a machine, what it hides, and what it refuses."""

import types
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.constants import c, e, h, k
from scipy.optimize import brentq
from scipy.stats import chi2

from aocsim.bench import SimulatedBench
from aocsim.compose import compose, electronics_of
from aocsim.errors import InputError
from aocsim.experiment import SolveSettings
from aocsim.instrument import MEMBERS, Instrument, Pulse, sealed
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.solve.integrators import BATCH_METHODS, SINGLE_METHODS, integrate

RATE = 2 * np.pi * 5e6  # 1/s, the node's pole on its sheet
QUIET = SolveSettings(rtol=1e-8, atol=1e-10, noise=False)
N = 6


@pytest.fixture
def ideal(machine_of):
    """A noiseless bench on linear, matched parts."""
    return SimulatedBench(machine_of("ideal48", 1, channels=N), settings=QUIET)


@pytest.fixture
def real(machine_of):
    return SimulatedBench(machine_of("aoc48", 3, channels=N), seed=5)


def dark(bench):
    n = bench.capabilities.channels
    bench.load_weights(np.zeros((2, n, n), dtype=np.int64))
    return bench


# What the machine does, in closed form


def test_a_dark_channel_relaxes_exponentially(ideal):
    """dz/dt = r [u - (1 - alpha) z]: z = u/(1 - alpha) [1 - exp(-r (1 - alpha) t)], 1e-7 of full signal."""
    alpha = np.array([0.0, 0.3, 0.9, 0.95, 0.99, 0.999])
    volts = np.linspace(-0.3, 0.4, N) * (1 - alpha)
    dark(ideal).set_gains(alpha, 0.0)
    found = ideal.read(volts[None])
    relaxed = 1 - alpha
    expected = volts / relaxed * (1 - np.exp(-RATE * relaxed * found.time[:, None]))
    np.testing.assert_allclose(found.voltage[0, 0], expected, rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.time, np.arange(90) / 4.6875e6, rtol=1e-15)
    assert found.window == (61, 83)  # 13.0 to 17.75 us
    np.testing.assert_allclose(found.mean[0], expected[61:84].mean(axis=0), rtol=0, atol=1e-7)
    np.testing.assert_allclose(found.tail(5)[0], expected[-5:].mean(axis=0), rtol=0, atol=1e-7)


def test_bias_embedding_and_condition_add_up_and_hold_until_changed(ideal):
    dark(ideal).set_drive(np.full(N, 0.1), np.linspace(0, 0.05, N))
    first = ideal.read(np.full((1, N), 0.02)).mean[0]
    np.testing.assert_allclose(first, 0.12 + np.linspace(0, 0.05, N), rtol=0, atol=1e-8)
    np.testing.assert_array_equal(ideal.read(np.full((1, N), 0.02)).mean[0], first)
    ideal.set_drive(np.full(N, 0.1), 0.01)
    np.testing.assert_allclose(ideal.read(np.zeros((2, N))).mean, 0.11, rtol=0, atol=1e-8)


def test_explicit_cuts_alpha_and_open_cuts_both(ideal):
    """u/(1 - alpha) with the loop closed, u with the alpha path cut; dark weights pass no drive to the node."""
    dark(ideal).set_gains(np.full(N, 0.8), 0.0)
    volts = np.linspace(0.05, 0.1, N)[None]
    np.testing.assert_allclose(ideal.read(volts).tail(1), volts / 0.2, rtol=1e-6)
    ideal.set_switch("explicit")
    np.testing.assert_allclose(ideal.read(volts).tail(1), volts, rtol=1e-6)
    ideal.set_switch("open")
    np.testing.assert_allclose(ideal.read(volts).tail(1), 0.0, atol=1e-9)
    ideal.set_switch("closed")
    np.testing.assert_allclose(ideal.read(volts).tail(1), volts / 0.2, rtol=1e-6)


def light_of(sheets, volts):
    """Change of one emitter's light, W, for volts at its pair: every law inverted here, from the sheets' numbers."""
    pair, led = (
        {name: entry.value for name, entry in sheets[role].entries.items()} for role in ("pair", "led")
    )
    two_vt = 2 * k * pair["junction_temperature"] / e
    swing, share = pair["tail_current"] * pair["load_resistance"], pair["input_attenuation"]
    degeneration = pair["tail_current"] * pair["emitter_resistance"] / two_vt
    x = share * volts / two_vt
    y = brentq(lambda y: np.arctanh(y) + degeneration * y - x, -1 + 1e-12, 1 - 1e-12, xtol=1e-15)
    v = swing * y + pair["feedthrough"] * volts
    area, d = np.pi * led["emitter_diameter"] ** 2 / 4, led["active_thickness"]

    def power(current):
        a, b, auger = (led[f"recombination_{which}"] for which in "abc")
        density = brentq(
            lambda n: e * d * area * (a * n + b * n**2 + auger * n**3) / current - 1,
            1e20,
            1e28,
            xtol=1e10,
            rtol=1e-14,
        )
        return led["external_efficiency"] * h * c / led["wavelength"] * area * d * b * density**2

    current = led["bias_current"] + led["driver_transconductance"] * v * (
        1 - led["driver_compression"] * v * v
    )
    return power(current) - power(led["bias_current"])


@pytest.mark.parametrize("volts", [-0.4, 0.05, 0.7])
def test_the_open_loop_shows_the_optical_path(ideal, spec_of, volts):
    """One bright pixel of weight w: node = +- kappa beta G R_f R T_max w T/n P(v(u)), by hand from the sheets, 1e-6."""
    sheets, beta, arm, output, source = spec_of("ideal48", channels=N).parts, 40.0, 1, 4, 2
    ideal.set_switch("open")
    ideal.set_gains(np.full(N, 0.9), beta)
    top, shown = ideal.capabilities.grey_levels, []
    for weight in (0.25, 0.5, 1.0):
        grey = np.zeros((2, N, N), dtype=np.int64)
        grey[arm, output, source] = round(weight * top)
        ideal.load_weights(grey)
        drive = np.zeros((1, N))
        drive[0, source] = volts
        shown.append(ideal.read(drive).mean[0])
    assert np.abs(np.delete(shown, output, axis=1)).max() < 1e-12
    found = np.array(shown)[:, output]
    np.testing.assert_allclose(found / found[-1], [0.25, 0.5, 1.0], rtol=1e-7)

    def sheet(role, entry):
        return sheets[role].entries[entry].value

    path = (
        sheet("optics", "throughput") / N * sheet("slm", "transmission") * sheet("detector", "responsivity")
    )
    gain = sheet("gains", "closed_loop_gain") * beta * sheet("gains", "electrical_gain")
    light = light_of(sheets, volts)
    expected = -gain * sheet("detector", "feedback_resistance") * path * light
    assert found[-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("method", BATCH_METHODS + SINGLE_METHODS)
def test_a_short_pulse_arrives_whole(machine_of, method):
    """50 ns in a record of 19 us: V [1 - e^(-q w)]/(1 - alpha) e^(-q (t - stop)) behind it, q = r (1 - alpha)."""
    settings = replace(QUIET, method=method)
    bench = dark(SimulatedBench(machine_of("ideal48", 1, channels=2), settings=settings))
    alpha = np.array([0.95, 0.99])
    bench.set_gains(alpha, 0.0)
    pulse = Pulse(3.03e-6, 3.08e-6, 0.2)
    found = bench.read(np.zeros((1, 2)), pulse=pulse)
    q, width = RATE * (1 - alpha), pulse.stop - pulse.start
    after = found.time[:, None] >= pulse.stop
    height = pulse.volts / (1 - alpha) * -np.expm1(-q * width)
    expected = np.where(after, height * np.exp(-q * (found.time[:, None] - pulse.stop)), 0.0)
    np.testing.assert_allclose(found.voltage[0, 0], expected, rtol=0, atol=1e-6)
    # the area under the response is the pulse's own, V w/(1 - alpha)
    total = found.voltage[0, 0].sum(axis=0) / bench.capabilities.sample_rate
    gap = np.exp(-q * (found.time[found.time >= pulse.stop][0] - pulse.stop))
    geometric = height * gap / -np.expm1(-q / bench.capabilities.sample_rate) / bench.capabilities.sample_rate
    missing = 1 - np.exp(-q * np.count_nonzero(after) / bench.capabilities.sample_rate)
    np.testing.assert_allclose(total, geometric * missing, rtol=1e-5)


def test_a_longer_record_goes_on_where_the_usual_one_ends(ideal):
    alpha = np.full(N, 0.999)
    dark(ideal).set_gains(alpha, 0.0)
    usual, longer = ideal.read(np.full((1, N), 1e-3)), ideal.read(np.full((1, N), 1e-3), samples=1500)
    assert longer.voltage.shape == (1, 1, 1500, N) and longer.window == usual.window
    np.testing.assert_allclose(longer.voltage[:, :, :90], usual.voltage, rtol=0, atol=1e-8)
    expected = 1 - np.exp(-RATE * 1e-3 * longer.time)
    np.testing.assert_allclose(longer.voltage[0, 0, :, 0], expected, rtol=0, atol=1e-6)


def test_the_clock_counts_loads_solves_and_waits(ideal):
    """Frame 16.7 ms and settling 5 ms; DAC 1 us, record 19.2 us and transfer 1 ms a solve."""
    solve = 1e-6 + 90 / 4.6875e6
    assert ideal.clock == 0
    dark(ideal)
    assert ideal.clock == pytest.approx(21.7e-3, rel=1e-12)
    ideal.set_gains(np.zeros(N), 1.0)
    ideal.set_drive(np.zeros(N))
    ideal.set_switch("explicit")
    assert ideal.clock == pytest.approx(21.7e-3, rel=1e-12)
    found = ideal.read(np.zeros((2, N)))
    np.testing.assert_allclose(found.begun[:, 0], 21.7e-3 + np.array([1e-6, 1e-3 + solve + 1e-6]), rtol=1e-12)
    assert ideal.clock == pytest.approx(21.7e-3 + 2 * (solve + 1e-3), rel=1e-12)
    ideal.wait(10.0)
    assert ideal.clock == pytest.approx(10.0217 + 2 * (solve + 1e-3), rel=1e-12)


def test_a_reading_ends_when_the_next_may_begin(machine_of):
    """Trials 5 ms apart stay so from one reading to the next one."""
    bench = SimulatedBench(machine_of("ideal48", 1, channels=2), settings=QUIET, trial_spacing=5e-3)
    begun = np.concatenate([bench.read(np.zeros((2, 2)), trials=2).begun.ravel() for _ in range(3)])
    np.testing.assert_allclose(np.diff(begun), 5e-3, rtol=1e-9)


def test_offsets_drift_while_the_bench_waits(machine_of):
    """1 mV after an hour on the sheet, 10 mV after 100 hours: 48 channels within chi-squared limits."""
    bench = dark(SimulatedBench(machine_of("aoc48", 3), seed=2))
    bench.set_switch("explicit")
    before, again = (bench.read(np.zeros((1, 48)), trials=4).mean[0] for _ in range(2))
    assert np.abs(again - before).max() < 1e-3
    bench.wait(100 * 3600.0)
    moved = bench.read(np.zeros((1, 48)), trials=4).mean[0] - before
    low, high = np.sqrt(chi2.ppf([1e-4, 1 - 1e-4], 48) / 48) * 10e-3
    assert low < np.sqrt(np.mean(moved**2)) < high


def test_trials_average_white_noise(real):
    """Dark weights, no feedback: 4 trials leave half of one trial's deviation, within 5 standard errors."""
    dark(real).set_switch("explicit")
    one, many = (real.read(np.zeros((50, N)), trials=trials).mean.std(axis=0, ddof=1) for trials in (1, 4))
    assert np.all(one > 0)
    ratio = np.sqrt(np.mean(many**2) / np.mean(one**2))
    assert ratio == pytest.approx(0.5, rel=5 * np.sqrt(2) / np.sqrt(2 * 50 * N))


def test_capabilities_say_what_the_converters_do(machine_of):
    """Clipping and rounding of an 8-bit DAC, seen at the node of a machine without gain."""
    machine = machine_of("ideal48", 1, channels=N, dac={"bits": "8", "full_scale": "1 V"})
    bench = dark(SimulatedBench(machine, settings=QUIET))
    volts = np.array([[-1.7, -0.3, 0.0, 0.0039, 0.5001, 1.2]])
    np.testing.assert_allclose(bench.read(volts).mean, bench.capabilities.applied(volts), rtol=0, atol=1e-8)
    assert bench.capabilities.drive_step == pytest.approx(2 / 256)
    ideal = replace(bench.capabilities, drive_step=0.0)
    np.testing.assert_array_equal(ideal.applied(volts), np.clip(volts, -1, 1))


# The analog memory


def chain(n=N, steps=3, conditions=2):
    volts = 0.1 * np.random.default_rng(4).standard_normal((conditions, steps, n))
    return volts, np.array([3, 0]), np.array([0.2, 0.35])


def loaded(bench):
    n = bench.capabilities.channels
    grey = np.random.default_rng(2).uniform(0, 1, (2, n, n)) * bench.capabilities.grey_levels
    bench.load_weights(np.rint(grey).astype(np.int64))
    bench.set_gains(np.linspace(0.5, 0.9, n), 5.0)
    bench.set_drive(np.full(n, 0.01))
    return bench


@pytest.mark.parametrize(
    ("changes", "tolerance"), [({}, 1e-7), ({"dac": {"bits": "12", "full_scale": "2 V"}}, 2e-2)]
)
def test_a_chain_is_its_steps_with_the_held_volts_given_by_hand(machine_of, changes, tolerance):
    """What a carrier showed at the last instant of the window comes back times its gain, unrounded."""
    bench = loaded(SimulatedBench(machine_of("ideal48", 1, channels=N, **changes), settings=QUIET))
    volts, carriers, gain = chain()
    found = bench.read_chain(volts, carriers, gain)
    held = np.zeros((2, len(carriers)))
    for step, reading in enumerate(found):
        drive = volts[:, step].copy()
        drive[:, carriers] += gain * held
        by_hand = bench.read(drive)
        np.testing.assert_allclose(reading.voltage, by_hand.voltage, rtol=0, atol=tolerance)
        held = reading.voltage[:, 0, by_hand.window[1]][:, carriers]
    assert np.abs(held).max() > 0.1
    assert all(np.all(a.begun < b.begun) for a, b in pairwise(found))


def test_a_pedestal_shifts_the_next_step(machine_of):
    """Without light a pedestal p behind a gain 1 - alpha moves the next fixed point by p, and only on carriers."""
    alpha = np.linspace(0.5, 0.8, N)
    volts, carriers, _ = chain(steps=2)
    means = []
    for pedestal in ("0 mV", "5 mV"):
        machine = machine_of("ideal48", 1, channels=N, memory={"pedestal": pedestal})
        bench = dark(SimulatedBench(machine, settings=QUIET))
        bench.set_gains(alpha, 0.0)
        means.append([reading.mean for reading in bench.read_chain(volts, carriers, 1 - alpha[carriers])])
    shift = np.array(means[1]) - np.array(means[0])
    expected = np.zeros((2, 2, N))
    expected[1, :, carriers] = 5e-3
    np.testing.assert_allclose(shift, expected, rtol=0, atol=1e-8)


def test_trials_of_a_chain_are_chains_of_their_own(real):
    volts, carriers, gain = chain()
    found = loaded(real).read_chain(volts, carriers, gain, trials=3)
    assert len(found) == 3
    assert all(reading.voltage.shape == (2, 3, 90, N) and reading.begun.shape == (2, 3) for reading in found)
    assert np.all(np.diff([reading.begun for reading in found], axis=0) > 0)
    assert not np.array_equal(found[-1].voltage[:, 0], found[-1].voltage[:, 1])


# What it refuses

ZERO = np.zeros(N)
REFUSALS = [
    ("grey", "load_weights", (np.zeros((2, N, N)),), {}),
    ("grey", "load_weights", (np.zeros((N, N), dtype=int),), {}),
    ("grey", "load_weights", (np.full((2, N, N), 256),), {}),
    ("grey", "load_weights", (np.full((2, N, N), -1),), {}),
    ("alpha", "set_gains", (np.zeros(N - 1), 1.0), {}),
    ("alpha", "set_gains", (np.full(N, 1.01), 1.0), {}),
    ("alpha", "set_gains", (np.full(N, np.nan), 1.0), {}),
    ("beta", "set_gains", (ZERO, -1.0), {}),
    ("beta", "set_gains", (ZERO, 1e6), {}),
    ("beta", "set_gains", (ZERO, np.nan), {}),
    ("switch", "set_switch", ("opne",), {}),
    ("bias", "set_drive", (np.zeros((1, N)),), {}),
    ("bias", "set_drive", (np.full(N, np.inf),), {}),
    ("bias", "set_drive", (["a"] * N,), {}),
    ("embedding", "set_drive", (ZERO, np.zeros(2)), {}),
    ("embedding", "set_drive", (ZERO, np.nan), {}),
    ("condition", "read", (ZERO,), {}),
    ("condition", "read", (np.zeros((0, N)),), {}),
    ("condition", "read", (np.zeros((1, N + 1)),), {}),
    ("condition", "read", (np.full((1, N), np.nan),), {}),
    ("trials", "read", (np.zeros((1, N)),), {"trials": 0}),
    ("trials", "read", (np.zeros((1, N)),), {"trials": 1.5}),
    ("samples", "read", (np.zeros((1, N)),), {"samples": 80}),
    ("samples", "read", (np.zeros((1, N)),), {"samples": 90.5}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": Pulse(-1e-6, 1e-6, 0.1)}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": Pulse(18e-6, 20e-6, 0.1)}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": Pulse(2e-6, 1e-6, 0.1)}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": Pulse(1e-6, 2e-6, np.nan)}),
    ("condition", "read_chain", (np.zeros((1, N)), np.array([0]), np.ones(1)), {}),
    ("carriers", "read_chain", (np.zeros((1, 2, N)), np.array([N]), np.ones(1)), {}),
    ("carriers", "read_chain", (np.zeros((1, 2, N)), np.array([-1]), np.ones(1)), {}),
    ("gain", "read_chain", (np.zeros((1, 2, N)), np.array([0]), np.ones(2)), {}),
    ("trials", "read_chain", (np.zeros((1, 2, N)), np.array([0]), np.ones(1)), {"trials": 0}),
    ("wait", "wait", (-1.0,), {}),
    ("wait", "wait", (np.inf,), {}),
    # of another type than numbers, or numbers that numpy would take for others
    ("grey", "load_weights", ([[1], [1, 2]],), {}),
    ("grey", "load_weights", (None,), {}),
    ("alpha", "set_gains", (None, 1.0), {}),
    ("alpha", "set_gains", ("0.5", 1.0), {}),
    ("alpha", "set_gains", (ZERO + 0.5j, 1.0), {}),
    ("alpha", "set_gains", (np.zeros(N, dtype=bool), 1.0), {}),
    ("beta", "set_gains", (ZERO, None), {}),
    ("beta", "set_gains", (ZERO, "3"), {}),
    ("beta", "set_gains", (ZERO, np.ones(N)), {}),
    ("beta", "set_gains", (ZERO, 1j), {}),
    ("beta", "set_gains", (ZERO, True), {}),
    ("switch", "set_switch", (None,), {}),
    ("switch", "set_switch", (["open"],), {}),
    ("bias", "set_drive", (None,), {}),
    ("embedding", "set_drive", (ZERO, "x"), {}),
    ("embedding", "set_drive", (ZERO, None), {}),
    ("embedding", "set_drive", (ZERO, [1.0, [2.0]]), {}),
    ("condition", "read", ([[0.0] * N, [0.0]],), {}),
    ("condition", "read", (None,), {}),
    ("condition", "read", ("a",), {}),
    ("trials", "read", (np.zeros((1, N)),), {"trials": True}),
    ("trials", "read", (np.zeros((1, N)),), {"trials": None}),
    ("samples", "read", (np.zeros((1, N)),), {"samples": "90"}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": (1e-6, 2e-6, 0.1)}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": Pulse(1e-6, 2e-6, None)}),
    ("pulse", "read", (np.zeros((1, N)),), {"pulse": Pulse("a", 2e-6, 1)}),
    ("carriers", "read_chain", (np.zeros((1, 2, N)), [[0], [1, 2]], np.ones(1)), {}),
    ("gain", "read_chain", (np.zeros((1, 2, N)), np.array([0]), None), {}),
    ("wait", "wait", ("1 s",), {}),
    ("wait", "wait", (None,), {}),
    ("wait", "wait", (True,), {}),
]


@pytest.mark.parametrize(
    ("key", "call", "args", "options"), REFUSALS, ids=[f"{i}-{key}" for i, (key, *_) in enumerate(REFUSALS)]
)
def test_bad_input_is_refused_by_name(real, key, call, args, options):
    with pytest.raises(InputError) as refused:
        getattr(real, call)(*args, **options)
    assert refused.value.key == key


def test_a_clock_that_would_run_out_is_refused_before_anything_is_solved(machine_of):
    """2^32 s, whether by waiting, by loading or by trials that are far apart."""
    machine, solved = machine_of("aoc48", 3, channels=N), []
    bench = SimulatedBench(machine, trial_spacing=1e6, progress=solved.append)
    bench.wait(4.2e9)
    for key, ask in (
        ("condition", lambda: bench.read(np.zeros((100, N)))),
        ("condition", lambda: bench.read_chain(np.zeros((100, 2, N)), np.array([0]), np.ones(1))),
        ("wait", lambda: bench.wait(1e8)),
    ):
        with pytest.raises(InputError, match="longer than a session may last") as refused:
            ask()
        assert refused.value.key == key
    assert bench.clock == 4.2e9 and not solved
    bench.wait(2.0**32 - 1 - 4.2e9 - 1e-3)
    with pytest.raises(InputError, match="grey: longer"):
        dark(bench)


def test_refusals_change_nothing(machine_of):
    machine = machine_of("aoc48", 3, channels=N)
    refusing, other = (loaded(SimulatedBench(machine, seed=5)) for _ in range(2))
    for _, call, args, options in REFUSALS:
        with pytest.raises(InputError):
            getattr(refusing, call)(*args, **options)
    assert refusing.clock == other.clock
    one, two = (bench.read(np.zeros((1, N))).voltage for bench in (refusing, other))
    np.testing.assert_array_equal(one, two)


def test_an_unknown_position_of_the_switch_gets_the_nearest_name(real):
    with pytest.raises(InputError, match=r"opne.*did you mean 'open'.*closed, explicit, open"):
        real.set_switch("opne")


def test_a_pulse_is_refused_while_nothing_drives_the_node(real):
    real.set_switch("open")
    with pytest.raises(InputError, match="pulse"):
        real.read(np.zeros((1, N)), pulse=Pulse(1e-6, 2e-6, 0.1))


# What it hides

LEAD_ANYWHERE = {"__globals__", "__builtins__", "f_back", "f_globals", "f_builtins"}
PLAIN = (str, bytes, int, float, complex, bool, type(None), np.generic, np.dtype)
ENDS = (*PLAIN, types.ModuleType, types.CodeType)
BOUND = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
INNER = ("__self__", "__func__", "__closure__", "__defaults__", "__kwdefaults__", "__dict__", "__wrapped__")


def reachable(*roots):
    """Everything that attributes lead to, public and private, in containers, closures and tracebacks.

    Nothing is called but properties. A function's globals are left out: from a module all of Python can be reached.
    """
    found, waiting = {}, list(roots)
    while waiting:
        item = waiting.pop()
        if id(item) in found or isinstance(item, ENDS):
            continue
        if isinstance(item, type) and not item.__module__.startswith("aocsim"):
            continue
        found[id(item)] = item
        if isinstance(item, np.ndarray):
            waiting.append(item.base)
            continue
        if isinstance(item, dict | types.MappingProxyType):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            waiting += list(item)
        # every look at a method makes another one: what it is bound to is what counts
        named = (
            INNER if isinstance(item, (*BOUND, types.FunctionType)) else {*dir(item), *INNER} - LEAD_ANYWHERE
        )
        for name in named:
            try:
                inside = getattr(item, name)
            except Exception:
                continue
            waiting.append(inside if not isinstance(inside, types.MethodWrapperType) else None)
    return list(found.values())


def arrays_in(*roots):
    """Arrays that are not the same number throughout, by shape and bytes."""
    arrays = [item for item in reachable(*roots) if isinstance(item, np.ndarray)]
    return {(a.shape, a.tobytes()) for a in arrays if len(np.unique(a)) > 1}


def refusal_of(bench):
    try:
        bench.read(np.zeros((1, 1)))
    except InputError as error:
        # the first frame is this one, which knows the bench anyway
        return [error, error.__traceback__.tb_next]
    raise AssertionError("not refused")


def used(bench):
    """A bench that has worked, and what it gave away."""
    loaded(bench)
    reading = bench.read(np.zeros((2, N)), trials=2)
    volts, carriers, gain = chain()
    return [bench, reading, bench.read_chain(volts, carriers, gain), bench.capabilities, *refusal_of(bench)]


def noiseless(machine):
    """The transient of the first condition that `used` reads, before noise and converter."""
    grey = np.rint(np.random.default_rng(2).uniform(0, 1, (2, N, N)) * machine.slm.levels)
    alpha, beta = machine.gains.set_alpha(np.linspace(0.5, 0.9, N)), machine.gains.set_beta(5.0)
    program = Program(grey / machine.slm.levels, alpha, beta, np.arange(N), 1.0)
    loop = compose(machine, program, electronics_of(machine, alpha, beta))
    drive = machine.dac.response(np.full((1, N), 0.01))
    return integrate(loop, np.zeros((1, loop.states)), drive, machine.digitiser.times).state[0, :, :N]


def as_built(machine):
    """Arrays of all parts but converter and digitiser, whose data sheets everybody may read."""
    parts = arrays_in(
        machine.pair, machine.led, machine.optics, machine.slm, machine.detector, machine.gains, machine.poles,
        machine.memory,
    )  # fmt: skip
    for known in (machine.optics.row, machine.optics.column, machine.optics.crosstalk, machine.optics.structure,
                  machine.gains.alpha_gain, machine.gains.offset, machine.gains.offset_per_beta,
                  machine.slm.inverse_contrast, machine.memory.pedestal, machine.pair.swing):  # fmt: skip
        assert (known.shape, known.tobytes()) in parts
    return parts


def test_a_sealed_bench_leads_to_nothing_of_the_machine(real):
    """Graph walk from the bench, its methods, its readings and its refusals."""
    machine = real._machine
    gives = used(sealed(real))
    found = reachable(*gives)
    assert len(found) > 50
    assert not [item for item in found if isinstance(item, Machine | SimulatedBench)]
    assert not [item for item in found if type(item).__module__.startswith("aocsim.components")]
    assert not arrays_in(*gives) & as_built(machine)
    reading = gives[1]
    clean = noiseless(machine)
    assert np.abs(reading.voltage[0, 0] - clean).max() < 0.05  # it is the same transient
    near = [
        a for a in found
        if isinstance(a, np.ndarray) and a.shape[-2:] == clean.shape and np.any(np.ptp(a - clean, axis=(-2, -1)) < 1e-5)
    ]  # fmt: skip
    assert not near


def test_the_same_walk_finds_the_machine_behind_an_open_bench(real):
    """So the test above can fail: bench, parts, frames of the refusal's traceback."""
    machine = real._machine
    gives = used(real)
    assert as_built(machine) <= arrays_in(real)
    assert any(isinstance(item, Machine) for item in reachable(gives[-1]))


@pytest.mark.parametrize(
    "leak", [lambda b: b.read, lambda b: lambda: b, lambda b: {"a": (b,)}, lambda b: [lambda x=b: x]]
)
def test_the_walk_follows_methods_closures_containers_and_defaults(real, leak):
    assert any(item is real._machine for item in reachable(leak(real)))


def test_a_sealed_bench_shows_the_interface_alone(real):
    bench = sealed(real)
    assert isinstance(bench, Instrument)
    assert {name for name in dir(bench) if not name.startswith("__")} == MEMBERS
    assert {name for name in dir(Instrument) if not name.startswith("_")} == MEMBERS
    assert not hasattr(bench, "__dict__")
    for name in (*MEMBERS, "_machine", "note", "__class__"):
        with pytest.raises(AttributeError):
            setattr(bench, name, None)
    for name in MEMBERS:
        with pytest.raises(AttributeError):
            delattr(bench, name)


def test_no_other_name_passes_the_seal(real):
    """Not even from the closures of its methods."""
    ask = {name: cell.cell_contents for name, cell in closure_of(type(sealed(real)).wait).items()}["ask"]
    assert ask("clock") == 0
    with pytest.raises(AttributeError, match="_machine"):
        ask("_machine")


def closure_of(function):
    return dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))


def test_a_sealed_bench_measures_what_the_bench_measures(machine_of):
    machine = machine_of("aoc48", 3, channels=N)
    open_bench, closed_bench = (SimulatedBench(machine, seed=5) for _ in range(2))
    for a, b in zip(used(open_bench)[1:3], used(sealed(closed_bench))[1:3], strict=True):
        for one, other in zip(
            a if isinstance(a, tuple) else (a,), b if isinstance(b, tuple) else (b,), strict=True
        ):
            np.testing.assert_array_equal(one.voltage, other.voltage)
            np.testing.assert_array_equal(one.begun, other.begun)
    assert open_bench.clock == closed_bench.clock
