"""A table of pictures as one labelled picture: the contact sheet of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from studio.pixels import from_pillow, to_pillow
from studio.values import Image

PAPER, INK, SOFT, LINE, SUNK = "#fdfaf4", "#2a2520", "#665d52", "#e0d7c8", "#ece5d8"
GAP, MARGIN, MOST_SIDE, MOST_PIXELS = 10, 28, 512, 36_000_000
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
At = tuple[int, ...]


def sheet(
    pictures: Mapping[At, Image],
    axes: Sequence[tuple[str, Sequence[str]]],
    *,
    title: str = "",
    fonts: Path | None = None,
) -> Image:
    """The picture of a table. `axes`: one to three of (title, labels): columns, rows, and tables below each
    other; `pictures` by place on each axis. A place without a picture stays an empty frame.

    `fonts`: folder of the page's fonts; Pillow's own stands in where it cannot be read.
    """
    whole_axes: list[tuple[str, Sequence[str]]] = [*axes, *[("", [""])] * (3 - len(axes))]
    (across, columns), (down, rows), (deep, tables) = whole_axes
    side = _side(pictures, len(columns) * len(rows) * len(tables))
    width, height = _cell(pictures, side)
    scale = max(1.0, min(width, height) / 256)
    text, head = _font(fonts, "instrument-sans", 17 * scale), _font(fonts, "newsreader", 25 * scale)
    bold = _font(fonts, "instrument-sans", 17 * scale, "SemiBold")
    line = round(25 * scale)
    left = 0
    if len(axes) > 1:
        left = min(round(1.2 * width), max(round(text.getlength(label)) for label in [*rows, down]) + 2 * GAP)
    top = line * 2 + GAP
    block = top + len(rows) * (height + GAP) + (line + GAP if len(axes) > 2 else 0)
    whole = (
        2 * MARGIN + left + len(columns) * (width + GAP) - GAP,
        2 * MARGIN + (round(40 * scale) if title else 0) + len(tables) * (block + GAP) - 2 * GAP,
    )
    canvas = Pillow.new("RGB", whole, PAPER)
    pen = ImageDraw.Draw(canvas)
    y = MARGIN
    if title:
        pen.text((MARGIN, y), _cut(title, head, whole[0] - 2 * MARGIN), INK, head)
        y += round(40 * scale)
    for z, table in enumerate(tables):
        if len(axes) > 2:
            pen.line((MARGIN, y, whole[0] - MARGIN, y), LINE, 2)
            pen.text((MARGIN, y + GAP), _cut(f"{deep}  {table}", bold, whole[0] - 2 * MARGIN), INK, bold)
            y += line + GAP
        x0 = MARGIN + left
        pen.text((x0, y), _cut(across, text, whole[0] - x0 - MARGIN), SOFT, text)
        if len(axes) > 1:
            pen.text((MARGIN, y + line), _cut(down, text, left - GAP), SOFT, text)
        for i, label in enumerate(columns):
            pen.text((x0 + i * (width + GAP), y + line), _cut(label, bold, width), INK, bold)
        y += top
        for j, label in enumerate(rows):
            if len(axes) > 1:
                pen.text((MARGIN, y + GAP), _cut(label, bold, left - GAP), INK, bold)
            for i in range(len(columns)):
                place = (x0 + i * (width + GAP), y)
                picture = pictures.get((i, j, z)[: len(axes)])
                if picture is None:
                    pen.rectangle((*place, place[0] + width - 1, place[1] + height - 1), SUNK, LINE)
                    continue
                drawn = to_pillow(picture).convert("RGB")
                drawn.thumbnail((width, height), Pillow.Resampling.LANCZOS)
                canvas.paste(drawn, (place[0] + (width - drawn.width) // 2, y + (height - drawn.height) // 2))
            y += height + GAP
        y += GAP
    return from_pillow(canvas)


def _side(pictures: Mapping[At, Image], cells: int) -> int:
    """The longest side of a cell: that of the pictures, but a sheet stays within MOST_PIXELS."""
    longest = max((max(p.width, p.height) for p in pictures.values()), default=256)
    return max(48, min(longest, MOST_SIDE, int((MOST_PIXELS / max(1, cells)) ** 0.5)))


def _cell(pictures: Mapping[At, Image], side: int) -> tuple[int, int]:
    """Width and height that hold every picture, shrunk to `side`."""
    sizes = [
        (p.width * s, p.height * s)
        for p in pictures.values()
        for s in [min(1.0, side / max(p.width, p.height))]
    ]
    return round(max((w for w, _ in sizes), default=side)), round(max((h for _, h in sizes), default=side))


def _font(folder: Path | None, name: str, size: float, style: str = "") -> Font:
    try:
        font = ImageFont.truetype(str(folder / f"{name}.woff2"), round(size)) if folder else None
        if font is not None and style:
            font.set_variation_by_name(style)
    except OSError:
        font = None
    return font or ImageFont.load_default(round(size))


def _cut(text: str, font: Font, width: float) -> str:
    """The text, or its beginning with dots where it is longer than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
