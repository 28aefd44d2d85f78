"""The rows of the table that compare the twin: they pass on a generated file and on the public one, and can fail."""

import numpy as np
import pytest

from aocsim.validate import twin, twin_missing
from aocsim.validate.check import Setting

FAST = [check for check in twin.CHECKS if not check.slow]


@pytest.mark.parametrize("check", FAST, ids=lambda check: check.name)
def test_check_passes(check, twin_file):
    row = check.run(Setting(twin_file=twin_file))
    assert row.status == "pass", row


@pytest.mark.parametrize("check", FAST[:4], ids=lambda check: check.name)
def test_without_a_file_the_settings_machine_is_written_in_the_format(check):
    row = check.run(Setting())
    assert row.status == "pass", row


@pytest.mark.slow
def test_the_heart_runs_on_a_measured_machine(twin_file):
    row = twin.heart_row(Setting(twin_file=twin_file))
    assert row.status == "pass", row


def test_the_second_implementation_is_asked(monkeypatch, twin_file):
    monkeypatch.setattr(twin, "reference_step", lambda found, z, *others: [0.1 * volts for volts in z])
    assert twin.step_row(Setting(twin_file=twin_file)).status == "fail"


def test_a_wrong_estimate_fails(monkeypatch, twin_file):
    true = twin_missing._arriving
    monkeypatch.setattr(twin_missing, "_arriving", lambda *given: 1.3 * true(*given))
    for row in (twin_missing.slm_row, twin_missing.flicker_row):
        assert row(Setting(twin_file=twin_file)).status == "fail"


def test_a_wrong_noise_density_fails(monkeypatch, twin_file):
    true = twin_missing._density
    monkeypatch.setattr(twin_missing, "_density", lambda *given: 1.05 * true(*given))
    row = twin_missing.noise_row(Setting(twin_file=twin_file))
    assert row.status == "fail"
    assert row.rms == pytest.approx(100 * (np.sqrt(1.05) - 1), rel=0.05)
