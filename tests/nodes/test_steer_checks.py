"""Steering that would come to nothing or break in the run is told when the graph is checked."""

from __future__ import annotations

import re
from typing import Any

import pytest

from studio.graph.engine import Engine
from studio.graph.problem import Problem
from studio.models.prompt_weights import unclosed
from tests.nodes.ready import changed, ready_workflow

AVOIDING = {"layout.regions": [{"id": "a", "prompt": "a star", "box": [0, 0, 1, 1], "negative": "red"}]}
WIDE = {"encode.width": 128, "encode.height": 64, "canvas.width": 64, "canvas.height": 64}


def problems(engine: Engine, name: str, **settings: Any) -> list[Problem]:
    """What is said of a ready workflow on the miniature with these settings, "node.widget"."""
    return engine.check(changed(ready_workflow(name), {"model.model": "tiny:sd3", **settings}))


@pytest.mark.parametrize(
    ("name", "settings", "socket", "message", "hint"),
    [
        ("keep-the-subject", WIDE, "subject.reference", "128x64 pixels.*has 64x64", "width to 64"),
        ("steer-to-picture", WIDE, "steer.picture", "128x64 pixels.*has", "height to"),
        ("mask-from-words", {"mask.word": "hose"}, "mask.word", "'hose' was not watched", "'house'"),
        (
            "panels",
            {"panels.panels": "a star\n" * 13},
            "panels.panels",
            "13 lines.*12 are",
            "Leave lines out",
        ),
        (
            "edit-inverted-picture",
            {"invert.keep_values": 99},
            "invert.keep_values",
            "99 steps cannot",
            "0 to",
        ),
        ("edit-inverted-picture", {"values.steps": 9}, "values.steps", "9 steps.*those of 2", "at most 2"),
    ],
)
def test_what_only_the_run_refused_the_check_refuses(
    engine: Engine, name: str, settings: dict[str, Any], socket: str, message: str, hint: str
) -> None:
    found = [p for p in problems(engine, name, **settings) if f"{p.node}.{p.socket}" == socket]
    assert [p.level for p in found] == ["error"], found
    assert re.search(message, found[0].message) and re.search(hint, found[0].hint) and found[0].blocking
    as_it_ships = problems(engine, name)
    assert socket not in {f"{p.node}.{p.socket}" for p in as_it_ships if re.search(message, p.message)}


@pytest.mark.parametrize("ref", ["tiny:sd3", "tiny:flux"])
def test_what_a_region_avoids_without_guidance_is_a_warning(engine: Engine, ref: str) -> None:
    alone = {**AVOIDING, "model.model": ref, "guidance.cfg_scale": 1.0}
    (found,) = [p for p in problems(engine, "regions", **alone) if "avoids" in p.message]
    assert (found.node, found.socket, found.level) == ("layout", "regions", "warning")
    assert "'a' avoids 'red'" in found.message and "cfg_scale" in found.hint and "Avoid (NAG)" in found.hint
    for settings in (
        {**alone, "guidance.cfg_scale": 3.0},
        {**alone, "layout.regions": [{**AVOIDING["layout.regions"][0], "strength": 0.0}]},
        {**alone, "layout.regions": [{**AVOIDING["layout.regions"][0], "negative": " "}]},
    ):
        assert not [p for p in problems(engine, "regions", **settings) if "avoids" in p.message]


@pytest.mark.parametrize("name", ["text-to-image", "word-weight"])
def test_a_weight_that_is_not_closed_is_a_warning_with_its_mend(engine: Engine, name: str) -> None:
    said = problems(engine, name, **{"prompt.text": "a (red:1.4 star"})
    (found,) = [problem for problem in said if "closed" in problem.message]
    assert (found.node, found.socket, found.level) == ("prompt", "text", "warning")
    assert "'(red:1.4'" in found.message and "(red:1.4)" in found.hint and not found.blocking


@pytest.mark.parametrize(
    ("text", "begun"),
    [
        ("a (red:1.4 star", "(red:1.4"),
        ("a (red star:1.4, at night", "(red star:1.4"),
        ("((red:1.2) star:1.4 it", "((red:1.2) star:1.4"),
        ("a (red:1.4) star", ""),
        ("a (red star", ""),
        ("a (red:dark star", ""),
        ("a (at 12:30 in the night", ""),
        ("a \\(red:1.4 star", ""),
    ],
)
def test_what_counts_as_the_beginning_of_a_weight(text: str, begun: str) -> None:
    assert unclosed(text) == begun
