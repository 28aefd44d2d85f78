"""The command line: what it lists and shows, how it runs and trains, and every sort of bad input."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import aocsim
from aocsim import cli
from aocsim.errors import PhysicsError
from aocsim.library import SEARCH_PATH_VARIABLE, Kind, Library

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = Library((REPOSITORY,))
HEAVY = ("xarray", "pint", "matplotlib", "torch", "numba", "scipy", "netCDF4", "numpy")

TINY = """schema = 1
kind = "sample"
name = "tiny"
describes = "a few points"
machine = "aoc48"
serial = 1
model = "heart"
samples = 4
trials = 1
seed = 7
[diffusion]
steps = 2
[solve]
atol = "20 uV"
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test stands in its own folder with a library that holds the scenario "tiny"."""
    scenarios = tmp_path / "library" / "scenarios"
    scenarios.mkdir(parents=True)
    (scenarios / "tiny.toml").write_text(TINY)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv(SEARCH_PATH_VARIABLE, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process: exit status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aocsim", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """Runs a command that must be refused, and gives its one line on stderr."""

    def run(*arguments: str) -> str:
        before = everything()
        status, out, err = command(*arguments)
        assert status == 2
        assert out == ""
        assert err.startswith("aocsim: error: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert everything() == before
        return err

    return run


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Replaces the simulation by one that writes two files and notes what it was asked."""
    calls: list[dict[str, object]] = []

    def run_scenario(name: str, **arguments: object) -> SimpleNamespace:
        calls.append({"name": name, **arguments})
        out = arguments["out"]
        if isinstance(out, Path):
            for file in ("result.nc", "summary.json"):
                (out / file).write_text("new")
        summary = {"settling_us_median": 4.5, "bandwidth_hz": 5e6, "latency_s_per_step": 0.25, "w2": None}
        return SimpleNamespace(attrs={"summary": json.dumps(summary), "notes": "[]"})

    monkeypatch.setattr("aocsim.scenarios.run.run_scenario", run_scenario)
    return calls


def everything() -> set[Path]:
    return set(Path.cwd().parent.rglob("*"))


def process(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own, its output in pipes."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", "aocsim", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,  # type: ignore[call-overload]
    )


# --- start ---


@pytest.mark.parametrize(
    "code",
    [
        "import aocsim",
        "import aocsim; aocsim.__version__",
        "import aocsim.cli",
        "import sys, contextlib, aocsim.cli as c; sys.argv = ['aocsim', '--help']\n"
        "with contextlib.suppress(SystemExit): c.main()",
        "import sys, contextlib, aocsim.cli as c; sys.argv = ['aocsim', 'run', '--help']\n"
        "with contextlib.suppress(SystemExit): c.main()",
    ],
)
def test_nothing_slow_is_imported_before_it_is_needed(code: str) -> None:
    code += f"\nimport sys; print('loaded', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"aocsim {aocsim.__version__}\n", "")


def test_help_names_every_command(command: Command) -> None:
    status, out, _ = command("--help")
    assert status == 0
    for name in ("run", "rerun", "compare", "list", "show", "train", "--version"):
        assert name in out


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["run", "tiny", "--frobnicate"], ["run"], ["show"], ["rerun"], ["compare", "a.nc"]],
)
def test_wrong_usage(command: Command, arguments: list[str]) -> None:
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert "Usage" in err
    assert "Traceback" not in err


# --- list and show ---


@pytest.mark.parametrize("kind", cli.KINDS)
def test_list_names_every_sheet(command: Command, kind: Kind) -> None:
    status, out, err = command("list", kind)
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()[1:]}
    for name, path in SHIPPED.names(kind).items():
        assert str(path) in rows[name]


def test_list_alone_lists_all_kinds(command: Command) -> None:
    status, out, _ = command("list", "--library", "../library")
    assert status == 0
    names = {line.split()[0] for line in out.splitlines() if line}
    assert {"slm", "aoc48", "heart", "tiny", "part", "machine", "model", "scenario"} <= names


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in cli.KINDS for name in SHIPPED.names(kind)]
)
def test_show_of_every_sheet(command: Command, kind: Kind, name: str) -> None:
    status, out, err = command("show", name, "--kind", kind)
    assert (status, err) == (0, "")
    assert out.startswith(f"{kind[:-1]} {name}: ")


@pytest.mark.parametrize("name", SHIPPED.names("parts"))
def test_show_gives_every_entry_in_full(command: Command, name: str) -> None:
    part = SHIPPED.part(name)
    _, out, _ = command("show", name)
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    for entry in part.entries.values():
        row = rows[entry.name]
        value = entry.text if isinstance(entry.text, str) else ", ".join(entry.text)
        assert value in row
        assert entry.dimension in row
        assert row.endswith(entry.source)


def test_piped_output_is_not_cut() -> None:
    done = process("show", "aoc48", "--parts")
    assert (done.returncode, done.stderr) == (0, "")
    for part in SHIPPED.machine("aoc48").parts.values():
        for entry in part.entries.values():
            assert entry.source in done.stdout


def test_reader_that_stops_reading_is_no_error() -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    shell = f"'{sys.executable}' -m aocsim show aoc48 --parts | true"
    done = subprocess.run(shell, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_written() -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aocsim", "list"],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "aocsim: error: output: cannot be written: No space left on device\n"


def test_a_name_of_several_kinds_shows_all(command: Command) -> None:
    source = Path("../library/scenarios/heart.toml")
    source.write_text(TINY.replace('"tiny"', '"heart"'))
    _, out, _ = command("show", "heart", "--library", "../library")
    assert out.startswith("model heart: ")
    assert "\nscenario heart: a few points\n" in out
    _, out, _ = command("show", "heart", "--kind", "scenario", "--library", "../library")
    assert out.startswith("scenario heart: ")
    assert "model heart: " not in out


def test_show_of_a_machine_says_what_it_changes(command: Command) -> None:
    folder = Path("../library/components")
    folder.mkdir()
    text = (REPOSITORY / "components" / "aoc48.toml").read_text()
    changed = text.replace('"aoc48"', '"other"').replace(
        'slm = "slm"', 'slm = { sheet = "slm", contrast = { value = "321", spread = "3.21 %" } }'
    )
    (folder / "other.toml").write_text(changed)
    _, out, _ = command("show", "other", "--library", "../library")
    assert "48 channels" in out
    assert "contrast = 321, contrast.spread = 3.21 %" in out
    assert "transmission" not in out
    _, out, _ = command("show", "other", "--parts", "--library", "../library")
    row = next(line for line in out.splitlines() if line.startswith("contrast "))
    assert row.split()[1] == "321"
    assert "3.21 %" in row


def test_show_of_a_scenario_has_defaults_beside_what_is_written(command: Command) -> None:
    for name in ("tiny", "../library/scenarios/tiny.toml"):
        _, out, _ = command("show", name, "--library", "../library")
        rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
        assert rows["solve.atol"] == ["solve.atol", "20", "uV", "file"]
        assert rows["solve.noise"] == ["solve.noise", "true", "default"]


def test_a_damaged_sheet_is_listed_or_reported(command: Command, refused: Callable[..., str]) -> None:
    (Path("../library/scenarios") / "broken.toml").write_text("schema = ")
    folder = Path("../library/components")
    folder.mkdir()
    (folder / "crooked.toml").write_text("schema = ")
    status, out, _ = command("list", "scenarios", "--library", "../library")
    assert status == 0
    assert "not valid TOML" in next(line for line in out.splitlines() if line.startswith("broken "))
    for name in ("broken", "crooked"):
        err = refused("show", name, "--library", "../library")
        assert f"{name}.toml: is not valid TOML" in err


@pytest.mark.parametrize("kind", ["part", "machine", "model", "scenario"])
def test_show_of_an_unknown_name(refused: Callable[..., str], kind: str) -> None:
    assert "unknown" in refused("show", "nonesuch", "--kind", kind)
    assert "did you mean 'aoc48'?" in refused("show", "aoc4")
    assert "did you mean 'parts'?" in refused("show", "slm", "--kind", "part_s")
    assert "did you mean 'machines'?" in refused("list", "machin")


def test_show_of_a_part_by_its_path(refused: Callable[..., str]) -> None:
    assert "did you mean 'slm'?" in refused("show", str(REPOSITORY / "components" / "slm.toml"))


def test_a_library_that_is_none(refused: Callable[..., str]) -> None:
    for arguments in (["list"], ["show", "slm"], ["run", "tiny"], ["train", "heart"]):
        assert "is not a library folder" in refused(*arguments, "--library", "nowhere")


# --- run ---


def test_run_passes_everything_on(command: Command, runs: list[dict[str, object]]) -> None:
    status, out, err = command(
        "run", "tiny", "--library", "../library", "--seed", "3", "--threads", "2",
        "--set", "samples=5", "--set", "samples=6", "--set", "parts.slm.contrast=300", "--out", "a/b",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert runs == [
        {
            "name": "tiny",
            "library": Path("../library"),
            "overrides": {"samples": 6, "parts.slm.contrast": "300", "seed": 3, "solve.threads": 2},
            "out": Path("a/b"),
            "progress": False,
        }
    ]
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert rows["settling_us_median"] == ["4.5", "us"]
    assert rows["bandwidth_hz"] == ["5e+06", "Hz"]
    assert rows["latency_s_per_step"] == ["0.25", "s"]
    assert rows["w2"] == ["not", "a", "number", "-"]
    assert out.endswith("written:\n  a/b/result.nc\n  a/b/summary.json\n")


def test_run_writes_to_results_and_names_only_what_it_wrote(
    command: Command, runs: list[dict[str, object]]
) -> None:
    folder = Path("results/tiny")
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    _, out, _ = command("run", "../library/scenarios/tiny.toml")
    assert runs[0]["out"] == folder
    assert "results/tiny/result.nc" in out
    assert "notes.txt" not in out


def test_quiet_run_prints_nothing(command: Command, runs: list[dict[str, object]]) -> None:
    assert command("run", "tiny", "--library", "../library", "--quiet") == (0, "", "")
    assert len(runs) == 1


@pytest.mark.parametrize(("terminal", "quiet", "shown"), [(True, False, True), (True, True, False)])
def test_progress_is_for_terminals(
    command: Command,
    runs: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    quiet: bool,
    shown: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    command("run", "tiny", "--library", "../library", *(["--quiet"] if quiet else []))
    assert runs[0]["progress"] is shown


BAD = {
    "samples": "must read KEY=VALUE",
    "=3": "is not a dotted key",
    "a..b=3": "is not a dotted key",
    "sampels=3": "did you mean 'samples'?",
    "diffusion.stepps=3": "did you mean 'steps'?",
    "samples=0": "samples: not allowed",
    "samples=-3": "at least 1",
    "samples=2.5": "must be a whole number",
    "samples=1e12": "must be a whole number",
    "samples=1000000000000": "at most 100000",
    "samples=many": "must be a whole number",
    'samples="12"': "must be a whole number",
    "samples.x=1": "cannot be set",
    "diffusion=3": "diffusion",
    "diffusion.steps=-1": "at least 1",
    "diffusion.steps=0": "at least 1",
    "diffusion.steps=1000000": "at most 4096",
    "solve.method=RK54": "did you mean 'RK45'?",
    "solve.atol=1e-6": "with its unit",
    "solve.atol=1 us": "volt",
    "solve.rtol=nan": "must be a finite number",
    "machine=aoc49": "did you mean 'aoc48'?",
    "model=hart": "did you mean 'heart'?",
    "parts.smm=slm": "did you mean 'slm'?",
    "parts.slm=slm_idael": "did you mean 'slm_ideal'?",
    "parts.slm=gains": "needs a sheet of law 'slm' or 'slm_measured', not 'gains'",
    "parts.slm.contrsat=300": "did you mean 'contrast'?",
    "parts.slm.contrast=5 V": "must be a plain number",
    "parts.gains.offset=7": "the number has no unit",
    "parts.gains.offset=7 Hz": "must be a quantity in volt",
    "parts.gains.offset=7 flurbs": "unknown unit",
    "parts.gains.offset=seven volt": "is not a number with a unit",
    "parts.gains.offset=1 kV": "outside the valid range",
    "parts.gains.offset.spread=3 Hz": "must be a quantity in volt",
    "parts.slm.contrast.spread=-1 %": "not negative",
    "parts.slm.contrast=-1": "outside the valid range",
    "parts.slm.contrast=nan": "must not be NaN",
}


@pytest.mark.parametrize("assignment", BAD)
def test_bad_values_are_refused_before_anything_is_written(
    refused: Callable[..., str], runs: list[dict[str, object]], assignment: str
) -> None:
    for out in ([], ["--out", "new/folder"]):
        err = refused("run", "tiny", "--library", "../library", "--set", assignment, *out)
        assert BAD[assignment] in err
    assert runs == []


def test_bad_options(refused: Callable[..., str], command: Command, runs: list[dict[str, object]]) -> None:
    tiny = ("run", "tiny", "--library", "../library")
    assert "seed" in refused(*tiny, "--seed", "-1")
    assert "solve.threads" in refused(*tiny, "--threads", "-1")
    assert "is set twice" in refused(*tiny, "--seed", "1", "--set", "seed=2")
    assert "did you mean 'tiny'?" in refused("run", "tinny", "--library", "../library")
    assert "no such file" in refused("run", "nowhere/tiny.toml")
    assert command(*tiny, "--seed", "one")[0] == 2
    assert runs == []


@pytest.mark.parametrize("out", ["file", "file/below", "/proc/aocsim"])
def test_folder_that_cannot_be_written_is_found_before_the_run(
    refused: Callable[..., str], runs: list[dict[str, object]], out: str
) -> None:
    if out.startswith("/proc") and sys.platform != "linux":
        pytest.skip("/proc is Linux's")
    Path("file").write_text("kept")
    err = refused("run", "tiny", "--library", "../library", "--out", out)
    assert out in err
    assert runs == []
    assert Path("file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(refused: Callable[..., str], runs: list[dict[str, object]]) -> None:
    Path("closed").mkdir(mode=0o500)
    assert "Permission denied" in refused("run", "tiny", "--library", "../library", "--out", "closed")
    assert runs == []


def fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run_scenario(name: str, **arguments: object) -> None:
        raise error

    monkeypatch.setattr("aocsim.scenarios.run.run_scenario", run_scenario)


def test_a_machine_that_does_not_work_leaves_no_folder(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_with(monkeypatch, PhysicsError("the loop is\nunstable"))
    err = refused("run", "tiny", "--library", "../library")
    assert err == "aocsim: error: the loop is unstable\n"
    fails_with(monkeypatch, MemoryError("8 TiB"))
    assert "not enough memory: 8 TiB" in refused("run", "tiny", "--library", "../library")


def test_an_interrupted_run_leaves_no_folder(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, KeyboardInterrupt())
    before = everything()
    assert command("run", "tiny", "--library", "../library") == (130, "", "aocsim: interrupted\n")
    assert everything() == before


def test_a_defect_shows_its_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with(monkeypatch, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        command("run", "tiny", "--library", "../library")


def test_interrupt_from_the_keyboard() -> None:
    code = (
        "import signal, sys, os, aocsim.scenarios.run as run, aocsim.cli as cli\n"
        "run.run_scenario = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['aocsim', 'run', 'tiny', '--library', '../library']\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "aocsim: interrupted\n")


def test_run_from_python(runs: list[dict[str, object]]) -> None:
    aocsim.run("tiny", seed=3, overrides={"samples": 5}, library="../library")
    aocsim.run(Path("a.toml"), progress=True)
    assert runs == [
        {
            "name": "tiny",
            "library": Path("../library"),
            "overrides": {"samples": 5, "seed": 3},
            "out": None,
            "progress": False,
        },
        {"name": "a.toml", "library": None, "overrides": {}, "out": None, "progress": True},
    ]


# --- train ---

SHORT = ("--set", "training.iterations=3", "--set", "training.batch=8", "--set", "layout=[2, 3]")


@pytest.mark.train
def test_train_writes_one_file_beside_the_recipe(command: Command) -> None:
    pytest.importorskip("torch")
    folder = Path("models")
    folder.mkdir()
    recipe = folder / "heart.toml"
    recipe.write_text((REPOSITORY / "models" / "heart.toml").read_text())
    status, out, err = command("train", str(recipe), *SHORT, "--seed", "5")
    assert (status, err) == (0, "")
    assert "final loss" in out
    assert "mean of the last 3 iterations" in out
    assert sorted(path.name for path in folder.iterdir()) == ["heart.nc", "heart.toml"]
    _, out, _ = command("show", "heart", "--kind", "model", "--library", ".")
    assert "another one" in out
    assert any(line.split() == ["iterations", "3"] for line in out.splitlines())
    assert any(line.split() == ["channels", "5"] for line in out.splitlines())


@pytest.mark.train
def test_train_into_a_folder(command: Command) -> None:
    pytest.importorskip("torch")
    assert command("train", "heart", *SHORT, "--out", "a/b", "--quiet") == (0, "", "")
    assert [path.name for path in Path("a/b").iterdir()] == ["heart.nc"]


BAD_TRAINING = {
    "training.iterations": "must read KEY=VALUE",
    "training.iterations=0": "override: training.iterations: not allowed",
    "training.itertions=3": "did you mean 'iterations'?",
    "training.iterations.x=3": "cannot be set",
    "training.learning_rate=fast": "must be a number",
    "layout=[]": "layout",
    "data=hart": "did you mean 'heart'?",
    "activation=aoc49": "did you mean 'aoc48'?",
    "name=other": "must be the name of the file",
}


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments: object, **options: object) -> None:
        pytest.fail("training was begun")

    monkeypatch.setattr("aocsim.diffusion.train.train", train)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("assignment", BAD_TRAINING)
def test_bad_recipes_are_refused_before_the_training(refused: Callable[..., str], assignment: str) -> None:
    assert BAD_TRAINING[assignment] in refused("train", "heart", "--set", assignment, "--out", "new")


@pytest.mark.usefixtures("no_training")
def test_train_refuses_what_it_cannot_find_or_write(refused: Callable[..., str]) -> None:
    Path("file").write_text("kept")
    assert "did you mean 'heart'?" in refused("train", "hart")
    assert "no such file" in refused("train", "nowhere/heart.toml")
    assert "is set twice" in refused("train", "heart", "--seed", "1", "--set", "training.seed=2")
    assert "is a file, not a folder" in refused("train", "heart", "--out", "file")
    assert "Not a directory" in refused("train", "heart", "--out", "file/below")
    assert "training.seed" in refused("train", "heart", "--seed", "-1", "--out", "new")


def test_interrupt_while_modules_load() -> None:
    """The signal comes from inside the first import of the command line: one line, status 130."""
    code = (
        "import builtins, os, signal, sys\n"
        "real = builtins.__import__\n"
        "def hooked(name, *rest):\n"
        "    if name == 'typer':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = hooked\n"
        "sys.argv = ['aocsim', 'list']\n"
        "from aocsim.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (130, "aocsim: interrupted\n", "")
