"""The judge is right about drawn scenes, clean and damaged, and about nothing being there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from studio.scenes.atlas import DOT_PITCH, STRIPE_PERIOD, dots, stripes, tones
from studio.scenes.detect import Detection, detect
from studio.scenes.draw import draw, draw_masks
from studio.scenes.world import BACKGROUNDS, COLOURS, KINDS, PLACES, SIZES, Scene, SceneObject, sample_scene

PROPERTIES = ("kind", "colour", "pattern", "size", "place")


def wrong(scene: Scene, detection: Detection) -> list[str]:
    """What the judge got wrong, in words; spurious objects too."""
    faults = [] if detection.background == scene.background else [f"background {detection.background}"]
    left = list(detection.objects)
    for item in scene.objects:
        near = [o for o in left if np.hypot(o.centre[0] - item.cx, o.centre[1] - item.cy) < 0.06]
        if not near:
            faults.append(f"missing {item}")
            continue
        left = [other for other in left if other is not near[0]]
        for name in PROPERTIES:
            if getattr(near[0], name) != getattr(item, name):
                faults.append(f"{name} {getattr(near[0], name)} for {item}")
    return faults + [f"spurious {other.kind}" for other in left]


def soft(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.2)))


def half(picture: np.ndarray) -> np.ndarray:
    size = picture.shape[0]
    image = Image.fromarray(picture).resize((size // 2, size // 2), Image.Resampling.BILINEAR)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def jpeg(picture: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=20)
    return np.asarray(Image.open(file).convert("RGB"))


def noisy(picture: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 6, picture.shape)
    return np.clip(picture + noise + 0.5, 0, 255).astype(np.uint8)


def everything(picture: np.ndarray) -> np.ndarray:
    return noisy(jpeg(soft(half(picture))))


def objects_right(change: object, n: int, seed: int, size: int = 256) -> float:
    """The share of objects without a fault over `n` scenes; spurious objects and backgrounds count, too."""
    rng = np.random.default_rng(seed)
    total = faulty = 0
    for _ in range(n):
        scene = sample_scene(rng)
        faults = wrong(scene, detect(change(draw(scene, size))))  # type: ignore[operator]
        total += len(scene.objects)
        faulty += min(len(faults), len(scene.objects))
    return 1 - faulty / total


@pytest.mark.slow
def test_drawn_scenes_are_judged_right_in_99_of_100_objects() -> None:
    assert objects_right(lambda picture: picture, 60, seed=100) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("change", [jpeg, soft, noisy, half])
def test_damaged_pictures_are_judged_right_in_97_of_100_objects(change: object) -> None:
    assert objects_right(change, 16, seed=101) >= 0.97


@pytest.mark.slow
def test_pictures_with_all_damages_at_once_are_still_judged_well() -> None:
    assert objects_right(everything, 30, seed=102) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_known_in_every_size(kind: str) -> None:
    colours = list(COLOURS)
    for index, size in enumerate(SIZES):
        colour = colours[(KINDS.index(kind) + 3 * index) % len(colours)]
        item = SceneObject(kind, colour, "solid", size, "middle", *PLACES["middle"], SIZES[size])
        scene = Scene("city", (item,), index)
        assert wrong(scene, detect(draw(scene, 256))) == []


@pytest.mark.parametrize("size", [96, 128, 1024])
def test_any_size_is_judged_the_same(size: int) -> None:
    assert objects_right(lambda picture: picture, 6, seed=103, size=size) == 1


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_an_empty_scene_holds_nothing(background: str) -> None:
    found = detect(draw(Scene(background, (), 3), 256))
    assert found.objects == []
    assert found.background == background


@pytest.mark.parametrize("picture", [np.zeros((256, 256, 3)), np.full((128, 128, 3), 255)])
def test_a_picture_of_another_world_is_judged_without_a_crash(picture: np.ndarray) -> None:
    assert detect(picture.astype(np.uint8)).background in BACKGROUNDS


def test_noise_is_judged_without_a_crash() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    assert detect(picture).background in BACKGROUNDS


def test_masks_and_boxes_are_where_the_objects_are() -> None:
    rng = np.random.default_rng(8)
    for size in (256, 160):
        for _ in range(5):
            scene = sample_scene(rng)
            masks = draw_masks(scene, size)
            for found in detect(draw(scene, size)).objects:
                assert found.mask.shape == (size, size)
                overlaps = [(found.mask & mask).sum() / (found.mask | mask).sum() for mask in masks]
                assert max(overlaps) > 0.85
                item = scene.objects[int(np.argmax(overlaps))]
                assert np.abs(np.subtract(found.box, item.box)).max() < 0.02


def test_a_circle_with_a_dot_in_its_middle_is_no_ring() -> None:
    for index, background in enumerate(BACKGROUNDS):
        for kind in ("circle", "ring"):
            item = SceneObject(kind, "white", "dotted", "small", "top", *PLACES["top"], SIZES["small"])
            scene = Scene(background, (item,), index)
            assert wrong(scene, detect(draw(scene, 256))) == []


def test_a_rings_mask_leaves_its_hole_out() -> None:
    item = SceneObject("ring", "blue", "solid", "large", "middle", *PLACES["middle"], SIZES["large"])
    found = detect(draw(Scene("snow", (item,), 1), 256)).objects[0]
    assert found.kind == "ring"
    assert not found.mask[124:132, 124:132].any()


@pytest.mark.parametrize("pattern", ["striped", "dotted"])
def test_a_pattern_out_of_step_is_still_that_pattern(pattern: str) -> None:
    # A model's stripes and dots may lie anywhere, so they are painted here at other places than `draw` does.
    item = SceneObject("square", "blue", "solid", "large", "middle", *PLACES["middle"], SIZES["large"])
    plain = draw(Scene("day", (item,), 1), 256)
    inside = np.zeros((256, 256), bool)
    inside[84:172, 84:172] = True
    grid = np.arange(256, dtype=np.float32)
    for shift in (0, 5, 11):
        x, y = grid[None, :] + shift, grid[:, None] - shift / 2
        if pattern == "striped":
            second = stripes(x, y, STRIPE_PERIOD["large"] * 256)
        else:
            second = dots(x, y, DOT_PITCH["large"] * 256)
        picture = plain.copy()
        picture[inside & second] = np.array(tones("blue")["tone"], np.uint8)
        assert [found.pattern for found in detect(picture).objects] == [pattern]


def test_only_8_bit_colour_pictures_are_taken() -> None:
    with pytest.raises(ValueError, match="uint8"):
        detect(np.zeros((64, 64, 3), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        detect(np.zeros((64, 64), np.uint8))


def test_the_answer_repeats() -> None:
    picture = draw(sample_scene(np.random.default_rng(12), 3), 256)
    first, second = detect(picture), detect(picture)
    assert [(o.kind, o.box, o.confidence) for o in first.objects] == [
        (o.kind, o.box, o.confidence) for o in second.objects
    ]
