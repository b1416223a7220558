"""Panels: the squarest grid, prompts that name each panel, references exact, and an exact way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import StudioError
from studio.layout.panels import (
    MOST_PANELS,
    PanelGrid,
    fit_panel,
    grid_for,
    make_grid,
    output_mask,
    panel_prompt,
    paste_back,
    split,
    start_sheet,
)
from studio.scenes.wanted import parse
from studio.values import Image


def picture(seed: int, width: int, height: int, channels: int = 3) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


@pytest.mark.parametrize(
    ("panels", "width", "height", "shape"),
    [
        (1, 64, 64, (1, 1)),
        (2, 64, 64, (1, 2)),
        (2, 128, 64, (2, 1)),
        (3, 64, 64, (1, 3)),
        (4, 64, 64, (2, 2)),
        (4, 64, 256, (1, 4)),
        (6, 64, 64, (2, 3)),
        (6, 64, 48, (3, 2)),
        (7, 64, 64, (1, 7)),
        (9, 64, 64, (3, 3)),
        (12, 64, 64, (3, 4)),
    ],
)
def test_the_grid_is_the_squarest_that_uses_every_cell(
    panels: int, width: int, height: int, shape: tuple[int, int]
) -> None:
    grid = grid_for(panels, width, height)
    assert (grid.rows, grid.columns) == shape
    assert grid.size == (shape[1] * width, shape[0] * height)


@pytest.mark.parametrize("panels", range(1, MOST_PANELS + 1))
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 200)])
def test_no_other_shape_is_squarer(panels: int, size: tuple[int, int]) -> None:
    grid = grid_for(panels, *size)

    def stretch(rows: int) -> float:
        wide, high = size[0] * panels // rows, size[1] * rows
        return max(wide / high, high / wide)

    assert grid.count == panels
    assert stretch(grid.rows) == min(stretch(rows) for rows in range(1, panels + 1) if panels % rows == 0)
    assert len(set(grid.names)) == panels


@pytest.mark.parametrize(
    ("panels", "width", "references"), [(0, 64, 0), (13, 64, 0), (2, 0, 0), (2, 64, 2), (2, 64, -1)]
)
def test_impossible_sheets_are_refused(panels: int, width: int, references: int) -> None:
    with pytest.raises(StudioError) as caught:
        grid_for(panels, width, 64, references)
    assert caught.value.message


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 40), st.integers(1, 40), st.sampled_from([3, 4]), st.integers(0, 99)
)
def test_a_sheet_splits_into_what_it_was_made_of_bit_for_bit(
    panels: int, width: int, height: int, channels: int, seed: int
) -> None:
    grid = grid_for(panels, width, height)
    pictures = tuple(picture(seed + k, width, height, channels) for k in range(panels))
    sheet = make_grid(pictures, grid)
    assert split(sheet, grid) == pictures
    assert make_grid(split(sheet, grid), grid) == sheet
    assert (sheet.width, sheet.height) == grid.size


def test_pictures_of_another_size_or_number_are_refused() -> None:
    grid = grid_for(2, 32, 32)
    for pictures in ([picture(0, 32, 32)], [picture(0, 32, 32), picture(1, 32, 16)],
                     [picture(0, 32, 32), picture(1, 32, 32, 4)]):  # fmt: skip
        with pytest.raises(StudioError):
            make_grid(pictures, grid)
    with pytest.raises(StudioError, match="64x32"):
        split(picture(0, 32, 32), grid)
    with pytest.raises(StudioError):
        start_sheet(grid, [picture(0, 8, 8)])


def test_prompts_name_the_panels() -> None:
    two = grid_for(2, 64, 64)
    assert panel_prompt(two, ["a cat", "a dog"], "one style") == (
        "[TWO-PANEL] one style [LEFT] a cat [RIGHT] a dog"
    )
    assert panel_prompt(grid_for(2, 128, 64), ["a", "b"]) == "[TWO-PANEL] [TOP] a [BOTTOM] b"
    six = panel_prompt(grid_for(6, 64, 64), list("abcdef"))
    assert six == (
        "[SIX-PANEL] [TOP-LEFT] a [TOP-MIDDLE] b [TOP-RIGHT] c"
        " [BOTTOM-LEFT] d [BOTTOM-MIDDLE] e [BOTTOM-RIGHT] f"
    )
    assert "[PANEL-5] e" in panel_prompt(grid_for(8, 64, 64), list("abcdefgh"))
    with pytest.raises(StudioError):
        panel_prompt(two, ["a"])


def test_a_single_panel_is_a_plain_call() -> None:
    grid = grid_for(1, 64, 48)
    for tags in (True, False):
        assert panel_prompt(grid, ["a red star, at night."], tags=tags) == "a red star, at night."
    made = picture(0, 64, 48)
    assert make_grid([made], grid) == made
    assert split(made, grid) == (made,)
    assert output_mask(grid).values.min() == 1.0


def test_plain_words_are_read_by_the_scene_world() -> None:
    text = panel_prompt(grid_for(2, 128, 256), ["a red star", "a blue house."], "at night", tags=False)
    assert text == "a red star on the left and a blue house on the right, at night"
    rows = panel_prompt(grid_for(3, 128, 64), ["a", "b", "c"], tags=False)
    assert rows == "a at the top, b in the middle and c at the bottom"
    nine = panel_prompt(grid_for(9, 64, 64), list("abcdefghi"), tags=False)
    assert nine.startswith("a at the top left, b at the top, c") and "e in the middle, f on the right" in nine
    assert "d in panel 4" in panel_prompt(grid_for(8, 64, 64), list("abcdefgh"), tags=False)
    wanted = parse(text)
    assert [(item.kind, item.colour, item.place) for item in wanted.objects] == [
        ("star", "red", "left"), ("house", "blue", "right"),
    ]  # fmt: skip
    assert wanted.background == "night"


def test_references_come_first_and_back_exactly() -> None:
    grid = grid_for(4, 32, 24, references=2)
    given_pictures = [picture(1, 32, 24), picture(2, 64, 24)]
    start = start_sheet(grid, given_pictures)
    cells = split(start, grid)
    assert cells[0] == given_pictures[0]
    assert (cells[2].pixels == 127).all() and (cells[3].pixels == 127).all()
    mask = output_mask(grid).values
    assert mask.shape == (48, 64)
    for k in range(4):
        x, y = grid.corner(k)
        assert (mask[y : y + 24, x : x + 32] == (k >= 2)).all()
    painted = picture(9, 64, 48)
    pasted = split(paste_back(painted, start, grid), grid)
    assert pasted[:2] == cells[:2]
    assert pasted[2:] == split(painted, grid)[2:]
    assert paste_back(painted, start, grid_for(4, 32, 24)) is painted


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_a_picture_fits_a_panel_whole_on_its_mean_colour(w: int, h: int, width: int, height: int) -> None:
    plain = Image(np.full((h, w, 3), (10, 200, 30), np.uint8))
    assert (fit_panel(plain, width, height).pixels == (10, 200, 30)).all()
    fitted = fit_panel(picture(3, w, h, 4), width, height)
    assert fitted.pixels.shape == (height, width, 3)


def test_padding_has_the_mean_of_the_resized_picture() -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[:, :10] = 100
    fitted = fit_panel(Image(pixels), 20, 20)
    assert (fitted.pixels[:5] == 50).all() and (fitted.pixels[15:] == 50).all()
    assert (fitted.pixels[5:15] == pixels).all()


def test_a_grid_is_a_value() -> None:
    assert grid_for(4, 8, 8) == PanelGrid(2, 2, 8, 8)
    assert hash(grid_for(4, 8, 8)) == hash(PanelGrid(2, 2, 8, 8))
