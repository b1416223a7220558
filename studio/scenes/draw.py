"""A scene's picture and the exact masks of its objects, at any resolution."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from PIL import Image

from studio.scenes import atlas, backdrop
from studio.scenes.world import Scene, SceneObject

SHADOW = 0.36
SHADOW_COLOUR = np.array([24, 18, 44], np.float32)


def draw(scene: Scene, size: int, *, supersample: int = 2) -> np.ndarray:
    """The picture, uint8 [size, size, 3].

    Edges are antialiased from cached maps and analytic hills; `supersample` > 2 draws larger and averages.
    """
    if supersample > 2:
        return _shrink(draw(scene, size * (supersample // 2)), size)
    image = backdrop.paint(scene.background, scene.seed, size)
    for item in scene.objects:
        _put(image, item, size)
    return (np.clip(image, 0, 255) + 0.5).astype(np.uint8)


def draw_masks(scene: Scene, size: int) -> np.ndarray:
    """Which pixels show each object (paper edge included), bool [objects, size, size]."""
    masks = np.zeros((len(scene.objects), size, size), bool)
    for index, item in enumerate(scene.objects):
        (x0, y0, x1, y1), layers = _scaled(item, size)
        masks[index, y0:y1, x0:x1] = np.sum([layer for _, layer in layers[1:]], axis=0) >= 0.5
    # Boxes never overlap, so no object hides another.
    return masks


def _scaled(item: SceneObject, size: int) -> tuple[tuple[int, int, int, int], list[tuple[str, np.ndarray]]]:
    """The pixel window (x0, y0, x1, y1) and the coverage maps in it, float32 0..1, the shadow's first."""
    box = item.extent * size
    maps = atlas.maps(item.kind, item.size, item.pattern, atlas.level_for(box))
    ratio = maps.box / box
    # Half a window of the maps, a little less than all of it so that the source box stays inside.
    reach = (maps.side / 2 - 2) / ratio
    cx, cy = item.cx * size, item.cy * size
    x0, x1 = max(0, ceil(cx - reach)), min(size, floor(cx + reach))
    y0, y1 = max(0, ceil(cy - reach)), min(size, floor(cy + reach))
    middle = maps.side / 2
    source = tuple(
        middle + (edge - centre) * ratio for edge, centre in ((x0, cx), (y0, cy), (x1, cx), (y1, cy))
    )
    shape = (x1 - x0, y1 - y0)
    named = [("shadow", maps.shadow), *zip(maps.roles, maps.layers, strict=True)]
    scaled = [
        (role, np.asarray(layer.resize(shape, Image.Resampling.HAMMING, box=source), np.float32) / 255)
        for role, layer in named
    ]
    return (x0, y0, x1, y1), scaled


def _put(image: np.ndarray, item: SceneObject, size: int) -> None:
    """Lays one object with its shadow onto the picture (float32, changed in place)."""
    (x0, y0, x1, y1), layers = _scaled(item, size)
    patch = image[y0:y1, x0:x1]
    patch += (SHADOW_COLOUR - patch) * (SHADOW * layers[0][1])[:, :, None]
    tones = atlas.tones(item.colour)
    rows = (np.arange(y0, y1, dtype=np.float32) + 0.5) / size
    # Light from above: a little brighter at the object's top, darker at its foot.
    light = 1.05 - 0.15 * np.clip((rows - item.cy) / item.extent + 0.5, 0, 1)[:, None, None]
    colours = np.zeros_like(patch)
    cover = np.zeros(patch.shape[:2], np.float32)
    for role, layer in layers[1:]:
        tone = np.asarray(tones[role], np.float32)
        cover += layer
        colours += layer[:, :, None] * (tone if role == atlas.PAPER else tone * light)
    patch *= 1 - np.minimum(cover, 1)[:, :, None]
    patch += colours


def _shrink(picture: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))
