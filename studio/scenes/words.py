"""The closed vocabulary of the captions; every word is one token."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from studio.scenes.world import BACKGROUNDS, COLOURS, KINDS, PATTERNS, SIZES

# Words that mean a property's value; the first column is what captions say, too.
SYNONYMS: Final[dict[str, dict[str, str]]] = {
    "kind": {},
    "colour": {"violet": "purple"},
    "size": {"big": "large", "little": "small", "tiny": "small"},
    "pattern": {
        "plain": "solid",
        "stripes": "striped",
        "dots": "dotted",
        "spotted": "dotted",
        "spots": "dotted",
    },
    "background": {
        "daytime": "day",
        "dusk": "sunset",
        "ocean": "sea",
        "woods": "forest",
        "town": "city",
        "snowy": "snow",
    },
    "place": {"centre": "middle", "center": "middle"},
    "relation": {},
}
VALUES: Final[dict[str, dict[str, str]]] = {
    name: {**{word: word for word in words}, **SYNONYMS[name]}
    for name, words in {
        "kind": KINDS,
        "colour": tuple(COLOURS),
        "size": tuple(SIZES),
        "pattern": PATTERNS,
        "background": BACKGROUNDS,
        "place": ("top", "bottom", "left", "right", "middle"),
        "relation": ("above", "below"),
    }.items()
}
FUNCTION_WORDS = (
    ",", "a", "an", "the", "on", "in", "at", "of", "to", "by", "with", "and",
    "picture", "paper", "cut", "scene",
)  # fmt: skip
VOCABULARY: tuple[str, ...] = FUNCTION_WORDS + tuple(word for table in VALUES.values() for word in table)

_TOKEN = re.compile(r"[^\W_]+|,")


def tokenize(text: str) -> list[str]:
    """Lower-case words and commas; other punctuation only separates words."""
    return _TOKEN.findall(text.lower())


def unknown_words(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Each word that the vocabulary lacks, once, with the nearest known words (possibly none)."""
    known = [word for word in VOCABULARY if len(word) > 2]
    unknown = dict.fromkeys(word for word in tokenize(text) if word not in VOCABULARY)
    return [(word, tuple(get_close_matches(word, known, n=3, cutoff=0.6))) for word in unknown]
