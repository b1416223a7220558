"""Regions as a part of the picture sees them (sampling.md 11.1: what is carried into a tile)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from studio.values import Mask, Region

# x0, y0, x1, y1 in 0..1 of the whole picture
Box = tuple[float, float, float, float]


def crop_region(region: Region, part: Box) -> Region | None:
    """The region with `part` of the picture as its whole; None if it has nothing there."""
    if region.mask is not None:
        mask = crop_mask(region.mask, part)
        return replace(region, mask=mask) if bool(mask.values.any()) else None
    x0, y0, x1, y1 = part
    left, right = (min(max((x - x0) / (x1 - x0), 0.0), 1.0) for x in (region.box[0], region.box[2]))
    upper, lower = (min(max((y - y0) / (y1 - y0), 0.0), 1.0) for y in (region.box[1], region.box[3]))
    if left >= right or upper >= lower:
        return None
    return replace(region, box=(left, upper, right, lower))


def crop_mask(mask: Mask, part: Box) -> Mask:
    """The pixels of a mask in `part` of the picture; at least one."""
    rows, columns = (
        _span(low, high, side)
        for low, high, side in ((part[1], part[3], mask.height), (part[0], part[2], mask.width))
    )
    return Mask(np.ascontiguousarray(mask.values[rows, columns]))


def _span(low: float, high: float, side: int) -> slice:
    start = min(round(low * side), side - 1)
    return slice(start, max(round(high * side), start + 1))
