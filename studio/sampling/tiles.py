"""Tiles: where they lie, how they are joined, and how much their borders show. Numbers only, no torch.

Tiles of one size cover a length evenly. Where they overlap their shares change in a straight line; shares are
normalised, so that they sum to 1 everywhere, whatever the order (sampling 11.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from studio.errors import StudioError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of `length` cells: their `starts`, one `size`, and the `margin` that counts
    nothing at inner borders."""

    length: int
    size: int
    starts: tuple[int, ...]
    margin: int = 0

    @cached_property
    def shares(self) -> tuple[Floats, ...]:
        """The share of each tile in each of its cells, 0..1; over all tiles they sum to 1 in every cell."""
        raw = [self._ramp(index) for index in range(len(self.starts))]
        total = np.zeros(self.length)
        for start, ramp in zip(self.starts, raw, strict=True):
            total[start : start + self.size] += ramp
        found = []
        for start, ramp in zip(self.starts, raw, strict=True):
            share = ramp / total[start : start + self.size]
            share.flags.writeable = False
            found.append(share)
        return tuple(found)

    @property
    def borders(self) -> tuple[int, ...]:
        """Cells at which a tile begins or has just ended, inside the axis."""
        ends = {start + self.size for start in self.starts}
        return tuple(sorted(({*self.starts} | ends) - {0, self.length}))

    def _ramp(self, index: int) -> Floats:
        start = self.starts[index]
        ramp = np.ones(self.size)
        cells = np.arange(self.size)
        if index > 0:
            shared = self.starts[index - 1] + self.size - start
            ramp = np.minimum(ramp, self._rise(cells, shared))
        if index + 1 < len(self.starts):
            shared = start + self.size - self.starts[index + 1]
            ramp = np.minimum(ramp, self._rise(cells[::-1], shared))
        return ramp

    def _rise(self, cells: npt.NDArray[np.int64], shared: int) -> Floats:
        """From 0 in the margin to 1 where the neighbour's margin begins."""
        width = shared - 2 * self.margin
        rise: Floats = (cells - self.margin + 0.5) / max(width, 1)
        # with nothing to fade over, both count the same in the one cell that is left
        return np.clip(rise, 0.0, 1.0)


def tile_axis(length: int, tile: int, overlap: int, *, multiple: int = 1, margin: int = 0) -> Axis:
    """Tiles of `tile` cells with at least `overlap` cells shared, starting at multiples of `multiple`.

    A tile that is not smaller than the length is the length itself, without borders. `tile` is a multiple of
    `multiple`; `margin` cells at inner borders count nothing and 2 margin < overlap, or margin = 0.
    """
    if length < 1 or multiple < 1:
        raise StudioError(f"There is nothing to cut into tiles: {length} cells.")
    if tile >= length:
        return Axis(length, length, (0,))
    stride = (tile - overlap) // multiple * multiple
    if tile < 1 or overlap < 0 or stride < 1:
        most = max(tile - multiple, 0)
        possible = f"Possible: an overlap from 0 to {most}." if most else f"At least {2 * multiple}."
        raise StudioError(
            f"Tiles of {tile} with an overlap of {overlap} do not move on.",
            socket="overlap",
            hint=possible,
        )
    if margin < 0 or (margin and 2 * margin >= overlap):
        raise StudioError(f"A margin of {margin} does not fit into an overlap of {overlap}.")
    if length % multiple or tile % multiple:
        raise StudioError(f"Tiles of {tile} on {length} cells do not start at multiples of {multiple}.")
    count = -(-(length - tile) // stride) + 1
    room = (length - tile) // multiple
    starts = tuple(index * room // (count - 1) * multiple for index in range(count))
    return Axis(length, tile, starts, margin)


@dataclass(frozen=True)
class Window:
    """One tile: rows y0..y1, columns x0..x1, and its shares along both axes."""

    y0: int
    y1: int
    x0: int
    x1: int
    rows: Floats
    columns: Floats

    @property
    def shares(self) -> Floats:
        """row, column; sums to 1 over all tiles in every cell."""
        found: Floats = np.outer(self.rows, self.columns)
        return found


def windows(rows: Axis, columns: Axis) -> tuple[Window, ...]:
    """The tiles of a plane, row by row from the top left."""
    return tuple(
        Window(y, y + rows.size, x, x + columns.size, down, across)
        for y, down in zip(rows.starts, rows.shares, strict=True)
        for x, across in zip(columns.starts, columns.shares, strict=True)
    )


def seam(picture: npt.NDArray[np.generic], rows: Axis, columns: Axis, scale: int = 1) -> float:
    """How much the borders of tiles stand out: the mean bend of neighbouring pixels across the borders over
    that everywhere, of the worse axis; about 1 = not to be told from the rest, 0 = there is none.

    picture: height, width, channel; its pixels are cells times `scale`. The bend is the second difference.
    """
    values = np.asarray(picture, dtype=np.float64)
    worst = 0.0
    for axis, tiles in enumerate((rows, columns)):
        if not tiles.borders or values.shape[axis] < 4:
            continue
        bend = np.abs(np.diff(values, n=2, axis=axis)).mean(axis=tuple(i for i in range(3) if i != axis))
        # a step between cells c - 1 and c bends the second differences c - 2 and c - 1
        at = [index for cell in tiles.borders for index in (cell * scale - 2, cell * scale - 1)]
        found = bend[[index for index in at if 0 <= index < len(bend)]]
        worst = max(worst, float(found.mean() / max(bend.mean(), 1e-9)))
    return worst

