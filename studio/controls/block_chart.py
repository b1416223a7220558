"""The four-block chart: what the picture and the words look at, block by block and step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from studio.controls.drawing import (
    HEAD,
    LABEL,
    MARGIN,
    SCALE_HIGH,
    SMALL,
    TITLE,
    draw_scale,
    text_width,
    write,
)
from studio.controls.four_block import BlockRow
from studio.controls.heat_colours import LINE, PAPER, PICTURE, SOFT, TEXT, colours
from studio.values import Image

WIDE, BAR_HIGH, CELL = 980, 150, 22
Number = Callable[[BlockRow], float]


def block_chart(rows: Sequence[BlockRow], title: str) -> Image:
    """The chart of a table: above, the mean over steps for each block; below, text in the picture's eyes and
    the picture in the words', for each block and step."""
    blocks = sorted({row.block for row in rows})
    steps = sorted({row.step for row in rows})
    cell = max(6, min(CELL, 520 // len(blocks)))
    maps_high = HEAD + 14 + cell * len(blocks) + 26
    bars_high = HEAD + 34 + BAR_HIGH + 38
    high = MARGIN + TITLE + 46 + 2 * bars_high + 20 + maps_high + 14 + SCALE_HIGH + MARGIN
    page = Pillow.new("RGB", (WIDE, high), PAPER)
    pen = ImageDraw.Draw(page)
    write(pen, (MARGIN, MARGIN), title, TITLE, 650)
    _keys(pen, (MARGIN, MARGIN + TITLE + 14), numbered=len(blocks) <= 19)
    y = MARGIN + TITLE + 46
    both: tuple[tuple[str, Number], ...] = (
        ("What the picture looks at", lambda row: row.t2i),
        ("What the words look at", lambda row: row.t2t),
    )
    for heading, on_text in both:
        shares = [fmean(on_text(row) for row in rows if row.block == block) for block in blocks]
        _bars(page, (MARGIN, y), heading, blocks, shares)
        y += bars_high
    y += 20
    half = (WIDE - 2 * MARGIN - 40) // 2
    maps: tuple[tuple[str, Number], ...] = (
        ("Picture to words, over the steps", lambda row: row.t2i),
        ("Words to picture, over the steps", lambda row: row.i2t),
    )
    top = max(number(row) for _, number in maps for row in rows) or 1.0
    for i, (heading, number) in enumerate(maps):
        at = (MARGIN + i * (half + 40), y)
        _steps(page, at, half, cell, heading, rows, blocks, steps, number, top)
    draw_scale(
        page,
        (MARGIN, y + maps_high + 14),
        420,
        ("0 %", "share of the attention that goes across", _percent(top)),
    )
    return Image(np.array(page, dtype=np.uint8))


def _keys(pen: ImageDraw.ImageDraw, at: tuple[int, int], numbered: bool) -> None:
    x, y = at
    words = "at the words (the numbers)" if numbered else "at the words"
    for colour, text in ((PICTURE, "at the picture"), (TEXT, words)):
        pen.rectangle((x, y + 2, x + 14, y + 16), fill=colour)
        x += 22 + write(pen, (x + 22, y), text, LABEL, 500) + 24


def _bars(
    page: Pillow.Image, at: tuple[int, int], heading: str, blocks: Sequence[int], on_text: Sequence[float]
) -> None:
    """One bar a block, 0..100 %: the picture's share from below, the words' above it."""
    pen = ImageDraw.Draw(page)
    write(pen, at, heading, HEAD, 600)
    left, top = at[0] + 48, at[1] + HEAD + 34
    right, bottom = page.width - MARGIN, top + BAR_HIGH
    for share in (0.0, 0.5, 1.0):
        y = round(bottom - share * BAR_HIGH)
        pen.line((left, y, right, y), fill=LINE)
        label = _percent(share)
        write(pen, (left - 8 - text_width(label, SMALL), y - 9), label, SMALL, 400, SOFT)
    pitch = (right - left) / len(blocks)
    wide = min(pitch * 0.72, 84)
    every = _every(pitch, max(blocks))
    for i, (block, share) in enumerate(zip(blocks, on_text, strict=True)):
        middle = left + (i + 0.5) * pitch
        x0, x1 = round(middle - wide / 2), round(middle + wide / 2)
        split = round(bottom - (1 - share) * BAR_HIGH)
        if split < bottom:
            pen.rectangle((x0, split, x1, bottom - 1), fill=PICTURE)
        if split > top:
            pen.rectangle((x0, top, x1, split - 1), fill=TEXT)
            pen.line((x0, split, x1, split), fill=PAPER)
        label = _percent(share)
        if text_width(label, SMALL, 600) + 4 <= pitch:
            write(pen, (round(middle - text_width(label, SMALL, 600) / 2), top - 20), label, SMALL, 600)
        if i % every == 0:
            name = f"block {block}" if text_width("block 88", SMALL) + 8 <= pitch else str(block)
            write(pen, (round(middle - text_width(name, SMALL) / 2), bottom + 6), name, SMALL, 400, SOFT)


def _steps(
    page: Pillow.Image,
    at: tuple[int, int],
    room: int,
    cell: int,
    heading: str,
    rows: Sequence[BlockRow],
    blocks: Sequence[int],
    steps: Sequence[int],
    number: Number,
    most: float,
) -> None:
    """A cell for each block (down) and step (across), 0..`most`."""
    pen = ImageDraw.Draw(page)
    write(pen, at, heading, HEAD, 600, room=room)
    left, top = at[0] + 48, at[1] + HEAD + 14
    values = np.full((len(blocks), len(steps)), np.nan)
    for row in rows:
        values[blocks.index(row.block), steps.index(row.step)] = number(row) / most
    wide = max(1, (room - 48) // len(steps)) * len(steps)
    cells = colours(np.nan_to_num(values))
    cells[np.isnan(values)] = PAPER
    shown = Pillow.fromarray(cells).resize((wide, cell * len(blocks)), Pillow.Resampling.NEAREST)
    page.paste(shown, (left, top))
    pen.rectangle((left - 1, top - 1, left + wide, top + shown.height), outline=LINE)
    for i in range(0, len(blocks), _every(cell, 0, SMALL + 4)):
        y = top + i * cell + (cell - SMALL) // 2 - 2
        label = str(blocks[i])
        write(pen, (left - 8 - text_width(label, SMALL), y), label, SMALL, 400, SOFT)
    write(pen, (at[0], top + shown.height + 5), "block", SMALL, 400, SOFT)
    last = f"step {steps[-1] + 1}"
    write(pen, (left, top + shown.height + 5), f"step {steps[0] + 1}", SMALL, 400, SOFT)
    if len(steps) > 1:
        write(pen, (left + wide - text_width(last, SMALL), top + shown.height + 5), last, SMALL, 400, SOFT)


def _every(pitch: float, largest: int, needed: int = 0) -> int:
    """Which labels are drawn so that they do not touch: each, each second, ..."""
    room = needed or text_width(str(largest), SMALL) + 10
    return max(1, -(-room // max(1, int(pitch))))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"
