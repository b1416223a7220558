"""The two maps of a picture: what stands out is salient, edges are busy, flat pictures are neither."""

from __future__ import annotations

import numpy as np
import pytest

from studio.layout.saliency import gradient_map, maps_of, saliency_map
from studio.scenes.draw import draw
from studio.scenes.world import sample_scene
from studio.values import Image


def picture(
    colour: tuple[int, int, int], box: tuple[int, int, int, int] | None = None, side: int = 64
) -> Image:
    pixels = np.full((side, side, 3), (120, 140, 160), np.uint8)
    if box is not None:
        x0, y0, x1, y1 = box
        pixels[y0:y1, x0:x1] = colour
    return Image(pixels)


def test_a_flat_picture_has_neither_saliency_nor_edges() -> None:
    maps = maps_of(picture((0, 0, 0)))
    assert maps.saliency.max() == 0.0
    assert maps.gradient.max() == 0.0


def test_an_odd_square_is_salient_and_its_edge_is_busy() -> None:
    maps = maps_of(picture((220, 30, 30), (16, 16, 32, 32)))
    inside = np.zeros((64, 64), bool)
    inside[16:32, 16:32] = True
    assert maps.saliency[inside].mean() > 3 * maps.saliency[~inside].mean()
    assert maps.gradient[16, 20] > 0.9
    assert maps.gradient[24, 24] == 0.0
    assert maps.gradient[50:, 50:].max() == 0.0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (700, 90)])
def test_any_size_gives_maps_between_0_and_1(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    maps = maps_of(Image(pixels))
    assert maps.saliency.shape == maps.gradient.shape
    assert max(maps.saliency.shape) <= 256
    for found in (maps.saliency, maps.gradient):
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1


def test_objects_of_scenes_stand_out() -> None:
    rng = np.random.default_rng(5)
    better = 0
    for _ in range(12):
        scene = sample_scene(rng)
        found = saliency_map(Image(draw(scene, 128)))
        inside = np.zeros(found.shape, bool)
        for item in scene.objects:
            x0, y0, x1, y1 = (round(edge * 128) for edge in item.box)
            inside[y0:y1, x0:x1] = True
        better += bool(found[inside].mean() > found[~inside].mean())
    assert better >= 11


def test_the_released_gradient_is_eight_bit_arithmetic() -> None:
    up = np.zeros((8, 8, 3), np.uint8)
    up[:, 4:] = 50
    rising, falling = Image(up), Image(up[:, ::-1].copy())
    # a falling edge is a negative slope, which 8 bits without sign cut to 0; our map sees both alike
    assert gradient_map(falling, released=True).max() == 0.0
    assert np.array_equal(gradient_map(rising)[:, ::-1], gradient_map(falling))
    # slope 4 * 50 = 200; its square wraps to 200 * 200 % 256
    assert (200 * 200) % 256 == 64
    assert gradient_map(rising, released=True).max() == 1.0


def test_the_gradient_is_sobel() -> None:
    grey = np.random.default_rng(1).integers(0, 256, (9, 11), dtype=np.uint8)
    found = gradient_map(Image(np.repeat(grey[..., None], 3, axis=2)))
    values = np.pad(grey.astype(float), 1, mode="reflect")
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    across = np.array([[(values[i : i + 3, j : j + 3] * kernel).sum() for j in range(11)] for i in range(9)])
    down = np.array([[(values[i : i + 3, j : j + 3] * kernel.T).sum() for j in range(11)] for i in range(9)])
    size = np.hypot(across, down)
    assert np.allclose(found, size / size.max(), atol=1e-5)
