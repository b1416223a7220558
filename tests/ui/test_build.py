"""build.py: what the page consists of, what it names to the world, and what a first visit costs."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.policy import Policy
from studio.settings import ROOT

PUBLIC = {"generate", "get_history", "list_nodes", "run_graph", "validate_graph"}


def test_the_public_names_are_exactly_five(served):
    names = {
        d["api_name"]
        for d in served.demo.get_config_file()["dependencies"]
        if d["api_visibility"] == "public"
    }
    assert names == PUBLIC


def test_programs_see_only_these_names(served):
    with urllib.request.urlopen(served.url + "gradio_api/info") as answer:
        assert set(json.load(answer)["named_endpoints"]) == {"/" + name for name in PUBLIC}


def test_no_template_can_run_a_persons_text(served):
    blocks = [b for b in served.demo.get_config_file()["components"] if b["type"] == "html"]
    assert len(blocks) >= 5
    for block in blocks:
        props = block["props"]
        for name in ("html_template", "css_template"):
            assert "{{" not in props[name] and "${" not in props[name] and "value" not in props[name]
        assert not block.get("props", {}).get("server_fns")


def test_no_component_uploads_or_serves_folders(served):
    config = served.demo.get_config_file()
    assert not {"image", "imageeditor", "file", "uploadbutton", "gallery"} & {
        b["type"] for b in config["components"]
    }
    assert served.demo.allowed_paths == []


def test_the_config_holds_no_path_of_the_server(served):
    assert str(ROOT) not in json.dumps(served.demo.get_config_file(), default=str)


def test_subscriptions_hold_no_lock(served):
    endless = [d for d in served.demo.get_config_file()["dependencies"] if d["types"]["generator"]]
    assert len(endless) == 6  # run, parked, attach, sweep, keep, replay
    assert all(served.demo.fns[d["id"]].concurrency_limit is None for d in endless)


def test_what_an_event_tells_is_never_replaced_by_what_one_before_it_told(served):
    """gradio sends an event that waited under "always_last" with the data of the event before it."""
    telling = [fn for fn in served.demo.fns.values() if "event" in inspect.signature(fn.fn).parameters]
    assert len(telling) >= 18
    assert [fn.name for fn in telling if fn.trigger_mode == "always_last"] == []


def test_a_taken_port_is_named_with_a_way_out(fake):
    from studio.ui.build import serve

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StudioError, match=str(port)) as error:
            serve(fake, port=port)
    assert "--port" in error.value.hint


def test_programs_can_check_and_list(served):
    from gradio_client import Client

    client = Client(served.url, verbose=False)
    document = {"format": "weft/graph", "version": 1, "nodes": [
        {"id": "s", "kind": "schedule", "widgets": {"steps": 0}}], "edges": [], "exposed": []}  # fmt: skip
    problems = client.predict(document, api_name="/validate_graph")
    assert not problems["ok"] and problems["problems"][0]["node"] == "s"
    assert "schedule" in client.predict(api_name="/list_nodes")["nodes"]
    assert client.predict({"format": "other"}, "", api_name="/run_graph")["status"] == "refused"
    made = client.predict("a blue house", "", 5, None, None, None, None, "", api_name="/generate")
    found = client.predict("blue", 5, "", "", api_name="/get_history")["pictures"]
    assert made["pictures"][0]["id"] in [picture["id"] for picture in found]
    client.close()


def blocks_of_the_manual(language: str, url: str) -> list[str]:
    """The examples of docs/api.md, for the studio at `url`."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    found = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    assert found and all("http://127.0.0.1:7860/" in block for block in found)
    return [block.replace("http://127.0.0.1:7860/", url) for block in found]


def test_the_examples_of_the_manual_run(
    served: object,
    fake: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from studio.graph.document import dumps

    monkeypatch.chdir(tmp_path)
    Path("weft-graph.json").write_text(dumps(fake.workflow().set("p", "text", "x")), "utf-8")
    for block in blocks_of_the_manual("python", served.url):
        space: dict[str, object] = {}
        exec(compile(block, "docs/api.md", "exec"), space)  # noqa: S102 - our own page
        space["client"].close()
    said = capsys.readouterr().out
    (file,) = tmp_path.glob("*.png")
    assert file.read_bytes().startswith(b"\x89PNG") and f"{file.name} 256 256 5" in said
    assert f"finished ['{served.url}weft/picture/local/" in said and "1 found; older ones: None" in said


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example is for curl")
def test_the_two_requests_of_the_manual_give_a_run(served: object) -> None:
    (block,) = blocks_of_the_manual("sh", served.url)
    told = subprocess.run(
        ["bash", "-c", block], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert told.startswith("event: complete")
    (answer,) = json.loads(told.partition("data: ")[2])
    assert answer["status"] == "finished" and answer["error"] is None
    with urllib.request.urlopen(answer["pictures"][0]["thumb"]) as picture:
        assert picture.status == 200


def test_the_manual_names_every_call_argument_and_field_and_answers_have_names(served: object) -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    with urllib.request.urlopen(served.url + "gradio_api/info") as answer:
        calls = json.load(answer)["named_endpoints"]
    for name, call in calls.items():
        (given,) = call["returns"]
        assert given["label"] == "answer" and given["python_type"]["type"].startswith("dict(")
        fields = given["type"]["properties"]
        pictures = fields.get("pictures", {}).get("items", {}).get("properties", {})
        words = [p["parameter_name"] for p in call["parameters"]] + [*fields, *pictures]
        assert f"`{name}`" in page
        assert [word for word in words if not re.search(rf"`{word}\b", page)] == []


def test_a_program_without_a_visitor_is_told_how_to_get_one(make_fake: Callable[..., object]) -> None:
    from studio.ui.owners import Owners
    from studio.ui.pictures import Pictures
    from studio.ui.public_api import PublicApi

    studio = make_fake(Policy.public(), pace=0.001)
    owners = Owners(studio.settings.home, public=True)
    api = PublicApi(studio, owners, Pictures(studio, owners))
    refused = [api.get_history(), api.get_history(visitor="v1.2"), api.generate("a star", visitor="v1.2")]
    assert [answer["pictures"] for answer in refused] == [[], [], []]
    assert "No visitor was given" in refused[0]["error"]["message"]
    assert all("generate or run_graph once without one" in answer["error"]["hint"] for answer in refused)
    made = api.generate("a star")
    assert made["status"] == "finished"
    (found,) = api.get_history(visitor=made["visitor"])["pictures"]
    assert found["id"] == made["pictures"][0]["id"]
    assert api.get_history(visitor=api.generate("a boat")["visitor"])["pictures"][0]["prompt"] == "a boat"
