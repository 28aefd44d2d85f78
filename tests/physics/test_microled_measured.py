"""The measured emitter against its cubic, and against the carrier balance that it should come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.components.microled_measured import turning_voltage
from aocsim.errors import InputError

# Public digital twin of the 48-channel machine, + and - arm, highest power first
PLUS = (-0.2230, -0.0753, 0.2121, 4.7e-4)
MINUS = (-0.2607, -0.0718, 0.2236, 4.3e-4)
SHEET = {
    "cubic": (f"{PLUS[0]} 1/V^3", f"{MINUS[0]} 1/V^3"),
    "quadratic": (f"{PLUS[1]} 1/V^2", f"{MINUS[1]} 1/V^2"),
    "linear": (f"{PLUS[2]} 1/V", f"{MINUS[2]} 1/V"),
    "constant": (f"{PLUS[3]}", f"{MINUS[3]}"),
}
UNIT = {"unit_light": "1 W"}
SWING = 0.2151


def test_limit_without_curvature_is_a_line(measured_machine):
    flat = {"cubic": ("0 1/V^3",) * 2, "quadratic": ("0 1/V^2",) * 2, "constant": ("0", "0")}
    led = measured_machine(led=SHEET | UNIT | flat).led
    v = np.linspace(-2, 2, 401)
    np.testing.assert_allclose(led.law(0).response(v), PLUS[2] * v, rtol=0, atol=1e-14)
    assert led.drive_limit(0) == 10.0


@given(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(0.01, 1.0))
def test_property_the_law_rises_up_to_where_it_turns(cubic, quadratic, linear):
    turn = turning_voltage(cubic, quadratic, linear)
    v = np.linspace(-1, 1, 201) * min(turn, 100.0) * (1 - 1e-6)
    slope = 3 * cubic * v**2 + 2 * quadratic * v + linear
    assert np.all(slope >= -1e-9 * (1 + np.abs(slope).max()))


@given(st.floats(-5.0, 5.0))
def test_property_droop_takes_the_same_share_of_all_light(rise):
    from aocsim.components.microled_measured import MeasuredMicroLed

    led = MeasuredMicroLed((PLUS, MINUS), (0.3, 0.3), (1e8, 1e8), -2e-3, 0.0, 298.15, (233.15, 398.15))
    warm = led.at_temperature(298.15 + rise)
    v = np.linspace(-0.2, 0.2, 9)
    share = 1 - 2e-3 * rise
    np.testing.assert_allclose(
        warm.law(1).response(v), share * led.law(1).response(v), rtol=1e-12, atol=1e-16
    )
    assert warm.bias_power(0) == pytest.approx(share * 0.3, rel=1e-12)


def test_published_law_of_both_arms(measured_machine):
    led = measured_machine(led=SHEET | UNIT).led
    v = np.linspace(-0.3, 0.3, 601)
    for arm, (p3, p2, p1, p0) in enumerate((PLUS, MINUS)):
        want = p3 * v**3 + p2 * v**2 + p1 * v + p0
        np.testing.assert_allclose(led.law(arm).response(v), want, rtol=0, atol=1e-15)


def test_published_law_is_that_of_carriers_and_driver(measured_machine, machine_of):
    """The carrier balance behind its compressive driver has the measured shape within 1 % of the range rms."""
    measured, physical = measured_machine(led=SHEET | UNIT).led, machine_of("aoc48").led
    v = np.linspace(-SWING, SWING, 201)
    for arm in (0, 1):
        curves = [
            led.law(arm).response(v) - led.law(arm).response(np.zeros(1)) for led in (measured, physical)
        ]
        a, b = (curve / (curve @ v) * (v @ v) for curve in curves)
        assert np.sqrt(np.mean((a - b) ** 2)) / np.ptp(b) < 0.01


def test_the_pair_may_not_drive_it_past_its_turn(measured_machine):
    with pytest.raises(InputError, match=r"parts\.pair\.swing"):
        measured_machine(pair={"swing": "0.6 V"}, led=SHEET)


def test_light_that_falls_with_the_drive_is_refused(measured_machine):
    with pytest.raises(InputError, match=r"parts\.led\.linear"):
        measured_machine(led={"linear": ("0.2 1/V", "-0.2 1/V")})
