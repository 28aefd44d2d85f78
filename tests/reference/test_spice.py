"""Circuits for ngspice: the generator against closed forms, the reader, and rows that fail where they must."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from aocsim.compose import Electronics
from aocsim.machine import Machine
from aocsim.program import Program
from aocsim.validate import spice, spice_engine
from aocsim.validate.check import Setting, SkippedError
from aocsim.validate.netlist import loop_netlist
from aocsim.validate.spice_engine import SpiceError, parse_raw, run
from aocsim.validate.spice_stages import transimpedance, transistor_pair

needs_ngspice = pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is not installed")
CHECKS = {check.name: check for check in spice.CHECKS}
FAST = [name for name, check in CHECKS.items() if not check.slow]
SLOW = [name for name, check in CHECKS.items() if check.slow]

RAW = """\
Title: * two analyses
Plotname: Transient Analysis
Flags: real
No. Variables: 2
No. Points: 2
Variables:
\t0\ttime\ttime
\t1\tV(Out)\tvoltage
Values:
0\t\t0.0e+00
\t1.5e+00

1\t\t1.0e-09
\t-2.5e+00

Title: * two analyses
Plotname: Integrated Noise
Flags: real
No. Variables: 1
No. Points: 1
Variables:
\t0\tv(onoise_total)\tvoltage
Values:
0\t\t3.0e-05
"""


def test_a_raw_file_with_two_analyses():
    first, second = parse_raw(RAW)
    assert (first.name, second.name) == ("Transient Analysis", "Integrated Noise")
    np.testing.assert_array_equal(first["time"], [0.0, 1e-9])
    np.testing.assert_array_equal(first["v(out)"], [1.5, -2.5])
    np.testing.assert_array_equal(second["v(onoise_total)"], [3e-5])
    with pytest.raises(SpiceError, match=r"no vector 'v\(in\)', it has time, v\(out\)"):
        first["v(in)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no analysis"),
        ("Title: * nothing\n", "no analysis"),
        ("no colon here\n", "a header line was expected"),
        (RAW.replace("Flags: real", "Flags: complex"), "real numbers were expected, not 'complex'"),
        (RAW.replace("Values:", "Binary:"), "cut off among the names"),
        ("Binary:\n", "binary numbers"),
        (RAW.replace("\t1\tV(Out)\tvoltage\n", ""), "cut off among the names"),
        (RAW[: RAW.index("-2.5e+00")], "cut off in 'Transient Analysis'"),
        (RAW.replace("-2.5e+00", "two"), "cut off in 'Transient Analysis'"),
        (RAW.replace("1\t\t1.0e-09", "3\t\t1.0e-09"), "point 1 was expected, not 3"),
        (RAW.replace("1.5e+00", "nan"), "not finite"),
        (RAW.replace("No. Points: 1", "No. Points: 0"), "holds no numbers"),
        (RAW.replace("No. Points: 2\n", ""), "without 'no. points'"),
    ],
)
def test_raw_files_that_cannot_be_trusted(text, message):
    with pytest.raises(SpiceError, match=message):
        parse_raw(text)


@needs_ngspice
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("V1 a 0 1\nV2 a 0 2\nR1 a 0 1\n.op", "exit status 1"),
        ("Q1 a a 0 unheard\nV1 a 0 1\n.op", "unheard|[Ee]rror"),
        ("V1 a 0 1\nR1 a 0 1", "exit status|no raw file"),
    ],
)
def test_circuits_that_cannot_be_solved(lines, message):
    with pytest.raises(SpiceError, match=message):
        run(f"* circuit\n{lines}\n.end\n")


@needs_ngspice
def test_a_circuit_that_takes_too_long():
    with pytest.raises(SpiceError, match=r"stopped after 0\.05 s"):
        run("* circuit\nV1 a 0 sin(0 1 1e9)\nR1 a 0 1\n.tran 1p 1m\n.save v(a)\n.end\n", timeout=0.05)


def test_without_the_program_checks_are_skipped(monkeypatch):
    monkeypatch.setattr(spice_engine, "PROGRAM", "ngspice-of-another-world")
    for check in spice.CHECKS[:1]:
        with pytest.raises(SkippedError, match="ngspice is not installed"):
            check.run(Setting())


def two_channels(serial=None, **changes):
    """Pixels that are black at zero weight, and no light but theirs on a detector."""
    built = Machine.build(replace(Setting().spec(changes), channels=2), serial)
    slm = replace(built.slm, inverse_contrast=np.zeros((2, 2, 2)), stray_light=np.zeros((2, 2)))
    alone = np.stack([np.eye(2), np.eye(2)])
    return replace(built, slm=slm, optics=replace(built.optics, crosstalk=alone, direct=np.zeros((2, 2))))


def program(weight, alpha=(0.0, 0.0), beta=25.0):
    return Program(weight, np.array(alpha), beta, np.arange(2), 1.0)


def solve(machine, loaded, electronics, drive, duration, **options):
    text = loop_netlist(
        machine, loaded, electronics, np.array(drive), duration=duration, longest_step=1e-9, **options
    )
    (plot,) = run(text)
    return plot["time"], np.stack([plot["v(z0)"], plot["v(z1)"]], axis=1)


@needs_ngspice
def test_alpha_drive_and_offset_of_the_generated_loop_against_an_exponential():
    machine = two_channels(serial=1)
    alpha, offset, drive = np.array([0.9, 0.4]), np.array([0.02, -0.01]), np.array([0.05, 0.3])
    dark = program(np.zeros((2, 2, 2)), alpha)
    t, z = solve(machine, dark, Electronics(alpha, offset), drive, 1e-6)
    rate = 2 * np.pi * machine.poles.node * (1 - alpha)
    want = (drive + offset) / (1 - alpha) * (1 - np.exp(-rate * t[:, None]))
    np.testing.assert_allclose(z, want, atol=2e-5 * np.ptp(want))


@needs_ngspice
@pytest.mark.parametrize(("arm", "sign"), [(0, 1.0), (1, -1.0)])
def test_the_optical_path_of_the_generated_loop_against_the_product_of_its_slopes(arm, sign):
    machine = two_channels()
    weight, size, w = np.zeros((2, 2, 2)), 1e-3, 0.6
    weight[arm, 1, 0] = w
    loaded = program(weight)
    t, z = solve(machine, loaded, Electronics(loaded.alpha, np.zeros(2)), [size, 0.0], 0.4e-6)
    # by hand, from the sheets' numbers
    two_vt = 2 * 1.380649e-23 * 298.15 / 1.602176634e-19
    pair = 1e-3 * 215.1 * 0.4415 / (two_vt + 1e-3 * 71.94) + 4.8e-3
    a, b, c, volume = 1e7, 2e-17, 1e-42, 10e-9 * np.pi * 25e-6**2
    n = next(x for x in np.roots([c, b, a, -10e-3 / (1.602176634e-19 * volume)]) if x.real > 0).real
    photon = 6.62607015e-34 * 299792458.0 / 503e-9
    led = 37.19e-3 * 0.1 * photon / 1.602176634e-19 * 2 * b * n / (a + 2 * b * n + 3 * c * n**2)
    slm, optics, detector = machine.slm, machine.optics, machine.detector
    passed = slm.transmission[arm] * np.sin(slm.retardance_scale[arm, 1] * np.arcsin(np.sqrt(w))) ** 2
    path = optics.throughput[arm] / 2 * optics.column[arm, 1] * optics.row[arm, 0] * passed
    node = detector.responsivity * detector.output_efficiency[arm, 1] * 10e3 * 0.73 * 25.0 * 0.467
    gain = sign * pair * led * path * node
    rt = 2 * np.pi * 5e6 * t
    want = size * np.stack([1 - np.exp(-rt), gain * (1 - (1 + rt) * np.exp(-rt))], axis=1)
    assert abs(gain) > 0.5
    # a millivolt has some 0.1 % of second order
    np.testing.assert_allclose(z, want, atol=2e-3 * size * abs(gain))


@needs_ngspice
def test_the_generated_amplifier_saturates_at_its_rails():
    machine = two_channels()
    dark = program(np.zeros((2, 2, 2)))
    quiet = Electronics(dark.alpha, np.zeros(2))
    for drive in ([2.5, -3.0], [9.0, -9.0], [2.0, -1.0]):
        _, z = solve(machine, dark, quiet, drive, 1e-6)
        np.testing.assert_allclose(z[-1], machine.node.saturate(np.array(drive)), atol=1e-5)


@needs_ngspice
def test_dead_time_of_the_generated_loop():
    machine = two_channels(poles={"node_delay": "30 ns"})
    rate = 2 * np.pi * machine.poles.node[0]
    dark = program(np.zeros((2, 2, 2)), (0.5, 0.5))
    t, z = solve(machine, dark, Electronics(dark.alpha, np.zeros(2)), [0.1, 0.1], 0.1e-6)
    # the alpha path is silent for the dead time, and then one step of the method of steps long
    early, later = t <= 30e-9, (t > 30e-9) & (t < 60e-9)
    np.testing.assert_allclose(z[early, 0], 0.1 * (1 - np.exp(-rate * t[early])), atol=2e-6)
    s = rate * (t[later] - 30e-9)
    grown = 0.1 * (1 - np.exp(-rate * t[later])) + 0.5 * 0.1 * (1 - (1 + s) * np.exp(-s))
    np.testing.assert_allclose(z[later, 0], grown, atol=2e-5)


def test_measured_laws_have_no_circuit():
    machine = replace(two_channels(), pair=None)
    with pytest.raises(SkippedError, match="measured laws"):
        loop_netlist(
            machine,
            program(np.zeros((2, 2, 2))),
            Electronics(np.zeros(2), np.zeros(2)),
            np.zeros(2),
            duration=1e-6,
            longest_step=1e-9,
        )


@needs_ngspice
def test_noise_of_the_stage_by_hand():
    detector = Setting().build().detector
    density, total = run(transimpedance(detector, 3e-6, np.inf))
    shot = 2 * 1.602176634e-19 * 3e-6
    thermal = 4 * 1.380649e-23 * 298.15 / 10e3
    want = 10e3 * np.sqrt(shot + thermal + (2e-12) ** 2 + (4e-9 / 10e3) ** 2)
    assert density["onoise_spectrum"][0] == pytest.approx(want, rel=1e-5)
    # ngspice's own integral
    area = np.trapezoid(density["onoise_spectrum"] ** 2, density["frequency"])
    assert total["v(onoise_total)"][0] ** 2 == pytest.approx(area, rel=2e-3)


@needs_ngspice
def test_a_feedback_capacitor_beside_the_sheets_capacitance_would_be_seen(monkeypatch):
    """The component counts C as all that hangs on the summing node; 20 pF and C_f beside it are 7.5 % more noise."""
    setting = Setting()
    detector = setting.build().detector
    bare = transimpedance(detector, 3e-6, 5e6)
    lines = {line.split()[0]: line.split()[-1] for line in bare.splitlines() if line and line[0] == "C"}
    inside, beside = lines["Cinput"], f"{detector.input_capacitance!r}"
    assert float(inside) + float(lines["Cfeedback"]) == pytest.approx(detector.input_capacitance)
    changed = bare.replace(f"sum 0 {inside}", f"sum 0 {beside}")
    assert changed != bare
    noise = [run(text)[1]["v(onoise_total_rvoltage)"][0] ** 2 for text in (bare, changed)]
    assert 1.05 < noise[1] / noise[0] < 1.10


@needs_ngspice
@pytest.mark.parametrize("name", FAST)
def test_rows_that_pass(name):
    row = CHECKS[name].run(Setting())
    assert row.status == "pass", row


@needs_ngspice
def test_other_serials_and_a_machine_without_rails_or_noise():
    for name in ("spice_pair_300_kelvin", "spice_loop_one_pole"):
        for setting in (Setting(serial=2), Setting(machine="ideal48")):
            row = CHECKS[name].run(setting)
            assert row.status == "pass", row
    with pytest.raises(SkippedError, match="leaves out a part of the noise"):
        CHECKS["spice_detector_white"].run(Setting(machine="ideal48"))


@needs_ngspice
@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_rows_that_pass(name):
    row = CHECKS[name].run(Setting())
    assert row.status == "pass", row


@needs_ngspice
@pytest.mark.parametrize("junction", [250, 300, 350])
def test_a_wrong_emitter_resistance_fails(monkeypatch, junction):
    def wrong(**values):
        return transistor_pair(**{**values, "emitter_resistance": 1.1 * values["emitter_resistance"]})

    monkeypatch.setattr(spice, "transistor_pair", wrong)
    assert CHECKS[f"spice_pair_{junction}_kelvin"].run(Setting()).status == "fail"


@needs_ngspice
def test_a_pair_that_is_not_as_warm_as_its_transistors_fails(monkeypatch):
    def wrong(**values):
        return transistor_pair(**{**values, "temperature": 300.0})

    monkeypatch.setattr(spice, "transistor_pair", wrong)
    assert CHECKS["spice_pair_300_kelvin"].run(Setting()).status == "pass"
    assert CHECKS["spice_pair_250_kelvin"].run(Setting()).status == "fail"
    assert CHECKS["spice_pair_350_kelvin"].run(Setting()).status == "fail"


def faster(machine):
    return replace(machine, poles=replace(machine.poles, node=1.2 * machine.poles.node))


def degenerated(machine):
    return replace(machine, pair=replace(machine.pair, degeneration=1.1 * machine.pair.degeneration))


def compressed(machine):
    return replace(machine, led=replace(machine.led, compression=(2.0, 2.0)))


@needs_ngspice
@pytest.mark.parametrize("wrong", [faster, degenerated, compressed])
def test_a_wrong_part_of_the_loop_fails(monkeypatch, wrong):
    monkeypatch.setattr(spice, "loop_netlist", lambda machine, *a, **k: loop_netlist(wrong(machine), *a, **k))
    assert CHECKS["spice_loop_one_pole"].run(Setting()).status == "fail"


@needs_ngspice
@pytest.mark.slow
def test_dead_time_that_the_circuit_lacks_fails(monkeypatch):
    def without(machine, *args, **options):
        prompt = replace(machine.poles, node_delay=0.0)
        return loop_netlist(replace(machine, poles=prompt), *args, **options)

    monkeypatch.setattr(spice, "loop_netlist", without)
    assert CHECKS["spice_loop_dead_time"].run(Setting()).status == "fail"


@needs_ngspice
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("spice_detector_white", {"noise_temperature": 1.2 * 298.15}),
        ("spice_detector_density", {"noise_temperature": 1.2 * 298.15}),
        ("spice_detector_relaxed", {"noise_temperature": 1.2 * 298.15}),
        ("spice_detector_white", {"current_noise": 2.1e-12}),
        ("spice_detector_density", {"amplifier_bandwidth": 33e6}),
        ("spice_detector_capacitance", {"amplifier_bandwidth": 33e6}),
        ("spice_detector_capacitance", {"input_capacitance": 21e-12}),
        ("spice_detector_capacitance", {"voltage_noise": 4.1e-9}),
    ],
)
def test_wrong_noise_fails(monkeypatch, name, change):
    monkeypatch.setattr(
        spice, "transimpedance", lambda detector, *a: transimpedance(replace(detector, **change), *a)
    )
    assert CHECKS[name].run(Setting()).status == "fail"
