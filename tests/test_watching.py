"""Where the words of a picture act, for a page; the run that watches makes the same picture, bit for bit."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from studio.errors import StudioError
from studio.ui.owners import Owners
from studio.ui.regions_tab import RegionsTab
from studio.watching import ALL, watched


def event(**data):
    return SimpleNamespace(_data=data)


def small(studio, name: str):
    graph = studio.workflow(name)
    changed = [("model", "model", "tiny:sd3"), ("canvas", "width", 64), ("canvas", "height", 64)]
    changed += [("schedule", "steps", 2)]
    if name == "regions":
        region = {"id": "r1", "name": "sky: top", "prompt": "a red star", "box": [0, 0, 0.5, 1]}
        changed += [("layout", "prompt", "a star at night"), ("layout", "regions", [region])]
    for node, widget, value in changed:
        graph = graph.set(node, widget, value)
    return graph


def test_words_of_a_prompt_and_of_its_regions_are_told_and_nothing_is_stored(studio):
    tab = RegionsTab(studio, Owners(studio.settings.home, public=False))
    (output,) = studio.run(small(studio, "regions")).outputs
    answer = json.loads(tab.look("", event(generation=output.generation, turn=1)))
    assert answer["turn"] == 1 and answer["paint"]["of"] == output.generation, "not watched yet"
    before = studio.history.count("local")
    document = studio.read_document(json.dumps(answer["paint"]["document"]))
    (target,) = answer["paint"]["targets"]
    report = studio.run(document, targets=[target])
    assert report.status == "finished" and studio.history.count("local") == before
    looked = json.loads(tab.look("", event(generation=output.generation, painted=True)))["looked"]
    told = [(entry["region"], entry["word"]) for entry in looked["words"]]
    assert told == [(None, "star"), (None, "night"), (0, ""), (0, "red"), (0, "star")]
    for entry in looked["words"]:
        values = np.frombuffer(base64.b64decode(entry["map"]), np.uint8)
        assert values.size == looked["rows"] * looked["columns"]
        assert values.min() == 0 and values.max() == 255
    # the whole document with its watchers makes the picture once more, equal to the bit
    again = studio.run(document, targets=["save"]).outputs[0]
    pixels = [studio.history.show("local", o.generation).pixels for o in (output, again)]
    assert pixels[0] == pixels[1]


def test_each_picture_gets_the_watchers_that_fit(studio):
    plain = small(studio, "text-to-image")
    graph, sampler = watched(plain, "save", "a star")
    assert {n.kind for n in graph.nodes} - {n.kind for n in plain.nodes} == {"watch_words", "together"}
    assert sampler == "sample" and studio.check(graph, [sampler]) == studio.check(plain, [sampler])
    own, _ = watched(studio.workflow("see-regions"), "save", "")
    assert own == studio.workflow("see-regions"), "what watches already stays"
    both, _ = watched(studio.workflow("see-regions"), "save", "a star")
    assert [n.kind for n in both.nodes if n.id.startswith("weft_")] == ["together", "watch_words"]
    edges = {edge.target: edge.source for edge in both.edges}
    assert edges["sample", "attachments"] == (ALL, "attachments") and edges[ALL, "first"][0] == "both"
    assert not [p for p in studio.check(both, ["sample"]) if p.level == "error"]
    with pytest.raises(StudioError, match="no words to watch"):
        watched(plain, "save", "at the")
    for name, node in (("edit-picture", "save"), ("upscale", "save"), ("see-words", "save_maps")):
        with pytest.raises(StudioError, match="cannot be watched"):
            watched(studio.workflow(name), node, "a star")
    again, sampler = watched(studio.workflow("edit-picture"), "save_before", "a star")
    assert sampler == "paint" and again.by_id.keys() > studio.workflow("edit-picture").by_id.keys()
    cut = replace(plain, nodes=tuple(n for n in plain.nodes if n.kind != "sample"))
    with pytest.raises(StudioError, match="cannot be watched"):
        watched(cut, "save", "a star")


def test_maps_that_are_gone_after_painting_are_said_not_asked_for_again(studio):
    tab = RegionsTab(studio, Owners(studio.settings.home, public=False))
    (output,) = studio.run(small(studio, "text-to-image").set("prompt", "text", "a star")).outputs
    answer = json.loads(tab.look("", event(generation=output.generation, painted=True)))
    assert "no longer kept" in answer["says"] and "paint" not in answer
    assert json.loads(tab.look("", event(generation="nobody's")))["says"]
