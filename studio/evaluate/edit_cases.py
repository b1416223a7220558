"""Seeded cases for judging edits: a scene in words, one word changed, and what must then be seen.

Every case is a pure function of (what, index, seed). Objects stand in different ninths of the picture and
differ in kind and colour, so that the judge can say which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from studio.scenes.detect import Detection, Found
from studio.scenes.draw import draw
from studio.scenes.world import BACKGROUNDS, COLOURS, KINDS, PLACES, SIZES, Scene, SceneObject

WHATS = ("colour", "kind", "pattern", "background", "place")
BACKGROUND_WORDS = {
    "day": "by day",
    "night": "at night",
    "sunset": "at sunset",
    "sea": "at sea",
    "desert": "in the desert",
    "snow": "in the snow",
    "forest": "in the forest",
    "city": "in the city",
    "underwater": "underwater",
}
# An untouched object may shift by this share of the picture's width and still count as untouched.
SHIFT = 0.05


@dataclass(frozen=True)
class Thing:
    """An object as a prompt names it; pattern "solid" is not said."""

    kind: str
    colour: str
    place: str
    pattern: str = "solid"

    @property
    def words(self) -> str:
        looks = [self.colour, *([self.pattern] if self.pattern != "solid" else []), self.kind]
        article = "an" if looks[0][0] in "aeiou" else "a"
        where = {"middle": "in the middle", "left": "on the left", "right": "on the right"}
        return f"{article} {' '.join(looks)} {where.get(self.place, f'at the {self.place}')}"


@dataclass(frozen=True)
class Case:
    """Source and target prompt; `changed`: index of the object that changes, -1 for the background."""

    index: int
    what: str
    source: tuple[Thing, ...]
    target: tuple[Thing, ...]
    backgrounds: tuple[str, str]
    changed: int

    @property
    def source_prompt(self) -> str:
        return describe(self.source, self.backgrounds[0])

    @property
    def target_prompt(self) -> str:
        return describe(self.target, self.backgrounds[1])


def describe(things: Sequence[Thing], background: str) -> str:
    """A prompt as the captions are written: "a red star on the left and a blue cup on the right, by day"."""
    return f"{' and '.join(thing.words for thing in things)}, {BACKGROUND_WORDS[background]}"


def things_of(rng: np.random.Generator, count: int) -> tuple[Thing, ...]:
    """Objects of different kinds, colours and ninths."""
    kinds = rng.choice(list(KINDS), count, replace=False)
    colours = rng.choice(list(COLOURS), count, replace=False)
    places = rng.choice(list(PLACES), count, replace=False)
    return tuple(Thing(str(k), str(c), str(p)) for k, c, p in zip(kinds, colours, places, strict=True))


def edit_case(what: str, index: int, *, seed: int = 0, objects: int = 2) -> Case:
    """Case `index` of an edit of `what` (WHATS) in a scene of `objects` objects."""
    rng = np.random.default_rng([seed, index, WHATS.index(what), 20251])
    things = things_of(rng, objects)
    background = str(rng.choice(BACKGROUNDS))
    changed = int(rng.integers(objects))
    thing, others = things[changed], [t for i, t in enumerate(things) if i != changed]

    def other(values: Sequence[str], taken: set[str]) -> str:
        return str(rng.choice([value for value in values if value not in taken]))

    after = background
    if what == "background":
        after, changed, new = other(BACKGROUNDS, {background}), -1, thing
    elif what == "pattern":
        new = replace(thing, pattern=str(rng.choice(["striped", "dotted"])))
    elif what == "colour":
        new = replace(thing, colour=other(list(COLOURS), {thing.colour, *(t.colour for t in others)}))
    elif what == "kind":
        new = replace(thing, kind=other(list(KINDS), {thing.kind, *(t.kind for t in others)}))
    else:
        new = replace(thing, place=other(list(PLACES), {t.place for t in things}))
    target = tuple(new if i == changed else t for i, t in enumerate(things))
    return Case(index, what, things, target, (background, after), changed)


def matches(found: Found, thing: Thing) -> bool:
    """Whether a seen object has everything that the words say."""
    return all(
        getattr(found, name) == getattr(thing, name) for name in ("kind", "colour", "pattern", "place")
    )


def find(seen: Detection, thing: Thing) -> Found | None:
    return next((found for found in seen.objects if matches(found, thing)), None)


def source_is_right(case: Case, seen: Detection) -> bool:
    """Whether the source picture shows its prompt, so that the edit can be judged at all."""
    right = all(find(seen, thing) is not None for thing in case.source)
    return right and len(seen.objects) == len(case.source) and seen.background == case.backgrounds[0]


def edit_succeeded(case: Case, before: Detection, after: Detection) -> bool:
    """Whether the change is there: the changed object as the target prompt says, or the new background."""
    if case.changed < 0:
        return after.background == case.backgrounds[1]
    return find(after, case.target[case.changed]) is not None


def rest_preserved(case: Case, before: Detection, after: Detection) -> bool:
    """Whether every untouched object is as it was in the source picture (kind, colour, pattern; its centre
    within SHIFT), nothing was added, and the background is the same unless it was to change."""
    if case.changed >= 0 and after.background != before.background:
        return False
    if len(after.objects) != len(before.objects):
        return False
    for index, thing in enumerate(case.source):
        if index == case.changed:
            continue
        was, now = find(before, thing), find(after, thing)
        if was is None or now is None:
            return False
        if max(abs(a - b) for a, b in zip(was.centre, now.centre, strict=True)) > SHIFT:
            return False
    return True


def draw_case(things: Sequence[Thing], background: str, size: int, seed: int = 5) -> np.ndarray:
    """The exact picture of a prompt, uint8 [size, size, 3]: objects of medium size in the middle of their
    ninths."""
    objects = tuple(
        SceneObject(t.kind, t.colour, t.pattern, "medium", t.place, *PLACES[t.place], SIZES["medium"])
        for t in things
    )
    return draw(Scene(background, objects, seed), size)
