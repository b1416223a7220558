"""Boxes and painted masks on the token grid, and who may see whom (controls.md 7 (b)).

A network sees a picture as rows x columns of tokens. A region covers a share of each token's area; where
regions lie over each other, the later one is on top, or both count. Nothing vanishes: a region smaller than
a token gets the token that it covers most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from studio.errors import StudioError
from studio.models.family import TokenLayout
from studio.values import Mask, Region

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Grid = tuple[int, int]

FINE = 8  # parts of a token, along each side, in which overlaps are worked out
SNAP = 1 / 256  # shares nearer than this to none or all are none or all
ORDER, SHARE = "order", "share"


@dataclass(frozen=True, eq=False)
class Cover:
    """What regions cover of a grid, tokens row by row.

    `share`: region, token; 0..1, what of a token shows the region. `rest`: token; what shows none of them.
    `member`: region, token; the tokens that count as the region's where a token cannot be split.
    """

    share: Floats
    rest: Floats
    member: Bools

    @property
    def hidden(self) -> tuple[int, ...]:
        """Regions that show nowhere, because others lie over them."""
        return tuple(int(i) for i in np.flatnonzero(~self.member.any(axis=1)))


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt in a pass: its span, its number of tokens, the share of each image token that it speaks to.

    `bias`: added to the scores of its tokens for the image, as log(strength). `asks`: whether its own tokens
    are among the queries.
    """

    span: str
    length: int
    share: Floats
    bias: float = 0.0
    asks: bool = True


def box_share(box: tuple[float, float, float, float], grid: Grid) -> Floats:
    """The share of each cell that a box (x0, y0, x1, y1 in 0..1) covers: row, column."""
    x0, y0, x1, y1 = box
    return np.outer(_overlap(y0, y1, grid[0]), _overlap(x0, x1, grid[1]))


def mask_share(mask: Mask, grid: Grid) -> Floats:
    """The mean of a mask over each cell: row, column; exact also where pixels and cells do not line up."""
    down, across = _cells(mask.height, grid[0]), _cells(mask.width, grid[1])
    mean: Floats = down @ mask.values.astype(np.float64) @ across.T
    return mean


def region_share(region: Region, grid: Grid) -> Floats:
    """The share of each cell that a region covers, as if it were alone: row, column."""
    return box_share(region.box, grid) if region.mask is None else mask_share(region.mask, grid)


@lru_cache(maxsize=64)
def cover(regions: tuple[Region, ...], grid: Grid, overlap: str = ORDER) -> Cover:
    """What regions cover, the last on top (`order`) or all alike (`share`).

    In `order` a token counts as that of whoever shows most of it, the upper one where that is equal.
    StudioError for a region that touches no token at all.
    """
    if overlap not in (ORDER, SHARE):
        raise StudioError(f"Overlap {overlap!r} is not possible.", hint=f"Possible: {ORDER}, {SHARE}.")
    fine = (grid[0] * FINE, grid[1] * FINE)
    taken, most_taken = np.zeros(fine), np.zeros(fine)
    seen: list[Floats] = []
    for region in reversed(regions):
        alone = region_share(region, fine)
        if not alone.any():
            raise StudioError(
                f"Region {region.name or region.id!r} covers nothing of the picture.",
                hint="Draw its box or mask inside the canvas.",
            )
        # within a part of a token others are taken to lie beside it, unless it can nowhere be seen
        shows = bool((alone * (1 - 1e-6) > most_taken).any())
        above = np.minimum(alone, np.maximum(1 - taken, 0.0)) * shows
        seen.append(_coarse(alone if overlap == SHARE else above, grid))
        taken, most_taken = taken + alone, np.maximum(most_taken, alone)
    share = np.array(seen[::-1]).reshape(len(regions), grid[0] * grid[1])
    rest = _coarse(np.maximum(1 - taken, 0.0), grid)
    member = _members(share, rest, overlap)
    most = share.max(axis=1, initial=0.0, keepdims=True)
    small = (most > 0) & (most < 0.5)
    share = np.where(small, share / np.where(small, most, 1.0), share)
    return Cover(_snapped(share), _snapped(rest), member)


def together(member: Bools) -> torch.Tensor:
    """Which image tokens see each other where regions are kept apart: token, token; bool.

    Both in one region, or neither in any (arXiv 2411.02395). member: region, token.
    """
    groups = torch.from_numpy(np.concatenate([member, ~member.any(axis=0, keepdims=True)]))
    return (groups[:, :, None] & groups[:, None, :]).any(dim=0)


def joint_mask(
    prompts: Sequence[Prompt],
    image: int,
    *,
    others: int = 0,
    apart: torch.Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor | None:
    """Who sees whom in one pass: queries (prompts that ask, image, others) x keys (prompts, image, others).

    Each prompt sees itself, the image tokens it speaks to, and the others; prompts never see each other; an
    image token sees the prompts that speak to it. `others` are reference tokens: seen by all; they see the
    prompts that speak to the whole picture. `apart` (token, token; bool) keeps image tokens from each other,
    and then the others see only themselves.
    Bool, or `dtype` with log(share) + bias where a prompt speaks to a part of a token; None where all see
    all. Every query sees at least one key.
    """
    texts = sum(prompt.length for prompt in prompts)
    size = texts + image + others
    picture, rest = slice(texts, texts + image), slice(texts + image, size)
    seen = torch.zeros(size, size, dtype=torch.bool)
    seen[picture, picture] = True if apart is None else apart
    seen[:, rest] = True
    seen[rest, picture] = apart is None
    queries, start = list(range(texts, size)), 0
    biases: list[tuple[slice, slice, torch.Tensor | float]] = []
    for prompt in prompts:
        own = slice(start, start + prompt.length)
        speaks = torch.from_numpy(np.ascontiguousarray(prompt.share)).float()
        part = speaks.clamp(min=SNAP).log()
        seen[own, own] = True
        seen[own, picture] = speaks > 0
        seen[picture, own] = (speaks > 0)[:, None]
        seen[rest, own] = bool((speaks >= 1).all()) and apart is None
        biases += [
            (own, picture, part),
            (picture, own, part[:, None] + prompt.bias),
            (rest, own, prompt.bias),
        ]
        queries = [*range(own.start, own.stop), *queries] if prompt.asks else queries
        start = own.stop
    queries.sort()
    if not bool(seen[queries].any(dim=-1).all()):
        raise StudioError("A token of this layout would see nothing.", hint="Give every region a token.")
    if any(bool(((torch.as_tensor(bias) != 0) & seen[down, across]).any()) for down, across, bias in biases):
        mask = additive(seen, dtype)
        for down, across, bias in biases:
            mask[down, across] += bias
    else:
        mask = seen
    mask = mask if len(queries) == size else mask[queries]
    return None if mask.dtype == torch.bool and bool(mask.all()) else mask


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A bool mask as what is added to the scores: 0 where seen, else -inf."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -math.inf)


def reference_spans(layout: TokenLayout) -> tuple[str, ...]:
    """Spans of the image stream that are not generated; open to every pass."""
    return tuple(name for name in layout.spans if name.startswith("image/"))


def _overlap(low: float, high: float, cells: int) -> Floats:
    """What of each of `cells` equal cells of 0..1 lies in [low, high]: 0..1."""
    edges = np.arange(cells + 1) / cells
    inside: Floats = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.clip(inside * cells, 0.0, 1.0)


def _cells(pixels: int, cells: int) -> Floats:
    """Weights that average pixels into cells: cell, pixel; each row adds up to 1."""
    return np.array([_overlap(i / cells, (i + 1) / cells, pixels) for i in range(cells)]) * cells / pixels


def _coarse(fine: Floats, grid: Grid) -> Floats:
    """The mean over each token: token."""
    mean: Floats = fine.reshape(grid[0], FINE, grid[1], FINE).mean(axis=(1, 3)).reshape(-1)
    return mean


def _snapped(share: Floats) -> Floats:
    return np.where(share < SNAP, 0.0, np.where(share > 1 - SNAP, 1.0, share))


def _members(share: Floats, rest: Floats, overlap: str) -> Bools:
    """Which tokens count as a region's. One that would get none takes the tokens it covers most; whoever has
    others gives them up."""
    if overlap == SHARE:
        member = share >= 0.5
    else:
        # later regions first, so that the upper one wins where shares are equal; nobody wins last
        shares = np.round(np.concatenate([share[::-1], rest[None]]), 6)
        winner = len(share) - 1 - shares.argmax(axis=0)
        member = winner[None] == np.arange(len(share))[:, None]
    for index, part in enumerate(share):
        if member[index].any() or not part.any():
            continue
        best = part == part.max()
        for other in member:
            if overlap == ORDER and (other & ~best).any():
                other &= ~best
        member[index] = best
    return member
