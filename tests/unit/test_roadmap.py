"""Projections and limits: closed forms, scaling laws, and what is refused or marked."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from aocsim.constants import BOLTZMANN, ELEMENTARY_CHARGE, SPEED_OF_LIGHT
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.roadmap.assumptions import (
    BEYOND,
    FORBIDDEN,
    MET,
    Assumption,
    assumptions_of,
    emitter_at,
    first_forbidden,
    quantum_power,
)
from aocsim.roadmap.chain import Chain, Weights
from aocsim.roadmap.equipment import equipment_of, equipment_sheets, module_of
from aocsim.roadmap.noise import SOURCES, WHITE, densities, effective_bits, error, light_for, variances
from aocsim.roadmap.paths import batch_for, loading_share, passages
from aocsim.roadmap.projection import Case, project, throughput_of, today
from aocsim.roadmap.settling import (
    flight_time,
    lags_of,
    refuse_beyond,
    settling_of,
    slowest,
    slowest_root,
)

WEIGHTS = Weights(0.5, 0.25)
CASE = Case(0.97, WEIGHTS, span=3.3, signal=0.6, nrmse=0.01)


@pytest.fixture(scope="module")
def library():
    return Library.open()


@pytest.fixture(scope="module")
def chain(machine_of):
    return Chain.of(machine_of("aoc48"))


@pytest.fixture(scope="module")
def equipment(machine_of, library):
    return equipment_of(machine_of("aoc48"), equipment_sheets(library))


def sheet_of(library, name="module_metasurface", **changes):
    return library.part(name).with_overrides(changes, f"modules.{name}")


# settling


def test_settling_without_lags_is_the_closed_form():
    found = settling_of(5e6, 0.97, 0.5)
    tau = 1 / (2 * np.pi * 5e6)
    assert found.time == pytest.approx(np.log(100) * tau / (0.03 * 0.5), rel=1e-12)
    assert found.cycles == pytest.approx(found.time * 5e6)
    assert settling_of(5e6, 0.97, 0.5, poles=(np.inf, np.inf)).time == pytest.approx(found.time, rel=1e-12)


@given(st.floats(0.05, 0.95), st.floats(0.0, np.pi), st.floats(0.01, 3.0))
@settings(max_examples=30)
def test_dead_time_alone_is_lamberts_function(size, angle, delay):
    gain = size * np.exp(1j * angle)
    wanted = lambertw(gain * delay * np.exp(delay)) / delay - 1
    found = slowest_root(1.0, gain, (), delay)
    assert found.real == pytest.approx(wanted.real, rel=1e-7)


@given(st.floats(0.1, 0.9), st.floats(0.5, 100.0), st.floats(0.5, 100.0), st.floats(0.0, 1.0))
@settings(max_examples=30)
def test_the_slowest_root_solves_the_characteristic_equation(gain, one, other, delay):
    s = slowest_root(1.0, gain, (one, other), delay)
    through = gain * np.exp(-s * delay) / ((1 + s / one) * (1 + s / other))
    assert abs(1 + s - through) < 1e-6 * (1 + abs(s))


@given(st.floats(0.0, 2e-8))
@settings(max_examples=10)
def test_lags_never_shorten_the_slowest_positive_mode(delay):
    assert slowest_root(1e6, 0.5, (1e9,), delay).real >= -0.5e6 * (1 + 1e-9)


def test_published_steps_are_within_a_quarter(equipment):
    """31, 6.3, 2.1 ns at 2, 10, 30 GHz: 62.5 cycles; alpha 0.97 and a radius of 0.5 are 49 without lags."""
    for f, wanted in ((2e9, 31.25e-9), (10e9, 6.25e-9), (30e9, 2.083e-9)):
        assert equipment.published.step(f) == pytest.approx(wanted, rel=1e-3)
        assert settling_of(f, 0.97, 0.5).time == pytest.approx(wanted, rel=0.25)


def test_flight_of_three_centimetres():
    assert flight_time(0.03) == pytest.approx(0.1e-9, rel=1e-2)
    assert flight_time(0.03) == pytest.approx(0.03 / SPEED_OF_LIGHT)


def test_what_limits_is_named_in_order(machine_of):
    """Beyond amplifier and 177 MHz emitters there is the flight of the light."""
    lags = lags_of(machine_of("aoc48"), 0.03)
    assert list(lags)[:3] == ["transimpedance amplifier", "emitter", "flight of the light"]
    assert lags["transimpedance amplifier"] == pytest.approx(1 / (2 * np.pi * 30e6))
    # at the bias of 10 mA, where the 200 MHz emitters of 20 mA have 115 MHz
    assert slowest(machine_of("aoc48"))["emitter"] == pytest.approx(115e6, rel=0.02)
    assert next(iter(lags_of(machine_of("aoc48", poles={"driver": "10 MHz"}), 0.03))) == "driver"


def test_a_bandwidth_beyond_a_part_names_it(machine_of, equipment, library):
    with pytest.raises(InputError, match=r"roadmap\.bandwidths: is beyond what the transimpedance amplifier"):
        today(machine_of("aoc48"), equipment, CASE, 48, 31e6)
    fast = machine_of("aoc48", detector={"amplifier_bandwidth": "10 GHz"})
    with pytest.raises(
        InputError, match=r"beyond what the emitter can follow.*allowed: up to 1\.148e\+08 Hz"
    ):
        today(fast, equipment, CASE, 48, 200e6)
    sheet = sheet_of(library)
    with pytest.raises(InputError, match=r"roadmap\.projected_bandwidths: .*emitter"):
        project(machine_of("aoc48"), module_of(sheet), sheet, CASE, 48, 31e9)
    slow = sheet_of(library, detector_bandwidth="5 GHz")
    with pytest.raises(InputError, match="photodiode"):
        project(machine_of("aoc48"), module_of(slow), slow, CASE, 48, 10e9)
    refuse_beyond({"emitter": 1e9}, 1e9, "f")


@pytest.mark.parametrize(
    ("bad", "key"),
    [
        ({"bandwidth": 0.0}, "bandwidth"),
        ({"alpha": 1.0}, "alpha"),
        ({"radius": 1.0}, "radius"),
        ({"delay": -1.0}, "delay"),
        ({"poles": (0.0,)}, "poles"),
    ],
)
def test_a_loop_that_cannot_be_is_refused(bad, key):
    with pytest.raises(InputError, match=f"{key}: no loop can have this"):
        settling_of(**{"bandwidth": 5e6, "alpha": 0.97, "radius": 0.5, **bad})


# light and noise


def test_direct_current_by_hand(machine_of, chain):
    """Throughput 0.056, transmission 0.6, profiles and 0.1 mW class emitters: a few uA, the machine's about 3 uA."""
    machine = machine_of("aoc48")
    share = throughput_of(machine)
    assert share == pytest.approx(
        0.056 * 0.6 * 0.9 * 0.85, rel=0.2
    )  # row and column profiles, mean over the aperture
    seen = 0.27 * 1.045 * machine.led.bias_power(0) * share
    assert chain.open_current.mean() == pytest.approx(seen, rel=0.01)
    assert 1e-6 < np.median(chain.direct_current(WEIGHTS)) < 4e-6


@given(st.integers(2, 4000), st.integers(2, 8))
@settings(max_examples=20)
def test_signal_falls_with_the_root_of_the_fan_out(chain, channels, factor):
    one, more = (chain.signal_current(n, WEIGHTS, 0.5) for n in (channels, factor**2 * channels))
    np.testing.assert_allclose(one, factor * more, rtol=1e-12)


def test_profiles_are_the_apertures_whatever_the_channels(machine_of, chain):
    for n in (16, 256):
        other = Chain.of(machine_of("aoc48", None, n))
        assert np.sqrt(np.mean(other.slope**2)) == pytest.approx(np.sqrt(np.mean(chain.slope**2)), rel=0.05)
        assert other.direct_current(WEIGHTS).mean() == pytest.approx(
            chain.direct_current(WEIGHTS).mean(), rel=0.1
        )


def test_beta_at_equal_alpha_grows_with_the_root_of_the_channels_and_in_proportion_at_equal_weights(chain):
    base = chain.beta(48, WEIGHTS, 0.97)
    assert chain.beta(4800, WEIGHTS, 0.97) == pytest.approx(10 * base)
    # the largest effective weight kept: rms over the range falls as 1/sqrt(n)
    kept = Weights(WEIGHTS.radius, WEIGHTS.rms / 10)
    assert chain.beta(4800, kept, 0.97) == pytest.approx(100 * base)
    assert chain.beta(48, WEIGHTS, 0.985) == pytest.approx(base / 2)


def test_densities_are_the_parts_own(chain):
    """2 q I, 4 k T / R_f and i_n^2 + (e_n / R_f)^2 of both arms, and their sum is what the part says."""
    found, detector = densities(chain, WEIGHTS), chain.detector
    current = chain.direct_current(WEIGHTS)
    np.testing.assert_allclose(found["shot noise"], 2 * ELEMENTARY_CHARGE * current.sum(axis=0), rtol=1e-9)
    thermal = 2 * 4 * BOLTZMANN * 298.15 / 10e3
    np.testing.assert_allclose(found["thermal noise"], thermal, rtol=1e-9)
    np.testing.assert_allclose(found["amplifier noise"], 2 * ((2e-12) ** 2 + (4e-9 / 10e3) ** 2), rtol=1e-9)
    np.testing.assert_allclose(sum(found.values()), detector.noise_density(current).sum(axis=0), rtol=1e-12)


def test_a_relaxed_channel_alone_is_the_single_modes_closed_form(chain):
    """var z = S R^2 / [4 tau (1 - alpha)], a loop gain of nearly nothing and one place of the aperture."""
    place = int(np.argsort(chain.slope)[len(chain.slope) // 2])
    one = replace(
        chain,
        slope=chain.slope[[place]],
        open_current=chain.open_current[:, [place]],
        dark_current=chain.dark_current[:, [place]],
    )
    weights = Weights(1e-6, 0.25)
    work = Case(0.97, weights, 1.0, 0.3, 0.01).at(48, 5e6)
    found = variances(one, _Still(), work)
    gain = one.transresistance(48, weights, 0.97)
    density = sum(densities(one, weights).values())[0] * gain**2
    tau = 1 / (2 * np.pi * 5e6)
    assert sum(found[name] for name in WHITE) == pytest.approx(density / (4 * tau * 0.03), rel=1e-9)


class _Still:
    flicker = flicker_common = 0.0
    levels = 255


@given(st.integers(2, 3000), st.floats(1e5, 3e7))
@settings(max_examples=20)
def test_white_noise_grows_with_channels_and_bandwidth_and_nothing_else_does(machine_of, chain, n, f):
    slm = machine_of("aoc48").slm
    base, wide, fast = (variances(chain, slm, CASE.at(*place)) for place in ((n, f), (4 * n, f), (n, 4 * f)))
    for name in WHITE:
        assert wide[name] == pytest.approx(4 * base[name], rel=1e-9)
        assert fast[name] == pytest.approx(4 * base[name], rel=1e-9)
    for name in ("flicker", "weight rounding"):
        assert wide[name] == fast[name] == base[name]
    assert set(base) == set(SOURCES)


@given(st.floats(0.003, 0.3), st.integers(16, 4000))
@settings(max_examples=20)
def test_the_light_that_holds_an_error_holds_it(machine_of, chain, wanted, n):
    slm, work = machine_of("aoc48").slm, CASE.at(n, 5e6)
    factor = light_for(chain, slm, work, wanted)
    assert error(variances(chain.with_light(factor), slm, work), work) == pytest.approx(wanted, rel=1e-9)


def test_no_light_helps_against_flicker(machine_of, chain):
    assert light_for(chain, machine_of("aoc48").slm, CASE.at(48, 5e6), 1e-4) == np.inf
    with pytest.raises(InputError, match="nrmse"):
        light_for(chain, machine_of("aoc48").slm, CASE.at(48, 5e6), 0.0)


def test_flicker_by_monte_carlo(machine_of, chain):
    """Random weights and signals, wobbling pixels: the error of the products, through (1 - W)^-1."""
    rng, n, g, w = np.random.default_rng(5), 400, 0.5, 0.25
    weight = np.clip(w * rng.standard_normal((n, n)), -1, 1)
    scale = g / (np.sqrt(n) * w)
    z = rng.standard_normal(n)
    z *= 0.6 / np.sqrt(np.mean(z**2))
    wobble = 0.015 * np.sqrt(abs(weight) * (1 - abs(weight)))
    through = np.linalg.inv(np.eye(n) - scale * weight)
    moved = [through @ (scale * (wobble * rng.standard_normal((n, n))) @ z) for _ in range(40)]
    slm = replace(machine_of("aoc48").slm, flicker_common=0.0)
    found = variances(chain, slm, Case(0.97, Weights(g, w), 3.3, 0.6, 0.01).at(n, 5e6))["flicker"]
    assert np.mean(np.square(moved)) == pytest.approx(found, rel=0.1)


def test_bits_of_an_ideal_converter():
    for bits in (4, 8):
        step = 2.0**-bits
        error_of = np.sqrt(np.mean((np.linspace(-step / 2, step / 2, 100_001)) ** 2))
        assert effective_bits(error_of) == pytest.approx(bits, abs=1e-4)


@pytest.mark.parametrize(
    ("bad", "key"), [({"radius": 1.0}, "radius"), ({"radius": 0.0}, "radius"), ({"rms": 1.5}, "rms")]
)
def test_weights_that_cannot_be_are_refused(bad, key):
    with pytest.raises(InputError, match=f"{key}: must be"):
        Weights(**{"radius": 0.5, "rms": 0.25, **bad})


def test_nothing_to_project_is_refused(machine_of, equipment, chain):
    with pytest.raises(InputError, match=r"roadmap\.channels: a machine has channels; got 0"):
        today(machine_of("aoc48"), equipment, CASE, 0, 5e6)
    with pytest.raises(InputError, match="alpha: is no relaxation"):
        chain.beta(48, WEIGHTS, 1.0)
    with pytest.raises(InputError, match="light: there must be light"):
        chain.with_light(0.0)
    with pytest.raises(InputError, match="span: must be more than 0"):
        Case(0.97, WEIGHTS, 0.0, 0.3, 0.01).at(48, 5e6)


# projections


def test_the_machines_own_parts_at_its_own_size(machine_of, equipment):
    """96 emitters at 5 V, 96 and 48 amplifiers, two panels: the ledger's power, and 23 GOPS of it."""
    found = today(machine_of("aoc48"), equipment, CASE, 48, 5e6)
    watts = {load.consumer: load.value for load in found.loads}
    assert watts["emitters"] + watts["drivers"] == pytest.approx(96 * 10e-3 * 5.0)
    assert watts["transimpedance amplifiers"] == pytest.approx(96 * 0.15)
    assert watts["panels"] == pytest.approx(6.0)
    assert found.rate == pytest.approx(23.04e9)
    assert found.efficiency() == pytest.approx(23.04e9 / found.power())
    assert found.marks == ()


def test_what_is_beyond_a_sheet_is_marked(machine_of, equipment, library):
    machine = machine_of("aoc48")
    (mark,) = today(machine, equipment, CASE, 1000, 5e6).marks
    assert "1000 channels" in mark
    assert "5.184e+05 weights" in mark
    few = machine_of("aoc48", gains={"beta_full_scale": "2"})
    assert any("beta" in mark for mark in today(few, equipment, CASE, 48, 5e6).marks)
    sheet = sheet_of(library, "module_lcos")
    assert "2000 channels" in project(machine, module_of(sheet), sheet, CASE, 2000, 2e9).marks[0]
    dim = sheet_of(library, throughput="0.001")
    assert any(
        "mA an emitter" in mark for mark in project(machine, module_of(dim), dim, CASE, 2000, 10e9).marks
    )
    assert project(machine, module_of(sheet_of(library)), sheet_of(library), CASE, 1000, 2e9).marks == ()


@pytest.mark.parametrize(
    ("entry", "text", "consumer"),
    [
        ("emitter_current", "0.5 mA", "emitters"),
        ("amplifier_energy", "0.5 pJ", "transimpedance amplifiers"),
        ("channel_energy", "1 pJ", "channel electronics"),
        ("panel_power", "1.5 W", "panels"),
        ("controller_power", "1 W", "controller"),
    ],
)
def test_halving_an_assumed_number_moves_the_projection_as_the_formula_says(
    machine_of, library, entry, text, consumer
):
    machine = machine_of("aoc48")
    before, after = (
        project(machine, module_of(sheet), sheet, CASE, 1000, 2e9)
        for sheet in (sheet_of(library), sheet_of(library, **{entry: text}))
    )
    watts = {load.consumer: load.value for load in before.loads}
    lost = watts[consumer] + (watts["drivers"] if consumer == "emitters" else 0.0)
    assert before.power() - after.power() == pytest.approx(lost / 2, rel=1e-9)
    assert after.efficiency() == pytest.approx(before.rate / (before.power() - lost / 2), rel=1e-9)
    if entry == "emitter_current":
        assert after.light == pytest.approx(2 * before.light, rel=1e-9)


def test_a_supply_below_a_modules_emitter_is_refused(library):
    with pytest.raises(InputError, match=r"modules\.module_metasurface\.driver_supply: .*at least 2 V"):
        module_of(sheet_of(library, driver_supply="1 V"))


def test_halving_throughput_wants_twice_the_current(machine_of, library):
    machine = machine_of("aoc48")
    one, half = (
        project(machine, module_of(sheet), sheet, CASE, 1000, 2e9)
        for sheet in (sheet_of(library), sheet_of(library, throughput="0.125"))
    )
    assert half.light == pytest.approx(2 * one.light, rel=1e-9)
    assert half.direct_current == pytest.approx(one.direct_current / 2, rel=1e-9)


def test_shot_limited_light_of_a_channel_grows_with_channels_and_bandwidth(machine_of, library):
    """So the energy of the light for each operation does not fall with N: power of all channels ~ N^2 f."""
    machine, module = machine_of("aoc48"), module_of(sheet_of(library))
    base = quantum_power(machine, module, CASE, 1000, 2e9)
    assert quantum_power(machine, module, CASE, 4000, 2e9) == pytest.approx(4 * base, rel=1e-6)
    assert quantum_power(machine, module, CASE, 1000, 6e9) == pytest.approx(3 * base, rel=1e-6)
    sheet = sheet_of(library)
    real = project(machine, module, sheet, CASE, 1000, 2e9)
    lit = sum(load.value for load in real.loads if load.consumer == "emitters") * real.light / 1000
    assert base < lit


def test_assumptions_and_the_first_that_physics_forbids(machine_of, equipment, library):
    machine, sheet = machine_of("aoc48"), sheet_of(library)

    def rows(f, sheet=sheet):
        found = project(machine, module_of(sheet), sheet, CASE, 2000, f)
        return assumptions_of(machine, module_of(sheet), equipment.published, found, CASE, 3)

    slow = {row.name: row for row in rows(2e9)}
    assert slow["power of a channel"].needed == pytest.approx(16e-3)
    assert first_forbidden(rows(2e9)) == ""
    # light comes 3 cm around in 0.1 ns: 10 GHz is the end of operations that follow from one another
    assert first_forbidden(rows(30e9)) == "flight of the light within 1/f"
    near = sheet_of(library, path_length="9 mm")
    assert first_forbidden(rows(30e9, near)) == ""
    far = sheet_of(library, path_length="25 cm")
    assert first_forbidden(rows(2e9, far)) == "flight of the light within 1/f"
    assert "time of a step" in {row.name for row in rows(30e9, far) if row.verdict == FORBIDDEN}


def test_verdicts():
    assert Assumption("power", 2.0, 1.0, 0.5, True, "W").verdict == MET
    assert Assumption("power", 2.0, 3.0, 0.5, True, "W").verdict == BEYOND
    assert Assumption("power", 2.0, 3.0, 2.5, True, "W").verdict == FORBIDDEN
    assert Assumption("bandwidth", 2.0, 3.0, float("nan"), False, "Hz").verdict == MET
    assert Assumption("bandwidth", 2.0, 1.0, float("nan"), False, "Hz").verdict == BEYOND


def test_emitters_pay_for_speed_with_current(machine_of):
    """At its bias of 10 mA the emitter has its own bandwidth; ten times the speed takes over 30 times the current."""
    machine = machine_of("aoc48")
    own = machine.led.bandwidth(0)
    density, efficiency = emitter_at(machine, own)
    assert density * np.pi * 25e-6**2 == pytest.approx(10e-3, rel=1e-6)
    faster, worse = emitter_at(machine, 10 * own)
    assert faster > 10 * density
    assert worse < efficiency
    assert emitter_at(machine, 1e3) == (0.0, 0.0)


# beside the loop


def test_new_weights_against_the_batch():
    assert loading_share(21.7e-3, 1, 16, 13e-6) == pytest.approx(21.7e-3 / (21.7e-3 + 16 * 13e-6))
    batch = batch_for(21.7e-3, 16, 13e-6)
    assert batch == pytest.approx(939, rel=1e-3)
    below, above = (loading_share(21.7e-3, b, 16, 13e-6) for b in (int(batch) + 1, int(batch)))
    assert below < 0.1 < above
    with pytest.raises(InputError, match=r"roadmap\.batches"):
        loading_share(1.0, 0, 16, 1e-6)


def test_passage_by_hand(machine_of, spec_of, equipment):
    """Cells: pedestals scatter by 0.3 mV, 64 uV of kT/C. Converters: 12.3 bit of +-4 V over 23 samples."""
    machine = machine_of("aoc48")
    converters, cells = passages(machine, spec_of("aoc48"), equipment, 4, 0.3)
    assert (converters.way, cells.way) == ("digital", "sample_and_hold")
    assert cells.parts["thermal"] == pytest.approx((64e-6) ** 2, rel=0.02)
    assert cells.error == pytest.approx(np.hypot(0.3e-3, 64e-6), rel=0.02)
    assert converters.error == pytest.approx(8 / 2**12.3 / np.sqrt(12) / np.sqrt(23), rel=0.02)
    assert cells.time < 0.05 * converters.time  # a millisecond of transfer is spared
    scattered = machine_of("aoc48", memory={"pedestal.spread": "0.6 mV"})
    _, worse = passages(scattered, spec_of("aoc48", memory={"pedestal.spread": "0.6 mV"}), equipment, 4, 0.3)
    assert worse.parts["pedestal"] == pytest.approx(4 * cells.parts["pedestal"])


def test_a_sheet_of_another_law_is_no_module(library):
    with pytest.raises(InputError, match=r"modules\.slm: is no sheet of a projected module"):
        module_of(library.part("slm"))


def test_what_nobody_knows_of_a_module_is_drawn_within_its_spreads(library):
    sheet = sheet_of(library)
    drawn = [module_of(sheet, serial).channel_energy for serial in range(300)]
    assert np.mean(drawn) == pytest.approx(2e-12, rel=0.05)
    assert np.std(drawn) == pytest.approx(0.5e-12, rel=0.15)
    assert module_of(sheet).channel_energy == 2e-12
    assert module_of(sheet, 3) == module_of(sheet, 3) != module_of(sheet, 4)
