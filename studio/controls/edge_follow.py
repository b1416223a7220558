"""Masks whose edge follows the picture: the map of a word is filtered with the picture as its guide.

The guided filter with a colour guide (He, Sun, Tang: Guided Image Filtering, TPAMI 35(6), 2013, section 3.5),
computed on a smaller copy and applied at full size (He, Sun: Fast Guided Filter, arXiv 1505.00996). A map of
tokens knows nothing finer than a token, so the filter reaches as far as 1.5 of them.
"""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from studio.controls.attention_cut import level

REACH = 1.5  # tokens
SMOOTH = 1e-3  # variance of a colour channel, 0..1 squared, below which the picture counts as flat
WORK = 256  # pixels of the longer side at which the filter is computed
NEAR = 2  # tokens that the edge may move outwards


def along_edges(
    values: torch.Tensor, cells: torch.Tensor, picture: torch.Tensor, amount: float = 0.5
) -> torch.Tensor:
    """The chosen cells of a map at the picture's size, height, width, fp32, 0 or 1.

    values: row, column; `cells`: bool, of that shape, as `cut` gives them for the same `amount`; `picture`:
    3, height, width, 0..1. The threshold is that of the filtered map; pieces that were not chosen stay out.
    """
    values, size = values.float().cpu(), tuple(picture.shape[-2:])
    found = guided(values, picture)
    least = level(interpolate(found[None, None], values.shape, mode="area")[0, 0], amount)
    others = (values > level(values, amount)) & ~cells
    reach = max_pool2d(cells[None, None].float(), 2 * NEAR + 1, 1, NEAR) * ~others
    kept = (interpolate(reach, size, mode="nearest")[0, 0] > 0) & (found > least)
    return kept.float() if kept.any() else interpolate(cells[None, None].float(), size, mode="nearest")[0, 0]


def guided(values: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """A map (row, column) at the size of a picture (3, height, width, 0..1), its edges where the picture's
    are: height, width, fp32. A constant map stays constant."""
    height, width = picture.shape[-2:]
    share = min(1.0, WORK / max(height, width))
    small = (max(1, round(height * share)), max(1, round(width * share)))
    guide = interpolate(picture[None].float().cpu(), small, mode="area")
    blurred = interpolate(values[None, None].float().cpu(), small, mode="bilinear", align_corners=False)
    radius = max(1, round(REACH * max(small[0] / values.shape[0], small[1] / values.shape[1])))

    mean_guide, mean = _box(guide, radius), _box(blurred, radius)
    together = _box(guide * blurred, radius) - mean_guide * mean
    pairs = (guide[:, :, None] * guide[:, None]).flatten(1, 2)
    spread = _box(pairs, radius).unflatten(1, (3, 3)) - mean_guide[:, :, None] * mean_guide[:, None]
    spread = spread.permute(0, 3, 4, 1, 2) + SMOOTH * torch.eye(3)
    slope = torch.linalg.solve(spread, together.permute(0, 2, 3, 1)[..., None])[..., 0].permute(0, 3, 1, 2)
    start = mean - (slope * mean_guide).sum(1, keepdim=True)
    both = torch.cat([_box(slope, radius), _box(start, radius)], 1)
    both = interpolate(both, (height, width), mode="bilinear", align_corners=False)
    return (both[0, :3] * picture.float().cpu()).sum(0) + both[0, 3]


def _box(grid: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean over a square of 2 radius + 1, the border repeated: row by row, then column by column."""
    side = 2 * radius + 1
    wide = pad(grid, (radius, radius, radius, radius), mode="replicate")
    return avg_pool2d(avg_pool2d(wide, (side, 1), 1), (1, side), 1)
