"""Captions say only what is true, in known words, and are read back as what they said."""

from __future__ import annotations

import numpy as np
import pytest

from studio.scenes.caption import MAX_TOKENS, STYLES, caption, held_out_prompts
from studio.scenes.wanted import RELATION_GAP, Wanted, WantedObject, holds, parse
from studio.scenes.words import VOCABULARY, tokenize, unknown_words
from studio.scenes.world import Scene, SceneObject, held_out, sample_scene

PROPERTIES = ("colour", "pattern", "size", "place")


def samples(n: int, **options: object) -> list[tuple[Scene, str]]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        scene = sample_scene(rng)
        found.append((scene, caption(scene, rng, **options)))  # type: ignore[arg-type]
    return found


def fits(want: WantedObject, item: SceneObject) -> bool:
    return want.kind == item.kind and all(
        getattr(want, name) in (None, getattr(item, name)) for name in PROPERTIES
    )


def test_captions_use_known_words_and_few_of_them() -> None:
    known = set(VOCABULARY)
    assert len(known) == len(VOCABULARY) < 120
    for full in (False, True):
        for _, text in samples(2000, full=full):
            tokens = tokenize(text)
            assert set(tokens) <= known
            assert len(tokens) <= MAX_TOKENS


def test_every_word_of_the_vocabulary_is_used() -> None:
    assert {token for _, text in samples(6000) for token in tokenize(text)} == set(VOCABULARY)


def test_what_is_read_from_a_caption_is_true_of_its_scene() -> None:
    for scene, text in samples(3000):
        wanted = parse(text)
        assert len(wanted.objects) == len(scene.objects), text
        assert wanted.background in (None, scene.background)
        for want in wanted.objects:
            assert any(fits(want, item) for item in scene.objects), text
        for first, relation, second in wanted.relations:
            pairs = [
                (a, b)
                for a in scene.objects
                for b in scene.objects
                if a is not b and fits(wanted.objects[first], a) and fits(wanted.objects[second], b)
            ]
            assert any(holds(relation, (a.cx, a.cy), (b.cx, b.cy)) for a, b in pairs), text


def test_a_full_caption_says_everything() -> None:
    for scene, text in samples(600, full=True):
        wanted = parse(text)
        assert wanted.background == scene.background, text
        for want in wanted.objects:
            assert want.colour
            assert want.size
            assert want.place or wanted.relations, text
        spoken = [want.pattern for want in wanted.objects if want.pattern not in (None, "solid")]
        drawn = [item.pattern for item in scene.objects if item.pattern != "solid"]
        assert sorted(spoken) == sorted(drawn), text


def test_other_captions_leave_things_out_but_never_the_kind() -> None:
    wants = [want for _, text in samples(2000) for want in parse(text).objects]
    said = {name: np.mean([getattr(want, name) is not None for want in wants]) for name in PROPERTIES}
    assert 0.92 < said["colour"] < 0.98
    assert 0.3 < said["size"] < 0.6
    assert 0.6 < said["place"] < 0.85


@pytest.mark.parametrize("style", STYLES)
def test_a_style_can_be_chosen(style: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        text = caption(sample_scene(rng, 2), rng, full=True, style=style)
        assert bool(parse(text).relations) == (style == "relation"), text


def test_an_unknown_style_is_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="sonnet"):
        caption(sample_scene(rng), rng, style="sonnet")


def test_captions_repeat_from_their_generator() -> None:
    assert samples(30) == samples(30)


def want(kind: str, colour: str | None = None, **rest: str) -> WantedObject:
    return WantedObject(kind, colour, **rest)


RED_STAR, BLUE_HOUSE = want("star", "red"), want("house", "blue")


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        (
            "a red star on the left and a blue house on the right, at night",
            Wanted((want("star", "red", place="left"), want("house", "blue", place="right")), (), "night"),
        ),
        ("Red star, blue house.", Wanted((RED_STAR, BLUE_HOUSE))),
        ("a red star to the left of a blue house", Wanted((RED_STAR, BLUE_HOUSE), ((0, "left", 1),))),
        ("a red star above a blue house", Wanted((RED_STAR, BLUE_HOUSE), ((0, "above", 1),))),
        ("a red star under a blue house", Wanted((RED_STAR, BLUE_HOUSE), ((0, "below", 1),))),
        ("a red star on top of a blue house", Wanted((RED_STAR, BLUE_HOUSE), ((0, "above", 1),))),
        ("a red star and a blue house below it", Wanted((RED_STAR, BLUE_HOUSE), ((1, "below", 0),))),
        (
            "top left a red star, middle a blue house",
            Wanted((want("star", "red", place="top left"), want("house", "blue", place="middle"))),
        ),
        (
            "in the woods, a tiny violet cup with spots in the center",
            Wanted((want("cup", "purple", size="small", pattern="dotted", place="middle"),), (), "forest"),
        ),
        (
            "a striped red star at the bottom left with a plain house under water",
            Wanted(
                (want("star", "red", pattern="striped", place="bottom left"), want("house", pattern="solid")),
                (),
                "underwater",
            ),
        ),
        ("a dragon", Wanted(())),
        ("", Wanted(())),
    ],
)
def test_prompts_that_people_type_are_understood(prompt: str, wanted: Wanted) -> None:
    assert parse(prompt) == wanted


def test_words_are_lower_case_and_other_signs_only_part_them() -> None:
    assert tokenize("A Red-Star, (top_left)!") == ["a", "red", "star", ",", "top", "left"]


def test_unknown_words_come_once_with_what_is_near() -> None:
    assert unknown_words("a red star at night") == []
    found = dict(unknown_words("a dragon and a dragon with a hous"))
    assert list(found) == ["dragon", "hous"]
    assert found["hous"][0] == "house"
    assert set(found["dragon"]) <= set(VOCABULARY)


def test_relations_hold_one_way_only() -> None:
    left, right = (0.2, 0.5), (0.8, 0.5)
    assert holds("left", left, right)
    assert holds("right", right, left)
    assert not holds("left", right, left)
    assert not holds("above", left, right)
    assert holds("above", (0.5, 0.2), (0.5, 0.8))
    assert holds("below", (0.5, 0.8), (0.5, 0.2))
    assert not holds("left", (0.5, 0.5), (0.5 + RELATION_GAP / 2, 0.5))


def test_evaluation_prompts_are_held_out_balanced_and_readable() -> None:
    prompts = held_out_prompts(240)
    assert prompts == held_out_prompts(240)
    assert prompts[:40] == held_out_prompts(40)
    assert prompts != held_out_prompts(240, seed=1)
    assert [count for _, _, count in prompts[:8]] == [1, 2, 3, 4, 1, 2, 3, 4]
    related = 0
    for text, wanted, count in prompts:
        assert len(wanted.objects) == count, text
        assert len(tokenize(text)) <= MAX_TOKENS
        assert not unknown_words(text)
        related += bool(wanted.relations)
        for item in wanted.objects:
            assert item.colour is not None
            if not wanted.relations:
                assert item.place is not None, text
                assert held_out(item.kind, item.colour, item.place)
    assert related == 20
    wants = [item for _, wanted, _ in prompts for item in wanted.objects]
    assert 0.2 < np.mean([item.size is not None for item in wants]) < 0.4
    assert 0.2 < np.mean([item.pattern is not None for item in wants]) < 0.4
    assert 0.6 < np.mean([wanted.background is not None for _, wanted, _ in prompts]) < 0.8
