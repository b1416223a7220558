"""Draws the icons of the installed app from the shapes of weft.svg: python assets/icons/draw.py [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
GROUND, WARP, WEFT = "#b5431d", "#f2b899", "#fff7ee"
# (colour, width, points) in the 64 x 64 of weft.svg, in drawing order
LINES = (
    *((WARP, 7, ((x, 13), (x, 51))) for x in (19, 32, 45)),
    *((WEFT, 7, ((a, y), (b, y))) for y in (22, 42) for a, b in ((12, 25), (39, 52))),
    *((WEFT, 7, ((a, 32), (b, 32))) for a, b in ((25, 39), (12, 13), (51, 52))),
)
FINE = 4  # drawn larger, then made smaller: smooth edges


def draw(side: int, *, maskable: bool = False) -> Image.Image:
    """The icon with `side` pixels. `maskable`: ground to the edges, the sign within the inner 80 %, so that a
    system may cut it to any shape."""
    size = side * FINE
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    unit = size / 64
    if maskable:
        pen.rectangle((0, 0, size, size), fill=GROUND)
    else:
        pen.rounded_rectangle((0, 0, size - 1, size - 1), radius=15 * unit, fill=GROUND)
    shrink = 0.72 if maskable else 1.0

    def at(value: float) -> float:
        return (32 + (value - 32) * shrink) * unit

    for colour, width, points in LINES:
        half = width * shrink * unit / 2
        (x0, y0), (x1, y1) = ((at(x), at(y)) for x, y in points)
        pen.rounded_rectangle((x0 - half, y0 - half, x1 + half, y1 + half), radius=half, fill=colour)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


ICONS = {"icon-192.png": (192, False), "icon-512.png": (512, False), "icon-maskable-512.png": (512, True)}


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, (side, maskable) in ICONS.items():
        draw(side, maskable=maskable).save(folder / name, optimize=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
