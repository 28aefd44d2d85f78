"""The calibration's sheet: what is written comes back, what is wrong is refused by name, and what follows from it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import xarray
from scipy.stats import norm

import aocsim.twin
from aocsim.calibration.chain import NAMES, Chain
from aocsim.calibration.closed import ClosedFit, Electronics
from aocsim.calibration.difference import sheet_difference
from aocsim.calibration.joint import Fitted
from aocsim.calibration.predict import predicted_rest
from aocsim.calibration.result import dataset_of
from aocsim.calibration.sheet import CLOSED, read_sheet
from aocsim.errors import InputError
from aocsim.program import Program

N, BETA = 6, 18.6
RANGES = {"seen_drive_v": 1.2, "seen_beta_min": 6.0, "seen_beta_max": 24.0, "seen_alpha_max": 0.9}


def some_fits(n=N, seed=2):
    rng = np.random.default_rng(seed)
    laws = [rng.uniform(-0.2, -0.1, (2, n)), rng.uniform(0.7, 0.9, (2, n)), rng.uniform(0.03, 0.06, (2, n))]
    chain = Chain(
        np.array([3.4, -0.02, 4.1, 0.004]),
        np.array([[-0.22, -0.07, 5e-4], [-0.26, -0.08, 4e-4]]),
        rng.uniform(0.8, 1.2, (2, n)),
        np.stack(laws, -1),
        rng.uniform(0, 0.3, (2, n - 1)),
        rng.uniform(0, 0.3, (2, n - 1)),
        rng.normal(0, 0.01, n),
        rng.normal(0, 0.001, n),
        np.ones((2, n)),
    )
    size = len(chain.vector)
    spread = rng.normal(size=(size, size)) * 1e-3
    opened = Fitted(chain, spread @ spread.T, np.ones(size, dtype=bool), np.ones(3), {}, 1)
    electronics = Electronics(
        rng.normal(1, 0.03, n), rng.normal(1, 0.01, n), rng.normal(1, 0.01, n), rng.normal(0, 0.01, n)
    )
    wide = rng.normal(size=(4 * n, 4 * n)) * 1e-3
    return opened, ClosedFit(electronics, wide @ wide.T, np.full((3, n), np.nan), 3)


def some_data(n=N, *, closed=True, **attributes):
    opened, second = some_fits(n)
    known = {"drive_limit": 1.3, "machine": "made up, serial 1"} | RANGES | attributes
    return dataset_of(opened, second if closed else None, known)


@pytest.fixture
def written(tmp_path):
    """written(changed): the file of a calibration, changed by a function of its dataset."""

    def write(change=lambda data: data, name="sheet.nc", **options):
        path = tmp_path / name
        change(some_data(**options)).to_netcdf(path, engine="netcdf4")
        return path

    return write


def test_what_was_written_comes_back(written):
    opened, second = some_fits()
    sheet = read_sheet(written())
    np.testing.assert_array_equal(sheet.chain.vector, opened.chain.vector)
    np.testing.assert_array_equal(sheet.electronics.vector, second.electronics.vector)
    errors = np.concatenate([sheet.errors[name].ravel() for name in sheet.values])
    both = [np.sqrt(np.diagonal(fit.covariance)) for fit in (opened, second)]
    np.testing.assert_array_equal(errors, np.concatenate(both))
    scale = np.sqrt(np.diagonal(opened.covariance))
    np.testing.assert_allclose(
        sheet.correlation, opened.covariance / np.outer(scale, scale), rtol=0, atol=1e-6
    )
    assert all(seen.all() for seen in sheet.identified.values())
    assert (sheet.limit, sheet.ranges.drive, sheet.ranges.beta_max) == (1.3, 1.2, 24.0)
    assert sheet.units["law"] == "V"


def test_a_calibration_of_the_open_loop_alone(written):
    sheet = read_sheet(written(closed=False))
    assert sheet.electronics is None
    assert not set(CLOSED) & set(sheet.values)


def nothing_at(name):
    def change(data):
        data[name].values.flat[1] = np.nan
        return data

    return change


def other(name, value):
    return lambda data: data.assign_attrs({name: value})


def negative(data):
    data["pair_error"].values[0] = -1.0
    return data


@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        (other("kind", "sample"), "kind", "no calibration"),
        (other("aocsim_schema", 99), "aocsim_schema", "another version"),
        (lambda data: data.drop_vars("later"), "later", "missing"),
        (lambda data: data.drop_vars("row"), "row", "missing"),
        (lambda data: data.drop_vars("law_error"), "law_error", "missing"),
        (lambda data: data.drop_vars("law_identified"), "law_identified", "missing"),
        (lambda data: data.drop_vars("drive_gain"), "drive_gain", "missing"),
        (lambda data: data.drop_vars("correlation"), "correlation", "missing"),
        (nothing_at("row"), "row", "not a number at [0, 1]"),
        (nothing_at("alpha_gain_error"), "alpha_gain_error", "not a number at [1]"),
        (lambda data: data.isel(neighbours=slice(0, 2)), "later", "shape"),
        (lambda data: data.isel(pair_parameter=slice(0, 2)), "pair", "shape"),
        (lambda data: data.isel(arm=slice(0, 1)), "row", "shape"),
        (lambda data: data.assign(offset=data["offset"].astype(str)), "offset", "numbers"),
        (negative, "pair_error", "less than 0"),
        (lambda data: data.drop_attrs(deep=False).assign_attrs(kind="calibration", aocsim_schema=2),
         "drive_limit", "missing"),
        (other("drive_limit", "much"), "drive_limit", "number"),
        (other("drive_limit", -1.0), "drive_limit", "more than 0"),
        (other("seen_drive_v", np.nan), "seen_drive_v", "finite"),
    ],
)  # fmt: skip
def test_what_is_no_sheet_is_refused_by_name(written, change, key, problem):
    path = written(change)
    with pytest.raises(InputError) as caught:
        read_sheet(path)
    assert (caught.value.file, caught.value.key) == (str(path), key)
    assert problem in caught.value.problem


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_sheet(tmp_path / "nothing.nc")
    (tmp_path / "text.nc").write_text("text")
    with pytest.raises(InputError, match="is not a netCDF-4 file"):
        aocsim.twin.load(tmp_path / "text.nc")
    xarray.Dataset(attrs={"kind": "calibration"}).to_netcdf(tmp_path / "bare.nc", engine="netcdf4")
    with pytest.raises(InputError, match="aocsim_schema"):
        read_sheet(tmp_path / "bare.nc")


def test_the_twin_of_a_sheet_is_that_of_the_file_in_the_public_format(written, tmp_path):
    path = written()
    text = aocsim.twin.write_measurement(read_sheet(path).twin(), tmp_path / "twin.yaml")
    first, second = aocsim.twin.load(path), aocsim.twin.load(text)
    assert second.ranges is None
    rng = np.random.default_rng(3)
    z, weights, bias = rng.normal(0, 0.3, (4, N)), rng.normal(size=(N, N)), rng.normal(0, 0.1, (4, N))
    one, other = (twin.step(z, weights, bias=bias, alpha=0.5, beta=BETA) for twin in (first, second))
    np.testing.assert_array_equal(one, other)


def test_the_twin_of_a_sheet_knows_the_columns_retardance(written):
    """Its step is the chain's response; its machine's panel passes what the sheet says; no sheet of a part holds it."""
    values = np.random.default_rng(8).uniform(0.9, 1.1, (2, N))
    path = written(lambda data: data.assign(retardance=(data["retardance"].dims, values)))
    sheet, twin = read_sheet(path), aocsim.twin.load(path)
    rng = np.random.default_rng(3)
    z, weights = rng.normal(0, 0.3, (4, N)), rng.uniform(-1, 1, (N, N))
    weights /= np.abs(weights).max()
    split = np.stack([np.maximum(weights.T, 0), np.maximum(-weights.T, 0)])
    other = replace(sheet.electronics, gradient=np.ones(N), offset=np.zeros(N))
    bare = replace(twin, measurement=replace(sheet, electronics=other).twin())
    want = sheet.chain.response(split, z, np.full(4, BETA))
    np.testing.assert_allclose(bare.step(z, weights, alpha=0.0, beta=BETA), want, rtol=0, atol=1e-12)
    assert np.abs(replace(bare, retardance=1.0).step(z, weights, alpha=0.0, beta=BETA) - want).max() > 1e-4
    np.testing.assert_array_equal(twin.machine().slm.retardance, values)
    with pytest.raises(InputError, match="retardance"):
        twin.spec()


@pytest.mark.parametrize(
    ("z", "alpha", "beta", "said"),
    [
        (1.21, 0.5, BETA, ["1.21 V at the pairs", "-1.2 V to 1.2 V"]),
        (-1.3, 0.5, BETA, ["1.3 V at the pairs", "-1.2 V to 1.2 V"]),
        (0.5, 0.5, 24.1, ["beta = 24.1", "6 to 24"]),
        (0.5, 0.5, 5.9, ["beta = 5.9", "6 to 24"]),
        (0.5, np.linspace(0, 0.91, N), BETA, ["alpha = 0.91", "0 to 0.9"]),
    ],
)
def test_a_step_beyond_the_experiments_is_warned_of(written, z, alpha, beta, said):
    twin = aocsim.twin.load(written())
    with pytest.warns(aocsim.twin.OutOfRangeWarning) as caught:
        twin.step(np.full((1, N), z), np.eye(N), alpha=alpha, beta=beta)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert all(part in str(caught[0].message) for part in said)


def test_fixed_points_warn_of_where_they_are(written):
    path = written()
    twin, weights = aocsim.twin.load(path), np.random.default_rng(1).normal(size=(N, N))
    with pytest.warns(aocsim.twin.OutOfRangeWarning, match="at the pairs") as caught:
        found = twin.fixed_point(weights, bias=1.3, alpha=0.8, beta=10.0)
    assert np.abs(found).max() > 1.2
    assert len(caught) == 1
    unknown = replace(twin, ranges=None)
    np.testing.assert_array_equal(unknown.fixed_point(weights, bias=1.3, alpha=0.8, beta=10.0), found)


def test_nothing_is_said_within_what_was_seen_nor_where_nobody_knows(written):
    z = np.full((1, N), 1.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin = aocsim.twin.load(written())
        twin.step(z, np.eye(N), alpha=0.9, beta=24.0)
        twin.step(-z, np.eye(N), alpha=0.0, beta=6.0)
        twin.fixed_point(np.eye(N), bias=0.01, alpha=0.3, beta=BETA)
        unknown = written(lambda data: data.drop_attrs(deep=False).assign_attrs(
            kind="calibration", aocsim_schema=2, drive_limit=1.3), "unknown.nc")  # fmt: skip
        aocsim.twin.load(unknown).step(9 * z, np.eye(N), alpha=0.99, beta=90.0)


def test_the_difference_is_in_units_of_both_errors(written):
    old = read_sheet(written())
    vector = old.chain.vector.copy()
    moved = vector + np.random.default_rng(5).normal(size=len(vector)) * 1e-3
    new = replace(old, chain=old.chain.replaced(moved))
    found = sheet_difference(old, new)
    assert found.compared == len(vector) + 4 * N
    assert found.limit == pytest.approx(-norm.ppf(0.005 / found.compared))
    for group in found.groups[: len(NAMES)]:
        ratios = []
        for a, b, e in zip(
            old.values[group.name].flat, new.values[group.name].flat, old.errors[group.name].flat, strict=True
        ):
            ratios.append((b - a) / np.sqrt(2 * e**2))
        assert group.rms == pytest.approx(np.sqrt(np.mean(np.square(ratios))))
        assert abs(group.largest) == pytest.approx(np.max(np.abs(ratios)))
    assert all(group.largest == 0 for group in found.groups[len(NAMES) :])


def test_one_value_far_off_is_found_and_named(written):
    old = read_sheet(written())
    law = old.chain.law.copy()
    law[1, 4, 2] += 6 * np.sqrt(2) * old.errors["law"][1, 4, 2]
    found = sheet_difference(old, replace(old, chain=replace(old.chain, law=law)))
    assert not found.agree
    group = next(group for group in found.groups if group.beyond)
    assert (group.name, group.where, group.where_difference, group.unit) == ("law", "- 4 C", "- 4 C", "V")
    assert group.largest == pytest.approx(6.0)


def test_equal_machines_differ_in_one_comparison_of_a_hundred(written):
    """Errors as stated, independent: of 400 pairs about 4 are told apart, and hardly ever more than 12."""
    sheet, rng = read_sheet(written()), np.random.default_rng(11)
    error = np.concatenate([sheet.errors[name].ravel() for name in sheet.values])
    size, told = len(sheet.chain.vector), 0
    for _ in range(400):
        pair = []
        for _ in range(2):
            noise = error * rng.standard_normal(len(error))
            chain = sheet.chain.replaced(sheet.chain.vector + noise[:size])
            electronics = Electronics.of(sheet.electronics.vector + noise[size:])
            pair.append(replace(sheet, chain=chain, electronics=electronics))
        told += not sheet_difference(*pair).agree
    assert told <= 12


def test_what_one_has_not_identified_is_counted_not_compared(written):
    def blind(data):
        data["row_identified"].values[0, 2] = 0
        data["row"].values[0, 2] += 9.0
        return data

    found = sheet_difference(read_sheet(written()), read_sheet(written(blind, "blind.nc")))
    row = next(group for group in found.groups if group.name == "row")
    assert (row.compared, row.left_out) == (2 * N - 1, 1)
    assert found.agree


def as_built_rests(sheet, share, alpha, drive):
    """Equation (1) of the closed loop, applied many times with a short step."""
    chain, found = sheet.chain, sheet.electronics
    constant = chain.offset + BETA * chain.offset_per_beta
    z = np.zeros_like(drive)
    for _ in range(2500):
        gradient = chain.response(share, z, np.full(len(z), BETA)) - constant
        new = found.gradient * gradient + found.alpha * alpha * z + found.drive * drive
        z = z + 0.3 * (new + constant + found.offset - z)
    return z


def test_predicted_rests_are_those_of_the_loop_itself_trimmed_or_not(written):
    """A trim sets alpha for the program's one to arrive, against the drive, and a bias for rest at 0 V."""
    sheet = read_sheet(written())
    rng = np.random.default_rng(8)
    share = np.where(rng.random((1, N, N)) < 0.5, [[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]) * rng.random((N, N))
    program = Program(0.3 * share, rng.uniform(0.5, 0.8, N), BETA, np.arange(N), 0.3)
    drive = rng.normal(0, 0.03, (3, N))
    want = as_built_rests(sheet, program.weight, program.alpha, drive)
    got = predicted_rest(sheet, program, drive, trimmed=False)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-7)

    found = sheet.electronics
    setting = (1 - found.drive * (1 - program.alpha)) / found.alpha
    constant = sheet.chain.offset + BETA * sheet.chain.offset_per_beta
    at_zero = sheet.chain.response(program.weight, np.zeros((1, N)), np.array([BETA]))[0] - constant
    bias = -(found.gradient * at_zero + constant + found.offset) / found.drive
    want = as_built_rests(sheet, program.weight, setting, drive + bias)
    got = predicted_rest(sheet, program, drive, trimmed=True)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-7)
