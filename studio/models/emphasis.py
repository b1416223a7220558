"""Emphasis: words of a prompt say more or less, by what they add to its encoded text.

With b the conditioning of the prompt in which commas stand in place of the tokens of all words that weigh 0,
and b_w that in which they also stand in place of the words that weigh w, the emphasised conditioning is
b + sum (w - 1)(b - b_w) over the weights w, tokens and pooled vector alike. A text encoder carries a word on
into all tokens after it; the difference to a prompt without the word holds that too. Weighed up this is what
ComfyUI_ADV_CLIP_emb calls comfy++; weighed down a mixture such as Compel makes, with other shares. Commas
keep every other token where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from studio.errors import BadModel, StudioError
from studio.models.family import Parts
from studio.models.text_cache import plain
from studio.models.words import find_words, read_tokens, words_of
from studio.values import Conditioning

FILLER = ","
# Every weight is one more encoding of the prompt.
MOST_WEIGHTS = 16

Weights = Sequence[tuple[int, int, float]]
Range = tuple[int, int]


def check_weights(text: str, weights: Weights) -> None:
    """StudioError for a weight on nothing but spaces and punctuation, and for too many different weights;
    `weights`: (start, stop, weight) of characters of the text."""
    for start, stop, weight in weights:
        if not words_of(text[start:stop]):
            raise StudioError(
                f"The weight {weight:g} stands on {text[start:stop]!r}, which has no word in it.",
                hint="Put the words that it is for inside its brackets.",
                socket="text",
            )
    different = {weight for _, _, weight in weights if weight != 1}
    if len(different) > MOST_WEIGHTS:
        raise StudioError(
            f"The prompt has {len(different)} different weights; {MOST_WEIGHTS} are possible.",
            hint="Give words the same weight; they are weighed together.",
            socket="text",
        )


def emphasised(
    parts: Parts, conditioning: Conditioning, weights: Weights, check: Callable[[], object] = lambda: None
) -> Conditioning:
    """The conditioning with (start, stop, weight) of characters of its prompt emphasised; itself where all
    weigh 1. `check` is called before every encoding. StudioError for characters that the model does not
    read, and as `check_weights`."""
    text = conditioning.text
    check_weights(text, weights)
    said: dict[float, list[Range]] = {}
    for start, stop, weight in weights:
        if weight != 1:
            said.setdefault(weight, []).append((start, stop))
    if not said:
        return conditioning
    for chars in (chars for ranges in said.values() for chars in ranges):
        try:
            find_words(parts, text, chars=chars)
        except StudioError as error:
            error.socket = "text"
            raise

    def lacking(ranges: Sequence[Range]) -> Conditioning:
        check()
        return silenced(parts, text, ranges)

    gone = said.pop(0, [])
    base = lacking(gone) if gone else conditioning
    others = [(weight, lacking([*gone, *ranges])) for weight, ranges in sorted(said.items())]
    pooled = base.pooled
    if pooled is not None:
        pooled = _moved(pooled, [(w, other.pooled) for w, other in others if other.pooled is not None])
    embeds = _moved(base.embeds, [(w, other.embeds) for w, other in others])
    return replace(conditioning, embeds=embeds, pooled=pooled)


def _moved(base: torch.Tensor, others: Sequence[tuple[float, torch.Tensor]]) -> torch.Tensor:
    """`base` + sum of (weight - 1)(`base` - other), worked out in float32; an ordinary tensor."""
    whole = base.float()
    moved = whole
    for weight, other in others:
        moved = moved + (weight - 1) * (whole - other.float())
    return plain(moved.to(base.dtype))


def silenced(parts: Parts, text: str, ranges: Sequence[Range]) -> Conditioning:
    """The conditioning of a prompt in which commas stand in place of the tokens of some of its characters
    (start, stop), in every text encoder. Not kept: its tokens are those of no text."""
    components = {
        name: _Silenced(part, text, ranges) if name.startswith("tokenizer") and part is not None else part
        for name, part in parts.components.items()
    }
    with torch.inference_mode():
        made, _ = parts.family.encode_text(replace(parts, components=components), text)
    pooled = None if made.pooled is None else plain(made.pooled)
    return Conditioning(text, made.family, plain(made.embeds), pooled)


class _Silenced:
    """A tokenizer that gives `FILLER` for the words at some characters of one text; else the one that it
    stands for. It says nothing of files, so that nothing encoded with it is kept."""

    def __init__(self, tokenizer: Any, text: str, ranges: Sequence[Range]) -> None:
        self._tokenizer, self._text, self._ranges = tokenizer, text, ranges

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, texts: Any, **options: Any) -> Any:
        made = self._tokenizer(texts, **options)
        if options.get("return_tensors") != "pt":
            return made  # somebody asks what the tokenizer makes of a text, not for what an encoder reads
        filler = self._filler()
        for token in read_tokens(self._tokenizer, self._text, options["max_length"]):
            if any(token.start < stop and token.stop > start for start, stop in self._ranges):
                made.input_ids[:, token.index] = filler
        return made

    def _filler(self) -> int:
        found = self._tokenizer(FILLER, add_special_tokens=False).input_ids
        if not found:
            raise BadModel(
                "The tokenizer of this model has no token for a comma, which stands in for words that are "
                "weighed.",
                hint="Use Word weight, which weighs the attention.",
            )
        return int(found[-1])
