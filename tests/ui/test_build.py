"""build.py: what the page consists of, what it names to the world, and what a first visit costs."""

from __future__ import annotations

import inspect
import json
import socket
import urllib.request

import pytest

from studio.errors import StudioError
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
    assert len(endless) == 5  # run, parked, attach, sweep, keep
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
