"""Masks from attention: the run stays, the spread is the explicit one, thresholds and pieces are exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.controls.attention_cut import SPREAD, AttentionCut, components, cut, otsu, spread_along, to_pixels
from studio.controls.control import Call, Need
from studio.controls.where import Where
from studio.controls.word_maps import WordMaps, over_words
from studio.errors import StudioError
from studio.models.tiny import tiny_transformer
from studio.models.words import find_words
from studio.values import TokenSpan
from tests.controls.attaching import FAMILIES, Control, attached_to, call_of, draw, step_of
from tests.controls.edit_runs import MODELS, NEW, parts_for, sampled, tensor

every_model = pytest.mark.parametrize("ref", MODELS)


def watch(ref: str, **more: object) -> AttentionCut:
    parts = parts_for(ref)
    spans = tuple(find_words(parts, NEW, word) for word in ("heart", "blue"))
    others = tuple(token.index for token in parts.family.tokens(parts, NEW))
    return AttentionCut(spans, others, **more)  # type: ignore[arg-type]


@every_model
@pytest.mark.parametrize("batch", [1, 2])
def test_the_run_is_the_same_bit_for_bit(ref: str, batch: int) -> None:
    parts = parts_for(ref)
    plain = sampled(parts, batch=batch, size=(96, 64))
    looked = sampled(parts, watch(ref), batch=batch, size=(96, 64))
    assert torch.equal(tensor(plain), tensor(looked))
    names = [map.name for map in looked.seen.maps]
    assert names == ["word_maps", "word_maps" + SPREAD]
    unary, spread = looked.seen.maps
    assert unary.values.shape == spread.values.shape and unary.labels == spread.labels


@every_model
def test_the_word_maps_are_those_of_a_plain_watch_and_the_spread_adds_up_to_one(ref: str) -> None:
    parts, control = parts_for(ref), watch(ref)
    run = sampled(parts, control)
    plain = sampled(parts, WordMaps(control.words, control.others))
    assert torch.equal(run.seen.maps[0].values, plain.seen.maps[0].values)
    shares = run.seen.maps[1].values
    assert torch.allclose(shares.sum(-1), torch.ones(shares.shape[:3]), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rounds", [1, 3])
def test_the_spread_is_the_explicit_product_with_the_picture_s_own_attention(
    family: str, rounds: int
) -> None:
    network = tiny_transformer(family)
    control = AttentionCut((TokenSpan("one", (1,)),), (1, 2), every=True, rounds=rounds, late=0.0)
    calls: list[Call] = []
    reader = Control("reader", Need.AFTER, on_after=lambda call, *rest: calls.append(call))
    with attached_to(network, control, reader) as attached:
        step_of(attached, network, call_of(family))
    maps = [map for map in attached.seen() if map.step >= 0]
    unary = [map for map in maps if map.name == "word_maps"]
    spread = [map for map in maps if map.name == "word_maps" + SPREAD]
    assert len(unary) == len(spread) == len(calls)
    for i, (map, call) in enumerate(zip(spread, calls, strict=True)):
        so_far = torch.stack([one.values for one in unary[: i + 1]]).mean(0)
        columns = over_words(so_far).flatten(1, 2)[0].double()
        row, span = call.layout.rows("target")[0], call.layout.span("image")
        q, k = call.q[row, :, span].double(), call.k[row, :, span].double()
        attention = torch.softmax(q @ k.mT * (call.scale or 1 / math.sqrt(q.shape[-1])), -1).mean(0)
        for _ in range(rounds):
            columns = attention @ columns
        assert torch.allclose(map.values.flatten(1, 2)[0].double(), columns, atol=5e-6)


def test_a_constant_stays_constant_and_more_columns_than_channels_work() -> None:
    q, k = draw(2, 3, 20, 8, seed=1), draw(2, 3, 20, 8, seed=2)
    ones = spread_along(q, k, torch.full((2, 20, 11), 0.3), 3)
    assert torch.allclose(ones, torch.full((2, 20, 11), 0.3), atol=1e-6)
    columns = torch.rand(2, 20, 11, generator=torch.Generator().manual_seed(3))
    together = spread_along(q, k, columns, 2)
    single = torch.cat([spread_along(q, k, columns[..., i : i + 1], 2) for i in range(11)], -1)
    assert torch.allclose(together, single, atol=1e-6)


def test_the_spread_begins_when_half_of_the_chosen_steps_are_over() -> None:
    parts = parts_for("tiny:flux")
    for where, steps in ((Where(), {2, 3, 4}), (Where((), 0.4, 0.8), {3}), (Where((), 0.18, 0.24), {0})):
        run = sampled(parts, watch("tiny:flux", where=where, every=True))
        found = {map.step for map in run.seen.maps if map.name.endswith(SPREAD) and map.step >= 0}
        assert found == steps


def test_rounds_beyond_three_and_a_spread_after_the_end_are_refused() -> None:
    with pytest.raises(StudioError, match="4 rounds"):
        watch("tiny:sd3", rounds=4)
    with pytest.raises(StudioError, match="Nothing is spread after 1"):
        watch("tiny:sd3", late=1.0)


# thresholds, pieces, pixels


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=30))
def test_otsu_leaves_the_least_variance_inside_the_classes(numbers: list[int]) -> None:
    values = torch.tensor(numbers, dtype=torch.float64)
    if len(set(numbers)) == 1:
        with pytest.raises(StudioError, match="the same everywhere"):
            otsu(values)
        return

    def inside(threshold: float) -> float:
        classes = (values[values <= threshold], values[values > threshold])
        return float(sum(((part - part.mean()) ** 2).sum() for part in classes))

    distinct = sorted(set(numbers))
    best = min(inside(low) for low in distinct[:-1])
    assert inside(otsu(values)) == pytest.approx(best, abs=1e-9)
    assert min(numbers) < otsu(values) < max(numbers)


def test_pieces_hang_together_by_sides_and_not_by_corners() -> None:
    cells = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 1]], dtype=torch.bool)
    labels = components(cells)
    assert torch.equal(labels > 0, cells)
    assert sorted(labels.unique().tolist()) == [0, 1, 2, 3, 4]
    pieces = [[(0, 0), (0, 1), (1, 1)], [(0, 3), (1, 3)], [(2, 0), (3, 0)], [(2, 2), (3, 2), (3, 3)]]
    for piece in pieces:
        assert len({int(labels[place]) for place in piece}) == 1
    assert components(torch.zeros(3, 3, dtype=torch.bool)).sum() == 0


def test_a_long_winding_piece_is_one() -> None:
    snake = torch.zeros(9, 9, dtype=torch.bool)
    snake[::2] = True
    snake[1::4, -1] = True
    snake[3::4, 0] = True
    assert components(snake).max() == 1


def two_discs() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(20.0), indexing="ij")
    big = ((rows - 5.5) ** 2 + (columns - 4.5) ** 2) < 12
    small = ((rows - 5.5) ** 2 + (columns - 15.5) ** 2) < 6
    return 0.1 + 0.7 * big.float() + 0.6 * small.float() + 0.001 * columns


@pytest.mark.parametrize(
    ("pick", "at", "left", "right"),
    [
        ("largest", (0.5, 0.5), True, False),
        ("all", (0.5, 0.5), True, True),
        ("point", (0.78, 0.5), False, True),
        ("point", (0.95, 0.1), False, True),
        ("point", (0.0, 0.0), True, False),
    ],
)
def test_the_piece_that_was_asked_for_is_cut_out(
    pick: str, at: tuple[float, float], left: bool, right: bool
) -> None:
    cells = cut(two_discs(), pick, at)
    assert (bool(cells[:, :10].any()), bool(cells[:, 10:].any())) == (left, right)
    pixels = to_pixels(two_discs(), cells, 160, 96)
    assert pixels.shape == (96, 160) and set(pixels.unique().tolist()) == {0.0, 1.0}
    assert (bool(pixels[:, :80].any()), bool(pixels[:, 80:].any())) == (left, right)


def test_an_unknown_pick_is_refused() -> None:
    with pytest.raises(StudioError, match="'biggest'"):
        cut(two_discs(), "biggest")


def test_blocky_pixels_are_the_cells_and_smooth_ones_follow_the_disc_better() -> None:
    values = two_discs()
    cells = cut(values)
    blocky = to_pixels(values, cells, 160, 96, smooth=False).numpy() > 0
    assert np.array_equal(blocky, np.kron(cells.numpy(), np.ones((8, 8), bool)))
    rows, columns = np.mgrid[0:96, 0:160] / 8 - 0.5 + 1 / 16
    disc = ((rows - 5.5) ** 2 + (columns - 4.5) ** 2) < 12
    smooth = to_pixels(values, cells, 160, 96).numpy() > 0

    def iou(mask: np.ndarray) -> float:
        return float((mask & disc).sum() / (mask | disc).sum())

    assert iou(smooth) > iou(blocky) > 0.8


def test_a_mask_of_one_cell_does_not_vanish() -> None:
    values = torch.zeros(8, 8)
    values[3, 4] = 1.0
    cells = cut(values)
    assert cells.sum() == 1
    for smooth in (False, True):
        pixels = to_pixels(values, cells, 128, 128, smooth=smooth)
        assert pixels[56, 72] == 1 and pixels.sum() > 40
