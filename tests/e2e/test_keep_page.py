"""Keep this: a run is ended on the page, and what it showed is a picture of the history."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e_hands import MARKS, PHONE, set_steps, shown, state, write

pytestmark = MARKS


def begin(page: Any, text: str) -> None:
    write(page, text)
    set_steps(page, 200)
    page.locator("#weft-go").click()
    state(page, "running")
    page.locator("#weft-mat .w-forming img").wait_for()
    page.locator("#weft-keep").wait_for()


def kept(weft: Any, words: str) -> Any:
    """The one picture of the history with these words."""
    (found,) = weft.studio.history.search("local", words).items
    return weft.studio.history.show("local", found.id)


def test_a_run_that_goes_on_is_ended_and_its_picture_kept(weft, open_page):
    page = open_page()
    begin(page, "a kept moth")
    page.locator("#weft-keep").click()
    state(page, "done")
    shown(page).wait_for()
    record = kept(weft, "moth").record
    after = record["params"]["keep_this"]["after"]
    assert 0 < after < 200
    assert record["notes"]["sample"]["stopped"] == {"after": after, "of": 200}
    assert record["notes"]["sample"]["network"]["forwards"] == 0
    assert page.locator("#weft-keep").is_hidden()


def test_after_stop_the_picture_is_still_offered_and_replay_gives_it_again(weft, open_page):
    page = open_page()
    begin(page, "a kept whale")
    page.locator("#weft-go").click()
    state(page, "stopped", timeout=4000)
    assert "Keep this" in page.locator("#weft-job").inner_text()
    page.locator("#weft-mat .w-forming img").wait_for()
    page.locator("#weft-keep").click()
    state(page, "done")
    found = kept(weft, "whale")
    assert weft.studio.replay(found.id).verdict == "equal"
    graph = json.loads(weft.studio.history.document("local", found.id))
    assert "stop_early" in {node["kind"] for node in graph["nodes"]}
    page.evaluate("window.weft.doc.set(window.weft.doc.field('prompt'), 'a kept whale again')")
    set_steps(page, 3)
    page.locator("#weft-go").click()
    state(page, "done")
    assert page.locator("#weft-keep").is_hidden()


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_button_speaks_the_pages_language(open_page, language):
    page = open_page()
    page.evaluate(f"window.weft.setLanguage && window.weft.setLanguage('{language}')")
    begin(page, "a kept lantern")
    word = "Das behalten" if language == "de" else "Keep this"
    page.wait_for_function(f"document.querySelector('#weft-keep').innerText.includes('{word}')")
    page.keyboard.press("Escape")
    state(page, "stopped", timeout=4000)


def test_on_a_phone_the_button_can_be_reached(weft, open_page):
    page = open_page(**PHONE)
    begin(page, "a kept umbrella")
    box = page.locator("#weft-keep").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 30
    page.locator("#weft-keep").tap()
    state(page, "done")
    assert kept(weft, "umbrella")
