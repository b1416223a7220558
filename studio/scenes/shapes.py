"""The kinds of object as polygons: parts in painting order, holes, and the box they fill.

Coordinates are normalised: the middle of a kind's box is (0, 0) and its larger side reaches from -1 to 1;
y points down. The paper edge is a border of width `EDGE` (share of the picture's width) around all parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin, tau

Point = tuple[float, float]
Polygon = tuple[Point, ...]

EDGE = 0.014

# Roles of a part: "main" carries the colour and the pattern, the others are tones derived from it.
MAIN, SHADE, DEEP, PALE, WHEEL = "main", "shade", "deep", "pale", "wheel"


@dataclass(frozen=True)
class Part:
    """A polygon painted in the tone of `role`; `outer` parts make the silhouette."""

    role: str
    polygon: Polygon
    outer: bool = True


@dataclass(frozen=True)
class Shape:
    """Parts in painting order and the holes cut through all of them."""

    parts: tuple[Part, ...]
    holes: tuple[Polygon, ...] = ()


def _ellipse(
    cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = tau, n: int = 48
) -> Polygon:
    steps = (start + (stop - start) * i / n for i in range(n + 1))
    return tuple((cx + rx * cos(t), cy + ry * sin(t)) for t in steps)


def _rect(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _star() -> Shape:
    points = []
    for i in range(10):
        radius = 1.0 if i % 2 == 0 else 0.46
        points.append((radius * sin(i * pi / 5), -radius * cos(i * pi / 5)))
    return Shape((Part(MAIN, tuple(points)),))


def _heart() -> Shape:
    points = []
    for i in range(60):
        t = tau * i / 60
        y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)
        points.append((16 * sin(t) ** 3, -y))
    return Shape((Part(MAIN, tuple(points)),))


def _ring() -> Shape:
    return Shape((Part(MAIN, _ellipse(0, 0, 1, 1)),), (_ellipse(0, 0, 0.46, 0.46),))


def _house() -> Shape:
    return Shape((
        Part(SHADE, _rect(0.36, -0.95, 0.62, -0.2)),
        Part(MAIN, _rect(-0.74, -0.1, 0.74, 1)),
        Part(SHADE, ((-1, -0.02), (0, -1), (1, -0.02))),
        Part(DEEP, _rect(-0.2, 0.38, 0.2, 1), outer=False),
    ))  # fmt: skip


def _tree() -> Shape:
    return Shape((
        Part(DEEP, _rect(-0.17, 0.5, 0.17, 1)),
        Part(MAIN, ((0, -0.7), (0.8, 0.62), (-0.8, 0.62))),
        Part(MAIN, ((0, -1), (0.62, -0.06), (-0.62, -0.06))),
    ))  # fmt: skip


def _boat() -> Shape:
    return Shape((
        Part(DEEP, _rect(-0.05, -1, 0.05, 0.5)),
        Part(MAIN, ((0.05, -1), (0.82, 0.28), (0.05, 0.28))),
        Part(MAIN, ((-0.05, -0.72), (-0.05, 0.28), (-0.66, 0.28))),
        Part(SHADE, ((-1, 0.42), (1, 0.42), (0.62, 1), (-0.62, 1))),
    ))  # fmt: skip


def _fish() -> Shape:
    return Shape((
        Part(SHADE, ((0.4, 0), (1, -0.52), (0.84, 0), (1, 0.52))),
        Part(SHADE, ((-0.3, -0.3), (0.1, -0.72), (0.3, -0.3))),
        Part(MAIN, _ellipse(-0.25, 0, 0.75, 0.5)),
        Part(PALE, _ellipse(-0.64, -0.12, 0.12, 0.12), outer=False),
        Part(WHEEL, _ellipse(-0.65, -0.12, 0.06, 0.06), outer=False),
    ))  # fmt: skip


def _cup() -> Shape:
    return Shape((
        Part(SHADE, _ellipse(0.5, 0.05, 0.5, 0.48)),
        Part(MAIN, ((-1, -0.72), (0.56, -0.72), (0.4, 0.66), (0.24, 0.8), (-0.68, 0.8), (-0.84, 0.66))),
        Part(SHADE, _rect(-1, -0.72, 0.56, -0.52), outer=False),
    ), (_ellipse(0.66, 0.05, 0.13, 0.22),))  # fmt: skip


def _mushroom() -> Shape:
    return Shape((
        Part(PALE, ((-0.3, 0), (0.3, 0), (0.4, 1), (-0.4, 1))),
        Part(MAIN, _ellipse(0, 0.14, 1, 1.06, pi, tau)),
        Part(DEEP, _ellipse(0, 0.14, 0.98, 0.14, 0, pi)),
    ))  # fmt: skip


def _balloon() -> Shape:
    envelope = (*_ellipse(0, -0.3, 0.74, 0.7, 0.8 * pi, 2.2 * pi), (0.22, 0.56), (-0.22, 0.56))
    return Shape((
        Part(DEEP, _rect(-0.28, 0.5, 0.28, 1)),
        Part(PALE, _rect(-0.2, 0.5, 0.2, 0.72), outer=False),
        Part(MAIN, envelope),
    ))  # fmt: skip


def _flower() -> Shape:
    turns = [i * tau / 5 for i in range(5)]
    return Shape((
        *(Part(MAIN, _ellipse(0.58 * sin(turn), -0.58 * cos(turn), 0.4, 0.4, n=24)) for turn in turns),
        Part(MAIN, _ellipse(0, 0, 0.4, 0.4, n=24)),
        Part(PALE, _ellipse(0, 0, 0.27, 0.27, n=24), outer=False),
    ))  # fmt: skip


def _moon() -> Shape:
    # A circle's left arc and, back again, the arc of a circle moved to the right.
    outer = _ellipse(0, 0, 1, 1, 0.27 * pi, 1.73 * pi, n=40)
    tip_x, tip_y = cos(0.27 * pi), sin(0.27 * pi)
    centre = 0.52
    radius = ((tip_x - centre) ** 2 + tip_y**2) ** 0.5
    inner = tuple(
        (centre + radius * cos(t), radius * sin(t))
        for t in (1.57 * pi - (1.14 * pi) * i / 30 for i in range(1, 30))
    )
    return Shape((Part(MAIN, outer + inner),))


def _car() -> Shape:
    return Shape((
        Part(SHADE, ((-0.62, -0.02), (-0.36, -0.56), (0.3, -0.56), (0.62, -0.02))),
        Part(MAIN, ((-1, 0.02), (-0.94, -0.08), (0.86, -0.08), (1, 0.1), (1, 0.42), (-1, 0.42))),
        Part(PALE, ((-0.42, -0.1), (-0.26, -0.42), (-0.06, -0.42), (-0.06, -0.1)), outer=False),
        Part(PALE, ((0.06, -0.1), (0.06, -0.42), (0.22, -0.42), (0.4, -0.1)), outer=False),
        Part(WHEEL, _ellipse(-0.54, 0.44, 0.27, 0.27, n=24)),
        Part(WHEEL, _ellipse(0.54, 0.44, 0.27, 0.27, n=24)),
        Part(PALE, _ellipse(-0.54, 0.44, 0.1, 0.1, n=24), outer=False),
        Part(PALE, _ellipse(0.54, 0.44, 0.1, 0.1, n=24), outer=False),
    ))  # fmt: skip


def _normalised(shape: Shape) -> Shape:
    points = [point for part in shape.parts if part.outer for point in part.polygon]
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    scale = 2 / max(x1 - x0, y1 - y0)

    def move(polygon: Polygon) -> Polygon:
        return tuple(((x - (x0 + x1) / 2) * scale, (y - (y0 + y1) / 2) * scale) for x, y in polygon)

    parts = tuple(Part(part.role, move(part.polygon), part.outer) for part in shape.parts)
    return Shape(parts, tuple(move(hole) for hole in shape.holes))


def _aspect(shape: Shape) -> tuple[float, float]:
    points = [point for part in shape.parts if part.outer for point in part.polygon]
    wide = max(p[0] for p in points) - min(p[0] for p in points)
    high = max(p[1] for p in points) - min(p[1] for p in points)
    return wide / 2, high / 2


SHAPES: dict[str, Shape] = {
    kind: _normalised(shape)
    for kind, shape in {
        "star": _star(),
        "heart": _heart(),
        "ring": _ring(),
        "circle": Shape((Part(MAIN, _ellipse(0, 0, 1, 1)),)),
        "square": Shape((Part(MAIN, _rect(-1, -1, 1, 1)),)),
        "triangle": Shape((Part(MAIN, ((0, -0.88), (1, 0.88), (-1, 0.88))),)),
        "house": _house(),
        "tree": _tree(),
        "boat": _boat(),
        "fish": _fish(),
        "cup": _cup(),
        "mushroom": _mushroom(),
        "balloon": _balloon(),
        "flower": _flower(),
        "moon": _moon(),
        "car": _car(),
    }.items()
}
KINDS = tuple(SHAPES)
# (width, height) of each kind's parts, as shares of the larger side.
ASPECTS = {kind: _aspect(shape) for kind, shape in SHAPES.items()}
