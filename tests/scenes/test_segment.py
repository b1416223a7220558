"""Backgrounds are told apart, and an object that has the background's colour is still found by its edge."""

from __future__ import annotations

import numpy as np
import pytest

from studio.scenes.components import fill_holes
from studio.scenes.draw import draw, draw_masks
from studio.scenes.segment import background_of, foreground
from studio.scenes.world import BACKGROUNDS, PLACES, SIZES, Scene, SceneObject


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("size", [64, 256])
def test_an_empty_picture_is_its_background_and_nothing_else(background: str, size: int) -> None:
    for seed in range(4):
        picture = draw(Scene(background, (), seed), size).astype(np.float32)
        assert background_of(picture) == background
        if size == 256:
            assert not foreground(picture).mask().any()


@pytest.mark.parametrize(
    ("colour", "background", "place"),
    [("green", "day", "bottom"), ("white", "snow", "bottom"), ("blue", "sea", "bottom"),
     ("black", "night", "top"), ("brown", "desert", "bottom"), ("orange", "sunset", "middle"),
     ("green", "forest", "bottom")],
)  # fmt: skip
def test_an_object_in_the_backgrounds_colour_is_found_whole(colour: str, background: str, place: str) -> None:
    item = SceneObject("heart", colour, "solid", "medium", place, *PLACES[place], SIZES["medium"])
    scene = Scene(background, (item,), 11)
    mask = foreground(draw(scene, 256).astype(np.float32)).mask()
    true = fill_holes(draw_masks(scene, 256)[0])
    assert (mask & true).sum() / (mask | true).sum() > 0.95
