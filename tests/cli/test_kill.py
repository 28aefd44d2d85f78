"""Runs that are killed, interrupted or out of disk: the earlier result or a new one, and nothing else in the end."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aocsim.folders import SCRATCH
from aocsim.record import files_of, read_result

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = (
    "--set", "samples=8", "--set", "diffusion.steps=4", "--set", "trials=1",
    "--set", "compile.operating_point_trim=0", "--set", "compile.trims=none",
)  # fmt: skip
FULL_DISK = "the disk is full"


def arguments(*more: str, threads: int = 1) -> list[str]:
    command = [sys.executable, "-m", "aocsim", "run", "heart", "--quiet", "--threads", str(threads)]
    return [*command, *SMALL, *more]


def start(folder: Path, *more: str, threads: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments("--out", str(folder), *more, threads=threads),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete run, to be copied."""
    folder = tmp_path_factory.mktemp("earlier") / "out"
    process = start(folder)
    assert process.wait(timeout=120) == 0, process.stderr
    process.communicate()
    return folder


STARTED = 0.5  # s that the interpreter itself may take to start, before the program can answer an interrupt


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def consistent(folder: Path) -> str:
    """The run id of the folder's files, after an aocsim command has opened it; fails on a mixture or on litter."""
    run_id = str(read_result(folder / "result.nc").attrs["run_id"])
    assert json.loads((folder / "summary.json").read_text())["run_id"] == run_id
    assert {path.name for path in folder.iterdir()} == files_of(folder / "result.nc")
    return run_id


def wait_for_scratch(folder: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not any(folder.glob(f"{SCRATCH}*/*")):
        time.sleep(0.002)


def renew(folder: Path, earlier: Path) -> None:
    """A copy of an earlier result, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(earlier, folder)


def durations(folder: Path) -> tuple[float, float]:
    """How long an undisturbed run takes until it writes, and how long it then writes, s."""
    began = time.monotonic()
    process = start(folder, "--seed", "4")
    wait_for_scratch(folder, process)
    writes = time.monotonic()
    process.communicate(timeout=120)
    return writes - began, time.monotonic() - writes


def end(
    folder: Path, earlier: Path, sent: signal.Signals, rng: random.Random, longest: float, *, writing: bool
) -> tuple[int, bool]:
    """Start a run into a copy of an earlier result, end it at random; its exit status, and whether it got through."""
    renew(folder, earlier)
    before, old = contents(folder), consistent(folder)
    process = start(folder, "--seed", "5")
    if writing:
        wait_for_scratch(folder, process)
        time.sleep(rng.uniform(0.0, longest))
    else:
        time.sleep(rng.uniform(min(STARTED, longest), longest))
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    new = consistent(folder) != old
    if not new:
        assert contents(folder) == before
    return process.returncode, new


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "times"), [(signal.SIGKILL, 30), (signal.SIGINT, 12)])
def test_runs_ended_at_random(tmp_path: Path, earlier: Path, sent: signal.Signals, times: int) -> None:
    """Half of them while pictures and results are being written."""
    rng, ended, folder = random.Random(int(sent)), 0, tmp_path / "out"
    renew(folder, earlier)
    computing, writing = durations(folder)
    for n in range(times):
        now = n % 2 == 0
        status, new = end(folder, earlier, sent, rng, writing if now else computing, writing=now)
        assert status in {0, 130 if sent == signal.SIGINT else -9}, f"run {n}, while writing: {now}"
        assert new or status != 0
        ended += status != 0
    assert ended >= times // 2


# --- workers ---


AT_A_PLACE = """
import os, signal, sys
import {module} as module
from aocsim.__main__ import main

real = module.{function}
def interrupted(*arguments, **options):
    module.{function} = real
    os.killpg(0, signal.SIGINT)
    return real(*arguments, **options)
module.{function} = interrupted
sys.argv = ["aocsim", "run", "heart", "--threads", "2", "--out", "out", *{arguments!r}]
main()
"""


def members(group: int) -> list[str]:
    """Processes of a group that are not merely waiting to be reaped."""
    shown = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=2) for line in shown.stdout.splitlines()]
    return [what for pgid, state, what in lines if int(pgid) == group and not state.startswith("Z")]


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("aocsim.scenarios.sample", "fixed_points"),  # between two steps, while nobody waits for a worker
        ("aocsim.parallel", "Parallel"),  # while workers are started, deaf to it
    ],
)
def test_an_interrupt_beside_the_solves_ends_run_and_workers(
    tmp_path: Path, module: str, function: str
) -> None:
    run = [*SMALL, "--set", "samples=200"]
    process = subprocess.Popen(
        [sys.executable, "-c", AT_A_PLACE.format(arguments=run, module=module, function=function)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (130, "aocsim: interrupted\n")
        deadline = time.monotonic() + 10
        while members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not members(process.pid)
    finally:
        if members(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


SWALLOWED = """
import signal, sys
import aocsim.{module} as module
from aocsim import cli

class Finaliser:
    def __del__(self):
        signal.raise_signal(signal.{sent})  # what is raised in here, Python reports and forgets

real = module.{owner}{function}
def interrupted(*args, **options):
    Finaliser()
    return real(*args, **options)
module.{owner}{function} = interrupted
sys.argv = ["aocsim", *{arguments!r}]
cli.main()
"""


@pytest.mark.parametrize(
    ("module", "owner", "function", "sent", "written"),
    [
        ("experiment", "Experiment.", "_solve", "SIGINT", False),  # found at the end of the block
        # before anything is written
        pytest.param("scenarios.summary", "", "compare", "SIGTERM", False, marks=pytest.mark.slow),
        # at the end of the command
        pytest.param("report", "", "print_summary", "SIGINT", True, marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_that_python_swallows_still_ends_the_run(
    tmp_path: Path, module: str, owner: str, function: str, sent: str, written: bool
) -> None:
    names = {"module": module, "owner": owner, "function": function, "sent": sent}
    run = ["run", "heart", "--threads", "1", "--out", "out", *SMALL]
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED.format(arguments=run, **names)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "aocsim: interrupted\n"
    assert (tmp_path / "out" / "result.nc").exists() is written


@pytest.mark.slow
def test_signals_that_are_ignored_stay_so(tmp_path: Path) -> None:
    """As under nohup, which lets a run outlive its terminal."""
    process = subprocess.Popen(
        arguments("--out", str(tmp_path / "out")),
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        cwd=tmp_path,
    )
    while process.poll() is None:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    assert process.returncode == 0
    assert (tmp_path / "out" / "result.nc").exists()


def parents() -> dict[int, int]:
    """Parent by process, of those that are not waiting to be reaped."""
    listing = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listing.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "--set", "samples=4000", threads=2)
    workers: set[int] = set()
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        workers = {pid for pid, parent in parents().items() if parent == process.pid}
    time.sleep(4)  # they are at work
    workers = {pid for pid, parent in parents().items() if parent == process.pid}
    assert len(workers) >= 2
    assert process.poll() is None
    process.kill()
    process.wait()  # not for its output to end: workers that live on would hold it open
    deadline = time.monotonic() + 10
    while (left := workers & set(parents())) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert not left


# --- full disk ---


OLD = {"result.nc": b"old", "summary.json": b"{}", "samples.png": b"old"}


@pytest.mark.parametrize(
    "longest", [2_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (60_000, 200_000, 500_000))]
)
def test_files_that_may_not_grow(tmp_path: Path, longest: int) -> None:
    """Up to a length at which all pictures can be written, and the result cannot."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name, content in OLD.items():
        (folder / name).write_bytes(content)
    done = subprocess.run(
        arguments("--out", str(folder)),
        # else modules would be compiled to files cut short
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (longest, longest)),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("aocsim: error: ")
    assert FULL_DISK in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == set(OLD)
    assert contents(folder) == OLD


# Exit status 77 says that no disk can be mounted here; the namespace, and the disk with it, ends with the shell.
ON_A_SMALL_DISK = """
folder=$1 size=$2 earlier=$3
shift 3
mkdir "$folder" && mount -t tmpfs -o size="$size" tmpfs "$folder" || exit 77
cp "$earlier"/* "$folder"
"$@"
status=$?
diff -r "$earlier" "$folder" || exit 99
exit $status
"""


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [40, 300, 900])
def test_a_disk_that_fills(tmp_path: Path, kilobytes: int) -> None:
    """A disk so small that the files of a run do not fit; where none can be mounted, the test above stands alone."""
    if shutil.which("unshare") is None:
        return
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    for name, content in OLD.items():
        (earlier / name).write_bytes(content)
    folder = tmp_path / "disk"
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    shell = ["unshare", "--mount", *user, "sh", "-c", ON_A_SMALL_DISK, "sh"]
    done = subprocess.run(
        [*shell, str(folder), f"{kilobytes}k", str(earlier), *arguments("--out", str(folder))],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "unshare:" in done.stderr or done.returncode == 77:
        return
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert FULL_DISK in done.stderr
    assert done.stderr.count("\n") == 1
