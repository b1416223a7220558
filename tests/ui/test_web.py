"""web.py: attacks on a real served page (security.md A7, A9, A12, A13) and the files it serves."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from studio.policy import Policy
from studio.settings import Settings
from studio.ui.web import ROUTES, Guard


def ask(served, path, *, method="GET", body=None, **headers):
    place = urlsplit(served.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    try:
        connection.request(
            method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def own(served):
    return urlsplit(served.url).netloc


def test_the_page_answers_its_own_browser(served):
    status, headers, body = ask(served, "/")
    assert status == 200 and b"Weft" in body
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", ""]
)
@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/generate"]
)
def test_other_pages_cannot_post(served, origin, path):
    status, headers, _ = ask(served, path, method="POST", body="{}", Origin=origin, Content_Type="text/plain")
    assert status == 403
    assert "access-control-allow-origin" not in headers


def test_other_pages_get_no_preflight(served):
    status, headers, _ = ask(served, "/gradio_api/queue/join", method="OPTIONS", Origin="https://evil.example",
                             Access_Control_Request_Method="POST")  # fmt: skip
    assert status == 403 and "access-control-allow-origin" not in headers


HOSTS = ("evil.example", "evil.example:7860", "localhost:1", "127.0.0.1.evil.example", "10.0.0.7:7860", "",
         "a b", "user@localhost")  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_foreign_host_names_are_refused(served, host):
    assert ask(served, "/", Host=host)[0] == 403


def test_a_post_with_a_cookie_needs_its_origin(served):
    post = {"method": "POST", "body": "{}", "Content_Type": "application/json"}
    assert ask(served, "/gradio_api/queue/join", Cookie="a=b", **post)[0] == 403
    assert (
        ask(served, "/gradio_api/queue/join", Cookie="a=b", Origin=f"http://{own(served)}", **post)[0] != 403
    )


def test_a_spoofed_forwarded_host_changes_nothing(served):
    _, _, body = ask(served, "/config", X_Forwarded_Host="evil.example", X_Forwarded_Proto="https")
    assert b"evil.example" not in body


CLOSED = [
    "/gradio_api/component_server",
    "/gradio_api/proxy=https://example.com/",
    "/gradio_api/deep_link",
    "/gradio_api/runs",
    "/gradio_api/run-history/list",
    "/gradio_api/openapi.json",
    "/gradio_api/process_recording",
    "/gradio_api/vibe-edit/",
    "/gradio_api/file=/etc/passwd",
    "/monitoring/summary",
    "/openapi.json",
    "/docs",
    "/custom_component/x",
    "/.env",
    "/weft/../studio.db",
    "/weft/ui/../../app.py",
    "/weft/ui/%2e%2e/theme.css",
    "/weft/icons//etc/passwd",
]


@pytest.mark.parametrize("path", CLOSED)
def test_other_routes_are_closed(served, path):
    assert ask(served, path)[0] in (403, 404)


def test_a_body_over_the_cap_is_refused_by_header_and_by_count():
    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    guard = Guard(app, settings=Settings(home=Path("/nowhere")), port=7860, cap=1000)
    assert status_of(guard, chunks=[b"x" * 600]) == 200
    assert status_of(guard, chunks=[b"x" * 600, b"x" * 600]) == 413
    assert status_of(guard, chunks=[b""], headers=[(b"content-length", b"1001")]) == 413
    assert status_of(guard, chunks=[b""], headers=[(b"content-length", b"-1")]) == 413


def test_web_sockets_are_refused():
    sent = []

    async def send(message):
        sent.append(message)

    guard = Guard(None, settings=Settings(home=Path("/nowhere")), port=1, cap=1)
    asyncio.run(guard({"type": "websocket", "headers": []}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def status_of(guard, *, chunks, headers=()):
    sent, left = [], list(chunks)

    async def receive():
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/upload",
        "headers": [(b"host", b"localhost:7860"), *headers],
    }
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"]


@pytest.mark.parametrize(("settings", "host", "fits"), [
    ({}, "localhost:7860", True), ({}, "[::1]:7860", True), ({}, "10.0.0.5:7860", False),
    ({"public": True, "host": "0.0.0.0"}, "10.0.0.5:7860", True),
    ({"public": True}, "evil.example:7860", False),
    ({"public": True, "space": True, "space_host": "me-weft.hf.space"}, "me-weft.hf.space", True),
])  # fmt: skip
def test_hosts_follow_the_settings(home, settings, host, fits):
    guard = Guard(None, settings=Settings(home=home, **settings), port=7860, cap=1)
    assert guard.allows_host(host) is fits


def test_pictures_need_their_signed_address(served):
    call = json.dumps({"data": ["a red star", "", 3, None, None, None, None, ""]})
    _, _, body = ask(
        served, "/gradio_api/call/generate", method="POST", Content_Type="application/json", body=call
    )
    event = json.loads(body)["event_id"]
    _, _, stream = ask(served, f"/gradio_api/call/generate/{event}")
    result = json.loads(stream.decode().split("data: ")[-1])[0]
    card = result["pictures"][0]
    for name in ("url", "thumb"):
        here = card[name].removeprefix(served.url.rstrip("/"))
        assert here.startswith("/")
        status, headers, data = ask(served, here)
        assert (
            status == 200
            and headers["cache-control"].startswith("private")
            and data[:4] in (b"\x89PNG", b"RIFF")
        )
        bare, _, key = here.partition("?k=")
        other, none = bare.replace("/local/", "/other/"), bare.replace(card["id"], "0" * 32)
        keys = ("", "?k=", f"?k={'0' * 64}", "?k=%C3%A9")
        for wrong in (*(bare + bad for bad in keys), f"{other}?k={key}", f"{none}?k={key}"):
            assert ask(served, wrong)[0] == 404


def test_versioned_files_may_be_kept_for_ever(served):
    page = ask(served, "/")[2].decode()
    style = re.search(r"weft/theme\.css\?v=[0-9a-f]{16}", page)
    assert style, "the page names its style with a content hash"
    assert "immutable" in ask(served, "/" + style[0])[1]["cache-control"]
    assert ask(served, "/weft/theme.css")[1]["cache-control"] == "no-cache"


def test_no_route_of_the_list_reaches_beyond_the_page():
    for path in (
        "/gradio_api/component_server",
        "/gradio_api/",
        "/x",
        "/weft",
        "/configx",
        "/gradio_api/queue/joinx",
    ):
        assert not ROUTES.fullmatch(path)


def test_a_shared_host_strips_the_graph_from_pictures_unless_asked(make_fake):
    from studio.ui.owners import Owners
    from studio.ui.pictures import Pictures

    studio = make_fake(Policy.public(), pace=0.0)
    run = studio.submit(studio.workflow().set("p", "text", "secret words"), owner="v1")
    *_, last = studio.snapshots(run, "v1")
    pictures = Pictures(studio, Owners(studio.settings.home, public=True))
    (card,) = pictures.made("v1", [last["outputs"][0]["generation"]])
    assert b"weft_graph" not in serve_one(pictures, card["save"])
    assert b"weft_graph" in serve_one(pictures, card["saveWithGraph"])


def serve_one(pictures, address):
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    return TestClient(Starlette(routes=pictures.routes())).get("/" + address).content
