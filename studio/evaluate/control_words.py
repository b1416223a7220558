"""Word weight and emphasis: a word that is weighed up brings what was missing, one that is weighed down takes
away.

`word_weight` weighs what the picture's attention takes from a word, `emphasis` what the word adds to the
encoded text. `stronger`: three kinds without place or colour, of which the plain picture lacks at least one;
its word is weighed STRONG times. Success: it is there. `colour_gone`: two things, the colour of one is
weighed 0.
Success: that thing, or one at its place, has another colour. `thing_gone`: the whole phrase of a thing is
weighed 0. Success: no thing of its kind is there. Preserved: what else the plain picture shows. The plain way
is the same seed with the word said twice, or not at all. `other_success` is the honest yardstick: the same
weight on a word of another thing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from studio.controls.reweight import WordWeight
from studio.evaluate.control import Bench, Result, RowOf
from studio.evaluate.edit_cases import BACKGROUND_WORDS, Thing, describe, things_of
from studio.models.emphasis import emphasised
from studio.models.words import find_words, places_of
from studio.scenes.detect import Detection, detect
from studio.scenes.world import BACKGROUNDS
from studio.values import Conditioning

STRONG = {"word_weight": 3.0, "emphasis": 2.0}
COLOUR, THING = "colour", "thing"
# Makes the picture of a prompt and a seed in which a word has a weight, and says what it shows.
Weigh = Callable[[Bench, str, int, str, float], Detection]


def judge_stronger(bench: Bench, index: int, *, weigh: Weigh, strong: float) -> Result | None:
    """One case of three named kinds; None if the plain picture shows all of them, or none."""
    rng = np.random.default_rng([index, 20291])
    kinds = [thing.kind for thing in things_of(rng, 3)]
    background = BACKGROUND_WORDS[str(rng.choice(BACKGROUNDS))]
    prompt, seed = named(kinds, background), 8000 + index
    before = _seen(bench, prompt, seed)
    missing = [kind for kind in kinds if kind not in _kinds(before)]
    shown = [kind for kind in kinds if kind in _kinds(before)]
    if not missing or not shown:
        return None
    word = missing[0]
    made = weigh(bench, prompt, seed, word, strong)
    other = weigh(bench, prompt, seed, shown[0], strong)
    plain = _seen(bench, named([word, *kinds], background), seed)
    return {
        "success": word in _kinds(made),
        "preserved": set(shown) <= _kinds(made),
        "plain_success": word in _kinds(plain),
        "plain_preserved": set(shown) <= _kinds(plain),
        "other_success": float(word in _kinds(other)),
    }


def judge_gone(bench: Bench, index: int, *, weigh: Weigh, what: str) -> Result | None:
    """One case of two things, the first of which loses its colour, or goes; None where it was not there."""
    rng = np.random.default_rng([index, 20292])
    things = things_of(rng, 2)
    background = str(rng.choice(BACKGROUNDS))
    prompt, seed = describe(things, background), 8500 + index
    first, second = things
    before = _seen(bench, prompt, seed)
    if not all(shows(before, thing) for thing in things):
        return None
    words = [thing.colour if what == COLOUR else thing.words for thing in things]
    made = weigh(bench, prompt, seed, words[0], 0.0)
    other = weigh(bench, prompt, seed, words[1], 0.0)
    plain = _seen(bench, without(things, background, what), seed)
    return {
        "success": gone(made, first, what),
        "preserved": shows(made, second) and made.background == before.background,
        "plain_success": gone(plain, first, what),
        "plain_preserved": shows(plain, second) and plain.background == before.background,
        "other_success": float(gone(other, first, what)),
    }


def named(kinds: list[str], background: str) -> str:
    """A prompt that only names its things."""
    return " and ".join(f"a {kind}" for kind in kinds) + f", {background}"


def without(things: tuple[Thing, ...], background: str, what: str) -> str:
    """The prompt of the things without the colour of the first, or without the first."""
    if what == THING:
        return describe(things[1:], background)
    said = things[0].words
    plain = "a " + said.split(f"{things[0].colour} ", 1)[1]
    return describe(things, background).replace(said, plain, 1)


def gone(seen: Detection, thing: Thing, what: str) -> bool:
    """Whether nothing of the kind is there, or (a colour) nothing of the kind or at the place has it."""
    if what == THING:
        return thing.kind not in _kinds(seen)
    near = [found for found in seen.objects if thing.kind == found.kind or thing.place == found.place]
    return bool(near) and all(found.colour != thing.colour for found in near)


def shows(seen: Detection, thing: Thing) -> bool:
    """Whether a thing is there, with its colour, at its place."""
    return any(
        (found.kind, found.colour, found.place) == (thing.kind, thing.colour, thing.place)
        for found in seen.objects
    )


def _kinds(seen: Detection) -> set[str]:
    return {found.kind for found in seen.objects}


def _seen(
    bench: Bench, prompt: str | Conditioning, seed: int, controls: tuple[WordWeight, ...] = ()
) -> Detection:
    return detect(bench.picture(bench.run(prompt, seed, controls=controls).latent))


def in_attention(bench: Bench, prompt: str, seed: int, word: str, weight: float) -> Detection:
    """A word weighed where the picture looks at it."""
    return _seen(bench, prompt, seed, (WordWeight(((find_words(bench.parts, prompt, word), weight),)),))


def in_text(bench: Bench, prompt: str, seed: int, word: str, weight: float) -> Detection:
    """A word weighed where the text is encoded."""
    ((start, stop),) = places_of(prompt, word)[0]
    return _seen(bench, emphasised(bench.parts, bench.text(prompt), [(start, stop, weight)]), seed)


ROWS = tuple(
    row
    for method, weigh in (("word_weight", in_attention), ("emphasis", in_text))
    for row in (
        RowOf(method, "stronger", partial(judge_stronger, weigh=weigh, strong=STRONG[method])),
        *(
            RowOf(method, f"{what}_gone", partial(judge_gone, weigh=weigh, what=what))
            for what in (COLOUR, THING)
        ),
    )
)
