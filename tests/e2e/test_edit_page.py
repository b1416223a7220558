"""Edit in Chromium: a word of a picture is changed and the judge looks; what was written stays text."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
from e2e_hands import HOSTILE, LONG, MARKS, PHONE, PROMPT, lock_seed, make, ran, reload

pytestmark = MARKS
TAB = "#weft-edit"


def fetch(weft: Any, address: str) -> np.ndarray:
    from PIL import Image

    with urlopen(weft.url + address) as answer:
        return np.asarray(Image.open(BytesIO(answer.read())).convert("RGB"))


def test_one_changed_word_changes_that_thing_and_keeps_the_rest(weft, open_page):
    from studio.scenes.score import report

    page = open_page()
    lock_seed(page, 1068141294)
    make(page, PROMPT, steps=20)
    page.get_by_role("tab", name="Edit", exact=True).click()
    page.get_by_text("Which picture shall change?").wait_for()
    page.locator(f"{TAB} .w-thumb").first.click()
    old, new = page.get_by_label("What it shows"), page.get_by_label("What it shall show")
    page.wait_for_function("document.querySelector('#weft-edit textarea').value.length > 0")
    assert old.input_value() == new.input_value() == PROMPT
    page.locator("#weft-edit-go").click()
    page.get_by_text("Both say the same").wait_for()
    new.fill(PROMPT.replace("red", "green"))
    assert page.locator("#weft-diff del").all_inner_texts() == ["red"]
    assert page.locator("#weft-diff ins").all_inner_texts() == ["green"]
    ran(page, page.locator("#weft-edit-go").click)
    page.locator("#weft-new-source").wait_for()
    images = page.locator(f"{TAB} .w-ba img")
    before, after = (fetch(weft, images.nth(i).get_attribute("src")) for i in (0, 1))
    assert before.shape == after.shape and not np.array_equal(before, after)
    if weft.trained:
        seen = [(o["colour"], o["kind"]) for o in report(after)["objects"]]
        assert ("green", "star") in seen and ("blue", "house") in seen, seen
    slider = page.get_by_label("Before and after: how much")
    if weft.trained:  # it starts across the star, so that both sides of the change are seen
        page.wait_for_function("document.querySelector('#weft-edit .w-ba input').value < 45")
        assert int(slider.input_value()) > 12
    at = int(slider.input_value())
    slider.press("ArrowLeft")
    for name in ("Create", "Edit"):
        page.evaluate(f"window.weft.openTab('{name}')")
    assert int(slider.input_value()) == at - 1, "what a person set stays"
    page.locator("#weft-new-source").click()
    page.wait_for_function("document.querySelector('#weft-edit textarea').value.includes('green')")


def test_four_strengths_outlive_a_reload_and_another_page_gets_them(weft, open_page):
    page, other = open_page(), open_page()
    lock_seed(page, int(time.time()))  # what was made before comes from the cache, too quick to be stopped
    make(page, PROMPT, steps=8)
    page.locator("#weft-edit-this").click()
    page.wait_for_function("document.querySelector('#weft-edit textarea')?.value.length > 0")
    page.get_by_label("What it shall show").fill(PROMPT.replace("red", "green"))
    stored = weft.studio.history.count("local")
    page.locator("#weft-edit-several").click()
    page.locator("#weft-stop-all").wait_for()
    reload(page)
    page.get_by_role("tab", name="Edit", exact=True).click()
    cells = page.locator(f"{TAB} .w-side button")
    cells.nth(4).wait_for(timeout=LONG)
    assert cells.all_inner_texts() == ["Before", "25 %", "50 %", "75 %", "100 %"]
    assert weft.studio.history.count("local") == stored + 4, "the source is not stored again"
    reload(page)  # nothing is at work any more: the studio knows the edits
    page.get_by_role("tab", name="Edit", exact=True).click()
    cells.nth(4).wait_for(timeout=LONG)
    other.evaluate("window.dispatchEvent(new Event('focus'))")
    newest = page.evaluate("window.weft.pictures.list[0].id")
    other.wait_for_function(f"window.weft.pictures.list[0]?.id === '{newest}'")

    page.get_by_label("What it shall show").fill(PROMPT.replace("red", "yellow"))
    page.locator("#weft-edit-several").click()
    page.locator("#weft-stop-all").click()
    page.wait_for_function("!window.weft.run.live")
    end = time.monotonic() + 30
    while weft.studio.live_run("local") is not None and time.monotonic() < end:
        page.wait_for_timeout(100)
    assert weft.studio.jobs.waiting("local") == 0 and weft.studio.live_run("local") is None


def test_an_upload_is_a_source_and_a_hostile_word_stays_text_on_a_dark_phone(open_page, pictures: Path):
    from PIL import Image

    Image.new("RGB", (300, 200), (40, 60, 140)).save(pictures / "mine.png")
    page = open_page("?__theme=dark", **PHONE)
    page.evaluate("void (window.alert = () => { window.ran = true; })")
    page.get_by_role("tab", name="Edit", exact=True).click()
    page.locator(f"{TAB} input[type=file]").set_input_files(pictures / "mine.png")
    page.locator(f"{TAB} .w-ba img").first.wait_for()
    assert "it was 300 × 200" in page.locator("#weft-edit-cut").inner_text()
    page.get_by_label("What it shall show").fill(HOSTILE)
    page.locator("#weft-diff ins").first.wait_for()
    assert "onerror" in page.locator("#weft-diff").inner_text()
    assert page.evaluate("window.ran") is None and page.locator(f"{TAB} img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#weft-edit-go").tap()
    page.get_by_text("Say first what the picture shows now").wait_for()
