"""Boxes and masks on the token grid, and who sees whom (controls.md 7 (b), T13)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from studio.controls.tokens import (
    Prompt,
    additive,
    box_share,
    cover,
    joint_mask,
    mask_share,
    region_share,
    together,
)
from studio.errors import StudioError
from studio.values import Mask, Region

LEFT = Region("left", "a red star", (0.0, 0.0, 0.5, 1.0))
RIGHT = Region("right", "a blue ring", (0.5, 0.0, 1.0, 1.0))


def painted(rows: list[list[float]]) -> Mask:
    return Mask(np.array(rows, dtype=np.float32))


def test_a_box_covers_shares_of_cells_on_a_grid_that_is_no_square() -> None:
    share = box_share((0.25, 0.5, 1.0, 1.0), (2, 3))
    assert np.allclose(share, [[0, 0, 0], [0.25, 1, 1]])
    assert np.isclose(share.sum() / 6, 0.75 * 0.5)


def test_a_painted_mask_is_averaged_over_each_cell_also_where_pixels_do_not_line_up() -> None:
    assert np.allclose(mask_share(painted([[1, 0, 1, 1]] * 2), (1, 2)), [[0.5, 1.0]])
    # three pixels on two cells: the middle one belongs half to each
    assert np.allclose(mask_share(painted([[1, 0.5, 0]]), (1, 2)), [[5 / 6, 1 / 6]])
    # one pixel on many cells
    assert np.allclose(mask_share(painted([[0.25]]), (3, 2)), np.full((3, 2), 0.25))


def test_a_mask_takes_the_place_of_the_box() -> None:
    region = Region("m", "x", (0, 0, 1, 1), mask=painted([[1, 0], [0, 0]]))
    assert np.array_equal(region_share(region, (2, 2)), [[1, 0], [0, 0]])


def test_tokens_are_counted_row_by_row() -> None:
    """A pixel mask of the left half gives 1, 0, 1, 0 on 2 x 2."""
    mask = painted([[1, 1, 0, 0]] * 4)
    assert cover((Region("m", "x", mask=mask),), (2, 2)).share.tolist() == [[1, 0, 1, 0]]
    assert cover((LEFT,), (2, 4)).share.tolist() == [[1, 1, 0, 0, 1, 1, 0, 0]]
    assert cover((Region("top", "x", (0, 0, 1, 0.5)),), (2, 3)).share.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_the_later_region_lies_on_top_and_the_rest_is_what_nobody_covers() -> None:
    below, above = Region("a", "x", (0, 0, 0.75, 1)), Region("b", "y", (0.25, 0, 0.5, 1))
    found = cover((below, above), (1, 4))
    assert found.share.tolist() == [[1, 0, 1, 0], [0, 1, 0, 0]]
    assert found.rest.tolist() == [0, 0, 0, 1]
    other = cover((above, below), (1, 4))
    assert other.share.tolist() == [[0, 0, 0, 0], [1, 1, 1, 0]]
    assert other.hidden == (0,) and found.hidden == ()


def test_shared_overlap_gives_a_token_to_both() -> None:
    one, other = Region("a", "x", (0, 0, 0.75, 1)), Region("b", "y", (0.25, 0, 1, 1))
    found = cover((one, other), (1, 4), "share")
    assert found.share.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    assert found.member.tolist() == [[True, True, True, False], [False, True, True, True]]


def test_neighbours_that_share_a_token_split_it_and_the_upper_one_counts_it() -> None:
    found = cover((LEFT, RIGHT), (1, 3))
    assert np.allclose(found.share, [[1, 0.5, 0], [0, 0.5, 1]])
    assert found.member.tolist() == [[True, False, False], [False, True, True]]
    assert np.allclose(found.rest, 0)


@pytest.mark.parametrize("overlap", ["order", "share"])
@pytest.mark.parametrize("side", [0.2, 0.02, 1e-4])
def test_a_region_smaller_than_a_token_keeps_the_token_it_covers_most(overlap: str, side: float) -> None:
    small = Region("s", "x", (0.3, 0.3, 0.3 + side, 0.3 + side))
    for others in ((), (Region("all", "y", (0, 0, 1, 1)),)):
        found = cover((*others, small), (4, 4), overlap)
        assert found.member[-1].sum() == 1 and found.member[-1][5]
        assert found.share[-1][5] == (1 if side < 0.17 else pytest.approx(0.64))
    # also below a larger one that leaves it a sliver, and beside another small one in the same token
    pair = (small, Region("t", "y", (0.4, 0.4, 0.4 + side, 0.4 + side)))
    assert cover(pair, (4, 4), overlap).member.any(axis=1).all()


def test_in_order_mode_a_token_counts_twice_only_where_a_region_would_have_none() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        regions = tuple(
            Region(str(i), "x", (*np.minimum(a, 0.7), *(np.minimum(a, 0.7) + 0.25)))  # type: ignore[arg-type]
            for i, a in enumerate(rng.random((8, 2)))
        )
        found = cover(regions, (5, 7))
        often = found.member.sum(axis=0) > 1
        for own in found.member:
            assert not (own & often).any() or not (own & ~often).any()
        assert found.share.min() >= 0 and found.share.max() <= 1


def test_a_region_wholly_under_others_is_hidden_also_where_edges_lie_inside_tokens() -> None:
    box = (0.1, 0.13, 0.57, 0.61)
    found = cover((Region("a", "x", box), Region("b", "y", box), Region("c", "z", (0.7, 0.7, 1, 1))), (5, 7))
    assert found.hidden == (0,)
    halves = (Region("a", "x", (0.0, 0, 0.333, 1)), Region("b", "y", (0.333, 0, 1, 1)))
    assert np.allclose(cover(halves, (3, 5)).rest, 0)
    assert np.allclose(cover(halves, (3, 5)).share.sum(axis=0), 1)


def test_a_region_on_nothing_is_named() -> None:
    with pytest.raises(StudioError, match="'sky' covers nothing"):
        cover((Region("1", "x", mask=painted([[0.0]]), name="sky"),), (2, 2))
    with pytest.raises(StudioError, match="order, share"):
        cover((LEFT,), (2, 2), "above")


def test_all_sixteen_cells_of_two_texts_and_two_tokens() -> None:
    found = cover((LEFT, RIGHT), (1, 2))
    prompts = [Prompt("l", 1, found.share[0]), Prompt("r", 1, found.share[1])]
    strict = joint_mask(prompts, 2, apart=together(found.member))
    assert strict is not None and strict.dtype == torch.bool
    assert strict.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    free = joint_mask(prompts, 2)
    assert free is not None
    assert free.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 1], [0, 1, 1, 1]]


def test_regions_are_kept_apart_by_both_or_neither_not_by_either() -> None:
    """The complement is "neither in any region" (the pitfall of the published formula)."""
    found = cover((Region("a", "x", (0, 0, 0.25, 1)), Region("b", "y", (0.25, 0, 0.5, 1))), (1, 4))
    assert together(found.member).int().tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 1, 1],
    ]


def test_where_everybody_sees_everybody_no_mask_is_built() -> None:
    everything = np.ones(6)
    assert joint_mask([Prompt("t", 3, everything)], 6) is None
    assert joint_mask([Prompt("t", 3, everything)], 6, others=2, apart=None) is None
    assert joint_mask([Prompt("t", 3, everything), Prompt("u", 2, everything)], 6) is not None


def test_a_part_of_a_token_and_a_strength_are_added_as_logarithms() -> None:
    prompts = [Prompt("a", 2, np.array([1.0, 0.25, 0.0]), bias=math.log(2.0))]
    mask = joint_mask(prompts, 3, dtype=torch.float64)
    assert mask is not None and mask.dtype == torch.float64 and mask.shape == (5, 5)
    expected = [math.log(2.0), math.log(0.25) + math.log(2.0), -math.inf]
    for column in range(2):
        assert torch.allclose(mask[2:, column], torch.tensor(expected, dtype=torch.float64), atol=1e-7)
        assert torch.allclose(
            mask[column, 2:], torch.tensor([0, math.log(0.25), -math.inf], dtype=torch.float64), atol=1e-7
        )
    assert bool((mask[2:, 2:] == 0).all())


def test_the_added_form_is_nought_or_minus_infinity_in_the_right_type_and_shape() -> None:
    seen = torch.tensor([[True, False], [True, True]])
    mask = additive(seen, torch.bfloat16)
    assert mask.dtype == torch.bfloat16 and mask.shape == (2, 2)
    assert mask.tolist() == [[0.0, -math.inf], [0.0, 0.0]]


def test_no_query_sees_nothing_whatever_the_layout() -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        share = (rng.random((3, 12)) > 0.6) * rng.random((3, 12))
        prompts = [Prompt(str(i), 2, s) for i, s in enumerate(share)]
        for apart in (None, together(share > 0)):
            mask = joint_mask(prompts, 12, others=2, apart=apart)
            assert mask is not None
            seen = mask if mask.dtype == torch.bool else mask > -math.inf
            assert bool(seen.any(dim=-1).all())


def test_queries_that_do_not_ask_are_left_out_and_references_stay_on_their_own_when_kept_apart() -> None:
    share = np.array([1.0, 0.0])
    mask = joint_mask([Prompt("text", 2, 1 - share, asks=False), Prompt("a", 1, share)], 2, others=1)
    assert mask is not None and mask.shape == (4, 6)
    assert mask.int().tolist() == [
        [0, 0, 1, 1, 0, 1],
        [0, 0, 1, 1, 1, 1],
        [1, 1, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
    ]
    apart = joint_mask([Prompt("a", 1, np.ones(2))], 2, others=1, apart=torch.ones(2, 2, dtype=torch.bool))
    assert apart is not None and apart[-1].int().tolist() == [0, 0, 0, 1]
