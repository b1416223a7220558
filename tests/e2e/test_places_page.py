"""History, Models, and settings and help in Chromium; 10,000 pictures; German; names of every control."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from e2e_hands import MARKS, PHONE, make, ran, reload

from studio.settings import ROOT

pytestmark = MARKS
HERE = Path(__file__).parent
TABS = ("Create", "Regions", "Edit", "Graph", "See", "Upscale", "Compare", "History", "Models", "Help")
MANY = 10_000


def show(page: Any, tab: str) -> None:
    page.evaluate("(tab) => window.weft.openTab(tab)", tab)
    page.locator(f"#weft-tabs [role=tab][data-tab-id={tab.lower()}][aria-selected=true]").wait_for()
    page.locator(f"#weft-{tab.lower()} .weft-mount > *").first.wait_for()


def newest(page: Any) -> str:
    return page.locator("#weft-strip button").first.get_attribute("data-id")


@pytest.fixture
def many(weft: Any) -> Iterator[None]:
    """10,000 rows over 100 days in the past, all showing one stored picture; gone afterwards."""
    document = weft.document.set("schedule", "steps", 2).set("prompt", "text", "a red star")
    report = weft.studio.run(document)
    db = weft.studio.db
    row = db.one("SELECT * FROM generations WHERE id = ?", (report.outputs[0].generation,))
    columns = [name for name in row.keys() if name != "number"]  # noqa: SIM118 - a sqlite3.Row
    marks = ", ".join("?" * len(columns))
    with db.transaction():
        for i in range(MANY):
            values = {name: row[name] for name in columns}
            values |= {"id": f"{i:032x}", "created": row["created"] - 86400 * (1 + i // 100) - i % 100}
            values |= {"key": "", "run": "", "prompt": f"a red star, number {i}"}
            db.execute(f"INSERT INTO generations ({', '.join(columns)}) VALUES ({marks})",
                       [values[name] for name in columns])  # fmt: skip
    yield
    with db.transaction():
        db.execute("DELETE FROM generations WHERE prompt LIKE 'a red star, number %'")


def test_ten_thousand_pictures_are_in_reach_and_few_in_the_page(many, open_page):
    page = open_page()
    show(page, "History")
    page.wait_for_function(f"window.weft.historyCount().total > {MANY}")
    first = page.evaluate("window.weft.historyCount()")
    assert first["drawn"] < 120 and first["known"] <= 240
    assert page.locator("#weft-grid > li").count() == first["drawn"]
    assert page.locator("#weft-grid h3").first.inner_text()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.locator(f"#weft-grid button[data-id='{MANY - 1:032x}']").wait_for()  # the oldest
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.wait_for_function("!document.querySelector('#weft-grid .w-card-wait')")
    last = page.evaluate("window.weft.historyCount()")
    assert last["drawn"] < 120, "what is out of view leaves the page"
    assert last["known"] < 700, "rows that nobody looked at are not fetched"
    page.get_by_label("Search the history").fill("number 7777")
    page.locator(f"#weft-grid button[data-id='{7777:032x}']").wait_for()
    page.wait_for_function("window.weft.historyCount().total === 1")
    page.get_by_label("Search the history").fill("")
    page.wait_for_function(f"window.weft.historyCount().total > {MANY}")
    page.locator("#weft-grid button").first.focus()
    page.keyboard.press("End")
    page.wait_for_function(f"document.activeElement.dataset.id === '{MANY - 1:032x}'")
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"document.activeElement.dataset.id === '{MANY - 2:032x}'")
    page.keyboard.press("Home")
    page.wait_for_function("document.activeElement.closest('li')?.getAttribute('aria-posinset') === '1'")
    first_item = page.locator("#weft-grid > li").first
    assert first_item.get_attribute("class") == "w-day", "read out before its pictures"
    page.locator("#weft-select").click()  # from the first to one far below: most were never in view
    page.locator("#weft-grid button").first.click()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 4)")
    page.locator(".w-day-now span").wait_for()
    page.wait_for_function("!document.querySelector('#weft-grid .w-card-wait')")
    far = page.locator("#weft-grid li:has(button)").nth(15)
    place = far.get_attribute("aria-posinset")
    far.locator("button").click(modifiers=["Shift"])
    page.locator("#weft-chosen strong", has_text=f"{place} chosen").wait_for()


def test_several_pictures_are_tagged_exported_deleted_and_brought_back(weft, open_page, pictures):
    page = open_page()
    ids = []
    for text in ("a green star", "a green boat"):
        make(page, text, steps=2)
        ids.append(newest(page))
    spring = f"spring {ids[0][:6]}"
    show(page, "History")
    page.get_by_label("Search the history").fill("green")
    page.wait_for_function("window.weft.historyCount().total >= 2")
    page.locator("#weft-select").click()
    for name in ids:
        page.locator(f"#weft-grid button[data-id='{name}']").click()
    bar = page.locator("#weft-chosen")
    assert bar.get_by_role("status").inner_text() == "2 chosen"
    bar.get_by_role("button", name="Tag").click()
    page.get_by_label("Tag", exact=True).last.fill(spring)
    page.get_by_role("button", name="Put on").click()
    page.locator(f"#weft-by-tag option[value='{spring}']").wait_for(state="attached")
    assert weft.studio.history.tags("local")[spring] == 2
    bar.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="With settings").click()
    download.value.save_as(pictures / "all.zip")
    names = zipfile.ZipFile(pictures / "all.zip").namelist()
    assert sum(name.endswith(".png") for name in names) == 2 and "history.json" in names
    bar.get_by_role("button", name="Delete").click()
    page.get_by_text("2 pictures are deleted").wait_for()
    assert all(weft.studio.history.get("local", name) is None for name in ids)
    page.get_by_role("button", name="Undo").click()
    for name in ids:
        page.locator(f"#weft-grid button[data-id='{name}']").wait_for()
    for name in ids:  # one after the other, and both back by keys
        page.locator(f"#weft-grid button[data-id='{name}']").click()
        page.locator("dialog").get_by_role("button", name="Delete").click()
        page.locator(f"#weft-grid button[data-id='{name}']").wait_for(state="detached")
        page.get_by_text("The picture is deleted").wait_for()
    for name in reversed(ids):
        page.locator("h2").first.evaluate("() => document.activeElement.blur()")
        page.keyboard.press("Control+z")
        page.locator(f"#weft-grid button[data-id='{name}']").wait_for()
    page.locator("#weft-filters summary").click()
    page.get_by_label("Search the history").fill("")
    page.locator("#weft-by-tag").select_option(spring)
    page.wait_for_function("window.weft.historyCount().total === 2")
    page.locator("#weft-by-since").fill("2999-01-01")
    page.locator("#weft-by-since").dispatch_event("change")
    page.get_by_text("No picture fits these filters.").wait_for()
    page.get_by_role("button", name="Clear all").click()
    page.wait_for_function("window.weft.historyCount().total > 2")


# what Python tells of a picture that was made with a step cache
CACHED = """(id) => window.weft.tellPicture({ detail: {
  picture: { id }, settings: [], work: [], machine: [], calls: null, relays: [], warnings: [], missing: [],
  family: { start: id, members: {}, links: [] },
  caches: [{ picture: 1, steps: 12, skipped: [4, 5, 7], error_estimate: 0.2, seconds_saved: 1 }] } })"""


def test_a_picture_tells_its_family_and_is_made_again_equal(weft, open_page):
    page = open_page()
    make(page, "a yellow house", steps=2)
    first = newest(page)
    page.locator("#weft-reuse").click()
    page.get_by_text("The settings of this picture are back").wait_for()
    page.locator(".w-prompt textarea").fill("a yellow house, at night")
    ran(page, page.locator("#weft-go").click)
    second = newest(page)
    assert weft.studio.history.show("local", second).parents == ((first, "reuse"),)
    show(page, "History")
    page.locator(f"#weft-grid button[data-id='{second}']").click()
    tree = page.locator("#weft-family")
    tree.locator(f"[data-kin='{first}']").wait_for()
    assert tree.bounding_box()["y"] + 100 < 800, "seen without scrolling"
    page.keyboard.press("ArrowRight")  # the picture before, and back
    page.locator("dialog dd", has_text=first[:12]).wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator("dialog dd", has_text=second[:12]).wait_for()
    tree.locator(f"[data-kin='{first}']").wait_for()
    assert "its settings used again" in tree.inner_text()
    page.locator("dialog summary", has_text="Time and cache").click()
    assert page.locator("dialog .w-times tr").count() >= 5
    page.locator("dialog summary", has_text="Settings").click()
    page.locator("dialog dd", has_text="as the model").wait_for()  # of a guidance number of -1
    page.locator("#weft-replay").click()
    proof = page.locator("#weft-proof [data-verdict]")
    proof.wait_for(timeout=120_000)
    assert proof.get_attribute("data-verdict") == "equal"
    tree.locator(f"[data-kin='{first}']").click()
    page.locator("dialog dd", has_text=first[:12]).wait_for()
    page.get_by_label("New tag").fill("kept")
    page.get_by_role("button", name="Add tag").click()
    page.get_by_role("button", name="Take the tag kept off").wait_for()
    page.get_by_label("Note").fill("the first one")
    page.keyboard.press("Tab")
    page.wait_for_function("true")
    for _ in range(50):
        if weft.studio.history.show("local", first).note:
            break
        page.wait_for_timeout(100)
    assert weft.studio.history.show("local", first).note == "the first one"
    page.evaluate(CACHED, first)
    cells = page.locator("dialog .w-skips i")
    assert cells.first.is_visible(), "what a step cache did stands there without a press"
    numbers = cells.evaluate_all("(all) => all.map((i) => i.dataset.step).filter(Boolean)")
    assert numbers == ["1", "5", "10", "12"]
    told = page.locator("dialog .w-fold", has=page.locator(".w-skips")).inner_text()
    assert all(t in told for t in ("computed in full", "guessed", "adds to the picture by 20.0 %")), told
    page.locator("#weft-detail-edit").click()
    page.locator(f"#weft-edit .w-source-row [data-id='{first}'][aria-current=true]").wait_for()


def test_models_tell_what_they_can_and_one_is_chosen(weft, open_page):
    page = open_page()
    show(page, "Models")
    card = page.locator("#weft-model-list [data-ref='embedded:scenes-sd3']")
    card.wait_for()
    assert "drew itself" in card.inner_text() and "studio/" not in card.inner_text(), "words for people"
    card.locator("summary").click()
    text = card.inner_text()
    known = json.loads((ROOT / "assets/models/scenes-sd3/card.json").read_text("utf-8"))
    assert known["limits"] in text and known["licence"] in text
    assert f"{round(100 * known['scores']['one']['share'])} %" in text
    assert str(weft.studio.settings.models_folder) in page.get_by_label("Add a model").inner_text()
    assert "CPU" in page.locator("#weft-place").inner_text()
    broken = weft.studio.settings.models_folder / "half a model"
    broken.mkdir(parents=True)
    try:
        page.locator("#weft-models-again").click()
        page.locator("#weft-model-list .w-unknown").wait_for()
    finally:
        broken.rmdir()


def test_first_steps_are_offered_once(open_page):
    page = open_page()  # it comes by itself in a studio without pictures only: asked for here in either
    page.evaluate("localStorage.removeItem('weft-guided'); window.weft.guide()")
    guide = page.locator("#weft-guide")
    assert "1 / 3" in guide.inner_text()
    guide.get_by_role("button", name="Next").click()
    assert page.locator("#weft-go.w-lit").count() == 1
    make(page, steps=2)  # the picture is seen: the card steps aside and goes on
    guide.get_by_text("3 / 3").wait_for()
    guide.get_by_role("button", name="Start").click()
    assert guide.count() == 0 and page.locator(".w-lit").count() == 0
    assert page.evaluate("window.weft.remember.get('guided')") == "yes"


def test_theme_and_language_stay_after_a_reload(open_page):
    page = open_page("")
    show(page, "Help")
    page.get_by_label("Dark", exact=True).check()
    page.get_by_label("Deutsch").check()
    page.get_by_role("tab", name="Verlauf").wait_for()
    reload(page)
    assert page.evaluate("document.body.classList.contains('dark')")
    page.get_by_role("tab", name="Verlauf").wait_for()
    assert page.evaluate("document.documentElement.lang") == "de"
    assert page.locator("#weft-go").inner_text().startswith("Erzeugen")
    show(page, "Help")
    page.get_by_label("English").check()
    page.get_by_role("tab", name="History").wait_for()
    assert page.locator("#weft-help h2").inner_text() == "Settings and help"


# every text of these tabs that is no one's own: not of a person, a plugin, a node's help or a model's card
OWN_WORDS = (HERE / "own_words.js").read_text("utf-8")
NAMES = {"CPU", "Weft", "English", "Deutsch", "PNG", "euler", "flow"}


def test_german_leaves_no_text_of_the_page_in_english(open_page):
    table = json.loads((ROOT / "assets/ui/lang/de.json").read_text("utf-8"))
    patterns = [re.compile(pattern) for pattern, _ in table["patterns"]]
    page = open_page()
    lacking = set()
    for tab in ("Create", "Regions", "Edit", "See", "Upscale", "Compare", "History", "Models", "Help"):
        show(page, tab)
        page.wait_for_timeout(600)
        for text in page.evaluate(OWN_WORDS, tab.lower()):
            told = text in table["texts"] or text in NAMES or any(p.fullmatch(text) for p in patterns)
            lacking |= set() if told else {text}
    assert not lacking, sorted(lacking)


def test_the_page_can_be_installed_and_opens_at_a_tab(weft, open_page):
    page = open_page("?tab=history")
    page.locator("#weft-tabs [data-tab-id=history][aria-selected=true]").wait_for()
    address = page.locator("link[rel=manifest]").get_attribute("href")
    with urlopen(weft.url + address.lstrip("/")) as answer:
        manifest = json.load(answer)
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        with urlopen(weft.url + icon["src"]) as answer:
            assert answer.headers["content-type"] == "image/png"
    assert page.evaluate("navigator.serviceWorker.getRegistrations().then((all) => all.length)") == 0


def test_all_tabs_are_in_reach_on_a_phone(open_page):
    page = open_page(**PHONE)
    for tab in (*TABS[::-1], "Create"):
        show(page, tab)
        box = page.locator(f"#weft-tabs [role=tab][data-tab-id={tab.lower()}]").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 392, tab
