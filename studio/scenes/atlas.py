"""Cached coverage maps of the objects: which tone lies where, at a few resolutions.

A picture of any size then only scales these maps to the object's place, which is fast and antialiased.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from studio.scenes.shapes import DEEP, EDGE, MAIN, PALE, SHADE, SHAPES, WHEEL, Polygon
from studio.scenes.world import COLOURS, SIZES

PAPER, TONE = "paper", "tone"
ROLES = (PAPER, MAIN, TONE, SHADE, DEEP, PALE, WHEEL)
LEVELS = (48, 96, 192, 384)
# Room around the box for the shadow, as a share of the box.
PAD = 0.25
SHADOW_SHIFT = (0.006, 0.014)
SHADOW_BLUR = 0.009
# Period of the stripes and distance of the dots, as shares of the picture's width.
STRIPE_PERIOD = {"small": 0.066, "medium": 0.078, "large": 0.092}
DOT_PITCH = {"small": 0.070, "medium": 0.088, "large": 0.108}
DOT_RADIUS = 0.27
STRIPE_SHARE = 0.42


@dataclass(frozen=True)
class Maps:
    """Coverage maps of one object at one level, all `side` x `side` (box times 1 + 2 PAD).

    `roles` names the tones that occur; `layers` holds one 8-bit image each; `shadow` is the soft shadow.
    """

    box: int
    side: int
    roles: tuple[str, ...]
    layers: tuple[Image.Image, ...]
    shadow: Image.Image


def level_for(pixels: float) -> int:
    """The box size (pixels) of the maps that serve a box of `pixels` in the picture."""
    return next((level for level in LEVELS if level >= 1.3 * pixels), LEVELS[-1])


@lru_cache(maxsize=480)
def maps(kind: str, size: str, pattern: str, level: int) -> Maps:
    """The coverage maps of a kind with a pattern, its box `level` pixels large."""
    fine = 2 * level
    side = fine + 2 * round(fine * PAD)
    edge = EDGE / SIZES[size] * fine
    half = fine / 2 - edge
    shape = SHAPES[kind]

    def place(polygon: Polygon) -> list[tuple[float, float]]:
        return [(side / 2 + x * half - 0.5, side / 2 + y * half - 0.5) for x, y in polygon]

    labels = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(labels)
    paper = ROLES.index(PAPER) + 1
    outlines = [place(part.polygon) for part in shape.parts if part.outer]
    holes = [place(hole) for hole in shape.holes]
    for outline in outlines:
        pen.polygon(outline, fill=paper)
    for hole in holes:
        pen.polygon(hole, fill=0)
    for outline in outlines + holes:
        _stroke(pen, outline, edge, paper)
    cut = Image.new("L", (side, side), 255)
    for hole in holes:
        ImageDraw.Draw(cut).polygon(hole, fill=0)
    pattern_map = _pattern(pattern, size, side, fine)
    for part in shape.parts:
        area = Image.new("L", (side, side), 0)
        ImageDraw.Draw(area).polygon(place(part.polygon), fill=255)
        area = Image.composite(area, Image.new("L", (side, side), 0), cut)
        labels.paste(ROLES.index(part.role) + 1, mask=area)
        if part.role == MAIN and pattern_map is not None:
            both = Image.composite(area, Image.new("L", (side, side), 0), pattern_map)
            labels.paste(ROLES.index(TONE) + 1, mask=both)
    label_array = np.asarray(labels)
    roles, layers = [], []
    for index, role in enumerate(ROLES):
        found = label_array == index + 1
        if found.any():
            roles.append(role)
            layers.append(Image.fromarray(found.astype(np.uint8) * 255).reduce(2))
    outside = Image.fromarray((label_array > 0).astype(np.uint8) * 255).reduce(2)
    scale = level / SIZES[size]
    shifted = Image.new("L", outside.size, 0)
    shifted.paste(outside, (round(SHADOW_SHIFT[0] * scale), round(SHADOW_SHIFT[1] * scale)))
    shadow = shifted.filter(ImageFilter.GaussianBlur(SHADOW_BLUR * scale))
    return Maps(level, outside.size[0], tuple(roles), tuple(layers), shadow)


def _stroke(pen: ImageDraw.ImageDraw, outline: list[tuple[float, float]], radius: float, fill: int) -> None:
    """A line of width 2 `radius` with round corners along a closed outline."""
    closed = [*outline, outline[0]]
    pen.line(closed, fill=fill, width=max(1, round(2 * radius)))
    for x, y in outline:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _pattern(pattern: str, size: str, side: int, fine: int) -> Image.Image | None:
    """Where the second tone lies (8-bit mask), or None for a solid object."""
    if pattern == "solid":
        return None
    scale = fine / SIZES[size]
    grid = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = grid[None, :], grid[:, None]
    if pattern == "striped":
        covered = stripes(x, y, STRIPE_PERIOD[size] * scale)
    else:
        covered = dots(x, y, DOT_PITCH[size] * scale)
    return Image.fromarray(np.broadcast_to(covered, (side, side)).astype(np.uint8) * 255)


def stripes(x: np.ndarray, y: np.ndarray, period: float, shift: float = 0.0) -> np.ndarray:
    """Whether points lie on the slanted stripes (bool, x and y broadcast); `shift` in periods."""
    phase = ((x + y) / (2**0.5) / period + shift) % 1.0
    return np.abs(phase - 0.5) < STRIPE_SHARE / 2


def dots(x: np.ndarray, y: np.ndarray, pitch: float) -> np.ndarray:
    """Whether points lie on the dots of a staggered grid (bool, x and y broadcast)."""
    row = np.round(y / (pitch * 0.866))
    across = x / pitch + 0.5 * (row % 2)
    dx = (across - np.round(across)) * pitch
    dy = y - row * pitch * 0.866
    return dx**2 + dy**2 < (DOT_RADIUS * pitch) ** 2


def _mix(colour: tuple[int, ...], other: tuple[int, ...], share: float) -> tuple[float, ...]:
    return tuple(a * (1 - share) + b * share for a, b in zip(colour, other, strict=True))


def tones(colour: str) -> dict[str, tuple[float, ...]]:
    """The RGB value (0..255) of every role for an object of this colour."""
    base = COLOURS[colour]
    cream, ink = (255, 250, 240), (30, 22, 40)
    tone = {"white": (140, 146, 160), "yellow": (176, 134, 20)}.get(colour, _mix(base, cream, 0.78))
    lift = colour == "black"
    return {
        PAPER: (253, 250, 243),
        MAIN: base,
        TONE: tone,
        SHADE: _mix(base, (120, 120, 132), 0.4) if lift else _mix(base, ink, 0.17),
        DEEP: _mix(base, (150, 150, 160), 0.55) if lift else _mix(base, ink, 0.38),
        PALE: (196, 200, 212) if colour == "white" else (240, 234, 222),
        WHEEL: (52, 48, 58),
    }
