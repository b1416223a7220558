"""The Graph tab's Python: what is said of a document, what is handed out, and what the editor draws from."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from studio.errors import StudioError
from studio.graph.document import load, loads, to_json
from studio.settings import ROOT
from studio.ui.create import CreateTab
from studio.ui.graph_export import as_call, as_python
from studio.ui.graph_tab import MOST_TARGETS, GraphTab, targets_of
from studio.ui.graph_view import ALSO, SIGNS, registry_json
from studio.ui.owners import LOCAL, Owners
from studio.ui.pictures import Pictures
from studio.ui.templates import Templates

HOSTILE = '</script><img src=x onerror=alert(1)> ${alert(2)} {{alert(3)}} """ \\'
GROUNDS = ("#fdfaf4", "#201d19", "#f4efe6", "#171512")  # panels and pages of both themes


def event(**data: object) -> Any:
    return SimpleNamespace(_data=data)


@pytest.fixture
def tab(fake: Any, monkeypatch: pytest.MonkeyPatch) -> GraphTab:
    owners = SimpleNamespace(owner=lambda token: LOCAL)
    return GraphTab(fake, owners, Templates(fake))  # type: ignore[arg-type]


def document(fake: Any, **widgets: object) -> dict[str, Any]:
    data = to_json(fake.workflow())
    for node in data["nodes"]:
        if node["id"] == "s":
            node["widgets"].update(widgets)
    return data


def look(tab: GraphTab, value: object, **data: object) -> dict[str, Any]:
    return json.loads(tab.look(value, "", event(n=7, **data)))


def test_a_sound_document_has_a_form_and_no_problem(tab, fake):
    said = look(tab, json.dumps(document(fake)))
    assert said["n"] == 7 and said["problems"] == [] and said["template"] == "text-to-image"
    assert [field["label"] for field in said["panel"]][:2] == ["Prompt", "Avoid"]
    assert "plan" not in said


def test_a_problem_names_node_socket_and_mend(tab, fake):
    said = look(tab, json.dumps(document(fake, steps=0)))
    problem = said["problems"][0]
    assert (problem["node"], problem["socket"], problem["level"]) == ("s", "steps", "error")
    assert problem["hint"]


@pytest.mark.parametrize("value", [None, 5, [], {}, "", "{", "[]", '{"format": "other"}', "null", "NaN"])
def test_anything_else_than_a_document_is_told_not_raised(tab, value):
    said = look(tab, value)
    assert said["problems"][0]["message"] and "panel" not in said
    assert json.loads(tab.hand_out(value, event(what="json")))["fault"]


@pytest.mark.parametrize("data", [None, [], "text", {"n": "x"}, {"n": 1, "targets": 3, "plan": "yes"}])
def test_odd_event_data_is_read_as_nothing(tab, fake, data):
    said = json.loads(tab.look(json.dumps(document(fake)), "", SimpleNamespace(_data=data)))  # type: ignore[arg-type]
    assert said["problems"] == [] and "plan" not in said


def test_a_hostile_text_never_closes_a_script(tab, fake):
    data = document(fake)
    data["nodes"][0]["title"] = HOSTILE
    data["nodes"][4]["widgets"]["steps"] = HOSTILE
    for said in (tab.look(json.dumps(data), "", event(n=1)), tab.hand_out(json.dumps(data), event())):
        assert "<" not in said
        json.loads(said)


def test_targets_are_a_bounded_list_of_ids():
    assert targets_of(event(targets=["a", "b"])) == ["a", "b"]
    for odd in (None, [], "ab", [1], ["a", None], ["x"] * (MOST_TARGETS + 1), {"a": 1}):
        assert targets_of(event(targets=odd)) is None


def test_the_plan_says_what_would_run_and_why(studio):
    tab = GraphTab(studio, SimpleNamespace(owner=lambda token: LOCAL), Templates(studio))  # type: ignore[arg-type]
    text = json.dumps(to_json(studio.workflow()))
    plan = look(tab, text, plan=True)["plan"]
    assert {node["action"] for node in plan["nodes"]} == {"run"} and plan["targets"] == ["save"]
    assert all(node["reason"] for node in plan["nodes"])
    part = look(tab, text, plan=True, targets=["prompt"])["plan"]
    assert {node["id"] for node in part["nodes"]} == {"model", "prompt"}
    assert "fault" in look(tab, text, plan=True, targets=["nobody"])["plan"]


def test_what_is_saved_is_the_document_with_its_kinds(tab, fake):
    fake.registry.find("schedule")
    data = {**document(fake), "future": {"kept": [1, 2]}}
    data["nodes"].append({"id": "lost", "kind": "gone", "widgets": {"a": 1}})
    said = json.loads(tab.hand_out(json.dumps(data), event(what="json")))["handed"]
    saved = loads(said["text"])
    assert saved.kinds["schedule"]["widgets"][0][0] == "steps" and saved.extra["future"] == {"kept": [1, 2]}
    assert saved.node("lost").widgets == {"a": 1}


def test_the_exported_script_builds_the_same_graph():
    graph = load({
        "format": "weft/graph", "version": 1,
        "nodes": [
            {"id": "a.b", "kind": "encode_prompt", "title": HOSTILE, "widgets": {"text": HOSTILE}},
            {"id": "c", "kind": "sample", "mode": "mute", "widgets": {"n": None, "on": True, "x": [1, 0.5]}},
        ],
        "edges": [{"from": ["a.b", "conditioning"], "to": ["c", "positive"]}],
    })  # fmt: skip
    space: dict[str, Any] = {"__name__": "exported"}
    exec(compile(as_python(graph), "exported.py", "exec"), space)  # noqa: S102 - our own script
    assert space["document"]().hash == graph.hash


def test_the_exported_call_carries_the_same_graph():
    graph = load({"format": "weft/graph", "version": 1, "nodes": [
        {"id": "p", "kind": "encode_prompt", "widgets": {"text": HOSTILE}}], "edges": []})  # fmt: skip
    script = as_call(graph, "http://127.0.0.1:7860/")
    text = re.search(r"json\.loads\((.*)\)$", script, re.MULTILINE)
    assert text is not None
    import ast

    assert load(json.loads(ast.literal_eval(text[1]))).hash == graph.hash
    compile(script, "call.py", "exec")


def test_a_call_names_only_an_address_of_a_page(tab, fake):
    value = json.dumps(document(fake))
    for url, named in (
        ("http://localhost:7861/", "http://localhost:7861/"),
        ('http://x/" + evil + "', "http://127.0.0.1:7860/"),
        (5, "http://127.0.0.1:7860/"),
    ):
        text = json.loads(tab.hand_out(value, event(what="api", url=url)))["handed"]["text"]
        assert f'Client("{named}")' in text and "evil" not in text


def create(fake: Any) -> CreateTab:
    owners = Owners(fake.settings.home, public=False)
    return CreateTab(fake, owners, Pictures(fake, owners))


def test_a_run_to_a_node_hands_the_node_on(fake, monkeypatch):
    asked: dict[str, object] = {}

    def submit(document: object, **more: object) -> str:
        asked.update(more)
        raise StudioError("No.")

    async def run() -> list[str]:
        value = json.dumps({"document": document(fake)})
        return [message async for message in create(fake).run(value, "", ["p"])]

    monkeypatch.setattr(fake, "submit", submit)
    asyncio.run(run())
    assert asked["targets"] == ["p"]


def test_a_graph_that_create_cannot_show_is_kept_over_a_reload(fake):
    own = {**document(fake), "exposed": []}
    message = json.loads(create(fake).open(event(text=json.dumps(own), name="")))
    assert message["panel"] == [] and len(message["document"]["nodes"]) == len(own["nodes"])


@pytest.mark.slow
def test_the_exported_script_starts_in_a_fresh_python(studio, tmp_path):
    script = tmp_path / "graph.py"
    script.write_text(as_python(studio.workflow()), encoding="utf-8")
    code = f"import runpy; print(len(runpy.run_path({str(script)!r}, run_name='x')['document']().nodes))"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(made.stdout) == len(studio.workflow().nodes)


def test_every_kind_type_and_group_can_be_drawn(studio):
    known = registry_json(studio)
    text = json.dumps(known)
    assert str(ROOT) not in text
    for node in known["nodes"].values():
        assert node["category"] in known["categories"]
        for socket in (*node["inputs"], *node["outputs"], *node["widgets"]):
            assert known["types"][socket["type"]]["shape"] in ("circle", "square", "diamond")
        assert all(out["line"][0] == out["type"] for out in node["outputs"])


def test_each_type_of_ours_has_a_sign_of_its_own(studio):
    known = registry_json(studio)["types"]
    assert set(known) <= set(SIGNS), "give the new type a colour, a shape and a word"
    assert len({(sign[0], sign[1]) for sign in SIGNS.values()}) == len(SIGNS)
    assert len({sign[2] for sign in SIGNS.values()}) == len(SIGNS)


@pytest.mark.parametrize("ground", GROUNDS)
def test_the_colours_of_types_are_seen_on_both_grounds(ground):
    for name, (colour, _, _) in SIGNS.items():
        assert contrast(colour, ground) >= 3, (name, colour, ground, contrast(colour, ground))


def contrast(a: str, b: str) -> float:
    """WCAG contrast of two colours "#rrggbb"."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_what_the_ready_workflows_use_most_is_counted(tmp_path):
    from studio.policy import Policy
    from studio.settings import Settings
    from studio.studio import Studio

    studio = Studio(Settings(home=tmp_path), Policy.local())
    try:
        known = registry_json(studio)
        usual = known["usual"]
        assert set(ALSO) <= set(known["nodes"]) and "vae" in known["nodes"]["decode"]["also"]
        files = sorted(studio.settings.workflows_folder.glob("*.json"))
    finally:
        studio.close()
    assert usual["uses"]["save_image"] == len(files) > 20
    assert max(usual["takes"]["sample.latent"].items(), key=lambda item: item[1])[0] == "decode"
    assert max(usual["takes"]["Image"].items(), key=lambda item: item[1])[0] == "save_image"
    assert max(usual["gives"]["Conditioning"].items(), key=lambda item: item[1])[0] == "encode_prompt"
    texts = [json.loads(path.read_text("utf-8")) for path in files]
    kinds = [{node["id"]: node["kind"] for node in text["nodes"]} for text in texts]
    plain = sum(  # three-moods keeps its nodes in a sub-graph: it is counted, too
        any(of.get(e["from"][0]) == "decode" and of.get(e["to"][0]) == "save_image" for e in text["edges"])
        for text, of in zip(texts, kinds, strict=True)
    )
    assert plain <= usual["takes"]["decode.image"]["save_image"] <= len(files)
