"""edit_tab.py: sources of an edit as documents, with the real workflows; nothing of a browser is trusted."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image as Pillow

from studio.graph.document import loads
from studio.settings import ROOT
from studio.ui.edit_tab import EditTab
from studio.ui.owners import Owners
from studio.ui.templates import Templates


def tab_of(studio) -> EditTab:
    owners = Owners(studio.settings.home, public=studio.policy.is_public)
    tab = EditTab(studio, owners, Templates(studio))
    real = studio.workflow

    def workflow(name: str = "text-to-image"):
        file = ROOT / "assets" / "workflows" / f"{name}.json"
        return loads(file.read_text("utf-8")) if name.startswith("edit-") else real(name)

    studio.workflow = workflow
    return tab


def event(**data):
    return SimpleNamespace(_data=data)


def picture() -> str:
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30), (200, 30, 30)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def nodes(way) -> dict[str, dict]:
    return {node["id"]: node for node in way["document"]["nodes"]}


def test_an_upload_takes_the_place_of_the_painted_picture(fake):
    source = json.loads(tab_of(fake).bring("", event(name="me.png", data=picture())))["source"]
    assert list(source["ways"]) == ["picture"] and source["url"].startswith("data:image/png;base64,")
    found = nodes(source["ways"]["picture"])
    assert len(found["yours"]["widgets"]["picture"]["file"]) == 64
    assert source["of"] == [40, 30]
    assert not {"canvas", "paint", "picture"} & set(found)
    edges = source["ways"]["picture"]["document"]["edges"]
    assert {"from": ["yours", "image"], "to": ["encode", "image"]} in edges
    assert all(end[0] in found for edge in edges for end in (edge["from"], edge["to"]))
    assert (found["encode"]["widgets"]["width"], found["encode"]["widgets"]["height"]) == (256, 256)


def test_a_picture_of_another_graph_comes_as_a_file_with_its_prompt(fake):
    tab = tab_of(fake)
    document = fake.workflow("text-to-image").set("p", "text", "a red star")
    made = fake.run(document).outputs[0].generation
    tab._templates = SimpleNamespace(name_of=lambda graph: "", cards=[])
    source = json.loads(tab.source("", event(generation=made)))["source"]
    found = nodes(source["ways"]["picture"])
    assert found["before"]["widgets"]["text"] == found["after"]["widgets"]["text"] == "a red star"
    assert not source["painted"] and "yours" in found


def test_a_source_tells_its_edits_the_newest_last(fake):
    tab = tab_of(fake)
    tab._templates = SimpleNamespace(name_of=lambda graph: "", cards=[])
    made = [fake.run(fake.workflow()).outputs[0].generation for _ in range(4)]
    edit = loads((ROOT / "assets" / "workflows" / "edit-by-prompt.json").read_text("utf-8"))
    edit = edit.set("before", "text", "red").set("prompt", "text", "green").set("edit", "eta", 0.25)
    document_of, link = fake.document_of, "INSERT INTO parents (child, parent, role) VALUES (?, ?, ?)"
    for child in made[1:]:
        fake.history.db.execute(link, (child, made[0], "source"))
    fake.history.db.execute(link, (made[2], made[1], "reuse"))
    fake.history.db.execute("UPDATE generations SET node = 'save'")
    fake.document_of = lambda id, owner: edit if id in made[1:3] else document_of(id, owner)
    told = json.loads(tab.source("", event(generation=made[0])))["source"]["edits"]
    assert [e["id"] for e in told] == made[1:3], "what is no edit is left out"
    assert told[0] == {"id": made[1], "old": "red", "words": "green", "far": {"eta": 0.25}}
    other = json.loads(tab.source("", event(generation=made[1])))["source"]
    assert other["edits"] == [], "a reuse is no edit"


def test_a_painted_picture_is_painted_again_with_its_own_settings(fake):
    made = loads((ROOT / "assets" / "workflows" / "text-to-image.json").read_text("utf-8"))
    canvas = next(node.id for node in made.nodes if node.kind == "empty_latent")
    steps = next(node.id for node in made.nodes if node.kind == "schedule")
    made = made.set(canvas, "seed", 77).set(steps, "steps", 9)
    tab = tab_of(fake)
    together = tab._like(fake.workflow("edit-by-prompt"), made, "a red star")
    assert together.node("canvas").widgets["seed"] == 77 and together.node("schedule").widgets["steps"] == 9
    assert together.node("before").widgets["text"] == together.node("prompt").widgets["text"] == "a red star"
    changed = tab._like(fake.workflow("edit-picture"), made, "a red star")
    assert changed.node("first_schedule").widgets["steps"] == 9
    assert changed.node("schedule").widgets["steps"] == 28, "the change keeps its own steps"


def test_it_is_painted_again_with_its_whole_guidance_and_with_what_it_leaves_out(studio):
    """A number that a person had set was lost once, and then it was another picture."""
    made = studio.workflow().set("guidance", "guidance", 6.0).set("guidance", "rescale", 0.5)
    made = made.set("schedule", "strength", 0.9)
    own = made.node("sampler")
    bare = replace(own, widgets={})
    made = replace(made, nodes=tuple(bare if node is own else node for node in made.nodes))
    again = tab_of(studio)._like(studio.workflow("edit-by-prompt"), made, "a red star")
    told = again.node("guidance").widgets
    assert (told["guidance"], told["rescale"]) == (6.0, 0.5)
    assert again.node("schedule").widgets["strength"] == 0.9
    assert again.node("sampler").widgets["sampler"] == "euler", "the node's own, not the workflow's"


def test_an_edited_picture_is_described_by_its_new_words():
    from studio.ui.edit_tab import _words_of

    made = loads((ROOT / "assets" / "workflows" / "edit-by-prompt.json").read_text("utf-8"))
    made = made.set("before", "text", "a red star").set("prompt", "text", "a green star")
    assert _words_of(made, "a red star") == "a green star"
    plain = loads((ROOT / "assets" / "workflows" / "text-to-image.json").read_text("utf-8"))
    assert _words_of(plain, "a boat") == "a boat"


@pytest.mark.parametrize("data", [{}, {"generation": 7}, {"generation": "no-such"}], ids=repr)
def test_an_unknown_picture_is_refused_in_words(fake, data):
    assert json.loads(tab_of(fake).source("", event(**data)))["says"]


@pytest.mark.parametrize("data", ["", "!!", base64.b64encode(b"no picture").decode(), 7, None], ids=repr)
def test_what_is_no_picture_is_refused_in_words(fake, data):
    assert json.loads(tab_of(fake).bring("", event(name="x", data=data)))["says"]
