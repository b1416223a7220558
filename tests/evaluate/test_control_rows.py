"""Judges of the rows for painting around, word weight, steering and hard regions, on drawn pictures."""

from __future__ import annotations

import numpy as np
import pytest

from studio.controls.regional import HARD
from studio.evaluate import control
from studio.evaluate.control_around import canvas_of, case_of, pasted, seam, told
from studio.evaluate.control_real import free_of
from studio.evaluate.control_words import COLOUR, THING, gone, named, shows, without
from studio.evaluate.edit_cases import Thing, draw_case, edit_case
from studio.scenes.detect import detect
from studio.scenes.wanted import parse

STAR, HOUSE = Thing("star", "red", "left"), Thing("house", "blue", "right")


def test_each_method_that_steers_has_a_row() -> None:
    names = {row.name for row in control.rows()}
    assert {"flowchef.colour", "flowchef.kind", "flowchef.background", "flowchef_masked.colour", "cow.around",
            "word_weight.stronger", "word_weight.colour_gone", "word_weight.thing_gone",
            "emphasis.stronger", "emphasis.colour_gone", "emphasis.thing_gone"} <= names  # fmt: skip
    assert "flowchef_masked.background" not in names
    hard = [row for row in control.rows() if row.method == "regions_hard"]
    assert [row.what for row in hard] == ["k2", "k4"]
    assert {row.judge.keywords["mode"] for row in hard} == {HARD}


@pytest.mark.parametrize("index", range(4))
def test_a_paste_is_told_from_the_scene_around_it(index: int) -> None:
    things, background = case_of(index)
    assert (things, background) == case_of(index)
    assert things[0].place == "middle" != things[1].place and things[0].colour != things[1].colour
    right = detect(draw_case(things, background, 256))
    assert told(right, things, background) and pasted(right, things[0])
    alone = detect(draw_case(things[:1], background, 256))
    assert not told(alone, things, background) and pasted(alone, things[0])
    other = detect(draw_case(things[1:], background, 256))
    assert not pasted(other, things[0])
    canvas, where = canvas_of(things[0], background, 256)
    assert (canvas[~where] == 128).all() and where.sum() == 96 * 96 and where[80:176, 80:176].all()


def test_a_seam_is_the_step_over_the_edge_of_the_paste() -> None:
    where = np.zeros((8, 8), bool)
    where[2:6, 2:6] = True
    picture = np.zeros((8, 8, 3), np.uint8)
    assert seam(picture, where) == 0
    picture[where] = 255
    assert seam(picture, where) == pytest.approx(1)
    picture[3:5, 3:5] = 100  # inside, away from the edge
    assert seam(picture, where) == pytest.approx(1)


def test_what_is_gone_is_seen_and_what_is_left_too() -> None:
    both = detect(draw_case((STAR, HOUSE), "day", 256))
    green = detect(draw_case((Thing("star", "green", "left"), HOUSE), "day", 256))
    alone = detect(draw_case((HOUSE,), "day", 256))
    assert not gone(both, STAR, COLOUR) and not gone(both, STAR, THING) and shows(both, STAR)
    assert gone(green, STAR, COLOUR) and not gone(green, STAR, THING) and not shows(green, STAR)
    assert gone(alone, STAR, THING) and not gone(alone, STAR, COLOUR) and shows(alone, HOUSE)


def test_the_prompts_of_the_plain_way_leave_out_what_they_should() -> None:
    orange = Thing("boat", "orange", "top")
    assert without((orange, HOUSE), "day", COLOUR) == f"a boat at the top and {HOUSE.words}, by day"
    assert without((STAR, orange), "day", COLOUR) == f"a star on the left and {orange.words}, by day"
    assert without((STAR, HOUSE), "day", THING) == "a blue house on the right, by day"
    assert [w.kind for w in parse(named(["star", "cup"], "by day")).objects] == ["star", "cup"]


def test_the_free_part_is_where_the_changed_thing_stands() -> None:
    case = edit_case("colour", 0)
    values = free_of(case, 96).values
    assert values.sum() == 32 * 32
    alone = detect(draw_case((case.source[case.changed],), "day", 96)).objects[0].mask
    assert (values[alone] == 1).all()
