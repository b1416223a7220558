"""What each kind looks like in its box: silhouettes to compare with, and the regions of its tones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image

from studio.scenes import atlas
from studio.scenes.components import fill_holes
from studio.scenes.world import KINDS, SIZES

GRID = 44
_INNER = 36
_LEVEL = 96


@dataclass(frozen=True)
class Bank:
    """Silhouettes float32 [n, GRID * GRID], each of kind `kinds[i]`."""

    kinds: tuple[str, ...]
    silhouettes: np.ndarray


def normalised(mask: np.ndarray) -> np.ndarray:
    """A silhouette (bool [H, W], no empty borders) in the grid's middle, its larger side `_INNER` long."""
    height, width = mask.shape
    scale = _INNER / max(height, width)
    reach = GRID / 2 / scale
    pad = int(np.ceil(reach)) + 1
    padded = Image.fromarray(np.pad(mask, pad).astype(np.uint8) * 255)
    cx, cy = pad + width / 2, pad + height / 2
    box = (cx - reach, cy - reach, cx + reach, cy + reach)
    return np.asarray(padded.resize((GRID, GRID), Image.Resampling.BILINEAR, box=box), np.float32) / 255


def crop(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box (x0, y0, x1, y1) of a bool [H, W] mask's true pixels, in pixels."""
    rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@cache
def bank(size: str) -> Bank:
    """Filled silhouettes of all kinds of a size, with and without the paper edge.

    A blurred picture of a dark object on a light background loses the edge: it takes the background's tone.
    """
    kinds, silhouettes = [], []
    for kind in KINDS:
        maps = atlas.maps(kind, size, "solid", _LEVEL)
        layers = dict(zip(maps.roles, (np.asarray(layer, np.float32) for layer in maps.layers), strict=True))
        whole = sum(layers.values())
        for solid in (whole, whole - layers[atlas.PAPER]):
            mask = fill_holes(np.asarray(solid) > 127)
            x0, y0, x1, y1 = crop(mask)
            kinds.append(kind)
            silhouettes.append(normalised(mask[y0:y1, x0:x1]).ravel())
    return Bank(tuple(kinds), np.stack(silhouettes))


def compare(silhouette: np.ndarray, size: str) -> dict[str, float]:
    """How well a grid silhouette [GRID, GRID] fits each kind: soft intersection over union, 0..1."""
    known = bank(size)
    best = np.zeros(len(known.kinds), np.float32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            moved = np.roll(silhouette, (dy, dx), (0, 1)).ravel()
            both = np.minimum(known.silhouettes, moved).sum(1)
            either = np.maximum(known.silhouettes, moved).sum(1)
            best = np.maximum(best, both / either)
    fits: dict[str, float] = {}
    for kind, fit in zip(known.kinds, best.tolist(), strict=True):
        fits[kind] = max(fits.get(kind, 0.0), fit)
    return fits


@lru_cache(maxsize=512)
def _region_maps(kind: str, size: str) -> dict[str, np.ndarray]:
    """Coverage (uint8) of each tone and of the whole, cropped to the box."""
    maps = atlas.maps(kind, size, "solid", _LEVEL)
    layers = {role: np.asarray(layer) for role, layer in zip(maps.roles, maps.layers, strict=True)}
    whole = np.sum([layer.astype(np.int32) for layer in layers.values()], axis=0)
    layers["whole"] = np.minimum(whole, 255).astype(np.uint8)
    x0, y0, x1, y1 = crop(whole > 127)
    return {role: np.ascontiguousarray(layer[y0:y1, x0:x1]) for role, layer in layers.items()}


def region(kind: str, size: str, role: str, shape: tuple[int, int]) -> np.ndarray:
    """Where a kind shows a tone ("whole": any of them), 0..1 float32 [H, W], for a box of `shape` (H, W)."""
    found = _region_maps(kind, size).get(role)
    if found is None:
        return np.zeros(shape, np.float32)
    image = Image.fromarray(found).resize(shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / 255


@lru_cache(maxsize=64)
def pattern_waves(pattern: str, size: str, side: int) -> np.ndarray:
    """Where the second tone lies on a box of `side` pixels, at many phases: bool [n, side, side]."""
    scale = side / SIZES[size]
    grid = np.arange(side, dtype=np.float32) - (side - 1) / 2
    x, y = grid[None, :], grid[:, None]
    found = []
    if pattern == "striped":
        period = atlas.STRIPE_PERIOD[size] * scale
        for phase in np.arange(8) / 8:
            found.append(atlas.stripes(x, y, period, float(phase)))
    else:
        pitch = atlas.DOT_PITCH[size] * scale
        for across in np.arange(6) / 6:
            for down in np.arange(6) / 6:
                found.append(atlas.dots(x + across * pitch, y + down * 2 * 0.866 * pitch, pitch))
    return np.stack([np.broadcast_to(wave, (side, side)) for wave in found])
