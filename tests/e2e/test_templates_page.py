"""Templates on the Create page, in Chromium: choose one, make its pictures, and be told what cannot work."""

from __future__ import annotations

import json
from typing import Any

from e2e_hands import MARKS, reload, set_steps, shown, state, write

from studio.graph.document import dumps, loads, to_json

pytestmark = MARKS
PROMPT = "a green star on the left and a blue house on the right, at night"


def choose(page: Any, name: str) -> None:
    page.locator(f"#weft-templates [data-template={name}]").click()
    page.locator(f"#weft-templates [data-template={name}][aria-pressed=true]").wait_for()


def test_another_template_makes_all_its_pictures_and_the_history_brings_it_back(weft, open_page):
    page = open_page()
    write(page, PROMPT)
    page.locator("#weft-seed-lock").click()
    seed = page.get_by_label("Seed", exact=True).input_value()
    choose(page, "see-words")
    assert page.locator(".w-prompt textarea").input_value() == PROMPT
    assert page.get_by_label("Seed", exact=True).input_value() == seed
    page.get_by_label("Words to watch").fill("green star")
    set_steps(page, 2)
    page.locator("#weft-go").click()
    state(page, "done")

    names = page.locator("#weft-outputs button span").all_inner_texts()
    assert names == ["Picture", "Word maps by block", "Word maps"]
    sources = set()
    for button in page.locator("#weft-outputs button").all():
        button.click()
        sources.add(shown(page).get_attribute("src"))
    assert len(sources) == 3

    choose(page, "text-to-image")
    assert page.get_by_label("Words to watch").count() == 0
    reload(page)
    page.locator("#weft-templates [data-template=text-to-image][aria-pressed=true]").wait_for()
    strip = page.locator("#weft-strip .w-thumb")
    alone = strip.count()
    page.locator("#weft-helpers").click()
    assert strip.count() >= alone + 2 and page.locator("#weft-strip").get_by_text("Word maps").count() >= 2
    strip.first.click()
    assert page.locator("#weft-outputs button").count() == 3
    page.locator("#weft-all-templates").click()
    page.get_by_label("Search the templates").fill("bit thing")
    found = page.locator("dialog .w-template:visible")
    assert found.locator("strong").all_inner_texts() == ["Edit only a thing"]
    page.get_by_label("Close").click()
    page.locator("#weft-reuse").click()
    page.locator("#weft-templates [data-template=see-words][aria-pressed=true]").wait_for()
    assert page.get_by_label("Words to watch").input_value() == "green star"


def test_a_refused_combination_says_why_before_the_run(weft, open_page, pictures):
    (pictures / "both.json").write_text(dumps(two_ways_to_avoid(weft.studio)), encoding="utf-8")
    page = open_page()
    page.locator("input[type=file]").set_input_files(pictures / "both.json")
    told = page.locator("#weft-faults li")
    told.get_by_text("cannot be used in one run").wait_for()
    words = told.first.inner_text()
    assert "both take what you avoid out of the picture" in words and "Disconnect one of them" in words
    page.locator("#weft-go").click()
    state(page, "error", timeout=30_000)
    choose(page, "text-to-image")
    told.first.wait_for(state="detached")


def two_ways_to_avoid(studio: Any) -> Any:
    data = to_json(studio.workflow("avoid-without-cfg"))
    first = next(node for node in data["nodes"] if node["kind"] == "nag")
    wires = [edge for edge in data["edges"] if edge["to"][0] == first["id"]]
    out = next(edge for edge in data["edges"] if edge["to"] == ["sample", "attachments"])
    second = {"id": "again", "kind": "nasa", "widgets": {"avoid": "a house"}}
    data["nodes"] += [second, {"id": "both", "kind": "together", "widgets": {}}]
    data["edges"] += [
        *({"from": edge["from"], "to": ["again", edge["to"][1]]} for edge in wires),
        {"from": list(out["from"]), "to": ["both", "first"]},
        {"from": ["again", "attachment"], "to": ["both", "second"]},
    ]
    out["from"] = ["both", "attachments"]
    return loads(json.dumps(data))


def test_regions_are_edited_as_a_table_and_as_text(weft, open_page):
    page = open_page()
    choose(page, "regions")
    page.get_by_role("button", name="Add a region").click()
    rows = page.locator(".w-regions > li")
    count = rows.count()
    page.keyboard.type("a pink balloon")
    right = rows.last.get_by_label("Right of region", exact=False)
    right.fill("140")
    right.press("Tab")
    rows.last.get_by_text("it is 100 now").wait_for()
    assert right.input_value() == "100"
    right.fill("90")
    right.press("Tab")
    rows.last.get_by_text("it is 100 now").wait_for(state="detached")
    page.get_by_text("As text").click()
    text = page.get_by_label("Regions as JSON")
    fault, right_text = page.locator("[data-widget=regions] .w-fault"), text.input_value()
    text.fill(right_text.replace("0.9", "1.4", 1))
    text.press("Tab")
    fault.get_by_text("leaves the canvas: right 1.4").wait_for()
    text.fill(right_text)
    text.press("Tab")
    fault.get_by_text("leaves the canvas").wait_for(state="detached")
    listed = json.loads(text.input_value())
    assert (listed[-1]["prompt"], listed[-1]["box"][2]) == ("a pink balloon", 0.9)
    text.fill("[{")
    text.press("Tab")
    page.get_by_text("This is not JSON").wait_for()
    text.fill(json.dumps(listed[:1]))
    text.press("Tab")
    assert rows.count() == 1 < count


def test_a_template_keeps_what_was_set_in_it_while_the_page_is_open(open_page):
    page = open_page()
    choose(page, "see-words")
    page.get_by_label("Words to watch").fill("blue house")
    choose(page, "text-to-image")
    page.locator("#weft-all-templates").click()
    page.locator("dialog [data-template=see-words]").click()
    page.get_by_label("Words to watch").wait_for()
    assert page.get_by_label("Words to watch").input_value() == "blue house"


def test_cards_are_one_stop_for_tab_and_move_by_arrows(open_page):
    page = open_page()
    page.locator("#weft-templates [aria-pressed=true]").focus()
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.dataset.template")
    assert second != "text-to-image"
    page.keyboard.press("Enter")
    page.locator(f"#weft-templates [data-template={second}][aria-pressed=true]").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "weft-all-templates"
