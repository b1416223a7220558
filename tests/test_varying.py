"""Create on real runs: variations of a picture, and what a page is told of a run that it takes up."""

from __future__ import annotations

import asyncio
import json
import threading
from types import SimpleNamespace

import pytest

from studio.errors import StudioError
from studio.graph.document import to_json
from studio.ui.create import CreateTab
from studio.ui.owners import Owners
from studio.ui.pictures import Pictures
from studio.varying import STRENGTH, variations


def small(studio, name: str):
    graph = studio.workflow(name)
    sides = [("canvas", "width", 64), ("canvas", "height", 64)]
    for node, widget, value in (("model", "model", "tiny:sd3"), *sides, ("schedule", "steps", 4)):
        graph = graph.set(node, widget, value)
    return graph


@pytest.mark.parametrize("name", ["text-to-image", "regions", "few-step"])
def test_each_seed_gives_a_picture_of_its_own_near_the_first(studio, name):
    plain = small(studio, name)
    made, outputs = variations(plain, "save", [1, 2])
    assert len(outputs) == 2 and not [p for p in studio.check(made, outputs) if p.level == "error"]
    assert "save" not in made.by_id, "the picture itself is not stored once more"
    further, _ = variations(made, outputs[1], [3])
    assert "sample_2" in further.by_id and "sample_1" not in further.by_id, "only what the picture is made of"
    report = studio.run(made)
    assert report.status == "finished" and {o.node for o in report.outputs} == set(outputs)
    pixels = {studio.history.show("local", o.generation).pixels for o in report.outputs}
    assert len(pixels) == 2
    edges = {edge.target: edge.source for edge in made.edges}
    for socket in ("positive", "negative", "guidance", "sampler", "attachments"):
        source = {e.target: e.source for e in plain.edges}.get(("sample", socket))
        assert edges.get(("sample_1", socket)) == source, socket
    assert made.node("again").widgets["strength"] == STRENGTH


def test_one_seed_is_one_picture_and_all_of_the_schedule_leaves_nothing_of_the_first(studio):
    runs = [studio.run(variations(small(studio, "text-to-image"), "save", [7])[0]) for _ in range(2)]
    first, second = (studio.history.show("local", run.outputs[0].generation).pixels for run in runs)
    assert first == second
    kept, (save,) = variations(small(studio, "text-to-image"), "save", [7], strength=0.0)
    report = studio.run(kept.set("again", "strength", 0.25))
    near = studio.history.show("local", report.outputs[0].generation).pixels
    assert near != first and report.outputs[0].node == save


@pytest.mark.parametrize(
    ("name", "node"), [("edit-picture", "save"), ("upscale", "save"), ("see-words", "save_maps")]
)
def test_what_was_changed_after_it_was_painted_is_refused(studio, name, node):
    with pytest.raises(StudioError, match="cannot be varied"):
        variations(studio.workflow(name), node, [1])


def test_a_page_gets_the_run_for_its_own_pictures_alone(visitors):
    studio, tab, mine, other = visitors
    (output,) = studio.run(small(studio, "text-to-image"), owner=tab._owners.owner(mine)).outputs
    ask = SimpleNamespace(_data={"generation": output.generation, "seeds": [1, 2], "turn": 3})
    answer = json.loads(tab.vary(mine, ask))
    assert answer["turn"] == 3 and len(answer["vary"]["targets"]) == 2
    assert "vary" not in json.loads(tab.vary(other, ask))
    for seeds in ([], "x", [True], [-1], [1] * 9, None):
        bad = SimpleNamespace(_data={"generation": output.generation, "seeds": seeds})
        assert "no usable seeds" in json.loads(tab.vary(mine, bad))["says"]


def test_a_page_that_takes_up_a_run_is_told_what_it_is_made_of(studio, monkeypatch):
    """So that no view shows its pictures on another document. The run waits until the page has it."""
    owners = Owners(studio.settings.home, public=False)
    tab = CreateTab(studio, owners, Pictures(studio, owners))
    taken_up, run_now = threading.Event(), studio.engine.run

    def held(*args, **kwargs):
        assert taken_up.wait(60)
        return run_now(*args, **kwargs)

    async def gather():
        heard = []
        async for message in tab.attach(""):
            heard.append(json.loads(message))
            taken_up.set()
        return heard

    monkeypatch.setattr(studio.engine, "run", held)
    document = small(studio, "text-to-image")
    run = studio.submit(document)
    first, *rest = asyncio.run(gather())
    assert first["run"] == run and all(first["of"][k] == to_json(document)[k] for k in ("nodes", "edges"))
    assert rest[-1]["job"]["state"] == "done" and not any("of" in message for message in rest)


@pytest.fixture
def visitors(studio):
    owners = Owners(studio.settings.home, public=True)
    return studio, CreateTab(studio, owners, Pictures(studio, owners)), owners.issue(), owners.issue()
