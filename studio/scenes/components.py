"""Connected components of a mask, by runs and union-find."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter


def label(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Components of a bool [H, W] mask by sides (not corners): int32 labels (0 outside, 1..n) and n."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    stops = np.nonzero(change == -1)[1]
    count = len(rows)
    if count == 0:
        return np.zeros(mask.shape, np.int32), 0
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    # Runs are sorted by row, then column: each run touches a contiguous range of the previous row's runs.
    first = np.searchsorted(rows, np.arange(height + 1))
    key_start, key_stop = rows * (width + 1) + starts, rows * (width + 1) + stops
    above_from = np.searchsorted(key_stop, key_start - (width + 1), side="right")
    above_to = np.searchsorted(key_start, key_stop - (width + 1), side="left")
    above_from = np.maximum(above_from, first[np.maximum(rows - 1, 0)])
    above_to = np.minimum(above_to, first[rows])
    for run in np.nonzero(above_to > above_from)[0].tolist():
        for other in range(int(above_from[run]), int(above_to[run])):
            a, b = root(run), root(other)
            if a != b:
                parent[max(a, b)] = min(a, b)
    roots = np.array([root(run) for run in range(count)])
    _, names = np.unique(roots, return_inverse=True)
    # Paint the runs: +name where one starts, -name where it stops, summed along the row.
    marks = np.zeros((height, width + 1), np.int32)
    np.add.at(marks, (rows, starts), names.astype(np.int32) + 1)
    np.add.at(marks, (rows, stops), -(names.astype(np.int32) + 1))
    return np.cumsum(marks, axis=1, dtype=np.int32)[:, :width], int(names.max()) + 1


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with everything that it encloses, bool [H, W]."""
    labels, count = label(~mask)
    outside = np.zeros(count + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside[0] = False
    return ~outside[labels]


def closed(mask: np.ndarray, radius: int) -> np.ndarray:
    """Bridges gaps of up to 2 `radius` pixels; bool [H, W]."""
    image = _image(np.pad(mask, radius))
    side = 2 * radius + 1
    image = image.filter(ImageFilter.MaxFilter(side)).filter(ImageFilter.MinFilter(side))
    return np.asarray(image)[radius:-radius, radius:-radius] > 127


def opened(mask: np.ndarray, radius: int) -> np.ndarray:
    """Without lines and specks thinner than 2 `radius` + 1 pixels; bool [H, W]."""
    side = 2 * radius + 1
    image = _image(mask).filter(ImageFilter.MinFilter(side)).filter(ImageFilter.MaxFilter(side))
    return np.asarray(image) > 127


def eroded(mask: np.ndarray, radius: int) -> np.ndarray:
    """The pixels whose whole square of side 2 `radius` + 1 lies in the mask; bool [H, W]."""
    return np.asarray(_image(mask).filter(ImageFilter.MinFilter(2 * radius + 1))) > 127


def _image(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)
