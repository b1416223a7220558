"""How much of a prompt a picture shows, and the intervals for counts of such answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations
from math import sqrt
from typing import Any

import numpy as np

from studio.scenes.detect import Detection, Found, detect
from studio.scenes.wanted import Wanted, WantedObject, holds, parse
from studio.scenes.world import MAX_OBJECTS

PROPERTIES = ("kind", "colour", "pattern", "size", "place")
# Below this silhouette fit an object is not recognisably of its kind, so it fulfils no prompt.
LEAST_CONFIDENCE = 0.6


@dataclass(frozen=True)
class PromptScore:
    """`wanted` objects are named, `found` of them are there with every property that the prompt states.

    `properties` counts (right, stated) per property, with "relation", "background" and "count" among them.
    """

    wanted: int
    found: int
    all_right: bool
    properties: dict[str, tuple[int, int]] = field(default_factory=dict)


def score(detection: Detection, wanted: Wanted) -> PromptScore:
    """Compares what a picture shows with what a prompt asks for, by the assignment that serves it best.

    An object that takes part in a relation is found only if the relation holds. A prompt that names neither
    an object nor a background asks for nothing that could be judged, so it is never all right.
    """
    best: tuple[tuple[int, int, int], PromptScore] | None = None
    for chosen in _assignments(detection.objects, wanted.objects):
        judged = _judge(chosen, detection, wanted)
        rank = (
            judged.found,
            sum(right for right, _ in judged.properties.values()),
            sum(item is not None for item in chosen),
        )
        # The first of equals stays, so that the answer is the same every time.
        if best is None or rank > best[0]:
            best = rank, judged
    assert best is not None  # without named objects there still is the empty assignment
    return best[1]


def _assignments(seen: list[Found], wanted: tuple[WantedObject, ...]) -> Iterator[list[Found | None]]:
    """Ways to give each named object a detected one of its own, or None where there is none left.

    All ways for what a scene can hold; beyond that only one, each named object taking what fits it best.
    """
    if len(wanted) <= MAX_OBJECTS and len(seen) <= 2 * MAX_OBJECTS:
        missing = [None] * max(0, len(wanted) - len(seen))
        for option in permutations([*seen, *missing], len(wanted)):
            yield list(option)
        return
    left = list(seen)
    chosen: list[Found | None] = []
    for want in wanted:
        item = max(left, key=lambda item, want=want: _likeness(item, want), default=None)  # type: ignore[misc]
        if item is not None:
            left = [other for other in left if other is not item]
        chosen.append(item)
    yield chosen


def _likeness(item: Found, want: WantedObject) -> int:
    """How many stated properties a detected object has; the kind counts most."""
    return sum(getattr(want, name) == getattr(item, name) for name in PROPERTIES) + (item.kind == want.kind)


def _judge(chosen: list[Found | None], detection: Detection, wanted: Wanted) -> PromptScore:
    """The score of one assignment of detected objects to the named ones."""
    properties: dict[str, tuple[int, int]] = {}

    def count(name: str, right: bool) -> None:
        before = properties.get(name, (0, 0))
        properties[name] = (before[0] + right, before[1] + 1)

    good = []
    for want, item in zip(wanted.objects, chosen, strict=True):
        ok = item is not None and item.confidence >= LEAST_CONFIDENCE
        for name in PROPERTIES:
            value = getattr(want, name)
            if value is not None:
                right = item is not None and getattr(item, name) == value
                count(name, right)
                ok = ok and right
        good.append(ok)
    for first, relation, second in wanted.relations:
        a, b = chosen[first], chosen[second]
        right = a is not None and b is not None and holds(relation, a.centre, b.centre)
        count("relation", right)
        good[first], good[second] = good[first] and right, good[second] and right
    background_right = True
    if wanted.background is not None:
        background_right = detection.background == wanted.background
        count("background", background_right)
    alone = True
    if wanted.objects:
        alone = len(detection.objects) == len(wanted.objects)
        count("count", alone)
    asks = bool(wanted.objects) or wanted.background is not None
    all_right = asks and all(good) and alone and background_right
    return PromptScore(len(wanted.objects), sum(good), all_right, properties)


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval (low, high) of a share, 95 % by default; (0, 1) without cases."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    middle = share + z * z / (2 * n)
    reach = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (middle - reach) / (1 + z * z / n), (middle + reach) / (1 + z * z / n)
    return max(0.0, low), min(1.0, high)


def report(picture: np.ndarray, prompt: str | None = None) -> dict[str, Any]:
    """What a picture, uint8 [H, W, 3], shows and how far that is the prompt, as plain values for JSON."""
    detection = detect(picture)
    objects = [
        {
            **{name: getattr(item, name) for name in PROPERTIES},
            "box": [round(edge, 4) for edge in item.box],
        }
        for item in detection.objects
    ]
    judged = None
    if prompt is not None:
        result = score(detection, parse(prompt))
        judged = {"wanted": result.wanted, "found": result.found, "all_right": result.all_right}
    return {"objects": objects, "background": detection.background, "prompt_score": judged}
