"""A real studio behind a real page in a real Chromium; skipped with a reason where there is none."""

from __future__ import annotations

import gc
import importlib.util
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from studio.graph.document import dumps
from studio.policy import Policy
from studio.settings import ROOT, Settings

if TYPE_CHECKING:
    from studio.graph.document import Graph

EMBEDDED = ROOT / "assets" / "models" / "scenes-sd3" / "card.json"
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()  # noqa: SIM905
ENDED_STREAM = "net::ERR_ABORTED"  # an event stream that the page closed: normal


def _load(name: str) -> None:
    """A helper beside this file; test folders are no packages (import mode importlib)."""
    spec = importlib.util.spec_from_file_location(f"e2e_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


_load("hands")
_load("graph_hands")


@dataclass
class Weft:
    """The served studio. `document`: what a page starts with; the tiny random model if no other lies here."""

    url: str
    studio: Any
    document: Graph

    @property
    def trained(self) -> bool:
        return EMBEDDED.is_file()


@dataclass
class Watched:
    """What a page did that it must never do."""

    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def weft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weft]:
    from studio.studio import Studio

    home = tmp_path_factory.mktemp("e2e")
    studio = Studio(Settings(home=home, port=0, device="cpu", open_browser=False), Policy.local(), serve=True)
    document = studio.workflow()
    if not EMBEDDED.is_file():
        loader = next(node.id for node in document.nodes if node.kind == "load_model")
        document = document.set(loader, "model", "tiny:sd3")
    with gradio_may_leave_sockets():
        from studio.ui.build import serve

        served = serve(studio)
    yield Weft(served.url, studio, document)
    with gradio_may_leave_sockets():
        served.close()
    studio.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(weft: Weft, browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages in contexts of their own; none may ask another host or log an error."""
    contexts, watched = [], Watched()

    def open_page(
        path: str = "?__theme=light", *, document: Graph | None = None, guided: bool = True, **options: Any
    ) -> Any:
        """`guided`: this browser has seen the first steps, so they do not stand over the page."""
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 860}, **options})
        contexts.append(context)
        start = json.dumps(dumps(document or weft.document))  # as a JavaScript string
        context.add_init_script(f"localStorage['weft-document'] ||= {start}")
        if guided:
            context.add_init_script("localStorage['weft-guided'] ||= 'yes'")
        page = context.new_page()
        watch(page, watched, urlsplit(weft.url).netloc)
        page.watched = watched
        page.goto(weft.url + path)
        # a page that opens at another tab never shows it
        page.locator("#weft-go").wait_for(state="attached" if "tab=" in path else "visible")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not watched.faults, watched.faults


def watch(page: Any, watched: Watched, ours: str) -> None:
    def on_request(request: Any) -> None:
        watched.requests.append(request.url)
        place = urlsplit(request.url)
        if place.scheme in ("http", "https", "ws", "wss") and place.netloc != ours:
            watched.faults.append(f"asked another host: {request.url}")

    def on_failed(request: Any) -> None:
        if request.failure != ENDED_STREAM:
            watched.faults.append(f"{request.failure}: {request.url}")

    page.on("request", on_request)
    page.on("requestfailed", on_failed)
    page.on("response", lambda r: watched.faults.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("console", lambda m: watched.faults.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: watched.faults.append(f"script error: {error}"))


@contextmanager
def gradio_may_leave_sockets() -> Iterator[None]:
    """gradio drops event loops and sockets unclosed; they are collected here, not during a later test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder
