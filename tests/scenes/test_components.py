"""Components, holes and the morphology around them, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from studio.scenes.components import closed, eroded, fill_holes, label, opened


def grid(*rows: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in row] for row in rows])


def slow_label(mask: np.ndarray) -> np.ndarray:
    """Flood fill, pixel by pixel."""
    labels = np.zeros(mask.shape, int)
    count = 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        count += 1
        todo = [start]
        while todo:
            y, x = todo.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not labels[y, x]:
                labels[y, x] = count
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return labels


@pytest.mark.parametrize("share", [0.2, 0.5, 0.6, 0.8])
def test_labels_are_those_of_a_flood_fill(share: float) -> None:
    rng = np.random.default_rng(int(share * 10))
    for _ in range(20):
        mask = rng.random((17, 23)) < share
        labels, count = label(mask)
        expected = slow_label(mask)
        assert count == expected.max()
        pairs = set(zip(labels[mask].tolist(), expected[mask].tolist(), strict=True))
        assert len(pairs) == count
        assert not labels[~mask].any()


def test_an_empty_mask_has_no_components() -> None:
    labels, count = label(np.zeros((4, 5), bool))
    assert count == 0
    assert labels.shape == (4, 5)


def test_corners_do_not_join() -> None:
    assert label(grid("#.", ".#"))[1] == 2


def test_holes_are_filled_but_bays_are_not() -> None:
    mask = grid(".......", ".###.##", ".#.#.#.", ".###.##", ".......")
    assert fill_holes(mask)[2, 2]
    assert not fill_holes(mask)[2, 6]
    assert fill_holes(mask).sum() == mask.sum() + 1


def test_closing_bridges_a_gap_and_opening_takes_a_line_away() -> None:
    mask = np.zeros((20, 20), bool)
    mask[4:16, 2:9] = mask[4:16, 10:17] = True
    assert closed(mask, 1)[10, 9]
    assert not opened(mask | (np.arange(20) == 18)[:, None], 1)[18, 0]
    assert opened(mask, 1)[10, 5]


def test_closing_keeps_what_touches_the_picture_border() -> None:
    assert closed(np.ones((6, 6), bool), 2).all()


def test_erosion_leaves_the_inside() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    assert eroded(mask, 1).sum() == 9
