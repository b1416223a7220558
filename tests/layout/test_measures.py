"""The measures of PosterLayout on layouts made by hand, and what its released code does otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from studio.layout.measures import SMALLEST, Measures, measure
from studio.layout.saliency import Maps
from studio.values import Layout, Mask, Region

Box = tuple[float, float, float, float]


def layout(*boxes: tuple[Box, str] | Box) -> Layout:
    regions = []
    for k, given in enumerate(boxes):
        box, role = given if isinstance(given[0], tuple) else (given, "")
        regions.append(Region(f"r{k}", "x", box, role=role))  # type: ignore[arg-type]
    return Layout("p", tuple(regions))


def maps(saliency: np.ndarray, gradient: np.ndarray | None = None) -> Maps:
    other = np.zeros_like(saliency) if gradient is None else gradient
    return Maps(saliency.astype(np.float32), other.astype(np.float32))


LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
SQUARE = (0.25, 0.25, 0.75, 0.75)


def test_two_identical_boxes_overlap_by_one_half() -> None:
    assert measure(layout(SQUARE, SQUARE)).ove == 0.5


def test_overlap_is_the_sum_over_pairs_by_the_number_and_leaves_underlays_out() -> None:
    assert measure(layout(SQUARE, SQUARE, SQUARE)).ove == 1.0
    assert measure(layout(LEFT, RIGHT)).ove == 0.0
    third = (0.0, 0.0, 1.0, 0.5)
    assert measure(layout(LEFT, third)).ove == pytest.approx((0.25 / 0.75) / 2)
    assert measure(layout((SQUARE, "underlay"), SQUARE)).ove == 0.0


def test_valid_elements_have_a_thousandth_of_the_picture() -> None:
    side = math.sqrt(SMALLEST)
    tiny, enough = (0.5, 0.5, 0.5 + side * 0.99, 0.5 + side), (0.5, 0.5, 0.5 + side * 1.01, 0.5 + side)
    assert measure(layout(LEFT, tiny)).val == 0.5
    assert measure(layout(LEFT, enough)).val == 1.0
    # what lies outside does not count, and what is not valid counts for nothing else
    assert measure(layout(LEFT, (0.9999, 0.0, 1.5, 1.0))).val == 0.5
    assert measure(layout(tiny, tiny)).ove == 0.0


def test_alignment_asks_each_element_for_its_own_nearest_line() -> None:
    a, b = (0.1, 0.1, 0.3, 0.3), (0.1, 0.6, 0.4, 0.9)
    assert measure(layout(a, b)).ali == 0.0
    far = (0.55, 0.37, 0.95, 0.57)
    boxes = [np.array(box) for box in (a, b, far)]
    lines = [[*box[:2], *((box[:2] + box[2:]) / 2), *box[2:]] for box in boxes]
    nearest = min(abs(x - y) for other in lines[:2] for x, y in zip(lines[2], other, strict=True))
    assert measure(layout(a, b, far)).ali == pytest.approx(-math.log10(1 - nearest))
    assert measure(layout(a, b, far), released=True).ali == 0.0
    assert measure(layout(a)).ali == 0.0


def test_underlays_are_judged_by_what_lies_on_them() -> None:
    under = ((0.2, 0.2, 0.8, 0.8), "underlay")
    inside, out_right = (0.3, 0.3, 0.5, 0.5), (0.6, 0.3, 1.0, 0.5)
    assert measure(layout(under, inside)) == Measures(
        1.0, 0.0, 0.0 + measure(layout(under, inside)).ali, 1.0, 1.0
    )
    standing_out = measure(layout(under, out_right))
    assert standing_out.und_l == pytest.approx(0.5)
    assert standing_out.und_s == 0.0
    assert measure(layout(under, out_right), released=True).und_s == 1.0  # compares a right edge with itself
    assert measure(layout(under)).und_s == 0.0
    assert measure(layout(inside)).und_l is None
    both = measure(layout(under, ((0.0, 0.0, 0.1, 0.1), "underlay"), inside))
    assert (both.und_l, both.und_s) == (0.5, 0.5)


def test_the_picture_below() -> None:
    saliency = np.zeros((40, 40))
    saliency[:, 20:] = 1.0
    found = measure(layout(LEFT), maps(saliency))
    assert (found.uti, found.occ, found.rea) == (1.0, 0.0, None)
    found = measure(layout(RIGHT), maps(saliency))
    assert (found.uti, found.occ) == (0.0, 1.0)
    found = measure(layout((0.25, 0.0, 0.75, 0.5)), maps(saliency))
    assert found.uti == pytest.approx(0.25)
    assert found.occ == pytest.approx(0.5)


def test_unrest_counts_under_text_that_has_no_underlay() -> None:
    gradient = np.zeros((40, 40))
    gradient[:20] = 0.8
    text = (0.0, 0.0, 0.5, 1.0)
    calm = maps(np.zeros((40, 40)), gradient)
    assert measure(layout((text, "text")), calm).rea == pytest.approx(0.4)
    under = ((0.0, 0.0, 0.5, 0.5), "underlay")
    assert measure(layout(under, (text, "text")), calm).rea == 0.0


def test_measures_of_the_picture_agree_with_sums_over_pixels() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        saliency, gradient = rng.random((30, 50)), rng.random((30, 50))
        low = rng.uniform(0, 0.6, (3, 2))
        high = low + rng.uniform(0.1, 0.4, (3, 2))
        made = layout(
            *[((*a, *b), role) for a, b, role in zip(low, high, ["text", "", "underlay"], strict=True)]
        )
        found = measure(made, maps(saliency, gradient))
        rows, columns = (np.arange(30) + 0.5) / 30, (np.arange(50) + 0.5) / 50
        inside = [
            (rows[:, None] > round(a[1] * 30) / 30) & (rows[:, None] < round(b[1] * 30) / 30)
            & (columns > round(a[0] * 50) / 50) & (columns < round(b[0] * 50) / 50)
            for a, b in zip(low, high, strict=True)
        ]  # fmt: skip
        covered = inside[0] | inside[1] | inside[2]
        s32, g32 = saliency.astype(np.float32), gradient.astype(np.float32)
        assert found.occ == pytest.approx(s32[covered].mean(), abs=1e-6)
        assert found.uti == pytest.approx((1 - s32)[covered].sum() / (1 - s32).sum(), abs=1e-5)
        text = inside[0] & ~inside[2]
        assert found.rea == pytest.approx(g32[text].mean() if text.any() else 0.0, abs=1e-6)


def test_painted_regions_count_by_the_box_around_them_and_absent_ones_not_at_all() -> None:
    values = np.zeros((8, 8), np.float32)
    values[2:6, 2:6] = 1.0
    painted = Region("m", "x", mask=Mask(values))
    assert measure(Layout("p", (painted, Region("b", "x", SQUARE)))).ove == 0.5
    gone = Region("g", "x", SQUARE, strength=0.0)
    assert measure(Layout("p", (gone, Region("b", "x", SQUARE)))).ove == 0.0
    assert measure(Layout("p")).val == 1.0
