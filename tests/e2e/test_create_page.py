"""The first page as a person uses it, in Chromium; any outside request or console error fails a test, too."""

from __future__ import annotations

import json
import re
import time
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from e2e_hands import HOSTILE, MARKS, PROMPT, make, reload, set_steps, shown, state, write

from studio.settings import ROOT

pytestmark = MARKS
EMBEDDED = ROOT / "assets" / "models" / "scenes-sd3" / "card.json"


def test_a_prompt_becomes_a_picture_that_the_history_keeps(weft, open_page):
    page = open_page()
    write(page, PROMPT)
    page.evaluate(COLLECT_PREVIEWS)
    page.locator("#weft-go").click()
    state(page, "running")
    assert page.locator("#weft-go").inner_text().startswith("Stop")
    state(page, "done")
    previews = page.evaluate("[...window.previews]")
    assert previews and all(src.startswith("data:image/webp") for src in previews)
    shown(page).wait_for()
    assert page.evaluate("document.querySelector('#weft-mat img').naturalWidth") == 256
    address = shown(page).get_attribute("src")
    identity = page.locator("#weft-strip button").first.get_attribute("data-id")

    reload(page)
    page.locator(f"#weft-strip button[data-id='{identity}']").wait_for()
    assert page.locator(".w-prompt textarea").input_value() == PROMPT
    page.get_by_role("tab", name="History").click()
    page.get_by_label("Search the history").fill("star house")
    page.locator(f"#weft-grid button[data-id='{identity}']").click()
    assert page.locator("dialog img").get_attribute("src") == address
    page.keyboard.press("Escape")
    page.get_by_label("Search the history").fill("mushroom zzz")
    page.get_by_text("No picture matches").wait_for()


@pytest.mark.model
def test_the_picture_shows_what_the_prompt_says(weft, open_page):
    """Colour, place and background always; everything right once the card promises it for one object."""
    from PIL import Image

    from studio.scenes.score import report

    promised = json.loads(EMBEDDED.read_text("utf-8"))["scores"]["one"]["share"] >= 0.8
    page = open_page()
    right, near = [], []
    for text, colour, place, ground in (
        ("a red star on the left, in the snow", "red", "left", "snow"),
        ("a blue house in the middle, at night", "blue", "middle", "night"),
        ("a yellow boat on the right, by the sea", "yellow", "right", "sea"),
    ):
        make(page, text, steps=20)
        with urlopen(weft.url + shown(page).get_attribute("src")) as answer:
            picture = np.asarray(Image.open(BytesIO(answer.read())).convert("RGB"))
        seen = report(picture, text)
        right.append(seen["prompt_score"]["all_right"])
        found = [(item["colour"], item["place"]) for item in seen["objects"]]
        near.append((colour, place) in found and seen["background"] == ground)
    assert sum(near) >= 2, near
    assert not promised or sum(right) >= 2, right


def test_stop_settles_within_two_seconds_and_stores_nothing(weft, open_page):
    page = open_page()
    write(page, "a run that is stopped")
    set_steps(page, 200)
    page.locator("#weft-go").click()
    state(page, "running")
    page.wait_for_function("document.querySelector('#weft-job').textContent.includes('step')")
    before = time.monotonic()
    page.locator("#weft-go").click()
    state(page, "stopped", timeout=2000)
    while weft.studio.live_run("local") is not None and time.monotonic() - before < 5:
        time.sleep(0.02)
    assert time.monotonic() - before < 2
    assert not weft.studio.history.search("local", "stopped").items
    assert page.locator("#weft-go").inner_text().startswith("Generate")


def test_a_reload_in_mid_run_takes_the_run_up_again(open_page):
    page = open_page()
    write(page, PROMPT)
    set_steps(page, 60)
    page.keyboard.press("Control+Enter")
    state(page, "running")
    reload(page)
    state(page, "running", timeout=20_000)
    page.keyboard.press("Escape")
    state(page, "stopped", timeout=2000)


def test_everything_can_be_done_by_keyboard(open_page):
    page = open_page()
    seen = []
    for _ in range(70):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(
            "(document.activeElement.getAttribute('aria-label') || document.activeElement.id"
            " || document.activeElement.textContent || '').trim()"))  # fmt: skip
        if page.evaluate("document.activeElement.tagName") == "TEXTAREA" and "typed" not in seen:
            seen.append("typed")
            page.keyboard.type("a green tree")
    text = " ".join(seen)
    for name in (
        "weft-go",
        "What this model knows",
        "1:1",
        "Draw a new seed",
        "Keep this seed",
        "More settings",
        "typed",
    ):
        assert name in text, f"{name!r} is not reached by Tab: {text}"
    set_steps(page, 4)
    page.keyboard.press("Control+Enter")
    state(page, "done")
    assert "a green tree" in page.locator(".w-caption-text").inner_text()


def test_focus_is_visible(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    page.locator("#weft-go").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_dark_mode_is_dark_and_readable(open_page):
    page = open_page("?__theme=dark")
    ratio = page.evaluate(CONTRAST, [".w-label", ".w-form"])
    assert page.evaluate(LUMINANCE, "body") < 0.05 and ratio > 7
    assert page.evaluate(CONTRAST, ["#weft-go", "#weft-go"]) > 4.5


def test_light_mode_is_readable(open_page):
    page = open_page("?__theme=light")
    assert page.evaluate(LUMINANCE, "body") > 0.7
    for pair in (
        (".w-label", ".w-form"),
        ("#weft-go", "#weft-go"),
        (".w-link", ".w-form"),
        (".w-dock-text", ".w-dock"),
    ):
        assert page.evaluate(CONTRAST, list(pair)) > 4.5, pair


def test_the_theme_can_be_switched_and_is_remembered(open_page):
    page = open_page("")
    dark = page.evaluate("document.body.classList.contains('dark')")
    page.get_by_label("Light or dark theme").click()
    reload(page)
    page.locator("#weft-go").wait_for()
    assert page.evaluate("document.body.classList.contains('dark')") is not dark


def test_a_phone_shows_everything_without_sideways_scrolling(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    make_by_touch(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = {
        name: page.locator(name).first.bounding_box()
        for name in (".w-prompt textarea", "#weft-go", "#weft-mat")
    }
    assert boxes[".w-prompt textarea"]["y"] < boxes["#weft-go"]["y"] < boxes["#weft-mat"]["y"]
    assert boxes["#weft-go"]["y"] + boxes["#weft-go"]["height"] < 500
    small = page.evaluate(
        """() => [...document.querySelectorAll('.weft button, .weft summary, .weft .w-chip')]
        .filter((e) => e.offsetParent
        && e.getBoundingClientRect().height < 24).map((e) => e.textContent)"""
    )
    assert not small, "too small to touch"


def make_by_touch(page: Any) -> None:
    write(page, "a pink balloon")
    page.locator("#weft-go").tap()
    state(page, "done")


def test_hostile_text_stays_text(weft, open_page):
    page = open_page()
    alarms = []
    page.on("dialog", lambda dialog: (alarms.append(dialog.message), dialog.dismiss()))
    make(page, HOSTILE, steps=2)
    assert page.locator(".w-caption-text p").first.inner_text() == HOSTILE
    reload(page)
    page.locator("#weft-strip button").first.wait_for()
    assert page.locator(".w-prompt textarea").input_value() == HOSTILE
    page.get_by_role("tab", name="History").click()
    page.locator("#weft-grid button").first.click()
    assert HOSTILE in page.locator("dialog dl").first.inner_text()
    assert not alarms and page.locator("img[src='x']").count() == 0


def test_a_picture_dropped_on_the_page_restores_its_settings(weft, open_page, pictures):
    page = open_page()
    make(page, "a purple fish underwater", steps=3)
    seed = page.get_by_label("Seed", exact=True).input_value()
    with page.expect_download() as download:
        page.get_by_text("Save PNG").click()
    download.value.save_as(pictures / "fish.png")

    page = open_page()
    before = page.locator(".w-prompt textarea").input_value()
    page.locator("input[type=file]").set_input_files(pictures / "fish.png")
    page.get_by_text("Settings restored from fish.png").wait_for()
    assert page.locator(".w-prompt textarea").input_value() == "a purple fish underwater"
    assert page.get_by_label("Seed", exact=True).input_value() == seed
    assert page.locator("#weft-seed-lock").get_attribute("aria-pressed") == "true"
    page.get_by_text("Undo").click()
    assert page.locator(".w-prompt textarea").input_value() == before


def test_a_picture_without_a_workflow_is_refused_in_words(open_page, pictures):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(pictures / "plain.png")
    page = open_page()
    page.locator("input[type=file]").set_input_files(pictures / "plain.png")
    page.get_by_text("plain.png carries no Weft workflow").wait_for()


def test_settings_of_a_strip_picture_can_be_taken_over_and_it_is_varied(weft, open_page):
    page = open_page()
    make(page, "a white house in the snow", steps=3)
    seed = page.get_by_label("Seed", exact=True).input_value()
    make(page, "an orange tree", steps=3)
    page.locator("#weft-strip button").nth(1).click()
    page.locator("#weft-reuse").click()
    page.get_by_text("The settings of this picture are back").wait_for()
    assert page.locator(".w-prompt textarea").input_value() == "a white house in the snow"
    assert page.get_by_label("Seed", exact=True).input_value() == seed
    page.locator("#weft-vary").click()  # four pictures near it, which come together; the document stays
    page.locator("#weft-outputs").get_by_text("Variation 4").wait_for(timeout=120_000)
    made = page.evaluate("window.weft.pictures.made.map((p) => [p.id, p.url])")
    assert len({url for _, url in made}) == 4 and page.evaluate("window.weft.doc.template") == "text-to-image"
    kin = weft.studio.history.show("local", made[0][0]).parents
    assert [role for _, role in kin] == ["variation"]

    tell = "(job) => window.weft.run.accept({ run: 'theirs', seq: 1, page: 'another', job, nodes: {} })"
    page.evaluate(tell, {"state": "running", "step": 2, "total": 9})  # what a second page of one person hears
    page.locator("#weft-job").get_by_text("Another page: step 2 of 9").wait_for()
    assert page.locator("#weft-go").inner_text().startswith("Generate")
    before = page.evaluate("window.weft.run.snapshot.run")
    page.locator("#weft-go").click()  # its own follows all the same
    own = "const { snapshot, live, page } = window.weft.run; return !live && snapshot.page === page"
    ended = f"(before) => {{ {own} && snapshot.run !== before; }}"
    page.wait_for_function(ended, arg=before, timeout=120_000)
    page.locator("#weft-job").get_by_text("Another page").wait_for()
    page.evaluate(tell, {"state": "done"})
    state(page, "done")


def test_a_wrong_value_is_named_at_its_field_and_in_the_job_line(open_page):
    page = open_page()
    write(page, PROMPT)
    set_steps(page, 100_000)
    page.locator("#weft-go").click()
    state(page, "error", timeout=20_000)
    assert "100000" in page.locator("#weft-job .w-dock-text").inner_text().replace(",", "")
    assert page.locator("[data-widget=steps] .w-fault").is_visible()
    set_steps(page, 2)
    page.keyboard.press("Control+Enter")
    state(page, "done")
    assert not page.locator("[data-widget=steps] .w-fault").is_visible()


def test_unknown_words_are_named_with_neighbours(weft, open_page):
    if not weft.trained:
        pytest.skip("no embedded model, so no vocabulary")
    page = open_page()
    write(page, "a red huose and a dragon")
    page.locator("#weft-unknown").get_by_text("dragon").wait_for()
    page.get_by_label("Replace huose by house").click()
    assert page.locator(".w-prompt textarea").input_value() == "a red house and a dragon"
    page.locator("#weft-knows").click()
    page.get_by_role("button", name="Add star to the prompt").click()
    page.keyboard.press("Escape")
    assert page.locator(".w-prompt textarea").input_value().endswith("dragon star")


def test_the_numbers_of_weights_are_no_unknown_words(open_page):
    page = open_page()
    page.locator('[data-template="emphasis"]').first.dispatch_event("click")
    page.wait_for_function("document.querySelector('.w-prompt textarea').value.includes('(mushroom:1.5)')")
    assert page.locator("#weft-unknown").is_hidden()
    write(page, "a (dragon:1.5) and a (star: .5 )")
    page.locator("#weft-unknown").get_by_text("dragon").wait_for()
    assert page.locator("#weft-unknown strong").all_inner_texts() == ["dragon"]


def test_the_note_of_an_unknown_word_stays_while_its_prompt_comes_from_the_cache(weft, open_page):
    if not weft.trained:
        pytest.skip("the tiny model has no list of words")
    page = open_page()
    line = page.locator("#weft-job .w-dock-text")
    for steps in (2, 3, 3):
        make(page, "a red dragon on the left", steps)
        assert "dragon" in line.inner_text()
    assert page.evaluate("weft.run.snapshot.nodes.prompt.state") == "cached"


def test_the_seed_changes_unless_it_is_locked(open_page):
    page = open_page()
    seeds = []
    for _ in range(2):
        make(page, "a blue star", steps=2)
        seeds.append(page.get_by_label("Seed", exact=True).input_value())
    assert seeds[0] != seeds[1]
    page.locator("#weft-seed-lock").click()
    make(page, "a blue star at night", steps=2)
    assert page.get_by_label("Seed", exact=True).input_value() == seeds[1]


def test_the_first_visit_is_light(weft, open_page):
    page = open_page()
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Network.setCacheDisabled", {"cacheDisabled": True})
    received = []
    client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.watched.requests.clear()
    reload(page)
    page.locator("#weft-go").wait_for()
    page.locator("#weft-strip li").first.wait_for()
    page.wait_for_load_state("networkidle")
    history = [url for url in page.watched.requests if re.search(r"/weft/(thumb|picture)/", url)]
    assert len(page.watched.requests) - len(history) <= 130
    assert sum(received) < 1_000_000


def test_the_shortcut_sheet_says_what_the_page_does(open_page):
    page = open_page()
    page.locator("body").press("?")
    sheet = page.locator("dialog").inner_text()
    assert all(words in sheet for words in ("Ctrl", "Enter", "Esc", "Generate", "Stop"))
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")


COLLECT_PREVIEWS = """() => { window.previews = new Set();
  const look = () => { const img = document.querySelector('#weft-mat .w-forming img');
    if (img) window.previews.add(img.src); };
  new MutationObserver(look).observe(document.querySelector('#weft-mat'),
    {subtree: true, childList: true, attributes: true}); }"""
LUMINANCE = """(selector) => {
  const colour = getComputedStyle(document.querySelector(selector)).backgroundColor;
  const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
    .map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; }"""
CONTRAST = """([text, ground]) => {
  const lum = (colour) => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
    .map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const a = lum(getComputedStyle(document.querySelector(text)).color);
  const b = lum(getComputedStyle(document.querySelector(ground)).backgroundColor);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }"""
