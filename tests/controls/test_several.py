"""A run may have several controls of one sort: each has a name of its own, and the maps of two that watched
are told apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from studio.controls.composition import compose
from studio.controls.control import AttentionControl
from studio.controls.estimates import Estimates
from studio.controls.four_block import FourBlock, block_table
from studio.controls.heat_maps import heat_maps, word_mask
from studio.controls.reading import groups_of, maps_of, mean_map, once_each
from studio.controls.reweight import WordWeight
from studio.controls.share_kv import KeepLook
from studio.controls.text_layers import TextLayers
from studio.controls.where import Where
from studio.controls.word_looks import WordLooks
from studio.controls.word_maps import WordMaps
from studio.errors import StudioError
from studio.models.family import Parts
from studio.models.words import find_words
from studio.values import Seen, SeenMap, TokenSpan
from tests.controls.edit_runs import MODELS, NEW, OLD, parts_for, sampled, tensor, text

Two = Callable[[Parts, float, float], AttentionControl]


def word(parts: Parts, name: str) -> TokenSpan:
    return find_words(parts, NEW, name)


def others(parts: Parts) -> tuple[int, ...]:
    return tuple(sorted({token.index for token in parts.family.tokens(parts, NEW)}))


@pytest.fixture(params=MODELS)
def parts(request: pytest.FixtureRequest) -> Parts:
    return parts_for(request.param)


RANGED: dict[str, Two] = {
    "look": lambda parts, start, end: KeepLook(text(parts, OLD), (1,), start, end),
    "masked look": lambda parts, start, end: KeepLook(
        text(parts, OLD),
        (1,),
        start,
        end,
        source_words=find_words(parts, OLD, "star"),
        target_words=word(parts, "heart"),
        map_sites=(0,),
    ),
    "text_layers": lambda parts, start, end: TextLayers(text(parts, OLD), (0,), start, end),
    "weight": lambda parts, start, end: WordWeight(((word(parts, "heart"), 2.5),), False, start, end),
}


@pytest.mark.parametrize("technique", RANGED)
def test_two_that_share_a_run_are_one_over_both_parts(parts: Parts, technique: str) -> None:
    made = RANGED[technique]
    whole = sampled(parts, made(parts, 0.0, 1.0))
    halves = sampled(parts, made(parts, 0.0, 0.5), made(parts, 0.5, 1.0))
    assert torch.equal(tensor(halves), tensor(whole))
    assert not torch.equal(tensor(halves), tensor(sampled(parts, made(parts, 0.0, 0.5))))


def test_the_same_weight_twice_multiplies(parts: Parts) -> None:
    star = word(parts, "heart")
    twice = sampled(parts, *[WordWeight(((star, 2.0),)) for _ in range(2)])
    once = sampled(parts, WordWeight(((star, 4.0),)))
    assert torch.allclose(tensor(twice), tensor(once), atol=1e-4)


def test_names_are_numbered_in_the_order_of_connecting() -> None:
    star = TokenSpan("star", (0,))
    made = compose([FourBlock(), WordMaps((star,)), Estimates(), WordMaps((star,)), FourBlock(), FourBlock()])
    assert [control.name for control in made] == [
        "four_block",
        "four_block (2)",
        "four_block (3)",
        "word_maps",
        "word_maps (2)",
        "estimates",
    ]


def test_what_two_watched_is_shown_side_by_side_and_as_each_alone(parts: Parts) -> None:
    heart = WordLooks((word(parts, "heart"),), others(parts))
    more = WordLooks((word(parts, "left"), word(parts, "heart")), others(parts), every=True)
    both, plain = sampled(parts, heart, more), sampled(parts)
    assert torch.equal(tensor(both), tensor(plain))
    one, other = groups_of(both.seen, "word_maps", "")
    for maps, control in ((one, heart), (other, more)):
        assert maps[0].labels == control.labels
        alone = maps_of(sampled(parts, control).seen, "word_maps", "")
        assert torch.equal(mean_map(maps), mean_map(alone))
    shown = heat_maps(both.seen, None)
    three = heat_maps(both.seen, None, word="heart, left, heart (2)")
    assert (shown.width, shown.height) == (three.width, three.height) and shown.width > shown.height
    for grid in ("blocks", "steps"):
        assert heat_maps(both.seen, None, word="left", grid=grid).pixels.std() > 1
    with pytest.raises(StudioError, match="'moon' was not watched") as refused:
        heat_maps(both.seen, None, word="moon")
    assert "heart, left, heart (2)" in refused.value.hint
    for control, said in ((heart, "heart"), (more, "left"), (more, "heart (2)")):
        wanted = sampled(parts, control).seen
        mask, cells = word_mask(both.seen, 64, 64, word=said)
        own, same = word_mask(wanted, 64, 64, word=said.removesuffix(" (2)"))
        assert torch.equal(cells, same) and (mask.values == own.values).all()


def test_the_same_words_watched_in_two_parts_are_one_map(parts: Parts) -> None:
    star = (word(parts, "heart"),)
    halves = [WordMaps(star, others(parts), Where((), *part)) for part in ((0.0, 0.5), (0.5, 1.0))]
    # of as many steps: the mean of two that watched counts both alike
    both, whole = sampled(parts, *halves, steps=4), sampled(parts, WordMaps(star, others(parts)), steps=4)
    (maps,) = groups_of(both.seen, "word_maps", "")
    assert len(maps) == 2
    assert torch.allclose(mean_map(maps), mean_map(maps_of(whole.seen, "word_maps", "")), atol=1e-6)


def test_blocks_watched_twice_are_one_table(parts: Parts) -> None:
    halves = [FourBlock(Where((), *part)) for part in ((0.0, 0.5), (0.5, 1.0))]
    table = block_table(maps_of(sampled(parts, *halves).seen, "four_block", ""))
    assert table == block_table(maps_of(sampled(parts, FourBlock()).seen, "four_block", ""))


def test_estimates_wanted_twice_are_kept_once(parts: Parts) -> None:
    both = sampled(parts, Estimates(2), Estimates(2)).seen.estimates
    assert [found.step for found in both] == [
        found.step for found in sampled(parts, Estimates(2)).seen.estimates
    ]


def test_labels_that_are_there_already_get_a_number() -> None:
    assert once_each([("star", "moon"), ("Star", "sea"), ("star",)]) == (
        ("star", "moon"),
        ("Star (2)", "sea"),
        ("star (3)",),
    )
    maps = [SeenMap(name, "cond", torch.zeros(1, 1, 1, 1), labels=("a",)) for name in ("x (2)/y", "x", "z")]
    assert [map.name for map in maps_of(Seen(tuple(maps)), "x/y", "")] == ["x (2)/y"]
