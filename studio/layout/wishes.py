"""What a sentence asks of boxes, as numbers: 0 where a wish comes true, else by how much it fails.

A wish is about one or two boxes (three for "between"). Boxes may have leading axes, which are broadcast: so
many candidates for one box are judged at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from studio.layout.boxes import Flags, Floats

# Centres of a relation lie at least so far apart; the judge of the scene world asks for 0.1.
APART = 0.12
NEAR = 0.12
LIKED = 0.012
"""Weight of `distance` beside `failure`: just more than Ali gains where two boxes share a line."""
STAY = 0.4
"""Weight of one's home: a snap to a line that is near pays, a walk to one far away does not."""
_EDGE = 0.02

Pair = tuple[Floats, Floats]
"""By how much a wish fails, and how far the boxes are from where it likes them best."""


@dataclass(frozen=True)
class Wish:
    """`kind`: a relation (`reading.Relation`), "place" or "loose place" (`place` is one of the nine), "stay"
    (near the corner `home`), or "within" (inside, no matter where).

    `boxes`: indices of the box it is said of, and of those it stands in relation to. A loose place leaves the
    direction free in which several boxes must share it.
    """

    kind: str
    boxes: tuple[int, ...]
    place: str = ""
    home: tuple[float, float] = (0.0, 0.0)


def failure(wish: Wish, boxes: Sequence[Floats]) -> Floats:
    """By how much a wish fails; `boxes` are those of `wish.boxes`, each with 4 as its last axis."""
    return _judge(wish, boxes)[0]


def distance(wish: Wish, boxes: Sequence[Floats]) -> Floats:
    """How far boxes are from where the wish would like them best; 0 is possible for one wish alone, not for
    all of a layout at once."""
    return _judge(wish, boxes)[1]


def cost(wish: Wish, boxes: Sequence[Floats]) -> Floats:
    """`failure`, and a little of `distance`, which decides among boxes that all do what was asked for."""
    hard, soft = _judge(wish, boxes)
    return hard + LIKED * soft


def _judge(wish: Wish, boxes: Sequence[Floats]) -> tuple[Floats, Floats]:
    if wish.kind in ("place", "loose place"):
        return _place(boxes[0], wish.place, loose=wish.kind == "loose place")
    if wish.kind == "stay":
        return np.zeros(()), STAY * np.abs(boxes[0][..., :2] - np.array(wish.home)).sum(-1)
    if wish.kind == "between":
        return _between(boxes[0], boxes[1], boxes[2])
    return _RELATIONS[wish.kind](boxes[0], boxes[1])


def shares_room(wish: Wish) -> bool:
    """Whether its two boxes are meant to overlap."""
    return wish.kind in ("inside", "within", "front")


def sharing(count: int, wishes: Sequence[Wish]) -> Flags:
    """Which pairs may overlap, box, box: those of `shares_room`, what stands on or in one of them, and each
    box with itself."""
    over = np.zeros((count, count), dtype=bool)
    for wish in wishes:
        if shares_room(wish):
            over[wish.boxes[0], wish.boxes[1]] = True
    for _ in range(count):
        for wish in wishes:
            if wish.kind in ("on", "inside", "within", "front"):
                over[wish.boxes[0]] |= over[wish.boxes[1]]
    return np.asarray(over | over.T | np.eye(count, dtype=bool))


def bands(place: str, loose: bool = False) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where a centre may lie, (low, high) of x and of y, for one of the nine places."""
    words = place.split()
    near, far = ((0.0, 0.45), (0.55, 1.0)) if loose else ((0.0, 1 / 3 - _EDGE), (2 / 3 + _EDGE, 1.0))
    middle = (0.2, 0.8) if loose else (1 / 3 + _EDGE, 2 / 3 - _EDGE)
    x = near if "left" in words else far if "right" in words else middle
    y = near if "top" in words else far if "bottom" in words else middle
    if loose and len(words) == 1 and words[0] != "middle":
        free = (0.0, 1.0)
        x, y = (free, y) if words[0] in ("top", "bottom") else (x, free)
    return x, y


def _over(value: Floats | float) -> Floats:
    return np.maximum(value, 0.0)


def _centre(box: Floats) -> tuple[Floats, Floats]:
    return (box[..., 0] + box[..., 2]) / 2, (box[..., 1] + box[..., 3]) / 2


def _outside(value: Floats, low: Floats | float, high: Floats | float) -> Floats:
    return _over(low - value) + _over(value - high)


def _place(box: Floats, place: str, loose: bool) -> Pair:
    x, y = bands(place, loose)
    cx, cy = _centre(box)
    liked = np.abs(cx - sum(x) / 2) + np.abs(cy - sum(y) / 2)
    return _outside(cx, *x) + _outside(cy, *y), liked * (not loose)


def _left(a: Floats, b: Floats) -> Pair:
    (ax, ay), (bx, by) = _centre(a), _centre(b)
    return _over(ax + APART - bx), np.abs(ay - by)


def _above(a: Floats, b: Floats) -> Pair:
    (ax, ay), (bx, by) = _centre(a), _centre(b)
    return _over(ay + APART - by), np.abs(ax - bx)


def _on(a: Floats, b: Floats) -> Pair:
    """`a` stands on the top edge of `b`."""
    (ax, _), (bx, _) = _centre(a), _centre(b)
    return _outside(a[..., 3], b[..., 1] - 0.04, b[..., 1]) + _outside(ax, b[..., 0], b[..., 2]), np.abs(
        ax - bx
    )


def _beside(a: Floats, b: Floats) -> Pair:
    gap = np.maximum(a[..., :2] - b[..., 2:], b[..., :2] - a[..., 2:]).max(axis=-1)
    foot = np.abs(a[..., 3] - b[..., 3])
    return _over(gap - NEAR), foot + np.abs(gap)


def _inside(a: Floats, b: Floats) -> Pair:
    (ax, ay), (bx, by) = _centre(a), _centre(b)
    out = _over(b[..., :2] - a[..., :2]).sum(-1) + _over(a[..., 2:] - b[..., 2:]).sum(-1)
    return out, np.abs(ax - bx) + np.abs(ay - by)


def _front(a: Floats, b: Floats) -> Pair:
    """`a` stands before the lower part of `b`: within its width, its foot at the foot of `b` or below."""
    (_, ay), (_, by) = _centre(a), _centre(b)
    foot = a[..., 3] - b[..., 3]
    across = _over(b[..., 0] - a[..., 0]) + _over(a[..., 2] - b[..., 2])
    return across + _outside(foot, 0.0, 0.15) + _over(by - ay), np.abs(foot)


def _between(a: Floats, b: Floats, c: Floats) -> Pair:
    (ax, ay), (bx, by), (cx, cy) = _centre(a), _centre(b), _centre(c)
    hard = np.minimum(_left(b, a)[0] + _left(a, c)[0], _left(c, a)[0] + _left(a, b)[0])
    middle = np.abs(ax - (bx + cx) / 2) + np.abs(ay - (by + cy) / 2)
    return hard + _over(np.abs(ay - (by + cy) / 2) - 0.15), middle


_RELATIONS: dict[str, Callable[[Floats, Floats], Pair]] = {
    "left": _left,
    "right": lambda a, b: _left(b, a),
    "above": _above,
    "below": lambda a, b: _above(b, a),
    "on": _on,
    "beside": _beside,
    "inside": _inside,
    "within": lambda a, b: (_inside(a, b)[0], np.zeros(())),
    "front": _front,
}
