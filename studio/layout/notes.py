"""What to say of a sentence that became a layout: words that did nothing, and things that share a box."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from studio.layout import lexicon as lex
from studio.layout.phrases import tokens_of
from studio.layout.reading import MOST_OF_A_SORT, Reading

# A word weight as prompts have it, closed or not.
WEIGHT = re.compile(r"\(\s*([^()]*?)\s*:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*(?:\)|(?=\s|$))")
MOST_NAMED = 8
PASSED_OVER = "Passed over in the layout"


def without_weights(sentence: str) -> str:
    """The sentence with "(red:1.4)" as "red"."""
    while (plain := WEIGHT.sub(r"\1", sentence)) != sentence:
        sentence = plain
    return sentence


def notes(sentence: str, reading: Reading) -> tuple[str, ...]:
    """One sentence for each thing that whoever wrote it should know, in the order in which it matters."""
    return tuple(_notes(sentence, reading))


def _notes(sentence: str, reading: Reading) -> Iterator[str]:
    if without_weights(sentence) != sentence:
        yield "Weights such as (star:1.3) do nothing in a layout; set the strength of the region."
    strange = unknown(reading)
    if strange:
        yield (
            f"None of these words is known here: {', '.join(map(repr, strange[:MOST_NAMED]))}. They were "
            'taken for the name of one thing. Sentences are English, such as "a red star on the left".'
        )
    elif not reading.things:
        yield "The sentence names no thing, so the layout has no regions."
    for thing in reading.things:
        if thing.group and re.match(r"\d+ ", thing.prompt):
            yield (
                f"{thing.prompt!r} share one box: boxes of their own have up to {MOST_OF_A_SORT} of a sort. "
                "The model paints about as many as it can count."
            )
    for words in reading.passed_over:
        yield f"{PASSED_OVER}: {words!r}. It stays in the prompt of the whole picture."


def unknown(reading: Reading) -> tuple[str, ...]:
    """The words of a sentence of several, if not one of them is known: then nothing says which are things."""
    words = [token.word for token in tokens_of(reading.sentence) if token.word[:1].isalpha()]
    if len(words) < 2 or not reading.things or any(_known(word) for word in words):
        return ()
    return tuple(dict.fromkeys(words))


def _known(word: str) -> bool:
    return word in _lexicon() or lex.singular(word) in _lexicon() or lex.is_adjective(word)


@cache
def _lexicon() -> frozenset[str]:
    """Every single word of the closed lists."""
    found: set[str] = set()
    for name, listed in vars(lex).items():
        if name.isupper() and isinstance(listed, frozenset | dict):
            found.update(word for word in listed if isinstance(word, str))
    for words, _ in lex.RELATIONS:
        found.update(words)
    return frozenset(found)
