"""A sentence read by rules: its things with counts, places and relations, and its background.

The plan step of ChatDiT (arXiv 2412.12571: a request becomes a visible plan) without a language model. The
rules are those of English captions: what stands where a noun stands is a thing, so any noun will do. A place
belongs to the nearest thing; a relation to all things that are joined in front of it ("a cat and two dogs in
front of a barn"). What nothing was done with comes back in `Reading.passed_over`, word for word.
"""

from __future__ import annotations

from studio.layout import lexicon as lex
from studio.layout import phrases as ph
from studio.layout.phrases import NounPhrase, word_at
from studio.layout.reading import Notebook, Reading, Relation, Thing

__all__ = ["Reading", "Relation", "Thing", "read_sentence"]

_OWN = frozenset(("its", "his", "her", "their"))


def read_sentence(sentence: str) -> Reading:
    """The things, relations and background of a sentence; never fails, whatever the text is."""
    return _Reader(sentence).read()


class _Reader(Notebook):
    def read(self) -> Reading:
        at = 0
        steps = (
            self._stop, self._style, self._backdrop, self._place, self._setting, self._relation,
            self._without, self._attribute, self._predicate, self._verb_behind, self._thing, self._verb,
            self._noise,
        )  # fmt: skip
        while at < len(self.tokens):
            at = next((end for step in steps if (end := step(at)) > at), at + 1)
        kept = [draft for draft in self.drafts if not draft.gone]
        relations = tuple(
            Relation(kept.index(first), kind, tuple(map(kept.index, second)))
            for first, kind, second in dict.fromkeys(self.relations)
            if not any(draft.gone for draft in (first, *second))
        )
        return Reading(
            self.sentence.strip(), tuple(draft.finished() for draft in kept), relations,
            ", ".join(dict.fromkeys(self.background)), ", ".join(self.style), self._passed_over(),
        )  # fmt: skip

    # steps: each gives the position behind what it took, or the position it was given

    def _stop(self, at: int) -> int:
        word = word_at(self.tokens, at)
        if word in ph.STOPS:
            self.last, self.leads = None, False
        return self._take(at, at + 1) if word in ph.STOPS | ph.COMMAS else at

    def _segment(self, at: int) -> int:
        """The end of the segment that begins here, or `at` if none begins."""
        if at and word_at(self.tokens, at - 1) not in ph.STOPS | ph.COMMAS:
            return at
        end = at
        while end < len(self.tokens) and word_at(self.tokens, end) not in ph.STOPS | ph.COMMAS:
            end += 1
        return end

    def _style(self, at: int) -> int:
        end = self._segment(at)
        words = [token.word for token in self.tokens[at:end]]
        if not words:
            return at
        if all(word in lex.WEATHER for word in words):
            self.background.append(" ".join(words))
            return self._take(at, end)
        tag = words[-1] in lex.STYLE_HEADS and not set(words) & {"of", "with", "on", "and"}
        manner = words[:2] == ["in", "the"] and words[2:4] == ["style", "of"]
        plain = words[0] == "in" and words[-1] in ("style", "watercolor", "watercolour", "monochrome", "ink")
        if (tag and words[0] not in ("a", "an", "one") and (at or len(words) < len(self.tokens))) or (
            manner or plain or words == ["in", "black", "and", "white"]
        ):
            self.style.append(self._shown(at, end))
            return self._take(at, end)
        for length in range(len(words) - 1):
            closing = words[length + 1]
            if words[length] in lex.MEDIA and closing in ("of", "with", "showing", "depicting", "in"):
                if length > 6 or set(words[:length]) & (ph.CLOSED - lex.ARTICLES - lex.NOISE):
                    break
                shown = self._shown(at, at + length + 1)
                keeps = closing == "in" and words[length + 2 : length + 3] != ["which"]
                self.style.append(shown)
                return self._take(at, at + length + (1 if keeps else 2))
        return at

    def _backdrop(self, at: int) -> int:
        words = [token.word for token in self.tokens[at : at + 3]]
        if (
            len(words) < 3
            or words[0] not in ("in", "on")
            or words[1] != "the"
            or words[2] not in lex.BACKDROPS
        ):
            return at
        end = self._take(at, at + 3)
        if self.last is None or self.last.end != at or self.last.gone:
            self.behind = True
        else:
            self.last.gone = True
            text = self.last.prompt if self.last.phrase.count == 1 else self.last.many
            self.background.append(f"{text} in the background")
        return end

    def _place(self, at: int) -> int:
        found = ph.place_at(self.tokens, at)
        if found is None:
            return at
        end, place = found
        if self.last is None:
            self.leads = True
        if self.last is not None and not self.leads and not self.last.place:
            self.last.place = place
        elif not self._more(end):
            return at
        else:
            self.place = place
        return self._take(at, end)

    def _more(self, at: int) -> bool:
        """Whether a thing is still to come."""
        return at <= self.last_noun

    def _setting(self, at: int) -> int:
        found = ph.setting_at(self.tokens, at)
        if found is None:
            return at
        self.background.append(found[1])
        return self._take(at, found[0])

    def _relation(self, at: int) -> int:
        words = tuple(token.word for token in self.tokens[at : at + 3])
        if words in lex.SIDE_BY_SIDE and self.last is not None:
            self._chain(self._group(self.last))
            return self._take(at, at + 3)
        if words[1:2] and words[1] in _OWN and words[-1] in lex.COLUMNS:
            return self._to_pronoun(at, at + 2, lex.COLUMNS[words[-1]])
        found = ph.relation_at(self.tokens, at)
        if found is None:
            return at
        end, kind = found
        if (
            tuple(token.word for token in self.tokens[end : end + 2]) in lex.EACH_OTHER
            and self.last is not None
        ):
            self._chain(self._group(self.last))
            return self._take(at, end + 2)
        if word_at(self.tokens, end) in lex.PRONOUNS and not ph.is_open(self.tokens, end + 1):
            return self._to_pronoun(at, end, kind)
        if kind == "inside" and self.last is not None and (worn := self._worn(end)):
            return self._extra(at, worn)
        phrase = ph.noun_phrase(self.tokens, end, self._again)
        if phrase is None:
            return at
        if self.last is not None and phrase.noun in lex.BODY | lex.PARTS and phrase.determiner in _OWN:
            return self._extra(at, phrase.end)
        firsts = self._group(self.last) if self.last is not None else []
        seconds = [self._add(phrase, end)]
        stop = phrase.end
        if kind == "between" and phrase.count < 2:
            joint = stop + (word_at(self.tokens, stop) == "and")
            other = ph.noun_phrase(self.tokens, joint, self._again)
            if other is None:
                kind = "beside"
            else:
                self._take(stop, joint)
                seconds.append(self._add(other, joint))
                stop = other.end
        for draft in seconds:
            draft.joined = False
        self._take(at, stop)
        if firsts:
            self._relate(firsts, kind, tuple(seconds))
        else:
            self.ahead, self.last = (kind, tuple(seconds)), None
        return stop

    def _to_pronoun(self, at: int, end: int, kind: str) -> int:
        """ "a kite above it", "above it a kite"; `end` is where the pronoun stands."""
        before = word_at(self.tokens, at - 1) if at else "."
        if before in ph.STOPS | ph.COMMAS | {"and", "while"} and self.drafts:
            self.ahead = (kind, (self.last or self.drafts[-1],))
        elif self.last is not None and (other := self._meant(self.last, end)) is not None:
            self._relate([self.last], kind, (other,))
        else:
            return at
        return self._take(at, end + 1)

    def _worn(self, at: int) -> int:
        """The end of clothes or a colour that someone is in ("in a red dress", "in black"), or 0."""
        phrase = ph.noun_phrase(self.tokens, at)
        if phrase is not None:
            return phrase.end if phrase.noun in lex.CLOTHES else 0
        colour = word_at(self.tokens, at) in lex.COLOURS and not ph.is_open(self.tokens, at + 1)
        return at + 1 if colour else 0

    def _without(self, at: int) -> int:
        """ "a dog without a collar": the region is told what to avoid."""
        if word_at(self.tokens, at) != "without" or self.last is None:
            return at
        phrase = ph.noun_phrase(self.tokens, at + 1)
        if phrase is None:
            return at
        self.last.negative.append(" ".join([*phrase.adjectives, phrase.noun]))
        return self._take(at, phrase.end)

    def _attribute(self, at: int) -> int:
        """ "with stripes", "wearing a red hat", "covered in snow": words of the thing in front of them."""
        word = word_at(self.tokens, at)
        if self.last is None:
            return at
        behind = at + 1
        if word in lex.COVERINGS and word_at(self.tokens, behind) in (
            "of",
            "in",
            "with",
            "by",
            "from",
            "like",
        ):
            behind += 1
        elif word in lex.COVERINGS and lex.is_adjective(word_at(self.tokens, behind)) and self.last.end == at:
            while lex.is_adjective(word_at(self.tokens, behind)):
                behind += 1
            return self._extra(at, behind)
        elif word == "with" or word in lex.HAVING:
            phrase = ph.noun_phrase(self.tokens, behind)
            if phrase is None or not (phrase.noun in lex.PARTS or word in ("wearing", "wears")):
                return at
        else:
            return at
        if behind < len(self.tokens) and self.tokens[behind].quoted:
            return self._extra(at, behind + 1)
        phrase = ph.noun_phrase(self.tokens, behind)
        if phrase is None:
            return at
        end = phrase.end
        while word_at(self.tokens, end) == "and":  # "with a red roof and white walls"
            other = ph.noun_phrase(self.tokens, end + 1)
            if other is None or other.noun not in lex.PARTS:
                break
            end = other.end
        return self._extra(at, end)

    def _predicate(self, at: int) -> int:
        """ "is red": an adjective said of the thing before."""
        if word_at(self.tokens, at) not in lex.QUIET_VERBS or self.last is None:
            return at
        end = at + 1
        words: list[str] = []
        while lex.is_adjective(word_at(self.tokens, end)) or (words and word_at(self.tokens, end) == "and"):
            words.append(word_at(self.tokens, end))
            end += 1
        if not words or words[-1] == "and" or ph.noun_phrase(self.tokens, at + 1) is not None:
            return at
        self.last.adjectives[:0] = [" ".join(words)] if "and" in words else words
        return self._take(at, end)

    def _thing(self, at: int) -> int:
        if self.tokens[at].quoted:
            text = f'"{self.tokens[at].shown}"'
            phrase: NounPhrase | None = NounPhrase(at + 1, "text", determiner="the", tail=text, head="text")
        else:
            phrase = ph.noun_phrase(self.tokens, at, self._again)
        if phrase is None or word_at(self.tokens, at - 1) in lex.NEGATIONS:
            return at
        said_first = self.ahead is not None or bool(self.place)
        if (
            said_first
            and lex.is_finite(word_at(self.tokens, at), False)
            and ph.noun_phrase(self.tokens, at + 1)
        ):
            return self._take(at, at + 1)  # "behind the house stands a tree"
        text = self._shown(at, phrase.end)
        scenery = phrase.noun in lex.SCENERY and not phrase.place and not self.place and self.ahead is None
        if self.behind or (scenery and ph.place_at(self.tokens, phrase.end) is None):
            self.background.append(f"{text} in the background" if self.behind else text)
            self.behind = False
            return self._take(at, phrase.end)
        draft = self._add(phrase, at)
        draft.place, self.place = draft.place or self.place, ""
        if self.ahead is not None:
            self._relate([draft], *self.ahead)
            self.ahead = None
        return phrase.end

    def _verb_behind(self, at: int) -> int:
        """A verb right behind its thing; elsewhere the same word may be a thing."""
        before = word_at(self.tokens, at - 1) if at else ""
        near = self.last is not None and (
            self.last.end == at or before in lex.QUIET_VERBS | {"who", "that", "which"}
        )
        return self._verb(at) if near else at

    def _verb(self, at: int) -> int:
        last, word = self.last, word_at(self.tokens, at)
        if last is None or not ph.is_open(self.tokens, at):
            return at
        plural = last.phrase.group or last.phrase.count > 1
        if not (lex.is_participle(word) or lex.is_finite(word, False) or lex.is_finite(word, plural)):
            return at
        end = at + 1
        if word in lex.TURNS and word_at(self.tokens, end) in lex.COLUMNS:
            return self._extra(at, end + 1)
        while ph.is_adverb(word_at(self.tokens, end)):
            end += 1
        if end < len(self.tokens) and self.tokens[end].quoted:
            return self._extra(at, end + 1)
        firsts = self._group(last)
        kind = "on" if word in ("riding", "rides", "ride") else "beside"
        if word_at(self.tokens, end) in lex.PRONOUNS and (other := self._meant(firsts[0], end)) is not None:
            self._relate(firsts, kind, (other,))
            return self._take(at, end + 1)
        phrase = ph.noun_phrase(self.tokens, end, self._again)
        if phrase is None:
            return self._take(at, end) if last.phrase.count > 1 and not lex.is_participle(word) else (
                self._extra(at, end)
            )  # fmt: skip
        taken = self._take(at, phrase.end)
        second = self._add(phrase, end)
        second.joined = False
        if second not in firsts:
            second.subjects = firsts
        self._relate(firsts, kind, (second,))
        return taken

    def _noise(self, at: int) -> int:
        word = word_at(self.tokens, at)
        return (
            self._take(at, at + 1) if word in lex.ARTICLES | lex.NOISE | lex.JOINERS | lex.QUIET_VERBS else at
        )
