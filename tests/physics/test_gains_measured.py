"""The measured gains against the correction written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aocsim.components.gains_measured import node_offset


def test_limit_no_offsets_leave_the_scaling_alone(measured_machine, measured_values):
    gains = measured_machine(gains={"dc_offset": ("0 V",), "linear_offset": ("0 V",)}).gains
    assert not gains.node_offset(18.6).any()
    np.testing.assert_array_equal(
        gains.closed_loop_gain, measured_values(7)["close_loop_offset_and_scale.scaling"]
    )


@given(st.floats(0.1, 2.0), st.floats(-0.1, 0.1), st.floats(0.5, 4.0), st.floats(0.0, 100.0))
def test_property_offsets_add_before_the_scaling(scaling, offset, ratio, beta):
    """kappa (g + rho o) - kappa g, for any gradient."""
    gradient = 0.37 * beta
    want = scaling * (gradient + ratio * offset) - scaling * gradient
    got = node_offset(np.array([offset]), np.array([scaling]), ratio)[0]
    assert abs(got - want) < 1e-12 * (1 + abs(scaling * gradient))


def test_published_offset_at_the_node(measured_machine, measured_values):
    """9 mV sd at the converter, ratio 2.0 and scaling 0.73 make 13 mV sd at the node, beta's part aside."""
    gains, values = measured_machine(7).gains, measured_values(7)
    table = "close_loop_offset_and_scale."
    for beta in (0.0, 18.6):
        for j in range(48):
            want = values[table + "scaling"][j] * values[table + "solution_to_adc_ratio"]
            want *= values[table + "dc_offset"][j] + beta * values[table + "linear_offset"][j]
            assert abs(gains.node_offset(beta)[j] - want) < 1e-15
    assert abs(np.std(gains.node_offset(0.0)) - 13e-3) < 3e-3


def test_what_is_kept_acts_on_nothing(measured_machine):
    kept = {
        "kept_scaling_second_order": ("0.3",) * 48,
        "kept_readout_dc_offset": ("1 V",) * 48,
        "kept_detector_offset_plus": ("1 V",) * 48,
    }
    one, other = measured_machine(7).gains, measured_machine(7, gains=kept).gains
    np.testing.assert_array_equal(one.node_offset(10.0), other.node_offset(10.0))
    np.testing.assert_array_equal(one.node_gain(10.0), other.node_gain(10.0))
