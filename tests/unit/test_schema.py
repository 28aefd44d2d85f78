"""Scenario files, changes to them, and every sort of bad input."""

import math
import tomllib
from pathlib import Path

import pytest

from aocsim.errors import InputError
from aocsim.library import SEARCH_PATH_VARIABLE, Library
from aocsim.scenarios.load import load_scenario
from aocsim.scenarios.overrides import parse_assignment
from aocsim.scenarios.schema import Scenario
from aocsim.spec import EntrySpec

LAWS = {
    "slm": {
        "contrast": EntrySpec("dimensionless", per=("machine", "pixel")),
        "profile": EntrySpec("volt", shape=2),
    }
}

SHEET = """schema = 1
law = "slm"
name = "slm"
describes = "a modulator"
[entries.contrast]
value = "500"
spread = "10 %"
per = "pixel"
basis = "A"
source = "assumed"
valid = ["10", "5000"]
[entries.profile]
value = ["1 mV", "2 mV"]
basis = "A"
source = "assumed"
valid = ["-1 V", "1 V"]
"""

MACHINE = """schema = 1
kind = "machine"
name = "bench"
describes = "a machine"
channels = 8
[parts]
slm = "slm"
"""

SHORT = """schema = 1
kind = "sample"
describes = "a study"
machine = "bench"
serial = 1
model = "heart"
samples = 100
trials = 5
seed = 7
[diffusion]
steps = 16
"""

LONG = (
    SHORT
    + """method = "implicit_euler"
[compile]
knowledge = "exact"
alpha = 0.97
beta = 27
volts_per_unit = "279 mV"
trims = "none"
operating_point_trim = 0
[environment]
temperature = "30 degC"
temperature_at_trim = "295 K"
hours_since_trim = 8
[parts.slm]
contrast = "300"
profile = ["3 mV", "4 mV"]
[timeline]
window_start = "68 %"
window_stop = "17.71 us"
samples_per_record = 90
trial_spacing = "1 ms"
memory = "sample_and_hold"
[solve]
method = "DOP853"
rtol = 1e-8
atol = "1 nV"
threads = 2
noise = false
[record]
samples = 0
trials = 3
"""
)


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.delenv(SEARCH_PATH_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    for place, text in (
        ("components/slm", SHEET),
        ("components/bench", MACHINE),
        ("models/heart", ""),
        ("scenarios/study", SHORT),
    ):
        path = tmp_path / f"{place}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Library((tmp_path,), LAWS, {"slm": ("slm",)})


def load(library: Library, text: str, overrides=None) -> Scenario:
    path = library.folders[0] / "scenarios" / "study.toml"
    path.write_text(text, encoding="utf-8")
    return load_scenario("study", library, overrides)


def refusal(library: Library, text: str, overrides=None) -> InputError:
    with pytest.raises(InputError) as caught:
        load(library, text, overrides)
    assert "\n" not in str(caught.value)
    return caught.value


def test_defaults(library):
    scenario = load(library, SHORT)
    assert scenario.name == "study"
    assert (scenario.machine, scenario.serial, scenario.model) == ("bench", 1, "heart")
    assert (scenario.diffusion.steps, scenario.diffusion.method) == (16, "implicit_euler")
    compiling = scenario.compile
    assert (compiling.knowledge, compiling.alpha, compiling.beta) == (0.0025, "per_channel", 27.0)
    assert (compiling.trims, compiling.operating_point_trim) == ("bench", 128)
    room = scenario.environment
    assert (room.temperature, room.temperature_at_trim, room.hours_since_trim) == (None, None, 0.0)
    assert (scenario.record.samples, scenario.record.trials, scenario.solve.noise) == (2, 1, True)
    assert scenario.timeline.samples_per_record is None
    assert scenario.parts == {}


def test_everything_given_is_si(library):
    scenario = load(library, LONG)
    compiling = scenario.compile
    assert (compiling.knowledge, compiling.alpha, compiling.beta) == ("exact", 0.97, 27.0)
    assert (compiling.volts_per_unit, compiling.trims) == (0.279, "none")
    room = scenario.environment
    assert (room.temperature, room.temperature_at_trim, room.hours_since_trim) == (303.15, 295.0, 8.0)
    assert scenario.timeline.memory == "sample_and_hold"
    assert (scenario.timeline.trial_spacing, scenario.timeline.samples_per_record) == (1e-3, 90)
    assert (scenario.solve.method, scenario.solve.atol, scenario.solve.threads) == ("DOP853", 1e-9, 2)
    assert scenario.parts == {"slm": {"contrast": "300", "profile": ("3 mV", "4 mV")}}
    machine = library.machine(scenario.machine, scenario.parts)
    assert machine.parts["slm"].value("contrast") == 300.0


@pytest.mark.parametrize("text", [SHORT, LONG])
def test_json_round_trip(library, text):
    scenario = load(library, text)
    again = Scenario.from_json(scenario.to_json())
    assert again == scenario
    assert again.to_json() == scenario.to_json()


def test_json_that_is_none():
    for text in ("", "{", "[]", "{}", '{"schema": 1, "kind": "sample"}'):
        with pytest.raises(InputError):
            Scenario.from_json(text)


def test_a_file_may_not_hold_bare_numbers_where_stored_scenarios_do(library):
    assert refusal(library, LONG.replace('"279 mV"', "0.279")).key == "compile.volts_per_unit"


def test_window(library):
    timeline = load(library, LONG).timeline
    assert timeline.window(19.2e-6, (0.0, 1e-6)) == pytest.approx((0.68 * 19.2e-6, 17.71e-6))
    assert load(library, SHORT).timeline.window(19.2e-6, (1e-6, 2e-6)) == (1e-6, 2e-6)
    with pytest.raises(InputError, match="inside the record"):
        timeline.window(15e-6, (0.0, 1e-6))


FAULTS = [
    ("samples = 100", "samples = 0", "samples", "at least 1 and at most 100000"),
    ("samples = 100", "samples = 1_000_000", "samples", "at most 100000"),
    ("samples = 100", 'samples = "100"', "samples", "must be a whole number; got '100'"),
    ("samples = 100", "samples = 100.0", "samples", "must be a whole number"),
    ("samples = 100", "samples = true", "samples", "must be a whole number"),
    ("samples = 100", "samples = inf", "samples", "must be a whole number"),
    ("samples = 100", "sampels = 100", "sampels", "did you mean 'samples'?"),
    ("samples = 100\n", "", "samples", "missing"),
    ("trials = 5", "trials = 1001", "trials", "at most 1000"),
    ("trials = 5", "trials = -1", "trials", "at least 1"),
    ("seed = 7", "seed = -1", "seed", "at least 0"),
    ("seed = 7", f"seed = {2**70}", "seed", "less than"),
    ("serial = 1", "serial = -1", "serial", "at least 0"),
    ("serial = 1", 'serial = "1"', "serial", "whole number"),
    ('kind = "sample"', 'kind = "sampel"', "kind", "did you mean 'sample'?"),
    ("schema = 1", "schema = 2", "schema", "got 2"),
    ("schema = 1", "schema = true", "schema", "got True"),
    ('describes = "a study"', 'describes = ""', "describes", "must not be empty"),
    ('machine = "bench"', 'machine = "bensh"', "machine", "did you mean 'bench'?"),
    ('machine = "bench"', "machine = 3", "machine", "must be text"),
    ('machine = "bench"', 'machine = "../bench"', "machine", "unknown machine"),
    ('model = "heart"', 'model = "hart"', "model", "did you mean 'heart'?"),
    ("steps = 16", "steps = 0", "diffusion.steps", "got 0; allowed: at least 1 and at most 4096"),
    ("steps = 16", "steps = 4097", "diffusion.steps", "at most 4096"),
    ("steps = 16", "stepz = 16", "diffusion.stepz", "did you mean 'steps'?"),
    ("[diffusion]", "[difusion]", "difusion", "did you mean 'diffusion'?"),
    ('"implicit_euler"', '"implicit_eular"', "diffusion.method", "did you mean 'implicit_euler'?"),
    ('knowledge = "exact"', 'knowledge = "exat"', "compile.knowledge", "'exact' or 'nominal', or a number"),
    ('knowledge = "exact"', "knowledge = 0.6", "compile.knowledge", "from 0 to 0.5"),
    ('knowledge = "exact"', "knowledge = nan", "compile.knowledge", "from 0 to 0.5"),
    ('knowledge = "exact"', "knowledge = true", "compile.knowledge", "from 0 to 0.5"),
    ('knowledge = "exact"', 'knowledge = "0.1"', "compile.knowledge", "got '0.1'"),
    ("alpha = 0.97", "alpha = 1", "compile.alpha", "below 1"),
    ("alpha = 0.97", "alpha = -0.1", "compile.alpha", "from 0"),
    ("alpha = 0.97", "alpha = inf", "compile.alpha", "from 0"),
    ("beta = 27", "beta = 0", "compile.beta", "more than 0"),
    ("beta = 27", "beta = nan", "compile.beta", "finite"),
    ("beta = 27", "beta = inf", "compile.beta", "finite"),
    ("beta = 27", 'beta = "27"', "compile.beta", "must be a number"),
    ('"279 mV"', '"279 mA"', "compile.volts_per_unit", "a quantity in volt"),
    ('"279 mV"', '"0.279"', "compile.volts_per_unit", "no unit"),
    ('"279 mV"', '"0 V"', "compile.volts_per_unit", "out of range"),
    ('"279 mV"', '"inf V"', "compile.volts_per_unit", "out of range"),
    ('"279 mV"', '"nan V"', "compile.volts_per_unit", "NaN"),
    ('trims = "none"', 'trims = "bnech"', "compile.trims", "did you mean 'bench'?"),
    ('trims = "none"', "trim = false", "compile.trim", "did you mean 'trims'?"),
    (
        "operating_point_trim = 0",
        "operating_point_trim = 10001",
        "compile.operating_point_trim",
        "at most 10000",
    ),
    ('"30 degC"', '"30 V"', "environment.temperature", "a quantity in kelvin"),
    ('"30 degC"', '"0 K"', "environment.temperature", "out of range"),
    ('"295 K"', "295", "environment.temperature_at_trim", "text"),
    ("hours_since_trim = 8", "hours_since_trim = -1", "environment.hours_since_trim", "at least 0"),
    ("hours_since_trim = 8", "hours_since_trim = inf", "environment.hours_since_trim", "finite"),
    ('"sample_and_hold"', '"sample_hold"', "timeline.memory", "did you mean 'sample_and_hold'?"),
    ('contrast = "300"', "contrast = 300", "parts.slm.contrast", "text with its unit"),
    (
        'contrast = "300"',
        'contrast = "3"',
        "parts.slm.contrast",
        "outside the valid range; got '3'; allowed: 10 to 5000",
    ),
    ('contrast = "300"', 'contrst = "300"', "parts.slm.contrst", "did you mean 'contrast'?"),
    ('contrast = "300"', 'sheet = "slmm"', "parts.slm", "did you mean 'slm'?"),
    (
        'contrast = "300"',
        'contrast = {value = "300", per = "pixel"}',
        "parts.slm.contrast.per",
        "known: spread, value",
    ),
    ('["3 mV", "4 mV"]', '["3 mV"]', "parts.slm.profile", "2 elements, not of 1"),
    ('["3 mV", "4 mV"]', "[0.003, 0.004]", "parts.slm.profile", "text with its unit"),
    ("[parts.slm]", "[parts.smm]", "parts.smm", "did you mean 'slm'?"),
    ('"68 %"', '"168 %"', "timeline.window_start", "0 % to 100 %"),
    ('"68 %"', "0.68", "timeline.window_start", "as text"),
    ('"68 %"', '"-1 us"', "timeline.window_start", "from 0 s"),
    ('"68 %"', '"18 us"', "timeline", "before window_stop"),
    ('"68 %"', '"3 V"', "timeline.window_start", "a quantity in second"),
    ("samples_per_record = 90", "samples_per_record = 1", "timeline.samples_per_record", "at least 2"),
    ('trial_spacing = "1 ms"', 'trial_spacing = "-1 ms"', "timeline.trial_spacing", "out of range"),
    ('trial_spacing = "1 ms"', 'trial_spacing = "inf s"', "timeline.trial_spacing", "out of range"),
    ('"DOP853"', '"dop853"', "solve.method", "did you mean 'DOP853'?"),
    ("rtol = 1e-8", "rtol = 1e-13", "solve.rtol", "at least 1e-12"),
    ("rtol = 1e-8", "rtol = 1.0", "solve.rtol", "at most 0.1"),
    ('"1 nV"', '"0 V"', "solve.atol", "out of range"),
    ("threads = 2", "threads = 257", "solve.threads", "at most 256"),
    ("threads = 2", "threads = -1", "solve.threads", "at least 0"),
    ("noise = false", 'noise = "no"', "solve.noise", "true or false"),
    ("noise = false", "noise_scale = -1.0", "solve.noise_scale", "0"),
    ("noise = false", "noise_scale = 2000.0", "solve.noise_scale", "1000"),
    ("trials = 3", "trials = -1", "record.trials", "at least 0"),
    ("[record]", "[record.deep]", "record.deep", "unknown key"),
]


@pytest.mark.parametrize(("old", "new", "key", "says"), FAULTS)
def test_faults(library, old, new, key, says):
    assert LONG.count(old)
    error = refusal(library, LONG.replace(old, new, 1))
    assert (error.key, Path(error.file).name) == (key, "study.toml")
    assert says in str(error)


@pytest.mark.parametrize("text", [LONG[:-9] + '"', SHORT + "steps = 3\n", "= 1"])
def test_broken_file(library, text):
    assert "not valid TOML" in str(refusal(library, text))


def test_a_name_must_be_the_files(library):
    assert load(library, 'name = "study"\n' + SHORT).name == "study"
    assert refusal(library, 'name = "other"\n' + SHORT).key == "name"


def test_parts_may_name_a_sheet_directly(library):
    assert load(library, SHORT + '[parts]\nslm = "slm"\n').parts == {"slm": {"sheet": "slm"}}
    assert refusal(library, "parts = 3\n" + SHORT).key == "parts"


def test_overrides(library):
    changes = {
        "diffusion.steps": 8,
        "parts.slm.contrast": "400",
        "parts.slm.contrast.spread": "0 %",
        "compile.alpha": 0.5,
        "seed": 9,
        "record.samples": 5,
    }
    scenario = load(library, SHORT, changes)
    assert (scenario.diffusion.steps, scenario.compile.alpha, scenario.seed) == (8, 0.5, 9)
    assert scenario.record.samples == 5
    assert scenario.parts == {"slm": {"contrast": "400", "contrast.spread": "0 %"}}
    contrast = library.machine("bench", scenario.parts).parts["slm"]["contrast"]
    assert (contrast.value, contrast.spread) == (400.0, 0.0)


def test_an_override_replaces_what_the_file_says_in_any_form(library):
    nested = SHORT + '[parts.slm.contrast]\nvalue = "300"\nspread = "5 %"\n'
    assert load(library, nested).parts == {"slm": {"contrast": "300", "contrast.spread": "5 %"}}
    scenario = load(library, nested, {"parts.slm.contrast": "400"})
    assert scenario.parts == {"slm": {"contrast": "400", "contrast.spread": "5 %"}}
    scenario = load(library, SHORT + '[parts]\nslm = "slm"\n', {"parts.slm.contrast": "400"})
    assert scenario.parts == {"slm": {"sheet": "slm", "contrast": "400"}}


@pytest.mark.parametrize(
    ("key", "value", "wrong_key", "says"),
    [
        ("diffusion.steps", 0, "diffusion.steps", "at least 1"),
        ("seed", "1", "seed", "must be a whole number; got '1'"),
        ("sed", 1, "sed", "did you mean 'seed'?"),
        ("difusion.steps", 1, "difusion", "did you mean 'diffusion'?"),
        ("parts.slm.contrast", "3", "parts.slm.contrast", "outside the valid range"),
        ("parts.slm.contrast", 300, "parts.slm.contrast", "text with its unit"),
        ("parts.slm.contrast.spread", "-3 %", "parts.slm.contrast.spread", "not negative"),
        ("parts.slm.contrst", "3", "parts.slm.contrst", "did you mean 'contrast'?"),
        ("parts.smm.contrast", "3", "parts.smm", "did you mean 'slm'?"),
        ("seed.deep", 1, "seed.deep", "not a table"),
        ("machine", "bensh", "machine", "did you mean 'bench'?"),
        ("compile", 3, "compile", "must be a table"),
        ("parts", 3, "parts", "must be a table"),
        ("", 3, None, "not a dotted key"),
        ("a..b", 3, None, "not a dotted key"),
        (".seed", 3, None, "not a dotted key"),
    ],
)
def test_faulty_override(library, key, value, wrong_key, says):
    error = refusal(library, SHORT, {key: value})
    assert (error.file, error.key) == ("override", wrong_key)
    assert says in str(error)


def test_a_fault_of_the_file_is_not_blamed_on_the_override(library):
    error = refusal(library, SHORT.replace("trials = 5", "trials = 0"), {"seed": 1})
    assert error.file.endswith("study.toml")


def test_a_fault_of_a_sheet_names_the_sheet(library):
    sheet = library.folders[0] / "components" / "slm.toml"
    sheet.write_text(SHEET.replace('"10 %"', '"-10 %"'), encoding="utf-8")
    assert refusal(library, SHORT).file == str(sheet)


def test_scenario_by_path(library):
    path = library.folders[0] / "scenarios" / "study.toml"
    assert load_scenario(path, library).name == "study"
    with pytest.raises(InputError, match="did you mean 'study'"):
        load_scenario("studdy", library)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=1", "seed", 1),
        (" seed = 1 ", "seed", 1),
        ('seed="1"', "seed", "1"),
        ("compile.alpha=0.97", "compile.alpha", 0.97),
        ("compile.alpha=per_channel", "compile.alpha", "per_channel"),
        ("compile.volts_per_unit=0.3 V", "compile.volts_per_unit", "0.3 V"),
        ("solve.noise=false", "solve.noise", False),
        ("solve.noise=no", "solve.noise", "no"),
        ("machine=aoc48", "machine", "aoc48"),
        ("describes=a=b", "describes", "a=b"),
        ("describes=", "describes", ""),
        ("describes=2024-01-01", "describes", "2024-01-01"),
        ("describes=1\nseed=3", "describes", "1\nseed=3"),
        ("parts.slm.contrast=300", "parts.slm.contrast", "300"),
        ("parts.slm.contrast=3e2", "parts.slm.contrast", "3e2"),
        ('parts.slm.contrast="300"', "parts.slm.contrast", "300"),
        ("parts.slm.contrast=inf", "parts.slm.contrast", "inf"),
        ("parts.slm.contrast=true", "parts.slm.contrast", True),
        ("parts.slm.contrast.spread=5 %", "parts.slm.contrast.spread", "5 %"),
        ('parts.slm.profile=["1 mV", "2 mV"]', "parts.slm.profile", ["1 mV", "2 mV"]),
        ("parts.optics.profile=[1, 0.5]", "parts.optics.profile", ["1", "0.5"]),
        ("parts.slm=slm_ideal", "parts.slm", "slm_ideal"),
    ],
)
def test_assignment(text, key, value):
    parsed = parse_assignment(text)
    assert parsed == (key, value)
    assert type(parsed[1]) is type(value)


def test_assignment_of_nan_is_refused_later(library):
    key, value = parse_assignment("compile.beta=nan")
    assert math.isnan(value)
    assert refusal(library, SHORT, {key: value}).key == "compile.beta"


@pytest.mark.parametrize("text", ["seed", "=1", "a b=1", "a..b=1", ".a=1", ""])
def test_faulty_assignment(text):
    with pytest.raises(InputError):
        parse_assignment(text)


def test_the_examples_of_this_file_are_toml():
    for text in (SHEET, MACHINE, SHORT, LONG):
        assert tomllib.loads(text)
