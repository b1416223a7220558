"""Figures of what was seen: heat maps over a picture, the four-block chart, strips; Pillow and numpy only.

Everything is drawn on paper in the studio's colours, with labels of at least 14 px; a figure says in words
what its colours mean.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter, ImageFont

from studio.controls.heat_colours import INK, LINE, PAPER, SOFT, colours
from studio.pixels import flatten, to_pillow
from studio.values import Image

Grid = npt.NDArray[np.floating[Any]]
FONT_FILE = Path(__file__).resolve().parents[2] / "assets" / "ui" / "fonts" / "instrument-sans.woff2"
MARGIN, GAP, SMALL, LABEL, HEAD, TITLE = 28, 14, 14, 15, 18, 23
SCALE_HIGH = 58
FINE = 4
LONGEST = 1480
MOST_ACROSS, ALONE, SMALLEST = 9, 448, 132


@dataclass(frozen=True, eq=False)
class Panel:
    """One map: values 0..1 (row, column), the label below it, and what stands quietly beside the label."""

    values: Grid
    label: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class Section:
    """A heading and the panels that belong to it."""

    heading: str
    panels: tuple[Panel, ...]


@lru_cache(64)
def font(size: int, weight: int = 400) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The studio's face at a size in pixels; `weight` 400..700. Pillow's own where its build cannot read
    it."""
    try:
        face = ImageFont.truetype(FONT_FILE, size, layout_engine=ImageFont.Layout.BASIC)
        face.set_variation_by_axes([weight])
        return face
    except OSError:
        return ImageFont.load_default(size)


def overlay(picture: Pillow.Image, values: Grid, strength: float, smooth: bool) -> Pillow.Image:
    """A map over a picture of its size.

    The picture shows through as a relief: its edges and texture without its light, so that the colours of the
    map keep their meaning. `strength` 0 = the picture alone, 1 = the map alone. `smooth`: bicubic between
    tokens, else one square a token.
    """
    kind = Pillow.Resampling.BICUBIC if smooth else Pillow.Resampling.NEAREST
    enlarged = Pillow.fromarray(np.asarray(values, np.float32)).resize(picture.size, kind)
    heat = colours(np.asarray(enlarged)).astype(np.float32)
    if strength >= 1:
        return Pillow.fromarray(heat.astype(np.uint8))
    grey = picture.convert("L")
    blurred = grey.filter(ImageFilter.GaussianBlur(max(picture.size) / 40))
    relief = np.asarray(grey, np.float32) - np.asarray(blurred, np.float32)
    seen = heat + relief[..., None] * min(1.0, 2 * (1 - strength))
    # below one half the picture itself comes back, in its colours
    share = min(1.0, 2 * strength)
    shown = share * seen + (1 - share) * np.asarray(picture, np.float32)
    return Pillow.fromarray(shown.clip(0, 255).round().astype(np.uint8))


def heat_figure(
    image: Image | None,
    sections: Sequence[Section],
    title: str,
    legend: tuple[str, str, str],
    *,
    strength: float = 0.7,
    smooth: bool = True,
    aspect: float = 1.0,
) -> Image:
    """Heat maps under headings, over a picture if there is one, with a legend (low, what it is, high).

    `aspect`: width to height of the grid, for panels without a picture.
    """
    base = None if image is None else to_pillow(flatten(image))
    if base is not None:
        aspect = base.width / base.height
    most = max(len(section.panels) for section in sections)
    across, side = _arrange(most, len(sections))
    wide, high = (side, round(side / aspect)) if aspect >= 1 else (round(side * aspect), side)
    lower = LABEL + 14
    headed = any(section.heading for section in sections)
    rows = [math.ceil(len(section.panels) / across) for section in sections]
    width = max(2 * MARGIN + across * wide + (across - 1) * GAP, 2 * MARGIN + 420)
    top = MARGIN + TITLE + 20
    below = sum(n * (high + lower + 6) + (HEAD + 14 if headed else 0) + 14 for n in rows)
    height = top + below + SCALE_HIGH + MARGIN
    page = Pillow.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    write(pen, (MARGIN, MARGIN), title, TITLE, 650, room=width - 2 * MARGIN)
    y = top
    for section, count in zip(sections, rows, strict=True):
        if headed:
            write(pen, (MARGIN, y), section.heading, HEAD, 600, room=width - 2 * MARGIN)
            y += HEAD + 14
        for i, panel in enumerate(section.panels):
            x, at = MARGIN + i % across * (wide + GAP), y + i // across * (high + lower + 6)
            ground = base.resize((wide, high), Pillow.Resampling.LANCZOS) if base else None
            paste_panel(page, (x, at), (wide, high), panel, ground, strength, smooth)
        y += count * (high + lower + 6) + 14
    draw_scale(page, (MARGIN, y), min(width - 2 * MARGIN, 420), legend)
    return Image(np.array(page, dtype=np.uint8))


def paste_panel(
    page: Pillow.Image,
    at: tuple[int, int],
    size: tuple[int, int],
    panel: Panel,
    ground: Pillow.Image | None,
    strength: float,
    smooth: bool,
) -> None:
    """Draw one panel with its label onto a page."""
    picture = ground or Pillow.new("RGB", size, (128, 128, 128))
    shown = overlay(picture, panel.values, strength if ground else 1.0, smooth)
    page.paste(shown, at)
    pen = ImageDraw.Draw(page)
    pen.rectangle((at[0] - 1, at[1] - 1, at[0] + size[0], at[1] + size[1]), outline=LINE)
    below = at[1] + size[1] + 6
    used = write(pen, (at[0], below), panel.label, LABEL, 500, room=size[0])
    if panel.note and used + 8 + text_width(panel.note, LABEL) <= size[0]:
        write(pen, (at[0] + used + 8, below), panel.note, LABEL, 400, SOFT)


def draw_scale(page: Pillow.Image, at: tuple[int, int], width: int, legend: tuple[str, str, str]) -> None:
    """The colour scale, SCALE_HIGH pixels high: what it measures above it, a word at each end below it."""
    low, what, high = legend
    pen = ImageDraw.Draw(page)
    write(pen, at, what, SMALL, 400, SOFT, room=page.width - at[0] - MARGIN)
    x, y = at[0], at[1] + SMALL + 9
    page.paste(Pillow.fromarray(colours(np.linspace(0, 1, width)[None]).repeat(12, 0)), (x, y))
    pen.rectangle((x - 1, y - 1, x + width, y + 12), outline=LINE)
    write(pen, (x, y + 18), low, SMALL, 500)
    write(pen, (x + width - text_width(high, SMALL, 500), y + 18), high, SMALL, 500)


def strip(pictures: Sequence[tuple[Image, str, str]], title: str) -> Image:
    """Pictures side by side, wrapped, each with a label and a quiet note below it."""
    first = pictures[0][0]
    across, side = _arrange(len(pictures), 1)
    longer = max(first.width, first.height)
    wide, high = round(first.width * side / longer), round(first.height * side / longer)
    lower = LABEL + 20
    rows = math.ceil(len(pictures) / across)
    width = max(2 * MARGIN + across * wide + (across - 1) * GAP, 2 * MARGIN + 300)
    top = MARGIN + TITLE + 20
    page = Pillow.new("RGB", (width, top + rows * (high + lower) + MARGIN - 12), PAPER)
    pen = ImageDraw.Draw(page)
    write(pen, (MARGIN, MARGIN), title, TITLE, 650, room=width - 2 * MARGIN)
    for i, (image, label, note) in enumerate(pictures):
        x, y = MARGIN + i % across * (wide + GAP), top + i // across * (high + lower)
        page.paste(to_pillow(flatten(image)).resize((wide, high), Pillow.Resampling.LANCZOS), (x, y))
        pen.rectangle((x - 1, y - 1, x + wide, y + high), outline=LINE)
        used = write(pen, (x, y + high + 6), label, LABEL, 500, room=wide)
        if used + 8 + text_width(note, LABEL) <= wide:
            write(pen, (x + used + 8, y + high + 6), note, LABEL, 400, SOFT)
    return Image(np.array(page, dtype=np.uint8))


def write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int,
    weight: int = 400,
    fill: tuple[int, int, int] = INK,
    *,
    room: int = 0,
) -> int:
    """Write one line with its top left at `at`, cut with an ellipsis at `room` pixels; returns its width."""
    text = " ".join(text.split())
    if room and text_width(text, size, weight) > room:
        # a longer beginning is never narrower
        kept = (
            bisect_right(range(len(text)), room, key=lambda n: text_width(text[:n] + "…", size, weight)) - 1
        )
        text = text[: max(kept, 0)].rstrip() + "…"
    wide = text_width(text, size, weight)
    if not wide:
        return 0
    # drawn larger and made smaller: hinting at 14 px would push the letters together
    fine = Pillow.new("L", (wide * FINE, round(size * 1.5) * FINE))
    ImageDraw.Draw(fine).text((0, 0), text, font=font(size * FINE, weight), fill=255)
    cover = fine.resize((wide, fine.height // FINE), Pillow.Resampling.BOX)
    pen.bitmap(at, cover, fill=fill)
    return wide


@lru_cache(2048)
def text_width(text: str, size: int, weight: int = 400) -> int:
    """How many pixels a line takes."""
    return math.ceil(font(size * FINE, weight).getlength(text) / FINE)


def _arrange(panels: int, sections: int) -> tuple[int, int]:
    """How many panels stand in a row, and the longer side of one in pixels."""
    if panels == 1:
        return 1, ALONE if sections == 1 else 300
    if sections > 1 or panels <= 4:
        across = min(panels, MOST_ACROSS if sections > 1 else 4)
    else:
        across = min(math.ceil(math.sqrt(panels * 1.6)), MOST_ACROSS)
    room = (LONGEST - 2 * MARGIN - (across - 1) * GAP) // across
    return across, max(min(room, 300 if across <= 4 else 220), SMALLEST)
