"""Where words look: the explicit softmax of their queries, nothing changed, and a mask out of both ways."""

from __future__ import annotations

import math

import pytest
import torch

from studio.controls.control import Call, Need
from studio.controls.heat_maps import word_mask
from studio.controls.where import Where
from studio.controls.word_looks import LOOKS, WordLooks, both_ways, masked
from studio.controls.word_maps import WordMaps
from studio.models.tiny import tiny_transformer
from studio.models.words import find_words
from studio.values import Seen, SeenMap, TokenSpan
from tests.controls.attaching import FAMILIES, Control, attached_to, call_of, step_of
from tests.controls.edit_runs import MODELS, NEW, parts_for, sampled, tensor


def watch(ref: str, **more: object) -> WordLooks:
    parts = parts_for(ref)
    spans = tuple(find_words(parts, NEW, word) for word in ("heart", "blue"))
    return WordLooks(spans, tuple(token.index for token in parts.family.tokens(parts, NEW)), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("ref", MODELS)
@pytest.mark.parametrize("batch", [1, 2])
def test_the_run_is_the_same_bit_for_bit_and_so_are_the_word_maps(ref: str, batch: int) -> None:
    parts, control = parts_for(ref), watch(ref)
    looked = sampled(parts, control, batch=batch, size=(96, 64))
    assert torch.equal(tensor(sampled(parts, batch=batch, size=(96, 64))), tensor(looked))
    plain = sampled(parts, WordMaps(control.words, control.others), batch=batch, size=(96, 64))
    maps, looks = looked.seen.maps
    assert [maps.name, looks.name] == ["word_maps", "word_maps" + LOOKS]
    assert torch.equal(maps.values, plain.seen.maps[0].values)
    assert looks.values.shape == maps.values.shape and looks.labels == maps.labels
    assert looks.values[..., :2].min() > 0 and not looks.values[..., 2:].any()
    assert looks.values[..., :2].flatten(1, 2).sum(1).max() < 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_look_is_the_softmax_of_the_words_own_queries(family: str) -> None:
    network = tiny_transformer(family)
    control = WordLooks((TokenSpan("one", (1,)), TokenSpan("two", (0, 2))), (0, 1, 2), every=True)
    calls: list[Call] = []
    reader = Control("reader", Need.AFTER, on_after=lambda call, *rest: calls.append(call))
    with attached_to(network, control, reader) as attached:
        step_of(attached, network, call_of(family))
    looks = [map for map in attached.seen() if map.step >= 0 and map.name.endswith(LOOKS)]
    assert len(looks) == len(calls)
    for map, call in zip(looks, calls, strict=True):
        row, text, image = call.layout.rows("target")[0], call.layout.span("text"), call.layout.span("image")
        q, k = call.q[row].double(), call.k[row].double()
        k = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
        scores = q @ k.mT * (call.scale or 1 / math.sqrt(q.shape[-1]))
        if call.mask is not None:
            mask = call.mask.expand(len(call.q), -1, scores.shape[1], -1)[row]
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        seen = scores.softmax(-1).mean(0)[text][:, image]
        for column, tokens in enumerate(((1,), (0, 2))):
            expected = seen[list(tokens)].mean(0)
            assert torch.allclose(map.values[0, ..., column].flatten().double(), expected, atol=5e-6)


def test_masks_of_a_call_are_cut_to_rows_and_queries() -> None:
    scores = torch.zeros(1, 2, 1, 3)
    seen = torch.tensor([[[[True, True, False]] * 4], [[[True, False, False]] * 4]])
    assert masked(scores, seen, (1,), [2])[0, 0, 0].tolist() == [0.0, -math.inf, -math.inf]
    assert masked(scores, torch.tensor([0.0, -1.0, 2.0]), (0,), [1])[0, 1, 0].tolist() == [0.0, -1.0, 2.0]


def test_both_ways_is_the_geometric_mean_of_maps_divided_by_their_maxima() -> None:
    one = torch.tensor([[4.0, 1.0], [0.0, 2.0]])[..., None]
    other = torch.tensor([[0.1, 0.4], [0.4, 0.2]])[..., None]
    expected = torch.tensor([[0.5, 0.5], [0.0, 0.5]])
    assert torch.allclose(both_ways(one, other)[..., 0], expected)
    assert not both_ways(torch.zeros(2, 2, 1), other).any()


def test_a_mask_needs_both_ways_to_agree() -> None:
    """The picture looks at the word in two corners, the word looks at one of them and elsewhere."""
    to, looks = torch.full((1, 8, 8, 3), 0.01), torch.full((1, 8, 8, 3), 0.01)
    to[0, :3, :3, 0] = to[0, 5:, 5:, 0] = 0.5
    looks[0, :3, :3, 0] = looks[0, :3, 5:, 0] = 0.5
    labels = ("star", "other words", "rest of the text")
    seen = Seen((SeenMap("word_maps", "cond", to, labels=labels),
                 SeenMap("word_maps" + LOOKS, "cond", looks, labels=labels)))  # fmt: skip
    mask, cells = word_mask(seen, 64, 64, word="star", pick="all", smooth=False)
    assert cells[:3, :3].all() and int(cells.sum()) == 9
    assert float(mask.values.sum()) == 9 * 64


def test_looks_are_kept_at_the_chosen_blocks_and_steps_alone() -> None:
    run = sampled(parts_for("tiny:sd3"), watch("tiny:sd3", where=Where((1,), 0.4, 0.8), every=True))
    single = [map for map in run.seen.maps if map.step >= 0]
    assert {map.index for map in single} == {1} and {map.step for map in single} == {2, 3}
