"""Upscale in Chromium: twice as large, before and after under one slider, its graph; wrong files are said."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from e2e_hands import MARKS, PHONE, make, state

pytestmark = MARKS
TAB = "#weft-upscale"
SUM = "document.querySelector('#weft-upscale-sum').textContent"


# counts the answers of what it will be
PLANS = """() => {
  window.plans = 0;
  new MutationObserver(() => { window.plans += 1; }).observe(
    document.querySelector('#weft-upscale-sum'), { childList: true }); }"""
IN_SIGHT = """() => {
  const field = document.activeElement.getBoundingClientRect();
  const start = document.querySelector('#weft-upscale .w-run').getBoundingClientRect();
  return document.activeElement.matches('textarea') && field.top > 60 && field.bottom <= start.top; }"""


def test_a_picture_is_made_twice_as_large(weft, open_page):
    from PIL import Image

    page = open_page()
    make(page, steps=6)
    page.locator("#weft-upscale-this").click()
    page.wait_for_function(f"{SUM}.includes('becomes')")
    told = page.evaluate(SUM)
    width = page.evaluate("window.weft.pictures.list[0].width")
    assert f"becomes {2 * width} × {2 * width}" in told and "known after the first" in told
    page.set_viewport_size({"width": 1360, "height": 1300})
    page.locator("#weft-upscale-anew").click()
    words = page.locator(f"{TAB} .w-anew textarea")
    words.fill("")
    box = words.bounding_box()
    page.set_viewport_size({"width": 1360, "height": round(box["y"] + box["height"]) + 60})
    page.evaluate("scrollTo(0, 0)")  # now it lies under the button
    page.locator("#weft-upscale-go").click()
    page.get_by_text("Say what the picture shows").wait_for()
    assert page.evaluate(IN_SIGHT), "what is asked for is not under the button that asks"
    page.locator("#weft-upscale-anew").click()
    page.set_viewport_size({"width": 1360, "height": 860})
    page.locator("#weft-upscale-go").click()
    page.locator("#weft-upscale-graph").wait_for()
    state(page, "done")
    images = page.locator(f"{TAB} .w-ba img")
    found = []
    for i in (0, 1):
        with urlopen(weft.url + images.nth(i).get_attribute("src")) as answer:
            found.append(Image.open(BytesIO(answer.read())).convert("RGB"))
    small, large = found
    assert large.size == (2 * small.width, 2 * small.height)
    again = np.asarray(large.resize(small.size, Image.Resampling.BOX), np.int16)
    assert np.abs(again - np.asarray(small, np.int16)).mean() < 8, "it is the same picture"
    page.wait_for_function(f"{SUM}.includes('becomes') && !{SUM}.includes('known after')")
    page.locator("#weft-upscale-close").click()
    page.locator("#weft-upscale-graph").click()
    page.locator(".react-flow__node[data-id=larger]").wait_for()
    assert page.locator(".react-flow__node").count() == 4
    card = page.evaluate("window.weft.pictures.list[0]")
    assert (card["width"], card["height"]) == large.size


def test_engines_factors_and_new_detail_on_a_dark_phone(open_page, pictures: Path):
    from PIL import Image

    Image.new("RGB", (64, 48), (40, 60, 140)).save(pictures / "mine.png")
    (pictures / "notes.png").write_bytes(b"no picture at all")
    page = open_page("?__theme=dark", **PHONE)
    page.evaluate("window.weft.openTab('Upscale')")
    page.get_by_text("Which picture shall be larger?").wait_for()
    page.locator(f"{TAB} input[type=file]").set_input_files(pictures / "notes.png")
    page.get_by_text("not a picture that can be read").wait_for()
    png = base64.b64encode((pictures / "mine.png").read_bytes()).decode()
    page.evaluate(DROP, png)  # dropped on the page, as a mouse would
    page.locator(f"{TAB} .w-caption", has_text="my boat.png").wait_for()
    page.wait_for_function(f"{SUM}.includes('64 × 48 becomes 128 × 96')")
    page.locator(f"{TAB} .w-engine[data-ref=lanczos]").tap()
    page.locator(f"{TAB} .w-chip", has_text="4 ×").tap()
    page.wait_for_function(f"{SUM}.includes('256 × 192')")
    page.evaluate(PLANS)
    page.locator("#weft-upscale-anew").tap()
    page.locator("#weft-upscale-go").tap()
    asked = page.get_by_text("Say what the picture shows")
    asked.wait_for()
    page.wait_for_function("window.plans > 0")  # the answer of what it will be
    assert asked.is_visible(), "what a press asked for was gone with an answer about something else"
    page.locator("#weft-upscale-anew").tap()
    asked.wait_for(state="hidden")
    page.locator("#weft-upscale-go").tap()
    page.locator("#weft-upscale-graph").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    Image.new("RGB", (3000, 2), (200, 60, 40)).save(pictures / "line.png")
    page.locator(f"{TAB} input[type=file]").set_input_files(pictures / "line.png")
    page.locator(f"{TAB} .w-thin").wait_for()
    assert page.locator(f"{TAB} .w-ba").bounding_box()["height"] >= 1, "it is still seen"
    page.locator("#weft-upscale-close").tap()
    page.locator(f"{TAB} .w-thin").wait_for(state="hidden")


DROP = """(png) => {
  const file = new File([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))], 'my boat.png');
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  const given = { bubbles: true, cancelable: true, dataTransfer };
  for (const what of ['dragover', 'drop']) document.body.dispatchEvent(new DragEvent(what, given));
}"""
