"""Words of a prompt and their tokens: find them, compare two prompts, cut a prompt to its own words.

A word is what people take for one: letters, digits and marks, also with ' or - inside. Case, composed or
decomposed accents and the width of spaces do not matter. Letters without case (Chinese, Thai, Arabic, ...)
may stand inside a longer run of letters; others are found as whole words only.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import BadModel, StudioError, did_you_mean
from studio.models.family import Parts, Token
from studio.models.text import encode_prompt
from studio.values import Conditioning, Store, TokenSpan

JOINERS = "'’-"
LISTED = 12

# Words that change with others but stand for nothing in the picture.
FILLERS = frozenset(("a", "an", "the", "and", "of", "with", "in", "on", "at", "to", "by", "is", "are"))


@dataclass(frozen=True)
class Word:
    """A word as it is written, and its characters start..stop of the text."""

    text: str
    start: int
    stop: int


@dataclass(frozen=True)
class _Folded:
    """A text made comparable; character i of it comes from start[i]..stop[i] of the original."""

    text: str
    start: tuple[int, ...]
    stop: tuple[int, ...]


def read_tokens(tokenizer: Any, text: str, length: int, offset: int = 0) -> tuple[Token, ...]:
    """The tokens that stand for words in one encoder that reads `length` tokens, its first at `offset` of the
    text axis; start, end, padding and what was cut off are left out."""
    if not tokenizer.is_fast:
        raise BadModel(
            f"The tokenizer of this model ({type(tokenizer).__name__}) is a slow one, which does not say "
            "what its tokens stand for; words cannot be chosen.",
            hint="Save the model with a tokenizer.json (a fast tokenizer).",
        )
    encoded = tokenizer(
        text,
        padding="max_length",
        max_length=length,
        truncation=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    found = []
    spans, special = encoded["offset_mapping"], encoded["special_tokens_mask"]
    for index, ((start, stop), mark) in enumerate(zip(spans, special, strict=True)):
        covered = text[start:stop]
        if not mark and covered.strip():
            start += len(covered) - len(covered.lstrip())
            stop = start + len(covered.strip())
            while stop < len(text) and unicodedata.combining(text[stop]):
                stop += 1  # an accent that the tokenizer has composed with its letter
            found.append(Token(offset + index, start, stop))
    return tuple(found)


def find_words(
    parts: Parts,
    prompt: str,
    words: str | Sequence[str] | None = None,
    *,
    chars: tuple[int, int] | None = None,
    occurrence: int | None = None,
) -> TokenSpan:
    """The tokens of some words of a prompt, in every encoder.

    `words`: a word or phrase, several separated by commas, or a list of them; or `chars`: the characters
    start..stop. `occurrence`: which one of a repeated word, from 0; None = all that the model reads.
    StudioError if a word is not in the prompt or was cut off at the token limit.
    """
    if (words is None) == (chars is None):
        raise StudioError("Name either words or a range of characters of the prompt.", socket="words")
    groups = [[_checked(prompt, chars)]] if chars is not None else places_of(prompt, words, occurrence)
    tokens = parts.family.tokens(parts, prompt)
    found: set[int] = set()
    for ranges in groups:
        reached = {index for place in ranges for index in _reached(prompt, tokens, *place)}
        if not reached:
            raise _unread(prompt, tokens, *ranges[0])
        found |= reached
    names = dict.fromkeys(prompt[start:stop] for ranges in groups for start, stop in ranges)
    return TokenSpan(", ".join(names), tuple(sorted(found)))


def places_of(
    prompt: str, words: str | Sequence[str] | None, occurrence: int | None = None
) -> list[list[tuple[int, int]]]:
    """For each phrase of `words`, as `find_words` takes them, the characters start, stop of its places in the
    prompt. StudioError, with the nearest word, if one is not there; needs no model."""
    phrases = [] if words is None else _phrases(prompt, words)
    return [_chosen(phrase, _places(prompt, phrase), prompt, occurrence) for phrase in phrases]


def check_read(prompt: str, places: Sequence[tuple[int, int]], end: int) -> None:
    """StudioError if none of these places of a prompt ends within its characters 0..end, which a model
    reads."""
    if places and all(stop > end for _, stop in places):
        raise _unread(prompt, [Token(0, 0, len(prompt[:end].rstrip()))], *places[0])


def word_diff(source: str, target: str) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """What an edit of a prompt changes: the words of `source` that went, and those of `target` that came."""
    old, new = words_of(source), words_of(target)
    matcher = difflib.SequenceMatcher(
        None, [_fold(w.text).text for w in old], [_fold(w.text).text for w in new], autojunk=False
    )
    removed: list[Word] = []
    added: list[Word] = []
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind != "equal":
            removed += old[i:j]
            added += new[k:m]
    return tuple(removed), tuple(added)


def words_of(text: str) -> tuple[Word, ...]:
    """The words of a text in order; punctuation and spaces are none."""
    found = []
    start = None
    for i in range(len(text) + 1):
        inside = i < len(text) and (
            _in_word(text[i])
            or (start is not None and text[i] in JOINERS and i + 1 < len(text) and _in_word(text[i + 1]))
        )
        if inside and start is None:
            start = i
        elif not inside and start is not None:
            found.append(Word(text[start:i], start, i))
            start = None
    return tuple(found)


def segment_conditioning(
    parts: Parts, text: str, *, limit: int | None = None, kept: Store | None = None
) -> Conditioning:
    """The conditioning of a prompt cut to the tokens of its own words, for a `TextSegment`.

    The token after each encoder's last word is among them. A causal encoder sums the text up there, and
    without it scenes-sd3 drew the right thing in no region of two where it draws it in five of eight with it.
    A text without words keeps all its tokens: that is what the network knows as an empty prompt. `limit`: the
    most tokens its words may have, those of all encoders together; StudioError beyond, and for a text that
    the encoders do not read to its end. `kept`: where texts that were encoded before are looked up.
    """
    conditioning, _, _ = encode_prompt(parts, text, "The model", kept)
    words = words_of(text)
    if not words:
        return conditioning
    tokens = parts.family.tokens(parts, text)
    for word in words:
        if not _reached(text, tokens, word.start, word.stop):
            raise _unread(text, tokens, word.start, word.stop)
    own = {token.index for token in tokens}
    if limit is not None and len(own) > limit:
        raise StudioError(
            f"{_short(text)!r} has {len(own)} tokens; {limit} are possible here.",
            hint="Say it in fewer words.",
        )
    length = conditioning.embeds.shape[1]
    taken = [index for index in _with_marks(own) if index < length]
    return Conditioning(text, conditioning.family, conditioning.embeds[:, taken].clone(), conditioning.pooled)


def segment_words(parts: Parts, text: str) -> list[TokenSpan]:
    """The words of a segment made with its end marks that can stand for something to see, each once, with the
    places of their tokens in the segment."""
    own = {token.index for token in parts.family.tokens(parts, text)}
    place = {index: i for i, index in enumerate(_with_marks(own))}
    every = dict.fromkeys(word.text.casefold() for word in words_of(text))
    found = (find_words(parts, text, word) for word in every if word not in FILLERS)
    return [TokenSpan(span.text, tuple(place[token] for token in span.tokens)) for span in found]


def _with_marks(own: set[int]) -> list[int]:
    """The tokens of a text's own words and those after each run of them."""
    return sorted(own | {index + 1 for index in own})


def _phrases(prompt: str, words: str | Sequence[str]) -> list[str]:
    """What to look for: a phrase with commas is one if it stands so in the prompt, else each part is."""
    given = [words] if isinstance(words, str) else list(words)
    phrases: list[str] = []
    for entry in given:
        split = not _places(prompt, entry) and any(part.strip() for part in entry.split(","))
        phrases += [part for part in entry.split(",") if part.strip()] if split else [entry]
    if not phrases or not all(phrase.strip() for phrase in phrases):
        raise StudioError("No word was named.", socket="words", hint=_those_of(prompt))
    return phrases


def _places(prompt: str, phrase: str) -> list[tuple[int, int]]:
    """Where a phrase stands in the prompt: characters start, stop, in order."""
    folded, wanted = _fold(prompt), _fold(phrase.strip()).text
    found = []
    at = folded.text.find(wanted) if wanted else -1
    while at >= 0:
        end = at + len(wanted)
        if _boundary(folded.text, at) and _boundary(folded.text, end):
            found.append((folded.start[at], folded.stop[end - 1]))
            at = folded.text.find(wanted, end)
        else:
            at = folded.text.find(wanted, at + 1)
    return found


def _chosen(
    phrase: str, places: list[tuple[int, int]], prompt: str, occurrence: int | None
) -> list[tuple[int, int]]:
    phrase = phrase.strip()
    if not places:
        parts = [word.text for word in words_of(phrase)]
        near = _meant(phrase, prompt)
        if len(parts) > 1 and all(_places(prompt, part) for part in parts):
            near = f"Its words stand apart in the prompt; name them as {', '.join(parts)!r}."
        raise StudioError(
            f"{_short(phrase)!r} is not in the prompt {_short(prompt)!r}.",
            socket="words",
            hint=near or _those_of(prompt),
        )
    if occurrence is None:
        return places
    if not 0 <= occurrence < len(places):
        raise StudioError(
            f"{phrase!r} stands {len(places)} times in the prompt; there is no occurrence {occurrence}.",
            socket="words",
            hint=f"Possible: 0 to {len(places) - 1}.",
        )
    return [places[occurrence]]


def _meant(phrase: str, *texts: str) -> str:
    """The hint for words that no text has: the nearest run of as many neighbouring words, else of one."""
    for count in (len(words_of(phrase)), 1):
        runs: dict[str, None] = {}
        for text in texts:
            spoken = [word.text.casefold() for word in words_of(text)]
            starts = range(len(spoken) - count + 1)
            runs |= dict.fromkeys(" ".join(spoken[at : at + count]) for at in starts)
        if near := did_you_mean(phrase.strip().casefold(), runs):
            return near
    return ""


def _checked(prompt: str, chars: tuple[int, int]) -> tuple[int, int]:
    start, stop = chars
    if not 0 <= start < stop <= len(prompt) or not prompt[start:stop].strip():
        raise StudioError(
            f"Characters {start} to {stop} hold no word of the prompt, which has {len(prompt)} characters."
        )
    return start, stop


def _reached(text: str, tokens: Sequence[Token], start: int, stop: int) -> list[int]:
    """Indices of the tokens that cover the characters start..stop; none if the encoders stop before their
    last word ends. What stands behind that a tokenizer may drop."""
    inside = [token for token in tokens if token.start < stop and token.stop > start]
    words = words_of(text[start:stop])
    end = start + (words[-1].stop if words else len(text[start:stop].rstrip()))
    read_on = any(token.stop >= end for token in tokens)
    return [token.index for token in inside] if read_on else []


def _unread(text: str, tokens: Sequence[Token], start: int, stop: int) -> StudioError:
    word = _short(text[start:stop])
    end = max((token.stop for token in tokens), default=0)
    if end >= stop:
        return StudioError(
            f"The model has no token for {word!r}.", socket="words", hint="Choose another word."
        )
    last = words_of(text[:end])[-3:]
    read = text[last[0].start : end] if last else text[:end]
    return StudioError(
        f"{word!r} stands past the token limit: the model reads this prompt only up to {read!r}.",
        socket="words",
        hint="Shorten the prompt, or move the word to its beginning.",
    )


def _fold(text: str) -> _Folded:
    """Case, composition and runs of spaces taken away."""
    made: list[str] = []
    start: list[int] = []
    stop: list[int] = []
    i = 0
    while i < len(text):
        j = i + 1
        blank = text[i].isspace()
        while j < len(text) and (text[j].isspace() if blank else unicodedata.combining(text[j])):
            j += 1
        piece = " " if blank else unicodedata.normalize("NFC", text[i:j]).casefold()
        made.append(piece)
        start += [i] * len(piece)
        stop += [j] * len(piece)
        i = j
    return _Folded("".join(made), tuple(start), tuple(stop))


def _boundary(text: str, at: int) -> bool:
    """Whether a word may begin or end before character `at`."""
    return not (0 < at < len(text) and _spelled(text[at - 1]) and _spelled(text[at]))


def _spelled(char: str) -> bool:
    """Whether words of this script are told apart by spaces."""
    return _in_word(char) and unicodedata.category(char) not in ("Lo", "So")


def _in_word(char: str) -> bool:
    kind = unicodedata.category(char)
    return char == "_" or kind[0] in "LNM" or kind == "So"


def _those_of(prompt: str) -> str:
    words = list(dict.fromkeys(word.text for word in words_of(prompt)))
    more = ", ..." if len(words) > LISTED else ""
    return f"The prompt has {', '.join(words[:LISTED])}{more}." if words else "The prompt has no words."


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def has_words(prompt: str, phrase: str) -> bool:
    """Whether the words of a phrase stand in the prompt, one behind the other."""
    wanted = [word.text.casefold() for word in words_of(phrase)]
    found = [word.text.casefold() for word in words_of(prompt)]
    return any(found[i : i + len(wanted)] == wanted for i in range(len(found) - len(wanted) + 1))


def changed_words(
    parts: Parts, source: str, target: str, words: str = ""
) -> tuple[tuple[TokenSpan, ...], tuple[TokenSpan, ...]]:
    """The words to look for in the old and in the new prompt: those named, else those that differ.

    Neighbouring words share one entry. StudioError for a word that neither prompt has.
    """
    if not words.strip():
        removed, added = word_diff(source, target)
        return _spans(parts, source, removed), _spans(parts, target, added)
    before, after = named_words(source, target, words)
    return (
        tuple(find_words(parts, source, word) for word in before),
        tuple(find_words(parts, target, word) for word in after),
    )


def named_words(source: str, target: str, words: str) -> tuple[list[str], list[str]]:
    """Which of the words named, with commas between, stand in the old prompt, and which in the new one.
    StudioError, with the nearest word, for one that neither has; needs no model."""
    named = [word for word in (word.strip() for word in words.split(",")) if word]
    for word in named:
        if not has_words(source, word) and not has_words(target, word):
            spoken = dict.fromkeys(w.text.casefold() for text in (source, target) for w in words_of(text))
            raise StudioError(
                f"{word[:60]!r} is in neither prompt.",
                hint=_meant(word, source, target) or f"They have {', '.join(list(spoken)[:12])}.",
                socket="words",
            )
    return (
        [word for word in named if has_words(source, word)],
        [word for word in named if has_words(target, word)],
    )


def _spans(parts: Parts, text: str, words: Sequence[Word]) -> tuple[TokenSpan, ...]:
    """Changed words as entries: runs of neighbours, without fillers unless a run has nothing else."""
    runs: list[list[Word]] = []
    for word in words:
        if runs and not text[runs[-1][-1].stop : word.start].strip():
            runs[-1].append(word)
        else:
            runs.append([word])
    telling = [[w for w in run if w.text.casefold() not in FILLERS] for run in runs]
    kept = [run for run in telling if run] or runs
    return tuple(_one(parts, text, run) for run in kept)


def _one(parts: Parts, text: str, run: Sequence[Word]) -> TokenSpan:
    found = [find_words(parts, text, chars=(word.start, word.stop)) for word in run]
    tokens = tuple(sorted({token for span in found for token in span.tokens}))
    return TokenSpan(" ".join(span.text for span in found), tokens)
