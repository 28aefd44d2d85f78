"""Result files: what is in them, and every sort of file that is refused as one."""

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray

import aocsim
from aocsim import provenance
from aocsim.errors import InputError
from aocsim.folders import MARKER, SCRATCH
from aocsim.library import Library
from aocsim.provenance import input_files, source_digest, versions
from aocsim.record import INPUTS, SCHEMA, assemble, files_of, load, read_inputs, read_result, write_result

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {
    "components/slm.toml": b"schema = 1\r\n# \xc2\xb5\n" * 400,
    "models/heart.nc": np.random.default_rng(1).bytes(5000),
    "models/heart.toml": b"",
}
ATTRIBUTES = {
    "run_id": "0" * 32,
    "kind": "sample",
    "scenario": "{}",
    "machine_record": "{}",
    "versions": "{}",
    "summary": "{}",
    "notes": "[]",
    "files": json.dumps(["result.nc", "samples.png"]),
}


def result(**attributes: object) -> xarray.Dataset:
    values = np.random.default_rng(2).standard_normal((30, 50))
    return assemble(
        {
            "state": (("sample", "dim"), values, "V", "a state"),
            "what": (("event",), np.array(["a", "bcd"]), "1", "names"),
        },
        {"sample": (("sample",), np.arange(30), "1", "sample")},
        ATTRIBUTES | attributes,
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "result.nc"
    write_result(result(), path, FILES)
    return path


def test_a_plain_reader_sees_the_results_and_nothing_else(stored: Path) -> None:
    with xarray.open_dataset(stored) as data:
        xarray.testing.assert_identical(data.load(), result())
    assert set(data.variables) == {"state", "what", "sample"}


def test_inputs_come_back_byte_for_byte(stored: Path) -> None:
    assert read_inputs(stored) == FILES
    with xarray.open_dataset(stored, group=INPUTS) as data:
        for place, content in FILES.items():
            variable = data[place.replace("/", ".")]
            assert variable.attrs["sha256"] == hashlib.sha256(content).hexdigest()
            assert variable.values.tobytes() == content


def test_inputs_take_little_room(tmp_path: Path, stored: Path) -> None:
    write_result(result(), tmp_path / "larger.nc", {**FILES, "components/long.toml": b"text " * 100_000})
    assert (tmp_path / "larger.nc").stat().st_size - stored.stat().st_size < 20_000


def test_read_result_gives_what_was_written(stored: Path) -> None:
    xarray.testing.assert_identical(read_result(stored), result())


def test_reading_first_completes_a_run_that_was_killed(stored: Path) -> None:
    scratch = stored.parent / f"{SCRATCH}dead"
    scratch.mkdir()
    write_result(result(run_id="1" * 32), scratch / "result.nc", FILES)
    (scratch / MARKER).write_text(json.dumps({"move": ["result.nc"], "remove": []}))
    assert read_result(stored).attrs["run_id"] == "1" * 32
    assert [path.name for path in stored.parent.iterdir()] == ["result.nc"]


def test_files_that_a_run_has_written(tmp_path: Path, stored: Path) -> None:
    assert files_of(stored) == {"result.nc", "samples.png"}
    assert files_of(tmp_path / "nowhere.nc") == frozenset()
    write_result(result(files="[1"), stored, FILES)
    assert files_of(stored) == frozenset()


def _written(attribute: str, value: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = result()
        if value is None:
            del data.attrs[attribute]
        else:
            data.attrs[attribute] = value
        write_result(data, path, FILES)

    return write


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("schema = 1"), "is not a netCDF-4 file; got b'schema ="),
    "netCDF-3": (
        lambda path: result()[["state"]].to_netcdf(path, format="NETCDF3_64BIT", engine="scipy"),
        "is not a netCDF-4 file",
    ),
    "signature alone": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "cut short or damaged"),
    "not ours": (
        lambda path: xarray.Dataset({"a": ("x", [1.0])}).to_netcdf(path),
        "aocsim_schema: not a result of aocsim",
    ),
    "network": (
        lambda path: path.write_bytes((REPOSITORY / "models" / "heart.nc").read_bytes()),
        "kind: is a network, not a result; got 'network'",
    ),
    "older": (
        _written("aocsim_schema", 1),
        f"aocsim_schema: another version of the file; got 1; allowed: {SCHEMA}",
    ),
    "newer": (_written("aocsim_schema", 99), "got 99"),
    "schema as text": (_written("aocsim_schema", "two"), "got 'two'"),
    "no scenario": (_written("scenario", None), "scenario: the attribute is missing or damaged"),
    "run id a number": (_written("run_id", 3), "run_id: the attribute is missing or damaged"),
}


@pytest.mark.parametrize("sort", REFUSED)
def test_refused_by_name(tmp_path: Path, capfd: pytest.CaptureFixture[str], sort: str) -> None:
    make, message = REFUSED[sort]
    path = tmp_path / "other.nc"
    make(path)
    with pytest.raises(InputError) as caught:
        read_result(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert capfd.readouterr() == ("", "")


def test_a_folder_says_where_its_result_is(stored: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean '.*result\.nc'"):
        read_result(stored.parent)


def test_cut_short_anywhere(stored: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = stored.read_bytes()
    for length in np.linspace(1, len(whole) - 1, 60).astype(int):
        stored.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"result\.nc: (cut short or damaged|is not a netCDF-4)"):
            read_result(stored)
    assert capfd.readouterr() == ("", "")


def test_inputs_that_are_damaged(stored: Path) -> None:
    bytes_of = np.frombuffer(b"schema = 2", np.uint8)
    for attributes in (
        {"path": "components/slm.toml", "sha256": "0" * 64},
        {"path": "../slm.toml", "sha256": hashlib.sha256(b"schema = 2").hexdigest()},
        {"path": "/slm.toml", "sha256": hashlib.sha256(b"schema = 2").hexdigest()},
        {"path": "slm.toml", "sha256": hashlib.sha256(b"schema = 2").hexdigest()},
        {},
    ):
        result().to_netcdf(stored)
        xarray.Dataset({"slm": ("n", bytes_of, attributes)}).to_netcdf(stored, mode="a", group=INPUTS)
        with pytest.raises(InputError, match=r"result\.nc: slm: an input is damaged"):
            read_inputs(stored)


def test_a_result_written_by_other_means_has_no_inputs(stored: Path) -> None:
    result().to_netcdf(stored)
    read_result(stored)
    with pytest.raises(InputError, match=r"inputs: holds no inputs"):
        read_inputs(stored)


# --- provenance ---


def test_versions_name_what_decides_bits() -> None:
    found = versions()
    assert {
        "python",
        "aocsim",
        "numpy",
        "scipy",
        "numba",
        "source",
        "blas",
        "simd",
        "processor",
        "machine",
    } <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
    assert found["numpy"] == np.__version__
    assert versions() == found


def test_source_digest_sees_any_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    texts = {"provenance.py": "a = 1", "other.py": "b = 2"}
    seen = set()
    for change in ({}, {"other.py": "b = 3"}, {"third.py": ""}, {"provenance.py": "a = 1\n"}):
        texts |= change
        for name, text in texts.items():
            (package / name).write_text(text)
        seen.add(source_digest())
    assert len(seen) == 4
    (package / "notes.txt").write_text("no code")
    assert source_digest() in seen


def test_inputs_are_all_files_that_a_run_reads() -> None:
    library = Library.open()
    machine = library.machine("aoc48", {"slm": {"sheet": "slm_ideal"}})
    files = input_files(machine, ["heart"], library)
    # the replaced sheet is there, too: the machine's sheet names it
    sheets = {"aoc48", "slm_ideal", *(part.name for part in library.machine("aoc48").parts.values())}
    assert set(files) == {f"components/{name}.toml" for name in sheets} | {
        "models/heart.toml",
        "models/heart.nc",
    }
    for place, content in files.items():
        assert content == (REPOSITORY / place).read_bytes()


def test_the_package_offers_rerun_and_compare(stored: Path) -> None:
    assert set(aocsim.__all__) >= {"run", "rerun", "compare"}
    with pytest.raises(InputError, match="no such file"):
        aocsim.rerun(stored.with_name("nowhere.nc"))
    with pytest.raises(InputError, match="no such file"):
        aocsim.compare(str(stored), stored.with_name("nowhere.nc"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_the_library_has_let_go_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    """Cut short inside its locks, xarray waited for itself for ever when it was to close the file."""
    data = assemble({"x": (("k",), np.arange(3.0), "V", "volts")}, {}, {})
    handled = signal.signal(sent, signal.default_int_handler)
    finished: list[str] = []

    def interrupted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            signal.raise_signal(sent)
            found = real(*args, **options)
            finished.append(real.__name__)
            return found

        return call

    try:
        with monkeypatch.context() as patch:
            patch.setattr(xarray.Dataset, "to_netcdf", interrupted(xarray.Dataset.to_netcdf))
            with pytest.raises(KeyboardInterrupt):
                write_result(data, tmp_path / "one.nc")
        assert finished == ["to_netcdf"]
        assert not list(tmp_path.iterdir())
        write_result(data, tmp_path / "one.nc")
        with monkeypatch.context() as patch:
            patch.setattr(xarray, "open_dataset", interrupted(xarray.open_dataset))
            with pytest.raises(KeyboardInterrupt):
                load(tmp_path / "one.nc")
        assert finished == ["to_netcdf", "open_dataset"]
    finally:
        signal.signal(sent, handled)
