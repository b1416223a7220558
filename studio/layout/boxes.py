"""Boxes as arrays: x0, y0, x1, y1 in 0..1 from the top left, the last axis of length 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from studio.values import Layout, Region

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
UNDERLAY = "underlay"
TEXT = "text"


def box_of(region: Region) -> tuple[float, float, float, float]:
    """The box of a region; of a painted one the smallest box around what is painted (all 0 if nothing is)."""
    if region.mask is None:
        return region.box
    painted = region.mask.values > 0
    if not painted.any():
        return 0.0, 0.0, 0.0, 0.0
    rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
    height, width = painted.shape
    return (
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def boxes_of(regions: Sequence[Region]) -> Floats:
    """The boxes of regions, shape region, 4."""
    return np.array([box_of(region) for region in regions], dtype=np.float64).reshape(-1, 4)


def present(layout: Layout) -> tuple[Region, ...]:
    """The regions that do something; one of strength 0 is not there."""
    return tuple(region for region in layout.regions if region.strength > 0)


def area(boxes: Floats) -> Floats:
    """Area as a share of the picture; 0 for a box that is turned inside out."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def clipped(boxes: Floats) -> Floats:
    """What of the boxes lies in the picture."""
    return np.clip(boxes, 0.0, 1.0)


def intersection(a: Floats, b: Floats) -> Floats:
    """The common area of boxes; leading axes are broadcast."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    sides = np.maximum(high - low, 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union; 0 where both are empty."""
    common = intersection(a, b)
    union = area(a) + area(b) - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def lines(boxes: Floats) -> Floats:
    """The six coordinates by which boxes align: left, top, centre x, centre y, right, bottom."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    return np.concatenate([boxes[..., :2], centre, boxes[..., 2:]], axis=-1)


def misalignment(distance: Floats) -> Floats:
    """-log10(1 - distance) of distances 0..1, finite at 1."""
    return np.asarray(-np.log10(np.maximum(1.0 - distance, 1e-12)))


def sums(values: npt.NDArray[np.floating]) -> Floats:
    """Summed-area table of a map height, width: shape height + 1, width + 1."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    return table


def mean_under(table: Floats, boxes: Floats) -> Floats:
    """The mean of a map under each box, by its summed-area table; 0 where a box covers no pixel."""
    height, width = table.shape[0] - 1, table.shape[1] - 1
    edge = np.rint(clipped(boxes) * [width, height, width, height]).astype(int)
    x0, y0, x1, y1 = np.moveaxis(edge, -1, 0)
    pixels = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    total = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    return np.asarray(np.divide(total, pixels, out=np.zeros_like(total), where=pixels > 0))
