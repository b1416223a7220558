"""Layouts as pictures: what is there is drawn where it is, what is absent is not; a report says all."""

from __future__ import annotations

import numpy as np
import pytest

from studio.layout.drawing import PAPER, draw_layout, draw_report, measures_line, region_colour, report_text
from studio.layout.lint import lint
from studio.layout.measures import measure
from studio.layout.plan import plan_sentence
from studio.values import Image, Layout, Mask, Region

BOX = Region("b", "a box", (0.25, 0.5, 0.75, 0.9))


def changed(layout: Layout, side: int = 200) -> np.ndarray:
    drawn = draw_layout(layout, side, side).pixels
    return (drawn != np.array(PAPER, np.uint8)).any(-1)


def test_a_box_is_drawn_where_it_is() -> None:
    where = changed(Layout("p", (BOX,)))
    assert where[100:180, 50:150].all()
    assert not where[:95].any() and not where[185:].any() and not where[:, :45].any()
    assert not changed(Layout("p")).any()
    assert not changed(Layout("p", (Region("g", "x", strength=0.0),))).any()


def test_a_painted_region_is_tinted_as_it_is_painted() -> None:
    values = np.zeros((4, 4), np.float32)
    values[:, 3] = 1.0
    where = changed(Layout("p", (Region("m", "", mask=Mask(values)),)))
    assert where[100, 190] and not where[100, 20]


@pytest.mark.parametrize(
    "box", [(0.9, 0.9, 0.7, 0.6), (-0.5, 0.2, 1.7, 0.21), (0.0, 0.0, 0.0, 0.0), (2, 2, 3, 3)]
)
@pytest.mark.parametrize("locked", [False, True])
def test_odd_boxes_are_drawn_without_a_fault(box: tuple[float, float, float, float], locked: bool) -> None:
    region = Region("b", "x" * 300, box, name="n" * 90, locked=locked, role="underlay")
    assert draw_layout(Layout("p", (region,)), 64, 48).pixels.shape == (48, 64, 3)


def test_the_same_layout_is_drawn_alike_over_paper_and_over_a_picture() -> None:
    layout = plan_sentence("a cat and two dogs in front of a barn")[0]
    assert draw_layout(layout, 128, 96) == draw_layout(layout, 128, 96)
    below = Image(np.random.default_rng(0).integers(0, 256, (50, 70, 4), dtype=np.uint8))
    assert draw_layout(layout, 128, 96, below) != draw_layout(layout, 128, 96)
    assert len({region_colour(k) for k in range(24)}) == 24


def test_a_report_holds_every_finding_and_measure() -> None:
    layout = Layout("p", (BOX, Region("c", "", (0.3, 0.5, 0.8, 0.9)), Region("d", "x", (0, 0, 0.01, 0.01))))
    findings, measures = lint(layout), measure(layout)
    assert len(findings) >= 3
    text = report_text(findings, measures)
    assert all(finding.message in text and finding.hint in text for finding in findings)
    assert measures_line(measures) == f"Val 0.667   Ove {measures.ove:.3f}   Ali {measures.ali:.3f}"
    drawn = draw_report(layout, findings, measures, 300, 200)
    assert drawn.width == 448 and drawn.height > 200 + 15 * len(findings)
    assert (drawn.pixels[:200, 74:374] == draw_layout(layout, 300, 200).pixels).all()
    assert report_text((), measures).startswith("Nothing to mend.")
