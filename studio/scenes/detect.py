"""The judge: from a picture to its objects and background, by classic vision only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from studio.scenes import atlas, templates
from studio.scenes.components import eroded, label
from studio.scenes.draw import SHADOW_COLOUR
from studio.scenes.segment import DARKEST, GUESSES, Foreground, foreground, from_segment
from studio.scenes.shapes import EDGE
from studio.scenes.world import COLOURS, place_of, size_of

WORK_SIZE = 256
# Components below these are stars and noise, not objects (shares of the picture's area and side).
LEAST_AREA = 0.0035
LEAST_EXTENT = 0.09
# A blurred edge shrinks boxes more often than it widens them.
EDGE_LOSS = 0.01
# Where every silhouette fits better than this, other guesses at the outlines are not looked at.
SURE_FIT = 0.91
# What covering all of a disputed area is worth, in units of fit.
AREA_WORTH = 0.15
# Below these a main part's second tone is blur and noise: its share, its spread, its likeness to a pattern.
LEAST_TONE, LEAST_SPREAD, LEAST_PATTERN_FIT = 0.07, 0.13, 0.57
_ROUND = ("circle", "ring")


@dataclass(frozen=True)
class Found:
    """An object in the picture; `box` (x0, y0, x1, y1) in 0..1, `mask` bool [H, W] at the picture's size.

    `confidence` 0..1 is how well the silhouette fits the kind.
    """

    kind: str
    colour: str
    pattern: str
    size: str
    place: str
    box: tuple[float, float, float, float]
    mask: np.ndarray
    confidence: float

    @property
    def centre(self) -> tuple[float, float]:
        """The box's centre (x, y) in 0..1."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True)
class Detection:
    """All objects, largest first, and the background's name."""

    objects: list[Found]
    background: str


def detect(picture: np.ndarray) -> Detection:
    """Finds the objects of a picture, uint8 [H, W, 3]; worked at 256 px whatever the size."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"expected uint8 [H, W, 3], got {picture.dtype} {list(picture.shape)}")
    height, width = picture.shape[:2]
    scale = WORK_SIZE / min(height, width)
    size = (round(width * scale), round(height * scale))
    image = picture
    if size != (width, height):
        image = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    work = image.astype(np.float32)
    front = foreground(work)
    parts = _parts(front.mask())
    if any(part.fit < SURE_FIT for part in parts) or not parts:
        parts = _best_parts([parts, *(_parts(front.mask(guess)) for guess in GUESSES[1:])])
    parts.sort(key=lambda part: -int(part.mask.sum()))
    return Detection([_found(work, front, part, (height, width)) for part in parts], front.background)


@dataclass(frozen=True)
class _Part:
    """A component: its mask bool [H, W], box in pixels, and the kind that its silhouette fits best."""

    mask: np.ndarray
    box: tuple[int, int, int, int]
    size: str
    kind: str
    fit: float


def _parts(mask: np.ndarray) -> list[_Part]:
    """The components of a mask that are large enough for objects."""
    labels, count = label(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    found = []
    for index in range(1, count + 1):
        if areas[index] < LEAST_AREA * WORK_SIZE**2:
            continue
        part = labels == index
        x0, y0, x1, y1 = templates.crop(part)
        extent = max(x1 - x0, y1 - y0) / WORK_SIZE
        if extent < LEAST_EXTENT:
            continue
        size = size_of(extent + EDGE_LOSS)
        fits = templates.compare(templates.normalised(part[y0:y1, x0:x1]), size)
        kind = max(fits, key=lambda name: fits[name])
        found.append(_Part(part, (x0, y0, x1, y1), size, kind, fits[kind]))
    return found


def _best_parts(guesses: list[list[_Part]]) -> list[_Part]:
    """Where guesses differ, the components of the one whose silhouettes fit best."""
    union = np.zeros_like(guesses[0][0].mask) if guesses[0] else None
    for part in (part for guess in guesses for part in guess):
        union = part.mask.copy() if union is None else union | part.mask
    if union is None:
        return []
    groups, count = label(union)
    best: list[_Part] = []
    for group in range(1, count + 1):
        area = groups == group
        size = int(area.sum())

        def worth(parts: Iterable[_Part], size: int = size) -> float:
            fits = [(part.fit, int(part.mask.sum())) for part in parts]
            covered = sum(own for _, own in fits)
            if not covered:
                return 0.0
            # A fragment may fit some kind well; what it leaves out speaks against it.
            return sum(fit * own for fit, own in fits) / covered + AREA_WORTH * covered / size

        inside = [[part for part in guess if area[part.mask].any()] for guess in guesses]
        best += max(inside, key=worth)
    return best


def _found(work: np.ndarray, front: Foreground, part: _Part, full: tuple[int, int]) -> Found:
    """The component's properties, and its mask at the picture's own size `full` (height, width)."""
    x0, y0, x1, y1 = part.box
    shape = (y1 - y0, x1 - x0)
    window = (slice(y0, y1), slice(x0, x1))
    silhouette, kind, size = part.mask[window], part.kind, part.size
    if kind in _ROUND:
        kind = "ring" if _has_hole(work[window], front.tone[window], size) else "circle"
    colour, pattern = _paint(work[window], silhouette, kind, size)
    whole = templates.region(kind, size, "whole", shape) > 0.5
    height, width = part.mask.shape
    box = (x0 / width, y0 / height, x1 / width, y1 / height)
    visible = np.zeros_like(part.mask)
    # The outline comes from the picture; only a hole comes from the kind.
    visible[window] = silhouette & ~_holes(whole)
    if full != visible.shape:
        visible = np.asarray(Image.fromarray(visible).resize(full[::-1], Image.Resampling.NEAREST))
    place = place_of((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    return Found(kind, colour, pattern, size, place, box, visible, round(part.fit, 4))


def _holes(whole: np.ndarray) -> np.ndarray:
    return templates.fill_holes(whole) & ~whole


def _has_hole(patch: np.ndarray, behind: np.ndarray, size: str) -> bool:
    """Whether a round object [H, W, 3] is a ring: background in its middle, paper around that."""
    shape = patch.shape[:2]
    whole = templates.region("ring", size, "whole", shape)
    body = templates.region("ring", size, "main", shape) > 0.9
    paper = templates.region("ring", size, "paper", shape) > 0.7
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = np.hypot((x + 0.5) / shape[1] - 0.5, (y + 0.5) / shape[0] - 0.5)
    inner = paper & (radius < 0.4)
    hole = (whole < 0.1) & (radius < 0.3)
    if not (inner.any() and hole.any() and body.any()):
        return False
    # A pattern has two colours and the blurred ones between them.
    lightness = patch[body].sum(1)
    dark = np.median(patch[body][lightness <= np.quantile(lightness, 0.3)], axis=0)
    light = np.median(patch[body][lightness >= np.quantile(lightness, 0.7)], axis=0)
    paint = from_segment(patch, dark, light)
    ground = from_segment(patch, behind, behind + (SHADOW_COLOUR - behind) * DARKEST)
    rim = ((patch - np.asarray(atlas.tones("white")[atlas.PAPER], np.float32)) ** 2).sum(-1)
    # Weighed by a logistic fit to drawn rings and circles of all colours, patterns, sizes and backgrounds,
    # clean and damaged. An uneven hole speaks against a hole, but in a patterned object all is uneven.
    against_ring = _mean_root(ground[hole]) + 0.33 * _mean_root(rim[inner])
    against_ring += 1.6 * _spread(patch[hole]) + 0.5 * _spread(patch[inner])
    against_circle = 1.5 * _mean_root(paint[hole]) + 0.9 * _mean_root(paint[inner])
    return against_ring < against_circle + 1.5 * _spread(patch[body]) + 7


def _mean_root(squares: np.ndarray) -> float:
    return float(np.sqrt(squares).mean())


def _spread(pixels: np.ndarray) -> float:
    """The standard deviation of RGB [n, 3], all channels together."""
    return float(np.sqrt(pixels.var(axis=0).sum()))


def _paint(patch: np.ndarray, silhouette: np.ndarray, kind: str, size: str) -> tuple[str, str]:
    """The colour and the pattern of an object's main part, from its box [H, W, 3]."""
    shape = silhouette.shape
    main = templates.region(kind, size, "main", shape) > 0.92
    # As far from the borders as leaves enough to see: they mix with the paper's tone.
    whole = main & silhouette
    # The outline, too, keeps its distance: the box may be a little off, and the parts with it.
    padded = np.pad(silhouette, 1)
    deep = eroded(padded, round(EDGE * WORK_SIZE) + 1)[1:-1, 1:-1]
    areas = (eroded(main, 2) & deep, eroded(main, 1) & silhouette, whole, silhouette)
    least = max(25, 0.3 * int(whole.sum()))
    inside = next((area for area in areas if area.sum() >= least), silhouette)
    rows = (np.arange(shape[0], dtype=np.float32) + 0.5) / shape[0]
    tall = shape[0] / max(shape)
    light = 1.05 - 0.15 * (0.5 + (rows - 0.5) * tall)
    pixels = (patch / light[:, None, None])[inside]
    costs: dict[str, float] = {}
    shares: dict[str, np.ndarray] = {}
    for colour in COLOURS:
        tones = atlas.tones(colour)
        main_tone = np.asarray(tones[atlas.MAIN], np.float32)
        way = np.asarray(tones[atlas.TONE], np.float32) - main_tone
        share = np.clip((pixels - main_tone) @ way / (way @ way), 0, 1)
        off = np.sqrt(((pixels - main_tone - share[:, None] * way) ** 2).sum(-1))
        # A mixture of both tones is rare (blurred borders), and the main one must be the larger part.
        between = np.minimum(share, 1 - share) * float(np.sqrt(way @ way))
        costs[colour] = float(np.minimum(off + 0.35 * between, 90).mean()) + 60 * max(
            0.0, float((share > 0.5).mean()) - 0.6
        )
        shares[colour] = share
    colour = min(costs, key=lambda name: costs[name])
    return colour, _pattern(shares[colour], inside, size)


def _pattern(share: np.ndarray, inside: np.ndarray, size: str) -> str:
    """The pattern from the second tone's share (0..1) in the pixels `inside` (bool [H, W])."""
    centred = share - share.mean()
    spread = float(np.sqrt((centred**2).mean()))
    if float((share > 0.35).mean()) < LEAST_TONE or spread < LEAST_SPREAD:
        return "solid"
    height, width = inside.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    fits = {}
    for pattern in ("striped", "dotted"):
        waves = templates.pattern_waves(pattern, size, side)
        waves = waves[:, top : top + height, left : left + width][:, inside].astype(np.float32)
        waves -= waves.mean(1, keepdims=True)
        norms = np.sqrt((waves**2).mean(1)) + 1e-6
        fits[pattern] = float(((waves @ centred) / len(centred) / norms / spread).max())
    pattern = max(fits, key=lambda name: fits[name])
    return pattern if fits[pattern] > LEAST_PATTERN_FIT else "solid"
