"""Move a thing: exact pixels where it was and where it is now, sizes, places, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from studio.controls.moved_thing import moved_thing
from studio.errors import StudioError
from studio.values import Image, Mask

RED, BLUE = (200, 30, 20), (20, 30, 200)


def picture() -> tuple[Image, Mask]:
    """A red box, 4 wide and 2 high, at (2, 3) of a blue picture of 16 x 12."""
    pixels = np.full((12, 16, 3), BLUE, np.uint8)
    pixels[3:5, 2:6] = RED
    values = np.zeros((12, 16), np.float32)
    values[3:5, 2:6] = 1
    return Image(pixels), Mask(values)


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask.values > 0.5)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize("around", ["plain", "picture"])
def test_it_stands_at_its_new_place_and_nowhere_else(around: str) -> None:
    image, mask = picture()
    made, now = moved_thing(image, mask, right=0.5, down=0.25, around=around)
    assert box_of(now) == (10, 6, 14, 8)
    red = (made.pixels == RED).all(-1)
    assert np.array_equal(red, now.values == 1) and (made.pixels[~red] == BLUE).all()


def test_around_says_whether_the_old_picture_stays() -> None:
    image, mask = picture()
    pixels = np.array(image.pixels)
    pixels[10:, :4] = 255
    image = Image(pixels)
    plain, _ = moved_thing(image, mask, right=0.3)
    kept, _ = moved_thing(image, mask, right=0.3, around="picture")
    assert (plain.pixels[10:, :4] == BLUE).all() and (kept.pixels[10:, :4] == 255).all()


def test_not_moved_is_the_picture_itself() -> None:
    image, mask = picture()
    made, now = moved_thing(image, mask, around="picture")
    assert made is image and now is mask
    alone, now = moved_thing(image, mask)
    assert np.array_equal(alone.pixels, image.pixels) and np.array_equal(now.values, mask.values)


def test_it_is_fitted_into_a_place_of_any_size_with_its_proportions() -> None:
    image, mask = picture()
    where = np.zeros((24, 32), np.float32)
    where[4:20, 16:32] = 1
    _, now = moved_thing(image, mask, where=Mask(where))
    # the place is 8 x 8 pixels of the picture at (8, 2): the box of 4 x 2 becomes 8 x 4, in its middle
    assert box_of(now) == (8, 4, 16, 8)
    _, smaller = moved_thing(image, mask, where=Mask(where), size=0.5)
    assert box_of(smaller) == (10, 5, 14, 7)


def test_a_soft_edge_stays_soft() -> None:
    image, mask = picture()
    values = np.array(mask.values)
    values[3, 2:6] = 0.5
    _, now = moved_thing(image, Mask(values), right=0.25)
    assert np.allclose(now.values[3, 6:10], 0.5, atol=0.01) and (now.values[4, 6:10] == 1).all()


def test_a_part_outside_is_cut_off() -> None:
    image, mask = picture()
    _, now = moved_thing(image, mask, right=-0.25)
    assert box_of(now) == (0, 3, 2, 5)


@pytest.mark.parametrize(
    ("changed", "says", "socket"),
    [
        ({"right": 1.0}, "outside of the picture", "right"),
        ({"down": -1.0}, "outside of the picture", "down"),
        ({"mask": Mask(np.zeros((12, 16), np.float32))}, "mask is empty", "mask"),
        ({"mask": Mask(np.ones((12, 16), np.float32))}, "whole picture", "mask"),
        ({"mask": Mask(np.ones((4, 4), np.float32))}, "4x4 pixels, the picture 16x12", "mask"),
        ({"where": Mask(np.zeros((4, 4), np.float32))}, "mask is empty", "where"),
    ],
)
def test_what_cannot_be_moved_is_refused(changed: dict[str, object], says: str, socket: str) -> None:
    image, mask = picture()
    with pytest.raises(StudioError, match=says) as caught:
        moved_thing(image, changed.pop("mask", mask), **changed)  # type: ignore[arg-type]
    assert caught.value.socket == socket
