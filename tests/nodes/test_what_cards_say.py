"""Ready workflows whose method shows in the picture: on the embedded model, beside the picture before."""

from __future__ import annotations

import pytest

from studio.controls.negative import UNTIL
from studio.graph.engine import Engine
from studio.sampling.guidance.flowchef import FORCE
from studio.scenes.detect import detect
from tests.nodes.ready import ready_workflow

pytestmark = pytest.mark.model
Facts = list[tuple[str, str]]


def pictures(engine: Engine, name: str, **steps: int) -> tuple[Facts, Facts]:
    """Kind and colour of what the picture before shows, and of what the result shows."""
    graph = ready_workflow(name, {f"{node}.steps": count for node, count in steps.items()})
    made = engine.run(graph, targets=["save_before", "save"])
    assert made.status == "finished", made.errors
    before, after = (
        sorted((o.kind, o.colour) for o in detect(made.outputs[node]["image"].pixels).objects)
        for node in ("save_before", "save")
    )
    return before, after


def test_steering_to_a_picture_changes_what_the_new_prompt_changes_and_nothing_else(
    caching_engine: Engine,
) -> None:
    assert ready_workflow("steer-to-picture").node("steer").widgets["force"] == FORCE
    before, after = pictures(caching_engine, "steer-to-picture", first_schedule=12, schedule=16)
    assert before == [("house", "blue"), ("star", "red")]
    assert after == [("house", "blue"), ("star", "green")]


def test_a_thing_whose_words_weigh_nothing_is_not_there(caching_engine: Engine) -> None:
    before, after = pictures(caching_engine, "word-weight")
    assert before == [("house", "blue"), ("star", "red")] and after == [("star", "red")]


def test_an_avoided_colour_goes_and_the_things_stay(caching_engine: Engine) -> None:
    assert ready_workflow("avoid-without-cfg").node("avoid").widgets["end"] == UNTIL
    before, after = pictures(caching_engine, "avoid-without-cfg")
    assert ("heart", "red") in before and [kind for kind, _ in after] == [kind for kind, _ in before]
    assert "red" not in {colour for _, colour in after}


def test_an_emphasised_word_brings_what_was_missing(caching_engine: Engine) -> None:
    plain = "a star and a boat and a mushroom, at sunset"
    kinds = []
    for settings in ({"prompt.text": plain}, {}):
        graph = ready_workflow("emphasis", settings)
        made = caching_engine.run(graph, targets=["save"])
        assert made.status == "finished", made.errors
        kinds.append({found.kind for found in detect(made.outputs["save"]["image"].pixels).objects})
    assert "mushroom" in kinds[1] - kinds[0] and "boat" in kinds[0] & kinds[1]


def test_a_pasted_thing_stays_and_the_scene_is_painted_around_it(caching_engine: Engine) -> None:
    graph = ready_workflow("paint-around-picture")
    made = caching_engine.run(graph, targets=["save"])
    assert made.status == "finished", made.errors
    seen = detect(made.outputs["save"]["image"].pixels)
    assert seen.background == "night"
    told = sorted((found.kind, found.colour, found.place) for found in seen.objects)
    assert told == [("house", "blue", "left"), ("star", "red", "middle")]


def test_an_edit_with_the_pictures_values_changes_the_word_alone(caching_engine: Engine) -> None:
    before, after = pictures(caching_engine, "keep-picture-values")
    assert before == [("house", "blue"), ("star", "red")]
    assert after == [("house", "blue"), ("star", "green")]
