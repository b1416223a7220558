"""Emphasised words: by formula, in every encoder, with nothing else of the model touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from studio.errors import StudioError
from studio.models.device import place
from studio.models.emphasis import emphasised, silenced
from studio.models.family import Parts
from studio.models.folders import check_folder
from studio.models.loading import load_folder
from studio.models.prompt_weights import read_weights
from studio.models.text import encode_prompt
from studio.models.tiny import save_tiny
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


def test_a_word_of_weight_nothing_is_the_prompt_with_a_comma_in_its_place(parts: Parts) -> None:
    other = said(parts, TEXT.replace("blue", ","))
    start = TEXT.index("blue")
    assert near(silenced(parts, TEXT, start, start + 4), other, 0)
    made = weighed(parts, TEXT.replace("blue", "(blue:0)"))
    assert made.text == TEXT and near(made, other, 1e-5)
    assert not near(made, said(parts, TEXT), 1e-2)


def test_several_weights_add_what_each_word_adds(parts: Parts) -> None:
    plain = said(parts, TEXT)
    one, two = (said(parts, TEXT.replace(word, ",")) for word in ("red", "blue house"[:4]))
    made = weighed(parts, "a (red:1.5) star, a (blue:0.25) house")
    assert torch.allclose(
        made.embeds,
        plain.embeds + 0.5 * (plain.embeds - one.embeds) - 0.75 * (plain.embeds - two.embeds),
        atol=1e-5,
    )
    assert made.embeds.dtype == plain.embeds.dtype and not made.embeds.is_inference()


def test_tokenizers_and_what_was_encoded_stay_as_they_were(parts: Parts) -> None:
    before = said(parts, TEXT)
    names = {name: id(part) for name, part in parts.components.items()}
    for _ in range(2):
        weighed(parts, TEXT.replace("star", "(star:3)"))
    assert near(said(parts, TEXT), before, 0)
    assert {name: id(part) for name, part in parts.components.items()} == names


def test_sub_word_tokenizers_give_each_token_of_the_word_a_comma() -> None:
    clip = silenced_ids(clip_tokenizer(), "a lighthouse at sea", 2, 12, LENGTH)
    t5 = silenced_ids(t5_tokenizer(), "a lighthouse at sea", 2, 12, T5_LENGTH)
    for before, after, comma in (clip, t5):
        changed = (before != after).nonzero().flatten().tolist()
        assert len(changed) >= 2 and changed == list(range(changed[0], changed[-1] + 1))
        assert set(after[changed].tolist()) == {comma} and len(before) == len(after)


def silenced_ids(tokenizer: object, text: str, start: int, stop: int, length: int) -> tuple:
    from studio.models.emphasis import FILLER, _Silenced

    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    before = tokenizer([text], **options).input_ids[0]  # type: ignore[operator]
    after = _Silenced(tokenizer, text, start, stop)([text], **options).input_ids[0]
    return before, after, tokenizer(FILLER, add_special_tokens=False).input_ids[-1]  # type: ignore[operator]


def test_half_precision_stays_so(tmp_path: Path) -> None:
    parts = load_folder(check_folder(save_tiny("sd3", tmp_path)), place("cpu"))
    plain = said(parts, TEXT)
    assert plain.pooled is not None
    half = replace(plain, embeds=plain.embeds.half(), pooled=plain.pooled.half())
    made = emphasised(parts, half, [(2, 5, 2.0)])
    assert made.embeds.dtype == torch.float16 and made.pooled is not None
    assert made.pooled.dtype == torch.float16


def test_characters_that_the_model_does_not_read_are_refused(parts: Parts) -> None:
    long = "a star " * 60 + "and a moon"
    with pytest.raises(StudioError):
        emphasised(parts, said(parts, long), [(len(long) - 4, len(long), 2.0)])
