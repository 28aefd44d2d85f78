"""Intervals of the distances, against clouds drawn anew."""

import numpy as np
import pytest

from aocsim.errors import InputError
from aocsim.metrics import mmd2_interval, mmd2_unbiased, w2, w2_interval

SHIFTS = {"equal": 0.0, "near": 0.1, "far": 1.0}
LEVEL = 0.6827  # of one standard deviation, so that half of the width compares with it


def pair(shift, count, rng):
    """Two clouds uniform in squares of side 2 that are `shift` apart."""
    return rng.uniform(-1.0, 1.0, (count, 2)), rng.uniform(-1.0, 1.0, (count, 2)) + np.array([shift, 0.0])


def half(interval):
    return (interval.high - interval.low) / 2.0


def test_w2_interval_is_about_the_estimate_and_repeats_with_the_generator():
    clouds = pair(0.3, 60, np.random.default_rng(0))
    interval = w2_interval(*clouds, np.random.default_rng(1))
    assert interval.estimate == w2(*clouds)
    assert 0.0 <= interval.low < interval.estimate < interval.high
    assert interval == w2_interval(*clouds, np.random.default_rng(1))
    assert interval != w2_interval(*clouds, np.random.default_rng(2))
    assert half(w2_interval(*clouds, np.random.default_rng(1), level=0.95)) > half(interval)


def test_w2_interval_scales_with_the_unit_and_does_not_see_the_origin():
    a, b = pair(0.3, 60, np.random.default_rng(0))
    interval = w2_interval(a, b, np.random.default_rng(1))
    scaled = w2_interval(1e-3 * a + 5.0, 1e-3 * b + 5.0, np.random.default_rng(1))
    np.testing.assert_allclose(scaled, 1e-3 * np.array(interval), rtol=1e-6)


def test_w2_interval_takes_clouds_of_different_size():
    rng = np.random.default_rng(0)
    (a, _), (_, b) = pair(0.5, 200, rng), pair(0.5, 40, rng)
    assert 0.0 < half(w2_interval(a, b, rng)) < 0.2


def test_w2_interval_narrows_at_the_rate_it_states():
    """Slope -1/2 over the number of points, distributions far apart."""
    rng = np.random.default_rng(0)
    counts = np.array([32, 128, 512])
    halves = [
        np.mean([half(w2_interval(*pair(1.0, n, rng), rng, subsamples=60)) for _ in range(8)]) for n in counts
    ]
    assert np.polyfit(np.log(counts), np.log(halves), 1)[0] == pytest.approx(-0.5, abs=0.07)


@pytest.mark.parametrize("case", SHIFTS)
def test_w2_interval_is_as_wide_as_redrawn_clouds_scatter(case):
    """Within a factor of 1.3: measured 0.9-1.2 at 128 points, the scatter itself known to 5 %."""
    rng = np.random.default_rng(11)
    scatter = np.std([w2(*pair(SHIFTS[case], 128, rng)) for _ in range(200)])
    found = np.mean([half(w2_interval(*pair(SHIFTS[case], 128, rng), rng, LEVEL)) for _ in range(12)])
    assert 1.0 / 1.3 < found / scatter < 1.3


@pytest.mark.slow
@pytest.mark.parametrize("case", SHIFTS)
def test_w2_interval_holds_the_mean_as_often_as_it_says(case):
    """For 68 %, within what 200 trials tell and a tenth: the mean over redrawn clouds of the same size."""
    rng = np.random.default_rng(12)
    mean = np.mean([w2(*pair(SHIFTS[case], 128, rng)) for _ in range(800)])
    trials = [w2_interval(*pair(SHIFTS[case], 128, rng), rng, LEVEL) for _ in range(200)]
    held = np.mean([trial.low <= mean <= trial.high for trial in trials])
    assert held == pytest.approx(LEVEL, abs=0.1 + 2.0 * np.sqrt(LEVEL * (1.0 - LEVEL) / 200))


@pytest.mark.slow
def test_w2_interval_does_not_hold_the_distance_of_equal_distributions():
    """What the documentation warns of: the bias of finite clouds is not in the interval."""
    rng = np.random.default_rng(13)
    trials = [w2_interval(*pair(0.0, 128, rng), rng, 0.95) for _ in range(50)]
    assert np.mean([trial.low > 0.0 for trial in trials]) > 0.9


def test_mmd2_interval_is_about_the_estimate():
    clouds = pair(0.3, 60, np.random.default_rng(0))
    interval = mmd2_interval(*clouds, bandwidth=0.7)
    assert interval.estimate == mmd2_unbiased(*clouds, bandwidth=0.7)
    assert (interval.low + interval.high) / 2.0 == pytest.approx(interval.estimate, rel=1e-12)
    one, two = (half(mmd2_interval(*clouds, level=level)) for level in (0.682689, 0.954500))
    assert two / one == pytest.approx(2.0, rel=1e-5)


def test_mmd2_interval_does_not_see_origin_order_or_unit():
    a, b = pair(0.3, 50, np.random.default_rng(0))
    interval = np.array(mmd2_interval(a, b[:30]))
    np.testing.assert_allclose(mmd2_interval(b[:30][::-1], a), interval, rtol=1e-9)
    np.testing.assert_allclose(
        mmd2_interval(9.0 * a - 4.0, 9.0 * b[:30] - 4.0, bandwidth=4.5), interval, rtol=1e-9
    )


@pytest.mark.parametrize("sizes", [(60, 60), (120, 40)])
@pytest.mark.parametrize(
    ("case", "low", "high"), [("equal", 1.0, 1.35), ("near", 0.95, 1.3), ("far", 0.9, 1.1)]
)
def test_mmd2_interval_is_as_wide_as_redrawn_clouds_scatter(case, low, high, sizes):
    """Root mean square of the half-widths over the scatter of the estimates, the latter known to 2 %."""
    rng = np.random.default_rng(14)
    trials = [
        mmd2_interval(pair(0.0, sizes[0], rng)[0], pair(SHIFTS[case], sizes[1], rng)[1], LEVEL)
        for _ in range(1200)
    ]
    found = np.sqrt(np.mean([half(trial) ** 2 for trial in trials]))
    assert low < found / np.std([trial.estimate for trial in trials]) < high


@pytest.mark.parametrize(("case", "slope"), [("equal", -1.0), ("far", -0.5)])
def test_mmd2_interval_narrows_at_the_rate_of_its_regime(case, slope):
    rng = np.random.default_rng(15)
    counts = np.array([50, 200, 800])
    halves = [np.mean([half(mmd2_interval(*pair(SHIFTS[case], n, rng))) for _ in range(20)]) for n in counts]
    assert np.polyfit(np.log(counts), np.log(halves), 1)[0] == pytest.approx(slope, abs=0.1)


def test_mmd2_interval_holds_the_closed_form_as_often_as_it_says():
    """Gaussians of unit variance 1 apart, bandwidth h: 2 (h^2/(h^2+2))^(d/2) (1 - exp(-1/2(h^2+2)))."""
    rng = np.random.default_rng(16)
    width = 0.8
    truth = 2.0 * width**2 / (width**2 + 2.0) * (1.0 - np.exp(-1.0 / (2.0 * (width**2 + 2.0))))
    held = []
    for _ in range(500):
        a, b = rng.standard_normal((2, 80, 2))
        interval = mmd2_interval(a, b + np.array([1.0, 0.0]), LEVEL, bandwidth=width)
        held.append(interval.low <= truth <= interval.high)
    assert np.mean(held) == pytest.approx(LEVEL, abs=4.0 * np.sqrt(LEVEL * (1.0 - LEVEL) / len(held)))


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b, rng: w2_interval(a[:7], b, rng),
        lambda a, b, rng: w2_interval(a, b[:, :1], rng),
        lambda a, b, rng: w2_interval(a * np.nan, b, rng),
        lambda a, b, rng: w2_interval(a, b, rng, level=1.0),
        lambda a, b, rng: w2_interval(a, b, rng, level=float("nan")),
        lambda a, b, rng: w2_interval(a, b, rng, fraction=0.0),
        lambda a, b, rng: w2_interval(a, b, rng, fraction=1.0),
        lambda a, b, rng: w2_interval(a[:30], b[:30], rng, fraction=0.05),
        lambda a, b, rng: w2_interval(a, b, rng, subsamples=19),
        lambda a, b, rng: mmd2_interval(a[:3], b),
        lambda a, b, rng: mmd2_interval(a, b[:, :1]),
        lambda a, b, rng: mmd2_interval(a, b * np.inf),
        lambda a, b, rng: mmd2_interval(a, b, level=0.0),
        lambda a, b, rng: mmd2_interval(a, b, bandwidth=-1.0),
        lambda a, b, rng: mmd2_interval(a, b, bandwidth=float("inf")),
    ],
)
def test_wrong_shapes_and_values_are_refused(call):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError):
        call(*pair(0.0, 50, rng), rng)
