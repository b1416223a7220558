"""The pictures: the same at every size, exact masks, colours that stay apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from studio.scenes.atlas import tones
from studio.scenes.draw import draw, draw_masks
from studio.scenes.shapes import ASPECTS
from studio.scenes.world import BACKGROUNDS, COLOURS, KINDS, PLACES, SIZES, Scene, SceneObject, sample_scene


def one(kind: str = "square", colour: str = "red", pattern: str = "solid", size: str = "large") -> Scene:
    item = SceneObject(kind, colour, pattern, size, "middle", *PLACES["middle"], SIZES[size])
    return Scene("day", (item,), 5)


def shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX)).astype(float)


def test_a_picture_repeats_and_its_seed_moves_only_the_background() -> None:
    scene = sample_scene(np.random.default_rng(1), 2)
    assert np.array_equal(draw(scene, 96), draw(scene, 96))
    other = replace(scene, seed=scene.seed + 1)
    changed = np.abs(draw(other, 96).astype(int) - draw(scene, 96)).max(-1) > 12
    on_objects = changed[draw_masks(scene, 96).any(0)]
    assert changed.mean() > 0.01
    # Only the half-covered pixels along the outlines let the background through.
    assert on_objects.mean() < 0.02


@pytest.mark.parametrize("size", [64, 128, 200, 512])
def test_every_size_shows_the_same_picture(size: int) -> None:
    rng = np.random.default_rng(2)
    for _ in range(6):
        scene = sample_scene(rng)
        picture = draw(scene, size)
        assert picture.shape == (size, size, 3)
        assert picture.dtype == np.uint8
        # Compared coarsely: a sharper edge is no other picture.
        assert np.abs(shrunk(picture, 16) - shrunk(draw(scene, 256), 16)).mean() < 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_covers_its_share_of_the_pixels_at_every_size(kind: str) -> None:
    shares = [draw_masks(one(kind, size="medium"), size).mean() for size in (64, 256, 512)]
    assert max(shares) < 1.06 * min(shares)


def test_masks_fill_the_boxes_and_never_overlap() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        scene = sample_scene(rng)
        masks = draw_masks(scene, 256)
        assert masks.shape == (len(scene.objects), 256, 256)
        assert masks.sum(0).max() == 1
        for item, mask in zip(scene.objects, masks, strict=True):
            rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 256
            assert np.abs(box - item.box).max() < 1.6 / 256


def test_a_mask_is_where_the_object_changed_the_picture() -> None:
    scene = sample_scene(np.random.default_rng(4), 3)
    bare = draw(replace(scene, objects=()), 256).astype(int)
    changed = np.abs(draw(scene, 256).astype(int) - bare).max(-1) > 0
    masks = draw_masks(scene, 256)
    # Outside there is only the soft shadow, which is near.
    assert changed[masks.any(0)].mean() > 0.95
    assert changed.mean() < 2.2 * masks.any(0).mean()


def test_the_ring_has_a_hole_and_the_circle_none() -> None:
    middle = (slice(120, 137), slice(120, 137))
    assert not draw_masks(one("ring"), 256)[0][middle].any()
    assert draw_masks(one("circle"), 256)[0][middle].all()


def test_silhouettes_of_all_kinds_are_different() -> None:
    masks = {kind: draw_masks(one(kind), 64)[0] for kind in KINDS}
    for first in KINDS:
        for second in KINDS[KINDS.index(first) + 1 :]:
            a, b = masks[first], masks[second]
            assert (a & b).sum() / (a | b).sum() < 0.9, (first, second)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("pattern", ["solid", "striped", "dotted"])
def test_the_named_colour_is_the_larger_part(colour: str, pattern: str) -> None:
    scene = one("square", colour, pattern)
    patch = draw(scene, 256)[92:164, 92:164].reshape(-1, 3).astype(float)
    named = np.abs(patch - COLOURS[colour]).sum(-1) < 70
    second = np.abs(patch - tones(colour)["tone"]).sum(-1) < 70
    assert named.mean() > 0.5
    if pattern == "solid":
        assert named.mean() > 0.95
    else:
        assert 0.1 < second.mean() < 0.5


def test_colours_stay_far_apart() -> None:
    values = [np.array(rgb, float) for rgb in COLOURS.values()]
    for index, first in enumerate(values):
        for second in values[:index]:
            assert np.linalg.norm(first - second) > 75


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_object_stands_out_by_its_paper_edge(background: str) -> None:
    paper = np.array(tones("red")["paper"])
    bare = draw(Scene(background, (), 9), 128).astype(float)
    # Not one background pixel is as light as paper.
    assert np.linalg.norm(bare - paper, axis=-1).min() > 25


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_background_is_calm_enough_to_learn(background: str) -> None:
    pictures = np.stack([draw(Scene(background, (), seed), 64) for seed in range(8)]).astype(float)
    assert pictures.std(0).mean() < 14


def test_more_samples_change_no_more_than_edges() -> None:
    scene = sample_scene(np.random.default_rng(6), 2)
    plain, fine = draw(scene, 128), draw(scene, 128, supersample=4)
    assert fine.shape == plain.shape
    assert np.abs(plain.astype(int) - fine).mean() < 2


def test_aspects_reach_the_box_on_the_larger_side() -> None:
    for wide, high in ASPECTS.values():
        assert max(wide, high) == pytest.approx(1)
        assert min(wide, high) > 0.5
