"""Folders proven writable, and changed as a whole or not at all, whatever ends the process and when."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aocsim import folders
from aocsim.errors import InputError, ResourceError
from aocsim.folders import MARKER, SCRATCH, all_or_nothing, output_folder, prepare_folder, recover

REPOSITORY = Path(__file__).resolve().parents[2]


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert prepare_folder(folder) == folder
    assert contents(folder) == []


def test_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    prepare_folder(tmp_path)
    assert contents(tmp_path) == ["old.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"is a file|Not a directory") as caught:
            prepare_folder(path)
        assert caught.value.file == str(path)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_nobody_can_make() -> None:
    with pytest.raises(InputError, match="/proc/aocsim: cannot be written"):
        prepare_folder(Path("/proc/aocsim"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            prepare_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(("number", "kind"), [(errno.EROFS, InputError), (errno.ENOSPC, ResourceError)])
def test_folder_that_takes_no_file_is_refused_and_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def refuse(path: Path, data: bytes) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(kind, match=os.strerror(number)):
        prepare_folder(tmp_path / "a" / "b")
    assert contents(tmp_path) == []


def test_a_block_that_fails_leaves_no_empty_folder_but_every_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "a" / "b"):
        raise KeyboardInterrupt
    assert contents(tmp_path) == []
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "a") as folder:
        (folder / "result").write_text("complete")
        raise ZeroDivisionError
    assert contents(tmp_path / "a") == ["result"]


def test_a_folder_that_was_there_stays_when_the_block_fails(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ZeroDivisionError), output_folder(tmp_path / "mine"):
        raise ZeroDivisionError
    assert contents(tmp_path) == ["mine"]


# --- all or nothing ---


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def committed(folder: Path, move: dict[str, str], remove: tuple[str, ...] = ()) -> Path:
    """What a run leaves that was killed when its files were complete."""
    scratch = folder / f"{SCRATCH}dead"
    scratch.mkdir()
    for name, text in move.items():
        (scratch / name).write_text(text)
    (scratch / MARKER).write_text(json.dumps({"move": sorted(move), "remove": remove}))
    return scratch


def test_files_move_together_and_what_they_supersede_goes(tmp_path: Path) -> None:
    for name in ("a", "b", "mine"):
        (tmp_path / name).write_text("old")
    with all_or_nothing(tmp_path, superseded=lambda: {"a", "b", "gone already"}) as scratch:
        (scratch / "a").write_text("new")
        (scratch / "c").write_text("new")
        assert texts(scratch) == {"a": "new", "c": "new"}
    assert texts(tmp_path) == {"a": "new", "c": "new", "mine": "old"}


def test_names_to_remove_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kept")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / ".hidden").write_text("kept")
    with all_or_nothing(folder, superseded=lambda: {"../outside", ".hidden", "", ".."}) as scratch:
        (scratch / "a").write_text("new")
    assert (tmp_path / "outside").exists()
    assert contents(folder) == [".hidden", "a"]


@pytest.mark.parametrize("failure", [ZeroDivisionError(), KeyboardInterrupt(), SystemExit(3)])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, failure: BaseException) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(type(failure)), all_or_nothing(tmp_path) as scratch:
        (scratch / "a").write_text("new")
        raise failure
    assert texts(tmp_path) == {"a": "old"}


def test_a_folder_in_the_way_is_found_before_anything_moves(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"b: is a folder"), all_or_nothing(tmp_path) as scratch:
        for name in ("a", "b"):
            (scratch / name).write_text("new")
    assert (tmp_path / "a").read_text() == "old"
    assert contents(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
@pytest.mark.parametrize("call", range(4))
def test_a_disk_that_fills_while_files_are_brought_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: int
) -> None:
    """The first calls bring the two files, the marker and the scratch folder onto the disk."""
    (tmp_path / "a").write_text("old")
    calls, sync = iter(range(100)), os.fsync

    def refuse(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ResourceError, match="the disk is full"), all_or_nothing(tmp_path) as scratch:
        for name in ("a", "b"):
            (scratch / name).write_text("new")
    assert texts(tmp_path) == {"a": "old"}


def test_a_dead_run_is_completed_or_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / f"{SCRATCH}probe").write_text("0")
    half = tmp_path / f"{SCRATCH}half"
    half.mkdir()
    (half / "a").write_text("half")
    recover(tmp_path)
    assert texts(tmp_path) == {"a": "old"}
    committed(tmp_path, {"a": "new", "b": "new"}, remove=("c",))
    (tmp_path / "c").write_text("old")
    recover(tmp_path)
    assert texts(tmp_path) == {"a": "new", "b": "new"}


def test_whoever_opens_the_folder_puts_it_in_order(tmp_path: Path) -> None:
    for n, opens in enumerate((prepare_folder, recover)):
        committed(tmp_path, {"a": f"new {n}"})
        opens(tmp_path)
        assert texts(tmp_path) == {"a": f"new {n}"}
    committed(tmp_path, {"a": "dead", "b": "dead"})
    with all_or_nothing(tmp_path) as scratch:
        (scratch / "a").write_text("latest")
    assert texts(tmp_path) == {"a": "latest", "b": "dead"}


def test_a_folder_that_is_not_there_needs_no_order(tmp_path: Path) -> None:
    recover(tmp_path / "nowhere")
    assert contents(tmp_path) == []


def test_a_living_run_is_left_alone(tmp_path: Path) -> None:
    with all_or_nothing(tmp_path) as scratch:
        (scratch / "a").write_text("new")
        recover(tmp_path)
        with all_or_nothing(tmp_path) as other:
            (other / "a").write_text("first")
        assert (tmp_path / "a").read_text() == "first"
        assert scratch.is_dir()
    assert texts(tmp_path) == {"a": "new"}


def test_interrupts_wait_until_all_files_have_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between any two moves."""
    move = folders._move

    def interrupted(scratch: Path, folder: Path) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        move(scratch, folder)

    monkeypatch.setattr(folders, "_move", interrupted)
    with pytest.raises(KeyboardInterrupt), all_or_nothing(tmp_path) as scratch:
        for name in ("a", "b"):
            (scratch / name).write_text("new")
    assert texts(tmp_path) == {"a": "new", "b": "new"}
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread(tmp_path: Path) -> None:
    def write() -> None:
        with all_or_nothing(tmp_path) as scratch:
            (scratch / "a").write_text("new")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert texts(tmp_path) == {"a": "new"}


def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, or on a file system that knows none."""
    monkeypatch.setattr(folders, "fcntl", None)
    committed(tmp_path, {"a": "dead"})
    old = tmp_path / f"{SCRATCH}old"
    old.mkdir()
    os.utime(old, (0, 0))
    with all_or_nothing(tmp_path) as scratch:
        (scratch / "b").write_text("new")
        recover(tmp_path)  # cannot know whether this run lives, and so takes it to do so
        assert (scratch / "b").exists()
    assert texts(tmp_path) == {"a": "dead", "b": "new"}


def _write_many(folder: Path, writer: int) -> None:
    for n in range(20):
        with all_or_nothing(folder) as scratch:
            for name in "abcdef":
                (scratch / name).write_text(f"{writer}.{n}")


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    """Whoever holds the folder sees the files of one run."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, n)) for n in range(2)]
    for process in writers:
        process.start()
    seen = set()
    while any(process.is_alive() for process in writers):
        with folders._locked(tmp_path):
            now = {path.read_text() for path in tmp_path.glob("[a-f]")}
        assert len(now) <= 1
        seen |= now
    for process in writers:
        process.join()
        assert process.exitcode == 0
    assert len(seen) > 5
    assert contents(tmp_path) == list("abcdef")
    assert len(set(texts(tmp_path).values())) == 1


# --- killed at every line ---

AT_EVERY_LINE = """
import json, os, shutil, signal, sys
from pathlib import Path
from aocsim import folders, output

OLD = {"result.nc", "summary.json", "old.png"}
NEW = {"result.nc", "summary.json", "new.png"}
FILES = {folders.__file__, output.__file__, shutil.__file__}
place, sent = Path(sys.argv[1]), getattr(signal, sys.argv[2])


def write(folder):
    with folders.all_or_nothing(folder, superseded=lambda: OLD) as scratch:
        for name in NEW:
            output.write_atomically(scratch / name, lambda path: path.write_text("new"))


def until(line, work, folder):
    # in a process of its own: work, and a signal before the line of this number; whether it came to the end
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            count += 1
            if count == line:
                os.kill(os.getpid(), sent)
        return trace

    try:
        sys.settrace(trace)
        work(folder)
        sys.settrace(None)
        os._exit(0 if count < line else 3)
    except KeyboardInterrupt:
        os._exit(130)


def state(folder):
    found = {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}
    for name, files in (("old", OLD), ("new", NEW)):
        if found == dict.fromkeys(files, name):
            return name
    return found


def fresh(line):
    folder = place / str(line)
    folder.mkdir()
    for name in OLD:
        (folder / name).write_text("old")
    return folder


found, line, done = [], 0, False
while not done:
    line += 1
    folder = fresh(line)
    done = until(line, write, folder)
    before = state(folder)
    committed = any(folder.glob(".aocsim-*/.complete"))
    # one kill more, while order is being made, here and there
    if committed and sent == signal.SIGKILL:
        until(1 + line % 37, folders.recover, folder)
    folders.recover(folder)
    found.append([before, state(folder), sorted(path.name for path in folder.glob(".*"))])
    shutil.rmtree(folder)
print(json.dumps(found))
"""


@pytest.mark.parametrize("sent", ["SIGKILL", "SIGINT"])
def test_ended_at_every_line(tmp_path: Path, sent: str) -> None:
    """kill -9, or Ctrl-C, before each line of the writing: always the old files or the new ones."""
    if sys.platform == "win32":
        pytest.skip("Windows has no kill -9")
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_LINE, str(tmp_path), sent],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) > 150  # the tracing works
    after = [state for _, state, _ in found]
    change = after.index("new")
    assert 20 < change < len(after) - 20
    assert after == ["old"] * change + ["new"] * (len(after) - change)
    assert all(litter == [] for _, _, litter in found)
    mixtures = [before for before, _, _ in found if isinstance(before, dict)]
    if sent == "SIGINT":  # an interrupt waits until the files have moved
        assert not mixtures
    else:
        assert len(mixtures) > 5  # what making order was needed for
