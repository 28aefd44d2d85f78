"""Named streams of random numbers."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aocsim.seeds import name_words, stream

GOLDEN = [-1.5296358139093713, -0.1602758984605207, 1.3317189154816005]
GOLDEN_INDEXED = [0.3946961621334081, -1.6840455864772217, -0.6078794538250971]


def test_golden_draws():
    # Made once by
    #   words = struct.unpack("<4I", hashlib.blake2b(b"aoc48.slm.contrast", digest_size=16).digest())
    #   Generator(Philox(SeedSequence(7, spawn_key=words))).standard_normal(3)
    # and with (2, 0, 5) after the words. They must never change: a stored serial number means these parts.
    assert stream(7, "aoc48.slm.contrast").standard_normal(3).tolist() == GOLDEN
    assert stream(7, "aoc48.slm.contrast", 2, 0, 5).standard_normal(3).tolist() == GOLDEN_INDEXED


def test_words_are_the_digest():
    digest = hashlib.blake2b(b"aoc48.pair", digest_size=16).digest()
    assert b"".join(word.to_bytes(4, "little") for word in name_words("aoc48.pair")) == digest


def test_a_stream_starts_afresh_each_time():
    first, second = stream(1, "a.b"), stream(1, "a.b")
    first.standard_normal(100)
    assert first.standard_normal() != second.standard_normal()
    assert np.array_equal(stream(1, "a.b").random(5), stream(1, "a.b").random(5))


def test_streams_are_uncorrelated():
    names = ["aoc48.slm.contrast", "aoc48.slm.contrasu", "aoc48.pair.offset", "aoc49.slm.contrast"]
    draws = [stream(0, name).standard_normal(20_000) for name in names]
    draws += [stream(1, names[0]).standard_normal(20_000)]
    draws += [stream(0, names[0], index).standard_normal(20_000) for index in range(3)]
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)  # five standard errors


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), st.lists(st.integers(0, 2), max_size=3)),
        min_size=2,
        max_size=2,
        unique_by=str,
    )
)
def test_different_arguments_give_different_streams(keys):
    draws = [stream(seed, name, *indices).integers(2**63) for seed, name, indices in keys]
    assert draws[0] != draws[1]


def test_a_trailing_zero_index_is_another_stream():
    draws = {int(stream(0, "a", *[0] * count).integers(2**63)) for count in range(5)}
    assert len(draws) == 5


def test_numpy_integers_are_the_same_as_ints():
    assert stream(np.int64(3), "a", np.uint32(4)).random() == stream(3, "a", 4).random()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((-1, "a"), ValueError),
        ((2**64, "a"), ValueError),
        ((1.0, "a"), TypeError),
        ((1, ""), ValueError),
        ((1, "a..b"), ValueError),
        ((1, "a", -1), ValueError),
        ((1, "a", 2**32), ValueError),
        ((1, "a", 0.5), TypeError),
    ],
)
def test_bad_arguments_are_refused(arguments, error):
    with pytest.raises(error):
        stream(*arguments)
