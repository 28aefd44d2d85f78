"""The analog memory against its limits, one-pole settling, equipartition and published devices."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from aocsim.constants import BOLTZMANN

N = 48
volts = st.floats(-2.0, 2.0)
times = st.floats(0.0, 2e-6)


def row(value):
    return np.full(N, float(value))


def bare(memory):
    """Settling alone: no pedestal, droop or noise."""
    return replace(memory, pedestal=row(0), droop_rate=row(0), capacitance=np.inf)


def test_limit_ideal_memory_gives_back_what_it_was_given(machine_of):
    memory = machine_of("ideal48", serial=1).memory
    rng = np.random.default_rng(0)
    node, previous, normals = rng.standard_normal((3, 5, N))
    np.testing.assert_array_equal(memory.hold(node, previous, 1.0, normals), node)
    assert memory.noise == 0


def test_limit_without_tracking_the_old_voltage_stays(machine_of):
    memory = machine_of("aoc48", serial=1).memory
    rng = np.random.default_rng(0)
    node, previous = rng.standard_normal((2, 3, N))
    held = memory.hold(node, previous, 0.0, np.zeros((3, N)), tracked=0.0)
    np.testing.assert_allclose(held, previous + memory.pedestal, rtol=0, atol=1e-15)
    # and after ten acquisition times nothing of it is left: 1e-40
    held = memory.hold(node, previous, 0.0, np.zeros((3, N)), tracked=2.5e-6)
    np.testing.assert_allclose(held, node + memory.pedestal, rtol=0, atol=1e-15)


@given(volts, volts, times, times)
def test_property_tracking_goes_on_where_it_stopped(machine_of, node, previous, first, second):
    """One pole has no memory but its voltage: tracking T1 and then T2 is tracking T1 + T2."""
    memory = bare(machine_of("aoc48").memory)

    def tracked(start, time):
        return memory.hold(row(node), start, 0.0, row(0), tracked=time)

    twice, once = tracked(tracked(row(previous), first), second), tracked(row(previous), first + second)
    np.testing.assert_allclose(twice, once, rtol=0, atol=1e-14)
    assert np.all((once >= min(node, previous) - 1e-15) & (once <= max(node, previous) + 1e-15))


@given(volts, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_property_droop_is_a_straight_line(machine_of, node, one, two):
    memory = machine_of("aoc48", serial=3).memory
    held = [memory.hold(row(node), row(node), time, row(0)) for time in (0.0, one, two)]
    np.testing.assert_allclose(held[0] - held[1], memory.droop_rate * one, rtol=0, atol=1e-14)
    np.testing.assert_allclose(held[1] - held[2], memory.droop_rate * (two - one), rtol=0, atol=1e-14)


def test_published_noise_of_a_switched_capacitor(machine_of):
    """kT/C at room temperature, as in every textbook: 64 uV at 1 pF, 20 uV at 10 pF, 6.4 uV at 100 pF."""
    for capacitance, noise in (("1 pF", 64e-6), ("10 pF", 20e-6), ("100 pF", 6.4e-6)):
        memory = machine_of("aoc48", memory={"capacitance": capacitance}).memory
        assert memory.noise == pytest.approx(noise, rel=0.02)


def test_equipartition_on_the_capacitor(machine_of):
    """The held voltages' variance carries kT/2 of energy: within the 0.01 % and 99.99 % points of chi-square."""
    memory = machine_of("aoc48").memory
    shape = (400, N)
    held = memory.hold(np.zeros(shape), np.zeros(shape), 0.0, np.random.default_rng(1).standard_normal(shape))
    energy = 0.5 * memory.capacitance * (held - memory.pedestal) ** 2
    low, high = chi2.ppf([1e-4, 1 - 1e-4], held.size) / held.size
    assert low < energy.mean() / (0.5 * BOLTZMANN * 298.15) < high


def test_published_fast_sample_and_hold(machine_of):
    """AD783: a step is there to 0.01 % in 250 ns; 0.02 uV/us takes half a 12-bit step of +-5 V in 61 ms."""
    memory = machine_of("aoc48").memory
    held = bare(memory).hold(row(5), row(-5), 0.0, row(0))
    np.testing.assert_allclose((5 - held) / 10, 1e-4, rtol=1e-9)
    np.testing.assert_array_equal(held, bare(memory).hold(row(5), row(-5), 0.0, row(0), tracked=250e-9))
    half_step = 10 / 2**12 / 2
    fallen = memory.hold(row(1), row(1), 0.0, row(0)) - memory.hold(row(1), row(1), 61e-3, row(0))
    np.testing.assert_allclose(fallen, half_step, rtol=1e-3)


def test_published_pedestal_over_serials(machine_of):
    """1 to 2 mV: nearly all cells of 16 machines (90 %, normal with 0.3 mV around 1.5 mV), each its own."""
    pedestal = np.array([machine_of("aoc48", serial=s).memory.pedestal for s in range(1, 17)])
    assert ((pedestal > 1e-3) & (pedestal < 2e-3)).mean() == pytest.approx(0.904, abs=0.05)
    assert np.ptp(pedestal, axis=1).min() > 0.5e-3


def test_held_for_may_differ_between_samples(machine_of):
    memory = machine_of("aoc48", serial=3).memory
    node = np.random.default_rng(0).standard_normal((2, 3, N))
    spans = np.array([1e-3, 2e-3, 0.5])
    held = memory.hold(node, node, spans[:, None], np.zeros_like(node))
    for k, span in enumerate(spans):
        alone = memory.hold(node[:, k], node[:, k], span, np.zeros((2, N)))
        np.testing.assert_array_equal(held[:, k], alone)


def test_wrong_shapes_and_times_are_refused(machine_of):
    memory = machine_of("aoc48").memory
    good = np.zeros((3, N))
    for arguments in (
        (np.zeros((3, N - 1)), np.zeros((3, N - 1)), 0.0, np.zeros((3, N - 1))),
        (good, good[0], 0.0, good),
        (good, good, 0.0, good[:1]),
        (good, good, np.zeros(3), good),
        (good, good, np.zeros((2, 3, 1)), good),
    ):
        with pytest.raises(ValueError):
            memory.hold(*arguments)
    with pytest.raises(ValueError, match="hold for"):
        memory.hold(good, good, -1e-9, good)
    with pytest.raises(ValueError, match="track for"):
        memory.hold(good, good, 0.0, good, tracked=-1e-9)
