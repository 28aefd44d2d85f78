"""Normal random numbers by counting: published words, moments, independence."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from aocsim.batch import Draws
from aocsim.solve.draws import (
    box_muller,
    draws_for,
    fill_counted,
    fill_normals,
    key_schedule,
    philox,
    schedule_of,
)

# counter, key, words: `kat_vectors` of Random123, philox4x32 with 10 rounds; the third are the digits of pi
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def normals(seed, first, rows, channels, steps, place=0, name="test.draws", begin=0):
    """(steps, rows, channels)."""
    draws, out = draws_for(key_schedule(seed, name), first, rows, channels), np.empty((steps, rows, channels))
    for step in range(steps):
        fill_normals(draws, begin + step, place, out[step])
    return out


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_words_are_the_published_ones(counter, key, words):
    solve, step, place, group = counter
    out = np.empty((4, 5), dtype=np.uint64)
    philox(schedule_of(*key), np.full(5, solve, np.uint64), step, place, np.full(5, group, np.uint64), out)
    assert (out == np.array(words, dtype=np.uint64)[:, None]).all()


def test_keys_are_those_of_the_named_stream():
    """By the same hash as every other stream: BLAKE2b of the name, spread with the seed by SeedSequence."""
    from aocsim.seeds import name_words

    words = np.random.SeedSequence(5, spawn_key=name_words("loop.white")).generate_state(2, np.uint32)
    assert key_schedule(5, "loop.white")[0].tolist() == words.tolist()
    with pytest.raises(ValueError, match="seed must be in"):
        key_schedule(-1, "loop.white")
    with pytest.raises(ValueError, match="numbered in"):
        draws_for(key_schedule(5, "loop.white"), 2**32 - 3, 4, 8)


def test_normals_are_box_mullers_to_units_of_the_last_place():
    rng = np.random.default_rng(1)
    edges = np.array([0, 1, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 2, 2**32 - 1])
    u, v = np.meshgrid(edges, edges)
    words = rng.integers(0, 2**32, (4, 100_000), dtype=np.uint64)
    words[:, :100] = np.stack([u.ravel(), v.ravel(), v.ravel(), u.ravel()])
    out = np.empty(words.shape)
    box_muller(words, np.empty((2, words.shape[1])), out)
    w = words.astype(np.longdouble)
    for half in (0, 2):
        radius = np.sqrt(-2 * np.log((w[half] + 0.5) / 2**32))
        turn = w[half + 1] + 0.5
        angle = 2 * np.arctan2(np.longdouble(0), np.longdouble(-1)) * turn / 2**32
        assert np.abs(out[half] - radius * np.cos(angle)).max() < 2e-15
        assert np.abs(out[half + 1] - radius * np.sin(angle)).max() < 2e-15
    assert 6.7 < np.abs(out).max() < 6.77


def test_moments_and_distribution():
    z = normals(1, 0, 64, 48, 400).ravel()
    count = z.size
    assert abs(z.mean()) < 5 / np.sqrt(count)
    assert z.var() == pytest.approx(1, abs=5 * np.sqrt(2 / count))
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / count)
    assert (z**4).mean() == pytest.approx(3, abs=5 * np.sqrt(96 / count))
    assert kstest(z, "norm").pvalue > 1e-4
    # tails: as many beyond 4 as there should be
    beyond, expected = np.count_nonzero(np.abs(z) > 4), count * 6.334e-5
    assert abs(beyond - expected) < 5 * np.sqrt(expected)


def test_neighbours_are_uncorrelated():
    """Channels, solves, steps, places, names and seeds that differ by one: also the squares."""
    z = normals(1, 0, 32, 24, 300)
    pairs = [(z[:, :, 1:], z[:, :, :-1]), (z[:, 1:], z[:, :-1]), (z[1:], z[:-1])]
    pairs += [(z[:, :, k:], z[:, :, :-k]) for k in (6, 12, 18)]
    for other in (
        normals(2, 0, 32, 24, 300),
        normals(1, 0, 32, 24, 300, place=1),
        normals(1, 0, 32, 24, 300, name="test.drawt"),
    ):
        pairs.append((z, other))
    for one, two in pairs:
        limit = 5 / np.sqrt(one.size)
        assert abs((one * two).mean()) < limit
        assert abs(((one**2 - 1) * (two**2 - 1)).mean()) < 2 * limit


def test_covariance_of_channels_is_the_identity():
    """Every pair of 13 channels at once: -2 log likelihood ratio against chi-square."""
    n, count = 13, 20_000
    z = normals(3, 0, 50, n, count // 50).reshape(-1, n)
    covariance = z.T @ z / count
    ratio = count * (np.trace(covariance) - n - np.linalg.slogdet(covariance)[1])
    assert chi2.sf(ratio, n * (n + 1) / 2) > 1e-4


@pytest.mark.parametrize("channels", [1, 3, 16, 48])
def test_a_draw_depends_on_its_counters_alone(channels):
    whole = normals(7, 0, 23, channels, 4)
    for begin, rows in ((0, 1), (5, 2), (9, 14), (22, 1)):
        assert np.array_equal(normals(7, begin, rows, channels, 4), whole[:, begin : begin + rows])
    assert np.array_equal(normals(7, 0, 23, channels, 2, begin=2), whole[2:])


def test_a_counted_draw_is_that_of_a_solve_a_step_and_a_place():
    """Whatever its shape and precision."""
    keys, number, out = key_schedule(3, "test.draws"), (7, 11, 2), np.empty((2, 5, 9))
    fill_counted(keys, [number, (7, 11, 3)], out)
    for place in (0, 1):
        expected = normals(3, 7, 1, 45, 1, place=2 + place, begin=11)[0, 0]
        np.testing.assert_array_equal(out[place].ravel(), expected)
    out = out[:1]
    short = np.empty((1, 45), dtype=np.float32)
    fill_counted(keys, number, short)
    np.testing.assert_array_equal(short.ravel(), out.ravel().astype(np.float32))
    for other in ((8, 11, 2), (7, 12, 2), (7, 11, 3)):
        fill_counted(keys, other, short)
        assert np.abs(np.corrcoef(short.ravel(), out.ravel())[0, 1]) < 0.5


def test_trials_and_items_may_be_cut_anywhere():
    """The same normals for all trials at once, one after the other, and for items alone."""
    places, shape = [(4, 2), (9, 2)], (3, 5)
    whole = Draws(1, "bench.heart", places).normals("noise", (4, *shape))
    apart = Draws(1, "bench.heart", places)
    parts = [apart.normals("noise", (count, *shape)) for count in (1, 3)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(
        Draws(1, "bench.heart", places[1:]).normals("noise", (4, *shape)), whole[1:]
    )
    assert not np.array_equal(Draws(1, "bench.heart", places).normals("read_out", (4, *shape)), whole)
