"""A prompt is all right only if all of it is there and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from studio.scenes.caption import caption, held_out_prompts
from studio.scenes.detect import Detection, Found
from studio.scenes.draw import draw
from studio.scenes.score import report, score, wilson
from studio.scenes.wanted import parse
from studio.scenes.world import PLACES, SIZES, Scene, SceneObject, sample_scene

NO_MASK = np.zeros((1, 1), bool)


def thing(kind: str, colour: str, place: str, *, size: str = "small") -> Found:
    x, y = PLACES[place]
    reach = SIZES[size] / 2
    box = (x - reach, y - reach, x + reach, y + reach)
    return Found(kind, colour, "solid", size, place, box, NO_MASK, 0.9)


STAR, HOUSE = thing("star", "red", "left"), thing("house", "blue", "right", size="large")
SEEN = Detection([HOUSE, STAR], "night")
PROMPT = "a red star on the left and a large blue house on the right, at night"


def all_right(prompt: str, detection: Detection = SEEN) -> bool:
    return score(detection, parse(prompt)).all_right


def test_a_picture_that_shows_what_was_asked_is_all_right() -> None:
    result = score(SEEN, parse(PROMPT))
    assert (result.wanted, result.found, result.all_right) == (2, 2, True)
    assert result.properties == {
        "kind": (2, 2), "colour": (2, 2), "place": (2, 2), "size": (1, 1),
        "background": (1, 1), "count": (1, 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "right"),
    [
        ("a star and a house", True),
        ("a red star left of a blue house", True),
        ("a blue house to the right of a red star, night", True),
        ("a red house and a blue star", False),
        ("a red star on the right and a blue house on the left", False),
        ("a red star right of a blue house", False),
        ("a red star above a blue house", False),
        ("a large red star and a blue house", False),
        ("a striped red star and a blue house", False),
        ("a plain red star and a blue house", True),
        ("a red star and a blue house, at sea", False),
        ("a red star", False),
        ("a red star, a blue house, a green tree", False),
        ("at night", True),
        ("by day", False),
        ("", False),
        ("a dragon", False),
    ],
)
def test_each_stated_property_counts_and_no_other(prompt: str, right: bool) -> None:
    assert all_right(prompt) is right


def test_what_is_missing_is_counted_out() -> None:
    result = score(SEEN, parse("a red star, a green house, a pink fish"))
    assert (result.wanted, result.found, result.all_right) == (3, 1, False)
    assert result.properties["kind"] == (2, 3)
    assert result.properties["colour"] == (1, 3)


def test_something_unnamed_beside_them_spoils_it() -> None:
    crowded = replace(SEEN, objects=[*SEEN.objects, thing("fish", "pink", "bottom")])
    result = score(crowded, parse(PROMPT))
    assert (result.found, result.all_right) == (2, False)
    assert result.properties["count"] == (0, 1)


def test_an_empty_picture_has_found_nothing() -> None:
    result = score(Detection([], "night"), parse(PROMPT))
    assert (result.wanted, result.found, result.all_right) == (2, 0, False)
    assert result.properties["background"] == (1, 1)


def test_an_unrecognisable_object_is_no_object_of_its_kind() -> None:
    vague = Detection([replace(STAR, confidence=0.5), HOUSE], "night")
    result = score(vague, parse(PROMPT))
    assert (result.found, result.all_right) == (1, False)


def test_two_of_a_kind_are_told_apart_by_the_best_assignment() -> None:
    seen = Detection([thing("star", "red", "top"), thing("star", "blue", "bottom")], "day")
    assert all_right("a star at the bottom and a red star", seen)
    assert all_right("a star, a blue star", seen)
    assert all_right("a star below a star", seen)
    assert not all_right("a red star at the bottom and a star", seen)


def test_one_object_does_not_count_twice() -> None:
    assert score(Detection([STAR], "day"), parse("a red star and a red star")).found == 1


def test_a_prompt_of_many_objects_is_judged_in_time() -> None:
    seen = Detection([thing("star", "red", place) for place in PLACES], "day")
    wanted = parse(", ".join(f"red star {place}" for place in PLACES))
    result = score(seen, wanted)
    assert (result.wanted, result.found, result.all_right) == (9, 9, True)


def drawn(prompt_scene: Scene, text: str) -> dict:
    return report(draw(prompt_scene, 256), text)["prompt_score"]


def test_a_drawn_scene_fulfils_its_own_caption() -> None:
    rng = np.random.default_rng(21)
    for index in range(24):
        scene = sample_scene(rng)
        text = caption(scene, rng, full=index % 2 == 0)
        judged = drawn(scene, text)
        assert judged == {"wanted": len(scene.objects), "found": len(scene.objects), "all_right": True}, text


def test_a_drawn_scene_does_not_fulfil_other_prompts() -> None:
    rng = np.random.default_rng(22)
    for text, _, count in held_out_prompts(16):
        assert not drawn(sample_scene(rng, count), text)["all_right"]


@pytest.mark.parametrize(
    ("name", "value"), [("kind", "cup"), ("colour", "green"), ("pattern", "striped"), ("size", "small")]
)
def test_one_changed_property_is_noticed_in_the_picture(name: str, value: str) -> None:
    text = "a medium red dotted heart in the middle, in the city"
    heart = SceneObject("heart", "red", "dotted", "medium", "middle", *PLACES["middle"], SIZES["medium"])
    assert drawn(Scene("city", (heart,), 1), text)["all_right"]
    other = replace(heart, **{name: value})
    if name == "size":
        other = replace(other, extent=SIZES[value])
    assert not drawn(Scene("city", (other,), 1), text)["all_right"]


def test_the_report_is_plain_json_of_the_promised_shape() -> None:
    scene = sample_scene(np.random.default_rng(23), 2)
    found = report(draw(scene, 256))
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"objects", "background", "prompt_score"}
    assert found["prompt_score"] is None
    assert len(found["objects"]) == 2
    for item in found["objects"]:
        assert set(item) == {"kind", "colour", "pattern", "size", "place", "box"}
        assert len(item["box"]) == 4
        assert all(0 <= edge <= 1 for edge in item["box"])
    assert set(report(draw(scene, 256), "a star")["prompt_score"]) == {"wanted", "found", "all_right"}


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (90, 100, 0.8256, 0.9448)],
)
def test_wilson_intervals_are_the_published_ones(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


def test_no_case_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
