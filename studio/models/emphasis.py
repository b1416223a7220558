"""Emphasis: words of a prompt say more or less, by what they add to its encoded text.

With c the conditioning of a prompt and c_k that of the same prompt in which commas stand in place of the
tokens of the words k, the emphasised conditioning is c + sum (w_k - 1)(c - c_k), tokens and pooled vector
alike. A text encoder carries a word on into all tokens after it; the difference to a prompt without the word
holds that too. For one word weighed down this is Compel's mixture; for one weighed up, the direction that
ComfyUI_ADV_CLIP_emb calls comfy++. Commas keep every other token where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from studio.models.family import Parts
from studio.models.text_cache import plain
from studio.models.words import find_words, read_tokens
from studio.values import Conditioning

FILLER = ","


def emphasised(
    parts: Parts, conditioning: Conditioning, weights: Sequence[tuple[int, int, float]]
) -> Conditioning:
    """The conditioning with (start, stop, weight) of characters of its prompt emphasised; itself where all
    weigh 1. StudioError for characters that stand for no token that the model reads."""
    told = [(start, stop, weight) for start, stop, weight in weights if weight != 1]
    if not told:
        return conditioning
    for start, stop, _ in told:
        find_words(parts, conditioning.text, chars=(start, stop))
    lacking = [silenced(parts, conditioning.text, start, stop) for start, stop, _ in told]
    factors = [weight - 1 for _, _, weight in told]
    pooled = conditioning.pooled
    if pooled is not None:
        pooled = _moved(pooled, [other.pooled for other in lacking if other.pooled is not None], factors)
    embeds = _moved(conditioning.embeds, [other.embeds for other in lacking], factors)
    return replace(conditioning, embeds=embeds, pooled=pooled)


def _moved(said: torch.Tensor, lacking: Sequence[torch.Tensor], factors: Sequence[float]) -> torch.Tensor:
    """`said` + sum of factor (`said` - what lacks the words), in float32."""
    whole = said.float()
    added = [factor * (whole - other.float()) for other, factor in zip(lacking, factors, strict=True)]
    return (whole + torch.stack(added).sum(0)).to(said.dtype)


def silenced(parts: Parts, text: str, start: int, stop: int) -> Conditioning:
    """The conditioning of a prompt in which commas stand in place of the tokens of its characters
    start..stop, in every text encoder. Not kept: its tokens are those of no text."""
    components = {
        name: _Silenced(part, text, start, stop)
        if name.startswith("tokenizer") and part is not None
        else part
        for name, part in parts.components.items()
    }
    with torch.inference_mode():
        made, _ = parts.family.encode_text(replace(parts, components=components), text)
    pooled = None if made.pooled is None else plain(made.pooled)
    return Conditioning(text, made.family, plain(made.embeds), pooled)


class _Silenced:
    """A tokenizer that gives `FILLER` for the words at characters start..stop of one text; else the one that
    it stands for. It says nothing of files, so that nothing encoded with it is kept."""

    def __init__(self, tokenizer: Any, text: str, start: int, stop: int) -> None:
        self._tokenizer, self._text, self._start, self._stop = tokenizer, text, start, stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, texts: Any, **options: Any) -> Any:
        made = self._tokenizer(texts, **options)
        if options.get("return_tensors") != "pt":
            return made  # somebody asks what the tokenizer makes of a text, not for what an encoder reads
        filler = self._tokenizer(FILLER, add_special_tokens=False).input_ids[-1]
        for token in read_tokens(self._tokenizer, self._text, options["max_length"]):
            if token.start < self._stop and token.stop > self._start:
                made.input_ids[:, token.index] = filler
        return made
