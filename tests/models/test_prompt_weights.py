"""Weights written into a prompt: what is read, what stays text, and what is refused."""

from __future__ import annotations

import random

import pytest

from studio.controls import reweight
from studio.errors import StudioError
from studio.models import prompt_weights
from studio.models.prompt_weights import has_weights, read_weights, unweighted


def weighed(prompt: str) -> list[tuple[str, float]]:
    read = read_weights(prompt)
    return [(read.text[a:b], pytest.approx(w)) for a, b, w in read.weights]


@pytest.mark.parametrize(
    ("prompt", "text", "weights"),
    [
        ("a (star:1.3)", "a star", [("star", 1.3)]),
        ("a (red star:0.5) and a (ring:2)", "a red star and a ring", [("red star", 0.5), ("ring", 2)]),
        ("(a: b:1.5)", "a: b", [("a: b", 1.5)]),
        ("(star: 1.3 )", "star", [("star", 1.3)]),
        ("(star:.5)", "star", [("star", 0.5)]),
        ("(star:1)", "star", []),
        ("( star :1.3)!", " star !", [("star", 1.3)]),
        ("(ein Stern é:1.2)", "ein Stern é", [("ein Stern é", 1.2)]),
        ("(a:1.3)(b:1.3)", "ab", [("ab", 1.3)]),
    ],
)
def test_weights_are_taken_out_and_found(prompt: str, text: str, weights: list[tuple[str, float]]) -> None:
    assert read_weights(prompt).text == text
    assert weighed(prompt) == weights


def test_weights_inside_weights_multiply() -> None:
    assert weighed("((red:2) star:1.5)") == [("red", 3.0), ("star", 1.5)]
    assert weighed("(a (b (c:2) d:0.5) e:2)") == [("a", 2), ("c", 2), ("e", 2)]
    assert read_weights("((red:2) star:1.5)").text == "red star"


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a red star",
        "a house (old)",
        "a star :) and a ring (:",
        "(portrait: an old man)",
        "((a) b)",
        "a ) b ( c",
        "[star:1.3]",
        "time 12:30",
        "(unclosed star",
        "back\\slash",
    ],
)
def test_everything_else_is_text_as_it_stands(prompt: str) -> None:
    read = read_weights(prompt)
    assert read.text == prompt and read.weights == () and not has_weights(prompt)


def test_a_backslash_makes_a_bracket_text() -> None:
    assert read_weights("a \\(star:1.3\\)").text == "a (star:1.3)"
    assert read_weights("a \\(star:1.3\\)").weights == ()
    assert read_weights("(\\(:\\) face:1.5)").text == "(:) face"
    assert weighed("(\\(:\\) face:1.5)") == [("(:) face", 1.5)]
    assert read_weights("\\\\(a:2)").text == "\\a"


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("a (star:1,3)", "'1,3' is not a weight"),
        ("a (star:nan)", "'nan' is not a weight"),
        ("a (star:inf)", "'inf' is not a weight"),
        ("a (star:130%)", "'130%' is not a weight"),
        ("a (star:)", "the weight is missing"),
        ("a (star:-1)", "out of range"),
        ("a (star:5)", "out of range"),
        ("a (star:1e9)", "out of range"),
        ("a (:1.3)", "a weight on nothing"),
        ("a ( :1.3)", "a weight on nothing"),
        ("a (star:1.3", "never closed"),
        ("(" * 17 + "a", "17 brackets inside each other"),
    ],
)
def test_what_looks_like_a_weight_and_is_none_is_refused_with_what_is_possible(
    prompt: str, what: str
) -> None:
    with pytest.raises(StudioError, match=what) as raised:
        read_weights(prompt)
    assert "from 0 to 4" in raised.value.hint and raised.value.socket == "text"
    assert has_weights(prompt)


def test_a_refusal_shows_a_long_prompt_in_part() -> None:
    with pytest.raises(StudioError) as raised:
        read_weights(f"({'star ' * 500}:9)")
    assert len(raised.value.message) < 150


def test_any_text_is_read_or_refused_and_ranges_lie_inside_and_apart() -> None:
    rng = random.Random(5)
    for _ in range(2000):
        prompt = "".join(rng.choice("()\\:1.3 ab") for _ in range(rng.randrange(24)))
        try:
            read = read_weights(prompt)
        except StudioError:
            continue
        end = 0
        for start, stop, weight in read.weights:
            assert end <= start < stop <= len(read.text) and weight != 1
            assert read.text[start:stop].strip() == read.text[start:stop] != ""
            end = stop


def test_a_very_long_prompt_is_read_quickly() -> None:
    assert len(read_weights("(a:1.1) " * 1200).weights) == 1200


def test_the_limits_are_those_of_the_control() -> None:
    assert prompt_weights.MOST_WEIGHT == reweight.MOST_WEIGHT


def test_a_prompt_for_those_who_read_no_weights() -> None:
    assert unweighted("a (red (star:1.5):2) (small)") == "a red star (small)"
    assert unweighted("a (star:9)") == "a (star:9)"
