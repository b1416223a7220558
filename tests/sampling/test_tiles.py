"""Tiles as numbers: they cover everything, their shares sum to 1, and a visible border is measured."""

from __future__ import annotations

import numpy as np
import pytest

from studio.errors import StudioError
from studio.sampling.tiles import Axis, seam, tile_axis, windows


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "multiple", "margin"),
    [(100, 32, 8, 1, 0), (100, 32, 16, 1, 5), (64, 32, 8, 2, 0), (66, 32, 8, 2, 3), (31, 16, 15, 1, 0),
     (33, 32, 0, 1, 0), (1000, 64, 40, 4, 10), (40, 16, 14, 2, 6)],
)  # fmt: skip
def test_tiles_cover_a_length_and_their_shares_sum_to_one(length, tile, overlap, multiple, margin):
    axis = tile_axis(length, tile, overlap, multiple=multiple, margin=margin)
    total = np.zeros(length)
    for start, share in zip(axis.starts, axis.shares, strict=True):
        assert share.shape == (tile,) and share.min() >= 0
        total[start : start + tile] += share
    assert np.abs(total - 1).max() < 1e-12
    assert axis.starts[0] == 0 and axis.starts[-1] + tile == length
    assert all(start % multiple == 0 for start in axis.starts)
    assert all(a + tile - b >= overlap for a, b in zip(axis.starts, axis.starts[1:], strict=False))
    for index, share in enumerate(axis.shares):
        if index and margin:
            assert not share[:margin].any()
        if index + 1 < len(axis.starts) and margin:
            assert not share[-margin:].any()


def test_a_tile_that_is_not_smaller_is_the_whole_without_borders():
    for tile in (50, 51, 5000):
        axis = tile_axis(50, tile, 8)
        assert axis == Axis(50, 50, (0,)) and axis.borders == ()
        assert np.array_equal(axis.shares[0], np.ones(50))


def test_shares_fade_in_a_straight_line_over_what_neighbours_share():
    axis = tile_axis(24, 16, 8)
    assert axis.starts == (0, 8)
    assert np.allclose(axis.shares[0][8:], (7.5 - np.arange(8)) / 8)
    assert np.allclose(axis.shares[1][:8], (0.5 + np.arange(8)) / 8)


def test_a_plane_of_tiles_sums_to_one_in_any_order():
    rows, columns = tile_axis(50, 20, 6), tile_axis(70, 32, 8)
    total = np.zeros((50, 70))
    for window in reversed(windows(rows, columns)):
        total[window.y0 : window.y1, window.x0 : window.x1] += window.shares
    assert np.abs(total - 1).max() < 1e-12


@pytest.mark.parametrize(
    ("given", "said"),
    [((100, 32, 32), "do not move on"), ((100, 32, -1), "do not move on"), ((100, 0, 0), "do not move on"),
     ((0, 32, 8), "nothing to cut")],
)  # fmt: skip
def test_tiles_that_do_not_move_on_are_refused(given, said):
    with pytest.raises(StudioError, match=said):
        tile_axis(*given)


def test_margin_and_multiple_must_fit():
    with pytest.raises(StudioError, match="margin"):
        tile_axis(100, 32, 8, margin=4)
    with pytest.raises(StudioError, match="multiples of 4"):
        tile_axis(101, 32, 8, multiple=4)


def test_a_seam_is_seen_where_tiles_end_and_nowhere_else():
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(64.0), np.arange(64.0))[..., None].repeat(3, 2) + rng.normal(
        0, 0.5, (64, 64, 3)
    )
    rows, columns = tile_axis(64, 32, 0), tile_axis(64, 64, 0)
    stepped = smooth.copy()
    stepped[32:] += 10
    assert 0.5 < seam(smooth, rows, columns) < 2
    assert seam(stepped, rows, columns) > 5
    elsewhere = smooth.copy()
    elsewhere[40:] += 10
    assert seam(elsewhere, rows, columns) < 2
    assert seam(stepped, columns, columns) == 0
