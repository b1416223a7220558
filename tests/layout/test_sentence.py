"""The reader of sentences: things, counts, places, relations, background; nothing is lost without a word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.layout.reading import MOST_OF_A_SORT, Reading
from studio.layout.sentence import read_sentence
from studio.scenes.caption import caption
from studio.scenes.wanted import parse
from studio.scenes.words import VALUES
from studio.scenes.world import sample_scene

PIECES = (
    "a the two cat dogs red big wooden on in left right top of between above and , . with is riding sitting"
    " night snow to under it behind front each other one ones no without some row group picture zorbs flim"
    " next inside background corner 3 covered 'x' painting"
)
WORDS = st.sampled_from(PIECES.split(" "))
ODD = ["zorb", "flimmer", "quaxel", "brindo"]


def things(reading: Reading) -> list[str]:
    return [f"{t.count} {t.prompt}" if t.count > 1 else t.prompt for t in reading.things]


def relations(reading: Reading) -> list[tuple[str, ...]]:
    name = [thing.noun for thing in reading.things]
    return [(name[r.first], r.kind, *(name[k] for k in r.second)) for r in reading.relations]


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("a small red star", ["a small red star"]),
        ("two red stars and a house", ["2 a red star", "a house"]),
        ("a couple of red foxes", ["2 a red fox"]),
        ("3 mice", ["3 a mouse"]),
        ("a big, red and blue ball", ["a big red and blue ball"]),
        ("an orange and an apple", ["an orange", "an apple"]),
        ("some flowers, a row of old trees", ["some flowers", "a row of old trees"]),
        ("a bowl of fruit", ["a bowl of fruit"]),
        ("a house with a red roof and white walls", ["a house with a red roof and white walls"]),
        ("a woman in a red dress wearing a hat", ["a woman in a red dress wearing a hat"]),
        ("a red star and two blue ones", ["a red star", "2 a blue star"]),
        ("a cat sitting", ["a cat sitting"]),
        ("the moon, an hour glass, a unicorn", ["the moon", "an hour glass", "a unicorn"]),
        ('a poster with the title "Big Sale"', ['the title "Big Sale"']),
        ("100 balloons", ["100 balloons"]),
        ("the ball is red", ["the red ball"]),
        ("a zorb near two flims", ["a zorb", "2 a flim"]),
    ],
)
def test_things_with_adjectives_and_counts(sentence: str, found: list[str]) -> None:
    reading = read_sentence(sentence)
    assert things(reading) == found
    assert reading.passed_over == ()


@pytest.mark.parametrize(
    ("sentence", "places"),
    [
        ("a star on the left, a house on the right", {"star": "left", "house": "right"}),
        ("star top left, house middle", {"star": "top left", "house": "middle"}),
        ("top left a star, middle a house", {"star": "top left", "house": "middle"}),
        ("On the left is a star and on the right a house.", {"star": "left", "house": "right"}),
        ("a star in the upper right corner of the picture", {"star": "top right"}),
        ("the left star and a moon", {"star": "left", "moon": ""}),
        ("a dog facing left", {"dog": ""}),
        ("a lake in the foreground", {"lake": "bottom"}),
        ("a man in a top hat", {"man": ""}),
    ],
)
def test_places(sentence: str, places: dict[str, str]) -> None:
    assert {thing.noun: thing.place for thing in read_sentence(sentence).things} == places


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("a star left of a house", [("star", "left", "house")]),
        ("a star to the right of the house", [("star", "right", "house")]),
        ("a star right above a house", [("star", "above", "house")]),
        ("a cat and two dogs in front of a barn", [("cat", "front", "barn"), ("dog", "front", "barn")]),
        ("a house, a tree behind it", [("house", "front", "tree")]),
        ("a boat, above it a kite", [("kite", "above", "boat")]),
        ("Under the tree sleeps a fox", [("fox", "below", "tree")]),
        ("a wizard between two trees", [("wizard", "between", "tree")]),
        ("a cat between a house and a tree", [("cat", "between", "house", "tree")]),
        ("a man riding a horse", [("man", "on", "horse")]),
        ("an old man reading a paper on a bench", [("man", "beside", "paper"), ("man", "on", "bench")]),
        ("a ball inside a glass box", [("ball", "inside", "box")]),
        ("a robot and a girl side by side", [("girl", "beside", "robot")]),
        ("The cat is left of the dog. The dog is brown.", [("cat", "left", "dog")]),
        ("a board with a glass to its left", [("glass", "left", "board")]),
        ("a teapot; a candle behind the teapot", [("teapot", "front", "candle")]),
    ],
)
def test_relations(sentence: str, found: list[tuple[str, ...]]) -> None:
    reading = read_sentence(sentence)
    assert relations(reading) == found
    assert reading.passed_over == ()


@pytest.mark.parametrize(
    ("sentence", "background", "nouns"),
    [
        ("a star at night", "at night", ["star"]),
        ("a star, snowy", "snowy", ["star"]),
        ("in the snow, a star", "in the snow", ["star"]),
        ("a fox in a dark forest at dusk", "in a dark forest, at dusk", ["fox"]),
        ("a fish under the sea", "underwater", ["fish"]),
        ("a train, mountains in the background", "mountains in the background", ["train"]),
        ("a heart, pink background", "pink background", ["heart"]),
        ("a cat in a basket", "", ["cat", "basket"]),
    ],
)
def test_background(sentence: str, background: str, nouns: list[str]) -> None:
    reading = read_sentence(sentence)
    assert reading.background == background
    assert [thing.noun for thing in reading.things] == nouns


def test_style_is_told_apart() -> None:
    reading = read_sentence("a watercolor painting of a cat, highly detailed, cinematic lighting")
    assert things(reading) == ["a cat"]
    assert reading.style == "a watercolor painting, highly detailed, cinematic lighting"


def test_roles_sizes_and_what_to_avoid() -> None:
    reading = read_sentence('a huge logo, the title "Sale", a dog without a collar')
    logo, title, dog = reading.things
    assert (logo.role, logo.size) == ("logo", "large")
    assert title.role == "text"
    assert dog.negative == "collar"


@pytest.mark.parametrize(
    ("sentence", "passed"),
    [
        ("a cat despite everything", ("despite everything",)),
        ("a cat, no dogs", ("no dogs",)),
        ("between", ("between",)),
        ("a red", ("red",)),
        ("a cat because of them", ("because of them",)),
    ],
)
def test_what_was_not_understood_comes_back(sentence: str, passed: tuple[str, ...]) -> None:
    assert read_sentence(sentence).passed_over == passed


@pytest.mark.parametrize("sentence", ["", "   ", "?!", "the", "🙂", "\x00\ud800"])
def test_what_says_nothing_gives_nothing(sentence: str) -> None:
    reading = read_sentence(sentence)
    assert (reading.things, reading.relations, reading.background) == ((), (), "")


def test_more_than_a_dozen_of_a_sort_share_one_region() -> None:
    assert read_sentence(f"{MOST_OF_A_SORT} stars").things[0].count == MOST_OF_A_SORT
    crowd = read_sentence(f"{MOST_OF_A_SORT + 1} red stars").things[0]
    assert (crowd.count, crowd.group, crowd.prompt) == (1, True, "13 red stars")


@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_any_row_of_words_is_read_and_indices_hold(sentence: str) -> None:
    reading = read_sentence(sentence)
    assert reading == read_sentence(sentence)
    for relation in reading.relations:
        assert relation.second
        assert all(0 <= k < len(reading.things) and k != relation.first for k in relation.second)
        assert 0 <= relation.first < len(reading.things)
    assert all(thing.noun and thing.prompt and thing.count >= 1 for thing in reading.things)


@given(st.lists(st.sampled_from([*ODD, "a", "two", "and", "above", "on", ","]), max_size=14).map(" ".join))
def test_no_unknown_word_is_dropped_silently(sentence: str) -> None:
    reading = read_sentence(sentence)
    said = " ".join([*(t.prompt for t in reading.things), reading.background, *reading.passed_over])
    assert [word for word in ODD if word in sentence and word not in said] == []


def test_captions_of_the_scene_world_are_read_as_its_judge_reads_them() -> None:
    rng = np.random.default_rng(11)
    for _ in range(300):
        text = caption(sample_scene(rng), rng)
        wanted, reading = parse(text), read_sentence(text)
        colours = VALUES["colour"]
        assert sorted(
            (o.kind, o.place or "", o.colour or "", o.size or "") for o in wanted.objects
        ) == sorted(
            (t.noun, t.place, next((colours[w] for w in t.adjectives if w in colours), ""), t.size)
            for t in reading.things
        ), text
        assert [
            (wanted.objects[a].kind, kind, wanted.objects[b].kind) for a, kind, b in wanted.relations
        ] == (relations(reading)), text
        assert bool(wanted.background) == bool(reading.background), text
        assert reading.passed_over == (), text


@pytest.mark.parametrize(
    "piece", ["a cat of ", "right ", "a cat and ", "on the left ", "red and ", "left of "]
)
def test_ten_thousand_characters_are_read(piece: str) -> None:
    assert read_sentence(piece * (10_000 // len(piece))).sentence
