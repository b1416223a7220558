"""A layout as a picture: boxes and painted regions with their names, and what the linter said below."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from studio.layout.boxes import UNDERLAY, box_of
from studio.layout.lint import Finding
from studio.layout.measures import Measures
from studio.pixels import flatten, resize, to_pillow
from studio.values import Image, Layout, Region

PAPER, INK, SOFT = (253, 250, 244), (42, 37, 32), (102, 93, 82)
MARKS = {"error": (178, 46, 38), "warning": (140, 84, 0), "note": SOFT}
_FACE = Path(__file__).resolve().parents[2] / "assets" / "ui" / "fonts" / "instrument-sans.woff2"
_LABEL, _TEXT = 14, 15
_MARGIN = 16
_NARROWEST = 448
_FILL = 0.28
_MOST_SAID = 30


def draw_layout(layout: Layout, width: int, height: int, picture: Image | None = None) -> Image:
    """The regions drawn over a picture of that size, or over paper: the later ones on top.

    Each region has its own colour, its name and the beginning of its prompt; underlays are lightly filled,
    locked regions have a double edge, regions of strength 0 are left out.
    """
    if picture is None:
        sheet = Pillow.new("RGB", (width, height), PAPER)
    else:
        sheet = to_pillow(resize(flatten(picture), width, height))
    labels = []
    for index, region in enumerate(layout.regions):
        if region.strength <= 0:
            continue
        colour = region_colour(index)
        box = _pixels(region, width, height)
        sheet = _filled(sheet, region, box, colour)
        pen = ImageDraw.Draw(sheet)
        pen.rectangle(box, outline=colour, width=2)
        if region.locked:
            pen.rectangle(
                (box[0] + 4, box[1] + 4, box[2] - 4, box[3] - 4) if _roomy(box) else box, outline=colour
            )
        labels.append((region, box, colour))
    pen = ImageDraw.Draw(sheet)
    for region, box, colour in labels:
        _label(pen, region, box, colour, width, height)
    return Image(np.asarray(sheet, dtype=np.uint8))


def draw_report(
    layout: Layout,
    findings: Sequence[Finding],
    measures: Measures,
    width: int,
    height: int,
    picture: Image | None = None,
) -> Image:
    """The drawn layout with the findings and the measures written below; never narrower than 448 pixels."""
    drawn = to_pillow(draw_layout(layout, width, height, picture))
    wide = max(width, _NARROWEST)
    letters = max((wide - 2 * _MARGIN) // 8, 20)
    lines: list[tuple[str, tuple[int, int, int]]] = []
    for finding in findings[:_MOST_SAID]:
        for n, line in enumerate(textwrap.wrap(f"{finding.message} {finding.hint}", letters - 2)):
            lines.append((line if n else f"• {line}", MARKS[finding.level]))
    if len(findings) > _MOST_SAID:
        lines.append((f"… and {len(findings) - _MOST_SAID} more.", SOFT))
    lines = lines or [("Nothing to mend.", INK)]
    lines += [(line, SOFT) for line in textwrap.wrap(measures_line(measures), letters)]
    step = round(_TEXT * 1.4)
    sheet = Pillow.new("RGB", (wide, height + 2 * _MARGIN + step * len(lines)), PAPER)
    sheet.paste(drawn, ((wide - width) // 2, 0))
    pen = ImageDraw.Draw(sheet)
    for n, (line, colour) in enumerate(lines):
        pen.text((_MARGIN, height + _MARGIN + n * step), line, fill=colour, font=_font(_TEXT))
    return Image(np.asarray(sheet, dtype=np.uint8))


def measures_line(measures: Measures) -> str:
    """The measures in one line, those that were taken."""
    names = {"val": "Val", "ove": "Ove", "ali": "Ali", "und_l": "Und_l", "und_s": "Und_s", "uti": "Uti",
             "occ": "Occ", "rea": "Rea"}  # fmt: skip
    values = measures.as_json()
    return "   ".join(
        f"{shown} {values[name]:.3f}" for name, shown in names.items() if values[name] is not None
    )


def report_text(findings: Sequence[Finding], measures: Measures) -> str:
    """The same as text, one line for each finding."""
    lines = [f"{finding.level.capitalize()}: {finding.message} {finding.hint}" for finding in findings]
    return "\n".join([*(lines or ["Nothing to mend."]), measures_line(measures)])


def region_colour(index: int) -> tuple[int, int, int]:
    """A colour for each region, far from those before it (the golden angle around the hues)."""
    red, green, blue = colorsys.hls_to_rgb((0.58 + index * 0.381966) % 1, 0.40, 0.55)
    return round(red * 255), round(green * 255), round(blue * 255)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.truetype(_FACE, size, layout_engine=ImageFont.Layout.BASIC)
    except OSError:  # a Pillow that reads no woff2
        return ImageFont.load_default(size)


def _pixels(region: Region, width: int, height: int) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box_of(region)
    left, right = sorted((round(x0 * width), round(x1 * width) - 1))
    top, bottom = sorted((round(y0 * height), round(y1 * height) - 1))
    return left, top, max(right, left), max(bottom, top)


def _roomy(box: tuple[int, int, int, int]) -> bool:
    return box[2] - box[0] > 10 and box[3] - box[1] > 10


def _filled(
    sheet: Pillow.Image, region: Region, box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> Pillow.Image:
    share = _FILL / 2 if region.role == UNDERLAY else _FILL
    if region.mask is None:
        where = Pillow.new("L", sheet.size, 0)
        ImageDraw.Draw(where).rectangle(box, fill=round(255 * share))
    else:
        painted = Pillow.fromarray((region.mask.values * 255 * share).astype(np.uint8))
        where = painted.resize(sheet.size, Pillow.Resampling.BILINEAR)
    return Pillow.composite(Pillow.new("RGB", sheet.size, colour), sheet, where)


def _label(
    pen: ImageDraw.ImageDraw,
    region: Region,
    box: tuple[int, int, int, int],
    colour: tuple[int, int, int],
    width: int,
    height: int,
) -> None:
    face = _font(_LABEL)
    name = region.name or region.id
    room = box[2] - box[0] - 10
    text = f"{name}: {region.prompt}" if region.prompt and region.prompt != name else name
    text = text[: max(len(name), room // 3)]
    while len(text) > len(name) and pen.textlength(text, font=face) > room:
        text = text[:-2].rstrip() + "…" if len(text) - 2 > len(name) + 3 else name
    long = pen.textlength(text, font=face)
    x = min(max(box[0], 0), max(0, round(width - long - 10)))
    y = min(max(box[1], 0), max(0, height - _LABEL - 8))
    pen.rectangle((x, y, x + long + 9, y + _LABEL + 7), fill=colour)
    pen.text((x + 5, y + 2), text, fill=(255, 255, 255), font=face)
