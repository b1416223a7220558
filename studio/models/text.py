"""Prompts and tokenizers: which words no encoder knows, what was cut off, and what to suggest instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from studio.models.embedded import vocabulary
from studio.models.family import Parts
from studio.models.text_cache import encoded, plain
from studio.values import Conditioning, Store

SHOWN_WORDS = 8


@dataclass(frozen=True)
class TokenizedText:
    """What a tokenizer makes of a prompt before padding: words it has no token for, and the text beyond
    its end."""

    unknown: tuple[str, ...]
    cut: str


def read_prompt(tokenizer: Any, text: str, length: int) -> TokenizedText:
    """Look at a prompt the way a tokenizer will; `length` tokens fit, start and end marks included."""
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        truncation=False,
        return_offsets_mapping=tokenizer.is_fast,
        verbose=False,
    )
    ids = encoded["input_ids"]
    room = max(length - tokenizer.num_special_tokens_to_add(), 0)
    if not tokenizer.is_fast:
        return TokenizedText((), tokenizer.decode(ids[room:]).strip())
    spans = encoded["offset_mapping"]
    cut = text[spans[room][0] :].strip() if len(ids) > room else ""
    unknown: dict[str, None] = {}
    # CLIP's tokenizer names its end mark as unknown token, but never meets an unknown word
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    ):
        for token, (start, end) in zip(ids[:room], spans[:room], strict=True):
            if token == tokenizer.unk_token_id:
                unknown[text[start:end]] = None
    return TokenizedText(tuple(unknown), cut)


def suggestions(word: str, known: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The nearest known words, best first; often none."""
    return tuple(difflib.get_close_matches(word.casefold(), list(known), n=limit, cutoff=0.6))


def warnings_for(
    title: str, card: Mapping[str, object], known: Iterable[str], unknown: Iterable[str], cut: str, limit: int
) -> tuple[str, ...]:
    """What to tell the user about a prompt, one sentence each; empty if all of it was understood.

    `known`: every word of the tokenizer, used for suggestions if the card has no vocabulary.
    """
    found = []
    words = vocabulary(card) or tuple(known)
    strangers = list(unknown)
    told = False  # the examples are the same for every word, so they are said once
    for word in strangers[:SHOWN_WORDS]:
        near = suggestions(word, words)
        if near or not told:
            instead = _listed(near) if near else f"{_listed(_examples(card, words))}, and more"
            found.append(f"{title} does not know {word!r}; it knows {instead}.")
        else:
            found.append(f"{title} does not know {word!r}.")
        told = told or not near
    if len(strangers) > SHOWN_WORDS:
        found.append(f"{title} does not know {len(strangers) - SHOWN_WORDS} more words of this prompt.")
    if cut:
        found.append(too_long(cut, limit))
    return tuple(found)


def too_long(cut: str, limit: int) -> str:
    """What to say of a prompt of which `cut` lies beyond the `limit` tokens that fit."""
    shown = cut if len(cut) <= 80 else cut[:77] + "..."
    return f"The prompt is too long: only {limit} tokens fit. Left out: {shown!r}."


def _examples(card: Mapping[str, object], words: tuple[str, ...]) -> tuple[str, ...]:
    """A few words to begin with: the first group of the card's vocabulary, which names things."""
    groups = card.get("vocabulary")
    if isinstance(groups, Mapping) and groups:
        first = next(iter(groups.values()))
        if isinstance(first, list | tuple):
            return tuple(str(word) for word in first[:SHOWN_WORDS])
    return tuple(word for word in words if word.isalpha() and len(word) > 2)[:SHOWN_WORDS]


def _listed(words: Iterable[str]) -> str:
    return ", ".join(repr(word) for word in words)


def encode_prompt(
    parts: Parts, text: str, title: str, kept: Store | None = None
) -> tuple[Conditioning, tuple[str, ...], dict[str, list[str]]]:
    """The conditioning of a prompt, the warnings about it, and each unknown word with the nearest known ones.

    `title`: how the model is called in the warnings. Any text is possible, also none at all. `kept`: where
    texts that were encoded before are looked up.
    """
    with torch.inference_mode():
        made, report = encoded(parts, text, kept)
    tokenizer = parts.components["tokenizer"]
    known = () if vocabulary(parts.card) or not report.unknown else tuple(tokenizer.get_vocab())
    words = vocabulary(parts.card) or known
    said = warnings_for(title, parts.card, known, report.unknown, report.cut, report.limit)
    pooled = None if made.pooled is None else plain(made.pooled)
    conditioning = Conditioning(made.text, made.family, plain(made.embeds), pooled)
    return conditioning, said, {word: list(suggestions(word, words)) for word in report.unknown[:SHOWN_WORDS]}
