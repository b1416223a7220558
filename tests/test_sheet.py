"""sheet.py: where pictures lie on a sheet, what stays empty, and that it stays within its size."""

from __future__ import annotations

import numpy as np
import pytest

from studio.settings import ROOT
from studio.sheet import MOST_PIXELS, sheet
from studio.values import Image

FONTS = ROOT / "assets" / "ui" / "fonts"
RED, BLUE, SUNK = (200, 10, 10), (10, 10, 200), (0xEC, 0xE5, 0xD8)


def plain(colour, width=64, height=64) -> Image:
    return Image(np.full((height, width, 3), colour, np.uint8))


def places(drawn: Image, colour) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a colour."""
    y, x = np.nonzero((drawn.pixels[..., :3] == colour).all(-1))
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


@pytest.mark.parametrize("fonts", [FONTS, None, ROOT / "nowhere"], ids=["page", "none", "missing"])
def test_pictures_lie_in_their_column_and_row_whole(fonts):
    axes = [("Steps", ["4", "8"]), ("Seed", ["1", "2"])]
    drawn = sheet({(0, 0): plain(RED), (1, 1): plain(BLUE)}, axes, title="a red star", fonts=fonts)
    red, blue = places(drawn, RED), places(drawn, BLUE)
    assert red[2] - red[0] == red[3] - red[1] == blue[2] - blue[0] == 64
    assert blue[0] >= red[2] and blue[1] >= red[3]
    middle = drawn.pixels[(red[1] + red[3]) // 2, (blue[0] + blue[2]) // 2]
    assert tuple(middle[:3]) == SUNK, "what is not made stays an empty frame"


def test_labels_are_drawn_where_there_are_some():
    with_words = sheet({(0,): plain(RED)}, [("Steps", ["4"])], fonts=FONTS)
    without = sheet({(0,): plain(RED)}, [("", [""])], fonts=FONTS)
    assert with_words.pixels.shape == without.pixels.shape
    top = places(with_words, RED)[1]
    assert (with_words.pixels[:top] != without.pixels[:top]).any()
    assert (with_words.pixels[top:] == without.pixels[top:]).all()


def test_a_third_axis_gives_a_table_below():
    axes = [("A", ["1"]), ("B", ["1"]), ("C", ["1", "2"])]
    drawn = sheet({(0, 0, 0): plain(RED), (0, 0, 1): plain(BLUE)}, axes, fonts=FONTS)
    red, blue = places(drawn, RED), places(drawn, BLUE)
    assert red[0] == blue[0] and blue[1] > red[3]


def test_pictures_of_other_shapes_are_not_cropped_and_large_ones_shrink():
    drawn = sheet({(0,): plain(RED, 64, 32), (1,): plain(BLUE, 32, 64)}, [("A", ["1", "2"])], fonts=FONTS)
    red, blue = places(drawn, RED), places(drawn, BLUE)
    assert (red[2] - red[0], red[3] - red[1]) == (64, 32) and (blue[2] - blue[0], blue[3] - blue[1]) == (
        32,
        64,
    )
    many = {(i, j): plain(RED, 2048, 2048) for i in range(2) for j in range(2)}
    large = sheet(many, [("A", [str(i) for i in range(20)]), ("B", [str(i) for i in range(40)])], fonts=FONTS)
    assert large.width * large.height < 2 * MOST_PIXELS
