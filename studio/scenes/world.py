"""Scenes and their objects, drawn from a random generator; every property has an exact answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from studio.scenes import shapes

KINDS = shapes.KINDS
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 30, 44),
    "orange": (250, 136, 12),
    "yellow": (253, 218, 46),
    "green": (44, 158, 74),
    "blue": (38, 98, 218),
    "purple": (126, 56, 178),
    "pink": (250, 138, 188),
    "brown": (122, 76, 44),
    "black": (36, 36, 44),
    "white": (242, 243, 246),
}
PATTERNS = ("solid", "striped", "dotted")
PATTERN_SHARES = (0.6, 0.2, 0.2)
# The larger side of an object's box (paper edge included) as a share of the picture's width.
SIZES = {"small": 0.20, "medium": 0.28, "large": 0.38}
PLACES: dict[str, tuple[float, float]] = {
    f"{row} {column}".strip() or "middle": (x, y)
    for row, y in (("top", 1 / 6), ("", 1 / 2), ("bottom", 5 / 6))
    for column, x in (("left", 1 / 6), ("", 1 / 2), ("right", 5 / 6))
}
BACKGROUNDS = ("day", "night", "sunset", "sea", "desert", "snow", "forest", "city", "underwater")

EXTENT_JITTER = 0.04
PLACE_JITTER = 0.03
BORDER = 0.02
GAP = 0.025
HELD_OUT_SHARE = 0.05
MAX_OBJECTS = 4


@dataclass(frozen=True)
class SceneObject:
    """One object: `cx`, `cy` are its box's centre and `extent` the box's larger side, all in 0..1."""

    kind: str
    colour: str
    pattern: str
    size: str
    place: str
    cx: float
    cy: float
    extent: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The box (x0, y0, x1, y1) in 0..1, paper edge included."""
        return _box(self.kind, self.cx, self.cy, self.extent)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SceneObject:
        """The object that `to_dict` described."""
        words = {name: str(data[name]) for name in ("kind", "colour", "pattern", "size", "place")}
        return cls(**words, cx=float(data["cx"]), cy=float(data["cy"]), extent=float(data["extent"]))


@dataclass(frozen=True)
class Scene:
    """A background and one to four objects; `seed` fixes the background's details."""

    background: str
    objects: tuple[SceneObject, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "background": self.background,
            "objects": [item.to_dict() for item in self.objects],
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scene:
        """The scene that `to_dict` described."""
        objects = tuple(SceneObject.from_dict(item) for item in data["objects"])
        return cls(str(data["background"]), objects, int(data["seed"]))


def place_of(cx: float, cy: float) -> str:
    """The name of the ninth of the picture that holds a centre (0..1 each)."""
    row = "top" if cy < 1 / 3 else "bottom" if cy > 2 / 3 else ""
    column = "left" if cx < 1 / 3 else "right" if cx > 2 / 3 else ""
    return f"{row} {column}".strip() or "middle"


def size_of(extent: float) -> str:
    """The size word of a box whose larger side is `extent` (0..1)."""
    small, medium, large = SIZES.values()
    if extent < (small + medium) / 2:
        return "small"
    return "medium" if extent < (medium + large) / 2 else "large"


@cache
def held_out(kind: str, colour: str, place: str) -> bool:
    """Whether training must never draw this combination: a stable 5 % of them."""
    digest = hashlib.sha256(f"weft-scenes/{kind}/{colour}/{place}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < HELD_OUT_SHARE


@cache
def held_out_combinations() -> tuple[tuple[str, str, str], ...]:
    """All (kind, colour, place) that training never draws."""
    return tuple(
        (kind, colour, place)
        for kind in KINDS
        for colour in COLOURS
        for place in PLACES
        if held_out(kind, colour, place)
    )


@cache
def _choices(place: str, only_held_out: bool) -> tuple[tuple[str, str], ...]:
    """The (kind, colour) pairs that may stand at a place."""
    return tuple(
        (kind, colour)
        for kind in KINDS
        for colour in COLOURS
        if held_out(kind, colour, place) == only_held_out
    )


def sample_scene(
    rng: np.random.Generator,
    count: int | None = None,
    held_out_only: bool = False,
    pattern_shares: tuple[float, float, float] = PATTERN_SHARES,
) -> Scene:
    """A random scene of `count` objects (1..4, random if None); `pattern_shares`: of PATTERNS, sum 1.

    Training scenes never hold a held-out combination; with `held_out_only` every object is one.
    """
    if count is None:
        count = int(rng.integers(1, MAX_OBJECTS + 1))
    if not 1 <= count <= MAX_OBJECTS:
        raise ValueError(f"a scene has 1 to {MAX_OBJECTS} objects, not {count}")
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    while True:
        objects = _sample_objects(rng, count, held_out_only, pattern_shares)
        if objects is not None:
            return Scene(background, objects, int(rng.integers(2**31)))


def _sample_objects(
    rng: np.random.Generator, count: int, only_held_out: bool, pattern_shares: tuple[float, float, float]
) -> tuple[SceneObject, ...] | None:
    """Objects whose boxes keep a gap, or None when these sizes found no room."""
    size_names, place_names = tuple(SIZES), tuple(PLACES)
    sizes = [size_names[int(i)] for i in rng.integers(len(SIZES), size=count)]
    patterns = [PATTERNS[int(i)] for i in rng.choice(len(PATTERNS), size=count, p=pattern_shares)]
    # Several tries with the same sizes, so that scenes of many objects do not all turn out small.
    for _ in range(12):
        objects: list[SceneObject] = []
        pairs: set[tuple[str, str]] = set()
        places = rng.permutation(len(PLACES))[:count]
        jitter = rng.uniform(-1, 1, size=(count, 3))
        for index in range(count):
            place = place_names[int(places[index])]
            choices = _choices(place, only_held_out)
            kind, colour = choices[int(rng.integers(len(choices)))]
            extent = SIZES[sizes[index]] * (1 + EXTENT_JITTER * jitter[index, 0])
            x, y = PLACES[place]
            low, high = extent / 2 + BORDER, 1 - extent / 2 - BORDER
            cx = min(max(x + PLACE_JITTER * jitter[index, 1], low), high)
            cy = min(max(y + PLACE_JITTER * jitter[index, 2], low), high)
            item = SceneObject(
                kind, colour, patterns[index], sizes[index], place,
                round(float(cx), 5), round(float(cy), 5), round(float(extent), 5),
            )  # fmt: skip
            if (kind, colour) in pairs or any(_touch(item.box, other.box) for other in objects):
                break
            pairs.add((kind, colour))
            objects.append(item)
        else:
            return tuple(objects)
    return None


def _box(kind: str, cx: float, cy: float, extent: float) -> tuple[float, float, float, float]:
    inner = extent - 2 * shapes.EDGE
    wide, high = shapes.ASPECTS[kind]
    half_w, half_h = (inner * wide) / 2 + shapes.EDGE, (inner * high) / 2 + shapes.EDGE
    return cx - half_w, cy - half_h, cx + half_w, cy + half_h


def _touch(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] + GAP and b[0] < a[2] + GAP and a[1] < b[3] + GAP and b[1] < a[3] + GAP
