"""axe-core and our own questions over every tab, light and dark, desk and phone: no serious or critical
accessibility fault, nothing without a name, nothing wider than the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e_graph_hands import cheap, node, show_graph
from e2e_hands import MARKS, PHONE, make

from studio.graph.document import load, to_json

pytestmark = MARKS
TABS = ("Create", "Regions", "Edit", "Graph", "See", "Upscale", "Compare", "History", "Models", "Help")
ASK = """async (tab) => {
  const found = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"] });
  return found.violations.filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => [tab, v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))]);
}"""


# Facts behind the rules 1.1.1, 1.3.1, 2.4.6, 3.1.1 and 4.1.2 of WCAG 2.2, asked of all that can be seen.
FAULTS = Path(__file__).with_name("faults.js").read_text("utf-8")


@pytest.fixture(scope="module")
def axe() -> str:
    found = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    return (Path(found.__file__).with_name("axe.min.js")).read_text("utf-8")


def faults(page: Any, axe: str, tabs: tuple[str, ...] = TABS) -> list[Any]:
    page.evaluate(axe)
    found = []
    for tab in tabs:
        page.evaluate("(tab) => window.weft.openTab(tab)", tab)
        page.wait_for_timeout(700)
        found += page.evaluate(ASK, tab) + [(tab, fault) for fault in page.evaluate(FAULTS)]
        if page.evaluate("document.documentElement.scrollWidth") > page.viewport_size["width"]:
            found.append((tab, "wider than the window"))
    return found


@pytest.mark.parametrize(("theme", "options"), [("light", {}), ("dark", {}), ("dark", PHONE)], ids=str)
def test_no_tab_has_a_serious_fault(open_page, axe: str, theme: str, options: dict[str, Any]):
    page = open_page(f"?__theme={theme}", **options)
    page.locator("#weft-more summary").click()
    assert faults(page, axe) == []


def test_tabs_with_pictures_in_them_have_none_either(open_page, axe: str):
    page = open_page()
    make(page, steps=6)
    for tab in ("edit", "upscale"):
        page.evaluate("(tab) => window.weft.openTab(tab)", tab)
        page.locator(f"#weft-{tab} .w-thumb").first.click()
    page.locator("#weft-upscale .w-ba").wait_for()
    page.evaluate("window.weft.openTab('Edit')")
    page.locator("#weft-paint-place").click()
    found = faults(page, axe, ("Edit", "Upscale", "See", "Create", "History"))
    page.locator("#weft-filters summary").click()
    page.locator("#weft-grid button").first.click()
    page.locator("dialog .w-times").wait_for(state="attached")
    found += page.evaluate(FAULTS)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.locator("dialog .w-sheet").wait_for()
    assert found + page.evaluate(FAULTS) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_graph_inside_and_as_a_list_has_none_either(open_page, axe: str, theme: str):
    data = to_json(cheap())
    data["groups"] = [{"id": "g", "title": "Beginning", "nodes": ["plan"]}]
    data["notes"] = [{"id": "n", "text": "Cheap.", "pos": [0, 400]}]
    page = show_graph(open_page(f"?__theme={theme}", document=load(data)))
    node(page, "draw").locator(".g-head strong").click()
    page.get_by_label("Inspector").get_by_role("button", name="Make a sub-graph").click()
    node(page, "sub-graph").wait_for()
    page.evaluate(axe)
    found = page.evaluate(ASK, "with a sub-graph")
    page.keyboard.press("i")
    page.get_by_role("button", name="Inputs and outputs").click()
    found += page.evaluate(ASK, "inside")
    page.get_by_role("button", name="Out", exact=True).click()
    page.get_by_role("radio", name="List").click()
    page.get_by_label("Choose Save picture", exact=True).check()
    page.locator("[data-node=sub-graph] h3 button").click()
    assert found + page.evaluate(ASK, "list") == []
