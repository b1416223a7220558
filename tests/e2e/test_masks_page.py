"""A place is painted or picked in Chromium, and the edit stays in it: the judge and the pixels say so."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import numpy as np
from e2e_hands import LONG, MARKS, PHONE, PROMPT, lock_seed, make, ran

pytestmark = MARKS
TAB = "#weft-edit"
LAYER = f"{TAB} .w-paint"
SHARE = "Number((document.querySelector('#weft-where').textContent.match(/(\\d+) %/) || [0, 0])[1])"


def fetch(weft: Any, address: str) -> np.ndarray:
    from PIL import Image

    with urlopen(weft.url + address) as answer:
        return np.asarray(Image.open(BytesIO(answer.read())).convert("RGB"))


def enter(page: Any, steps: int = 20) -> None:
    lock_seed(page, 1068141294)
    make(page, PROMPT, steps=steps)
    page.locator("#weft-edit-this").click()
    page.wait_for_function("document.querySelector('#weft-edit textarea')?.value.length > 0")
    page.locator(LAYER).wait_for(state="attached")


def stroke(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    box = page.locator(LAYER).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=8)
    page.mouse.up()


def run_edit(page: Any) -> None:
    page.get_by_label("What it shall show").fill(PROMPT.replace("red", "green"))
    ran(page, page.locator("#weft-edit-go").click)
    page.locator("#weft-new-source").wait_for()


def test_an_edit_stays_inside_the_painted_place(weft, open_page):
    from studio.scenes.score import report

    page = open_page()
    enter(page)
    page.locator("#weft-paint-place").click()
    page.get_by_label("Width of the brush").fill("50")
    stroke(page, (0.2, 0.35), (0.2, 0.6))
    assert 20 < page.evaluate(SHARE) < 60
    page.locator(f"{TAB} [data-act=undo]").click()
    assert page.evaluate(SHARE) == 0
    page.locator(f"{TAB} [data-act=redo]").click()
    run_edit(page)
    images = page.locator(f"{TAB} .w-ba img")
    before, after = (fetch(weft, images.nth(i).get_attribute("src")) for i in (0, 1))
    assert not np.array_equal(before, after)
    right = before.shape[1] // 2 + 8
    assert np.array_equal(before[:, right:], after[:, right:]), "the other half is the same to the bit"
    kinds = page.evaluate("window.weft.doc.current.nodes.map((n) => n.kind)")
    assert {"load_mask", "keep_outside"} <= set(kinds)
    if weft.trained:
        seen = [(o["colour"], o["kind"]) for o in report(after)["objects"]]
        assert ("green", "star") in seen and ("blue", "house") in seen, seen
    page.get_by_role("tab", name="Graph").click()  # the same document
    page.locator(".react-flow__node[data-id=mask]").wait_for()


def test_a_thing_is_picked_by_a_click_and_painted_further(weft, open_page):
    page = open_page()
    enter(page)
    before = page.evaluate("window.weft.pictures.list.length")
    page.locator(f"{TAB} [data-tool=pick]").click()
    box = page.locator(LAYER).bounding_box()
    page.mouse.click(box["x"] + 0.22 * box["width"], box["y"] + 0.48 * box["height"])
    page.wait_for_function(f"{SHARE} > 0", timeout=LONG)
    picked = page.evaluate(SHARE)
    assert picked < 60
    assert page.evaluate("window.weft.pictures.list.length") == before, "looking stores no picture"
    page.locator(f"{TAB} [data-tool=paint]").click()
    stroke(page, (0.6, 0.9), (0.9, 0.9))
    assert page.evaluate(SHARE) > picked
    page.locator(f"{TAB} [data-act=clear]").click()
    page.locator(f"{TAB} .w-chip", has_text="house").click()  # the maps are there now
    page.wait_for_function(f"{SHARE} > 0")


def test_keys_paint_and_a_phone_does_too(open_page):
    page = open_page()
    enter(page, steps=6)
    page.locator("#weft-paint-place").click()
    page.locator(LAYER).focus()
    page.keyboard.press("Space")
    spot = page.evaluate(SHARE)
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate(SHARE) > spot > 0
    page.keyboard.press("Control+z")
    assert page.evaluate(SHARE) == spot
    page.locator(f"{TAB} [data-act=invert]").click()
    assert page.evaluate(SHARE) >= 95

    phone = open_page("?__theme=dark", **PHONE)
    enter(phone, steps=6)
    phone.locator("#weft-paint-place").tap()
    phone.locator(LAYER).scroll_into_view_if_needed()
    box = phone.locator(LAYER).bounding_box()
    phone.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    phone.wait_for_function(f"{SHARE} > 0")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_region_is_filled_inverted_and_cleared(open_page):
    page = open_page()
    page.get_by_role("tab", name="Regions").click()
    stage = page.locator("#weft-regions .w-region-map")
    stage.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Paint").click()
    layout = "window.weft.doc.current.nodes.find((n) => n.kind === 'layout').widgets.regions.at(-1)"
    page.locator("#weft-regions [data-act=invert]").click()
    page.wait_for_function(f"{layout}.mask")
    assert json.loads(page.evaluate(f"JSON.stringify({layout}.box)")) == [0, 0, 1, 1]
    page.locator("#weft-regions [data-act=clear]").click()
    page.locator("#weft-try").click()
    page.get_by_text("The mask of this region is empty").wait_for()
    first = page.evaluate(f"{layout}.mask.file")
    stage.focus()
    page.keyboard.press("Space")  # a spot in the middle
    page.wait_for_function(f"{layout}.mask.file !== '{first}'")
    box = json.loads(page.evaluate(f"JSON.stringify({layout}.box)"))
    assert 0.3 < box[0] < 0.5 < box[2] < 0.7
