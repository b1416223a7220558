"""The background's class, and what stands before it.

A picture's background is the sky or one of a few sheets of paper, each with a known colour per row. A pixel's
distance from the nearest of them, shadows allowed, tells background from object; the light paper edge closes
the outline of an object whose own colour is the background's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageFilter

from studio.scenes.atlas import PAPER, tones
from studio.scenes.backdrop import BACKDROPS, ramp
from studio.scenes.components import closed, eroded, fill_holes, opened
from studio.scenes.draw import SHADOW_COLOUR

# How far (share of the way to the shadow's colour) a background pixel may be darkened.
DARKEST = 0.42
# Slack of the rows in which a sheet may show.
_SLACK = 0.05
SHEET_SHADE = 0.86
# A pixel stands before the background from this share of the paper's contrast on, at least `_LEAST` RGB units
# and at most `_SURE`; the outline lies where `_HALF` of the paper is left.
_EDGE_LEVEL = 0.3
_LEAST = 14.0
_SURE = 36.0
_HALF = 0.42
_RIM = 2
_SMOOTH = 0.7


@dataclass(frozen=True)
class Guess:
    """How to tell objects from the background.

    A blurred paper edge may take the background's tone, but it is steep: a pixel that changes by `steep` and
    is `apart` from the background counts as object. Lines and specks up to 2 `thin` pixels wide are none.
    """

    steep: float
    apart: float
    thin: int


# Hills are steep, too, so one guess goes without; a star of the night may touch an object, so one takes
# thicker specks away.
GUESSES = (Guess(35, 12, 2), Guess(1e9, 0, 2), Guess(24, 9, 2), Guess(35, 12, 4))


@dataclass(frozen=True)
class Foreground:
    """What stands before the background.

    `tone` float32 [H, W, 3] is the background's colour at each pixel, `distance` [H, W] how far the picture
    is from it, `contrast` [H, W] how far paper would be, `steep` [H, W] how much the picture changes there.
    """

    background: str
    tone: np.ndarray
    distance: np.ndarray
    contrast: np.ndarray
    steep: np.ndarray

    def mask(self, guess: Guess = GUESSES[0]) -> np.ndarray:
        """The objects with everything that they enclose, bool [H, W]."""
        raw = self.distance > np.clip(_EDGE_LEVEL * self.contrast, _LEAST, _SURE)
        raw |= (self.steep > guess.steep) & (self.distance > guess.apart)
        wide = opened(fill_holes(closed(raw, 1)), guess.thin)
        # On a dark background a faint rest of the paper edge is `raw`: the outline is where half is left.
        return wide & ((self.distance > _HALF * self.contrast) | eroded(wide, _RIM))


@cache
def _sheets(name: str, rows: int) -> tuple[tuple[int, int, np.ndarray, float], ...]:
    """The sky and the layers as (first row, last row, colours [rows, 3], extra light)."""
    backdrop = BACKDROPS[name]
    x = np.linspace(0, 1, 97)
    draws = np.random.default_rng(0).random((200, 2))
    lines = [np.array([layer.line(x, r) for r in draws]) for layer in backdrop.layers]
    tops = [0.0, *(float(line.min()) - _SLACK for line in lines)]
    bottoms = [*(float(line.max()) + _SLACK for line in lines), 1.0]
    colours = [
        ramp(backdrop.sky, 0.0, 0.8, rows)[:, 0],
        *(ramp((layer.top, layer.bottom), layer.start, 1.0, rows)[:, 0] for layer in backdrop.layers),
    ]
    light = [24.0 if name == "underwater" else 0.0] + [0.0] * len(lines)
    return tuple(
        (max(0, int(top * rows)), min(rows, int(np.ceil(bottom * rows))), colour, extra)
        for top, bottom, colour, extra in zip(tops, bottoms, colours, light, strict=True)
    )


def background_distance(picture: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance [H, W] from background `name`, and its tone [H, W, 3], for float32 RGB [H, W, 3]."""
    height, width = picture.shape[:2]
    best = np.full((height, width), 1e9, np.float32)
    tone = np.zeros_like(picture)
    sheets = _sheets(name, height)
    for first, last, colours, extra in sheets:
        colour = colours[first:last, None, :]
        start = colour + extra
        distance = from_segment(picture[first:last], start, colour + (SHADOW_COLOUR - colour) * DARKEST)
        nearer = distance < best[first:last]
        best[first:last][nearer] = distance[nearer]
        tone[first:last][nearer] = np.broadcast_to(colour, (*distance.shape, 3))[nearer]
    # Where one sheet ends on another a blurred picture mixes both, the rear one in the front one's shadow.
    for (_, last, rear, _), (first, _, near, _) in pairwise(sheets):
        rows = slice(first, max(first, last))
        distance = from_segment(picture[rows], SHEET_SHADE * rear[rows, None, :], near[rows, None, :])
        np.minimum(best[rows], distance, out=best[rows])
    return best, tone


def from_segment(picture: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Squared distance [H, W] of RGB [H, W, 3] from the segments between colours (any shape that fits)."""
    way = stop - start
    part = picture - start
    along = np.clip((part * way).sum(-1) / np.maximum((way * way).sum(-1), 1e-3), 0, 1)
    part -= along[:, :, None] * way
    return np.einsum("hwc,hwc->hw", part, part)


def background_of(picture: np.ndarray) -> str:
    """The background class of float32 RGB [H, W, 3] (a small picture is enough)."""
    costs = {}
    for name in BACKDROPS:
        distance = np.sqrt(background_distance(picture, name)[0])
        costs[name] = float(np.minimum(distance, 45).mean())
    return min(costs, key=lambda name: costs[name])


def _steepness(picture: np.ndarray) -> np.ndarray:
    """The largest change of any channel across two pixels, [H, W]."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = np.abs(padded[1:-1, 2:] - padded[1:-1, :-2])
    down = np.abs(padded[2:, 1:-1] - padded[:-2, 1:-1])
    return np.maximum(across, down).max(-1)


def foreground(picture: np.ndarray) -> Foreground:
    """Separates objects from the background in float32 RGB [H, W, 3]."""
    name = background_of(picture[::4, ::4])
    sharp = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    smooth = np.asarray(sharp.filter(ImageFilter.GaussianBlur(_SMOOTH)), np.float32)
    squared, tone = background_distance(smooth, name)
    distance = np.sqrt(squared)
    paper = np.asarray(tones("white")[PAPER], np.float32)
    contrast = np.sqrt(((paper - tone) ** 2).sum(-1))
    return Foreground(name, tone, distance, contrast, _steepness(smooth))
