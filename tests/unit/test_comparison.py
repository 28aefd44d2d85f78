"""Two results side by side: the statistics against SciPy's tests, and what counts as a difference."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray
from scipy import stats

from aocsim.comparison import Comparison, compare, output_differences
from aocsim.errors import InputError
from aocsim.inputs import ABSENT, Stored, flattened, input_differences
from aocsim.record import assemble, write_result
from aocsim.significance import LEVEL, mean_difference

# --- significance ---


@pytest.mark.parametrize("paired", [True, False])
def test_ratio_and_freedom_are_those_of_the_t_tests(paired: bool) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((9, 4, 3)), 0.3 + 2.0 * rng.standard_normal((9 if paired else 14, 4, 3))
    found = mean_difference(a, b, paired=paired)
    expected = stats.ttest_rel(b, a) if paired else stats.ttest_ind(b, a, equal_var=False)
    np.testing.assert_allclose(found.difference / found.error, expected.statistic, rtol=1e-12)
    np.testing.assert_allclose(found.freedom, expected.df, rtol=1e-12)
    # with one mean the limit is passed where the p-value is below the level
    np.testing.assert_array_equal(found.beyond_noise(1), expected.pvalue < LEVEL)
    assert found.tested == 12


def test_values_that_are_not_finite_are_left_out() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((8, 3)), rng.standard_normal((8, 3))
    a[[1, 4], 0], b[2, 1], b[:, 2] = np.nan, np.inf, np.nan
    found = mean_difference(a, b, paired=False)
    expected = stats.ttest_ind(b[:, 0], a[:, 0], equal_var=False, nan_policy="omit")
    np.testing.assert_allclose(found.difference[0] / found.error[0], expected.statistic)
    assert np.isfinite(found.difference[1])
    assert np.isnan(found.ratio()[2])
    assert not found.beyond_noise(3)[2]
    assert found.tested == 2
    pairs = mean_difference(a, b, paired=True)
    keep = np.isfinite(a[:, 0])
    np.testing.assert_allclose(pairs.difference[0], (b - a)[keep, 0].mean())
    assert pairs.freedom[0] == 5


@pytest.mark.parametrize("paired", [True, False])
def test_equal_distributions_are_told_apart_once_in_a_hundred(paired: bool) -> None:
    """False alarms of 1000 comparisons of 40 means: binomial, at most one of 200,000 suites has more than 26."""
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(1000):
        a, b = rng.standard_normal((12, 40)), rng.standard_normal((12 if paired else 7, 40))
        alarms += bool(mean_difference(a, b, paired=paired).beyond_noise(40).any())
    assert alarms <= stats.binom.isf(5e-6, 1000, LEVEL)


def test_a_shift_of_ten_standard_errors_is_found() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((100, 50)), rng.standard_normal((100, 50))
    b[:, 7] += 10 * np.sqrt(2 / 100)
    assert np.flatnonzero(mean_difference(a, b, paired=False).beyond_noise(50)).tolist() == [7]


def test_where_nothing_scatters_any_difference_counts_but_rounding() -> None:
    a = np.full((5, 3), 0.3)
    b = a + np.array([0.0, 1e-6, 5e-17])
    for paired in (True, False):
        found = mean_difference(a, b, paired=paired)
        assert found.beyond_noise(3).tolist() == [False, True, False]


def test_what_all_samples_share_adds_to_the_error() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((50, 2)), 3.0 + rng.standard_normal((50, 2))
    plain = mean_difference(a, b, paired=False)
    shared = mean_difference(a, b, paired=False, common=(np.array([0.0, 3.0]), 4.0))
    np.testing.assert_allclose(shared.error**2 - plain.error**2, [16.0, 25.0])
    assert plain.beyond_noise(2).all()
    assert not shared.beyond_noise(2).any()


def test_too_few_samples_tell_nothing() -> None:
    found = mean_difference(np.zeros((1, 2)), np.ones((1, 2)), paired=True)
    assert found.tested == 0
    assert not found.beyond_noise(1).any()


def test_shapes_that_do_not_fit() -> None:
    for a, b, paired in (((3, 2), (3, 4), False), ((3, 2), (4, 2), True)):
        with pytest.raises(ValueError, match="cannot compare samples of shape"):
            mean_difference(np.zeros(a), np.zeros(b), paired=paired)


# --- outputs ---

STEPS, CHANNELS, DIMS = 3, 5, 2


def result(seed: int, samples: int = 40, steps: int = STEPS, live: int | None = None) -> xarray.Dataset:
    """Read-outs that follow the start noise, with live noise that all seeds, or `live`, draw anew."""
    start = np.random.default_rng(seed).standard_normal((samples, DIMS))
    rng = np.random.default_rng(1000 + (seed if live is None else live))
    ideal = np.tile(start[:, None, :], (1, steps, 1)) * np.linspace(1, 2, steps)[:, None]
    trim = 0.005 * rng.standard_normal((steps, CHANNELS))  # all samples of a run have it
    read_out = 0.01 * rng.standard_normal((samples, steps, CHANNELS))
    read_out += trim
    read_out[..., [3, 1]] += 0.5 * ideal
    return assemble(
        {
            "start": (("sample", "dim"), start, "1", "start"),
            "read_out": (("sample", "step", "channel"), read_out, "V", "read-out"),
            "ideal_fixed_point": (("sample", "step", "unit"), ideal, "1", "ideal"),
            "state": (("sample", "step", "dim"), read_out[..., [3, 1]] / 0.5, "1", "state"),
            "channel_of_unit": (("unit",), np.array([3, 1]), "1", "channel of each unit"),
            "bias": (("channel",), trim[0], "V", "trim"),
            "begun": (("sample",), np.arange(samples) * 1.0, "s", "begin"),
            "latency": (("step",), np.full(steps, 1e-3), "s", "latency"),
            "resource": (("event",), np.array(["slm", "dac"]), "1", "resource"),
        },
        {"step": (("step",), np.arange(steps), "1", "step")},
        {
            "volts_per_unit": 0.5,
            "scenario": json.dumps({"trials": 1, "seed": seed}),
            "summary": json.dumps({"w2": 0.1 * seed, "mmd2": None}),
        },
    )


def differing(a: xarray.Dataset, b: xarray.Dataset) -> list[str]:
    return [row.name for row in output_differences(a, b)[0] if row.differs]


def test_other_seeds_agree() -> None:
    for a, b in ((1, 2), (3, 4), (5, 6)):
        rows, paired, tests = output_differences(result(a), result(b, samples=40))
        assert not any(row.differs for row in rows)
        assert not paired
        assert tests == DIMS * (1 + 2 * STEPS) + STEPS * CHANNELS
        how = {row.name: (row.judged, row.what) for row in rows}
        assert how["bias"] == ("shown only", f"{CHANNELS} of {CHANNELS} values differ")
        assert how["begun"] == ("shown only", "equal")


def test_the_same_start_is_paired_and_far_more_sensitive() -> None:
    a, same, other = result(1), result(1, live=7), result(2)
    for b in (same, other):
        b["state"] = b["state"] + xarray.where(b["step"] == 1, 0.05, 0.0)
    rows, paired, _ = output_differences(a, same)
    state = next(row for row in rows if row.name == "state")
    assert paired
    assert state.differs
    assert state.what.endswith(("most at step 1, dim 0", "most at step 1, dim 1"))
    assert state.ratio is not None
    assert state.limit is not None
    assert state.ratio > state.limit
    assert state.difference == pytest.approx(0.05, abs=0.03)
    # among clouds that scatter by 1.5, such a shift is noise
    assert "state" not in differing(a, other)


def test_a_channel_that_no_start_noise_reaches_is_judged_by_its_own_noise() -> None:
    a, b = result(1), result(2)
    b["read_out"][..., 4] += 0.2
    assert differing(a, b) == ["read_out"]


def test_trims_made_with_other_noise_are_allowed_for_even_in_pairs() -> None:
    a, b = result(1), result(1, live=7)  # the trims' chance differs as between two seeds
    assert differing(a, b) == ["read_out", "state"]
    for data, samples in ((a, 16), (b, 32)):
        data.attrs["scenario"] = json.dumps(
            {"trials": 1, "seed": 1, "compile": {"operating_point_trim": samples}}
        )
    assert differing(a, b) == []


def test_equal_results_are_equal() -> None:
    rows, paired, _ = output_differences(result(1), result(1))
    assert paired
    assert {row.what for row in rows} == {"equal"}


@pytest.mark.parametrize(
    ("change", "name", "what"),
    [
        (lambda d: d.assign(latency=d["latency"] * 1.01), "latency", "3 of 3 values differ"),
        (lambda d: d.assign(resource=("event", ["slm", "host"])), "resource", "1 of 2 texts differ"),
        (lambda d: d.assign_coords(step=d["step"] + 1), "step", "3 of 3 values differ"),
        (lambda d: d.drop_vars("latency"), "latency", "only in a"),
        (lambda d: d.assign(more=("step", [1.0, 2.0, 3.0])), "more", "only in b"),
        (lambda d: d.assign(latency=("event", [1.0, 2.0])), "latency", "axes ('step',) against ('event',)"),
        (lambda d: d.assign(latency=d["latency"].assign_attrs(units="us")), "latency", "unit s against us"),
    ],
)
def test_what_has_no_noise_must_be_equal(change: object, name: str, what: str) -> None:
    assert callable(change)
    rows, _, _ = output_differences(result(1), change(result(1)))
    assert [(row.name, row.what) for row in rows if row.differs] == [(name, what)]


def test_nan_equals_nan() -> None:
    a = result(1).assign(latency=("step", [np.nan, 1.0, 2.0]))
    assert differing(a, a.copy()) == []
    assert differing(a, a.assign(latency=("step", [0.0, 1.0, 2.0]))) == ["latency"]


@pytest.mark.parametrize("name", ["read_out", "state", "bias", "begun", "latency"])
@pytest.mark.parametrize("values", ["all", "one"])
def test_a_result_without_numbers_does_not_agree_with_one_that_has_them(name: str, values: str) -> None:
    """Neither noise nor trims make a number into none: averaged, shown and exact variables alike."""
    a, b = result(1), result(1)
    if values == "all":
        b[name][...] = np.nan
    else:
        b[name][(0,) * b[name].ndim] = np.inf
    for first, second, where in ((a, b, "b"), (b, a, "a")):
        rows = [row for row in output_differences(first, second)[0] if row.differs]
        assert [row.name for row in rows] == [name]
        assert f"values are not finite in {where} alone" in rows[0].what


def test_units_count_for_averaged_variables_whatever_the_number_of_samples() -> None:
    for samples in (40, 30):
        b = result(1, samples=samples)
        b["read_out"].attrs["units"] = "mV"
        assert "read_out" in differing(result(1), b)


def test_results_of_other_kinds_differ() -> None:
    a, b = result(1), result(1)
    a.attrs["kind"], b.attrs["kind"] = "sample", "other"
    rows, _, _ = output_differences(a, b)
    assert [(row.name, row.what) for row in rows if row.differs] == [
        ("attribute kind", "sample against other")
    ]


def test_places_are_rounded_and_have_units() -> None:
    def wave(seed: int) -> xarray.Dataset:
        data = result(seed)
        voltage = np.random.default_rng(seed).standard_normal((40, 2))
        data["wave"] = ("sample", "time"), voltage, {"units": "V"}
        return data.assign_coords(time=("time", np.array([0.0, 16 / 15e6]), {"units": "s"}))

    a, b = wave(1), wave(1)
    b["wave"][:, 1] += 1.0
    assert [row.what for row in output_differences(a, b)[0] if row.differs] == [
        "1 of 2 means differ, most at time 1.067e-06 s"
    ]


def test_other_numbers_of_samples_and_steps_are_differences_of_axes() -> None:
    assert differing(result(1), result(1, samples=30)) == ["axis sample"]
    assert differing(result(1), result(2, samples=30)) == ["axis sample"]
    rows, _, tests = output_differences(result(1), result(2, samples=30, steps=4))
    assert [(row.name, row.what) for row in rows if row.differs] == [
        ("axis sample", "40 against 30"),
        ("axis step", "3 against 4"),
    ]
    assert tests == DIMS  # of the start


def test_one_sample_tells_nothing() -> None:
    rows, _, tests = output_differences(result(1, samples=1), result(2, samples=1))
    assert tests == 0
    assert not any(row.differs for row in rows)


def test_nothing_in_common() -> None:
    empty = xarray.Dataset(attrs=result(1).attrs)
    assert {"start", "state", "latency"} <= set(differing(empty, result(1)))


# --- inputs ---

MACHINE = 'schema = 1\nchannels = 48\ndescribes = "one"\n[parts]\nslm = "slm"\n'
PART = 'schema = 1\nname = "slm"\n[entries.contrast]\nvalue = "500"\nspread = "10 %"\nsource = "x"\n'
RECIPE = 'name = "heart"\n[training]\niterations = 10\n'


def stored(
    scenario: dict[str, object] | None = None,
    versions: dict[str, str] | None = None,
    part: str = PART,
    overrides: dict[str, str] | None = None,
    **files: str,
) -> Stored:
    data = result(1)
    data.attrs |= {
        "run_id": "0",
        "kind": "sample",
        "scenario": json.dumps({"trials": 1, "compile": {"beta": 2.0}} | (scenario or {})),
        "machine_record": json.dumps(
            {
                "machine": {"sheet": "aoc48", "channels": 48},
                "parts": {"slm": {"sheet": "slm", "overrides": overrides or {}}},
            }
        ),
        "versions": json.dumps({"numpy": "2.0"} | (versions or {})),
        "notes": "[]",
        "commit": "abc",
    }
    texts = {
        "components/aoc48.toml": files.get("machine", MACHINE),
        "components/slm.toml": part,
        "models/heart.toml": files.get("recipe", RECIPE),
        "models/heart.nc": files.get("weights", "w"),
    }
    return Stored(data, {place: text.encode() for place, text in texts.items()})


def found(b: Stored) -> list[tuple[str, str, str, str]]:
    return [(item.group, item.key, item.a, item.b) for item in input_differences(stored(), b)]


def test_equal_inputs() -> None:
    assert found(stored()) == []


def test_inputs_are_compared_value_by_value() -> None:
    assert found(stored(scenario={"compile": {"beta": 3.0}, "seed": 4})) == [
        ("scenario", "compile.beta", "2.0", "3.0"),
        ("scenario", "seed", ABSENT, "4"),
    ]
    assert found(stored(versions={"numpy": "2.1"})) == [("software", "numpy", "2.0", "2.1")]
    assert found(stored(recipe=RECIPE.replace("10", "20"))) == [("model", "training.iterations", "10", "20")]
    assert [row[:2] for row in found(stored(weights="v"))] == [("model", "weights")]
    assert found(stored(machine=MACHINE.replace("48", "64"))) == [("machine", "channels", "48", "64")]


def test_a_part_is_compared_as_it_was_used() -> None:
    changes = {"contrast": "300", "contrast.spread": "0 %"}
    expected = [("part", "slm.contrast", "500", "300"), ("part", "slm.contrast.spread", "10 %", "0 %")]
    assert found(stored(overrides=changes)) == expected
    edited = PART.replace('"500"', '"300"').replace("10 %", "0 %")
    rows = found(stored(part=edited))
    assert rows[:2] == expected
    assert [row[:2] for row in rows[2:]] == [("part", "slm (text of the sheet)")]
    # the text alone, as when a comment has been changed
    assert [row[:2] for row in found(stored(part=PART + "# a comment"))] == [
        ("part", "slm (text of the sheet)")
    ]


def test_inputs_that_do_not_belong_together() -> None:
    broken = stored()
    with pytest.raises(InputError, match=r"components/slm\.toml: the file is missing"):
        input_differences(
            broken, Stored(broken.data, {k: v for k, v in broken.files.items() if "slm" not in k})
        )
    with pytest.raises(InputError, match=r"components/slm\.toml: is not valid TOML"):
        input_differences(broken, stored(part="= 3"))


def test_flattened() -> None:
    assert flattened({"a": {"b": 1, "c": {"d": [1, "x"]}}, "e": "f"}) == {
        "a.b": "1",
        "a.c.d": '[1, "x"]',
        "e": "f",
    }


# --- files ---


def test_two_files(tmp_path: Path) -> None:
    paths = []
    for n, one in enumerate((stored(), stored(overrides={"contrast": "300"}))):
        paths.append(tmp_path / f"{n}.nc")
        write_result(one.data, paths[-1], one.files)
    comparison = compare(*paths)
    assert isinstance(comparison, Comparison)
    assert comparison.agree
    assert comparison.paired
    assert comparison.samples == (40, 40)
    assert [item.key for item in comparison.inputs] == ["slm.contrast"]
    assert comparison.summary == {"w2": (0.1, 0.1), "mmd2": (None, None)}
    damaged = stored()
    for record in ("[]", "{}"):
        damaged.data.attrs["machine_record"] = record
        write_result(damaged.data, paths[1], damaged.files)
        with pytest.raises(InputError, match=r"1\.nc: .*is damaged"):
            compare(*paths)
