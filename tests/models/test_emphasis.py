"""Emphasised words: by formula, in every encoder, with nothing else of the model touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.errors import BadModel, StudioError
from studio.models.device import place
from studio.models.emphasis import FILLER, MOST_WEIGHTS, _Silenced, emphasised, silenced
from studio.models.family import Parts, parts_of
from studio.models.folders import check_folder
from studio.models.loading import ModelStore, load_folder
from studio.models.prompt_weights import read_weights
from studio.models.text import encode_prompt
from studio.models.tiny import save_tiny
from studio.models.words import find_words
from studio.values import Conditioning
from tests.models.test_words import LENGTH, T5_LENGTH, clip_tokenizer, t5_tokenizer

TEXT = "a red star, a blue house"


@pytest.fixture(scope="module", params=["sd3", "sd3 with T5", "flux"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    family, t5 = request.param.split()[0], "T5" in request.param
    folder = save_tiny(family, tmp_path_factory.mktemp(family), **({"t5": True} if t5 else {}))
    return load_folder(check_folder(folder), place("cpu"))


def said(parts: Parts, text: str) -> Conditioning:
    return encode_prompt(parts, text, "it")[0]


def weighed(parts: Parts, text: str) -> Conditioning:
    read = read_weights(text)
    return emphasised(parts, said(parts, read.text), read.weights)


def near(one: Conditioning, other: Conditioning, most: float) -> bool:
    pairs = [(one.embeds, other.embeds)]
    if one.pooled is not None and other.pooled is not None:
        pairs.append((one.pooled, other.pooled))
    return len(pairs) == 1 + (one.pooled is not None) and all(
        bool(((a - b).abs() <= most).all()) for a, b in pairs
    )


def test_weights_of_one_give_the_conditioning_itself(parts: Parts) -> None:
    plain = said(parts, TEXT)
    start = TEXT.index("blue")
    assert emphasised(parts, plain, []) is plain
    assert emphasised(parts, plain, [(start, start + 4, 1.0)]) is plain


def test_words_that_weigh_nothing_are_the_prompt_with_commas_in_their_place(parts: Parts) -> None:
    start = TEXT.index("blue")
    other = said(parts, TEXT.replace("blue", ","))
    assert near(silenced(parts, TEXT, [(start, start + 4)]), other, 0)
    made = weighed(parts, TEXT.replace("blue", "(blue:0)"))
    assert made.text == TEXT and near(made, other, 0) and not near(made, said(parts, TEXT), 1e-2)
    both = said(parts, "a , star, a , house")
    assert near(weighed(parts, "a (red:0) star, a (blue:0) house"), both, 0)
    assert near(weighed(parts, "a (red:0) star, a (blue house:0)"), said(parts, "a , star, a , ,"), 0)


def test_weights_add_what_their_words_add_to_what_is_left(parts: Parts) -> None:
    base, without = said(parts, "a red star, a , house"), said(parts, "a , star, a , house")
    last = said(parts, "a red star, , , house")
    made = weighed(parts, "a (red:1.5) star, (a:0.5) (blue:0) house")
    for mine, b, one, two in (
        (made.embeds, base.embeds, without.embeds, last.embeds),
        (made.pooled, base.pooled, without.pooled, last.pooled),
    ):
        assert mine is not None and b is not None and one is not None and two is not None
        assert torch.allclose(mine, b + 0.5 * (b - one) - 0.5 * (b - two), atol=1e-5)
        assert mine.dtype == b.dtype and not mine.is_inference()


def test_words_of_one_weight_are_weighed_together(parts: Parts) -> None:
    plain, without = said(parts, TEXT), said(parts, "a , star, a , house")
    made = weighed(parts, "a (red:2) star, a (blue:2) house")
    assert torch.allclose(made.embeds, 2 * plain.embeds - without.embeds, atol=1e-5)


def test_tokenizers_and_what_was_encoded_stay_as_they_were(parts: Parts) -> None:
    before = said(parts, TEXT)
    names = {name: id(part) for name, part in parts.components.items()}
    for _ in range(2):
        weighed(parts, TEXT.replace("star", "(star:3)"))
    assert near(said(parts, TEXT), before, 0)
    assert {name: id(part) for name, part in parts.components.items()} == names


def test_sub_word_tokenizers_give_each_token_of_the_word_a_comma() -> None:
    clip = silenced_ids(clip_tokenizer(), "a lighthouse at sea", (2, 12), LENGTH)
    t5 = silenced_ids(t5_tokenizer(), "a lighthouse at sea", (2, 12), T5_LENGTH)
    for before, after, comma in (clip, t5):
        changed = (before != after).nonzero().flatten().tolist()
        assert len(changed) >= 2 and changed == list(range(changed[0], changed[-1] + 1))
        assert set(after[changed].tolist()) == {comma} and len(before) == len(after)


def silenced_ids(tokenizer: object, text: str, chars: tuple[int, int], length: int) -> tuple:
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    before = tokenizer([text], **options).input_ids[0]  # type: ignore[operator]
    after = _Silenced(tokenizer, text, [chars])([text], **options).input_ids[0]
    return before, after, tokenizer(FILLER, add_special_tokens=False).input_ids[-1]  # type: ignore[operator]


def test_half_precision_stays_so(tmp_path: Path) -> None:
    parts = load_folder(check_folder(save_tiny("sd3", tmp_path)), place("cpu"))
    plain = said(parts, TEXT)
    assert plain.pooled is not None
    half = replace(plain, embeds=plain.embeds.half(), pooled=plain.pooled.half())
    made = emphasised(parts, half, [(2, 5, 2.0)])
    assert made.embeds.dtype == torch.float16 and made.pooled is not None
    assert made.pooled.dtype == torch.float16


@pytest.mark.model
def test_marks_that_a_tokenizer_drops_may_stand_at_the_end_of_what_is_weighed() -> None:
    parts = parts_of(ModelStore().load("embedded:scenes-sd3"))
    plain = weighed(parts, "a red (star:1.5)")
    for text in ("a red (star!:1.5)", "a red (star.:1.5)", "a 'red (star':1.5)"):
        assert near(weighed(parts, text), plain, 1e-5)
        read = read_weights(text)
        ((start, stop, _),) = read.weights
        assert find_words(parts, read.text, chars=(start, stop)).tokens  # as Weighted prompt does


@pytest.mark.parametrize("text", ["a star (,:2) a boat", "a star(.:2)", "a star (...:0) b"])
def test_weights_on_no_word_are_refused(parts: Parts, text: str) -> None:
    with pytest.raises(StudioError, match="no word in it"):
        weighed(parts, text)


def test_too_many_different_weights_are_refused_and_a_stop_is_seen_between_encodings(parts: Parts) -> None:
    many = " ".join(f"(star:{1 + n / 100})" for n in range(1, MOST_WEIGHTS + 2))
    with pytest.raises(StudioError, match=f"{MOST_WEIGHTS + 1} different weights"):
        weighed(parts, many)
    asked = []
    read = read_weights("a (red:0) (star:2) and a (boat:3)")
    emphasised(parts, said(parts, read.text), read.weights, lambda: asked.append(1))
    assert len(asked) == 3


def test_a_tokenizer_without_a_comma_is_refused(tmp_path: Path) -> None:
    parts = load_folder(check_folder(save_tiny("flux", tmp_path)), place("cpu"))

    class Dropping:
        def __init__(self, tokenizer: Any) -> None:
            self.tokenizer = tokenizer

        def __getattr__(self, name: str) -> Any:
            return getattr(self.tokenizer, name)

        def __call__(self, texts: Any, **options: Any) -> Any:
            return self.tokenizer("" if texts == FILLER else texts, **options)

    components = {
        name: Dropping(part) if name.startswith("tokenizer") else part
        for name, part in parts.components.items()
    }
    with pytest.raises(BadModel, match="comma"):
        weighed(replace(parts, components=components), "a (red:2) star")


def test_characters_that_the_model_does_not_read_are_refused(parts: Parts) -> None:
    long = "a star " * 60 + "and a moon"
    with pytest.raises(StudioError, match="past the token limit") as raised:
        emphasised(parts, said(parts, long), [(len(long) - 4, len(long), 2.0)])
    assert raised.value.socket == "text"
