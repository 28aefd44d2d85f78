"""Bench sessions on file: replayed bit for bit, refused by name where they do not reach."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import xarray
from netCDF4 import Dataset

from aocsim.bench import SimulatedBench
from aocsim.errors import InputError
from aocsim.instrument import Instrument, Pulse, sealed
from aocsim.recorded import RecordedBench, RecordingBench
from aocsim.trim import trim_electronics

N = 4
CARRIERS, GAIN = np.array([2, 0]), np.array([0.3, 0.2])


def grey(seed):
    return np.random.default_rng(seed).integers(0, 256, (2, N, N))


def session(bench):
    """Readings of every kind and length, one of them twice, between loads and waits."""
    rng = np.random.default_rng(1)
    out = [bench.read(np.zeros((1, N)))]  # with nothing set
    bench.load_weights(grey(1))
    bench.set_gains(np.linspace(0.5, 0.9, N), 10.0)
    bench.set_drive(np.linspace(-0.1, 0.1, N))
    out.append(bench.read(rng.standard_normal((3, N)) / 10, trials=2))
    bench.wait(12.5)
    bench.load_weights(grey(2))
    bench.set_switch("open")
    out.append(bench.read(rng.standard_normal((1, N)) / 10, samples=120))
    bench.set_switch("closed")
    bench.load_weights(grey(1))
    out += bench.read_chain(rng.standard_normal((2, 3, N)) / 10, CARRIERS, GAIN, trials=2)
    bench.set_drive(np.linspace(-0.1, 0.1, N), 0.02)
    for _ in range(2):
        out.append(bench.read(np.full((1, N), 0.05), pulse=Pulse(2e-6, 2.05e-6, 0.1)))
    bench.wait(1.0)
    return out, bench.clock


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        for name in ("voltage", "time", "begun"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(a.mean, b.mean)
        assert a.window == b.window


@pytest.fixture(scope="module")
def made(machine_of, tmp_path_factory):
    """What a session gave, its clock, and its file; unrounded, so that the last bits count."""
    path = tmp_path_factory.mktemp("record") / "session.nc"
    bench = RecordingBench(
        SimulatedBench(machine_of("aoc48", 2, channels=N, digitiser={"bits": "0"}), seed=7)
    )
    readings, clock = session(bench)
    bench.save(path, "a session of a test")
    return readings, clock, path, bench.capabilities


@pytest.fixture
def replayed(made):
    return RecordedBench(made[2])


def test_recording_changes_nothing(made, machine_of):
    bare = SimulatedBench(machine_of("aoc48", 2, channels=N, digitiser={"bits": "0"}), seed=7)
    readings, clock = session(bare)
    assert_same(readings, made[0])
    assert clock == made[1]


def test_a_session_is_replayed_bit_for_bit(made, replayed):
    readings, clock, _, capabilities = made
    assert isinstance(replayed, Instrument)
    found, ended = session(sealed(replayed))
    assert_same(found, readings)
    assert ended == clock
    assert replayed.capabilities == capabilities


def test_the_clock_moves_by_what_things_took(made, replayed):
    """In another order, too, and where more is waited or loaded than in the session."""
    replayed.wait(3.0)
    assert replayed.clock == 3.0
    for _ in range(4):
        before = replayed.clock
        replayed.load_weights(grey(1))
        assert replayed.clock - before == pytest.approx(21.7e-3, rel=1e-9)


def test_what_is_handed_out_cannot_spoil_the_record(made):
    bench = RecordedBench(made[2])
    bench.read(np.zeros((1, N))).voltage[:] = 0.0
    again = RecordedBench(made[2])
    assert again.read(np.zeros((1, N))).voltage.any()
    inner = RecordingBench(RecordedBench(made[2]))
    inner.read(np.zeros((1, N))).voltage[:] = 0.0
    assert inner.dataset()["voltage"].values.any()


def test_the_last_bits_of_a_setting_do_not_count(made, replayed):
    """Another computer's linear algebra: settings 1e-14 apart are the same, 1 uV apart are not."""
    replayed.load_weights(grey(1))
    replayed.set_switch("closed")
    replayed.set_gains(np.linspace(0.5, 0.9, N) + 1e-14, 10.0 * (1 + 1e-15))
    replayed.set_drive(np.linspace(-0.1, 0.1, N) - 1e-15, 0.02)
    pulse = Pulse(2e-6, 2.05e-6, 0.1)
    assert_same([replayed.read(np.full((1, N), 0.05 + 1e-16), pulse=pulse)], made[0][6:7])
    with pytest.raises(InputError, match=r"another condition \(4 of 4 values, by up to 1e-06\)"):
        replayed.read(np.full((1, N), 0.05 + 1e-6), pulse=pulse)


# What the file tells a person


def test_every_variable_has_unit_and_name_and_the_voltages_can_be_picked(made):
    readings, _, path, capabilities = made
    with xarray.open_dataset(path) as data:
        for name, variable in data.variables.items():
            assert {"units", "long_name"} <= set(variable.attrs), name
        assert data.attrs["kind"] == "bench record" and data.attrs["title"] == "a session of a test"
        assert json.loads(data.attrs["capabilities"])["channels"] == capabilities.channels == N
        assert data.sizes["load"] == 2 and data.sizes["loading"] == 3  # each different load once
        assert list(data["call_name"].values) == ["read"] * 3 + ["read_chain"] + ["read"] * 2
        assert list(data["call_switch"].values) == ["", "", "open", *["closed"] * 3]
        assert list(data["call_load"].values) == [-1, 0, 1, 0, 0, 0]
        rows = data.isel(row=(data["row_call"] == 1).values)
        cube = rows.set_index(row=["row_condition", "row_trial", "row_time"])["voltage"].unstack("row")
        cube = cube.transpose("row_condition", "row_trial", "row_time", "channel")
        np.testing.assert_array_equal(cube.values, readings[1].voltage)
        np.testing.assert_array_equal(cube["row_time"], readings[1].time)


def test_a_record_without_any_call_is_one(machine_of, tmp_path):
    bench = RecordingBench(SimulatedBench(machine_of("aoc48", 2, channels=N)))
    bench.save(tmp_path / "empty.nc")
    replay = RecordedBench(tmp_path / "empty.nc")
    with pytest.raises(InputError, match="the record holds no read"):
        replay.read(np.zeros((1, N)))
    with pytest.raises(InputError, match="never loaded"):
        replay.load_weights(grey(1))


# What is refused


def prepared(replayed):
    replayed.load_weights(grey(1))
    replayed.set_gains(np.linspace(0.5, 0.9, N), 10.0)
    replayed.set_drive(np.linspace(-0.1, 0.1, N))
    return np.random.default_rng(1).standard_normal((3, N)) / 10


@pytest.mark.parametrize(
    ("setting", "change", "text"),
    [
        ("bias", lambda b: b.set_drive(np.linspace(-0.1, 0.101, N)), "3 of 4 values, by up to 0.001"),
        ("embedding", lambda b: b.set_drive(np.linspace(-0.1, 0.1, N), 0.02), "4 of 4 values, by up to 0.02"),
        ("alpha", lambda b: b.set_gains(np.linspace(0.5, 0.8, N), 10.0), "3 of 4 values, by up to 0.1"),
        ("beta", lambda b: b.set_gains(np.linspace(0.5, 0.9, N), 11.0), "10.0 then, 11.0 now"),
        ("switch", lambda b: b.set_switch("closed"), "was not set then, is now"),
        ("grey", lambda b: b.load_weights(grey(2)), "0 then, 1 now"),
    ],
)
def test_another_setting_is_refused_by_name(made, replayed, setting, change, text):
    condition = prepared(replayed)
    change(replayed)
    with pytest.raises(InputError, match=rf"another {setting} \({text}\)") as refused:
        replayed.read(condition, trials=2)
    assert refused.value.key == f"read.{setting}"
    assert str(made[2]) in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "options"),
    [("trials", {"trials": 3}), ("samples", {"trials": 2, "samples": 91}),
     ("pulse", {"trials": 2, "pulse": Pulse(1e-6, 2e-6, 0.1)})],
)  # fmt: skip
def test_another_way_of_reading_is_refused_by_name(replayed, setting, options):
    condition = prepared(replayed)
    with pytest.raises(
        InputError, match=rf"nearest of 5 calls, number 1, was made with another {setting} \("
    ):
        replayed.read(condition, **options)


@pytest.mark.parametrize(
    ("setting", "carriers", "gain"), [("carriers", np.array([1, 0]), GAIN), ("gain", CARRIERS, 2 * GAIN)]
)
def test_another_chain_is_refused_by_name(replayed, setting, carriers, gain):
    rng = np.random.default_rng(1)
    rng.standard_normal((4, N))
    prepared(replayed)
    replayed.set_switch("closed")
    volts = rng.standard_normal((2, 3, N)) / 10
    with pytest.raises(InputError, match=rf"another {setting} \(") as refused:
        replayed.read_chain(volts, carriers, gain, trials=2)
    assert refused.value.key == f"read_chain.{setting}"
    assert len(replayed.read_chain(volts, CARRIERS, GAIN, trials=2)) == 3


def test_the_third_of_two_readings_is_refused(replayed):
    session(replayed)
    with pytest.raises(InputError, match="read: was read 2 times with these settings, not more"):
        replayed.read(np.full((1, N), 0.05), pulse=Pulse(2e-6, 2.05e-6, 0.1))


def test_weights_that_were_never_loaded_are_refused(replayed):
    other = grey(2)
    other[0, 0, 0] ^= 1
    with pytest.raises(InputError, match="never loaded; the nearest of 2 differ in 1 of 32"):
        replayed.load_weights(other)
    with pytest.raises(InputError, match=r"grey: .*allowed: integers of shape \(2, 4, 4\)"):
        replayed.load_weights(np.zeros((2, 3, 3), dtype=int))


def test_waiting_backwards_and_other_switches_are_refused(replayed):
    with pytest.raises(InputError, match="wait"):
        replayed.wait(-1.0)
    with pytest.raises(InputError, match=r"switch: .*did you mean 'open'"):
        replayed.set_switch("opne")


ROW = np.zeros((1, N))
REFUSALS = [
    ("grey", "load_weights", ([[1], [1, 2]],), {}),
    ("alpha", "set_gains", (None, None), {}),
    ("alpha", "set_gains", (np.full(N, 2.0), 1.0), {}),
    ("alpha", "set_gains", (np.zeros(N - 1), 1.0), {}),
    ("beta", "set_gains", (np.zeros(N), np.nan), {}),
    ("beta", "set_gains", (np.zeros(N), True), {}),
    ("switch", "set_switch", (None,), {}),
    ("bias", "set_drive", (np.zeros(N - 1),), {}),
    ("bias", "set_drive", (np.full(N, np.nan),), {}),
    ("embedding", "set_drive", (np.zeros(N), "x"), {}),
    ("condition", "read", ("a",), {}),
    ("condition", "read", ([[0.0] * N, [0.0]],), {}),
    ("condition", "read", (np.zeros((1, N - 1)),), {}),
    ("trials", "read", (ROW,), {"trials": None}),
    ("trials", "read", (ROW,), {"trials": 2.7}),
    ("samples", "read", (ROW,), {"samples": 90.5}),
    ("pulse", "read", (ROW,), {"pulse": (1e-6, 2e-6, 0.1)}),
    ("carriers", "read_chain", (np.zeros((1, 2, N)), ["a"], GAIN), {}),
    ("gain", "read_chain", (np.zeros((1, 2, N)), CARRIERS, "a"), {}),
    ("trials", "read_chain", (np.zeros((1, 2, N)), CARRIERS, GAIN), {"trials": True}),
    ("wait", "wait", ("a",), {}),
]


@pytest.mark.parametrize(
    ("key", "call", "args", "options"), REFUSALS, ids=[f"{i}-{key}" for i, (key, *_) in enumerate(REFUSALS)]
)
def test_bad_input_is_refused_as_at_the_bench(replayed, key, call, args, options):
    with pytest.raises(InputError) as refused:
        getattr(replayed, call)(*args, **options)
    assert refused.value.key == key


def test_a_folder_that_does_not_exist_is_named(machine_of, tmp_path):
    bench = RecordingBench(SimulatedBench(machine_of("aoc48", 2, channels=N)))
    with pytest.raises(InputError, match=r"cannot be written: there is no folder .*missing"):
        bench.save(tmp_path / "missing" / "x.nc")


def shorten(path):
    path.write_bytes(path.read_bytes()[:5000])


def scramble(path):
    """A table that does not fit the others."""
    with Dataset(path, "a") as file:
        file["call_trials"][1] = 3


def rename(path):
    with Dataset(path, "a") as file:
        file.kind = "sample"


def age(path):
    with Dataset(path, "a") as file:
        file.bench_record_schema = np.int64(7)


def drop(path):
    with Dataset(path, "a") as file:
        file.delncattr("capabilities")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (shorten, "cut short or damaged"),
        (scramble, "does not fit together"),
        (rename, "kind: is not the record of a bench session; got 'sample'"),
        (age, "bench_record_schema: another version of the file; got 7"),
        (drop, "capabilities"),
        (lambda path: path.write_text("voltage,1,2\n"), "is not a netCDF-4 file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_other_files_are_refused_by_name(made, tmp_path, spoil, text):
    path = tmp_path / "copy.nc"
    path.write_bytes(made[2].read_bytes())
    spoil(path)
    with pytest.raises(InputError, match=text) as refused:
        RecordedBench(path)
    assert str(path) in str(refused.value)


def test_a_record_is_written_whole_or_not_at_all(made, machine_of, tmp_path):
    bench = RecordingBench(SimulatedBench(machine_of("aoc48", 2, channels=N)))
    with pytest.raises(InputError):
        bench.save(tmp_path / "missing" / "file.nc")
    path = tmp_path / "file.nc"
    path.write_bytes(made[2].read_bytes())
    bench.save(path)
    assert [item.name for item in tmp_path.iterdir()] == ["file.nc"]
    assert path.stat().st_size < made[2].stat().st_size


# A trim needs the interface and nothing else

REPLAY = """
import pickle, sys

MACHINE = ("machine", "experiment", "bench", "components", "live", "compose", "loop", "solve", "library", "scenarios")


class NoMachine:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("aocsim.") and name.split(".")[1] in MACHINE:
            raise ImportError(f"{name} is not to be had here")


sys.meta_path.insert(0, NoMachine())
try:
    import aocsim.machine
except ImportError:
    pass
else:
    raise SystemExit("the machine can be imported")

from aocsim.recorded import RecordedBench
from aocsim.trim import trim_electronics

record, given, out = sys.argv[1:]
with open(given, "rb") as file:
    program, operator, steps = pickle.load(file)
trims = trim_electronics(RecordedBench(record), program, operator, steps)
with open(out, "wb") as file:
    pickle.dump((trims.alpha, trims.bias, trims.costs), file)
"""


def test_trims_of_a_record_come_out_bit_for_bit_where_there_is_no_machine(bench_of, tmp_path):
    """A fresh process that cannot import the simulated machine finds the same alpha, bias and costs from the file."""
    setup = bench_of("aoc48", serial=3, channels=16, beta=27.0)
    bench = RecordingBench(SimulatedBench(setup.machine, seed=4))
    trims = trim_electronics(sealed(bench), setup.compiled.program, setup.operator, 8)
    record, given, out = (tmp_path / name for name in ("record.nc", "given.pickle", "out.pickle"))
    bench.save(record)
    given.write_bytes(pickle.dumps((setup.compiled.program, setup.operator, 8)))
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, record, given, out],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alpha, bias, costs = pickle.loads(out.read_bytes())
    np.testing.assert_array_equal(alpha, trims.alpha)
    np.testing.assert_array_equal(bias, trims.bias)
    assert costs == trims.costs
    assert alpha.tobytes() == trims.alpha.tobytes() and bias.tobytes() == trims.bias.tobytes()
