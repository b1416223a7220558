"""Boxes moved to where they lie best: coordinate descent on Ove + Ali + Occ + Rea and on what was asked for.

One box after the other takes the best place on a grid, then the best x and the best y among the grid and the
lines of the other boxes, as long as the energy falls; of equally good places the nearest. Sizes stay, boxes
stay in the picture. Every step is a fixed rule without chance, and only a gain moves a box: so a layout at a
local optimum stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from studio.layout.boxes import Flags, Floats, area, iou, lines, mean_under, misalignment, sums
from studio.layout.saliency import Maps
from studio.layout.wishes import Wish, cost, sharing

ASKED_WEIGHT = 100.0
OVERLAP_WEIGHT = 100.0
GRID = 64
_SWEEPS = 12
_GAIN = 1e-9
_WORK = 60_000
"""Pairs of boxes judged at once for one box; the grid of places is made coarser to stay below."""


@dataclass(frozen=True, eq=False)
class Energy:
    """What a layout costs: 100 (Ove + what was asked for) + Ali + Occ + Rea.

    `share`, element, element: pairs that may overlap (an underlay and what lies on it). `text`, element:
    boxes that hold text (Rea). Ove is measured on boxes grown by half of `gap` on each side, so that they
    keep apart; boxes farther than `near` from sharing a line count as that far in Ali; Occ and Rea are means
    over all the boxes' area, exact where they do not overlap.
    """

    share: Flags
    text: Flags
    wishes: tuple[Wish, ...] = ()
    gap: float = 0.0
    near: float = 1.0
    saliency: Floats | None = field(default=None, repr=False)
    gradient: Floats | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        share: Flags,
        text: Flags,
        wishes: Sequence[Wish] = (),
        gap: float = 0.0,
        near: float = 1.0,
        maps: Maps | None = None,
    ) -> Energy:
        """The energy for boxes of these kinds; `share` also gets the pairs whose wish is to overlap."""
        share = share | sharing(len(text), wishes)
        tables = (None, None) if maps is None else (sums(maps.saliency), sums(maps.gradient))
        return cls(share, text, tuple(wishes), gap, near, *tables)

    def total(self, boxes: Floats) -> float:
        """The energy of boxes, element, 4."""
        count = len(boxes)
        if not count:
            return 0.0
        pairs = np.where(self.share, 0.0, iou(self._grown(boxes)[:, None], self._grown(boxes)[None]))
        energy = OVERLAP_WEIGHT * pairs.sum() / 2 / count
        energy += ASKED_WEIGHT * sum(float(cost(w, [boxes[k] for k in w.boxes])) for w in self.wishes)
        if count > 1:
            energy += misalignment(np.minimum(self._distances(boxes).min(axis=1), self.near)).sum()
        for table, who in ((self.saliency, np.ones(count, bool)), (self.gradient, self.text)):
            if table is not None and who.any():
                size = area(boxes[who])
                energy += (mean_under(table, boxes[who]) * size).sum() / max(size.sum(), 1e-9)
        return float(energy)

    def along(self, boxes: Floats, index: int, tried: Floats) -> Floats:
        """The part of the energy that depends on one box, for each of the boxes tried in its place."""
        count = len(boxes)
        others = np.flatnonzero(np.arange(count) != index)
        energy = np.zeros(len(tried))
        if len(others):
            apart = others[~self.share[index, others]]
            pairs = iou(self._grown(tried)[:, None], self._grown(boxes[apart])[None])
            energy += OVERLAP_WEIGHT * pairs.sum(axis=1) / count
            distance = np.abs(lines(tried)[:, None] - lines(boxes[others])[None]).min(axis=-1)
            distance = np.minimum(distance, self.near)
            energy += misalignment(distance.min(axis=1))
            rest = self._distances(boxes[others]).min(axis=1) if len(others) > 1 else np.ones(1)
            energy += misalignment(np.minimum(distance, rest)).sum(axis=1)
        for wish in self.wishes:
            if index in wish.boxes:
                where = [tried if k == index else boxes[k][None] for k in wish.boxes]
                energy += ASKED_WEIGHT * cost(wish, where)
        for table, who in ((self.saliency, np.ones(count, bool)), (self.gradient, self.text)):
            if table is not None and who[index]:
                size = area(boxes)
                energy += mean_under(table, tried) * size[index] / max(size[who].sum(), 1e-9)
        return energy

    def _grown(self, boxes: Floats) -> Floats:
        half = self.gap / 2
        return boxes + np.array([-half, -half, half, half])

    @staticmethod
    def _distances(boxes: Floats) -> Floats:
        """How far each two boxes are from sharing a line; a box is infinitely far from itself."""
        own = lines(boxes)
        found = np.asarray(np.abs(own[:, None] - own[None]).min(axis=-1))
        found[np.arange(len(boxes)), np.arange(len(boxes))] = np.inf
        return found


def settle(boxes: Floats, movable: Sequence[int], energy: Energy, *, border: float = 0.0) -> Floats:
    """The boxes (element, 4) after the descent; the same array if nothing could be gained.

    Boxes keep `border` (share of the picture) away from its edge.
    """
    found = boxes
    for _ in range(_SWEEPS):
        moved = False
        for index in movable:
            for propose in (_plane, partial(_line, axis=0), partial(_line, axis=1)):
                tried = _allowed(found[index], propose(found, index), border)
                best = _best(energy.along(found, index, tried), tried)
                if best:
                    found = found.copy()
                    found[index] = tried[best]
                    moved = True
        if not moved:
            break
    return found


def _best(cost: Floats, tried: Floats) -> int:
    """The best of the boxes tried, the nearest of the best; 0, the box as it is, unless that gains."""
    least = float(cost.min())
    if least >= cost[0] - _GAIN:
        return 0
    good = np.flatnonzero(cost <= least + _GAIN / 10)
    way = np.abs(tried[good, :2] - tried[0, :2]).sum(axis=1)
    return int(good[int(way.argmin())])


def _allowed(box: Floats, corner: Floats, border: float) -> Floats:
    """The box as it is, then with its corner at each of the places where it may lie."""
    size = box[2:] - box[:2]
    room = np.minimum(border, (1.0 - size) / 2)
    good = (corner >= room - 1e-12).all(-1) & (corner + size <= 1 - room + 1e-12).all(-1)
    corner = corner[good]
    return np.concatenate([box[None], np.concatenate([corner, corner + size], axis=-1)])


def _plane(boxes: Floats, index: int) -> Floats:
    """Corners of a grid over the whole picture."""
    steps = GRID // 2
    while steps > 8 and (steps + 1) ** 2 * len(boxes) > _WORK:
        steps //= 2
    grid = np.arange(steps + 1) / steps
    return np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)


def _line(boxes: Floats, index: int, axis: int) -> Floats:
    """Corners along one axis: the finer grid, and where the box shares a line with another one."""
    box = boxes[index]
    size = box[2 + axis] - box[axis]
    others = np.delete(boxes, index, axis=0)
    low, high = others[:, axis], others[:, 2 + axis]
    snaps = [
        np.arange(GRID + 1) / GRID,
        low,
        (low + high) / 2 - size / 2,
        high - size,
        np.array([0, 1 - size]),
    ]
    corner = np.repeat(box[None, :2], sum(map(len, snaps)), axis=0)
    corner[:, axis] = np.concatenate(snaps)
    return corner
