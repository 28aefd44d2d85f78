"""The digital twin against a second implementation, against plain iteration, and against the machine built from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

import aocsim.twin
from aocsim.components.pair_measured import sigmoid
from aocsim.compose import compose, electronics_of, photocurrent_matrix
from aocsim.errors import InputError, PhysicsError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.solve.steady import require_stable, steady_state
from aocsim.twin import Twin
from aocsim.twin.fit import MEASURED_SLOPE, measurement_of
from aocsim.twin.format import measurement
from aocsim.twin.held import folded_keys
from aocsim.twin.model import StaticMap, point_near
from aocsim.validate.reference_twin import reference_step


@pytest.fixture(scope="module")
def twin(twin_file):
    return aocsim.twin.load(twin_file)


def case(n, seed):
    """Random weights, batch of states, biases and inputs, alpha and beta."""
    rng = np.random.default_rng(seed)
    return {
        "z": rng.uniform(-2.0, 2.0, (3, n)),
        "weights": rng.standard_normal((n, n)) * rng.uniform(0.1, 10),
        "bias": rng.uniform(-1.0, 1.0, (3, n)),
        "x": rng.uniform(-1.0, 1.0, (3, n)),
        "alpha": rng.uniform(0.0, 0.6, n),
        "beta": float(rng.uniform(2.0, 18.0)),
    }


def by_reference(found, z, weights, bias, x, alpha, beta, direct_light):
    rows = [
        reference_step(
            found, *(a.tolist() for a in (z[k], weights, bias[k], x[k], alpha)), beta, direct_light
        )
        for k in range(len(z))
    ]
    return np.array(rows)


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_step_against_the_second_implementation(twin, seed, direct):
    """1e-13 V: the same sums in another order."""
    given = case(twin.channels, seed)
    got = twin.step(**given, direct_light=direct)
    want = by_reference(twin.measurement, **given, direct_light=direct)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
    assert np.ptp(want) > 1.0


@pytest.mark.parametrize("n", [2, 5, 16])
def test_step_of_other_files_and_channel_counts(measured_values, n):
    for seed in range(4):
        other = Twin(measurement(measured_values(seed, n), "made up"))
        given = case(n, seed)
        want = by_reference(other.measurement, **given, direct_light=seed % 2 == 1)
        got = other.step(**given, direct_light=seed % 2 == 1)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


def test_step_holds_far_beyond_any_machine(measured_values):
    """Volts and exponents at which |u|^c overflows: the law is a sign there, not a nan."""
    values = measured_values(3, 6)
    for exponent in (1e-3, 0.3, 60.0, 1e4):
        coefficients = [1e3, 0.0, exponent, 0.2, 0.0, 1e-6]
        other = Twin(measurement({**values, "tanh_sigmoid_coeffs": coefficients}, "made up"))
        given = case(6, 4) | {"z": np.array([[1e9, -1e9, 1.0, -1.0, 0.0, 1e-9]])}
        given |= {"bias": given["bias"][:1], "x": given["x"][:1]}
        want = by_reference(other.measurement, **given, direct_light=False)
        np.testing.assert_allclose(other.step(**given), want, rtol=1e-12, atol=1e-9)


def test_only_the_weights_ratio_counts_and_all_may_be_zero(twin):
    given = case(twin.channels, 5)
    out = twin.step(**given)
    np.testing.assert_allclose(
        twin.step(**given | {"weights": 7.5 * given["weights"]}), out, rtol=0, atol=1e-14
    )
    zero = np.zeros((twin.channels, twin.channels))
    dark = twin.step(**given | {"weights": zero})
    want = by_reference(twin.measurement, **given | {"weights": zero}, direct_light=False)
    np.testing.assert_allclose(dark, want, rtol=0, atol=1e-13)
    assert np.abs(dark - out).max() > 0.01


def test_scalar_vector_and_batch_arguments_are_the_same(twin):
    given = case(twin.channels, 6)
    n = twin.channels
    wide = given | {
        "bias": np.full((3, n), 0.2),
        "x": np.tile(np.arange(n) / n, (3, 1)),
        "alpha": np.full(n, 0.3),
    }
    short = given | {"bias": 0.2, "x": np.arange(n) / n, "alpha": 0.3}
    np.testing.assert_array_equal(twin.step(**wide), twin.step(**short))


def test_the_drive_is_clipped_as_a_sum(twin):
    """x + bias is clipped, neither alone: 2 V and -2 V leave nothing, 2 V and 2 V the limit."""
    given = case(twin.channels, 7)
    none = twin.step(**given | {"bias": 0.0, "x": 0.0})
    np.testing.assert_array_equal(twin.step(**given | {"bias": 2.0, "x": -2.0}), none)
    high = twin.measurement.array("deq_input_min_max")[1]
    both = twin.step(**given | {"bias": 2.0, "x": 2.0})
    np.testing.assert_allclose(both - none, high, rtol=0, atol=1e-14)


def test_fixed_point_against_plain_iteration(twin):
    given = case(twin.channels, 8)
    z = given.pop("z")
    given["alpha"], given["beta"] = 0.3, 3.0
    for _ in range(400):
        z = twin.step(z, **given)
    found = twin.fixed_point(**given)
    assert found.shape == z.shape
    np.testing.assert_allclose(found, z, rtol=0, atol=1e-12)


def test_fixed_point_at_strong_relaxation(twin):
    """1 - alpha = 0.004: plain iteration needs thousands of steps; the residual tells how good this one is."""
    given = case(twin.channels, 9)
    z = given.pop("z")
    small = {"weights": given["weights"], "bias": 0.01 * given["bias"], "alpha": 0.996, "beta": 0.03}
    found = twin.fixed_point(**small)
    assert found.shape == z.shape
    assert np.abs(twin.step(found, **small) - found).max() < 1e-12
    assert np.ptp(found) > 0.1


def test_without_a_fixed_point_the_refusal_says_how_far_it_came(twin):
    weights = np.zeros((twin.channels, twin.channels))
    with pytest.raises(PhysicsError, match=r"number \d+ of the batch: residual .* V after \d+ iterations"):
        twin.fixed_point(weights, bias=0.5, alpha=1.0, beta=0.0)  # nothing pulls back
    given = case(twin.channels, 1)
    with pytest.raises(PhysicsError, match="after 1 iterations"):
        twin.fixed_point(given["weights"], bias=0.1, alpha=0.5, beta=5.0, max_iter=1)


def test_a_fixed_point_that_attracts_nothing_is_refused(twin):
    weights = np.zeros((twin.channels, twin.channels))
    with pytest.raises(PhysicsError):
        twin.fixed_point(weights, bias=0.0, alpha=1.2, beta=0.0)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"z": np.zeros(48)}, "z"),
        ({"z": np.zeros((3, 47))}, "z"),
        ({"weights": np.zeros((47, 48))}, "weights"),
        ({"weights": np.full((48, 48), np.nan)}, "weights"),
        ({"bias": np.zeros(47)}, "bias"),
        ({"bias": np.zeros((3, 1))}, "bias"),
        ({"bias": np.zeros((2, 48))}, "bias and x"),
        ({"x": np.inf}, "x"),
        ({"alpha": np.zeros((3, 48))}, "alpha"),
        ({"alpha": np.nan}, "alpha"),
        ({"beta": np.ones(48)}, "beta"),
        ({"beta": "much"}, "beta"),
        ({"z": np.zeros((3, 48)) * 1j}, "z"),
    ],
)
def test_wrong_arguments_are_refused_by_name(twin, change, key):
    assert twin.channels == 48
    with pytest.raises(InputError, match=f"^{key}: "):
        twin.step(**case(48, 1) | change)


def loaded(twin, weights):
    """The commanded weights (2, n, n) as [arm, output, input], unrounded."""
    share = weights / np.abs(weights).max()
    return np.stack([np.maximum(share, 0.0).T, np.maximum(-share, 0.0).T])


def equilibrium(machine, weight, drive, alpha, beta):
    n = machine.channels
    program = Program(weight, alpha, beta, np.arange(n), 1.0)
    loop = compose(machine, program, electronics_of(machine, alpha, beta))
    state = steady_state(loop, np.zeros((len(drive), loop.states)), drive, 1e-10)
    assert np.abs(loop.rhs(state, drive)).max() / loop.fastest_rate < 1e-9
    assert require_stable(loop, state, drive, "machine").real.max() < 0
    return state[:, :n]


@pytest.mark.parametrize("direct", [False, True])
def test_the_machine_of_the_twin_rests_where_the_twin_does(twin, direct):
    """1e-6 V over some volts, without rounding: what is left are the tables of the laws."""
    machine = twin.machine(direct_light=direct)
    low, high = machine.node.linear_low, machine.node.linear_high
    for seed in range(3):
        given = case(twin.channels, 20 + seed)
        drive = 0.3 * given["bias"]
        want = twin.fixed_point(
            given["weights"], bias=drive, alpha=given["alpha"], beta=given["beta"], direct_light=direct
        )
        assert want.min() > low and want.max() < high  # the twin knows no saturation
        assert np.ptp(want) > 0.5
        found = equilibrium(machine, loaded(twin, given["weights"]), drive, given["alpha"], given["beta"])
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)
        assert np.abs(found - want).max() < 1e-8  # what is reached


def test_machines_of_other_files_rest_where_their_twins_do(measured_values):
    for seed, n in ((11, 48), (12, 16), (13, 5)):
        other = Twin(measurement(measured_values(seed, n), "made up"))
        given = case(n, seed)
        drive = 0.3 * given["bias"]
        beta = min(given["beta"], 8.0)
        want = other.fixed_point(given["weights"], bias=drive, alpha=given["alpha"], beta=beta)
        found = equilibrium(other.machine(), loaded(other, given["weights"]), drive, given["alpha"], beta)
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)


def test_direct_light_changes_the_machine_as_it_changes_the_twin(twin):
    given = case(twin.channels, 30)
    drive = 0.3 * given["bias"]
    options = {"bias": drive, "alpha": given["alpha"], "beta": given["beta"]}
    without, with_it = (twin.fixed_point(given["weights"], **options, direct_light=d) for d in (False, True))
    assert np.abs(without - with_it).max() > 1e-5  # ten times what machine and twin may differ by


def test_the_scale_of_the_light_is_that_of_a_machine(twin):
    """Volts in, volts out to 1e-14, with a few microamperes of direct current on a detector."""
    spec, machine = twin.spec(), twin.machine()
    factors = (
        machine.detector.responsivity,
        machine.detector.feedback_resistance,
        machine.gains.electrical_gain,
        float(machine.optics.throughput[0]),
        float(spec.parts["led"].value("unit_light")),
    )
    assert abs(np.prod(factors) - 1) < 1e-14
    n = twin.channels
    light = machine.optics.fan() * machine.slm.response(np.full((2, n, n), 0.25))
    current = machine.detector.responsivity * machine.led.bias_power(0) * light.sum(axis=2)
    assert 1e-6 < current.mean() < 1e-5


def test_the_dead_input_is_the_one_whose_rows_are_zero(twin):
    rows = twin.row
    dead = [i for i in range(twin.channels) if rows[0, i] == 0 and rows[1, i] == 0]
    assert list(twin.machine().optics.dead) == dead
    assert len(dead) == 1


def test_measured_laws_do_not_depend_on_the_serial(twin):
    """Only what has not been measured (alpha path, poles) is drawn."""
    one, two = (twin.machine(serial=serial) for serial in (1, 2))
    np.testing.assert_array_equal(one.optics.fan(), two.optics.fan())
    np.testing.assert_array_equal(one.gains.closed_loop_gain, two.gains.closed_loop_gain)
    assert not np.array_equal(one.gains.alpha_gain, two.gains.alpha_gain)
    assert not np.array_equal(one.poles.node, two.poles.node)


def test_sheets_of_measured_laws_give_the_parameters_back(twin):
    back, residuals = measurement_of(twin.spec(), 3, "back")
    assert residuals == ()
    assert back.values == twin.measurement.values


ALL_CHANGES = {
    "led": {"unit_light": "0.025 W", "temperature_rise": "5 K"},
    "detector": {"output_efficiency.spread": "2 %", "bias_light_rejection": "0.95"},
    "optics": {
        "pixel_structure": "0.9",
        "direct_share": "0.7",
        "throughput": "0.03",
        "darkness_light": "0.04 W",
    },
    "gains": {"electrical_gain": "0.52"},
    "digitiser": {"input_scale": "1.7"},
    "dac": {"full_scale": "1.1 V"},
}


@pytest.mark.parametrize(
    "changes",
    [
        {"led": {"unit_light": "0.025 W"}},
        {"led": {"temperature_rise": "10 K"}},
        {"optics": {"throughput": "0.03"}},
        {"optics": {"darkness_light": "0.03 W"}},
        {"optics": {"pixel_structure": "1.1", "direct_share": "1"}},
        {"optics": {"direct_share": "0.5"}},
        {"optics": {"pixel_structure.spread": "3 %"}},
        {"gains": {"electrical_gain": "0.5"}},
        {"detector": {"responsivity": "0.25 A/W"}},
        {"detector": {"feedback_resistance": "9 kohm"}},
        {"detector": {"output_efficiency": ("1.04", "0.97")}},
        {"detector": {"output_efficiency.spread": "2 %"}},
        {"detector": {"bias_light_rejection": "0.9"}},
        {"digitiser": {"input_scale": "1.5"}},
        {"dac": {"full_scale": "0.1 V"}},
        ALL_CHANGES,
    ],
)
def test_a_changed_machine_of_measured_laws_is_exported_as_it_rests(twin, changes):
    """1e-6 V: what the other sheets make of the measured laws is in the twin, and in the machine made of it again."""
    spec = twin.spec().with_overrides(changes, Library.open().part)
    machine = Machine.build(spec, 3)
    found, residuals = measurement_of(spec, 3, "changed")
    assert residuals == ()
    assert folded_keys(found, spec)
    exported = Twin(found)
    direct = bool(spec.parts["optics"].value("direct_share"))
    given = case(twin.channels, 20)
    drive, beta = 0.3 * given["bias"], min(given["beta"], 8.0)
    set_alpha = given["alpha"] / machine.gains.alpha_gain  # the format knows no error of the alpha path
    clipped = np.clip(drive, -machine.dac.full_scale, machine.dac.full_scale)
    want = equilibrium(machine, loaded(twin, given["weights"]), clipped, set_alpha, beta)
    assert want.min() > machine.node.linear_low and want.max() < machine.node.linear_high
    arguments = {"bias": drive, "alpha": given["alpha"], "beta": beta, "direct_light": direct}
    got = exported.fixed_point(given["weights"], **arguments)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    assert np.abs(got).max() > 0.1
    if "digitiser" not in changes:  # its scale acts on the read-out alone
        unchanged = twin.fixed_point(given["weights"], **arguments | {"direct_light": False})
        # the change is to be seen, or the test would show nothing
        assert np.abs(unchanged - want).max() > 3e-6
    again = exported.machine(direct_light=direct)
    back = equilibrium(again, loaded(twin, given["weights"]), clipped, given["alpha"], beta)
    np.testing.assert_allclose(back, want, rtol=0, atol=1e-6)


def test_what_the_format_has_no_number_for_is_refused_by_name(twin):
    for role, entry, text in (
        ("gains", "alpha_gain", "1.01"),
        ("gains", "electrical_gain", "0"),
        ("optics", "throughput", "inf"),
        ("optics", "pixel_structure", "0"),
    ):
        spec = twin.spec().with_overrides({role: {entry: text}}, Library.open().part)
        with pytest.raises(InputError) as caught:
            measurement_of(spec, None, "changed")
        assert caught.value.key == f"parts.{role}.{entry}"


@pytest.mark.parametrize("channels", [48, 16])
def test_measured_laws_that_are_stretched_or_drawn_on_are_fitted(twin, channels):
    """The sheets' numbers are not the machine's then: what comes out is the machine's, and says how close it is."""
    changes = {"slm": {"linear_plus.spread": "0 %" if channels == 16 else "1 %"}}
    spec = replace(twin.spec().with_overrides(changes, Library.open().part), channels=channels)
    found, residuals = measurement_of(spec, 1, "drawn on")
    assert found.channels == channels
    worst = {item.law: item.rms for item in residuals}
    assert worst["light paths, + arm"] < 2
    machine, exported, given = Machine.build(spec, 1), Twin(found), case(channels, 41)
    alpha, drive = np.full(channels, 0.5), 0.3 * given["bias"]
    set_alpha = alpha / machine.gains.alpha_gain
    want = equilibrium(machine, loaded(exported, given["weights"]), drive, set_alpha, 8.0)
    got = exported.fixed_point(given["weights"], bias=drive, alpha=alpha, beta=8.0)
    assert 100 * np.sqrt(np.mean((got - want) ** 2)) / np.ptp(want) < 0.2


def test_the_ghost_of_a_lost_fixed_point_is_passed():
    """A bistable channel driven just beyond its fold: where the lower fixed point was, the loop creeps for 10^4 of its
    time constants and then goes to the upper one. Newton's method from there has nowhere to go.
    """
    alpha, path, tanh = 0.9, 0.4, (3.58, 0.0, 4.27, 0.2151, 0.0, 0.0)

    def beside(z):
        a, _, c, d, _, _ = tanh
        return path * d * sigmoid(a * z, c) - (1 - alpha) * z

    grid = np.linspace(-0.5, 0.0, 200_001)
    ghost = grid[np.argmin(beside(grid))]
    drive = -beside(ghost) + 1e-7
    light = np.tile([0.0, 0.0, 1.0, 0.0], (2, 1))
    paths = np.array([[[path]], [[0.0]]])
    law = StaticMap(paths, np.zeros(1), np.full(1, alpha), np.full((1, 1), drive), np.array(tanh), light)
    found = point_near(law, np.full((1, 1), ghost), 1e-9, 1000)
    upper = brentq(lambda z: beside(z) + drive, 0.1, 5.0, xtol=1e-14)
    np.testing.assert_allclose(found, upper, rtol=0, atol=1e-9)


def test_an_exported_twin_is_dark_where_its_machine_is():
    """Pixels that are set to nothing, under all inputs at once: the machine's own light, pixel by pixel.

    Of one pair for all channels, and where pixels are products of rows and columns, so that the format can hold them.
    At full weight, where the curve of an over-driven panel bends down, the column's quadratic misses it by up to 5 %.
    """
    library = Library.open()
    alike = {"tail_current.spread": "0 %", "input_offset.spread": "0 mV"}
    spec = library.machine("aoc48", {"optics": {"pixel_structure.spread": "0 %"}, "pair": alike})
    machine, n = Machine.build(spec, 3), spec.channels
    exported = Twin(measurement_of(spec, 3, "aoc48")[0])
    unit = np.mean([machine.led.law(arm).slope(np.zeros(1))[0] for arm in (0, 1)]) / MEASURED_SLOPE
    gain = machine.detector.feedback_resistance * machine.gains.node_gain(20.0) * unit

    def paths(share):
        twin = exported.static_map(share * np.ones((n, n)), alpha=0.5, beta=20.0, direct_light=True).paths[0]
        plus = np.stack([share * np.ones((n, n)), np.zeros((n, n))])
        program = Program(plus, np.full(n, 0.5), 20.0, np.arange(n), 1.0)
        return twin, gain[:, None] * photocurrent_matrix(machine, program)[0]

    (dark, truly_dark), (full, truly_full) = paths(0.0), paths(1.0)
    np.testing.assert_allclose(dark, truly_dark, rtol=1e-9, atol=0)
    live = truly_full > 0
    assert 0.01 < np.abs(full / np.where(live, truly_full, 1.0) - 1)[live].max() < 0.06


def test_an_exported_twin_has_its_channels_pairs():
    """Tails of a current source each: the light of an input, at a channel's own pair, is the twin's with its row."""
    library, found = Library.open(), {}
    for tail in ("0 %", "3 %"):
        alike = {"tail_current.spread": tail, "input_offset.spread": "0 mV"}
        spec = library.machine("aoc48", {"pair": alike})
        found[tail] = Twin(measurement_of(spec, 3, "aoc48")[0]).row
    machine = Machine.build(spec, 3)
    swing = np.tile(machine.pair.tail_mismatch, (2, 1))
    live = found["0 %"] > 0
    gain = found["3 %"][live] / found["0 %"][live]
    # a tail of more current stretches the input as well, so that small signals grow less than the swing
    assert 0.02 < swing.std() < 0.04
    slope = np.polyfit(swing[live] - 1, gain - 1, 1)[0]
    assert 0.7 < slope < 1.05
    assert np.corrcoef(swing[live], gain)[0, 1] > 0.999


@pytest.mark.parametrize("serial", [-1, 2**63, 2**70, 1.5, "1", True])
def test_what_is_no_serial_number_is_refused(twin, serial):
    for ask in (lambda: twin.machine(serial=serial), lambda: measurement_of(twin.spec(), serial, "it")):
        with pytest.raises(InputError, match=r"^serial: must be a whole number.*0 to 2\^63 - 1"):
            ask()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"tol": "small"}, "tol"),
        ({"tol": None}, "tol"),
        ({"tol": 0.0}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"max_iter": 2.5}, "max_iter"),
        ({"max_iter": "10"}, "max_iter"),
        ({"max_iter": 0}, "max_iter"),
    ],
)
def test_a_search_that_cannot_be_is_refused_by_name(twin, change, key):
    weights = np.zeros((twin.channels, twin.channels))
    with pytest.raises(InputError, match=f"^{key}: "):
        twin.fixed_point(weights, alpha=0.5, beta=1.0, **change)


@pytest.mark.parametrize("path", ["", None, 3, b"file.yaml"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match=r"^path: must be the path of a file"):
        aocsim.twin.load(path)


def test_limits_that_no_converter_has_are_loaded_and_make_no_machine(measured_values):
    """The map clips at either limit; the machine's converters have one."""
    for limits in ([-1.3, 1.2], [-1.0, 1.3], [0.0, 0.0], [0.5, 1.0]):
        other = Twin(measurement({**measured_values(1, 4), "deq_input_min_max": limits}, "odd.yaml"))
        law = other.static_map(np.eye(4), x=[9.0, -9.0, 0.0, 0.0], alpha=0.5, beta=1.0)
        assert law.drive[0, :2].tolist() == limits[::-1]
        for ask in (other.spec, other.machine):
            with pytest.raises(InputError, match="clip at the same volts") as caught:
                ask()
            assert (caught.value.file, caught.value.key) == ("odd.yaml", "deq_input_min_max")


@pytest.mark.parametrize(
    ("item", "entry", "value", "unit"),
    [
        (0, "slope", 1e-9, "1/V"),  # lost in the table's rounding
        (1, "input_offset", 1e7, ""),
        (2, "exponent", 0.5, ""),  # a cusp at 0
        (2, "exponent", 100.0, ""),  # a kink at the knee
        (4, "output_offset", 0.3, "V"),  # beyond where the emitters' cubic ends
        (5, "feedthrough", 1.0, ""),
    ],
)
def test_laws_that_a_machine_leaves_make_no_machine_and_no_twin(twin, item, entry, value, unit):
    """The machine has built these, and rested up to some volts from where the twin did."""
    coefficients = list(twin.measurement.values["tanh_sigmoid_coeffs"])
    coefficients[item] = value
    values = {**twin.measurement.values, "tanh_sigmoid_coeffs": coefficients}
    with pytest.raises(InputError) as caught:
        Twin(measurement(values, "odd.yaml")).machine()
    assert (caught.value.file, caught.value.key) == ("odd.yaml", f"tanh_sigmoid_coeffs.{item}")
    spec = twin.spec().with_overrides({"pair": {entry: f"{value!r} {unit}".strip()}}, Library.open().part)
    with pytest.raises(InputError) as caught:
        measurement_of(spec, None, "changed")
    assert caught.value.key == f"parts.pair.{entry}"


@pytest.mark.parametrize("exponent", [1.0, 2.0, 30.0])
def test_the_range_of_the_knee_is_that_of_the_table(twin, exponent):
    """At either end of what is accepted the machine still rests where the twin does."""
    coefficients = list(twin.measurement.values["tanh_sigmoid_coeffs"])
    coefficients[2] = exponent
    values = {**twin.measurement.values, "tanh_sigmoid_coeffs": coefficients}
    other, given = Twin(measurement(values, "odd.yaml")), case(twin.channels, 20)
    drive = 0.3 * given["bias"]
    want = other.fixed_point(given["weights"], bias=drive, alpha=given["alpha"], beta=8.0)
    found = equilibrium(other.machine(), loaded(other, given["weights"]), drive, given["alpha"], 8.0)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("serial", "close"), [(None, 0.2), (1, 0.4)])
def test_a_typical_machine_in_the_twins_format_rests_where_the_machine_does(serial, close):
    """Per cent of the signal range, rms: what single pixels and pairs do beyond the format's laws."""
    spec = Library.open().machine("aoc48")
    found, residuals = measurement_of(spec, serial, "aoc48")
    twin, machine = Twin(found), Machine.build(spec, serial)
    given = case(48, 40)
    # the format knows no error of the alpha path
    alpha = np.full(48, 0.5)
    drive = 0.3 * given["bias"]
    want = equilibrium(machine, loaded(twin, given["weights"]), drive, alpha / machine.gains.alpha_gain, 10.0)
    got = twin.fixed_point(given["weights"], bias=drive, alpha=alpha, beta=10.0, direct_light=True)
    assert 100 * np.sqrt(np.mean((got - want) ** 2)) / np.ptp(want) < close
    worst = {item.law: item.rms for item in residuals}
    assert worst["pair, mean of the channels"] < 0.5
    assert worst["light paths, + arm"] < 2.5
    assert worst["crosstalk past the neighbours, + arm"] == 0


def test_sigmoid_against_its_formula():
    u = np.linspace(-20, 20, 2001)
    for c in (1.0, 2.75, 4.27):
        np.testing.assert_allclose(sigmoid(u, c), u / (1 + np.abs(u) ** c) ** (1 / c), rtol=0, atol=1e-15)
