"""A scene in words: captions for training and prompts for evaluation."""

from __future__ import annotations

import numpy as np

from studio.scenes.wanted import RELATION_GAP, Wanted, parse
from studio.scenes.words import VOCABULARY, tokenize, unknown_words
from studio.scenes.world import Scene, SceneObject, sample_scene

__all__ = ["VOCABULARY", "Wanted", "caption", "held_out_prompts", "parse", "tokenize", "unknown_words"]

MAX_TOKENS = 36
STYLES = ("long", "short", "relation")

_LEADS = ("a picture of", "paper cut of", "a paper cut scene of", "a scene with")
_BACKGROUND_PHRASES = {
    "day": ("by day", "at daytime", "in the day"),
    "night": ("at night", "in the night"),
    "sunset": ("at sunset", "at dusk"),
    "sea": ("at sea", "on the sea", "by the ocean"),
    "desert": ("in the desert",),
    "snow": ("in the snow", "snowy"),
    "forest": ("in the forest", "in the woods"),
    "city": ("in the city", "in town"),
    "underwater": ("underwater",),
}
_WORDS = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium",),
    "large": ("large", "large", "big"),
    "purple": ("purple", "purple", "purple", "violet"),
    "striped": ("striped",),
    "dotted": ("dotted", "dotted", "spotted"),
    "solid": ("solid", "plain"),
    "middle": ("middle", "middle", "centre", "center"),
}
# How often a property is said when the caption need not be full.
_SAID = {"colour": 0.95, "size": 0.45, "pattern": 0.75, "place": 0.8, "background": 0.75}
_SOLID_SAID = 0.06


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _word(rng: np.random.Generator, value: str) -> str:
    return _pick(rng, _WORDS.get(value, (value,)))


def caption(scene: Scene, rng: np.random.Generator, *, full: bool = False, style: str | None = None) -> str:
    """A caption of at most `MAX_TOKENS` words and commas.

    `full` states size, colour, pattern (unless solid), place and background; else some are left out.
    Style "relation" needs two objects that stand clearly apart; it says where they are to each other.
    """
    said = [_said(item, rng, full) for item in scene.objects]
    with_background = full or rng.random() < _SAID["background"]
    return _phrase(scene, said, with_background, rng, style)


def _said(item: SceneObject, rng: np.random.Generator, full: bool) -> set[str]:
    said = {"kind"}
    for name in ("colour", "size", "place"):
        if full or rng.random() < _SAID[name]:
            said.add(name)
    if rng.random() < (_SOLID_SAID if item.pattern == "solid" else 1.0 if full else _SAID["pattern"]):
        said.add("pattern")
    return said


def _relations(scene: Scene) -> list[tuple[int, str, int]]:
    """What may be said of two objects: (first, relation, second), both ways round."""
    a, b = scene.objects
    found = []
    # The picture's thirds are far enough apart; within one third nothing is said.
    if abs(a.cx - b.cx) > 2 * RELATION_GAP:
        left, right = (0, 1) if a.cx < b.cx else (1, 0)
        found += [(left, "left", right), (right, "right", left)]
    if abs(a.cy - b.cy) > 2 * RELATION_GAP:
        top, bottom = (0, 1) if a.cy < b.cy else (1, 0)
        found += [(top, "above", bottom), (bottom, "below", top)]
    return found


def _phrase(
    scene: Scene, said: list[set[str]], with_background: bool, rng: np.random.Generator, style: str | None
) -> str:
    if style is None:
        can_relate = len(scene.objects) == 2 and rng.random() < 0.3
        style = "relation" if can_relate else "long" if rng.random() < 0.6 else "short"
    if style not in STYLES:
        raise ValueError(f"unknown caption style {style!r}; known are {', '.join(STYLES)}")
    if style == "relation" and len(scene.objects) == 2:
        text = _relation(scene, said, rng)
    elif style == "short":
        text = _listed(scene, said, rng, short=True)
    else:
        text = _listed(scene, said, rng, short=False)
    text = _finish(text, scene, with_background, rng, lead=True)
    if len(tokenize(text)) > MAX_TOKENS:
        text = _finish(_listed(scene, said, rng, short=True), scene, with_background, rng, lead=False)
    return text


def _finish(text: str, scene: Scene, with_background: bool, rng: np.random.Generator, lead: bool) -> str:
    if lead and rng.random() < 0.3:
        text = f"{_pick(rng, _LEADS)} {text}"
    if not with_background:
        return text
    phrase = _pick(rng, _BACKGROUND_PHRASES[scene.background])
    if not lead or rng.random() < 0.2:
        return f"{text}, {scene.background}"
    return f"{phrase}, {text}" if rng.random() < 0.15 else f"{text}, {phrase}"


def _noun(item: SceneObject, said: set[str], rng: np.random.Generator, article: bool) -> str:
    words = []
    if "size" in said:
        words.append(_word(rng, item.size))
    tail = ""
    if "colour" in said:
        words.append(_word(rng, item.colour))
    if "pattern" in said:
        if item.pattern != "solid" and article and rng.random() < 0.2:
            tail = " with stripes" if item.pattern == "striped" else f" with {_pick(rng, ('dots', 'spots'))}"
        else:
            # Now and then the pattern comes before the colour, as people say both.
            words.insert(len(words) - 1 if rng.random() < 0.3 and "colour" in said else len(words),
                         _word(rng, item.pattern))  # fmt: skip
    words.append(item.kind)
    start = ("an " if words[0][0] in "aeiou" else "a ") if article else ""
    return start + " ".join(words) + tail


def _place(item: SceneObject, rng: np.random.Generator, short: bool) -> str:
    place = _word(rng, item.place)
    if short:
        return f" {place}"
    if item.place == "middle":
        return f" in the {place}"
    if item.place in ("left", "right"):
        return f" on the {place}"
    return f" {_pick(rng, ('at', 'in') if ' ' in place else ('at',))} the {place}"


def _listed(scene: Scene, said: list[set[str]], rng: np.random.Generator, short: bool) -> str:
    parts = []
    for index in rng.permutation(len(scene.objects)):
        item, known = scene.objects[index], said[index]
        noun = _noun(item, known, rng, article=not short)
        parts.append(noun + (_place(item, rng, short) if "place" in known else ""))
    if short or len(parts) == 1:
        return ", ".join(parts)
    if len(parts) == 2 and rng.random() < 0.2:
        return ", ".join(parts)
    joiner = _pick(rng, (" and ", ", and ")) if len(parts) > 2 else _pick(rng, (" and ", " and ", " with "))
    return ", ".join(parts[:-1]) + joiner + parts[-1]


def _relation(scene: Scene, said: list[set[str]], rng: np.random.Generator) -> str:
    options = _relations(scene)
    first, relation, second = options[int(rng.integers(len(options)))]
    article = rng.random() < 0.75
    a = _noun(scene.objects[first], said[first], rng, article)
    b = _noun(scene.objects[second], said[second], rng, article)
    if relation in ("left", "right"):
        relation = _pick(rng, (f"{relation} of", f"to the {relation} of" if article else f"{relation} of"))
    return f"{a} {relation} {b}"


def held_out_prompts(n: int, seed: int = 0) -> list[tuple[str, Wanted, int]]:
    """`n` prompts of combinations that training never draws: (prompt, what it asks for, objects).

    One, two, three and four objects take turns. Kind and colour are always stated, and the place too, but for
    a third of the pairs, where a relation stands in for both places.
    """
    rng = np.random.default_rng([seed, 20240])
    prompts = []
    for index in range(n):
        count = index % 4 + 1
        scene = sample_scene(rng, count, held_out_only=True)
        said = []
        for item in scene.objects:
            names = {"kind", "colour", "place"}
            if rng.random() < 0.3:
                names.add("size")
            if rng.random() < (0.05 if item.pattern == "solid" else 0.675):
                names.add("pattern")
            said.append(names)
        with_background = rng.random() < 0.7
        style = "long" if rng.random() < 0.6 else "short"
        if count == 2 and (index // 4) % 3 == 2:
            style = "relation"
        text = _phrase(scene, said, with_background, rng, style)
        prompts.append((text, parse(text), count))
    return prompts
