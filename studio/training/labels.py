"""What a training example says of its scene: captions as token ids, what counts more, what lies where."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from studio.scenes.caption import caption
from studio.scenes.world import COLOURS, KINDS, PATTERNS, SIZES, Scene
from studio.training.recipe import TEXT_TOKENS, make_tokenizer

# Captions kept with each scene; other wordings, other properties left out.
CAPTIONS = 8
FULL_SHARE = 0.6
# Nine tenths of a picture are background, learnt within minutes: tokens of objects count this much more, and
# those of striped and dotted ones more still (with one weight for all, a third of the patterns asked for were
# drawn plain).
OBJECT_WEIGHT, PATTERN_WEIGHT = 5, 8
MARKS = (tuple(KINDS), tuple(COLOURS), tuple(PATTERNS), tuple(SIZES))


@cache
def _words() -> dict[str, int]:
    return dict(make_tokenizer().get_vocab())


def captions_of(
    scene: Scene, rng: np.random.Generator, count: int = CAPTIONS, related: float = 0.0
) -> np.ndarray:
    """uint8 [count, TEXT_TOKENS]: token ids of fresh captions, each from <start> to <end>, padded with 0.

    `related`: share of the captions of pairs that must say where the two are to each other; of the others
    some do.
    """
    found = np.zeros((count, TEXT_TOKENS), np.uint8)
    for row in found:
        style = "relation" if len(scene.objects) == 2 and rng.random() < related else None
        text = caption(scene, rng, full=bool(rng.random() < FULL_SHARE), style=style)
        words = [_words()[word] for word in text.lower().replace(",", " , ").split()][: TEXT_TOKENS - 2]
        row[: len(words) + 2] = [1, *words, 3]
    return found


def emphasis(scene: Scene, side: int) -> np.ndarray:
    """uint8 [side * side]: loss weight of each token: OBJECT_WEIGHT where an object or its shadow lies,
    PATTERN_WEIGHT where that is striped or dotted, else 1."""
    weights = np.ones((side, side), np.uint8)
    for item in scene.objects:
        reach = item.extent / 2 + 0.02
        x0, x1 = (int((item.cx + sign * reach) * side) for sign in (-1, 1))
        y0, y1 = (int((item.cy + sign * reach) * side) for sign in (-1, 1))
        box = weights[max(y0, 0) : y1 + 1, max(x0, 0) : x1 + 1]
        np.maximum(box, OBJECT_WEIGHT if item.pattern == "solid" else PATTERN_WEIGHT, out=box)
    return weights.ravel()


def marks(scene: Scene, side: int) -> np.ndarray:
    """int8 [side * side, 4]: kind, colour, pattern and size of the object at each token, 0 where there is
    none, -1 (not asked) where a box only grazes the token."""
    found = np.zeros((side, side, 4), np.int8)
    for item in scene.objects:
        x0, y0, x1, y1 = (float(edge) * side for edge in item.box)
        found[max(int(y0), 0) : int(y1) + 1, max(int(x0), 0) : int(x1) + 1] = -1
    for item in scene.objects:
        x0, y0, x1, y1 = (float(edge) * side for edge in item.box)
        rows = slice(max(math.ceil(y0 - 0.5), 0), max(int(y1 - 0.5) + 1, 0))
        columns = slice(max(math.ceil(x0 - 0.5), 0), max(int(x1 - 0.5) + 1, 0))
        classes = [
            table.index(value) + 1
            for table, value in zip(MARKS, (item.kind, item.colour, item.pattern, item.size), strict=True)
        ]
        found[rows, columns] = classes
        found[min(int(item.cy * side), side - 1), min(int(item.cx * side), side - 1)] = classes
    return found.reshape(-1, 4)
