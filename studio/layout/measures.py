"""The eight measures of PosterLayout (Hsu et al., CVPR 2023, section 5.2) for one layout.

Roles: "text" and "underlay" are classes of the paper; every other region counts as its class logo. Regions of
strength 0 are not there, and elements below 0.1 % of the picture count for Val alone, as in the paper's code.
`released=True` gives the arithmetic of that code (`eval.py`) where it differs from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from studio.layout.boxes import (
    TEXT,
    UNDERLAY,
    Floats,
    area,
    boxes_of,
    clipped,
    intersection,
    iou,
    lines,
    misalignment,
    present,
)
from studio.layout.saliency import Map, Maps
from studio.values import Layout

SMALLEST = 0.001
"""Share of the picture below which an element is not valid."""


@dataclass(frozen=True)
class Measures:
    """`val` 0..1 up, `ove` 0.. down, `ali` 0.. down, `und_l` and `und_s` 0..1 up (None without underlays),
    `uti` 0..1 up and `occ` 0..1 down (None without a picture), `rea` 0..1 down (None without a picture or
    text)."""

    val: float
    ove: float
    ali: float
    und_l: float | None = None
    und_s: float | None = None
    uti: float | None = None
    occ: float | None = None
    rea: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """Plain values, rounded to six digits."""
        return {name: None if value is None else round(value, 6) for name, value in asdict(self).items()}


def measure(layout: Layout, maps: Maps | None = None, *, released: bool = False) -> Measures:
    """All measures of a layout; those of the picture need its `maps`."""
    regions = present(layout)
    valid = area(clipped(boxes_of(regions))) >= SMALLEST
    kept = [region for region, good in zip(regions, valid, strict=True) if good]
    boxes = boxes_of(kept)
    under = np.array([region.role == UNDERLAY for region in kept], dtype=bool)
    text = np.array([region.role == TEXT for region in kept], dtype=bool)
    found = Measures(
        float(valid.mean()) if len(valid) else 1.0,
        overlap(boxes[~under]),
        alignment(boxes, released=released),
        *underlays(boxes[under], boxes[~under], released=released),
    )
    if maps is None:
        return found
    covered = _covered(maps.saliency, boxes, released)
    free = 1.0 - maps.saliency.astype(np.float64)
    read = _covered(maps.gradient, boxes[text], released) & ~_covered(maps.gradient, boxes[under], released)
    return Measures(
        found.val,
        found.ove,
        found.ali,
        found.und_l,
        found.und_s,
        float(free[covered].sum() / free.sum()) if free.sum() > 0 else 0.0,
        _mean(maps.saliency, covered),
        _mean(maps.gradient, read) if text.any() else None,
    )


def overlap(boxes: Floats) -> float:
    """Ove: the sum of the IoU of all pairs, divided by the number of boxes; boxes are element, 4."""
    count = len(boxes)
    if count < 2:
        return 0.0
    pairs = iou(boxes[:, None], boxes[None])
    return float(np.triu(pairs, 1).sum() / count)


def alignment(boxes: Floats, *, released: bool = False) -> float:
    """Ali: for each element how far it is from sharing a line with another one, summed.

    The released code does not ask which element is meant: it takes the two nearest of all for each of them.
    """
    count = len(boxes)
    if count < 2:
        return 0.0
    own = lines(boxes)
    distance = np.abs(own[:, None] - own[None])
    distance[np.arange(count), np.arange(count)] = np.inf
    nearest = distance.min(axis=(1, 2))
    if released:
        nearest = np.full(count, nearest.min())
    return float(misalignment(nearest).sum())


def underlays(under: Floats, others: Floats, *, released: bool = False) -> tuple[float | None, float | None]:
    """Und_l and Und_s: how far underlays lie under another element, and which share holds one wholly.

    The released code compares a right edge with itself, so that an element may stand out on the right.
    """
    if not len(under):
        return None, None
    if not len(others):
        return 0.0, 0.0
    u, o = under[:, None], others[None]
    space = area(others)[None]
    loose = np.divide(intersection(u, o), space, out=np.zeros((len(under), len(others))), where=space > 0)
    holds = (u[..., 0] <= o[..., 0]) & (u[..., 1] <= o[..., 1]) & (u[..., 3] >= o[..., 3])
    if not released:
        holds &= u[..., 2] >= o[..., 2]
    return float(loose.max(1).mean()), float(holds.any(1).mean())


def _covered(values: Map, boxes: Floats, released: bool) -> np.ndarray:
    """The pixels under any of the boxes, as booleans; the released code cuts coordinates, we round them."""
    height, width = values.shape
    scaled = clipped(boxes) * [width, height, width, height]
    edges: Sequence[Sequence[int]] = (np.floor(scaled) if released else np.rint(scaled)).astype(int).tolist()
    found = np.zeros((height, width), dtype=bool)
    for x0, y0, x1, y1 in edges:
        found[y0:y1, x0:x1] = True
    return found


def _mean(values: Map, where: np.ndarray) -> float:
    return float(values[where].mean(dtype=np.float64)) if where.any() else 0.0
