"""The measured optics against sums written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aocsim.components.optics import neighbour_matrix


def lists(machine, values, key, arms=("positive", "negative")):
    return np.array([values[key.format(arm)] for arm in arms])


def test_limit_without_neighbours_the_darkness_goes_nowhere(measured_machine):
    none = {f"to_{side}_{arm}": ("0",) for side in ("earlier", "later") for arm in ("plus", "minus")}
    optics = measured_machine(optics=none).optics
    assert not optics.baseline.any()
    light = np.random.default_rng(0).uniform(0, 1, (2, 48, 48))
    np.testing.assert_array_equal(optics.collect(light), light)


@given(st.integers(2, 9), st.integers(0, 1000))
def test_property_a_neighbour_gains_what_the_ratio_says(n, seed):
    rng = np.random.default_rng(seed)
    earlier, later = rng.uniform(0, 0.3, (2, 2, n))
    matrix = neighbour_matrix(earlier, later)
    j = int(rng.integers(n))
    light = np.zeros(n)
    light[j] = 1.0
    for arm in (0, 1):
        out = matrix[arm] @ light
        assert out[j] == 1.0
        if j > 0:
            assert out[j - 1] == earlier[arm, j]
        if j + 1 < n:
            assert out[j + 1] == later[arm, j]
        assert np.count_nonzero(out) <= 3


def test_published_crosstalk_acts_on_the_light_less_its_darkness(measured_machine, measured_values):
    """S_j = s_j + E_{j+1} (s_{j+1} - c_{j+1}) + L_{j-1} (s_{j-1} - c_{j-1}), in units of light, output by output."""
    values, machine = measured_values(7), measured_machine(7)
    optics, n = machine.optics, machine.channels
    unit = (
        machine.led.coefficients[0][2] / values["led_poly_coeffs_pos"][2]
    )  # W for each unit of measured light
    scale = optics.throughput[0] / n * unit
    s = np.random.default_rng(2).uniform(0, 0.5, (2, n))
    got = (optics.collect(s[:, :, None])[:, :, 0] * scale + optics.baseline) / scale
    c = lists(machine, values, "column_wise_weights_distortion.{}_row12")[:, :, 2]
    earlier = lists(machine, values, "pd_crosstalk.ratio_to_earlier_{}_row12")
    later = lists(machine, values, "pd_crosstalk.ratio_to_later_{}_row12")
    for arm in (0, 1):
        for j in range(n):
            want = s[arm, j]
            if j + 1 < n:
                want += earlier[arm, j + 1] * (s[arm, j + 1] - c[arm, j + 1])
            if j > 0:
                want += later[arm, j - 1] * (s[arm, j - 1] - c[arm, j - 1])
            assert abs(got[arm, j] - want) < 1e-12


def test_published_direct_light_is_left_out_unless_the_sheet_has_it(measured_machine, measured_values):
    """The public twin leaves it out; with it, k_j o_j r_j of the channel's own emitter: 0.4 to 1 % of it."""
    without, with_it = measured_machine(), measured_machine(optics={"direct_share": "1"})
    assert not without.optics.direct.any()
    values = measured_values(7)
    k = lists(with_it, values, "pbs_crosstalk.{}", ("negative_to_positive", "positive_to_negative"))
    o = lists(with_it, values, "output_correction.{}")
    r = lists(with_it, values, "row_profiles.{}_row12")
    own = np.stack([np.diagonal(matrix) for matrix in with_it.optics.direct_matrix()])
    np.testing.assert_allclose(own, with_it.optics.throughput[:, None] / 48 * k * o * r, rtol=1e-14)


def test_row_and_column_multiply(measured_machine, measured_values):
    values, machine = measured_values(7), measured_machine(7)
    o = lists(machine, values, "output_correction.{}")
    r = lists(machine, values, "row_profiles.{}_row12")
    want = machine.optics.throughput[0] / 48 * o[:, :, None] * r[:, None, :]
    np.testing.assert_allclose(machine.optics.fan(), want, rtol=1e-14)
    dead = int(np.flatnonzero(r[0] == 0)[0])
    assert machine.optics.dead == (dead,)
