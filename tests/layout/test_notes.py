"""What is said of a sentence beside its layout: weights, words that nobody knows, things in one box."""

from __future__ import annotations

import pytest

from studio.layout.notes import notes, unknown, without_weights
from studio.layout.plan import plan_sentence


def said(sentence: str) -> tuple[str, ...]:
    return notes(sentence, plan_sentence(sentence)[1])


@pytest.mark.parametrize(
    "sentence",
    [
        "two red stars above a green tree, at night",
        "a zebra and a blue qwer on the left",
        "sports car",
        "dragon",
        "cats, dogs",
    ],
)
def test_what_is_understood_is_passed_without_a_word(sentence: str) -> None:
    assert said(sentence) == ()


def test_a_weight_does_nothing_and_its_number_is_no_thing() -> None:
    layout, _ = plan_sentence("a (red:1.5) star and a (blue:1.4 house")
    assert layout.prompt == "a red star and a blue house"
    assert [region.prompt for region in layout.regions] == ["a red star", "a blue house"]
    (note,) = said("a (red:1.5) star and a (blue:1.4 house")
    assert "do nothing in a layout" in note and "strength" in note
    assert without_weights("((red:1.2) star:1.4) at 12:30 (or so)") == "red star at 12:30 (or so)"


def test_words_of_which_none_is_known_are_named() -> None:
    for sentence, words in (("zxcv qwer", "'zxcv', 'qwer'"), ("ein roter Stern links", "'ein', 'roter'")):
        (note,) = said(sentence)
        assert words in note and "English" in note
        assert len(unknown(plan_sentence(sentence)[1])) == len(sentence.split())


def test_more_of_a_sort_than_get_boxes_share_one_and_are_told() -> None:
    layout, _ = plan_sentence("seventeen stars")
    assert [region.prompt for region in layout.regions] == ["17 stars"]
    (note,) = said("seventeen stars and a tree")
    assert "'17 stars' share one box" in note and "12" in note
    assert said("twelve stars") == ()


def test_a_sentence_without_things_says_so() -> None:
    assert "names no thing" in said("at night")[0]
