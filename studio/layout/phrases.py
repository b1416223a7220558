"""Phrases of a sentence: tokens, noun phrases, places, relations and settings, each found at a position.

Every finder is a pure function of (tokens, position) and answers None where its phrase does not begin. A noun
is whatever stands where a noun stands: behind an article, a number or an adjective, before the next word of a
closed list (`lexicon`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.layout import lexicon as lex

_TOKEN = re.compile(r"\"[^\"]+\"|“[^”]+”|[^\W_]+(?:['’\-][^\W_]+)*|[,.;:!?()]")
LONGEST = 16
"""Words before a noun that are looked at."""
STOPS = frozenset(".;!?")
COMMAS = frozenset(",:()")
_FIRST = frozenset(words[0] for words, _ in lex.RELATIONS)
CLOSED = (
    lex.ARTICLES | frozenset(lex.NUMBERS) | lex.VAGUE | lex.COPULAS | lex.JOINERS | lex.PRONOUNS
    | lex.NEGATIONS | lex.NOISE | lex.INDEFINITE | lex.PLACE_WORDS | _FIRST
    | lex.PREPOSITIONS | {"one", "ones"}
)  # fmt: skip


@dataclass(frozen=True)
class Token:
    """A word, a mark or a quoted text: `word` in lower case, `shown` as it was typed."""

    word: str
    shown: str
    quoted: bool = False


@dataclass(frozen=True)
class NounPhrase:
    """A noun with what stands before it; `end` is the position behind it.

    `noun` is singular where `count` is above 1, `head` as it was typed; `group`: one region for an uncounted
    many; `quantity` is said before the text of such a group ("some", "a row of"); `tail` follows the noun
    ("of fruit").
    """

    end: int
    noun: str
    adjectives: tuple[str, ...] = ()
    count: int = 1
    group: bool = False
    determiner: str = ""
    quantity: str = ""
    tail: str = ""
    place: str = ""
    head: str = ""


def tokens_of(text: str) -> tuple[Token, ...]:
    """The words, marks and quoted texts of a sentence; any other sign only separates words."""
    found = []
    for shown in _TOKEN.findall(text):
        if shown[0] in '"“':
            found.append(Token("", shown.strip('"“”'), True))
        else:
            found.append(Token(shown.lower().replace("’", "'"), shown))
    return tuple(found)


def word_at(tokens: tuple[Token, ...], at: int) -> str:
    """The word at a position in lower case; empty behind the end and for a quoted text."""
    return tokens[at].word if 0 <= at < len(tokens) else ""


def is_open(tokens: tuple[Token, ...], at: int) -> bool:
    """Whether a noun, adjective or verb may stand here."""
    word = word_at(tokens, at)
    if word == "side" and word_at(tokens, at + 1) == "by":
        return False
    return bool(word) and word[0].isalnum() and word not in CLOSED and not word.isdigit()


def is_adverb(word: str) -> bool:
    """Words that follow a verb and name nothing."""
    return word in lex.ADVERBS or (word.endswith("ly") and len(word) > 4 and word not in lex.ADJECTIVES)


def place_name(words: list[str]) -> str:
    """One of the nine places of a picture, as the scene world names them: "top left", "left", "middle"."""
    row = next((lex.ROWS[word] for word in words if word in lex.ROWS), "")
    column = next((lex.COLUMNS[word] for word in words if word in lex.COLUMNS), "")
    return f"{row} {column}".strip() or "middle"


def noun_phrase(tokens: tuple[Token, ...], at: int, again: str = "", deep: int = 2) -> NounPhrase | None:
    """The noun phrase that begins here; `again` is the noun that "one" and "ones" stand for, `deep` how many
    "of" may follow."""
    start, determiner, count, vague, quantity = at, "", 0, "", ""
    while True:
        word, behind = word_at(tokens, at), word_at(tokens, at + 1)
        if word in ("couple", "pair") and behind == "of":
            count, at = 2, at + 2
        elif word in lex.GROUPS and behind == "of" and at > start:
            quantity, at = f"{determiner} {word} of".strip(), at + 2
        elif word in lex.ARTICLES and not count and not quantity:
            determiner, at = determiner or word, at + 1
        elif word in lex.NUMBERS or word.isdigit():
            count, at = lex.NUMBERS[word] if word in lex.NUMBERS else int(word[:4]), at + 1
        elif word in lex.VAGUE:
            vague, at = word, at + 1
            if word_at(tokens, at) == "of":
                vague, at = f"{vague} of", at + 1
        else:
            break
    place: list[str] = []
    run: list[str] = []
    while word_at(tokens, at) in lex.PLACE_WORDS and at > start and _opens_noun(tokens, at + 1):
        # "a top hat" is a hat of that name, "the top shelf" stands at the top
        (place if determiner == "the" else run).append(word_at(tokens, at))
        at += 1
    at = _run(tokens, at, run)
    run, at = _without_verb(run, at, bool(determiner in ("a", "an", "one") or count == 1), at > start)
    named = word_at(tokens, at)
    if named in ("one", "ones") and again and (run or at > start):
        run, at = [*run, f"{again}s" if named == "ones" and count < 2 else again], at + 1
    given = bool(determiner or count or vague or quantity)
    if not run or (all(map(lex.is_adjective, run)) and not (run[-1] in lex.ALSO_NOUNS or run[-1] == again)):
        return None
    if len(run) == 1 and not given and lex.is_participle(run[0]):
        return None
    head, adjectives = run[-1], tuple(run[:-1])
    plural = bool(quantity) or (lex.is_plural(head) and head not in ("fish", "sheep", "deer"))
    group = bool(vague or quantity) or (plural and not count)
    noun = lex.singular(head) if count > 1 else head
    tail = ""
    of = word_at(tokens, at) == "of" and deep > 0
    if of and (inner := noun_phrase(tokens, at + 1, deep=deep - 1)) is not None:
        tail, at = shown(tokens[at : inner.end]), inner.end
    if at < len(tokens) and tokens[at].quoted:
        tail, at = f'{tail} "{tokens[at].shown}"'.strip(), at + 1
    return NounPhrase(
        at, noun, adjectives, max(count, 1), group, determiner, quantity or vague, tail,
        place_name(place) if place else "", head,
    )  # fmt: skip


def shown(tokens: tuple[Token, ...]) -> str:
    return " ".join(f'"{token.shown}"' if token.quoted else token.shown for token in tokens)


def _opens_noun(tokens: tuple[Token, ...], at: int) -> bool:
    word = word_at(tokens, at)
    return word in lex.PLACE_WORDS or (is_open(tokens, at) and word not in lex.PLACE_TAILS)


def _run(tokens: tuple[Token, ...], at: int, run: list[str]) -> int:
    """Open words from here on, and adjectives joined by a comma or "and" ("a red and blue ball")."""
    while True:
        while is_open(tokens, at) and len(run) < LONGEST:
            run.append(word_at(tokens, at))
            at += 1
        joined = word_at(tokens, at) in (",", "and") and run and all(map(lex.is_adjective, run))
        if not joined or not lex.is_adjective(word_at(tokens, at + 1)):
            return at
        ends = run[-1] in lex.ALSO_NOUNS and (word_at(tokens, at) == "," or run[-1] not in lex.COLOURS)
        if ends and len(run) > 1:  # "a black square, a ..." is whole; "gold and silver ring" is not
            return at
        follows = at + 1
        while follows - at < LONGEST and (
            lex.is_adjective(word_at(tokens, follows))
            or (word_at(tokens, follows) in (",", "and") and lex.is_adjective(word_at(tokens, follows + 1)))
        ):
            follows += 1
        if not is_open(tokens, follows):  # "orange and gold" ends here: two things, not one of two colours
            return at
        if word_at(tokens, at) == "and":
            run[-1] = f"{run[-1]} and"
        at += 1


def _without_verb(run: list[str], end: int, one: bool, given: bool) -> tuple[list[str], int]:
    """The words before the first verb of a run, and the position behind them: "cat sitting" ends at "cat"."""
    for k in range(1, len(run)):
        word, rest, before = run[k], run[k + 1 :], run[k - 1]
        if lex.is_adjective(before) and before not in lex.ALSO_NOUNS:
            continue
        if rest and lex.is_adjective(word):
            continue
        done = not rest or all(map(is_adverb, rest))
        if lex.is_participle(word):
            verb = done or word in lex.TRANSITIVE or (one and lex.is_plural(rest[-1])) or (
                not word.endswith("ing") and all(map(lex.is_adjective, rest))
            )  # fmt: skip
        else:
            plural = lex.is_plural(before) and not one
            verb = lex.is_finite(word, plural) and (done or one) and (given or plural)
        if verb:
            return run[:k], end - len(run) + k
    return run, end


def place_at(tokens: tuple[Token, ...], at: int) -> tuple[int, str] | None:
    """(end, place) of "on the left", "top right", "in the middle of the picture"; "left of" is no place."""
    start = at
    if word_at(tokens, at) in ("in", "on", "at", "to", "towards", "toward", "near", "along"):
        at += 1
    while word_at(tokens, at) in ("the", "very", "far", "extreme"):
        at += 1
    words: list[str] = []
    while len(words) < 4 and (
        word_at(tokens, at) in lex.PLACE_WORDS or word_at(tokens, at) in ("most", "very")
    ):
        words.append(word_at(tokens, at))
        at += 1
    while words and word_at(tokens, at) in lex.PLACE_TAILS | {"most"}:
        at += 1
    if not words or not set(words) & lex.PLACE_WORDS:
        return None
    if words[-1] == "right" and len(words) == 1 and at == start + 1 and relation_at(tokens, at):
        return None  # "right next to" only stresses
    if word_at(tokens, at) in ("of", "from"):
        behind = at + 1
        while word_at(tokens, behind) in lex.ARTICLES | {"whole"}:
            behind += 1
        if word_at(tokens, behind) not in lex.CANVAS:
            return None
        at = behind + 1
    return at, place_name(words)


def relation_at(tokens: tuple[Token, ...], at: int) -> tuple[int, str] | None:
    """(end, kind) of the longest relation that begins here, as in `lexicon.RELATIONS`."""
    for start in (at, at + 1) if word_at(tokens, at) in lex.STRESSES else (at,):
        for words, kind in lex.RELATIONS:
            if tuple(token.word for token in tokens[start : start + len(words)]) == words:
                return start + len(words), kind
    return None


def setting_at(tokens: tuple[Token, ...], at: int) -> tuple[int, str] | None:
    """(end, text) of a background clause: "at night", "in the snow", "through a dark forest"."""
    lead = word_at(tokens, at)
    behind = at + 1
    if [token.word for token in tokens[at : at + 4]] in (
        ["in", "the", "middle", "of"], ["at", "the", "bottom", "of"], ["on", "the", "bottom", "of"],
    ):  # fmt: skip
        lead, behind = "in", at + 4
    if lead not in lex.SETTING_LEADS:
        return None
    found = noun_phrase(tokens, behind)
    if found is None or found.place:
        return None
    if found.noun not in lex.SETTINGS:
        return None
    words = [token.shown for token in tokens[behind : found.end]]
    if lead in ("under", "below", "beneath") and found.noun in ("water", "sea", "ocean"):
        return found.end, "underwater"
    if lead in ("in", "on", "at", "by", "under", "during"):
        words.insert(0, lead)
    return found.end, " ".join(words)
