"""What a sentence says as data, and the notebook that a reader fills word by word."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from studio.layout import lexicon as lex
from studio.layout import phrases as ph
from studio.layout.phrases import NounPhrase, word_at

MOST_OF_A_SORT = 12
"""More things of one sort than this share one region."""


@dataclass(frozen=True)
class Thing:
    """What a region, or `count` regions, shall show. `prompt` is its text in the singular; `size` is small,
    medium, large or empty, `place` one of the nine places or empty, `role` text, logo or empty."""

    noun: str
    prompt: str
    adjectives: tuple[str, ...] = ()
    count: int = 1
    group: bool = False
    size: str = ""
    place: str = ""
    role: str = ""
    negative: str = ""


@dataclass(frozen=True)
class Relation:
    """`first` stands in the relation `kind` to `second`, both indices of things: left, right, above, below,
    on, inside, beside, front, or between (then `second` are two, or one of several)."""

    first: int
    kind: str
    second: tuple[int, ...]


@dataclass(frozen=True)
class Reading:
    """What was understood of a sentence. `passed_over`: the phrases with which nothing was done."""

    sentence: str
    things: tuple[Thing, ...] = ()
    relations: tuple[Relation, ...] = ()
    background: str = ""
    style: str = ""
    passed_over: tuple[str, ...] = ()


@dataclass(eq=False)
class Draft:
    """A thing while the words that belong to it still come in."""

    phrase: NounPhrase
    end: int
    adjectives: list[str]
    extras: list[str] = field(default_factory=list)
    negative: list[str] = field(default_factory=list)
    place: str = ""
    joined: bool = False
    gone: bool = False
    subjects: list[Draft] = field(default_factory=list)  # whose verb has this as its object

    @property
    def prompt(self) -> str:
        found = self.phrase
        words = [*self.adjectives, found.noun]
        start = found.quantity
        if not start and not found.group and found.noun not in lex.MASS:
            start = "the" if found.determiner == "the" and found.count == 1 else lex.article(words[0])
        return " ".join(filter(None, [start, *words, found.tail, *self.extras]))

    @property
    def many(self) -> str:
        """All of them in one text: "100 red balloons"."""
        found = self.phrase
        return " ".join(
            filter(None, [str(found.count), *self.adjectives, found.head, found.tail, *self.extras])
        )

    def finished(self) -> Thing:
        noun = self.phrase.noun
        crowd = self.phrase.count > MOST_OF_A_SORT
        words = " ".join(self.adjectives).split()
        role = "text" if noun in lex.TEXT_ROLE else "logo" if noun in lex.LOGO_ROLE else ""
        size = next((lex.SIZES[word] for word in words if word in lex.SIZES), "")
        negative = ", ".join(self.negative)
        return Thing(
            noun, self.many if crowd else self.prompt, tuple(words), 1 if crowd else self.phrase.count,
            self.phrase.group or crowd, size, self.place, role, negative,
        )  # fmt: skip


class Notebook:
    """The words of a sentence, which of them are used, and the things found so far. `last` is what the next
    words belong to, None where a clause begins."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        self.tokens = ph.tokens_of(sentence)
        self.used = [False] * len(self.tokens)
        self.drafts: list[Draft] = []
        self.relations: list[tuple[Draft, str, tuple[Draft, ...]]] = []
        self.background: list[str] = []
        self.style: list[str] = []
        self.place = ""  # said before its thing
        self.ahead: tuple[str, tuple[Draft, ...]] | None = None  # a relation said before its first thing
        self.behind = False  # "in the background" said before its thing
        self.last: Draft | None = None  # what the next words belong to; None where a clause begins
        self.leads = False  # in this clause places stand before their things

    @cached_property
    def last_noun(self) -> int:
        """Where the last noun phrase of the sentence begins; -1 if there is none."""
        places = reversed(range(len(self.tokens)))
        return next((at for at in places if ph.noun_phrase(self.tokens, at) is not None), -1)

    def _take(self, start: int, end: int) -> int:
        self.used[start:end] = [True] * (end - start)
        return end

    def _shown(self, start: int, end: int) -> str:
        return ph.shown(self.tokens[start:end])

    def _passed_over(self) -> tuple[str, ...]:
        found: list[list[str]] = [[]]
        for token, used in zip(self.tokens, self.used, strict=True):
            if not used:
                found[-1].append(ph.shown((token,)))
            elif found[-1]:
                found.append([])
        return tuple(" ".join(words) for words in found if words)

    def _meant(self, draft: Draft, pronoun: int) -> Draft | None:
        """Whom a pronoun means that is said of `draft`: the thing before, for "them" the last of several."""
        before = self.drafts[: self.drafts.index(draft)]
        many = [other for other in before if other.phrase.count > 1 or other.phrase.group]
        if word_at(self.tokens, pronoun) in ("them", "they", "their") and many:
            return many[-1]
        return before[-1] if before else None

    def _before(self, draft: Draft) -> Draft | None:
        index = self.drafts.index(draft)
        return self.drafts[index - 1] if index else None

    def _relate(self, firsts: Sequence[Draft], kind: str, second: tuple[Draft, ...]) -> None:
        for first in firsts:
            if first in second:
                continue
            if kind == "behind":
                self.relations += [(other, "front", (first,)) for other in second]
            else:
                self.relations.append((first, kind, second))

    def _chain(self, group: list[Draft]) -> None:
        """Each thing stands beside the one before it; what follows is said of all."""
        group[-1].subjects = group
        self.relations += [(b, "beside", (a,)) for a, b in itertools.pairwise(group)]

    def _group(self, last: Draft) -> list[Draft]:
        """A thing, and those joined in front of it that have no place and no relation of their own; behind
        the object of a verb those who do it ("a man reading a book on a bench")."""
        if last.subjects:
            return last.subjects
        bound = {draft for first, _, second in self.relations for draft in (first, *second)}
        group = [last]
        while group[0].joined and (before := self._before(group[0])) is not None:
            if before.place or before.gone or before in bound:
                break
            group.insert(0, before)
        return group

    @property
    def _again(self) -> str:
        """What "one" stands for."""
        known = self.last or (self.drafts[-1] if self.drafts else None)
        return known.phrase.noun if known is not None else ""

    def _add(self, phrase: NounPhrase, at: int) -> Draft:
        """A new thing, or the one that "the cat" has named before; it is the last one now."""
        self._take(at, phrase.end)
        if phrase.determiner == "the" and not phrase.tail and not phrase.place:
            for known in reversed(self.drafts):
                named = known.phrase.noun == phrase.noun and set(phrase.adjectives) <= set(known.adjectives)
                if named and not known.gone:
                    known.end, known.joined, self.last = phrase.end, False, known
                    return known
        between = self.tokens[self.drafts[-1].end : at] if self.drafts else ()
        joined = bool(self.drafts) and all(t.word in ph.COMMAS or t.word in ("and", "plus") for t in between)
        draft = Draft(phrase, phrase.end, list(phrase.adjectives), place=phrase.place, joined=joined)
        self.drafts.append(draft)
        self.last = draft
        return draft

    def _extra(self, at: int, end: int) -> int:
        assert self.last is not None
        self.last.extras.append(self._shown(at, end))
        self.last.end = end
        return self._take(at, end)
