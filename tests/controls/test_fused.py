"""Every fused recipe against the softmax written out, and that none of them builds a map (controls.md 4)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from studio.controls.fused import (
    additive,
    attention_mass,
    joined,
    replace_logits,
    reweighted,
    spread,
    take,
)
from studio.errors import StudioError
from tests.controls.attaching import draw

ROWS, HEADS, WIDE, IMAGE, TEXT = 2, 3, 8, 24, 9
S = IMAGE + TEXT
SPANS = {
    "image first": (slice(0, IMAGE), slice(IMAGE, S)),
    "text first": (slice(TEXT, S), slice(0, TEXT)),
}
both_orders = pytest.mark.parametrize("order", SPANS)
with_pad = pytest.mark.parametrize("pad", [False, True], ids=["all tokens", "padded"])


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = (draw(ROWS, HEADS, S, WIDE, seed=seed) for seed in (1, 2, 3))
    return q * 2, k, v


def pad_mask(order: str, pad: bool) -> torch.Tensor | None:
    """Row 1 lacks the last three text tokens."""
    if not pad:
        return None
    mask = torch.ones(ROWS, S, dtype=torch.bool)
    stop = SPANS[order][1].stop
    mask[1, stop - 3 : stop] = False
    return mask[:, None, None]


def softmax(logits: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    return torch.softmax(logits.double(), -1)


def logits_of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q.double() @ k.double().mT) / math.sqrt(WIDE)


@both_orders
@with_pad
@pytest.mark.parametrize("count", [3, 2 * WIDE + 1])
def test_attention_mass_is_the_sum_of_the_softmax_over_each_group(order: str, pad: bool, count: int) -> None:
    image, text = SPANS[order]
    q, k, _ = tensors()
    mask = pad_mask(order, pad)
    groups = [(), (0,), (1, 4, 8), *((i % TEXT,) for i in range(count - 3))]
    mass = attention_mass(q[:, :, image], k, groups, offset=text.start, mask=mask)
    full = softmax(logits_of(q, k), mask)[:, :, image].mean(1)
    wanted = torch.stack([full[..., [text.start + t for t in group]].sum(-1) for group in groups], -1)
    assert mass.dtype == torch.float32 and mass.shape == (ROWS, IMAGE, count)
    assert (mass - wanted).abs().max() < 2e-7
    assert attention_mass(q[:, :, image], k, []).shape == (ROWS, IMAGE, 0)


def test_groups_and_the_rest_sum_to_one() -> None:
    q, k, _ = tensors()
    mass = attention_mass(q, k, [range(10), range(10, S)])
    assert (mass.sum(-1) - 1).abs().max() < 5e-7


def test_a_group_outside_the_keys_is_refused() -> None:
    q, k, _ = tensors()
    with pytest.raises(StudioError, match=f"no token {S}"):
        attention_mass(q, k, [(S,)])


@both_orders
@pytest.mark.parametrize("masks", [1, 2 * WIDE + 1])
def test_spreading_carries_masks_along_the_attention_among_image_tokens(order: str, masks: int) -> None:
    image, _ = SPANS[order]
    q, k, _ = tensors()
    given = draw(1, IMAGE, masks, seed=5).sigmoid()
    moved = spread(q[:, :, image], k[:, :, image], given)
    full = softmax(logits_of(q[:, :, image], k[:, :, image]), None).mean(1)
    assert moved.shape == (ROWS, IMAGE, masks)
    assert (moved - full @ given.double()).abs().max() < 4e-7


@both_orders
@with_pad
@pytest.mark.parametrize("queries", [0, 1], ids=["image queries", "text queries"])
@pytest.mark.parametrize("keys", [0, 1], ids=["image keys", "text keys"])
@pytest.mark.parametrize("widest", [256, WIDE], ids=["doubled heads", "piece by piece"])
def test_one_block_of_scores_can_be_that_of_another_row(
    order: str, pad: bool, queries: int, keys: int, widest: int
) -> None:
    q, k, v = tensors()
    other_q, other_k = q.roll(1, 0), k.roll(1, 0)
    asked, block = SPANS[order][queries], SPANS[order][keys]
    mask = pad_mask(order, pad)
    out = replace_logits(q[:, :, asked], k, v, other_q[:, :, asked], other_k, block, mask=mask, widest=widest)
    logits = logits_of(q, k)
    logits[:, :, :, block] = logits_of(other_q, other_k)[:, :, :, block]
    wanted = softmax(logits, mask)[:, :, asked] @ v.double()
    assert (out - wanted).abs().max() < 2e-6


def test_replacing_by_oneself_changes_nothing_but_rounding() -> None:
    q, k, v = tensors()
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    for widest in (256, WIDE):
        assert (replace_logits(q, k, v, q, k, slice(3, 20), widest=widest) - plain).abs().max() < 1e-6


@both_orders
@with_pad
@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("weight", [0.25, 3.0])
def test_columns_count_more_or_less(order: str, pad: bool, renormalise: bool, weight: float) -> None:
    image, text = SPANS[order]
    q, k, v = tensors()
    mask = pad_mask(order, pad)
    tokens = [text.start + 1, text.start + 4]
    out = reweighted(q[:, :, image], k, v, tokens, weight, renormalise=renormalise, mask=mask)
    share = softmax(logits_of(q, k), mask)[:, :, image]
    share[..., tokens] *= weight
    if renormalise:
        share = share / share.sum(-1, keepdim=True)
    assert (out - share @ v.double()).abs().max() < 2e-6


def test_a_weight_of_nothing_is_taken_by_the_form_after_the_softmax_only() -> None:
    q, k, v = tensors()
    out = reweighted(q, k, v, [0], 0.0)
    share = softmax(logits_of(q, k), None)
    share[..., 0] = 0
    assert (out - share @ v.double()).abs().max() < 2e-6
    with pytest.raises(StudioError, match="no logarithm"):
        reweighted(q, k, v, [0], 0.0, renormalise=True)


@both_orders
def test_fewer_keys_are_the_same_as_a_mask(order: str) -> None:
    _, text = SPANS[order]
    q, k, v = tensors()
    kept = [slice(0, text.start + 2), slice(text.start + 4, S)]
    kept = [span for span in kept if span.stop > span.start]
    mask = torch.zeros(S, dtype=torch.bool)
    for span in kept:
        mask[span] = True
    few = torch.nn.functional.scaled_dot_product_attention(q, take(k, kept), take(v, kept))
    wanted = softmax(logits_of(q, k), mask[None, None, None]) @ v.double()
    assert (few - wanted).abs().max() < 2e-6


def test_masks_join_in_either_form() -> None:
    one, other = torch.tensor([[[[True, True, False]]]]), torch.tensor([[[[True, False, True]]]])
    assert joined(one, None) is one and joined(None, other) is other
    both = joined(one, other)
    assert both is not None and both.tolist() == [[[[True, False, False]]]]
    mixed = joined(one, torch.tensor([[[[0.5, -1.0, 2.0]]]]))
    assert mixed is not None and mixed.tolist() == [[[[0.5, -1.0, -math.inf]]]]
    assert additive(one, torch.float64).tolist() == [[[[0.0, 0.0, -math.inf]]]]


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for item in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(item, torch.Tensor):
                self.numel = max(self.numel, item.numel())
        return out


def test_no_recipe_builds_a_map_for_each_head() -> None:
    """T12: with a long sequence the largest tensor is one of tokens and channels, far below heads x S x S."""
    length, wide = 1024, 16
    q, k, v = (draw(1, 4, length, wide, seed=seed) for seed in (1, 2, 3))
    with torch.inference_mode(), Largest() as largest:
        attention_mass(q, k, [(0, 1), (5,)])
        spread(q, k, torch.ones(1, length, 3))
        reweighted(q, k, v, [4], 2.0)
        reweighted(q, k, v, [4], 2.0, renormalise=True)
        replace_logits(q, k, v, q, k, slice(10, 40))
    # doubled heads are the largest: twice the tokens and channels
    assert 0 < largest.numel <= 2 * q.numel()
    with torch.inference_mode(), Largest() as largest:
        replace_logits(q, k, v, q, k, slice(10, 40), widest=wide)
    assert largest.numel <= 4 * 128 * length


def test_inputs_stay_as_they_are() -> None:
    q, k, v = tensors()
    before = [tensor.clone() for tensor in (q, k, v)]
    attention_mass(q, k, [(0,)])
    spread(q, k, torch.ones(1, S, 1))
    reweighted(q, k, v, [0], 2.0)
    replace_logits(q, k, v, q, k, slice(0, 3))
    replace_logits(q, k, v, q, k, slice(0, 3), widest=4)
    assert all(torch.equal(a, b) for a, b in zip(before, (q, k, v), strict=True))
