"""Word maps: looking changes nothing, the columns add up, and they are the explicit softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from studio.controls.control import Call, Need
from studio.controls.where import Where, parse_blocks
from studio.controls.word_maps import OTHER, REST, WordMaps, min_max, over_words
from studio.errors import StudioError
from studio.models.tiny import tiny_transformer
from studio.models.words import find_words
from studio.sampling.loop import Run
from studio.values import Seen, SeenMap, TokenSpan
from tests.controls.attaching import (
    FAMILIES,
    GRID,
    ROLES,
    TEXT,
    Control,
    attached_to,
    call_of,
    step_of,
)
from tests.controls.edit_runs import MODELS, NEW, Beside, parts_for, sampled, tensor, text

every_model = pytest.mark.parametrize("ref", MODELS)
every_family = pytest.mark.parametrize("family", FAMILIES)


def watch(ref: str, *words: str, every: bool = True, where: Where | None = None) -> WordMaps:
    parts = parts_for(ref)
    spans = tuple(find_words(parts, NEW, word) for word in words or ("heart", "blue"))
    others = tuple(token.index for token in parts.family.tokens(parts, NEW))
    return WordMaps(spans, others, where or Where(), every)


def mean_of(seen: Seen, role: str = "cond") -> torch.Tensor:
    (found,) = (map for map in seen.maps if map.step < 0 and map.role == role)
    return found.values


def singles(seen: Seen) -> list[SeenMap]:
    return [map for map in seen.maps if map.step >= 0]


@every_model
@pytest.mark.parametrize("name", ["euler", "heun"])
@pytest.mark.parametrize("batch", [1, 2])
def test_looking_never_changes_a_bit_of_the_run(ref: str, name: str, batch: int) -> None:
    parts = parts_for(ref)
    plain = sampled(parts, batch=batch, name=name)
    looked = sampled(parts, watch(ref), batch=batch, name=name)
    assert torch.equal(tensor(plain), tensor(looked))
    assert mean_of(looked.seen).shape[0] == batch


@every_model
def test_looking_beside_another_trajectory_shows_the_target(ref: str) -> None:
    from studio.controls.control import Branch

    parts = parts_for(ref)
    beside = Beside((Branch("source", text(parts, "a red star")),))
    plain, looked = sampled(parts, beside), sampled(parts, beside, watch(ref))
    assert torch.equal(tensor(plain), tensor(looked))
    assert {map.role for map in looked.seen.maps} == {"target"}


@every_model
def test_pictures_that_are_not_square_have_maps_of_their_shape(ref: str) -> None:
    parts = parts_for(ref)
    run = sampled(parts, watch(ref), size=(96, 64))
    step = parts.family.size_step(parts)
    assert mean_of(run.seen).shape[1:3] == (64 // step, 96 // step)


@every_model
def test_the_maps_of_two_pictures_are_those_of_each_alone(ref: str) -> None:
    parts = parts_for(ref)
    both = mean_of(sampled(parts, watch(ref), batch=2, seed=3).seen)
    alone = [mean_of(sampled(parts, watch(ref), seed=seed).seen)[0] for seed in (3, 4)]
    assert torch.allclose(both, torch.stack(alone), atol=1e-5)
    assert not torch.allclose(both[0], both[1], atol=1e-4)


@every_model
def test_only_the_chosen_blocks_and_steps_are_looked_at(ref: str) -> None:
    run = sampled(parts_for(ref), watch(ref, where=Where((1,), 0.4, 0.8)))
    assert {(map.index, map.step) for map in singles(run.seen)} == {(1, 2), (1, 3)}
    assert all(map.labels == ("heart", "blue", OTHER, REST) for map in run.seen.maps)


@every_model
def test_without_detail_the_mean_alone_is_kept(ref: str) -> None:
    parts = parts_for(ref)
    short, full = (sampled(parts, watch(ref, every=every)) for every in (False, True))
    assert len(short.seen.maps) == 1
    assert torch.equal(mean_of(short.seen), mean_of(full.seen))
    single = torch.stack([map.values for map in singles(full.seen)])
    assert torch.allclose(single.mean(0), mean_of(full.seen), atol=1e-6)


def explicit(call: Call, groups: Sequence[Sequence[int]]) -> torch.Tensor:
    """The columns of the softmax, built; and what is left, the mass on the picture."""
    layout = call.layout
    own = [span for name, span in layout.spans.items() if not name.startswith("text/seg")]
    own.sort(key=lambda span: span.start)
    take = torch.cat([torch.arange(span.start, span.stop) for span in own])
    scale = call.scale or 1 / math.sqrt(call.q.shape[-1])
    scores = (call.q[:, :, layout.span("image")] @ call.k[:, :, take].mT).double() * scale
    if layout.pad is not None:
        scores = scores.masked_fill(~layout.pad[:, None, None, take], -math.inf)
    weights = torch.softmax(scores, -1).mean(1)
    start = int((take == layout.span("text").start).nonzero())
    columns = [weights[..., [start + token for token in group]].sum(-1) for group in groups]
    pictures = torch.ones(len(take), dtype=torch.bool)
    pictures[start : start + layout.size("text")] = False
    return torch.stack([*columns, weights[..., pictures].sum(-1)], -1)


@every_family
@pytest.mark.parametrize("ragged", [False, True])
def test_columns_are_the_explicit_softmax_and_add_up_to_one(family: str, ragged: bool) -> None:
    network = tiny_transformer(family)
    text = (TEXT, TEXT - 3, TEXT) if ragged and family in ("qwen_image", "z_image") else ()
    given = call_of(family, text=text)
    words = WordMaps((TokenSpan("one", (1, 3)), TokenSpan("two", (2,))), (1, 2, 3, 4), every=True)
    calls: list[Call] = []
    reader = Control("reader", Need.AFTER, on_after=lambda call, *rest: calls.append(call))
    roles = ("uncond:0", "cond:0", "cond:1")
    with attached_to(network, words, reader, roles=roles) as attached:
        step_of(attached, network, given, roles=roles)
    maps = [map for map in attached.seen() if map.step >= 0]
    assert len(maps) == len(calls) >= 2
    for map, call in zip(maps, calls, strict=True):
        wanted = explicit(call, words.groups(call.layout.size("text")))[1:]
        found = map.values.flatten(1, 2)
        assert map.values.shape == (2, *GRID, 4)
        assert torch.allclose(found.double(), wanted[..., :-1], atol=2e-6)
        rest = found.double().sum(-1) + wanted[..., -1]
        assert torch.allclose(rest, torch.ones_like(rest), atol=2e-6)


@every_family
def test_the_network_gives_the_same_bits_with_and_without_a_look(family: str) -> None:
    network, given = tiny_transformer(family), call_of(family)
    words = WordMaps((TokenSpan("one", (1,)),), (1, 2))
    with attached_to(network, words) as attached:
        looked = step_of(attached, network, given)
    with torch.inference_mode():
        plain = network(**given, return_dict=False)[0]
    assert torch.equal(looked, torch.stack(plain) if isinstance(plain, list) else plain)
    # the rows of this call are source and target: the target's is shown
    assert [map.role for map in attached.seen()] == ["target"]
    assert ROLES[2].startswith("target")


def test_every_token_lies_in_one_column() -> None:
    groups = WordMaps((TokenSpan("one", (1, 4)), TokenSpan("two", (2,))), (1, 2, 3)).groups(7)
    assert groups == ((1, 4), (2,), (3,), (0, 5, 6))
    assert sorted(token for group in groups for token in group) == list(range(7))


def test_words_that_share_a_token_are_refused() -> None:
    with pytest.raises(StudioError, match="'red star' and 'star' share a token"):
        WordMaps((TokenSpan("red star", (1, 2)), TokenSpan("star", (2,))))
    with pytest.raises(StudioError, match="no word to watch"):
        WordMaps(())


@every_model
def test_a_word_that_is_not_in_the_prompt_is_refused_with_the_nearest(ref: str) -> None:
    with pytest.raises(StudioError, match="'hart' is not in the prompt") as caught:
        watch(ref, "hart")
    assert "'heart'" in caught.value.hint


@every_model
def test_blocks_and_steps_that_are_not_there_are_refused_before_the_run(ref: str) -> None:
    parts = parts_for(ref)
    with pytest.raises(StudioError, match="block 9") as caught:
        sampled(parts, watch(ref, where=Where((9,))))
    assert "0 to" in caught.value.hint
    with pytest.raises(StudioError, match="none of its 5 steps"):
        sampled(parts, watch(ref, where=Where((), 0.41, 0.5)))


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.8, 0.2), (-0.1, 1), (0, 1.1), (math.nan, 1)])
def test_an_impossible_range_is_refused(start: float, end: float) -> None:
    with pytest.raises(StudioError, match="no part of a run"):
        Where((), start, end)


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", None),
        ("  ", None),
        ("all", ()),
        ("All", ()),
        ("3", (3,)),
        ("0-3, 8", (0, 1, 2, 3, 8)),
        ("8 1 - 2,1", (1, 2, 8)),
        ("7,", (7,)),
    ],
)
def test_block_lists_are_read(text: str, blocks: tuple[int, ...] | None) -> None:
    assert parse_blocks(text) == blocks


@pytest.mark.parametrize("text", ["x", "1.5", "-1", "3-", "1;2", "5-2", "99999"])
def test_block_lists_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(StudioError):
        parse_blocks(text)


def test_min_max_stretches_each_map_and_leaves_flat_ones_at_zero() -> None:
    maps = torch.rand(3, 4, 5, 2, generator=torch.Generator().manual_seed(0)) * 0.01 + 0.02
    maps[1, ..., 0] = 0.025
    found = min_max(maps)
    assert bool((found[1, ..., 0] == 0).all())
    for picture, group in ((0, 0), (0, 1), (2, 1)):
        one = found[picture, ..., group]
        assert one.min() == 0 and one.max() == 1
        assert torch.equal(one.flatten().argsort(), maps[picture, ..., group].flatten().argsort())


def test_shares_between_words_are_the_explicit_softmax_and_add_up_to_one() -> None:
    maps = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(1)) + 0.01
    relative = maps / maps.mean((0, 1))
    assert torch.allclose(over_words(maps), relative / relative.sum(-1, keepdim=True), atol=1e-6)
    sharp = over_words(maps, 4.0)
    assert torch.allclose(sharp, torch.softmax(4 * relative.log(), -1), atol=1e-6)
    assert torch.allclose(sharp.sum(-1), torch.ones(4, 6), atol=1e-6)
    # a word that is looked at ten times as much everywhere does not win everywhere
    assert torch.allclose(over_words(maps * torch.tensor([10.0, 1, 1])), over_words(maps), atol=1e-6)


def test_a_column_without_tokens_gets_no_share() -> None:
    maps = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(1)) + 0.01
    maps[..., 1] = 0
    shares = over_words(maps)
    assert bool((shares[..., 1] == 0).all())
    assert torch.allclose(shares.sum(-1), torch.ones(4, 6))
    assert bool((over_words(torch.zeros(2, 2, 3)) == 0).all())


def test_runs_of_the_two_families_differ_so_that_equality_says_something() -> None:
    one, other = (sampled(parts_for(ref), watch(ref)) for ref in MODELS)
    assert isinstance(one, Run) and not torch.allclose(mean_of(one.seen), mean_of(other.seen))
