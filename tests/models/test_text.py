"""Prompts: unknown words are named, what does not fit is told, and nothing is too odd to encode."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.models.device import place
from studio.models.embedded import vocabulary
from studio.models.folders import check_folder
from studio.models.loading import load_folder
from studio.models.text import encode_prompt, warnings_for


@pytest.fixture(scope="module")
def parts(tiny_sd3_folder):
    return load_folder(check_folder(tiny_sd3_folder), place("cpu"))


def test_an_unknown_word_is_named_with_what_the_model_knows(parts):
    _, warnings, unknown = encode_prompt(parts, "a red dragon", "The demo model")
    assert len(warnings) == 1
    assert warnings[0].startswith("The demo model does not know 'dragon'; it knows 'red'")
    assert unknown == {"dragon": []}


def test_a_misspelt_word_gets_the_nearest_known_one(parts):
    _, warnings, unknown = encode_prompt(parts, "a red Hous", "It")
    assert unknown == {"Hous": ["house"]} and "'house'" in warnings[0]


def test_examples_come_from_the_first_group_of_the_vocabulary(parts):
    grouped = replace(
        parts, card={**parts.card, "vocabulary": {"kind": ["star", "house"], "colour": ["red"]}}
    )
    _, warnings, _ = encode_prompt(grouped, "a dragon", "It")
    assert warnings == ("It does not know 'dragon'; it knows 'star', 'house', and more.",)
    assert vocabulary(grouped.card) == ("star", "house", "red")


def test_without_a_vocabulary_the_tokenizer_is_asked(parts):
    _, _, unknown = encode_prompt(replace(parts, card={"max_sequence_length": 0}), "hous", "It")
    assert unknown == {"hous": ["house"]}


def test_what_does_not_fit_is_told_word_for_word(parts):
    text = " ".join(["a red star"] * 4 + ["on the left"] * 2)
    conditioning, warnings, _ = encode_prompt(parts, text, "It")
    assert conditioning.embeds.shape == (1, 16, 32)
    assert warnings == ("The prompt is too long: only 16 tokens fit. Left out: 'left on the left'.",)
    kept, none, _ = encode_prompt(parts, text.rsplit(" left on", 1)[0], "It")
    assert none == () and torch.equal(kept.embeds, conditioning.embeds)


def test_known_words_in_capitals_and_an_empty_prompt_raise_no_warning(parts):
    for text in ("A RED Star, on the LEFT.", "", "   \n\t"):
        assert encode_prompt(parts, text, "It")[1] == ()


@pytest.mark.parametrize(
    "text", ["🐉" * 50, "wort " * 10_000, "\0\u202e\ufeff", "a" * 10_000, "<pad></s><unk>"]
)
def test_odd_prompts_are_encoded_with_few_warnings(parts, text):
    conditioning, warnings, _ = encode_prompt(parts, text, "It")
    assert torch.isfinite(conditioning.embeds).all()
    assert len(warnings) <= 10 and all(len(warning) < 12_000 for warning in warnings)


def test_what_a_prompt_becomes_outlives_inference_mode(parts):
    conditioning, _, _ = encode_prompt(parts, "a star", "It")
    assert not conditioning.embeds.is_inference() and not conditioning.pooled.is_inference()


def test_the_words_it_knows_are_listed_once():
    found = warnings_for("It", {}, ("star", "house"), ("dragon", "hous", "zeppelin"), "", 8)
    assert found == (
        "It does not know 'dragon'; it knows 'star', 'house', and more.",
        "It does not know 'hous'; it knows 'house'.",
        "It does not know 'zeppelin'.",
    )
