"""`aocsim import-twin` and `aocsim export-twin`: the way round, what is refused, and what a killed run leaves."""

from __future__ import annotations

import shutil
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
    assert "left out: by how much alpha arrives other than set" in out
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


@pytest.mark.parametrize("name", ["optics", "ideal48", "dac", "poles", "photodetector"])
def test_a_name_that_would_hide_a_sheet_of_the_library_is_refused(command, twin_file, tmp_path, name):
    status, _, err = command("import-twin", twin_file, "--out", tmp_path / "lib", "--name", name)
    assert status == 2
    assert err.count("\n") == 1
    assert f"{name}.toml: name: is in the library with another content" in err
    assert not (tmp_path / "lib").exists()


def test_a_name_that_would_hide_a_sheet_of_another_folder_is_refused(command, twin_file, tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "lib"
    assert command("import-twin", twin_file, "--out", mine, "--name", NAME)[0] == 0
    again = ("import-twin", twin_file, "--out", other, "--name", NAME, "--library", mine)
    assert command(*again)[0] == 0  # the same sheets hide nothing
    pair = mine / "components" / f"{NAME}_pair.toml"
    pair.write_text(pair.read_text().replace("measured", "mine"))
    shutil.rmtree(other)
    status, _, err = command(*again)
    assert status == 2
    assert f"{NAME}_pair.toml: name: is in the library with another content" in err
    assert not other.exists()


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("saturation.piece4_start_stop", [5.0, 6.0], "saturation: the pieces"),
        ("saturation.piece3_polynomials", [0.0, 0.0, 0.0, 9.0, 9.0], "saturation: the pieces"),
        ("saturation.piece0_cosine_coeff", 0.0, "saturation: the pieces"),
        (
            "column_wise_weights_distortion.positive_row12",
            [[0.0, 0.0, 0.0] for _ in range(48)],
            "column_wise_weights_distortion.positive_row12.0.1: the light must rise with the weight",
        ),
        ("led_poly_coeffs_neg", [-0.2, -0.1, -0.2, 0.0], "led_poly_coeffs_neg.2: the light must rise"),
        ("led_poly_coeffs_pos", [-0.2, -0.1, 1e-9, 0.0], "tanh_sigmoid_coeffs.3: the pairs swing to"),
        (
            "close_loop_offset_and_scale.solution_to_adc_ratio",
            0.0,
            "close_loop_offset_and_scale.solution_to_adc_ratio: outside the valid range",
        ),
        ("deq_input_min_max", [0.0, 0.0], "deq_input_min_max: the machine's converters clip at"),
        ("deq_input_min_max", [-1.3, 1.2], "deq_input_min_max: the machine's converters clip at"),
        ("deq_input_min_max", [-1e6, 1e6], "deq_input_min_max: outside the valid range"),
        ("tanh_sigmoid_coeffs", [3.0, 0.0, 1e-5, 0.2, 0.0, 0.0], "tanh_sigmoid_coeffs.2: outside the valid"),
        ("led_poly_coeffs_pos", [1e308, 1e308, 1e308, 0.0], "led_poly_coeffs_pos.0: is larger than any"),
        (
            "close_loop_offset_and_scale.dc_offset",
            [1e308] * 48,
            "close_loop_offset_and_scale.dc_offset.0: is",
        ),
        ("saturation.piece4_start_stop", [4.1, -1e300], "saturation.piece4_start_stop.1: is larger than any"),
    ],
)
def test_what_no_machine_can_be_built_from_is_refused_before_writing(
    command, twin_file, tmp_path, key, value, place
):
    tree = yaml.safe_load(twin_file.read_text(encoding="utf-8"))
    *tables, last = key.split(".")
    (tree[tables[0]] if tables else tree)[last] = value
    file = tmp_path / "odd.yaml"
    file.write_text(yaml.safe_dump(tree))
    status, _, err = command("import-twin", file, "--out", tmp_path / "lib", "--name", NAME)
    assert status == 2
    assert err.count("\n") == 1
    assert any(f"{file}: {words}" in err for words in place.split("|"))
    assert not (tmp_path / "lib").exists()


@pytest.mark.parametrize("serial", [-1, 2**63, 10**30])
def test_a_serial_number_that_no_machine_has_is_refused(command, tmp_path, serial):
    status, _, err = command("export-twin", "aoc48", "--serial", serial, "--out", "a.yaml")
    assert status == 2
    assert "--serial" in err
    assert "Traceback" not in err
    assert not (tmp_path / "work" / "a.yaml").exists()


def test_a_changed_machine_is_told_as_changed(command, twin_file, tmp_path):
    command("import-twin", twin_file, "--out", tmp_path / "lib", "--name", NAME, "--direct-light", "--quiet")
    gains = tmp_path / "lib" / "components" / f"{NAME}_gains.toml"
    text = gains.read_text()
    before = text[text.index("[entries.electrical_gain]\n") :].splitlines()[1]
    gains.write_text(text.replace(before, 'value = "40"', 1))
    status, out, _ = command("export-twin", NAME, "--library", tmp_path / "lib", "--out", "back.yaml")
    assert status == 0
    assert "every number as it was" not in out
    assert "output_correction.positive" in out
    assert "import-twin --direct-light" in out


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
