"""`aocsim import-twin` and `aocsim export-twin`: the way round, what is refused, and what a killed run leaves."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from aocsim import cli
from aocsim.library import SEARCH_PATH_VARIABLE, Library
from aocsim.machine import Machine

NAME = "measured"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv(SEARCH_PATH_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command line in this process: exit status, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["aocsim", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_way_round_is_the_identity(command, twin_file, tmp_path):
    status, out, err = command("import-twin", twin_file, "--out", tmp_path / "lib", "--name", NAME)
    assert (status, err) == (0, "")
    assert f"48 channels from {twin_file}" in out
    machine = Library.open(tmp_path / "lib").machine(NAME)
    assert Machine.build(machine, 2).channels == 48
    status, out, _ = command(
        "export-twin", NAME, "--library", tmp_path / "lib", "--serial", 3, "--out", "back.yaml"
    )
    assert status == 0
    assert "every number as it was" in out
    back = (tmp_path / "work" / "back.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(back) == yaml.safe_load(twin_file.read_text(encoding="utf-8"))
    sheet = tmp_path / "lib" / "components" / f"{NAME}.toml"
    command("export-twin", sheet, "--out", "again.yaml")
    status, _, _ = command("import-twin", "again.yaml", "--out", tmp_path / "two", "--name", NAME, "--quiet")
    assert status == 0
    texts = [path.read_text() for path in sorted((tmp_path / "two" / "components").glob("*.toml"))]
    assert len(texts) == 7


def test_the_name_comes_from_the_file(command, twin_file, tmp_path):
    odd = tmp_path / "April (2025) é.yaml"
    odd.write_bytes(twin_file.read_bytes())
    assert command("import-twin", odd, "--out", "lib")[0] == 0
    assert "April__2025___" in Library.open(tmp_path / "work" / "lib").names("machines")


def test_nothing_is_overwritten_and_the_same_is_passed_over(command, twin_file, tmp_path):
    lib = tmp_path / "lib"
    command("import-twin", twin_file, "--out", lib, "--name", NAME)
    first = contents(lib)
    status, out, _ = command("import-twin", twin_file, "--out", lib, "--name", NAME)
    assert status == 0
    assert out.count("as it was") == 7
    pair = lib / "components" / f"{NAME}_pair.toml"
    pair.write_text(pair.read_text().replace("measured", "mine"))
    gone = lib / "components" / f"{NAME}_slm.toml"
    gone.unlink()
    before = contents(lib)
    status, _, err = command("import-twin", twin_file, "--out", lib, "--name", NAME)
    assert status == 2
    assert f"{NAME}_pair.toml: stands there with another content" in err
    assert contents(lib) == before  # the missing sheet is not written either
    assert len(first) == 7


@pytest.mark.parametrize("name", ["aoc48", "a/b", "..", "", "a b"])
def test_names_that_cannot_be_are_refused(command, twin_file, tmp_path, name):
    status, _, err = command("import-twin", twin_file, "--out", tmp_path / "lib", "--name", name)
    assert status == 2
    assert "--name" in err
    assert not (tmp_path / "lib").exists()


def test_a_bad_file_leaves_no_folder(command, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("tanh_sigmoid_coeffs: [1, 2]\n")
    for file, words in (
        (bad, "missing"),
        (tmp_path / "none.yaml", "cannot be read"),
        (tmp_path, "is a folder"),
    ):
        status, _, err = command("import-twin", file, "--out", tmp_path / "lib")
        assert status == 2
        assert err.count("\n") == 1
        assert words in err
        assert not (tmp_path / "lib").exists()


def test_direct_light_is_in_the_sheet(command, twin_file, tmp_path):
    command("import-twin", twin_file, "--out", tmp_path / "lib", "--name", NAME, "--direct-light", "--quiet")
    spec = Library.open(tmp_path / "lib").machine(NAME)
    assert spec.parts["optics"].value("direct_share") == 1.0


def test_a_typical_machine_comes_with_the_residuals(command, tmp_path):
    status, out, _ = command("export-twin", "aoc48", "--serial", 1, "--out", "typical.yaml")
    assert status == 0
    assert "light paths, + arm" in out
    assert "pair, mean of the channels" in out
    assert command("import-twin", "typical.yaml", "--out", tmp_path / "lib", "--quiet") == (0, "", "")
    status, out, _ = command("show", "typical", "--library", tmp_path / "lib")
    assert status == 0
    assert "optics_measured" in out


def test_export_of_what_is_not_there(command, tmp_path):
    for machine, words in (("aoc84", "did you mean 'aoc48'?"), (str(tmp_path / "x.toml"), "no such file")):
        status, _, err = command("export-twin", machine, "--out", "a.yaml")
        assert status == 2
        assert words in err
    assert command("export-twin", "aoc48", "--out", tmp_path)[0] == 2


def test_the_verbs_do_not_slow_the_command_line_down():
    """Help must not load numpy, yaml or the parts."""
    heavy = ("numpy", "yaml", "pint", "aocsim.components")
    code = f"import sys, aocsim.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
