"""`aocsim diff` of two calibrations: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray

from aocsim import cli
from aocsim.calibration.chain import Chain
from aocsim.calibration.closed import ClosedFit, Electronics
from aocsim.calibration.joint import Fitted
from aocsim.calibration.result import dataset_of

Command = Callable[..., tuple[int, str, str]]
Change = Callable[[xarray.Dataset], xarray.Dataset]

ERROR = 1e-3


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs the command line in this process, in a folder of its own: exit status, stdout, stderr."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aocsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def sheet(
    name: str, change: Change = lambda data: data, *, n: int = 5, seed: int = 0, closed: bool = True
) -> Path:
    """The file of a calibration in the current folder, its values off by `ERROR` at random, by `seed`."""
    size = 10 + 2 * n + 6 * n + 4 * (n - 1) + 4 * n
    draw = np.random.default_rng(seed)
    zeros = (np.zeros((2, n - 1)), np.zeros((2, n - 1)), np.zeros(n), np.zeros(n), np.ones((2, n)))
    plain = Chain(
        np.array([3.4, 0.0, 4.0, 0.0]), np.zeros((2, 3)), np.ones((2, n)), np.ones((2, n, 3)), *zeros
    )
    chain = plain.replaced(plain.vector + ERROR * draw.standard_normal(size))
    opened = Fitted(chain, ERROR**2 * np.eye(size), np.ones(size, dtype=bool), np.ones(3), {}, 1)
    found = Electronics.of(Electronics.ideal(n).vector + ERROR * draw.standard_normal(4 * n))
    second = ClosedFit(found, ERROR**2 * np.eye(4 * n), np.zeros((3, n)), 0) if closed else None
    attributes = {"drive_limit": 1.3, "machine": "aoc48, serial 4"}
    change(dataset_of(opened, second, attributes)).to_netcdf(name, engine="netcdf4")
    return Path(name)


def moved(data: xarray.Dataset) -> xarray.Dataset:
    data["alpha_gain"].values[3] += 20 * ERROR
    return data


def test_calibrations_of_one_machine_agree(command: Command) -> None:
    status, out, err = command("diff", sheet("a.nc"), sheet("b.nc", seed=1))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[1:13]}
    assert list(rows)[:3] == ["pair", "light", "row"]
    assert rows["law"][1:4] == ["V", "30", "0"]
    # independent errors of one size: d is a standard normal variable
    assert 0.6 < float(rows["law"][4]) < 1.4
    assert lines[-1] == "the calibrations agree within their errors"


def test_a_value_that_has_moved_is_named(command: Command) -> None:
    a, b = sheet("a.nc"), sheet("b.nc", moved, seed=1)
    status, out, err = command("diff", a, b, "--json", "found.json")
    assert (status, err) == (1, "")
    assert out.splitlines()[-1] == "the calibrations differ beyond their errors: alpha_gain"
    found = json.loads(Path("found.json").read_text())
    assert (found["old"], found["new"], found["agree"]) == ("a.nc", "b.nc", False)
    group = next(group for group in found["groups"] if group["name"] == "alpha_gain")
    assert (group["where"], group["where_difference"], group["beyond"], group["compared"]) == ("3", "3", 1, 5)
    with xarray.open_dataset(a) as first, xarray.open_dataset(b) as second:
        gap = float(second["alpha_gain"][3] - first["alpha_gain"][3])
    assert group["difference"] == pytest.approx(abs(gap))
    assert group["largest"] == pytest.approx(gap / (ERROR * np.sqrt(2)))
    assert command("diff", a, b, "--quiet") == (1, "", "")


def with_transients(data: xarray.Dataset, pole: float = 5e6) -> xarray.Dataset:
    for name, value, error, unit in (
        ("pole", pole, 200.0, "Hz"),
        ("delay", 0.0, 1e-11, "s"),
        ("transient_alpha_gain", 1.0, 1e-6, "1"),
        ("transient_drive_gain", 1.0, 1e-4, "1"),
    ):
        data[name] = ("channel", np.full(5, value), {"units": unit})
        data[f"{name}_error"] = ("channel", np.full(5, error), {"units": unit})
    return data


def test_poles_are_compared_where_both_have_transients(command: Command) -> None:
    plain, one = sheet("plain.nc"), sheet("one.nc", with_transients, seed=1)
    status, out, _ = command("diff", plain, one)
    assert status == 0 and "the old one has no transients: pole, delay" in out
    slower = sheet("slower.nc", lambda data: with_transients(data, 4.99e6), seed=2)
    status, out, _ = command("diff", one, slower)
    assert (status, out.splitlines()[-1]) == (1, "the calibrations differ beyond their errors: pole")
    row = next(line.split() for line in out.splitlines() if line.startswith("pole"))
    # 10 kHz in units of the root of two squares of 200 Hz
    assert row[1] == "Hz" and float(row[5]) == pytest.approx(-1e4 / (200 * np.sqrt(2)), rel=0.01)


def test_what_cannot_be_compared_is_said(command: Command) -> None:
    whole = sheet("whole.nc")
    status, out, _ = command("diff", whole, sheet("open.nc", seed=1, closed=False))
    assert status == 0
    assert "the new one has no closed loop: gradient_gain, alpha_gain" in out

    status, out, _ = command("diff", whole, sheet("small.nc", n=4, seed=1))
    assert status == 1
    assert "5 channels against 4" in out
    assert [line.split()[0] for line in out.splitlines()[3:5]] == ["pair", "light"]

    other = sheet("other.nc", lambda data: data.assign_attrs(machine="aoc48, serial 5"), seed=1)
    status, out, _ = command("diff", whole, other)
    assert "of two machines: aoc48, serial 4, and aoc48, serial 5" in out

    def blind(data: xarray.Dataset) -> xarray.Dataset:
        data["row"].values[:, 2], data["row_identified"].values[:, 2] = 0.0, 0
        return data

    status, out, _ = command("diff", whole, sheet("dead.nc", blind, seed=1))
    assert status == 1
    assert "inputs that shine in the old one alone: 2" in out
    assert "2 values are held, or not identified, in one of the two" in out


def test_bad_input_is_refused(command: Command) -> None:
    a = sheet("a.nc")
    status, out, err = command("diff", a, "nothing.nc")
    assert (status, out) == (2, "")
    assert err == "aocsim: error: nothing.nc: no such file\n"
    result = sheet("sample.nc", lambda data: data.assign_attrs(kind="sample"))
    status, out, err = command("diff", result, a)
    assert (status, out) == (2, "")
    assert "sample.nc: kind: is no calibration; got 'sample'" in err
    before = a.read_bytes()
    status, out, err = command("diff", a, a, "--json", a)
    assert (status, out) == (2, "")
    assert "is one of the calibrations that are compared" in err
    assert a.read_bytes() == before
