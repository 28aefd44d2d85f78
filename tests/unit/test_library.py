"""Reading sheets, and every way in which a sheet can be wrong."""

import hashlib
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from aocsim.components import registry
from aocsim.errors import InputError
from aocsim.library import SEARCH_PATH_VARIABLE, Library, read_toml
from aocsim.spec import EntrySpec
from aocsim.units import check_dimension

LAWS = {
    "slm": {
        "contrast": EntrySpec("dimensionless", per=("machine", "pixel")),
        "frame_time": EntrySpec("second"),
    },
    "pair": {
        "offset": EntrySpec("volt", per=("machine", "channel")),
        "profile": EntrySpec("dimensionless", shape=3),
        "curve": EntrySpec("1/volt", shape=0),
        "temperature": EntrySpec("kelvin", per=("machine",)),
    },
}
ROLES = {"slm": ("slm",), "pair": ("pair",)}

SLM = """schema = 1
law = "slm"
name = "slm"
describes = "a modulator"
[entries.contrast]
value = "500"
spread = "10 %"
per = "pixel"
basis = "A"
source = "data sheet"
valid = ["10", "5000"]
[entries.frame_time]
value = "16.7 ms"
basis = "P"
source = "paper"
valid = ["1 us", "inf s"]
"""

PAIR = """schema = 1
law = "pair"
name = "pair"
describes = "a differential pair"
[entries.offset]
value = "0 V"
spread = "1 mV"
per = "channel"
basis = "A"
source = "assumed"
valid = ["-10 mV", "10 mV"]
[entries.profile]
value = ["1.2", "16 %", "-0.56"]
basis = "M"
source = "measured"
valid = ["-2", "2"]
[entries.curve]
value = ["1 1/V", "2 1/V"]
basis = "M"
source = "measured"
valid = ["-5 1/V", "5 1/V"]
[entries.temperature]
value = "25 degC"
spread = "2 degC"
basis = "D"
source = "data sheet"
valid = ["0 degC", "80 degC"]
"""

MACHINE = """schema = 1
kind = "machine"
name = "bench"
describes = "a machine"
channels = 8
[parts]
slm = "slm"
pair = "pair"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A library folder of its own; the current folder and the environment hold none."""
    monkeypatch.delenv(SEARCH_PATH_VARIABLE, raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    root = tmp_path / "library"
    for name in ("components", "models", "scenarios"):
        (root / name).mkdir(parents=True)
    for name, text in (("slm", SLM), ("pair", PAIR), ("bench", MACHINE)):
        (root / "components" / f"{name}.toml").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def library(folder):
    """The library that consists of this folder alone."""
    return Library((folder,), LAWS, ROLES)


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / "components" / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(call, *arguments) -> InputError:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def test_part_in_si(library, folder):
    part = library.part("slm")
    assert (part.name, part.law, part.describes) == ("slm", "slm", "a modulator")
    contrast = part["contrast"]
    assert (contrast.value, contrast.spread, contrast.spread_is_relative) == (500.0, 0.1, True)
    assert (contrast.per, contrast.basis, contrast.source, contrast.text) == (
        "pixel",
        "A",
        "data sheet",
        "500",
    )
    assert contrast.valid == (10.0, 5000.0)
    assert part.value("frame_time") == 16.7e-3
    assert part["frame_time"].spread == 0.0
    assert part["frame_time"].valid[1] == math.inf
    assert part.text == SLM
    assert part.sha256 == hashlib.sha256((folder / "components" / "slm.toml").read_bytes()).hexdigest()


def test_arrays_and_absolute_spread(library):
    part = library.part("pair")
    np.testing.assert_array_equal(part.value("profile"), [1.2, 0.16, -0.56])
    np.testing.assert_array_equal(part.value("curve"), [1.0, 2.0])
    assert not part.value("profile").flags.writeable
    assert (part["offset"].spread, part["offset"].spread_is_relative) == (1e-3, False)
    # A spread is a difference: 2 degC are 2 K, not 275 K.
    assert (part.value("temperature"), part["temperature"].spread) == (298.15, 2.0)


def test_unknown_entry_of_a_part(library):
    assert refusal(library.part("slm").value, "contrst").nearest == "contrast"


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ('value = "500"', "value = 500", "entries.contrast.value", "text with its unit"),
        ('value = "500"', "value = true", "entries.contrast.value", "must be a quantity as text"),
        ('value = "500"', 'value = ["500"]', "entries.contrast.value", "one quantity, not a list"),
        ('value = "500"', 'value = "nan"', "entries.contrast.value", "must not be NaN"),
        ('value = "500"', 'value = "inf"', "entries.contrast.value", "outside the valid range; got 'inf'"),
        (
            'value = "500"',
            'value = "5"',
            "entries.contrast.value",
            "outside the valid range; got '5'; allowed: 10 to 5000",
        ),
        ('value = "500"', 'value = "500 V"', "entries.contrast.value", "plain number"),
        ('value = "16.7 ms"', 'value = "16.7 mV"', "entries.frame_time.value", "a quantity in second"),
        ('value = "16.7 ms"', 'value = "16.7 mss"', "entries.frame_time.value", "unknown unit 'mss'"),
        ('value = "16.7 ms"', 'value = "16.7"', "entries.frame_time.value", "no unit"),
        ('value = "16.7 ms"', 'value = "soon"', "entries.frame_time.value", "not a number"),
        ('value = "16.7 ms"', 'value = ""', "entries.frame_time.value", "not a number"),
        ('spread = "10 %"', 'spread = "-10 %"', "entries.contrast.spread", "not negative"),
        ('spread = "10 %"', 'spread = "inf"', "entries.contrast.spread", "must be finite"),
        ('spread = "10 %"', 'spread = "1 V"', "entries.contrast.spread", "plain number"),
        ('spread = "10 %"', "spread = 0.1", "entries.contrast.spread", "must be text"),
        ('spread = "10 %"', 'spred = "10 %"', "entries.contrast.spred", "did you mean 'spread'?"),
        ('per = "pixel"', 'per = "pixels"', "entries.contrast.per", "did you mean 'pixel'?"),
        ('per = "pixel"', 'per = "channel"', "entries.contrast.per", "known: machine, pixel"),
        ('basis = "A"', 'basis = "B"', "entries.contrast.basis", "M or P or D or L or X or A"),
        ('basis = "A"\n', "", "entries.contrast.basis", "missing"),
        ('source = "data sheet"', 'source = ""', "entries.contrast.source", "must not be empty"),
        ('valid = ["10", "5000"]', 'valid = ["10"]', "entries.contrast.valid", "2"),
        ('valid = ["10", "5000"]', "valid = [10, 5000]", "entries.contrast.valid.0", "must be text"),
        ('valid = ["10", "5000"]', 'valid = ["5000", "10"]', "entries.contrast.valid", "lower end"),
        ('valid = ["10", "5000"]', 'valid = ["10", "nan"]', "entries.contrast.valid", "NaN"),
        ("[entries.contrast]", "[entries.contrst]", "entries.contrst", "did you mean 'contrast'?"),
        ("schema = 1", "schema = 2", "schema", "got 2"),
        ("schema = 1", 'schema = "1"', "schema", "got '1'"),
        ("schema = 1", "shema = 1", "shema", "did you mean 'schema'?"),
        ('law = "slm"', 'law = "slmm"', "law", "did you mean 'slm'?"),
        ('law = "slm"', "law = 3", "law", "must be text"),
        ('name = "slm"', 'name = "other"', "name", "must be the name of the file"),
        ('describes = "a modulator"', 'describes = ""', "describes", "must not be empty"),
    ],
)
def test_faulty_part(library, folder, old, new, key, says):
    assert old in SLM
    path = put(folder, "slm", SLM.replace(old, new, 1))
    error = refusal(library.part, "slm")
    assert (error.file, error.key) == (str(path), key)
    assert says in str(error)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["1.2", "16 %", "-0.56"]', '["1.2", "16 %"]', "a list of 3 elements, not of 2"),
        ('["1.2", "16 %", "-0.56"]', '["1.2", "16 %", "-5.6"]', "outside the valid range; got '-5.6'"),
        ('["1.2", "16 %", "-0.56"]', '"1.2"', "must be a list of quantities"),
        ('["1.2", "16 %", "-0.56"]', '["1.2", 0.16, "-0.56"]', "text with its unit"),
        ('["1.2", "16 %", "-0.56"]', '["1.2", ["1"], "-0.56"]', "must be a quantity as text"),
        ('["1 1/V", "2 1/V"]', "[]", "at least one element"),
        ('["1 1/V", "2 1/V"]', '["1 1/V", "2 V"]', "a quantity in 1/volt"),
    ],
)
def test_faulty_array(library, folder, old, new, says):
    put(folder, "pair", PAIR.replace(old, new, 1))
    assert says in str(refusal(library.part, "pair"))


def test_missing_entry(library, folder):
    put(folder, "slm", SLM[: SLM.index("[entries.frame_time]")])
    error = refusal(library.part, "slm")
    assert error.key == "entries.frame_time"
    assert "missing" in str(error)


@pytest.mark.parametrize(
    "raw",
    [
        SLM[: SLM.index('"data sheet"') + 4].encode(),
        SLM.encode() + b'[entries.contrast]\nvalue = "3"\n',
        SLM.replace('basis = "A"', 'basis = "A"\nbasis = "P"').encode(),
        b"\xff\xfe" + SLM.encode(),
        b"a = " + b"[" * 100_000,
    ],
    ids=["cut off", "duplicate table", "duplicate key", "not UTF-8", "too deep"],
)
def test_broken_file(library, folder, raw):
    path = folder / "components" / "slm.toml"
    path.write_bytes(raw)
    error = refusal(library.part, "slm")
    assert (error.file, error.key) == (str(path), None)
    # It hurts no one else, not even by way of a listing.
    assert library.part("pair").name == "pair"
    assert list(library.names("parts")) == ["pair"]
    # A machine that uses it names the file, once.
    assert refusal(library.machine, "bench").file == str(path)


def test_unreadable_file(tmp_path):
    assert "cannot be read" in str(refusal(read_toml, tmp_path / "none.toml"))
    assert "cannot be read" in str(refusal(read_toml, tmp_path))


def test_machine(library):
    machine = library.machine("bench")
    assert (machine.name, machine.channels, set(machine.parts)) == ("bench", 8, {"slm", "pair"})
    assert machine.parts["slm"].value("contrast") == 500.0
    assert machine.text == MACHINE


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        ("channels = 8", "channels = 0", "channels", "at least 2 and at most 4096"),
        ("channels = 8", "channels = -1", "channels", "at least 2"),
        ("channels = 8", "channels = 1_000_000_000", "channels", "at most 4096"),
        ("channels = 8", "channels = 8.0", "channels", "whole number"),
        ("channels = 8", 'channels = "8"', "channels", "whole number"),
        ("channels = 8", "channels = true", "channels", "whole number"),
        ("channels = 8\n", "", "channels", "missing"),
        ("channels = 8", "chanels = 8", "chanels", "did you mean 'channels'?"),
        ('kind = "machine"', 'kind = "machines"', "kind", "did you mean 'machine'?"),
        ('slm = "slm"', 'slmm = "slm"', "parts.slmm", "unknown role"),
        ('slm = "slm"\n', "", "parts", "no sheet for the role 'slm'"),
        ('slm = "slm"', 'slm = "slmm"', "parts.slm", "did you mean 'slm'?"),
        ('slm = "slm"', 'slm = "pair"', "parts.slm", "law 'slm', not 'pair'"),
        ('slm = "slm"', 'slm = "bench"', None, "of a machine, not of a part"),
        ('slm = "slm"', "slm = 1", "parts.slm", "must be the name of a sheet"),
        ('slm = "slm"', 'slm = {contrast = "50"}', "parts.slm.sheet", "names no sheet"),
        ('slm = "slm"', 'slm = {sheet = "slm", contrast = 50}', "parts.slm.contrast", "text with its unit"),
        (
            'slm = "slm"',
            'slm = {sheet = "slm", contrast = "5"}',
            "parts.slm.contrast",
            "outside the valid range",
        ),
        (
            'slm = "slm"',
            'slm = {sheet = "slm", contrast.sprad = "5 %"}',
            "parts.slm.contrast.sprad",
            "'spread'",
        ),
        ('slm = "slm"', 'slm = {sheet = ["slm"]}', "parts.slm.sheet", "one sheet"),
        ('name = "bench"', 'name = "bank"', "name", "must be the name of the file"),
    ],
)
def test_faulty_machine(library, folder, old, new, key, says):
    assert old in MACHINE
    path = put(folder, "bench", MACHINE.replace(old, new, 1))
    error = refusal(library.machine, "bench")
    assert error.key == key
    if key is not None:
        assert error.file == str(path)
    assert says in str(error)


def test_machine_may_change_entries_of_its_sheets(library, folder):
    text = MACHINE.replace(
        'slm = "slm"', 'slm = {sheet = "slm", contrast = {value = "300", spread = "0 %"}}'
    ).replace('pair = "pair"', 'pair = {sheet = "pair", profile = ["1", "0", "0"]}')
    put(folder, "bench", text)
    parts = library.machine("bench").parts
    assert (parts["slm"].value("contrast"), parts["slm"]["contrast"].spread) == (300.0, 0.0)
    assert parts["slm"].overrides == {"contrast": "300", "contrast.spread": "0 %"}
    np.testing.assert_array_equal(parts["pair"].value("profile"), [1, 0, 0])


def test_part_overrides_are_a_copy(library):
    part = library.part("slm")
    changed = part.with_overrides({"contrast": "300", "contrast.spread": "20"})
    assert (part.value("contrast"), changed.value("contrast")) == (500.0, 300.0)
    assert (changed["contrast"].spread, changed["contrast"].spread_is_relative) == (20.0, False)
    assert changed["contrast"].valid == part["contrast"].valid
    assert changed.sha256 == part.sha256
    assert changed.with_overrides({"contrast": "400"}).overrides == {
        "contrast": "400",
        "contrast.spread": "20",
    }


@pytest.mark.parametrize(
    ("overrides", "key", "says"),
    [
        (
            {"slm": {"contrast": "5"}},
            "parts.slm.contrast",
            "outside the valid range; got '5'; allowed: 10 to 5000",
        ),
        ({"slm": {"contrast": "5 V"}}, "parts.slm.contrast", "plain number"),
        ({"slm": {"contrast": ("5", "6")}}, "parts.slm.contrast", "one quantity"),
        ({"slm": {"contrst": "5"}}, "parts.slm.contrst", "did you mean 'contrast'?"),
        ({"slm": {"contrast.spread": "-1 %"}}, "parts.slm.contrast.spread", "not negative"),
        (
            {"slm": {"contrast.valid": "1"}},
            "parts.slm.contrast.valid",
            "only an entry's value and its spread",
        ),
        ({"slm": {"contrast.spread": ("1", "2")}}, "parts.slm.contrast.spread", "only an entry's value"),
        ({"slm": {"sheet": "slmm"}}, "parts.slm", "did you mean 'slm'?"),
        ({"slm": {"sheet": "pair"}}, "parts.slm", "law 'slm', not 'pair'"),
        ({"led": {"contrast": "5"}}, "parts.led", "unknown role"),
        ({"pair": {"profile": ("1", "2")}}, "parts.pair.profile", "3 elements, not of 2"),
    ],
)
def test_faulty_override(library, overrides, key, says):
    error = refusal(library.machine, "bench", overrides)
    assert error.key == key
    assert says in str(error)


def test_override_by_another_sheet(library, folder):
    put(folder, "slm_ideal", SLM.replace('name = "slm"', 'name = "slm_ideal"').replace('"500"', '"5000"'))
    put(folder, "bench", MACHINE.replace('slm = "slm"', 'slm = {sheet = "slm", frame_time = "1 ms"}'))
    part = library.machine("bench", {"slm": {"sheet": "slm_ideal", "contrast": "4000"}}).parts["slm"]
    assert (part.name, part.value("contrast")) == ("slm_ideal", 4000.0)
    assert part.value("frame_time") == 16.7e-3  # the machine changes the sheet it names, not another


def test_unknown_names(library):
    assert refusal(library.part, "slmm").nearest == "slm"
    assert refusal(library.machine, "bensh").nearest == "bench"
    assert "machine" not in str(refusal(library.part, "nothing-like-it").nearest)
    for name in ("", ".", "..", "../components/slm", "a/b", "x" * 5000, "slm\0", "slm.toml"):
        refusal(library.part, name)
        refusal(library.machine, name)


def test_a_machine_is_not_a_part(library):
    assert "of a machine" in str(refusal(library.part, "bench"))
    assert "of a part" in str(refusal(library.machine, "slm"))
    assert set(library.names("parts")) == {"slm", "pair"}
    assert set(library.names("machines")) == {"bench"}


def test_search_order(library, folder, tmp_path, monkeypatch):
    def shelf(name: str, contrast: str, *extra: str) -> Path:
        root = tmp_path / name
        (root / "components").mkdir(parents=True)
        put(root, "slm", SLM.replace('"500"', f'"{contrast}"'))
        for other in extra:
            put(root, other, SLM.replace('name = "slm"', f'name = "{other}"'))
        return root

    first, second = shelf("first", "11"), shelf("second", "12", "in_second")
    monkeypatch.chdir(shelf("current", "13", "in_current"))
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, os.pathsep.join([str(first), "", str(second), "/nowhere"]))

    def contrast(library: Library) -> object:
        return library.part("slm").value("contrast")

    assert contrast(Library.open(folder, LAWS, ROLES)) == 500
    opened = Library.open(None, LAWS, ROLES)
    assert contrast(opened) == 11
    assert opened.part("in_second").path.parent.parent == second
    assert opened.part("in_current").path.parent.parent == tmp_path / "current"
    assert opened.names("parts")["slm"] == first / "components" / "slm.toml"
    monkeypatch.delenv(SEARCH_PATH_VARIABLE)
    assert contrast(Library.open(None, LAWS, ROLES)) == 13


def test_search_path_names_a_missing_folder(folder, monkeypatch, caplog):
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, "/nowhere")
    Library.open(folder, LAWS, ROLES)
    assert "/nowhere" in caplog.text


def test_a_foreign_file_in_the_current_folder_is_passed_over(folder, monkeypatch, tmp_path):
    foreign = tmp_path / "web"
    (foreign / "components").mkdir(parents=True)
    put(foreign, "button", 'label = "press"\n')
    put(foreign, "broken", "= = =")
    monkeypatch.chdir(foreign)
    library = Library.open(folder, LAWS, ROLES)
    assert library.machine("bench").channels == 8
    assert set(library.names("parts")) == {"slm", "pair"} | set(
        Library.open(None, LAWS, ROLES).names("parts")
    )
    assert refusal(library.part, "broken").file is not None
    assert refusal(library.part, "button").file is not None


def test_library_folder_must_be_one(tmp_path):
    assert "not a library folder" in str(refusal(Library.open, tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "not a library folder" in str(refusal(Library.open, tmp_path / "empty"))


def test_models_and_scenarios_by_name_or_path(library, folder, tmp_path):
    (folder / "models" / "heart.toml").write_text("", encoding="utf-8")
    (folder / "scenarios" / "study.toml").write_text("", encoding="utf-8")
    assert library.model_path("heart") == folder / "models" / "heart.toml"
    assert library.scenario_path("study") == folder / "scenarios" / "study.toml"
    assert library.scenario_path(str(folder / "scenarios" / "study.toml")).name == "study.toml"
    assert refusal(library.model_path, "hart").nearest == "heart"
    for name in ("none.toml", "x" * 5000 + ".toml", "a\0.toml"):
        assert "no such file" in str(refusal(library.model_path, name))
    assert "heart" in library.names("models")
    assert "study" in library.names("scenarios")


def test_specifications_survive_pickling(library):
    machine = pickle.loads(pickle.dumps(library.machine("bench")))
    assert machine.parts["slm"].with_overrides({"contrast": "20"}).value("contrast") == 20.0


def test_an_entry_declaration_is_checked():
    for arguments in ({"shape": -1}, {"per": ("chanel",)}):
        with pytest.raises(ValueError):
            EntrySpec("volt", **arguments)


def test_registered_laws_declare_plain_si_units():
    # A law that declared "millivolt" would get its numbers in millivolts.
    library = Library((), None, None)
    for law, entries in library.laws.items():
        assert entries, law
        for entry in entries.values():
            check_dimension(entry.dimension)
    filling = {law for laws in library.roles.values() for law in laws}
    assert filling | set(registry.EQUIPMENT) == set(library.laws)
    assert not filling & set(registry.EQUIPMENT)


def test_an_optional_entry_may_be_left_out(tmp_path):
    laws = {"lamp": {"current": EntrySpec("ampere"), "supply": EntrySpec("watt", optional=True)}}
    folder = tmp_path / "components"
    folder.mkdir()
    sheet = 'schema = 1\nlaw = "lamp"\nname = "lamp"\ndescribes = "a lamp"\n'
    entry = '[entries.{}]\nvalue = "{}"\nbasis = "A"\nsource = "test"\nvalid = ["{}", "{}"]\n'
    current, supply = (
        entry.format("current", "1 A", "0 A", "2 A"),
        entry.format("supply", "1 W", "0 W", "2 W"),
    )
    library = Library((tmp_path,), laws, {})
    (folder / "lamp.toml").write_text(sheet + current)
    part = library.part("lamp")
    assert list(part.entries) == ["current"]
    with pytest.raises(InputError, match=r"parts\.lamp\.supply: unknown entry"):
        part.with_overrides({"supply": "1 W"}, "parts.lamp")
    (folder / "lamp.toml").write_text(sheet + current + supply)
    assert library.part("lamp").value("supply") == 1.0
    (folder / "lamp.toml").write_text(sheet + supply)
    with pytest.raises(InputError, match=r"entries\.current: entry missing"):
        library.part("lamp")
