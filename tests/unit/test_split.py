"""Networks on modules: every weight has one place, and no module holds more than it can."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aocsim.errors import InputError
from aocsim.roadmap.split import rings_of, split

widths = st.lists(st.integers(1, 200), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(widths, st.integers(16, 128))
def test_every_weight_has_one_place_and_no_module_is_overfull(blocks, channels):
    found = split(blocks, channels)
    placed = Counter()
    for tiles in found.modules:
        assert sum(tile.rows for tile in tiles) <= channels
        assert sum(tile.columns for tile in tiles) <= channels
        for tile in tiles:
            placed[tile.layer] += tile.weights
    layers = zip(blocks, [*blocks[1:], blocks[0]], strict=True)
    assert placed == {k: a * b for k, (a, b) in enumerate(layers, start=1)}
    assert found.weights == sum(placed.values())
    assert found.least <= found.count
    assert 0 < found.fill <= 1


@pytest.mark.parametrize("n", [1, 100, 2000])
def test_a_layer_a_module_as_in_the_paper(n):
    """25 layers of n x n weights on modules of n x n: 25, filled; 100 M weights with n = 2000."""
    found = split([n] * 25, n)
    assert (found.count, found.fill, found.crossings) == (25, 1.0, 25)
    assert found.weights == 25 * n**2


def test_wide_layers_are_tiled():
    """5000 x 5000 on modules of 2000: eight tiles a layer with whole rows or columns; two corners share a module."""
    found = split([5000] * 4, 2000)
    assert found.count == 4 * 8 + 2
    assert found.fill == pytest.approx(4 * 5000**2 / (34 * 2000**2))


def test_a_block_matrix_that_fits_is_one_module():
    """The heart's 2-22-21 on 48 channels; opened it needs the 2 results apart, which 46 channels do not have."""
    assert split([2, 22, 21], 48).count == 1
    assert split([2, 22, 21], 45).crossings == 0
    assert split([2, 22, 21], 46, "explicit_euler").count == 2
    assert split([2, 22, 21], 47, "explicit_euler").count == 1


def test_small_layers_share_modules():
    """Six layers of 20 x 20 on 48 channels: two in each of three modules."""
    assert split([20] * 6, 48).count == 3


@pytest.mark.parametrize(
    ("blocks", "channels", "modules", "message"),
    [
        ([], 48, 1, "at least one unit"),
        ([2, 0, 3], 48, 1, "at least one unit"),
        ([2, 3], 0, 1, "module.channels"),
        ([10**6] * 3, 48, 1, "no split of this network is considered"),
        ([2, 3], 48, 0, "there must be a module"),
        ([2, 3], 48, -1, "there must be a module"),
        ([100] * 3, 50, 11, r"no split of this network fits.*12 or more modules"),
    ],
)
def test_what_is_impossible_is_refused_by_name(blocks, channels, modules, message):
    with pytest.raises(InputError, match=message):
        rings_of(split(blocks, channels), modules)


def test_more_modules_are_copies_of_the_ring():
    found = split([100] * 3, 50)
    assert [rings_of(found, modules) for modules in (12, 23, 24, 120)] == [1, 1, 2, 10]
