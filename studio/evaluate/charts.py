"""Charts of the benchmark tables, drawn with Pillow: small PNG files with a plain ground, readable on dark
pages too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

WIDTH, HEIGHT = 960, 560
LEFT, RIGHT, TOP, BOTTOM = 80, 250, 56, 64
GROUND, INK, FAINT, GRID = "#ffffff", "#1c1f24", "#6a7078", "#e4e7eb"
# Okabe and Ito's colours, told apart by every eye; shapes differ too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKS = ("circle", "square", "diamond", "triangle")
COLOURS_KEPT = 64
_ANGLES = [math.pi * k / 4 for k in (1, 3, 2, 0, 4, 7, 5, 6)]
Place = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """A point of a chart and what it is called."""

    x: float
    y: float
    name: str


@dataclass(frozen=True)
class Bar:
    """A bar: `value`, and a line across it where the physical limit lies (None = no line). `side`: whose it
    is, where two stand beside each other: a colour and a line of the legend each."""

    name: str
    value: float
    limit: float | None = None
    side: str = ""


def curve(path: Path, title: str, across: str, up: str, groups: Mapping[str, Sequence[Point]]) -> None:
    """A scatter of named points in groups, with the best front (more of both) as a line. Points far above all
    others, such as a mode that changes nothing, stand at the upper edge with their value. ValueError without
    any."""
    groups, cut = _within(groups)
    picture, pen, place = _frame(title, across, up, groups)
    taken: list[tuple[float, float]] = [
        place(point.x, point.y) for group in groups.values() for point in group
    ]
    front = _front([point for group in groups.values() for point in group])
    if len(front) > 1:
        pen.line([place(p.x, p.y) for p in front], fill=FAINT, width=2)
    numbered = 0
    for index, (name, group) in enumerate(groups.items()):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        top = TOP + 6 + 18 * (numbered + index)
        _mark(pen, (WIDTH - RIGHT + 22, top + 7), mark, colour)
        pen.text((WIDTH - RIGHT + 34, top), name, font=_font(13), fill=INK)
        for point in group:
            numbered += 1
            at = place(point.x, point.y)
            _mark(pen, at, mark, colour)
            if point in cut:
                pen.line((at[0] - 7, at[1] - 10, at[0], at[1] - 16, at[0] + 7, at[1] - 10), fill=INK, width=2)
            pen.text(_free(at, taken), str(numbered), font=_font(12), fill=INK, anchor="mm")
            line = TOP + 6 + 18 * (numbered + index)
            value = f" ({cut[point]:g})" if point in cut else ""
            told = f"{numbered}  {point.name[: 30 - len(value)]}{value}"
            pen.text((WIDTH - RIGHT + 34, line), told, font=_font(12), fill=FAINT)
    _save(picture, path)


def lines(path: Path, title: str, across: str, up: str, groups: Mapping[str, Sequence[Point]]) -> None:
    """A line for each group, through its points in the order of x. ValueError without any."""
    picture, pen, place = _frame(title, across, up, groups)
    for index, (name, group) in enumerate(groups.items()):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        at = [place(point.x, point.y) for point in sorted(group, key=lambda p: p.x)]
        pen.line(at, fill=colour, width=3)
        for spot in at:
            _mark(pen, spot, mark, colour)
        top = TOP + 6 + 22 * index
        _mark(pen, (WIDTH - RIGHT + 22, top + 7), mark, colour)
        pen.text((WIDTH - RIGHT + 34, top), name[:30], font=_font(13), fill=INK)
    _save(picture, path)


def bars(path: Path, title: str, unit: str, rows: Sequence[Bar], *, decibels: bool = False) -> None:
    """Horizontal bars with their values, and their limits as lines. They begin at 0, but for `decibels`:
    those have no natural zero and begin at the round number below the least. ValueError without any."""
    if not rows:
        raise ValueError("There is no bar to draw.")
    picture, pen = _sheet(title, height=TOP + BOTTOM + 34 * len(rows))
    sides = list(dict.fromkeys(row.side for row in rows))
    low = _below(min(row.value for row in rows)) if decibels else 0.0
    left, most = 250, (max(max(row.value, row.limit or 0) for row in rows) - low) or 1.0
    wide = WIDTH - left - 110
    for index, row in enumerate(rows):
        y = TOP + 34 * index
        pen.text((left - 10, y + 4), row.name[:34], font=_font(13), fill=INK, anchor="ra")
        end = left + wide * (row.value - low) / most
        pen.rectangle((left, y, end, y + 22), fill=COLOURS[2 * sides.index(row.side) % len(COLOURS)])
        pen.text((end + 8, y + 4), f"{row.value:.3g} {unit}", font=_font(13), fill=INK)
        if row.limit is not None:
            x = left + wide * (row.limit - low) / most
            pen.line((x, y - 3, x, y + 25), fill=COLOURS[1], width=3)
    if any(row.limit is not None for row in rows):
        y = TOP + 34 * len(rows) + 14
        pen.line((left, y, left, y + 16), fill=COLOURS[1], width=3)
        told = "physical limit: operations at the measured GEMM speed"
        pen.text((left + 10, y), told, font=_font(13), fill=FAINT)
    at, y = float(left), TOP - 22
    for index, side in enumerate(sides if len(sides) > 1 else ()):
        pen.rectangle((at, y, at + 14, y + 14), fill=COLOURS[2 * index % len(COLOURS)])
        pen.text((at + 20, y), side, font=_font(13), fill=INK)
        at += 44 + pen.textlength(side, font=_font(13))
    if decibels:
        pen.text((left, TOP + 34 * len(rows) + 2), f"from {low:g} {unit}", font=_font(13), fill=FAINT)
    _save(picture, path)


def _below(value: float) -> float:
    """The multiple of 5 that is at least 1 below a value."""
    return 5.0 * math.floor((value - 1) / 5)


def _within(
    groups: Mapping[str, Sequence[Point]],
) -> tuple[dict[str, list[Point]], dict[Point, float]]:
    """The groups with points far above all others brought down to just above those, and what these were."""
    ys = sorted(point.y for group in groups.values() for point in group)
    gaps = [(above - below, below) for below, above in pairwise(ys)]
    gap, edge = max(gaps, default=(0.0, 0.0))
    span = edge - ys[0] if ys else 0.0
    far = len(ys) > 3 and gap > max(span, 1.0) and sum(y > edge for y in ys) <= len(ys) / 3
    top = edge + 0.15 * span
    found: dict[str, list[Point]] = {}
    cut: dict[Point, float] = {}
    for name, group in groups.items():
        found[name] = []
        for point in group:
            moved = Point(point.x, top, point.name) if far and point.y > edge else point
            found[name].append(moved)
            if moved is not point:
                cut[moved] = point.y
    return found, cut


def _free(at: tuple[float, float], taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Where a label near a point meets no point and no other label; it is taken from then on."""
    ways = [(r * math.cos(a), -r * math.sin(a)) for r in (15, 23, 31) for a in _ANGLES]
    spots = [(at[0] + x, at[1] + y) for x, y in ways]
    free = max(spots, key=lambda spot: _room(spot, taken))
    best = next((spot for spot in spots if _room(spot, taken) >= 15), free)
    taken.append(best)
    return best


def _room(spot: tuple[float, float], taken: Sequence[tuple[float, float]]) -> float:
    return min((math.dist(spot, other) for other in taken), default=math.inf)


def _frame(
    title: str, across: str, up: str, groups: Mapping[str, Sequence[Point]]
) -> tuple[Pillow.Image, ImageDraw.ImageDraw, Place]:
    """A sheet with axes that hold all points, and where a point lies on it. ValueError without any."""
    points = [point for group in groups.values() for point in group]
    if not points:
        raise ValueError("There is no point to draw.")
    picture, pen = _sheet(title)
    xs, ys = _ticks([p.x for p in points]), _ticks([p.y for p in points])

    def place(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return (
            LEFT + wide * (x - xs[0]) / (xs[-1] - xs[0]),
            HEIGHT - BOTTOM - high * (y - ys[0]) / (ys[-1] - ys[0]),
        )

    _grid(pen, xs, ys, place, across, up)
    return picture, pen, place


def _front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both, by x."""
    best = []
    for one in points:
        others = [p for p in points if (p.x, p.y) != (one.x, one.y)]
        if not any(other.x >= one.x and other.y >= one.y for other in others):
            best.append(one)
    return sorted(best, key=lambda p: p.x)


def _ticks(values: Sequence[float]) -> list[float]:
    """Five or so round numbers that hold all values between them."""
    low, high = min(values), max(values)
    span = (high - low) or max(abs(high), 1.0)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def _grid(
    pen: ImageDraw.ImageDraw, xs: Sequence[float], ys: Sequence[float], place: Place, across: str, up: str
) -> None:
    for x in xs:
        at = place(x, ys[0])
        pen.line((at, place(x, ys[-1])), fill=GRID)
        pen.text((at[0], at[1] + 8), f"{x:g}", font=_font(13), fill=FAINT, anchor="ma")
    for y in ys:
        at = place(xs[0], y)
        pen.line((at, place(xs[-1], y)), fill=GRID)
        pen.text((at[0] - 10, at[1]), f"{y:g}", font=_font(13), fill=FAINT, anchor="rm")
    pen.text((place(xs[-1], ys[0])[0], HEIGHT - 26), across, font=_font(14), fill=INK, anchor="ra")
    pen.text((LEFT, TOP - 22), up, font=_font(14), fill=INK)


def _mark(pen: ImageDraw.ImageDraw, at: tuple[float, float], mark: str, colour: str) -> None:
    x, y, r = *at, 6
    if mark == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    elif mark == "square":
        pen.rectangle((x - r + 1, y - r + 1, x + r - 1, y + r - 1), fill=colour)
    elif mark == "diamond":
        pen.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=colour)
    else:
        pen.polygon([(x, y - r), (x + r, y + r - 1), (x - r, y + r - 1)], fill=colour)


def _sheet(title: str, height: int = HEIGHT) -> tuple[Pillow.Image, ImageDraw.ImageDraw]:
    picture = Pillow.new("RGB", (WIDTH, height), GROUND)
    pen = ImageDraw.Draw(picture)
    pen.text((16, 10), title, font=_font(17), fill=INK)
    return picture, pen


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _save(picture: Pillow.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS_KEPT).save(path, "PNG", optimize=True)
