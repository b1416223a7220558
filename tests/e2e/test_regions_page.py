"""Regions in Chromium: draw, move, resize and paint on the canvas, by mouse and by keys; try the layout."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import numpy as np
from e2e_hands import HOSTILE, MARKS, PEAK, PHONE, PROMPT, lock_seed, reload, state, write

pytestmark = MARKS
STAGE = "#weft-regions .w-region-map"
ROWS = "#weft-regions .w-regions > li"


def enter(page: Any, prompt: str = PROMPT) -> None:
    write(page, prompt)
    lock_seed(page, 3769516632)
    page.get_by_role("tab", name="Regions").click()
    page.locator(STAGE).wait_for()


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From a place of the canvas to another, both 0..1."""
    box = page.locator(STAGE).bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=6)
    page.mouse.up()


LAYOUT = "window.weft.doc.current.nodes.find((n) => n.kind === 'layout')?.widgets.regions"


def regions(page: Any) -> list[dict[str, Any]]:
    """The layout as the page's document holds it; [] where the document has none."""
    return json.loads(page.evaluate(f"JSON.stringify({LAYOUT} || [])"))


def near(box: list[float], wanted: tuple[float, ...], by: float = 0.02) -> bool:
    return all(abs(a - b) <= by for a, b in zip(box, wanted, strict=True))


def test_two_drawn_regions_come_out_where_they_were_drawn(weft, open_page):
    from PIL import Image

    from studio.scenes.score import report

    page = open_page()
    enter(page)
    page.get_by_text("No regions yet").wait_for()
    assert regions(page) == [] and page.evaluate("window.weft.doc.template") == "text-to-image"
    drag(page, (0.04, 0.3), (0.44, 0.7))
    page.keyboard.type("a red star at night")  # the new row has the focus
    drag(page, (0.54, 0.3), (0.96, 0.72))
    page.keyboard.type("a blue house at night")
    drawn = regions(page)
    assert [r["prompt"] for r in drawn] == ["a red star at night", "a blue house at night"]
    assert near(drawn[0]["box"], (0.04, 0.3, 0.44, 0.7)) and near(drawn[1]["box"], (0.54, 0.3, 0.96, 0.72))
    assert page.evaluate("window.weft.doc.template") == "regions"

    page.locator("#weft-try").click()
    state(page, "done")
    under = page.locator(f"{STAGE} .w-under:not(.w-forming)")
    under.wait_for()
    shown = under.get_attribute("src")
    with urlopen(weft.url + shown) as answer:
        picture = np.asarray(Image.open(BytesIO(answer.read())).convert("RGB"))
    if weft.trained:
        seen = [(o["colour"], o["kind"], o["place"]) for o in report(picture)["objects"]]
        right = [("red", "star", "left") in seen, ("blue", "house", "right") in seen]
        colours = {(colour, place) for colour, _, place in seen}
        assert any(right) and {("red", "left"), ("blue", "right")} <= colours, seen

    page.locator("#weft-regions-look").click()  # where the words of each region acted, over the result
    star = page.locator("#weft-regions .w-look-row[aria-label='Region 1'] [data-word=star]")
    star.click(timeout=120_000)
    if weft.trained:
        assert page.evaluate(PEAK, "#weft-regions .w-heat") < 0.5
        page.locator("#weft-regions .w-look-row[aria-label='Region 2'] [data-word=house]").click()
        assert page.evaluate(PEAK, "#weft-regions .w-heat") > 0.5
    assert under.get_attribute("src") == shown and page.evaluate("window.weft.doc.template") == "regions"
    assert regions(page) == drawn, "looking changes nothing"
    page.locator("#weft-regions-look").click()
    page.locator("#weft-regions .w-look").wait_for(state="hidden")

    page.get_by_role("tab", name="Create").click()  # the same layout of the same document
    assert page.locator("#weft-create .w-regions > li").count() == 2
    assert page.get_by_label("Prompt of region 1").first.input_value() == "a red star at night"
    page.locator("#weft-create").get_by_label("Prompt of region 2").fill("a green tree at night")
    page.get_by_role("tab", name="Regions").click()
    page.wait_for_function(
        f"document.querySelectorAll('{ROWS} [data-key=prompt]')[1].value === 'a green tree at night'"
    )
    kept = regions(page)

    page.get_by_role("tab", name="See", exact=True).click()  # words that are written there take nothing away
    words = page.locator("#weft-see textarea").first
    words.press("Control+Home")
    page.keyboard.type("At dusk ")
    assert words.input_value().startswith("At dusk ") and regions(page) == kept
    page.get_by_role("tab", name="Upscale").click()  # a run of another document
    page.locator("#weft-upscale .w-thumb").first.click()
    page.locator("#weft-upscale [data-ref=lanczos] input").check()
    page.locator("#weft-upscale-sum").get_by_text("becomes").wait_for()
    page.locator("#weft-upscale-go").click()
    page.locator("#weft-upscale .w-caption-text").wait_for()
    for _ in range(50):  # the run's document comes a moment after its caption
        if not regions(page):
            break
        page.wait_for_timeout(100)
    assert regions(page) == [], "the page's document is another one now"
    for once_more in (False, True):
        if once_more:
            page.evaluate("window.weft.doc.flush()")
            reload(page)
        page.get_by_role("tab", name="Regions").click()
        page.locator("#weft-returned").wait_for()
        assert page.locator(ROWS).count() == 2 and regions(page) == []
    page.locator("#weft-begin-anew").click()
    page.get_by_text("No regions yet").wait_for()
    page.locator("#weft-regions-undo").click()
    assert regions(page) == kept and page.evaluate("window.weft.doc.template") == "regions"


def test_moving_keeps_the_size_and_keys_do_what_the_mouse_does(open_page):
    page = open_page()
    enter(page)
    drag(page, (0.2, 0.2), (0.5, 0.5))
    drag(page, (0.35, 0.35), (1.0, 0.4))  # over the border: it stops there, whole
    (moved,) = regions(page)
    assert near(moved["box"], (0.7, 0.25, 1.0, 0.55)), moved
    drag(page, (0.702, 0.548), (0.5, 0.8))  # the lower left corner
    (sized,) = regions(page)
    assert near(sized["box"], (0.5, 0.25, 1.0, 0.8)), sized

    page.locator(STAGE).focus()
    page.keyboard.press("ArrowRight")  # at the border already
    page.keyboard.press("ArrowDown")
    assert near(regions(page)[0]["box"], (0.5, 0.26, 1.0, 0.81), 0.012)
    page.keyboard.press("Shift+ArrowLeft")
    assert near(regions(page)[0]["box"], (0.5, 0.26, 0.99, 0.81), 0.012)
    page.keyboard.press("Delete")
    assert regions(page) == []
    page.keyboard.press("Control+z")
    assert len(regions(page)) == 1
    drag(page, (0.1, 0.1), (0.105, 0.11))  # too small to be meant
    assert len(regions(page)) == 1

    page.locator(STAGE).focus()
    page.keyboard.press("Enter")  # it takes a free place
    page.keyboard.press("ArrowDown")
    assert near(regions(page)[1]["box"], (0.0, 0.01, 0.5, 0.51), 0.002)
    page.locator("#weft-regions").get_by_label("Lock region 2").click()
    page.locator(STAGE).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Delete")
    assert regions(page)[1]["locked"] and near(regions(page)[1]["box"], (0.0, 0.01, 0.5, 0.51), 0.002)
    page.locator("#weft-regions").get_by_label("Remove region 1").click()  # not the chosen one: one click
    assert [r.get("locked") for r in regions(page)] == [True]


def test_a_row_sets_everything_and_the_linter_warns(open_page):
    page = open_page()
    enter(page)
    drag(page, (0.1, 0.1), (0.6, 0.6))
    row = page.locator(f"{ROWS}[data-chosen]")
    row.get_by_label("Prompt of region").fill("a red star")
    row.get_by_label("Name of region").fill("star")
    row.get_by_label("Avoid in region").fill("moon")
    for label, value in (("Strength of region", "1.4"), ("From step, % of", "20"), ("Until, % of", "80")):
        row.get_by_label(label).fill(value)
        row.get_by_label(label).press("Tab")
    strength = row.get_by_label("Strength of region")
    strength.fill("7")
    strength.press("Tab")
    row.get_by_text("Strength may be 0 to 2; it is 2 now.").wait_for()
    strength.fill("1.4")
    strength.press("Tab")
    (region,) = regions(page)
    wanted = {"name": "star", "negative": "moon", "strength": 1.4, "start": 0.2, "end": 0.8}
    assert wanted.items() <= region.items()
    row.get_by_label("Copy region").click()
    assert [r["prompt"] for r in regions(page)] == ["a red star"] * 2
    page.locator("#weft-findings li").get_by_text("covers").wait_for()
    order = [r["id"] for r in regions(page)]
    page.locator("#weft-regions").get_by_label("Send region 2 behind").click()
    assert [r["id"] for r in regions(page)] == order[::-1]


def test_a_sentence_is_laid_out_and_survives_a_reload(open_page):
    page = open_page()
    enter(page, "a yellow moon above a green tree, at night")
    page.locator("#weft-lay-out").click()
    page.locator(ROWS).nth(1).wait_for()
    moon, tree = regions(page)
    assert "moon" in moon["prompt"] and "tree" in tree["prompt"] and moon["box"][3] <= tree["box"][1] + 0.05
    page.evaluate("window.weft.doc.flush()")
    reload(page)
    page.get_by_role("tab", name="Regions").click()
    page.locator(ROWS).nth(1).wait_for()
    assert regions(page) == [moon, tree]


def test_a_mask_is_painted_kept_and_erased(open_page):
    page = open_page()
    enter(page)
    page.get_by_role("button", name="Paint").click()
    drag(page, (0.2, 0.5), (0.7, 0.5))
    page.wait_for_function(f"{LAYOUT}?.[0]?.mask")
    (region,) = regions(page)
    assert region["shape"] == "mask" and len(region["mask"]["file"]) == 64
    assert near(region["box"], (0.14, 0.44, 0.76, 0.56), 0.03), region
    page.evaluate("window.weft.doc.flush()")
    reload(page)
    page.get_by_role("tab", name="Regions").click()
    page.locator(f"{STAGE} .w-mask-layer").wait_for()
    page.locator("#weft-regions").get_by_label("Choose region 1").click()
    page.get_by_role("button", name="Erase").click()
    drag(page, (0.7, 0.5), (0.8, 0.5))
    page.wait_for_function(f"{LAYOUT}[0].box[2] < 0.73")
    page.get_by_role("button", name="Boxes", exact=True).click()
    drag(page, (0.1, 0.05), (0.3, 0.25))
    page.get_by_role("button", name="Paint", exact=True).click()
    page.locator("#weft-aim").get_by_text("beside it, it paints a new region").wait_for()
    drag(page, (0.6, 0.85), (0.8, 0.85))  # beside the chosen box
    page.wait_for_function(f"{LAYOUT}?.[2]?.mask")
    assert [r.get("shape", "box") for r in regions(page)] == ["mask", "box", "mask"]
    page.locator("#weft-aim").get_by_text("Paints on region 3.").wait_for()
    page.locator("#weft-another").click()
    page.locator("#weft-aim").get_by_text("Paints a new region.").wait_for()


def test_a_hostile_name_stays_text_on_a_dark_phone(open_page):
    page = open_page("?__theme=dark", **PHONE)
    page.evaluate("void (window.alert = () => { window.ran = true; })")
    enter(page)
    page.get_by_role("button", name="Add a region").last.tap()
    row = page.locator(f"{ROWS}[data-chosen]")
    row.get_by_label("Prompt of region").fill(HOSTILE)
    row.get_by_label("Name of region").fill(HOSTILE)
    page.locator(f"{STAGE} .w-box-tag").get_by_text("onerror").wait_for()
    row.get_by_label("Copy region").tap()
    page.locator("#weft-findings").get_by_text("onerror").first.wait_for()
    assert page.evaluate("window.ran") is None and page.locator("#weft-regions img[src=x]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stage = page.locator(STAGE).bounding_box()
    assert stage["width"] > 300
